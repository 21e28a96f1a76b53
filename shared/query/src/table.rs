//! A table, at one of its snapshots.
//!
//! In: an Iceberg table and the snapshot to read, with what DataFusion wants of it. Out: a plan that reads only the files which
//! the filters admit by partition and bounds, in as many partitions as the session has. Refused: encrypted tables.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt as _;
use futures::future::ready;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::expr::Predicate;
use iceberg::scan::FileScanTask;
use iceberg::spec::{Schema, SnapshotRef};
use iceberg::table::Table;
use lake::Vectors;

use crate::external;
use crate::filter::predicate;
use crate::read::{Cache, Reader, is_vector};
use crate::scan::{self, FileScan};

/// A table as DataFusion sees it.
#[derive(Debug)]
pub(crate) struct LakeTable {
    table: Table,
    /// None where nothing was ever written.
    snapshot: Option<SnapshotRef>,
    schema: Arc<Schema>,
    arrow_schema: SchemaRef,
    /// The files that are read; None for all.
    only: Option<HashSet<String>>,
}

impl LakeTable {
    /// The table as it is, in its current schema; or as `snapshot` has it, in that one's.
    pub(crate) fn new(table: Table, snapshot: Option<SnapshotRef>) -> Result<Self> {
        let metadata = table.metadata();
        let schema = match &snapshot {
            Some(snapshot) => snapshot.schema(metadata).map_err(external)?,
            None => metadata.current_schema().clone(),
        };
        let arrow_schema = Arc::new(schema_to_arrow_schema(&schema).map_err(external)?);
        let snapshot = snapshot.or_else(|| metadata.current_snapshot().cloned());
        Ok(Self { table, snapshot, schema, arrow_schema, only: None })
    }

    /// The rows that `snapshot` has in the files `only`, in the table's current schema.
    pub(crate) fn of_files(table: Table, snapshot: SnapshotRef, only: HashSet<String>) -> Result<Self> {
        let snapshot = Some(snapshot);
        Ok(Self { snapshot, only: Some(only), ..Self::new(table, None)? })
    }

    /// The files that may have rows for which all `filters` hold.
    async fn tasks(&self, filters: &[Expr]) -> Result<Vec<FileScanTask>> {
        let Some(snapshot) = &self.snapshot else { return Ok(Vec::new()) };
        // The library binds predicates to the schema of the snapshot, which may lack a column.
        let of_snapshot = snapshot.schema(self.table.metadata()).map_err(external)?;
        let known =
            |filter| predicate(filter, &self.schema).filter(|_| predicate(filter, &of_snapshot).is_some());
        let mut scan = self.table.scan().snapshot_id(snapshot.snapshot_id()).select_empty();
        if let Some(all) = filters.iter().filter_map(known).reduce(Predicate::and) {
            scan = scan.with_filter(all);
        }
        let tasks = scan.build().map_err(external)?.plan_files().await.map_err(external)?;
        let is_read =
            |task: &FileScanTask| self.only.as_ref().is_none_or(|only| only.contains(&task.data_file_path));
        tasks.try_filter(|task| ready(is_read(task))).try_collect().await.map_err(external)
    }

    /// The deletion vectors of the snapshot, if the files of `tasks` may have any: the library gives a file those of all files
    /// of its partition, and does not say where in a Puffin file they are.
    async fn vectors(&self, tasks: &[FileScanTask]) -> Result<Vectors> {
        let has_any = tasks.iter().flat_map(|task| &task.deletes).any(is_vector);
        match self.snapshot.as_ref().filter(|_| has_any) {
            Some(snapshot) => Vectors::of(&self.table, snapshot).await.map_err(external),
            None => Ok(Vectors::default()),
        }
    }
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        self.arrow_schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let projected = match projection {
            Some(columns) => Arc::new(self.arrow_schema.project(columns)?),
            None => self.arrow_schema.clone(),
        };
        let tasks = self.tasks(filters).await?;
        let vectors = self.vectors(&tasks).await?;
        let reader = Reader {
            file_io: self.table.file_io().clone(),
            schema: self.schema.clone(),
            former: self.table.metadata().schemas_iter().cloned().collect(),
            projected,
            batch_size: state.config().batch_size(),
            vectors,
            cache: Cache::default(),
        };
        let parts = scan::parts(tasks, state.config().target_partitions());
        Ok(Arc::new(FileScan::new(self.table.identifier().to_string(), reader, parts)))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = |filter: &&Expr| match predicate(filter, &self.schema) {
            // Files are left out by it, rows are not.
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(pushed).collect())
    }
}

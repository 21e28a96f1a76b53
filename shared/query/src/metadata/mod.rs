//! Tables about a table, by the names that Spark and Trino use.
//!
//! In: a table, and which of [`Kind`] is asked for. Out: a table whose rows are made when they are read.

mod files;
mod log;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Result, plan_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use iceberg::spec::SnapshotRef;
use iceberg::table::Table;

/// What can be asked of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Snapshots,
    History,
    Manifests,
    Files,
    Partitions,
}

impl Kind {
    /// The name of the table, and what is asked of it, in `TABLE$KIND`.
    pub(crate) fn split(name: &str) -> Option<(&str, Self)> {
        let (table, kind) = name.rsplit_once('$')?;
        let kind = match kind {
            "snapshots" => Self::Snapshots,
            "history" => Self::History,
            "manifests" => Self::Manifests,
            "files" => Self::Files,
            "partitions" => Self::Partitions,
            _ => return None,
        };
        Some((table, kind))
    }
}

/// The table that `kind` is of `table`, at `snapshot` if one is given.
pub(crate) fn provider(
    table: Table,
    kind: Kind,
    snapshot: Option<SnapshotRef>,
) -> Result<Arc<dyn TableProvider>> {
    if snapshot.is_some() && matches!(kind, Kind::Snapshots | Kind::History) {
        return plan_err!("$snapshots and $history list all snapshots: AS OF has no meaning for them");
    }
    let schema = match kind {
        Kind::Snapshots => log::snapshots_schema(),
        Kind::History => log::history_schema(),
        Kind::Manifests => log::manifests_schema(),
        Kind::Files => files::files_schema(table.metadata())?,
        Kind::Partitions => files::partitions_schema(table.metadata())?,
    };
    let snapshot = snapshot.or_else(|| table.metadata().current_snapshot().cloned());
    let rows = Arc::new(Rows { table, kind, snapshot, schema: schema.clone() });
    Ok(Arc::new(StreamingTable::try_new(schema, vec![rows])?))
}

#[derive(Debug)]
struct Rows {
    table: Table,
    kind: Kind,
    snapshot: Option<SnapshotRef>,
    schema: SchemaRef,
}

impl PartitionStream for Rows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (table, snapshot, schema) = (self.table.clone(), self.snapshot.clone(), self.schema.clone());
        let once = |batch| futures::stream::once(futures::future::ready(batch));
        match self.kind {
            Kind::Snapshots => adapter(&schema, once(log::snapshots(table.metadata(), &schema))),
            Kind::History => adapter(&schema, once(log::history(table.metadata(), &schema))),
            Kind::Manifests => {
                let batch = {
                    let schema = schema.clone();
                    async move { log::manifests(&table, snapshot, &schema).await }
                };
                adapter(&schema, futures::stream::once(batch))
            }
            Kind::Files => adapter(&schema, files::files(table, snapshot, schema.clone())),
            Kind::Partitions => {
                let pool = context.memory_pool().clone();
                let batch = {
                    let schema = schema.clone();
                    async move { files::partitions(table, snapshot, &schema, &pool).await }
                };
                adapter(&schema, futures::stream::once(batch))
            }
        }
    }
}

fn adapter(
    schema: &SchemaRef,
    batches: impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static,
) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(schema.clone(), batches))
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

//! Data files, read.
//!
//! In: a data file with the delete files that apply to it, and the columns that are wanted. Out: its rows that are left, as a
//! stream of batches. Refused: files that are not Parquet or without field ids.

pub(crate) mod adapt;
mod deletes;
mod file;

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{Schema as ArrowSchema, SchemaRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::io::FileIO;
use iceberg::scan::{FileScanTask, FileScanTaskDeleteFile};
use iceberg::spec::{DataContentType, Schema, Transform};
use lake::Vectors;
use roaring::RoaringTreemap;

pub(crate) use self::deletes::Cache;
use self::deletes::{EqualityDeletes, Positions};
use crate::external;
use crate::scalar::scalar;

/// Whether `delete` is a file of deletion vectors. The library does not say; no other delete file has this ending.
pub(crate) fn is_vector(delete: &FileScanTaskDeleteFile) -> bool {
    delete.file_type == DataContentType::PositionDeletes && delete.file_path.ends_with(".puffin")
}

/// What the reading of all files of a scan has in common.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) file_io: FileIO,
    /// The schema that rows are read in.
    pub(crate) schema: Arc<Schema>,
    /// Columns that are there no more, but may be named by a delete file.
    pub(crate) former: Vec<Arc<Schema>>,
    /// The wanted columns.
    pub(crate) projected: SchemaRef,
    pub(crate) batch_size: usize,
    /// Deletion vectors, by the files that they are of.
    pub(crate) vectors: Vectors,
    pub(crate) cache: Cache,
}

impl Reader {
    /// The rows of `task`'s file that its delete files leave, in the columns that are wanted.
    pub(crate) async fn read(
        self: Arc<Self>,
        task: FileScanTask,
        pool: Arc<dyn MemoryPool>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let (mut positions, mut equalities) = (Vec::new(), Vec::new());
        // Where there is a vector, it has what position deletes of the file say.
        let vector = match self.vectors.length(&task.data_file_path) {
            Some(length) => {
                let held = MemoryConsumer::new("deletion vectors").register(&pool);
                held.try_grow(usize::try_from(length).unwrap_or(usize::MAX))?;
                match self.vectors.read(&self.file_io, &task.data_file_path).await {
                    Ok(vector) => Some((vector, held)),
                    Err(what) => return exec_err!("{what}"),
                }
            }
            None => None,
        };
        for delete in &task.deletes {
            match delete.file_type {
                DataContentType::PositionDeletes if vector.is_some() || is_vector(delete) => {}
                DataContentType::PositionDeletes => {
                    positions.push(self.cache.positions(&self.file_io, delete, &pool).await?);
                }
                DataContentType::EqualityDeletes => {
                    equalities.push(self.cache.equalities(&self, delete, &pool).await?);
                }
                DataContentType::Data => return exec_err!("{} deletes nothing", delete.file_path),
            }
        }
        // The wanted columns, then those that delete files compare.
        let mut fields = self.projected.fields().to_vec();
        for equality in &equalities {
            for field in equality.columns().fields() {
                if !fields.iter().any(|other| adapt::id(other) == adapt::id(field)) {
                    fields.push(field.clone());
                }
            }
        }
        let wanted = Arc::new(ArrowSchema::new(fields));
        let constants = constants(&task, &self.schema)?;
        let of_reader = MemoryConsumer::new("data files").register(&pool);
        let opened = file::open(
            &self.file_io,
            &task.data_file_path,
            task.file_size_in_bytes,
            &wanted,
            self.batch_size,
        );
        let (batches, held_bytes) = opened.await?;
        of_reader.try_grow(held_bytes)?;
        let mut kept = Kept { vector, positions, equalities, path: task.data_file_path, row: 0 };
        let projected: Vec<usize> = (0..self.projected.fields().len()).collect();
        Ok(batches
            .map(move |batch| {
                let _held = &of_reader;
                let batch = adapt::adapt(&batch?, &wanted, &constants)?;
                let batch = kept.rows(batch)?;
                Ok(batch.project(&projected)?)
            })
            .try_filter(|batch| futures::future::ready(batch.num_rows() > 0))
            .boxed())
    }

    /// The columns with these ids, as they are in the table or were.
    fn columns(&self, ids: &[i32]) -> Result<SchemaRef> {
        let fields = ids.iter().map(|id| {
            for schema in std::iter::once(&self.schema).chain(&self.former) {
                let schema = schema_to_arrow_schema(schema).map_err(external)?;
                if let Some(at) = adapt::position(schema.fields(), *id) {
                    return Ok(Arc::new(schema.field(at).clone()));
                }
            }
            exec_err!("a delete file compares the field {id}, which is no column")
        });
        Ok(Arc::new(ArrowSchema::new(fields.collect::<Result<Vec<_>>>()?)))
    }
}

/// Values of columns that a file need not have: those by which it is partitioned as they are, and defaults.
fn constants(task: &FileScanTask, schema: &Schema) -> Result<HashMap<i32, ScalarValue>> {
    let mut constants = HashMap::new();
    for field in schema.as_struct().fields() {
        if let Some(default) = &field.initial_default {
            constants.insert(field.id, scalar(Some(default), &field.field_type)?);
        }
    }
    if let (Some(spec), Some(partition)) = (&task.partition_spec, &task.partition) {
        for (field, value) in spec.fields().iter().zip(partition.iter()) {
            if field.transform == Transform::Identity
                && let Some(column) = schema.field_by_id(field.source_id)
            {
                constants.insert(field.source_id, scalar(value, &column.field_type)?);
            }
        }
    }
    Ok(constants)
}

/// Which rows of a file are left.
struct Kept {
    vector: Option<(RoaringTreemap, MemoryReservation)>,
    positions: Vec<Arc<Positions>>,
    equalities: Vec<Arc<EqualityDeletes>>,
    path: String,
    /// Number of the next row of the file.
    row: u64,
}

impl Kept {
    fn rows(&mut self, mut batch: RecordBatch) -> Result<RecordBatch> {
        let first = self.row;
        self.row += batch.num_rows() as u64;
        let by_files = self.positions.iter().filter_map(|positions| positions.of(&self.path));
        let deleted: Vec<_> = by_files.chain(self.vector.iter().map(|(vector, _)| vector)).collect();
        if !deleted.is_empty() || !self.equalities.is_empty() {
            let by_position = |row| !deleted.iter().any(|deleted| deleted.contains(row));
            let mut kept: Vec<bool> = (first..self.row).map(by_position).collect();
            for equality in &self.equalities {
                equality.strike(&batch, &mut kept)?;
            }
            batch = filter_record_batch(&batch, &BooleanArray::from(kept))?;
        }
        Ok(batch)
    }
}

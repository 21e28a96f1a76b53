//! Delete files: which rows of the data files are gone.
//!
//! In: a delete file (Iceberg table specification, "Delete Formats"). Out: [`Positions`] or [`EqualityDeletes`]; each file is
//! read once in a scan, and what is held of it is taken from the memory pool. Refused: what does not fit into that.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{AsArray as _, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Result, exec_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::scan::FileScanTaskDeleteFile;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use roaring::RoaringTreemap;
use tokio::sync::OnceCell;

use super::{Reader, adapt, file};

/// Reserved field ids of position deletes (Iceberg table specification, "Reserved Field IDs").
const FILE_PATH_ID: i32 = 2_147_483_546;
const POS_ID: i32 = 2_147_483_545;
const BATCH_SIZE: usize = 8192;
/// What an entry of a hash set takes beside its bytes.
const ENTRY_BYTES: usize = 32;

type Cells<T> = Mutex<HashMap<String, Arc<OnceCell<Arc<T>>>>>;

/// The delete files of a scan.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    positions: Cells<Positions>,
    equalities: Cells<EqualityDeletes>,
}

impl Cache {
    pub(super) async fn positions(
        &self,
        file_io: &FileIO,
        delete: &FileScanTaskDeleteFile,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Arc<Positions>> {
        let cell = cell(&self.positions, &delete.file_path);
        cell.get_or_try_init(|| async { Positions::read(file_io, delete, pool).await.map(Arc::new) })
            .await
            .cloned()
    }

    pub(super) async fn equalities(
        &self,
        reader: &Reader,
        delete: &FileScanTaskDeleteFile,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Arc<EqualityDeletes>> {
        let cell = cell(&self.equalities, &delete.file_path);
        cell.get_or_try_init(|| async { EqualityDeletes::read(reader, delete, pool).await.map(Arc::new) })
            .await
            .cloned()
    }
}

fn cell<T>(cells: &Cells<T>, path: &str) -> Arc<OnceCell<Arc<T>>> {
    cells.lock().unwrap_or_else(PoisonError::into_inner).entry(path.to_owned()).or_default().clone()
}

/// Rows by the path of their file and their number in it.
#[derive(Debug)]
pub(super) struct Positions {
    by_path: HashMap<String, RoaringTreemap>,
    _held: MemoryReservation,
}

impl Positions {
    async fn read(
        file_io: &FileIO,
        delete: &FileScanTaskDeleteFile,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Self> {
        let held = MemoryConsumer::new("position deletes").register(pool);
        let columns = Arc::new(ArrowSchema::new(vec![
            field("file_path", DataType::Utf8, FILE_PATH_ID),
            field("pos", DataType::Int64, POS_ID),
        ]));
        let size = delete.file_size_in_bytes;
        let (mut batches, _) = file::open(file_io, &delete.file_path, size, &columns, BATCH_SIZE).await?;
        let mut by_path: HashMap<String, RoaringTreemap> = HashMap::new();
        while let Some(batch) = batches.try_next().await? {
            let batch = adapt::adapt(&batch, &columns, &HashMap::new())?;
            held.try_grow(batch.num_rows() * size_of::<u64>())?;
            let paths = batch.column(0).as_string::<i32>();
            for (path, position) in paths.iter().zip(batch.column(1).as_primitive::<Int64Type>()) {
                let (Some(path), Some(position)) =
                    (path, position.and_then(|position| u64::try_from(position).ok()))
                else {
                    return exec_err!("{} has a position delete without a place", delete.file_path);
                };
                match by_path.get_mut(path) {
                    Some(positions) => positions.insert(position),
                    None => by_path.entry(path.to_owned()).or_default().insert(position),
                };
            }
        }
        Ok(Self { by_path, _held: held })
    }

    /// The rows of the file at `path`.
    pub(super) fn of(&self, path: &str) -> Option<&RoaringTreemap> {
        self.by_path.get(path)
    }
}

fn field(name: &str, data_type: DataType, id: i32) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    Field::new(name, data_type, false).with_metadata(metadata)
}

/// Rows by the values of some columns. Null is equal to null.
#[derive(Debug)]
pub(super) struct EqualityDeletes {
    columns: SchemaRef,
    converter: RowConverter,
    rows: HashSet<Box<[u8]>>,
    held: MemoryReservation,
}

impl EqualityDeletes {
    async fn read(
        reader: &Reader,
        delete: &FileScanTaskDeleteFile,
        pool: &Arc<dyn MemoryPool>,
    ) -> Result<Self> {
        let held = MemoryConsumer::new("equality deletes").register(pool);
        let ids = delete.equality_ids.as_deref().unwrap_or_default();
        if ids.is_empty() {
            return exec_err!("{} names no columns to compare", delete.file_path);
        }
        let columns = reader.columns(ids)?;
        let types = columns.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let mut found = Self {
            converter: RowConverter::new(types.collect())?,
            columns: columns.clone(),
            rows: HashSet::new(),
            held,
        };
        let size = delete.file_size_in_bytes;
        let opened = file::open(&reader.file_io, &delete.file_path, size, &columns, BATCH_SIZE);
        let (mut batches, _) = opened.await?;
        while let Some(batch) = batches.try_next().await? {
            let batch = adapt::adapt(&batch, &columns, &HashMap::new())?;
            for row in &found.converter.convert_columns(batch.columns())? {
                found.held.try_grow(row.as_ref().len() + ENTRY_BYTES)?;
                found.rows.insert(row.as_ref().into());
            }
        }
        Ok(found)
    }

    /// The columns that are compared.
    pub(super) fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Takes those of `batch` out of `kept` that are deleted. The batch has the columns that are compared.
    pub(super) fn strike(&self, batch: &RecordBatch, kept: &mut [bool]) -> Result<()> {
        let mut columns = Vec::new();
        for field in self.columns.fields() {
            let at = adapt::id(field).and_then(|id| adapt::position(batch.schema_ref().fields(), id));
            let Some(at) = at else { return exec_err!("a column that a delete file compares was not read") };
            columns.push(batch.column(at).clone());
        }
        for (row, kept) in self.converter.convert_columns(&columns)?.iter().zip(kept) {
            *kept = *kept && !self.rows.contains(row.as_ref());
        }
        Ok(())
    }
}

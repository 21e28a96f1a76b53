//! A data file -> its rows, in the table's current schema.
//!
//! In: a file of the table. Out: batches, in the order of the file, each of about as many bytes as asked for. A small file is
//! fetched whole, in one request, others by row group and column. Refused ([`Unfit`]): files whose columns have no field ids,
//! columns that cannot be read as the table's, and row groups that memory has no room for.

use std::ops::Range;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use iceberg::arrow::ArrowFileReader;
use iceberg::io::{FileIO, FileMetadata, FileRead};
use iceberg::spec::Schema;
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::arrow::{PARQUET_FIELD_ID_META_KEY, ProjectionMask};
use parquet::errors::ParquetError;

use super::Left;
use super::conform::{conform, id_of};
use super::plan::Input;

/// Rows of a batch at most, however short they are.
const BATCH_ROWS: usize = 64 * 1024;

/// What reading may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadLimits {
    /// A file up to so many bytes is fetched whole.
    pub(super) whole_bytes: u64,
    /// Most bytes of a row group, compressed.
    pub(super) row_group_bytes: u64,
    /// About how many bytes a batch has.
    pub(super) batch_bytes: usize,
}

/// The rows of a file.
pub(super) struct Rows {
    path: String,
    batches: ParquetRecordBatchStream<ArrowFileReader>,
    schema: SchemaRef,
}

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Unfit {
    /// It stays as it is.
    Left(Left, String),
    /// It could not be read now.
    Failed(Error),
}

impl From<Error> for Unfit {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Rows {
    /// Begins to read `file` by the table's schema, `table` or `schema` in Arrow's terms.
    pub(super) async fn open(
        file_io: &FileIO,
        file: &Input,
        table: &Schema,
        schema: &SchemaRef,
        limits: ReadLimits,
    ) -> std::result::Result<Self, Unfit> {
        let path = file.path.clone();
        let input = file_io.new_input(&path)?;
        let reader: Box<dyn FileRead> = match file.bytes <= limits.whole_bytes {
            true => Box::new(Whole(input.read().await?)),
            false => input.reader().await?,
        };
        let reader = ArrowFileReader::new(FileMetadata { size: file.bytes }, reader);
        // By the types of Parquet alone: what else a writer says of them is its own affair.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
        let builder = builder.map_err(|error| damaged(&path, error))?;

        let own = builder.schema().clone();
        if own.fields().iter().any(|field| !field.metadata().contains_key(PARQUET_FIELD_ID_META_KEY)) {
            return Err(Unfit::Left(Left::NoFieldIds, format!("{path} has columns without field ids")));
        }
        let has = |id: Option<i32>| own.fields().iter().any(|field| id_of(field) == id);
        let defaulted = table
            .as_struct()
            .fields()
            .iter()
            .find(|field| field.initial_default.is_some() && !has(Some(field.id)));
        if let Some(field) = defaulted {
            let what = format!("{path} lacks the column {}, which has a default", field.name);
            return Err(Unfit::Left(Left::Columns, what));
        }
        let wanted = |field: &arrow_schema::FieldRef| {
            schema.fields().iter().any(|one| id_of(one).is_some() && id_of(one) == id_of(field))
        };
        let roots: Vec<usize> =
            own.fields().iter().enumerate().filter(|(_, field)| wanted(field)).map(|(at, _)| at).collect();
        let metadata = builder.metadata().clone();
        let row_groups = metadata.row_groups();
        let largest = row_groups.iter().map(|group| group.compressed_size()).max().unwrap_or(0);
        if u64::try_from(largest).unwrap_or(u64::MAX) > limits.row_group_bytes {
            let what = format!("{path} has a row group of {largest} bytes: give maintain more memory");
            return Err(Unfit::Left(Left::Memory, what));
        }
        let bytes: i64 = row_groups.iter().map(|group| group.total_byte_size()).sum();
        let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        let row_bytes = usize::try_from(bytes).unwrap_or(0) / rows.max(1);
        let batch_rows = (limits.batch_bytes / row_bytes.max(1)).clamp(1, BATCH_ROWS);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let batches = builder.with_projection(mask).with_batch_size(batch_rows).build();
        let batches = batches.map_err(|error| damaged(&path, error))?;
        // What cannot be read is better known before a row is.
        let none = RecordBatch::new_empty(batches.schema().clone());
        conform(&none, schema).map_err(|error| Unfit::Left(Left::Columns, format!("{path}: {error}")))?;
        Ok(Self { path, batches, schema: schema.clone() })
    }

    /// The next rows; None at the end.
    ///
    /// # Errors
    /// The storage's, or the file is damaged.
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.batches.try_next().await.map_err(|error| damaged(&self.path, error))? {
            Some(batch) => conform(&batch, &self.schema).map(Some),
            None => Ok(None),
        }
    }
}

fn damaged(path: &str, error: ParquetError) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the data file {path} cannot be read")).with_source(error)
}

/// A file in memory.
struct Whole(Bytes);

#[async_trait]
impl FileRead for Whole {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let (start, end) = (usize::try_from(range.start).ok(), usize::try_from(range.end).ok());
        match (start, end) {
            (Some(start), Some(end)) if start <= end && end <= self.0.len() => Ok(self.0.slice(start..end)),
            _ => {
                let what = format!("the file ends at {} bytes, before {}", self.0.len(), range.end);
                Err(Error::new(ErrorKind::DataInvalid, what))
            }
        }
    }
}

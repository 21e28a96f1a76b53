//! A Parquet file, opened.
//!
//! In: where it lies, how large it is, and the fields that are wanted. Out: its rows in the columns that it has of these, and how
//! many bytes are held while they are read. Refused: a file whose columns have no ids.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err};
use datafusion::error::DataFusionError;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::arrow::ArrowFileReader;
use iceberg::io::{FileIO, FileMetadata};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};

use super::adapt;
use crate::external;

/// Opens a file.
pub(super) async fn open(
    file_io: &FileIO,
    path: &str,
    size: u64,
    wanted: &SchemaRef,
    batch_size: usize,
) -> Result<(BoxStream<'static, Result<RecordBatch>>, usize)> {
    let named = {
        let path = path.to_owned();
        move |error: DataFusionError| error.context(format!("reading {path}"))
    };
    let input = file_io.new_input(path).map_err(external)?;
    let bytes = input.reader().await.map_err(external).map_err(&named)?;
    let reader = ArrowFileReader::new(FileMetadata { size }, bytes);
    // By the types of Parquet: those of the program that wrote it are of no interest.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchStreamBuilder::new_with_options(reader, options).await;
    let builder = builder.map_err(|error| named(DataFusionError::External(Box::new(error))))?;
    let fields = builder.schema().fields().clone();
    if fields.iter().any(|field| adapt::id(field).is_none()) {
        return exec_err!(
            "{path} has no field ids, so that its columns cannot be told: rewrite it, for example by compaction"
        );
    }
    let ids: Vec<i32> = wanted.fields().iter().filter_map(|field| adapt::id(field)).collect();
    let roots = ids.iter().filter_map(|id| adapt::position(&fields, *id));
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let held_bytes = builder.metadata().row_groups().iter().map(|group| {
        let columns = group.columns().iter().enumerate().filter(|(at, _)| mask.leaf_included(*at));
        columns
            .map(|(_, column)| usize::try_from(column.compressed_size()).unwrap_or_default())
            .sum::<usize>()
    });
    let held_bytes = held_bytes.max().unwrap_or_default();
    let batches = builder.with_projection(mask).with_batch_size(batch_size).build();
    let batches = batches.map_err(|error| named(DataFusionError::External(Box::new(error))))?;
    let named = Arc::new(named);
    Ok((batches.map_err(move |error| named(DataFusionError::External(Box::new(error)))).boxed(), held_bytes))
}

//! A data file -> the schema to read it by.
//!
//! In: a scan task. Out: the columns that the file itself has, by the names that they have in the table now. The library
//! cannot read a struct that has got fields, or fields of wider types, since the file was written. None for a file without
//! field ids: another engine wrote it, and the library finds its columns by name.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::arrow::arrow_schema_to_schema;
use iceberg::io::FileIO;
use iceberg::scan::FileScanTask;
use iceberg::spec::{Schema, SchemaRef};
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

/// Enough for most footers.
const FOOTER_BYTES: u64 = 64 * 1024;

/// # Errors
/// The storage's, or the file is damaged.
pub(super) async fn layout(
    file_io: &FileIO,
    task: &FileScanTask,
    table: &Schema,
) -> Result<Option<SchemaRef>> {
    let damaged = |error: ParquetError| {
        let what = format!("the data file {} has no footer", task.data_file_path);
        Error::new(ErrorKind::DataInvalid, what).with_source(error)
    };
    let file = file_io.new_input(&task.data_file_path)?.reader().await?;
    let size = task.file_size_in_bytes;
    let mut footer = ParquetMetaDataReader::new();
    let mut wanted = FOOTER_BYTES.min(size);
    loop {
        let bytes = file.read(size - wanted..size).await?;
        match footer.try_parse_sized(&bytes, size) {
            Ok(()) => break,
            Err(ParquetError::NeedMoreData(needed)) if (wanted..=size).contains(&(needed as u64)) => {
                wanted = needed as u64;
            }
            Err(error) => return Err(damaged(error)),
        }
    }
    let metadata = footer.finish().map_err(damaged)?;
    let parquet = metadata.file_metadata();
    let arrow =
        parquet_to_arrow_schema(parquet.schema_descr(), parquet.key_value_metadata()).map_err(damaged)?;
    let Ok(schema) = arrow_schema_to_schema(&arrow) else { return Ok(None) };
    let names: HashMap<i32, &str> =
        table.as_struct().fields().iter().map(|field| (field.id, field.name.as_str())).collect();
    let fields = schema.as_struct().fields().iter().filter_map(|field| {
        let mut field = field.as_ref().clone();
        (*names.get(&field.id)?).clone_into(&mut field.name);
        Some(Arc::new(field))
    });
    Ok(Some(Schema::builder().with_fields(fields).build()?.into()))
}

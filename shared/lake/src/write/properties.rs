//! Table properties -> how Parquet files are written.
//!
//! In: the table's properties (Iceberg documentation, "Configuration", "Write properties"). Out: the Parquet writer's
//! settings, with Iceberg's defaults. A value that is not understood is refused rather than replaced.

use std::fmt::Display;
use std::str::FromStr;

use iceberg::spec::{SchemaRef, TableMetadata};
use iceberg::{Error, ErrorKind, Result};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;
use records::enrich::RECORD_ID;

/// Bytes of a minimum or maximum that are kept. parquet rounds the shortened maximum up, so bounds stay right. Enough to
/// tell the URIs of Firehose's objects apart down to their time.
const BOUND_BYTES: usize = 128;

#[derive(Debug)]
pub(super) struct FileProperties {
    pub(super) schema: SchemaRef,
    pub(super) parquet: WriterProperties,
    pub(super) row_group_bytes: usize,
    pub(super) target_file_bytes: usize,
}

impl FileProperties {
    pub(super) fn new(metadata: &TableMetadata) -> Result<Self> {
        let bytes = |name, default| property(metadata, name, default);
        let mut parquet = WriterProperties::builder()
            .set_created_by(concat!("frazil version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(compression(metadata)?)
            .set_data_page_size_limit(bytes("write.parquet.page-size-bytes", 1024 * 1024)?)
            .set_data_page_row_count_limit(bytes("write.parquet.page-row-limit", 20_000)?)
            .set_dictionary_page_size_limit(bytes("write.parquet.dict-size-bytes", 2 * 1024 * 1024)?)
            .set_statistics_truncate_length(Some(BOUND_BYTES))
            .set_column_index_truncate_length(Some(BOUND_BYTES))
            // Row groups end by size, not by rows.
            .set_max_row_group_row_count(None);
        // Every value is another one: a dictionary is built only to be thrown away.
        parquet = parquet.set_column_dictionary_enabled(ColumnPath::from(RECORD_ID), false);
        Ok(Self {
            schema: metadata.current_schema().clone(),
            parquet: parquet.build(),
            row_group_bytes: bytes("write.parquet.row-group-size-bytes", 128 * 1024 * 1024)?,
            target_file_bytes: bytes("write.target-file-size-bytes", 512 * 1024 * 1024)?,
        })
    }
}

fn compression(metadata: &TableMetadata) -> Result<Compression> {
    const CODEC: &str = "write.parquet.compression-codec";
    const LEVEL: &str = "write.parquet.compression-level";
    let codec: String = property(metadata, CODEC, "zstd".to_owned())?;
    match codec.to_ascii_lowercase().as_str() {
        "zstd" => ZstdLevel::try_new(property(metadata, LEVEL, 3)?).map(Compression::ZSTD),
        "gzip" => GzipLevel::try_new(property(metadata, LEVEL, 6)?).map(Compression::GZIP),
        "snappy" => Ok(Compression::SNAPPY),
        "lz4" => Ok(Compression::LZ4_RAW),
        "uncompressed" | "none" => Ok(Compression::UNCOMPRESSED),
        _ => return Err(refused(CODEC, &codec, "zstd, snappy, gzip, lz4 or uncompressed")),
    }
    .map_err(|error| refused(LEVEL, &error.to_string(), "a level that the codec has"))
}

fn property<T: FromStr + Display>(metadata: &TableMetadata, name: &str, default: T) -> Result<T> {
    match metadata.properties().get(name).map(String::as_str) {
        None | Some("null") => Ok(default),
        Some(value) => value.parse().map_err(|_| refused(name, value, "a whole number")),
    }
}

fn refused(name: &str, value: &str, expected: &str) -> Error {
    let what = format!("table property {name}={value}: expected {expected}");
    Error::new(ErrorKind::FeatureUnsupported, what)
}

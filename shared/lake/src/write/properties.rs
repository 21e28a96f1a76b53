//! Table properties -> how Parquet files are written.
//!
//! In: the table's properties (Iceberg documentation, "Configuration", "Write properties"). Out: the Parquet writer's
//! settings and what manifests say of each column, with Iceberg's defaults. A value that is not understood is refused
//! rather than replaced.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::SchemaRef as ArrowSchemaRef;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{SchemaRef, TableMetadata};
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::schema::types::{ColumnPath, TypePtr};
use records::enrich::RECORD_ID;

use crate::decode::FILE_NAME;

/// Bytes of a minimum or maximum that are kept. parquet rounds the shortened maximum up, so bounds stay right. Enough to
/// tell the URIs of Firehose's objects apart down to their time.
pub(super) const BOUND_BYTES: usize = 128;
const TARGET_FILE_BYTES: &str = "write.target-file-size-bytes";
const DEFAULT_TARGET_FILE_BYTES: usize = 512 << 20;
/// Longest character, in bytes: `truncate` counts characters.
const CHARACTER_BYTES: usize = 4;

#[derive(Debug)]
pub(super) struct FileProperties {
    pub(super) schema: SchemaRef,
    pub(super) arrow: ArrowSchemaRef,
    /// The same as Parquet's schema.
    pub(super) root: TypePtr,
    /// Columns of that: those of structs, lists and maps each count.
    pub(super) leaves: usize,
    pub(super) parquet: WriterPropertiesPtr,
    /// For columns without a value, or of values that hardly ever come again.
    pub(super) no_dictionary: WriterPropertiesPtr,
    pub(super) row_group_bytes: usize,
    pub(super) target_file_bytes: usize,
    metrics: Metrics,
}

/// What a manifest says of a column (Iceberg documentation, "Write properties": `write.metadata.metrics`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricsMode {
    /// Its size in the file.
    None,
    /// That, and how many values and nulls there are.
    Counts,
    /// That, and bounds as short as Parquet's: nothing else was said.
    Inferred,
    /// Bounds of so many characters or bytes.
    Truncate(usize),
    /// That, and whole bounds.
    Full,
}

/// The mode of each column, by field id.
#[derive(Debug)]
struct Metrics {
    columns: HashMap<i32, MetricsMode>,
    default: MetricsMode,
}

impl FileProperties {
    pub(super) fn new(metadata: &TableMetadata) -> Result<Self> {
        let bytes = |name, default| property(metadata, name, default);
        let schema = metadata.current_schema().clone();
        let metrics = Metrics::new(metadata)?;
        let compression = compression(metadata)?;
        let mut parquet = WriterProperties::builder()
            .set_created_by(concat!("frazil version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(compression)
            .set_data_page_size_limit(bytes("write.parquet.page-size-bytes", 1024 * 1024)?)
            .set_data_page_row_count_limit(bytes("write.parquet.page-row-limit", 20_000)?)
            .set_dictionary_page_size_limit(bytes("write.parquet.dict-size-bytes", 2 * 1024 * 1024)?)
            .set_statistics_truncate_length(metrics.bound_bytes())
            .set_column_index_truncate_length(Some(BOUND_BYTES))
            // Row groups end by size, not by rows.
            .set_max_row_group_row_count(None);
        // Every value is another one, of random digits: a dictionary is built only to be thrown away, and to look for repetitions
        // takes time and makes the pages larger.
        let record_id = ColumnPath::from(RECORD_ID);
        parquet = parquet.set_column_dictionary_enabled(record_id.clone(), false);
        if let Compression::ZSTD(level) = compression
            && level.compression_level() > 1
        {
            parquet = parquet.set_column_compression(record_id, Compression::ZSTD(ZstdLevel::default()));
        }
        let arrow: ArrowSchemaRef = Arc::new(schema_to_arrow_schema(&schema)?);
        let root = ArrowSchemaConverter::new().convert(&arrow).map_err(|error| {
            Error::new(ErrorKind::FeatureUnsupported, "Parquet has no such schema").with_source(error)
        })?;
        let no_dictionary = parquet.clone().set_dictionary_enabled(false).build();
        let mut parquet = parquet.build();
        add_encoded_arrow_schema_to_metadata(&arrow, &mut parquet);
        Ok(Self {
            schema,
            arrow,
            root: root.root_schema_ptr(),
            leaves: root.num_columns(),
            parquet: Arc::new(parquet),
            no_dictionary: Arc::new(no_dictionary),
            row_group_bytes: bytes("write.parquet.row-group-size-bytes", 128 * 1024 * 1024)?,
            target_file_bytes: bytes(TARGET_FILE_BYTES, DEFAULT_TARGET_FILE_BYTES)?,
            metrics,
        })
    }

    /// What the manifest says of the column with the field id `id`.
    pub(super) fn metrics(&self, id: i32) -> MetricsMode {
        self.metrics.columns.get(&id).copied().unwrap_or(self.metrics.default)
    }
}

impl Metrics {
    fn new(metadata: &TableMetadata) -> Result<Self> {
        const COLUMN: &str = "write.metadata.metrics.column.";
        const DEFAULT: &str = "write.metadata.metrics.default";
        const MAX_INFERRED: &str = "write.metadata.metrics.max-inferred-column-defaults";
        let schema = metadata.current_schema();
        let inferred = MetricsMode::Inferred;
        let mut columns = HashMap::new();
        let default = match metadata.properties().get(DEFAULT) {
            Some(value) => MetricsMode::parse(DEFAULT, value)?,
            None => {
                // Without a word of the user's, as many columns as Iceberg's own writers describe.
                let most: usize = property(metadata, MAX_INFERRED, 100)?;
                let mut ids: Vec<i32> = schema.field_id_to_name_map().keys().copied().collect();
                ids.retain(|id| schema.field_by_id(*id).is_some_and(|field| field.field_type.is_primitive()));
                ids.sort_unstable();
                match ids.len() <= most {
                    true => inferred,
                    false => {
                        columns.extend(ids.into_iter().take(most).map(|id| (id, inferred)));
                        MetricsMode::None
                    }
                }
            }
        };
        // Queries prune by the order, and redelivery is found by the file name.
        let sorted: HashSet<i32> =
            metadata.default_sort_order().fields.iter().map(|field| field.source_id).collect();
        let file_name = schema.field_by_name(FILE_NAME).map(|field| field.id);
        let always = sorted.into_iter().chain(file_name);
        for id in always {
            if matches!(columns.get(&id).unwrap_or(&default), MetricsMode::None | MetricsMode::Counts) {
                columns.insert(id, inferred);
            }
        }
        for (name, value) in metadata.properties() {
            let Some(column) = name.strip_prefix(COLUMN) else { continue };
            // A column that is gone leaves its property behind.
            let Some(field) = schema.field_by_name(column) else { continue };
            columns.insert(field.id, MetricsMode::parse(name, value)?);
        }
        Ok(Self { columns, default })
    }

    /// Bytes that Parquet must keep of a bound; None for all of them.
    fn bound_bytes(&self) -> Option<usize> {
        let modes = self.columns.values().chain([&self.default]);
        let mut most = BOUND_BYTES;
        for mode in modes {
            match mode {
                MetricsMode::None | MetricsMode::Counts | MetricsMode::Inferred => {}
                MetricsMode::Truncate(length) => most = most.max(length.saturating_mul(CHARACTER_BYTES)),
                MetricsMode::Full => return None,
            }
        }
        Some(most)
    }
}

impl MetricsMode {
    fn parse(name: &str, value: &str) -> Result<Self> {
        let lower = value.trim().to_ascii_lowercase();
        let length = lower.strip_prefix("truncate(").and_then(|rest| rest.strip_suffix(')'));
        match (lower.as_str(), length.and_then(|length| length.trim().parse().ok())) {
            ("none", _) => Ok(Self::None),
            ("counts", _) => Ok(Self::Counts),
            ("full", _) => Ok(Self::Full),
            (_, Some(length)) if length > 0 => Ok(Self::Truncate(length)),
            _ => Err(refused(name, value, "none, counts, truncate(N) or full")),
        }
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

/// Bytes that a data file of the table should have.
///
/// # Errors
/// The property is no number.
pub(crate) fn target_file_bytes(metadata: &TableMetadata) -> Result<u64> {
    property(metadata, TARGET_FILE_BYTES, DEFAULT_TARGET_FILE_BYTES).map(|bytes| bytes as u64)
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

//! The footer of a Parquet file -> the file's entry in a manifest.
//!
//! In: Parquet's metadata of a finished file. Out: a [`DataFile`] (Iceberg specification, "Manifests", "Data File
//! Fields"). Lower and upper bounds may be wider than the values, never narrower: a bound is left out unless every
//! row group with values has one. Columns within lists and maps get none, as in Iceberg's Java library. The table's
//! properties say of which columns there are counts and bounds, and how long those are.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveLiteral, PrimitiveType,
    SchemaRef, Struct, Type,
};
use iceberg::{Error, ErrorKind, Result};
use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::properties::{BOUND_BYTES, FileProperties, MetricsMode};

/// Counts and bounds of one column over the row groups.
#[derive(Default)]
struct ColumnMetrics {
    size_bytes: u64,
    values: u64,
    nulls: u64,
    /// None once a row group had values without a bound.
    bounds: Bounds,
}

#[derive(Default)]
enum Bounds {
    #[default]
    Empty,
    Known(Datum, Datum),
    Unknown,
}

pub(super) fn describe(
    path: String,
    partition: Struct,
    partition_spec_id: i32,
    properties: &FileProperties,
    metadata: &ParquetMetaData,
    size_bytes: u64,
) -> Result<DataFile> {
    let schema = &properties.schema;
    let mut metrics: HashMap<i32, ColumnMetrics> = HashMap::new();
    for column in metadata.row_groups().iter().flat_map(|row_group| row_group.columns()) {
        let info = column.column_descr().self_type().get_basic_info();
        if info.has_id() {
            metrics.entry(info.id()).or_default().add(column, info.id(), schema);
        }
    }
    let (mut lower, mut upper) = (HashMap::new(), HashMap::new());
    for (id, column) in &metrics {
        if let Bounds::Known(low, high) = &column.bounds {
            match properties.metrics(*id) {
                MetricsMode::None | MetricsMode::Counts => {}
                MetricsMode::Inferred => {
                    // Where there is none that short, Parquet's own stands.
                    lower.insert(*id, shortened_lower(low, BOUND_BYTES));
                    upper.insert(*id, shortened_upper(high, BOUND_BYTES).unwrap_or_else(|| high.clone()));
                }
                MetricsMode::Truncate(length) => {
                    lower.insert(*id, shortened_lower(low, length));
                    upper.extend(shortened_upper(high, length).map(|high| (*id, high)));
                }
                MetricsMode::Full => {
                    lower.insert(*id, low.clone());
                    upper.insert(*id, high.clone());
                }
            }
        }
    }
    let per_column =
        |count: fn(&ColumnMetrics) -> u64| metrics.iter().map(|(id, column)| (*id, count(column))).collect();
    let counts = |count: fn(&ColumnMetrics) -> u64| {
        let counted = metrics.iter().filter(|(id, _)| properties.metrics(**id) != MetricsMode::None);
        counted.map(|(id, column)| (*id, count(column))).collect()
    };
    let split_offsets =
        metadata.row_groups().iter().filter_map(|row_group| row_group.file_offset()).collect();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(partition)
        .partition_spec_id(partition_spec_id)
        .record_count(metadata.file_metadata().num_rows() as u64)
        .file_size_in_bytes(size_bytes)
        .column_sizes(per_column(|column| column.size_bytes))
        .value_counts(counts(|column| column.values))
        .null_value_counts(counts(|column| column.nulls))
        .lower_bounds(lower)
        .upper_bounds(upper)
        .split_offsets(Some(split_offsets))
        .build()
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("incomplete data file entry: {error}")))
}

/// About how many bytes of memory `entry` takes until the commit is done.
pub(super) fn memory_bytes(entry: &DataFile) -> usize {
    const ENTRY: usize = 1024;
    const COUNT: usize = 32;
    const BOUND: usize = 160;
    let counts = entry.column_sizes().len() + entry.value_counts().len() + entry.null_value_counts().len();
    let bounds = entry.lower_bounds().len() + entry.upper_bounds().len();
    // The commit holds it once more as it writes the manifest.
    2 * (ENTRY + entry.file_path().len() + counts * COUNT + bounds * BOUND)
}

/// A lower bound of at most `length` characters or bytes.
fn shortened_lower(bound: &Datum, length: usize) -> Datum {
    match (bound.literal(), bound.data_type()) {
        (PrimitiveLiteral::String(text), _) if text.chars().nth(length).is_some() => {
            Datum::string(text.chars().take(length).collect::<String>())
        }
        (PrimitiveLiteral::Binary(bytes), PrimitiveType::Binary) if bytes.len() > length => {
            Datum::binary(bytes[..length].iter().copied())
        }
        _ => bound.clone(),
    }
}

/// An upper bound of at most `length` characters or bytes; none if there is none that short.
fn shortened_upper(bound: &Datum, length: usize) -> Option<Datum> {
    match (bound.literal(), bound.data_type()) {
        (PrimitiveLiteral::String(text), _) if text.chars().nth(length).is_some() => {
            let mut kept: Vec<char> = text.chars().take(length).collect();
            while let Some(last) = kept.pop() {
                if let Some(next) = (last..=char::MAX).nth(1) {
                    kept.push(next);
                    return Some(Datum::string(kept.into_iter().collect::<String>()));
                }
            }
            None
        }
        (PrimitiveLiteral::Binary(bytes), PrimitiveType::Binary) if bytes.len() > length => {
            let mut kept = bytes[..length].to_vec();
            while let Some(last) = kept.pop() {
                if let Some(next) = last.checked_add(1) {
                    kept.push(next);
                    return Some(Datum::binary(kept));
                }
            }
            None
        }
        _ => Some(bound.clone()),
    }
}

impl ColumnMetrics {
    fn add(&mut self, column: &ColumnChunkMetaData, id: i32, schema: &SchemaRef) {
        let nulls = column.statistics().and_then(|statistics| statistics.null_count_opt()).unwrap_or(0);
        let values = column.num_values() as u64;
        self.size_bytes += column.compressed_size() as u64;
        self.values += values;
        self.nulls += nulls;
        if values == nulls || matches!(self.bounds, Bounds::Unknown) {
            return;
        }
        self.bounds = match (chunk_bounds(column, id, schema), std::mem::take(&mut self.bounds)) {
            (None, _) => Bounds::Unknown,
            (Some((low, high)), Bounds::Known(lower, upper)) => {
                Bounds::Known(if low < lower { low } else { lower }, if high > upper { high } else { upper })
            }
            (Some((low, high)), _) => Bounds::Known(low, high),
        };
    }
}

/// The least and greatest value of a column chunk, or what bounds them.
fn chunk_bounds(column: &ColumnChunkMetaData, id: i32, schema: &SchemaRef) -> Option<(Datum, Datum)> {
    let statistics = column.statistics()?;
    if column.column_descr().max_rep_level() > 0 {
        return None;
    }
    let Type::Primitive(kind) = schema.field_by_id(id)?.field_type.as_ref() else { return None };
    let datum = |bytes: &[u8]| datum(bytes, column.column_type(), kind);
    Some((datum(statistics.min_bytes_opt()?)?, datum(statistics.max_bytes_opt()?)?))
}

/// A value as Parquet's statistics hold it, which is how Iceberg's single-value serialization holds it too
/// (Iceberg specification, Appendix D), but for decimals.
fn datum(bytes: &[u8], physical: PhysicalType, kind: &PrimitiveType) -> Option<Datum> {
    let big_endian;
    let bytes = match (kind, physical) {
        (PrimitiveType::Decimal { .. }, PhysicalType::INT32 | PhysicalType::INT64) => {
            big_endian = bytes.iter().rev().copied().collect::<Vec<u8>>();
            &big_endian
        }
        _ => bytes,
    };
    Datum::try_from_bytes(bytes, kind.clone()).ok()
}

//! Columns of a data file -> columns of the table's schema.
//!
//! In: a batch as a Parquet file holds it, whose fields have ids. Out: the same values in the table's current schema: fields
//! by id, those that the file lacks as nulls, those that were promoted since as the wider type (Iceberg specification,
//! "Column Projection" and "Schema Evolution"). Values are never changed. Refused: fields without ids, and types that
//! Iceberg does not read as the column's.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{
    Array as _, ArrayRef, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Fields, SchemaRef};
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// The id that Iceberg knows a field by.
pub(super) fn id_of(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

/// The rows of `batch` in `schema`.
///
/// # Errors
/// A column that cannot be read as the table's.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let (from, rows) = (batch.schema(), batch.num_rows());
    let columns = children(from.fields(), batch.columns(), schema.fields(), rows)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(unlike)
}

fn children(from: &Fields, columns: &[ArrayRef], to: &Fields, rows: usize) -> Result<Vec<ArrayRef>> {
    let one = |field: &FieldRef| {
        let id = id_of(field);
        let own = from.iter().zip(columns).find(|(own, _)| id.is_some() && id_of(own) == id);
        match own {
            Some((own, column)) => column_of(own, column, field),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), rows)),
            None => Err(refused(format!("the file lacks the required column {}", field.name()))),
        }
    };
    to.iter().map(one).collect()
}

fn column_of(from: &FieldRef, column: &ArrayRef, to: &FieldRef) -> Result<ArrayRef> {
    let nulls = column.nulls().cloned();
    Ok(match (from.data_type(), to.data_type()) {
        (own, wanted) if own == wanted => column.clone(),
        (DataType::Struct(own), DataType::Struct(wanted)) => {
            let columns = children(own, column.as_struct().columns(), wanted, column.len())?;
            let array = StructArray::try_new_with_length(wanted.clone(), columns, nulls, column.len());
            Arc::new(array.map_err(unlike)?)
        }
        (DataType::List(own), DataType::List(wanted)) => {
            let list = column.as_list::<i32>();
            let values = matching(own, list.values(), wanted)?;
            Arc::new(
                ListArray::try_new(wanted.clone(), list.offsets().clone(), values, nulls).map_err(unlike)?,
            )
        }
        (DataType::Map(own, _), DataType::Map(wanted, is_sorted)) => {
            let map = column.as_map();
            let (DataType::Struct(own), DataType::Struct(kinds)) = (own.data_type(), wanted.data_type())
            else {
                return Err(no_way(from, to));
            };
            let entries = children(own, map.entries().columns(), kinds, map.entries().len())?;
            let entries = StructArray::try_new(kinds.clone(), entries, None).map_err(unlike)?;
            let offsets = map.offsets().clone();
            Arc::new(MapArray::try_new(wanted.clone(), offsets, entries, nulls, *is_sorted).map_err(unlike)?)
        }
        (own, wanted) if keeps_values(own, wanted) => cast(column, wanted).map_err(unlike)?,
        _ => return Err(no_way(from, to)),
    })
}

/// The elements of a list, which the field `wanted` is of.
fn matching(own: &FieldRef, values: &ArrayRef, wanted: &FieldRef) -> Result<ArrayRef> {
    match id_of(own) == id_of(wanted) {
        true => column_of(own, values, wanted),
        false => Err(no_way(own, wanted)),
    }
}

/// Whether every value of `own` is one of `wanted`: promotions, and other ways to hold the same.
fn keeps_values(own: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Binary, Decimal128, Float32, Float64, Int32, Int64, LargeBinary, LargeUtf8, Timestamp, Utf8,
    };
    match (own, wanted) {
        (Int32, Int64) | (Float32, Float64) | (Binary, LargeBinary) | (LargeUtf8, Utf8) => true,
        (Decimal128(digits, scale), Decimal128(more, same)) => more >= digits && scale == same,
        // All of them are of UTC, by whatever name.
        (Timestamp(unit, zone), Timestamp(same, other)) => unit == same && zone.is_some() == other.is_some(),
        _ => false,
    }
}

fn no_way(from: &Field, to: &Field) -> Error {
    refused(format!("the file holds {} as {}, not as {}", to.name(), from.data_type(), to.data_type()))
}

fn refused(what: String) -> Error {
    Error::new(ErrorKind::FeatureUnsupported, what)
}

fn unlike(error: ArrowError) -> Error {
    Error::new(ErrorKind::FeatureUnsupported, "the file does not have the table's columns").with_source(error)
}

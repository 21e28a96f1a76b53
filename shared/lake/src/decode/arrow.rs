//! Columns -> Arrow arrays.
//!
//! In: columns and the number of their rows. Out: arrays of the Iceberg types' Arrow mapping; the columns are empty
//! afterwards. A column without any value becomes an array of nulls (of zeros where the column is required: its parent is
//! null there) over zeros that all such columns share.

use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray, ListArray, MapArray,
    PrimitiveArray, StringArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};

use super::column::{Column, Values};
use super::members::Members;
use super::zeros::Zeros;

/// Most room that a column keeps from one batch to the next.
const MAX_RESERVED_BYTES: usize = 256 << 10;

impl Members {
    pub(super) fn finish(&mut self, rows: usize, zeros: &mut Zeros) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.iter_mut().map(|column| column.finish(rows, zeros)).collect()
    }
}

impl Column {
    /// `rows` values as an Arrow array; the column is empty afterwards.
    pub(super) fn finish(&mut self, rows: usize, zeros: &mut Zeros) -> Result<ArrayRef, ArrowError> {
        if self.len() == 0 && rows > 0 {
            return self.blank(rows, zeros);
        }
        self.fill(rows);
        let nulls = self.nulls.finish().filter(|nulls| nulls.null_count() > 0);
        let data_type = self.field.data_type().clone();
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => primitive::<Int32Type>(values, nulls, data_type)?,
            Values::Long(values) => primitive::<Int64Type>(values, nulls, data_type)?,
            Values::Float(values) => primitive::<Float32Type>(values, nulls, data_type)?,
            Values::Double(values) => primitive::<Float64Type>(values, nulls, data_type)?,
            Values::Decimal { values, .. } => primitive::<Decimal128Type>(values, nulls, data_type)?,
            Values::Date(values) => primitive::<Date32Type>(values, nulls, data_type)?,
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, data_type)?,
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, data_type)?,
            Values::TimestampNanos(values) => primitive::<TimestampNanosecondType>(values, nulls, data_type)?,
            Values::String { offsets, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(StringArray::try_new(offsets, Buffer::from_vec(renew(bytes, Vec::new())), nulls)?)
            }
            Values::Binary { offsets, bytes } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(LargeBinaryArray::try_new(
                    offsets,
                    Buffer::from_vec(renew(bytes, Vec::new())),
                    nulls,
                )?)
            }
            Values::Uuid(bytes) => {
                Arc::new(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(std::mem::take(bytes)), nulls)?)
            }
            Values::Fixed { width, bytes } => {
                let bytes = Buffer::from_vec(std::mem::take(bytes));
                Arc::new(FixedSizeBinaryArray::try_new(*width as i32, bytes, nulls)?)
            }
            Values::Struct(members) => {
                let DataType::Struct(fields) = data_type else { return Err(mapping(&self.name)) };
                Arc::new(StructArray::try_new_with_length(fields, members.finish(rows, zeros)?, nulls, rows)?)
            }
            Values::List { offsets, element } => {
                let DataType::List(field) = data_type else { return Err(mapping(&self.name)) };
                let element = element.finish(offsets[offsets.len() - 1] as usize, zeros)?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(ListArray::try_new(field, offsets, element, nulls)?)
            }
            Values::Map { offsets, key, value } => {
                let DataType::Map(field, sorted) = data_type else { return Err(mapping(&self.name)) };
                let DataType::Struct(fields) = field.data_type() else { return Err(mapping(&self.name)) };
                let count = offsets[offsets.len() - 1] as usize;
                let columns = vec![key.finish(count, zeros)?, value.finish(count, zeros)?];
                let entries = StructArray::try_new(fields.clone(), columns, None)?;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(renew(offsets, vec![0])));
                Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted)?)
            }
        })
    }

    /// `rows` values that the column has none of, over zeros.
    fn blank(&mut self, rows: usize, zeros: &mut Zeros) -> Result<ArrayRef, ArrowError> {
        let nulls = (!self.required).then(|| zeros.nulls(rows));
        let data_type = self.field.data_type().clone();
        macro_rules! primitive {
            ($kind:ty) => {
                Arc::new(
                    PrimitiveArray::<$kind>::try_new(zeros.values(rows), nulls)?.with_data_type(data_type),
                )
            };
        }
        Ok(match &mut self.values {
            Values::Boolean(_) => {
                Arc::new(BooleanArray::new(BooleanBuffer::new(zeros.bytes(rows.div_ceil(8)), 0, rows), nulls))
            }
            Values::Int(_) => primitive!(Int32Type),
            Values::Long(_) => primitive!(Int64Type),
            Values::Float(_) => primitive!(Float32Type),
            Values::Double(_) => primitive!(Float64Type),
            Values::Decimal { .. } => primitive!(Decimal128Type),
            Values::Date(_) => primitive!(Date32Type),
            Values::Time(_) => primitive!(Time64MicrosecondType),
            Values::Timestamp(_) => primitive!(TimestampMicrosecondType),
            Values::TimestampNanos(_) => primitive!(TimestampNanosecondType),
            Values::String { .. } => {
                let offsets = OffsetBuffer::new(zeros.values(rows + 1));
                Arc::new(StringArray::try_new(offsets, Buffer::default(), nulls)?)
            }
            Values::Binary { .. } => {
                let offsets = OffsetBuffer::new(zeros.values(rows + 1));
                Arc::new(LargeBinaryArray::try_new(offsets, Buffer::default(), nulls)?)
            }
            Values::Uuid(_) => {
                let bytes = zeros.bytes(rows * 16).slice_with_length(0, rows * 16);
                Arc::new(FixedSizeBinaryArray::try_new(16, bytes, nulls)?)
            }
            Values::Fixed { width, .. } => {
                let bytes = zeros.bytes(rows * *width).slice_with_length(0, rows * *width);
                Arc::new(FixedSizeBinaryArray::try_new(*width as i32, bytes, nulls)?)
            }
            Values::Struct(members) => {
                let DataType::Struct(fields) = data_type else { return Err(mapping(&self.name)) };
                Arc::new(StructArray::try_new_with_length(fields, members.finish(rows, zeros)?, nulls, rows)?)
            }
            Values::List { element, .. } => {
                let DataType::List(field) = data_type else { return Err(mapping(&self.name)) };
                let offsets = OffsetBuffer::new(zeros.values(rows + 1));
                Arc::new(ListArray::try_new(field, offsets, element.finish(0, zeros)?, nulls)?)
            }
            Values::Map { key, value, .. } => {
                let DataType::Map(field, sorted) = data_type else { return Err(mapping(&self.name)) };
                let DataType::Struct(fields) = field.data_type() else { return Err(mapping(&self.name)) };
                let columns = vec![key.finish(0, zeros)?, value.finish(0, zeros)?];
                let entries = StructArray::try_new(fields.clone(), columns, None)?;
                let offsets = OffsetBuffer::new(zeros.values(rows + 1));
                Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted)?)
            }
        })
    }
}

/// Takes `values` out and leaves `fresh` with as much room as they had, but not as much as a single huge row needs.
fn renew<T>(values: &mut Vec<T>, mut fresh: Vec<T>) -> Vec<T> {
    fresh.reserve(values.len().min(MAX_RESERVED_BYTES / size_of::<T>()));
    std::mem::replace(values, fresh)
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    data_type: DataType,
) -> Result<ArrayRef, ArrowError> {
    let values = renew(values, Vec::new());
    Ok(Arc::new(PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls)?.with_data_type(data_type)))
}

fn mapping(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name:?} has another Arrow type than its Iceberg type maps to"))
}

//! Columns without a value.
//!
//! In: how many rows. Out: an Arrow array of nulls (zeros where the column is required: its parent is null there) that
//! takes no memory of its own: all such columns share one buffer.

use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray, ListArray, MapArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow_buffer::{ArrowNativeType, BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};

use super::column::{Column, Values, mapping};

/// Zeros that columns without values share.
#[derive(Debug, Default)]
pub(super) struct Zeros(Option<Buffer>);

impl Zeros {
    /// At least so many bytes.
    fn bytes(&mut self, bytes: usize) -> Buffer {
        match &self.0 {
            Some(zeros) if zeros.len() >= bytes => zeros.clone(),
            _ => self.0.insert(Buffer::from_vec(vec![0_u8; bytes.next_multiple_of(64)])).clone(),
        }
    }

    fn values<T: ArrowNativeType>(&mut self, count: usize) -> ScalarBuffer<T> {
        // 16 bytes are the widest, so that one buffer serves all.
        ScalarBuffer::new(self.bytes(count * 16), 0, count)
    }

    fn nulls(&mut self, count: usize) -> NullBuffer {
        NullBuffer::new(BooleanBuffer::new(self.bytes(count.div_ceil(8)), 0, count))
    }
}

impl Column {
    /// `rows` values that the column has none of, over zeros.
    pub(super) fn blank(&mut self, rows: usize, zeros: &mut Zeros) -> Result<ArrayRef, ArrowError> {
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

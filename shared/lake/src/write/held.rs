//! Values of a column, held without its nulls.
//!
//! In: Arrow arrays. Out: the same values as arrays of as many rows as asked for. Null costs a bit, at any depth of
//! structs; lists and maps are held as they are.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, BooleanArray, StructArray, UInt32Array, new_empty_array, new_null_array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, NullBuffer};
use arrow_schema::{ArrowError, DataType, FieldRef};
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use arrow_select::take::take;

/// Arrays that are held before they become one.
const MAX_PIECES: usize = 16;
/// What an array takes besides its values.
const PIECE_BYTES: usize = 256;

/// Values that are held.
pub(super) struct Held {
    field: FieldRef,
    validity: BooleanBufferBuilder,
    content: Content,
}

/// The values that are not null.
enum Content {
    Pieces { pieces: Vec<ArrayRef>, bytes: usize },
    Members(Vec<Held>),
}

impl Held {
    pub(super) fn new(field: &FieldRef) -> Self {
        let content = match field.data_type() {
            DataType::Struct(fields) => Content::Members(fields.iter().map(Self::new).collect()),
            _ => Content::Pieces { pieces: Vec::new(), bytes: 0 },
        };
        Self { field: field.clone(), validity: BooleanBufferBuilder::new(0), content }
    }

    pub(super) fn push(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        let valid = match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => {
                self.validity.append_n(array.len(), true);
                array.clone()
            }
            Some(nulls) => {
                self.validity.append_buffer(nulls.inner());
                if nulls.null_count() == nulls.len() {
                    return Ok(());
                }
                filter(array, &BooleanArray::new(nulls.inner().clone(), None))?
            }
        };
        match &mut self.content {
            Content::Members(members) => {
                for (member, array) in members.iter_mut().zip(valid.as_struct().columns()) {
                    member.push(array)?;
                }
            }
            Content::Pieces { pieces, bytes } => {
                *bytes += valid.to_data().get_slice_memory_size()?;
                pieces.push(valid);
                if pieces.len() > MAX_PIECES {
                    *pieces = vec![joined(&self.field, pieces)?];
                }
            }
        }
        Ok(())
    }

    /// Bytes of the values.
    pub(super) fn bytes(&self) -> usize {
        match &self.content {
            Content::Pieces { bytes, .. } => *bytes,
            Content::Members(members) => members.iter().map(Self::bytes).sum(),
        }
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let content = match &self.content {
            Content::Pieces { pieces, bytes } => bytes + pieces.len() * PIECE_BYTES,
            Content::Members(members) => members.iter().map(Self::memory_bytes).sum(),
        };
        content + self.validity.capacity() / 8
    }

    /// Whether there is a value that is not null.
    pub(super) fn has_values(&self) -> bool {
        match &self.content {
            Content::Pieces { pieces, .. } => !pieces.is_empty(),
            Content::Members(members) => members.iter().any(Self::has_values),
        }
    }

    /// The values that are not null, if the column is no struct.
    pub(super) fn values(&self) -> Option<&[ArrayRef]> {
        match &self.content {
            Content::Pieces { pieces, .. } => Some(pieces),
            Content::Members(_) => None,
        }
    }

    /// Hands over what is held; nothing is, afterwards.
    pub(super) fn take(&mut self) -> Result<Taken, ArrowError> {
        let content = match &mut self.content {
            Content::Pieces { pieces, bytes } => {
                *bytes = 0;
                TakenContent::Values { values: joined(&self.field, &std::mem::take(pieces))?, next: 0 }
            }
            Content::Members(members) => {
                TakenContent::Members(members.iter_mut().map(Self::take).collect::<Result<_, _>>()?)
            }
        };
        Ok(Taken { field: self.field.clone(), validity: self.validity.finish(), next: 0, content })
    }
}

/// Values that were held, handed over piece by piece.
pub(super) struct Taken {
    field: FieldRef,
    validity: BooleanBuffer,
    next: usize,
    content: TakenContent,
}

enum TakenContent {
    Values { values: ArrayRef, next: usize },
    Members(Vec<Taken>),
}

impl Taken {
    /// Rows that are left.
    pub(super) fn rows(&self) -> usize {
        self.validity.len() - self.next
    }

    /// The next `rows` rows.
    pub(super) fn next(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        let validity = self.validity.slice(self.next, rows);
        self.next += rows;
        let valid = validity.count_set_bits();
        if valid == 0 {
            return Ok(new_null_array(self.field.data_type(), rows));
        }
        // Where each row's value is among the valid ones.
        let mut at = 0;
        let indexes: Option<UInt32Array> = (valid < rows).then(|| {
            let place = |is_valid: bool| {
                at += u32::from(is_valid);
                is_valid.then(|| at - 1)
            };
            validity.iter().map(place).collect()
        });
        let spread = |values: &ArrayRef| match &indexes {
            Some(indexes) => take(values, indexes, None),
            None => Ok(values.clone()),
        };
        match &mut self.content {
            TakenContent::Values { values, next } => {
                let found = values.slice(*next, valid);
                *next += valid;
                spread(&found)
            }
            TakenContent::Members(members) => {
                let columns = members.iter_mut().map(|member| spread(&member.next(valid)?));
                let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
                let DataType::Struct(fields) = self.field.data_type() else {
                    return Err(ArrowError::SchemaError("a struct has another type".to_owned()));
                };
                let nulls = (valid < rows).then(|| NullBuffer::new(validity));
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?))
            }
        }
    }
}

fn joined(field: &FieldRef, pieces: &[ArrayRef]) -> Result<ArrayRef, ArrowError> {
    match pieces {
        [] => Ok(new_empty_array(field.data_type())),
        [piece] => Ok(piece.clone()),
        pieces => concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>()),
    }
}

//! What a row holds -> a digest of it that does not depend on the table's schema.
//!
//! In: columns of rows, those that append has decoded or that were read from a data file. Out: digests that are the same
//! where the values are. Fields are told by their ids, and a null is as if the field were not there: columns come later
//! than rows do, and within structs too.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType, Field};

use crate::digest::Digest;

/// Values of any type as text that differs where the values differ.
pub(super) const FORMAT: FormatOptions<'static> = FormatOptions::new().with_display_error(false);
/// Where Arrow keeps the id of a field.
const FIELD_ID: &str = "PARQUET:field_id";

/// The values of one field.
pub(super) struct Content<'a> {
    /// The field's id; its name where it has none.
    key: &'a str,
    array: &'a ArrayRef,
    values: Values<'a>,
}

enum Values<'a> {
    Leaf(ArrayFormatter<'a>),
    Struct(Vec<Content<'a>>),
    /// Where the elements of each row are, and these.
    List(&'a [i32], Box<Content<'a>>),
    /// Where the entries of each row are, and their keys and values.
    Map(&'a [i32], Vec<Content<'a>>),
}

impl<'a> Content<'a> {
    /// # Errors
    /// A type that Arrow cannot show.
    pub(super) fn of(field: &'a Field, array: &'a ArrayRef) -> Result<Self, ArrowError> {
        let key = field.metadata().get(FIELD_ID).map_or(field.name().as_str(), String::as_str);
        let values = match array.data_type() {
            DataType::Struct(fields) => Values::Struct(Self::all(fields, array.as_struct().columns())?),
            DataType::List(element) => {
                let list = array.as_list::<i32>();
                Values::List(list.value_offsets(), Box::new(Self::of(element, list.values())?))
            }
            DataType::Map(entries, _) => {
                let map = array.as_map();
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(ArrowError::SchemaError("a map without entries".to_owned()));
                };
                Values::Map(map.value_offsets(), Self::all(fields, map.entries().columns())?)
            }
            _ => Values::Leaf(ArrayFormatter::try_new(array, &FORMAT)?),
        };
        Ok(Self { key, array, values })
    }

    fn all(
        fields: impl IntoIterator<Item = &'a Arc<Field>>,
        arrays: &'a [ArrayRef],
    ) -> Result<Vec<Self>, ArrowError> {
        let each = fields.into_iter().zip(arrays);
        let mut contents =
            each.map(|(field, array)| Self::of(field, array)).collect::<Result<Vec<_>, _>>()?;
        contents.sort_by_key(|content| content.key);
        Ok(contents)
    }

    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// Adds the field and its value in `row` to `digest`, unless it is null.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn add(&self, row: usize, digest: &mut Digest) -> Result<(), ArrowError> {
        if self.array.is_valid(row) {
            add_bytes(self.key.as_bytes(), digest);
            self.add_value(row, digest)?;
        }
        Ok(())
    }

    fn add_value(&self, row: usize, digest: &mut Digest) -> Result<(), ArrowError> {
        match &self.values {
            Values::Leaf(formatter) => add_bytes(formatter.value(row).try_to_string()?.as_bytes(), digest),
            Values::Struct(fields) => add_fields(fields, row, digest)?,
            Values::List(offsets, element) => {
                for at in within(offsets, row) {
                    digest.update(b"[");
                    element.add(at, digest)?;
                }
                digest.update(b"]");
            }
            Values::Map(offsets, entries) => {
                for at in within(offsets, row) {
                    add_fields(entries, at, digest)?;
                }
                digest.update(b"]");
            }
        }
        Ok(())
    }
}

fn within(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
    let at = |row| offsets.get(row).map_or(0, |offset| *offset as usize);
    at(row)..at(row + 1)
}

fn add_fields(fields: &[Content<'_>], row: usize, digest: &mut Digest) -> Result<(), ArrowError> {
    digest.update(b"{");
    for field in fields {
        field.add(row, digest)?;
    }
    digest.update(b"}");
    Ok(())
}

fn add_bytes(bytes: &[u8], digest: &mut Digest) {
    digest.update((bytes.len() as u64).to_le_bytes());
    digest.update(bytes);
}

//! One column's values, until they become an Arrow array.
//!
//! In: values that `fill.rs` has decoded. Out: what `arrow.rs` makes arrays of. Columns can be cut back
//! to the rows that stand when a row is refused half way, which is why these are plain vectors and not Arrow's own
//! builders.
//!
//! A column may be shorter than the rows so far: nulls are filled in when a value follows, or at the end of the batch. So a
//! row costs what it holds, not the width of the table.

use std::borrow::Cow;

use arrow_buffer::{BooleanBufferBuilder, NullBufferBuilder};
use arrow_schema::{DataType, FieldRef};
use iceberg::spec::{NestedField, PrimitiveType, Type};

use super::members::Members;
use super::unit::{Unit, Units};

/// One column, at any depth of the schema.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// The field's id in the table's schema.
    pub(super) id: i32,
    pub(super) required: bool,
    /// Filled by the pipeline, never from JSON.
    pub(super) hidden: bool,
    /// An empty string is null, where the table's properties want it so. Never in a string column.
    pub(super) empty_is_null: bool,
    /// Of numbers in a timestamp column, where the table's properties name it.
    pub(super) unit: Option<Unit>,
    /// Whether JSON spells the name without escapes.
    pub(super) is_spelled_plainly: bool,
    /// Which column the next key of a record stood for the last time, see `plain.rs`.
    pub(super) follower: usize,
    /// The last record that gave the column, see `plain.rs`.
    pub(super) last_record: u64,
    pub(super) field: FieldRef,
    /// Bytes that a value takes whatever it holds, those of the fields of a struct included.
    pub(super) slot_bytes: usize,
    pub(super) nulls: NullBufferBuilder,
    pub(super) values: Values,
}

/// The values of a column by the rule that decodes them. Variable-length values are one buffer and its offsets.
#[derive(Debug)]
pub(super) enum Values {
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal { precision: u32, scale: u32, values: Vec<i128> },
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    TimestampNanos(Vec<i64>),
    String { offsets: Vec<i32>, bytes: Vec<u8> },
    Binary { offsets: Vec<i64>, bytes: Vec<u8> },
    Uuid(Vec<u8>),
    Fixed { width: usize, bytes: Vec<u8> },
    Struct(Members),
    List { offsets: Vec<i32>, element: Box<Column> },
    Map { offsets: Vec<i32>, key: Box<Column>, value: Box<Column> },
}

impl Column {
    pub(super) fn new(field: &NestedField, arrow: &FieldRef, parent: &str) -> Result<Self, iceberg::Error> {
        let path = if parent.is_empty() { field.name.clone() } else { format!("{parent}.{}", field.name) };
        let values = match (field.field_type.as_ref(), arrow.data_type()) {
            (Type::Primitive(primitive), _) => match primitive {
                PrimitiveType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
                PrimitiveType::Int => Values::Int(Vec::new()),
                PrimitiveType::Long => Values::Long(Vec::new()),
                PrimitiveType::Float => Values::Float(Vec::new()),
                PrimitiveType::Double => Values::Double(Vec::new()),
                PrimitiveType::Decimal { precision, scale } => {
                    Values::Decimal { precision: *precision, scale: *scale, values: Vec::new() }
                }
                PrimitiveType::Date => Values::Date(Vec::new()),
                PrimitiveType::Time => Values::Time(Vec::new()),
                PrimitiveType::Timestamp | PrimitiveType::Timestamptz => Values::Timestamp(Vec::new()),
                PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs => {
                    Values::TimestampNanos(Vec::new())
                }
                PrimitiveType::String => Values::String { offsets: vec![0], bytes: Vec::new() },
                PrimitiveType::Uuid => Values::Uuid(Vec::new()),
                PrimitiveType::Fixed(width) => Values::Fixed { width: *width as usize, bytes: Vec::new() },
                PrimitiveType::Binary => Values::Binary { offsets: vec![0], bytes: Vec::new() },
            },
            (Type::Struct(fields), DataType::Struct(arrow)) => {
                Values::Struct(Members::new(fields.fields(), arrow, &[], Some(field.id), path)?)
            }
            (Type::List(list), DataType::List(element)) => {
                let element = Self::new(&list.element_field, element, &path)?;
                Values::List { offsets: vec![0], element: Box::new(element) }
            }
            (Type::Map(map), DataType::Map(entries, _)) => {
                let DataType::Struct(entry) = entries.data_type() else { return Err(unsupported(field)) };
                let [key, value] = &entry[..] else { return Err(unsupported(field)) };
                Values::Map {
                    offsets: vec![0],
                    key: Box::new(Self::new(&map.key_field, key, &path)?),
                    value: Box::new(Self::new(&map.value_field, value, &path)?),
                }
            }
            _ => return Err(unsupported(field)),
        };
        Ok(Self {
            name: field.name.clone(),
            id: field.id,
            required: field.required,
            hidden: false,
            empty_is_null: false,
            unit: None,
            is_spelled_plainly: !field.name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)),
            follower: 0,
            last_record: 0,
            field: arrow.clone(),
            slot_bytes: slot_bytes(&values),
            nulls: NullBufferBuilder::new(0),
            values,
        })
    }

    /// A unit holds for the columns within the one that it is named for, too.
    pub(super) fn set_units(&mut self, units: &Units, parent: &str, inherited: Option<Unit>) {
        let path = if parent.is_empty() { self.name.clone() } else { format!("{parent}.{}", self.name) };
        let unit = units.by_column.get(&path).copied().or(inherited);
        self.unit = unit;
        let within: &mut dyn Iterator<Item = &mut Self> = match &mut self.values {
            Values::Struct(members) => &mut members.columns.iter_mut(),
            Values::List { element, .. } => &mut std::iter::once(&mut **element),
            Values::Map { key, value, .. } => &mut [&mut **key, &mut **value].into_iter(),
            _ => return,
        };
        for column in within {
            column.set_units(units, &path, unit);
        }
    }

    pub(super) fn empty_is_null(&mut self) {
        self.empty_is_null = !matches!(self.values, Values::String { .. });
        match &mut self.values {
            Values::Struct(members) => members.empty_is_null(),
            Values::List { element, .. } => element.empty_is_null(),
            Values::Map { value, .. } => value.empty_is_null(),
            _ => {}
        }
    }

    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Bytes that tell the value of row `at` from any other of a primitive column.
    pub(super) fn value_bytes(&self, at: usize) -> Cow<'_, [u8]> {
        let bytes: Vec<u8> = match &self.values {
            Values::String { offsets, bytes } => {
                return bytes[offsets[at] as usize..offsets[at + 1] as usize].into();
            }
            Values::Binary { offsets, bytes } => {
                return bytes[offsets[at] as usize..offsets[at + 1] as usize].into();
            }
            Values::Uuid(bytes) => return bytes[at * 16..][..16].into(),
            Values::Fixed { width, bytes } => return bytes[at * *width..][..*width].into(),
            Values::Boolean(values) => vec![u8::from(values.get_bit(at))],
            Values::Int(values) | Values::Date(values) => values[at].to_ne_bytes().into(),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values[at].to_ne_bytes().into(),
            Values::Float(values) => values[at].to_ne_bytes().into(),
            Values::Double(values) => values[at].to_ne_bytes().into(),
            Values::Decimal { values, .. } => values[at].to_ne_bytes().into(),
            Values::Struct(_) | Values::List { .. } | Values::Map { .. } => Vec::new(),
        };
        bytes.into()
    }

    /// Fills the column up to `rows` values: with nulls, or in a required column with what stands where its parent is
    /// null (Arrow wants a slot in every child).
    pub(super) fn fill(&mut self, rows: usize) {
        let missing = rows.saturating_sub(self.len());
        if missing == 0 {
            return;
        }
        match self.required {
            true => self.nulls.append_n_non_nulls(missing),
            false => self.nulls.append_n_nulls(missing),
        }
        self.push_placeholders(missing);
    }

    pub(super) fn push_placeholders(&mut self, count: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.append_n(count, false),
            Values::Int(values) | Values::Date(values) => values.resize(values.len() + count, 0),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values.resize(values.len() + count, 0),
            Values::Float(values) => values.resize(values.len() + count, 0.0),
            Values::Double(values) => values.resize(values.len() + count, 0.0),
            Values::Decimal { values, .. } => values.resize(values.len() + count, 0),
            Values::String { offsets, bytes } => offsets.resize(offsets.len() + count, bytes.len() as i32),
            Values::Binary { offsets, bytes } => offsets.resize(offsets.len() + count, bytes.len() as i64),
            Values::Uuid(bytes) => bytes.resize(bytes.len() + count * 16, 0),
            Values::Fixed { width, bytes } => bytes.resize(bytes.len() + count * *width, 0),
            // The fields of a struct are filled when they have a value again.
            Values::Struct(_) => {}
            Values::List { offsets, element } => {
                offsets.resize(offsets.len() + count, element.len() as i32);
            }
            Values::Map { offsets, key, .. } => offsets.resize(offsets.len() + count, key.len() as i32),
        }
    }

    /// Adds the value of the last row, which is not null, once more. False if the type is none of those for which this is worth it.
    pub(super) fn repeat(&mut self) -> bool {
        match &mut self.values {
            Values::String { offsets, bytes } => {
                let [.., start, end] = offsets[..] else { return false };
                bytes.extend_from_within(start as usize..end as usize);
                offsets.push(bytes.len() as i32);
            }
            Values::Long(values) | Values::Timestamp(values) => {
                let Some(last) = values.last().copied() else { return false };
                values.push(last);
            }
            _ => return false,
        }
        self.nulls.append_non_null();
        true
    }

    /// Cuts the column back to its first `rows` values.
    pub(super) fn truncate(&mut self, rows: usize) {
        if self.len() > rows {
            self.nulls.truncate(rows);
        }
        match &mut self.values {
            Values::Boolean(values) if values.len() <= rows => {}
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) | Values::Date(values) => values.truncate(rows),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal { values, .. } => values.truncate(rows),
            Values::String { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[offsets.len() - 1] as usize);
            }
            Values::Binary { offsets, bytes } => {
                offsets.truncate(rows + 1);
                bytes.truncate(offsets[offsets.len() - 1] as usize);
            }
            Values::Uuid(bytes) => bytes.truncate(rows * 16),
            Values::Fixed { width, bytes } => bytes.truncate(rows * *width),
            Values::Struct(members) => members.truncate(rows),
            Values::List { offsets, element } => {
                offsets.truncate(rows + 1);
                element.truncate(offsets[offsets.len() - 1] as usize);
            }
            Values::Map { offsets, key, value } => {
                offsets.truncate(rows + 1);
                let entries = offsets[offsets.len() - 1] as usize;
                key.truncate(entries);
                value.truncate(entries);
            }
        }
    }

    /// Gives back memory that the rows which stand do not need.
    pub(super) fn shrink(&mut self) {
        match &mut self.values {
            Values::Boolean(_) => {}
            Values::Int(values) | Values::Date(values) => values.shrink_to_fit(),
            Values::Long(values)
            | Values::Time(values)
            | Values::Timestamp(values)
            | Values::TimestampNanos(values) => values.shrink_to_fit(),
            Values::Float(values) => values.shrink_to_fit(),
            Values::Double(values) => values.shrink_to_fit(),
            Values::Decimal { values, .. } => values.shrink_to_fit(),
            Values::String { offsets, bytes } => {
                offsets.shrink_to_fit();
                bytes.shrink_to_fit();
            }
            Values::Binary { offsets, bytes } => {
                offsets.shrink_to_fit();
                bytes.shrink_to_fit();
            }
            Values::Uuid(bytes) | Values::Fixed { bytes, .. } => bytes.shrink_to_fit(),
            Values::Struct(members) => members.columns.iter_mut().for_each(Self::shrink),
            Values::List { offsets, element } => {
                offsets.shrink_to_fit();
                element.shrink();
            }
            Values::Map { offsets, key, value } => {
                offsets.shrink_to_fit();
                key.shrink();
                value.shrink();
            }
        }
    }
}

/// Bytes of a value that do not depend on it.
fn slot_bytes(values: &Values) -> usize {
    match values {
        Values::Boolean(_) => 1,
        Values::Int(_) | Values::Float(_) | Values::Date(_) => 4,
        Values::Decimal { .. } | Values::Uuid(_) => 16,
        Values::Fixed { width, .. } => *width,
        Values::Struct(members) => 1 + members.slot_bytes(),
        _ => 8,
    }
}

fn unsupported(field: &NestedField) -> iceberg::Error {
    let what =
        format!("column {:?} has the type {}, which this release cannot write", field.name, field.field_type);
    iceberg::Error::new(iceberg::ErrorKind::FeatureUnsupported, what)
}

//! Columns that the pipeline fills itself, from where a record comes from and not from what it holds.
//!
//! In: a list that the source of the records gives. Out: those of them that the table has, with the values for the rows
//! to come. A record that gives such a column itself is refused, or the value goes to `producer_<name>`; see `name.rs`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iceberg::spec::{NestedFieldRef, PrimitiveType, Type};

use super::column::{Column, Values};
use super::fault::Fault;
use super::members::Members;
use super::name::{FILE_NAME, HEADERS, PROCESSING_TIME, RESERVED};
use super::scalar::Scalar;
use super::source::Source;
use super::unknown::Policy;

/// A column that the pipeline fills itself, with its value for the rows to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemColumn<'a> {
    /// The column's name.
    pub name: &'static str,
    /// Its value.
    pub value: SystemValue<'a>,
}

/// A value by its type. It is converted to the type of the table's column as a value of JSON would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemValue<'a> {
    /// Text; an instant is an RFC 3339 date-time.
    Text(&'a str),
    /// A whole number.
    Number(i64),
    /// Bytes: a column of text has them as text where they are UTF-8, else in base64.
    Bytes(&'a [u8]),
    /// JSON, for a column of any type.
    Json(&'a str),
    /// No value.
    Null,
}

impl<'a> SystemColumn<'a> {
    /// The columns of rows that came in the object at `uri` and were processed at `processing_time`.
    pub fn of_object(uri: &'a str, processing_time: &'a str) -> [Self; 2] {
        [(PROCESSING_TIME, processing_time), (FILE_NAME, uri)]
            .map(|(name, text)| Self { name, value: SystemValue::Text(text) })
    }
}

/// The columns of a table of `fields` that the pipeline fills itself, for a source that gives `system`: theirs, and those
/// that are its own whatever the source. `headers` of another type than a record's headers have are the producer's.
pub(super) fn reserved(fields: &[NestedFieldRef], system: &[SystemColumn<'_>]) -> Vec<&'static str> {
    let given = system.iter().map(|column| column.name).filter(|name| !RESERVED.contains(name));
    let is_headers = |name: &str| {
        let field = fields.iter().find(|field| field.name == name);
        name != HEADERS || field.is_some_and(|field| are_headers(&field.field_type))
    };
    RESERVED.into_iter().chain(given).filter(|name| is_headers(name)).collect()
}

/// Whether a column of this type holds names with bytes.
fn are_headers(column: &Type) -> bool {
    let Type::List(list) = column else { return false };
    let Type::Struct(header) = list.element_field.field_type.as_ref() else { return false };
    let is = |name: &str, kind: PrimitiveType| {
        header.field_by_name(name).is_some_and(|field| *field.field_type == Type::Primitive(kind))
    };
    is("key", PrimitiveType::String) && is("value", PrimitiveType::Binary) && header.fields().len() == 2
}

/// The reserved columns that a table has.
#[derive(Debug)]
pub(super) struct System {
    columns: Vec<Filled>,
}

#[derive(Debug)]
struct Filled {
    name: &'static str,
    /// Which column of the table it is.
    at: usize,
    value: Value,
    /// Whether the last row with a value has this one.
    is_last: bool,
}

#[derive(Debug)]
enum Value {
    /// The source does not know it.
    None,
    Text(String),
    Number(i64),
    Bytes(Vec<u8>),
    Json(String),
}

impl Value {
    /// Becomes `given`. False if it was that before.
    fn set(&mut self, given: SystemValue<'_>) -> bool {
        match (given, &mut *self) {
            (SystemValue::Text(text), Self::Text(into)) | (SystemValue::Json(text), Self::Json(into)) => {
                if text == into {
                    return false;
                }
                text.clone_into(into);
            }
            (SystemValue::Bytes(bytes), Self::Bytes(into)) => {
                if bytes == into {
                    return false;
                }
                bytes.clone_into(into);
            }
            (SystemValue::Number(number), Self::Number(into)) if number == *into => return false,
            (SystemValue::Null, Self::None) => return false,
            (SystemValue::Text(text), _) => *self = Self::Text(text.to_owned()),
            (SystemValue::Number(number), _) => *self = Self::Number(number),
            (SystemValue::Bytes(bytes), _) => *self = Self::Bytes(bytes.to_owned()),
            (SystemValue::Json(json), _) => *self = Self::Json(json.to_owned()),
            (SystemValue::Null, _) => *self = Self::None,
        }
        true
    }
}

impl System {
    pub(super) fn new(fields: &[NestedFieldRef], reserved: &[&'static str]) -> Self {
        let columns = reserved.iter().filter_map(|name| {
            let at = fields.iter().position(|field| field.name == *name)?;
            Some(Filled { name, at, value: Value::None, is_last: false })
        });
        Self { columns: columns.collect() }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The rows to come have the values of `given`; a column that is not among them has none.
    pub(super) fn set(&mut self, given: &[SystemColumn<'_>]) {
        for column in &mut self.columns {
            let value = given.iter().find(|given| given.name == column.name).map(|given| given.value);
            let is_new = column.value.set(value.unwrap_or(SystemValue::Null));
            column.is_last &= !is_new;
        }
    }

    /// Adds the values to row `row`.
    pub(super) fn push(&mut self, members: &mut Members, row: usize) -> Result<(), Fault> {
        let pushed = self.push_each(members, row);
        if pushed.is_err() {
            // The row goes, and what stands last is another one's.
            self.columns.iter_mut().for_each(|column| column.is_last = false);
        }
        pushed
    }

    fn push_each(&mut self, members: &mut Members, row: usize) -> Result<(), Fault> {
        for Filled { name, at, value, is_last } in &mut self.columns {
            let Some(column) = members.column(*at) else { continue };
            if *is_last && row > 0 && column.len() == row && column.repeat() {
                continue;
            }
            column.fill(row);
            let pushed = match value {
                Value::None => column.push_null(),
                Value::Text(text) => column.push_scalar(Scalar::Text(text)),
                Value::Number(number) => push_number(column, *number),
                Value::Bytes(bytes) => push_bytes(column, bytes),
                Value::Json(json) => push_json(column, json),
            };
            pushed.map_err(|fault| fault.within(name))?;
            *is_last = !matches!(value, Value::None);
        }
        Ok(())
    }
}

fn push_number(column: &mut Column, number: i64) -> Result<(), Fault> {
    match &mut column.values {
        Values::Long(values) => {
            values.push(number);
            column.nulls.append_non_null();
            Ok(())
        }
        _ => column.push_scalar(Scalar::Number(&number.to_string())),
    }
}

fn push_bytes(column: &mut Column, bytes: &[u8]) -> Result<(), Fault> {
    let is_binary = matches!(column.values, Values::Binary { .. } | Values::Fixed { .. });
    match std::str::from_utf8(bytes) {
        Ok(text) if !is_binary => column.push_scalar(Scalar::Text(text)),
        _ => column.push_scalar(Scalar::Text(&STANDARD.encode(bytes))),
    }
}

fn push_json(column: &mut Column, json: &str) -> Result<(), Fault> {
    let policy = Policy::strict();
    let mut source = Source::new(json, Vec::new(), usize::MAX, &policy);
    let peek = source.json.peek()?;
    column.push(&mut source, peek)
}

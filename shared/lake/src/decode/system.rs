//! Columns that the pipeline fills itself, from where a record comes from and not from what it holds.
//!
//! In: a list that the source of the records gives. Out: those of them that the table has, with the values for the rows
//! to come. A record that gives such a column itself is refused, or the value goes to `producer_<name>`; see `name.rs`.

use iceberg::spec::NestedFieldRef;

use super::column::Members;
use super::fault::Fault;
use super::name::{FILE_NAME, PROCESSING_TIME, RESERVED};
use super::scalar::Scalar;

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
}

impl<'a> SystemColumn<'a> {
    /// The columns of rows that came in the object at `uri` and were processed at `processing_time`.
    pub fn of_object(uri: &'a str, processing_time: &'a str) -> [Self; 2] {
        [(PROCESSING_TIME, processing_time), (FILE_NAME, uri)]
            .map(|(name, text)| Self { name, value: SystemValue::Text(text) })
    }
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
}

#[derive(Debug)]
enum Value {
    /// The source does not know it.
    None,
    Text(String),
    Number(String),
}

impl System {
    pub(super) fn new(fields: &[NestedFieldRef]) -> Self {
        let columns = RESERVED.into_iter().filter_map(|name| {
            let at = fields.iter().position(|field| field.name == name)?;
            Some(Filled { name, at, value: Value::None })
        });
        Self { columns: columns.collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// The rows to come have the values of `given`; a column that is not among them has none.
    pub(super) fn set(&mut self, given: &[SystemColumn<'_>]) {
        for column in &mut self.columns {
            let value = given.iter().find(|given| given.name == column.name).map(|given| given.value);
            match (value, &mut column.value) {
                (None, into) => *into = Value::None,
                (Some(SystemValue::Text(text)), Value::Text(into)) => text.clone_into(into),
                (Some(SystemValue::Text(text)), into) => *into = Value::Text(text.to_owned()),
                (Some(SystemValue::Number(number)), into) => *into = Value::Number(number.to_string()),
            }
        }
    }

    /// Adds the values to row `row`.
    pub(super) fn push(&self, members: &mut Members, row: usize) -> Result<(), Fault> {
        for Filled { name, at, value } in &self.columns {
            let Some(column) = members.column(*at) else { continue };
            column.fill(row);
            let pushed = match value {
                Value::None => column.push_null(),
                Value::Text(text) => column.push_scalar(Scalar::Text(text)),
                Value::Number(text) => column.push_scalar(Scalar::Number(text)),
            };
            pushed.map_err(|fault| fault.within(name))?;
        }
        Ok(())
    }
}

//! Names of fields -> columns, where the spelling is not the same.
//!
//! In: the columns of a table or of a struct. Out: which of them a name stands for that no column has in this spelling.
//! Athena, Glue and Spark fold case, so names that differ by case only are one field. The names of the columns that the
//! pipeline fills itself stand for the column `producer_<name>`, where the producer's value is kept. Refused: names that
//! no column can have, and definitions of tables in which two columns would be one.

use std::collections::HashMap;

use iceberg::spec::{NestedFieldRef, Schema, Type};
use iceberg::{Error, ErrorKind, Result};
use records::enrich::{FIELDS, PRODUCER_PREFIX};

/// When the function processed the row: an instant, the same for all rows of an invocation.
pub const PROCESSING_TIME: &str = "processing_time";
/// The URI of the object that the row came in.
pub const FILE_NAME: &str = "file_name";

/// The headers of the record that the row came in, where they are a list of keys with bytes.
pub(crate) const HEADERS: &str = "headers";

/// The columns that the pipeline fills itself, whatever the source.
pub(crate) const RESERVED: [&str; 2] = [PROCESSING_TIME, FILE_NAME];

/// The spelling by which names are compared.
pub(crate) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Columns, of which there are names and whether they are hidden, by their folded names; none where several fold into one, or where `producer_<name>` of one of the `hidden` is
/// not there.
pub(super) fn by_folded<'a>(
    columns: impl Iterator<Item = (&'a str, bool)>,
    hidden: &[&str],
) -> HashMap<String, Option<usize>> {
    let mut by_folded: HashMap<String, Option<usize>> = HashMap::new();
    for (at, (name, _)) in columns.enumerate().filter(|(_, (_, is_hidden))| !is_hidden) {
        by_folded.entry(fold(name)).and_modify(|found| *found = None).or_insert(Some(at));
    }
    for name in hidden {
        let producers = by_folded.get(&producers(name)).copied().flatten();
        by_folded.insert((*name).to_owned(), producers);
    }
    by_folded
}

/// The column that keeps a producer's value for the column `own` of the pipeline.
fn producers(own: &str) -> String {
    format!("{PRODUCER_PREFIX}{own}")
}

/// The name of the column for a field of a record: the same, unless it is among the `reserved`, which the pipeline fills
/// itself.
pub(crate) fn column_of(field: &str, reserved: &[&str]) -> String {
    let hidden = reserved.iter().find(|name| **name == fold(field));
    hidden.map_or_else(|| field.to_owned(), |name| producers(name))
}

/// Whether a column can have this name: not empty, at most 255 bytes (AWS Glue's limit), no control characters.
pub(crate) fn is_column_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control)
}

/// That no two columns of `schema` differ by case only, and none so from a column of the pipeline.
///
/// # Errors
/// Two do.
pub(crate) fn check(schema: &Schema) -> Result<()> {
    let fields = schema.as_struct().fields();
    for own in FIELDS.into_iter().chain(RESERVED) {
        if let Some(field) = fields.iter().find(|field| field.name != own && fold(&field.name) == own) {
            return Err(twins(&field.name, own, "the pipeline fills the latter; spell the column so"));
        }
    }
    check_fields(fields)
}

fn check_fields(fields: &[NestedFieldRef]) -> Result<()> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    for field in fields {
        if let Some(twin) = seen.insert(fold(&field.name), &field.name) {
            return Err(twins(&field.name, twin, "Athena and Glue take them for one; rename one of them"));
        }
        check_type(&field.field_type)?;
    }
    Ok(())
}

fn check_type(field_type: &Type) -> Result<()> {
    match field_type {
        Type::Struct(fields) => check_fields(fields.fields()),
        Type::List(list) => check_type(&list.element_field.field_type),
        Type::Map(map) => {
            check_type(&map.key_field.field_type)?;
            check_type(&map.value_field.field_type)
        }
        Type::Primitive(_) => Ok(()),
    }
}

fn twins(one: &str, other: &str, why: &str) -> Error {
    let what = format!("the column names {one:?} and {other:?} differ by case only: {why}");
    Error::new(ErrorKind::DataInvalid, what)
}

//! Fields that the table has no column for, and values that a wider column would take.
//!
//! In: table properties. Out: what is to become of such fields, a [`Policy`], and of one record what it lacks, what goes to
//! the rest column and what is left out, an [`Unfit`]. Refused: properties of values that mean nothing.
//!
//! | `frazil.schema-evolution` | a field without a column                                                    |
//! |---------------------------|-----------------------------------------------------------------------------|
//! | `add` (the default)       | is a [`Lack`]: the table gets a column, or the row is rejected as below     |
//! | `quarantine`              | rejects the row                                                             |
//! | `ignore`                  | is left out and counted                                                     |
//! | `rest`                    | is kept in the column that `frazil.rest-column` names                       |
//!
//! With `add` too, what cannot become a column goes to the rest column where one is named.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;

use iceberg::spec::{NestedFieldRef, PrimitiveType, Schema, TableMetadata, Type};
use iceberg::{Error, ErrorKind, Result};
use records::scan;

use super::name::{FILE_NAME, PROCESSING_TIME, fold, is_column_name};

/// Names what becomes of unknown fields.
pub(crate) const SCHEMA_EVOLUTION: &str = "frazil.schema-evolution";
/// Whether `""` is null in columns that are not of strings.
pub(crate) const EMPTY_STRING_IS_NULL: &str = "frazil.empty-string-is-null";
/// Names the column that keeps them.
pub(crate) const REST_COLUMN: &str = "frazil.rest-column";
/// The name of the rest column where no property gives one.
pub(crate) const REST: &str = "rest";
/// Fields of a table, nested ones included, beyond which it gets no more.
pub(crate) const MAX_COLUMNS: usize = 1_000;

/// What becomes of unknown fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Add,
    Quarantine,
    Ignore,
    Rest,
}

/// Why a table that may grow does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// The catalog does not let this process change the schema.
    Denied,
    /// It would have more than [`MAX_COLUMNS`].
    Full,
    /// There may be no time to read the records again.
    Late,
}

/// What a table's properties say of unknown fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evolution {
    pub(crate) mode: Mode,
    /// The name of the rest column.
    pub(crate) rest: Option<String>,
}

/// What becomes of unknown fields of the rows of one attempt.
#[derive(Debug)]
pub(super) struct Policy {
    mode: Mode,
    fixed: Option<Fixed>,
    rest: Option<Rest>,
    /// Names, folded, with those of the columns around them, that no further column can have.
    taken: HashSet<String>,
    /// Columns that keep their types, by id: partitions are made of them.
    unwidened: HashSet<i32>,
}

#[derive(Debug)]
struct Rest {
    name: String,
    /// Which column of the table it is, if it is there.
    at: Option<usize>,
}

/// What is to become of one unknown field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lack,
    Rest,
    Ignore,
    Refuse,
}

/// What a table needs to take a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A column.
    Column {
        /// The id of the field whose struct it is to be in; None for a column of the table.
        parent: Option<i32>,
        /// Its name.
        name: String,
        /// The JSON text of its value.
        value: String,
    },
    /// A wider type of the column of this field id.
    Promotion(i32, PrimitiveType),
    /// The rest column, of this name.
    Rest(String),
}

/// What was found in a record that no column takes.
#[derive(Debug, Default)]
pub(super) struct Unfit {
    pub(super) lacks: Vec<Lack>,
    /// Path and JSON text of what goes to the rest column.
    pub(super) rest: Vec<(String, String)>,
    pub(super) ignored: u64,
}

impl Unfit {
    /// Whether all was taken by columns.
    pub(super) fn is_empty(&self) -> bool {
        self.lacks.is_empty() && self.rest.is_empty() && self.ignored == 0
    }
}

/// Whether empty strings are null outside of string columns.
///
/// # Errors
/// The property says neither yes nor no.
pub(crate) fn empty_string_is_null(properties: &HashMap<String, String>) -> Result<bool> {
    match properties.get(EMPTY_STRING_IS_NULL).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => {
            let what = format!("table property {EMPTY_STRING_IS_NULL}={other}: expected true or false");
            Err(Error::new(ErrorKind::DataInvalid, what))
        }
    }
}

impl Evolution {
    /// # Errors
    /// A property has a value that means nothing.
    pub(crate) fn of(properties: &HashMap<String, String>) -> Result<Self> {
        let mode = match properties.get(SCHEMA_EVOLUTION).map(String::as_str) {
            None | Some("add") => Mode::Add,
            Some("quarantine") => Mode::Quarantine,
            Some("ignore") => Mode::Ignore,
            Some("rest") => Mode::Rest,
            Some(other) => {
                let what = format!(
                    "table property {SCHEMA_EVOLUTION}={other}: expected add, quarantine, ignore or rest; set it to one \
                     of them or remove it"
                );
                return Err(Error::new(ErrorKind::DataInvalid, what));
            }
        };
        let rest = match properties.get(REST_COLUMN) {
            Some(name) if !is_column_name(name) || [FILE_NAME, PROCESSING_TIME].contains(&&**name) => {
                let what =
                    format!("table property {REST_COLUMN}={name}: no column for this can have the name");
                return Err(Error::new(ErrorKind::DataInvalid, what));
            }
            Some(name) => Some(name.clone()),
            None => (mode == Mode::Rest).then(|| REST.to_owned()),
        };
        Ok(Self { mode, rest })
    }

    /// That the rest column of `schema`, if it is there, can keep fields.
    ///
    /// # Errors
    /// It has another type.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        let Some(name) = &self.rest else { return Ok(()) };
        let Some(field) = schema.as_struct().fields().iter().find(|field| field.name == *name) else {
            return Ok(());
        };
        let is_string = |of: &Type| matches!(of, Type::Primitive(PrimitiveType::String));
        let fits = match &*field.field_type {
            Type::Map(map) => is_string(&map.key_field.field_type) && is_string(&map.value_field.field_type),
            other => is_string(other),
        };
        if fits && !field.required {
            return Ok(());
        }
        let what = format!(
            "table property {REST_COLUMN}={name}: the column is {}; expected an optional string or map<string, string>",
            field.field_type
        );
        Err(Error::new(ErrorKind::DataInvalid, what))
    }
}

impl Policy {
    /// Rejects every unknown field.
    pub(super) fn strict() -> Self {
        let (taken, unwidened) = (HashSet::new(), HashSet::new());
        Self { mode: Mode::Quarantine, fixed: None, rest: None, taken, unwidened }
    }

    /// What the properties of the table of `metadata` say; it grows unless `fixed`.
    ///
    /// # Errors
    /// A property has a value that means nothing, or the rest column is of another type.
    pub(super) fn of(metadata: &TableMetadata, fixed: Option<Fixed>) -> Result<Self> {
        let evolution = Evolution::of(metadata.properties())?;
        let schema = metadata.current_schema();
        evolution.check(schema)?;
        let mut policy = Self { mode: evolution.mode, fixed, ..Self::strict() };
        policy.rest = evolution.rest.filter(|_| [Mode::Add, Mode::Rest].contains(&policy.mode)).map(|name| {
            let at = schema.as_struct().fields().iter().position(|field| field.name == name);
            Rest { name, at }
        });
        if policy.grows() {
            for field in metadata.partition_specs_iter().flat_map(|spec| spec.fields()) {
                policy.unwidened.insert(field.source_id);
                policy.taken.insert(fold(&field.name));
            }
            note_paths(schema.as_struct().fields(), "", &mut policy.taken);
        }
        Ok(policy)
    }

    fn grows(&self) -> bool {
        self.mode == Mode::Add && self.fixed.is_none()
    }

    /// Whether no further column can have this path.
    pub(super) fn is_taken(&self, path: &str) -> bool {
        self.taken.contains(&fold(path))
    }

    pub(super) fn fixed(&self) -> Option<Fixed> {
        self.fixed
    }

    /// From here on the table does not grow if there is a reason, `fixed`. Gives back what held before.
    pub(super) fn fix(&mut self, fixed: Option<Fixed>) -> Option<Fixed> {
        std::mem::replace(&mut self.fixed, fixed)
    }

    /// The rest column, if there is one by now.
    pub(super) fn rest_column(&self) -> Option<usize> {
        self.rest.as_ref().and_then(|rest| rest.at)
    }

    /// Whether `name`, of a field of the table, is that of the rest column.
    pub(super) fn is_rest(&self, name: &str) -> bool {
        self.rest.as_ref().is_some_and(|rest| fold(&rest.name) == fold(name))
    }

    /// Whether every unknown field rejects its row.
    pub(super) fn is_strict(&self) -> bool {
        self.rest.is_none() && !self.grows() && self.mode != Mode::Ignore
    }

    /// What is to become of a field; `column` is the path that it would have as a column, if it can be one.
    pub(super) fn fate(&self, column: Option<&str>) -> Fate {
        match (self.mode, &self.rest) {
            (Mode::Ignore, _) => Fate::Ignore,
            (Mode::Add, _) if self.grows() && column.is_some_and(|path| !self.is_taken(path)) => Fate::Lack,
            // The rest column would have to be added, too.
            (_, Some(Rest { at: None, .. })) if matches!(self.fixed, Some(Fixed::Denied | Fixed::Late)) => {
                Fate::Refuse
            }
            (_, Some(_)) => Fate::Rest,
            _ => Fate::Refuse,
        }
    }

    /// Whether the column of field `id` may get a wider type.
    pub(super) fn may_widen(&self, id: i32) -> bool {
        self.grows() && !self.unwidened.contains(&id)
    }

    /// Adds that the rest column is lacking, if something goes there and it is.
    pub(super) fn need_rest(&self, unfit: &mut Unfit) {
        if let Some(Rest { name, at: None }) = &self.rest
            && !unfit.rest.is_empty()
        {
            unfit.lacks.push(Lack::Rest(name.clone()));
        }
    }
}

impl Unfit {
    /// Puts `step` before the paths of what was found since there were `mark` of them.
    #[inline]
    pub(super) fn within(&mut self, mark: usize, step: impl Display) {
        for (path, _) in self.rest.iter_mut().skip(mark) {
            let dot = if path.starts_with('[') { "" } else { "." };
            *path = format!("{step}{dot}{path}");
        }
    }
}

/// Adds the paths of `fields`, folded, to `paths`.
pub(crate) fn note_paths(fields: &[NestedFieldRef], parent: &str, paths: &mut HashSet<String>) {
    for field in fields {
        let path = if parent.is_empty() { field.name.clone() } else { format!("{parent}.{}", field.name) };
        match &*field.field_type {
            Type::Struct(fields) => note_paths(fields.fields(), &path, paths),
            Type::List(list) => note_paths(std::slice::from_ref(&list.element_field), &path, paths),
            Type::Map(map) => note_paths(&[map.key_field.clone(), map.value_field.clone()], &path, paths),
            Type::Primitive(_) => {}
        }
        paths.insert(fold(&path));
    }
}

/// Whether the JSON text `value` has nothing but null, `[]` and `{}` in it.
pub(super) fn is_blank(value: &str) -> bool {
    let bytes = value.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Ok(end) = scan::value_end(bytes, at) else { return false };
                let next = bytes.iter().skip(end).find(|byte| !byte.is_ascii_whitespace());
                // What a colon follows is a name.
                if next != Some(&b':') {
                    return false;
                }
                at = end;
            }
            b't' | b'f' | b'-' | b'0'..=b'9' => return false,
            _ => at += 1,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_is_what_has_no_value_in_it() {
        for blank in ["null", "[]", "{}", r#"{"a": [null, {"b\"1": {}}], "true" : []}"#] {
            assert!(is_blank(blank), "{blank}");
        }
        for value in
            ["0", "-1", "true", "false", r#""""#, r#"[[], ""]"#, r#"{"a": {"b": 0}}"#, r#"{"a": "b"}"#]
        {
            assert!(!is_blank(value), "{value}");
        }
    }

    #[test]
    fn properties_that_mean_nothing_are_refused() {
        let of = |properties: &[(&str, &str)]| {
            let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            Evolution::of(&properties.collect()).map_err(|error| error.message().to_owned())
        };
        assert_eq!(of(&[]).unwrap(), Evolution { mode: Mode::Add, rest: None });
        let rest = Evolution { mode: Mode::Rest, rest: Some(REST.to_owned()) };
        assert_eq!(of(&[(SCHEMA_EVOLUTION, "rest")]).unwrap(), rest);
        assert!(
            of(&[(SCHEMA_EVOLUTION, "yes")])
                .unwrap_err()
                .contains("expected add, quarantine, ignore or rest")
        );
        assert!(of(&[(REST_COLUMN, "file_name")]).unwrap_err().contains("file_name"));
    }
}

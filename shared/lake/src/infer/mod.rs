//! JSON records -> the schema of a table that does not exist yet.
//!
//! In: the text of records of the first invocation. Out: an Iceberg schema in which every column is optional.
//! Nothing is refused here: a record that the schema cannot hold is refused when it is decoded.
//!
//! | values seen in a field              | column                          |
//! |-------------------------------------|---------------------------------|
//! | null only, `{}` only                | string                          |
//! | true, false                         | boolean                         |
//! | whole numbers of 64 bits            | long                            |
//! | numbers, some with a fraction       | double                          |
//! | RFC 3339 date-times, zoned or not   | timestamptz                     |
//! | other strings                       | string                          |
//! | objects                             | struct of their fields          |
//! | arrays                              | list of what their elements are |
//! | several kinds, larger whole numbers | string (JSON text)              |
//!
//! The columns of the transform function and of the pipeline itself have fixed types and are always there.

mod look;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::{ListType, NestedField, PrimitiveType, Schema, StructType, Type};
use jiter::{Jiter, JiterResult, Peek};
use records::enrich::{INGESTION_TIMESTAMP, PARTITION_DATE, PARTITION_HOUR, RECORD_ID};

pub(crate) use self::look::{Inferred, infer};
use crate::decode::name::{column_of, fold, is_column_name};
use crate::decode::{FILE_NAME, PROCESSING_TIME, double, instant};

/// Fields of an inferred schema, nested ones included; rows with further fields are quarantined.
const MAX_FIELDS: usize = 2_000;
/// Objects and arrays nested deeper become their JSON text.
const MAX_DEPTH: usize = 32;

/// Columns whose types do not depend on the records, in the order in which they follow the records' own.
const FIXED: [(&str, PrimitiveType); 6] = [
    (RECORD_ID, PrimitiveType::String),
    (INGESTION_TIMESTAMP, PrimitiveType::Timestamptz),
    (PARTITION_DATE, PrimitiveType::String),
    (PARTITION_HOUR, PrimitiveType::String),
    (PROCESSING_TIME, PrimitiveType::Timestamptz),
    (FILE_NAME, PrimitiveType::String),
];

/// Collects what kinds of values the fields of records have.
#[derive(Debug, Default)]
pub struct Inference {
    root: Shape,
    fields: usize,
    /// Whether any record was an object.
    observed: bool,
}

/// What was seen in one place of the records.
#[derive(Debug, Default)]
struct Shape {
    boolean: bool,
    whole: bool,
    fraction: bool,
    instant: bool,
    text: bool,
    object: bool,
    array: bool,
    /// Fields of the objects, in the order in which they were first seen, each in its first spelling.
    fields: Vec<(String, Shape)>,
    /// Places in `fields`, by the name in lower case.
    by_name: HashMap<String, usize>,
    element: Option<Box<Shape>>,
}

impl Inference {
    /// Takes `record` into account. What is no JSON object is passed over.
    pub fn observe(&mut self, record: &[u8]) {
        if record.first() != Some(&b'{') || std::str::from_utf8(record).is_err() {
            return;
        }
        // A record that the parser refuses half way is refused again when it is decoded; until there it counts.
        let mut json = Jiter::new(record);
        let read = json.peek().and_then(|peek| self.root.observe(&mut json, peek, 0, &mut self.fields));
        self.observed |= read.is_ok();
    }

    /// Whether there was an object among the records so far.
    pub(crate) fn has_observed(&self) -> bool {
        self.observed
    }

    /// The schema for the records so far, with ids in the order of the columns. None if there was no object among
    /// them: a table made of nothing would have no column for what is to come.
    ///
    /// # Errors
    /// The schema is not valid: a defect of this crate.
    pub fn schema(&self) -> iceberg::Result<Option<Schema>> {
        self.observed.then(|| self.columns()).transpose()
    }

    fn columns(&self) -> iceberg::Result<Schema> {
        let mut ids = 0;
        let mut taken: HashSet<String> = FIXED.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut columns = self.root.columns("", &mut ids, &mut taken);
        for (name, kind) in FIXED {
            ids += 1;
            columns.push(NestedField::optional(ids, name, Type::Primitive(kind)).into());
        }
        Schema::builder().with_fields(columns).build()
    }
}

impl Shape {
    fn observe(
        &mut self,
        json: &mut Jiter<'_>,
        peek: Peek,
        depth: usize,
        count: &mut usize,
    ) -> JiterResult<()> {
        match peek {
            Peek::Null => json.known_null()?,
            Peek::True | Peek::False => {
                json.known_bool(peek)?;
                self.boolean = true;
            }
            Peek::String => match instant(json.known_str()?) {
                Some(_) => self.instant = true,
                None => self.text = true,
            },
            Peek::Object | Peek::Array if depth >= MAX_DEPTH => {
                json.known_skip(peek)?;
                self.text = true;
            }
            Peek::Object => {
                self.object = true;
                let mut at =
                    json.known_object()?.map(|name| field(&mut self.fields, &mut self.by_name, name, count));
                while let Some(known) = at {
                    let peek = json.peek()?;
                    match known {
                        Some(at) => self.fields[at].1.observe(json, peek, depth + 1, count)?,
                        None => json.known_skip(peek)?,
                    }
                    at = json.next_key()?.map(|name| field(&mut self.fields, &mut self.by_name, name, count));
                }
            }
            Peek::Array => {
                self.array = true;
                let element = self.element.get_or_insert_default();
                let mut next = json.known_array()?;
                while let Some(peek) = next {
                    element.observe(json, peek, depth + 1, count)?;
                    next = json.array_step()?;
                }
            }
            _ => {
                let number = std::str::from_utf8(json.known_number_bytes(peek)?).unwrap_or_default();
                if number.contains(['.', 'e', 'E']) && double(number).is_ok() {
                    self.fraction = true;
                } else if number.parse::<i64>().is_ok() {
                    self.whole = true;
                } else {
                    // Beyond a long or a double: only text keeps every digit.
                    self.text = true;
                }
            }
        }
        Ok(())
    }

    fn columns(&self, parent: &str, ids: &mut i32, taken: &mut HashSet<String>) -> Vec<Arc<NestedField>> {
        let mut columns = Vec::with_capacity(self.fields.len());
        for (name, shape) in &self.fields {
            let name = if parent.is_empty() { column_of(name) } else { name.clone() };
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            // `a.b` is also how a field of a struct is named.
            if !taken.insert(fold(&path)) {
                continue;
            }
            *ids += 1;
            let id = *ids;
            columns.push(NestedField::optional(id, name, shape.column_type(&path, ids, taken)).into());
        }
        columns
    }

    fn column_type(&self, path: &str, ids: &mut i32, taken: &mut HashSet<String>) -> Type {
        let kinds =
            [self.boolean, self.whole || self.fraction, self.instant, self.text, self.object, self.array];
        let text = Type::Primitive(PrimitiveType::String);
        if kinds.iter().filter(|seen| **seen).count() != 1 {
            return text;
        }
        if self.boolean {
            Type::Primitive(PrimitiveType::Boolean)
        } else if self.fraction {
            Type::Primitive(PrimitiveType::Double)
        } else if self.whole {
            Type::Primitive(PrimitiveType::Long)
        } else if self.instant {
            Type::Primitive(PrimitiveType::Timestamptz)
        } else if self.object {
            let fields = self.columns(path, ids, taken);
            if fields.is_empty() { text } else { Type::Struct(StructType::new(fields)) }
        } else if self.array {
            *ids += 1;
            let id = *ids;
            let path = format!("{path}.element");
            taken.insert(fold(&path));
            let element =
                self.element.as_ref().map_or(text, |element| element.column_type(&path, ids, taken));
            Type::List(ListType::new(NestedField::list_element(id, element, false).into()))
        } else {
            text
        }
    }
}

/// The place of field `name`, which is added if it is new and may be a column.
fn field(
    fields: &mut Vec<(String, Shape)>,
    by_name: &mut HashMap<String, usize>,
    name: &str,
    count: &mut usize,
) -> Option<usize> {
    if let Some(at) = by_name.get(name) {
        return Some(*at);
    }
    // Athena, Glue and Spark fold case.
    let folded = fold(name);
    if let Some(at) = by_name.get(&folded) {
        return Some(*at);
    }
    if *count >= MAX_FIELDS || !is_column_name(name) {
        return None;
    }
    *count += 1;
    by_name.insert(folded, fields.len());
    fields.push((name.to_owned(), Shape::default()));
    Some(fields.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(records: &[&str]) -> Vec<String> {
        let mut inference = Inference::default();
        for record in records {
            inference.observe(record.as_bytes());
        }
        let schema = inference.schema().unwrap().unwrap();
        let own = schema.as_struct().fields().len() - FIXED.len();
        schema.as_struct().fields()[..own]
            .iter()
            .map(|field| {
                assert!(!field.required);
                format!("{} {}", field.name, describe(&field.field_type))
            })
            .collect()
    }

    fn describe(field_type: &Type) -> String {
        match field_type {
            Type::Struct(fields) => {
                let fields: Vec<String> = fields
                    .fields()
                    .iter()
                    .map(|field| format!("{} {}", field.name, describe(&field.field_type)))
                    .collect();
                format!("<{}>", fields.join(", "))
            }
            Type::List(list) => format!("[{}]", describe(&list.element_field.field_type)),
            other => other.to_string(),
        }
    }

    #[test]
    fn each_kind_of_value_has_its_column() {
        assert_eq!(
            columns(&[
                r#"{"n": null, "b": true, "i": 1, "f": 1, "t": "2015-09-12T00:46:58.771Z", "s": "x", "e": {}}"#,
                r#"{"f": 1.5, "big": 18446744073709551615, "o": {"a": 1, "d": {"e": "y"}}, "l": [], "ll": [[1], [2.5]]}"#,
                r#"{"o": {"a": 2, "c": false}, "l": [null], "huge": 1e400, "local": "2015-09-12T00:46:58"}"#,
            ]),
            [
                "n string",
                "b boolean",
                "i long",
                "f double",
                "t timestamptz",
                "s string",
                "e string",
                "big string",
                "o <a long, d <e string>, c boolean>",
                "l [string]",
                "ll [[double]]",
                "huge string",
                "local timestamptz",
            ]
        );
    }

    #[test]
    fn several_kinds_are_text() {
        assert_eq!(
            columns(&[
                r#"{"a": 1, "b": {"x": 1}, "c": "2015-09-12T00:00:00Z"}"#,
                r#"{"a": "x", "b": [1], "c": "soon"}"#
            ]),
            ["a string", "b string", "c string"]
        );
    }

    #[test]
    fn names_that_no_column_can_have_are_left_out() {
        assert_eq!(
            columns(&[r#"{"": 1, "a": 1, "A": 2, "o.x": 1, "o": {"x": 1, "y": 2}}"#]),
            ["a long", "o.x long", "o <y long>"]
        );
    }

    #[test]
    fn names_that_differ_by_case_only_are_one_column() {
        assert_eq!(
            columns(&[
                r#"{"Name": 1, "tags": {"Team": "x"}, "Record_Id": "A-1", "FILE_NAME": "scan.pdf"}"#,
                r#"{"name": 2.5, "tags": {"team": 1, "TEAM": 2}, "file_name": "x", "Producer_File_Name": 1}"#
            ]),
            ["Name double", "tags <Team string>", "producer_file_name string"]
        );
    }

    #[test]
    fn our_own_columns_have_fixed_types_and_end_the_schema() {
        let mut inference = Inference::default();
        inference.observe(br#"{"partition_date": "2026-01-02", "record_id": 7, "a": 1}"#);
        let schema = inference.schema().unwrap().unwrap();
        let names: Vec<&str> = schema.as_struct().fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "a",
                "record_id",
                "ingestion_timestamp",
                "partition_date",
                "partition_hour",
                "processing_time",
                "file_name"
            ]
        );
    }

    #[test]
    fn hostile_records_are_bounded() {
        let many: String = (0..5_000).map(|at| format!("\"k{at}\": 1,")).collect();
        let deep = format!("{{\"d\": {}1{}}}", "[".repeat(100), "]".repeat(100));
        let columns = columns(&[&format!("{{{many}\"z\": 1}}"), &deep, "{\"a\": ", "[]", "\u{7f}"]);
        assert_eq!(columns.len(), MAX_FIELDS);
    }

    #[test]
    fn nothing_makes_no_schema() {
        let mut inference = Inference::default();
        for record in ["[1]", "12", "{\"a\": \"\\ud800\"}"] {
            inference.observe(record.as_bytes());
        }
        assert!(inference.schema().unwrap().is_none());
        inference.observe(b"{}");
        assert!(inference.schema().unwrap().is_some());
    }
}

//! JSON records -> the schema of a table that does not exist yet.
//!
//! In: the text of records of the first invocation. Out: an Iceberg schema in which every column is optional.
//! Nothing is refused here: a record that the schema cannot hold is refused when it is decoded.
//!
//! | values seen in a field              | column                          |
//! |-------------------------------------|---------------------------------|
//! | nothing but null, `[]` and `{}`     | none, until a value says more   |
//! | true, false                         | boolean                         |
//! | whole numbers of 64 bits            | long                            |
//! | numbers, some with a fraction       | double                          |
//! | date-times, zoned or not            | timestamptz                     |
//! | epoch milliseconds, named as times  | timestamptz                     |
//! | other strings                       | string                          |
//! | objects                             | struct of their fields          |
//! | objects of many names, each rare    | map of what their values are    |
//! | arrays                              | list of what their elements are |
//! | several kinds, larger whole numbers | string (JSON text)              |
//! | objects with names of no column     | string (JSON text)              |
//!
//! The columns of the transform function and of the pipeline itself have fixed types and are always there.

mod look;
pub(crate) mod shape;
pub(crate) mod types;

use std::collections::{BTreeMap, HashSet};

use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use jiter::Jiter;
use records::enrich::{INGESTION_TIMESTAMP, PARTITION_DATE, PARTITION_HOUR, RECORD_ID};

pub(crate) use self::look::{Inferred, infer};
use self::shape::{Budget, Shape};
use self::types::Names;
use crate::decode::name::RESERVED;
use crate::decode::unknown::MAX_COLUMNS;
use crate::decode::{FILE_NAME, PROCESSING_TIME};
use crate::definition::TableDefinition;
use crate::topic;

/// Columns whose types do not depend on the records, in the order in which they follow the records' own.
const FIXED: [(&str, PrimitiveType); 6] = [
    (RECORD_ID, PrimitiveType::String),
    (INGESTION_TIMESTAMP, PrimitiveType::Timestamptz),
    (PARTITION_DATE, PrimitiveType::String),
    (PARTITION_HOUR, PrimitiveType::String),
    (PROCESSING_TIME, PrimitiveType::Timestamptz),
    (FILE_NAME, PrimitiveType::String),
];

/// What columns become whose numbers all were whole. They take no fraction once they are `long`, and Iceberg makes no other
/// type of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// `long`; `double` only where a fraction was seen.
    #[default]
    AsSeen,
    /// All numbers are `double`.
    Double,
    /// All numbers are `decimal(38, 9)`, or with as many digits behind the point as were seen.
    Decimal,
}

/// Collects what kinds of values the fields of records have.
#[derive(Debug)]
pub struct Inference {
    /// The columns that end the schema.
    fixed: &'static [(&'static str, PrimitiveType)],
    root: Shape,
    budget: Budget,
    /// Records that were objects.
    records: u64,
}

impl Default for Inference {
    /// For records of objects.
    fn default() -> Self {
        Self::new(&FIXED, &RESERVED)
    }
}

impl Inference {
    /// For records of Kafka topics.
    pub(crate) fn of_topic() -> Self {
        Self::new(&topic::COLUMNS, &topic::RESERVED)
    }

    /// `fixed` end the schema; values under the names `reserved` are kept as `producer_<name>`.
    fn new(fixed: &'static [(&'static str, PrimitiveType)], reserved: &'static [&'static str]) -> Self {
        let budget = Budget { fields: MAX_COLUMNS - fixed.len(), reserved };
        Self { fixed, root: Shape::default(), budget, records: 0 }
    }

    /// Takes `record` into account. What is no JSON object is passed over.
    pub fn observe(&mut self, record: &[u8]) {
        if record.first() != Some(&b'{') || std::str::from_utf8(record).is_err() {
            return;
        }
        // A record that the parser refuses half way is refused again when it is decoded; until there it counts.
        let mut json = Jiter::new(record);
        let read = json.peek().and_then(|peek| self.root.observe(&mut json, peek, 0, &mut self.budget));
        self.records += u64::from(read.is_ok());
    }

    /// Whether there was an object among the records so far.
    pub(crate) fn has_observed(&self) -> bool {
        self.records > 0
    }

    /// The schema for the records so far, with ids in the order of the columns. None if there was no object among
    /// them: a table made of nothing would have no column for what is to come.
    ///
    /// # Errors
    /// The schema is not valid: a defect of this crate.
    pub fn schema(&self) -> iceberg::Result<Option<Schema>> {
        self.has_observed().then(|| self.columns(Numbers::AsSeen, None)).transpose()
    }

    /// The definition of a table `name` for the records so far, as JSON, in which each column says what was seen of it. None
    /// if there was no object among them.
    ///
    /// # Errors
    /// As of [`Inference::schema`].
    pub fn definition(&self, name: &str, numbers: Numbers) -> iceberg::Result<Option<serde_json::Value>> {
        if !self.has_observed() {
            return Ok(None);
        }
        let definition = TableDefinition::inferred(name, self.columns(numbers, Some(self.records))?)?;
        let properties: BTreeMap<String, String> = definition.properties.into_iter().collect();
        Ok(Some(serde_json::json!({
            "name": name,
            "schema": definition.schema,
            "partition-spec": format!("{PARTITION_DATE}, {PARTITION_HOUR}"),
            "properties": properties,
        })))
    }

    /// With a number of `records`, each column has what was seen of it in them as its doc.
    fn columns(&self, numbers: Numbers, records: Option<u64>) -> iceberg::Result<Schema> {
        let taken: HashSet<String> = self.fixed.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut names = Names { last_id: 0, taken, numbers, of: records };
        let mut columns = self.root.columns("", &mut names);
        for (at, (name, kind)) in (names.last_id + 1..).zip(self.fixed) {
            columns.push(NestedField::optional(at, *name, Type::Primitive(kind.clone())).into());
        }
        Schema::builder().with_fields(columns).build()
    }
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
            Type::Map(map) => format!("{{{}}}", describe(&map.value_field.field_type)),
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
                "b boolean",
                "i long",
                "f double",
                "t timestamptz",
                "s string",
                "big string",
                "o <a long, d <e string>, c boolean>",
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
            ["a long", "o.x long", "o string"]
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
    fn what_says_no_type_makes_no_column() {
        assert_eq!(
            columns(&[
                r#"{"a": null, "b": [], "c": {}, "d": {"e": null, "f": [[{}]]}, "g": [{"h": null, "i": 1}]}"#
            ]),
            ["g [<i long>]"]
        );
    }

    #[test]
    fn numbers_under_the_name_of_a_time_are_instants() {
        assert_eq!(
            columns(&[
                r#"{"seen_at": 1772000000123, "createdAt": 1772000000123, "ts": 1772000000123, "format": 1772000000123,
                    "times": [1772000000123], "end_time": 1772000000, "start_time": 1772000000123, "cat": 1772000000123}"#,
                r#"{"seen_at": 1772000000124, "start_time": 0, "ts": "2026-02-25T06:13:20+0000"}"#
            ]),
            [
                "seen_at timestamptz",
                "createdAt timestamptz",
                "ts timestamptz",
                "format long",
                "times [long]",
                "end_time long",
                "start_time long",
                "cat long",
            ]
        );
    }

    #[test]
    fn names_that_are_data_make_a_map() {
        let records = |count: usize, value: &str| -> Vec<String> {
            let record = |at| {
                format!(r#"{{"by_user": {{"u-{at}": {value}, "": {value}}}, "wide": {{"w{}": 1}}}}"#, at % 5)
            };
            (0..count).map(record).map(|record| record.replace(r#", "": "#, r#", "u-x": "#)).collect()
        };
        let of = |records: Vec<String>| columns(&records.iter().map(String::as_str).collect::<Vec<_>>());
        let few = "by_user <u-0 long, u-x long>, ";
        assert_eq!(of(records(1, "1")), [few.trim_end_matches(", "), "wide <w0 long>"]);
        let wide = "wide <w0 long, w1 long, w2 long, w3 long, w4 long>";
        assert_eq!(of(records(40, "1.5")), ["by_user {double}", wide]);
        assert_eq!(of(records(40, r#"{"a": 1}"#)), ["by_user {<a long>}", wide]);
        // More names than are remembered, of any kind.
        let mixed = records(1_000, "1").into_iter().chain(records(2_000, "true").split_off(1_000));
        assert_eq!(of(mixed.collect()), ["by_user {string}", wide]);
        let one = (0..5_000).map(|at| format!(r#""k{at}": {at}"#)).collect::<Vec<_>>().join(",");
        assert_eq!(of(vec![format!(r#"{{"one": {{{one}}}, "n": 1}}"#)]), ["one {long}", "n long"]);
    }

    #[test]
    fn objects_that_a_struct_cannot_keep_are_text() {
        assert_eq!(
            columns(&[
                r#"{"log": {"level": "x", "a b": 1}, "odd": {"": 1, "b": 2}, "log.level": "y", "ok": {"a": {"": 1}}}"#
            ]),
            ["log string", "odd string", "log.level string", "ok <a string>"]
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
        assert_eq!(columns.len(), MAX_COLUMNS - FIXED.len());
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

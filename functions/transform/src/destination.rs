//! Where Firehose is to deliver a record, as its events say.
//!
//! In: the settings, and the events of a record as lines. Out: the record's `metadata` in the answer: keys for dynamic
//! partitioning, which prefixes name as `!{partitionKeyFromLambda:NAME}` (AWS: "Create partitioning keys with an AWS Lambda
//! function"), and the table of Firehose's own Iceberg delivery (AWS: "Route incoming records to different Iceberg tables",
//! "Provide routing information to Firehose using a Lambda function"). Refused: records without a field that is named, and
//! records whose events go to different places, since Firehose delivers a record as a whole.

use lambda::env::{Environment, VariableError};
use records::field_path::FieldPath;
use records::rejection::{Reason, Refusal};
use serde_json::{Map, Value, json};

const PARTITION_KEYS: &str = "FRAZIL_PARTITION_KEYS";
const TABLE: &str = "FRAZIL_FIREHOSE_TABLE";

/// What of an event says where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    /// The keys for dynamic partitioning: their names, and the fields whose values they are.
    partition_keys: Vec<(String, FieldPath)>,
    /// The database and the name of the table.
    table: Option<(Vec<Part>, Vec<Part>)>,
}

/// A piece of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The value of a field.
    Field(FieldPath),
}

impl Destination {
    /// Reads `FRAZIL_PARTITION_KEYS` (`NAME=PATH` or `NAME`, with commas between them) and `FRAZIL_FIREHOSE_TABLE`
    /// (`DATABASE.TABLE`, where `{PATH}` stands for the value of a field).
    ///
    /// # Errors
    /// A [`VariableError`] that names the variable.
    pub fn from_env(environment: &Environment) -> Result<Self, VariableError> {
        let invalid = |name, value: &str, expected: &str| VariableError::Invalid {
            name,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        let keys = environment.text(PARTITION_KEYS).map(|text| {
            let expected = "NAME=PATH or NAME, with commas between them, each name once";
            partition_keys(text).ok_or_else(|| invalid(PARTITION_KEYS, text, expected))
        });
        let table = environment.text(TABLE).map(|text| {
            let expected = "DATABASE.TABLE, where {PATH} stands for the value of a field";
            table(text).ok_or_else(|| invalid(TABLE, text, expected))
        });
        Ok(Self { partition_keys: keys.transpose()?.unwrap_or_default(), table: table.transpose()? })
    }

    /// The JSON object for the record whose events are `lines`; empty if nothing is asked for.
    ///
    /// # Errors
    /// [`Reason::NoDestination`].
    pub(crate) fn metadata(&self, lines: &[u8]) -> Result<String, Refusal> {
        if *self == Self::default() {
            return Ok(String::new());
        }
        let mut lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let metadata = self.of_event(lines.next().unwrap_or_default())?;
        for line in lines {
            let other = self.of_event(line)?;
            if other != metadata {
                let what = format!("the record holds events for {metadata} and for {other}");
                return Err(Refusal::new(Reason::NoDestination, what));
            }
        }
        Ok(metadata.to_string())
    }

    fn of_event(&self, event: &[u8]) -> Result<Value, Refusal> {
        let mut metadata = Map::new();
        let mut keys = Map::new();
        for (name, path) in &self.partition_keys {
            keys.insert(name.clone(), value(event, path)?.into());
        }
        if !keys.is_empty() {
            metadata.insert("partitionKeys".to_owned(), keys.into());
        }
        if let Some((database, table)) = &self.table {
            let table = json!({
                "destinationDatabaseName": text(event, database)?,
                "destinationTableName": text(event, table)?,
                "operation": "insert",
            });
            metadata.insert("otfMetadata".to_owned(), table);
        }
        Ok(metadata.into())
    }
}

fn partition_keys(text: &str) -> Option<Vec<(String, FieldPath)>> {
    let mut keys: Vec<(String, FieldPath)> = Vec::new();
    for key in text.split(',').map(str::trim) {
        let (name, path) = key.split_once('=').unwrap_or((key, key));
        if name.is_empty() || keys.iter().any(|(other, _)| other == name) {
            return None;
        }
        keys.push((name.to_owned(), path.parse().ok()?));
    }
    Some(keys)
}

/// The dot between a database and a table is the one that is in no braces.
fn table(text: &str) -> Option<(Vec<Part>, Vec<Part>)> {
    let mut is_within = false;
    let outside = |char| {
        match char {
            '{' => is_within = true,
            '}' => is_within = false,
            _ => {}
        }
        char == '.' && !is_within
    };
    let names: Option<Vec<Vec<Part>>> = text.split(outside).map(parts).collect();
    let [database, table] = names?.try_into().ok()?;
    Some((database, table))
}

/// `a{PATH}b` as its pieces. None for nothing, and for braces that are not closed.
fn parts(text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (path, after) = after.split_once('}')?;
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        parts.push(Part::Field(path.parse().ok()?));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    (!parts.is_empty() && !rest.contains('}')).then_some(parts)
}

fn text(event: &[u8], parts: &[Part]) -> Result<String, Refusal> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(fixed) => text.push_str(fixed),
            Part::Field(path) => text.push_str(&value(event, path)?),
        }
    }
    Ok(text)
}

/// Firehose takes no empty key.
fn value(event: &[u8], path: &FieldPath) -> Result<String, Refusal> {
    let value = path.text_in(event).filter(|value| !value.is_empty());
    value.map(std::borrow::Cow::into_owned).ok_or_else(|| {
        let what =
            format!("{path}: a text, a number or a boolean was expected, which says where the record goes");
        Refusal::new(Reason::NoDestination, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Destination, String> {
        Destination::from_env(&Environment::from_iter(variables.iter().copied()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn fields_say_where_a_record_goes() {
        let both = read(&[
            (PARTITION_KEYS, "customer, kind=detail.kind"),
            (TABLE, "lake.{detail.kind}_of_{customer}"),
        ])
        .unwrap();
        let lines = b"{\"customer\":7,\"detail\":{\"kind\":\"a\\\"b\"}}\n{\"detail\":{\"kind\":\"a\\\"b\"},\"customer\":7}\n";
        let metadata: Value = serde_json::from_str(&both.metadata(lines).unwrap()).unwrap();
        let expected = json!({
            "partitionKeys": {"customer": "7", "kind": "a\"b"},
            "otfMetadata": {
                "destinationDatabaseName": "lake",
                "destinationTableName": "a\"b_of_7",
                "operation": "insert",
            },
        });
        assert_eq!(metadata, expected);
        assert_eq!(Destination::default().metadata(lines).unwrap(), "");
        assert_eq!(read(&[]).unwrap(), Destination::default());
    }

    #[test]
    fn a_record_without_a_place_or_with_two_is_refused() {
        let keys = read(&[(PARTITION_KEYS, "kind")]).unwrap();
        for lines in
            ["{}", "{\"kind\":null}", "{\"kind\":\"\"}", "{\"kind\":{}}", "{\"kind\":1}\n{\"kind\":2}\n"]
        {
            let refusal = keys.metadata(lines.as_bytes()).unwrap_err();
            assert_eq!(refusal.reason, Reason::NoDestination, "{lines}");
            assert!(refusal.message.contains("kind"), "{refusal}");
        }
    }

    #[test]
    fn other_settings_are_refused_by_name() {
        for keys in ["a,", "=a", "a=", "a=b..c", "a,a=b"] {
            let error = read(&[(PARTITION_KEYS, keys)]).unwrap_err();
            assert!(
                error.starts_with(&format!("FRAZIL_PARTITION_KEYS={keys}: expected NAME=PATH")),
                "{error}"
            );
        }
        for name in ["a", "a.b.c", "a.", ".b", "a.{b", "a.b}", "a.{}", "{a.b"] {
            let error = read(&[(TABLE, name)]).unwrap_err();
            assert!(
                error.starts_with(&format!("FRAZIL_FIREHOSE_TABLE={name}: expected DATABASE.TABLE")),
                "{error}"
            );
        }
    }
}

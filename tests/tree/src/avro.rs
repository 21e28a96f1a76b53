//! Manifest lists and manifests as plain values.

use apache_avro::types::Value;
use apache_avro::{Reader, Schema};
use serde_json::Value as Json;

/// A line of a manifest list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ListEntry {
    pub(crate) path: String,
    pub(crate) length: i64,
    pub(crate) spec_id: i64,
    /// 0 for data, 1 for deletes. Lists of version 1 have no such field.
    pub(crate) content: i64,
    pub(crate) sequence_number: i64,
    pub(crate) min_sequence_number: i64,
    pub(crate) added_snapshot_id: i64,
    /// Files added, existing and deleted.
    pub(crate) files: [Option<i64>; 3],
    pub(crate) rows: [Option<i64>; 3],
    /// How many field summaries there are.
    pub(crate) summaries: Option<usize>,
    pub(crate) first_row_id: Option<i64>,
}

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) length: usize,
    pub(crate) header: Header,
    /// Ids of the fields of the partition tuple; None if the file says none.
    pub(crate) partition_ids: Option<Vec<i64>>,
    pub(crate) entries: Vec<Entry>,
}

/// What a manifest says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Header {
    pub(crate) schema: Json,
    pub(crate) spec: Json,
    pub(crate) spec_id: Option<i64>,
    pub(crate) format_version: i64,
    /// `data` or `deletes`.
    pub(crate) content: String,
}

/// The states of an entry: its place in the counts of a list.
pub(crate) const ADDED: i64 = 1;
pub(crate) const DELETED: i64 = 2;

/// A file in a manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    /// 0 existing, 1 added, 2 deleted.
    pub(crate) status: i64,
    pub(crate) snapshot_id: Option<i64>,
    pub(crate) sequence_number: Option<i64>,
    pub(crate) file_sequence_number: Option<i64>,
    pub(crate) file: File,
}

/// A data or delete file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct File {
    /// 0 data, 1 position deletes, 2 equality deletes.
    pub(crate) content: i64,
    pub(crate) path: String,
    pub(crate) partition_fields: usize,
    pub(crate) record_count: i64,
    pub(crate) size_bytes: i64,
    pub(crate) first_row_id: Option<i64>,
    pub(crate) content_offset: Option<i64>,
}

impl Entry {
    pub(crate) fn is_live(&self) -> bool {
        self.status != DELETED
    }
}

pub(crate) fn list(bytes: &[u8]) -> Result<Vec<ListEntry>, String> {
    let reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    for record in reader {
        let record = Record::of(record.map_err(|error| error.to_string())?)?;
        // Both names are in use for the counts.
        let count = |kind: &str| {
            let number = record.number(&format!("{kind}_files_count"));
            number.or_else(|| record.number(&format!("{kind}_data_files_count")))
        };
        let rows = |kind: &str| record.number(&format!("{kind}_rows_count"));
        entries.push(ListEntry {
            path: record.text("manifest_path")?,
            length: record.required("manifest_length")?,
            spec_id: record.required("partition_spec_id")?,
            content: record.number("content").unwrap_or(0),
            sequence_number: record.number("sequence_number").unwrap_or(0),
            min_sequence_number: record.number("min_sequence_number").unwrap_or(0),
            added_snapshot_id: record.required("added_snapshot_id")?,
            files: ["existing", "added", "deleted"].map(count),
            rows: ["existing", "added", "deleted"].map(rows),
            summaries: match record.get("partitions") {
                Some(Value::Array(summaries)) => Some(summaries.len()),
                _ => None,
            },
            first_row_id: record.number("first_row_id"),
        });
    }
    Ok(entries)
}

pub(crate) fn manifest(bytes: &[u8]) -> Result<Manifest, String> {
    let reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    let text = |key: &str| {
        let value = reader.user_metadata().get(key);
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let json = |key: &str| text(key).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let header = Header {
        schema: json("schema"),
        spec: json("partition-spec"),
        spec_id: text("partition-spec-id").and_then(|text| text.parse().ok()),
        format_version: text("format-version").and_then(|text| text.parse().ok()).unwrap_or(1),
        content: text("content").unwrap_or_else(|| "data".to_owned()),
    };
    let partition_ids = partition_ids(reader.writer_schema());
    let mut entries = Vec::new();
    for record in reader {
        entries.push(entry(&Record::of(record.map_err(|error| error.to_string())?)?)?);
    }
    Ok(Manifest { length: bytes.len(), header, partition_ids, entries })
}

fn entry(record: &Record) -> Result<Entry, String> {
    let Some(Value::Record(fields)) = record.get("data_file") else {
        return Err("an entry without a file".to_owned());
    };
    let file = Record(fields.clone());
    let partition_fields = match file.get("partition") {
        Some(Value::Record(fields)) => fields.len(),
        _ => return Err("a file without a partition".to_owned()),
    };
    Ok(Entry {
        status: record.required("status")?,
        snapshot_id: record.number("snapshot_id"),
        sequence_number: record.number("sequence_number"),
        file_sequence_number: record.number("file_sequence_number"),
        file: File {
            content: file.number("content").unwrap_or(0),
            path: file.text("file_path")?,
            partition_fields,
            record_count: file.required("record_count")?,
            size_bytes: file.required("file_size_in_bytes")?,
            first_row_id: file.number("first_row_id"),
            content_offset: file.number("content_offset"),
        },
    })
}

/// The ids of the fields of the partition tuple, by the schema of the entries.
fn partition_ids(schema: &Schema) -> Option<Vec<i64>> {
    let field = |schema: &Schema, name: &str| match schema {
        Schema::Record(record) => {
            record.fields.iter().find(|field| field.name == name).map(|field| field.schema.clone())
        }
        _ => None,
    };
    let partition = field(&field(schema, "data_file")?, "partition")?;
    let Schema::Record(partition) = partition else { return None };
    partition.fields.iter().map(|field| field.custom_attributes.get("field-id")?.as_i64()).collect()
}

/// A record, read by the names of its fields.
struct Record(Vec<(String, Value)>);

impl Record {
    fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::Record(fields) => Ok(Self(fields)),
            other => Err(format!("expected a record, not {other:?}")),
        }
    }

    /// A field that is there and is not null.
    fn get(&self, name: &str) -> Option<&Value> {
        let value = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        match value? {
            Value::Union(_, value) if **value == Value::Null => None,
            Value::Union(_, value) => Some(value),
            value => Some(value),
        }
    }

    fn number(&self, name: &str) -> Option<i64> {
        match self.get(name)? {
            Value::Int(number) => Some(i64::from(*number)),
            Value::Long(number) => Some(*number),
            _ => None,
        }
    }

    fn required(&self, name: &str) -> Result<i64, String> {
        self.number(name).ok_or_else(|| format!("{name} is missing"))
    }

    fn text(&self, name: &str) -> Result<String, String> {
        match self.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(format!("{name} is missing")),
        }
    }
}

//! A table definition file -> what creates the table.
//!
//! In: JSON in the shape of the Iceberg REST catalog specification's `CreateTableRequest` (`name`, `schema`,
//! `partition-spec`, `write-order`, `properties`), where a spec or an order may be a line (`line.rs`). Out: a [`TableDefinition`]. It only ever creates a table: once the
//! table exists, its own schema, spec and properties count.

mod line;

use std::collections::HashMap;

use iceberg::io::FileIOBuilder;
use iceberg::spec::{
    Schema, SortOrder, TableProperties, Transform, UnboundPartitionField, UnboundPartitionSpec,
};
use iceberg::{ErrorKind, TableCreation};
use records::enrich::{PARTITION_DATE, PARTITION_HOUR};
use serde::Deserialize;

use crate::commit::MAX_METADATA_BYTES;
use crate::decode::unknown::{Evolution, REST, REST_COLUMN, empty_string_is_null};
use crate::decode::{FILE_NAME, Units, name};
use crate::storage::{S3Config, storage_factory};

/// Properties that keep the metadata of a table small that is committed to every minute for years.
const FLAT: [(&str, &str); 4] = [
    ("write.metadata.compression-codec", "gzip"),
    ("write.metadata.previous-versions-max", "20"),
    ("write.metadata.delete-after-commit.enabled", "true"),
    // At most: where snapshots come faster or are larger than a day of them would fit, the oldest go earlier.
    (MAX_METADATA_BYTES, "900000"),
];
/// How long the snapshots of a table are kept: for a day, and a hundred at least.
const HISTORY: [(&str, &str); 2] = [
    (TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS, "86400000"),
    (TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP, "100"),
];

/// How to create a table (Iceberg REST catalog specification, `CreateTableRequest`).
#[derive(Clone, Debug)]
pub struct TableDefinition {
    /// The table's name within its namespace.
    pub name: String,
    /// The columns.
    pub schema: Schema,
    /// How rows are told apart into partitions.
    pub partition_spec: Option<UnboundPartitionSpec>,
    /// The order of the rows of a batch, which engines should keep when they rewrite files.
    pub write_order: Option<SortOrder>,
    /// Table properties, such as `write.parquet.compression-codec`.
    pub properties: HashMap<String, String>,
}

/// A definition as it is spelled.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Spelled {
    name: String,
    schema: Schema,
    #[serde(default)]
    partition_spec: Option<LineOr<UnboundPartitionSpec>>,
    #[serde(default)]
    write_order: Option<LineOr<SortOrder>>,
    #[serde(default)]
    properties: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum LineOr<T> {
    Line(String),
    Whole(T),
}

impl<T> LineOr<T> {
    fn read(self, of_line: impl Fn(&str) -> iceberg::Result<T>) -> iceberg::Result<T> {
        match self {
            Self::Line(line) => of_line(&line),
            Self::Whole(whole) => Ok(whole),
        }
    }
}

impl TableDefinition {
    /// Reads a definition from JSON.
    ///
    /// # Errors
    /// Where `json` departs from the shape of a `CreateTableRequest`; a property `frazil...` of a value that means
    /// nothing; names that differ by case only.
    pub fn parse(json: &[u8]) -> iceberg::Result<Self> {
        let spelled: Spelled = serde_json::from_slice(json).map_err(|error| {
            let what = format!(
                "this is no table definition ({error}); expected a CreateTableRequest of the Iceberg REST \
                 specification: name, schema, partition-spec, write-order, properties"
            );
            iceberg::Error::new(ErrorKind::DataInvalid, what)
        })?;
        let Spelled { name, schema, partition_spec, write_order, properties } = spelled;
        let partition_spec = partition_spec.map(|spec| spec.read(|line| line::partition_spec(line, &schema)));
        let write_order = write_order.map(|order| order.read(|line| line::sort_order(line, &schema)));
        let (partition_spec, write_order) = (partition_spec.transpose()?, write_order.transpose()?);
        let definition = Self { name, schema, partition_spec, write_order, properties };
        name::check(&definition.schema)?;
        Units::of(&definition.properties)?.check(&definition.schema)?;
        Evolution::of(&definition.properties)?.check(&definition.schema)?;
        empty_string_is_null(&definition.properties)?;
        Ok(definition)
    }

    /// Reads a definition from the file at `uri`.
    ///
    /// # Errors
    /// The file cannot be read, or it is no definition.
    pub async fn fetch(uri: &str, s3: &S3Config) -> iceberg::Result<Self> {
        let file_io = FileIOBuilder::new(storage_factory(s3)).build();
        Self::parse(&file_io.new_input(uri)?.read().await?)
    }

    /// A table of an inferred `schema`, partitioned by the transform function's date and hour, in zstd.
    ///
    /// # Errors
    /// `schema` lacks one of those columns.
    pub fn inferred(name: &str, schema: Schema) -> iceberg::Result<Self> {
        let fields = [PARTITION_DATE, PARTITION_HOUR]
            .into_iter()
            .map(|column| {
                let source_id = schema.field_id_by_name(column).ok_or_else(|| {
                    iceberg::Error::new(ErrorKind::DataInvalid, format!("the schema lacks {column}"))
                })?;
                Ok(UnboundPartitionField::builder()
                    .source_id(source_id)
                    .name(column.to_owned())
                    .transform(Transform::Identity)
                    .build())
            })
            .collect::<iceberg::Result<Vec<_>>>()?;
        let partition_spec = UnboundPartitionSpec::builder().add_partition_fields(fields)?.build();
        let properties = HashMap::from([
            ("write.parquet.compression-codec".to_owned(), "zstd".to_owned()),
            ("write.target-file-size-bytes".to_owned(), (128 * 1024 * 1024).to_string()),
            // For engines that rewrite the files: bounds of 16 characters, their default, tell no objects apart.
            (format!("write.metadata.metrics.column.{FILE_NAME}"), "full".to_owned()),
            // What can be no column, by its name or by the number of them, comes all the same.
            (REST_COLUMN.to_owned(), REST.to_owned()),
        ]);
        Ok(Self {
            name: name.to_owned(),
            schema,
            partition_spec: Some(partition_spec),
            write_order: None,
            properties,
        })
    }

    /// The same for records of Kafka topics. Fewer snapshots are kept where their marks are large: each names a range for
    /// every partition of its batch.
    ///
    /// # Errors
    /// `schema` lacks one of those columns.
    pub(crate) fn inferred_of_topic(name: &str, schema: Schema) -> iceberg::Result<Self> {
        let mut definition = Self::inferred(name, schema)?;
        definition.properties.remove(&format!("write.metadata.metrics.column.{FILE_NAME}"));
        let kept = TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP.to_owned();
        definition.properties.insert(kept, "10".to_owned());
        Ok(definition)
    }

    /// What creates the table, with the properties of [`FLAT`], and of [`HISTORY`] unless the catalog sees to that, where
    /// the definition does not say otherwise.
    pub(crate) fn into_creation(self, name: &str, catalog_keeps_history: bool) -> TableCreation {
        let history = if catalog_keeps_history { &[][..] } else { &HISTORY };
        let defaults =
            FLAT.iter().chain(history).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let mut properties: HashMap<String, String> = defaults.collect();
        properties.extend(self.properties);
        TableCreation::builder()
            .name(name.to_owned())
            .schema(self.schema)
            .partition_spec_opt(self.partition_spec)
            .sort_order_opt(self.write_order)
            .properties(properties)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_table_is_a_definition() {
        let definition = TableDefinition::parse(include_bytes!("../../../tables/user_events.json")).unwrap();
        assert_eq!(definition.name, "user_events");
        let columns: Vec<String> = definition
            .schema
            .as_struct()
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name, field.field_type))
            .collect();
        assert_eq!(columns[0], "record_id string");
        assert!(columns.contains(&"ingestion_timestamp timestamptz".to_owned()));
        assert_eq!(definition.properties["write.parquet.compression-codec"], "snappy");
        assert!(definition.partition_spec.is_some());
    }

    #[test]
    fn two_columns_that_engines_take_for_one_are_refused() {
        let parse = |fields: &str| {
            let json = format!(r#"{{"name":"t","schema":{{"type":"struct","fields":[{fields}]}}}}"#);
            TableDefinition::parse(json.as_bytes()).map_err(|error| error.message().to_owned())
        };
        let column = |id: i32, name: &str, kind: &str| {
            format!(r#"{{"id":{id},"name":"{name}","required":false,"type":{kind}}}"#)
        };
        let inner = |fields: [String; 2]| format!(r#"{{"type":"struct","fields":[{}]}}"#, fields.join(","));
        let twins = [column(3, "Äb", "\"int\""), column(4, "äB", "\"int\"")];
        for fields in [twins.join(","), column(1, "outer", &inner(twins.clone()))] {
            assert!(
                parse(&fields).unwrap_err().contains("\"äB\" and \"Äb\" differ by case only"),
                "{fields}"
            );
        }
        assert!(parse(&column(1, "Record_Id", "\"string\"")).unwrap_err().contains("\"record_id\""));
        assert!(parse(&column(1, "FILE_NAME", "\"string\"")).unwrap_err().contains("\"file_name\""));
        let free = [column(2, "File_Name", "\"int\""), column(3, "name", "\"int\"")];
        parse(&column(1, "Name", &inner(free))).unwrap();
    }

    #[test]
    fn what_is_no_definition_says_where() {
        let error = TableDefinition::parse(br#"{"name": "x"}"#).unwrap_err();
        assert!(error.message().contains("missing field `schema`"), "{error}");
    }
}

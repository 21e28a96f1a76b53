//! Tables of the tests: how they are created and read back.
//!
//! In: columns, or a table. Out: a definition, or rows as JSON values, read through Iceberg's own scan.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::array_value_to_string;
use arrow_schema::DataType;
use futures::TryStreamExt as _;
use iceberg::expr::Predicate;
use iceberg::table::Table;
use lake::TableDefinition;
use serde_json::{Value, json};

use crate::writer::{current_files, read_rows};

/// A table of `columns` (name, type), partitioned by `partitions` (column, transform).
pub fn definition(columns: &[(&str, &str)], partitions: &[(&str, &str)]) -> TableDefinition {
    let id_of = |name: &str| columns.iter().position(|(column, _)| *column == name).unwrap() + 1;
    let fields = columns
        .iter()
        .map(|(name, kind)| json!({"id": id_of(name), "name": name, "type": kind, "required": false}));
    let partitions = partitions.iter().enumerate().map(|(at, (column, transform))| {
        json!({"source-id": id_of(column), "field-id": 1000 + at, "name": format!("{column}_part{at}"),
            "transform": transform})
    });
    let json = json!({
        "name": "events",
        "schema": {"type": "struct", "schema-id": 0, "fields": fields.collect::<Vec<_>>()},
        "partition-spec": {"spec-id": 0, "fields": partitions.collect::<Vec<_>>()},
    });
    TableDefinition::parse(json.to_string().as_bytes()).unwrap()
}

/// The same, whose table rejects fields that it has no column for.
pub fn strict(definition: TableDefinition) -> TableDefinition {
    with(definition, &[("frazil.schema-evolution", "quarantine")])
}

/// The same, whose table has the properties `properties` besides.
pub fn with(mut definition: TableDefinition, properties: &[(&str, &str)]) -> TableDefinition {
    definition.properties.extend(properties.iter().map(|(key, value)| ((*key).into(), (*value).into())));
    definition
}

/// A table with the columns that transform fills, partitioned as the sample's.
pub fn enriched_table() -> TableDefinition {
    let columns = [
        ("n", "long"),
        ("record_id", "string"),
        ("ingestion_timestamp", "timestamptz"),
        ("partition_date", "string"),
        ("partition_hour", "string"),
        ("file_name", "string"),
    ];
    definition(&columns, &[("partition_date", "identity"), ("partition_hour", "identity")])
}

/// The plainest table: `n` and `text`, and the object's URI.
pub fn plain_table() -> TableDefinition {
    definition(&[("n", "long"), ("text", "string"), ("file_name", "string")], &[])
}

/// The rows of `table` that `filter` keeps, ordered by their column `n`; all columns unless some are named.
/// They must be named in the order of the schema: the crate's scan gives others the wrong names.
pub async fn scan(table: &Table, columns: &[&str], filter: Predicate) -> Vec<Value> {
    let scan = table.scan().with_filter(filter);
    let scan = if columns.is_empty() { scan } else { scan.select(columns) };
    let mut batches = scan.build().unwrap().to_arrow().await.unwrap();
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await.unwrap() {
        rows.extend(values(&batch));
    }
    rows.sort_by_key(|row| row["n"].as_i64());
    rows
}

/// The rows of the data files of `table` as they lie in them, ordered by their column `n`: the crate's scan cannot read a
/// struct that has got fields since its file was written.
pub async fn rows_in_files(table: &Table) -> Vec<Value> {
    let files = current_files(table).await;
    let mut rows: Vec<Value> = files.iter().flat_map(|(file, _)| values(&read_rows(file))).collect();
    rows.sort_by_key(|row| row["n"].as_i64());
    rows
}

fn values(batch: &RecordBatch) -> Vec<Value> {
    let schema = batch.schema();
    let row = |row| {
        let cells = schema.fields().iter().zip(batch.columns());
        Value::Object(cells.map(|(field, column)| (field.name().clone(), value(column, row))).collect())
    };
    (0..batch.num_rows()).map(row).collect()
}

/// The values of the column `n`.
pub fn numbers(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["n"].as_i64().unwrap()).collect()
}

/// What no JSON type fits is text, as Arrow shows it.
fn value(array: &ArrayRef, row: usize) -> Value {
    let all = |array: &ArrayRef| (0..array.len()).map(|at| value(array, at)).collect::<Vec<_>>();
    match array.data_type() {
        _ if array.is_null(row) => Value::Null,
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => json!(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Struct(fields) => {
            let cells = fields.iter().zip(array.as_struct().columns());
            Value::Object(cells.map(|(field, column)| (field.name().clone(), value(column, row))).collect())
        }
        DataType::List(_) => Value::Array(all(&array.as_list::<i32>().value(row))),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (all(entries.column(0)), all(entries.column(1)));
            let key = |key: &Value| key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Value::Object(keys.iter().map(key).zip(values).collect())
        }
        _ => json!(array_value_to_string(array, row).unwrap()),
    }
}

//! What a definition says of its table beyond the columns: properties, and partitions and orders by one line.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use lake::TableDefinition;
use serde_json::{Value, json};
use tests::writer::{current_files, read_rows};
use tests::{Bench, definition, rows_in_files, with};

const FORMS: [(&str, &str); 8] = [
    ("n", "long"),
    ("name", "string"),
    ("age", "int"),
    ("born", "date"),
    ("seen", "timestamptz"),
    ("ok", "boolean"),
    ("raw", "binary"),
    ("file_name", "string"),
];

#[tokio::test]
async fn empty_strings_are_null_outside_of_strings_where_a_property_wants_it() {
    let content = "{\"n\": 1, \"name\": \"Ada\", \"age\": 36, \"born\": \"1990-12-10\", \"seen\": \"2026-02-25T06:13:20Z\", \"ok\": true, \
                   \"raw\": \"AQ==\"}\n\
                   {\"n\": 2, \"name\": \"\", \"age\": \"\", \"born\": \"\", \"seen\": \"\", \"ok\": \"\", \"raw\": \"\"}\n\
                   {\"n\": 3, \"age\": \" 7 \"}\n{\"n\": 4, \"ok\": \"True\"}\n{\"n\": 5, \"ok\": 1}\n{\"n\": 6, \"age\": \" \"}\n";
    for (properties, expected) in [
        (&[][..], "1 rows, 5 type_mismatch"),
        (&[("frazil.empty-string-is-null", "false")][..], "1 rows, 5 type_mismatch"),
        (&[("frazil.empty-string-is-null", "true")][..], "2 rows, 4 type_mismatch"),
    ] {
        let bench = Bench::new(Some(with(definition(&FORMS, &[]), properties))).await;
        assert_eq!(bench.deliver(&[bench.put("a", content)]).await.objects, [expected]);
        if let Some(row) = bench.rows().await.get_mut(1) {
            row.as_object_mut().unwrap().remove("file_name");
            let nulls =
                json!({"n": 2, "name": "", "age": null, "born": null, "seen": null, "ok": null, "raw": null});
            assert_eq!(*row, nulls);
        }
    }
}

#[tokio::test]
async fn empty_strings_are_null_at_any_depth_and_refused_where_null_is() {
    let json = br#"{"name": "events", "properties": {"frazil.empty-string-is-null": "true"},
        "schema": {"type": "struct", "fields": [
            {"id": 1, "name": "n", "type": "long", "required": true},
            {"id": 2, "name": "s", "required": false, "type": {"type": "struct", "fields": [
                {"id": 3, "name": "a", "type": "double", "required": false}]}},
            {"id": 4, "name": "l", "required": false, "type": {"type": "list", "element-id": 5,
                "element": "long", "element-required": false}},
            {"id": 6, "name": "m", "required": false, "type": {"type": "map", "key-id": 7, "key": "string",
                "value-id": 8, "value": "long", "value-required": false}},
            {"id": 9, "name": "file_name", "type": "string", "required": false}]}}"#;
    let bench = Bench::new(Some(TableDefinition::parse(json).unwrap())).await;
    let content = r#"{"n": 1, "s": {"a": ""}, "l": ["", 1], "m": {"": ""}} {"n": 2, "s": "", "l": "", "m": ""} {"n": ""}"#;
    let delivered = bench.deliver(&[bench.put("a", content)]).await;
    assert_eq!(delivered.objects, ["2 rows, 1 missing_required"]);
    let rows = bench.rows().await;
    assert_eq!(
        (&rows[0]["s"], &rows[0]["l"], &rows[0]["m"]),
        (&json!({"a": null}), &json!([null, 1]), &json!({"": null}))
    );
    assert!(["s", "l", "m"].iter().all(|column| rows[1][column].is_null()));
}

/// A table as Athena makes it: lower case, none of the pipeline's columns, and fewer than the events have fields.
#[tokio::test]
async fn a_table_that_was_there_before_takes_what_it_has_columns_for() {
    let columns = [("n", "long"), ("userid", "string"), ("total", "double")];
    let enriched = "\"record_id\":\"ac5af10c-8600-59c9-996e-459115cdfb3b\",\"ingestion_timestamp\":\"2026-01-02T03:04:05.000000Z\",\
                    \"partition_date\":\"2026-01-02\",\"partition_hour\":\"03\"";
    let content = format!(
        "{{\"n\":1,\"userId\":\"u-1\",\"Total\":7,{enriched}}}\n{{\"n\":2,\"USERID\":\"u-2\",\"note\":\"x\",{enriched}}}\n"
    );
    for (mode, expected, note) in [
        ("add", "2 rows", json!("x")),
        ("ignore", "2 rows", Value::Null),
        ("rest", "2 rows", Value::Null),
        ("quarantine", "1 rows, 1 unknown_field", Value::Null),
    ] {
        let table = with(definition(&columns, &[]), &[("frazil.schema-evolution", mode)]);
        let bench = Bench::new(Some(table)).await;
        assert_eq!(bench.deliver(&[bench.put("a", &content)]).await.objects, [expected], "{mode}");
        let rows = rows_in_files(&bench.table().await).await;
        assert_eq!((&rows[0]["userid"], &rows[0]["total"]), (&json!("u-1"), &json!(7.0)));
        if let Some(row) = rows.get(1) {
            assert_eq!(
                (&row["userid"], row.get("note").unwrap_or(&Value::Null)),
                (&json!("u-2"), &note),
                "{mode}"
            );
            assert_eq!(row.get("rest"), (mode == "rest").then_some(&json!("{\"note\":\"x\"}")), "{mode}");
        }
        assert!(rows[0].get("record_id").is_none(), "a table need not have the pipeline's columns: {mode}");
    }
}

#[tokio::test]
async fn partitions_and_orders_can_be_a_line() {
    let json = br#"{"name": "events", "partition-spec": "hour(at), bucket(4, user)", "write-order": "n desc",
        "schema": {"type": "struct", "fields": [
            {"id": 1, "name": "n", "type": "long", "required": false},
            {"id": 2, "name": "at", "type": "timestamptz", "required": false},
            {"id": 3, "name": "user", "type": "string", "required": false},
            {"id": 4, "name": "file_name", "type": "string", "required": false}]}}"#;
    let bench = Bench::new(Some(TableDefinition::parse(json).unwrap())).await;
    let row = |n: i64| format!("{{\"n\":{n},\"at\":\"2026-01-02T0{}:00:00Z\",\"user\":\"u\"}}\n", n % 2);
    let content: String = [3, 1, 6, 2, 5, 4].map(row).concat();
    let delivered = bench.deliver(&[bench.put("a", content + "{\"user\":\"u\"}\n")]).await;
    assert_eq!(delivered.objects, ["7 rows"]);
    let table = bench.table().await;
    let spec = table.metadata().default_partition_spec();
    let names: Vec<&str> = spec.fields().iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["at_hour", "user_bucket"]);
    let mut files: Vec<Vec<Option<i64>>> = Vec::new();
    for (file, _) in current_files(&table).await {
        let rows = read_rows(&file);
        let column = rows.column_by_name("n").unwrap();
        let numbers = column.as_any().downcast_ref::<arrow_array::Int64Array>().unwrap();
        files.push(numbers.iter().collect());
    }
    files.sort();
    assert_eq!(files, [vec![None], vec![Some(5), Some(3), Some(1)], vec![Some(6), Some(4), Some(2)]]);
}

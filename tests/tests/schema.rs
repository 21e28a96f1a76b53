//! JSON values in columns of every type: what is accepted arrives exactly, what is not is refused alone, with
//! its reason and the path of its field.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use iceberg::spec::Type;
use lake::TableDefinition;
use serde_json::{Value, json};
use tests::{Bench, Object, definition, strict};

/// A column of every type, all of them optional but `key`, in a table that gets no others.
fn every_type() -> TableDefinition {
    let json = br#"{"name": "events", "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "n", "type": "long", "required": false},
        {"id": 2, "name": "key", "type": "string", "required": true},
        {"id": 3, "name": "boolean", "type": "boolean", "required": false},
        {"id": 4, "name": "int", "type": "int", "required": false},
        {"id": 5, "name": "long", "type": "long", "required": false},
        {"id": 6, "name": "float", "type": "float", "required": false},
        {"id": 7, "name": "double", "type": "double", "required": false},
        {"id": 8, "name": "money", "type": "decimal(9, 2)", "required": false},
        {"id": 9, "name": "exact", "type": "decimal(38, 10)", "required": false},
        {"id": 10, "name": "date", "type": "date", "required": false},
        {"id": 11, "name": "time", "type": "time", "required": false},
        {"id": 12, "name": "local", "type": "timestamp", "required": false},
        {"id": 13, "name": "at", "type": "timestamptz", "required": false},
        {"id": 14, "name": "string", "type": "string", "required": false},
        {"id": 15, "name": "uuid", "type": "uuid", "required": false},
        {"id": 16, "name": "fixed", "type": "fixed[4]", "required": false},
        {"id": 17, "name": "binary", "type": "binary", "required": false},
        {"id": 30, "name": "counts", "required": false, "type": {"type": "map",
            "key-id": 31, "key": "string", "value-id": 32, "value": "int", "value-required": true}},
        {"id": 33, "name": "by_number", "required": false, "type": {"type": "map",
            "key-id": 34, "key": "long", "value-id": 35, "value": "string", "value-required": false}},
        {"id": 36, "name": "items", "required": false, "type": {"type": "list",
            "element-id": 37, "element-required": false, "element": {"type": "struct", "fields": [
                {"id": 38, "name": "sku", "type": "string", "required": true},
                {"id": 39, "name": "price", "type": "decimal(9, 2)", "required": false},
                {"id": 40, "name": "tags", "required": false, "type": {"type": "list",
                    "element-id": 41, "element": "string", "element-required": true}}]}}},
        {"id": 42, "name": "place", "required": false, "type": {"type": "struct", "fields": [
            {"id": 43, "name": "city", "type": "string", "required": true},
            {"id": 44, "name": "inner", "required": false, "type": {"type": "struct", "fields": [
                {"id": 45, "name": "zip", "type": "int", "required": false}]}}]}}]}}"#;
    strict(TableDefinition::parse(json).unwrap())
}

/// Columns, values in JSON, and what the table holds then.
fn accepted() -> Vec<(&'static str, &'static str, Value)> {
    let second = "1970-01-01T00:00:01";
    vec![
        ("boolean", "true", json!(true)),
        ("boolean", "false", json!(false)),
        ("boolean", "\"true\"", json!(true)),
        ("boolean", "\"false\"", json!(false)),
        ("int", "2147483647", json!(i32::MAX)),
        ("int", "-2147483648", json!(i32::MIN)),
        ("int", "\"42\"", json!(42)),
        ("int", "1.0", json!(1)),
        ("int", "1e3", json!(1000)),
        ("int", "-0", json!(0)),
        ("int", "\"1.50e1\"", json!(15)),
        ("int", "null", Value::Null),
        ("long", "9223372036854775807", json!(i64::MAX)),
        ("long", "-9223372036854775808", json!(i64::MIN)),
        ("long", "9007199254740993", json!(9_007_199_254_740_993_i64)),
        ("int", "\"09\"", json!(9)),
        ("long", "\"-7\"", json!(-7)),
        ("long", "1200e-2", json!(12)),
        ("float", "1.5", json!(1.5)),
        ("float", "\"-0.25\"", json!(-0.25)),
        ("float", "3", json!(3.0)),
        ("double", "0.1", json!(0.1)),
        ("double", "1e300", json!(1e300)),
        ("double", "\"12.5\"", json!(12.5)),
        ("double", "1e-400", json!(0.0)),
        ("money", "12.34", json!("12.34")),
        ("money", "12.340", json!("12.34")),
        ("money", "\"-9999999.99\"", json!("-9999999.99")),
        ("money", "1e3", json!("1000.00")),
        ("money", "7", json!("7.00")),
        (
            "exact",
            "1234567890123456789012345678.0123456789",
            json!("1234567890123456789012345678.0123456789"),
        ),
        ("exact", "\"-0.0000000001\"", json!("-0.0000000001")),
        ("date", "\"2024-02-29\"", json!("2024-02-29")),
        ("date", "\"1969-12-31\"", json!("1969-12-31")),
        ("time", "\"23:59:59.999999\"", json!("23:59:59.999999")),
        ("time", "\"00:00:00\"", json!("00:00:00")),
        ("local", "\"1970-01-01T00:00:01\"", json!(second)),
        ("local", "\"1970-01-01 00:00:01\"", json!(second)),
        ("local", "1772000000123", json!("2026-02-25T06:13:20.123")),
        ("at", "\"1970-01-01T00:00:01Z\"", json!("1970-01-01T00:00:01Z")),
        ("at", "\"1970-01-01T05:30:01+05:30\"", json!("1970-01-01T00:00:01Z")),
        ("at", "\"1970-01-01T00:00:01\"", json!("1970-01-01T00:00:01Z")),
        ("at", "1772000000", json!("2026-02-25T06:13:20Z")),
        ("at", "1772000000.123", json!("2026-02-25T06:13:20.123Z")),
        ("at", "1772000000123000", json!("2026-02-25T06:13:20.123Z")),
        ("at", "1772000000123000000", json!("2026-02-25T06:13:20.123Z")),
        ("at", "\"1772000000123\"", json!("2026-02-25T06:13:20.123Z")),
        ("at", "-1772000000", json!("1913-11-06T17:46:40Z")),
        ("at", "\"2026-01-02T03:04:05.678901Z\"", json!("2026-01-02T03:04:05.678901Z")),
        ("string", "\"\"", json!("")),
        ("string", "\"null\"", json!("null")),
        ("string", "\"\\u00e9\\n\\\"\\ud83c\\udf89\\u0000\"", json!("é\n\"🎉\0")),
        ("string", "12.50", json!("12.50")),
        ("string", "12345678901234567890123", json!("12345678901234567890123")),
        ("string", "true", json!("true")),
        ("string", "{ \"b\" : [1, 2.0,null] }", json!("{ \"b\" : [1, 2.0,null] }")),
        ("string", "[]", json!("[]")),
        ("uuid", "\"F79C3E09-677c-4bbd-a479-3f349cb785e7\"", json!("f79c3e09677c4bbda4793f349cb785e7")),
        ("fixed", "\"AAECAw==\"", json!("00010203")),
        ("fixed", "\"AAECAw\"", json!("00010203")),
        ("binary", "\"AAECAwQ=\"", json!("0001020304")),
        ("binary", "\"\"", json!("")),
        ("counts", "{}", json!({})),
        ("counts", "{\"a\": 1, \"\": \"2\", \"é\": 3.0}", json!({"a": 1, "": 2, "é": 3})),
        (
            "by_number",
            "{\"1\": \"x\", \"-2\": null, \"3e2\": {\"y\": 1}}",
            json!({"1": "x", "-2": null, "300": "{\"y\": 1}"}),
        ),
        ("items", "[]", json!([])),
        ("items", "[null]", json!([null])),
        (
            "items",
            r#"[{"sku": 7, "price": "1.5", "tags": ["a", 1, true]}, {"sku": "x", "other": null}]"#,
            json!([
                {"sku": "7", "price": "1.50", "tags": ["a", "1", "true"]},
                {"sku": "x", "price": null, "tags": null}
            ]),
        ),
        ("place", "null", Value::Null),
        ("place", "{\"city\": \"Oslo\"}", json!({"city": "Oslo", "inner": null})),
        ("place", "{\"inner\": {}, \"city\": \"Oslo\"}", json!({"city": "Oslo", "inner": {"zip": null}})),
        (
            "place",
            "{\"inner\": {\"zip\": \"150\"}, \"city\": \"\"}",
            json!({"city": "", "inner": {"zip": 150}}),
        ),
        ("no_such_column", "null", Value::Null),
    ]
}

/// Columns, values in JSON, the reason for which they are refused, and where.
fn refused() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let mismatches = [
        ("boolean", "1", ""),
        ("boolean", "\"yes\"", ""),
        ("boolean", "\"True\"", ""),
        ("boolean", "[]", ""),
        ("int", "2147483648", ""),
        ("int", "-2147483649", ""),
        ("int", "1.5", ""),
        ("int", "\"007\"", ""),
        ("int", "\"+1\"", ""),
        ("int", "\" 1\"", ""),
        ("int", "\"\"", ""),
        ("int", "\"0x10\"", ""),
        ("int", "true", ""),
        ("int", "{}", ""),
        ("long", "9223372036854775808", ""),
        ("long", "1e19", ""),
        ("long", "1e-1", ""),
        ("float", "1e39", ""),
        ("float", "\"NaN\"", ""),
        ("double", "1e400", ""),
        ("double", "\"Infinity\"", ""),
        ("double", "false", ""),
        ("money", "12.345", ""),
        ("money", "10000000", ""),
        ("money", "\"1,5\"", ""),
        ("exact", "12345678901234567890123456789", ""),
        ("exact", "0.00000000001", ""),
        ("date", "\"2025-02-29\"", ""),
        ("date", "\"2025-1-1\"", ""),
        ("date", "20000", ""),
        ("date", "\"2026-01-02T00:00:01Z\"", ""),
        ("time", "\"24:00:00\"", ""),
        ("time", "\"12\"", ""),
        ("time", "0", ""),
        ("local", "\"2026-01-02\"", ""),
        ("local", "1.5", ""),
        ("at", "\"yesterday\"", ""),
        ("at", "\"2026-01-02T03:04:60Z\"", ""),
        ("at", "\"2026-01-02T03:04:05+2500\"", ""),
        ("at", "\"1000\"", ""),
        ("at", "9223372036854775807", ""),
        ("uuid", "\"f79c3e09677c4bbda4793f349cb785e7\"", ""),
        ("uuid", "\"{f79c3e09-677c-4bbd-a479-3f349cb785e7}\"", ""),
        ("uuid", "\"g79c3e09-677c-4bbd-a479-3f349cb785e7\"", ""),
        ("fixed", "\"AAECAwQ=\"", ""),
        ("fixed", "\"AAEC\"", ""),
        ("binary", "\"not base64!\"", ""),
        ("binary", "\"_-==\"", ""),
        ("binary", "7", ""),
        ("counts", "[1]", ""),
        ("counts", "{\"a\": 1.5}", ".a"),
        ("by_number", "{\"x\": \"y\"}", ".x"),
        ("items", "{}", ""),
        ("items", "[{\"sku\": \"a\"}, 7]", ".[1]"),
        ("items", "[{\"sku\": \"a\", \"price\": 0.001}]", ".[0].price"),
        ("items", "[{\"sku\": \"a\", \"tags\": \"b\"}]", ".[0].tags"),
        ("place", "\"Oslo\"", ""),
        ("place", "{\"city\": \"Oslo\", \"inner\": {\"zip\": \"x\"}}", ".inner.zip"),
    ];
    let others = [
        ("counts", "{\"a\": null}", "missing_required", ".a"),
        ("items", "[{\"price\": 1}]", "missing_required", ".[0].sku"),
        ("items", "[{\"sku\": \"a\", \"tags\": [\"x\", null]}]", "missing_required", ".[0].tags[1]"),
        ("place", "{}", "missing_required", ".city"),
        ("place", "{\"city\": null}", "missing_required", ".city"),
        ("key", "null", "missing_required", ""),
        ("place", "{\"city\": \"Oslo\", \"street\": \"x\"}", "unknown_field", ".street"),
        ("place", "{\"city\": \"Oslo\", \"inner\": {\"zop\": 0}}", "unknown_field", ".inner.zop"),
        ("items", "[{\"sku\": \"a\", \"colour\": []}]", "unknown_field", ".[0].colour"),
        ("no_such_column", "false", "unknown_field", ""),
        ("STRINGS", "\"x\"", "unknown_field", ""),
        ("counts", "{\"a\": 1, \"a\": 2}", "duplicate_field", ".a"),
        ("place", "{\"city\": \"Oslo\", \"city\": \"Oslo\"}", "duplicate_field", ".city"),
        ("n", "7", "duplicate_field", ""),
    ];
    let mismatches = mismatches.map(|(column, value, path)| (column, value, "type_mismatch", path));
    mismatches.into_iter().chain(others).collect()
}

#[tokio::test]
async fn accepted_values_arrive_exactly() {
    let bench = Bench::new(Some(every_type())).await;
    let accepted = accepted();
    let rows: String = accepted
        .iter()
        .enumerate()
        .map(|(n, (column, value, _))| format!("{{\"n\":{n},\"key\":\"k\",\"{column}\":{value}}}\n"))
        .collect();
    let delivered = bench.deliver(&[bench.put("a", rows)]).await;
    assert_eq!(delivered.objects, [format!("{} rows", accepted.len())], "{:#?}", bench.rejections());
    for (row, (column, value, expected)) in bench.rows().await.iter().zip(&accepted) {
        assert_eq!(row.get(*column).unwrap_or(&Value::Null), expected, "{column} {value}");
        let others =
            row.as_object().unwrap().iter().filter(|(name, _)| ![column, "n", "key"].contains(&&name[..]));
        assert!(others.into_iter().all(|(_, value)| value.is_null()), "{row}");
    }
}

#[tokio::test]
async fn refused_values_are_quarantined_alone_with_reason_and_path() {
    let bench = Bench::new(Some(every_type())).await;
    let refused = refused();
    let good = |n: usize| {
        format!("{{\"n\":{n},\"key\":\"k\",\"items\":[{{\"sku\":\"{n}\"}}],\"counts\":{{\"{n}\":{n}}}}}\n")
    };
    let bad = |n: usize, column: &str, value: &str| match column {
        "key" => format!("{{\"n\":{n},\"items\":[],\"key\":{value}}}"),
        _ => format!("{{\"n\":{n},\"key\":\"k\",\"{column}\":{value}}}"),
    };
    let content: String = refused
        .iter()
        .enumerate()
        .map(|(n, (column, value, ..))| format!("{}{}\n", good(n), bad(n, column, value)))
        .collect();
    bench.deliver(&[bench.put("a", content)]).await;
    let rejections = bench.rejections();
    assert_eq!(rejections.len(), refused.len());
    for ((n, rejection), (column, value, code, path)) in rejections.iter().enumerate().zip(&refused) {
        assert_eq!(rejection.raw.as_deref(), Some(bad(n, column, value).as_bytes()));
        assert_eq!((&rejection.code[..], rejection.row), (*code, 2 * n as u64 + 2), "{column} {value}");
        let field = format!("{column}{path}").replace(".[", "[");
        let field = format!("field {field:?}: ");
        assert!(rejection.message.starts_with(&field), "{field} {value}: {}", rejection.message);
    }
    for (n, row) in bench.rows().await.iter().enumerate() {
        let expected = json!({"sku": n.to_string(), "price": null, "tags": null});
        assert_eq!((&row["n"], &row["items"][0]), (&json!(n), &expected));
        assert_eq!(row["counts"], json!({n.to_string(): n}));
    }
}

#[tokio::test]
async fn messages_say_what_was_expected_and_never_the_value() {
    let bench = Bench::new(Some(every_type())).await;
    let rows =
        r#"{"key":"k","int":"a secret"} {"key":"k","money":0.123456} {"key":"k","Strings":"a secret"} {}"#;
    bench.deliver(&[bench.put("a", rows)]).await;
    let messages: Vec<String> = bench.rejections().into_iter().map(|rejection| rejection.message).collect();
    assert_eq!(
        messages,
        [
            "field \"int\": expected int (a whole number of 32 bits), found a string of 8 bytes",
            "field \"money\": expected decimal(9,2) (a number that it holds exactly), \
             found a number with a fraction",
            "field \"Strings\": the table has no such column (found a string)",
            "field \"key\": the column is required (expected string, found null or nothing)",
        ]
    );
}

#[tokio::test]
async fn the_pipelines_own_columns_are_filled_and_reserved() {
    let columns = [("n", "long"), ("processing_time", "timestamptz"), ("file_name", "string")];
    let bench = Bench::new(Some(strict(definition(&columns, &[])))).await;
    let rows = r#"{"n":1} {"n":2,"file_name":null} {"n":3,"file_name":"x"} {"n":4,"processing_time":0}"#;
    let delivered = bench.deliver(&[bench.put("a b", rows)]).await;
    assert_eq!(delivered.objects, ["2 rows, 2 reserved_field"]);
    let uri = format!("file://{}/raw/a b", bench.folder.path().display());
    for row in bench.rows().await {
        assert_eq!(
            (&row["file_name"], &row["processing_time"]),
            (&json!(uri), &json!("2026-01-02T03:04:05.678901Z"))
        );
    }
}

#[tokio::test]
async fn a_live_table_is_not_changed_by_another_definition() {
    let bench = Bench::new(Some(strict(definition(&[("n", "long")], &[])))).await;
    bench.deliver(&[bench.put("a", "{\"n\":1}")]).await;
    let limits = lake::Limits::for_memory(512 << 20);
    let other = definition(&[("n", "string"), ("text", "string")], &[("n", "identity")]);
    let appender = tests::open(bench.folder.path(), Some(other), limits).await;
    let event = tests::sqs_event(&[&[bench.put("b", "{\"n\":2}\n{\"n\":\"x\"}\n{\"n\":3,\"text\":\"y\"}")]]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let delivered = tests::handle(&appender, &event, deadline).await;
    assert_eq!(delivered.objects, ["1 rows, 1 unknown_field, 1 type_mismatch"]);
    assert_eq!(bench.rows().await, [json!({"n": 1}), json!({"n": 2})]);
}

/// The columns of the bench's table but the six that every inferred table has.
async fn inferred(bench: &Bench) -> Vec<String> {
    let table = bench.table().await;
    let fields = table.metadata().current_schema().as_struct().fields();
    assert!(fields.iter().all(|field| !field.required));
    let (own, fixed) = fields.split_at(fields.len() - 6);
    let fixed: Vec<String> =
        fixed.iter().map(|field| format!("{} {}", field.name, field.field_type)).collect();
    assert_eq!(
        fixed,
        [
            "record_id string",
            "ingestion_timestamp timestamptz",
            "partition_date string",
            "partition_hour string",
            "processing_time timestamptz",
            "file_name string",
        ]
    );
    own.iter().map(|field| format!("{} {}", field.name, in_words(&field.field_type))).collect()
}

fn in_words(kind: &Type) -> String {
    match kind {
        Type::Struct(fields) => {
            let fields =
                fields.fields().iter().map(|field| format!("{} {}", field.name, in_words(&field.field_type)));
            format!("<{}>", fields.collect::<Vec<_>>().join(", "))
        }
        Type::List(list) => format!("[{}]", in_words(&list.element_field.field_type)),
        other => other.to_string(),
    }
}

#[tokio::test]
async fn a_table_is_inferred_from_all_objects_of_the_first_event() {
    let bench = Bench::new(None).await;
    let objects: Vec<Object> = [
        r#"{"n":0,"nothing":null,"flag":true,"whole":1,"number":1,"at":"2015-09-12T00:46:58.771Z","text":"x",
            "list":[]}"#,
        r#"{"n":1,"number":1.5,"big":18446744073709551615,"object":{"a":1,"deep":{"b":"y"}},"mixed":1,
            "list":[null,{"k":1}]}"#,
        r#"{"n":2,"number":"x1","object":{"a":2.5,"c":null},"mixed":{"k":[1]},"at":"2015-09-12T00:46:58",
            "empty":{},"list":[{"k":2.5}]}"#,
    ]
    .iter()
    .enumerate()
    .map(|(at, rows)| bench.put(&at.to_string(), rows))
    .collect();
    assert_eq!(bench.deliver(&objects).await.objects, ["1 rows"; 3]);
    assert_eq!(
        inferred(&bench).await,
        [
            "n long",
            "flag boolean",
            "whole long",
            "number string",
            "at timestamptz",
            "text string",
            "list [<k double>]",
            "big string",
            "object <a double, deep <b string>>",
            "mixed string",
        ]
    );
    let rows = bench.rows().await;
    assert_eq!((&rows[0]["number"], &rows[2]["number"]), (&json!("1"), &json!("x1")));
    assert_eq!(rows[1]["big"], json!("18446744073709551615"));
    assert_eq!(rows[1]["object"], json!({"a": 1.0, "deep": {"b": "y"}}));
    assert_eq!((&rows[1]["mixed"], &rows[2]["mixed"]), (&json!("1"), &json!("{\"k\":[1]}")));
    assert_eq!((&rows[1]["list"], rows[2].get("empty")), (&json!([null, {"k": 1.0}]), None));
    assert_eq!(rows[2]["at"], json!("2015-09-12T00:46:58Z"));
}

/// Records with names that no column can have, among others.
fn odd_names() -> String {
    let long = "x".repeat(256);
    [
        "{\"n\":0,\"City\":\"Oslo\",\"a b-c.d/é\":1}\n",
        "{\"n\":1,\"\":7}\n",
        "{\"n\":2,\"line\\nbreak\":7}\n",
        &format!("{{\"n\":3,\"{long}\":7}}\n"),
        "{\"n\":4,\"CITY\":\"Oslo\"}\n",
        "{\"n\":5,\"\":null,\"CITY\":null,\"City\":null}\n",
        "{\"n\":6,\"nested\":{\"\":1,\"k\":1}}\n",
        "{\"n\":7,\"processing_time\":\"now\"}\n",
    ]
    .concat()
}

#[tokio::test]
async fn names_that_no_column_can_have_quarantine_their_rows() {
    let json = r#"{"name": "events", "schema": {"type": "struct", "fields": [
        {"id": 1, "name": "n", "type": "long", "required": false},
        {"id": 2, "name": "City", "type": "string", "required": false},
        {"id": 3, "name": "a b-c.d/é", "type": "long", "required": false},
        {"id": 4, "name": "nested", "required": false, "type": {"type": "struct", "fields": [
            {"id": 5, "name": "k", "type": "long", "required": false}]}},
        {"id": 6, "name": "producer_processing_time", "type": "string", "required": false},
        {"id": 7, "name": "file_name", "type": "string", "required": false}]}}"#;
    let definition = TableDefinition::parse(json.as_bytes()).unwrap();
    // A table that grows cannot have them either.
    for definition in [strict(definition.clone()), definition] {
        let bench = Bench::new(Some(definition)).await;
        let delivered = bench.deliver(&[bench.put("a", odd_names())]).await;
        assert_eq!(delivered.objects, ["4 rows, 4 invalid_name"]);
        let rows = bench.rows().await;
        assert_eq!((&rows[0]["n"], &rows[0]["a b-c.d/é"], &rows[2]["n"]), (&json!(0), &json!(1), &json!(5)));
        assert_eq!((&rows[1]["City"], &rows[3]["producer_processing_time"]), (&json!("Oslo"), &json!("now")));
        let codes: Vec<(u64, String)> =
            bench.rejections().into_iter().map(|rejection| (rejection.row, rejection.code)).collect();
        let expected = [(2, "invalid_name"), (3, "invalid_name"), (4, "invalid_name"), (7, "invalid_name")];
        assert_eq!(codes, expected.map(|(row, code)| (row, code.to_owned())));
    }
}

#[tokio::test]
async fn names_that_no_column_can_have_cost_an_inferred_table_no_row() {
    let bench = Bench::new(None).await;
    assert_eq!(bench.deliver(&[bench.put("a", odd_names())]).await.objects, ["8 rows"]);
    let table = bench.table().await;
    let columns: Vec<String> = table
        .metadata()
        .current_schema()
        .as_struct()
        .fields()
        .iter()
        .map(|field| field.name.clone())
        .collect();
    assert_eq!(columns[..5], ["n", "City", "a b-c.d/é", "nested", "producer_processing_time"]);
    assert_eq!(columns.last().unwrap(), "rest");
    let rows = bench.rows().await;
    assert_eq!((&rows[1]["rest"], &rows[2]["rest"]), (&json!("{\"\":7}"), &json!("{\"line\\nbreak\":7}")));
    assert_eq!((&rows[6]["nested"], &rows[6]["rest"]), (&json!("{\"\":1,\"k\":1}"), &Value::Null));
}

#[tokio::test]
async fn an_inferred_table_is_partitioned_by_date_and_hour() {
    let bench = Bench::new(None).await;
    let rows: String = (0..6)
        .map(|n| {
            format!(
                "{{\"n\":{n},\"partition_date\":\"2026-01-0{}\",\"partition_hour\":\"0{}\"}}\n",
                n % 2,
                n % 3
            )
        })
        .collect();
    let outcome = bench.deliver(&[bench.put("a", rows)]).await.outcome.unwrap();
    assert_eq!(outcome.data_files, 6);
    assert_eq!(bench.rows().await[5]["partition_hour"], "02");
}

/// The transform function's fields keep their types whatever records hold: a row that has others is bad, the
/// table is not.
#[tokio::test]
async fn a_hostile_first_object_makes_a_usable_table() {
    let bench = Bench::new(None).await;
    let deep = format!("{}1{}", "[".repeat(60), "]".repeat(60));
    let many: String = (0..3000).map(|at| format!(",\"k{at}\":1")).collect();
    let objects = [
        bench.put("a", "\u{0}\u{1}\n[]\n{\"n\":\n"),
        bench.put("b", format!("{{\"n\":1,\"deep\":{deep}}}\n{{\"n\":2{many}}}\n")),
        bench.put("c", r#"{"n":3,"ingestion_timestamp":"soon","record_id":{}} {"n":4,"a":{"b":1},"a.b":2}"#),
    ];
    let delivered = bench.deliver(&objects).await;
    assert!(delivered.failed.is_empty());
    assert_eq!(
        delivered.objects,
        ["0 rows, 1 invalid_json, 1 truncated, 1 dropped", "2 rows", "1 rows, 1 type_mismatch"]
    );
    assert_eq!(bench.numbers().await, [1, 2, 4]);
    // No more columns than a table may have; what has none is there all the same.
    let rows = bench.rows().await;
    assert!(rows[1]["k100"] == 1 && rows[1].get("k2999").is_none());
    let rest: Value = serde_json::from_str(rows[1]["rest"].as_str().unwrap()).unwrap();
    assert_eq!((&rest["k2999"], rest.get("k100")), (&json!(1), None));
    assert_eq!(rows[2]["rest"], "{\"a\":{\"b\":1},\"a.b\":2}");
    let again =
        bench.deliver(&[bench.put("d", "{\"n\":5,\"ingestion_timestamp\":\"2026-01-02T03:04:05Z\"}")]).await;
    assert_eq!(again.objects, ["1 rows"]);
    assert_eq!(bench.rows().await.last().unwrap()["ingestion_timestamp"], "2026-01-02T03:04:05Z");
}

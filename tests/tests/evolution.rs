//! Fields that a table has no column for: the table gets them in the commit of the rows, or whatever else its properties
//! say becomes of them, and nothing is lost on the way.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use iceberg::spec::{NestedFieldRef, Schema, Type};
use lake::{Limits, TableDefinition};
use serde_json::{Value, json};
use tests::{
    Bench, Delivered, definition, handle, open, plain_table, rows_in_files, sqs_event, strict, with,
};
use tokio::task::JoinSet;

/// Every column with its type, those within others by their paths.
fn columns(schema: &Schema) -> BTreeMap<String, String> {
    fn add(fields: &[NestedFieldRef], parent: &str, columns: &mut BTreeMap<String, String>) {
        for field in fields {
            let path = format!("{parent}{}", field.name);
            let kind = match &*field.field_type {
                Type::Primitive(kind) => kind.to_string(),
                Type::Struct(within) => {
                    add(within.fields(), &format!("{path}."), columns);
                    "struct".to_owned()
                }
                Type::List(list) => {
                    add(std::slice::from_ref(&list.element_field), &format!("{path}."), columns);
                    "list".to_owned()
                }
                Type::Map(map) => {
                    add(std::slice::from_ref(&map.value_field), &format!("{path}."), columns);
                    "map".to_owned()
                }
            };
            assert!(columns.insert(path, kind).is_none(), "one column for each field");
        }
    }
    let mut found = BTreeMap::new();
    add(schema.as_struct().fields(), "", &mut found);
    found
}

/// Those that `after` has besides `before`, as `name type`.
fn new_columns(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let new = after.iter().filter(|(path, kind)| before.get(*path) != Some(kind));
    new.map(|(path, kind)| format!("{path} {kind}")).collect()
}

async fn current_columns(bench: &Bench) -> BTreeMap<String, String> {
    columns(bench.table().await.metadata().current_schema())
}

/// What one object of `content` comes to.
async fn deliver(bench: &Bench, key: &str, content: &str) -> Delivered {
    bench.deliver(&[bench.put(key, content)]).await
}

/// Columns of several depths, and of types that can get wider.
fn orders(properties: &[(&str, &str)]) -> TableDefinition {
    let json = br#"{"name": "events", "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "n", "type": "int", "required": false},
        {"id": 2, "name": "weight", "type": "float", "required": false},
        {"id": 3, "name": "price", "type": "decimal(5, 2)", "required": false},
        {"id": 4, "name": "whole", "type": "long", "required": false},
        {"id": 5, "name": "customer", "required": false, "type": {"type": "struct", "fields": [
            {"id": 6, "name": "id", "type": "int", "required": false}]}},
        {"id": 7, "name": "items", "required": false, "type": {"type": "list", "element-id": 8,
            "element-required": false, "element": {"type": "struct", "fields": [
                {"id": 9, "name": "sku", "type": "string", "required": false}]}}},
        {"id": 10, "name": "by_shop", "required": false, "type": {"type": "map", "key-id": 11, "key": "string",
            "value-id": 12, "value-required": false, "value": {"type": "struct", "fields": [
                {"id": 13, "name": "stock", "type": "int", "required": false}]}}},
        {"id": 14, "name": "bucket", "type": "int", "required": false},
        {"id": 15, "name": "file_name", "type": "string", "required": false}]},
        "partition-spec": {"spec-id": 0, "fields": [
            {"source-id": 14, "field-id": 1000, "name": "of_bucket", "transform": "bucket[4]"}]}}"#;
    with(TableDefinition::parse(json).unwrap(), properties)
}

#[tokio::test]
async fn new_fields_come_as_columns_in_the_commit_of_their_rows() {
    let bench = Bench::new(Some(orders(&[]))).await;
    let first =
        deliver(&bench, "a", "{\"n\": 1, \"customer\": {\"id\": 7}, \"items\": [{\"sku\": \"a\"}]}\n").await;
    assert_eq!(first.objects, ["1 rows"]);
    let before = bench.table().await;
    let content = r#"
        {"n": 2, "coupon": "SPRING", "blank": null, "blanks": [{}, {"x": []}]}
        {"n": 3, "customer": {"id": 8, "tier": "gold", "address": {"city": "Oslo"}}, "discount": 7}
        {"n": 4, "items": [{"sku": "b"}, {"sku": "c", "qty": 2}], "by_shop": {"x": {"stock": 1, "shelf": "A"}}}
        {"n": 5, "discount": 12.5, "tags": [1, 2], "mixed": 1, "customer": {"address": {"zip": 17}}}
        {"n": 6, "mixed": "x", "first_seen": "2026-02-25T06:13:20+0000", "at": 1772000000123}"#;
    let second = deliver(&bench, "b", content).await;
    assert_eq!(second.objects, ["5 rows"]);
    let outcome = second.outcome.unwrap();
    assert_eq!((outcome.columns_added, outcome.fields_ignored), (10, 0));
    let table = bench.table().await;
    let (old, new) = (columns(before.metadata().current_schema()), current_columns(&bench).await);
    assert_eq!(
        new_columns(&old, &new),
        [
            "at timestamptz",
            "by_shop.value.shelf string",
            "coupon string",
            "customer.address struct",
            "customer.address.city string",
            "customer.address.zip long",
            "customer.tier string",
            "discount double",
            "first_seen timestamptz",
            "items.element.qty long",
            "mixed string",
            "tags list",
            "tags.element long",
        ]
    );
    // Readers see rows and columns at once: one snapshot has both, and it is the only new one.
    let snapshot = table.metadata().current_snapshot().unwrap();
    assert_eq!(snapshot.parent_snapshot_id(), before.metadata().current_snapshot_id());
    assert_eq!(snapshot.schema_id(), Some(table.metadata().current_schema_id()));
    let rows = rows_in_files(&table).await;
    assert_eq!(rows[1]["coupon"], "SPRING");
    assert_eq!(
        rows[2]["customer"],
        json!({"id": 8, "tier": "gold", "address": {"city": "Oslo", "zip": null}})
    );
    assert_eq!(rows[3]["items"], json!([{"sku": "b", "qty": null}, {"sku": "c", "qty": 2}]));
    assert_eq!(rows[3]["by_shop"], json!({"x": {"stock": 1, "shelf": "A"}}));
    assert_eq!((&rows[4]["discount"], &rows[2]["discount"]), (&json!(12.5), &json!(7.0)));
    assert_eq!((&rows[4]["mixed"], &rows[5]["mixed"]), (&json!("1"), &json!("x")));
    // Nothing but the table's files lies there: what was written before the table grew is gone.
    let known = tests::writer::current_files(&table).await.len();
    let data = tests::files(&bench.folder.path().join("warehouse"));
    assert_eq!(
        data.iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")).count(),
        known
    );
    // The same again is no change.
    let third =
        deliver(&bench, "c", "{\"n\": 7, \"coupon\": \"SUMMER\", \"customer\": {\"tier\": null}}\n").await;
    assert_eq!(third.outcome.unwrap().columns_added, 0);
    let schemas = bench.table().await.metadata().schemas_iter().count();
    assert_eq!(schemas, table.metadata().schemas_iter().count());
}

#[tokio::test]
async fn columns_get_wider_where_iceberg_can_and_others_keep_their_types() {
    let bench = Bench::new(Some(orders(&[]))).await;
    let content = r#"
        {"n": 1, "weight": 1.5, "price": 1.25, "customer": {"id": 1}}
        {"n": 3000000000, "weight": 1e39, "price": 123456.78}
        {"n": 2, "price": 12345678.9, "customer": {"id": 3000000000}}
        {"n": 3, "whole": 21.5}
        {"n": 4, "bucket": 3000000000}
        {"n": 5, "price": 1.234}"#;
    let delivered = deliver(&bench, "a", content).await;
    assert_eq!(delivered.objects, ["3 rows, 3 type_mismatch"]);
    let before = columns(&orders(&[]).schema);
    assert_eq!(
        new_columns(&before, &current_columns(&bench).await),
        ["customer.id long", "n long", "price decimal(10, 2)", "weight double"]
    );
    let rows = rows_in_files(&bench.table().await).await;
    assert_eq!(rows[2]["n"], 3_000_000_000_i64);
    assert_eq!((&rows[2]["weight"], &rows[1]["price"]), (&json!(1e39), &json!("12345678.90")));
    // A remedy is one that there is: no long becomes a double.
    let messages: Vec<String> = bench.rejections().into_iter().map(|rejection| rejection.message).collect();
    assert!(messages[0].contains("field \"whole\": expected long"), "{messages:?}");
    assert!(messages[1].contains("field \"bucket\": expected int"), "{messages:?}");
    let types = new_columns(&before, &current_columns(&bench).await);
    assert!(types.iter().all(|column| !column.starts_with("bucket") && !column.starts_with("whole")));
}

#[tokio::test]
async fn a_property_says_what_becomes_of_new_fields() {
    let content = "{\"n\": 1, \"new\": {\"a\": 1}, \"customer\": {\"tier\": \"gold\"}, \"items\": [{}, {\"qty\": 2}]}\n\
                   {\"n\": 2}\n";
    for (mode, outcome, ignored) in
        [("quarantine", "1 rows, 1 unknown_field", 0), ("ignore", "2 rows", 3), ("rest", "2 rows", 0)]
    {
        let bench = Bench::new(Some(orders(&[("frazil.schema-evolution", mode)]))).await;
        let delivered = deliver(&bench, "a", content).await;
        assert_eq!(delivered.objects, [outcome], "{mode}");
        assert_eq!(delivered.outcome.unwrap().fields_ignored, ignored, "{mode}");
        let table = bench.table().await;
        let summary = &table.metadata().current_snapshot().unwrap().summary().additional_properties;
        let counted = summary.get("frazil.ignored-fields").map(String::as_str);
        assert_eq!(counted, (ignored > 0).then_some("3"), "{mode}");
        let new = new_columns(&columns(&orders(&[]).schema), &current_columns(&bench).await);
        let rows = rows_in_files(&table).await;
        match mode {
            "rest" => {
                assert_eq!(new, ["rest string"]);
                let rest: Value = serde_json::from_str(rows[0]["rest"].as_str().unwrap()).unwrap();
                let kept = json!({"new": {"a": 1}, "customer.tier": "gold", "items[1].qty": 2});
                assert_eq!((rest, &rows[1]["rest"]), (kept, &Value::Null));
            }
            _ => assert_eq!(new, Vec::<String>::new(), "{mode}"),
        }
    }
}

#[tokio::test]
async fn the_rest_column_can_be_a_map_of_texts() {
    let mut table: Value =
        serde_json::to_value(json!({"name": "events", "schema": {"type": "struct", "fields": [
        {"id": 1, "name": "n", "type": "long", "required": false},
        {"id": 2, "name": "others", "required": false, "type": {"type": "map", "key-id": 3, "key": "string",
            "value-id": 4, "value": "string", "value-required": false}},
        {"id": 5, "name": "file_name", "type": "string", "required": false}]},
        "properties": {"frazil.schema-evolution": "rest", "frazil.rest-column": "others"}}))
        .unwrap();
    let parse = |table: &Value| TableDefinition::parse(table.to_string().as_bytes());
    let bench = Bench::new(Some(parse(&table).unwrap())).await;
    let content = "{\"n\": 1, \"a\": \"x\", \"\": [1.50, {}], \"others\": {\"y\": 1}}\n{\"n\": 2, \"a\": 1, \"a\": 2}\n";
    assert_eq!(deliver(&bench, "a", content).await.objects, ["1 rows, 1 duplicate_field"]);
    let rows = bench.rows().await;
    assert_eq!(rows[0]["others"], json!({"a": "\"x\"", "": "[1.50, {}]", "others": "{\"y\": 1}"}));
    table["properties"]["frazil.rest-column"] = json!("n");
    assert!(
        parse(&table).unwrap_err().message().contains("expected an optional string or map<string, string>")
    );
}

/// What cannot be a column keeps no row from coming, where there is a column for the rest.
#[tokio::test]
async fn what_can_be_no_column_goes_to_the_rest_column_if_there_is_one() {
    let long = "x".repeat(256);
    let content = format!(
        "{{\"n\": 1, \"tab\\there\": 1, \"\": 2, \"{long}\": 3, \"Order No.\": 4, \"prix (€)\": 2.5, \"select\": true}}\n\
         {{\"n\": 2, \"log.level\": \"INFO\"}}\n{{\"n\": 3, \"log\": {{\"level\": \"WARN\"}}}}\n"
    );
    let bench = Bench::new(Some(with(plain_table(), &[("frazil.rest-column", "rest")]))).await;
    assert_eq!(deliver(&bench, "a", &content).await.objects, ["3 rows"]);
    let more = "{\"n\": 4, \"log.level.x\": 1, \"log\": {\"level\": 1}}\n";
    assert_eq!(deliver(&bench, "b", more).await.objects, ["1 rows"]);
    let new = new_columns(&columns(&plain_table().schema), &current_columns(&bench).await);
    let expected = [
        "Order No. long",
        "log string",
        "log.level string",
        "log.level.x long",
        "prix (€) double",
        "rest string",
        "select boolean",
    ];
    assert_eq!(new, expected);
    let rows = rows_in_files(&bench.table().await).await;
    let rest: Value = serde_json::from_str(rows[0]["rest"].as_str().unwrap()).unwrap();
    assert_eq!(rest, json!({"tab\there": 1, "": 2, long: 3}));
    assert_eq!(rows[2]["log"], "{\"level\": \"WARN\"}");

    let bench = Bench::new(Some(plain_table())).await;
    assert_eq!(deliver(&bench, "a", &content).await.objects, ["2 rows, 1 invalid_name"]);
}

/// 100,000 names, 500 objects within one another and names of a megabyte leave the table as it was.
#[tokio::test]
async fn a_hostile_producer_makes_no_columns() {
    let mut names = String::new();
    for n in 0..1_000 {
        let fields: Vec<String> = (0..100).map(|at| format!("\"k{}\": 1", n * 100 + at)).collect();
        names.push_str(&format!("{{\"n\": {n}, {}}}\n", fields.join(", ")));
    }
    let long = format!("{{\"n\": 1000, \"{}\": 1}}\n", "x".repeat(1 << 20));
    let deep = |depth: usize| {
        format!("{{\"n\": 1001, \"deep\": {}1{}}}\n", "{\"d\":".repeat(depth), "}".repeat(depth))
    };
    for rest in [false, true] {
        let table = if rest { with(plain_table(), &[("frazil.rest-column", "rest")]) } else { plain_table() };
        let bench = Bench::new(Some(table)).await;
        let content = format!("{names}{long}{{\"n\": 1002}}\n{}", deep(10_000));
        let delivered = deliver(&bench, "a", &content).await;
        let new = new_columns(&columns(&plain_table().schema), &current_columns(&bench).await);
        if rest {
            assert_eq!(
                (delivered.objects, new),
                (vec!["1002 rows, 1 invalid_json".to_owned()], vec!["rest string".to_owned()])
            );
        } else {
            let expected = "1 rows, 1 invalid_json, 1000 too_many_columns, 1 invalid_name";
            assert_eq!((delivered.objects, new), (vec![expected.to_owned()], Vec::new()));
        }
    }
    // No more than sixteen columns within one another, and text of what is nearly too deep to be a record.
    for (depth, columns_within) in [(100, 16), (500, 1)] {
        let bench = Bench::new(Some(plain_table())).await;
        assert_eq!(deliver(&bench, "a", &deep(depth)).await.objects, ["1 rows"]);
        let new = new_columns(&columns(&plain_table().schema), &current_columns(&bench).await);
        assert_eq!(new.len(), columns_within);
        assert_eq!(*new.last().unwrap(), format!("deep{} string", ".d".repeat(columns_within - 1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_grow_a_table_at_the_same_time() {
    writers_grow_a_table(100).await;
}

/// A minute and more in a debug build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long"]
async fn writers_grow_a_table_of_500_objects_at_the_same_time() {
    writers_grow_a_table(500).await;
}

/// Four writers at once, each of whose objects brings columns that the others bring too. The table grows 50 times.
async fn writers_grow_a_table(objects: usize) {
    const GROWTHS: usize = 50;
    const ROWS: usize = 5;
    const WRITERS: usize = 4;
    let count = objects;
    let field_of = |at: usize| at * GROWTHS / count;
    let bench = Bench::new(Some(plain_table())).await;
    assert_eq!(deliver(&bench, "first", "{\"n\": -1}\n").await.objects, ["1 rows"]);
    let objects: Vec<_> = (0..count)
        .map(|at| {
            let row = |row| {
                let (n, field) = (at * ROWS + row, field_of(at));
                format!("{{\"n\": {n}, \"f{field}\": {n}, \"nested\": {{\"g{field}\": \"{n}\"}}, \"common\": {n}}}\n")
            };
            bench.put(&format!("o{at:03}"), (0..ROWS).map(row).collect::<String>())
        })
        .collect();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        // An object that is its neighbour's too, and all others by turns.
        let mine: Vec<_> = (0..count).filter(|at| at % WRITERS == writer || at % 7 == 0).collect();
        let events: Vec<Value> = mine
            .chunks(2)
            .map(|two| {
                let messages: Vec<Vec<_>> = two.iter().map(|at| vec![objects[*at].clone()]).collect();
                sqs_event(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>())
            })
            .collect();
        let appender = open(bench.folder.path(), Some(plain_table()), Limits::for_memory(512 << 20)).await;
        writers.spawn(async move {
            for event in events {
                let delivered = handle(&appender, &event, Instant::now() + Duration::from_secs(300)).await;
                assert!(delivered.failed.is_empty(), "a conflict is no failure: {delivered:?}");
            }
        });
    }
    writers.join_all().await;
    let table = bench.table().await;
    let rows = rows_in_files(&table).await;
    let numbers: Vec<i64> = rows.iter().map(|row| row["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (-1..(count * ROWS) as i64).collect::<Vec<_>>());
    for row in &rows[1..] {
        let n = row["n"].as_i64().unwrap();
        let field = field_of(n as usize / ROWS);
        assert_eq!((&row["common"], &row[format!("f{field}")]), (&json!(n), &json!(n)));
        assert_eq!(row["nested"][format!("g{field}")], json!(n.to_string()));
    }
    let new = new_columns(&columns(&plain_table().schema), &current_columns(&bench).await);
    assert_eq!(new.len(), GROWTHS * 2 + 2);
    assert!(bench.rejections_that_count().await.is_empty());
    // Each field has one id, and no id was given out twice.
    let mut ids: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for schema in table.metadata().schemas_iter() {
        for (id, name) in schema.field_id_to_name_map() {
            ids.entry(*id).or_default().insert(name.clone());
        }
    }
    assert!(ids.values().all(|names| names.len() == 1), "{ids:?}");
}

/// The first of all columns of a table that did not exist, and what the look at the first objects did not see.
#[tokio::test]
async fn a_table_of_nothing_yet_gets_columns_when_values_come() {
    let bench = Bench::new(None).await;
    let first = "{\"n\": 1, \"discount\": null, \"tags\": [], \"extra\": {}, \"paid\": null}\n";
    assert_eq!(deliver(&bench, "a", first).await.objects, ["1 rows"]);
    let before = current_columns(&bench).await;
    let own = [
        "file_name",
        "ingestion_timestamp",
        "n",
        "partition_date",
        "partition_hour",
        "processing_time",
        "record_id",
    ];
    assert_eq!(before.keys().map(String::as_str).collect::<Vec<_>>(), own);
    let second = "{\"n\": 2, \"discount\": 12.5, \"tags\": [3], \"extra\": {\"gift\": true}, \"paid\": \"2026-02-25T06:13:20Z\"}\n\
                  {\"n\": 3, \"discount\": 7, \"tags\": [], \"extra\": {}, \"paid\": \"2026-02-25T07:00:00Z\"}\n";
    assert_eq!(deliver(&bench, "b", second).await.objects, ["2 rows"]);
    let expected = [
        "discount double",
        "extra struct",
        "extra.gift boolean",
        "paid timestamptz",
        "tags list",
        "tags.element long",
    ];
    assert_eq!(new_columns(&before, &current_columns(&bench).await), expected);
}

/// Rows without ids, of an object that nothing but the table remembers: they are told by all that they hold.
#[tokio::test]
async fn rows_from_before_their_structs_grew_are_known_again() {
    let bench = Bench::new(Some(orders(&[]))).await;
    let row = |n: i64, more: &str| {
        format!(
            "{{\"n\": {n}, \"price\": 1.25, \"customer\": {{\"id\": 7{more}}}, \"items\": [{{\"sku\": \"a\"{more}}}, {{}}], \
             \"by_shop\": {{\"x\": {{\"stock\": 1{more}}}}}}}\n"
        )
    };
    let old = bench.put("a", format!("{}{}{{\"n\": 2}}\n", row(1, ""), row(1, "")));
    assert_eq!(bench.deliver(std::slice::from_ref(&old)).await.objects, ["3 rows"]);
    let new = format!(
        "{}{{\"n\": 3000000000, \"price\": 12345.67, \"customer\": {{\"id\": 3000000000}}}}\n",
        row(3, ", \"z\": 1")
    );
    let new = bench.put("b", new);
    assert_eq!(bench.deliver(std::slice::from_ref(&new)).await.objects, ["2 rows"]);
    tests::writer::expire(bench.appender.lake(), &bench.table().await).await;
    let delivered = bench.deliver(&[old, new]).await;
    assert_eq!(delivered.objects, ["0 rows, 3 known", "known"]);
    let other = bench.put("a", format!("{}{}", row(1, ", \"z\": 2"), row(1, "")));
    assert_eq!(bench.deliver(&[other]).await.objects, ["1 rows, 1 known"]);
}

#[tokio::test]
async fn a_strict_table_takes_no_new_field_even_where_its_rows_would_fit() {
    let bench = Bench::new(Some(strict(definition(&[("n", "int"), ("file_name", "string")], &[])))).await;
    let content = "{\"n\": 1, \"x\": 1}\n{\"n\": 3000000000}\n{\"n\": 2}\n";
    assert_eq!(deliver(&bench, "a", content).await.objects, ["1 rows, 1 unknown_field, 1 type_mismatch"]);
}

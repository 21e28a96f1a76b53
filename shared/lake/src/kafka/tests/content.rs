//! What becomes of the content of records.

use arrow_array::{Array as _, ArrayRef};
use arrow_schema::DataType;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_holds_no_event_is_dropped_and_counted_once() {
    let bench = Bench::new();
    let batch = || {
        let tombstone = TopicRecord { value: TopicValue::None, ..record(0, 2) };
        vec![
            record(0, 0),
            TopicRecord { key: None, ..record(0, 1) },
            tombstone,
            with_value(3, ""),
            with_value(4, "[]"),
            with_value(5, " \n"),
        ]
    };
    let outcome = bench.deliver(batch()).await;
    assert_eq!((outcome.rows, outcome.dropped, rejected(&outcome)), (2, 3, vec![(Reason::Empty, 1)]));
    assert_eq!(counts(&outcome), [6, 0, 0]);
    let table = bench.table().await;
    let summary = &table.metadata().current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((&*summary["frazil.kafka.dropped"], &*summary["frazil.rejected"]), ("3", "1"));
    let again = bench.deliver(batch()).await;
    assert_eq!((counts(&again), again.dropped, again.snapshot_id), ([0, 6, 0], 0, None));
    assert_eq!(bench.quarantined().len(), 1);
    // Nothing but tombstones is a commit too: they must not be counted again.
    let outcome = bench.deliver(vec![TopicRecord { value: TopicValue::None, ..record(0, 6) }]).await;
    assert_eq!((outcome.dropped, outcome.snapshot_id.is_some(), bench.ends().await), (1, true, vec![6, 7]));
}

#[tokio::test]
async fn a_bad_record_is_quarantined_alone_with_its_place() {
    let bench = Bench::new();
    let poison = |offset: i64, value: &[u8]| TopicRecord {
        headers: vec![
            ("source".to_owned(), Some(b"web".to_vec())),
            ("source".to_owned(), None),
            ("trace".to_owned(), Some(vec![0xC3])),
        ],
        ..with_value(offset, value)
    };
    let batch = || {
        vec![
            poison(40, br#"{"id": "a"}"#),
            poison(41, br#"{"id": "b"#),
            poison(42, b"plain text"),
            poison(43, b"{\"id\": \"\xC3\"}"),
            poison(44, br#"[{"id": "c"}, {"id": "d"}]"#),
            poison(45, b"7"),
            poison(46, br#""{\"id\": \"e\"}""#),
            poison(47, br#"{"id": "f"}"#),
        ]
    };
    let outcome = bench.deliver(batch()).await;
    assert_eq!(counts(&outcome), [8, 0, 0]);
    let expected = [(Reason::NotUtf8, 1), (Reason::InvalidJson, 2), (Reason::NotAnObject, 2)];
    assert_eq!((outcome.rows, rejected(&outcome)), (4, expected.to_vec()));
    assert_eq!(bench.offsets().await, [40, 44, 44, 47]);
    let ids: std::collections::HashSet<String> =
        bench.column("record_id").await.into_values().flatten().collect();
    assert_eq!(ids.len(), 4, "each event has an id of its own");
    let lines = bench.quarantined();
    let told =
        |line: &Value| (line["offset"].as_i64().unwrap(), line["errorCode"].as_str().unwrap().to_owned());
    let codes: Vec<_> = lines.iter().map(told).collect();
    assert_eq!(
        codes,
        [
            (41, "invalid_json"),
            (42, "invalid_json"),
            (43, "not_utf8"),
            (45, "not_an_object"),
            (46, "not_an_object")
        ]
        .map(|(offset, code)| (offset, code.to_owned()))
    );
    let line = &lines[0];
    assert_eq!(
        (&line["cluster"], &line["topic"], &line["partition"]),
        (&json!(CLUSTER), &json!(TOPIC), &json!(0))
    );
    assert_eq!((&line["timestamp"], &line["key"]), (&json!(START + 41), &json!("k-41")));
    assert_eq!(
        line["headers"],
        json!([{"key": "source", "value": "web"}, {"key": "source"}, {"key": "trace", "valueBase64": "ww=="}])
    );
    assert_eq!(STANDARD.decode(line["rawData"].as_str().unwrap()).unwrap(), br#"{"id": "b"#);
    assert!(
        line["errorMessage"].as_str().unwrap().len() > 10 && line["remedy"].as_str().unwrap().ends_with('.')
    );
    let again = bench.deliver(batch()).await;
    assert_eq!((counts(&again), bench.quarantined().len()), ([0, 8, 0], 5));
}

/// A bad event of a record leaves the others of it alone.
#[tokio::test]
async fn events_of_one_record_are_told_apart() {
    let bench = Bench::new();
    let outcome = bench.deliver(vec![with_value(7, "{\"id\": 1}\n{\"id\": \n{\"id\": 3}")]).await;
    assert_eq!((outcome.rows, rejected(&outcome)), (2, vec![(Reason::InvalidJson, 1)]));
    assert_eq!(
        (bench.quarantined()[0]["offset"].as_i64(), bench.quarantined()[0]["row"].as_i64()),
        (Some(7), Some(2))
    );
    let id = record(0, 7).record_id(0).to_string();
    assert!(bench.column("record_id").await[&7].contains(&id));
}

fn table_with(columns: &[(&str, Value)]) -> Value {
    let fields: Vec<Value> = columns
        .iter()
        .zip(1..)
        .map(|((name, kind), id)| json!({"id": id, "name": name, "type": kind, "required": false}))
        .collect();
    json!({"name": "orders", "schema": {"type": "struct", "schema-id": 0, "fields": fields}})
}

fn headers_column() -> Value {
    json!({"type": "list", "element-id": 90, "element-required": false, "element": {"type": "struct", "fields": [
        {"id": 91, "name": "key", "type": "string", "required": false},
        {"id": 92, "name": "value", "type": "binary", "required": false}]}})
}

#[tokio::test]
async fn headers_keep_order_repeats_nulls_and_every_byte() {
    let bench = Bench::with(&table_with(&[
        ("offset", json!("long")),
        ("headers", headers_column()),
        ("producer_headers", json!("string")),
    ]));
    let all: Vec<u8> = (0..=255).collect();
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let headers = vec![
        header("b", Some(&all)),
        header("a \"ü\"", None),
        header("b", Some(&[])),
        header("b", Some(b"x")),
    ];
    bench
        .deliver(vec![
            TopicRecord { headers, ..with_value(0, "{}") },
            with_value(1, r#"{"headers": "mine"}"#),
        ])
        .await;
    let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
    let column = bench.column("headers").await;
    let expected = format!(
        "[{{key: b, value: {hex}}}, {{key: a \"ü\", value: -}}, {{key: b, value: }}, {{key: b, value: 78}}]"
    );
    assert_eq!(column[&0], [expected]);
    assert_eq!(column[&1], ["-"]);
    assert_eq!(bench.column("producer_headers").await[&1], ["mine"]);
    // A column of another type is the producer's.
    let bench = Bench::with(&table_with(&[("offset", json!("long")), ("headers", json!("string"))]));
    let headers = vec![header("b", None)];
    bench.deliver(vec![TopicRecord { headers, ..with_value(1, r#"{"headers": "mine"}"#) }]).await;
    assert_eq!(bench.column("headers").await[&1], ["mine"]);
}

#[tokio::test]
async fn keys_are_text_or_bytes_and_never_damaged() {
    let keys: [Option<&[u8]>; 5] =
        [None, Some(b""), Some(b"user-42"), Some(&[0, 0, 0, 200]), Some(b"\0\0\0\0\x01{\"id\":5}")];
    let batch: Vec<TopicRecord> = keys
        .iter()
        .zip(0..)
        .map(|(key, offset)| TopicRecord { key: key.map(<[u8]>::to_vec), ..with_value(offset, "{}") })
        .collect();
    for (kind, expected) in [
        ("string", ["-", "", "user-42", "AAAAyA==", "{\"id\":5}"]),
        ("binary", ["-", "", "757365722d3432", "000000c8", "7b226964223a357d"]),
    ] {
        let columns = [("offset", json!("long")), ("kafka_key", json!(kind))];
        let bench = Bench::with(&table_with(&columns));
        assert_eq!(bench.deliver(batch.clone()).await.rows, 5);
        let column: Vec<String> = bench.column("kafka_key").await.into_values().flatten().collect();
        assert_eq!(column, expected, "{kind}");
    }
}

/// What a producer calls as we do is its own, and no place of a record.
#[tokio::test]
async fn fields_with_our_names_are_the_producers() {
    let bench = Bench::new();
    let event = r#"{"topic": "mine", "offset": 99, "Partition": "x", "record_id": "r", "partition_hour": "25",
                    "kafka_timestamp": "2020-01-01T00:00:00Z", "file_name": "f", "ingestion_timestamp": "soon"}"#;
    let outcome = bench.deliver(vec![with_value(3, event)]).await;
    assert_eq!((outcome.rows, rejected(&outcome)), (1, vec![]));
    for (name, expected) in [
        ("topic", TOPIC),
        ("producer_topic", "mine"),
        ("producer_offset", "99"),
        ("producer_partition", "x"),
        ("producer_record_id", "r"),
        ("producer_partition_hour", "25"),
        ("producer_kafka_timestamp", "2020-01-01T00:00:00Z"),
        ("producer_file_name", "f"),
        ("ingestion_timestamp", "soon"),
        ("partition_date", "2026-03-01"),
        ("partition_hour", "7"),
        ("processing_time", "2026-03-01T07:08:09Z"),
        ("kafka_timestamp", "2026-02-25T06:13:20.003Z"),
        ("kafka_key", "k-3"),
    ] {
        assert_eq!(bench.column(name).await[&3], [expected], "{name}");
    }
    // A table without a column for them refuses the record; it is no field that transform has written.
    let mut table = table_with(&[("offset", json!("long")), ("id", json!("long"))]);
    table["properties"] = json!({"frazil.schema-evolution": "quarantine"});
    let bench = Bench::with(&table);
    let outcome = bench
        .deliver(vec![
            with_value(3, r#"{"id": 1, "partition_date": "2026-03-01"}"#),
            with_value(4, r#"{"id": 2}"#),
        ])
        .await;
    assert_eq!((outcome.rows, rejected(&outcome)), (1, vec![(Reason::UnknownField, 1)]));
}

#[tokio::test]
async fn a_field_that_comes_later_becomes_a_column_in_the_commit_of_its_rows() {
    let bench = Bench::with(&table_with(&[("offset", json!("long")), ("id", json!("int"))]));
    bench.deliver(vec![with_value(3, r#"{"id": 1}"#)]).await;
    let outcome = bench
        .deliver(vec![
            with_value(4, r#"{"id": 3000000000, "later": "x"}"#),
            with_value(5, r#"{"id": 2, "later": null}"#),
        ])
        .await;
    assert_eq!((outcome.rows, rejected(&outcome)), (2, Vec::new()));
    assert_eq!(bench.column("later").await[&4], ["x"]);
    assert_eq!(bench.column("id").await[&4], ["3000000000"]);
    assert_eq!(bench.column("id").await[&3], ["1"]);
}

#[tokio::test]
async fn headers_of_registries_come_off_and_connects_envelope_too() {
    let mut bench = Bench::new();
    bench.unwrap = true;
    let framed = |value: &[u8]| [&[0, 0, 0, 0, 101], value].concat();
    let of_mapping = TopicRecord { schema_id: Some("77".to_owned()), ..with_value(5, [8, 6, b'a']) };
    let outcome = bench
        .deliver(vec![
            with_value(0, framed(br#"{"id": 1}"#)),
            with_value(1, framed(&[8, 6, b'a'])),
            with_value(2, r#"{"schema": {"type": "struct"}, "payload": {"id": 2}}"#),
            with_value(3, r#"{"schema": null, "payload": null}"#),
            with_value(4, r#"{"id": 3}"#),
            of_mapping,
        ])
        .await;
    assert_eq!((outcome.rows, outcome.dropped), (3, 1));
    assert_eq!(rejected(&outcome), [(Reason::RegistryFormat, 2)]);
    assert_eq!(bench.column("id").await.into_values().flatten().collect::<Vec<_>>(), ["1", "2", "3"]);
    let lines = bench.quarantined();
    let says = |at: usize, what: &str| lines[at]["errorMessage"].as_str().unwrap().contains(what);
    assert!(says(0, "schema 101") && says(1, "schema 77"), "{lines:?}");
    assert!(lines[0]["remedy"].as_str().unwrap().contains("EventRecordFormat JSON"));
    // The header is gone, and with it the only trace of the schema.
    assert_eq!(lines[1]["schemaId"], "77");
    assert!(lines[0].get("schemaId").is_none());
    let text = lines[1].to_string();
    let line = crate::quarantine::Line::parse(text.as_bytes()).unwrap();
    let again = crate::quarantine::record_of(&line, vec![8, 6, b'a']).unwrap();
    assert_eq!(again.schema_id.as_deref(), Some("77"));
}

#[tokio::test]
async fn records_without_a_time_have_none() {
    let bench = Bench::new();
    let timeless = || vec![TopicRecord { timestamp_ms: None, ..record(0, 1) }];
    assert_eq!(counts(&bench.deliver(timeless()).await), [1, 0, 0]);
    assert_eq!(counts(&bench.deliver(timeless()).await), [0, 1, 0]);
    assert_eq!(bench.column("kafka_timestamp").await[&1], ["-"]);
}

/// Without a table and without an event there is nothing to tell columns from.
#[tokio::test]
async fn refused_records_need_no_table() {
    let bench = Bench::new();
    let outcome = bench
        .deliver(vec![with_value(1, "x"), TopicRecord { value: TopicValue::None, ..record(0, 2) }])
        .await;
    assert_eq!((counts(&outcome), outcome.snapshot_id), ([2, 0, 0], None));
    assert_eq!(bench.quarantined().len(), 1);
    assert!(bench.lake().await.table(&ident()).await.unwrap().is_none());
}

/// Columns that stay as they are from record to record are each record's own all the same.
#[tokio::test]
async fn a_column_is_the_records_own_whatever_comes_before() {
    let fields = json!([
        {"id": 1, "name": "place", "required": false, "type": "string"},
        {"id": 2, "name": "kafka_key", "required": false, "type": "string"},
        {"id": 3, "name": "topic", "required": false, "type": "string"},
        {"id": 4, "name": "offset", "required": false, "type": "int"}
    ]);
    let bench = Bench::with(
        &json!({"name": "orders", "schema": {"type": "struct", "schema-id": 0, "fields": fields}}),
    );
    let keyed = |topic: &str, offset: i64, key: Option<&str>, value: &str| TopicRecord {
        partition: Arc::new(TopicPartition::new(CLUSTER, topic, "", 0)),
        key: key.map(|key| key.as_bytes().to_vec()),
        ..with_value(offset, value)
    };
    let good = r#"{"place": "x"}"#;
    let outcome = bench
        .deliver(vec![
            keyed("a", 0, Some("k"), good),
            keyed("a", 1, Some("k"), good),
            keyed("a", 2, Some("l"), "{"),
            keyed("a", 3, Some("l"), r#"{"place": [1]}"#),
            keyed("a", 4, None, good),
            keyed("a", 5, Some("l"), good),
            keyed("a", 6, Some(""), good),
            // Its offset does not fit, after its topic did.
            keyed("b", 3_000_000_000, Some("m"), good),
            keyed("b", 3_000_000_001, Some("m"), r#"{"place": "y", "place": 1}"#),
        ])
        .await;
    assert_eq!((outcome.rows, outcome.rejected.values().sum::<u64>()), (6, 3));
    bench.deliver(vec![keyed("b", 4_000_000_000, Some("n"), good), keyed("b", 7, Some("n"), good)]).await;
    let expected = [
        (0, "k", "a"),
        (1, "k", "a"),
        (3, "l", "a"),
        (4, "-", "a"),
        (5, "l", "a"),
        (6, "", "a"),
        (7, "n", "b"),
    ];
    let mut found = Vec::new();
    for batch in bench.batches().await {
        let column =
            |name: &str| arrow_cast::cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        let (offsets, keys, topics) = (column("offset"), column("kafka_key"), column("topic"));
        let text = |column: &ArrayRef, row| {
            let column = column.as_string::<i32>();
            if column.is_null(row) { "-".to_owned() } else { column.value(row).to_owned() }
        };
        found.extend(
            (0..batch.num_rows()).map(|row| (text(&offsets, row), text(&keys, row), text(&topics, row))),
        );
    }
    found.sort();
    let expected =
        expected.map(|(offset, key, topic)| (offset.to_string(), key.to_owned(), topic.to_owned()));
    assert_eq!(found, expected);
}

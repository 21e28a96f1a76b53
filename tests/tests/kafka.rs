//! Events of Kafka event sources through the msk handler: rows, answers and the quarantine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

use std::fs;

use iceberg::spec::{PrimitiveType, Type};
use iceberg::transaction::{AddColumn, ApplyTransactionAction as _, Transaction};
use serde_json::{Value, json};
use tests::command::frazil;
use tests::kafka::{KafkaBench, event, event_of, failures, placed, record};

const TABLE: &str = "shop.orders";
const ONE_TABLE: [(&str, &str); 1] = [("FRAZIL_TABLE", TABLE)];
const PARTIAL: [(&str, &str); 2] = [("FRAZIL_TABLE", TABLE), ("FRAZIL_BATCH_ITEM_FAILURES", "true")];

fn of(topic: &str, partition: i32, offsets: impl IntoIterator<Item = i64>) -> Vec<Value> {
    offsets.into_iter().map(|offset| placed(topic, partition, offset)).collect()
}

#[tokio::test]
async fn an_answer_comes_after_the_commit_and_says_what_was_done() {
    let bench = KafkaBench::new(&ONE_TABLE);
    let mut records = of("orders", 0, 5..8);
    records.push(record("orders", 1, 0, None));
    records.push(record("orders", 1, 1, Some(b"{")));
    let answer = bench.deliver(&event(records.clone())).await.unwrap();
    assert_eq!(answer, json!({"records": 5, "rows": 3, "rows_quarantined": 1, "dropped": 1}));
    let answer = bench.deliver(&event(records)).await.unwrap();
    assert_eq!(answer, json!({"records": 5, "rows": 0, "rows_quarantined": 0, "dropped": 0}));
    assert_eq!((bench.rows(TABLE).await.len(), bench.snapshots(TABLE).await), (3, 1));
    let row = &bench.rows(TABLE).await[0];
    for (name, expected) in [
        ("topic", json!("orders")),
        ("partition", json!(0)),
        ("offset", json!(5)),
        ("kafka_key", json!("k-5")),
        ("kafka_timestamp", json!("2026-02-25T06:13:20.005Z")),
        ("processing_time", json!("2026-01-02T03:04:05.678901Z")),
        ("partition_date", json!("2026-01-02")),
        ("partition_hour", json!(3)),
    ] {
        assert_eq!(row[name], expected, "{name}");
    }
}

/// Where the mapping takes batch item failures, every record that is not committed is named; where not, the event fails.
#[tokio::test]
async fn a_topic_that_was_made_anew_fails_until_its_life_has_a_name() {
    let anew = |offsets: std::ops::Range<i64>| {
        offsets.map(|offset| {
            let mut record = placed("orders", 0, offset);
            record["timestamp"] = json!(tests::kafka::MADE_MILLIS + 86_400_000 + offset);
            record
        })
    };
    for variables in [&ONE_TABLE[..], &PARTIAL[..]] {
        let mut bench = KafkaBench::new(variables);
        let old = of("orders", 0, 0..5).into_iter().chain(of("orders", 1, 0..2));
        bench.deliver(&event(old.collect::<Vec<_>>())).await.unwrap();
        let answer = bench.deliver(&event(anew(0..3))).await;
        match variables.len() {
            1 => {
                let failure = answer.unwrap_err().to_string();
                for part in
                    ["3 of 3 records", "offset 0 of orders-0", "expected is 5", "FRAZIL_TOPIC_LIVES=orders=2"]
                {
                    assert!(failure.contains(part), "{part}: {failure}");
                }
            }
            _ => {
                let named = [("orders-0", 0), ("orders-0", 1), ("orders-0", 2)];
                assert_eq!(answer.unwrap(), failures(&named));
            }
        }
        assert_eq!((bench.rows(TABLE).await.len(), bench.snapshots(TABLE).await), (7, 1));
        bench.set(&[("FRAZIL_TOPIC_LIVES", "orders=2")]);
        for rows in [10, 10] {
            bench.deliver(&event(anew(0..3))).await.unwrap();
            assert_eq!(bench.rows(TABLE).await.len(), rows);
        }
        // Another cluster is another identity.
        let elsewhere = event_of("arn:aws:kafka:eu-north-1:123456789012:cluster/events/77aa-5", anew(0..2));
        bench.deliver(&elsewhere).await.unwrap();
        assert_eq!(bench.rows(TABLE).await.len(), 12);
    }
}

#[tokio::test]
async fn topics_go_to_tables_by_rules_and_a_table_that_fails_leaves_the_others_alone() {
    let rules = r"prod\.shop\.(.+)=shop.$1;invoices-.+=shop.archive";
    let bench = KafkaBench::new(&[("FRAZIL_TOPIC_TABLES", rules), ("FRAZIL_BATCH_ITEM_FAILURES", "true")]);
    // The folder of one table cannot be written.
    let blocked = bench.folder.path().join("warehouse/shop/archive");
    fs::create_dir_all(&blocked).unwrap();
    fs::write(blocked.join("data"), "no folder").unwrap();
    let records = [
        of("prod.shop.orders", 0, [50, 51]),
        of("prod.shop.orders", 1, [12]),
        of("prod.shop.order-items", 0, [4]),
        of("invoices-2025-1", 0, [7]),
        of("invoices-2025", 10, [3]),
        of("audit.login", 3, [900]),
    ]
    .concat();
    let answer = bench.deliver(&event(records.clone())).await.unwrap();
    assert_eq!(answer, failures(&[("invoices-2025-1-0", 7), ("invoices-2025-10", 3)]));
    let counts = async |names: [&str; 3]| {
        let mut counts = Vec::new();
        for name in names {
            counts.push(bench.rows(name).await.len());
        }
        counts
    };
    let names = ["shop.orders", "shop.order_items", "shop.archive"];
    assert_eq!(counts(names).await, [3, 1, 0]);
    let lines = bench.quarantined();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["errorCode"], &lines[0]["topic"]), (&json!("no_table"), &json!("audit.login")));
    fs::remove_file(blocked.join("data")).unwrap();
    for _ in 0..2 {
        assert_eq!(bench.deliver(&event(records.clone())).await.unwrap(), failures(&[]));
        assert_eq!(counts(names).await, [3, 1, 2]);
        assert_eq!((bench.snapshots("shop.orders").await, bench.snapshots("shop.archive").await), (1, 1));
    }
    let archived = bench.places("shop.archive").await;
    assert!(archived.contains_key(&("invoices-2025-1".to_owned(), 0, 7)), "{archived:?}");
    assert!(archived.contains_key(&("invoices-2025".to_owned(), 10, 3)), "{archived:?}");
    assert_eq!(bench.quarantined().len(), 1);
}

/// A lost commit never looks healthy.
#[tokio::test]
async fn without_batch_item_failures_the_event_fails() {
    let bench = KafkaBench::new(&ONE_TABLE);
    let blocked = bench.folder.path().join("warehouse/shop/orders");
    fs::create_dir_all(&blocked).unwrap();
    fs::write(blocked.join("data"), "no folder").unwrap();
    let failure = bench.deliver(&event(of("orders", 0, 0..3))).await.unwrap_err();
    assert_eq!(failure.error_type.to_string(), "StorageFailed");
    assert!(failure.to_string().starts_with("3 of 3 records are not committed"), "{failure}");
    fs::remove_file(blocked.join("data")).unwrap();
    bench.deliver(&event(of("orders", 0, 0..3))).await.unwrap();
    assert_eq!(bench.rows(TABLE).await.len(), 3);
}

fn failed_batch(payload: Option<Value>) -> Value {
    let mut envelope = json!({
        "requestContext": {"requestId": "0", "functionArn": "arn:aws:lambda:eu-north-1:123456789012:function:msk",
            "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 11},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0", "timestamp": "2026-02-25T06:23:20.000Z",
        "KafkaBatchInfo": {"batchSize": 2, "eventSourceArn": tests::kafka::CLUSTER, "payloadSize": 99,
            "recordsInfo": {"orders-0": {"firstRecordOffset": "20", "lastRecordOffset": "21",
                "firstRecordTimestamp": "t", "lastRecordTimestamp": "t"}}}
    });
    if let Some(payload) = payload {
        envelope["payload"] = payload;
    }
    envelope
}

/// What the mapping gave up comes back under the records' own identity, in either form.
#[tokio::test]
async fn batches_that_were_given_up_can_be_delivered_again() {
    let bench = KafkaBench::new(&PARTIAL);
    bench.deliver(&event(of("orders", 0, [18, 19, 23, 24]))).await.unwrap();
    let in_s3 = failed_batch(Some(json!(event(of("orders", 0, 20..23)).to_string())));
    let envelope = failed_batch(Some(event(of("orders", 0, [31])))).to_string();
    let in_topic = event([record("orders-failed", 0, 0, Some(envelope.as_bytes())), placed("orders", 0, 32)]);
    for _ in 0..2 {
        assert_eq!(bench.deliver(&in_s3).await.unwrap(), failures(&[]));
        assert_eq!(bench.deliver(&in_topic).await.unwrap(), failures(&[]));
        let places = bench.places(TABLE).await;
        let offsets: Vec<i64> = places
            .keys()
            .map(|(topic, _, offset)| {
                assert_eq!(topic, "orders");
                *offset
            })
            .collect();
        assert_eq!(offsets, [18, 19, 20, 21, 22, 23, 24, 31, 32]);
        assert!(places.values().all(|count| *count == 1));
    }
    let failure = bench.deliver(&failed_batch(None)).await.unwrap_err();
    for part in ["2 records", "topic orders, partition 0, offsets 20 to 21", "rewind"] {
        assert!(failure.to_string().contains(part), "{failure}");
    }
}

/// If the records of a batch in a failure topic fail, the record that carries them is named: only it is in the event.
#[tokio::test]
async fn a_failed_batch_that_fails_again_is_named_by_what_carries_it() {
    let bench = KafkaBench::new(&PARTIAL);
    bench.deliver(&event(of("orders", 0, [31]))).await.unwrap();
    let mut another = placed("orders", 0, 31);
    another["timestamp"] = json!(1);
    let envelope = failed_batch(Some(event([another]))).to_string();
    let carried = event([record("orders-failed", 2, 77, Some(envelope.as_bytes()))]);
    assert_eq!(bench.deliver(&carried).await.unwrap(), failures(&[("orders-failed-2", 77)]));
}

#[tokio::test]
async fn a_cluster_without_a_name_is_refused() {
    let mut bench = KafkaBench::new(&ONE_TABLE);
    let mut of_own_cluster = event(of("orders", 0, 0..2));
    of_own_cluster["eventSource"] = "SelfManagedKafka".into();
    of_own_cluster.as_object_mut().unwrap().remove("eventSourceArn");
    let failure = bench.deliver(&of_own_cluster).await.unwrap_err().to_string();
    assert!(failure.contains("FRAZIL_KAFKA_CLUSTER") && failure.contains("b-1.example"), "{failure}");
    bench.set(&[("FRAZIL_KAFKA_CLUSTER", "main")]);
    bench.deliver(&of_own_cluster).await.unwrap();
    // The name counts, whatever the event says: a connection to the cluster from another account has an ARN of its own.
    bench.deliver(&event(of("orders", 0, 0..3))).await.unwrap();
    assert_eq!(bench.rows(TABLE).await.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_read_of_a_record_refuses_it_alone() {
    let bench = KafkaBench::new(&ONE_TABLE);
    let mut records = of("orders", 0, 0..4);
    records[1]["value"] = json!("not base64!");
    records[2]["headers"] = json!([{"a": [300]}]);
    records[3]["key"] = json!("*");
    let answer = bench.deliver(&event(records)).await.unwrap();
    assert_eq!((&answer["rows"], &answer["rows_quarantined"]), (&json!(1), &json!(3)));
    let codes: Vec<Value> = bench.quarantined().iter().map(|line| line["errorCode"].clone()).collect();
    assert_eq!(codes, ["invalid_base64", "invalid_headers", "invalid_base64"]);
}

#[tokio::test]
async fn other_events_are_refused() {
    let bench = KafkaBench::new(&ONE_TABLE);
    for other in [json!({"Records": []}), json!([]), json!({"records": {"a-0": [{"topic": "a"}]}})] {
        let failure = bench.deliver(&other).await.unwrap_err();
        assert_eq!(failure.error_type.to_string(), "EventNotUnderstood");
    }
    let answer = bench.deliver(&event([])).await.unwrap();
    assert_eq!(answer, json!({"records": 0, "rows": 0, "rows_quarantined": 0, "dropped": 0}));
}

/// Runs `frazil` with `arguments` on the lake of `bench`; its JSON.
fn frazil_json(bench: &KafkaBench, arguments: &[&str]) -> (bool, Value) {
    let mut command = frazil();
    command.args(arguments).arg("--json").arg("--warehouse").arg(bench.folder.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_slice(&output.stdout);
    (output.status.success(), json.unwrap_or_else(|_| panic!("{text}")))
}

fn kafka_counts(audit: &Value) -> [u64; 4] {
    let counts = &audit["tables"][0]["kafka"];
    ["records", "records_with_rows", "records_quarantined", "records_dropped"]
        .map(|name| counts[name].as_u64().unwrap_or_else(|| panic!("{audit}")))
}

/// The counts of the audit close, and what was quarantined comes back under its own identity once it fits.
#[tokio::test]
async fn quarantined_records_come_back_once_and_the_audit_closes() {
    let definition = json!({"name": "orders", "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": false, "type": "long"},
        {"id": 2, "name": "topic", "required": false, "type": "string"},
        {"id": 3, "name": "partition", "required": false, "type": "int"},
        {"id": 4, "name": "offset", "required": false, "type": "long"},
        {"id": 5, "name": "kafka_timestamp", "required": false, "type": "timestamptz"},
        {"id": 6, "name": "record_id", "required": false, "type": "string"},
        {"id": 7, "name": "kafka_key", "required": false, "type": "string"}
    ]}, "properties": {"frazil.schema-evolution": "quarantine"}});
    let definition = definition.to_string();
    let bench = KafkaBench::new(&[("FRAZIL_TABLE", TABLE), ("FRAZIL_TABLE_DEFINITION", &definition)]);
    let batch = event([
        record("orders", 0, 40, Some(br#"{"id": 1}"#)),
        record("orders", 0, 41, Some(b"{")),
        record("orders", 0, 42, Some(br#"[{"id": 2}, {"id": 3, "later": "x"}, {"id": 4, "later": "y"}]"#)),
        record("orders", 0, 45, None),
        record("orders", 0, 46, Some(br#"{"id": 5, "later": "z"}"#)),
    ]);
    bench.deliver(&batch).await.unwrap();
    let audit = |expected: [u64; 4], rows: u64| {
        let (is_clean, audit) = frazil_json(&bench, &["audit"]);
        assert!(is_clean, "{audit}");
        assert_eq!(kafka_counts(&audit), expected);
        assert_eq!(audit["tables"][0]["kafka"]["partitions"][0]["next_offset"], 47);
        assert_eq!(audit["tables"][0]["rows_of_other_origin"], 0);
        assert_eq!(audit["findings"], json!([]));
        rows
    };
    audit([5, 2, 2, 1], 2);
    assert_eq!(bench.quarantined().len(), 4);
    // Nothing fits yet.
    let (_, summary) = frazil_json(&bench, &["redrive"]);
    assert_eq!((&summary["records"], &summary["records_left"]), (&json!(0), &json!(4)));
    let table = bench.table(TABLE).await.unwrap();
    let transaction = Transaction::new(&table);
    let later = AddColumn::optional("later", Type::Primitive(PrimitiveType::String));
    let changed = transaction.update_schema().add_column(later).apply(transaction).unwrap();
    changed.commit(bench.consumer().await.lake().catalog()).await.unwrap();
    for (records, left) in [(3, 1), (0, 1)] {
        let (_, summary) = frazil_json(&bench, &["redrive"]);
        assert_eq!(
            (&summary["records"], &summary["records_left"]),
            (&json!(records), &json!(left)),
            "{summary}"
        );
        let rows = bench.rows(TABLE).await;
        let offsets: Vec<i64> = rows.iter().map(|row| row["offset"].as_i64().unwrap()).collect();
        assert_eq!(offsets, [40, 42, 42, 42, 46]);
        let ids: std::collections::BTreeSet<&str> =
            rows.iter().map(|row| row["record_id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 5);
        assert!(rows.iter().all(|row| row["kafka_key"] == format!("k-{}", row["offset"])));
        audit([5, 3, 1, 1], 5);
    }
    // The records themselves are known, whatever became of them since.
    bench.deliver(&batch).await.unwrap();
    assert_eq!((bench.rows(TABLE).await.len(), bench.quarantined().len()), (5, 1));
    audit([5, 3, 1, 1], 5);
}

#[tokio::test]
async fn batches_in_files_are_redriven_by_the_command() {
    let bench = KafkaBench::new(&ONE_TABLE);
    bench.deliver(&event(of("orders", 0, [18, 23]))).await.unwrap();
    let folder = bench.folder.path().join("on-failure");
    fs::create_dir(&folder).unwrap();
    let batch = failed_batch(Some(json!(event(of("orders", 0, 20..22)).to_string())));
    fs::write(folder.join("a"), batch.to_string()).unwrap();
    let arguments = ["redrive", "--table", TABLE, "--failed-batches", folder.to_str().unwrap()];
    for rows in [2, 0] {
        let (is_done, summary) = frazil_json(&bench, &arguments);
        assert!(is_done);
        assert_eq!((&summary["failed_batches"], &summary["rows"]), (&json!(1), &json!(rows)));
        assert_eq!(bench.places(TABLE).await.len(), 4);
    }
    fs::write(folder.join("b"), failed_batch(None).to_string()).unwrap();
    let mut command = frazil();
    command.args(arguments).arg("--warehouse").arg(bench.folder.path());
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("offsets 20 to 21"), "{complaint}");
}

/// Of what a producer, a serializer or a mapping may put into a record, nothing spoils another record.
#[tokio::test]
async fn records_of_every_kind_stand_beside_each_other() {
    let bench = KafkaBench::new(&ONE_TABLE);
    let raw = |offset: i64, more: Value| {
        let mut record = placed("orders", 0, offset);
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    };
    let header = |bytes: &[u8]| json!([{"__value_schema_id": bytes}, {"": [-1]}, {"": null}]);
    let avro = "CAZh";
    let batch = event([
        raw(0, json!({"value": {"id": 1, "decoded": true}, "key": 7})),
        raw(1, json!({"value": "no base64"})),
        raw(2, json!({"timestamp": 1_772_000_000_000_000_i64, "timestampType": "LOG_APPEND_TIME"})),
        raw(3, json!({"timestamp": -1})),
        raw(4, json!({"value": avro, "headers": header(&[0, 0, 0, 0, 101])})),
        raw(5, json!({"headers": header(&[0, 0, 0, 0, 101])})),
        // The same record twice.
        raw(6, json!({})),
        raw(6, json!({})),
        // A number and a text of JSON are no events.
        raw(7, json!({"value": 7})),
    ]);
    for rows in [5, 0] {
        let answer = bench.deliver(&batch).await.unwrap();
        assert_eq!((&answer["records"], &answer["rows"]), (&json!(9), &json!(rows)), "{answer}");
    }
    let rows = bench.rows(TABLE).await;
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("offset"), [0, 2, 3, 5, 6].map(|offset| json!(offset)));
    assert_eq!(column("kafka_key"), ["7", "k-2", "k-3", "k-5", "k-6"].map(|key| json!(key)));
    let times = column("kafka_timestamp");
    assert_eq!(times.iter().map(Value::is_null).collect::<Vec<_>>(), [false, true, true, false, false]);
    let lines = bench.quarantined();
    let told: Vec<_> = lines.iter().map(|line| (line["offset"].clone(), line["errorCode"].clone())).collect();
    let told: Vec<_> =
        told.iter().map(|(offset, reason)| (offset.as_i64().unwrap(), reason.as_str().unwrap())).collect();
    assert_eq!(told, [(1, "invalid_base64"), (4, "registry_format"), (7, "not_an_object")]);
    assert!(lines[1].to_string().contains("schema 101"), "{}", lines[1]);
}

/// Topics whose names give one table's share it; the column tells them apart, and so do the marks.
#[tokio::test]
async fn topics_that_fold_into_one_table_are_told_apart() {
    let bench = KafkaBench::new(&[("FRAZIL_TOPIC_TABLES", "(.+)=shop.$1")]);
    let topics = ["Orders.v1", "orders-v1", "orders_v1"];
    let records = || event(topics.into_iter().flat_map(|topic| of(topic, 0, 0..2)).collect::<Vec<_>>());
    for rows in [6, 0] {
        assert_eq!(bench.deliver(&records()).await.unwrap()["rows"], rows);
    }
    assert_eq!(bench.places("shop.orders_v1").await.len(), 6);
    assert_eq!(bench.snapshots("shop.orders_v1").await, 1);
}

/// The sample, into the table that it is made for.
#[tokio::test]
async fn the_sample_event_fills_the_sample_table() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let read = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(format!("{root}/events/{name}")).unwrap()).unwrap()
    };
    let definition = format!("{root}/tables/kafka_user_events.json");
    let bench = KafkaBench::new(&[("FRAZIL_TABLE", TABLE), ("FRAZIL_TABLE_DEFINITION", &definition)]);
    let answer = bench.deliver(&read("msk.json")).await.unwrap();
    assert_eq!(answer, read("expected.json")["msk"]["msk.json"]);
    let rows = bench.rows(TABLE).await;
    assert_eq!(
        rows[0],
        json!({
            "kafka_key": "user-00001", "user_id": "user-00001", "event_type": "page_view",
            "timestamp": "2026-01-02T03:04:06.123Z", "properties": {"page": "/products/101", "depth": "1"},
            "session_id": "s1", "device_info": {"device_type": "phone", "os": "ios", "app_version": "1.2.3"},
            "topic": "user-events", "partition": 0, "offset": 100, "kafka_timestamp": "2026-01-02T03:04:05.223Z",
            "processing_time": "2026-01-02T03:04:05.678901Z", "partition_date": "2026-01-02", "partition_hour": 3,
            "headers": [{"key": "traceparent", "value": "30302d31662d3031"}, {"key": "blob", "value": "007f80ff"},
                {"key": "blob", "value": ""}],
            "record_id": rows[0]["record_id"]
        })
    );
    assert_eq!(rows[6]["kafka_key"], "user-00009");
    let spec = bench.table(TABLE).await.unwrap();
    let names: Vec<_> =
        spec.metadata().default_partition_spec().fields().iter().map(|it| it.name.clone()).collect();
    assert_eq!(names, ["partition_date", "partition_hour"]);
}

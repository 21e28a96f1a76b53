//! Objects whose values hold several events: each event becomes a row, what holds none on purpose is counted, and the audit
//! finds as many records as append did.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::command::checked;
use tests::{Bench, Object, enriched_table};

const ERROR_KEY: &str = "errors/processing-failed/2026/01/02/03/stream-1-2026-01-02-03-04-05-u";

/// A subscription's envelope of so many log events.
fn envelope(kind: &str, messages: &[&str]) -> String {
    let event =
        |(at, message): (usize, &&str)| json!({"id": at.to_string(), "timestamp": 1, "message": message});
    let events: Vec<Value> = messages.iter().enumerate().map(event).collect();
    json!({"messageType": kind, "owner": "123456789012", "logGroup": "/svc/a", "logStream": "s",
        "subscriptionFilters": ["f"], "logEvents": events})
    .to_string()
}

/// What came of an object that is delivered.
async fn deliver(bench: &Bench, key: &str, content: impl AsRef<[u8]>) -> (Object, String) {
    let object = bench.put(key, content);
    let delivered = bench.deliver(std::slice::from_ref(&object)).await;
    assert!(delivered.failed.is_empty(), "{delivered:?}");
    (object, delivered.objects.concat())
}

/// The counts of an audit that has nothing to find: records, rows, quarantined, dropped.
fn audited(bench: &Bench) -> [u64; 4] {
    let (report, is_clean) = checked("audit", bench.folder.path(), &[]);
    assert!(is_clean, "{report}");
    ["rows_in_objects", "rows_in_tables", "rows_quarantined", "messages_dropped"]
        .map(|name| report[name].as_u64().unwrap())
}

#[tokio::test]
async fn each_event_of_a_raw_object_is_a_row() {
    let bench = Bench::new(None).await;
    let content = [
        envelope("CONTROL_MESSAGE", &["CWL CONTROL MESSAGE: Checking health of destination Firehose."]),
        envelope("DATA_MESSAGE", &["{\"n\": 1}", "text"]),
        "[{\"n\": 3}, {\"n\": 4}]\n[]\n{\"n\": 5} [1]".to_owned(),
    ];
    let (object, outcome) = deliver(&bench, "a", content.concat()).await;
    assert_eq!(outcome, "5 rows, 1 not_an_object, 2 dropped");
    let rows = bench.rows().await;
    let messages: Vec<&Value> = rows.iter().map(|row| &row["message"]).filter(|it| !it.is_null()).collect();
    assert_eq!(messages, [&json!("{\"n\": 1}"), &json!("text")]);
    assert!(rows.iter().filter(|row| row["log_group"] == json!("/svc/a")).count() == 2);
    assert_eq!(bench.rejections()[0].raw.as_deref(), Some(&b"[1]"[..]));
    assert_eq!(bench.deliver(&[object]).await.objects, ["known"]);
    assert_eq!(audited(&bench), [6, 5, 1, 2]);
}

/// Nothing is lost of it, so that nothing is missing either.
#[tokio::test]
async fn an_object_that_holds_no_event_on_purpose_is_done() {
    let bench = Bench::new(Some(enriched_table())).await;
    let (_, outcome) = deliver(&bench, "a", envelope("CONTROL_MESSAGE", &["health"])).await;
    assert_eq!(outcome, "0 rows, 1 dropped");
    assert_eq!(audited(&bench), [0, 0, 0, 1]);
}

#[tokio::test]
async fn events_of_failed_records_have_the_ids_of_the_record() {
    let bench = Bench::new(Some(enriched_table())).await;
    let line = |record: &str| {
        let data = STANDARD.encode(record);
        format!("{{\"arrivalTimestamp\":1767323045678,\"errorCode\":\"c\",\"rawData\":\"{data}\"}}\n")
    };
    let content =
        [line("{\"n\":1}\n{\"n\":2}\n"), line("[{\"n\":3},{\"n\":\"four\"}]"), line("[]"), line("{\"n\":5}")];
    let (object, outcome) = deliver(&bench, ERROR_KEY, content.concat()).await;
    assert_eq!(outcome, "4 rows, 1 type_mismatch, 1 dropped");
    let rows = bench.rows().await;
    // Computed with Python's uuid.uuid5 for "processing-failed\0raw\0<KEY>\0<line>", and of that and the index.
    let expected = [
        (1, "4e0da50d-af03-5754-a002-2459cd2e5092"),
        (2, "6774105c-d564-5caf-93d2-dc6e07fdc6d6"),
        (3, "2e392785-667b-5d9b-8f4a-92327f9e14f8"),
        (5, "68b1de93-46a8-586e-9a8e-439230d88894"),
    ];
    let found: Vec<(i64, &str)> =
        rows.iter().map(|row| (row["n"].as_i64().unwrap(), row["record_id"].as_str().unwrap())).collect();
    assert_eq!(found, expected);
    let refused = &bench.rejections()[0];
    let raw: Value = serde_json::from_slice(refused.raw.as_deref().unwrap()).unwrap();
    assert_eq!(
        (&raw["n"], raw["record_id"].as_str()),
        (&json!("four"), Some("913919f3-6e6c-53c7-be07-11793aaede07"))
    );
    assert_eq!(bench.deliver(&[object]).await.objects, ["known"]);
    assert_eq!(audited(&bench), [5, 4, 1, 1]);
}

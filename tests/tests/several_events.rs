//! Objects whose values hold several events: each event becomes a row, what holds none on purpose is counted, and the audit
//! finds as many records as append did.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use records::unpack::Options;
use serde_json::{Value, json};
use tests::command::frazil;
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

fn line(record: &str) -> String {
    let data = STANDARD.encode(record);
    format!("{{\"arrivalTimestamp\":1767323045678,\"errorCode\":\"c\",\"rawData\":\"{data}\"}}\n")
}

/// What a redrive with `variables` says of records that were put back, and of those that stay.
fn redriven(bench: &Bench, variables: &[(&str, &str)]) -> [u64; 2] {
    let mut redrive = frazil();
    redrive.args(["redrive", "--json", "--warehouse"]).arg(bench.folder.path());
    let output = redrive.envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    ["rows", "records_left"].map(|name| summary[name].as_u64().unwrap())
}

/// The counts of an audit that has nothing to find: records, rows, quarantined, dropped.
fn audited(bench: &Bench) -> [u64; 4] {
    audited_by(bench, &[])
}

/// The same with the settings that append had.
fn audited_by(bench: &Bench, variables: &[(&str, &str)]) -> [u64; 4] {
    let mut audit = frazil();
    audit.args(["audit", "--json", "--warehouse"]).arg(bench.folder.path()).envs(variables.iter().copied());
    let output = audit.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
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

/// As if the setting had been there when the record came.
#[tokio::test]
async fn what_a_setting_takes_comes_back_with_its_id() {
    let bench = Bench::new(Some(enriched_table())).await;
    let (_, outcome) = deliver(&bench, ERROR_KEY, line("{\"n\":1}\n{\"n\":NaN}\n")).await;
    assert_eq!(outcome, "1 rows, 1 invalid_json");
    assert!(bench.rejections()[0].message.ends_with("or set FRAZIL_NAN=null"));
    let (_, outcome) = deliver(&bench, "b", "{\"n\":-Infinity}\nnot JSON\n").await;
    assert_eq!(outcome, "0 rows, 2 invalid_json");
    assert_eq!(redriven(&bench, &[]), [0, 3]);
    assert_eq!(redriven(&bench, &[("FRAZIL_NAN", "null")]), [2, 1]);
    assert_eq!(redriven(&bench, &[("FRAZIL_NAN", "null")]), [0, 1]);
    let rows = bench.rows().await;
    let mut ids: Vec<&str> = rows.iter().filter_map(|row| row["record_id"].as_str()).collect();
    ids.sort_unstable();
    // Computed as above.
    assert_eq!(ids, ["4e0da50d-af03-5754-a002-2459cd2e5092", "6774105c-d564-5caf-93d2-dc6e07fdc6d6"]);
    assert_eq!(rows.iter().filter(|row| row["n"].is_null()).count(), 2);
    let times: Vec<&Value> = rows.iter().map(|row| &row["ingestion_timestamp"]).collect();
    assert_eq!(times.iter().filter(|time| ***time == json!("2026-01-02T03:04:05.678Z")).count(), 2);
    assert_eq!(audited(&bench)[1..], [3, 1, 0]);
}

/// Nothing tells how long an aggregate is, nor that there are several.
#[tokio::test]
async fn aggregates_in_a_raw_object_are_split() {
    let bench = Bench::new(Some(enriched_table())).await;
    // Of the library's format: a partition key, user records of an index and data, and the MD5 of that.
    let aggregate =
        STANDARD.decode("84mawgoBaxoLCAAaB3sibiI6MX0aCwgAGgd7Im4iOjJ9FiPaIBI0cmu9yRvbA2CW2g==").unwrap();
    let content = [&aggregate[..], &aggregate, b"{\"n\":3}\n", &aggregate].concat();
    let (_, outcome) = deliver(&bench, "a", content).await;
    assert_eq!(outcome, "7 rows");
    assert_eq!(bench.numbers().await, [1, 1, 1, 2, 2, 2, 3]);
    assert_eq!(audited(&bench), [7, 7, 0, 0]);
}

#[tokio::test]
async fn the_elements_of_an_array_in_an_envelope_are_rows() {
    let unpack = Options { unwrap: Some("detail.items".parse().unwrap()), ..Options::default() };
    let bench = Bench::unpacking(None, |_| {}, unpack).await;
    let content = "{\"id\":\"e\",\"detail\":{\"items\":[{\"n\":1},{\"n\":2,\"id\":\"i\"},3],\"kind\":\"k\"}}\n\
        {\"id\":\"f\",\"detail\":{\"items\":[]}}\n{\"id\":\"g\",\"n\":4}\n";
    let (_, outcome) = deliver(&bench, "a", content).await;
    assert_eq!(outcome, "3 rows, 1 not_an_object, 1 dropped");
    let mut rows = bench.rows().await;
    rows.sort_by_key(|row| row["n"].as_i64());
    let told = |row: &Value| json!([row["n"], row["id"], row["envelope_id"], row["detail"]["kind"]]);
    let expected = [json!([1, "e", null, "k"]), json!([2, "i", "e", "k"]), json!([4, "g", null, null])];
    assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), expected);
    assert_eq!(audited_by(&bench, &[("FRAZIL_UNWRAP", "detail.items")]), [4, 3, 1, 1]);
}

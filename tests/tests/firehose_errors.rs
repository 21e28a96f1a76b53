//! Error objects of Firehose as input of append: what is sound in them becomes rows with ids and times, what is not is
//! quarantined as the record that it is.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::{Bench, Object, definition, enriched_table, files, gzip, lines, plain_table};

const KEY: &str = "errors/processing-failed/2026/01/02/03/stream-1-2026-01-02-03-04-05-u";
/// 2026-01-02T03:04:05.678Z.
const ARRIVAL_MILLIS: i64 = 1_767_323_045_678;

/// A line as Firehose writes it, in the order of its documentation.
fn line(record: impl AsRef<[u8]>) -> String {
    line_at(ARRIVAL_MILLIS, record)
}

fn line_at(arrival_millis: i64, record: impl AsRef<[u8]>) -> String {
    format!(
        "{{\"attemptsMade\":4,\"arrivalTimestamp\":{arrival_millis},\"errorCode\":\"Lambda.FunctionTimedOut\",\
         \"errorMessage\":\"The Lambda function timed out.\",\"attemptEndingTimestamp\":{},\"rawData\":\"{}\",\
         \"lambdaArn\":\"arn:aws:lambda:us-east-1:000000000000:function:transform\"}}\n",
        arrival_millis + 1000,
        STANDARD.encode(record)
    )
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["record_id"].as_str().unwrap().to_owned()).collect()
}

async fn deliver(bench: &Bench, key: &str, content: impl AsRef<[u8]>) -> (Object, String) {
    let object = bench.put(key, content);
    let delivered = bench.deliver(std::slice::from_ref(&object)).await;
    assert!(delivered.failed.is_empty(), "{delivered:?}");
    (object, delivered.objects.concat())
}

#[tokio::test]
async fn records_that_firehose_could_not_process_become_rows() {
    let columns = [
        ("n", "long"),
        ("record_id", "string"),
        ("ingestion_timestamp", "timestamptz"),
        ("partition_date", "string"),
        ("partition_hour", "string"),
        ("file_name", "string"),
        ("producer_record_id", "string"),
    ];
    let bench = Bench::new(Some(definition(&columns, &[]))).await;
    let records = ["{\"n\": 1}\n", "{\"n\":2,\"record_id\":\"the producer's\"}", "\u{feff}{\"n\":3} "];
    let hour_later = ARRIVAL_MILLIS + 3_600_000;
    let content = [line(records[0]), line(records[1]), line_at(hour_later, records[2])].concat();
    let (object, outcome) = deliver(&bench, KEY, gzip(content)).await;
    assert_eq!(outcome, "3 rows");
    let rows = bench.rows().await;
    // Computed with Python's uuid.uuid5 for "processing-failed\0raw\0<KEY>\0<line>".
    assert_eq!(
        rows[0],
        json!({
            "n": 1, "record_id": "4e0da50d-af03-5754-a002-2459cd2e5092",
            "ingestion_timestamp": "2026-01-02T03:04:05.678Z",
            "partition_date": "2026-01-02", "partition_hour": "03",
            "file_name": format!("file://{}/raw/{KEY}", bench.folder.path().display()),
            "producer_record_id": null,
        })
    );
    assert_eq!(ids(&rows)[1], "2e392785-667b-5d9b-8f4a-92327f9e14f8");
    assert_eq!(rows[1]["producer_record_id"], "the producer's");
    assert_eq!((&rows[2]["n"], &rows[2]["partition_hour"]), (&json!(3), &json!("04")));
    assert_eq!(bench.deliver(&[object]).await.objects, ["known"]);
    assert_eq!(bench.rows().await.len(), 3);
}

#[tokio::test]
async fn ids_hold_across_deliveries_and_versions_of_the_object() {
    let first = Bench::new(Some(enriched_table())).await;
    let content = [line("{\"n\":1}"), line("{\"n\":1}"), line("{\"n\":2}")].concat();
    deliver(&first, KEY, &content).await;
    let ids_of_first = ids(&first.rows().await);
    assert_ne!(ids_of_first[0], ids_of_first[1], "two equal events of one millisecond are two rows");

    // The same again elsewhere; with another line behind; with other counts of attempts, compressed.
    let longer = content.clone() + &line("{\"n\":3}");
    let attempts = content.replace("\"attemptsMade\":4", "\"attemptsMade\":14");
    for content in [content.clone().into_bytes(), longer.into_bytes(), gzip(attempts)] {
        let again = Bench::new(Some(enriched_table())).await;
        deliver(&again, KEY, &content).await;
        assert_eq!(ids(&again.rows().await)[..3], ids_of_first);
    }
    let other_object = Bench::new(Some(enriched_table())).await;
    deliver(&other_object, &format!("{KEY}2"), &content).await;
    assert!(ids(&other_object.rows().await).iter().all(|id| !ids_of_first.contains(id)));
}

#[tokio::test]
async fn what_is_not_sound_is_quarantined_as_the_record() {
    let bench = Bench::new(Some(enriched_table())).await;
    let wrong_base64 = line("{}").replace("e30=", "e30!");
    let no_line = "{\"n\":7}\n";
    let content = [
        line("{\"n\":1}"),
        line("[1]"),
        line(b"\xFF\x00binary\n{\"n\":8}\n"),
        "\n".to_owned(),
        line(""),
        line("{\"n\":\n 1.5, \"record_id\": 1}"),
        wrong_base64.clone(),
        no_line.to_owned(),
        "{\"attemptsMade\":\n".to_owned(),
        line("{\"n\":2}").trim_end().to_owned(),
        line("{\"n\":3}"),
    ];
    let (object, outcome) = deliver(&bench, KEY, content.concat()).await;
    assert_eq!(
        outcome,
        "3 rows, 1 invalid_base64, 1 empty, 1 not_utf8, 1 invalid_json, 1 not_an_object, 1 type_mismatch, \
         1 invalid_error_line"
    );
    let rows = bench.rows().await;
    assert_eq!(rows.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    let offset_of = |at: usize| content[..at].concat().len() as u64;
    let enriched = "{\"n\":\n 1.5, \"producer_record_id\": 1,\"record_id\":\"ac5af10c-8600-59c9-996e-45910379240f\",\
        \"ingestion_timestamp\":\"2026-01-02T03:04:05.678000Z\",\"partition_date\":\"2026-01-02\",\
        \"partition_hour\":\"03\"}";
    // Which element of `content`, the row, the reason, and the bytes that are kept.
    let expected: [(usize, u64, &str, &[u8]); 7] = [
        (1, 2, "not_an_object", b"[1]"),
        (2, 3, "not_utf8", b"\xFF\x00binary\n{\"n\":8}\n"),
        (4, 4, "empty", b""),
        (5, 5, "type_mismatch", enriched.as_bytes()),
        (6, 6, "invalid_base64", wrong_base64.trim_end().as_bytes()),
        (7, 7, "invalid_error_line", no_line.trim_end().as_bytes()),
        (8, 8, "invalid_json", b"{\"attemptsMade\":"),
    ];
    let rejections = bench.rejections();
    assert_eq!(rejections.len(), expected.len());
    for (rejection, (at, row, code, raw)) in rejections.iter().zip(expected) {
        assert_eq!((&rejection.code[..], rejection.row, rejection.offset), (code, row, offset_of(at)));
        assert_eq!(rejection.raw.as_deref(), Some(raw), "{code}");
        assert!(rejection.object.ends_with(KEY) && !rejection.message.is_empty());
    }
    assert!(
        rejections[5].message.ends_with("has no rawData as text: missing field `rawData` at line 1 column 7")
    );
    assert_eq!(bench.deliver(&[object]).await.objects, ["known"]);
}

#[tokio::test]
async fn a_table_is_inferred_from_the_records_and_not_from_the_lines() {
    let bench = Bench::new(None).await;
    let content =
        [line("{\"n\":1,\"user\":{\"id\":\"u\"}}"), line("nope"), "{\"of\":\"no record\"}\n".to_owned()];
    let (_, outcome) = deliver(&bench, KEY, content.concat()).await;
    assert_eq!(outcome, "1 rows, 1 invalid_json, 1 invalid_error_line");
    let table = bench.table().await;
    let fields = table.metadata().current_schema().as_struct().fields();
    let names: Vec<&str> = fields.iter().map(|field| &field.name[..]).collect();
    let expected =
        "n user record_id ingestion_timestamp partition_date partition_hour processing_time file_name";
    assert_eq!(names.join(" "), expected);
    assert_eq!(bench.rows().await[0]["partition_hour"], "03");
}

#[tokio::test]
async fn error_objects_and_ordinary_objects_share_an_event() {
    let bench = Bench::new(Some(plain_table())).await;
    let record = |n: i64| format!("{{\"n\":{n}}}");
    let failed_table = [line(record(10)), line(record(11))].concat();
    let objects = [
        bench.put("a", lines(0..3)),
        bench.put("prefix/type=processing-failed/2026/s-1-u", failed_table),
        // A name alike, with ordinary records.
        bench.put("event=payment-processing-failed/s-1-u", lines(3..5)),
    ];
    let delivered = bench.deliver(&objects).await;
    // The plain table has no column for what enrichment adds, which is left out.
    assert_eq!(delivered.objects, ["3 rows", "2 rows", "2 rows"]);
    assert_eq!(bench.numbers().await, (0..5).chain([10, 11]).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_damaged_error_object_keeps_the_rows_before_the_damage() {
    let bench = Bench::new(Some(enriched_table())).await;
    let content: String = (0..3000).map(|n| line(format!("{{\"n\":{n}}}"))).collect();
    let whole = gzip(content);
    deliver(&bench, KEY, &whole[..whole.len() / 2]).await;
    let rows = bench.rows().await;
    assert!(rows.len() > 500);
    let rejections = bench.rejections();
    let codes: Vec<&str> = rejections.iter().map(|rejection| &rejection.code[..]).collect();
    assert_eq!(codes, ["truncated", "corrupt_compression"]);
    assert_eq!(rejections[0].row, rows.len() as u64 + 1);
}

#[tokio::test]
async fn what_the_quarantine_keeps_of_an_error_object_is_no_input() {
    let bench = Bench::new(Some(enriched_table())).await;
    deliver(&bench, KEY, line("nope") + &line("{\"n\":1}")).await;
    let quarantine = files(&bench.folder.path().join("errors/quarantine"));
    let [file] = &quarantine[..] else { unreachable!("one file: {quarantine:?}") };
    let key = file.strip_prefix(bench.folder.path().join("errors")).unwrap().to_str().unwrap();
    assert!(key.starts_with("quarantine/test.events/raw/errors/processing-failed/"), "{key}");
    let own = Object { bucket: "errors".into(), key: key.into(), etag: "e".into() };
    let redriven = Object { key: key.replacen("quarantine", "redriven", 1), ..own.clone() };
    assert_eq!(bench.deliver(&[own, redriven]).await.objects, ["ignored", "ignored"]);
    assert_eq!(bench.rows().await.len(), 1);
}

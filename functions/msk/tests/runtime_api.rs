//! The function's own binary against a Lambda Runtime API, over real HTTP, on the sample event.
//!
//! AWS: "Using the Lambda runtime API for custom runtimes".

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lake::Lake;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::support::runtime::{Process, REQUEST_ID};
use self::support::{TABLE, function, sample};

/// Gives one instance of the function all `events`; what it posts for each, and whether that is an error.
fn invoke(function: Command, events: &[&str]) -> Vec<(bool, Value)> {
    let process = Process::start(function);
    let answers = events.iter().map(|event| {
        process.give(event, Duration::from_secs(3600));
        let answer = process.answer();
        (answer.is_error, answer.body)
    });
    answers.collect()
}

async fn total_records(folder: &Path) -> String {
    let lake = Lake::open_sqlite(&folder.join("catalog.db"), "file:///unused").await.unwrap();
    let table = lake.table(&settings::table_ident(TABLE).unwrap()).await.unwrap().unwrap();
    let summary = table.metadata().current_snapshot().unwrap().summary();
    summary.additional_properties["total-records"].clone()
}

#[tokio::test]
async fn the_sample_event_gets_the_answer_that_it_is_meant_to_get() {
    let expected: Value = serde_json::from_str(&sample("expected.json")).unwrap();
    let (folder, event) = (TempDir::new().unwrap(), sample("msk.json"));
    let answers = invoke(function(folder.path()), &[&event, &event, r#"{"Records": []}"#]);
    assert_eq!(answers[0], (false, expected["msk"]["msk.json"].clone()));
    let nothing = json!({"records": 9, "rows": 0, "rows_quarantined": 0, "dropped": 0});
    assert_eq!(answers[1], (false, nothing.clone()));
    assert!(answers[2].0, "{answers:?}");
    assert_eq!(answers[2].1["errorType"], "EventNotUnderstood");
    // Another instance knows the records.
    assert_eq!(invoke(function(folder.path()), &[&event]), [(false, nothing)]);
    assert_eq!(total_records(folder.path()).await, "7");

    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().all(|line| line["span"]["requestId"] == REQUEST_ID || line["span"].is_null()),
        "{log}"
    );
    let metrics: Vec<&Value> = lines.iter().filter(|line| line["_aws"].is_object()).collect();
    assert_eq!(metrics.len(), 4);
    assert_eq!(
        [
            "KafkaRecordsReceived",
            "KafkaRecordsCommitted",
            "KafkaRowsCommitted",
            "KafkaRowsQuarantined",
            "KafkaRecordsDropped"
        ]
        .map(|name| metrics[0][name].as_u64()),
        [9, 9, 7, 2, 1].map(Some)
    );
    assert_eq!(metrics[1]["KafkaRecordsKnown"], 9);
    assert!(metrics[0]["KafkaCommitLatency"].is_u64() && metrics[1]["KafkaCommitLatency"].is_null());
    assert!(!log.contains("user-0000"), "no line has content: {log}");
    let unlisted = lambda::metrics::METRICS.iter().filter(|metric| metric.function == "msk");
    let unlisted: Vec<&str> =
        unlisted.map(|metric| metric.name).filter(|name| log.matches(name).count() == 0).collect();
    // The sample is older than what freshness is told of.
    assert_eq!(unlisted, ["KafkaFreshness"]);
}

#[test]
fn a_mapping_with_batch_item_failures_gets_their_names() {
    let folder = TempDir::new().unwrap();
    let mut partial = function(folder.path());
    partial.env("FRAZIL_BATCH_ITEM_FAILURES", "true");
    let event = sample("msk.json");
    let anew = event.replace("1767323045223", "1767409445223");
    assert_ne!(anew, event);
    let answers = invoke(partial, &[&event, &anew]);
    assert_eq!(answers[0], (false, json!({"batchItemFailures": []})));
    // One record of another time: the topic was made anew, and nothing of it counts.
    let named = answers[1].1["batchItemFailures"].as_array().unwrap();
    assert_eq!(named.len(), 9);
    assert!(named.contains(&json!({"itemIdentifier": {"partition": "user-events-0", "offset": 100}})));
}

#[test]
fn a_wrong_configuration_is_named_and_the_function_does_not_start() {
    for (name, value, expected) in [
        ("FRAZIL_TABLE", "", "FRAZIL_TABLE is not set: expected NAMESPACE.NAME, or FRAZIL_TOPIC_TABLES"),
        ("FRAZIL_TOPIC_TABLES", "(=a.b", "FRAZIL_TOPIC_TABLES=(=a.b: expected PATTERN=NAMESPACE.NAME"),
        ("FRAZIL_ERRORS", "", "FRAZIL_ERRORS is not set"),
    ] {
        let folder = TempDir::new().unwrap();
        let mut function = function(folder.path());
        // Nobody listens there: a function that starts anyway does not end by itself with these words.
        let output = function.env(name, value).env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1").output().unwrap();
        let complaint = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(!output.status.success() && complaint.contains(expected), "{name}: {complaint}");
    }
}

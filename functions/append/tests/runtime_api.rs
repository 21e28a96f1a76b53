//! The function's own binary against a Lambda Runtime API, over real HTTP, on the sample events.
//!
//! AWS: "Using the Lambda runtime API for custom runtimes".

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use append::config::table_ident;
use lake::Lake;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Process, REQUEST_ID, ROOT, TABLE, function};

/// Gives one instance of the function all `events`, one after the other; returns what it posts for each:
/// `response` or `error`, and the body.
fn invoke(folder: &Path, events: &[String]) -> Vec<(&'static str, Value)> {
    let mut function = function(folder);
    function.env("FRAZIL_SOURCE_ROOT", format!("file://{ROOT}/events/"));
    let function = Process::start(function);
    let answers = events.iter().map(|event| {
        function.give(event, Duration::from_secs(3600));
        let answer = function.answer();
        (if answer.is_error { "error" } else { "response" }, answer.body)
    });
    answers.collect()
}

fn event(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("events").join(name)).unwrap()
}

#[tokio::test]
async fn the_sample_events_get_the_answers_that_they_are_meant_to_get() {
    let expected: Value = serde_json::from_str(&event("expected.json")).unwrap();
    // These two first: their rows are known by themselves.
    let mut names = vec!["s3-put.json", "sqs-mixed-failures.json"];
    let others = expected["append"].as_object().unwrap().keys().map(String::as_str);
    names.extend(others.filter(|name| !["s3-put.json", "sqs-mixed-failures.json"].contains(name)));
    assert!(names.len() >= 10);
    let events: Vec<String> = names.iter().map(|name| event(name)).collect();

    let folder = TempDir::new().unwrap();
    let answers = invoke(folder.path(), &events);
    assert_eq!(answers[0].1, json!({"objects": 1, "rows": 120, "rows_quarantined": 0}));
    assert_eq!(answers[1].1["batchItemFailures"].as_array().unwrap().len(), 2);
    let mut seen = HashSet::new();
    let mut rows = 0;
    for (name, (kind, answer)) in names.iter().zip(answers) {
        assert_eq!(kind, "response", "{name}: {answer}");
        let expected_of_event = &expected["append"][name];
        let objects = expected_of_event["objects"].as_array().unwrap();
        let new = objects.iter().filter(|object| seen.insert(object.as_str().unwrap()));
        let new_rows: i64 =
            new.map(|object| expected["objects"][object.as_str().unwrap()]["rows"].as_i64().unwrap()).sum();
        rows += new_rows;
        if name.starts_with("sqs-") {
            let failures = expected_of_event["batch_item_failures"].as_array().unwrap();
            let failures: Vec<Value> =
                failures.iter().map(|message| json!({"itemIdentifier": message})).collect();
            assert_eq!(answer, json!({"batchItemFailures": failures}), "{name}");
        } else {
            assert_eq!(
                (&answer["objects"], &answer["rows"]),
                (&json!(objects.len()), &json!(new_rows)),
                "{name}"
            );
        }
    }

    let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), "file:///unused").await.unwrap();
    let table = lake.table(&table_ident(TABLE).unwrap()).await.unwrap().unwrap();
    let summary = table.metadata().current_snapshot().unwrap().summary();
    assert_eq!(summary.additional_properties["total-records"], rows.to_string());

    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().all(|line| line["span"]["requestId"] == REQUEST_ID || line["span"].is_null()),
        "{log}"
    );
    let of_level = |level: &str| lines.iter().filter(|line| line["level"] == level).count();
    assert_eq!(of_level("ERROR"), 2, "the missing object and the body that is no notification: {log}");

    let again = invoke(folder.path(), &events[..2]);
    assert_eq!(
        again[0].1,
        json!({"objects": 1, "rows": 0, "rows_quarantined": 0}),
        "another instance knows the object"
    );
    assert_eq!(again[1].1["batchItemFailures"].as_array().unwrap().len(), 2);
}

#[test]
fn what_no_queue_delivers_again_is_an_invocation_error() {
    let folder = TempDir::new().unwrap();
    let missing = event("s3-put.json").replace("2026/01/02/03/clicks", "2026/01/02/03/none");
    let answers = invoke(folder.path(), &["{\"a\":1}".to_owned(), missing, event("s3-put.json")]);
    let kinds: Vec<&str> = answers.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["error", "error", "response"]);
    let message = |at: usize| answers[at].1["errorMessage"].as_str().unwrap();
    assert!(message(0).starts_with("not an object notification"), "{}", message(0));
    assert!(message(1).contains("does not exist"), "{}", message(1));
}

/// Lambda takes an empty identifier for the failure of the whole batch. Without an entry it would delete the message.
#[test]
fn a_failed_message_without_an_id_is_never_acknowledged() {
    let folder = TempDir::new().unwrap();
    let mut batch: Value = serde_json::from_str(&event("sqs-mixed-failures.json")).unwrap();
    for message in batch["Records"].as_array_mut().unwrap() {
        message.as_object_mut().unwrap().remove("messageId");
    }
    let answers = invoke(folder.path(), &[batch.to_string()]);
    assert_eq!(answers[0].1, json!({"batchItemFailures": [{"itemIdentifier": ""}, {"itemIdentifier": ""}]}));
}

#[test]
fn a_wrong_configuration_is_named_and_the_function_does_not_start() {
    for (name, value, expected) in [
        ("FRAZIL_TABLE", None, "FRAZIL_TABLE is not set: expected NAMESPACE.NAME"),
        ("FRAZIL_TABLE", Some("user_events"), "FRAZIL_TABLE=user_events: expected NAMESPACE.NAME"),
        ("FRAZIL_WAREHOUSE", None, "FRAZIL_WAREHOUSE is not set"),
        ("FRAZIL_CATALOG", Some("hive"), "FRAZIL_CATALOG=hive: expected sqlite"),
        ("FRAZIL_CATALOG_URI", Some(""), "FRAZIL_CATALOG_URI is not set"),
        ("FRAZIL_MAX_RECORD_BYTES", Some("16 MB"), "FRAZIL_MAX_RECORD_BYTES=16 MB: expected a whole number"),
        (
            "FRAZIL_TABLE_DEFINITION",
            Some("no-such.json"),
            "FRAZIL_TABLE_DEFINITION=no-such.json: No such file",
        ),
        ("FRAZIL_LOG", Some("a=b=c"), "FRAZIL_LOG=a=b=c"),
    ] {
        let folder = TempDir::new().unwrap();
        let mut function = function(folder.path());
        match value {
            Some(value) => function.env(name, value),
            None => function.env_remove(name),
        };
        // Nobody listens there: a function that starts anyway does not end by itself with these words.
        let output = function.env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1").output().unwrap();
        let complaint = fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(!output.status.success() && complaint.contains(expected), "{name}: {complaint}");
    }
}

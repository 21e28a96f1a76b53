//! The sample events under `events/`, against what they are meant to give.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;

use lambda::firehose::Response;
use serde::Deserialize;
use serde_json::json;
use transform::config::Config;
use transform::handler::handle;

#[derive(Deserialize)]
struct Expected {
    /// The answers to each event, in order.
    transform: BTreeMap<String, Vec<String>>,
}

fn read(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../events/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn sample_events_get_the_answers_that_they_are_meant_to_get() {
    let expected: Expected = serde_json::from_str(&read("expected.json")).unwrap();
    assert!(expected.transform.len() >= 4);
    for (name, expected) in expected.transform {
        let event = read(&name);
        assert!(lambda::firehose::is_event(&event), "{name}");
        let mut response = Vec::new();
        handle(&event, 0, &Config::default(), &mut response).unwrap();
        let response: Response = serde_json::from_slice(&response).unwrap();
        let results: Vec<_> = response.records.iter().map(|answer| json!(answer.result)).collect();
        assert_eq!(results, expected, "{name}");
    }
}

#[test]
fn the_sample_that_is_no_firehose_event_is_refused() {
    let message =
        handle(&read("not-firehose.json"), 0, &Config::default(), &mut Vec::new()).unwrap_err().to_string();
    assert!(message.starts_with("not a Firehose transformation event: no \"records\" array"), "{message}");
}

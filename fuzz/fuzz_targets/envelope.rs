//! Events -> answers.
//!
//! In: the JSON of an invocation. The laws: nothing panics; a message of a queue is one delivery, in order; a
//! transformation event gets one answer for each record, in order, whose size is what it is said to be and stays under
//! the limit; what is passed on is lines of JSON; an event is read as serde reads it.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda::firehose::{self, Event, ProcessingResult, Response};
use lambda::notification::{Notification, Source};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;
use transform::config::Config;
use transform::handler::handle;

const NOW_MICROS: i64 = 1_767_323_045_678_901;

fn notification(json: &str) {
    let Ok(notification) = Notification::parse(json) else { return };
    match notification.source {
        Source::Direct => {
            assert_eq!(notification.deliveries.len(), 1);
            assert!(
                notification
                    .deliveries
                    .iter()
                    .all(|delivery| { delivery.message_id.is_none() && delivery.objects.is_ok() })
            );
        }
        Source::Sqs => {
            // Another reader may stop where this one goes on: at 128 levels, at numbers out of range.
            let Ok(event) = serde_json::from_str::<Value>(json) else { return };
            let messages = event["Records"].as_array().expect("messages");
            let ids = notification.deliveries.iter().map(|delivery| delivery.message_id.as_deref());
            assert!(ids.eq(messages.iter().map(|message| message["messageId"].as_str())));
        }
    }
}

/// Kafka events: every record says where it is, and headers are bytes or a sentence.
fn kafka(json: &str) {
    let Ok(event) = lambda::kafka::Event::parse(json) else { return };
    for (_, record) in event.records() {
        assert!(record.partition() >= 0 && record.offset() >= 0);
        assert!(record.timestamp_ms().is_none_or(|millis| millis >= 0));
        let _ = record.headers();
    }
    let places = event.records().map(|(group, record)| (group, record.offset()));
    assert!(lambda::kafka::BatchResponse::of(places).len() <= event.records().count());
}

/// All that an event says.
fn shown(event: &Event<'_>) -> String {
    let records = event.records.iter().map(|it| {
        let (data, arrival, position) = (it.data_base64(), it.arrival_micros(), it.position());
        format!("{:?} {data:?} {arrival:?} {position:?} {}", it.record_id(), it.is_tombstone())
    });
    let records: Vec<String> = records.collect();
    format!(
        "{:?} {:?} {:?} {records:?}",
        event.delivery_stream(),
        event.kinesis_stream(),
        event.msk_cluster()
    )
}

/// Answers an event, and says how long the answer is.
fn answer(json: &str, config: &Config) -> usize {
    let event = Event::parse(json).expect("an event");
    let mut response_json = Vec::new();
    let outcome = handle(json, NOW_MICROS, config, &mut response_json).expect("what parses is answered");
    let response: Response = serde_json::from_slice(&response_json).expect("an answer is JSON");
    assert_eq!(serde_json::to_vec(&response).expect("JSON"), response_json);
    let answers = &response.records;
    let ids = |record: &firehose::Record<'_>| record.record_id().to_owned();
    assert!(event.records.iter().map(ids).eq(answers.iter().map(|answer| answer.record_id.clone())));
    assert!(outcome.failures.is_sorted_by(|a, b| a.index < b.index), "each failure once, in order");

    let bytes = response_json.len();
    assert_eq!(bytes, outcome.response_bytes);
    let passes_any = answers.iter().any(|answer| answer.result == ProcessingResult::Ok);
    assert!(!passes_any || bytes < config.max_response_bytes);

    for (index, answer) in answers.iter().enumerate() {
        let failed = outcome.failures.iter().any(|failure| failure.index == index);
        assert_eq!(failed, answer.result == ProcessingResult::ProcessingFailed);
        assert_eq!(answer.result == ProcessingResult::Ok, answer.data_base64().is_some());
        if let Some(data) = answer.data_base64() {
            let line = STANDARD.decode(data).expect("base64");
            assert_eq!(line.last(), Some(&b'\n'));
            let events = serde_json::Deserializer::from_slice(&line).into_iter::<IgnoredAny>();
            let events: Vec<IgnoredAny> = events.map(|event| event.expect("JSON")).collect();
            assert!(!events.is_empty());
        }
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Ok(json) = std::str::from_utf8(data) else { return };
    notification(json);
    kafka(json);
    firehose::is_event(json);
    // There are two readers: the fast one reads what serde reads, and refuses nothing by itself.
    let by_serde = serde_json::from_str::<Event<'_>>(json).ok();
    assert_eq!(Event::parse(json).ok().as_ref().map(shown), by_serde.as_ref().map(shown));
    if Event::parse(json).is_err() {
        assert!(handle(json, NOW_MICROS, &Config::default(), &mut Vec::new()).is_err());
        return;
    }
    let whole_bytes = answer(json, &Config::default());
    // Once more where not everything fits.
    answer(json, &Config { max_response_bytes: whole_bytes, ..Config::default() });
    answer(json, &Config { max_response_bytes: whole_bytes / 2, ..Config::default() });
});

//! What holds for any event: each record is answered once, in order, with itself and the four fields, or is given back
//! for a reason that holds; a retry is answered alike; and the response stays under its limit.

#![allow(clippy::expect_used, clippy::panic, reason = "test helpers fail by panicking")]

#[path = "../../../shared/records/tests/laws/inputs.rs"]
mod inputs;
#[path = "../../../shared/records/tests/laws/splicing.rs"]
mod splicing;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use lambda::firehose::{ProcessingResult, Response};
use proptest::prelude::*;
use records::enrich::{Stamp, enrich};
use records::identity::Origin;
use records::rejection::Reason;
use serde_json::{Map, Value, json};
use transform::config::Config;
use transform::handler::{Failure, handle};
use uuid::Uuid;

use self::inputs::{Bytes, added, payload};

/// Where a delivery stream reads its records.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    DirectPut,
    Kinesis,
    Msk,
}

/// What stands as a record's data.
#[derive(Clone, Debug)]
enum Data {
    Absent,
    /// Base64 that standard base64 is not.
    Damaged(Bytes),
    Payload(Bytes),
}

#[derive(Clone, Debug)]
struct Sent {
    data: Data,
    arrival_millis: Option<i64>,
    /// Whether the metadata tell the place in the source, where it has places.
    has_position: bool,
}

const NOW_MICROS: i64 = 1_767_323_045_678_901;

fn sent() -> impl Strategy<Value = Sent> {
    let data = prop_oneof![
        8 => payload().prop_map(Data::Payload),
        1 => payload().prop_map(Data::Damaged),
        1 => Just(Data::Absent),
    ];
    let millis = inputs::MICROS.start() / 1000..=inputs::MICROS.end() / 1000;
    (data, prop::option::weighted(0.8, millis), prop::bool::weighted(0.8))
        .prop_map(|(data, arrival_millis, has_position)| Sent { data, arrival_millis, has_position })
}

impl Sent {
    fn record(&self, at: usize, source: Source) -> Value {
        let mut record = Map::new();
        // Ids as no one sends them: the same twice, and in need of escapes.
        record.insert("recordId".into(), json!(format!("id \"{}\"", at / 2)));
        let data = match &self.data {
            Data::Absent => None,
            Data::Damaged(bytes) => Some(format!("{}*", STANDARD_NO_PAD.encode(&bytes.0))),
            Data::Payload(bytes) => Some(STANDARD.encode(&bytes.0)),
        };
        if let Some(data) = data {
            let name = if source == Source::Msk { "kafkaRecordValue" } else { "data" };
            record.insert(name.into(), json!(data));
        }
        if let Some(millis) = self.arrival_millis {
            record.insert("approximateArrivalTimestamp".into(), json!(millis));
        }
        if self.has_position {
            let (name, metadata) = match source {
                Source::DirectPut => return record.into(),
                Source::Kinesis => {
                    ("kinesisRecordMetadata", json!({"shardId": "s", "sequenceNumber": at.to_string()}))
                }
                Source::Msk => ("mskRecordMetadata", json!({"partitionId": 3, "offset": at})),
            };
            record.insert(name.into(), metadata);
        }
        record.into()
    }

    fn id(&self, at: usize, source: Source) -> Uuid {
        let (record_id, number) = (format!("id \"{}\"", at / 2), at.to_string());
        match source {
            Source::Kinesis if self.has_position => Origin::Kinesis {
                stream: "source",
                shard_id: "s",
                sequence_number: &number,
                subsequence_number: "",
            },
            Source::Msk if self.has_position => {
                Origin::Msk { cluster: "source", delivery_stream: "d", partition: "3", offset: &number }
            }
            _ => Origin::DirectPut { delivery_stream: "d", record_id: &record_id },
        }
        .record_id()
    }
}

fn event(sent: &[Sent], source: Source) -> String {
    let records: Vec<Value> = sent.iter().enumerate().map(|(at, it)| it.record(at, source)).collect();
    let mut event = json!({"invocationId": "i", "deliveryStreamArn": "d", "records": records});
    match source {
        Source::DirectPut => {}
        Source::Kinesis => event["sourceKinesisStreamArn"] = json!("source"),
        Source::Msk => event["sourceMSKArn"] = json!("source"),
    }
    event.to_string()
}

/// What came of an event, and the answer as it is read.
struct Outcome {
    failures: Vec<Failure>,
    response_bytes: usize,
    response: Response,
}

fn outcome(event: &str, now_micros: i64, max_response_bytes: usize) -> Outcome {
    let mut json = Vec::new();
    let config = Config { max_response_bytes, ..Config::default() };
    let outcome = handle(event, now_micros, &config, &mut json).expect("an event");
    let response: Response = serde_json::from_slice(&json).expect("an answer");
    assert_eq!(serde_json::to_vec(&response).expect("JSON"), json, "no byte more than it takes");
    assert_eq!((outcome.records, outcome.response_bytes), (response.records.len(), json.len()));
    Outcome { failures: outcome.failures, response_bytes: outcome.response_bytes, response }
}

/// The content that is passed on for record `at`, if it is.
fn passed_on(outcome: &Outcome, at: usize) -> Option<Vec<u8>> {
    let answer = &outcome.response.records[at];
    assert_eq!(answer.result == ProcessingResult::Ok, answer.data_base64().is_some());
    answer.data_base64().map(|data| STANDARD.decode(data).expect("base64"))
}

/// Whether `payload` is one event as it stands.
fn is_one_event(payload: &[u8]) -> bool {
    enrich(payload, Uuid::nil(), &Stamp::default(), &mut Vec::new()).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_passed_on_is_what_came_and_the_four_fields(
        sent in prop::collection::vec(sent(), 0..8),
        source in prop::sample::select(vec![Source::DirectPut, Source::Kinesis, Source::Msk]),
        share in 0.0..1.1,
    ) {
        let event = event(&sent, source);
        let whole = outcome(&event, NOW_MICROS, Config::default().max_response_bytes);
        let limit = (whole.response_bytes as f64 * share) as usize;
        for max_response_bytes in [usize::MAX, limit] {
            let outcome = outcome(&event, NOW_MICROS, max_response_bytes);
            let bytes = outcome.response_bytes;
            let passes_any = outcome.response.records.iter().any(|it| it.result == ProcessingResult::Ok);
            prop_assert!(bytes < max_response_bytes || !passes_any);
            prop_assert_eq!(outcome.response.records.len(), sent.len());

            let mut refused = 0;
            for (at, sent) in sent.iter().enumerate() {
                prop_assert_eq!(&outcome.response.records[at].record_id, &format!("id \"{}\"", at / 2));
                let micros = sent.arrival_millis.map_or(NOW_MICROS, |millis| millis * 1000);
                let passed_on = passed_on(&outcome, at);
                let is_tombstone = source == Source::Msk && sent.has_position;
                let answer = &outcome.response.records[at];
                let failure = outcome.failures.iter().find(|failure| failure.index == at);
                let reason = failure.map(|it| it.refusal.reason);
                refused += usize::from(reason.is_some());
                match (&sent.data, &passed_on, reason) {
                    (Data::Absent, None, None) if is_tombstone => {
                        prop_assert_eq!(answer.result, ProcessingResult::Dropped);
                    }
                    (Data::Payload(Bytes(payload)), None, None) if is_tombstone && payload.is_empty() => {
                        prop_assert_eq!(answer.result, ProcessingResult::Dropped);
                    }
                    // Random bytes that look like the header of a schema registry.
                    (Data::Payload(Bytes(payload)), None, Some(_)) if records::registry::is_framed(payload) => {}
                    (Data::Payload(Bytes(payload)), None, None) => {
                        prop_assert_eq!(answer.result, ProcessingResult::Dropped);
                        prop_assert!(payload.contains(&b'['), "an array without elements");
                    }
                    (Data::Payload(Bytes(payload)), Some(out), None) if !is_one_event(payload) => {
                        for (index, line) in out.strip_suffix(b"\n").expect("a line's end").split(|it| *it == b'\n').enumerate() {
                            let value: Value = match serde_json::from_slice(line) {
                                Ok(value) => value,
                                // Half of a surrogate pair, or the line end is one of the producer's own.
                                Err(_) => continue,
                            };
                            let id = records::unpack::event_id(sent.id(at, source), index);
                            if value.get("record_id").is_some() && !payload.contains(&b'\n') {
                                prop_assert_eq!(&value["record_id"], &json!(id.to_string()));
                            }
                        }
                    }
                    (Data::Payload(_), None, Some(_)) if failure.is_some_and(|it| it.refusal.message.starts_with("event ")) => {}
                    (Data::Payload(Bytes(payload)), Some(out), None) => {
                        splicing::check_accepted(payload, &added(sent.id(at, source), micros), out);
                    }
                    (Data::Payload(_), None, Some(Reason::ResponseTooLarge)) => {
                        prop_assert!(max_response_bytes == limit, "it fits into a response of any size");
                        prop_assert!(!whole.failures.iter().any(|failure| failure.index == at));
                    }
                    (Data::Payload(Bytes(payload)), None, Some(reason)) => {
                        splicing::check_refused(payload, reason);
                    }
                    (Data::Damaged(_), None, Some(Reason::InvalidBase64)) => {}
                    (Data::Absent, None, Some(Reason::Empty)) => {}
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(refused, outcome.failures.len());
        }
    }

    #[test]
    fn a_retry_is_answered_alike(
        sent in prop::collection::vec(sent(), 0..8),
        source in prop::sample::select(vec![Source::DirectPut, Source::Kinesis, Source::Msk]),
        later_micros in 1..86_400_000_000_i64,
    ) {
        let event = event(&sent, source);
        let limit = Config::default().max_response_bytes;
        let first = outcome(&event, NOW_MICROS, limit);
        let retry = outcome(&event, NOW_MICROS + later_micros, limit);
        prop_assert_eq!(&first.failures, &retry.failures);
        for (at, sent) in sent.iter().enumerate() {
            let (first, retry) = (passed_on(&first, at), passed_on(&retry, at));
            // A record without a time of its own gets the function's: only that differs.
            if sent.arrival_millis.is_some() {
                prop_assert_eq!(first, retry);
            } else if let (Some(first), Some(retry)) = (first, retry) {
                let id = format!("\"record_id\":\"{}\"", sent.id(at, source)).into_bytes();
                let has_id = |out: &[u8]| out.windows(id.len()).any(|window| window == id);
                prop_assert!(has_id(&first) && has_id(&retry));
            }
        }
    }
}

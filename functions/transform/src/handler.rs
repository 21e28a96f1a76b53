//! One transformation event -> one response.
//!
//! In: the event's JSON and the clock. Out: the response as JSON, with every record answered exactly once, in order; and an
//! [`Outcome`], which a log or a caller wants to know. Refused: an event that is no transformation
//! event. A record that cannot be enriched, or that no longer fits into the response, is answered
//! `ProcessingFailed` alone; one that holds no event on purpose, `Dropped`.

use std::collections::BTreeMap;
use std::time::Duration;

use lambda::firehose::{Event, EventError, Position, ProcessingResult, Record, ResponseWriter};
use lambda::metrics::Values;
use records::enrich::Stamp;
use records::identity::{DirectPut, Origin};
use records::rejection::{Reason, Refusal};
use records::unpack::Unpacker;
use uuid::Uuid;

use crate::config::Config;

/// What came of one event.
#[derive(Debug)]
pub struct Outcome {
    /// How many records the event has.
    pub records: usize,
    /// The records answered `ProcessingFailed`, in order.
    pub failures: Vec<Failure>,
    /// How many records were answered `Dropped`.
    pub dropped: usize,
    /// How many events are in the records answered `Ok`.
    pub events: usize,
    /// Size of the event in bytes.
    pub request_bytes: usize,
    /// Size of the response as JSON, in bytes.
    pub response_bytes: usize,
}

/// A record that was answered `ProcessingFailed`.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The record's place in the event, from 0.
    pub index: usize,
    /// Firehose's id of the record.
    pub record_id: String,
    /// Why.
    pub refusal: Refusal,
}

impl Outcome {
    /// How many records failed, by reason.
    pub fn failed_by_reason(&self) -> BTreeMap<Reason, usize> {
        let mut counts = BTreeMap::new();
        for failure in &self.failures {
            *counts.entry(failure.refusal.reason).or_default() += 1;
        }
        counts
    }

    /// Logs a line for the event, which took `duration`, and one for each of the first failures.
    pub fn log(&self, duration: Duration) {
        // Enough to see what is wrong, without a flood when a producer goes astray.
        const LOGGED_FAILURES: usize = 10;
        for Failure { index, record_id, refusal } in self.failures.iter().take(LOGGED_FAILURES) {
            let reason = refusal.reason;
            tracing::warn!(
                index,
                record_id,
                code = reason.code(),
                error = %refusal,
                remedy = reason.remedy(),
                "record failed"
            );
        }
        let failed_by_code: Vec<String> =
            self.failed_by_reason().into_iter().map(|(reason, count)| format!("{reason}={count}")).collect();
        tracing::info!(
            records = self.records,
            ok = self.records - self.failures.len() - self.dropped,
            events = self.events,
            dropped = self.dropped,
            failed = self.failures.len(),
            failed_by_code = failed_by_code.join(","),
            request_bytes = self.request_bytes,
            response_bytes = self.response_bytes,
            duration_ms = duration.as_millis() as u64,
            "event transformed"
        );
    }

    /// The metrics of the event.
    pub fn metrics(&self) -> Values {
        let failed = self.failures.len();
        let not_fitting = self.failed_by_reason().remove(&Reason::ResponseTooLarge).unwrap_or(0);
        vec![
            ("RecordsReceived", self.records.into()),
            ("RecordsOk", (self.records - failed - self.dropped).into()),
            ("RecordsDropped", self.dropped.into()),
            ("RecordsFailed", failed.into()),
            ("RecordsNotFitting", not_fitting.into()),
            ("EventsOk", self.events.into()),
            ("RequestBytes", self.request_bytes.into()),
            ("ResponseBytes", self.response_bytes.into()),
        ]
    }
}

/// Answers an event: `response` becomes the answer as JSON. `now_micros`, in microseconds since the Unix epoch, is the arrival
/// of records whose event tells none. The response stays under `max_response_bytes`, unless the bare refusal of all records
/// exceeds it already.
///
/// # Errors
/// An [`EventError`] if `event_json` is no transformation event; `response` is empty then.
pub fn handle(
    event_json: &str,
    now_micros: i64,
    config: &Config,
    response: &mut Vec<u8>,
) -> Result<Outcome, EventError> {
    response.clear();
    let event = Event::parse(event_json)?;
    let mut enricher = Enricher {
        event: &event,
        direct_put: DirectPut::to(event.delivery_stream()),
        now: Stamp::from_epoch_micros(now_micros).unwrap_or_default(),
        unpacker: Unpacker::new(config.max_response_bytes, &config.unpack),
        decoded: Vec::new(),
        enriched: Vec::new(),
    };

    // Room for every record's refusal is kept from the start; a record that succeeds takes the difference.
    let refusal_bytes = |record| ResponseWriter::bare_bytes(record, ProcessingResult::ProcessingFailed);
    let count = event.records.len();
    let mut response_bytes = ResponseWriter::bytes(count, event.records.iter().map(refusal_bytes).sum());
    let mut failures = Vec::new();
    let (mut dropped, mut events) = (0, 0);
    response.reserve(event_json.len() + count * ENRICHMENT_BYTES);
    let mut writer = ResponseWriter::new(response);
    for (index, record) in event.records.iter().enumerate() {
        let others_bytes = response_bytes - refusal_bytes(record);
        let result = enricher.enrich(record).and_then(|count| {
            if count == 0 {
                // A shorter answer than the refusal that room was kept for.
                response_bytes = others_bytes + ResponseWriter::bare_bytes(record, ProcessingResult::Dropped);
                writer.bare(record, ProcessingResult::Dropped);
                dropped += 1;
                return Ok(());
            }
            let metadata = config.destination.metadata(&enricher.enriched)?;
            let data_bytes = base64_simd::STANDARD.encoded_length(enricher.enriched.len());
            let grown_bytes = others_bytes + ResponseWriter::ok_bytes(record, data_bytes, &metadata);
            if grown_bytes >= config.max_response_bytes {
                return Err(Refusal::new(Reason::ResponseTooLarge, too_large(grown_bytes, config)));
            }
            response_bytes = grown_bytes;
            writer.ok(record, &metadata, |json| {
                json.reserve(data_bytes);
                base64_simd::STANDARD.encode_append(&enricher.enriched, json);
            });
            events += count;
            Ok(())
        });
        if let Err(refusal) = result {
            writer.bare(record, ProcessingResult::ProcessingFailed);
            failures.push(Failure { index, record_id: record.record_id().to_owned(), refusal });
        }
    }
    writer.finish();
    Ok(Outcome { records: count, failures, dropped, events, request_bytes: event_json.len(), response_bytes })
}

/// About what an answer has more than its record in the event, for the four fields in base64.
const ENRICHMENT_BYTES: usize = 256;

struct Enricher<'a> {
    event: &'a Event<'a>,
    direct_put: DirectPut,
    now: Stamp,
    unpacker: Unpacker,
    // Used again for every record.
    decoded: Vec<u8>,
    /// The events of the last record, a line each.
    enriched: Vec<u8>,
}

impl Enricher<'_> {
    /// Enriches the events of the record, and says how many they are; 0 if it holds none on purpose.
    fn enrich(&mut self, record: &Record<'_>) -> Result<usize, Refusal> {
        if record.is_tombstone() {
            return Ok(0);
        }
        let data =
            record.data_base64().ok_or_else(|| Refusal::new(Reason::Empty, "the record has no data"))?;
        self.decoded.clear();
        lambda::base64::decode(data, &mut self.decoded)
            .map_err(|error| Refusal::new(Reason::InvalidBase64, format!("not base64: {error}")))?;
        let stamp = record.arrival_micros().and_then(Stamp::from_epoch_micros).unwrap_or(self.now);
        self.enriched.clear();
        let id = record_id(self.event, &self.direct_put, record);
        self.unpacker.enrich(&self.decoded, id, &stamp, &mut self.enriched)
    }
}

/// The id of a record, by the best identity that the event offers.
fn record_id(event: &Event<'_>, direct_put: &DirectPut, record: &Record<'_>) -> Uuid {
    let delivery_stream = event.delivery_stream();
    match record.position() {
        Some(Position::Kinesis { shard_id, sequence_number, subsequence_number }) => Origin::Kinesis {
            stream: event.kinesis_stream().unwrap_or(delivery_stream),
            shard_id: &shard_id,
            sequence_number: &sequence_number,
            subsequence_number: &subsequence_number,
        }
        .record_id(),
        Some(Position::Msk { partition, offset }) => Origin::Msk {
            cluster: event.msk_cluster().unwrap_or_default(),
            delivery_stream,
            partition: &partition,
            offset: &offset,
        }
        .record_id(),
        None => direct_put.record_id(record.record_id()),
    }
}

fn too_large(grown_bytes: usize, config: &Config) -> String {
    let limit = config.max_response_bytes;
    format!("the response would have {grown_bytes} bytes with this record, expected less than {limit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use lambda::firehose::{RecordResponse, Response};
    use serde_json::{Value, json};
    use std::ops::Deref;

    const NOW_MICROS: i64 = 1_767_323_045_678_000;

    fn put(record_id: &str, data: &str) -> Value {
        json!({"recordId": record_id, "approximateArrivalTimestamp": 1_507_217_624_302_i64, "data": data})
    }

    fn event(records: Vec<Value>) -> String {
        json!({"invocationId": "i", "deliveryStreamArn": "arn:d", "region": "r", "records": records})
            .to_string()
    }

    struct Run {
        outcome: Outcome,
        response: Response,
    }

    impl Deref for Run {
        type Target = Outcome;

        fn deref(&self) -> &Outcome {
            &self.outcome
        }
    }

    fn run_at(event_json: &str, now_micros: i64, config: &Config) -> Run {
        let mut json = b"of another event".to_vec();
        let outcome = handle(event_json, now_micros, config, &mut json).unwrap();
        let response: Response = serde_json::from_slice(&json).unwrap();
        assert_eq!(serde_json::to_vec(&response).unwrap(), json);
        assert_eq!((outcome.response_bytes, outcome.records), (json.len(), response.records.len()));
        Run { outcome, response }
    }

    fn run(event_json: &str, config: &Config) -> Run {
        run_at(event_json, NOW_MICROS, config)
    }

    fn content(answer: &RecordResponse) -> String {
        String::from_utf8(STANDARD.decode(answer.data_base64().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn an_answer_says_where_firehose_is_to_deliver_the_record() {
        let environment = lambda::env::Environment::from_iter([("FRAZIL_PARTITION_KEYS", "kind")]);
        let config = Config::from_env(&environment).unwrap();
        let records = vec![
            put("r1", &STANDARD.encode(r#"{"kind":"a"} {"kind":"a"}"#)),
            put("r2", &STANDARD.encode(r#"{"kind":"a"} {"kind":"b"}"#)),
            put("r3", &STANDARD.encode(r#"{"other":1}"#)),
        ];
        let run = run(&event(records), &config);
        let metadata = |at: usize| run.response.records[at].metadata.as_ref().map(|json| json.get());
        assert_eq!([0, 1, 2].map(metadata), [Some(r#"{"partitionKeys":{"kind":"a"}}"#), None, None]);
        let failed: Vec<_> =
            run.failures.iter().map(|failure| (failure.index, failure.refusal.reason)).collect();
        assert_eq!(failed, [(1, Reason::NoDestination), (2, Reason::NoDestination)]);
    }

    #[test]
    fn every_record_is_answered_once_in_order() {
        let good = STANDARD.encode(r#"{"a":1}"#);
        let records = vec![
            put("r1", &good),
            put("r2", "not base64!"),
            put("r3", &STANDARD.encode("[1]")),
            put("r4", &good),
            put("r5", ""),
            put("r6", &STANDARD.encode(b"{\"a\":\"\xff\"}")),
            put("r7", &STANDARD.encode("{\"a\":")),
            json!({"recordId": "r8"}),
            put("r1", &good),
            put("r9", "eyJhIjoxfQ"),
        ];
        let outcome = run(&event(records), &Config::default());
        let ids: Vec<&str> =
            outcome.response.records.iter().map(|answer| answer.record_id.as_str()).collect();
        assert_eq!(ids, ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r1", "r9"]);
        let reasons: Vec<_> =
            outcome.failures.iter().map(|failure| (failure.index, failure.refusal.reason)).collect();
        assert_eq!(
            reasons,
            [
                (1, Reason::InvalidBase64),
                (2, Reason::NotAnObject),
                (4, Reason::Empty),
                (5, Reason::NotUtf8),
                (6, Reason::InvalidJson),
                (7, Reason::Empty),
                (9, Reason::InvalidBase64),
            ]
        );
        assert_eq!(outcome.failed_by_reason()[&Reason::InvalidBase64], 2);
        for (index, answer) in outcome.response.records.iter().enumerate() {
            let failed = outcome.failures.iter().any(|failure| failure.index == index);
            let expected = if failed { ProcessingResult::ProcessingFailed } else { ProcessingResult::Ok };
            assert_eq!((answer.result, answer.data.is_some()), (expected, !failed));
        }
    }

    #[test]
    fn an_enriched_record_and_its_retry() {
        let event = event(vec![put("r1", &STANDARD.encode(r#"{"n": 1.0e2}"#))]);
        let first = run(&event, &Config::default());
        let id = Origin::DirectPut { delivery_stream: "arn:d", record_id: "r1" }.record_id();
        assert_eq!(
            content(&first.response.records[0]),
            format!(
                "{{\"n\": 1.0e2,\"record_id\":\"{id}\",\
                 \"ingestion_timestamp\":\"2017-10-05T15:33:44.302000Z\",\
                 \"partition_date\":\"2017-10-05\",\"partition_hour\":\"15\"}}\n"
            )
        );
        let retry = run_at(&event, NOW_MICROS + 60_000_000, &Config::default());
        assert_eq!(content(&retry.response.records[0]), content(&first.response.records[0]));
    }

    #[test]
    fn headers_of_schema_registries_come_off() {
        let framed = |content: &[u8]| STANDARD.encode([&[0, 0, 0, 0, 7], content].concat());
        let records = vec![put("r", &framed(br#"{"a":1}"#)), put("r", &framed(b"\x02\x08"))];
        let run = run(&event(records), &Config::default());
        assert!(content(&run.response.records[0]).starts_with(r#"{"a":1,"record_id":"#));
        let reasons: Vec<_> = run.failures.iter().map(|it| (it.index, it.refusal.reason)).collect();
        assert_eq!(reasons, [(1, Reason::RegistryFormat)]);
    }

    #[test]
    fn the_clock_counts_only_where_the_event_has_no_time() {
        let record = json!({"recordId": "r1", "data": STANDARD.encode("{}")});
        let outcome = run(&event(vec![record]), &Config::default());
        assert!(content(&outcome.response.records[0]).contains("2026-01-02T03:04:05.678000Z"));
    }

    #[test]
    fn kinesis_and_msk_records_are_identified_by_their_position() {
        let data = STANDARD.encode("{}");
        let kinesis = json!({"deliveryStreamArn": "arn:d", "sourceKinesisStreamArn": "arn:k", "records": [
            {"recordId": "any", "data": data, "kinesisRecordMetadata":
                {"shardId": "shardId-0", "sequenceNumber": "495", "subsequenceNumber": 7}}]});
        let id = Origin::Kinesis {
            stream: "arn:k",
            shard_id: "shardId-0",
            sequence_number: "495",
            subsequence_number: "7",
        }
        .record_id();
        let outcome = run(&kinesis.to_string(), &Config::default());
        assert!(content(&outcome.response.records[0]).contains(&id.to_string()));

        let msk = json!({"deliveryStreamArn": "arn:d", "sourceMSKArn": "arn:m", "records": [
            {"recordId": "any", "kafkaRecordValue": data,
                "mskRecordMetadata": {"partitionId": "3", "offset": "42"}}]});
        let id = Origin::Msk { cluster: "arn:m", delivery_stream: "arn:d", partition: "3", offset: "42" }
            .record_id();
        let outcome = run(&msk.to_string(), &Config::default());
        let answer = &outcome.response.records[0];
        assert!(content(answer).contains(&id.to_string()));
        assert!(answer.data.is_none() && answer.kafka_record_value.is_some());
    }

    #[test]
    fn the_response_stays_under_the_limit() {
        let small = STANDARD.encode("{}");
        let large = STANDARD.encode(format!("{{\"a\":\"{}\"}}", "x".repeat(1000)));
        let event = event(vec![put("r1", &small), put("r2\"", &large), put("r3", &small)]);
        let whole = run(&event, &Config::default());
        assert!(whole.failures.is_empty());

        let short_of = |max_response_bytes| Config { max_response_bytes, ..Config::default() };
        assert!(run(&event, &short_of(whole.response_bytes + 1)).failures.is_empty());

        let short = short_of(whole.response_bytes);
        let outcome = run(&event, &short);
        assert!(outcome.response_bytes < short.max_response_bytes);
        let failed: Vec<_> =
            outcome.failures.iter().map(|failure| (failure.index, failure.refusal.reason)).collect();
        assert_eq!(failed, [(2, Reason::ResponseTooLarge)]);

        // A record that does not fit leaves room for smaller ones behind it.
        let outcome = run(&event, &short_of(whole.response_bytes - large.len()));
        let failed: Vec<_> = outcome.failures.iter().map(|failure| failure.index).collect();
        assert_eq!(failed, [1]);

        let outcome = run(&event, &Config { max_response_bytes: 1, ..Config::default() });
        assert_eq!(outcome.failures.len(), 3);
    }

    #[test]
    fn a_record_of_several_events_becomes_a_line_for_each_with_ids_that_stay() {
        let text = "{\"svc\":\"edge\",\"n\":1}\n{\"svc\":\"edge\",\"n\":2}\n";
        let event = event(vec![put("r1", &STANDARD.encode(text)), put("r2", &STANDARD.encode("[{},{}]"))]);
        let outcome = run(&event, &Config::default());
        assert_eq!((outcome.events, outcome.dropped, outcome.failures.len()), (4, 0, 0));
        let first = content(&outcome.response.records[0]);
        let id = Origin::DirectPut { delivery_stream: "arn:d", record_id: "r1" }.record_id();
        let lines: Vec<&str> = first.lines().collect();
        assert!(lines.len() == 2 && lines[0].contains(&id.to_string()), "{first}");
        assert!(lines[1].contains(&records::unpack::event_id(id, 1).to_string()), "{first}");
        assert!(!lines[1].contains(&id.to_string()), "{first}");
        let retry = run_at(&event, NOW_MICROS + 1, &Config::default());
        assert_eq!(content(&retry.response.records[0]), first);
        // What several events grow by counts, too.
        let short = run(&event, &Config { max_response_bytes: outcome.response_bytes, ..Config::default() });
        assert_eq!(short.failures[0].refusal.reason, Reason::ResponseTooLarge);
    }

    #[test]
    fn what_holds_no_event_on_purpose_is_dropped_and_counted() {
        let control = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"",
            "subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"reachable?"}]}"#;
        let metadata = json!({"partitionId": "0", "offset": "1"});
        let records = vec![
            put("r1", &STANDARD.encode(control)),
            json!({"recordId": "r2", "kafkaRecordValue": null, "mskRecordMetadata": metadata}),
            json!({"recordId": "r3", "kafkaRecordValue": "", "mskRecordMetadata": metadata}),
            json!({"recordId": "r4"}),
        ];
        let outcome = run(&event(records), &Config::default());
        let results: Vec<_> = outcome.response.records.iter().map(|answer| answer.result).collect();
        use ProcessingResult::{Dropped, ProcessingFailed};
        assert_eq!(results, [Dropped, Dropped, Dropped, ProcessingFailed]);
        assert_eq!((outcome.events, outcome.dropped, outcome.failures.len()), (0, 3, 1));
        let metric = |name| outcome.metrics().into_iter().find(|(it, _)| *it == name).unwrap().1;
        assert_eq!([metric("RecordsOk"), metric("RecordsDropped"), metric("RecordsFailed")], [0, 3, 1]);
        let names = outcome.metrics().len();
        assert_eq!(names, lambda::metrics::METRICS.iter().filter(|it| it.function == "transform").count());
    }

    #[test]
    fn the_response_counts_what_renaming_adds() {
        let own = r#"{"record_id":"1","ingestion_timestamp":"2","partition_date":"3","partition_hour":"4"}"#;
        let event = event(vec![put("r1", &STANDARD.encode(own)), put("r2", &STANDARD.encode(own))]);
        let whole = run(&event, &Config::default());
        assert!(content(&whole.response.records[0]).starts_with(r#"{"producer_record_id":"1","producer_i"#));
        let outcome = run(&event, &Config { max_response_bytes: whole.response_bytes, ..Config::default() });
        assert!(outcome.response_bytes < whole.response_bytes);
        let failed: Vec<_> = outcome.failures.iter().map(|failure| failure.index).collect();
        assert_eq!(failed, [1]);
    }

    #[test]
    fn an_event_without_records_and_one_of_another_kind() {
        let outcome = run(&event(vec![]), &Config::default());
        assert_eq!(serde_json::to_string(&outcome.response).unwrap(), r#"{"records":[]}"#);
        let mut response = b"of another event".to_vec();
        let error = handle(r#"{"Records":[]}"#, NOW_MICROS, &Config::default(), &mut response).unwrap_err();
        assert!(response.is_empty());
        assert_eq!(
            error.to_string(),
            "not a Firehose transformation event: no \"records\" array (found keys: Records)"
        );
    }
}

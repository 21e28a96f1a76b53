//! Amazon Data Firehose's transformation events (AWS: "Transform source data in Amazon Data Firehose", "Data
//! transformation and status model").
//!
//! In: the event's JSON. Out: borrowed records, whichever the source of the stream is (direct put, Kinesis
//! data stream, Amazon MSK), and the answer. Refused: what is no such event, with what is
//! missing. Lenient where AWS and its published samples vary: numbers written as strings, absent time stamps,
//! misspelled ARNs.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

pub use self::response::{ProcessingResult, RecordResponse, Response, ResponseWriter};
use crate::json::{self, Text};

mod plain;
mod response;

/// Why a JSON text is no Firehose transformation event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// There is no array of records.
    #[error("not a Firehose transformation event: no \"records\" array ({found})")]
    NoRecords {
        /// What there is instead.
        found: String,
    },
    /// It is no text.
    #[error("not a Firehose transformation event: not UTF-8 at byte {at}")]
    NotUtf8 {
        /// The first byte that does not fit.
        at: usize,
    },
    /// It is no JSON, or a member misses or has another type than Firehose gives it.
    #[error("not a Firehose transformation event: {}", json::in_words(.0))]
    Malformed(serde_json::Error),
}

/// A transformation event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    #[serde(borrow, alias = "deliveryStreamARN", alias = "deliverystreamArn", alias = "deliveryStreamarn")]
    delivery_stream_arn: Option<Text<'a>>,
    #[serde(borrow, alias = "sourceKinesisStreamARN")]
    source_kinesis_stream_arn: Option<Text<'a>>,
    #[serde(borrow, rename = "sourceMSKArn", alias = "sourceMskArn", alias = "sourceMSKARN")]
    source_msk_arn: Option<Text<'a>>,
    /// The records, in order.
    #[serde(borrow)]
    pub records: Vec<Record<'a>>,
}

/// The text of an invocation.
///
/// # Errors
/// [`EventError::NotUtf8`].
pub fn text(body: &[u8]) -> Result<&str, EventError> {
    simdutf8::compat::from_utf8(body).map_err(|error| EventError::NotUtf8 { at: error.valid_up_to() })
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// An [`EventError`] that names what is missing.
    pub fn parse(json: &'a str) -> Result<Self, EventError> {
        if let Some(event) = plain::read(json) {
            return Ok(event);
        }
        serde_json::from_str(json).map_err(|error| {
            if error.is_syntax() || error.is_eof() {
                return EventError::Malformed(error);
            }
            let records = json::members(json).and_then(|members| members.get("records").copied());
            match records {
                Some(records) if records.get().starts_with('[') => EventError::Malformed(error),
                _ => EventError::NoRecords { found: json::found(json) },
            }
        })
    }

    /// ARN of the delivery stream, empty if the event does not tell.
    pub fn delivery_stream(&self) -> &str {
        self.delivery_stream_arn.as_deref().unwrap_or_default()
    }

    /// ARN of the Kinesis data stream that the delivery stream reads, if it reads one.
    pub fn kinesis_stream(&self) -> Option<&str> {
        self.source_kinesis_stream_arn.as_deref()
    }

    /// ARN of the MSK cluster that the delivery stream reads, if it reads one.
    pub fn msk_cluster(&self) -> Option<&str> {
        self.source_msk_arn.as_deref()
    }
}

/// One record of an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    #[serde(borrow)]
    record_id: Text<'a>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    kafka_record_value: Option<Text<'a>>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<Millis<'a>>,
    #[serde(borrow)]
    kinesis_record_metadata: Option<Box<KinesisMetadata<'a>>>,
    #[serde(borrow)]
    msk_record_metadata: Option<Box<MskMetadata<'a>>>,
}

/// A time in milliseconds since the Unix epoch.
#[derive(Debug)]
enum Millis<'a> {
    Whole(i64),
    /// As a number or a string, whole or fractional.
    Written(&'a RawValue),
}

impl<'de: 'a, 'a> Deserialize<'de> for Millis<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self::Written)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisMetadata<'a> {
    #[serde(borrow)]
    shard_id: Option<Text<'a>>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    subsequence_number: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MskMetadata<'a> {
    #[serde(borrow)]
    partition_id: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
    #[serde(borrow)]
    approximate_arrival_timestamp: Option<&'a RawValue>,
}

/// A record's place in the stream that Firehose reads it from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// In a Kinesis data stream.
    Kinesis {
        /// `shardId`.
        shard_id: String,
        /// `sequenceNumber`.
        sequence_number: String,
        /// `subsequenceNumber`, empty if there is none.
        subsequence_number: String,
    },
    /// In a Kafka topic.
    Msk {
        /// `partitionId`.
        partition: String,
        /// `offset`.
        offset: String,
    },
}

impl Record<'_> {
    /// Firehose's id of the record, to be repeated in the answer.
    pub fn record_id(&self) -> &str {
        &self.record_id
    }

    /// The record's bytes in base64: `data`, or `kafkaRecordValue` if the source is MSK. `None` if there are
    /// none, as in a Kafka record without a value.
    pub fn data_base64(&self) -> Option<&str> {
        self.data.as_deref().or(self.kafka_record_value.as_deref())
    }

    /// When the record arrived, in microseconds since the Unix epoch: its own `approximateArrivalTimestamp`
    /// or the one in its metadata. AWS gives milliseconds, whole or fractional, as a number or a string.
    pub fn arrival_micros(&self) -> Option<i64> {
        let own = match &self.approximate_arrival_timestamp {
            Some(Millis::Whole(millis)) => millis.checked_mul(1000),
            Some(Millis::Written(millis)) => epoch_micros(millis),
            None => None,
        };
        if own.is_some() {
            return own;
        }
        let kinesis = self.kinesis_record_metadata.as_ref().and_then(|it| it.approximate_arrival_timestamp);
        let msk = self.msk_record_metadata.as_ref().and_then(|it| it.approximate_arrival_timestamp);
        [kinesis, msk].into_iter().flatten().find_map(epoch_micros)
    }

    /// The record's place in the source stream, `None` for direct put.
    pub fn position(&self) -> Option<Position> {
        let content = |value: &RawValue| json::content(value).into_owned();
        if let Some(metadata) = &self.kinesis_record_metadata {
            return Some(Position::Kinesis {
                shard_id: metadata.shard_id.as_deref()?.to_owned(),
                sequence_number: content(metadata.sequence_number?),
                subsequence_number: metadata.subsequence_number.map(content).unwrap_or_default(),
            });
        }
        let metadata = self.msk_record_metadata.as_ref()?;
        Some(Position::Msk { partition: content(metadata.partition_id?), offset: content(metadata.offset?) })
    }

    /// Whether it is a Kafka record that has no value on purpose: a tombstone, which marks a key as deleted. Where a client
    /// writes an empty value for it, that holds as little.
    pub fn is_tombstone(&self) -> bool {
        self.msk_record_metadata.is_some() && self.data_base64().is_none_or(str::is_empty)
    }
}

fn epoch_micros(millis: &RawValue) -> Option<i64> {
    let millis = json::content(millis);
    let millis = millis.trim();
    if let Ok(millis) = millis.parse::<i64>() {
        return millis.checked_mul(1000);
    }
    let micros = millis.parse::<f64>().ok()? * 1000.0;
    // Within this range, which ends in the year 2255, every whole number is exact.
    let exact = -9_007_199_254_740_992.0..=9_007_199_254_740_992.0;
    exact.contains(&micros).then(|| micros.round() as i64)
}

/// One line of an object under the error prefix `processing-failed/` (AWS: "Handle data transformation
/// failures in Amazon Data Firehose").
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessingFailedLine<'a> {
    /// How often the function was invoked with this record.
    pub attempts_made: u32,
    /// Arrival, in milliseconds since the Unix epoch.
    pub arrival_timestamp: i64,
    /// Firehose's error code.
    pub error_code: &'a str,
    /// The error in words.
    pub error_message: &'a str,
    /// The last attempt's end, in milliseconds since the Unix epoch.
    pub attempt_ending_timestamp: i64,
    /// The record as it came, in base64.
    pub raw_data: &'a str,
    /// ARN of the function.
    pub lambda_arn: &'a str,
}

/// Whether a JSON text is a transformation event: an object with an array of `records` that all have a
/// `recordId`. Reads the text once and keeps nothing of it.
pub fn is_event(json: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        invocation_id: Option<IgnoredAny>,
        records: Vec<ProbedRecord>,
    }
    #[derive(Deserialize)]
    struct ProbedRecord {
        #[serde(rename = "recordId")]
        _record_id: IgnoredAny,
    }
    serde_json::from_str::<Probe>(json)
        .is_ok_and(|probe| !probe.records.is_empty() || probe.invocation_id.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record<'_> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn direct_put() {
        let json = r#"{"invocationId":"i","deliveryStreamArn":"arn:d","region":"eu-west-1","records":[
            {"recordId":"1","approximateArrivalTimestamp":1507217624302,"data":"SGk="}]}"#;
        let event = Event::parse(json).unwrap();
        assert_eq!(
            (event.delivery_stream(), event.kinesis_stream(), event.msk_cluster()),
            ("arn:d", None, None)
        );
        let record = &event.records[0];
        assert!(matches!(&record.data, Some(Text(std::borrow::Cow::Borrowed(_)))));
        assert_eq!((record.record_id(), record.data_base64()), ("1", Some("SGk=")));
        assert_eq!(record.arrival_micros(), Some(1_507_217_624_302_000));
        assert_eq!(record.position(), None);
    }

    #[test]
    fn kinesis_source() {
        let json = r#"{"invocationId":"i","deliveryStreamArn":"arn:d","sourceKinesisStreamArn":"arn:k",
            "region":"r","records":[{"data":"SGk=","recordId":"1","approximateArrivalTimestamp":1507217624302,
            "kinesisRecordMetadata":{"shardId":"shardId-0","partitionKey":"p","sequenceNumber":"495",
            "subsequenceNumber":"7","approximateArrivalTimestamp":1507217624302}}]}"#;
        let event = Event::parse(json).unwrap();
        assert_eq!(event.kinesis_stream(), Some("arn:k"));
        let position = |subsequence_number: &str| Position::Kinesis {
            shard_id: "shardId-0".into(),
            sequence_number: "495".into(),
            subsequence_number: subsequence_number.into(),
        };
        assert_eq!(event.records[0].position(), Some(position("7")));
        for (written, expected) in [("7", "7"), ("0", "0"), ("\"\"", ""), ("null", "")] {
            let json =
                json.replace(r#""subsequenceNumber":"7""#, &format!(r#""subsequenceNumber":{written}"#));
            assert_eq!(
                Event::parse(&json).unwrap().records[0].position(),
                Some(position(expected)),
                "{written}"
            );
        }
    }

    #[test]
    fn msk_source() {
        let json = r#"{"invocationId":"i","sourceMSKArn":"arn:m","deliveryStreamArn":"arn:d","region":"r",
            "records":[{"recordId":"1","approximateArrivalTimestamp":1507217624302,
            "mskRecordMetadata":{"offset":"42","partitionId":"3",
            "approximateArrivalTimestamp":"1507217624302"},
            "kafkaRecordValue":"SGk="},{"recordId":"2","kafkaRecordValue":null}]}"#;
        let event = Event::parse(json).unwrap();
        assert_eq!(event.msk_cluster(), Some("arn:m"));
        let record = &event.records[0];
        assert_eq!(record.data_base64(), Some("SGk="));
        assert_eq!(record.position(), Some(Position::Msk { partition: "3".into(), offset: "42".into() }));
        assert_eq!(event.records[1].data_base64(), None);
    }

    #[test]
    fn arrival_is_read_in_every_spelling_and_place() {
        let arrival = |members: &str| record(&format!(r#"{{"recordId":"1"{members}}}"#)).arrival_micros();
        let own = |value: &str| arrival(&format!(r#","approximateArrivalTimestamp":{value}"#));
        assert_eq!(own("1507217624302"), Some(1_507_217_624_302_000));
        assert_eq!(own("\"1507217624302\""), Some(1_507_217_624_302_000));
        assert_eq!(own("1507217624302.125"), Some(1_507_217_624_302_125));
        assert_eq!(own("1.507217624302E12"), Some(1_507_217_624_302_000));
        for unusable in ["null", "\"\"", "\"soon\"", "{}", "1e300", "9223372036854775807", "\"NaN\""] {
            assert_eq!(own(unusable), None, "{unusable}");
        }
        assert_eq!(arrival(""), None);
        let kinesis = r#","kinesisRecordMetadata":{"approximateArrivalTimestamp":5}"#;
        assert_eq!(arrival(kinesis), Some(5000));
        assert_eq!(arrival(&format!(r#"{kinesis},"approximateArrivalTimestamp":null"#)), Some(5000));
        assert_eq!(arrival(r#","mskRecordMetadata":{"approximateArrivalTimestamp":"6"}"#), Some(6000));
    }

    #[test]
    fn the_streams_arn_may_be_misspelled_or_absent() {
        for (key, expected) in [
            ("deliveryStreamArn", "d"),
            ("deliveryStreamARN", "d"),
            ("deliverystreamArn", "d"),
            ("other", ""),
        ] {
            let json = format!(r#"{{"{key}":"d","records":[]}}"#);
            assert_eq!(Event::parse(&json).unwrap().delivery_stream(), expected);
        }
    }

    #[test]
    fn escapes_in_strings_are_decoded() {
        let json = r#"{"recordId":"\u0061","data":"\/w=="}"#;
        assert_eq!((record(json).record_id(), record(json).data_base64()), ("a", Some("/w==")));
    }

    #[test]
    fn other_events_are_refused_with_what_is_missing() {
        for (json, expected) in [
            (r#"{"Records":[],"b":1}"#, "no \"records\" array (found keys: Records, b)"),
            (r#"{"records":{}}"#, "no \"records\" array (found keys: records)"),
            (r#"{"records":7}"#, "no \"records\" array (found keys: records)"),
            ("{}", "no \"records\" array (found an empty object)"),
            ("[1]", "no \"records\" array (found an array)"),
            ("null", "no \"records\" array (found no object)"),
            ("{\"records\":[}", "expected value at line 1 column 13"),
            ("{\"records\":[", "EOF while parsing a list at line 1 column 12"),
            ("", "EOF while parsing a value at line 1 column 0"),
            (r#"{"records":[{"data":""}]}"#, "missing field `recordId` at line 1 column 23"),
            (
                r#"{"records":[{"recordId":"1","data":5}]}"#,
                "invalid type: integer `5`, expected a string at line 1 column 36",
            ),
        ] {
            let message = Event::parse(json).unwrap_err().to_string();
            assert_eq!(message, format!("not a Firehose transformation event: {expected}"));
        }
    }

    #[test]
    fn events_are_told_from_data() {
        assert!(is_event(r#" {"records":[{"recordId":"1","data":""}]} "#));
        assert!(is_event(r#"{"invocationId":"1","records":[]}"#));
        for data in
            [r#"{"records":[]}"#, r#"{"records":[{"id":1}]}"#, r#"{"a":1}"#, "[]", "", "{\"a\":1}\n{\"a\":2}"]
        {
            assert!(!is_event(data), "{data}");
        }
    }

    #[test]
    fn a_failed_record_is_written_as_firehose_writes_it() {
        let line = ProcessingFailedLine {
            attempts_made: 1,
            arrival_timestamp: 1_507_217_624_302,
            error_code: "Lambda.FunctionError",
            error_message: "m",
            attempt_ending_timestamp: 1_507_217_624_999,
            raw_data: "SGk=",
            lambda_arn: "arn:l",
        };
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            concat!(
                r#"{"attemptsMade":1,"arrivalTimestamp":1507217624302,"errorCode":"Lambda.FunctionError","#,
                r#""errorMessage":"m","attemptEndingTimestamp":1507217624999,"rawData":"SGk=","#,
                r#""lambdaArn":"arn:l"}"#
            )
        );
    }
}

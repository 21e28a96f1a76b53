//! Batches of Kafka records that an event source mapping gave up (AWS: "Capturing discarded batches for Amazon MSK and
//! self-managed Apache Kafka event sources", "Using a Kafka topic as an on-failure destination").
//!
//! In: what lies at the mapping's on-failure destination. Out: the event that the function was to have, if it is there:
//! objects in S3 hold it as text, records of a failure topic as an object, messages in SQS and SNS not at all. Refused: any
//! other JSON, which is data.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json::{self, Text};

/// A batch that was given up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedBatch<'a> {
    #[serde(borrow)]
    request_context: Context<'a>,
    #[serde(borrow, rename = "KafkaBatchInfo")]
    batch: Batch<'a>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow)]
    condition: Text<'a>,
    #[serde(rename = "functionArn")]
    _function_arn: IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    batch_size: u64,
    #[serde(borrow)]
    event_source_arn: Option<Text<'a>>,
    #[serde(borrow, default)]
    records_info: BTreeMap<Text<'a>, Range<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Range<'a> {
    #[serde(borrow)]
    first_record_offset: &'a RawValue,
    #[serde(borrow)]
    last_record_offset: &'a RawValue,
}

impl<'a> FailedBatch<'a> {
    /// The batch that `json` is about; None if it is anything else.
    pub fn parse(json: &'a str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// The event that the function was to have; None if only what is said of it is there.
    pub fn event(&self) -> Option<Cow<'a, str>> {
        self.payload.filter(|payload| payload.get() != "null").map(json::content)
    }
}

/// Which records these are, for people.
impl fmt::Display for FailedBatch<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = &self.batch;
        let records = if batch.batch_size == 1 { "record" } else { "records" };
        write!(
            formatter,
            "{} {records} that Lambda gave up ({})",
            batch.batch_size, &*self.request_context.condition
        )?;
        if let Some(arn) = &batch.event_source_arn {
            write!(formatter, " of {}", &**arn)?;
        }
        for (at, (group, range)) in batch.records_info.iter().enumerate() {
            formatter.write_str(if at == 0 { ": " } else { "; " })?;
            // The number of the partition has no hyphen.
            match group.rsplit_once('-') {
                Some((topic, partition)) => write!(formatter, "topic {topic}, partition {partition}, ")?,
                None => write!(formatter, "{}, ", &**group)?,
            }
            let (first, last) =
                (json::content(range.first_record_offset), json::content(range.last_record_offset));
            write!(formatter, "offsets {first} to {last}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = r#""requestContext": {"requestId": "r", "functionArn": "arn:f", "condition": "RetryAttemptsExhausted",
        "approximateInvokeCount": 11}, "responseContext": null, "version": "1.0""#;

    fn envelope(info: &str, payload: &str) -> String {
        format!(
            r#"{{{CONTEXT}, "KafkaBatchInfo": {{"batchSize": 5, "eventSourceArn": "arn:c", {info}}}{payload}}}"#
        )
    }

    const RANGES: &str = r#""recordsInfo": {"a-1-0": {"firstRecordOffset": "40", "lastRecordOffset": "44",
        "firstRecordTimestamp": "t", "lastRecordTimestamp": "t"}}"#;

    #[test]
    fn the_event_is_text_or_an_object_or_not_there() {
        let one = r#""recordInfo": {"offset": "31"}"#;
        for (json, event) in [
            (
                envelope(RANGES, r#", "payload": "{\"records\":{\"t\":\"\\n\"}}""#),
                Some(r#"{"records":{"t":"\n"}}"#),
            ),
            (envelope(one, r#", "payload": {"records": {}}"#), Some(r#"{"records": {}}"#)),
            (envelope(RANGES, ""), None),
            (envelope(RANGES, r#", "payload": null"#), None),
        ] {
            assert_eq!(FailedBatch::parse(&json).unwrap().event().as_deref(), event);
        }
    }

    #[test]
    fn a_batch_without_its_event_says_which_records_it_had() {
        let json = envelope(RANGES, "");
        let said = FailedBatch::parse(&json).unwrap().to_string();
        let expected = "5 records that Lambda gave up (RetryAttemptsExhausted) of arn:c: topic a-1, partition 0, offsets 40 to 44";
        assert_eq!(said, expected);
    }

    #[test]
    fn anything_else_is_data() {
        for json in [
            "{}",
            r#"{"KafkaBatchInfo": {"batchSize": 1}, "payload": {}}"#,
            r#"{"requestContext": {"condition": "x", "functionArn": "f"}, "payload": "{}"}"#,
            "[]",
            "text",
        ] {
            assert!(FailedBatch::parse(json).is_none(), "{json}");
        }
    }
}

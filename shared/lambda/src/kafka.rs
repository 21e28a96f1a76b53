//! Events of Lambda's event source mappings for Kafka, of Amazon MSK and of self-managed clusters (AWS: "Using Lambda with
//! Amazon MSK", "Using Lambda with self-managed Apache Kafka", and "Configuring error handling controls for Kafka event
//! sources" for the answer).
//!
//! In: the event's JSON. Out: borrowed records with their places in Kafka, and the answer that names records to be
//! delivered again. Refused: what is no such event, and records without a place, with what is missing. Lenient where the
//! samples of AWS vary: keys, values and headers that are null or not there, numbers written as strings, bytes of headers
//! from -128 to 255. A key or value that is JSON and no string stands for its text.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::DecodeError;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::json::{self, Text};

/// The last millisecond that RFC 3339 can spell.
const LAST_MS: i64 = 253_402_300_799_999;

/// Why a JSON text is no event of a Kafka event source.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// There is no object of records.
    #[error("not an event of a Kafka event source: no \"records\" object ({found})")]
    NoRecords {
        /// What there is instead.
        found: String,
    },
    /// A member misses or has another type than Lambda gives it.
    #[error("not an event of a Kafka event source: {}", json::in_words(.0))]
    Malformed(serde_json::Error),
    /// It is of another service.
    #[error(
        "not an event of a Kafka event source: its eventSource is {found:?}, expected aws:kafka or SelfManagedKafka"
    )]
    OtherSource {
        /// Which one.
        found: String,
    },
}

/// An event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    #[serde(borrow)]
    event_source: Option<Text<'a>>,
    #[serde(borrow)]
    event_source_arn: Option<Text<'a>>,
    #[serde(borrow)]
    bootstrap_servers: Option<Text<'a>>,
    #[serde(borrow)]
    records: Members<'a, Vec<Record<'a>>>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// An [`EventError`] that names what is missing.
    pub fn parse(json: &'a str) -> Result<Self, EventError> {
        let event: Self = serde_json::from_str(json).map_err(|error| {
            let records = json::members(json).and_then(|members| members.get("records").copied());
            match records {
                Some(records) if records.get().starts_with('{') => EventError::Malformed(error),
                _ => EventError::NoRecords { found: json::found(json) },
            }
        })?;
        match event.event_source.as_deref().filter(|source| !source.to_ascii_lowercase().contains("kafka")) {
            Some(other) => Err(EventError::OtherSource { found: other.to_owned() }),
            None => Ok(event),
        }
    }

    /// ARN of the cluster, or of the VPC connection to it. Events of self-managed clusters have none.
    pub fn source_arn(&self) -> Option<&str> {
        self.event_source_arn.as_deref().filter(|arn| !arn.is_empty())
    }

    /// The cluster's addresses, parted by commas.
    pub fn bootstrap_servers(&self) -> Option<&str> {
        self.bootstrap_servers.as_deref().filter(|servers| !servers.is_empty())
    }

    /// The records in the order of the event, each with the name of its group. A group is a partition of a topic; its
    /// name cannot be taken apart, since a topic's name may end like one.
    pub fn records(&self) -> impl Iterator<Item = (&str, &Record<'a>)> {
        self.records.0.iter().flat_map(|(group, records)| records.iter().map(|record| (&**group, record)))
    }
}

/// One record of an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record<'a> {
    #[serde(borrow)]
    topic: Text<'a>,
    #[serde(deserialize_with = "number")]
    partition: i32,
    #[serde(deserialize_with = "number")]
    offset: i64,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    value_schema_metadata: Option<SchemaMetadata<'a>>,
}

/// What a mapping with a schema registry says of a value. It has taken the registry's header off.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaMetadata<'a> {
    #[serde(borrow)]
    schema_id: Option<&'a RawValue>,
}

/// A key or value that is no base64.
#[derive(Debug)]
pub struct NotBase64 {
    /// What it is.
    pub text: String,
    /// What is wrong with it.
    pub error: DecodeError,
}

/// A header of a record: its name, and its bytes or null.
pub type Header<'a> = (Cow<'a, str>, Option<Vec<u8>>);

impl<'a> Record<'a> {
    /// The topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The partition of the topic.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The record's place in the partition.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// When the producer made the record, or the broker wrote it, in milliseconds since 1970. None where the record has no
    /// time, which Kafka writes as -1, or one beyond the year 9999, as of producers that count microseconds.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let text = json::content(self.timestamp?);
        text.trim().parse().ok().filter(|millis| (0..=LAST_MS).contains(millis))
    }

    /// The key. None if the record has none; one of no bytes is empty.
    ///
    /// # Errors
    /// It is no base64.
    pub fn key(&self) -> Result<Option<Vec<u8>>, NotBase64> {
        self.key.map(bytes).transpose()
    }

    /// The value. None if the record has none: a tombstone, which marks its key as deleted.
    ///
    /// # Errors
    /// It is no base64.
    pub fn value(&self) -> Result<Option<Vec<u8>>, NotBase64> {
        self.value.map(bytes).transpose()
    }

    /// The id of the value's schema, where the mapping has a schema registry and has taken its header off.
    pub fn schema_id(&self) -> Option<Cow<'a, str>> {
        self.value_schema_metadata.as_ref()?.schema_id.map(json::content)
    }

    /// The headers in their order, names that repeat included; none where they are null, absent or empty.
    ///
    /// # Errors
    /// They are no list of objects with bytes: what is wrong.
    pub fn headers(&self) -> Result<Vec<Header<'a>>, String> {
        let Some(headers) = self.headers else { return Ok(Vec::new()) };
        let parsed: Option<Vec<Members<'a, Option<Vec<i16>>>>> =
            serde_json::from_str(headers.get()).map_err(|error| json::in_words(&error))?;
        let members = parsed.unwrap_or_default().into_iter().flat_map(|members| members.0);
        let header = |(name, value): (Text<'a>, Option<Vec<i16>>)| {
            let byte = |number: i16| match i8::try_from(number) {
                Ok(signed) => Ok(signed.cast_unsigned()),
                Err(_) => {
                    u8::try_from(number).map_err(|_| format!("{number} in a header's value is no byte"))
                }
            };
            let value = value.map(|value| value.into_iter().map(byte).collect::<Result<Vec<u8>, _>>());
            Ok((name.0, value.transpose()?))
        };
        members.map(header).collect()
    }
}

/// The bytes that a key or value stands for. AWS writes base64; of JSON that is no string the text itself is taken.
fn bytes(value: &RawValue) -> Result<Vec<u8>, NotBase64> {
    if !value.get().starts_with('"') {
        return Ok(value.get().as_bytes().to_vec());
    }
    let text = json::content(value);
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    match crate::base64::decode(&text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(NotBase64 { text: text.into_owned(), error }),
    }
}

/// The members of an object in their order.
#[derive(Debug)]
struct Members<'a, T>(Vec<(Text<'a>, T)>);

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Members<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<'a, T>(std::marker::PhantomData<(&'a (), T)>);

        impl<'de: 'a, 'a, T: Deserialize<'de>> Visitor<'de> for Collect<'a, T> {
            type Value = Members<'a, T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect(std::marker::PhantomData))
    }
}

/// A whole number that is not negative, or the text of one.
fn number<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr + PartialOrd + Default,
{
    let text = json::content(<&RawValue>::deserialize(deserializer)?);
    let number = text.trim().parse().ok().filter(|number| *number >= T::default());
    number.ok_or_else(|| serde::de::Error::custom("expected a whole number that is not negative"))
}

/// The answer to a mapping with `ReportBatchItemFailures`: the records that are to be delivered again.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: ItemIdentifier,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ItemIdentifier {
    partition: String,
    offset: i64,
}

impl BatchResponse {
    /// Names records by their groups and offsets, each once.
    pub fn of<'a>(failed: impl IntoIterator<Item = (&'a str, i64)>) -> Self {
        let identifiers = failed
            .into_iter()
            .map(|(group, offset)| ItemIdentifier { partition: group.to_owned(), offset })
            .collect::<BTreeSet<_>>();
        let failures = identifiers.into_iter().map(|item_identifier| ItemFailure { item_identifier });
        Self { batch_item_failures: failures.collect() }
    }

    /// The records that it names, by group and offset.
    pub fn items(&self) -> impl Iterator<Item = (&str, i64)> {
        self.batch_item_failures
            .iter()
            .map(|ItemFailure { item_identifier }| (&*item_identifier.partition, item_identifier.offset))
    }

    /// How many records it names.
    pub fn len(&self) -> usize {
        self.batch_item_failures.len()
    }

    /// Whether it names none: a success.
    pub fn is_empty(&self) -> bool {
        self.batch_item_failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{
        "eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:r:1:cluster/c/u-1",
        "bootstrapServers": "b-1:9098,b-2:9098",
        "records": {
            "a-1-0": [
                {"topic": "a-1", "partition": 0, "offset": 7, "timestamp": 1772000000007,
                 "timestampType": "CREATE_TIME", "key": "a2V5", "value": "e30=",
                 "headers": [{"h": [104, -61, 195, 0]}, {"h": []}, {"n": null}, {"x": [1], "x": [2]}]},
                {"topic": "a-1", "partition": 0, "offset": "9", "timestamp": -1, "key": null, "value": null,
                 "headers": null, "valueSchemaMetadata": {"dataFormat": "AVRO", "schemaId": 101}}
            ],
            "a-1": [{"topic": "a", "partition": 1, "offset": 0, "timestamp": null, "key": ""}]
        }}"#;

    #[test]
    fn records_come_in_the_order_of_the_event_with_their_places() {
        let event = Event::parse(EVENT).unwrap();
        assert_eq!(event.source_arn(), Some("arn:aws:kafka:r:1:cluster/c/u-1"));
        assert_eq!(event.bootstrap_servers(), Some("b-1:9098,b-2:9098"));
        let records: Vec<_> = event.records().collect();
        let places: Vec<_> = records
            .iter()
            .map(|(group, record)| (*group, record.topic(), record.partition(), record.offset()))
            .collect();
        assert_eq!(places, [("a-1-0", "a-1", 0, 7), ("a-1-0", "a-1", 0, 9), ("a-1", "a", 1, 0)]);
        let [first, second, third] = [0, 1, 2].map(|at| records[at].1);
        let content = |record: &Record<'_>| (record.key().unwrap(), record.value().unwrap());
        assert_eq!(content(first), (Some(b"key".to_vec()), Some(b"{}".to_vec())));
        assert_eq!(content(second), (None, None));
        assert_eq!(content(third), (Some(Vec::new()), None));
        let times = [first, second, third].map(Record::timestamp_ms);
        assert_eq!(times, [Some(1_772_000_000_007), None, None]);
        assert_eq!((first.schema_id(), second.schema_id()), (None, Some("101".into())));
    }

    #[test]
    fn headers_keep_order_repeats_nulls_and_bytes_of_either_sign() {
        let event = Event::parse(EVENT).unwrap();
        let headers: Vec<_> = event.records().map(|(_, record)| record.headers().unwrap()).collect();
        let header = |name: &'static str, value: Option<&[u8]>| (name.into(), value.map(<[u8]>::to_vec));
        assert_eq!(
            headers[0],
            [
                header("h", Some(&[104, 195, 195, 0])),
                header("h", Some(&[])),
                header("n", None),
                header("x", Some(&[1])),
                header("x", Some(&[2])),
            ]
        );
        assert!(headers[1].is_empty() && headers[2].is_empty());
        for (damaged, what) in [
            (r#"[{"h": [256]}]"#, "256 in a header's value is no byte"),
            (r#"[{"h": "text"}]"#, "invalid type: string, expected a sequence"),
            (r#"{"h": [1]}"#, "invalid type: map, expected a sequence"),
        ] {
            let json = format!(
                r#"{{"records": {{"t-0": [{{"topic": "t", "partition": 0, "offset": 1, "headers": {damaged}}}]}}}}"#
            );
            let event = Event::parse(&json).unwrap();
            let error = event.records().next().unwrap().1.headers().unwrap_err();
            assert!(error.starts_with(what), "{error}");
        }
    }

    #[test]
    fn what_is_no_base64_spoils_no_other_record() {
        let event = r#"{"records": {"t-0": [
            {"topic": "t", "partition": 0, "offset": 1, "key": 7, "value": {"a": "b"}},
            {"topic": "t", "partition": 0, "offset": 2, "key": "a", "value": "{\"a\": 1}"},
            {"topic": "t", "partition": 0, "offset": 3, "value": "e\u003a0="}
        ]}}"#;
        let event = Event::parse(event).unwrap();
        let records: Vec<&Record<'_>> = event.records().map(|(_, record)| record).collect();
        let content = (records[0].key().unwrap(), records[0].value().unwrap());
        assert_eq!(content, (Some(b"7".to_vec()), Some(br#"{"a": "b"}"#.to_vec())));
        assert_eq!(records[1].key().unwrap_err().text, "a");
        assert_eq!(records[1].value().unwrap_err().text, r#"{"a": 1}"#);
        assert_eq!(records[2].value().unwrap_err().text, "e:0=");
    }

    #[test]
    fn a_time_that_nobody_can_spell_is_none() {
        let time = |millis: &str| {
            let json = format!(
                r#"{{"records": {{"t-0": [{{"topic": "t", "partition": 0, "offset": 1, "timestamp": {millis}}}]}}}}"#
            );
            Event::parse(&json).unwrap().records().next().unwrap().1.timestamp_ms()
        };
        assert_eq!((time("253402300799999"), time("\"7\"")), (Some(LAST_MS), Some(7)));
        for none in ["253402300800000", "1772000000000000", "-1", "-62135596800000", "1.5", "\"now\"", "{}"] {
            assert_eq!(time(none), None, "{none}");
        }
    }

    #[test]
    fn a_self_managed_event_names_no_cluster() {
        let event = Event::parse(
            r#"{"eventSource": "SelfManagedKafka", "bootstrapServers": "a.example:9092", "records": {}}"#,
        );
        let event = event.unwrap();
        assert_eq!((event.source_arn(), event.records().count()), (None, 0));
    }

    #[test]
    fn other_events_are_refused_with_what_is_missing() {
        let of_record = |record: &str| format!(r#"{{"records": {{"t-0": [{record}]}}}}"#);
        for (json, expected) in [
            (r#"{"Records": []}"#.to_owned(), "no \"records\" object (found keys: Records)"),
            (r#"{"records": []}"#.to_owned(), "no \"records\" object (found keys: records)"),
            ("[]".to_owned(), "no \"records\" object (found an array)"),
            (
                r#"{"eventSource": "aws:kinesis", "records": {}}"#.to_owned(),
                "its eventSource is \"aws:kinesis\", expected aws:kafka",
            ),
            (of_record(r#"{"topic": "t", "partition": 0}"#), "missing field `offset`"),
            (
                of_record(r#"{"topic": "t", "partition": -1, "offset": 1}"#),
                "expected a whole number that is not negative",
            ),
            (
                of_record(r#"{"topic": "t", "partition": 0, "offset": 1.5}"#),
                "expected a whole number that is not negative",
            ),
        ] {
            let message = Event::parse(&json).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("not an event of a Kafka event source: {expected}")),
                "{message}"
            );
        }
    }

    #[test]
    fn an_answer_names_each_record_once() {
        let answer = BatchResponse::of([("t-10", 3), ("t-1-0", 7), ("t-10", 3)]);
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            concat!(
                r#"{"batchItemFailures":[{"itemIdentifier":{"partition":"t-1-0","offset":7}},"#,
                r#"{"itemIdentifier":{"partition":"t-10","offset":3}}]}"#
            )
        );
        assert_eq!(answer.items().collect::<Vec<_>>(), [("t-1-0", 7), ("t-10", 3)]);
        let none = BatchResponse::of([]);
        assert!(none.is_empty() && serde_json::to_string(&none).unwrap() == r#"{"batchItemFailures":[]}"#);
    }
}

//! A record of a Kafka topic: its place, and the columns of its row that it does not say itself.
//!
//! In: what Lambda tells of a record. Out: its identity, and the values of [`COLUMNS`]. Names and types are those of the
//! tables that Spark's Structured Streaming and Kafka Connect write from Kafka.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iceberg::spec::PrimitiveType;
use records::enrich::{PARTITION_DATE, PARTITION_HOUR, RECORD_ID};
use records::identity;
use records::registry;
use records::rejection::Refusal;
use records::unpack::event_id;
use uuid::Uuid;

use crate::decode::{FILE_NAME, HEADERS, PROCESSING_TIME, SystemColumn, SystemValue};
use crate::offsets::Stream;

/// The key, as text or bytes.
pub(crate) const KAFKA_KEY: &str = "kafka_key";
/// The topic.
pub(crate) const TOPIC: &str = "topic";
/// The partition of the topic.
pub(crate) const PARTITION: &str = "partition";
/// The place in the partition.
pub(crate) const OFFSET: &str = "offset";
/// The time of the record.
pub(crate) const KAFKA_TIMESTAMP: &str = "kafka_timestamp";

/// The columns that an inferred table has beside those of its events, in their order. Date and hour are of the time of
/// processing, as in a Spark job.
pub(crate) const COLUMNS: [(&str, PrimitiveType); 9] = [
    (KAFKA_KEY, PrimitiveType::String),
    (TOPIC, PrimitiveType::String),
    (PARTITION, PrimitiveType::Int),
    (OFFSET, PrimitiveType::Long),
    (KAFKA_TIMESTAMP, PrimitiveType::Timestamptz),
    (PROCESSING_TIME, PrimitiveType::Timestamptz),
    (PARTITION_DATE, PrimitiveType::String),
    (PARTITION_HOUR, PrimitiveType::Int),
    (RECORD_ID, PrimitiveType::String),
];

/// The columns that the pipeline fills for a record of a topic: a value under one of their names is kept as `producer_<name>`.
pub(crate) const RESERVED: [&str; 10] = [
    PROCESSING_TIME,
    FILE_NAME,
    KAFKA_KEY,
    TOPIC,
    PARTITION,
    OFFSET,
    KAFKA_TIMESTAMP,
    PARTITION_DATE,
    PARTITION_HOUR,
    RECORD_ID,
];

/// A partition of a topic in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPartition {
    /// The cluster: ARN of the event source, or the operator's name for it.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// What the operator calls this life of the topic; empty for the first.
    pub life: String,
    /// The partition.
    pub partition: i32,
    /// Which records are told apart by their offsets in this partition.
    pub stream: Stream,
    /// How often its records were put back from the quarantine.
    pub redriven: u32,
}

impl TopicPartition {
    /// The partition of these names.
    pub fn new(cluster: &str, topic: &str, life: &str, partition: i32) -> Self {
        let stream = Stream::new(cluster, topic, life);
        Self {
            cluster: cluster.to_owned(),
            topic: topic.to_owned(),
            life: life.to_owned(),
            partition,
            stream,
            redriven: 0,
        }
    }

    /// The same partition, of what is put back from the quarantine for the `time`th time: the event `event` of a record.
    #[must_use]
    pub(crate) fn put_back(self, time: u32, event: u64) -> Self {
        Self { stream: self.stream.redriven(time, event), redriven: time, ..self }
    }
}

/// A record of a topic.
#[derive(Clone, Debug)]
pub struct TopicRecord {
    /// Where it is from.
    pub partition: Arc<TopicPartition>,
    /// Its place in the partition.
    pub offset: i64,
    /// Its time in milliseconds since 1970, if it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key, if it has one.
    pub key: Option<Vec<u8>>,
    /// Its headers: names, which may repeat, and bytes or null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its value.
    pub value: TopicValue,
    /// The id of the value's schema, if the event source mapping has taken the header of a registry off.
    pub schema_id: Option<String>,
    /// Which event of its record the first one in the value is: 0, unless the value is a part of the record's own.
    pub first_event: usize,
}

/// What a record holds.
#[derive(Clone, Debug)]
pub enum TopicValue {
    /// Nothing: a tombstone, which marks its key as deleted.
    None,
    /// Bytes.
    Bytes(Vec<u8>),
    /// Something that is no value, and why.
    Refused(Vec<u8>, Refusal),
}

impl TopicRecord {
    /// The id of the event `index` of the record, from 0.
    pub(crate) fn record_id(&self, index: usize) -> Uuid {
        let TopicPartition { cluster, topic, life, partition, .. } = &*self.partition;
        let (partition, offset) = (*partition, self.offset);
        event_id(identity::Origin::Kafka { cluster, topic, life, partition, offset }.record_id(), index)
    }

    /// Gives `set` the columns of the row of its event `index`, which is processed at `processing_time`, an RFC 3339
    /// date-time in UTC. The headers are left out unless `with_headers`.
    pub(crate) fn columns<T>(
        &self,
        index: usize,
        processing_time: &str,
        with_headers: bool,
        set: impl FnOnce(&[SystemColumn<'_>]) -> T,
    ) -> T {
        let time = self.timestamp_ms.and_then(rfc3339);
        let key = self.key.as_deref().map(registry::key);
        let headers = (with_headers && !self.headers.is_empty()).then(|| self.headers_json());
        let id = self.record_id(index).to_string();
        let (date, hour) = (processing_time.get(..10), processing_time.get(11..13));
        set(&[
            (KAFKA_KEY, key.map_or(SystemValue::Null, SystemValue::Bytes)),
            (TOPIC, SystemValue::Text(&self.partition.topic)),
            (PARTITION, SystemValue::Number(self.partition.partition.into())),
            (OFFSET, SystemValue::Number(self.offset)),
            (KAFKA_TIMESTAMP, text(time.as_deref())),
            (PROCESSING_TIME, SystemValue::Text(processing_time)),
            (PARTITION_DATE, text(date)),
            (PARTITION_HOUR, text(hour)),
            (RECORD_ID, SystemValue::Text(&id)),
            (HEADERS, headers.as_deref().map_or(SystemValue::Null, SystemValue::Json)),
        ]
        .map(|(name, value)| SystemColumn { name, value }))
    }

    fn headers_json(&self) -> String {
        let mut json = String::from("[");
        for (name, value) in &self.headers {
            let before = if json.len() > 1 { "," } else { "" };
            let name = serde_json::Value::from(name.as_str());
            let value = value.as_ref().map(|value| format!("\"{}\"", STANDARD.encode(value)));
            let value = value.as_deref().unwrap_or("null");
            // To write into a String never fails.
            let _ = write!(json, "{before}{{\"key\":{name},\"value\":{value}}}");
        }
        json.push(']');
        json
    }
}

/// Gives `set` columns by which it can be told whether a table takes those of records.
pub(crate) fn sample_columns<T>(processing_time: &str, set: impl FnOnce(&[SystemColumn<'_>]) -> T) -> T {
    let record = TopicRecord {
        partition: Arc::new(TopicPartition::new("", "topic", "", 0)),
        offset: 0,
        timestamp_ms: Some(0),
        key: Some(Vec::new()),
        headers: vec![(String::new(), None)],
        value: TopicValue::None,
        schema_id: None,
        first_event: 0,
    };
    record.columns(0, processing_time, true, set)
}

fn text(text: Option<&str>) -> SystemValue<'_> {
    text.map_or(SystemValue::Null, SystemValue::Text)
}

/// An instant as text; None beyond the years that RFC 3339 can spell.
fn rfc3339(millis: i64) -> Option<String> {
    let stamp = records::enrich::Stamp::from_epoch_micros(millis.checked_mul(1000)?)?;
    Some(stamp.as_str().to_owned())
}

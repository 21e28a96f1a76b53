//! What the quarantine says of a record of a Kafka topic.
//!
//! In: a record. Out: the place of its lines, which stands among those of objects under a bucket that no storage has, and
//! the members that its line has beside those of every line.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::line::Line;
use crate::job::SourceObject;
use crate::token::Token;
use crate::topic::{TopicPartition, TopicRecord, TopicValue};

/// Stands where other files have a bucket. No bucket of S3 is named so.
pub const BUCKET: &str = "@kafka";

/// What a line names in the place of an object's URI begins so.
pub(super) const SCHEME: &str = "kafka://";

/// A header of a record, as a line has it. Bytes that are no UTF-8 are in base64; a header without a value has neither.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Header<'a> {
    /// Its name.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Its value, as text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Cow<'a, str>>,
    /// Its value, in base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Cow<'a, str>>,
}

/// The lines about a partition whose first rejected record is `record`. Whatever is rejected of a delivery of it has the
/// same place; the id of its commit tells two commits apart.
pub(super) fn place(record: &TopicRecord) -> SourceObject {
    let TopicPartition { stream, partition, .. } = &*record.partition;
    let key = format!("{stream}/{partition}/{}", record.offset);
    SourceObject {
        uri: format!("{SCHEME}{stream}/{partition}"),
        bucket: BUCKET.to_owned(),
        token: Token::new(BUCKET, &key, ""),
        key,
        version_id: None,
    }
}

/// A line with the members that tell the record.
pub(super) fn line(record: &TopicRecord) -> Line<'_> {
    let TopicPartition { cluster, topic, life, partition, .. } = &*record.partition;
    let (key, key_base64) = record.key.as_deref().map_or((None, None), told);
    let headers = record.headers.iter().map(|(name, value)| {
        let (value, value_base64) = value.as_deref().map_or((None, None), told);
        Header { key: name.into(), value, value_base64 }
    });
    Line {
        cluster: Some(cluster.into()),
        topic: Some(topic.into()),
        life: Some(Cow::from(life)).filter(|life| !life.is_empty()),
        partition: Some(*partition),
        timestamp: record.timestamp_ms,
        key,
        key_base64,
        headers: headers.collect(),
        schema_id: record.schema_id.as_deref().map(Cow::from),
        redriven: record.partition.redriven,
        ..Line::default()
    }
}

/// The record of a line, with `value` for what the line keeps of it, to be put back. None if the line is about an object.
pub fn record_of(line: &Line<'_>, value: Vec<u8>) -> Option<TopicRecord> {
    let (cluster, topic) = (line.cluster.as_deref()?, line.topic.as_deref()?);
    let life = line.life.as_deref().unwrap_or_default();
    let partition = TopicPartition::new(cluster, topic, life, line.partition?);
    let event = line.row.checked_sub(1)?;
    let bytes = |text: Option<&str>, base64: Option<&str>| match (text, base64) {
        (Some(text), _) => Some(text.as_bytes().to_vec()),
        (None, Some(base64)) => STANDARD.decode(base64).ok(),
        (None, None) => None,
    };
    let header = |header: &Header<'_>| {
        (header.key.to_string(), bytes(header.value.as_deref(), header.value_base64.as_deref()))
    };
    Some(TopicRecord {
        partition: Arc::new(partition.put_back(line.redriven.saturating_add(1), event)),
        offset: i64::try_from(line.offset).ok()?,
        timestamp_ms: line.timestamp,
        key: bytes(line.key.as_deref(), line.key_base64.as_deref()),
        headers: line.headers.iter().map(header).collect(),
        value: TopicValue::Bytes(value),
        schema_id: line.schema_id.as_deref().map(str::to_owned),
        first_event: usize::try_from(event).ok()?,
    })
}

/// Bytes as text, or else in base64.
fn told(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<Cow<'_, str>>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.into()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes).into())),
    }
}

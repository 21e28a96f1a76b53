//! An event -> its records, each with the name by which the mapping knows it.
//!
//! In: the JSON of an invocation: an event of a mapping, or a batch that a mapping gave up and that is delivered once more.
//! Out: [`Item`]s. A record of a failure topic stands for the records of the batch in it, under their own identity. What
//! cannot be read of a record refuses that record alone. Refused: any other JSON, and events that name no cluster.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use anyhow::{Context as _, anyhow, bail};
use lake::{TopicPartition, TopicRecord, TopicValue};
use lambda::failed_batch::FailedBatch;
use lambda::kafka::{Event, NotBase64, Record};
use memchr::memmem::Finder;
use records::registry;
use records::rejection::{Reason, Refusal};

use crate::config::Config;

/// A record, and what the mapping is to be told of it.
#[derive(Debug)]
pub(crate) struct Item {
    /// The group of the event that it came in.
    pub(crate) group: String,
    /// Its offset; that of the record of a failure topic that it came in.
    pub(crate) offset: i64,
    pub(crate) record: TopicRecord,
}

/// What an event brings.
#[derive(Debug, Default)]
pub(crate) struct Items {
    pub(crate) items: Vec<Item>,
    /// How many records the event has.
    pub(crate) received: usize,
    partitions: HashMap<(String, i32), Arc<TopicPartition>>,
}

/// The records of the event `json`.
///
/// # Errors
/// It is of no known shape, or its cluster has no name.
pub(crate) fn items(json: &str, config: &Config) -> anyhow::Result<Items> {
    let mut items = Items::default();
    if let Some(batch) = FailedBatch::parse(json) {
        let Some(event) = batch.event() else {
            bail!(
                "{batch}. This message tells only which records failed, and not what they hold; while the topic still has \
                 them, rewind the consumer group to them, or read them from a destination in S3"
            );
        };
        let event = Event::parse(&event).with_context(|| batch.to_string())?;
        items.add(&event, config, Of::Mapping)?;
        return Ok(items);
    }
    items.add(&Event::parse(json)?, config, Of::Mapping)?;
    Ok(items)
}

/// Whose records these are.
#[derive(Clone, Copy)]
enum Of<'a> {
    Mapping,
    /// Of a failed batch in a record of a failure topic: group, offset and cluster of that record.
    Carrier(&'a str, i64, &'a str),
}

impl Items {
    fn add(&mut self, event: &Event<'_>, config: &Config, of: Of<'_>) -> anyhow::Result<()> {
        let carrier = match of {
            Of::Mapping => None,
            Of::Carrier(_, _, cluster) => Some(cluster),
        };
        let cluster = config.cluster.as_deref().or(event.source_arn()).or(carrier);
        for (group, record) in event.records() {
            let cluster = cluster.ok_or_else(|| {
                let servers = event.bootstrap_servers().unwrap_or("unknown");
                anyhow!(
                    "the event names no cluster (its servers: {servers}), and offsets mean nothing without: set \
                     FRAZIL_KAFKA_CLUSTER to a name for it that never changes"
                )
            })?;
            self.received += 1;
            let value = record.value();
            if let (Of::Mapping, Ok(Some(value))) = (of, &value)
                && self.add_batch(value, config, Of::Carrier(group, record.offset(), cluster))?
            {
                continue;
            }
            let (group, offset) = match of {
                Of::Mapping => (group, record.offset()),
                Of::Carrier(group, offset, _) => (group, offset),
            };
            let partition = self.partition(cluster, record, config);
            let record = topic_record(partition, record, value);
            self.items.push(Item { group: group.to_owned(), offset, record });
        }
        Ok(())
    }

    /// Adds the records of the failed batch in `value`. False if it is none that has them.
    fn add_batch(&mut self, value: &[u8], config: &Config, carrier: Of<'_>) -> anyhow::Result<bool> {
        static INFO: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"KafkaBatchInfo\""));
        if INFO.find(value).is_none() {
            return Ok(false);
        }
        let batch = std::str::from_utf8(value).ok().and_then(FailedBatch::parse);
        let Some(text) = batch.and_then(|batch| batch.event()) else { return Ok(false) };
        let Ok(event) = Event::parse(&text) else { return Ok(false) };
        self.received -= 1;
        self.add(&event, config, carrier)?;
        Ok(true)
    }

    fn partition(&mut self, cluster: &str, record: &Record<'_>, config: &Config) -> Arc<TopicPartition> {
        let (topic, partition) = (record.topic(), record.partition());
        // Batches of a failure topic are of one cluster too: the mapping puts them into the topic's own.
        let known = self.partitions.entry((topic.to_owned(), partition));
        let known = known.or_insert_with(|| {
            let life = config.lives.get(topic).map_or("", String::as_str);
            Arc::new(TopicPartition::new(cluster, topic, life, partition))
        });
        match known.cluster == cluster {
            true => known.clone(),
            false => Arc::new(TopicPartition::new(cluster, topic, &known.life, partition)),
        }
    }
}

/// `record`, whose value is `value`.
fn topic_record(
    partition: Arc<TopicPartition>,
    record: &Record<'_>,
    value: Result<Option<Vec<u8>>, NotBase64>,
) -> TopicRecord {
    let mut value = match value {
        Ok(value) => value.map_or(TopicValue::None, TopicValue::Bytes),
        Err(what) => invalid_base64("value", what),
    };
    let key = record.key().unwrap_or_else(|what| {
        value = invalid_base64("key", what);
        None
    });
    let headers: Vec<(String, Option<Vec<u8>>)> = match record.headers() {
        Ok(headers) => headers.into_iter().map(|(name, value)| (name.into_owned(), value)).collect(),
        Err(what) => {
            let bytes = match value {
                TopicValue::None => Vec::new(),
                TopicValue::Bytes(bytes) | TopicValue::Refused(bytes, _) => bytes,
            };
            value = TopicValue::Refused(bytes, Refusal::new(Reason::InvalidHeaders, what));
            Vec::new()
        }
    };
    // Of a header that repeats, the last counts for Kafka's own clients.
    let in_header = || {
        let header = headers.iter().rev().find(|(name, _)| name == registry::SCHEMA_HEADER)?;
        registry::schema_in_header(header.1.as_deref()?)
    };
    let schema_id = record.schema_id().map(String::from).or_else(in_header);
    TopicRecord {
        partition,
        offset: record.offset(),
        timestamp_ms: record.timestamp_ms(),
        key,
        headers,
        value,
        schema_id,
        first_event: 0,
    }
}

fn invalid_base64(what: &str, NotBase64 { text, error }: NotBase64) -> TopicValue {
    let refusal = Refusal::new(Reason::InvalidBase64, format!("the record's {what} is not base64: {error}"));
    TopicValue::Refused(text.into_bytes(), refusal)
}

//! Records as they are gathered -> the event of an invocation.
//!
//! In: records of a consumer, in the order of their offsets; then the records that the answer names. Out: the JSON that
//! Lambda sends for a self-managed cluster; what is left to be delivered again.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use base64_simd::STANDARD;
use lambda::kafka::BatchResponse;
use rdkafka::message::{Headers as _, Message, Timestamp};

/// What Lambda sends at most (AWS: "Lambda quotas", payload of an invocation). The last record may exceed it.
const MAX_EVENT_BYTES: usize = 6 << 20;

/// Records that are gathered.
#[derive(Debug)]
pub(super) struct Batch {
    servers: String,
    max_records: usize,
    topics: BTreeMap<String, BTreeMap<i32, Group>>,
    records: usize,
    bytes: usize,
}

/// The records of one partition.
#[derive(Debug)]
struct Group {
    /// What the objects of all its records begin with.
    head: String,
    /// The objects of the records, each with a comma behind it.
    text: String,
    /// The offset of each record, and where its object ends.
    records: Vec<(i64, usize)>,
}

impl Batch {
    /// An empty one, of records from `servers`.
    pub(super) fn new(servers: &str, max_records: usize) -> Self {
        let servers = servers.to_owned();
        Self { servers, max_records, topics: BTreeMap::new(), records: 0, bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= self.max_records || self.bytes >= MAX_EVENT_BYTES
    }

    /// The partitions that records of are here.
    pub(super) fn places(&self) -> impl Iterator<Item = (&str, i32)> {
        self.groups().map(|(topic, partition, _)| (topic, partition))
    }

    /// The lowest offset of a partition that is here.
    pub(super) fn first(&self, topic: &str, partition: i32) -> Option<i64> {
        let group = self.topics.get(topic)?.get(&partition)?;
        group.records.iter().map(|(offset, _)| *offset).min()
    }

    pub(super) fn add(&mut self, record: &impl Message) {
        let topic = record.topic();
        if !self.topics.contains_key(topic) {
            self.topics.insert(topic.to_owned(), BTreeMap::new());
        }
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        let partition = record.partition();
        let group = partitions.entry(partition).or_insert_with(|| Group::of(topic, partition));
        let Group { head, text, records } = group;
        let before = text.len();
        text.push_str(head);
        write_record(text, record);
        records.push((record.offset(), text.len()));
        self.records += 1;
        self.bytes += text.len() - before;
    }

    /// Forgets the records of a partition: another member of the group reads them.
    pub(super) fn remove(&mut self, topic: &str, partition: i32) {
        let removed = self.topics.get_mut(topic).and_then(|partitions| partitions.remove(&partition));
        if let Some(Group { text, records, .. }) = removed {
            self.records -= records.len();
            self.bytes -= text.len();
        }
    }

    /// The event of all records.
    pub(super) fn event(&self) -> String {
        let mut event = String::with_capacity(self.bytes + 1024);
        event.push_str(r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"#);
        push_json(&mut event, &self.servers);
        event.push_str(r#","records":{"#);
        for (topic, partition, group) in self.groups() {
            push_json(&mut event, &name(topic, partition));
            event.push_str(":[");
            event.push_str(group.text.trim_end_matches(','));
            event.push_str("],");
        }
        if event.ends_with(',') {
            event.pop();
        }
        event.push_str("}}");
        event
    }

    /// Keeps the records that `failed` names. How many others there were: they are in the tables.
    pub(super) fn keep(&mut self, failed: &BatchResponse) -> u64 {
        let before = self.records;
        let failed: HashSet<(&str, i64)> = failed.items().collect();
        self.records = 0;
        self.bytes = 0;
        if failed.is_empty() {
            self.topics.clear();
        }
        for (topic, partitions) in &mut self.topics {
            for (partition, group) in partitions.iter_mut() {
                let name = name(topic, *partition);
                let all = std::mem::replace(group, Group::of(topic, *partition));
                let mut start = 0;
                for (offset, end) in all.records {
                    if failed.contains(&(&name, offset)) {
                        group.text.push_str(all.text.get(start..end).unwrap_or_default());
                        group.records.push((offset, group.text.len()));
                    }
                    start = end;
                }
                self.records += group.records.len();
                self.bytes += group.text.len();
            }
        }
        (before - self.records) as u64
    }

    fn groups(&self) -> impl Iterator<Item = (&str, i32, &Group)> {
        let groups = self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, group)| (topic.as_str(), *partition, group))
        });
        groups.filter(|(_, _, group)| !group.records.is_empty())
    }
}

impl Group {
    fn of(topic: &str, partition: i32) -> Self {
        let mut head = r#"{"topic":"#.to_owned();
        push_json(&mut head, topic);
        // To write into a String never fails.
        let _ = write!(head, r#","partition":{partition},"offset":"#);
        Self { head, text: String::new(), records: Vec::new() }
    }
}

/// What an event and an answer to it call a partition.
fn name(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// The object of a record behind the head of its group, with a comma behind it (AWS: "Using Lambda with self-managed Apache
/// Kafka").
fn write_record(text: &mut String, record: &impl Message) {
    let (millis, kind) = match record.timestamp() {
        Timestamp::CreateTime(millis) => (millis, "CREATE_TIME"),
        Timestamp::LogAppendTime(millis) => (millis, "LOG_APPEND_TIME"),
        Timestamp::NotAvailable => (-1, "NO_TIMESTAMP_TYPE"),
    };
    // To write into a String never fails.
    let _ = write!(text, r#"{},"timestamp":{millis},"timestampType":"{kind}""#, record.offset());
    for (name, bytes) in [("key", record.key()), ("value", record.payload())] {
        if let Some(bytes) = bytes {
            let _ = write!(text, r#","{name}":""#);
            STANDARD.encode_append(bytes, text);
            text.push('"');
        }
    }
    text.push_str(r#","headers":["#);
    let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
    for (index, header) in headers.enumerate() {
        text.push_str(if index > 0 { ",{" } else { "{" });
        push_json(text, header.key);
        match header.value {
            None => text.push_str(":null}"),
            Some(bytes) => {
                // Java's bytes have a sign.
                let numbers: Vec<String> = bytes.iter().map(|byte| byte.cast_signed().to_string()).collect();
                let _ = write!(text, ":[{}]}}", numbers.join(","));
            }
        }
    }
    text.push_str("]},");
}

/// Adds `content` as a string of JSON.
fn push_json(text: &mut String, content: &str) {
    // To write into a String never fails.
    let _ = write!(text, "{}", serde_json::Value::from(content));
}

#[cfg(test)]
mod tests {
    use lambda::kafka::Event;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    fn record(topic: &str, partition: i32, offset: i64, value: Option<&[u8]>) -> OwnedMessage {
        let time = Timestamp::CreateTime(1_772_000_000_000 + offset);
        let value = value.map(<[u8]>::to_vec);
        OwnedMessage::new(value, Some(b"k".to_vec()), topic.to_owned(), time, partition, offset, None)
    }

    fn places(batch: &Batch) -> Vec<(String, i64)> {
        let text = batch.event();
        let event = Event::parse(&text).unwrap();
        event.records().map(|(group, record)| (group.to_owned(), record.offset())).collect()
    }

    fn place(group: &str, offset: i64) -> (String, i64) {
        (group.to_owned(), offset)
    }

    #[test]
    fn a_record_is_in_the_event_with_all_that_it_has() {
        let mut batch = Batch::new("127.0.0.1:1,b \"2\"", 10);
        assert_eq!(
            batch.event(),
            r#"{"eventSource":"SelfManagedKafka","bootstrapServers":"127.0.0.1:1,b \"2\"","records":{}}"#
        );
        let header = |key, value| Header { key, value };
        let headers = OwnedHeaders::new()
            .insert(header("a \"b\"", Some(&[0, 127, 128, 255][..])))
            .insert(header("a \"b\"", Some(&[][..])))
            .insert(Header { key: "n", value: None::<&[u8]> });
        batch.add(&OwnedMessage::new(
            Some(vec![]),
            None,
            "t".into(),
            Timestamp::NotAvailable,
            3,
            9,
            Some(headers),
        ));
        batch.add(&record("t", 3, 11, None));
        let text = batch.event();
        let event = Event::parse(&text).unwrap();
        assert_eq!((event.source_arn(), event.bootstrap_servers()), (None, Some("127.0.0.1:1,b \"2\"")));
        let records: Vec<_> = event.records().collect();
        let (group, first) = records[0];
        assert_eq!((group, first.topic(), first.partition(), first.offset()), ("t-3", "t", 3, 9));
        let content = (first.key().unwrap(), first.value().unwrap());
        assert_eq!((first.timestamp_ms(), content), (None, (None, Some(Vec::new()))));
        let headers = first.headers().unwrap();
        assert_eq!(
            headers,
            [
                ("a \"b\"".into(), Some(vec![0, 127, 128, 255])),
                ("a \"b\"".into(), Some(vec![])),
                ("n".into(), None)
            ]
        );
        let second = records[1].1;
        assert_eq!(
            (second.timestamp_ms(), second.key().unwrap()),
            (Some(1_772_000_000_011), Some(b"k".to_vec()))
        );
        assert_eq!((second.value().unwrap(), second.headers().unwrap().len()), (None, 0));
    }

    #[test]
    fn what_an_answer_names_stays_and_holds_the_offset_back() {
        let mut batch = Batch::new("b:1", 5);
        for offset in [4, 5, 7] {
            batch.add(&record("a", 0, offset, Some(b"{}")));
        }
        batch.add(&record("a", 1, 0, Some(b"{}")));
        assert!(!batch.is_full());
        // A topic may be named like a partition of another.
        batch.add(&record("a-0", 0, 5, Some(b"{}")));
        assert!(batch.is_full());
        let all = [place("a-0", 4), place("a-0", 5), place("a-0", 7), place("a-1", 0), place("a-0-0", 5)];
        assert_eq!(places(&batch), all);
        assert_eq!((batch.first("a", 0), batch.first("a", 1), batch.first("b", 0)), (Some(4), Some(0), None));
        assert_eq!(batch.keep(&BatchResponse::of([("a-0", 5), ("a-0", 7)])), 3);
        assert_eq!(places(&batch), [place("a-0", 5), place("a-0", 7)]);
        assert_eq!((batch.first("a", 0), batch.first("a", 1), batch.first("a-0", 0)), (Some(5), None, None));
        assert_eq!(batch.keep(&BatchResponse::of([("a-0", 7)])), 1);
        assert_eq!(places(&batch), [place("a-0", 7)]);
        assert_eq!(batch.keep(&BatchResponse::default()), 1);
        assert!(batch.is_empty() && places(&batch).is_empty());
    }

    #[test]
    fn a_partition_that_is_gone_leaves_nothing() {
        let mut batch = Batch::new("b:1", 10);
        batch.add(&record("a", 0, 1, Some(b"{}")));
        batch.add(&record("a", 1, 1, Some(b"{}")));
        batch.remove("a", 0);
        batch.remove("a", 7);
        assert_eq!((places(&batch), batch.first("a", 0)), (vec![place("a-1", 1)], None));
        batch.remove("a", 1);
        assert!(batch.is_empty());
        assert_eq!(batch.bytes, 0);
    }

    #[test]
    fn a_batch_of_6_mb_is_full() {
        let mut batch = Batch::new("b:1", 100_000);
        let value = vec![b'x'; 3 << 20];
        batch.add(&record("a", 0, 1, Some(&value)));
        assert!(!batch.is_full());
        batch.add(&record("a", 0, 2, Some(&value)));
        assert!(batch.is_full());
    }
}

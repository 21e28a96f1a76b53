//! Pollers of a topic: members of one consumer group, whose batches are cut differently each time.
//!
//! A poller takes what follows on the group's positions, loses partitions to others while it is at work, and moves the
//! positions on by what the answer says, unless the partition is another's by then. What an answer names comes again, with
//! all behind it or alone. Positions are rewound. In the end the topic is deleted and made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use iceberg::spec::{NestedField, PrimitiveType};
use tokio::time::Instant;

use super::model::{Input, Source};
use super::world::{Faults, Hand};
use super::{DELIVERY, LAST, Plan, Schedule, Told};
use crate::ledger::Ledgers;
use crate::name_bounds::NameBounds;
use crate::{
    AppendOptions, Lake, TopicOptions, TopicPartition, TopicRecord, TopicStatus, TopicValue, append_records,
};

const CLUSTER: &str = "arn:cluster";
const TOPIC: &str = "clicks";
/// Partitions have so many at most, and records.
const PARTITIONS: i32 = 3;
const RECORDS: usize = 14;
/// The time of the record at offset 0.
const START_MS: i64 = 1_577_000_000_000;
/// How much later the topic is made anew.
const DAY_MS: i64 = 86_400_000;

/// Where the members of a group are.
#[derive(Debug, Default)]
pub(super) struct Group(Mutex<BTreeMap<i32, Place>>);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Whose partition it is.
    owner: u64,
    /// How many of its records are done.
    done: usize,
}

/// The columns of the record's place.
pub(super) fn columns() -> Vec<NestedField> {
    let columns = [
        (6, "topic", PrimitiveType::String),
        (7, "partition", PrimitiveType::Int),
        (8, "offset", PrimitiveType::Long),
        (9, "kafka_timestamp", PrimitiveType::Timestamptz),
        (10, "record_id", PrimitiveType::String),
    ];
    columns.map(|(id, name, kind)| NestedField::optional(id, name, kind.into())).into()
}

/// The records of the topic, partition by partition.
pub(super) fn inputs(random: &mut fastrand::Rng, evolves: bool) -> Vec<Input> {
    let mut inputs = Vec::new();
    for partition in 0..random.i32(1..=PARTITIONS) {
        let mut offset = random.choice([0, 1_000]).unwrap();
        for _ in 0..random.usize(1..RECORDS) {
            let number = inputs.len() as i64 * 10 + 1;
            let (numbers, value) = value(number, random, evolves.then_some(offset % 4));
            let record = record(partition, offset, "", value, offset);
            inputs.push(Input { source: Source::Record(record), rows: numbers });
            // Markers of transactions, and what was compacted.
            offset += random.choice([1, 1, 1, 1, 2, 40]).unwrap();
        }
    }
    inputs
}

/// What a record holds, and the values of `n` in its rows.
fn value(number: i64, random: &mut fastrand::Rng, more: Option<i64>) -> (Vec<i64>, TopicValue) {
    let more = more.map_or_else(String::new, |at| format!(",\"f{at}\":{at},\"s\":{{\"g{at}\":\"x\"}}"));
    let event = |n: i64| format!("{{\"n\":{n},\"text\":\"row {n}\",\"p\":{}{more}}}", n % 2);
    let (numbers, text) = match random.u8(..10) {
        0 => return (Vec::new(), TopicValue::None),
        1 => (Vec::new(), "{\"n\":".to_owned()),
        2 => (Vec::new(), "{\"n\":\"no number\"}".to_owned()),
        3 => (vec![number, number + 1], format!("[{},{}]", event(number), event(number + 1))),
        _ => (vec![number], event(number)),
    };
    (numbers, TopicValue::Bytes(text.into_bytes()))
}

fn record(partition: i32, offset: i64, life: &str, value: TopicValue, after_ms: i64) -> TopicRecord {
    TopicRecord {
        partition: Arc::new(TopicPartition::new(CLUSTER, TOPIC, life, partition)),
        offset,
        timestamp_ms: Some(START_MS + after_ms),
        key: None,
        headers: Vec::new(),
        value,
        schema_id: None,
        first_event: 0,
    }
}

impl Schedule {
    /// The deliveries of one poller.
    pub(super) async fn poll(&self, plan: Plan, group: &Group) {
        let mut random = fastrand::Rng::with_seed(self.world.seed ^ (plan.who << 32));
        let (bounds, ledgers): (Arc<NameBounds>, Arc<Ledgers>) = Default::default();
        let mut left = Vec::new();
        for (delivery, (pause, _)) in (0..).zip(plan.deliveries) {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let hand = Hand::new(&self.world, plan.who, delivery, plan.faults);
            // What another poller does to the group at the same time comes before or after.
            hand.wait(0).await;
            let batch = match left.is_empty() || random.bool() {
                true => self.next_batch(plan.who, group, &mut random),
                false => std::mem::take(&mut left),
            };
            let mut lake = self.lake(&hand, plan.ahead_ms);
            if plan.is_warm {
                (lake.name_bounds, lake.ledgers) = (bounds.clone(), ledgers.clone());
            }
            let since = self.world.model().rollbacks();
            let told = tokio::select! {
                biased;
                told = self.deliver(&lake, &batch) => told,
                () = hand.death() => {
                    self.world.model().trace.push(format!("poller {} died with {batch:?}", plan.who));
                    continue;
                }
            };
            let again = Hand::new(&self.world, plan.who, delivery, Faults::default());
            again.wait(0).await;
            let failed = told.as_ref().map_or_else(
                |_| batch.clone(),
                |told| {
                    let items = batch.iter().zip(told).filter(|(_, (is_done, _))| !is_done);
                    items.map(|(at, _)| *at).collect()
                },
            );
            self.answer(plan.who, &batch, since, told);
            // The mapping goes back to the first that failed, or keeps those that failed and goes on.
            let goes_back = random.bool();
            self.moves_on(plan.who, group, &batch, if goes_back { &failed } else { &[] });
            left = if goes_back { Vec::new() } else { failed };
        }
    }

    /// The inputs of each partition, in the order of their offsets.
    fn partitions(&self) -> BTreeMap<i32, Vec<usize>> {
        let mut partitions: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (at, input) in self.world.model().inputs.iter().enumerate() {
            if let Source::Record(record) = &input.source {
                partitions.entry(record.partition.partition).or_default().push(at);
            }
        }
        partitions
    }

    /// What `who` gets next, after it has maybe taken partitions from others, or rewound some.
    fn next_batch(&self, who: u64, group: &Group, random: &mut fastrand::Rng) -> Vec<usize> {
        let mut places = group.0.lock().unwrap();
        let (mut batch, mut rebalanced) = (Vec::new(), Vec::new());
        for (partition, records) in self.partitions() {
            let place = places.entry(partition).or_default();
            if place.owner != who && random.bool() {
                place.owner = who;
                rebalanced.push(partition);
            }
            if random.u8(..6) == 0 {
                place.done = random.usize(..=place.done);
            }
            if place.owner == who {
                let rest = records.get(place.done..).unwrap_or_default();
                batch.extend_from_slice(&rest[..rest.len().min(random.usize(..8))]);
            }
        }
        // A poller that has begun a batch does not hear of it.
        self.world.model().trace.push(format!("poller {who} takes {rebalanced:?}, and reads {batch:?}"));
        batch
    }

    /// Moves the group on behind `batch`, up to the first of `failed` in each partition, where it is still the poller's.
    fn moves_on(&self, who: u64, group: &Group, batch: &[usize], failed: &[usize]) {
        let mut places = group.0.lock().unwrap();
        for (partition, records) in self.partitions() {
            let place = places.entry(partition).or_default();
            let ends = records.iter().enumerate().filter(|(_, at)| batch.contains(at));
            let Some(last) = ends.map(|(index, _)| index).next_back() else { continue };
            let first = records.iter().position(|at| failed.contains(at));
            if place.owner == who {
                place.done = first.unwrap_or(last + 1);
            }
        }
    }

    pub(super) async fn append_records(&self, lake: &Lake, inputs: &[usize]) -> Result<Told, crate::Error> {
        let all = self.world.model().inputs.clone();
        let records = inputs.iter().filter_map(|at| match &all[*at].source {
            Source::Record(record) => Some(record.clone()),
            Source::Object(_) => None,
        });
        self.deliver_records(lake, records.collect()).await
    }

    async fn deliver_records(&self, lake: &Lake, records: Vec<TopicRecord>) -> Result<Told, crate::Error> {
        let options = AppendOptions { deadline: Instant::now() + DELIVERY, ..self.options.clone() };
        let outcome = append_records(lake, &options, TopicOptions::default(), records).await?;
        let told = |status: &TopicStatus| match status {
            TopicStatus::Failed(error) => (false, format!("failed: {}", error.message())),
            status => (status.is_done(), format!("{status:?}")),
        };
        Ok(outcome.records.iter().map(told).collect())
    }

    /// The topic is deleted and made anew: other records come at offsets that the table has. They fail, until the new life
    /// has a name.
    pub(super) async fn make_anew(&self) {
        let old: BTreeSet<(i32, i64)> = self
            .world
            .model()
            .inputs
            .iter()
            .filter_map(|input| match &input.source {
                Source::Record(record) => Some((record.partition.partition, record.offset)),
                Source::Object(_) => None,
            })
            .collect();
        let numbers = (0..).map(|at| 900_000 + at);
        let records = |life: &'static str| {
            let places = old.iter().zip(numbers.clone());
            places.map(move |((partition, offset), n)| {
                let value = TopicValue::Bytes(format!("{{\"n\":{n}}}").into_bytes());
                (record(*partition, *offset, life, value, DAY_MS + offset), vec![n])
            })
        };
        let lake = self.lake(&Hand::new(&self.world, LAST, 1, Faults::default()), 0);
        let told = self.deliver_records(&lake, records("").map(|(record, _)| record).collect()).await;
        let fail = |told: &Told| told.iter().all(|(_, words)| words.contains("made anew"));
        if !told.as_ref().is_ok_and(fail) {
            self.world.model().faults.push(format!("other records at old offsets do not fail: {told:?}"));
        }
        let first = self.world.model().inputs.len();
        let inputs = records("2").map(|(record, rows)| Input { source: Source::Record(record), rows });
        self.world.model().inputs.extend(inputs);
        let named: Vec<usize> = (first..first + old.len()).collect();
        for expected in ["Committed", "AlreadyCommitted"] {
            let told = self.append_records(&lake, &named).await;
            let are = |told: &Told| told.iter().all(|(_, words)| words == expected);
            if !told.as_ref().is_ok_and(are) {
                self.world.model().faults.push(format!("a named life is not {expected}: {told:?}"));
            }
        }
    }
}

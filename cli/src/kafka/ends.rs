//! Where `--until-end` stops.
//!
//! In: the ends of the partitions when the command starts: what of a transaction is not yet decided is behind them. Out: whether
//! the group has committed all that is before. Markers of transactions, and what was aborted, are passed as the consumer
//! passes them; nothing waits for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;

use super::group::{BROKER, Member, Place};

/// How often the group is asked for what other members have committed.
const ASKED: Duration = Duration::from_secs(1);

/// How long to wait for a partition that has no leader, before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// The partitions of `topics`.
///
/// # Errors
/// No broker answers; there is no such topic.
pub(super) fn partitions(member: &Member, topics: &[&str]) -> anyhow::Result<Vec<Place>> {
    let mut places = Vec::new();
    for name in topics {
        let metadata = member.consumer.client().fetch_metadata(Some(name), BROKER);
        let metadata = metadata.context("no broker answers; see --bootstrap")?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == *name) else {
            bail!("the broker tells nothing of the topic {name}")
        };
        if let Some(error) = topic.error() {
            return Err(RDKafkaErrorCode::from(error)).with_context(|| format!("--topic {name}"));
        }
        places.extend(topic.partitions().iter().map(|partition| ((*name).to_owned(), partition.id())));
    }
    Ok(places)
}

/// The ends that the group has not yet reached.
#[derive(Debug)]
pub(super) struct Ends {
    left: BTreeMap<Place, i64>,
    asked: Option<Instant>,
}

impl Ends {
    /// The ends of `partitions`, as of now.
    ///
    /// # Errors
    /// The broker's.
    pub(super) fn of(member: &Member, partitions: Vec<Place>) -> anyhow::Result<Self> {
        let mut left = BTreeMap::new();
        for place in partitions {
            let (first, end) = watermarks(member, &place)?;
            if first < end {
                left.insert(place, end);
            }
        }
        Ok(Self { left, asked: None })
    }

    /// Whether the member has got all of its partitions that is before their ends.
    pub(super) fn are_read(&self, member: &Member) -> bool {
        let Ok(positions) = member.positions() else { return false };
        member.assigned().iter().all(|place| {
            self.left.get(place).is_none_or(|end| positions.get(place).is_some_and(|at| at >= end))
        })
    }

    /// Whether the group has committed all that is before the ends; if `is_idle`, it is asked.
    pub(super) fn are_committed(&mut self, member: &Member, is_idle: bool) -> bool {
        let committed = member.committed();
        self.left.retain(|place, end| committed.get(place).is_none_or(|committed| committed < end));
        if is_idle && !self.left.is_empty() && self.asked.is_none_or(|asked| asked.elapsed() >= ASKED) {
            self.ask(member);
            self.asked = Some(Instant::now());
        }
        self.left.is_empty()
    }

    /// Asks for what others have committed, and for what has expired unread.
    fn ask(&mut self, member: &Member) {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in self.left.keys() {
            list.add_partition(topic, *partition);
        }
        // A broker that does not answer now is asked again.
        let Ok(committed) = member.consumer.committed_offsets(list, BROKER) else { return };
        for element in committed.elements() {
            let place = (element.topic().to_owned(), element.partition());
            let Some(end) = self.left.get(&place).copied() else { continue };
            let is_committed = matches!(element.offset(), Offset::Offset(offset) if offset >= end);
            let is_gone = || watermarks(member, &place).is_ok_and(|(first, _)| first >= end);
            if is_committed || is_gone() {
                self.left.remove(&place);
            }
        }
    }
}

/// The first offset of a partition, and the one behind the last that is decided.
fn watermarks(member: &Member, (topic, partition): &Place) -> anyhow::Result<(i64, i64)> {
    let until = Instant::now() + BROKER;
    loop {
        let watermarks = member.consumer.client().fetch_watermarks(topic, *partition, BROKER);
        let has_no_leader = |error: &KafkaError| {
            let code = error.rdkafka_error_code();
            matches!(
                code,
                Some(RDKafkaErrorCode::NotLeaderForPartition | RDKafkaErrorCode::LeaderNotAvailable)
            )
        };
        match watermarks {
            // A topic that was made a moment ago, or a broker that was started again.
            Err(error) if has_no_leader(&error) && Instant::now() < until => std::thread::sleep(PAUSE),
            other => {
                return other
                    .with_context(|| format!("the broker does not tell the end of {topic}-{partition}"));
            }
        }
    }
}

//! A member of a consumer group.
//!
//! In: the broker, the group and properties; what was delivered and is still to be. Out: records, and offsets that are
//! committed: only of partitions that the member has, and never beyond a record that is not in its table. Refused: properties
//! that would break that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::batch::Batch;
use crate::page::complain;

/// How long to wait for an answer of a broker.
pub(super) const BROKER: Duration = Duration::from_secs(15);
/// How often offsets that cannot be committed are tried again, and how long to wait between.
const COMMITS: u32 = 10;
const COMMIT_PAUSE: Duration = Duration::from_secs(1);

/// What a mapping does too, and may be changed. Little is fetched ahead: it takes memory.
const DEFAULTS: [(&str, &str); 4] = [
    ("auto.offset.reset", "earliest"),
    ("statistics.interval.ms", "5000"),
    ("queued.max.messages.kbytes", "16384"),
    ("fetch.max.bytes", "16777216"),
];
/// What each record once depends on.
const FIXED: [(&str, &str); 4] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
];

/// A partition of a topic.
pub(super) type Place = (String, i32);

/// The member.
pub(super) struct Member {
    pub(super) consumer: Arc<StreamConsumer<Events>>,
    /// Partitions of which something has come since they were assigned: what the consumer tells of their positions is true.
    has_come: BTreeSet<Place>,
    /// The next offset of each partition, as it is committed.
    committed: BTreeMap<Place, i64>,
    failed_commits: u32,
    next_commit: Option<Instant>,
    /// What was complained about last.
    complaint: String,
}

/// What the consumer calls while it is polled.
#[derive(Default)]
pub(super) struct Events(Mutex<State>);

#[derive(Default)]
struct State {
    assigned: BTreeSet<Place>,
    revoked: Vec<Place>,
    /// Records that are behind the partitions' positions, by the last statistics.
    behind: Option<u64>,
    /// What is to be said of the error that comes next.
    reason: String,
}

impl Events {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Events {
    // What matters of it is an error too.
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, _: KafkaError, reason: &str) {
        reason.clone_into(&mut self.state().reason);
    }

    fn stats(&self, statistics: Statistics) {
        let mut state = self.state();
        let lag = |(topic, partition): &Place| {
            let partition = statistics.topics.get(topic)?.partitions.get(partition)?;
            u64::try_from(partition.consumer_lag).ok()
        };
        state.behind = state.assigned.iter().map(lag).sum();
    }
}

impl ConsumerContext for Events {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut state = self.state();
        match rebalance {
            Rebalance::Assign(assigned) => state.assigned.extend(places(assigned)),
            Rebalance::Revoke(revoked) => {
                for place in places(revoked) {
                    state.assigned.remove(&place);
                    state.revoked.push(place);
                }
            }
            Rebalance::Error(error) => complain(format_args!("partitions cannot be assigned: {error}")),
        }
    }
}

fn places(list: &TopicPartitionList) -> Vec<Place> {
    list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect()
}

impl Member {
    /// A consumer of the broker at `bootstrap`, not yet a member.
    ///
    /// # Errors
    /// A property is none, or has a value that it cannot have here.
    pub(super) fn new(bootstrap: &str, group: &str, properties: &[String]) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", group);
        for (key, value) in DEFAULTS {
            config.set(key, value);
        }
        for property in properties {
            let (key, value) = property
                .split_once('=')
                .with_context(|| format!("--property {property}: expected KEY=VALUE"))?;
            match key {
                "bootstrap.servers" | "metadata.broker.list" => {
                    bail!("--property {property}: --bootstrap says that")
                }
                "group.id" => bail!("--property {property}: --group says that"),
                _ => {}
            }
            if let Some((_, fixed)) = FIXED.iter().find(|(name, _)| *name == key) {
                bail!("--property {property}: it is {fixed} here, or records would be lost or come twice");
            }
            config.set(key, value);
        }
        for (key, value) in FIXED {
            config.set(key, value);
        }
        let consumer = config.create_with_context(Events::default());
        let consumer = consumer.context("the consumer cannot be set up; see --property")?;
        Ok(Self {
            consumer: Arc::new(consumer),
            has_come: BTreeSet::new(),
            committed: BTreeMap::new(),
            failed_commits: 0,
            next_commit: None,
            complaint: String::new(),
        })
    }

    /// The cluster's own id. None if it has none, or no broker answers.
    pub(super) fn cluster(&self) -> Option<String> {
        self.consumer.client().fetch_cluster_id(BROKER).filter(|id| !id.is_empty())
    }

    pub(super) fn join(&self, topics: &[&str]) -> anyhow::Result<()> {
        self.consumer.subscribe(topics).context("the topics cannot be subscribed to")
    }

    /// Passes on the partitions that were revoked since the last time.
    pub(super) fn revoked(&mut self, mut of: impl FnMut(&str, i32)) {
        let revoked = std::mem::take(&mut self.consumer.context().state().revoked);
        for place in revoked {
            of(&place.0, place.1);
            self.has_come.remove(&place);
            self.committed.remove(&place);
        }
    }

    /// Notes that all that comes of these partitions, since they were assigned, has come or is still to.
    pub(super) fn have_come<'a>(&mut self, places: impl Iterator<Item = (&'a str, i32)>) {
        for (topic, partition) in places {
            self.has_come.insert((topic.to_owned(), partition));
        }
    }

    /// Notes that a partition of this number has been read to its end; which topic's is not told. Whatever it is, the
    /// consumer has by then let go of what was revoked before, so that its positions are those of the present assignment.
    pub(super) fn has_ended(&mut self, partition: i32) {
        let state = self.consumer.context().state();
        self.has_come.extend(state.assigned.iter().filter(|place| place.1 == partition).cloned());
    }

    /// Behind what was delivered of each partition, and behind the markers of transactions that follow.
    pub(super) fn positions(&self) -> anyhow::Result<BTreeMap<Place, i64>> {
        let positions = self.consumer.position().context("the consumer does not tell its positions")?;
        let known = positions.elements().into_iter().filter_map(|element| {
            let place = (element.topic().to_owned(), element.partition());
            match element.offset() {
                Offset::Offset(offset) if self.has_come.contains(&place) => Some((place, offset)),
                _ => None,
            }
        });
        Ok(known.collect())
    }

    /// The partitions that it has.
    pub(super) fn assigned(&self) -> BTreeSet<Place> {
        self.consumer.context().state().assigned.clone()
    }

    /// Records behind the positions, as far as it is known.
    pub(super) fn behind(&self) -> Option<u64> {
        self.consumer.context().state().behind
    }

    /// The next offset of each partition that this member has committed.
    pub(super) fn committed(&self) -> &BTreeMap<Place, i64> {
        &self.committed
    }

    /// Commits the offsets of all that was delivered, up to the first record of each partition that is still in `batch`. If
    /// the group has given a partition to another member meanwhile, nothing is committed, and the other has the records.
    ///
    /// # Errors
    /// The broker does not take them, however often.
    pub(super) fn commit(&mut self, batch: &Batch) -> anyhow::Result<()> {
        if self.next_commit.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let mut offsets = BTreeMap::new();
        for (place, position) in self.positions()? {
            let offset = batch.first(&place.0, place.1).map_or(position, |first| first.min(position));
            if self.committed.get(&place).is_none_or(|committed| *committed < offset) {
                offsets.insert(place, offset);
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in &offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        let Err(error) = self.consumer.commit(&list, CommitMode::Sync) else {
            self.committed.append(&mut offsets);
            (self.failed_commits, self.next_commit) = (0, None);
            return Ok(());
        };
        self.next_commit = Some(Instant::now() + COMMIT_PAUSE);
        let is_of_another = matches!(
            error.rdkafka_error_code(),
            Some(
                Code::RebalanceInProgress
                    | Code::IllegalGeneration
                    | Code::UnknownMemberId
                    | Code::FencedInstanceId
                    | Code::StaleMemberEpoch
                    | Code::AssignmentLost
            )
        );
        if !is_of_another {
            self.failed_commits += 1;
            if self.failed_commits == COMMITS {
                return Err(anyhow!(error)).context(
                    "the offsets cannot be committed; the tables have the records, and running the command again goes on",
                );
            }
        }
        self.complain(format!(
            "the offsets are not committed, and the tables tell what comes again: {error}"
        ));
        Ok(())
    }

    /// An error in place of a record.
    ///
    /// # Errors
    /// It will not pass.
    pub(super) fn failed(&mut self, error: &KafkaError) -> anyhow::Result<()> {
        let is_final = matches!(error, KafkaError::MessageConsumptionFatal(_))
            || matches!(
                error.rdkafka_error_code(),
                Some(
                    Code::TopicAuthorizationFailed
                        | Code::GroupAuthorizationFailed
                        | Code::UnknownTopicOrPartition
                        | Code::UnknownTopic
                        | Code::UnknownPartition
                        | Code::AutoOffsetReset
                )
            );
        let reason = std::mem::take(&mut self.consumer.context().state().reason);
        if is_final {
            bail!("the topics cannot be read: {error}: {reason}");
        }
        // That follows on the error of each broker, which says why.
        if error.rdkafka_error_code() != Some(Code::AllBrokersDown) {
            self.complain(format!("the consumer has an error and tries again: {error}: {reason}"));
        }
        Ok(())
    }

    fn complain(&mut self, what: String) {
        if what != self.complaint {
            complain(&what);
            self.complaint = what;
        }
    }
}

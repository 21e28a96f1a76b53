//! The records of one invocation, and what became of each.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::Error;
use iceberg::spec::DataFile;

use crate::error::reworded;
use crate::job::{CommitMetrics, Rejected};
use crate::offsets::{Offsets, Stream};
use crate::topic::TopicRecord;
use crate::write::Written;

/// What became of a record.
#[derive(Clone, Debug)]
pub enum TopicStatus {
    /// Its rows are in the table, and what is rejected of it in the quarantine.
    Committed,
    /// The table had it before.
    AlreadyCommitted,
    /// It could not be committed; it must be delivered again.
    Failed(Arc<Error>),
    /// There was no time for it; it must be delivered again.
    NotReached,
}

impl TopicStatus {
    /// Whether the record needs no further delivery.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Committed | Self::AlreadyCommitted)
    }
}

/// What an invocation has done with the records for one table.
#[derive(Debug, Default)]
pub struct TopicOutcome {
    /// What became of each record, in the order in which they were given.
    pub records: Vec<TopicStatus>,
    /// Rows appended.
    pub rows: u64,
    /// What is in the quarantine, by reason.
    pub rejected: Rejected,
    /// Records that hold no event on purpose, such as tombstones.
    pub dropped: u64,
    /// The snapshot that was committed, if there was something to commit.
    pub snapshot_id: Option<i64>,
    /// Current metadata file of the table, if the table exists.
    pub metadata_location: Option<String>,
    /// Data files that were added.
    pub data_files: usize,
    /// Their size in bytes.
    pub data_file_bytes: u64,
    /// What it took to commit.
    pub commit: CommitMetrics,
}

/// Records, and what is decided of each. A record is told by its index.
pub(super) struct Batch {
    records: Vec<Arc<TopicRecord>>,
    statuses: Vec<Option<TopicStatus>>,
    /// Of a record that came before in the batch: which one.
    repeats: HashMap<usize, usize>,
    pub(super) outcome: TopicOutcome,
}

impl Batch {
    pub(super) fn new(records: Vec<TopicRecord>) -> Self {
        let records: Vec<Arc<TopicRecord>> = records.into_iter().map(Arc::new).collect();
        let (mut first, mut repeats) = (HashMap::<(&Stream, i32, i64), usize>::new(), HashMap::new());
        for (at, record) in records.iter().enumerate() {
            let place = (&record.partition.stream, record.partition.partition, record.offset);
            match first.get(&place) {
                Some(first) => _ = repeats.insert(at, *first),
                None => _ = first.insert(place, at),
            }
        }
        drop(first);
        let statuses = vec![None; records.len()];
        Self { records, statuses, repeats, outcome: TopicOutcome::default() }
    }

    /// The records that are not decided, each once.
    fn undecided(&self) -> impl Iterator<Item = usize> {
        let is_open = |at: &usize| self.statuses[*at].is_none() && !self.repeats.contains_key(at);
        (0..self.records.len()).filter(is_open)
    }

    pub(super) fn pending(&self) -> Vec<(usize, Arc<TopicRecord>)> {
        self.undecided().map(|at| (at, self.records[at].clone())).collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.undecided().next().is_none()
    }

    pub(super) fn decide(&mut self, at: usize, status: TopicStatus) {
        self.statuses[at] = Some(status);
    }

    pub(super) fn fail_pending(&mut self, error: Error) {
        let error = Arc::new(error);
        for at in self.undecided().collect::<Vec<_>>() {
            self.decide(at, TopicStatus::Failed(error.clone()));
        }
    }

    /// The rows of the pending records need too many files. The first half of them may not; the others are delivered again.
    pub(super) fn hand_back_half(&mut self, error: &Error) {
        let error = Arc::new(reworded(error, error.message()));
        let pending: Vec<usize> = self.undecided().collect();
        for at in &pending[pending.len() / 2..] {
            self.decide(*at, TopicStatus::Failed(error.clone()));
        }
    }

    /// The offsets of the pending records.
    pub(super) fn offsets(&self) -> Offsets {
        let mut offsets = Offsets::default();
        for record in self.undecided().map(|at| &self.records[at]) {
            let partition = &record.partition;
            offsets.insert(&partition.stream, partition.partition, record.offset, record.timestamp_ms);
        }
        offsets
    }

    /// The pending records are in the table.
    pub(super) fn committed(&mut self, written: &Written, snapshot: Option<i64>) {
        for at in self.undecided().collect::<Vec<_>>() {
            self.decide(at, TopicStatus::Committed);
        }
        for tally in &written.tallies {
            self.outcome.rows += tally.rows;
            for (reason, count) in &tally.rejected {
                *self.outcome.rejected.entry(*reason).or_default() += count;
            }
        }
        self.outcome.dropped = written.dropped();
        self.outcome.snapshot_id = snapshot;
        self.outcome.data_files = written.files.len();
        self.outcome.data_file_bytes = written.files.iter().map(DataFile::file_size_in_bytes).sum();
    }

    /// What became of each; there was no time for those that are not decided.
    pub(super) fn into_outcome(self) -> TopicOutcome {
        let status = |at: usize| self.statuses[at].clone().unwrap_or(TopicStatus::NotReached);
        let first = |at| self.repeats.get(&at).copied();
        let records = (0..self.records.len()).map(|at| first(at).map_or_else(|| status(at), status));
        TopicOutcome { records: records.collect(), ..self.outcome }
    }
}

//! What an invocation has done, for those who watch.
//!
//! In: what became of its objects. Out: log lines, one per object and one for the invocation, and metrics. No line has
//! anything of the records' content.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use lake::{CommitMetrics, Kind, ObjectOutcome, Outcome, SourceObject, Status, by_code};
use lambda::metrics::Values;

use crate::handler::Failure;

/// Objects older than this are none that the stream delivers: no queue keeps a message, its redrive from a dead-letter
/// queue included, for longer than 28 days. Of what is appended by hand years later, freshness tells nothing.
const OLDEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Counts of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    committed: u64,
    known: u64,
    failed: BTreeMap<Kind, u64>,
    not_reached: u64,
    rows: u64,
    rows_known: u64,
    rows_quarantined: u64,
    dropped: u64,
    fields_ignored: u64,
    columns_added: usize,
    bytes_read: u64,
    data_files: usize,
    data_file_bytes: u64,
    commit: CommitMetrics,
    snapshot_id: Option<i64>,
    /// Of the committed object that was created first.
    freshness: Option<Duration>,
}

impl Report {
    /// Adds what lake did. `age` is the time since an object was created.
    pub(crate) fn add(&mut self, outcome: &Outcome, age: impl Fn(&SourceObject) -> Option<Duration>) {
        for object in &outcome.objects {
            log_object(object);
            match &object.status {
                Status::Committed { rows, known, rejected, dropped } => {
                    self.committed += 1;
                    self.dropped += dropped;
                    self.rows += rows;
                    self.rows_known += known;
                    self.rows_quarantined += rejected.values().sum::<u64>();
                    self.bytes_read += object.bytes_read;
                    let age = age(&object.object).filter(|age| *age <= OLDEST);
                    self.freshness = self.freshness.max(age);
                }
                Status::AlreadyCommitted => self.known += 1,
                Status::Ignored => {}
                Status::Failed(error) => *self.failed.entry(Kind::of(error)).or_default() += 1,
                Status::NotReached => self.not_reached += 1,
            }
        }
        self.fields_ignored = outcome.fields_ignored;
        self.columns_added = outcome.columns_added;
        self.data_files = outcome.data_files;
        self.data_file_bytes = outcome.data_file_bytes;
        self.commit = outcome.commit;
        self.snapshot_id = outcome.snapshot_id;
    }

    /// Adds that none of `objects` was committed, by an error of `kind`.
    pub(crate) fn add_failed(&mut self, objects: &[SourceObject], kind: Kind) {
        let mut named = HashSet::new();
        for object in objects.iter().filter(|object| named.insert(object.token)) {
            tracing::warn!(object = object.uri, "object not committed; it must be delivered again");
        }
        *self.failed.entry(kind).or_default() += named.len() as u64;
    }

    /// Logs the line of the invocation.
    pub(crate) fn log(&self, duration: Duration, failure: Option<&Failure>) {
        macro_rules! log_line {
            ($level:ident, $($other:tt)+) => {
                tracing::$level!(
                    objects_committed = self.committed,
                    objects_known = self.known,
                    objects_failed = self.failed.values().sum::<u64>(),
                    objects_not_reached = self.not_reached,
                    rows = self.rows,
                    rows_known = self.rows_known,
                    rows_quarantined = self.rows_quarantined,
                    dropped = self.dropped,
                    fields_ignored = self.fields_ignored,
                    columns_added = self.columns_added,
                    bytes_read = self.bytes_read,
                    data_files = self.data_files,
                    data_file_bytes = self.data_file_bytes,
                    commit_attempts = self.commit.attempts,
                    commit_conflicts = self.commit.conflicts,
                    commit_ms = self.commit.duration.as_millis() as u64,
                    freshness_seconds = self.freshness.map(|age| age.as_secs_f64()),
                    snapshot_id = self.snapshot_id,
                    duration_ms = duration.as_millis() as u64,
                    $($other)+
                )
            };
        }
        match failure {
            None => log_line!(info, "event handled"),
            Some(Failure { error_type, error_kind, error }) => {
                let error_kind = error_kind.map(Kind::name);
                log_line!(error, %error_type, error_kind, error = format!("{error:#}"), "invocation failed");
            }
        }
    }

    /// The metrics of the invocation. Latency and freshness are those of a commit, and there is not always one.
    pub(crate) fn metrics(&self) -> Values {
        let mut values: Values = vec![
            ("ObjectsCommitted", self.committed.into()),
            ("ObjectsKnown", self.known.into()),
            ("ObjectsFailed", self.failed.values().sum::<u64>().into()),
            ("ObjectsNotReached", self.not_reached.into()),
            ("RowsCommitted", self.rows.into()),
            ("RowsKnown", self.rows_known.into()),
            ("RowsQuarantined", self.rows_quarantined.into()),
            ("MessagesDropped", self.dropped.into()),
            ("FieldsIgnored", self.fields_ignored.into()),
            ("ColumnsAdded", self.columns_added.into()),
            ("DataFiles", self.data_files.into()),
            ("DataFileBytes", self.data_file_bytes.into()),
            ("BytesRead", self.bytes_read.into()),
            ("CommitAttempts", self.commit.attempts.into()),
            ("CommitConflicts", self.commit.conflicts.into()),
        ];
        if self.snapshot_id.is_some() {
            values.push(("CommitLatency", (self.commit.duration.as_millis() as u64).into()));
        }
        if let Some(age) = self.freshness {
            values.push(("Freshness", age.as_secs_f64().into()));
        }
        values
    }

    /// How many objects failed, by what helps.
    pub(crate) fn failed_by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.failed.iter().map(|(kind, count)| (kind.name(), *count))
    }
}

fn log_object(ObjectOutcome { object, status, bytes_read }: &ObjectOutcome) {
    let object = &object.uri;
    match status {
        Status::Committed { rows, known, rejected, dropped } => tracing::info!(
            object,
            rows,
            rows_known = known,
            rows_quarantined = rejected.values().sum::<u64>(),
            quarantined_by_code = by_code(rejected),
            dropped,
            bytes_read,
            "object committed"
        ),
        Status::AlreadyCommitted => tracing::info!(object, "object was committed before"),
        // lake has said why.
        Status::Ignored => {}
        Status::Failed(error) => {
            let error_kind = Kind::of(error).name();
            tracing::error!(object, error_kind, %error, "object failed; it must be delivered again");
        }
        Status::NotReached => tracing::warn!(object, "no time for the object; it must be delivered again"),
    }
}

//! What an invocation has done, for those who watch.
//!
//! In: what became of the records for each table. Out: log lines, one for each table and one for the invocation, and
//! metrics. No line has anything of the records' content.

use std::time::Duration;

use lake::{Kind, TopicOutcome, TopicStatus, by_code};
use lambda::metrics::Values;

use crate::handler::Failure;

/// Counts of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) received: usize,
    committed: usize,
    known: usize,
    failed: usize,
    dropped: u64,
    rows: u64,
    rows_quarantined: u64,
    conflicts: u32,
    commit: Option<Duration>,
    /// Of the committed record that is oldest.
    pub(crate) freshness: Option<Duration>,
}

impl Report {
    /// Adds what lake did for a table.
    pub(crate) fn add(&mut self, table: &str, outcome: &TopicOutcome) {
        let count = |is: fn(&TopicStatus) -> bool| outcome.records.iter().filter(|it| is(it)).count();
        let committed = count(|status| matches!(status, TopicStatus::Committed));
        let known = count(|status| matches!(status, TopicStatus::AlreadyCommitted));
        let failed = outcome.records.len() - committed - known;
        let quarantined = outcome.rejected.values().sum::<u64>();
        tracing::info!(
            table,
            records_committed = committed,
            records_known = known,
            records_failed = failed,
            records_dropped = outcome.dropped,
            rows = outcome.rows,
            rows_quarantined = quarantined,
            quarantined_by_code = by_code(&outcome.rejected),
            data_files = outcome.data_files,
            data_file_bytes = outcome.data_file_bytes,
            commit_attempts = outcome.commit.attempts,
            commit_conflicts = outcome.commit.conflicts,
            snapshot_id = outcome.snapshot_id,
            "records handled"
        );
        self.committed += committed;
        self.known += known;
        self.failed += failed;
        self.dropped += outcome.dropped;
        self.rows += outcome.rows;
        self.rows_quarantined += quarantined;
        self.conflicts += outcome.commit.conflicts;
        if outcome.snapshot_id.is_some() {
            self.commit = self.commit.max(Some(outcome.commit.duration));
        }
    }

    /// Adds that none of `count` records for a table was committed.
    pub(crate) fn add_failed(&mut self, count: usize) {
        self.failed += count;
    }

    /// Logs the line of the invocation.
    pub(crate) fn log(&self, duration: Duration, failure: Option<&Failure>) {
        macro_rules! log_line {
            ($level:ident, $($other:tt)+) => {
                tracing::$level!(
                    records_received = self.received,
                    records_committed = self.committed,
                    records_known = self.known,
                    records_failed = self.failed,
                    records_dropped = self.dropped,
                    rows = self.rows,
                    rows_quarantined = self.rows_quarantined,
                    freshness_seconds = self.freshness.map(|age| age.as_secs_f64()),
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
            ("KafkaRecordsReceived", self.received.into()),
            ("KafkaRecordsCommitted", self.committed.into()),
            ("KafkaRecordsKnown", self.known.into()),
            ("KafkaRecordsFailed", self.failed.into()),
            ("KafkaRecordsDropped", self.dropped.into()),
            ("KafkaRowsCommitted", self.rows.into()),
            ("KafkaRowsQuarantined", self.rows_quarantined.into()),
            ("KafkaCommitConflicts", self.conflicts.into()),
        ];
        if let Some(duration) = self.commit {
            values.push(("KafkaCommitLatency", (duration.as_millis() as u64).into()));
        }
        if let Some(age) = self.freshness {
            values.push(("KafkaFreshness", age.as_secs_f64().into()));
        }
        values
    }
}

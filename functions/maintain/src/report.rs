//! What an invocation has done, for those who watch.
//!
//! In: what became of each table, and of delivered objects. Out: log lines, one for each table and one for the invocation,
//! and metrics.

use std::time::Duration;

use iceberg::TableIdent;
use lake::{Compacted, Error, Kind};
use lambda::metrics::Values;

use crate::handler::{Failure, Maintained, TableReport};

/// Counts of one invocation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) done: Maintained,
    failed: u64,
}

impl Report {
    /// Adds what compaction did to a table.
    pub(crate) fn add(&mut self, table: &TableIdent, compacted: &Compacted) {
        let report = TableReport {
            files_compacted: compacted.files_before,
            files_made: compacted.files_after,
            bytes_compacted: compacted.bytes_before,
            bytes_made: compacted.bytes_after,
            rows: compacted.rows,
            commits: compacted.commits,
            outdated: compacted.outdated,
            left: compacted.left.iter().map(|(why, count)| (why.name(), *count)).collect(),
            is_unfinished: compacted.is_unfinished,
            error: None,
        };
        tracing::info!(
            %table,
            files_compacted = report.files_compacted,
            files_made = report.files_made,
            bytes_compacted = report.bytes_compacted,
            bytes_made = report.bytes_made,
            rows = report.rows,
            commits = report.commits,
            commit_attempts = compacted.commit.attempts,
            commit_conflicts = compacted.commit.conflicts,
            outdated = report.outdated,
            left = ?report.left,
            is_unfinished = report.is_unfinished,
            "table compacted"
        );
        self.done.tables.insert(table.to_string(), report);
    }

    /// Adds that a table could not be looked after.
    pub(crate) fn add_failed(&mut self, table: &TableIdent, error: &Error) {
        tracing::error!(%table, error_kind = error.kind.name(), %error, "table not compacted");
        self.failed += 1;
        let report = TableReport { error: Some(error.to_string()), ..TableReport::default() };
        self.done.tables.insert(table.to_string(), report);
    }

    fn sum(&self, count: impl Fn(&TableReport) -> u64) -> u64 {
        self.done.tables.values().map(count).sum()
    }

    /// Logs the line of the invocation.
    pub(crate) fn log(&self, duration: Duration, failure: Option<&Failure>) {
        let pending = self.done.pending.as_ref();
        macro_rules! log_line {
            ($level:ident, $($other:tt)+) => {
                tracing::$level!(
                    tables = self.done.tables.len(),
                    tables_failed = self.failed,
                    files_compacted = self.sum(|table| table.files_compacted),
                    files_made = self.sum(|table| table.files_made),
                    objects_delivered = pending.map(|pending| pending.delivered),
                    objects_pending = pending.map(|pending| pending.pending),
                    duration_ms = duration.as_millis() as u64,
                    $($other)+
                )
            };
        }
        match failure {
            None => log_line!(info, "tables maintained"),
            Some(Failure { error_type, error_kind, error }) => {
                let error_kind = error_kind.map(Kind::name);
                log_line!(error, %error_type, error_kind, error = format!("{error:#}"), "invocation failed");
            }
        }
    }

    /// The metrics of the invocation. Of what was not looked at nothing is said.
    pub(crate) fn metrics(&self) -> Values {
        let mut values: Values = vec![
            ("FilesCompacted", self.sum(|table| table.files_compacted).into()),
            ("FilesMade", self.sum(|table| table.files_made).into()),
            ("RowsCompacted", self.sum(|table| table.rows).into()),
            ("BytesCompacted", self.sum(|table| table.bytes_compacted).into()),
            ("CompactionsOutdated", self.sum(|table| table.outdated).into()),
            ("CompactionsUnfinished", self.sum(|table| u64::from(table.is_unfinished)).into()),
            ("TablesFailed", self.failed.into()),
        ];
        if let Some(swept) = &self.done.swept {
            values.push(("OrphansDeleted", swept.deleted.into()));
        }
        if let Some(pending) = &self.done.pending {
            values.push(("PendingObjects", pending.pending.into()));
            values.extend(pending.oldest_seconds.map(|age| ("PendingAge", age.into())));
        }
        values
    }
}

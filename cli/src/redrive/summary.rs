//! What a redrive did, for people and for programs.
//!
//! In: what was put back, what append said, and what stays. Out: a page on standard output, or one JSON object.

use std::collections::BTreeMap;

use anyhow::bail;
use indicatif::HumanCount;
use lake::{Outcome, Status, TopicOutcome};
use serde::Serialize;

use super::quarantine::QuarantineFile;
use crate::page::{line, out, print_json};

/// Reasons to stay that the page shows.
const SHOWN_REASONS: usize = 20;

#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Files that were in the quarantine.
    quarantine_files: u64,
    /// Those of which rows were put back.
    pub(super) files: u64,
    /// Records in them.
    pub(super) records: u64,
    /// Objects of Firehose that were delivered.
    pub(super) error_objects: u64,
    /// Batches of Kafka records that were delivered, which their mapping had given up.
    pub(super) failed_batches: u64,
    /// Objects of both kinds that were in a table before.
    objects_already_committed: u64,
    rows: u64,
    rows_quarantined: u64,
    rows_quarantined_by_reason: BTreeMap<&'static str, u64>,
    records_left: u64,
    left: Vec<Left>,
    pub(super) errors: Vec<String>,
    pub(super) seconds: f64,
}

/// Lines that stay in the quarantine.
#[derive(Debug, Serialize)]
struct Left {
    file: String,
    records: u64,
    why: String,
}

impl Summary {
    /// For so many quarantine files, and error objects that are in a table already.
    pub(super) fn new(quarantine_files: usize, known_error_objects: usize) -> Self {
        Self {
            quarantine_files: quarantine_files as u64,
            objects_already_committed: known_error_objects as u64,
            ..Self::default()
        }
    }

    pub(super) fn leave(&mut self, file: &QuarantineFile, why: &str, records: u64) {
        self.records_left += records;
        let file = format!("errors/quarantine/{}", file.place);
        self.left.push(Left { file, records, why: why.to_owned() });
    }

    pub(super) fn add(&mut self, outcome: &Outcome) {
        for object in &outcome.objects {
            match &object.status {
                Status::Committed { rows, rejected, .. } => {
                    self.rows += rows;
                    for (reason, count) in rejected {
                        self.rows_quarantined += count;
                        *self.rows_quarantined_by_reason.entry(reason.code()).or_default() += count;
                    }
                }
                Status::AlreadyCommitted => self.objects_already_committed += 1,
                // Delivered again, and counted then.
                Status::Failed(_) | Status::NotReached | Status::Ignored => {}
            }
        }
    }

    /// Adds what came of records of topics.
    pub(super) fn add_records(&mut self, outcome: &TopicOutcome) {
        self.rows += outcome.rows;
        for (reason, count) in &outcome.rejected {
            self.rows_quarantined += count;
            *self.rows_quarantined_by_reason.entry(reason.code()).or_default() += count;
        }
    }

    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        print_json(self)?;
        self.complain()
    }

    /// `name` is that of the lake, `errors` where its quarantine is.
    pub(super) fn print(&self, name: &str, errors: &str) -> anyhow::Result<()> {
        let reasons: Vec<String> =
            self.rows_quarantined_by_reason.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let again = match self.rows_quarantined {
            0 => String::new(),
            _ => format!("kept in {errors}/quarantine: {}", reasons.join(", ")),
        };
        let already = match self.objects_already_committed {
            0 => String::new(),
            count => format!("{} objects were committed before", HumanCount(count)),
        };
        out!("{name}");
        line(
            "files",
            self.files,
            &format!("put back, of {} in the quarantine", HumanCount(self.quarantine_files)),
        );
        line("records", self.records, "in them");
        line("of Firehose", self.error_objects, "objects in errors/processing-failed");
        if self.failed_batches > 0 {
            line("of Kafka", self.failed_batches, "batches that their event source mapping had given up");
        }
        line("rows", self.rows, &already);
        line("quarantined", self.rows_quarantined, &again);
        line("left", self.records_left, if self.left.is_empty() { "" } else { "--json names the files" });
        let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
        for Left { records, why, .. } in &self.left {
            *by_reason.entry(why).or_default() += records;
        }
        for (why, records) in by_reason.iter().take(SHOWN_REASONS) {
            line("", *records, why);
        }
        if let Some(more) = by_reason.len().checked_sub(SHOWN_REASONS).filter(|more| *more > 0) {
            out!("  and {} more reasons", HumanCount(more as u64));
        }
        self.complain()
    }

    fn complain(&self) -> anyhow::Result<()> {
        if !self.errors.is_empty() {
            bail!("{}", self.errors.join("; "));
        }
        Ok(())
    }
}

//! What `frazil kafka` did, for people and for programs.
//!
//! In: what msk has done with each batch. Out: lines of progress on standard error, and at the end a page on standard output
//! or one JSON object.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iceberg::TableIdent;
use indicatif::HumanCount;
use lake::{TopicOutcome, TopicStatus};
use serde::Serialize;

use super::group::Place;
use crate::page::{complain, counted, line, out, print_json};
use crate::warehouse::Folders;

/// How long between two lines of progress at least.
const BETWEEN: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Records that are in the tables, or were dropped on purpose.
    pub(super) records: u64,
    /// Those of them that the tables had before.
    known: u64,
    rows: u64,
    rows_quarantined: u64,
    rows_quarantined_by_reason: BTreeMap<&'static str, u64>,
    /// Records that hold no event on purpose.
    dropped: u64,
    pub(super) invocations: u64,
    commits: u64,
    rows_by_table: BTreeMap<String, u64>,
    /// The next offset of each partition that was committed.
    #[serde(serialize_with = "by_name")]
    pub(super) next: BTreeMap<Place, i64>,
    pub(super) seconds: f64,
    #[serde(skip)]
    told: (Instant, u64),
}

fn by_name<S: serde::Serializer>(next: &BTreeMap<Place, i64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer
        .collect_map(next.iter().map(|((topic, partition), next)| (format!("{topic}-{partition}"), next)))
}

impl Summary {
    pub(super) fn new() -> Self {
        Self {
            records: 0,
            known: 0,
            rows: 0,
            rows_quarantined: 0,
            rows_quarantined_by_reason: BTreeMap::new(),
            dropped: 0,
            invocations: 0,
            commits: 0,
            rows_by_table: BTreeMap::new(),
            next: BTreeMap::new(),
            seconds: 0.0,
            told: (Instant::now(), 0),
        }
    }

    /// Counts what msk did in an invocation.
    pub(super) fn add(&mut self, outcomes: &[(TableIdent, TopicOutcome)]) {
        for (table, outcome) in outcomes {
            let is_known = |status: &&TopicStatus| matches!(status, TopicStatus::AlreadyCommitted);
            self.known += outcome.records.iter().filter(is_known).count() as u64;
            self.rows += outcome.rows;
            self.dropped += outcome.dropped;
            self.commits += u64::from(outcome.snapshot_id.is_some());
            *self.rows_by_table.entry(table.to_string()).or_default() += outcome.rows;
            for (reason, count) in &outcome.rejected {
                self.rows_quarantined += count;
                *self.rows_quarantined_by_reason.entry(reason.code()).or_default() += count;
            }
        }
    }

    /// A line of progress, if there was some and the last line was long ago. `behind` are records that are still to come.
    pub(super) fn tell(&mut self, behind: Option<u64>) {
        let (when, records) = self.told;
        if records == self.records || when.elapsed() < BETWEEN {
            return;
        }
        self.told = (Instant::now(), self.records);
        let behind = behind.map_or_else(String::new, |it| format!("; {} behind", HumanCount(it)));
        complain(format_args!(
            "{}, {} in {}{behind}",
            counted(self.records, "record"),
            counted(self.rows, "row"),
            counted(self.commits, "commit"),
        ));
    }

    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        print_json(self)
    }

    pub(super) fn print(&self, folders: &Folders) -> anyhow::Result<()> {
        line("records", self.records, &format!("in {} of msk", counted(self.invocations, "invocation")));
        if self.known > 0 {
            line("known", self.known, "the tables had them");
        }
        line("dropped", self.dropped, "");
        let kept = format!("kept in {}/errors/quarantine", folders.root.display());
        line("quarantined", self.rows_quarantined, if self.rows_quarantined > 0 { &kept } else { "" });
        line("rows", self.rows, &format!("{:.2} s, {}", self.seconds, counted(self.commits, "commit")));
        for (table, rows) in &self.rows_by_table {
            out!("  {:>20} in {table}", HumanCount(*rows).to_string());
        }
        for (reason, count) in &self.rows_quarantined_by_reason {
            out!("  {:>20} {reason}", HumanCount(*count).to_string());
        }
        Ok(())
    }
}

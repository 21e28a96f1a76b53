//! What a replay did, for people and for programs.
//!
//! In: counts of every stage and the table. Out: a page on standard output, or one JSON object.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use iceberg::TableIdent;
use iceberg::spec::{PrimitiveType, Type};
use iceberg::table::Table;
use indicatif::{HumanBytes, HumanCount};
use lake::{Outcome, Status};
use serde::Serialize;

use super::counts::Counts;
use super::first_rows::first_rows;
use super::refusals::{Example, Refusals, Refused};
use crate::page::{counted, line, out, print_json};
use crate::warehouse::Folders;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    table: String,
    records: u64,
    ok: u64,
    failed: u64,
    /// Records that hold no event on purpose.
    dropped: u64,
    invocations: u64,
    objects: u64,
    objects_already_committed: u64,
    rows: u64,
    /// Rows that the table had before.
    rows_known: u64,
    rows_quarantined: u64,
    rows_quarantined_by_reason: BTreeMap<&'static str, u64>,
    /// Why records are among `failed` and `rows_quarantined`.
    refusals: Refusals,
    /// Rows of each table, where records name their tables.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rows_by_table: BTreeMap<String, u64>,
    data_files: usize,
    data_file_bytes: u64,
    snapshot_id: Option<i64>,
    metadata_location: Option<String>,
    /// Inputs that hold no record.
    empty: Vec<String>,
    damaged: Vec<String>,
    /// Columns of an inferred table that hold whole numbers so far. They take no fraction.
    whole_number_columns: Vec<String>,
    /// What could not be shown. It changes nothing in the table.
    pub(super) warnings: Vec<String>,
    pub(super) seconds: f64,
    /// Why the exit status is 1.
    error: Option<String>,
}

impl Summary {
    pub(super) fn new(table: &TableIdent) -> Self {
        Self {
            table: table.to_string(),
            records: 0,
            ok: 0,
            failed: 0,
            dropped: 0,
            invocations: 0,
            objects: 0,
            objects_already_committed: 0,
            rows: 0,
            rows_known: 0,
            rows_quarantined: 0,
            rows_quarantined_by_reason: BTreeMap::new(),
            refusals: Refusals::default(),
            rows_by_table: BTreeMap::new(),
            data_files: 0,
            data_file_bytes: 0,
            snapshot_id: None,
            metadata_location: None,
            empty: Vec::new(),
            damaged: Vec::new(),
            whole_number_columns: Vec::new(),
            warnings: Vec::new(),
            seconds: 0.0,
            error: None,
        }
    }

    pub(super) fn add_transformed(&mut self, counts: Counts) {
        self.records = counts.records;
        self.ok = counts.ok;
        self.failed = counts.failed;
        self.dropped = counts.dropped;
        self.invocations = counts.invocations;
        self.refusals.append(counts.refusals);
        self.empty = counts.empty;
        self.damaged = counts.damaged;
    }

    /// Counts what append did. `quarantine` is the folder of the table's quarantine.
    pub(super) fn add_appended(&mut self, quarantine: &Path, outcome: &Outcome) {
        for object in &outcome.objects {
            match &object.status {
                Status::Committed { rows, known, rejected, dropped: _ } => {
                    self.objects += 1;
                    self.rows += rows;
                    self.rows_known += known;
                    self.refusals.add_rejected(quarantine, &object.object, rejected);
                    for (reason, count) in rejected {
                        self.rows_quarantined += count;
                        *self.rows_quarantined_by_reason.entry(reason.code()).or_default() += count;
                    }
                }
                Status::AlreadyCommitted => {
                    self.objects += 1;
                    self.objects_already_committed += 1;
                }
                // Delivered again, and counted then.
                Status::Failed(_) | Status::NotReached | Status::Ignored => {}
            }
        }
        for table in &outcome.tables {
            *self.rows_by_table.entry(table.table.to_string()).or_default() += table.rows;
        }
        self.data_files += outcome.data_files;
        self.data_file_bytes += outcome.data_file_bytes;
    }

    pub(super) fn describe(&mut self, table: &Table) {
        self.snapshot_id = table.metadata().current_snapshot_id();
        self.metadata_location = table.metadata_location().map(str::to_owned);
    }

    /// Notes which columns of the inferred `table` may turn out to hold fractions.
    pub(super) fn warn_of_whole_numbers(&mut self, table: &Table) {
        let schema = table.metadata().current_schema();
        let longs = schema.field_id_to_name_map().iter().filter(|(id, _)| {
            let field = schema.field_by_id(**id);
            field.is_some_and(|field| *field.field_type == Type::Primitive(PrimitiveType::Long))
        });
        self.whole_number_columns = longs.map(|(_, name)| name.clone()).collect();
        self.whole_number_columns.sort_unstable();
    }

    pub(super) fn print_json(&mut self) -> anyhow::Result<()> {
        self.error = self.verdict();
        print_json(self)?;
        self.complain()
    }

    /// Prints the page, with the first rows of `table`.
    pub(super) async fn print(&mut self, folders: &Folders, table: Option<Table>) -> anyhow::Result<()> {
        let root = folders.root.display();
        let rate = match self.rows {
            0 => String::new(),
            rows => format!(", {} rows/s", HumanCount((rows as f64 / self.seconds) as u64)),
        };
        let kept = |count: u64, place: &str| {
            if count > 0 { format!("kept in {root}/errors/{place}") } else { String::new() }
        };
        let already = match self.objects_already_committed {
            0 => String::new(),
            count => format!("{} of them committed before", HumanCount(count)),
        };
        out!("{}", self.table);
        line(
            "records",
            self.records,
            &format!("in {} of transform", counted(self.invocations, "invocation")),
        );
        line("ok", self.ok, "");
        line("failed", self.failed, &kept(self.failed, "processing-failed"));
        if self.dropped > 0 {
            line("dropped", self.dropped, "control messages, tombstones and empty arrays: no events");
        }
        line("objects", self.objects, &already);
        line("rows", self.rows, &format!("{:.2} s{rate}", self.seconds));
        for (table, rows) in &self.rows_by_table {
            out!("  {:>20} in {table}", HumanCount(*rows).to_string());
        }
        line("quarantined", self.rows_quarantined, &kept(self.rows_quarantined, "quarantine"));
        line("files", self.data_files as u64, &HumanBytes(self.data_file_bytes).to_string());
        if let Some(snapshot) = self.snapshot_id {
            out!("  {:<12}{snapshot}", "snapshot");
        }
        if let Some(metadata) = &self.metadata_location {
            out!("  {:<12}{metadata}", "metadata");
        }
        self.print_refusals(folders);
        if !self.whole_number_columns.is_empty() {
            out!("");
            out!("  whole numbers so far: {}", self.whole_number_columns.join(", "));
            out!(
                "    Such a column takes no fraction, ever: where one may come, create the table by frazil infer --numbers"
            );
        }
        if let Some(table) = table {
            match first_rows(table).await {
                Ok(rows) => {
                    out!("");
                    for row in rows {
                        out!("  {row}");
                    }
                }
                Err(error) => {
                    self.warnings.push(format!("rows cannot be shown: {error:#}; see frazil audit"));
                }
            }
        }
        for warning in &self.warnings {
            out!("");
            out!("  {warning}");
        }
        self.error = self.verdict();
        self.complain()
    }

    fn print_refusals(&self, folders: &Folders) {
        for Refused { reason, records, first, .. } in self.refusals.iter() {
            out!("");
            let Some(Example { object, row, offset, message, remedy }) = first else {
                out!("  {reason}: {}", counted(*records, "record"));
                continue;
            };
            let place = object.strip_prefix(&folders.root_uri).unwrap_or(object).trim_start_matches('/');
            out!(
                "  {reason}: {}, such as record {row} of {place}, at byte {offset}:",
                counted(*records, "record")
            );
            out!("    {message}");
            out!("    {remedy}");
        }
        // Where all are, the error says so.
        if !self.empty.is_empty() && self.records > 0 {
            out!("");
            out!("  {}", self.empty_inputs());
        }
    }

    fn empty_inputs(&self) -> String {
        let verb = if self.empty.len() == 1 { "holds" } else { "hold" };
        format!(
            "{} {verb} no record, so nothing was appended from there. If events are missing, look at what writes it",
            self.empty.join(", ")
        )
    }

    /// Why the exit status is 1. The rows of a damaged input stand as far as it could be read, but a script must see that
    /// it was damaged; and that nothing got in.
    fn verdict(&self) -> Option<String> {
        let got_in = self.rows + self.rows_known + self.objects_already_committed;
        if !self.damaged.is_empty() {
            return Some(format!("{}; what was read before stands", self.damaged.join("; ")));
        }
        match (got_in, self.records) {
            (0, 0) => Some(self.empty_inputs()),
            (0, _) => {
                let refused = self.refusals.iter();
                let reasons: Vec<String> = refused
                    .map(|refused| format!("{} {}", refused.reason, HumanCount(refused.records)))
                    .collect();
                if reasons.is_empty() && self.dropped > 0 {
                    let dropped = counted(self.dropped, "record");
                    return Some(format!("no record got into {}: {dropped} without an event", self.table));
                }
                let hint = if self.ok == 0 {
                    ". A replay reads JSON objects: convert other formats first"
                } else {
                    ""
                };
                Some(format!("no record got into {}: {}{hint}", self.table, reasons.join(", ")))
            }
            _ => None,
        }
    }

    fn complain(&self) -> anyhow::Result<()> {
        self.error.as_ref().map_or(Ok(()), |error| Err(anyhow!("{error}")))
    }
}

//! What an audit found, for people and for programs.
//!
//! In: counts and findings. Out: a page on standard output, or one JSON object.

use indicatif::HumanCount;
use serde::Serialize;

use super::topics::TopicCounts;
use crate::page::{counted, line, out};

/// Findings of one kind that the page shows; the JSON has all.
const SHOWN_FINDINGS: usize = 100;

/// What may be wrong, in the order in which it is shown. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The catalog's database is damaged.
    DamagedCatalog,
    /// A metadata file, manifest list or manifest is gone or damaged.
    UnreadableMetadata,
    /// The ledger of tokens that a table names is gone or damaged.
    LostLedger,
    /// A data or delete file is gone.
    MissingDataFile,
    /// A data or delete file has another size, row count or content than its manifest says.
    DamagedDataFile,
    /// A file of the quarantine was cut or changed.
    DamagedQuarantine,
    /// An object is in no table.
    PendingObject,
    /// A table knows an object that is gone.
    MissingObject,
    /// Whether an object, or rows of a file, are in a table cannot be told.
    CannotTell,
    /// A table has fewer rows of an object than the object has.
    RowsMissing,
    /// All rows of an object were in the table, and a later snapshot has deleted some.
    RowsDeleted,
    /// A table has more rows of an object than the object has.
    RowsSurplus,
    /// Several rows have the same `record_id`.
    RecordIdTwice,
    /// The same version of an object was committed twice.
    TokenTwice,
}

impl Kind {
    /// As JSON writes it.
    fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    /// URI of the file or object, or the id or the table that it is about.
    pub(super) name: String,
    /// What is wrong with it, and what to do.
    pub(super) detail: String,
}

/// The counts of one table, or of all.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Records of the objects that the table has. In the sum over all tables an object counts once for each that has
    /// it, and those that no table has are among them.
    pub(super) rows_in_objects: u64,
    /// Rows that come from objects of this warehouse.
    pub(super) rows_in_tables: u64,
    pub(super) rows_quarantined: u64,
    pub(super) rows_redriven: u64,
    /// Messages that hold no record on purpose, of which nothing is kept. They are none of the records above.
    pub(super) messages_dropped: u64,
    /// Rows that other writers brought.
    pub(super) rows_of_other_origin: u64,
    pub(super) record_ids_twice: u64,
    /// Delete files are among them.
    pub(super) data_files_checked: u64,
    pub(super) snapshots: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.rows_in_objects += other.rows_in_objects;
        self.rows_in_tables += other.rows_in_tables;
        self.rows_quarantined += other.rows_quarantined;
        self.rows_redriven += other.rows_redriven;
        self.messages_dropped += other.messages_dropped;
        self.rows_of_other_origin += other.rows_of_other_origin;
        self.record_ids_twice += other.record_ids_twice;
        self.data_files_checked += other.data_files_checked;
        self.snapshots += other.snapshots;
    }
}

/// The counts of one table.
#[derive(Debug, Serialize)]
pub(super) struct TableCounts {
    pub(super) table: String,
    pub(super) objects: u64,
    /// Whether its rows name the objects that they are from. If not, only their sum can be told.
    pub(super) names_objects: bool,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// The records of Kafka topics, if it has taken any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kafka: Option<TopicCounts>,
}

/// The result of an audit.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) warehouse: String,
    pub(super) objects: u64,
    pub(super) objects_committed: u64,
    pub(super) objects_pending: u64,
    /// Objects of which nothing tells whether they are in a table.
    pub(super) objects_untold: u64,
    /// Records of the pending objects.
    pub(super) rows_pending: u64,
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// What transform refused and Firehose keeps, and no table has.
    pub(super) processing_failed_objects: u64,
    pub(super) processing_failed_records: u64,
    /// Files that a killed writer left half written.
    pub(super) unfinished_files: u64,
    /// Quarantine files of attempts that were never committed: another commit took their objects and accounts for them.
    pub(super) stale_quarantine_files: u64,
    /// Records in them. They are in no sum.
    pub(super) stale_quarantine_records: u64,
    pub(super) tables: Vec<TableCounts>,
    pub(super) findings: Vec<Finding>,
}

impl Report {
    pub(super) fn find(&mut self, kind: Kind, name: impl Into<String>, detail: impl Into<String>) {
        self.findings.push(Finding { kind, name: name.into(), detail: detail.into() });
    }

    pub(super) fn add_table(&mut self, table: TableCounts) {
        self.counts.add(&table.counts);
        self.tables.push(table);
    }

    pub(super) fn print(&self) {
        out!("{}", self.warehouse);
        let (committed, pending) = (HumanCount(self.objects_committed), HumanCount(self.objects_pending));
        let untold = match self.objects_untold {
            0 => String::new(),
            count => format!(" + {} that cannot be told", HumanCount(count)),
        };
        line("objects", self.objects, &format!("= {committed} committed + {pending} pending{untold}"));
        if self.processing_failed_objects > 0 {
            let objects = counted(self.processing_failed_objects, "object");
            line(
                "failed",
                self.processing_failed_records,
                &format!("refused by transform, kept by Firehose in {objects}"),
            );
        }
        if self.unfinished_files > 0 {
            line("unfinished", self.unfinished_files, "files of writers that were killed; see frazil sweep");
        }
        if self.stale_quarantine_files > 0 {
            let what = "quarantine files of attempts that were never committed; harmless, see frazil sweep";
            line("stale", self.stale_quarantine_files, what);
        }
        for TableCounts { table, objects, names_objects, counts, kafka } in &self.tables {
            out!("{table}");
            if !names_objects {
                out!(
                    "  its rows do not name their objects, so only their sum is checked: ALTER TABLE {table}"
                );
                out!("  ADD COLUMN file_name string, before snapshots expire");
            }
            line("objects", *objects, "");
            line("records", counts.rows_in_objects, &equation(counts));
            if counts.messages_dropped > 0 {
                let what =
                    "messages of these objects that hold no record on purpose; nothing of them is kept";
                line("dropped", counts.messages_dropped, what);
            }
            if let Some(kafka) = kafka {
                let TopicCounts { records, records_with_rows, records_quarantined, records_dropped, .. } =
                    kafka;
                let told = records_with_rows + records_quarantined + records_dropped;
                let sign = if *records == told { "=" } else { "≠" };
                let [rows, quarantined, dropped] =
                    [records_with_rows, records_quarantined, records_dropped].map(|count| HumanCount(*count));
                let what = format!("{sign} {rows} with rows + {quarantined} quarantined + {dropped} dropped");
                line("of Kafka", *records, &what);
                let partitions = kafka.partitions.len() as u64;
                line("partitions", partitions, "--json has the next offset of each");
            }
            if counts.rows_of_other_origin > 0 {
                line("other rows", counts.rows_of_other_origin, "that come from no object of this warehouse");
            }
            line("twice", counts.record_ids_twice, "record ids");
            line(
                "files",
                counts.data_files_checked,
                &format!("in {}", counted(counts.snapshots, "snapshot")),
            );
        }
        out!("");
        self.print_findings();
    }

    fn print_findings(&self) {
        let has_kafka = self.tables.iter().any(|table| table.kafka.is_some());
        if self.findings.is_empty() && self.objects == 0 && has_kafka {
            out!("Every Kafka record that was committed is in, nothing is lost, nothing is twice.");
            return;
        }
        if self.findings.is_empty() && self.objects == 0 {
            out!("There is no object yet: nothing to prove.");
            return;
        }
        if self.findings.is_empty() {
            out!("Every object is in, nothing is lost, nothing is twice.");
            return;
        }
        out!("{}", counted(self.findings.len() as u64, "finding"));
        for same in self.findings.chunk_by(|one, next| one.kind == next.kind) {
            for Finding { kind, name, detail } in same.iter().take(SHOWN_FINDINGS) {
                out!("  {:<20}{name}: {detail}", kind.name());
            }
            if let (Some(first), more @ 1..) = (same.first(), same.len().saturating_sub(SHOWN_FINDINGS)) {
                out!("  {:<20}and {} more; --json has all", first.kind.name(), HumanCount(more as u64));
            }
        }
    }
}

/// What became of the records of a table's objects.
fn equation(counts: &Counts) -> String {
    let Counts { rows_in_objects, rows_in_tables, rows_quarantined, rows_redriven, .. } = counts;
    let sign =
        if *rows_in_objects == rows_in_tables + rows_quarantined + rows_redriven { "=" } else { "≠" };
    let redriven = match rows_redriven {
        0 => String::new(),
        count => format!(" + {} redriven", HumanCount(*count)),
    };
    format!(
        "{sign} {} rows + {} quarantined{redriven}",
        HumanCount(*rows_in_tables),
        HumanCount(*rows_quarantined)
    )
}

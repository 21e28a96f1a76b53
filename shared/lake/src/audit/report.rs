//! What an audit found.
//!
//! In: counts and findings. Out: a [`Report`], which whoever asked for the audit shows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::topics::TopicCounts;

/// Findings of one kind that are kept. More are counted.
const KEPT_FINDINGS: u64 = 100_000;

/// What may be wrong, in the order in which it is shown. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
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
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Something that is wrong.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What kind of wrong.
    pub kind: Kind,
    /// URI of the file or object, or the id or the table that it is about.
    pub name: String,
    /// What is wrong with it, and what to do.
    pub detail: String,
}

/// The counts of one table, or of all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Records of the objects that the table has. In the sum over all tables an object counts once for each that has
    /// it, and those that no table has are among them.
    pub rows_in_objects: u64,
    /// Rows that come from objects of this warehouse.
    pub rows_in_tables: u64,
    /// Records in the quarantine.
    pub rows_quarantined: u64,
    /// Records whose lines were put back.
    pub rows_redriven: u64,
    /// Messages that hold no record on purpose, of which nothing is kept. They are none of the records above.
    pub messages_dropped: u64,
    /// Rows that other writers brought.
    pub rows_of_other_origin: u64,
    /// Ids that several rows have.
    pub record_ids_twice: u64,
    /// Delete files are among them.
    pub data_files_checked: u64,
    /// Snapshots that are there.
    pub snapshots: u64,
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
pub struct TableCounts {
    /// `NAMESPACE.NAME`.
    pub table: String,
    /// Objects that it has.
    pub objects: u64,
    /// Whether its rows name the objects that they are from. If not, only their sum can be told.
    pub names_objects: bool,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The records of Kafka topics, if it has taken any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<TopicCounts>,
}

/// The result of an audit.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The folder, or the catalog.
    pub warehouse: String,
    /// Which keys alone count, and from which time on, RFC 3339; None if all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// As above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Objects.
    pub objects: u64,
    /// Those that are in a table.
    pub objects_committed: u64,
    /// Those that are in none.
    pub objects_pending: u64,
    /// Objects of which nothing tells whether they are in a table.
    pub objects_untold: u64,
    /// Records of the pending objects.
    pub rows_pending: u64,
    /// The sums.
    #[serde(flatten)]
    pub counts: Counts,
    /// What transform refused and Firehose keeps, and no table has.
    pub processing_failed_objects: u64,
    /// Records in these.
    pub processing_failed_records: u64,
    /// Files that a killed writer left half written.
    pub unfinished_files: u64,
    /// Quarantine files of attempts that were never committed: another commit took their objects and accounts for them.
    pub stale_quarantine_files: u64,
    /// Records in them. They are in no sum.
    pub stale_quarantine_records: u64,
    /// Each table.
    pub tables: Vec<TableCounts>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings beyond 100,000 of a kind, which are counted alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub findings_not_kept: u64,
    /// How many findings of each kind there are.
    #[serde(skip)]
    found: BTreeMap<Kind, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Report {
    pub(super) fn find(&mut self, kind: Kind, name: impl Into<String>, detail: impl Into<String>) {
        let found = self.found.entry(kind).or_default();
        *found += 1;
        if *found <= KEPT_FINDINGS {
            self.findings.push(Finding { kind, name: name.into(), detail: detail.into() });
        } else {
            self.findings_not_kept += 1;
        }
    }

    pub(super) fn add_table(&mut self, table: TableCounts) {
        self.counts.add(&table.counts);
        self.tables.push(table);
    }
}

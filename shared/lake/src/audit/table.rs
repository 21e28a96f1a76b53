//! One table: what it refers to, whether that is there, and what its rows are.
//!
//! In: a table of the catalog. Out: its [`Facts`], and findings about its files. Data and delete files of every snapshot
//! are compared with their manifests; rows are read of the current snapshot.

use std::collections::{HashMap, HashSet};

use iceberg::Result;
use iceberg::io::FileIO;
use iceberg::spec::{Operation, PrimitiveType, Schema, TableMetadata, Type};

use super::content::check_files;
use super::report::{Kind, Report};
use super::rows::{self, Rows};
use super::spill::{Entry, Spill};
use super::topics::Topics;
use super::{ListedTable, Options};
use crate::ancestors::ancestors;
use crate::decode::FILE_NAME;
use crate::files::Files;
use crate::inventory::Inventory;
use crate::layout::Layout;
use crate::ledger::{Committed, committed};
use crate::quarantine::Ledger;
use crate::token::Token;

/// What is known of a table.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) rows: Rows,
    /// Rows that name no object of this stream, or none that counts.
    pub(super) other_rows: u64,
    /// The objects that the table remembers, with the snapshot of each, which may have expired.
    pub(super) tokens: Vec<(Token, i64)>,
    pub(super) ledger: Ledger,
    /// These are all that there ever were.
    pub(super) reaches_back: bool,
    /// That, and each was made by append.
    pub(super) ours_alone: bool,
    /// Whether the table once had no column `file_name`, so that rows of our objects may be without one.
    pub(super) was_unnamed: bool,
    /// The snapshots that have tokens, by id.
    pub(super) commits: HashMap<i64, Commit>,
    /// Rows may be missing because files are, which are findings of their own.
    pub(super) incomplete: bool,
    pub(super) files_checked: u64,
    pub(super) snapshots: u64,
    /// None if the table has taken no record of a Kafka topic.
    pub(super) topics: Option<Topics>,
}

impl Facts {
    /// Rows without a name that may be of objects: those of records of topics are of none.
    pub(super) fn unnamed_rows(&self) -> u64 {
        self.rows.unnamed.saturating_sub(self.topics.as_ref().map_or(0, |topics| topics.rows))
    }
}

/// What is known of a commit of append.
#[derive(Debug)]
pub(super) struct Commit {
    /// Rows that it added, as its summary says.
    pub(super) added: Option<u64>,
    /// Whether the table had a column `file_name` by then.
    pub(super) is_named: bool,
    /// A snapshot after it that deleted rows, and what it calls itself.
    pub(super) deleted_by: Option<(i64, &'static str)>,
}

/// The commits in the ancestry of the current snapshot that `tokens` name.
fn commits(metadata: &TableMetadata, tokens: &[(Token, i64)]) -> HashMap<i64, Commit> {
    let ours: HashSet<i64> = tokens.iter().map(|(_, snapshot)| *snapshot).collect();
    let (mut commits, mut deleted_by) = (HashMap::new(), None);
    for snapshot in ancestors(metadata, metadata.current_snapshot_id()) {
        let id = snapshot.snapshot_id();
        if ours.contains(&id) {
            let added = snapshot.summary().additional_properties.get("added-records");
            let added = added.and_then(|added| added.parse().ok());
            let is_named = snapshot.schema(metadata).is_ok_and(|schema| names_objects(&schema));
            commits.insert(id, Commit { added, is_named, deleted_by });
        }
        match snapshot.summary().operation {
            Operation::Delete => deleted_by = Some((id, "delete")),
            Operation::Overwrite => deleted_by = Some((id, "overwrite")),
            Operation::Append | Operation::Replace => {}
        }
    }
    commits
}

/// Whether rows of this schema name the objects that they are from.
fn names_objects(schema: &Schema) -> bool {
    let field = schema.field_by_name(FILE_NAME);
    field.is_some_and(|field| *field.field_type == Type::Primitive(PrimitiveType::String))
}

/// What is looked at.
#[derive(Clone, Copy)]
pub(super) struct Looking<'a> {
    pub(super) files: &'a Files,
    pub(super) layout: &'a Layout,
    pub(super) options: &'a Options,
}

/// Looks at `table`, the one of the number `at`. None if its metadata cannot be read.
///
/// # Errors
/// The spill's.
pub(super) async fn examine(
    looking: &Looking<'_>,
    table: &ListedTable,
    at: usize,
    spill: &mut Spill,
    report: &mut Report,
) -> Result<Option<Facts>> {
    let (&Looking { files, layout, options }, name) = (looking, &table.name);
    let file_io = &files.file_io;
    let inventory = match Inventory::read(file_io, &table.metadata_location).await {
        Ok(inventory) => inventory,
        Err(unreadable) => {
            let remedy = "restore it, or register an earlier metadata file of the table";
            let detail = format!("{name}: the table's metadata {}; {remedy}", unreadable.what);
            report.find(Kind::UnreadableMetadata, unreadable.path, detail);
            return Ok(None);
        }
    };
    for unreadable in &inventory.unreadable {
        let remedy = "restore it, or expire the snapshots that need it";
        let detail = format!("{name}: {}; {remedy}", unreadable.what);
        report.find(Kind::UnreadableMetadata, unreadable.path.clone(), detail);
    }
    let checked = check_files(file_io, &inventory, name, options, report).await;
    let unusable = &checked.unusable;
    let mut other_rows = 0;
    let rows = rows::read(file_io, &inventory, unusable, &checked.sizes, options, |uri, rows| {
        match layout.place(&uri).filter(|place| options.has(place)) {
            Some(place) => {
                let named = (uri != layout.uri(&place)).then_some(uri);
                spill.add(&Entry::Rows { table: at, place, named, rows })
            }
            None => {
                other_rows += rows;
                Ok(())
            }
        }
    });
    let rows = rows.await?;
    for (path, what) in &rows.unread {
        let detail = format!("{name}: its rows cannot be read: {what}; restore it from a backup");
        report.find(Kind::DamagedDataFile, path.clone(), detail);
    }
    for (path, what) in &rows.untold {
        report.find(Kind::CannotTell, path.clone(), format!("{name}: {what}"));
    }
    for (id, twice) in &rows.twice {
        let origins: Vec<&str> = twice.origins.iter().map(String::as_str).collect();
        let (rows, origins) = (twice.rows, origins.join(", "));
        let detail = format!("{name}: {rows} rows have it, from {origins}; delete all but one of them");
        report.find(Kind::RecordIdTwice, id.clone(), detail);
    }
    let metadata = &inventory.metadata;
    let committed = committed(metadata, file_io).await;
    let topics = topics(&committed, file_io, table, metadata, report).await;
    let Committed { tokens, is_complete, is_ours_alone, damage, .. } = committed;
    if let Some((uri, what)) = damage {
        let detail = format!(
            "{name}: the ledger of the objects of expired snapshots: {what}; restore it, or append to the table, which \
             writes a new one"
        );
        report.find(Kind::LostLedger, uri, detail);
    }
    other_rows += rows.unnamed;
    other_rows -= topics.as_ref().map_or(0, |topics| topics.rows).min(other_rows);
    Ok(Some(Facts {
        name: name.clone(),
        other_rows,
        reaches_back: is_complete,
        was_unnamed: metadata.schemas_iter().any(|schema| !names_objects(schema)),
        commits: commits(metadata, &tokens),
        tokens,
        ledger: Ledger::of(metadata, file_io).await,
        ours_alone: is_complete && is_ours_alone,
        incomplete: !(unusable.is_empty()
            && inventory.unreadable.is_empty()
            && rows.unread.is_empty()
            && rows.untold.is_empty()),
        files_checked: checked.count,
        snapshots: metadata.snapshots().len() as u64,
        rows,
        topics,
    }))
}

/// What the table has of records of topics; None if it has taken none.
async fn topics(
    committed: &Committed,
    file_io: &FileIO,
    table: &ListedTable,
    metadata: &TableMetadata,
    report: &mut Report,
) -> Option<Topics> {
    if committed.offsets.count() == 0 {
        return None;
    }
    let deletes = |operation: &Operation| matches!(operation, Operation::Delete | Operation::Overwrite);
    let mut line = ancestors(metadata, metadata.current_snapshot_id());
    let mut topics = Topics {
        offsets: committed.offsets.clone(),
        is_complete: committed.offsets_are_complete,
        dropped: committed.dropped,
        has_deletes: line.any(|snapshot| deletes(&snapshot.summary().operation)),
        ..Topics::default()
    };
    if let Err(error) = topics.read_rows(file_io, &table.metadata_location).await {
        let detail = format!("the places of its rows in Kafka cannot be read: {error}");
        report.find(Kind::CannotTell, table.name.clone(), detail);
        return None;
    }
    Some(topics)
}

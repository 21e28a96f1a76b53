//! A table -> how it is: size, files, history, branches, and what upkeep is due.
//!
//! In: a table, and the time. Out: a [`Health`]. It goes by metadata alone: the metadata file, the manifests of the current
//! snapshot, one after the other, and no data file. Memory follows the number of partitions, up to a ceiling.

mod due;
mod files;
mod newest;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use iceberg::Result;
use iceberg::spec::{MAIN_BRANCH, SnapshotRef, SnapshotRetention, TableMetadata, TableProperties};
use iceberg::table::Table;
use serde::Serialize;

pub use self::due::Due;
use self::files::Files;
pub use self::files::{PartitionHealth, SIZE_CLASSES};
pub use self::newest::newest_row_ms;
use crate::ancestors::ancestors;
use crate::branch::Lead;
use crate::catalog::Lake;

/// A file below this share of the size that the table aims at is small.
const SMALL_SHARE: u64 = 8;
/// The size that Iceberg aims at unless a table says otherwise (`write.target-file-size-bytes`).
const TARGET_BYTES: u64 = 512 << 20;
/// A day in milliseconds.
const DAY_MS: f64 = 86_400_000.0;

/// How a table is.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// `NAMESPACE.NAME`.
    pub table: String,
    /// When this was found, in milliseconds since 1970, as all times here are.
    pub at_ms: i64,
    /// Version of the format.
    pub format_version: u8,
    /// Rows, deletes not applied.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Data files that are smaller than [`Health::small_below_bytes`].
    pub small_files: u64,
    /// An eighth of the size that the table aims at.
    pub small_below_bytes: u64,
    /// How many data files are smaller than each of [`SIZE_CLASSES`] and not smaller than the one before; the last number is
    /// that of the larger ones.
    pub files_by_size: Vec<u64>,
    /// Files of deletes, by position or by equality, and deletion vectors.
    pub delete_files: u64,
    /// Rows that they delete, as far as they tell: one that is deleted twice counts twice.
    pub deletes: u64,
    /// Manifests of the current snapshot.
    pub manifests: u64,
    /// Size of the current metadata file in bytes, as it is stored.
    pub metadata_bytes: u64,
    /// Older metadata files that it names.
    pub metadata_files: u64,
    /// Snapshots that are there, of all branches, strays among them.
    pub snapshots: u64,
    /// The current snapshot and its ancestors, oldest first.
    pub history: Vec<HistoryEntry>,
    /// When rows were added last; None if no snapshot that did is left.
    pub appended_ms: Option<i64>,
    /// The newest `ingestion_timestamp` (else `kafka_timestamp`) that the statistics of files tell.
    pub newest_event_ms: Option<i64>,
    /// Rows and bytes that a day has brought, over the time that the history tells of; None below an hour.
    pub growth: Option<Growth>,
    /// Partitions, by name. Of one that is not partitioned, one without a name.
    pub partitions: Vec<PartitionHealth>,
    /// What partitions beyond the ceiling have together.
    pub other_partitions: Option<PartitionHealth>,
    /// Branches and tags besides main.
    pub references: Vec<ReferenceHealth>,
    /// Upkeep.
    pub due: Vec<Due>,
}

/// A snapshot of main.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// Its id.
    pub snapshot_id: i64,
    /// When it was committed.
    pub time_ms: i64,
    /// `append`, `replace`, `overwrite` or `delete`.
    pub operation: String,
    /// Rows that it has added.
    pub added_rows: Option<u64>,
    /// Rows of the table with it.
    pub rows: Option<u64>,
    /// Data files of the table with it.
    pub files: Option<u64>,
    /// Their size in bytes.
    pub bytes: Option<u64>,
}

/// What a day has brought.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Growth {
    /// Rows a day.
    pub rows: f64,
    /// Bytes a day.
    pub bytes: f64,
    /// Commits a day.
    pub commits: f64,
}

/// A branch or a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReferenceHealth {
    /// Its name.
    pub name: String,
    /// Whether it is a branch.
    pub is_branch: bool,
    /// Where it points to.
    pub snapshot_id: i64,
    /// When that was committed.
    pub time_ms: i64,
    /// Commits that main does not have.
    pub ahead: u64,
    /// Rows that these have added, as they say.
    pub ahead_rows: u64,
    /// When the first of them was committed.
    pub ahead_since_ms: Option<i64>,
}

impl Lake {
    /// How `table` is now.
    ///
    /// # Errors
    /// The storage's: a manifest cannot be read.
    pub async fn health(&self, table: &Table) -> Result<Health> {
        let loaded = self.catalog.load(table.identifier()).await?;
        let (table, metadata) = (&loaded.table, loaded.table.metadata());
        let small_below_bytes = target_bytes(metadata) / SMALL_SHARE;
        let files = Files::of(table, small_below_bytes).await?;
        let metadata_bytes = match table.metadata_location() {
            Some(location) => self.file_io.new_input(location)?.metadata().await?.size,
            None => 0,
        };
        let main = self.ledgers.of(metadata, table.file_io()).await;
        let mut references: Vec<ReferenceHealth> = loaded
            .refs
            .iter()
            .filter(|(name, _)| *name != MAIN_BRANCH)
            .map(|(name, reference)| {
                let is_branch = !matches!(reference.retention, SnapshotRetention::Tag { .. });
                let id = reference.snapshot_id;
                let lead = if is_branch { main.lead(metadata, id) } else { Lead::default() };
                ReferenceHealth {
                    name: name.clone(),
                    is_branch,
                    snapshot_id: id,
                    time_ms: metadata.snapshot_by_id(id).map_or(0, |snapshot| snapshot.timestamp_ms()),
                    ahead: lead.commits.len() as u64,
                    ahead_rows: lead
                        .commits
                        .iter()
                        .filter_map(|commit| number(commit, "added-records"))
                        .sum(),
                    ahead_since_ms: lead.commits.last().map(|commit| commit.timestamp_ms()),
                }
            })
            .collect();
        references.sort_by(|one, other| one.name.cmp(&other.name));
        let mut history: Vec<HistoryEntry> =
            ancestors(metadata, metadata.current_snapshot_id()).map(history_entry).collect();
        history.reverse();
        let mut health = Health {
            table: table.identifier().to_string(),
            at_ms: self.env.now_ms(),
            format_version: metadata.format_version() as u8,
            rows: files.all.rows,
            files: files.all.files,
            bytes: files.all.bytes,
            small_files: files.all.small_files,
            small_below_bytes,
            files_by_size: files.by_size,
            delete_files: files.all.delete_files,
            deletes: files.all.deletes,
            manifests: files.manifests,
            metadata_bytes,
            metadata_files: metadata.metadata_log().len() as u64,
            snapshots: metadata.snapshots().len() as u64,
            appended_ms: history.iter().rfind(|entry| entry.added_rows > Some(0)).map(|entry| entry.time_ms),
            newest_event_ms: files.newest_event_ms,
            growth: growth(&history),
            history,
            partitions: files.partitions,
            other_partitions: files.others,
            references,
            due: Vec::new(),
        };
        health.due = due::due(&health, metadata);
        Ok(health)
    }
}

/// The size of data files that a table aims at.
fn target_bytes(metadata: &TableMetadata) -> u64 {
    let property = metadata.properties().get(TableProperties::PROPERTY_WRITE_TARGET_FILE_SIZE_BYTES);
    property.and_then(|text| text.trim().parse().ok()).unwrap_or(TARGET_BYTES)
}

fn number(snapshot: &SnapshotRef, key: &str) -> Option<u64> {
    snapshot.summary().additional_properties.get(key)?.parse().ok()
}

fn history_entry(snapshot: &SnapshotRef) -> HistoryEntry {
    HistoryEntry {
        snapshot_id: snapshot.snapshot_id(),
        time_ms: snapshot.timestamp_ms(),
        operation: snapshot.summary().operation.as_str().to_owned(),
        added_rows: number(snapshot, "added-records"),
        rows: number(snapshot, "total-records"),
        files: number(snapshot, "total-data-files"),
        bytes: number(snapshot, "total-files-size"),
    }
}

/// What came between the first and the last entry.
fn growth(history: &[HistoryEntry]) -> Option<Growth> {
    let (first, last) = (history.first()?, history.last()?);
    let days = (last.time_ms - first.time_ms) as f64 / DAY_MS;
    if days < 1.0 / 24.0 {
        return None;
    }
    let of = |get: fn(&HistoryEntry) -> Option<u64>| Some((get(last)? as f64 - get(first)? as f64) / days);
    Some(Growth {
        rows: of(|entry| entry.rows)?,
        bytes: of(|entry| entry.bytes)?,
        commits: (history.len() - 1) as f64 / days,
    })
}

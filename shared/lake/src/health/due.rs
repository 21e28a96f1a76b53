//! What upkeep a table needs.
//!
//! In: its [`Health`]. Out: for each piece of upkeep that is due, why, and the command that does it. Commands are those of
//! Spark's procedures, and Athena's where it has one, but for what Frazil does itself.

use iceberg::spec::{TableMetadata, TableProperties};
use serde::Serialize;

use super::Health;

/// So many small files in a partition are worth rewriting.
const SMALL_FILES: u64 = 10;
/// So many snapshots make every commit slow.
const SNAPSHOTS: u64 = 1_000;
/// So many bytes of metadata do, compressed.
const METADATA_BYTES: u64 = 8 << 20;
/// So many manifests make every query slow to plan.
const MANIFESTS: u64 = 200;
/// Of a hundred data files, so many delete files make every query slow.
const DELETE_FILES_PERCENT: u64 = 10;

/// Upkeep that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Due {
    /// What: `compact`, `rewrite_deletes`, `expire`, `merge_manifests` or `publish`.
    pub what: String,
    /// Why.
    pub why: String,
    /// What does it.
    pub command: String,
}

pub(super) fn due(health: &Health, metadata: &TableMetadata) -> Vec<Due> {
    let table = &health.table;
    let mut due = Vec::new();
    let mut add = |what: &str, why: String, command: String| {
        due.push(Due { what: what.to_owned(), why, command });
    };
    let many: Vec<u64> = health
        .partitions
        .iter()
        .chain(&health.other_partitions)
        .map(|partition| partition.small_files)
        .filter(|small| *small >= SMALL_FILES)
        .collect();
    if !many.is_empty() {
        let (files, partitions, mib) = (many.iter().sum::<u64>(), many.len(), health.small_below_bytes >> 20);
        let place = if partitions == 1 { "partition" } else { "partitions" };
        let why = format!("{files} files below {mib} MiB in {partitions} {place}");
        let command = format!(
            "Spark: CALL system.rewrite_data_files(table => '{table}'); Athena: OPTIMIZE {table} REWRITE DATA USING BIN_PACK"
        );
        add("compact", why, command);
    }
    if health.delete_files * 100 > health.files * DELETE_FILES_PERCENT {
        let why = format!("{} delete files beside {} data files", health.delete_files, health.files);
        let command = format!(
            "Spark: CALL system.rewrite_data_files(table => '{table}', options => map('delete-file-threshold', '1'))"
        );
        add("rewrite_deletes", why, command);
    }
    if health.snapshots > SNAPSHOTS || health.metadata_bytes > METADATA_BYTES {
        let kib = health.metadata_bytes >> 10;
        let why =
            format!("{} snapshots, {kib} KiB of metadata, which every commit rewrites", health.snapshots);
        let says = metadata.properties().contains_key(TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS);
        let command = match says {
            true => format!("Spark: CALL system.expire_snapshots(table => '{table}')"),
            false => format!(
                "Spark: ALTER TABLE {table} SET TBLPROPERTIES ('{}' = '86400000'); every append expires then",
                TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS
            ),
        };
        add("expire", why, command);
    }
    if health.manifests > MANIFESTS {
        let why = format!("{} manifests for {} data files", health.manifests, health.files);
        add("merge_manifests", why, format!("Spark: CALL system.rewrite_manifests('{table}')"));
    }
    for branch in health.references.iter().filter(|reference| reference.is_branch && reference.ahead > 0) {
        let (name, ahead, rows) = (&branch.name, branch.ahead, branch.ahead_rows);
        let commits = if ahead == 1 { "commit" } else { "commits" };
        let why = format!("the branch {name} has {ahead} {commits} with {rows} rows that main does not have");
        add("publish", why, format!("frazil publish --table {table} --branch {name}"));
    }
    due
}

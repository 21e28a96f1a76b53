//! A table -> when its newest row arrived.
//!
//! In: a table. Out: a time in milliseconds since 1970. It goes by the metadata of the newest commits alone, so that it can be
//! asked for every few minutes, however large the table is.

use iceberg::Result;
use iceberg::spec::{DataContentType, ManifestContentType, SnapshotRef};
use iceberg::table::Table;

use super::files::newest_event;
use super::number;
use crate::ancestors::ancestors;

/// Most commits that are looked at. More would matter only if all of them were of rows that are put back.
const COMMITS: usize = 16;

/// When the newest row of `table` arrived, in milliseconds since 1970: the latest `ingestion_timestamp` (else
/// `kafka_timestamp`) of its newest commits, by the statistics of their files; where these do not tell, the time of the
/// commit. None for a table without rows, as far as its snapshots tell.
///
/// # Errors
/// The storage's: a manifest cannot be read.
pub async fn newest_row_ms(table: &Table) -> Result<Option<i64>> {
    let metadata = table.metadata();
    let mut newest = None;
    let commits = ancestors(metadata, metadata.current_snapshot_id());
    for snapshot in commits.filter(|it| number(it, "added-records") > Some(0)).take(COMMITS) {
        // No row arrives after its commit.
        if newest >= Some(snapshot.timestamp_ms()) {
            break;
        }
        newest = newest.max(Some(newest_of(table, snapshot).await?));
    }
    Ok(newest)
}

/// The same of a commit: of all files in the manifests that it has written.
async fn newest_of(table: &Table, snapshot: &SnapshotRef) -> Result<i64> {
    let list = table.manifest_list_reader(snapshot).load().await?;
    let mut newest = None;
    for file in list.entries() {
        if file.added_snapshot_id != snapshot.snapshot_id() || file.content != ManifestContentType::Data {
            continue;
        }
        let manifest = file.load_manifest(table.file_io()).await?;
        let files = manifest.entries().iter().filter(|entry| entry.is_alive()).map(|entry| entry.data_file());
        let data = files.filter(|file| file.content_type() == DataContentType::Data);
        newest = newest.max(data.filter_map(|file| newest_event(file, manifest.metadata().schema())).max());
    }
    Ok(newest.unwrap_or_else(|| snapshot.timestamp_ms()))
}

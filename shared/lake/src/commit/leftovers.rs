//! Metadata files that a commit has pushed out of the table's log.

use std::collections::HashSet;

use futures::StreamExt as _;
use futures::stream;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use tokio::time::Instant;

const ENABLED: &str = "write.metadata.delete-after-commit.enabled";
/// Files that are deleted at the same time.
const PARALLEL_REQUESTS: usize = 16;

/// Deletes the metadata files that were in the log of `base` and are no longer in that of `table`, which is known to hold
/// the commit, if the table's properties say so. Nothing can come to name them again. What cannot be deleted stays: the
/// role may not be allowed to, and a sweep comes by later.
pub(super) async fn delete(base: &TableMetadata, table: &Table, deadline: Instant) {
    let metadata = table.metadata();
    if !metadata.properties().get(ENABLED).is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return;
    }
    let mut needed: HashSet<&str> =
        metadata.metadata_log().iter().map(|entry| entry.metadata_file.as_str()).collect();
    needed.extend(table.metadata_location());
    let before = base.metadata_log().iter().map(|entry| entry.metadata_file.as_str());
    let gone = before.filter(|file| !needed.contains(file));
    let deletions: Vec<_> = gone.map(|file| delete_one(table.file_io().clone(), file.to_owned())).collect();
    let deletions = stream::iter(deletions).buffer_unordered(PARALLEL_REQUESTS).collect::<()>();
    if tokio::time::timeout_at(deadline, deletions).await.is_err() {
        tracing::debug!("no time was left to delete all metadata files that are not needed");
    }
}

async fn delete_one(file_io: FileIO, file: String) {
    if let Err(error) = file_io.delete(&file).await {
        tracing::debug!(%error, file, "a metadata file that is not needed cannot be deleted");
    }
}

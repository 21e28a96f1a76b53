//! The line of snapshots that led to one.
//!
//! In: a table's metadata and the id of a snapshot. Out: that snapshot, its parent, and so on, as far as they are there.

use iceberg::spec::{SnapshotRef, TableMetadata};

/// The snapshot `head` of a table and its ancestors, newest first, as far as they have not expired.
pub fn ancestors(metadata: &TableMetadata, head: Option<i64>) -> impl Iterator<Item = &SnapshotRef> {
    let parent = |snapshot: &&SnapshotRef| metadata.snapshot_by_id(snapshot.parent_snapshot_id()?);
    // None is longer than this, unless it is damaged and leads back into itself.
    std::iter::successors(head.and_then(|head| metadata.snapshot_by_id(head)), parent)
        .take(metadata.snapshots().len())
}

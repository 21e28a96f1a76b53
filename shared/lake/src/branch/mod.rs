//! Branches of a table: where they stand, and which of their commits the main branch does not have.
//!
//! In: a table's metadata and the name of a branch. Out: its head, and the [`Lead`] that it has over main. A branch that is
//! not there stands where main stands, and begins there with its first commit.

#[cfg(test)]
#[cfg(feature = "sqlite")]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    MAIN_BRANCH, SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata, TableProperties,
};
use iceberg::{ErrorKind, Result};

use crate::ancestors::ancestors;
use crate::error::Kind;
use crate::ledger::Remembered;
use crate::token::{self, FIRST_SEQUENCE_NUMBER};

/// Where the summary of a snapshot that was applied again names the one that it comes from, as engines have it of a
/// snapshot that was picked.
pub(crate) const SOURCE_KEY: &str = "source-snapshot-id";

/// Where the branch `name` stands: at the table's current snapshot, if there is no such branch.
pub(crate) fn head<'a>(metadata: &'a TableMetadata, name: &str) -> Option<&'a SnapshotRef> {
    metadata.snapshot_for_ref(name).or_else(|| metadata.current_snapshot())
}

/// The snapshots in which rows may be that the branch `name` is not to get again: its head, and main's if that has gone on
/// by itself.
pub(crate) fn heads<'a>(metadata: &'a TableMetadata, name: &str) -> Vec<&'a SnapshotRef> {
    let Some(head) = head(metadata, name) else { return Vec::new() };
    let main = metadata.current_snapshot().filter(|main| {
        let is_main = |snapshot: &SnapshotRef| snapshot.snapshot_id() == main.snapshot_id();
        !ancestors(metadata, Some(head.snapshot_id())).any(is_main)
    });
    [head].into_iter().chain(main).collect()
}

/// The commits of a branch that main does not have, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lead {
    pub(crate) commits: Vec<SnapshotRef>,
    /// Whether they reach down to a commit of main. If not, some have expired.
    pub(crate) is_whole: bool,
}

impl Lead {
    /// That of the snapshot `head` over the commits that `is_mains` says to be main's.
    pub(crate) fn of(metadata: &TableMetadata, head: i64, is_mains: impl Fn(i64) -> bool) -> Self {
        let mut lead = Self { commits: Vec::new(), is_whole: false };
        for snapshot in ancestors(metadata, Some(head)) {
            if is_mains(snapshot.snapshot_id()) {
                lead.is_whole = true;
                return lead;
            }
            lead.commits.push(snapshot.clone());
        }
        lead.is_whole = lead.commits.last().is_some_and(|last| match last.parent_snapshot_id() {
            Some(parent) => is_mains(parent),
            // Some engines expire a snapshot and leave its child without a parent, as if it were the table's first.
            None => last.sequence_number() == FIRST_SEQUENCE_NUMBER || metadata.current_snapshot().is_none(),
        });
        lead
    }

    /// That of the snapshot `head` over the ancestors of main that are still there.
    fn of_metadata(metadata: &TableMetadata, head: i64) -> Self {
        let main = ancestors(metadata, metadata.current_snapshot_id());
        let main: HashSet<i64> = main.map(|snapshot| snapshot.snapshot_id()).collect();
        Self::of(metadata, head, |id| main.contains(&id))
    }

    /// Whether objects or records of topics are in it.
    fn has_input(&self) -> bool {
        self.commits.iter().any(|commit| token::is_ours(commit))
    }
}

/// The reference to the snapshot `id` that the branch `name` becomes with it. Its settings stay what they are, but a branch
/// that is ahead of main keeps all commits that main does not have, whoever lets snapshots expire: as many as its own
/// setting `min-snapshots-to-keep` says.
///
/// # Errors
/// There is a tag of this name.
pub(crate) fn moved(
    metadata: &TableMetadata,
    references: &HashMap<String, SnapshotReference>,
    name: &str,
    id: i64,
) -> Result<SnapshotReference> {
    let mut retention = match references.get(name) {
        Some(reference) => reference.retention.clone(),
        None => SnapshotRetention::branch(None, None, None),
    };
    match &mut retention {
        SnapshotRetention::Tag { .. } => {
            let what =
                format!("{name} is a tag of the table, not a branch: set FRAZIL_BRANCH to another name");
            return Err(Kind::Misconfigured.within(ErrorKind::DataInvalid, what));
        }
        SnapshotRetention::Branch { min_snapshots_to_keep, .. } if name != MAIN_BRANCH => {
            let ahead = match metadata.snapshot_for_ref(name) {
                Some(head) => Lead::of_metadata(metadata, head.snapshot_id()).commits.len(),
                None => 0,
            };
            let needed = i32::try_from(ahead + 1).unwrap_or(i32::MAX);
            if min_snapshots_to_keep.unwrap_or_else(|| kept(metadata)) < needed {
                *min_snapshots_to_keep = Some(needed);
            }
        }
        SnapshotRetention::Branch { .. } => {}
    }
    Ok(SnapshotReference::new(id, retention))
}

/// The settings of a branch that was `before` commits ahead of main and is `after` ahead now, if they are those that
/// [`moved`] has made: what it had to keep for the sake of these commits, it has not to keep any longer.
pub(crate) fn lowered(
    metadata: &TableMetadata,
    mut retention: SnapshotRetention,
    before: usize,
    after: usize,
) -> SnapshotRetention {
    if let SnapshotRetention::Branch { min_snapshots_to_keep, .. } = &mut retention
        && min_snapshots_to_keep.and_then(|kept| usize::try_from(kept).ok()) == Some(before)
    {
        let after = i32::try_from(after).ok();
        *min_snapshots_to_keep = after.filter(|after| *after > kept(metadata));
    }
    retention
}

/// Whether main has the snapshot `id`: as a commit of its own, or applied again.
pub(crate) fn is_published(metadata: &TableMetadata, main: &Remembered, id: i64) -> bool {
    let source = id.to_string();
    main.has_commit(id)
        || ancestors(metadata, metadata.current_snapshot_id())
            .any(|snapshot| snapshot.summary().additional_properties.get(SOURCE_KEY) == Some(&source))
}

/// How many snapshots branches keep that have no setting of their own.
fn kept(metadata: &TableMetadata) -> i32 {
    let property = metadata.properties().get(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP);
    property.and_then(|text| text.trim().parse().ok()).unwrap_or(1)
}

/// Says which of the references that are dropped for their age had commits that are nowhere else.
pub(crate) fn warn_of_dropped(metadata: &TableMetadata, names: &[String]) {
    for name in names {
        let Some(head) = metadata.snapshot_for_ref(name) else { continue };
        let lead = Lead::of_metadata(metadata, head.snapshot_id());
        if lead.has_input() {
            tracing::warn!(
                branch = name,
                commits = lead.commits.len(),
                "the branch is as old as max-ref-age-ms lets it become, and is dropped with commits that were never \
                 published; their objects count as pending again"
            );
        }
    }
}

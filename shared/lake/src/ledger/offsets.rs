//! The offsets of Kafka records in a ledger.
//!
//! In: those of the ledger that there is, of the line of commits since, and of the commit that is to name the next one. Out:
//! sets of offsets, each with the commit that it counts with. No rollback leads to a snapshot that is gone: what is between
//! two that are there counts with the later one, and becomes one set with it. So ranges grow together, and a topic without
//! gaps takes a range for each partition, however long it is read. Unlike tokens, they are kept for good.

use std::collections::BTreeMap;

use iceberg::spec::TableMetadata;

use super::{Added, Commit, Remembered};
use crate::ancestors::ancestors;
use crate::offsets::{DROPPED_KEY, Offsets, offsets_of};
use crate::token::FIRST_SEQUENCE_NUMBER;

/// Most ranges of a partition in one set: a topic of transactions of one record each leaves a gap behind every record. Of
/// offsets below, the table is asked.
const MAX_RANGES: usize = 10_000;

/// The offsets that the table `metadata` has once `added` is committed, of its `commits`.
pub(super) fn folded(
    metadata: &TableMetadata,
    remembered: &Remembered,
    added: Option<Added<'_>>,
    commits: &[Commit],
) -> Vec<(u32, Offsets)> {
    let counted = remembered.counted().len();
    let mut by_commit: BTreeMap<u32, Offsets> = BTreeMap::new();
    let mut add = |at: usize, offsets: &Offsets| {
        // The one that is added is not there yet, and will be.
        let is_there = |commit: &Commit| metadata.snapshot_by_id(commit.snapshot).is_some();
        let later = commits.iter().enumerate().skip(at).find(|(_, commit)| is_there(commit));
        let at = later.map_or(commits.len().saturating_sub(1), |(at, _)| at);
        by_commit.entry(at as u32).or_default().merge(offsets);
    };
    for (commit, offsets) in remembered.ledger.ledger().map_or(&[][..], |ledger| &ledger.offsets) {
        if (*commit as usize) < counted {
            add(*commit as usize, offsets);
        }
    }
    for (at, snapshot) in remembered.line.snapshots.iter().rev().enumerate() {
        if let Some(offsets) = offsets_of(snapshot) {
            add(counted + at, &offsets);
        }
    }
    if let Some(offsets) = added.and_then(|added| added.offsets) {
        add(commits.len().saturating_sub(1), offsets);
    }
    by_commit.values_mut().for_each(|offsets| offsets.shorten(MAX_RANGES));
    by_commit.into_iter().collect()
}

/// How many records the commits of the table `metadata` have dropped; None if some of them have expired.
pub(super) fn dropped(metadata: &TableMetadata) -> Option<u64> {
    let (mut dropped, mut is_whole) = (0, metadata.current_snapshot().is_none());
    for snapshot in ancestors(metadata, metadata.current_snapshot_id()) {
        let count = snapshot.summary().additional_properties.get(DROPPED_KEY);
        dropped += count.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        is_whole = snapshot.sequence_number() == FIRST_SEQUENCE_NUMBER;
    }
    is_whole.then_some(dropped)
}

/// The first `gone` commits go; their offsets count with the first that stays.
pub(super) fn move_up(offsets: &mut Vec<(u32, Offsets)>, gone: u32) {
    let mut moved: BTreeMap<u32, Offsets> = BTreeMap::new();
    for (commit, offsets) in offsets.drain(..) {
        moved.entry(commit.saturating_sub(gone)).or_default().merge(&offsets);
    }
    offsets.extend(moved);
}

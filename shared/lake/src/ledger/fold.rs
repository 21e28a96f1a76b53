//! The next ledger: the present one as far as it counts, the line since, and the commit that is to name it.

use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::format::{self, Entry};
use super::{Commit, DEFAULT_RETENTION_MS, Floor, Ledger, RETENTION, Remembered, offsets};
use crate::offsets::Offsets;
use crate::token::{self, Token};

/// What a commit adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added<'a> {
    /// The snapshot's id.
    pub(crate) snapshot: i64,
    pub(crate) time_ms: i64,
    /// The objects that it is made of.
    pub(crate) tokens: &'a [Token],
    /// The records of Kafka topics that it is made of.
    pub(crate) offsets: Option<&'a Offsets>,
    /// The commit's own id.
    pub(crate) id: Uuid,
}

impl Added<'_> {
    /// Whether it is made of what is remembered.
    pub(super) fn is_ours(&self) -> bool {
        !self.tokens.is_empty() || self.offsets.is_some()
    }
}

/// The ledger of the table `metadata` once `added` is committed to it. `now_ms` is the earliest of the clocks that there
/// are.
pub(super) fn folded(
    metadata: &TableMetadata,
    remembered: &Remembered,
    added: Option<Added<'_>>,
    now_ms: i64,
) -> Ledger {
    let line = &remembered.line;
    let old = remembered.ledger.ledger();
    let counted = line.counted();
    let mut commits: Vec<Commit> = old.map_or_else(Vec::new, |old| old.commits[..counted].to_vec());
    let mut entries: Vec<Entry> =
        old.into_iter().flat_map(Ledger::entries).filter(|entry| (entry.commit as usize) < counted).collect();
    for snapshot in line.snapshots.iter().rev() {
        let commit = commits.len() as u32;
        entries.extend(token::tokens_of(snapshot).map(|token| Entry { token, commit }));
        commits.push(Commit::of(snapshot));
    }
    if let Some(added) = added {
        let commit = commits.len() as u32;
        entries.extend(added.tokens.iter().map(|token| Entry { token: *token, commit }));
        let is_ours = added.is_ours();
        commits.push(Commit {
            snapshot: added.snapshot,
            sequence_number: metadata.next_sequence_number(),
            time_ms: added.time_ms,
            id: Some(added.id),
            is_ours,
        });
    }

    let mut offsets = offsets::folded(metadata, remembered, added, &commits);
    let offsets_floor = line.floor(old.and_then(|old| old.offsets_floor));
    let mut floor = line.floor(old.and_then(|old| old.floor));
    let until = now_ms.saturating_sub(retention_ms(metadata));
    // A line ends where its first young commit is; the last one stays in any case.
    let gone = commits.iter().take_while(|commit| commit.time_ms < until).count();
    let gone = gone.min(commits.len().saturating_sub(1));
    if let Some(last) = commits[..gone].last() {
        floor = Some(Floor {
            sequence_number: match last.sequence_number {
                0 => i64::MAX,
                number => floor.map_or(number, |floor| floor.sequence_number.max(number)),
            },
            time_ms: floor.map_or(until, |floor| floor.time_ms.max(until)),
        });
    }
    commits.drain(..gone);
    offsets::move_up(&mut offsets, gone as u32);
    let entries = entries.into_iter().filter_map(|entry| {
        let commit = entry.commit.checked_sub(gone as u32)?;
        Some(Entry { commit, ..entry })
    });
    let entries = format::entries(entries.collect());
    Ledger { table: metadata.uuid(), floor, commits, entries, offsets, offsets_floor }
}

fn retention_ms(metadata: &TableMetadata) -> i64 {
    let text = metadata.properties().get(RETENTION);
    let number = text.and_then(|text| text.trim().parse().ok()).filter(|number| *number >= 0);
    if number.is_none() && text.is_some() {
        tracing::warn!(value = text, "{RETENTION} is no number of milliseconds; the default counts");
    }
    number.unwrap_or(DEFAULT_RETENTION_MS)
}

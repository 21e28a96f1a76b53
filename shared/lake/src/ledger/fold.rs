//! The next ledger: the present one as far as it counts, the line since, and the commit that is to name it.

use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::format::{self, Entry};
use super::{Commit, DEFAULT_RETENTION_MS, Floor, Ledger, RETENTION, Remembered};
use crate::token::{self, Token};

/// What a commit adds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added<'a> {
    /// The snapshot's id.
    pub(crate) snapshot: i64,
    pub(crate) time_ms: i64,
    /// None if it is not made of objects.
    pub(crate) tokens: &'a [Token],
    /// The commit's own id.
    pub(crate) id: Uuid,
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
        let is_ours = !added.tokens.is_empty();
        commits.push(Commit {
            snapshot: added.snapshot,
            sequence_number: metadata.next_sequence_number(),
            time_ms: added.time_ms,
            id: is_ours.then_some(added.id),
            is_ours,
        });
    }

    let mut floor = line.floor(old);
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
    let entries = entries.into_iter().filter_map(|entry| {
        let commit = entry.commit.checked_sub(gone as u32)?;
        Some(Entry { commit, ..entry })
    });
    Ledger { table: metadata.uuid(), floor, commits, entries: format::entries(entries.collect()) }
}

fn retention_ms(metadata: &TableMetadata) -> i64 {
    let text = metadata.properties().get(RETENTION);
    let number = text.and_then(|text| text.trim().parse().ok()).filter(|number| *number >= 0);
    if number.is_none() && text.is_some() {
        tracing::warn!(value = text, "{RETENTION} is no number of milliseconds; the default counts");
    }
    number.unwrap_or(DEFAULT_RETENTION_MS)
}

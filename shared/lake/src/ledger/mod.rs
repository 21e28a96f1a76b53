//! Tokens that outlive their snapshots.
//!
//! In: a table, and on a commit what it adds and expires. Out: what the table remembers of an object, and the place of a
//! new ledger, or that the present one will do. A ledger is one immutable file that the table property [`PROPERTY`] names;
//! it holds the tokens of older commits and the line of commits that they are from. Those of the commits since stand in a
//! property of their own ([`mod@recent`]). Why and how: decision 17.
//!
//! A token counts only if its commit is an ancestor of the current snapshot ([`mod@line`]). A ledger that cannot be read is
//! never an empty one: where it ends, and where there is none, the table itself is asked.

#[cfg(test)]
mod append_tests;
mod due;
mod fold;
mod format;
mod line;
mod name_time;
mod offsets;
mod recent;
mod remembered;
mod store;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

pub(crate) use self::fold::Added;
use self::format::{ENTRY_BYTES, Entry};
pub(crate) use self::name_time::name_time;
pub(crate) use self::remembered::{Doubt, Remembered};
pub(crate) use self::store::{ENDING, Ledgers, Memory, Written, is_ledger, root};
use crate::offsets::Offsets;
use crate::token::Token;

/// The table property that names the table's ledger: one URI.
pub const PROPERTY: &str = "frazil.ledger";
/// The table property that says how long the ledger keeps a token after its commit, in milliseconds.
pub(crate) const RETENTION: &str = "frazil.ledger.retention-ms";
/// A day more than SQS keeps a message.
const DEFAULT_RETENTION_MS: i64 = 15 * 24 * 3_600_000;

/// What a ledger file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    /// The table that it is of.
    table: Uuid,
    /// Up to where tokens are missing; None if they reach back to the table's first snapshot.
    floor: Option<Floor>,
    /// A line of commits: each is the parent of the next.
    commits: Vec<Commit>,
    /// Sorted by token: [`Entry`].
    entries: Bytes,
    /// Offsets of Kafka records, with the commit of the line that they count with.
    offsets: Vec<(u32, Offsets)>,
    /// Up to where offsets are missing; None if they reach back to the table's first snapshot.
    offsets_floor: Option<Floor>,
}

/// Where a memory begins: tokens of commits up to here may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The last such commit's sequence number; in a table of format version 1, which has none, `i64::MAX`.
    pub(crate) sequence_number: i64,
    /// All such commits were made before this time.
    pub(crate) time_ms: i64,
}

/// A snapshot of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) snapshot: i64,
    pub(crate) sequence_number: i64,
    pub(crate) time_ms: i64,
    /// By what the quarantine files of its objects are named. None if it is not of this pipeline.
    pub(crate) id: Option<Uuid>,
    /// Whether it lists the objects that its rows are from. The rows of any other, a compaction of ours too, may be of any
    /// object.
    pub(crate) is_ours: bool,
}

/// The objects that were appended to a table, as far as its snapshots and its ledger tell.
#[derive(Debug)]
pub struct Committed {
    /// Each with its snapshot, which may have expired.
    pub tokens: Vec<(Token, i64)>,
    /// Whether these are all that there ever were.
    pub is_complete: bool,
    /// Whether nothing else was ever committed, as far as is known.
    pub is_ours_alone: bool,
    /// The records of Kafka topics that were appended.
    pub offsets: Offsets,
    /// Whether these are all that there ever were.
    pub offsets_are_complete: bool,
    /// How many of these records hold no event on purpose. None if commits have expired that would tell.
    pub dropped: Option<u64>,
    /// The place of the ledger that the table names, and why it does not count, if it does not.
    pub damage: Option<(String, String)>,
}

/// Which objects the table `metadata` has.
pub async fn committed(metadata: &TableMetadata, file_io: &FileIO) -> Committed {
    let remembered = Ledgers::default().of(metadata, file_io).await;
    let uri = metadata.properties().get(PROPERTY).cloned().unwrap_or_default();
    Committed {
        tokens: remembered.objects().into_iter().map(|(token, snapshot, _)| (token, snapshot)).collect(),
        is_complete: remembered.doubt().is_none(),
        is_ours_alone: remembered.is_ours_alone(),
        offsets: remembered.offsets().iter().fold(Offsets::default(), |mut all, offsets| {
            all.merge(offsets);
            all
        }),
        offsets_are_complete: remembered.offsets_doubt().is_none(),
        dropped: offsets::dropped(metadata),
        damage: remembered.damage().map(|what| (uri, what.to_owned())),
    }
}

impl Ledger {
    fn len(&self) -> usize {
        self.entries.len() / ENTRY_BYTES
    }

    fn entry(&self, at: usize) -> Entry {
        let bytes = self.entries.get(at * ENTRY_BYTES..(at + 1) * ENTRY_BYTES);
        Entry::decode(bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or(&[0; ENTRY_BYTES]))
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        (0..self.len()).map(|at| self.entry(at))
    }

    /// The tokens of all versions of the object with the digest `key`, and their commits.
    pub(crate) fn versions(&self, key: [u8; 16]) -> impl Iterator<Item = (Token, usize)> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.entry(middle).token.key() < key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let found =
            (low..self.len()).map(|at| self.entry(at)).take_while(move |entry| entry.token.key() == key);
        found.map(|entry| (entry.token, entry.commit as usize))
    }

    /// How many commits of the line come up to the snapshot `id`, itself included.
    fn position(&self, id: i64) -> Option<usize> {
        self.commits.iter().rposition(|commit| commit.snapshot == id).map(|at| at + 1)
    }
}

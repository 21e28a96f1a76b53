//! What tells a commit's input from all other input, and how a table is asked whether it has it.

use iceberg::spec::TableMetadata;

use crate::ancestors::ancestors;
use crate::offsets::{self, Offsets, offsets_of};
use crate::token::{self, Token};

/// The marks of a change: they are committed in the same snapshot as its rows, and keep it from being committed twice.
pub(crate) trait Marks: Sync {
    /// What the snapshot `head` of `base` and its ancestors tell of the marks on top of the snapshot `since`, up to which they
    /// were asked when the change was made.
    fn seen(&self, base: &TableMetadata, head: Option<i64>, since: Option<i64>) -> Verdict;

    /// Entries for the snapshot's summary, by which [`Marks::seen`] recognises them.
    fn summary(&self, base: &TableMetadata) -> Vec<(String, String)>;
}

/// Whether a change may be committed upon a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The base has none of it.
    New,
    /// The base may have some of it, or can no longer tell.
    Outdated,
}

/// The objects that the rows of a change are from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects<'a> {
    pub(crate) tokens: &'a [Token],
    /// Records of the objects that were rejected, in the quarantine files that are named by the commit.
    pub(crate) rejected: u64,
}

impl Marks for Objects<'_> {
    fn seen(&self, base: &TableMetadata, head: Option<i64>, since: Option<i64>) -> Verdict {
        let history = token::history(base, head, self.tokens, since);
        match history.complete && history.seen.is_empty() {
            true => Verdict::New,
            false => Verdict::Outdated,
        }
    }

    fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
        vec![
            (token::SUMMARY_KEY.to_owned(), token::listed(self.tokens)),
            (token::REJECTED_KEY.to_owned(), self.rejected.to_string()),
        ]
    }
}

/// The records of Kafka topics that the rows of a change are from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a> {
    pub(crate) offsets: &'a Offsets,
    /// What of them was rejected, in the quarantine files that are named by the commit.
    pub(crate) rejected: u64,
    /// Those that hold no event on purpose.
    pub(crate) dropped: u64,
}

impl Marks for Records<'_> {
    fn seen(&self, base: &TableMetadata, head: Option<i64>, since: Option<i64>) -> Verdict {
        let is_complete = token::history(base, head, &[], since).complete;
        let line = ancestors(base, head);
        let mut after = line.take_while(|snapshot| Some(snapshot.snapshot_id()) != since);
        let meets = after.any(|snapshot| offsets_of(snapshot).is_some_and(|it| it.meets(self.offsets)));
        if is_complete && !meets { Verdict::New } else { Verdict::Outdated }
    }

    fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
        vec![
            (offsets::SUMMARY_KEY.to_owned(), self.offsets.to_string()),
            (token::REJECTED_KEY.to_owned(), self.rejected.to_string()),
            (offsets::DROPPED_KEY.to_owned(), self.dropped.to_string()),
        ]
    }
}

/// Rows that were in the table before, in other files: a compaction. It lists no objects, since its rows are from any. Once
/// it may be in the table, what it replaces is not, so nothing else keeps it from being committed twice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved;

impl Marks for Moved {
    fn seen(&self, _: &TableMetadata, _: Option<i64>, _: Option<i64>) -> Verdict {
        Verdict::New
    }

    fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
        vec![(token::REJECTED_KEY.to_owned(), "0".to_owned())]
    }
}

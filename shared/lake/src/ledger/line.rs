//! The ancestors of a table's current snapshot, as far as snapshots, older metadata files and a ledger tell.
//!
//! In: a table's metadata, and its ledger. Out: a [`Line`]. The line goes from the current snapshot to its parents, those
//! that have expired as [`Recent`] has them, until it meets the ledger: there the ledger's own line goes on, up to that
//! commit and no further. So what was rolled back does not count.
//!
//! Commits of other engines may expire before one of ours has told of them. Then the table's older metadata files, which
//! its log names, still have them, and tell whether they lead to what is remembered or past it: a rollback, commits of
//! other engines only, and an expiry look the same in the current metadata as a delete by another engine and an expiry. If
//! these files are gone too, it is taken for a delete, which is far more common: all that is remembered counts. To forget
//! a token is to bring deleted rows back, which nobody notices.

use std::collections::{HashMap, HashSet};

use iceberg::Result;
use iceberg::io::FileIO;
use iceberg::spec::{SnapshotRef, TableMetadata};

use super::recent::Recent;
use super::{Commit, Floor, Ledger};
use crate::token::{self, FIRST_SEQUENCE_NUMBER};

/// Older metadata files that are read at most, newest first.
const MAX_METADATA_FILES: usize = 100;

/// The current snapshot and its ancestors, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Those that the ledger does not have.
    pub(super) snapshots: Vec<SnapshotRef>,
    pub(super) end: End,
    /// Up to where tokens are missing, if it had to be guessed how the line goes on from there.
    pub(super) guessed: Option<Floor>,
    /// Whether some of them stand in older metadata files only.
    pub(super) is_recovered: bool,
}

/// What comes before the last snapshot of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing.
    #[default]
    First,
    /// So many commits of the ledger.
    Ledger(usize),
    /// Unknown.
    Open,
}

impl Line {
    /// What `metadata` tells with `recent` and `ledger`.
    pub(super) fn of(metadata: &TableMetadata, recent: &Recent<'_>, ledger: Option<&Ledger>) -> Self {
        let mut line = Self::default();
        let Some(current) = metadata.current_snapshot() else { return line };
        line.end = End::Open;
        line.go_on(current, ledger, |id| metadata.snapshot_by_id(id).or_else(|| recent.get(id)));
        line
    }

    /// Adds `first` and its ancestors, as far as `get` has them, up to the ledger.
    fn go_on<'a>(
        &mut self,
        first: &'a SnapshotRef,
        ledger: Option<&Ledger>,
        get: impl Fn(i64) -> Option<&'a SnapshotRef>,
    ) {
        // A table that is damaged may lead back into itself.
        let mut passed = HashSet::new();
        let mut next = Some(first);
        while let Some(snapshot) = next
            && passed.insert(snapshot.snapshot_id())
        {
            if self.meets(ledger, snapshot.snapshot_id()) {
                return;
            }
            self.push(snapshot);
            next = snapshot.parent_snapshot_id().and_then(&get);
        }
        if let Some(parent) = self.snapshots.last().and_then(|last| last.parent_snapshot_id()) {
            self.meets(ledger, parent);
        }
    }

    /// Follows a line with an open end through older metadata files to `recent` or `ledger`.
    ///
    /// # Errors
    /// The storage's, unless a file is gone.
    pub(super) async fn follow(
        &mut self,
        metadata: &TableMetadata,
        recent: &Recent<'_>,
        ledger: Option<&Ledger>,
        file_io: &FileIO,
    ) -> Result<()> {
        let known = self.snapshots.len();
        let mut older: HashMap<i64, SnapshotRef> = HashMap::new();
        for entry in metadata.metadata_log().iter().rev().take(MAX_METADATA_FILES) {
            if !self.may_meet(recent, ledger) {
                break;
            }
            let file = match TableMetadata::read_from(file_io, &entry.metadata_file).await {
                Ok(file) if file.uuid() == metadata.uuid() => file,
                Ok(_) => break,
                // What is older is gone too.
                Err(_) if !file_io.exists(&entry.metadata_file).await? => break,
                Err(error) => return Err(error),
            };
            // An older file still has a parent that an expiry has struck out of its child later.
            older.extend(file.snapshots().map(|snapshot| (snapshot.snapshot_id(), snapshot.clone())));
            while self.may_meet(recent, ledger)
                && let Some(last) = self.snapshots.last()
            {
                let id = last.snapshot_id();
                let Some(parent) = older.get(&id).unwrap_or(last).parent_snapshot_id() else {
                    if file.snapshot_by_id(id).is_none() {
                        // It came without one: the table was made anew.
                        self.end = End::First;
                    }
                    break;
                };
                if self.meets(ledger, parent) {
                    break;
                }
                let Some(snapshot) = older.get(&parent).or_else(|| recent.get(parent)) else { break };
                self.push(snapshot);
            }
        }
        self.is_recovered = self.snapshots.len() > known;
        if self.may_meet(recent, ledger) {
            self.guess(recent, ledger);
        }
        Ok(())
    }

    /// Takes all that is remembered of commits before the last snapshot for its ancestors.
    fn guess(&mut self, recent: &Recent<'_>, ledger: Option<&Ledger>) {
        let last = self.snapshots.last().map_or(0, |last| last.sequence_number());
        let is_before = |sequence_number: i64| last == 0 || sequence_number < last;
        self.guessed = self.open_floor();
        let newest = recent.snapshots().iter().rfind(|snapshot| is_before(snapshot.sequence_number()));
        if let Some(newest) = newest {
            self.go_on(newest, ledger, |id| recent.get(id));
        }
        if let Some(ledger) = ledger.filter(|_| self.end == End::Open) {
            let commits = ledger.commits.iter().filter(|commit| is_before(commit.sequence_number));
            self.end = End::Ledger(commits.count());
        }
    }

    /// Puts what was found earlier behind the last snapshot, which is the same, in the place of the open end.
    pub(super) fn join(&mut self, found: Self) {
        let last = self.snapshots.last().map(|last| last.snapshot_id());
        let rest = found.snapshots.into_iter().skip_while(|one| Some(one.snapshot_id()) != last).skip(1);
        self.snapshots.extend(rest);
        (self.end, self.guessed, self.is_recovered) = (found.end, found.guessed, found.is_recovered);
    }

    /// Whether an ancestor of the last snapshot may be in `recent` or `ledger`. Every commit takes a sequence number above
    /// all that there were, so that no ancestor has a higher one than its child.
    pub(super) fn may_meet(&self, recent: &Recent<'_>, ledger: Option<&Ledger>) -> bool {
        if self.end != End::Open {
            return false;
        }
        let oldest = recent.snapshots().first().map(|first| first.sequence_number());
        let oldest =
            ledger.and_then(|ledger| ledger.commits.first()).map(|first| first.sequence_number).or(oldest);
        let (Some(oldest), Some(last)) = (oldest, self.snapshots.last()) else { return false };
        last.sequence_number() == 0 || oldest < last.sequence_number()
    }

    fn meets(&mut self, ledger: Option<&Ledger>, id: i64) -> bool {
        let position = ledger.and_then(|ledger| ledger.position(id));
        self.end = position.map_or(self.end, End::Ledger);
        position.is_some()
    }

    fn push(&mut self, snapshot: &SnapshotRef) {
        // Some engines expire a snapshot and leave its child without a parent, as if it were the table's first.
        if snapshot.sequence_number() == FIRST_SEQUENCE_NUMBER {
            self.end = End::First;
        }
        self.snapshots.push(snapshot.clone());
    }

    /// How many commits of the ledger count.
    pub(super) fn counted(&self) -> usize {
        match self.end {
            End::Ledger(count) => count,
            End::First | End::Open => 0,
        }
    }

    /// Up to where something is missing of which the ledger has all that came after `of_ledger`.
    pub(super) fn floor(&self, of_ledger: Option<Floor>) -> Option<Floor> {
        self.guessed.or_else(|| match self.end {
            End::First => None,
            End::Ledger(_) => of_ledger,
            End::Open => self.open_floor(),
        })
    }

    fn open_floor(&self) -> Option<Floor> {
        self.snapshots.last().map(Floor::below)
    }
}

impl Floor {
    /// Of a line that is lost below `snapshot`.
    pub(super) fn below(snapshot: &SnapshotRef) -> Self {
        Self {
            sequence_number: match snapshot.sequence_number() {
                0 => i64::MAX,
                number => number - 1,
            },
            time_ms: snapshot.timestamp_ms(),
        }
    }
}

impl Commit {
    pub(super) fn of(snapshot: &SnapshotRef) -> Self {
        Self {
            snapshot: snapshot.snapshot_id(),
            sequence_number: snapshot.sequence_number(),
            time_ms: snapshot.timestamp_ms(),
            id: token::accounting(snapshot),
            is_ours: token::is_ours(snapshot),
        }
    }
}

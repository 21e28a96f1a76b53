//! What a table remembers of the objects that were appended to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::line::Line;
use super::{Commit, Floor, Ledger};
use crate::branch::Lead;
use crate::offsets::{Offsets, offsets_of};
use crate::token::{self, History, Token, Version};

/// What the snapshots of a table and its ledger tell together.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(super) line: Line,
    pub(super) ledger: State,
    /// What a branch has beyond that.
    pub(super) branch: Option<Lead>,
}

/// What there is of a ledger.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// The table names none.
    None,
    Read(Arc<Ledger>),
    /// It is gone or damaged, and stays so.
    Lost(String),
    /// It cannot be read now.
    Unreadable(String),
}

impl State {
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Read(ledger) => Some(ledger),
            Self::None | Self::Lost(_) | Self::Unreadable(_) => None,
        }
    }
}

/// Where the rows of an object may be that nothing is remembered of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) floor: Floor,
    /// In files with a sequence number up to this one: later ones are of commits that are remembered.
    pub(crate) until: i64,
}

/// How far clocks may be apart, and time zones.
const MARGIN_MS: i64 = 24 * 3_600_000;

impl Doubt {
    /// Whether an object that came at `time_ms` is too young to have been in a commit that is not remembered. The time
    /// must be one that cannot change while the object's key stays the same: see [`crate::ledger::name_time()`].
    pub(crate) fn is_excluded(&self, time_ms: i64, now_ms: i64) -> bool {
        time_ms > self.floor.time_ms.saturating_add(MARGIN_MS) && time_ms < now_ms.saturating_add(MARGIN_MS)
    }
}

impl Remembered {
    /// What is known of `tokens`.
    pub(crate) fn history(&self, tokens: &[Token]) -> History {
        // Several versions of one object may be among them.
        let mut wanted: HashMap<[u8; 16], Vec<Token>> = HashMap::new();
        for token in tokens {
            wanted.entry(token.key()).or_default().push(*token);
        }
        let mut history = History::new(self.doubt().is_none());
        let of_branch = self.branch.iter().flat_map(|lead| &lead.commits);
        for snapshot in of_branch.chain(&self.line.snapshots) {
            let commit = token::accounting(snapshot);
            for token in token::tokens_of(snapshot) {
                for wanted in wanted.get(&token.key()).into_iter().flatten() {
                    history.add(*wanted, Version { token, commit }, snapshot.snapshot_id());
                }
            }
        }
        let Some(ledger) = self.ledger.ledger() else { return history };
        let counted = self.counted();
        for (key, wanted) in &wanted {
            for (token, commit) in ledger.versions(*key) {
                let Some(commit) = counted.get(commit) else { continue };
                for wanted in wanted {
                    history.add(*wanted, Version { token, commit: commit.id }, commit.snapshot);
                }
            }
        }
        history
    }

    /// None if every object that the table was given is remembered.
    pub(crate) fn doubt(&self) -> Option<Doubt> {
        self.doubt_above(|ledger| ledger.floor)
    }

    /// None if every record of Kafka topics that the table was given is remembered, but for what sets of offsets say
    /// themselves that they do not know.
    pub(crate) fn offsets_doubt(&self) -> Option<Doubt> {
        self.doubt_above(|ledger| ledger.offsets_floor)
    }

    fn doubt_above(&self, floor: impl Fn(&Ledger) -> Option<Floor>) -> Option<Doubt> {
        let floor = self.line.floor(self.ledger.ledger().and_then(floor));
        let of_branch = self.branch.iter().flat_map(|lead| &lead.commits);
        let open = self.branch.as_ref().filter(|lead| !lead.is_whole).and_then(|lead| lead.commits.last());
        let floor = match (floor, open.map(Floor::below)) {
            (Some(one), Some(other)) => Floor {
                sequence_number: one.sequence_number.max(other.sequence_number),
                time_ms: one.time_ms.max(other.time_ms),
            },
            (one, other) => one.or(other)?,
        };
        // Others may have copied rows of any age into their files.
        let snapshots = of_branch.chain(&self.line.snapshots);
        let of_others = snapshots.filter(|snapshot| !token::is_ours(snapshot));
        let in_ledger =
            self.counted().iter().filter(|commit| !commit.is_ours).map(|commit| commit.sequence_number);
        let newest = of_others.map(|snapshot| snapshot.sequence_number()).chain(in_ledger).max();
        Some(Doubt { floor, until: floor.sequence_number.max(newest.unwrap_or(0)) })
    }

    /// Every object, with the snapshot that has it and what its quarantine file is named by.
    pub(crate) fn objects(&self) -> Vec<(Token, i64, Option<Uuid>)> {
        let mut objects = Vec::new();
        for snapshot in &self.line.snapshots {
            let (id, commit) = (snapshot.snapshot_id(), token::accounting(snapshot));
            objects.extend(token::tokens_of(snapshot).map(|token| (token, id, commit)));
        }
        let counted = self.counted();
        let in_ledger = self.ledger.ledger().into_iter().flat_map(Ledger::entries);
        objects.extend(in_ledger.filter_map(|entry| {
            let commit = counted.get(entry.commit as usize)?;
            Some((entry.token, commit.snapshot, commit.id))
        }));
        objects
    }

    /// The offsets of Kafka records that the table has, by commit, or of several that came one after the other.
    pub(crate) fn offsets(&self) -> Vec<Offsets> {
        let counted = self.line.counted();
        let in_ledger = self.ledger.ledger().map_or(&[][..], |ledger| &ledger.offsets).iter();
        let in_ledger = in_ledger.filter(|(commit, _)| (*commit as usize) < counted);
        let of_branch = self.branch.iter().flat_map(|lead| lead.commits.iter().rev());
        let since = self.line.snapshots.iter().rev().chain(of_branch);
        let since = since.filter_map(|snapshot| offsets_of(snapshot));
        in_ledger.map(|(_, offsets)| offsets.clone()).chain(since).collect()
    }

    /// The ids of the commits that are in the table.
    pub(crate) fn commit_ids(&self) -> impl Iterator<Item = Uuid> {
        let since = self.line.snapshots.iter().filter_map(|snapshot| token::accounting(snapshot));
        since.chain(self.counted().iter().filter_map(|commit| commit.id))
    }

    /// Whether the snapshot `id` is the table's current one or an ancestor of it.
    pub(crate) fn has_commit(&self, id: i64) -> bool {
        self.line.snapshots.iter().any(|snapshot| snapshot.snapshot_id() == id)
            || self.counted().iter().any(|commit| commit.snapshot == id)
    }

    /// The objects that came after the ancestor `fork` of the current snapshot, in whatever version.
    pub(crate) fn keys_since(&self, fork: Option<i64>) -> HashSet<[u8; 16]> {
        let mut keys = HashSet::new();
        for snapshot in &self.line.snapshots {
            if Some(snapshot.snapshot_id()) == fork {
                return keys;
            }
            keys.extend(token::tokens_of(snapshot).map(|token| token.key()));
        }
        let Some(ledger) = self.ledger.ledger() else { return keys };
        let from = fork.and_then(|fork| ledger.position(fork)).unwrap_or(0);
        let commits = from..self.line.counted();
        keys.extend(
            ledger
                .entries()
                .filter(|entry| commits.contains(&(entry.commit as usize)))
                .map(|entry| entry.token.key()),
        );
        keys
    }

    /// What the snapshot `head` has that the table's current one has not.
    pub(crate) fn lead(&self, metadata: &TableMetadata, head: i64) -> Lead {
        let line = self.line.snapshots.iter().map(|snapshot| snapshot.snapshot_id());
        let main: HashSet<i64> = line.chain(self.counted().iter().map(|commit| commit.snapshot)).collect();
        Lead::of(metadata, head, |id| main.contains(&id))
    }

    /// All commits of the ledger, also those that were rolled back.
    pub(crate) fn commits(&self) -> &[Commit] {
        self.ledger.ledger().map_or(&[], |ledger| &ledger.commits)
    }

    /// Those that are in the table.
    pub(super) fn counted(&self) -> &[Commit] {
        self.commits().get(..self.line.counted()).unwrap_or_default()
    }

    /// Whether all that is remembered was committed by an append, or by a compaction of ours, which adds no row.
    pub(crate) fn is_ours_alone(&self) -> bool {
        let is_ours = |snapshot| token::is_ours(snapshot) || token::accounting(snapshot).is_some();
        self.line.snapshots.iter().all(|snapshot| is_ours(snapshot))
            && self.counted().iter().all(|commit| commit.is_ours || commit.id.is_some())
    }

    /// Why it cannot be told now what the table has, if it cannot.
    pub(crate) fn unreadable(&self) -> Option<&str> {
        match &self.ledger {
            State::Unreadable(what) => Some(what),
            State::None | State::Read(_) | State::Lost(_) => None,
        }
    }

    /// What is wrong with the ledger, if the table names one.
    pub(crate) fn damage(&self) -> Option<&str> {
        match &self.ledger {
            State::Lost(what) | State::Unreadable(what) => Some(what),
            State::None | State::Read(_) => None,
        }
    }
}

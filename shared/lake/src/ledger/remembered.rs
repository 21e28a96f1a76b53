//! What a table remembers of the objects that were appended to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::line::{End, Line};
use super::{Floor, Ledger};
use crate::token::{self, History, Token, Version};

/// What the snapshots of a table and its ledger tell together.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub(super) line: Line,
    pub(super) ledger: State,
}

/// What there is of a ledger.
#[derive(Clone, Debug)]
pub(super) enum State {
    /// The table names none.
    None,
    Read(Arc<Ledger>),
    /// It is gone or damaged, and stays so.
    Lost,
    /// It cannot be read now.
    Unreadable,
}

impl State {
    pub(super) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Read(ledger) => Some(ledger),
            Self::None | Self::Lost | Self::Unreadable => None,
        }
    }
}

/// Where the rows of an object may be that nothing is remembered of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    floor: Floor,
    /// In files with a sequence number up to this one: later ones are of commits that are remembered.
    pub(crate) until: i64,
}

/// How far clocks may be apart, and time zones.
const MARGIN_MS: i64 = 24 * 3_600_000;

impl Doubt {
    /// Whether an object that came at `time_ms` is too young to have been in a commit that is not remembered. The time
    /// must be one that cannot change while the object's key stays the same: see [`crate::ledger::name_time`].
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
        for snapshot in &self.line.snapshots {
            let commit = token::accounting(snapshot);
            for token in token::tokens_of(snapshot) {
                for wanted in wanted.get(&token.key()).into_iter().flatten() {
                    history.add(*wanted, Version { token, commit }, snapshot.snapshot_id());
                }
            }
        }
        let Some(ledger) = self.ledger.ledger() else { return history };
        let counted = &ledger.commits[..self.line.counted()];
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
        let ledger = self.ledger.ledger();
        let floor = self.line.floor(ledger)?;
        let counted = ledger.map_or(&[][..], |ledger| &ledger.commits[..self.line.counted()]);
        // Others may have copied rows of any age into their files.
        let of_others = self.line.snapshots.iter().filter(|snapshot| !token::is_ours(snapshot));
        let in_ledger = counted.iter().filter(|commit| !commit.is_ours).map(|commit| commit.sequence_number);
        let newest = of_others.map(|snapshot| snapshot.sequence_number()).chain(in_ledger).max();
        Some(Doubt { floor, until: floor.sequence_number.max(newest.unwrap_or(0)) })
    }

    /// Whether the line had to be guessed.
    pub(super) fn is_guessed(&self) -> bool {
        matches!(self.line.end, End::Probably(_))
    }
}

//! When a commit writes a new ledger.
//!
//! A ledger is not written with every commit: the tokens since stand in a property ([`mod@super::recent`]). All that there is
//! goes in once the oldest that is not in it is half as old as snapshots become, or once a commit is to expire it. Where
//! snapshots live for less than [`SHORT_MS`], every commit writes one, with its own tokens in it.

use iceberg::spec::{TableMetadata, TableProperties};

use super::Remembered;
use super::line::End;
use super::remembered::State;

/// Snapshots that live so long, in milliseconds, have their tokens in the ledger from the start.
const SHORT_MS: i64 = 3_600_000;

/// Whether the commit upon `metadata` that removes the snapshots `retiring` writes a ledger.
pub(super) fn is_due(
    metadata: &TableMetadata,
    remembered: &Remembered,
    retiring: &[i64],
    now_ms: i64,
) -> bool {
    let line = &remembered.line;
    // After a rollback, or where the line had to be sought.
    let is_broken = line.is_recovered
        || line.guessed.is_some()
        || match &remembered.ledger {
            State::None | State::Unreadable(_) => false,
            State::Lost(_) => true,
            State::Read(ledger) => line.end != End::Ledger(ledger.commits.len()),
        };
    if is_broken || line.snapshots.iter().any(|snapshot| retiring.contains(&snapshot.snapshot_id())) {
        return true;
    }
    let number = |key: &str| metadata.properties().get(key).and_then(|text| text.trim().parse::<i64>().ok());
    let max_age_ms = number(TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS)
        .unwrap_or(TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS_DEFAULT);
    if max_age_ms < SHORT_MS {
        return true;
    }
    // The newest ones stay whatever their age.
    let kept = number(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP)
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP_DEFAULT);
    let half = now_ms.min(metadata.last_updated_ms()).saturating_sub(max_age_ms / 2);
    let mut may_expire = line.snapshots.iter().skip(kept / 2);
    may_expire.any(|snapshot| snapshot.timestamp_ms() < half)
}

//! What went through transform, counted.
//!
//! In: the counts of one input. Out: their sum over all inputs, for the summary.

use std::ops::AddAssign;

use super::refusals::Refusals;

/// What went through transform.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) invocations: u64,
    pub(super) records: u64,
    pub(super) ok: u64,
    pub(super) failed: u64,
    /// Records that hold no event on purpose.
    pub(super) dropped: u64,
    /// Why they failed.
    pub(super) refusals: Refusals,
    /// Inputs that hold no record.
    pub(super) empty: Vec<String>,
    /// Inputs that could not be read to their end, and why.
    pub(super) damaged: Vec<String>,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.invocations += other.invocations;
        self.records += other.records;
        self.ok += other.ok;
        self.failed += other.failed;
        self.dropped += other.dropped;
        self.refusals.append(other.refusals);
        self.empty.extend(other.empty);
        self.damaged.extend(other.damaged);
    }
}

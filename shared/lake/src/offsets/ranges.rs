//! Ranges of offsets of one partition.

/// A set of offsets. Ranges are from the first to the one behind the last, in order, and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    pub(super) ranges: Vec<(i64, i64)>,
    /// Of offsets below, only those in the ranges are known to be there; the others may be. 0 if all are known.
    pub(super) floor: i64,
}

impl Ranges {
    /// Adds the offsets from `from` up to, but not with, `to`.
    pub(crate) fn insert(&mut self, from: i64, to: i64) {
        if from >= to {
            return;
        }
        // What the new range touches becomes one with it.
        let start = self.ranges.partition_point(|(_, end)| *end < from);
        let end = start + self.ranges[start..].partition_point(|(first, _)| *first <= to);
        let touched = self.ranges.get(start..end).unwrap_or_default();
        let from = touched.first().map_or(from, |(first, _)| from.min(*first));
        let to = touched.last().map_or(to, |(_, last)| to.max(*last));
        self.ranges.splice(start..end, [(from, to)]);
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.floor = self.floor.max(other.floor);
        other.ranges.iter().for_each(|(from, to)| self.insert(*from, *to));
    }

    /// Whether `offset` is there.
    pub(crate) fn contains(&self, offset: i64) -> bool {
        let at = self.ranges.partition_point(|(_, end)| *end <= offset);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= offset)
    }

    /// Whether it is not known if `offset` is there.
    pub(crate) fn is_unsure_of(&self, offset: i64) -> bool {
        offset < self.floor && !self.contains(offset)
    }

    /// Whether an offset is in both, as far as is known.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some((from, to)), Some((other_from, other_to))) = (left.peek(), right.peek()) {
            if from < other_to && other_from < to {
                return true;
            }
            if to <= other_from {
                left.next()
            } else {
                right.next()
            };
        }
        false
    }

    /// The offset behind the last one; the floor if none is there.
    pub(crate) fn end(&self) -> i64 {
        self.ranges.last().map_or(self.floor, |(_, end)| *end)
    }

    /// How many offsets are there.
    pub(crate) fn count(&self) -> u64 {
        self.ranges.iter().map(|(from, to)| to.abs_diff(*from)).sum()
    }

    /// Leaves the last `max` ranges. What was below them is not known any more.
    pub(crate) fn shorten(&mut self, max: usize) {
        let excess = self.ranges.len().saturating_sub(max);
        if let Some((_, end)) = excess.checked_sub(1).and_then(|last| self.ranges.get(last)) {
            self.floor = self.floor.max(*end);
            self.ranges.drain(..excess);
        }
    }
}

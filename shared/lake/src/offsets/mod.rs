//! Which records of Kafka topics a table has: sets of offsets by topic and partition.
//!
//! In: the places of records, as a commit takes them, or the value of [`SUMMARY_KEY`] in a snapshot's summary. Out: the
//! other, and whether two sets meet. A set is made of ranges and no height: a batch that was split or partly retried brings
//! earlier offsets after later ones, and offsets have gaps that nothing ever fills. Damaged text is no set.
//!
//! The text (no `,` and no `;` is in it, which part it from others in a list): topics parted by spaces, each
//! `<stream>@<time>+<span>=<partitions>`; partitions parted by `|`, each `<partition>:<first>+<length>-<gap>+<length>...`.
//! `@...` is missing where no record had a time. A ledger, which may leave out what is long ago, puts `<floor>~` before
//! `<first>`: see [`Ranges::floor`].

mod ranges;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iceberg::spec::Snapshot;

pub(crate) use self::ranges::Ranges;
use crate::digest::Digest;

/// Where a snapshot's summary lists the offsets of its records.
pub const SUMMARY_KEY: &str = "frazil.kafka.offsets";
/// Where a snapshot's summary says how many records held no event on purpose.
pub(crate) const DROPPED_KEY: &str = "frazil.kafka.dropped";

/// One life of a topic of a cluster: `<digest of the cluster>/<topic>`, and `/<life>` unless it is the first. With `~<n>` behind
/// it, what was put back from the quarantine for the nth time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(String);

impl Stream {
    /// The stream of `topic` in `cluster`, an ARN or the operator's name for it, in its life `life`, empty for the first.
    pub fn new(cluster: &str, topic: &str, life: &str) -> Self {
        // 72 bits: an operator has few clusters.
        let cluster = URL_SAFE_NO_PAD.encode(Digest::of(cluster).bytes::<9>());
        let life = if life.is_empty() { String::new() } else { format!("/{}", text::escaped(life)) };
        Self(format!("{cluster}/{}{life}", text::escaped(topic)))
    }
}

impl Stream {
    /// The same records, put back from the quarantine for the `time`th time: they are told apart from those that came first.
    /// Events of one record may come back one by one: `event` is which of them it is, from 0.
    pub(crate) fn redriven(&self, time: u32, event: u64) -> Self {
        let event = if event > 0 { format!(".{event}") } else { String::new() };
        Self(format!("{}~{time}{event}", self.0))
    }

    /// Whether these are records that were put back from the quarantine.
    pub fn is_redriven(&self) -> bool {
        self.0.contains('~')
    }

    /// The topic, with everything escaped that no topic has.
    pub fn topic(&self) -> &str {
        let topic = self.0.split('/').nth(1).unwrap_or_default();
        topic.split('~').next().unwrap_or_default()
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Sets of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    streams: BTreeMap<Stream, Taken>,
}

/// The offsets of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Taken {
    /// The least and the greatest time of its records, in milliseconds since 1970.
    times: Option<(i64, i64)>,
    partitions: BTreeMap<i32, Ranges>,
}

impl Offsets {
    /// Adds the record at `offset`, of the time `time_ms`.
    pub(crate) fn insert(&mut self, stream: &Stream, partition: i32, offset: i64, time_ms: Option<i64>) {
        let taken = match self.streams.get_mut(stream) {
            Some(taken) => taken,
            None => self.streams.entry(stream.clone()).or_default(),
        };
        taken.times = widest(taken.times, time_ms.map(|time| (time, time)));
        taken.partitions.entry(partition).or_default().insert(offset, offset.saturating_add(1));
    }

    /// Adds all of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (stream, from) in &other.streams {
            let taken = self.streams.entry(stream.clone()).or_default();
            taken.times = widest(taken.times, from.times);
            for (partition, ranges) in &from.partitions {
                taken.partitions.entry(*partition).or_default().merge(ranges);
            }
        }
    }

    /// Leaves at most `max` ranges of each partition: of what is below, nothing is known any more.
    pub(crate) fn shorten(&mut self, max: usize) {
        let ranges = self.streams.values_mut().flat_map(|taken| taken.partitions.values_mut());
        ranges.for_each(|ranges| ranges.shorten(max));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether an offset is in both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.streams.iter().any(|(stream, taken)| {
            other.streams.get(stream).is_some_and(|others| {
                taken.partitions.iter().any(|(partition, ranges)| {
                    others.partitions.get(partition).is_some_and(|others| ranges.meets(others))
                })
            })
        })
    }

    /// The offsets of one partition.
    pub(crate) fn ranges(&self, stream: &Stream, partition: i32) -> Option<&Ranges> {
        self.streams.get(stream)?.partitions.get(&partition)
    }

    /// Whether the offset is among those of the partition of the stream with this name.
    pub(crate) fn has_offset(&self, stream: &str, partition: i32, offset: i64) -> bool {
        let ranges = self.ranges(&Stream(stream.to_owned()), partition);
        ranges.is_some_and(|ranges| ranges.contains(offset))
    }

    /// Whether a record of the time `time_ms` cannot be one of the stream's here: all of these are of another time.
    pub(crate) fn excludes_time(&self, stream: &Stream, time_ms: Option<i64>) -> bool {
        let times = self.streams.get(stream).and_then(|taken| taken.times);
        times.zip(time_ms).is_some_and(|((least, greatest), time)| time < least || time > greatest)
    }

    /// The streams by name, with their partitions: the number, the offset behind the last one that is there, and how many
    /// are.
    pub fn partitions(&self) -> impl Iterator<Item = (&Stream, i32, i64, u64)> {
        self.streams.iter().flat_map(|(stream, taken)| {
            let of = move |(partition, ranges): (&i32, &Ranges)| {
                (stream, *partition, ranges.end(), ranges.count())
            };
            taken.partitions.iter().map(of)
        })
    }

    /// How many offsets these are.
    pub fn count(&self) -> u64 {
        self.partitions().map(|(.., count)| count).sum()
    }
}

fn widest(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some((from, to)), Some((other_from, other_to))) => Some((from.min(other_from), to.max(other_to))),
        (one, other) => one.or(other),
    }
}

/// The text of the offsets that a snapshot lists, and whether it lists any.
pub(crate) fn listed(snapshot: &Snapshot) -> Option<&str> {
    snapshot.summary().additional_properties.get(SUMMARY_KEY).map(String::as_str)
}

/// The offsets of the records of a snapshot; None if it is not made of such. A damaged list is a warning, and empty.
pub fn offsets_of(snapshot: &Snapshot) -> Option<Offsets> {
    let text = listed(snapshot)?;
    Some(Offsets::parse(text).unwrap_or_else(|| {
        let snapshot = snapshot.snapshot_id();
        tracing::warn!(snapshot, "the entry {SUMMARY_KEY} of the snapshot's summary is damaged");
        Offsets::default()
    }))
}

#[cfg(test)]
mod tests;

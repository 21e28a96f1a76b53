//! Sets of offsets as text, and back.

use std::fmt::{self, Write as _};

use super::{Offsets, Ranges, Stream, Taken};

impl fmt::Display for Offsets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (stream, taken)) in self.streams.iter().enumerate() {
            formatter.write_str(if at > 0 { " " } else { "" })?;
            formatter.write_str(&stream.0)?;
            if let Some((from, to)) = taken.times {
                write!(formatter, "@{from}+{}", to.abs_diff(from))?;
            }
            let mut before = '=';
            for (partition, ranges) in &taken.partitions {
                write!(formatter, "{before}{partition}:{ranges}")?;
                before = '|';
            }
        }
        Ok(())
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.floor > 0 {
            write!(formatter, "{}~", self.floor)?;
        }
        let mut last = None;
        for (from, to) in &self.ranges {
            match last {
                None => write!(formatter, "{from}")?,
                Some(last) => write!(formatter, "-{}", from.abs_diff(last))?,
            }
            write!(formatter, "+{}", to.abs_diff(*from))?;
            last = Some(*to);
        }
        Ok(())
    }
}

impl Offsets {
    /// The sets of which `text` is the text; None if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut offsets = Self::default();
        for stream in text.split_ascii_whitespace() {
            let (name, partitions) = stream.split_once('=')?;
            let (name, times) = match name.split_once('@') {
                Some((name, times)) => (name, Some(parse_range(times)?)),
                None => (name, None),
            };
            let mut taken = Taken { times, ..Taken::default() };
            for partition in partitions.split('|') {
                let (partition, ranges) = partition.split_once(':')?;
                taken.partitions.insert(partition.parse().ok()?, Ranges::parse(ranges)?);
            }
            offsets.streams.insert(Stream(name.to_owned()), taken);
        }
        Some(offsets)
    }
}

impl Ranges {
    fn parse(text: &str) -> Option<Self> {
        let (floor, text) = match text.split_once('~') {
            Some((floor, text)) => (parse_number(floor)?, text),
            None => (0, text),
        };
        let (mut ranges, mut at) = (Vec::new(), 0_i64);
        for range in text.split('-').filter(|_| !text.is_empty()) {
            let (gap, length) = range.split_once('+')?;
            let (gap, length) = (parse_number(gap)?, parse_number(length)?);
            let from = at.checked_add(gap)?;
            // Ranges that touch would be one.
            if length == 0 || (gap == 0 && !ranges.is_empty()) {
                return None;
            }
            at = from.checked_add(length)?;
            ranges.push((from, at));
        }
        Some(Self { ranges, floor })
    }
}

/// `<from>+<span>`, as its ends.
fn parse_range(text: &str) -> Option<(i64, i64)> {
    let (from, span) = text.split_once('+')?;
    let from = parse_number(from)?;
    Some((from, from.checked_add(parse_number(span)?)?))
}

fn parse_number(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| *number >= 0)
}

/// `name` with all escaped that parts the text. Topics are made of letters, digits, `.`, `_` and `-` (Apache Kafka,
/// `Topic.LEGAL_CHARS`).
pub(super) fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => escaped.push(byte.into()),
            // To write into a String never fails.
            _ => _ = write!(escaped, "%{byte:02X}"),
        }
    }
    escaped
}

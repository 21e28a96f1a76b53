//! A record as most are -> a row, in one pass.
//!
//! In: text that begins with an object. Out: the object's length, its values in the columns; or nothing, and no trace.
//! Taken is what fits at first sight: keys spelled as the columns are, each once, and values that their columns hold. The text
//! is checked on the way: what is taken is an object by grammar and UTF-8. Whatever is refused, unknown or spelled in another
//! way is left to `members.rs`, which judges it. So this must never take what that would refuse, nor read it otherwise: a law in
//! `tests.rs` and the fuzz target `decode` compare the two.

use std::str;

use jiter::Peek;
use records::scan::{Values as Ends, skip_whitespace};

use super::RowDecoder;
use super::column::{Column, Values};
use super::members::Members;
use super::scalar::Scalar;
use super::source::Source;
use super::spelling::{append, small_integer, unescape};
use super::unknown::Policy;

/// Records in a row that were left, after which so many are not tried.
const MISSES: u32 = 8;
const PAUSE: u32 = 64;
/// Longest number that is read here.
const NUMBER_BYTES: usize = 64;

/// Whether it pays to try.
#[derive(Debug, Default)]
pub(super) struct Luck {
    misses: u32,
    pause: u32,
}

impl Luck {
    fn is_out(&mut self) -> bool {
        self.pause = self.pause.saturating_sub(1);
        self.pause > 0
    }

    fn tell(&mut self, is_taken: bool) {
        self.misses = if is_taken { 0 } else { self.misses + 1 };
        if self.misses >= MISSES {
            (self.misses, self.pause) = (0, PAUSE);
        }
    }
}

/// A record while it is read.
struct Plain<'a> {
    text: &'a [u8],
    ends: Ends<'a>,
    at: usize,
    /// Most bytes of content.
    limit: usize,
    content: usize,
    begun: usize,
    policy: &'a Policy,
}

impl RowDecoder {
    /// Adds the object that `text` begins with as a row, if that needs no second look and `is_wanted` says so of its text.
    /// Its length.
    pub(crate) fn push_plain(&mut self, text: &[u8], is_wanted: impl FnOnce(&[u8]) -> bool) -> Option<usize> {
        if self.luck.is_out() {
            return None;
        }
        let taken = self.try_plain(text, is_wanted);
        self.luck.tell(taken.is_some());
        if taken.is_none() {
            self.members.truncate(self.rows);
        }
        taken
    }

    fn try_plain(&mut self, text: &[u8], is_wanted: impl FnOnce(&[u8]) -> bool) -> Option<usize> {
        let (limit, policy) = (self.row_bytes, &self.policy);
        let mut plain = Plain { text, ends: Ends::of(text), at: 0, limit, content: 0, begun: 0, policy };
        self.members.push_plain(&mut plain, self.rows)?;
        let (end, content, begun) = (plain.at, plain.content, plain.begun);
        let record = text.get(..end)?;
        if simdutf8::basic::from_utf8(record).is_err() || !is_wanted(record) {
            return None;
        }
        self.system.push(&mut self.members, self.rows).ok()?;
        self.rows += 1;
        self.content_bytes += content;
        self.begun_bytes += begun;
        Some(end)
    }
}

impl Members {
    /// Reads the object to its end.
    fn push_plain(&mut self, plain: &mut Plain<'_>, row: usize) -> Option<()> {
        self.records += 1;
        plain.expect(b'{')?;
        let mut before = None;
        let mut is_more = plain.skip() != Some(b'}');
        while is_more {
            let at = self.column_of_key(plain, before)?;
            plain.skip();
            plain.expect(b':')?;
            let first = plain.skip()?;
            match at.and_then(|at| Some((at, self.columns.get_mut(at)?))) {
                Some((at, column)) => {
                    if column.last_record == self.records {
                        return None;
                    }
                    column.last_record = self.records;
                    column.push_plain(plain, first, row)?;
                    before = Some(at);
                }
                // A null is nothing, whatever it is called.
                None => plain.literal(b"null")?,
            }
            match plain.skip()? {
                b',' => {
                    plain.at += 1;
                    plain.skip();
                }
                _ => is_more = false,
            }
        }
        plain.expect(b'}')?;
        let is_given =
            |at: &usize| self.columns.get(*at).is_some_and(|column| column.last_record == self.records);
        self.required.iter().all(is_given).then_some(())
    }

    /// Which column the key stands for that comes next, if it is one as it is spelled. Rows usually have the same fields in
    /// the same order: the one that followed on the column `before` last time is tried first.
    fn column_of_key(&mut self, plain: &mut Plain<'_>, before: Option<usize>) -> Option<Option<usize>> {
        let follower = match before {
            Some(before) => &mut self.columns.get_mut(before)?.follower,
            None => &mut self.first,
        };
        let expected = *follower;
        if let Some(column) = self.columns.get(expected)
            && column.is_spelled_plainly
            && !column.hidden
            && let Some(rest) = plain.text.get(plain.at..)?.strip_prefix(b"\"")
            && let Some(b"\"") = rest.strip_prefix(column.name.as_bytes()).and_then(|rest| rest.get(..1))
        {
            plain.at += column.name.len() + 2;
            return Some(Some(expected));
        }
        let key = str::from_utf8(plain.string()?).ok()?;
        let Some(at) = self.by_name.get(key).copied() else { return Some(None) };
        if self.columns.get(at)?.hidden {
            return Some(None);
        }
        match before {
            Some(before) => self.columns.get_mut(before)?.follower = at,
            None => self.first = at,
        }
        Some(Some(at))
    }
}

impl Column {
    /// Adds the value that begins with the byte `first` to row `row`.
    fn push_plain(&mut self, plain: &mut Plain<'_>, first: u8, row: usize) -> Option<()> {
        if first == b'n' {
            // It is filled in when a value follows.
            plain.literal(b"null")?;
            return (!self.required).then_some(());
        }
        if self.len() == 0 {
            plain.begun += self.begun_bytes();
        }
        self.fill(row);
        match (&mut self.values, first) {
            (Values::String { offsets, bytes }, _) => {
                let before = bytes.len();
                plain.text_to(bytes, first)?;
                plain.add(bytes.len() - before)?;
                offsets.push(bytes.len() as i32);
                self.nulls.append_non_null();
                Some(())
            }
            (Values::Long(values), b'-' | b'0'..=b'9') => {
                let Some((value, end)) = small_integer(plain.text, plain.at) else {
                    return self.push_number(plain);
                };
                plain.at = end;
                values.push(value);
                self.nulls.append_non_null();
                Some(())
            }
            (Values::Struct(_) | Values::List { .. } | Values::Map { .. }, b'{' | b'[') => {
                let peek = if first == b'{' { Peek::Object } else { Peek::Array };
                self.push_nested(plain, peek)
            }
            (_, b'"') => {
                let text = str::from_utf8(plain.string()?).ok()?;
                if text.is_empty() && self.empty_is_null {
                    return self.push_null().ok();
                }
                if matches!(self.values, Values::Binary { .. }) {
                    plain.add(text.len())?;
                }
                self.push_scalar(Scalar::Text(text)).ok()
            }
            (_, b't') => {
                plain.literal(b"true")?;
                self.push_scalar(Scalar::Boolean(true)).ok()
            }
            (_, b'f') => {
                plain.literal(b"false")?;
                self.push_scalar(Scalar::Boolean(false)).ok()
            }
            _ => self.push_number(plain),
        }
    }

    fn push_number(&mut self, plain: &mut Plain<'_>) -> Option<()> {
        let number = str::from_utf8(plain.value()?).ok().filter(|text| text.len() <= NUMBER_BYTES)?;
        self.push_scalar(Scalar::Number(number)).ok()
    }

    /// The same of an array or object, as it is always read.
    fn push_nested(&mut self, plain: &mut Plain<'_>, peek: Peek) -> Option<()> {
        let text = str::from_utf8(plain.value()?).ok()?;
        let mut source =
            Source::new(text, Vec::new(), plain.limit.saturating_sub(plain.content), plain.policy);
        self.push(&mut source, peek).ok()?;
        plain.content += source.size.content;
        plain.begun += source.size.begun;
        source.unfit.is_empty().then_some(())
    }
}

impl<'a> Plain<'a> {
    /// Steps over white space to the byte behind it.
    #[inline]
    fn skip(&mut self) -> Option<u8> {
        self.at = skip_whitespace(self.text, self.at);
        self.text.get(self.at).copied()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        let is_there = self.text.get(self.at) == Some(&byte);
        self.at += 1;
        is_there.then_some(())
    }

    #[inline]
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let is_there = self.text.get(self.at..)?.starts_with(literal);
        self.at += literal.len();
        is_there.then_some(())
    }

    /// A value's text.
    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.at = self.ends.end(start, 1).ok()?;
        self.text.get(start..self.at)
    }

    /// A string without escapes, without its quotes.
    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if self.text.get(start) != Some(&b'"') {
            return None;
        }
        let (end, has_escapes) = self.ends.string_end(start).ok()?;
        self.at = end;
        if has_escapes { None } else { self.text.get(start + 1..end - 1) }
    }

    /// Appends a value to `bytes` as a column of strings has it: a string's characters, or the text of any other value.
    #[inline]
    fn text_to(&mut self, bytes: &mut Vec<u8>, first: u8) -> Option<()> {
        let start = self.at;
        if first != b'"' {
            bytes.extend_from_slice(self.value()?);
            return Some(());
        }
        let (end, has_escapes) = self.ends.string_end(start).ok()?;
        self.at = end;
        let content = self.text.get(start + 1..end - 1)?;
        if has_escapes {
            return unescape(content, bytes);
        }
        append(bytes, self.text, start + 1, content);
        Some(())
    }

    /// So many bytes more; nothing if they are more than a row may have.
    #[inline]
    fn add(&mut self, bytes: usize) -> Option<()> {
        self.content += bytes;
        (self.content <= self.limit).then_some(())
    }
}

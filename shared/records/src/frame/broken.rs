//! A record that is broken or too long -> how far it reaches.
//!
//! In: a framer at such a record. Out: a cut of it, so that framing resumes behind it.
//!
//! How far a bad record reaches (the first of these behind the place where it is wrong):
//! - a `}{`: a valid value never holds one outside strings, so a record starts there (0x1E for `{`, here and below);
//! - the end of the line, where the record is wrong on its first line (newline-delimited input);
//! - else the next line that starts with `{`: a value that spans lines may hold lines that look like records.
//!
//! How far a record over `max_record_bytes` reaches, of which nothing is kept:
//! - as far as its brackets are open, if nothing is wrong with it that far;
//! - to the end of the line, where `max_record_bytes` of it are on one line;
//! - else to the end of the object.

use std::io::Read;
use std::ops::Range;

use memchr::memchr;

use super::{Cut, Framer, RECORD_SEPARATOR, View};
use crate::brackets::Brackets;
use crate::scan::Fault;

impl<R: Read> Framer<R> {
    pub(super) fn cut_broken(&mut self, fault: Fault, view: View) -> Option<Cut> {
        let end = self.broken_end(&fault, view)?;
        let range = self.take(end);
        let fault = fault.relative_to(range.start);
        Some(Cut::Broken(trim_line_end(&self.buffer, range), fault))
    }

    /// Where the broken record that starts at `self.start` ends, or `None` if more bytes must be read to tell.
    fn broken_end(&self, fault: &Fault, view: View) -> Option<usize> {
        let text = &self.buffer[..view.end];
        let wrong_at = match fault {
            Fault::Invalid { at, .. } => *at,
            Fault::Incomplete => view.end,
        };
        let mut on_first_line = true;
        for at in memchr::memchr2_iter(b'\n', b'}', &text[self.start..]) {
            let at = self.start + at;
            if text[at] == b'\n' && on_first_line && wrong_at <= at {
                return Some(at + 1);
            }
            let next = text.get(at + 1);
            if next.is_none() && !view.is_last {
                return None;
            }
            let resumes =
                if text[at] == b'\n' { !on_first_line || wrong_at > at } else { at + 1 >= wrong_at };
            if resumes && matches!(next, Some(b'{' | &RECORD_SEPARATOR)) {
                return Some(at + 1);
            }
            on_first_line &= text[at] != b'\n';
        }
        view.is_last.then_some(view.end)
    }

    /// Gives up the record at `self.start`, which is longer than allowed. `is_sound`: nothing in `view` is wrong.
    ///
    /// Where brackets do not tell its end, a line does if it is longer than allowed itself. A broken value of several
    /// lines gives no safe place to go on before the end of the object: its lines may look like records.
    pub(super) fn pass_over(&mut self, view: View, is_sound: bool) -> Cut {
        let offset = self.buffer_offset + self.start as u64;
        let on_one_line = memchr(b'\n', &self.buffer[self.start..view.end]).is_none();
        let has_brackets = matches!(self.buffer[self.start], b'{' | b'[');
        let mut brackets = (is_sound && has_brackets).then(Brackets::default);
        loop {
            let mut rest = self.buffer[self.start..self.end].iter();
            let last = rest.position(|byte| {
                (on_one_line && *byte == b'\n') || brackets.as_mut().is_some_and(|it| it.close_with(*byte))
            });
            self.start = last.map_or(self.end, |at| self.start + at + 1);
            let goes_on = last.is_none()
                && self.fill().unwrap_or_else(|error| {
                    // What was passed over before it is told first.
                    self.failure = Some(error);
                    false
                });
            if !goes_on {
                let length = self.buffer_offset + self.start as u64 - offset;
                return Cut::TooLarge { offset, length };
            }
        }
    }
}

/// `range` without the separators at its end.
fn trim_line_end(buffer: &[u8], range: Range<usize>) -> Range<usize> {
    let is_content = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    range.start
        ..buffer[range.clone()].iter().rposition(is_content).map_or(range.start, |at| range.start + at + 1)
}

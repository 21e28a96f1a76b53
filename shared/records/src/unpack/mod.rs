//! One record -> the events that it holds.
//!
//! In: a record's bytes. Out: its [`Piece`]s in order: newline-delimited or concatenated values and the elements of a root
//! array of objects one by one, also where they are in gzip; each log event of a CloudWatch Logs subscription; each user
//! record of a KPL aggregate; what is broken, with the reason; and what holds no event on purpose. Refused: gzip and
//! aggregates that are damaged, unpack to more than `max_bytes`, or are in each other more than three deep.

mod cloudwatch;
mod enriched;
mod kpl;

use std::io::Read as _;

use memchr::memmem;

use self::cloudwatch::Envelope;
pub use self::enriched::event_id;
use crate::enrich::{ends_enriched, is_enriched};
use crate::frame::{Frame, Framer};
use crate::rejection::{Reason, Refusal};
use crate::scan::{self, Fault};

/// Gzip and aggregates that are followed into each other: CloudWatch Logs' gzip in an aggregate is two.
const MAX_LAYERS: usize = 3;
const GZIP: &[u8] = b"\x1F\x8B";

/// What a record holds at one place.
#[derive(Debug)]
pub enum Piece<'a> {
    /// A JSON value by grammar; UTF-8 is not checked, and only an object is an event.
    Event(&'a [u8]),
    /// Bytes that hold no event, and why.
    Refused(&'a [u8], Refusal),
    /// A message that holds no event on purpose: a CloudWatch Logs control message, an array without elements.
    Dropped,
}

/// Takes pieces, until it says why it wants no more.
pub type Take<'a, E> = dyn FnMut(Piece<'_>) -> Result<(), E> + 'a;

/// Takes records apart.
#[derive(Debug)]
pub struct Unpacker {
    max_bytes: usize,
    log_events: memmem::Finder<'static>,
}

impl Unpacker {
    /// Holds at most `max_bytes` bytes that come out of gzip.
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes, log_events: memmem::Finder::new(b"\"logEvents\"") }
    }

    /// Whether `record` may be one event as it stands.
    fn may_be_plain(&self, record: &[u8]) -> bool {
        let first = record.get(scan::skip_whitespace(record, 0));
        first != Some(&b'[') && !is_packed(record) && self.log_events.find(record).is_none()
    }

    /// Whether `frame`, a [`Frame::Record`] of an object, is one event as it stands. What was enriched before is.
    pub fn is_one_event(&self, frame: &[u8]) -> bool {
        frame.first() == Some(&b'{') && (ends_enriched(frame) || self.may_be_plain(frame))
    }

    /// Hands the pieces of `frame`, a [`Frame::Record`] of an object, to `take`, up to its error.
    ///
    /// # Errors
    /// What `take` says.
    pub fn unpack_frame<E>(&self, frame: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        if is_packed(frame) { self.layer(frame, 0, take) } else { self.value(frame, take) }
    }

    /// Hands the pieces of `record` to `take`, up to its error.
    ///
    /// # Errors
    /// What `take` says.
    pub fn unpack<E>(&self, record: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        self.layer(record, 0, take)
    }

    fn layer<E>(&self, record: &[u8], layers: usize, take: &mut Take<'_, E>) -> Result<(), E> {
        if !is_packed(record) {
            return self.text(record, take);
        }
        if layers >= MAX_LAYERS {
            let what = format!("compressed or aggregated more than {MAX_LAYERS} times");
            return take(Piece::Refused(record, Refusal::new(Reason::NestedCompression, what)));
        }
        if record.starts_with(GZIP) {
            return match self.decompress(record) {
                Ok(content) => self.layer(&content, layers + 1, take),
                Err(refusal) => take(Piece::Refused(record, refusal)),
            };
        }
        match kpl::check(record) {
            Ok(message) => kpl::user_records(message).try_for_each(|data| self.layer(data, layers + 1, take)),
            Err(refusal) => take(Piece::Refused(record, refusal)),
        }
    }

    /// The content of one or several gzip members, with white space behind each.
    fn decompress(&self, record: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (mut content, mut rest) = (Vec::new(), record);
        while !rest.is_empty() {
            let mut member = flate2::bufread::GzDecoder::new(rest);
            let left = (self.max_bytes - content.len()) as u64;
            let read = member.by_ref().take(left.saturating_add(1)).read_to_end(&mut content);
            if content.len() > self.max_bytes {
                let what = format!("the record decompresses to more than {} bytes", self.max_bytes);
                return Err(Refusal::new(Reason::DecompressionLimit, what));
            }
            read.map_err(|error| {
                let what = format!("the gzip in the record cannot be decompressed: {error}");
                Refusal::new(Reason::CorruptCompression, what)
            })?;
            rest = member.into_inner().trim_ascii_start();
        }
        Ok(content)
    }

    fn text<E>(&self, text: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        let mut framer = Framer::new(text, text.len());
        // Text in memory gives no error, and no record in it is longer than itself.
        while let Ok(Some(frame)) = framer.next_frame() {
            match frame {
                Frame::Record { text, .. } => self.value(text, take)?,
                Frame::Broken { text, fault, .. } => {
                    let what = format!("not JSON {}", fault.describe(text));
                    take(Piece::Refused(text, Refusal::new(Reason::InvalidJson, what)))?;
                }
                Frame::TooLarge { .. } => {}
            }
        }
        Ok(())
    }

    /// The events of one JSON value.
    fn value<E>(&self, value: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        if value.first() != Some(&b'[') {
            return self.object(value, take);
        }
        match value.get(scan::skip_whitespace(value, 1)) {
            Some(b'{') => {
                elements(value).try_for_each(|element| element.map_or(Ok(()), |it| self.object(it, take)))
            }
            Some(b']') => take(Piece::Dropped),
            // Whatever it is, its elements are no events.
            _ => take(Piece::Event(value)),
        }
    }

    fn object<E>(&self, object: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        if self.log_events.find(object).is_some()
            && let Some(envelope) = Envelope::of(object)
            && !is_enriched(object)
        {
            return envelope.events(take);
        }
        take(Piece::Event(object))
    }
}

fn is_packed(record: &[u8]) -> bool {
    record.starts_with(GZIP) || record.starts_with(kpl::MAGIC)
}

/// The elements of an array that starts with `array` and is sound by grammar.
fn elements(array: &[u8]) -> impl Iterator<Item = Result<&[u8], Fault>> {
    let mut at = scan::skip_whitespace(array, 1);
    std::iter::from_fn(move || {
        if matches!(array.get(at), None | Some(b']')) {
            return None;
        }
        let end = match scan::value_end(array, at) {
            Ok(end) => end,
            Err(fault) => {
                at = array.len();
                return Some(Err(fault));
            }
        };
        let element = &array[at..end];
        at = scan::skip_whitespace(array, end);
        if array.get(at) == Some(&b',') {
            at = scan::skip_whitespace(array, at + 1);
        }
        Some(Ok(element))
    })
}

#[cfg(test)]
mod tests;

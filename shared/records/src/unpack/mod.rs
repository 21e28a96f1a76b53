//! One record -> the events that it holds.
//!
//! In: a record's bytes. Out: its [`Piece`]s in order: newline-delimited or concatenated values and the elements of a root
//! array of objects one by one, also where they are in gzip; each log event of a CloudWatch Logs subscription; each user
//! record of a KPL aggregate; what is broken, with the reason; and what holds no event on purpose. Refused: gzip and
//! aggregates that are damaged, unpack to more than `max_bytes`, or are in each other more than three deep.

mod cloudwatch;
mod kpl;

use std::io::Read as _;

use memchr::memmem;
use uuid::Uuid;

use self::cloudwatch::Envelope;
use crate::enrich::{Stamp, enrich};
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

/// Whoever takes the pieces wants no more.
#[derive(Debug)]
pub struct Stop;

type Take<'a> = dyn FnMut(Piece<'_>) -> Result<(), Stop> + 'a;

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

    /// Appends the record's events to `out`, each enriched and with a newline: see [`enrich`]. The first has the id `id`,
    /// the others have [`event_id`]s. Says how many they are; 0 if the record holds none on purpose.
    ///
    /// # Errors
    /// A [`Refusal`] of the whole record for the first piece of it that is no event, or
    /// [`Reason::ResponseTooLarge`] where the events are more than `max_bytes`. `out` is then as it was.
    pub fn enrich(
        &self,
        record: &[u8],
        id: Uuid,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        let mut plain = None;
        if self.may_be_plain(record) {
            match enrich(record, id, stamp, out) {
                Ok(()) => return Ok(1),
                Err(refusal) => plain = Some(refusal),
            }
        }
        let start = out.len();
        let (mut events, mut is_any, mut failed) = (0, false, None);
        let stopped = self.unpack(record, &mut |piece| {
            is_any = true;
            let taken = match piece {
                Piece::Event(text) => enrich(text, event_id(id, events), stamp, out).map(|()| events += 1),
                Piece::Refused(_, refusal) => Err(refusal),
                Piece::Dropped => Ok(()),
            };
            let taken = taken.and_then(|()| match out.len() - start > self.max_bytes {
                true => Err(too_large(self.max_bytes)),
                false => Ok(()),
            });
            taken.map_err(|refusal| {
                failed = Some(refusal);
                Stop
            })
        });
        if stopped.is_ok() && is_any {
            return Ok(events);
        }
        out.truncate(start);
        let Some(mut refusal) = failed else {
            let empty = || Refusal::new(Reason::Empty, format!("no content in {} bytes", record.len()));
            return Err(plain.unwrap_or_else(empty));
        };
        let is_packed = record.starts_with(GZIP) || record.starts_with(kpl::MAGIC);
        if plain.is_none() && !is_packed {
            plain = enrich(record, id, stamp, out).err();
            out.truncate(start);
        }
        match plain {
            // What is wrong with the record as one event says more, if nothing before is one.
            Some(plain) if events == 0 || plain.reason == Reason::NotUtf8 => Err(plain),
            _ => {
                if events > 0 {
                    refusal.message = format!("event {} of the record: {}", events + 1, refusal.message);
                }
                Err(refusal)
            }
        }
    }

    /// Whether `record` may be one event as it stands.
    fn may_be_plain(&self, record: &[u8]) -> bool {
        let first = record.get(scan::skip_whitespace(record, 0));
        !(first == Some(&b'[') || record.starts_with(GZIP) || record.starts_with(kpl::MAGIC))
            && self.log_events.find(record).is_none()
    }

    /// Hands the pieces of `record` to `take`, up to its [`Stop`].
    ///
    /// # Errors
    /// What `take` says.
    pub fn unpack(&self, record: &[u8], take: &mut Take<'_>) -> Result<(), Stop> {
        self.layer(record, 0, take)
    }

    fn layer(&self, record: &[u8], layers: usize, take: &mut Take<'_>) -> Result<(), Stop> {
        let is_gzip = record.starts_with(GZIP);
        if !is_gzip && !record.starts_with(kpl::MAGIC) {
            return self.text(record, take);
        }
        if layers >= MAX_LAYERS {
            let what = format!("compressed or aggregated more than {MAX_LAYERS} times");
            return take(Piece::Refused(record, Refusal::new(Reason::NestedCompression, what)));
        }
        if is_gzip {
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

    fn text(&self, text: &[u8], take: &mut Take<'_>) -> Result<(), Stop> {
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
    fn value(&self, value: &[u8], take: &mut Take<'_>) -> Result<(), Stop> {
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

    fn object(&self, object: &[u8], take: &mut Take<'_>) -> Result<(), Stop> {
        if self.log_events.find(object).is_some()
            && let Some(envelope) = Envelope::of(object)
        {
            return envelope.events(take);
        }
        take(Piece::Event(object))
    }
}

/// The id of the event `index` (from 0) of a record whose own id is `record_id`: that itself, then UUIDv5 of it and the
/// index in decimal digits.
pub fn event_id(record_id: Uuid, index: usize) -> Uuid {
    match index {
        0 => record_id,
        _ => Uuid::new_v5(&record_id, index.to_string().as_bytes()),
    }
}

fn too_large(max_bytes: usize) -> Refusal {
    Refusal::new(Reason::ResponseTooLarge, format!("its events have more than {max_bytes} bytes"))
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

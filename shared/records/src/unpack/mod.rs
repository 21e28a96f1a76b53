//! One record -> the events that it holds.
//!
//! In: a record's bytes. Out: its [`Piece`]s in order: newline-delimited or concatenated values and the elements of a root
//! array of objects one by one, also where they are in gzip; each log event of a CloudWatch Logs subscription; each user
//! record of a KPL aggregate; the JSON behind a schema registry's header; what is broken, with the reason; and what holds no
//! event on purpose. [`Options`] say what else is taken out of an event, or for one. Refused: what is packed and damaged,
//! unpacks to more than `max_bytes`, or is packed more than three deep.

mod cloudwatch;
mod dynamodb;
mod enriched;
mod options;
mod text;
mod values;

use std::borrow::Cow;
use std::io::Read as _;

use memchr::memmem;

use self::cloudwatch::Envelope;
pub use self::enriched::{Enriched, Identity, event_id};
pub use self::options::Options;
pub use self::text::is_text;
use self::values::{elements, first_object};
use crate::enrich::{ends_enriched, is_enriched};
pub use crate::field_path::{FieldPath, InvalidPath};
use crate::frame::{Frame, Framer};
use crate::kpl;
use crate::members::put_beside;
use crate::registry;
use crate::rejection::{Reason, Refusal};
use crate::scan;
use crate::unwrap::{Wrapped, wrapped};

/// Gzip and aggregates that are followed into each other: CloudWatch Logs' gzip in an aggregate is two.
const MAX_LAYERS: usize = 3;
/// What is beside the events of one envelope may come again with them, up to so many times what a record may hold.
const MAX_GROWTH: usize = 16;
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
    options: Options,
    log_events: memmem::Finder<'static>,
    /// The last field of the path of [`Options::unwrap`].
    array: Option<memmem::Finder<'static>>,
}

impl Unpacker {
    /// Holds at most `max_bytes` bytes that come out of gzip.
    pub fn new(max_bytes: usize, options: &Options) -> Self {
        let last = options.unwrap.as_ref().and_then(|path| path.names().last());
        let array = last.map(|name| memmem::Finder::new(&format!("\"{name}\"")).into_owned());
        let log_events = memmem::Finder::new(b"\"logEvents\"");
        Self { max_bytes, options: options.clone(), log_events, array }
    }

    /// Whether `record` may be one event as it stands.
    fn may_be_plain(&self, record: &[u8]) -> bool {
        let first = record.get(scan::skip_whitespace(record, 0));
        first != Some(&b'[')
            && !is_packed(record)
            && !self.options.dynamodb_json
            && self.array.as_ref().is_none_or(|array| array.find(record).is_none())
            && self.log_events.find(record).is_none()
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

    /// The same of a [`Frame::Element`].
    ///
    /// # Errors
    /// What `take` says.
    pub fn unpack_element<E>(
        &self,
        element: &[u8],
        beside: Option<&[u8]>,
        take: &mut Take<'_, E>,
    ) -> Result<(), E> {
        match beside {
            Some(beside) => self.wrapped_event(element, beside, take),
            None => self.element(element, take),
        }
    }

    /// The same of a [`Frame::Element`] that is broken. False if nothing is made of it.
    ///
    /// # Errors
    /// What `take` says.
    pub fn unpack_broken_element<E>(
        &self,
        element: &[u8],
        beside: Option<&[u8]>,
        take: &mut Take<'_, E>,
    ) -> Result<bool, E> {
        let Some(mended) = self.mended(element) else { return Ok(false) };
        let mut framer = Framer::new(&mended[..], mended.len());
        while let Ok(Some(Frame::Record { text, .. })) = framer.next_frame() {
            self.unpack_element(text, beside, take)?;
        }
        Ok(true)
    }

    /// The same of a [`Frame::Broken`]. False if nothing is made of it.
    ///
    /// # Errors
    /// What `take` says.
    pub fn unpack_broken<E>(&self, broken: &[u8], take: &mut Take<'_, E>) -> Result<bool, E> {
        let Some(mended) = self.mended(broken) else { return Ok(false) };
        self.text(&mended, 0, take).map(|()| true)
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
            return self.text(record, layers, take);
        }
        if layers >= MAX_LAYERS {
            let what = format!("compressed or aggregated more than {MAX_LAYERS} times");
            return take(Piece::Refused(record, Refusal::new(Reason::NestedCompression, what)));
        }
        if record.starts_with(kpl::MAGIC) {
            return match kpl::check(record) {
                Ok(message) => {
                    kpl::user_records(message).try_for_each(|data| self.layer(data, layers + 1, take))
                }
                Err(refusal) => take(Piece::Refused(record, refusal)),
            };
        }
        let content = match record.starts_with(GZIP) {
            true => self.decompress(record).map(Cow::Owned),
            false => registry::content(record, None, self.max_bytes),
        };
        match content {
            Ok(content) => self.layer(&content, layers + 1, take),
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

    fn text<E>(&self, text: &[u8], layers: usize, take: &mut Take<'_, E>) -> Result<(), E> {
        let mut text = text;
        // Most texts are objects and nothing else: those need no buffer.
        while let Some((object, behind)) = first_object(text) {
            self.value(object, take)?;
            text = behind;
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut framer = Framer::new(text, text.len());
        // Text in memory gives no error, and no record in it is longer than itself.
        while let Ok(Some(frame)) = framer.next_frame() {
            match frame {
                Frame::Record { text, .. } if is_packed(text) => self.layer(text, layers, take)?,
                Frame::Record { text, .. } => self.value(text, take)?,
                Frame::Broken { text, fault, .. } => match self.mended(text) {
                    Some(mended) => self.text(&mended, layers, take)?,
                    None => {
                        let what = format!("not JSON {}", fault.describe(text));
                        take(Piece::Refused(text, Refusal::new(Reason::InvalidJson, what)))?;
                    }
                },
                // Of text in memory there is none.
                Frame::TooLarge { .. }
                | Frame::Element { .. }
                | Frame::Behind { .. }
                | Frame::Rest { .. } => {}
            }
        }
        Ok(())
    }

    /// The JSON that stands for `broken`, a [`Frame::Broken`], where the options take it. None of it is broken.
    fn mended(&self, broken: &[u8]) -> Option<Vec<u8>> {
        let null = || self.options.nan_is_null.then(|| text::with_null(broken)).flatten();
        null().or_else(|| self.options.text_is_message.then(|| text::messages(broken)).flatten())
    }

    /// The events of one JSON value.
    fn value<E>(&self, value: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        match (value.first(), value.get(scan::skip_whitespace(value, 1))) {
            (Some(b'{'), _) => self.object(value, take),
            (Some(b'['), Some(b'{')) => {
                elements(value).flatten().try_for_each(|element| self.element(element, take))
            }
            (Some(b'['), Some(b']')) => take(Piece::Dropped),
            // Whatever it is, its elements are no events.
            _ => match self.options.text_is_message.then(|| text::messages(value)).flatten() {
                Some(message) => take(Piece::Event(message.trim_ascii_end())),
                None => take(Piece::Event(value)),
            },
        }
    }

    /// An element of a root array.
    fn element<E>(&self, element: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        if element.starts_with(b"{") { self.object(element, take) } else { take(Piece::Event(element)) }
    }

    fn object<E>(&self, object: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        if self.may_be_plain(object) || is_enriched(object) {
            return take(Piece::Event(object));
        }
        if let Some(envelope) = Envelope::of(object) {
            return match self.grown_too_much(envelope.beside_bytes()) {
                Some(refusal) => take(Piece::Refused(object, refusal)),
                None => envelope.events(self.options.log_fields, take),
            };
        }
        let path = self.options.unwrap.as_ref().map(FieldPath::names);
        match path.and_then(|path| wrapped(object, path)) {
            Some(Wrapped { array, beside }) => {
                match self.grown_too_much(elements(array).count().saturating_mul(beside.len())) {
                    Some(refusal) => take(Piece::Refused(object, refusal)),
                    None => self.wrapped_events(array, &beside, take),
                }
            }
            None => self.event(object, take),
        }
    }

    /// Why an envelope is not taken apart that puts so many bytes beside all of its events.
    fn grown_too_much(&self, beside_bytes: usize) -> Option<Refusal> {
        let limit = self.max_bytes.saturating_mul(MAX_GROWTH);
        let what =
            || format!("the envelope puts {beside_bytes} bytes beside its events, expected up to {limit}");
        (beside_bytes > limit).then(|| Refusal::new(Reason::RecordTooLarge, what()))
    }

    /// The elements of `array`, each with the fields of `beside`.
    fn wrapped_events<E>(&self, array: &[u8], beside: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        let mut is_any = false;
        for element in elements(array).flatten() {
            is_any = true;
            self.wrapped_event(element, beside, take)?;
        }
        if is_any { Ok(()) } else { take(Piece::Dropped) }
    }

    /// An element of an array with the fields of `beside`, an object.
    fn wrapped_event<E>(&self, element: &[u8], beside: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        if !element.starts_with(b"{") {
            return take(Piece::Event(element));
        }
        let mut fields = scan::members(beside, 0).flatten().peekable();
        if fields.peek().is_none() {
            return self.event(element, take);
        }
        let mut event = Vec::with_capacity(element.len() + beside.len());
        put_beside(element, fields.map(|field| (&beside[field.key], &beside[field.value])), &mut event);
        self.event(&event, take)
    }

    fn event<E>(&self, event: &[u8], take: &mut Take<'_, E>) -> Result<(), E> {
        match self.options.dynamodb_json.then(|| dynamodb::plain(event)).flatten() {
            Some(plain) => take(Piece::Event(&plain)),
            None => take(Piece::Event(event)),
        }
    }
}

fn is_packed(record: &[u8]) -> bool {
    record.starts_with(GZIP) || record.starts_with(kpl::MAGIC) || registry::is_framed(record)
}

#[cfg(test)]
mod tests;

//! The law of framing: where the chunks are cut makes no difference, and every byte is accounted for.
//!
//! In: the content of an object, and how it is read. Out: nothing, or a panic that says what does not hold. A property
//! test and a fuzz target bring the inputs.

use std::io::{self, Read};
use std::ops::Range;

use records::frame::{Frame, Framer};
use records::scan::{DEPTH_LIMIT, Fault};
use serde::de::IgnoredAny;

/// Gives `text` in chunks of `sizes` in turn; a size of 0 is an interruption. Then the end, or a failure.
pub(crate) struct Chunks<'a> {
    text: &'a [u8],
    sizes: &'a [u8],
    turn: usize,
    interrupted: bool,
    fails: bool,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(text: &'a [u8], sizes: &'a [u8], fails: bool) -> Self {
        Self { text, sizes, turn: 0, interrupted: false, fails }
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = match self.sizes {
            [] => usize::MAX,
            sizes => sizes[self.turn % sizes.len()].into(),
        };
        self.turn += 1;
        if size == 0 && !self.interrupted {
            self.interrupted = true;
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.interrupted = false;
        if self.text.is_empty() && self.fails {
            return Err(io::Error::other("torn"));
        }
        let count = size.max(1).min(self.text.len()).min(out.len());
        out[..count].copy_from_slice(&self.text[..count]);
        self.text = &self.text[count..];
        Ok(count)
    }
}

/// A frame that outlives the buffer.
#[derive(Debug, PartialEq)]
enum Owned {
    Record(u64, Vec<u8>),
    Broken(u64, Vec<u8>, Fault),
    TooLarge(u64, u64),
    /// What is left when the reader has failed.
    Remainder(u64, Vec<u8>),
}

impl Owned {
    fn range(&self) -> Range<usize> {
        let (offset, length) = match self {
            Self::Record(offset, text) | Self::Broken(offset, text, _) | Self::Remainder(offset, text) => {
                (*offset as usize, text.len())
            }
            Self::TooLarge(offset, length) => (*offset as usize, *length as usize),
        };
        offset..offset + length
    }
}

fn frames(text: &[u8], sizes: &[u8], max_record_bytes: usize, fails: bool) -> Vec<Owned> {
    let mut framer = Framer::new(Chunks::new(text, sizes, fails), max_record_bytes);
    let mut frames = Vec::new();
    loop {
        frames.push(match framer.next_frame() {
            Ok(Some(Frame::Record { offset, text })) => Owned::Record(offset, text.to_vec()),
            Ok(Some(Frame::Broken { offset, text, fault })) => Owned::Broken(offset, text.to_vec(), fault),
            Ok(Some(Frame::TooLarge { offset, length })) => Owned::TooLarge(offset, length),
            Ok(Some(frame)) => panic!("no elements were asked for, but came {frame:?}"),
            Ok(None) => {
                assert!(!fails, "a failure is no end");
                break;
            }
            Err(error) => {
                assert!(fails, "an interruption is no failure: {error}");
                let (offset, rest) = framer.remainder();
                frames.push(Owned::Remainder(offset, rest.to_vec()));
                break;
            }
        });
    }
    assert_eq!(framer.bytes_read(), text.len() as u64);
    frames
}

/// Whether there is nothing but JSON's white space, byte order marks and the separators of RFC 7464.
pub(crate) fn is_separator(mut text: &[u8]) -> bool {
    loop {
        text = match text {
            [] => return true,
            [b' ' | b'\t' | b'\r' | b'\n' | 0x1E, rest @ ..] | [0xEF, 0xBB, 0xBF, rest @ ..] => rest,
            _ => return false,
        };
    }
}

/// Whether serde_json takes `text` for one JSON value. It looks at the grammar alone here, as the scanner does.
fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// How deep the arrays and objects of a JSON value nest.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The frames of `text`, read whole and read in chunks of `sizes` in turn (0: the reader is interrupted), are the same.
/// Each byte is in a record, in what is rejected, or a separator. Records are JSON, and what is broken is not.
/// At the end the reader ends, or `fails`.
pub(crate) fn check(text: &[u8], sizes: &[u8], max_record_bytes: usize, fails: bool) {
    let whole = frames(text, &[], max_record_bytes, fails);
    assert_eq!(frames(text, sizes, max_record_bytes, fails), whole, "in chunks of {sizes:?}, and whole");

    let mut covered = 0;
    for frame in &whole {
        let range = frame.range();
        assert!(is_separator(&text[covered..range.start]), "nothing is lost before {frame:?}");
        covered = range.end;
        match frame {
            Owned::Record(_, record) => {
                assert_eq!(record, &text[range]);
                assert!(is_json(record), "{frame:?}");
                assert!(record.len() <= max_record_bytes, "{frame:?}");
            }
            Owned::Broken(_, broken, _) => {
                assert_eq!(broken, &text[range]);
                assert!(!broken.is_empty() && broken.len() <= max_record_bytes, "{frame:?}");
                assert!(!is_json(broken) || depth(broken) > DEPTH_LIMIT, "{frame:?}");
            }
            Owned::TooLarge(..) => assert!(range.len() > max_record_bytes, "{frame:?}"),
            Owned::Remainder(_, rest) => assert_eq!(rest, &text[range]),
        }
    }
    assert!(is_separator(&text[covered..]), "nothing is lost at the end");
}

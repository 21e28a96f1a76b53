//! The law of offers: an offered object that is taken is the record that would have come, and what is not taken still comes.
//!
//! In: the content of an object, how it is read, and which offers are taken. Out: nothing, or a panic that says what does not
//! hold. A property test and a fuzz target bring the inputs. Where an object ends is told by serde_json, as the reference.

use records::frame::{Frame, Framer};
use records::scan::DEPTH_LIMIT;
use records::unpack::FieldPath;
use serde::de::IgnoredAny;

use crate::framing::{Chunks, depth, is_separator};

/// How an object is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Of its chunks in turn; 0 is an interruption. None at all: in one chunk.
    pub(crate) sizes: &'a [u8],
    pub(crate) max_record_bytes: usize,
    /// Whether the elements of long arrays are asked for.
    pub(crate) elements: bool,
    /// Whether the reader fails at the end.
    pub(crate) fails: bool,
}

/// How long the object at the beginning of `text` is, if all of it is there.
fn object_end(text: &[u8]) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let end = values.byte_offset();
    (depth(&text[..end]) <= DEPTH_LIMIT).then_some(end)
}

/// The frames of `text`, each as it is printed, and what is left where the reader fails. Before each of them the object that
/// comes next may be offered; it is taken if the bit of `wanted` says so, bit after bit, round and round.
fn frames(text: &[u8], reading: Reading<'_>, wanted: u64) -> Vec<String> {
    let Reading { sizes, max_record_bytes, elements, fails } = reading;
    let mut framer = Framer::new(Chunks::new(text, sizes, fails), max_record_bytes);
    if elements {
        framer = framer.with_elements(Some(&"d.R".parse::<FieldPath>().expect("a path")));
    }
    let (mut frames, mut turn, mut behind) = (Vec::new(), 0, None);
    loop {
        let wants = wanted >> (turn % 64) & 1 == 1;
        turn += 1;
        let mut taken = None;
        let is_taken = framer.offer(|offset, offered| {
            let start = offset as usize;
            assert_eq!(offered, &text[start..][..offered.len()]);
            assert!(offered.starts_with(b"{") && offered.len() <= max_record_bytes);
            assert!(
                behind.is_none_or(|end| is_separator(&text[end..start])),
                "nothing is left out before {offset}"
            );
            let end = object_end(offered).filter(|_| wants)?;
            taken = Some((start, start + end));
            Some(end)
        });
        assert_eq!(is_taken, taken.is_some());
        if let Some((start, end)) = taken {
            frames.push(format!("{:?}", Frame::Record { offset: start as u64, text: &text[start..end] }));
            behind = Some(end);
            continue;
        }
        match framer.next_frame() {
            Ok(Some(frame)) => {
                frames.push(format!("{frame:?}"));
                behind = match frame {
                    Frame::Record { offset, text } | Frame::Broken { offset, text, .. } => {
                        Some(offset as usize + text.len())
                    }
                    Frame::TooLarge { offset, length } => Some((offset + length) as usize),
                    // The array goes on behind it.
                    Frame::Element { .. } | Frame::Rest { .. } | Frame::Behind { .. } => None,
                };
            }
            Ok(None) => break,
            Err(_) => {
                frames.push(format!("{:?}", framer.remainder()));
                break;
            }
        }
    }
    assert_eq!(framer.bytes_read(), text.len() as u64);
    frames
}

/// The frames of `text` are the same where nothing is taken, where all is that can be, and where `wanted` is.
pub(crate) fn check(text: &[u8], reading: Reading<'_>, wanted: u64) {
    let expected = frames(text, Reading { sizes: &[], ..reading }, 0);
    for taken in [wanted, u64::MAX] {
        assert_eq!(
            frames(text, reading, taken),
            expected,
            "taken: {taken:b}, in chunks of {:?}",
            reading.sizes
        );
    }
}

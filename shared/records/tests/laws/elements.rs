//! Laws of arrays that are longer than a record may be.

use std::io::{self, Read};

use records::frame::{Frame, Framer};
use records::unpack::{FieldPath, Options, Piece, Unpacker};

/// Reads so many bytes at a time.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(out.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn path() -> FieldPath {
    "d.R".parse().expect("a path")
}

/// The frames of `content` as text, in pieces of `piece` bytes.
fn frames(content: &[u8], piece: usize, max_record_bytes: usize) -> Vec<String> {
    let mut framer = Framer::new(Pieces(content, piece), max_record_bytes).with_elements(Some(&path()));
    let mut frames = Vec::new();
    while let Some(frame) = framer.next_frame().expect("a reader without errors") {
        frames.push(format!("{frame:?}"));
    }
    frames
}

/// Where the chunks are cut makes no difference, and each byte is looked at a bounded number of times.
pub(crate) fn check_chunks(content: &[u8], piece: usize, max_record_bytes: usize) {
    let whole = frames(content, usize::MAX, max_record_bytes);
    assert_eq!(frames(content, piece, max_record_bytes), whole);
    assert!(whole.len() <= 2 * content.len() + 2, "{} frames of {} bytes", whole.len(), content.len());
}

/// The events of `content`, and how many frames hold none.
fn events(content: &[u8], max_record_bytes: usize) -> (Vec<String>, usize) {
    let options = Options { unwrap: Some(path()), ..Options::default() };
    let unpacker = Unpacker::new(1 << 20, &options);
    let mut framer = Framer::new(content, max_record_bytes).with_elements(options.unwrap.as_ref());
    let (mut events, mut others) = (Vec::new(), 0);
    while let Some(frame) = framer.next_frame().expect("a reader without errors") {
        let mut take = |piece: Piece<'_>| {
            match piece {
                Piece::Event(event) => events.push(String::from_utf8_lossy(event).into_owned()),
                Piece::Refused(..) | Piece::Dropped => events.push("none".to_owned()),
            }
            Ok::<_, ()>(())
        };
        let taken = match frame {
            Frame::Record { text, .. } => unpacker.unpack_frame(text, &mut take),
            Frame::Element { text, fault: None, beside, .. } => {
                unpacker.unpack_element(text, beside, &mut take)
            }
            _ => {
                others += 1;
                Ok(())
            }
        };
        assert_eq!(taken, Ok(()));
    }
    (events, others)
}

/// An envelope gives the same events however much of it is held, if nothing is behind its array.
pub(crate) fn check_ceilings(head: &[&str], elements: &[&str], space: &str) {
    let elements_text = elements.join(&format!("{space},{space}"));
    let head: Vec<&str> = head.iter().copied().chain(["\"d\":{"]).collect();
    let content =
        format!("{{{space}{}{space}\"R\":[{space}{elements_text}{space}]}}{space}}}", head.join(","));
    let whole = events(content.as_bytes(), content.len());
    assert_eq!((whole.0.len(), whole.1), (elements.len(), 0), "{content}");
    let longest = elements.iter().map(|element| element.len()).max().unwrap_or(0);
    // As far as it must be seen that the array has objects.
    let first = content.find("\"d\":{").unwrap_or(0) + "\"d\":{\"R\":[{".len() + 2 * space.len();
    for max_record_bytes in longest.max(first)..content.len() {
        assert_eq!(events(content.as_bytes(), max_record_bytes), whole, "{max_record_bytes}: {content}");
    }
}

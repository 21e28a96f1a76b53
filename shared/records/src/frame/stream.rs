//! An array that is longer than a record may be -> its elements, one after the other.
//!
//! In: an object of the storage at a value over the ceiling that begins as a root array of objects, or as an envelope of one.
//! Out: a cut for each element, within the ceiling each. What goes before the array in an envelope is beside every
//! element; fields behind it come too late for that, and are cut off as they are. An element that is broken or too long
//! harms no other one. Where the array itself is broken, its rest is passed over, and so is that of
//! an envelope whose fields would come to more than [`MAX_GROWTH`] times its own size.

use std::io::{self, Read};

use super::{Cut, Framer, View};
use crate::brackets::Brackets;
use crate::scan::{self, Fault};
use crate::unwrap::first_element;

/// What is beside the elements of a stream may come to so many times what was read of it. As much is free as records of
/// that number may hold.
const MAX_GROWTH: u64 = 64;

/// The array that is being read.
#[derive(Debug)]
pub(super) struct Stream {
    /// Objects around it.
    outer: usize,
    /// An object of the envelope's fields before it; None of a root array.
    pub(super) beside: Option<Vec<u8>>,
    /// An element was read, and neither a comma nor the end.
    is_behind_element: bool,
    /// The array has ended.
    has_ended: bool,
    /// Where the value starts in the object, in bytes.
    start: u64,
    /// Bytes that were beside elements so far.
    beside_bytes: u64,
}

/// What is there of what is looked for.
enum Found {
    End(usize),
    /// Not in what was read.
    More,
    /// Not within the ceiling.
    TooLong,
}

impl<R: Read> Framer<R> {
    /// The array in the value at `self.start`, and where its first element starts.
    pub(super) fn stream(&self, view: View) -> Option<(usize, Stream)> {
        let path = self.streams.as_ref()?;
        let text = &self.buffer[self.start..view.end];
        let (first, outer, beside) = match text.first() {
            Some(b'[') => {
                let first = scan::skip_whitespace(text, 1);
                (text.get(first) == Some(&b'{')).then_some((first, 0, None))?
            }
            _ => {
                let path = path.as_ref()?.names();
                let (first, beside) = first_element(text, path)?;
                (first, path.len(), Some(beside))
            }
        };
        let start = self.buffer_offset + self.start as u64;
        let stream =
            Stream { outer, beside, is_behind_element: false, has_ended: false, start, beside_bytes: 0 };
        Some((self.start + first, stream))
    }

    /// The next cut of the array that is being read. None behind its end.
    pub(super) fn cut_stream(&mut self) -> io::Result<Option<Cut>> {
        while let Some(stream) = &mut self.stream {
            self.start = scan::skip_whitespace(&self.buffer[..self.end], self.start);
            if stream.has_ended && stream.outer == 0 {
                self.stream = None;
                return Ok(None);
            }
            let Some(byte) = self.buffer[..self.end].get(self.start).copied() else {
                if self.fill()? {
                    continue;
                }
                self.stream = None;
                return Ok(Some(Cut::Broken(self.start..self.start, Fault::Incomplete)));
            };
            if stream.has_ended {
                let outer = stream.outer;
                match self.found(|text| closing(text, outer)) {
                    Found::More if self.fill()? => {}
                    Found::More => {
                        self.stream = None;
                        let range = self.take(self.end);
                        return Ok(Some(Cut::Broken(range, Fault::Incomplete)));
                    }
                    Found::TooLong => return self.give_up_stream(),
                    Found::End(end) => {
                        self.stream = None;
                        let range = self.take(end);
                        let is_field = |byte: &u8| *byte != b'}' && !byte.is_ascii_whitespace();
                        let has_fields = self.buffer[range.clone()].iter().any(is_field);
                        return Ok(has_fields.then_some(Cut::Behind(range)));
                    }
                }
                continue;
            }
            match (byte, stream.is_behind_element) {
                (b',', true) => {
                    stream.is_behind_element = false;
                    self.start += 1;
                }
                (b']', true) => {
                    stream.has_ended = true;
                    self.start += 1;
                }
                (b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n', false) => {
                    if let Some(cut) = self.cut_element()? {
                        return Ok(Some(cut));
                    }
                }
                _ => return self.give_up_stream(),
            }
        }
        Ok(None)
    }

    /// The element at `self.start`. None if more was read to tell.
    fn cut_element(&mut self) -> io::Result<Option<Cut>> {
        let view = self.view();
        let scanned = scan::value_end(&self.buffer[..view.end], self.start);
        let is_closed = matches!(self.buffer[self.start], b'{' | b'[' | b'"');
        let has_brackets = matches!(self.buffer[self.start], b'{' | b'[');
        let found = match scanned {
            Ok(end) if end - self.start > self.max_record_bytes => Found::TooLong,
            Ok(end) if is_closed || end < view.end => Found::End(end),
            // Its brackets tell where what is wrong ends.
            Err(_) if has_brackets => self.found(|text| closing(text, 0)),
            Err(Fault::Invalid { .. }) => return self.give_up_stream(),
            Ok(_) | Err(Fault::Incomplete) => self.found(|_| None),
        };
        // Before anything is read, which moves what was.
        let fault = scanned.err().map(|fault| fault.relative_to(self.start));
        match (found, fault) {
            (Found::End(_), _) if self.has_grown_too_much() => self.give_up_stream(),
            (Found::End(end), fault) => {
                self.set_behind_element();
                Ok(Some(Cut::Element(self.take(end), fault)))
            }
            (Found::More, fault) => {
                if self.fill()? {
                    return Ok(None);
                }
                self.stream = None;
                Ok(Some(Cut::Broken(self.take(self.end), fault.unwrap_or(Fault::Incomplete))))
            }
            (Found::TooLong, Some(Fault::Invalid { .. })) => self.give_up_stream(),
            (Found::TooLong, _) => {
                self.set_behind_element();
                Ok(Some(self.pass_over(view, true)))
            }
        }
    }

    /// Counts what is beside another element, and says whether that is too much.
    fn has_grown_too_much(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        stream.beside_bytes += stream.beside.as_ref().map_or(0, Vec::len) as u64;
        let read = (self.buffer_offset + self.start as u64).saturating_sub(stream.start);
        stream.beside_bytes > read.saturating_add(self.max_record_bytes as u64).saturating_mul(MAX_GROWTH)
    }

    fn set_behind_element(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.is_behind_element = true;
        }
    }

    /// Passes over the rest of an array that is broken.
    fn give_up_stream(&mut self) -> io::Result<Option<Cut>> {
        // How far it reaches must not depend on how much was read by chance.
        while self.end - self.start <= self.max_record_bytes && self.fill()? {}
        self.stream = None;
        Ok(Some(match self.pass_over(self.view(), false) {
            Cut::TooLarge { offset, length } => Cut::Rest { offset, length },
            cut => cut,
        }))
    }

    /// Where `end` finds an end in what may be looked at.
    fn found(&self, end: impl FnOnce(&[u8]) -> Option<usize>) -> Found {
        let view = self.view();
        match end(&self.buffer[self.start..view.end]) {
            Some(length) if length <= self.max_record_bytes => Found::End(self.start + length),
            None if self.end - self.start <= self.max_record_bytes => Found::More,
            _ => Found::TooLong,
        }
    }
}

/// How many bytes of `text` there are up to the bracket that closes the outermost of `outer` open ones.
fn closing(text: &[u8], outer: usize) -> Option<usize> {
    let mut brackets = Brackets::within(outer);
    text.iter().position(|byte| brackets.close_with(*byte)).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;

    /// Reads `text` in pieces of `piece` bytes.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    /// `e:` an element, with what is beside it, `r:` a record, `b:` broken, `l:` too large, `f:` fields behind.
    fn frames(text: &str, path: Option<&str>, max_record_bytes: usize) -> Vec<String> {
        let path = path.map(|path| path.parse().unwrap());
        let read = |piece| {
            let mut framer = Framer::new(Pieces(text.as_bytes(), piece), max_record_bytes);
            framer = framer.with_elements(path.as_ref());
            let mut frames = Vec::new();
            while let Some(frame) = framer.next_frame().unwrap() {
                let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
                frames.push(match frame {
                    Frame::Element { offset, text: element, fault, beside } => {
                        assert_eq!(&text.as_bytes()[offset as usize..][..element.len()], element);
                        let kind = if fault.is_some() { 'b' } else { 'e' };
                        format!("{kind}:{}{}", shown(element), beside.map_or_else(String::new, shown))
                    }
                    Frame::Behind { offset, text: rest } => {
                        assert_eq!(&text.as_bytes()[offset as usize..][..rest.len()], rest);
                        format!("f:{}", shown(rest))
                    }
                    Frame::Record { text, .. } => format!("r:{}", shown(text)),
                    Frame::Broken { text, .. } => format!("b:{}", shown(text)),
                    Frame::TooLarge { offset, length } => format!("l:{offset}+{length}"),
                    Frame::Rest { offset, length } => format!("p:{offset}+{length}"),
                });
            }
            frames
        };
        let whole = read(usize::MAX);
        for piece in 1..text.len() {
            assert_eq!(read(piece), whole, "pieces of {piece}");
        }
        whole
    }

    #[test]
    fn a_long_root_array_comes_as_its_elements() {
        let text = "{\"x\":0}\n[ {\"a\":1} ,\n{\"a\":[2]},3,\"s\",null , {}]\n[1]{\"b\":1}";
        let expected = [
            "r:{\"x\":0}",
            "e:{\"a\":1}",
            "e:{\"a\":[2]}",
            "e:3",
            "e:\"s\"",
            "e:null",
            "e:{}",
            "r:[1]",
            "r:{\"b\":1}",
        ];
        assert_eq!(frames(text, None, 12), expected);
        // One that fits, or is none of objects, is a record or none.
        assert_eq!(frames("[{\"a\":1},{\"a\":2}]", None, 17), ["r:[{\"a\":1},{\"a\":2}]"]);
        assert_eq!(frames("[{\"a\":1},{\"a\":2}]", None, 16), ["e:{\"a\":1}", "e:{\"a\":2}"]);
        assert_eq!(frames("[1,{\"a\":1},{\"a\":2}]\n{}", None, 16), ["l:0+19", "r:{}"]);
    }

    #[test]
    fn a_long_envelope_comes_as_the_elements_of_its_array() {
        let at = |text: &str| frames(text, Some("Records"), 20);
        let many = "{\"a\":1},{\"a\":2},{\"a\":3}";
        let each = |beside: &str| ["1", "2", "3"].map(|a| format!("e:{{\"a\":{a}}}{beside}")).to_vec();
        assert_eq!(at(&format!("{{\"Records\": [{many}]}}")), each("{}"));
        assert_eq!(at(&format!("{{\"v\":7,\"Records\":[{many}] }}\n")), each("{\"v\":7}"));
        let mut behind = each("{}");
        behind.push("f:,\"v\":\"}\" }".to_owned());
        behind.push("r:{\"x\":1}".to_owned());
        assert_eq!(at(&format!("{{\"Records\":[{many}],\"v\":\"}}\" }}\n{{\"x\":1}}")), behind);
        // Of an object without the array, or with it too far behind, nothing is known.
        let other = format!("{{\"records\":[{many}]}}");
        assert_eq!(at(&other), [format!("l:0+{}", other.len())]);
        let late = format!("{{\"v\":\"xxxxxxx\",\"Records\":[{many}]}}");
        assert_eq!(at(&late), [format!("l:0+{}", late.len())]);
    }

    #[test]
    fn a_long_envelope_may_be_nested() {
        let at = |text: &str| frames(text, Some("d.i"), 24);
        let many = "{\"a\":1},{\"a\":2},{\"a\":3}";
        let each = |beside: &str| ["1", "2", "3"].map(|a| format!("e:{{\"a\":{a}}}{beside}")).to_vec();
        assert_eq!(at(&format!("{{\"d\":{{\"i\":[{many}]}}}}")), each("{}"));
        assert_eq!(at(&format!("{{\"d\":{{\"x\":1,\"i\":[{many}]}}}}")), each("{\"d\":{\"x\":1}}"));
        assert_eq!(at(&format!("{{\"x\":1,\"d\":{{\"i\":[{many}]}}}}")), each("{\"x\":1}"));
        assert_eq!(at(&format!("{{\"x\":1,\"d\":{{\"y\":222,\"i\":[{many}]}}}}"))[0], "l:0+51");
    }

    /// A small object must not become a large one.
    #[test]
    fn what_is_beside_many_elements_is_bounded() {
        let beside = "x".repeat(300);
        let text = format!("{{\"x\":\"{beside}\",\"i\":[{}]}}\n{{}}", vec!["{}"; 2000].join(","));
        let mut framer = Framer::new(text.as_bytes(), 400).with_elements("i".parse().ok().as_ref());
        let (mut elements, mut last) = (0_u64, String::new());
        while let Some(frame) = framer.next_frame().unwrap() {
            match frame {
                Frame::Element { .. } => elements += 1,
                frame => last.push_str(&format!("{frame:?}\n")),
            }
        }
        // 64 times the 400 bytes of the ceiling and what was read, of 300 bytes each.
        assert!((100..400).contains(&elements), "{elements}");
        assert!(last.starts_with("Rest") && last.contains("Record"), "{last}");
    }

    #[test]
    fn an_element_that_is_wrong_harms_no_other() {
        let at = |text: &str| frames(text, None, 12);
        assert_eq!(
            at("[{\"a\":1},{\"a\":NaN},{\"a\":\"xxxxxxxxx\"},{\"a\":4}]\n{}"),
            ["e:{\"a\":1}", "b:{\"a\":NaN}", "l:19+17", "e:{\"a\":4}", "r:{}"]
        );
        // Where the array is wrong itself, its rest is.
        assert_eq!(at("[{\"a\":1} {\"a\":2},{\"a\":3}]\n{}"), ["e:{\"a\":1}", "p:9+17", "r:{}"]);
        assert_eq!(at("[{\"a\":1},{\"a\":2},]\n{}"), ["e:{\"a\":1}", "e:{\"a\":2}", "p:17+4"]);
        // Cut in an element, between two, and behind the last.
        assert_eq!(at("[{\"a\":1},{\"a\":2},{\"a\""), ["e:{\"a\":1}", "e:{\"a\":2}", "b:{\"a\""]);
        assert_eq!(at("[{\"a\":1},{\"a\":2},"), ["e:{\"a\":1}", "e:{\"a\":2}", "b:"]);
        assert_eq!(at("[{\"a\":1},{\"a\":2}"), ["e:{\"a\":1}", "e:{\"a\":2}", "b:"]);
        let broken = frames("{\"i\":[{\"a\":1},{\"a\":NaN}]}", Some("i"), 12);
        assert_eq!(broken, ["e:{\"a\":1}{}", "b:{\"a\":NaN}{}"]);
        let cut = frames("{\"i\":[{\"a\":1},{\"a\":2}],\"b", Some("i"), 12);
        assert_eq!(cut, ["e:{\"a\":1}{}", "e:{\"a\":2}{}", "b:,\"b"]);
    }
}

//! Byte stream -> record frames.
//!
//! In: decompressed bytes of one object, newline-delimited or concatenated JSON (RFC 8259), in whatever
//! chunks the reader gives. Out: one [`Frame`] per record, in order, borrowed from the buffer. White space,
//! byte order marks and record separators (0x1E, RFC 7464) between records are separators. What is no JSON value comes out as a frame of its own,
//! with its bytes, and framing resumes behind it, so that one bad record never harms its neighbours. Memory is
//! bounded by `max_record_bytes`, not by the size of the object. A root array of objects over that, or an envelope of one,
//! comes out as its elements, if the framer is told so (`stream`). Where the chunks are cut makes no difference: what is
//! said of a record depends on its first `max_record_bytes` and one byte more, however much has been read. How far a record
//! reaches that is broken or too long is told in `broken`.

mod broken;
mod stream;

use std::io::{self, Read};
use std::ops::Range;

use self::stream::Stream;
use crate::field_path::FieldPath;
use crate::kpl;
use crate::scan::{self, Fault};

/// One record of an object, or what stands where a record should be.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A JSON value by grammar (UTF-8 is not checked), without surrounding white space; or an aggregate of the Kinesis
    /// Producer Library.
    Record {
        /// Where it starts in the decompressed object, in bytes.
        offset: u64,
        /// Its text.
        text: &'a [u8],
    },
    /// Bytes that are no JSON value.
    Broken {
        /// Where they start in the decompressed object, in bytes.
        offset: u64,
        /// The bytes, without the line's end.
        text: &'a [u8],
        /// What is wrong, and where within `text`.
        fault: Fault,
    },
    /// A record over `max_record_bytes`, or bytes that may be one; they were passed over.
    TooLarge {
        /// Where it starts in the decompressed object, in bytes.
        offset: u64,
        /// How many bytes were passed over.
        length: u64,
    },
    /// An element of an array that is over `max_record_bytes`: of a root array of objects, or of that in an envelope.
    Element {
        /// Where it starts in the decompressed object, in bytes.
        offset: u64,
        /// A JSON value by grammar, if there is no fault.
        text: &'a [u8],
        /// What is wrong, and where within `text`.
        fault: Option<Fault>,
        /// An object of the envelope's fields before the array; None of a root array.
        beside: Option<&'a [u8]>,
    },
    /// What is left of such an array from a place on where it is broken; it was passed over.
    Rest {
        /// Where it starts in the decompressed object, in bytes.
        offset: u64,
        /// How many bytes were passed over.
        length: u64,
    },
    /// Fields behind the array of such an envelope, which are beside none of its elements.
    Behind {
        /// Where they start in the decompressed object, in bytes.
        offset: u64,
        /// The rest of the envelope.
        text: &'a [u8],
    },
}

const READ_BYTES: usize = 256 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// Begins each record of a JSON text sequence (RFC 7464). JSON itself never holds this byte.
pub(crate) const RECORD_SEPARATOR: u8 = 0x1E;

/// Cuts a reader's bytes into [`Frame`]s.
#[derive(Debug)]
pub struct Framer<R> {
    reader: R,
    max_record_bytes: usize,
    /// Bytes read and not yet given out are `buffer[start..end]`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `buffer[0]` in the object.
    buffer_offset: u64,
    at_end: bool,
    /// The reader's error, kept until the bytes before it are given out.
    failure: Option<io::Error>,
    /// Whether long arrays are given out as their elements, and where they are in an envelope.
    streams: Option<Option<FieldPath>>,
    /// The long array that is being read.
    stream: Option<Stream>,
}

/// A frame by its place in the buffer, before it is borrowed from there.
enum Cut {
    Record(Range<usize>),
    Broken(Range<usize>, Fault),
    TooLarge { offset: u64, length: u64 },
    Element(Range<usize>, Option<Fault>),
    Behind(Range<usize>),
    Rest { offset: u64, length: u64 },
}

/// The part of the buffer that the next frame is told from.
#[derive(Clone, Copy)]
struct View {
    end: usize,
    /// Nothing of the object is behind it.
    is_last: bool,
}

impl<R: Read> Framer<R> {
    /// Frames of `reader`. A record may be up to `max_record_bytes` long.
    pub fn new(reader: R, max_record_bytes: usize) -> Self {
        Self {
            reader,
            max_record_bytes,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            buffer_offset: 0,
            at_end: false,
            failure: None,
            streams: None,
            stream: None,
        }
    }

    /// The same, with the elements of arrays that are over the ceiling: of root arrays of objects, and, if there is a path,
    /// of those at `path` in an object.
    #[must_use]
    pub fn with_elements(self, path: Option<&FieldPath>) -> Self {
        Self { streams: Some(path.cloned()), ..self }
    }

    /// The next frame, or `None` at the end of the object.
    ///
    /// # Errors
    /// The reader's. The bytes read before it and not yet given out are then [`Framer::remainder`].
    pub fn next_frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let Some(cut) = self.cut()? else { return Ok(None) };
        Ok(Some(match cut {
            Cut::Record(range) => {
                Frame::Record { offset: self.buffer_offset + range.start as u64, text: &self.buffer[range] }
            }
            Cut::Broken(range, fault) => Frame::Broken {
                offset: self.buffer_offset + range.start as u64,
                text: &self.buffer[range],
                fault,
            },
            Cut::TooLarge { offset, length } => Frame::TooLarge { offset, length },
            Cut::Rest { offset, length } => Frame::Rest { offset, length },
            Cut::Element(range, fault) => Frame::Element {
                offset: self.buffer_offset + range.start as u64,
                text: &self.buffer[range],
                fault,
                beside: self.stream.as_ref().and_then(|stream| stream.beside.as_deref()),
            },
            Cut::Behind(range) => {
                Frame::Behind { offset: self.buffer_offset + range.start as u64, text: &self.buffer[range] }
            }
        }))
    }

    /// Offers the record that comes next to `take`, if it may be an object and as far as it has been read, with its offset and
    /// what follows it. `take` says how long the object is, if it wants it; else it is still what comes next. Whether it
    /// was taken.
    pub fn offer(&mut self, take: impl FnOnce(u64, &[u8]) -> Option<usize>) -> bool {
        if self.stream.is_some() {
            return false;
        }
        self.skip_separators();
        let end = self.end.min(self.start.saturating_add(self.max_record_bytes));
        let offset = self.buffer_offset + self.start as u64;
        let text = &self.buffer[self.start..end];
        let taken = text.starts_with(b"{").then(|| take(offset, text)).flatten();
        self.start += taken.unwrap_or(0).min(text.len());
        taken.is_some()
    }

    /// The bytes of an unfinished record, after the reader failed: their offset in the object and themselves.
    pub fn remainder(&self) -> (u64, &[u8]) {
        (self.buffer_offset + self.start as u64, &self.buffer[self.start..self.end])
    }

    /// Bytes taken from the reader so far.
    pub fn bytes_read(&self) -> u64 {
        self.buffer_offset + self.end as u64
    }

    fn cut(&mut self) -> io::Result<Option<Cut>> {
        loop {
            if let Some(cut) = self.cut_stream()? {
                return Ok(Some(cut));
            }
            self.skip_separators();
            if self.start == self.end {
                if self.fill()? {
                    continue;
                }
                return Ok(None);
            }
            if !self.at_end && is_partial_mark(&self.buffer[self.start..self.end]) {
                self.fill()?;
                continue;
            }
            let view = self.view();
            let scanned = scan::value_end(&self.buffer[..view.end], self.start);
            match scanned {
                Ok(end) if end - self.start > self.max_record_bytes => {}
                Ok(end) => match self.line_goes_on(end, view) {
                    Some(None) => return Ok(Some(Cut::Record(self.take(end)))),
                    Some(Some(at)) => {
                        let fault = Fault::Invalid { at, expected: "the end of the line" };
                        if let Some(cut) = self.cut_broken(fault, view) {
                            return Ok(Some(cut));
                        }
                    }
                    None => {}
                },
                Err(Fault::Incomplete) if !view.is_last => {}
                Err(fault) => {
                    let text = &self.buffer[self.start..view.end];
                    if text.starts_with(kpl::MAGIC) {
                        let (end, may_go_on) = (kpl::end(text), text.len() <= self.max_record_bytes);
                        match end.filter(|length| *length <= self.max_record_bytes) {
                            Some(length) => return Ok(Some(Cut::Record(self.take(self.start + length)))),
                            None if may_go_on && !self.at_end => {
                                self.fill()?;
                                continue;
                            }
                            None => {}
                        }
                    }
                    if let Some(cut) = self.cut_broken(fault, view) {
                        return Ok(Some(cut));
                    }
                }
            }
            if self.end - self.start > self.max_record_bytes {
                let is_sound = !matches!(scanned, Err(Fault::Invalid { .. }));
                if let Some((start, stream)) = self.stream(view) {
                    (self.start, self.stream) = (start, Some(stream));
                    continue;
                }
                return Ok(Some(self.pass_over(view, is_sound)));
            }
            self.fill()?;
        }
    }

    /// What may be looked at to tell what the next frame is. More than that is there by chance.
    fn view(&self) -> View {
        let end = self.end.min(self.start.saturating_add(self.max_record_bytes).saturating_add(1));
        // Whether an end is known already is chance too, where one byte more than is allowed has been read.
        View { end, is_last: self.at_end && self.end - self.start <= self.max_record_bytes }
    }

    /// Whether a line that starts with a scalar goes on behind it, at which place: a line of a log starts with a
    /// number often enough. Objects and arrays may follow each other. None if more bytes must be read to tell.
    fn line_goes_on(&self, end: usize, view: View) -> Option<Option<usize>> {
        if matches!(self.buffer[self.start], b'{' | b'[') {
            return Some(None);
        }
        let rest = &self.buffer[end..view.end];
        match rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) {
            Some(at) if rest[at] == b'\n' => Some(None),
            Some(at) => Some(Some(end + at)),
            None => view.is_last.then_some(None),
        }
    }

    fn take(&mut self, end: usize) -> Range<usize> {
        let range = self.start..end;
        self.start = end;
        range
    }

    fn skip_separators(&mut self) {
        loop {
            self.start = scan::skip_whitespace(&self.buffer[..self.end], self.start);
            match &self.buffer[self.start..self.end] {
                [RECORD_SEPARATOR, ..] => self.start += 1,
                rest if rest.starts_with(BYTE_ORDER_MARK) => self.start += BYTE_ORDER_MARK.len(),
                _ => return,
            }
        }
    }

    /// Reads more bytes behind those in the buffer. False at the end of the object.
    fn fill(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.buffer_offset += self.start as u64;
            self.end -= self.start;
            self.start = 0;
        }
        // Half as much again for a record that does not fit: few rescans, and no doubling of a large one.
        let wanted = self.end + READ_BYTES.max(self.end / 2);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let before = self.end;
        // One read is enough, but for a long unfinished record: it is scanned again after every fill.
        let enough = self.end + (self.end / 2).max(1);
        while self.end < enough {
            match self.reader.read(&mut self.buffer[self.end..wanted]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.end > before => {
                    // What was read before it is given out first.
                    self.failure = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(self.end > before)
    }
}

/// Whether `text` is the beginning of a byte order mark, or of that of an aggregate, cut by the chunk's end.
fn is_partial_mark(text: &[u8]) -> bool {
    [BYTE_ORDER_MARK, kpl::MAGIC].iter().any(|mark| text.len() < mark.len() && mark.starts_with(text))
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;

    use super::*;

    /// Reads `text` in pieces of `piece` bytes.
    struct Pieces<'a> {
        text: &'a [u8],
        piece: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.piece.min(self.text.len()).min(out.len());
            out[..count].copy_from_slice(&self.text[..count]);
            self.text = &self.text[count..];
            Ok(count)
        }
    }

    /// What is taken of an offer is what would have come as a record, and nothing else is lost by it.
    #[test]
    fn an_offer_that_is_taken_is_the_next_record() {
        let text = "{\"a\":1}\n {\"b\":[2]}{\"c\":\"}\"}\n7\n{broken\n\u{1e}{\"long\":\"xxxxxxxxxxxxxxxxxxxx\"}\n[1]\n{}";
        for piece in [1, 5, 1000] {
            for max_record_bytes in [12, 1000] {
                let mut offered = Framer::new(Pieces { text: text.as_bytes(), piece }, max_record_bytes);
                let mut plain = Framer::new(Pieces { text: text.as_bytes(), piece }, max_record_bytes);
                loop {
                    let mut taken = None;
                    offered.offer(|offset, rest| {
                        let end = scan::value_end(rest, 0).ok()?;
                        taken = Some((offset, rest[..end].to_vec()));
                        Some(end)
                    });
                    let expected = plain.next_frame().unwrap();
                    match &taken {
                        Some((offset, text)) => {
                            assert_eq!(expected, Some(Frame::Record { offset: *offset, text }));
                        }
                        None => assert_eq!(offered.next_frame().unwrap(), expected),
                    }
                    if taken.is_none() && expected.is_none() {
                        break;
                    }
                }
            }
        }
    }

    /// `r:` a record, `b:` broken, `l:` too large.
    fn frames_in(text: &str, piece: usize, max_record_bytes: usize) -> Vec<String> {
        let mut framer = Framer::new(Pieces { text: text.as_bytes(), piece }, max_record_bytes);
        let mut frames = Vec::new();
        while let Some(frame) = framer.next_frame().unwrap() {
            frames.push(match frame {
                Frame::Record { offset, text: record } => {
                    assert_eq!(&text.as_bytes()[offset as usize..][..record.len()], record);
                    format!("r:{}", String::from_utf8_lossy(record))
                }
                Frame::Broken { offset, text: bytes, .. } => {
                    assert_eq!(&text.as_bytes()[offset as usize..][..bytes.len()], bytes);
                    format!("b:{}", String::from_utf8_lossy(bytes))
                }
                Frame::TooLarge { offset, length } => format!("l:{offset}+{length}"),
                Frame::Element { .. } | Frame::Behind { .. } | Frame::Rest { .. } => {
                    unreachable!("no elements are asked for")
                }
            });
        }
        frames
    }

    fn frames(text: &str) -> Vec<String> {
        frames_in(text, usize::MAX, 1 << 20)
    }

    #[test]
    fn lines_concatenated_crlf_and_pretty_printed_records() {
        assert_eq!(
            frames("{\"a\":1}\n{\"a\":2}\r\n\n{\"a\":3}"),
            ["r:{\"a\":1}", "r:{\"a\":2}", "r:{\"a\":3}"]
        );
        assert_eq!(frames("{\"a\":1}{\"a\":2} {\"a\":3}"), ["r:{\"a\":1}", "r:{\"a\":2}", "r:{\"a\":3}"]);
        assert_eq!(
            frames("{\n  \"a\": {\n    \"b\": 1\n  }\n}\n{}"),
            ["r:{\n  \"a\": {\n    \"b\": 1\n  }\n}", "r:{}"]
        );
        assert_eq!(frames(""), [""; 0]);
        assert_eq!(frames(" \r\n\t"), [""; 0]);
    }

    #[test]
    fn byte_order_marks_are_separators() {
        assert_eq!(frames("\u{feff}{}\n\u{feff}{}"), ["r:{}", "r:{}"]);
    }

    #[test]
    fn record_separators_are_separators_and_a_cut_record_ends_before_the_next() {
        assert_eq!(frames("\u{1e}{\"a\":1}\n\u{1e}{\"a\":2}\n\u{1e}"), ["r:{\"a\":1}", "r:{\"a\":2}"]);
        let text = "\u{1e}{\"a\":\n\u{1e}{\"a\":2}\n\u{1e}\u{1e}\u{feff}{\"a\":3}\u{1e}{}";
        for piece in 1..text.len() {
            let expected = ["b:{\"a\":", "r:{\"a\":2}", "r:{\"a\":3}", "r:{}"];
            assert_eq!(frames_in(text, piece, 1 << 20), expected, "pieces of {piece}");
        }
    }

    #[test]
    fn other_values_are_records_too() {
        assert_eq!(frames("[1,2]\n12\n\"x\" \r\nnull"), ["r:[1,2]", "r:12", "r:\"x\"", "r:null"]);
    }

    #[test]
    fn a_line_that_starts_with_a_scalar_is_one_frame() {
        assert_eq!(
            frames("2026-01-02 03:04:05 ERROR\n12 \"x\"\n{\"a\":1}"),
            ["b:2026-01-02 03:04:05 ERROR", "b:12 \"x\"", "r:{\"a\":1}"]
        );
    }

    #[test]
    fn a_bad_line_ends_with_its_line() {
        let text = "{\"a\":1}\nnot json\nnot json either\n{\"a\":2}";
        assert_eq!(frames(text), ["r:{\"a\":1}", "b:not json", "b:not json either", "r:{\"a\":2}"]);
        assert_eq!(frames("{\"a\":\"cut\n{\"a\":2}\n"), ["b:{\"a\":\"cut", "r:{\"a\":2}"]);
        assert_eq!(frames("{\"a\":1}}\n{\"a\":2}\n"), ["r:{\"a\":1}", "b:}", "r:{\"a\":2}"]);
    }

    #[test]
    fn a_line_cut_short_does_not_swallow_the_next() {
        assert_eq!(frames("{\"a\":1,\n{\"a\":2}\n{\"a\":3}"), ["b:{\"a\":1,", "r:{\"a\":2}", "r:{\"a\":3}"]);
        assert_eq!(frames("{\"a\":\n{\"a\":2}\n{\"a\":3}"), ["b:{\"a\":", "r:{\"a\":2}", "r:{\"a\":3}"]);
        assert_eq!(frames("{\"a\":[\n{\"a\":2}\n"), ["b:{\"a\":[", "r:{\"a\":2}"]);
    }

    #[test]
    fn an_unterminated_last_record_is_broken_alone() {
        assert_eq!(frames("{\"a\":1}\n{\"a\":2"), ["r:{\"a\":1}", "b:{\"a\":2"]);
        assert_eq!(frames("{\"a\":1}\n{\"a\":\"\u{e9}"), ["r:{\"a\":1}", "b:{\"a\":\"\u{e9}"]);
    }

    #[test]
    fn concatenated_records_resume_at_a_seam() {
        assert_eq!(frames("{\"a\":1}{\"b\":}{\"c\":3}"), ["r:{\"a\":1}", "b:{\"b\":}", "r:{\"c\":3}"]);
        assert_eq!(frames("{\"b\":{\"x\":1}{\"c\":3}"), ["b:{\"b\":{\"x\":1}", "r:{\"c\":3}"]);
    }

    #[test]
    fn lines_of_a_broken_pretty_printed_record_are_no_records() {
        let text = "{\n  \"items\": [\n    {\"x\": 1},\n    {\"x\": 2},\n  ]\n}\n{\"a\": 1}\n";
        assert_eq!(
            frames(text),
            ["b:{\n  \"items\": [\n    {\"x\": 1},\n    {\"x\": 2},\n  ]\n}", "r:{\"a\": 1}"]
        );
    }

    #[test]
    fn a_record_over_the_limit_is_passed_over_and_its_neighbours_stand() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3_000_000));
        let text = format!("{{\"a\":1}}\n{large}\n{{\"a\":2}}\n");
        let expected = ["r:{\"a\":1}".to_owned(), format!("l:8+{}", large.len()), "r:{\"a\":2}".to_owned()];
        assert_eq!(frames(&text), expected);
        assert_eq!(frames_in(&text, 1000, 1 << 20), expected);
    }

    #[test]
    fn a_large_record_within_the_limit_is_given_out_whole() {
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(3_000_000));
        assert_eq!(frames_in(&large, usize::MAX, 4 << 20), [format!("r:{large}")]);
    }

    #[test]
    fn chunk_boundaries_make_no_difference() {
        let text = "\u{feff}{\"a\":1}\n{\"k\":\"v}{\"}[1,2] 12345 true{\"b\":}{\"c\":3}\nnope\n{\"d\":[\n{\"e\":1}\n\u{feff}{\"f\": 2";
        let whole = frames(text);
        for piece in 1..text.len() {
            assert_eq!(frames_in(text, piece, 1 << 20), whole, "pieces of {piece}");
        }
    }

    #[test]
    fn chunk_boundaries_make_no_difference_where_records_are_too_large() {
        for (text, expected) in [
            ("{\"a\":\"xxxx\"}{\"b\":1}", vec!["l:0+12", "r:{\"b\":1}"]),
            ("{\"a\":\n\"xxx\"\n}\n{\"b\":1}", vec!["l:0+13", "r:{\"b\":1}"]),
            ("{\"a\":\"x}\\\"]\"}\n{\"b\":1}", vec!["l:0+13", "r:{\"b\":1}"]),
            ("{\"a\":[[],xxx}\n{\"b\":1}", vec!["l:0+14", "r:{\"b\":1}"]),
            ("{\"a\":[1,2,3\n{\"b\":1}", vec!["l:0+12", "r:{\"b\":1}"]),
            ("{\"a\":\n\"xxx\n}\n{\"b\":1}", vec!["l:0+20"]),
            ("{\"a\":\n\"xx\n\",{},[],\n{}\n", vec!["l:0+22"]),
            ("xxxxxxxx{\"a\":1}{\"b\":1}", vec!["l:0+22"]),
            ("12345678   \n{\"b\":1}", vec!["l:0+12", "r:{\"b\":1}"]),
            ("{\"a\":123}", vec!["l:0+9"]),
            ("{\"a\":12}", vec!["r:{\"a\":12}"]),
            ("{\"a\":123", vec!["b:{\"a\":123"]),
            ("{\"a\":1234", vec!["l:0+9"]),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(frames_in(text, piece, 8), expected, "{text:?} in pieces of {piece}");
            }
        }
    }

    /// Gives its bytes and then fails.
    struct Failing<'a>(&'a [u8]);

    impl Read for Failing<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Err(io::Error::other("torn"));
            }
            let count = self.0.len().min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn an_aggregate_is_a_record_whatever_follows() {
        // One user record with a partition key, `{"a":1}`.
        let message = b"\x0A\x01k\x1A\x0B\x08\x00\x1A\x07{\"a\":1}";
        let aggregate = [kpl::MAGIC, message, &md5::Md5::digest(message)].concat();
        let text = [&aggregate[..], &aggregate, b"\n{\"b\":1}", &aggregate].concat();
        let (mut damaged, last) = (aggregate.clone(), aggregate.len() - 1);
        damaged[last] ^= 1;
        let cases =
            [(text, vec![true, true, true, true]), ([&damaged[..], b"\n{}"].concat(), vec![false, true])];
        for (text, expected) in cases {
            for piece in 1..=text.len() {
                let mut framer = Framer::new(Pieces { text: &text, piece }, 100);
                let mut found = Vec::new();
                while let Some(frame) = framer.next_frame().unwrap() {
                    found.push(matches!(frame, Frame::Record { .. }));
                }
                found.dedup_by(|next, before| !*next && !*before);
                assert_eq!(found, expected, "pieces of {piece}");
            }
        }
    }

    #[test]
    fn what_was_passed_over_before_a_failure_comes_first() {
        let mut framer = Framer::new(Failing(b"{\"a\":1}\n{\"a\":\"xxxx"), 8);
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Record { offset: 0, .. }))));
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::TooLarge { offset: 8, length: 10 }))));
        assert!(framer.next_frame().is_err());
        assert_eq!(framer.remainder(), (18, &b""[..]));
    }

    #[test]
    fn white_space_that_json_does_not_have_is_no_separator() {
        assert_eq!(
            frames("\u{c}\n{}\nno\u{c} \r\n{}\u{c}"),
            ["b:\u{c}", "r:{}", "b:no\u{c}", "r:{}", "b:\u{c}"]
        );
    }

    #[test]
    fn what_was_read_before_a_failure_comes_first() {
        let mut framer = Framer::new(Failing(b"{\"a\":1}\n{\"a\":"), 1 << 20);
        assert!(matches!(framer.next_frame(), Ok(Some(Frame::Record { offset: 0, .. }))));
        assert!(framer.next_frame().is_err());
        assert_eq!(framer.remainder(), (8, b"{\"a\":".as_slice()));
    }
}

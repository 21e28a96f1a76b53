//! A zip archive as a stream -> the content of its entries, one after the other.
//!
//! In: the archive's bytes from the start (PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.16). Out: what the entries
//! hold, checked against their CRC-32. Entries are stored or deflated; sizes may follow in a data descriptor, as
//! streaming writers do. At the end the entries are compared with the central directory, by number and by a sum of
//! digests, so that memory does not grow with them. Refused: encryption, other methods, a stored entry that does not
//! tell its size beforehand, entries that the directory does not list or lists otherwise, and anything between or
//! behind the archive's parts, a second archive included.

mod directory;
mod fields;

use std::io::{self, BufReader, Read};

use flate2::bufread::DeflateDecoder;

use self::directory::{Listed, Tally, check_directory};
use self::fields::{Counted, damaged, u16_at, u32_at, zip64_sizes};

const LOCAL_FILE_HEADER: [u8; 4] = *b"PK\x03\x04";
const DATA_DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DATA_DESCRIPTOR: u16 = 1 << 3;

pub(super) struct ZipReader<R> {
    state: State<R>,
    /// The entries read so far.
    entries: Tally,
}

enum State<R> {
    /// The signature of what follows, if it was read already.
    Between(Counted<R>, Option<[u8; 4]>),
    Stored {
        raw: io::Take<Counted<R>>,
        entry: Entry,
    },
    Deflated {
        content: DeflateDecoder<Counted<R>>,
        entry: Entry,
    },
    End,
    /// An error was given out. Reading on must not look like the end.
    Failed,
}

/// What is known and counted of the current entry.
struct Entry {
    /// Where its local header begins.
    offset: u64,
    has_descriptor: bool,
    crc_expected: u32,
    crc: crc32fast::Hasher,
    compressed: u64,
    content: u64,
}

impl<R: Read> ZipReader<R> {
    pub(super) fn new(raw: BufReader<R>) -> Self {
        Self { state: State::Between(Counted::new(raw), None), entries: Tally::default() }
    }
}

impl<R: Read> Read for ZipReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::End => return Ok(0),
                State::Failed => return Err(damaged("the archive is damaged")),
                State::Between(..) => {}
                State::Stored { raw, entry } => {
                    let count = raw.read(out)?;
                    if count > 0 || out.is_empty() {
                        entry.crc.update(&out[..count]);
                        return Ok(count);
                    }
                    if raw.limit() > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                State::Deflated { content, entry } => {
                    let count = content.read(out)?;
                    if count > 0 || out.is_empty() {
                        entry.crc.update(&out[..count]);
                        return Ok(count);
                    }
                    (entry.compressed, entry.content) = (content.total_in(), content.total_out());
                }
            }
            self.state = match std::mem::replace(&mut self.state, State::Failed) {
                State::Between(raw, signature) => next_entry(raw, signature, &self.entries)?,
                State::Stored { raw, entry } => entry.finish(raw.into_inner(), &mut self.entries)?,
                State::Deflated { content, entry } => {
                    entry.finish(content.into_inner(), &mut self.entries)?
                }
                ended @ (State::End | State::Failed) => ended,
            };
        }
    }
}

fn next_entry<R: Read>(
    mut raw: Counted<R>,
    signature: Option<[u8; 4]>,
    entries: &Tally,
) -> io::Result<State<R>> {
    let signature = match signature {
        Some(signature) => signature,
        None => raw.array()?,
    };
    let offset = raw.at - 4;
    if signature != LOCAL_FILE_HEADER {
        check_directory(&mut raw, signature, entries)?;
        return Ok(State::End);
    }
    let header = raw.array::<26>()?;
    let (flags, method) = (u16_at(&header, 2), u16_at(&header, 4));
    let (mut compressed, mut content) = (u64::from(u32_at(&header, 14)), u64::from(u32_at(&header, 18)));
    raw.skip(u16_at(&header, 22).into())?;
    zip64_sizes(&mut raw, u16_at(&header, 24), &mut [&mut content, &mut compressed])?;
    let has_descriptor = flags & FLAG_DATA_DESCRIPTOR != 0;
    let crc_expected = u32_at(&header, 10);
    let crc = crc32fast::Hasher::new();
    let entry = Entry { offset, has_descriptor, crc_expected, crc, compressed, content: compressed };
    match method {
        _ if flags & FLAG_ENCRYPTED != 0 => Err(unsupported("an entry is encrypted")),
        8 => Ok(State::Deflated { content: DeflateDecoder::new(raw), entry }),
        0 if has_descriptor || compressed == u64::from(u32::MAX) => {
            Err(unsupported("a stored entry does not tell its size beforehand"))
        }
        0 => Ok(State::Stored { raw: raw.take(compressed), entry }),
        other => Err(unsupported(&format!("an entry uses compression method {other}"))),
    }
}

impl Entry {
    /// Reads what follows the entry's data and checks the data against it.
    fn finish<R: Read>(self, mut raw: Counted<R>, entries: &mut Tally) -> io::Result<State<R>> {
        let mut expected = self.crc_expected.to_le_bytes();
        let mut next = None;
        if self.has_descriptor {
            expected = raw.array()?;
            // The signature is optional.
            if expected == DATA_DESCRIPTOR {
                expected = raw.array()?;
            }
            // Sizes of 4 bytes each, or of 8 (zip64): told by what is known of them.
            let sizes = raw.array::<8>()?;
            let short = [self.compressed as u32, self.content as u32].map(u32::to_le_bytes).concat();
            if sizes[..] != short[..] {
                if sizes != self.compressed.to_le_bytes() || raw.array()? != self.content.to_le_bytes() {
                    return Err(damaged("an entry's size is wrong"));
                }
            } else if self.content == 0 {
                // Both begin alike where the content is empty. Then a signature follows, or the second size.
                match raw.array()? {
                    [0, 0, 0, 0] if raw.array()? == [0; 4] => {}
                    signature => next = Some(signature),
                }
            }
        }
        let crc = self.crc.finalize();
        if crc != u32::from_le_bytes(expected) {
            return Err(damaged("an entry's CRC-32 is wrong"));
        }
        let Self { offset, compressed, content, .. } = self;
        entries.add(&Listed { offset, crc, compressed, content });
        Ok(State::Between(raw, next))
    }
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("zip: {what}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn entry(name: &str, content: &str, deflated: bool, described: Option<bool>) -> Vec<u8> {
        let data = if deflated {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content.as_bytes()).unwrap();
            encoder.finish().unwrap()
        } else {
            content.as_bytes().to_vec()
        };
        let crc = crc32fast::hash(content.as_bytes());
        let mut raw = LOCAL_FILE_HEADER.to_vec();
        let words =
            |raw: &mut Vec<u8>, words: &[u16]| words.iter().for_each(|word| raw.extend(word.to_le_bytes()));
        words(&mut raw, &[20, if described.is_some() { 8 } else { 0 }, if deflated { 8 } else { 0 }, 0, 0]);
        let known = described.is_none() as u32;
        for word in [crc * known, data.len() as u32 * known, content.len() as u32 * known] {
            raw.extend(word.to_le_bytes());
        }
        words(&mut raw, &[name.len() as u16, 3]);
        raw.extend(name.as_bytes());
        raw.extend(b"ext");
        raw.extend(&data);
        match described {
            None => {}
            Some(zip64) => {
                raw.extend(DATA_DESCRIPTOR);
                raw.extend(crc.to_le_bytes());
                for size in [data.len(), content.len()] {
                    raw.extend(&(size as u64).to_le_bytes()[..if zip64 { 8 } else { 4 }]);
                }
            }
        }
        raw
    }

    fn read(raw: Vec<u8>) -> io::Result<String> {
        read_by(7, raw)
    }

    fn read_by(buffer_bytes: usize, raw: Vec<u8>) -> io::Result<String> {
        let mut text = String::new();
        ZipReader::new(BufReader::with_capacity(buffer_bytes, io::Cursor::new(raw)))
            .read_to_string(&mut text)?;
        Ok(text)
    }

    /// The whole archive of entries and contents.
    fn archive(parts: &[(Vec<u8>, &str)], zip64: bool, comment: &str) -> Vec<u8> {
        let (mut raw, mut directory) = (Vec::new(), Vec::new());
        for (entry, content) in parts {
            let (name, is_described) = (u16_at(entry, 26) as usize, u16_at(entry, 6) & 8 != 0);
            let mut compressed = u32_at(entry, 18);
            if is_described {
                let mut decoder = DeflateDecoder::new(&entry[30 + name + 3..]);
                io::copy(&mut decoder, &mut io::sink()).unwrap();
                compressed = decoder.total_in() as u32;
            }
            directory.extend(b"PK\x01\x02\x14\0\x14\0");
            directory.extend(&entry[6..14]);
            directory.extend(crc32fast::hash(content.as_bytes()).to_le_bytes());
            let numbers = [content.len() as u32, compressed, raw.len() as u32];
            let shown = numbers.map(|number| if zip64 { u32::MAX } else { number });
            directory.extend(shown[1].to_le_bytes());
            directory.extend(shown[0].to_le_bytes());
            let extra_bytes: u16 = if zip64 { 28 } else { 0 };
            for word in [name as u16, extra_bytes, 2, 0, 0, 0, 0] {
                directory.extend(word.to_le_bytes());
            }
            directory.extend(shown[2].to_le_bytes());
            directory.extend(&entry[30..30 + name]);
            if zip64 {
                directory.extend(b"\x01\0\x18\0");
                numbers.iter().for_each(|number| directory.extend(u64::from(*number).to_le_bytes()));
            }
            directory.extend(b"no");
            raw.extend(entry);
        }
        let (start, count) = (raw.len() as u64, parts.len() as u64);
        let size = directory.len() as u64;
        raw.extend(directory);
        if zip64 {
            let record = raw.len() as u64;
            raw.extend(b"PK\x06\x06");
            raw.extend(44_u64.to_le_bytes());
            raw.extend([0; 12]);
            [count, count, size, start].iter().for_each(|number| raw.extend(number.to_le_bytes()));
            raw.extend(b"PK\x06\x07\0\0\0\0");
            raw.extend(record.to_le_bytes());
            raw.extend(1_u32.to_le_bytes());
        }
        raw.extend(b"PK\x05\x06\0\0\0\0");
        let count = if zip64 { u16::MAX } else { count as u16 };
        raw.extend([count, count].map(u16::to_le_bytes).concat());
        let numbers = [size, start].map(|number| if zip64 { u32::MAX } else { number as u32 });
        raw.extend(numbers.map(u32::to_le_bytes).concat());
        raw.extend((comment.len() as u16).to_le_bytes());
        raw.extend(comment.as_bytes());
        raw
    }

    /// A stored, a deflated and a described entry.
    fn three(zip64: bool, comment: &str) -> (Vec<u8>, String) {
        let texts = ["{\"a\":1}\n", "{\"a\":2}\n", "{\"a\":3}\n"];
        let parts = [
            (entry("a", texts[0], false, None), texts[0]),
            (entry("b", texts[1], true, None), texts[1]),
            (entry("c", texts[2], true, Some(zip64)), texts[2]),
        ];
        (archive(&parts, zip64, comment), texts.concat())
    }

    #[test]
    fn entries_of_every_kind_are_read_in_order() {
        let texts = ["stored\n", "deflated\n", "described\n", "described at length\n", "", ""];
        let parts = [
            (entry("a", texts[0], false, None), texts[0]),
            (entry("b", texts[1], true, None), texts[1]),
            (entry("c", texts[2], true, Some(false)), texts[2]),
            (entry("d", texts[3], true, Some(true)), texts[3]),
            (entry("e", texts[4], true, Some(false)), texts[4]),
            (entry("f", texts[5], true, Some(true)), texts[5]),
        ];
        for zip64 in [false, true] {
            let raw = archive(&parts, zip64, "");
            for buffer_bytes in 1..raw.len() {
                let text = read_by(buffer_bytes, raw.clone());
                let expected = "stored\ndeflated\ndescribed\ndescribed at length\n";
                assert_eq!(text.unwrap(), expected, "in buffers of {buffer_bytes}");
            }
            assert_eq!(read(archive(&[], zip64, "")).unwrap(), "");
            assert_eq!(read(archive(&parts[..1], zip64, "a comment PK\x05\x06")).unwrap(), "stored\n");
        }
    }

    #[test]
    fn damage_is_an_error() {
        let whole = entry("a", "some text", true, Some(false));
        for cut in 1..=whole.len() {
            assert!(read(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        let mut wrong = entry("a", "some text", false, None);
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        wrong.extend(b"PK\x01\x02");
        assert!(read(wrong).unwrap_err().to_string().contains("CRC-32"));
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_changes_nothing() {
        for zip64 in [false, true] {
            let (raw, text) = three(zip64, "comment");
            assert_eq!(read(raw.clone()).unwrap(), text);
            let mut errors = 0;
            for bit in 0..raw.len() * 8 {
                let mut flipped = raw.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                match read(flipped) {
                    Ok(read) => assert_eq!(read, text, "bit {bit}"),
                    Err(_) => errors += 1,
                }
            }
            assert!(errors > raw.len() * 8 / 4, "{errors}");
        }
    }

    #[test]
    fn lost_doubled_and_foreign_bytes_are_errors() {
        for zip64 in [false, true] {
            let (raw, text) = three(zip64, "");
            for at in 0..raw.len() {
                let mut lost = raw.clone();
                lost.remove(at);
                assert!(read(lost).is_err(), "without byte {at}");
                assert!(read(raw[..at].to_vec()).is_err(), "cut at {at}");
                let mut more = raw.clone();
                more.insert(at, b'x');
                assert!(read(more).is_err(), "one byte more at {at}");
            }
            for behind in [raw.as_slice(), b"{\"a\":4}\n", b"\n", b"\0"] {
                let mut reader = ZipReader::new(BufReader::new(io::Cursor::new([&raw, behind].concat())));
                let mut given = String::new();
                assert!(reader.read_to_string(&mut given).is_err());
                // The error stays.
                assert!(reader.read(&mut [0]).is_err());
                let mut given = Vec::new();
                let mut reader = ZipReader::new(BufReader::new(io::Cursor::new([&raw, behind].concat())));
                assert!(reader.read_to_end(&mut given).is_err());
                assert_eq!(given, text.as_bytes());
            }
        }
    }

    /// An archive whose directory lists an entry that is not there, as after a lost range.
    #[test]
    fn entries_that_only_one_side_has_are_errors() {
        let (one, two) = (entry("a", "1\n", false, None), entry("b", "2\n", false, None));
        let whole = archive(&[(one.clone(), "1\n"), (two.clone(), "2\n")], false, "");
        let directory = &whole[one.len() + two.len()..];
        for entries in [vec![&one], vec![&two, &one], vec![&one, &two, &two], vec![]] {
            let raw = [entries.into_iter().flatten().copied().collect(), directory.to_vec()].concat();
            assert!(read(raw).is_err());
        }
    }

    #[test]
    fn a_stored_entry_may_tell_its_size_in_a_zip64_field() {
        let text = "stored at length\n";
        let mut long = entry("a", text, false, None);
        long[18..26].fill(0xFF);
        let size = (text.len() as u64).to_le_bytes();
        let field = [b"\x01\0\x10\0".as_slice(), &size, &size].concat();
        long[28] = field.len() as u8;
        long.splice(31..34, field);
        let mut raw = archive(&[(long, text)], false, "");
        let at = raw.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        raw[at + 20..at + 24].copy_from_slice(&(text.len() as u32).to_le_bytes());
        assert_eq!(read(raw).unwrap(), text);
    }
}

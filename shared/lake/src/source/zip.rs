//! A zip archive as a stream -> the content of its entries, one after the other.
//!
//! In: the archive's bytes from the start (PKWARE APPNOTE 6.3.10, sections 4.3.7 to 4.3.9). Out: what the entries
//! hold, checked against their CRC-32. Entries are stored or deflated; sizes may follow in a data descriptor, as
//! streaming writers do. The central directory is not needed and not read. Refused: encryption, other methods, and a
//! stored entry that does not tell its size beforehand.

use std::io::{self, BufReader, Read};

use flate2::bufread::DeflateDecoder;

const LOCAL_FILE_HEADER: [u8; 4] = *b"PK\x03\x04";
const DATA_DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const FLAG_ENCRYPTED: u16 = 1;
const FLAG_DATA_DESCRIPTOR: u16 = 1 << 3;

pub(super) struct ZipReader<R> {
    state: State<R>,
}

enum State<R> {
    /// The signature of what follows, if it was read already.
    Between(BufReader<R>, Option<[u8; 4]>),
    Stored {
        raw: io::Take<BufReader<R>>,
        entry: Entry,
    },
    Deflated {
        content: DeflateDecoder<BufReader<R>>,
        entry: Entry,
    },
    End,
}

/// What is known and counted of the current entry.
struct Entry {
    has_descriptor: bool,
    crc_expected: u32,
    crc: crc32fast::Hasher,
    compressed: u64,
    content: u64,
}

impl<R: Read> ZipReader<R> {
    pub(super) fn new(raw: BufReader<R>) -> Self {
        Self { state: State::Between(raw, None) }
    }
}

impl<R: Read> Read for ZipReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.state {
                State::End => return Ok(0),
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
            self.state = match std::mem::replace(&mut self.state, State::End) {
                State::End => State::End,
                State::Between(raw, signature) => next_entry(raw, signature)?,
                State::Stored { raw, entry } => entry.finish(raw.into_inner())?,
                State::Deflated { content, entry } => entry.finish(content.into_inner())?,
            };
        }
    }
}

fn next_entry<R: Read>(mut raw: BufReader<R>, signature: Option<[u8; 4]>) -> io::Result<State<R>> {
    let signature = match signature {
        Some(signature) => signature,
        None => word(&mut raw)?,
    };
    if signature != LOCAL_FILE_HEADER {
        // The central directory, or the end of an archive without entries. Fetched to its end all the same.
        io::copy(&mut raw, &mut io::sink())?;
        return Ok(State::End);
    }
    let mut header = [0; 26];
    raw.read_exact(&mut header)?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (flags, method) = (u16_at(2), u16_at(4));
    let (crc_expected, compressed_size) = (u32_at(10), u32_at(14));
    let names = u64::from(u16_at(22)) + u64::from(u16_at(24));
    if io::copy(&mut raw.by_ref().take(names), &mut io::sink())? < names {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let has_descriptor = flags & FLAG_DATA_DESCRIPTOR != 0;
    let entry =
        Entry { has_descriptor, crc_expected, crc: crc32fast::Hasher::new(), compressed: 0, content: 0 };
    match method {
        _ if flags & FLAG_ENCRYPTED != 0 => Err(unsupported("an entry is encrypted")),
        8 => Ok(State::Deflated { content: DeflateDecoder::new(raw), entry }),
        0 if has_descriptor || compressed_size == u32::MAX => {
            Err(unsupported("a stored entry does not tell its size beforehand"))
        }
        0 => Ok(State::Stored { raw: raw.take(u64::from(compressed_size)), entry }),
        other => Err(unsupported(&format!("an entry uses compression method {other}"))),
    }
}

impl Entry {
    /// Reads what follows the entry's data and checks the data against it.
    fn finish<R: Read>(self, mut raw: BufReader<R>) -> io::Result<State<R>> {
        let mut expected = self.crc_expected;
        let mut next = None;
        if self.has_descriptor {
            let mut crc = word(&mut raw)?;
            // The signature is optional.
            if crc == DATA_DESCRIPTOR {
                crc = word(&mut raw)?;
            }
            expected = u32::from_le_bytes(crc);
            // Sizes of 4 bytes each, or of 8 (zip64): told by whether the second word is half of a number.
            let mut sizes = [0; 8];
            raw.read_exact(&mut sizes)?;
            if sizes == self.compressed.to_le_bytes() {
                // Or the content is empty: then a signature follows.
                match word(&mut raw)? {
                    signature @ [b'P', b'K', ..] => next = Some(signature),
                    low if [low, word(&mut raw)?].concat() == self.content.to_le_bytes() => {}
                    _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry's size is wrong")),
                }
            }
        }
        if self.crc.finalize() != expected {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry's CRC-32 is wrong"));
        }
        Ok(State::Between(raw, next))
    }
}

fn word<R: Read>(raw: &mut BufReader<R>) -> io::Result<[u8; 4]> {
    let mut word = [0; 4];
    raw.read_exact(&mut word)?;
    Ok(word)
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

    #[test]
    fn entries_of_every_kind_are_read_in_order() {
        let raw = [
            entry("a", "stored\n", false, None),
            entry("b", "deflated\n", true, None),
            entry("c", "described\n", true, Some(false)),
            entry("d", "described at length\n", true, Some(true)),
            entry("e", "", true, Some(false)),
            b"PK\x01\x02 the central directory".to_vec(),
        ];
        for buffer_bytes in 1..raw.concat().len() {
            let text = read_by(buffer_bytes, raw.concat());
            let expected = "stored\ndeflated\ndescribed\ndescribed at length\n";
            assert_eq!(text.unwrap(), expected, "in buffers of {buffer_bytes}");
        }
        assert_eq!(read(b"PK\x05\x06\0\0\0\0".to_vec()).unwrap(), "");
    }

    #[test]
    fn damage_is_an_error() {
        let whole = entry("a", "some text", true, Some(false));
        for cut in 1..whole.len() {
            assert!(read(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        let mut wrong = entry("a", "some text", false, None);
        let last = wrong.len() - 1;
        wrong[last] ^= 1;
        wrong.extend(b"PK\x01\x02");
        assert!(read(wrong).unwrap_err().to_string().contains("CRC-32"));
    }
}

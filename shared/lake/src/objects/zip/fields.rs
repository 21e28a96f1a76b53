//! What all parts of a zip archive are made of.
//!
//! In: the archive as a stream. Out: its numbers, which are little endian, and the place where each stands.

use std::io::{self, BufRead, BufReader, Read};

/// Counts the bytes that were taken from it.
pub(super) struct Counted<R> {
    raw: BufReader<R>,
    pub(super) at: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.read(out)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.raw.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.raw.consume(count);
        self.at += count as u64;
    }
}

impl<R: Read> Counted<R> {
    pub(super) fn new(raw: BufReader<R>) -> Self {
        Self { raw, at: 0 }
    }

    pub(super) fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn skip(&mut self, count: u64) -> io::Result<()> {
        match io::copy(&mut self.by_ref().take(count), &mut io::sink())? {
            skipped if skipped < count => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Reads an extra field of `length` bytes. `values` that are 0xFFFFFFFF stand in its zip64 record, in this order.
pub(super) fn zip64_sizes<R: Read>(
    raw: &mut Counted<R>,
    length: u16,
    values: &mut [&mut u64],
) -> io::Result<()> {
    let mut extra = vec![0; length.into()];
    raw.read_exact(&mut extra)?;
    let mut rest = &extra[..];
    // What is too short for a record is padding, as some writers align entries by.
    while let [id_0, id_1, length_0, length_1, after @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*length_0, *length_1]));
        let Some((mut record, after)) = after.split_at_checked(length) else { break };
        if [*id_0, *id_1] == [1, 0] {
            for value in values.iter_mut().filter(|value| ***value == u64::from(u32::MAX)) {
                let Some((number, after)) = record.split_first_chunk() else { break };
                (**value, record) = (u64::from_le_bytes(*number), after);
            }
            break;
        }
        rest = after;
    }
    Ok(())
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("zip: {what}"))
}

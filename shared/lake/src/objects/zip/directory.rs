//! The entries of a zip archive as they were read -> whether its central directory lists the same.
//!
//! In: the archive from its central directory on (PKWARE APPNOTE 6.3.10, sections 4.3.12 to 4.3.16), and a [`Tally`]
//! of the entries before it. Refused: a directory or an end record that says otherwise, and anything behind the end.

use std::io::{self, Read};

use super::fields::{Counted, damaged, u16_at, u32_at, zip64_sizes};
use crate::digest::Digest;

const CENTRAL_HEADER: [u8; 4] = *b"PK\x01\x02";
const ZIP64_END: [u8; 4] = *b"PK\x06\x06";
const ZIP64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const END: [u8; 4] = *b"PK\x05\x06";
/// Bytes of a zip64 end record behind its size, extensions aside.
const ZIP64_END_BYTES: u64 = 44;

/// What the directory says of an entry, sizes and offset in bytes.
pub(super) struct Listed {
    /// Where the local header begins.
    pub(super) offset: u64,
    pub(super) crc: u32,
    pub(super) compressed: u64,
    pub(super) content: u64,
}

/// A set of entries in 24 bytes: their number and the sum of their digests, whatever their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    count: u64,
    sum: u128,
}

impl Tally {
    pub(super) fn add(&mut self, entry: &Listed) {
        let Listed { offset, crc, compressed, content } = entry;
        let words = [*offset, u64::from(*crc), *compressed, *content].map(u64::to_le_bytes);
        self.count += 1;
        self.sum = self.sum.wrapping_add(Digest::of(words.concat()).number());
    }
}

/// Reads the archive from the place behind `signature` to its end.
///
/// # Errors
/// `InvalidData` where it does not agree with `entries`, `UnexpectedEof` where it is cut, else that of `raw`.
pub(super) fn check_directory<R: Read>(
    raw: &mut Counted<R>,
    signature: [u8; 4],
    entries: &Tally,
) -> io::Result<()> {
    let start = raw.at - 4;
    let mut signature = signature;
    let mut listed = Tally::default();
    while signature == CENTRAL_HEADER {
        listed.add(&central_header(raw)?);
        signature = raw.array()?;
    }
    let end = raw.at - 4;
    if ![CENTRAL_HEADER, ZIP64_END, END].contains(&signature) {
        return Err(damaged(&format!("no part of an archive begins at byte {end}")));
    }
    if listed != *entries {
        let what = format!(
            "the central directory lists {} entries and {} were read, or it lists others",
            listed.count, entries.count
        );
        return Err(damaged(&what));
    }
    let expected = [listed.count, end - start, start];
    let has_zip64 = signature == ZIP64_END;
    if has_zip64 {
        zip64_end(raw, end, expected)?;
        signature = raw.array()?;
    }
    if signature != END {
        return Err(damaged("the end record is missing"));
    }
    let record = raw.array::<18>()?;
    let says = [u16_at(&record, 6).into(), u32_at(&record, 8), u32_at(&record, 12)];
    let reserved = [u32::from(u16::MAX), u32::MAX, u32::MAX];
    for ((says, reserved), expected) in says.into_iter().zip(reserved).zip(expected) {
        if u64::from(says) != expected && !(has_zip64 && says == reserved) {
            return Err(damaged("the end record does not fit the central directory"));
        }
    }
    raw.skip(u16_at(&record, 16).into())?;
    let mut behind = Vec::new();
    raw.by_ref().take(1).read_to_end(&mut behind)?;
    match behind.is_empty() {
        true => Ok(()),
        false => Err(damaged("the archive is followed by other bytes, or by another archive")),
    }
}

fn central_header<R: Read>(raw: &mut Counted<R>) -> io::Result<Listed> {
    let header = raw.array::<42>()?;
    let [mut compressed, mut content, mut offset] = [16, 20, 38].map(|at| u64::from(u32_at(&header, at)));
    raw.skip(u16_at(&header, 24).into())?;
    zip64_sizes(raw, u16_at(&header, 26), &mut [&mut content, &mut compressed, &mut offset])?;
    raw.skip(u16_at(&header, 28).into())?;
    Ok(Listed { offset, crc: u32_at(&header, 12), compressed, content })
}

/// The zip64 end record, which begins at `at`, and its locator.
fn zip64_end<R: Read>(raw: &mut Counted<R>, at: u64, expected: [u64; 3]) -> io::Result<()> {
    let extension = u64::from_le_bytes(raw.array()?).checked_sub(ZIP64_END_BYTES);
    raw.skip(20)?;
    for expected in expected {
        if u64::from_le_bytes(raw.array()?) != expected {
            return Err(damaged("the zip64 end record does not fit the central directory"));
        }
    }
    raw.skip(extension.ok_or_else(|| damaged("the zip64 end record is too short"))?)?;
    let is_locator = raw.array()? == ZIP64_LOCATOR;
    raw.skip(4)?;
    let located = u64::from_le_bytes(raw.array()?);
    raw.skip(4)?;
    match is_locator && located == at {
        true => Ok(()),
        false => Err(damaged("the zip64 end record is not where its locator says")),
    }
}

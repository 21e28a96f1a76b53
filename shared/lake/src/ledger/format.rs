//! The bytes of a ledger.
//!
//! All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FRZLEDG1`, or `FRZLEDG2` if there is anything to say of offsets; another version has another name |
//! | 16 | UUID of the table |
//! | 8, 8 | floor: sequence number and time in ms; both -1 if there is none |
//! | 4, 4 | number of commits, number of tokens |
//! | 44 each | commits, oldest first: snapshot id, sequence number, time in ms, commit id or zeros, 1 if it is ours |
//! | 28 each | tokens, sorted: digest of the key (16), of the version (8), number of the commit |
//! | 8, 8 | `FRZLEDG2` only: floor of the offsets, as above |
//! | 4 | `FRZLEDG2` only: number of sets of offsets |
//! | 8 + n each | number of the commit, n, n bytes of text as in a snapshot's summary |
//! | 4 | CRC-32 of all before |
//!
//! Refused, with what is wrong: any other bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::{Commit, Floor, Ledger};
use crate::offsets::Offsets;
use crate::token::Token;

const MAGIC: &[u8; 8] = b"FRZLEDG1";
const MAGIC_OFFSETS: &[u8; 8] = b"FRZLEDG2";
const HEADER_BYTES: usize = 48;
const COMMIT_BYTES: usize = 44;
pub(super) const ENTRY_BYTES: usize = 28;
const CHECKSUM_BYTES: usize = 4;

/// A token and the commit that it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) token: Token,
    /// Index into the commits.
    pub(super) commit: u32,
}

impl Entry {
    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let mut fields = Fields(bytes);
        Self {
            token: Token::of_digests(fields.next(), fields.next()),
            commit: u32::from_le_bytes(fields.next()),
        }
    }

    fn encode(&self, into: &mut BytesMut) {
        into.put_slice(&self.token.key());
        into.put_slice(&self.token.version());
        into.put_u32_le(self.commit);
    }
}

/// `entries`, sorted, as bytes.
pub(super) fn entries(mut entries: Vec<Entry>) -> Bytes {
    entries.sort_unstable();
    let mut bytes = BytesMut::with_capacity(entries.len() * ENTRY_BYTES);
    entries.iter().for_each(|entry| entry.encode(&mut bytes));
    bytes.freeze()
}

impl Ledger {
    /// Its file.
    pub(super) fn encode(&self) -> Bytes {
        let size = HEADER_BYTES + self.commits.len() * COMMIT_BYTES + self.entries.len() + CHECKSUM_BYTES;
        let mut bytes = BytesMut::with_capacity(size);
        let has_offsets = !self.offsets.is_empty() || self.offsets_floor.is_some();
        bytes.put_slice(if has_offsets { MAGIC_OFFSETS } else { MAGIC });
        bytes.put_slice(self.table.as_bytes());
        put_floor(&mut bytes, self.floor);
        bytes.put_u32_le(self.commits.len() as u32);
        bytes.put_u32_le(self.len() as u32);
        for commit in &self.commits {
            bytes.put_i64_le(commit.snapshot);
            bytes.put_i64_le(commit.sequence_number);
            bytes.put_i64_le(commit.time_ms);
            bytes.put_slice(commit.id.unwrap_or_default().as_bytes());
            bytes.put_u32_le(u32::from(commit.is_ours));
        }
        bytes.put_slice(&self.entries);
        if has_offsets {
            put_floor(&mut bytes, self.offsets_floor);
            bytes.put_u32_le(self.offsets.len() as u32);
            for (commit, offsets) in &self.offsets {
                let text = offsets.to_string();
                bytes.put_u32_le(*commit);
                bytes.put_u32_le(text.len() as u32);
                bytes.put_slice(text.as_bytes());
            }
        }
        bytes.put_u32_le(crc32fast::hash(&bytes));
        bytes.freeze()
    }

    /// The ledger in the file `bytes`, or what is wrong with it.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, &'static str> {
        let end = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= HEADER_BYTES);
        let end = end.ok_or("it is too short for a ledger")?;
        let mut fields = Fields(bytes);
        let magic: [u8; 8] = fields.next();
        if ![MAGIC, MAGIC_OFFSETS].contains(&&magic) {
            return Err("it is no ledger that this version of Frazil knows");
        }
        if crc32fast::hash(&bytes[..end]) != u32::from_le_bytes(Fields(&bytes[end..]).next()) {
            return Err("it is damaged: its checksum is wrong");
        }
        let table = Uuid::from_bytes(fields.next());
        let floor = fields.floor();
        let (commits, tokens) = (fields.u32() as usize, fields.u32() as usize);
        let entries_at = HEADER_BYTES + commits * COMMIT_BYTES;
        let entries_end = entries_at + tokens * ENTRY_BYTES;
        if entries_end > end || (magic == *MAGIC && entries_end != end) {
            return Err("it is damaged: it is not as long as it says");
        }
        let commits: Vec<Commit> = (0..commits).map(|_| fields.commit()).collect();
        let entries = bytes.slice(entries_at..entries_end);
        let mut rest = Fields(&bytes[entries_end..end]);
        let (offsets_floor, offsets) = match magic == *MAGIC {
            true => (None, Vec::new()),
            false => (rest.floor(), rest.offsets().ok_or("it is damaged: its offsets are none")?),
        };
        let ledger = Self { table, floor, commits, entries, offsets, offsets_floor };
        let is_there = |commit: u32| (commit as usize) < ledger.commits.len();
        if !ledger.entries().all(|entry| is_there(entry.commit))
            || !ledger.offsets.iter().all(|(commit, _)| is_there(*commit))
        {
            return Err("it is damaged: a token is of no commit");
        }
        Ok(ledger)
    }
}

fn put_floor(bytes: &mut BytesMut, floor: Option<Floor>) {
    let (sequence_number, time_ms) = floor.map_or((-1, -1), |floor| (floor.sequence_number, floor.time_ms));
    bytes.put_i64_le(sequence_number);
    bytes.put_i64_le(time_ms);
}

/// What is left of some fields of fixed size. Zeros follow their end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        let Some((field, rest)) = self.0.split_first_chunk() else {
            self.0 = &[];
            return [0; N];
        };
        self.0 = rest;
        *field
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.next())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.next())
    }

    fn floor(&mut self) -> Option<Floor> {
        let (sequence_number, time_ms) = (self.i64(), self.i64());
        (sequence_number >= 0).then_some(Floor { sequence_number, time_ms })
    }

    /// All that is left, as sets of offsets.
    fn offsets(mut self) -> Option<Vec<(u32, Offsets)>> {
        let count = self.u32();
        let mut all = Vec::new();
        for _ in 0..count {
            let (commit, length) = (self.u32(), self.u32() as usize);
            let (text, rest) = self.0.split_at_checked(length)?;
            self.0 = rest;
            all.push((commit, Offsets::parse(std::str::from_utf8(text).ok()?)?));
        }
        self.0.is_empty().then_some(all)
    }

    fn commit(&mut self) -> Commit {
        Commit {
            snapshot: self.i64(),
            sequence_number: self.i64(),
            time_ms: self.i64(),
            id: Some(Uuid::from_bytes(self.next())).filter(|id| !id.is_nil()),
            is_ours: self.u32() != 0,
        }
    }
}

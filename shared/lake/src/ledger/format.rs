//! The bytes of a ledger.
//!
//! All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `FRZLEDG1`; another version has another name |
//! | 16 | UUID of the table |
//! | 8, 8 | floor: sequence number and time in ms; both -1 if there is none |
//! | 4, 4 | number of commits, number of tokens |
//! | 44 each | commits, oldest first: snapshot id, sequence number, time in ms, commit id or zeros, 1 if it is ours |
//! | 28 each | tokens, sorted: digest of the key (16), of the version (8), number of the commit |
//! | 4 | CRC-32 of all before |
//!
//! Refused, with what is wrong: any other bytes.

use bytes::{BufMut as _, Bytes, BytesMut};
use uuid::Uuid;

use super::{Commit, Floor, Ledger};
use crate::token::Token;

const MAGIC: &[u8; 8] = b"FRZLEDG1";
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
        bytes.put_slice(MAGIC);
        bytes.put_slice(self.table.as_bytes());
        let floor = self.floor.map_or((-1, -1), |floor| (floor.sequence_number, floor.time_ms));
        bytes.put_i64_le(floor.0);
        bytes.put_i64_le(floor.1);
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
        bytes.put_u32_le(crc32fast::hash(&bytes));
        bytes.freeze()
    }

    /// The ledger in the file `bytes`, or what is wrong with it.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, &'static str> {
        let end = bytes.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= HEADER_BYTES);
        let end = end.ok_or("it is too short for a ledger")?;
        let mut fields = Fields(bytes);
        if fields.next() != *MAGIC {
            return Err("it is no ledger that this version of Frazil knows");
        }
        if crc32fast::hash(&bytes[..end]) != u32::from_le_bytes(Fields(&bytes[end..]).next()) {
            return Err("it is damaged: its checksum is wrong");
        }
        let table = Uuid::from_bytes(fields.next());
        let (sequence_number, time_ms) = (fields.i64(), fields.i64());
        let (commits, tokens) = (fields.u32() as usize, fields.u32() as usize);
        if HEADER_BYTES + commits * COMMIT_BYTES + tokens * ENTRY_BYTES != end {
            return Err("it is damaged: it is not as long as it says");
        }
        let commits: Vec<Commit> = (0..commits).map(|_| fields.commit()).collect();
        let entries = bytes.slice(end - tokens * ENTRY_BYTES..end);
        let floor = (sequence_number >= 0).then_some(Floor { sequence_number, time_ms });
        let ledger = Self { table, floor, commits, entries };
        if ledger.entries().any(|entry| entry.commit as usize >= ledger.commits.len()) {
            return Err("it is damaged: a token is of no commit");
        }
        Ok(ledger)
    }
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

//! A JSON array that changes at its ends: most of what is written was written before.
//!
//! In: the items of an array in their order, and the chunks that the file before had of them. Out: the array's text, plain or
//! gzip, and the chunks that this file has. A chunk is ready to be written: as JSON, or as blocks of DEFLATE that refer to
//! nothing before them (RFC 1951, section 3.2; what zlib calls a full flush). What is new stands at the end and is spelled each
//! time until there is a chunk of it. What is left of a chunk that has lost its first items is cut into ever larger chunks, so
//! that an item is spelled anew a few times as the items before it go, and not each time.

use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use iceberg::Result;

use super::metadata_name::Codec;

/// Items of a chunk: a power of two. Few in tests, whose tables have few.
pub(super) const CHUNK: usize = if cfg!(test) { 4 } else { 64 };
/// For 1 MB of snapshots, level 1 takes 10 ms and leaves 508 KB, level 2 takes 15 ms and leaves 333 KB, level 6 takes 20 ms
/// and leaves 325 KB.
const GZIP_LEVEL: Compression = Compression::new(2);
/// RFC 1952, section 2.3: DEFLATE, no flags, no time, no system.
pub(super) const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Items in a row, with a comma behind each.
#[derive(Clone, Debug)]
pub(super) struct Chunk<T> {
    items: Arc<[T]>,
    piece: Arc<Piece>,
}

/// The items of an array, and what of them is in chunks already.
pub(super) struct Parts<T> {
    items: Vec<T>,
    /// In their order. The last one is new.
    parts: Vec<Part<T>>,
}

enum Part<T> {
    Kept(Chunk<T>),
    New(Range<usize>),
}

/// A part of a file.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// Of its JSON; with gzip only.
    checksum: Hasher,
    json_bytes: u32,
}

impl<T> Chunk<T> {
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    /// Whether both are one and the same.
    #[cfg(test)]
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.piece, &other.piece)
    }
}

impl<T> Parts<T> {
    /// The chunks that are used again.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Chunk<T>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Kept(chunk) => Some(chunk),
            Part::New(_) => None,
        })
    }
}

/// Finds the chunks of `before` among `items`, which are told apart by `key`.
pub(super) fn parts<T: Clone + PartialEq, K: Eq + Hash>(
    items: Vec<T>,
    before: &[Chunk<T>],
    key: impl Fn(&T) -> K,
) -> Parts<T> {
    let by_first: HashMap<K, &Chunk<T>> =
        before.iter().filter_map(|chunk| Some((key(chunk.items.first()?), chunk))).collect();
    let (mut parts, mut at, mut new_from) = (Vec::new(), 0, 0);
    while let Some(rest) = items.get(at..).filter(|rest| !rest.is_empty()) {
        let found = rest.first().and_then(|first| by_first.get(&key(first)));
        match found.filter(|chunk| rest.starts_with(&chunk.items)) {
            // A comma must not end the array.
            Some(chunk) if chunk.items.len() < rest.len() => {
                if new_from < at {
                    parts.push(Part::New(new_from..at));
                }
                at += chunk.items.len();
                new_from = at;
                parts.push(Part::Kept((*chunk).clone()));
            }
            _ => at += 1,
        }
    }
    if new_from < at {
        parts.push(Part::New(new_from..at));
    }
    Parts { items, parts }
}

/// The lengths of the chunks that are made of `count` items which others follow: the largest one last.
fn ever_larger(mut count: usize) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Some(power) = count.checked_ilog2() {
        let length = CHUNK.min(1 << power);
        lengths.push(length);
        count -= length;
    }
    lengths.reverse();
    lengths
}

impl Piece {
    fn of(json: &[u8], codec: Codec, flush: FlushCompress) -> Result<Self> {
        let mut checksum = Hasher::new();
        let bytes = match codec {
            Codec::Plain => json.to_vec(),
            Codec::Gzip => {
                checksum.update(json);
                deflated(json, flush)?
            }
        };
        Ok(Self { bytes, checksum, json_bytes: json.len() as u32 })
    }
}

/// `json` by itself as DEFLATE, to the end of a byte.
fn deflated(json: &[u8], flush: FlushCompress) -> io::Result<Vec<u8>> {
    let mut compress = Compress::new(GZIP_LEVEL, false);
    let mut out = Vec::with_capacity(json.len() / 2 + 64);
    loop {
        let rest = json.get(compress.total_in() as usize..).unwrap_or_default();
        let status = compress.compress_vec(rest, &mut out, flush)?;
        // Room that is left says that nothing waits to be written.
        let is_flushed = compress.total_in() == json.len() as u64 && out.len() < out.capacity();
        if status == Status::StreamEnd || (is_flushed && !matches!(flush, FlushCompress::Finish)) {
            return Ok(out);
        }
        out.reserve(json.len() / 4 + 64);
    }
}

/// A file that is put together.
pub(super) struct Assembly {
    codec: Codec,
    bytes: Vec<u8>,
    checksum: Hasher,
    json_bytes: u32,
    /// Text that is not among the bytes yet.
    text: String,
}

impl Assembly {
    pub(super) fn new(codec: Codec) -> Self {
        let bytes = match codec {
            Codec::Plain => Vec::new(),
            Codec::Gzip => GZIP_HEADER.to_vec(),
        };
        Self { codec, bytes, checksum: Hasher::new(), json_bytes: 0, text: String::new() }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds the items of an array, without its brackets. Gives back its chunks.
    pub(super) fn array<T: Clone>(
        &mut self,
        Parts { items, parts }: Parts<T>,
        spell: impl Fn(&T) -> Result<String>,
    ) -> Result<Vec<Chunk<T>>> {
        let mut chunks = Vec::new();
        let last = parts.len().saturating_sub(1);
        for (at, part) in parts.into_iter().enumerate() {
            let mut new = match part {
                Part::Kept(chunk) => {
                    self.chunk(&chunk)?;
                    chunks.push(chunk);
                    continue;
                }
                Part::New(range) => items.get(range).unwrap_or_default(),
            };
            // The end of the array grows: a chunk of it is a whole one.
            let lengths = match at == last {
                true => vec![CHUNK; new.len().saturating_sub(1) / CHUNK],
                false => ever_larger(new.len()),
            };
            for length in lengths {
                let (items, rest) = new.split_at(length);
                new = rest;
                let json: String = items.iter().map(|item| Ok(spell(item)? + ",")).collect::<Result<_>>()?;
                let piece = Piece::of(json.as_bytes(), self.codec, FlushCompress::Full)?;
                let chunk = Chunk { items: items.into(), piece: piece.into() };
                self.chunk(&chunk)?;
                chunks.push(chunk);
            }
            for (at, item) in new.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                self.text += comma;
                self.text += &spell(item)?;
            }
        }
        Ok(chunks)
    }

    fn chunk<T>(&mut self, chunk: &Chunk<T>) -> Result<()> {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            self.add(&Piece::of(text.as_bytes(), self.codec, FlushCompress::Full)?);
        }
        self.add(&chunk.piece);
        Ok(())
    }

    fn add(&mut self, piece: &Piece) {
        self.bytes.extend_from_slice(&piece.bytes);
        self.checksum.combine(&piece.checksum);
        self.json_bytes = self.json_bytes.wrapping_add(piece.json_bytes);
    }

    /// The file.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.add(&Piece::of(self.text.as_bytes(), self.codec, FlushCompress::Finish)?);
        if self.codec == Codec::Gzip {
            self.bytes.extend(self.checksum.finalize().to_le_bytes());
            self.bytes.extend(self.json_bytes.to_le_bytes());
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers as an array, and how many of them were spelled.
    fn write(items: &[u32], chunks: &mut Vec<Chunk<u32>>) -> usize {
        let spelled = std::cell::Cell::new(0);
        let mut file = Assembly::new(Codec::Plain);
        file.text("[");
        let parts = parts(items.to_vec(), chunks, |item| *item);
        let spell = |item: &u32| {
            spelled.set(spelled.get() + 1);
            Ok(item.to_string())
        };
        *chunks = file.array(parts, spell).unwrap();
        file.text("]");
        let read: Vec<u32> = serde_json::from_slice(&file.finish().unwrap()).unwrap();
        assert_eq!(read, items);
        spelled.get()
    }

    #[test]
    fn few_items_are_spelled_while_the_first_ones_go() {
        let (kept, mut chunks) = (16 * CHUNK as u32, Vec::new());
        let spelled: usize = (0..1_000)
            .map(|last: u32| write(&(last.saturating_sub(kept)..=last).collect::<Vec<_>>(), &mut chunks))
            .sum();
        // Half a chunk at the end, and twice at the front, on the average.
        assert!(spelled < 1_000 * (CHUNK / 2 + 5), "{spelled}");
        assert!(chunks.len() < 24, "{}", chunks.len());
    }

    #[test]
    fn an_array_is_the_same_whatever_changes() {
        let (mut random, mut chunks) = (fastrand::Rng::with_seed(1), Vec::new());
        let mut items: Vec<u32> = Vec::new();
        for step in 0..2_000 {
            match random.u8(..8) {
                0 if !items.is_empty() => {
                    items.remove(random.usize(..items.len()));
                }
                1 => items.truncate(random.usize(..=items.len())),
                2 => items.drain(..random.usize(..=items.len().min(3))).for_each(drop),
                _ => items.extend((0..random.u32(1..4)).map(|at| step * 10 + at)),
            }
            write(&items, &mut chunks);
        }
    }

    #[test]
    fn chunks_are_ever_larger() {
        assert_eq!(ever_larger(0), [] as [usize; 0]);
        assert_eq!(ever_larger(3), [1, 2]);
        assert_eq!(ever_larger(11), [1, 2, 4, 4]);
    }
}

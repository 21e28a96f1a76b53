//! Records of some objects, kept by the table that they go to until each table is written.
//!
//! In: records with their origins, from a pass over the objects. Out: the records of one table after the other, in the
//! order in which they came. Memory is bounded: beyond a ceiling, what waits goes to one temporary file, compressed. Where
//! that is full too, the objects that were read by then stand, and the others are left for another delivery.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, PoisonError};

use iceberg::spec::Schema;
use iceberg::{Error, ErrorKind, Result};

use super::entry;
use crate::infer::Inference;
use crate::job::Limits;
use crate::objects::{Closed, End, FoundObject, Origin, Record, Sink};
use crate::token::Token;

/// Records of one block of the file at least, where there are so many.
const MIN_BLOCK_BYTES: usize = 64 << 10;
/// The fastest of zstd's usual levels.
const LEVEL: i32 = 1;

/// Where records wait: for a table that a value named, by its number, or for the stream's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Own,
    Table(usize),
}

/// The records that wait.
pub(crate) struct Spool {
    objects: HashMap<Token, usize>,
    /// The sources that were read to their ends.
    pub(super) read: Vec<usize>,
    /// Messages in each of them that hold no record on purpose: the stream's own table accounts for them.
    pub(super) dropped: BTreeMap<usize, u64>,
    waiting: BTreeMap<Place, Waiting>,
    buffered_bytes: usize,
    max_buffered_bytes: usize,
    file: Option<Mutex<File>>,
    file_bytes: u64,
    max_file_bytes: u64,
    /// Why no more fits.
    pub(super) full: Option<io::Error>,
}

/// The records of one table.
#[derive(Default)]
struct Waiting {
    buffer: Vec<u8>,
    blocks: Vec<Block>,
    /// How many records each source has given.
    sources: BTreeMap<usize, u64>,
}

/// A part of the file: where it begins, its length, and how long its content is.
#[derive(Clone, Copy)]
struct Block {
    offset: u64,
    packed_bytes: usize,
    bytes: usize,
}

impl Spool {
    /// For the records of `objects`.
    pub(super) fn new(objects: &[Arc<FoundObject>], limits: &Limits) -> Self {
        Self {
            objects: objects.iter().map(|object| (object.object.token, object.at)).collect(),
            read: Vec::new(),
            dropped: BTreeMap::new(),
            waiting: BTreeMap::new(),
            buffered_bytes: 0,
            max_buffered_bytes: limits.write.buffer_bytes / 2,
            file: None,
            file_bytes: 0,
            max_file_bytes: limits.write.spill_bytes,
            full: None,
        }
    }

    /// The sources that were read to their ends, in order.
    pub(crate) fn read(&self) -> &[usize] {
        &self.read
    }

    /// All sources, in order.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        let numbers: BTreeSet<usize> = self.objects.values().copied().collect();
        numbers.into_iter()
    }

    /// Those of them that gave records to `place`.
    pub(crate) fn sources(&self, place: Place) -> Vec<usize> {
        let given =
            |at: &usize| self.waiting.get(&place).is_some_and(|waiting| waiting.sources.contains_key(at));
        self.read.iter().copied().filter(given).collect()
    }

    /// Hands the records of `place` to `sink`: those of the sources `objects`, which are told by their tokens, as they are
    /// numbered there.
    ///
    /// # Errors
    /// The sink's. A file that cannot be read fails the sources that were to come.
    pub(crate) fn replay(
        &self,
        place: Place,
        objects: &[Arc<FoundObject>],
        sink: &mut impl Sink,
    ) -> std::result::Result<(), Closed> {
        let mut entries = Entries::of(self, place);
        for object in objects {
            // As it was numbered when it was read.
            let Some(at) = self.objects.get(&object.object.token) else { continue };
            let mut origin = Origin::Object { object: object.clone(), offset: 0, row: 0 };
            let mut given = 0;
            let end = loop {
                match entries.next_of(*at) {
                    Ok(Some(entry)) => {
                        sink.record(origin.moved_to(entry.offset, entry.row), entry.record)?;
                        given += 1;
                    }
                    Ok(None) => break End::Read { dropped: self.dropped(place, *at) },
                    Err(error) if given == 0 => break End::Failed(error),
                    Err(error) => break End::Spoiled(error),
                }
            };
            sink.end(object.at, end)?;
        }
        Ok(())
    }

    /// The schema for the records of `place`. None if there are none.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub(crate) fn schema(&self, place: Place) -> Result<Option<Schema>> {
        let mut inference = Inference::default();
        let mut entries = Entries::of(self, place);
        while let Some(entry) = entries.next()? {
            if let Ok(text) = entry.record
                && self.read.contains(&entry.source)
            {
                inference.observe(text);
            }
        }
        inference.schema()
    }

    pub(super) fn add(&mut self, place: Place, origin: &Origin, record: Record<'_>) -> io::Result<()> {
        let Origin::Object { object, offset, row } = origin else {
            return Err(io::Error::other("a record of no object: a defect"));
        };
        let waiting = self.waiting.entry(place).or_default();
        *waiting.sources.entry(object.at).or_default() += 1;
        let before = waiting.buffer.len();
        entry::write(&mut waiting.buffer, object.at, *offset, *row, &record);
        self.buffered_bytes += waiting.buffer.len() - before;
        if self.buffered_bytes > self.max_buffered_bytes { self.spill() } else { Ok(()) }
    }

    /// Moves what waits in memory to the file, but for what is too little to be worth a block.
    fn spill(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(Mutex::new(tempfile::tempfile()?)),
        };
        let file = file.get_mut().unwrap_or_else(PoisonError::into_inner);
        // If all are small, all go.
        let largest = self.waiting.values().map(|waiting| waiting.buffer.len()).max().unwrap_or(0);
        let worth = MIN_BLOCK_BYTES.min(largest);
        for waiting in self.waiting.values_mut().filter(|waiting| waiting.buffer.len() >= worth) {
            let packed = zstd::bulk::compress(&waiting.buffer, LEVEL)?;
            if self.file_bytes + packed.len() as u64 > self.max_file_bytes {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the temporary file is as large as it may be",
                ));
            }
            file.write_all(&packed)?;
            let (packed_bytes, bytes) = (packed.len(), waiting.buffer.len());
            waiting.blocks.push(Block { offset: self.file_bytes, packed_bytes, bytes });
            self.file_bytes += packed.len() as u64;
            self.buffered_bytes -= bytes;
            waiting.buffer = Vec::new();
        }
        Ok(())
    }

    /// Messages in the source `at` that hold no record, as far as `place` accounts for them.
    fn dropped(&self, place: Place, at: usize) -> u64 {
        if place == Place::Own { self.dropped.get(&at).copied().unwrap_or(0) } else { 0 }
    }

    fn block(&self, block: Block) -> Result<Vec<u8>> {
        let read = || {
            let file = self.file.as_ref().ok_or_else(|| io::Error::other("there is no temporary file"))?;
            let mut packed = vec![0; block.packed_bytes];
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(block.offset))?;
            file.read_exact(&mut packed)?;
            zstd::bulk::decompress(&packed, block.bytes)
        };
        read().map_err(unreadable)
    }
}

/// The entries of one place, in order.
struct Entries<'a> {
    spool: &'a Spool,
    blocks: std::vec::IntoIter<Block>,
    buffer: Option<&'a [u8]>,
    /// The block that is read, and how far.
    block: Vec<u8>,
    at: usize,
}

impl<'a> Entries<'a> {
    fn of(spool: &'a Spool, place: Place) -> Self {
        let waiting = spool.waiting.get(&place);
        let blocks = waiting.map(|waiting| waiting.blocks.clone()).unwrap_or_default().into_iter();
        let buffer = waiting.map(|waiting| &*waiting.buffer);
        Self { spool, blocks, buffer, block: Vec::new(), at: 0 }
    }

    /// The next entry; None at the end.
    fn next(&mut self) -> Result<Option<entry::Entry<'_>>> {
        if !self.is_at_entry()? {
            return Ok(None);
        }
        let (entry, rest) = entry::read(&self.block[self.at..]).ok_or_else(garbled)?;
        self.at = self.block.len() - rest.len();
        Ok(Some(entry))
    }

    /// The next entry of `source`. Those before it are passed over; None if the next one is of a later source.
    fn next_of(&mut self, source: usize) -> Result<Option<entry::Entry<'_>>> {
        while self.is_at_entry()? {
            let (entry, rest) = entry::read(&self.block[self.at..]).ok_or_else(garbled)?;
            let (next, is_it) = (self.block.len() - rest.len(), entry.source == source);
            if is_it {
                return self.next();
            }
            if !self.is_passed_over(entry.source, source) {
                return Ok(None);
            }
            self.at = next;
        }
        Ok(None)
    }

    /// Whether entries of `source` stand before those of `wanted`, in the order in which the sources were read.
    fn is_passed_over(&self, source: usize, wanted: usize) -> bool {
        let place = |at: usize| self.spool.read.iter().position(|read| *read == at);
        match (place(source), place(wanted)) {
            (Some(source), Some(wanted)) => source < wanted,
            // One that was not read to its end.
            (source, _) => source.is_none(),
        }
    }

    fn is_at_entry(&mut self) -> Result<bool> {
        while self.at == self.block.len() {
            (self.block, self.at) = match self.blocks.next() {
                Some(block) => (self.spool.block(block)?, 0),
                None => match self.buffer.take() {
                    Some(buffer) => (buffer.to_vec(), 0),
                    None => return Ok(false),
                },
            };
        }
        Ok(true)
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "records in a temporary file cannot be read").with_source(error)
}

fn garbled() -> Error {
    Error::new(ErrorKind::Unexpected, "records in a temporary file are not as they were written")
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;

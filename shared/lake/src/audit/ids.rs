//! The ids of a table's rows, to tell those that occur more than once.
//!
//! In: a digest of the id of every row. Out: those that come again. Up to a number of rows they are in memory, beyond it on
//! disk, in parts that are sorted one at a time.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use iceberg::{Error, ErrorKind, Result};

/// 128 bits of SHA-256: no two of a table's ids share them by chance.
pub(super) type IdDigest = [u8; 16];

/// 64 MiB of them.
const IN_MEMORY: usize = 4 << 20;
/// A billion rows are 63 MB a part.
const PARTS: usize = 256;
/// Ids that are named. More are counted.
const NAMED: usize = 100_000;

/// The digests of ids.
#[derive(Default)]
pub(super) struct Ids {
    in_memory: Vec<IdDigest>,
    on_disk: Vec<BufWriter<File>>,
}

impl Ids {
    /// Adds those of some rows.
    pub(super) fn add(&mut self, digests: Vec<IdDigest>) -> Result<()> {
        self.add_beyond(digests, IN_MEMORY).map_err(failed)
    }

    fn add_beyond(&mut self, digests: Vec<IdDigest>, in_memory: usize) -> io::Result<()> {
        self.in_memory.extend(digests);
        if self.in_memory.len() <= in_memory {
            return Ok(());
        }
        if self.on_disk.is_empty() {
            let files = (0..PARTS).map(|_| tempfile::tempfile().map(BufWriter::new));
            self.on_disk = files.collect::<io::Result<_>>()?;
        }
        for digest in self.in_memory.drain(..) {
            if let Some(file) = self.on_disk.get_mut(usize::from(digest[0]) % PARTS) {
                file.write_all(&digest)?;
            }
        }
        Ok(())
    }

    /// How many ids occur more than once, and which, up to a number of them.
    pub(super) fn repeated(self) -> Result<(u64, HashSet<IdDigest>)> {
        self.find_repeated().map_err(failed)
    }

    fn find_repeated(self) -> io::Result<(u64, HashSet<IdDigest>)> {
        let (mut count, mut repeated) = (0, HashSet::new());
        let mut look = |mut digests: Vec<IdDigest>| {
            digests.sort_unstable();
            for run in digests.chunk_by(|one, next| one == next).filter(|run| run.len() > 1) {
                count += 1;
                repeated.extend(run.first().filter(|_| repeated.len() < NAMED).copied());
            }
        };
        if self.on_disk.is_empty() {
            look(self.in_memory);
            return Ok((count, repeated));
        }
        let mut rest: Vec<Vec<IdDigest>> = vec![Vec::new(); PARTS];
        for digest in self.in_memory {
            if let Some(part) = rest.get_mut(usize::from(digest[0]) % PARTS) {
                part.push(digest);
            }
        }
        for (file, mut digests) in self.on_disk.into_iter().zip(rest) {
            let (mut file, mut bytes) = (file.into_inner()?, Vec::new());
            file.seek(SeekFrom::Start(0))?;
            file.read_to_end(&mut bytes)?;
            digests.extend(bytes.as_chunks::<16>().0);
            drop(bytes);
            look(digests);
        }
        Ok((count, repeated))
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the audit's own files: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_ids_come_again_in_memory_and_on_disk() {
        let id = |number: u32| crate::digest::Digest::of(number.to_be_bytes()).bytes();
        for in_memory in [0, 10, 100, 10_000] {
            let mut ids = Ids::default();
            for start in (0..1000).step_by(7) {
                let digests = (start..start + 7).chain([(start / 7) * 3 % 700]).map(id).collect();
                ids.add_beyond(digests, in_memory).unwrap();
            }
            let expected: HashSet<IdDigest> = (0..143).map(|at| id(at * 3 % 700)).collect();
            let (count, repeated) = ids.repeated().unwrap();
            assert_eq!((count, repeated), (expected.len() as u64, expected), "{in_memory} in memory");
        }
        assert_eq!(Ids::default().repeated().unwrap(), (0, HashSet::new()));
    }
}

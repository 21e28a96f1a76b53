//! What an audit has to remember of each object, on disk.
//!
//! In: entries, in any order. Out: the same, part by part: all entries about one object are in one part, told by the digest
//! that tokens have of it. Only one part is in memory at a time, so that memory does not follow the number of objects. The
//! files have no names and end with the process.

use iceberg::Result;
use serde::{Deserialize, Serialize};

use super::quarantine::Rejections;
use crate::quarantine::TOPICS;
use crate::spool::Spool;
use crate::token::Token;

/// Parts of what lies in a bucket. A million objects are 16,000 each.
const PARTS: usize = 64;

/// What was learned of one object at one place.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Entry {
    /// It exists.
    Object { place: String, records: std::result::Result<u64, String>, dropped: u64 },
    /// A table has rows of it. `named` is how they name it, where that differs from its URI.
    Rows { table: usize, place: String, named: Option<String>, rows: u64 },
    /// A table has rejected records of it.
    Rejected { table: String, place: String, named: Option<String>, rejections: Rejections },
}

/// The entries.
#[derive(Debug)]
pub(super) struct Spill {
    parts: Vec<Spool<Entry>>,
}

impl Spill {
    /// An empty one. A folder is one part: objects there go by several names, which have digests of their own.
    pub(super) fn new(is_local: bool) -> Result<Self> {
        let parts = if is_local { 1 } else { PARTS };
        Ok(Self { parts: (0..parts).map(|_| Spool::new()).collect::<Result<_>>()? })
    }

    /// The number of parts.
    pub(super) fn parts(&self) -> usize {
        self.parts.len()
    }

    /// In which part an object is of which tokens have the digest `key`.
    pub(super) fn part_of(&self, key: [u8; 16]) -> usize {
        usize::from(key[0]) % self.parts.len()
    }

    pub(super) fn add(&mut self, entry: &Entry) -> Result<()> {
        let (Entry::Object { place, .. } | Entry::Rows { place, .. } | Entry::Rejected { place, .. }) = entry;
        let part = self.part_of(key_of(place));
        self.parts.get_mut(part).map_or(Ok(()), |part| part.add(entry))
    }

    /// Hands the entries of `part` to `each`.
    pub(super) fn read(&mut self, part: usize, mut each: impl FnMut(Entry)) -> Result<()> {
        let Some(part) = self.parts.get_mut(part) else { return Ok(()) };
        part.read()?.try_for_each(|entry| entry.map(&mut each))
    }
}

/// The digest of the object at `place`. Records of a topic are of one part whatever the life of the topic.
fn key_of(place: &str) -> [u8; 16] {
    let (bucket, key) = place.split_once('/').unwrap_or((place, ""));
    match key.rsplitn(3, '/').collect::<Vec<_>>()[..] {
        [offset, partition, stream] if bucket == TOPICS => {
            let stream = stream.split('~').next().unwrap_or_default();
            Token::new(bucket, &format!("{stream}/{partition}/{offset}"), "").key()
        }
        _ => Token::new(bucket, key, "").key(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_one_object_comes_in_one_part_and_more_may_be_added_after_reading() {
        let mut spill = Spill::new(false).unwrap();
        let object = |at: u32| Entry::Object { place: format!("b/raw/{at}"), records: Ok(1), dropped: 0 };
        let rows = |at: u32| Entry::Rows { table: 0, place: format!("b/raw/{at}"), named: None, rows: 1 };
        (0..1000).for_each(|at| spill.add(&object(at)).unwrap());
        let count = |spill: &mut Spill, part| {
            let mut places = Vec::new();
            spill
                .read(part, |entry| {
                    let (Entry::Object { place, .. } | Entry::Rows { place, .. }) = entry else { return };
                    places.push(place);
                })
                .unwrap();
            places
        };
        let sizes: Vec<usize> = (0..PARTS).map(|part| count(&mut spill, part).len()).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 1000);
        assert!(sizes.iter().all(|size| *size < 60), "{sizes:?}");
        (0..1000).for_each(|at| spill.add(&rows(at)).unwrap());
        for part in 0..PARTS {
            let mut places = count(&mut spill, part);
            places.sort();
            assert!(places.chunks(2).all(|pair| pair[0] == pair[1]), "part {part}");
        }
    }
}

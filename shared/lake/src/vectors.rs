//! Deletion vectors: which rows of a data file are deleted, by position.
//!
//! In: a Puffin file, and where a blob of the type `deletion-vector-v1` is in it (Puffin specification), which the manifests
//! of a snapshot say. Out: the positions. Refused: blobs with another length, mark or checksum than they should have. The
//! library that reads the tables takes every delete file for Parquet.

use std::collections::HashMap;

use iceberg::Result as Read;
use iceberg::io::FileIO;
use iceberg::spec::{ManifestContentType, SnapshotRef};
use iceberg::table::Table;
use roaring::RoaringTreemap;

use crate::inventory::{self, Vector};

const MARK: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
/// Longest blob that is read: more than any vector of a file that is written in practice.
const MAX_BYTES: u64 = 1 << 30;

/// The deletion vectors of a snapshot.
#[derive(Debug, Default)]
pub struct Vectors {
    /// The Puffin file and the place in it, by the data file whose rows are deleted.
    by_file: HashMap<String, (String, Vector)>,
}

impl Vectors {
    /// Those that `snapshot` of `table` has.
    ///
    /// # Errors
    /// The storage's.
    pub async fn of(table: &Table, snapshot: &SnapshotRef) -> Read<Self> {
        let mut by_file = HashMap::new();
        let list = table.manifest_list_reader(snapshot).load().await?;
        for manifest in list.entries().iter().filter(|one| one.content == ManifestContentType::Deletes) {
            let manifest = manifest.load_manifest(table.file_io()).await?;
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                if let Some(vector) = inventory::vector(entry.data_file()) {
                    by_file.insert(vector.data_file.clone(), (entry.file_path().to_owned(), vector));
                }
            }
        }
        Ok(Self { by_file })
    }

    /// How many bytes the vector of a data file has; None if it has none.
    pub fn length(&self, data_file: &str) -> Option<u64> {
        self.by_file.get(data_file).map(|(_, vector)| vector.length)
    }

    /// The rows of a data file that are deleted; none if it has no vector.
    ///
    /// # Errors
    /// What is wrong with the vector.
    pub async fn read(&self, file_io: &FileIO, data_file: &str) -> Result<RoaringTreemap, String> {
        match self.by_file.get(data_file) {
            Some((uri, vector)) => {
                read(file_io, uri, vector).await.map_err(|what| format!("{data_file}: {what} ({uri})"))
            }
            None => Ok(RoaringTreemap::new()),
        }
    }
}

/// The positions that `vector` in the Puffin file at `uri` deletes.
///
/// # Errors
/// What is wrong with it.
pub(crate) async fn read(file_io: &FileIO, uri: &str, vector: &Vector) -> Result<RoaringTreemap, String> {
    let unreadable = |error: iceberg::Error| format!("its deletion vector cannot be read: {error}");
    if vector.length > MAX_BYTES {
        return Err(format!("its deletion vector has {} bytes, which is too many", vector.length));
    }
    let file = file_io.new_input(uri).map_err(unreadable)?.reader().await.map_err(unreadable)?;
    let end = vector.offset.saturating_add(vector.length);
    let blob = file.read(vector.offset..end).await.map_err(unreadable)?;
    positions(&blob, vector.length).ok_or_else(|| "its deletion vector is damaged".to_owned())
}

/// The positions in a blob: the length of mark and bitmap (big-endian), the mark, the bitmap in Roaring's portable
/// format of 64 bits, and the CRC-32 of mark and bitmap (big-endian).
fn positions(blob: &[u8], length: u64) -> Option<RoaringTreemap> {
    let (of_length, rest) = blob.split_first_chunk::<4>()?;
    let (marked, checksum) = rest.split_last_chunk::<4>()?;
    let is_sound = blob.len() as u64 == length
        && u32::from_be_bytes(*of_length) as usize == marked.len()
        && u32::from_be_bytes(*checksum) == crc32fast::hash(marked);
    let bitmap = marked.strip_prefix(&MARK).filter(|_| is_sound)?;
    RoaringTreemap::deserialize_from(bitmap).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_gives_its_positions_and_damage_is_seen() {
        // By hand from the Roaring format: one bitmap under key 0, of one array container with 1 and 7.
        let mut marked = MARK.to_vec();
        marked.extend(1_u64.to_le_bytes());
        marked.extend(0_u32.to_le_bytes());
        for number in [12346_u32, 1] {
            marked.extend(number.to_le_bytes());
        }
        for number in [0_u16, 1, 16, 0, 1, 7] {
            marked.extend(number.to_le_bytes());
        }
        let mut blob = (marked.len() as u32).to_be_bytes().to_vec();
        blob.extend(&marked);
        blob.extend(crc32fast::hash(&marked).to_be_bytes());
        let length = blob.len() as u64;
        assert_eq!(positions(&blob, length), Some(RoaringTreemap::from_iter([1, 7])));
        for at in 0..blob.len() {
            let mut damaged = blob.clone();
            damaged[at] ^= 1;
            assert_eq!(positions(&damaged, length), None, "byte {at}");
        }
        assert_eq!(positions(&blob[..blob.len() - 1], length), None);
        assert_eq!(positions(&[], 0), None);
    }
}

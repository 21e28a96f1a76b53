//! The bytes of a metadata file, most of which the file before it had too.
//!
//! In: the metadata of a table, and what the file before had of its snapshots. Out: the bytes, and what this file has of
//! them. A table that is written to once a minute keeps a day of snapshots, which never change: to spell and to compress
//! them all is most of the work of a commit. So they are kept in chunks that are ready to be written: as JSON, or as blocks of
//! DEFLATE that refer to nothing before them (RFC 1951, section 3.2; what zlib calls a full flush).

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::Arc;

use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress, Status};
use iceberg::Result;
use iceberg::spec::{SnapshotRef, TableMetadata};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::metadata_name::Codec;
use super::refs::{self, Refs};

/// Snapshots of a chunk. Few in tests, whose tables have few.
const CHUNK: usize = if cfg!(test) { 4 } else { 64 };
/// For 1 MB of snapshots, level 1 takes 10 ms and leaves 508 KB, level 2 takes 15 ms and leaves 333 KB, level 6 takes 20 ms
/// and leaves 325 KB.
const GZIP_LEVEL: Compression = Compression::new(2);
/// RFC 1952, section 2.3: DEFLATE, no flags, no time, no system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// What a file has of the snapshots.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    codec: Codec,
    chunks: Vec<Arc<Chunk>>,
}

/// Snapshots in a row, with a comma behind each.
#[derive(Debug)]
struct Chunk {
    snapshots: Vec<SnapshotRef>,
    piece: Piece,
}

/// A part of a file.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// Of its JSON; with gzip only.
    checksum: Hasher,
    json_bytes: u32,
}

/// A file.
pub(super) struct Text {
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// The branches and tags of the table.
    pub(super) refs: Refs,
    /// For the next file.
    pub(super) chunks: Chunks,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { codec: Codec::Plain, chunks: Vec::new() }
    }
}

impl Chunks {
    /// Those whose snapshots `metadata` still has, but for at least one that is left to be written at the end.
    fn of(&self, metadata: &TableMetadata, codec: Codec) -> Vec<Arc<Chunk>> {
        let has = |snapshot: &SnapshotRef| {
            let found = metadata.snapshot_by_id(snapshot.snapshot_id());
            found.is_some_and(|found| Arc::ptr_eq(found, snapshot) || found == snapshot)
        };
        let usable = |chunk: &&Arc<Chunk>| self.codec == codec && chunk.snapshots.iter().all(has);
        let mut chunks: Vec<Arc<Chunk>> = self.chunks.iter().filter(usable).cloned().collect();
        let count: usize = chunks.iter().map(|chunk| chunk.snapshots.len()).sum();
        if count == metadata.snapshots().len() {
            chunks.pop();
        }
        chunks
    }
}

/// The file of `metadata`. `ref_names` are the names of all its branches and tags, and may be more.
pub(super) fn of<'a>(
    metadata: &TableMetadata,
    codec: Codec,
    ref_names: impl Iterator<Item = &'a str>,
    before: &Chunks,
) -> Result<Text> {
    let mut chunks = before.of(metadata, codec);
    let in_chunks: HashSet<i64> =
        chunks.iter().flat_map(|chunk| &chunk.snapshots).map(|snapshot| snapshot.snapshot_id()).collect();
    // The library spells the rest. It would take away references to snapshots that are left out.
    let referenced = ref_names.filter_map(|name| Some(metadata.snapshot_for_ref(name)?.snapshot_id()));
    let referenced: HashSet<i64> = referenced.chain(metadata.current_snapshot_id()).collect();
    let left_out: Vec<i64> = in_chunks.difference(&referenced).copied().collect();
    let rest = without(metadata, &left_out);
    let json = serde_json::to_vec(rest.as_ref().unwrap_or(metadata))?;
    let refs = refs::of_json(&json)?;
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_slice(&json)?;
    // What the library has changed beside the snapshots.
    let changed = match &rest {
        None => Vec::new(),
        Some(_) => vec![
            ("snapshot-log", to_raw_value(metadata.history())?),
            ("last-updated-ms", to_raw_value(&metadata.last_updated_ms())?),
        ],
    };
    members.extend(changed.iter().map(|(name, value)| (*name, &**value)));
    let mut snapshots = match members.remove("snapshots") {
        Some(array) => not_in(&in_chunks, array, metadata)?,
        None => Vec::new(),
    };
    while snapshots.len() > CHUNK {
        chunks.push(Arc::new(Chunk::of(snapshots.drain(..CHUNK), codec)?));
    }

    let mut file = Assembly::new(codec);
    let mut head = String::from("{");
    for (name, value) in members {
        head.push_str(&format!("{}:{},", serde_json::Value::from(name), value.get()));
    }
    head.push_str("\"snapshots\":[");
    file.add(&Piece::of(head.as_bytes(), codec, FlushCompress::Full)?);
    chunks.iter().for_each(|chunk| file.add(&chunk.piece));
    debug_assert!(!snapshots.is_empty() || chunks.is_empty(), "a comma would end the array");
    let tail: Vec<&str> = snapshots.iter().map(|(_, json)| json.get()).collect();
    file.add(&Piece::of(format!("{}]}}", tail.join(",")).as_bytes(), codec, FlushCompress::Finish)?);
    Ok(Text { bytes: file.finish(), refs, chunks: Chunks { codec, chunks } })
}

/// `metadata` without some of its snapshots. None if there are none to take away, or the library does not: it dates what it
/// builds by its own clock, and refuses a date far before that of the last snapshot, whose writer's clock was ahead.
fn without(metadata: &TableMetadata, snapshots: &[i64]) -> Option<TableMetadata> {
    let builder = (!snapshots.is_empty()).then(|| metadata.clone().into_builder(None))?;
    Some(builder.remove_snapshots(snapshots).build().ok()?.metadata)
}

/// The snapshots of the JSON `array` that are in no chunk, in the order in which they were made.
fn not_in<'a>(
    chunks: &HashSet<i64>,
    array: &'a RawValue,
    metadata: &TableMetadata,
) -> Result<Vec<(SnapshotRef, &'a RawValue)>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct OnlyId {
        snapshot_id: i64,
    }
    let mut snapshots = Vec::new();
    for json in serde_json::from_str::<Vec<&RawValue>>(array.get())? {
        let OnlyId { snapshot_id } = serde_json::from_str(json.get())?;
        if let (false, Some(snapshot)) = (chunks.contains(&snapshot_id), metadata.snapshot_by_id(snapshot_id))
        {
            snapshots.push((snapshot.clone(), json));
        }
    }
    snapshots.sort_by_key(|(snapshot, _)| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    Ok(snapshots)
}

impl Chunk {
    fn of<'a>(snapshots: impl Iterator<Item = (SnapshotRef, &'a RawValue)>, codec: Codec) -> Result<Self> {
        let mut json = String::new();
        let add = |(snapshot, spelled): (SnapshotRef, &RawValue)| {
            json.push_str(spelled.get());
            json.push(',');
            snapshot
        };
        let snapshots = snapshots.map(add).collect();
        Ok(Self { snapshots, piece: Piece::of(json.as_bytes(), codec, FlushCompress::Full)? })
    }
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
struct Assembly {
    codec: Codec,
    bytes: Vec<u8>,
    checksum: Hasher,
    json_bytes: u32,
}

impl Assembly {
    fn new(codec: Codec) -> Self {
        let bytes = match codec {
            Codec::Plain => Vec::new(),
            Codec::Gzip => GZIP_HEADER.to_vec(),
        };
        Self { codec, bytes, checksum: Hasher::new(), json_bytes: 0 }
    }

    fn add(&mut self, piece: &Piece) {
        self.bytes.extend_from_slice(&piece.bytes);
        self.checksum.combine(&piece.checksum);
        self.json_bytes = self.json_bytes.wrapping_add(piece.json_bytes);
    }

    fn finish(mut self) -> Vec<u8> {
        if self.codec == Codec::Gzip {
            self.bytes.extend(self.checksum.finalize().to_le_bytes());
            self.bytes.extend(self.json_bytes.to_le_bytes());
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use iceberg::TableCreation;
    use iceberg::spec::{
        Operation, Schema, Snapshot, SnapshotReference, SnapshotRetention, Summary, TableMetadataBuilder,
    };

    use super::super::metadata_name::unpacked;
    use super::*;

    fn first() -> TableMetadata {
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .location("s3://lake/db/t".to_owned())
            .schema(Schema::builder().build().unwrap())
            .build();
        TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
    }

    fn branch(snapshot_id: i64) -> SnapshotReference {
        let retention = SnapshotRetention::branch(None, None, Some(7));
        SnapshotReference { snapshot_id, retention }
    }

    /// One more snapshot, `id`, on main.
    fn grown(metadata: &TableMetadata, id: i64) -> TableMetadata {
        grown_after(metadata, id, 1)
    }

    fn grown_after(metadata: &TableMetadata, id: i64, millis: i64) -> TableMetadata {
        let summary = Summary {
            operation: Operation::Append,
            additional_properties: [("a".to_owned(), format!("\"{id}\" ü"))].into(),
        };
        let snapshot = Snapshot::builder()
            .with_snapshot_id(id)
            .with_parent_snapshot_id(metadata.current_snapshot_id())
            .with_sequence_number(metadata.last_sequence_number() + 1)
            .with_timestamp_ms(metadata.last_updated_ms() + millis)
            .with_manifest_list(format!("s3://lake/db/t/metadata/snap-{id}.avro"))
            .with_summary(summary)
            .with_schema_id(0)
            .build();
        let builder = metadata.clone().into_builder(None).add_snapshot(snapshot).unwrap();
        builder.set_ref("main", branch(id)).unwrap().build().unwrap().metadata
    }

    /// Writes `metadata` upon `chunks`, and says how many of these were used again.
    fn write(metadata: &TableMetadata, codec: Codec, chunks: &mut Chunks) -> usize {
        let text = of(metadata, codec, ["main", "tag", "none"].into_iter(), chunks).unwrap();
        let json = unpacked(text.bytes.clone().into()).unwrap();
        assert_eq!(text.bytes.starts_with(&GZIP_HEADER), codec == Codec::Gzip);
        let whole = serde_json::to_vec(metadata).unwrap();
        let read = |json: &[u8]| serde_json::from_slice::<TableMetadata>(json).unwrap();
        assert_eq!(read(&json), read(&whole));
        assert_eq!(text.refs, refs::of_json(&whole).unwrap());
        // A decoder that knows one member only.
        if codec == Codec::Gzip {
            let mut one = Vec::new();
            io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*text.bytes), &mut one).unwrap();
            assert_eq!(one, json);
        }
        let again = |chunk: &&Arc<Chunk>| chunks.chunks.iter().any(|before| Arc::ptr_eq(before, chunk));
        let used = text.chunks.chunks.iter().filter(again).count();
        *chunks = text.chunks;
        used
    }

    #[test]
    fn a_file_says_what_the_library_says_and_spells_few_snapshots_anew() {
        for codec in [Codec::Gzip, Codec::Plain] {
            let (mut metadata, mut chunks) = (first(), Chunks::default());
            assert_eq!(write(&metadata, codec, &mut chunks), 0);
            for id in 1..=40 {
                metadata = grown(&metadata, id);
                let used = write(&metadata, codec, &mut chunks);
                assert!(used + 2 >= metadata.snapshots().len() / CHUNK, "{used} of {id}");
                if id == 9 {
                    let tag = SnapshotReference {
                        snapshot_id: 6,
                        retention: SnapshotRetention::Tag { max_ref_age_ms: None },
                    };
                    metadata =
                        metadata.into_builder(None).set_ref("tag", tag).unwrap().build().unwrap().metadata;
                }
                if id > 20 && id - 20 != 6 {
                    metadata = without(&metadata, &[id - 20]).unwrap();
                    assert!(write(&metadata, codec, &mut chunks) >= 2);
                }
            }
            // Back to an earlier snapshot, and the later ones go.
            let later: Vec<i64> = (25..=40).collect();
            metadata =
                metadata.into_builder(None).set_ref("main", branch(24)).unwrap().build().unwrap().metadata;
            metadata = without(&metadata, &later).unwrap();
            write(&metadata, codec, &mut chunks);
            write(&metadata, codec, &mut chunks);
            write(&grown(&metadata, 99), codec, &mut chunks);
            let other = if codec == Codec::Plain { Codec::Gzip } else { Codec::Plain };
            assert_eq!(write(&metadata, other, &mut chunks), 0);
            assert!(write(&metadata, other, &mut chunks) > 0);
        }
    }

    #[test]
    fn a_writer_whose_clock_was_ahead_stops_nobody() {
        let (mut metadata, mut chunks) = (grown_after(&first(), 1, 3_600_000), Chunks::default());
        for id in 2..=20 {
            metadata = grown(&metadata, id);
            assert!(write(&metadata, Codec::Gzip, &mut chunks) + 2 >= id as usize / CHUNK);
        }
        assert!(without(&metadata, &[1]).is_none(), "the library takes it: what was this for?");
    }
}

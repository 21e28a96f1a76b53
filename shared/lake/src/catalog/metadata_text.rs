//! The bytes of a metadata file, most of which the file before it had too.
//!
//! In: the metadata of a table, and what the file before had of its snapshots. Out: the bytes, and what this file has of
//! them. A table that is written to once a minute keeps a day of snapshots, which never change: to spell and to compress
//! them all is most of the work of a commit. So they and their log are kept in [`Chunk`]s that are ready to be written.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{SnapshotLog, SnapshotRef, TableMetadata};
use iceberg::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::metadata_chunks::{Assembly, Chunk, parts};
use super::metadata_name::Codec;
use super::refs::{self, Refs};

/// What a file has of the snapshots.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    codec: Codec,
    snapshots: Vec<Chunk<SnapshotRef>>,
    log: Vec<Chunk<SnapshotLog>>,
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
        Self { codec: Codec::Plain, snapshots: Vec::new(), log: Vec::new() }
    }
}

/// The file of `metadata`. `ref_names` are the names of all its branches and tags, and may be more.
pub(super) fn of<'a>(
    metadata: &TableMetadata,
    codec: Codec,
    ref_names: impl Iterator<Item = &'a str>,
    before: &Chunks,
) -> Result<Text> {
    let none = Chunks::default();
    let before = if before.codec == codec { before } else { &none };
    // In the order in which they were made.
    let mut snapshots: Vec<SnapshotRef> = metadata.snapshots().cloned().collect();
    snapshots.sort_unstable_by_key(|one| (one.sequence_number(), one.timestamp_ms(), one.snapshot_id()));
    let in_order = parts(snapshots, &before.snapshots, |snapshot| snapshot.snapshot_id());
    let in_chunks: HashSet<i64> =
        in_order.kept().flat_map(Chunk::items).map(|snapshot| snapshot.snapshot_id()).collect();

    // The library spells the rest. It would take away references to snapshots that are left out.
    let referenced = ref_names.filter_map(|name| Some(metadata.snapshot_for_ref(name)?.snapshot_id()));
    let referenced: HashSet<i64> = referenced.chain(metadata.current_snapshot_id()).collect();
    let left_out: Vec<i64> = in_chunks.difference(&referenced).copied().collect();
    let rest = without(metadata, &left_out);
    let json = serde_json::to_vec(rest.as_ref().unwrap_or(metadata))?;
    let refs = refs::of_json(&json)?;
    let mut members: BTreeMap<&str, &RawValue> = serde_json::from_slice(&json)?;
    // What the library has changed beside the snapshots.
    let updated = to_raw_value(&metadata.last_updated_ms())?;
    members.insert("last-updated-ms", &updated);
    members.remove("snapshot-log");
    let texts = match members.remove("snapshots") {
        Some(array) => by_id(array)?,
        None => HashMap::new(),
    };

    let mut file = Assembly::new(codec);
    file.text("{");
    for (name, value) in members {
        file.text(&format!("{}:{},", serde_json::Value::from(name), value.get()));
    }
    file.text("\"snapshot-log\":[");
    let log =
        parts(metadata.history().to_vec(), &before.log, |entry| (entry.snapshot_id, entry.timestamp_ms));
    let log = file.array(log, |entry| Ok(serde_json::to_string(entry)?))?;
    file.text("],\"snapshots\":[");
    let snapshots = file.array(in_order, |snapshot| match texts.get(&snapshot.snapshot_id()) {
        Some(text) => Ok(text.get().to_owned()),
        None => Err(Error::new(ErrorKind::Unexpected, "the library leaves out a snapshot: a defect")),
    })?;
    file.text("]}");
    Ok(Text { bytes: file.finish()?, refs, chunks: Chunks { codec, snapshots, log } })
}

/// `metadata` without some of its snapshots. None if there are none to take away, or the library does not: it dates what it
/// builds by its own clock, and refuses a date far before that of the last snapshot, whose writer's clock was ahead.
fn without(metadata: &TableMetadata, snapshots: &[i64]) -> Option<TableMetadata> {
    let builder = (!snapshots.is_empty()).then(|| metadata.clone().into_builder(None))?;
    Some(builder.remove_snapshots(snapshots).build().ok()?.metadata)
}

/// The snapshots of the JSON `array` by their ids.
fn by_id(array: &RawValue) -> Result<HashMap<i64, &RawValue>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct OnlyId {
        snapshot_id: i64,
    }
    let mut snapshots = HashMap::new();
    for json in serde_json::from_str::<Vec<&RawValue>>(array.get())? {
        let OnlyId { snapshot_id } = serde_json::from_str(json.get())?;
        snapshots.insert(snapshot_id, json);
    }
    Ok(snapshots)
}

#[cfg(test)]
mod tests {
    use iceberg::TableCreation;
    use iceberg::spec::{
        Operation, Schema, Snapshot, SnapshotReference, SnapshotRetention, Summary, TableMetadataBuilder,
    };

    use std::io;

    use super::super::metadata_chunks::{CHUNK, GZIP_HEADER};
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
        let again = |chunk: &&Chunk<SnapshotRef>| chunks.snapshots.iter().any(|before| before.is(chunk));
        let used = text.chunks.snapshots.iter().filter(again).count();
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

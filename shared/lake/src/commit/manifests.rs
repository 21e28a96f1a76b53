//! Files and the manifests of a base -> the manifests of a snapshot, and their list.
//!
//! New files are entered as ADDED, without numbers, which readers take from the list (Iceberg specification, "Sequence
//! Number Inheritance"). Entries that are copied become EXISTING with all their numbers written out. Manifests of delete
//! files are carried along untouched.

use std::collections::{HashMap, HashSet};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, Manifest, ManifestEntryRef, ManifestFile, ManifestListWriter, ManifestStatus,
    ManifestWriter, ManifestWriterBuilder, PartitionSpec, PartitionSpecRef, SchemaRef, TableMetadata,
};
use iceberg::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::entry::{first_row_ids, with_partition, with_row_id};
use super::summary::Counts;

/// Manifests that are read at the same time.
const PARALLEL_READS: usize = 16;
/// Where metadata lie if nothing else is said, and the property that says otherwise.
const METADATA_PATH: &str = "write.metadata.path";
/// The data have the sequence number of their commit: the library takes a negative number for none.
const OWN_SEQUENCE_NUMBER: i64 = -1;

/// The folder of a table's manifests and their lists.
fn metadata_folder(metadata: &TableMetadata) -> String {
    match metadata.properties().get(METADATA_PATH).filter(|path| !path.is_empty()) {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    }
}

/// Writes manifests of one snapshot, under names that no other commit has.
#[derive(Debug)]
pub(super) struct ManifestWriting {
    file_io: FileIO,
    commit: Uuid,
    pub(super) snapshot_id: i64,
    written: u32,
    lists: u32,
}

impl ManifestWriting {
    pub(super) fn new(file_io: FileIO, commit: Uuid, snapshot_id: i64) -> Self {
        Self { file_io, commit, snapshot_id, written: 0, lists: 0 }
    }

    /// A manifest of data files of `spec`, whose source columns `schema` has.
    fn begin(
        &mut self,
        metadata: &TableMetadata,
        schema: SchemaRef,
        spec: &PartitionSpec,
    ) -> Result<ManifestWriter> {
        let path = format!("{}/{}-m{}.avro", metadata_folder(metadata), self.commit, self.written);
        self.written += 1;
        let output = self.file_io.new_output(path)?;
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec.clone());
        Ok(match metadata.format_version() {
            FormatVersion::V1 => builder.build_v1(),
            FormatVersion::V2 => builder.build_v2_data(),
            FormatVersion::V3 => builder.build_v3_data(),
        })
    }

    /// A manifest of `files` alone.
    pub(super) async fn write_new(
        &mut self,
        metadata: &TableMetadata,
        schema: SchemaRef,
        spec: &PartitionSpec,
        files: New<'_>,
    ) -> Result<ManifestFile> {
        let mut writer = self.begin(metadata, schema, spec)?;
        files.add_to(&mut writer)?;
        writer.write_manifest_file().await
    }

    /// One manifest of what lives in `inputs`, all of one spec, without the files `removed`, and of `new`.
    pub(super) async fn rewrite(
        &mut self,
        metadata: &TableMetadata,
        current: &SchemaRef,
        inputs: &[&ManifestFile],
        removed: &HashSet<&str>,
        new: New<'_>,
    ) -> Result<Rewritten> {
        let manifests = self.read(inputs).await?;
        let Some(first) = manifests.first() else {
            return Err(Error::new(ErrorKind::Unexpected, "a manifest is to be made of none: a defect"));
        };
        let spec = first.metadata().partition_spec().clone();
        let schema = schema_for(current, first);
        let partition_type = spec.partition_type(&schema)?;
        let mut writer = self.begin(metadata, schema.clone(), &spec)?;
        let mut gone = Vec::new();
        for (input, manifest) in inputs.iter().zip(&manifests) {
            let row_ids = first_row_ids(input, manifest);
            for (entry, row_id) in manifest.entries().iter().zip(row_ids) {
                if !entry.is_alive() {
                    continue;
                }
                let file =
                    with_row_id(with_partition(entry.data_file(), &partition_type, &spec)?, row_id, &spec)?;
                let (Some(snapshot_id), Some(sequence_number)) =
                    (entry.snapshot_id(), entry.sequence_number())
                else {
                    let what = format!("{} has an entry without numbers", input.manifest_path);
                    return Err(Error::new(ErrorKind::DataInvalid, what));
                };
                if removed.contains(entry.file_path()) {
                    gone.push(file.clone());
                    writer.add_delete_file(file, sequence_number, entry.file_sequence_number)?;
                } else {
                    writer.add_existing_file(
                        file,
                        snapshot_id,
                        sequence_number,
                        entry.file_sequence_number,
                    )?;
                }
            }
        }
        new.add_to(&mut writer)?;
        let manifest = writer.write_manifest_file().await?;
        Ok(Rewritten { manifest, removed: gone, spec: spec.into(), schema })
    }

    /// For each of `inputs`, data manifests, one of the files that the snapshot `source` has added in it, as files that this
    /// one adds. They are counted in `counts`.
    pub(super) async fn copy_added(
        &mut self,
        metadata: &TableMetadata,
        inputs: &[ManifestFile],
        source: i64,
        counts: &mut Counts,
    ) -> Result<Vec<ManifestFile>> {
        let mut copies = Vec::new();
        for input in inputs {
            let manifest = load(self.file_io.clone(), input.clone()).await?;
            let is_added = |entry: &ManifestEntryRef| {
                entry.status() == ManifestStatus::Added && entry.snapshot_id() == Some(source)
            };
            let mut added = manifest.entries().iter().filter(|entry| is_added(entry)).peekable();
            if added.peek().is_none() {
                continue;
            }
            let spec = manifest.metadata().partition_spec().clone();
            let schema = schema_for(metadata.current_schema(), &manifest);
            let partition_type = spec.partition_type(&schema)?;
            let mut writer = self.begin(metadata, schema, &spec)?;
            for entry in added {
                let file = with_partition(entry.data_file(), &partition_type, &spec)?;
                let file = with_row_id(file, None, &spec)?;
                counts.add(&file, &spec.clone().into());
                writer.add_file(file, OWN_SEQUENCE_NUMBER)?;
            }
            copies.push(writer.write_manifest_file().await?);
        }
        Ok(copies)
    }

    /// The manifests, each with the numbers that its entries inherit.
    async fn read(&self, manifests: &[&ManifestFile]) -> Result<Vec<Manifest>> {
        let reads: Vec<_> =
            manifests.iter().map(|manifest| load(self.file_io.clone(), (*manifest).clone())).collect();
        stream::iter(reads).buffered(PARALLEL_READS).try_collect().await
    }

    /// How many live entries of the files `paths` each of `manifests` has. `known` is what an earlier attempt has found, by
    /// the path of the manifest, and gets what this one finds.
    pub(super) async fn holding(
        &self,
        manifests: &[ManifestFile],
        paths: &HashSet<&str>,
        known: &mut HashMap<String, usize>,
    ) -> Result<Vec<usize>> {
        let unread = manifests.iter().filter(|manifest| !known.contains_key(&manifest.manifest_path));
        let reads: Vec<_> =
            unread.map(|manifest| count(self.file_io.clone(), manifest.clone(), paths)).collect();
        let found: Vec<_> = stream::iter(reads).buffered(PARALLEL_READS).try_collect().await?;
        known.extend(found);
        Ok(manifests
            .iter()
            .map(|manifest| known.get(&manifest.manifest_path).copied().unwrap_or(0))
            .collect())
    }

    /// The list of a snapshot's manifests. Returns its path and, in format version 3, the first id of the rows that come
    /// with the snapshot and how many ids it takes.
    pub(super) async fn write_list(
        &mut self,
        metadata: &TableMetadata,
        parent: Option<i64>,
        manifests: Vec<ManifestFile>,
    ) -> Result<(String, Option<(u64, u64)>)> {
        let (id, sequence_number) = (self.snapshot_id, metadata.next_sequence_number());
        let path =
            format!("{}/snap-{id}-{}-{}.avro", metadata_folder(metadata), self.lists, self.commit.simple());
        self.lists += 1;
        let writer = self.file_io.new_output(&path)?.writer().await?;
        let first_row_id = metadata.next_row_id();
        let mut list = match metadata.format_version() {
            FormatVersion::V1 => ManifestListWriter::v1(writer, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(writer, id, parent, sequence_number),
            FormatVersion::V3 => {
                ManifestListWriter::v3(writer, id, parent, sequence_number, Some(first_row_id))
            }
        };
        list.add_manifests(manifests.into_iter())?;
        let rows = list.next_row_id().map(|next| (first_row_id, next.saturating_sub(first_row_id)));
        list.close().await?;
        Ok((path, rows))
    }
}

/// The path of `manifest`, and how many live entries of the files `paths` it has.
async fn count(file_io: FileIO, manifest: ManifestFile, paths: &HashSet<&str>) -> Result<(String, usize)> {
    let content = manifest.load_manifest(&file_io).await?;
    let live = content.entries().iter().filter(|entry| entry.is_alive());
    let count = live.filter(|entry| paths.contains(entry.file_path())).count();
    Ok((manifest.manifest_path, count))
}

async fn load(file_io: FileIO, manifest: ManifestFile) -> Result<Manifest> {
    manifest.load_manifest(&file_io).await
}

/// A manifest that was made of others.
#[derive(Clone, Debug)]
pub(super) struct Rewritten {
    pub(super) manifest: ManifestFile,
    /// Files of the others that it says are deleted.
    removed: Vec<DataFile>,
    spec: PartitionSpecRef,
    schema: SchemaRef,
}

impl Rewritten {
    /// Counts in `counts` what is removed.
    pub(super) fn count(&self, counts: &mut Counts) {
        self.removed.iter().for_each(|file| counts.remove(file, &self.spec, &self.schema));
    }
}

/// Files that a commit adds, all of one partition spec.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct New<'a> {
    pub(super) files: &'a [DataFile],
    /// The sequence number of their data, if it is not that of the commit: deletes from before it do not apply to them.
    pub(super) data_sequence_number: Option<i64>,
}

impl New<'_> {
    fn add_to(self, writer: &mut ManifestWriter) -> Result<()> {
        let sequence_number = self.data_sequence_number.unwrap_or(OWN_SEQUENCE_NUMBER);
        self.files.iter().try_for_each(|file| writer.add_file(file.clone(), sequence_number))
    }
}

/// The current schema, if it has the source columns of the spec of `manifest`; else the one that the manifest was
/// written by: a column may be dropped that a former spec is about.
fn schema_for(current: &SchemaRef, manifest: &Manifest) -> SchemaRef {
    let spec = manifest.metadata().partition_spec();
    match spec.fields().iter().all(|field| current.field_by_id(field.source_id).is_some()) {
        true => current.clone(),
        false => manifest.metadata().schema().clone(),
    }
}

/// Whether a manifest says of any file that it is there, or may.
pub(super) fn may_have_files(manifest: &ManifestFile) -> bool {
    manifest.has_added_files() || manifest.has_existing_files()
}

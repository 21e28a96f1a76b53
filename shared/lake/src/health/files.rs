//! The manifests of a table's current snapshot -> its files, counted by partition and by size.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iceberg::Result;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, Datum, Manifest, ManifestFile, PartitionSpec, PrimitiveLiteral, PrimitiveType,
    Schema, SchemaRef, TableMetadata, Type,
};
use iceberg::table::Table;
use records::enrich::INGESTION_TIMESTAMP;
use serde::Serialize;

use crate::topic::KAFKA_TIMESTAMP;

/// Manifests that are read at the same time.
const PARALLEL_READS: usize = 4;
/// Most partitions that are told apart.
const MAX_PARTITIONS: usize = 10_000;
/// Sizes of files in bytes, each four times the one before.
pub const SIZE_CLASSES: [u64; 6] = [1 << 20, 4 << 20, 16 << 20, 64 << 20, 256 << 20, 1 << 30];

/// What a partition has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionHealth {
    /// `name=value/name=value`.
    pub name: String,
    /// Rows, deletes not applied.
    pub rows: u64,
    /// Data files.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Data files that are small.
    pub small_files: u64,
    /// Files of deletes.
    pub delete_files: u64,
    /// Rows that they delete, as far as they tell.
    pub deletes: u64,
    /// When a file came last, in milliseconds since 1970, if the snapshot is there that added it.
    pub updated_ms: Option<i64>,
}

/// What a table has.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) all: PartitionHealth,
    pub(super) partitions: Vec<PartitionHealth>,
    pub(super) others: Option<PartitionHealth>,
    pub(super) by_size: Vec<u64>,
    pub(super) manifests: u64,
    pub(super) newest_event_ms: Option<i64>,
}

impl Files {
    /// Counts the files of the current snapshot of `table`.
    ///
    /// # Errors
    /// The storage's.
    pub(super) async fn of(table: &Table, small_below_bytes: u64) -> Result<Self> {
        let metadata = table.metadata();
        let mut files = Self { by_size: vec![0; SIZE_CLASSES.len() + 1], ..Self::default() };
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(files) };
        let list = table.manifest_list_reader(snapshot).load().await?;
        files.manifests = list.entries().len() as u64;
        let mut counting = Counting { metadata, small_below_bytes, partitions: BTreeMap::new(), files };
        let reads: Vec<_> =
            list.entries().iter().map(|manifest| read(table.file_io().clone(), manifest.clone())).collect();
        let mut reads = stream::iter(reads).buffered(PARALLEL_READS);
        while let Some(manifest) = reads.try_next().await? {
            counting.add(&manifest);
        }
        let mut files = counting.files;
        files.partitions = counting.partitions.into_values().collect();
        Ok(files)
    }
}

async fn read(file_io: FileIO, manifest: ManifestFile) -> Result<Manifest> {
    manifest.load_manifest(&file_io).await
}

struct Counting<'a> {
    metadata: &'a TableMetadata,
    small_below_bytes: u64,
    partitions: BTreeMap<String, PartitionHealth>,
    files: Files,
}

impl Counting<'_> {
    fn add(&mut self, manifest: &Manifest) {
        let (spec, schema) = (manifest.metadata().partition_spec(), manifest.metadata().schema());
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let file = entry.data_file();
            let added = entry.snapshot_id().and_then(|id| self.metadata.snapshot_by_id(id));
            let updated_ms = added.map(|snapshot| snapshot.timestamp_ms());
            let small_below_bytes = self.small_below_bytes;
            let name = partition_name(spec, file, schema);
            let is_known = self.partitions.contains_key(&name) || self.partitions.len() < MAX_PARTITIONS;
            let partition = match is_known {
                true => self
                    .partitions
                    .entry(name.clone())
                    .or_insert_with(|| PartitionHealth { name, ..PartitionHealth::default() }),
                false => self.files.others.get_or_insert_default(),
            };
            partition.count(file, updated_ms, small_below_bytes);
            self.files.all.count(file, updated_ms, small_below_bytes);
            if file.content_type() == DataContentType::Data {
                let bytes = file.file_size_in_bytes();
                let class = SIZE_CLASSES.partition_point(|limit| *limit <= bytes);
                if let Some(count) = self.files.by_size.get_mut(class) {
                    *count += 1;
                }
                self.files.newest_event_ms = self.files.newest_event_ms.max(newest_event(file, schema));
            }
        }
    }
}

impl PartitionHealth {
    fn count(&mut self, file: &DataFile, updated_ms: Option<i64>, small_below_bytes: u64) {
        self.updated_ms = self.updated_ms.max(updated_ms);
        if file.content_type() != DataContentType::Data {
            self.delete_files += 1;
            self.deletes += file.record_count();
            return;
        }
        self.rows += file.record_count();
        self.files += 1;
        self.bytes += file.file_size_in_bytes();
        self.small_files += u64::from(file.file_size_in_bytes() < small_below_bytes);
    }
}

/// The partition of a file: empty if its table is not partitioned.
fn partition_name(spec: &PartitionSpec, file: &DataFile, schema: &SchemaRef) -> String {
    // The library panics where these do not fit each other.
    let fits = file.partition().fields().len() == spec.fields().len() && spec.partition_type(schema).is_ok();
    match (spec.is_unpartitioned(), fits) {
        (true, _) => String::new(),
        (false, true) => spec.partition_to_path(file.partition(), schema.clone()),
        (false, false) => format!("of the partition spec {}", spec.spec_id()),
    }
}

/// The newest time of arrival in a file, in milliseconds, if its statistics tell.
pub(super) fn newest_event(file: &DataFile, schema: &Schema) -> Option<i64> {
    let bound = |name: &str| {
        let field = schema.field_by_name(name)?;
        millis(file.upper_bounds().get(&field.id)?, &field.field_type)
    };
    bound(INGESTION_TIMESTAMP).or_else(|| bound(KAFKA_TIMESTAMP))
}

fn millis(bound: &Datum, kind: &Type) -> Option<i64> {
    let PrimitiveLiteral::Long(value) = bound.literal() else { return None };
    match kind {
        Type::Primitive(PrimitiveType::Timestamp | PrimitiveType::Timestamptz) => Some(value / 1_000),
        Type::Primitive(PrimitiveType::TimestampNs | PrimitiveType::TimestamptzNs) => Some(value / 1_000_000),
        _ => None,
    }
}

//! Other engines and operators: what they do to a table between Frazil's commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_array::{Array as _, Int64Array, RecordBatch, new_null_array};
use arrow_select::concat::concat_batches;
use arrow_select::filter::filter_record_batch;
use bytes::Bytes;
use iceberg::TableIdent;
use iceberg::arrow::{arrow_schema_to_schema, schema_to_arrow_schema};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, ManifestEntryRef, ManifestFile,
    ManifestListWriter, ManifestWriter, ManifestWriterBuilder, NestedField, Operation, PrimitiveType, Schema,
    Snapshot, SnapshotReference, SnapshotRetention, Struct, Summary, TableMetadata, TableMetadataBuildResult,
};
use iceberg::table::Table;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use super::lies::edited;
use super::model::{By, ancestors, references};
use super::world::Hand;
use crate::catalog::simulated::SimulatedCatalog;
use crate::catalog::{Loaded, Next, TableCatalog as _};

/// The first row that an engine adds: beyond those of the objects.
const FIRST_ROW: i64 = 1_000_000;

pub(crate) struct Engine {
    pub(crate) hand: Hand,
    pub(crate) ident: TableIdent,
    pub(crate) random: fastrand::Rng,
    catalog: SimulatedCatalog,
    rows: i64,
    /// Whether snapshots expire before the table's properties let them.
    is_hasty: bool,
}

/// A file of the table, as its manifests have it.
type Live = Vec<ManifestEntryRef>;

impl Engine {
    pub(crate) fn new(hand: Hand, ident: TableIdent) -> Self {
        let mut random = fastrand::Rng::with_seed(hand.dice("engine"));
        let is_hasty = random.bool();
        let catalog = SimulatedCatalog::new(&hand, 0, None);
        Self { hand, ident, random, catalog, rows: FIRST_ROW, is_hasty }
    }

    /// Does something to the table, if there is one.
    pub(crate) async fn act(&mut self) {
        let Ok(base) = self.catalog.load(&self.ident).await else { return };
        let metadata = base.table.metadata().clone();
        match self.random.u8(..11) {
            0 | 1 => self.append(&base, &metadata).await,
            2 => self.compact(&base, &metadata, false).await,
            9 => self.compact(&base, &metadata, true).await,
            3 | 4 => self.expire(&base, &metadata).await,
            5 => self.roll_back(&base, &metadata).await,
            6 | 7 => self.refer(&base, &metadata).await,
            10 => self.alter(&base, &metadata).await,
            _ => self.configure(&base, &metadata).await,
        }
    }

    async fn append(&mut self, base: &Loaded, metadata: &TableMetadata) {
        let rows: Vec<i64> = (0..self.random.i64(1..4)).map(|at| self.rows + at).collect();
        self.rows += rows.len() as i64;
        let schema = Arc::new(schema_to_arrow_schema(metadata.current_schema()).unwrap());
        let columns = schema.fields().iter().map(|field| match field.name().as_str() {
            "n" => Arc::new(Int64Array::from(rows.clone())) as _,
            _ => new_null_array(field.data_type(), rows.len()),
        });
        let batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
        let fields = metadata.default_partition_spec().fields().len();
        let file = self.write(metadata, &batch, Struct::from_iter(vec![None::<Literal>; fields]));
        let list = self.carried(&base.table).await;
        let by = By::Other { added: rows, deleted: Vec::new() };
        self.commit(base, metadata, Operation::Append, vec![file], None, list, by).await;
    }

    /// Makes one file of all in a partition; without one row, if one is to be deleted.
    async fn compact(&mut self, base: &Loaded, metadata: &TableMetadata, deletes: bool) {
        let live = live(&base.table).await;
        let mut partitions: BTreeMap<String, Live> = BTreeMap::new();
        for entry in &live {
            partitions.entry(format!("{:?}", entry.data_file().partition())).or_default().push(entry.clone());
        }
        let may_go = self.hand.world.model().rows_of_one_version();
        let world = self.hand.world.clone();
        let live_rows = live.iter().flat_map(|entry| world.rows(entry.file_path()).unwrap().numbers());
        let mut may_go: Vec<i64> = live_rows.filter(|row| deletes && may_go.contains(row)).collect();
        // The order of an attempt's files is not drawn from the seed.
        may_go.sort_unstable();
        let deleted: Vec<i64> = self.random.choice(may_go).into_iter().collect();
        let operation = if deleted.is_empty() { Operation::Replace } else { Operation::Overwrite };
        let mut files = Vec::new();
        for entries in partitions.values() {
            let batches: Vec<RecordBatch> = entries
                .iter()
                .map(|entry| self.hand.world.rows(entry.file_path()).unwrap().batch.clone())
                .collect();
            // Files of different writers may differ in what they say of their columns, those of different times in how many
            // they have.
            if batches.iter().any(|batch| batch.schema().fields().len() != batches[0].num_columns()) {
                return;
            }
            let Ok(all) = concat_batches(&batches[0].schema(), &batches) else { return };
            let all = without(&all, &deleted);
            if all.num_rows() == 0 {
                continue;
            }
            files.push(self.write(metadata, &all, entries[0].data_file().partition().clone()));
        }
        if !files.is_empty() {
            let by = By::Other { added: Vec::new(), deleted };
            self.commit(base, metadata, operation, files, Some(live), Vec::new(), by).await;
        }
    }

    /// Lets all snapshots go but the last ones and what references need.
    async fn expire(&mut self, base: &Loaded, metadata: &TableMetadata) {
        let keep = self.random.usize(1..3);
        let kept: Vec<i64> = references(metadata)
            .values()
            .flat_map(|reference| {
                let is_tag = matches!(reference.retention, SnapshotRetention::Tag { .. });
                let lineage = ancestors(metadata, Some(reference.snapshot_id));
                lineage.into_iter().take(if is_tag { 1 } else { keep })
            })
            .collect();
        let property = |key: &str| metadata.properties().get(key).and_then(|text| text.parse::<i64>().ok());
        let least = property("history.expire.min-snapshots-to-keep").unwrap_or(1) as usize;
        let main: Vec<i64> =
            ancestors(metadata, metadata.current_snapshot_id()).into_iter().take(least).collect();
        let max_age_ms = property("history.expire.max-snapshot-age-ms").unwrap_or(i64::MAX);
        let old_ms = self.now_ms(metadata).saturating_sub(max_age_ms);
        let gone = metadata.snapshots().filter(|snapshot| {
            let id = snapshot.snapshot_id();
            let is_due = snapshot.timestamp_ms() < old_ms && !main.contains(&id);
            !kept.contains(&id) && (self.is_hasty || is_due)
        });
        let gone: Vec<i64> = gone.map(|snapshot| snapshot.snapshot_id()).collect();
        let builder = metadata.clone().into_builder(base.table.metadata_location().map(str::to_owned));
        let next = builder.remove_snapshots(&gone).build().unwrap();
        self.put(base, metadata, next).await;
    }

    /// Goes back to a snapshot that the current one comes from, or to a tag.
    async fn roll_back(&mut self, base: &Loaded, metadata: &TableMetadata) {
        let mut targets = ancestors(metadata, metadata.current_snapshot_id());
        targets.extend(references(metadata).values().map(|reference| reference.snapshot_id));
        targets.retain(|id| Some(*id) != metadata.current_snapshot_id());
        let Some(target) = self.random.choice(targets) else { return };
        let mut main = references(metadata)["main"].clone();
        main.snapshot_id = target;
        self.set(base, metadata, "main", main).await;
    }

    /// Gives a snapshot a name.
    async fn refer(&mut self, base: &Loaded, metadata: &TableMetadata) {
        let Some(snapshot_id) = self.random.choice(ancestors(metadata, metadata.current_snapshot_id()))
        else {
            return;
        };
        let age = |random: &mut fastrand::Rng| random.bool().then(|| random.i64(1..20_000));
        let max_ref_age_ms = age(&mut self.random);
        let (name, retention) = match self.random.u8(..4) {
            0 => {
                let min_snapshots_to_keep = self.random.bool().then_some(2);
                let max_snapshot_age_ms = age(&mut self.random);
                // What an operator sets for main is main's from then on.
                let snapshot_id = references(metadata)["main"].snapshot_id;
                let retention = SnapshotRetention::Branch {
                    min_snapshots_to_keep,
                    max_snapshot_age_ms,
                    max_ref_age_ms: None,
                };
                return self.set(base, metadata, "main", SnapshotReference { snapshot_id, retention }).await;
            }
            1 => {
                let (min_snapshots_to_keep, max_snapshot_age_ms) = (None, age(&mut self.random));
                (
                    "branch",
                    SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms },
                )
            }
            _ => ("tag", SnapshotRetention::Tag { max_ref_age_ms }),
        };
        let name = format!("{name}-{}", self.random.u8(..3));
        self.set(base, metadata, &name, SnapshotReference { snapshot_id, retention }).await;
    }

    /// Adds a column, maybe one that some objects bring.
    async fn alter(&mut self, base: &Loaded, metadata: &TableMetadata) {
        let name = self.random.choice(["f0", "f1", "f2", "own"]).unwrap();
        let schema = metadata.current_schema();
        if schema.field_by_name(name).is_some() {
            return;
        }
        let column = NestedField::optional(metadata.last_column_id() + 1, name, PrimitiveType::String.into());
        let fields = schema.as_struct().fields().iter().cloned().chain([column.into()]);
        let schema = Schema::builder().with_fields(fields).build().unwrap();
        let builder = metadata.clone().into_builder(base.table.metadata_location().map(str::to_owned));
        let next = builder.add_current_schema(schema).unwrap().build().unwrap();
        self.put(base, metadata, next).await;
    }

    async fn configure(&mut self, base: &Loaded, metadata: &TableMetadata) {
        let (key, values) = self
            .random
            .choice([
                ("write.metadata.previous-versions-max", ["2", "5", "100"]),
                ("write.metadata.delete-after-commit.enabled", ["true", "true", "false"]),
                ("write.metadata.compression-codec", ["gzip", "none", "gzip"]),
                ("commit.manifest.min-count-to-merge", ["2", "3", "100"]),
                ("commit.manifest-merge.enabled", ["true", "true", "false"]),
                ("history.expire.max-snapshot-age-ms", ["1", "1000", "10000"]),
                ("history.expire.min-snapshots-to-keep", ["1", "2", "3"]),
                ("gc.enabled", ["true", "true", "false"]),
            ])
            .unwrap();
        let value = self.random.choice(values).unwrap();
        if key.starts_with("history") && !self.is_hasty {
            return;
        }
        let builder = metadata.clone().into_builder(base.table.metadata_location().map(str::to_owned));
        let changed = builder.set_properties(HashMap::from([(key.to_owned(), value.to_owned())]));
        self.put(base, metadata, changed.unwrap().build().unwrap()).await;
    }

    async fn set(
        &mut self,
        base: &Loaded,
        metadata: &TableMetadata,
        name: &str,
        reference: SnapshotReference,
    ) {
        let builder = metadata.clone().into_builder(base.table.metadata_location().map(str::to_owned));
        self.put(base, metadata, builder.set_ref(name, reference).unwrap().build().unwrap()).await;
    }

    fn now_ms(&self, metadata: &TableMetadata) -> i64 {
        self.hand.world.now_ms().max(metadata.last_updated_ms())
    }

    /// Swaps in `next`, which has no new snapshot.
    async fn put(&mut self, base: &Loaded, metadata: &TableMetadata, next: TableMetadataBuildResult) {
        let now_ms = self.now_ms(metadata);
        // The library's own clock is not the simulation's.
        let metadata = edited(&next.metadata, |json| {
            json["last-updated-ms"] = json!(now_ms);
            for entry in json["snapshot-log"].as_array_mut().into_iter().flatten() {
                let at_ms = entry["timestamp-ms"].as_i64().unwrap();
                entry["timestamp-ms"] = json!(at_ms.min(now_ms));
            }
        });
        let next = Next { updates: next.changes, requirements: Vec::new(), metadata };
        let by = By::Other { added: Vec::new(), deleted: Vec::new() };
        // Where Frazil was faster, the engine leaves it at that.
        let _ = self.catalog.swap_by(base, &next, by).await;
    }

    /// The manifests of the current snapshot.
    async fn carried(&self, table: &Table) -> Vec<ManifestFile> {
        let Some(snapshot) = table.metadata().current_snapshot() else { return Vec::new() };
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        list.consume_entries().into_iter().collect()
    }

    fn name(&mut self, metadata: &TableMetadata, folder: &str, end: &str) -> String {
        format!("{}/{folder}/other-{:016x}{end}", metadata.location(), self.random.u64(..))
    }

    /// A data file with `rows`.
    fn write(&mut self, metadata: &TableMetadata, rows: &RecordBatch, partition: Struct) -> DataFile {
        let path = self.name(metadata, "data", ".parquet");
        let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
        writer.write(rows).unwrap();
        let bytes = Bytes::from(writer.into_inner().unwrap());
        let size = bytes.len() as u64;
        self.hand.world.files().insert(path.clone(), bytes);
        DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path(path)
            .file_format(DataFileFormat::Parquet)
            .partition(partition)
            .record_count(rows.num_rows() as u64)
            .file_size_in_bytes(size)
            .partition_spec_id(metadata.default_partition_spec_id())
            .build()
            .unwrap()
    }

    fn manifest(&mut self, base: &Loaded, snapshot_id: i64) -> ManifestWriter {
        let metadata = base.table.metadata();
        let path = self.name(metadata, "metadata", "-m0.avro");
        let output = base.table.file_io().new_output(path).unwrap();
        let (schema, spec) =
            (metadata.current_schema().clone(), metadata.default_partition_spec().as_ref().clone());
        ManifestWriterBuilder::new(output, Some(snapshot_id), schema, spec).build_v2_data()
    }

    /// Commits a snapshot with `files`, without those of `deleted`, and with the manifests `list` as they are.
    #[expect(clippy::too_many_arguments, reason = "a commit has many parts")]
    async fn commit(
        &mut self,
        base: &Loaded,
        metadata: &TableMetadata,
        operation: Operation,
        files: Vec<DataFile>,
        deleted: Option<Live>,
        list: Vec<ManifestFile>,
        by: By,
    ) {
        let totals = totals(&files, &deleted, &live(&base.table).await);
        let (snapshot_id, number) = (self.random.i64(1..), metadata.next_sequence_number());
        let mut list = list;
        let mut writer = self.manifest(base, snapshot_id);
        for file in files {
            writer.add_file(file, -1).unwrap();
        }
        list.push(writer.write_manifest_file().await.unwrap());
        if let Some(deleted) = deleted {
            let mut writer = self.manifest(base, snapshot_id);
            for entry in deleted {
                // A planted bug may have lost it.
                let number = entry.sequence_number().unwrap_or_default();
                let of_file = entry.file_sequence_number;
                writer.add_delete_file(entry.data_file().clone(), number, of_file).unwrap();
            }
            list.push(writer.write_manifest_file().await.unwrap());
        }
        let location = self.name(metadata, "metadata", "-list.avro");
        let output = base.table.file_io().new_output(&location).unwrap().writer().await.unwrap();
        let parent = metadata.current_snapshot_id();
        let mut writer = ManifestListWriter::v2(output, snapshot_id, parent, number);
        writer.add_manifests(list.into_iter()).unwrap();
        writer.close().await.unwrap();
        let snapshot = Snapshot::builder()
            .with_snapshot_id(snapshot_id)
            .with_parent_snapshot_id(parent)
            .with_sequence_number(number)
            .with_timestamp_ms(self.now_ms(metadata))
            .with_manifest_list(location)
            .with_summary(Summary { operation, additional_properties: totals })
            .with_schema_id(metadata.current_schema_id())
            .build();
        let mut main = references(metadata).get("main").cloned();
        if let Some(main) = &mut main {
            main.snapshot_id = snapshot_id;
        }
        let builder = metadata.clone().into_builder(base.table.metadata_location().map(str::to_owned));
        let builder = match main {
            None => builder.set_branch_snapshot(snapshot, "main"),
            Some(main) => builder.add_snapshot(snapshot).and_then(|builder| builder.set_ref("main", main)),
        };
        let TableMetadataBuildResult { metadata, changes, .. } = builder.unwrap().build().unwrap();
        let next = Next { updates: changes, requirements: Vec::new(), metadata };
        let _ = self.catalog.swap_by(base, &next, by).await;
    }
}

/// What a summary says of a table that has `before`, less `deleted`, and `files`.
fn totals(files: &[DataFile], deleted: &Option<Live>, before: &Live) -> HashMap<String, String> {
    let kept = if deleted.is_some() { &[][..] } else { &before[..] };
    let all: Vec<&DataFile> = files.iter().chain(kept.iter().map(|entry| entry.data_file())).collect();
    let sum = |of: fn(&DataFile) -> u64| all.iter().map(|file| of(file)).sum::<u64>();
    let totals = [
        ("total-data-files", all.len() as u64),
        ("total-records", sum(DataFile::record_count)),
        ("total-files-size", sum(DataFile::file_size_in_bytes)),
        ("total-delete-files", 0),
        ("total-position-deletes", 0),
        ("total-equality-deletes", 0),
    ];
    totals.map(|(key, total)| (key.to_owned(), total.to_string())).into()
}

async fn live(table: &Table) -> Live {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Vec::new() };
    let list = table.manifest_list_reader(snapshot).load().await.unwrap();
    let mut found = Vec::new();
    for manifest in list.entries() {
        let manifest = manifest.load_manifest(table.file_io()).await.unwrap();
        found.extend(manifest.entries().iter().filter(|entry| entry.is_alive()).cloned());
    }
    found
}

/// What is in a data file.
#[derive(Debug)]
pub(crate) struct Rows {
    batch: RecordBatch,
    /// Its fields by id, each with its name and those of the columns around it.
    pub(crate) fields: HashMap<i32, String>,
}

impl Rows {
    pub(crate) fn read(bytes: Bytes) -> Self {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().with_batch_size(1 << 16);
        let batch = reader.build().unwrap().next().unwrap().unwrap();
        let fields = arrow_schema_to_schema(&batch.schema()).unwrap().field_id_to_name_map().clone();
        Self { batch, fields }
    }

    /// The values of `n`.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        let column = self.batch.column_by_name("n").unwrap();
        column.as_any().downcast_ref::<Int64Array>().unwrap().iter().flatten().collect()
    }
}

/// `rows` but those whose `n` is `deleted`.
fn without(rows: &RecordBatch, deleted: &[i64]) -> RecordBatch {
    let numbers = rows.column_by_name("n").unwrap().as_any().downcast_ref::<Int64Array>().unwrap();
    let stays = numbers.iter().map(|number| Some(number.is_none_or(|number| !deleted.contains(&number))));
    filter_record_batch(rows, &stays.collect()).unwrap()
}

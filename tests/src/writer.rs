//! Another writer of a table: what an engine, an operator or an accident does to it.
//!
//! In: a table and its data files. Out: files and snapshots that are sound by Iceberg's rules, whatever they say.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use iceberg::MetadataLocation;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, ManifestListWriter, ManifestWriterBuilder,
    Operation, Snapshot, Summary,
};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use lake::Lake;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// The data and delete files of the current snapshot, with their sequence numbers, as the manifests list them.
pub async fn current_files(table: &Table) -> Vec<(DataFile, i64)> {
    let snapshot = table.metadata().current_snapshot().unwrap();
    let list = table.manifest_list_reader(snapshot).load().await.unwrap();
    let mut found = Vec::new();
    for manifest in list.entries() {
        let manifest = manifest.load_manifest(table.file_io()).await.unwrap();
        let live = manifest.entries().iter().filter(|entry| entry.is_alive());
        found.extend(live.map(|entry| (entry.data_file().clone(), entry.sequence_number().unwrap())));
    }
    found
}

/// Where a file lies.
pub fn path_of(file: &DataFile) -> PathBuf {
    local(file.file_path())
}

/// The path of a URI.
pub fn local(uri: &str) -> PathBuf {
    uri.strip_prefix("file://").unwrap().into()
}

/// All rows of a data file, as they lie in it.
pub fn read_rows(file: &DataFile) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path_of(file)).unwrap()).unwrap();
    let mut batches = reader.with_batch_size(1 << 20).build().unwrap();
    batches.next().unwrap().unwrap()
}

/// A data file called `name` beside `model`, and in its partition, with `rows`.
pub fn write_rows(model: &DataFile, name: &str, rows: &RecordBatch) -> DataFile {
    write(model, name, rows, DataContentType::Data)
}

/// A file called `name` beside `model` that deletes the rows of `model` at `positions`.
pub fn position_deletes(model: &DataFile, name: &str, positions: &[i64]) -> DataFile {
    // The ids of the two columns are those of the table specification.
    let field = |name: &str, kind, id: &str| {
        let id = HashMap::from([("PARQUET:field_id".to_owned(), id.to_owned())]);
        Field::new(name, kind, false).with_metadata(id)
    };
    let fields =
        vec![field("file_path", DataType::Utf8, "2147483546"), field("pos", DataType::Int64, "2147483545")];
    let paths = StringArray::from(vec![model.file_path(); positions.len()]);
    let positions = Int64Array::from(positions.to_vec());
    let rows =
        RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(paths), Arc::new(positions)]);
    write(model, name, &rows.unwrap(), DataContentType::PositionDeletes)
}

/// A file called `name` beside `model` that deletes the rows of its partition whose column `column`, of the field
/// `field_id`, is as in one of `rows`.
pub fn equality_deletes(
    model: &DataFile,
    name: &str,
    rows: &RecordBatch,
    column: &str,
    field_id: i32,
) -> DataFile {
    let column = rows.project(&[rows.schema().index_of(column).unwrap()]).unwrap();
    let mut deletes = describe(model, name, &column, DataContentType::EqualityDeletes);
    deletes.equality_ids(Some(vec![field_id])).build().unwrap()
}

fn write(model: &DataFile, name: &str, rows: &RecordBatch, content: DataContentType) -> DataFile {
    describe(model, name, rows, content).build().unwrap()
}

fn describe(model: &DataFile, name: &str, rows: &RecordBatch, content: DataContentType) -> DataFileBuilder {
    let path = path_of(model).with_file_name(name);
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    DataFileBuilder::default()
        .content(content)
        .file_path(format!("file://{}", path.display()))
        .file_format(DataFileFormat::Parquet)
        .partition(model.partition().clone())
        .record_count(rows.num_rows() as u64)
        .file_size_in_bytes(fs::metadata(&path).unwrap().len())
        .clone()
}

/// The same file by another spelling of its path.
pub fn renamed(file: &DataFile, path: String) -> DataFile {
    DataFileBuilder::default()
        .content(file.content_type())
        .file_path(path)
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .build()
        .unwrap()
}

/// Appends `files` by Iceberg's own transaction, with `summary` in the snapshot.
pub async fn append(lake: &Lake, table: &Table, files: Vec<DataFile>, summary: HashMap<String, String>) {
    let transaction = Transaction::new(table);
    let append = transaction.fast_append().add_data_files(files).set_snapshot_properties(summary);
    append.apply(transaction).unwrap().commit(lake.catalog()).await.unwrap();
}

/// Expires every snapshot but the current one, and takes the tokens of recent commits along: the table is then one of which
/// nothing but its rows tells what it has.
pub async fn expire(lake: &Lake, table: &Table) {
    let transaction = Transaction::new(table);
    let forget = transaction.update_table_properties().set("frazil.ledger.recent".to_owned(), String::new());
    let table = forget.apply(transaction).unwrap().commit(lake.catalog()).await.unwrap();
    let transaction = Transaction::new(&table);
    let expire = transaction.expire_snapshots().expire_older_than_ms(i64::MAX).retain_last(1);
    expire.apply(transaction).unwrap().commit(lake.catalog()).await.unwrap();
}

/// Commits a snapshot that has exactly `files`, each of its sequence number; None is this commit's.
pub async fn overwrite(lake: &Lake, table: &Table, files: Vec<(DataFile, Option<i64>)>) {
    let metadata = table.metadata();
    let (parent, sequence_number) = (metadata.current_snapshot_id(), metadata.next_sequence_number());
    let snapshot_id = 4_000_000_000 + sequence_number;
    let output = |name: &str| {
        let name = format!("{}/metadata/{name}-{snapshot_id}.avro", metadata.location());
        table.file_io().new_output(name).unwrap()
    };
    let spec = metadata.default_partition_spec().as_ref().clone();
    let (data, deletes): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(file, _)| file.content_type() == DataContentType::Data);
    let mut manifests = Vec::new();
    for (name, files) in [("other-m0", data), ("other-m1", deletes)] {
        if files.is_empty() {
            continue;
        }
        let schema = metadata.current_schema().clone();
        let builder = ManifestWriterBuilder::new(output(name), Some(snapshot_id), schema, spec.clone());
        let mut writer =
            if name == "other-m0" { builder.build_v2_data() } else { builder.build_v2_deletes() };
        for (file, of_file) in files {
            match of_file {
                Some(of_file) => {
                    writer.add_existing_file(file, parent.unwrap(), of_file, Some(of_file)).unwrap()
                }
                None => writer.add_file(file, sequence_number).unwrap(),
            }
        }
        manifests.push(writer.write_manifest_file().await.unwrap());
    }
    let list = output("snap-other");
    let location = list.location().to_owned();
    let mut writer =
        ManifestListWriter::v2(list.writer().await.unwrap(), snapshot_id, parent, sequence_number);
    writer.add_manifests(manifests.into_iter()).unwrap();
    writer.close().await.unwrap();
    let snapshot = Snapshot::builder()
        .with_snapshot_id(snapshot_id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence_number)
        .with_timestamp_ms(metadata.last_updated_ms() + 1)
        .with_manifest_list(location)
        .with_summary(Summary { operation: Operation::Overwrite, additional_properties: HashMap::new() })
        .with_schema_id(metadata.current_schema_id())
        .build();
    let before = table.metadata_location().unwrap().to_owned();
    let builder = metadata.clone().into_builder(Some(before.clone()));
    let changed = builder.set_branch_snapshot(snapshot, "main").unwrap().build().unwrap().metadata;
    let after = MetadataLocation::from_str(&before).unwrap().with_next_version();
    changed.write_to(table.file_io(), &after).await.unwrap();
    lake.catalog().drop_table(table.identifier()).await.unwrap();
    lake.catalog().register_table(table.identifier(), after.to_string()).await.unwrap();
}

//! `$files` and `$partitions`: what the manifests of a snapshot list.
//!
//! `$files` is read manifest by manifest; `$partitions` holds a line for each partition. A partition is a struct of the fields of
//! all partition specs that the table has had, as in Spark.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{DataContentType, DataFile, ManifestFile, SnapshotRef, Struct, TableMetadata, Type};
use iceberg::table::Table;

use super::{batch, instant, schema};
use crate::external;
use crate::scalar::scalar;

/// About what a partition takes while they are counted.
const PARTITION_BYTES: usize = 512;

/// A field of some partition spec.
struct PartitionField {
    id: i32,
    name: String,
    of: Type,
}

/// The fields of all specs, those of later specs last. A field whose source is there no more is left out.
fn partition_fields(metadata: &TableMetadata) -> Vec<PartitionField> {
    let mut specs: Vec<_> = metadata.partition_specs_iter().collect();
    specs.sort_by_key(|spec| spec.spec_id());
    let mut fields: Vec<PartitionField> = Vec::new();
    for field in specs.iter().flat_map(|spec| spec.fields()) {
        let schemas = std::iter::once(metadata.current_schema()).chain(metadata.schemas_iter());
        let source = schemas.filter_map(|schema| schema.field_by_id(field.source_id)).next();
        let of = source.and_then(|source| field.transform.result_type(&source.field_type).ok());
        if let Some(of) = of.filter(|_| !fields.iter().any(|known| known.id == field.field_id)) {
            fields.push(PartitionField { id: field.field_id, name: field.name.clone(), of });
        }
    }
    fields
}

fn partition_type(metadata: &TableMetadata) -> Result<DataType> {
    let fields = partition_fields(metadata);
    let fields = fields
        .iter()
        .map(|field| Ok(Field::new(&field.name, type_to_arrow_type(&field.of).map_err(external)?, true)));
    Ok(DataType::Struct(fields.collect::<Result<Vec<_>>>()?.into()))
}

pub(super) fn files_schema(metadata: &TableMetadata) -> Result<SchemaRef> {
    Ok(schema(&[
        ("content", DataType::Int32),
        ("file_path", DataType::Utf8),
        ("file_format", DataType::Utf8),
        ("spec_id", DataType::Int32),
        ("partition", partition_type(metadata)?),
        ("record_count", DataType::Int64),
        ("file_size_in_bytes", DataType::Int64),
    ]))
}

pub(super) fn partitions_schema(metadata: &TableMetadata) -> Result<SchemaRef> {
    Ok(schema(&[
        ("partition", partition_type(metadata)?),
        ("spec_id", DataType::Int32),
        ("record_count", DataType::Int64),
        ("file_count", DataType::Int64),
        ("total_data_file_size_in_bytes", DataType::Int64),
        ("position_delete_record_count", DataType::Int64),
        ("position_delete_file_count", DataType::Int64),
        ("equality_delete_record_count", DataType::Int64),
        ("equality_delete_file_count", DataType::Int64),
        ("last_updated_at", instant()),
        ("last_updated_snapshot_id", DataType::Int64),
    ]))
}

/// A live file of a manifest.
struct Listed {
    file: DataFile,
    spec_id: i32,
    snapshot_id: Option<i64>,
}

/// The live files of a snapshot, manifest by manifest.
fn manifests(table: Table, snapshot: Option<SnapshotRef>) -> impl Stream<Item = Result<Vec<Listed>>> + Send {
    let lists = stream::iter(snapshot).then({
        let table = table.clone();
        move |snapshot| {
            let table = table.clone();
            async move {
                let list = table.manifest_list_reader(&snapshot).load().await;
                let entries: Vec<ManifestFile> = list.map_err(external)?.entries().to_vec();
                Ok::<_, datafusion::error::DataFusionError>(stream::iter(entries.into_iter().map(Ok)))
            }
        }
    });
    lists.try_flatten().and_then(move |manifest| {
        let table = table.clone();
        async move {
            let loaded = manifest.load_manifest(table.file_io()).await.map_err(external)?;
            let live = loaded.entries().iter().filter(|entry| entry.is_alive());
            let listed = live.map(|entry| Listed {
                file: entry.data_file().clone(),
                spec_id: manifest.partition_spec_id,
                snapshot_id: entry.snapshot_id(),
            });
            Ok(listed.collect())
        }
    })
}

/// Partitions as a column.
fn partitions_array<'a>(
    metadata: &TableMetadata,
    partitions: impl Iterator<Item = (i32, &'a Struct)>,
    of: &DataType,
) -> Result<ArrayRef> {
    let partitions: Vec<_> = partitions.collect();
    let DataType::Struct(arrow_fields) = of else {
        return datafusion::common::internal_err!("a partition is a struct");
    };
    if arrow_fields.is_empty() {
        return Ok(Arc::new(StructArray::new_empty_fields(partitions.len(), None)));
    }
    let fields = partition_fields(metadata);
    let columns = fields.iter().map(|field| {
        let values = partitions.iter().map(|(spec_id, partition)| {
            let spec = metadata.partition_spec_by_id(*spec_id);
            let at = spec.and_then(|spec| spec.fields().iter().position(|own| own.field_id == field.id));
            scalar(at.and_then(|at| partition.iter().nth(at).flatten()), &field.of)
        });
        ScalarValue::iter_to_array(values.collect::<Result<Vec<_>>>()?)
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(arrow_fields.clone(), columns, None)?))
}

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn files(
    table: Table,
    snapshot: Option<SnapshotRef>,
    schema: SchemaRef,
) -> impl Stream<Item = Result<RecordBatch>> + Send {
    let metadata = table.metadata_ref();
    manifests(table, snapshot).map_ok(move |listed| files_of(&metadata, &listed, &schema)).map(|batch| batch?)
}

fn files_of(metadata: &TableMetadata, listed: &[Listed], schema: &SchemaRef) -> Result<RecordBatch> {
    if listed.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    let files = || listed.iter().map(|listed| &listed.file);
    let partitions = listed.iter().map(|listed| (listed.spec_id, listed.file.partition()));
    batch(
        schema,
        vec![
            Arc::new(Int32Array::from_iter_values(files().map(|file| file.content_type() as i32))),
            Arc::new(StringArray::from_iter_values(files().map(|file| file.file_path()))),
            Arc::new(StringArray::from_iter_values(
                files().map(|file| file.file_format().to_string().to_uppercase()),
            )),
            Arc::new(Int32Array::from_iter_values(listed.iter().map(|listed| listed.spec_id))),
            partitions_array(metadata, partitions, schema.field(4).data_type())?,
            Arc::new(Int64Array::from_iter_values(files().map(|file| count(file.record_count())))),
            Arc::new(Int64Array::from_iter_values(files().map(|file| count(file.file_size_in_bytes())))),
        ],
    )
}

/// What is counted of a partition: records and files, by content, and bytes of data.
#[derive(Default)]
struct Counted {
    records: [u64; 3],
    files: [u64; 3],
    data_bytes: u64,
    /// The youngest snapshot that added a file.
    updated: Option<(i64, i64)>,
}

pub(super) async fn partitions(
    table: Table,
    snapshot: Option<SnapshotRef>,
    schema: &SchemaRef,
    pool: &Arc<dyn MemoryPool>,
) -> Result<RecordBatch> {
    let held = MemoryConsumer::new("partitions").register(pool);
    let metadata = table.metadata_ref();
    let mut found: HashMap<(i32, Struct), Counted> = HashMap::new();
    let mut manifests = Box::pin(manifests(table, snapshot));
    while let Some(listed) = manifests.try_next().await? {
        for Listed { file, spec_id, snapshot_id } in listed {
            let before = found.len();
            let counted = found.entry((spec_id, file.partition().clone())).or_default();
            let content = match file.content_type() {
                DataContentType::Data => 0,
                DataContentType::PositionDeletes => 1,
                DataContentType::EqualityDeletes => 2,
            };
            if let Some(records) = counted.records.get_mut(content) {
                *records += file.record_count();
            }
            if let Some(files) = counted.files.get_mut(content) {
                *files += 1;
            }
            if content == 0 {
                counted.data_bytes += file.file_size_in_bytes();
            }
            let snapshot = snapshot_id.and_then(|id| metadata.snapshot_by_id(id));
            let updated = snapshot.map(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id()));
            counted.updated = counted.updated.max(updated);
            held.try_grow((found.len() - before) * PARTITION_BYTES)?;
        }
    }
    if found.is_empty() {
        return Ok(RecordBatch::new_empty(schema.clone()));
    }
    let found: Vec<_> = found.into_iter().collect();
    let counts = |of: fn(&Counted) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(found.iter().map(|(_, counted)| count(of(counted)))))
    };
    let partitions = found.iter().map(|((spec_id, partition), _)| (*spec_id, partition));
    let updated = || found.iter().map(|(_, counted)| counted.updated);
    let moments = updated().map(|updated| updated.map(|(ms, _)| ms.saturating_mul(1000)));
    batch(
        schema,
        vec![
            partitions_array(&metadata, partitions, schema.field(0).data_type())?,
            Arc::new(Int32Array::from_iter_values(found.iter().map(|((spec_id, _), _)| *spec_id))),
            counts(|counted| counted.records[0]),
            counts(|counted| counted.files[0]),
            counts(|counted| counted.data_bytes),
            counts(|counted| counted.records[1]),
            counts(|counted| counted.files[1]),
            counts(|counted| counted.records[2]),
            counts(|counted| counted.files[2]),
            Arc::new(moments.collect::<TimestampMicrosecondArray>().with_timezone("+00:00")),
            Arc::new(updated().map(|updated| updated.map(|(_, id)| id)).collect::<Int64Array>()),
        ],
    )
}

//! `$snapshots`, `$history` and `$manifests`.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Int32Array, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::Result;
use iceberg::spec::{ManifestContentType, SnapshotRef, TableMetadata};
use iceberg::table::Table;

use super::{batch, instant, schema};
use crate::external;

/// The type of a snapshot's summary.
fn summary() -> DataType {
    let entries = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Utf8, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

pub(super) fn snapshots_schema() -> SchemaRef {
    schema(&[
        ("committed_at", instant()),
        ("snapshot_id", DataType::Int64),
        ("parent_id", DataType::Int64),
        ("operation", DataType::Utf8),
        ("manifest_list", DataType::Utf8),
        ("summary", summary()),
    ])
}

pub(super) fn history_schema() -> SchemaRef {
    schema(&[
        ("made_current_at", instant()),
        ("snapshot_id", DataType::Int64),
        ("parent_id", DataType::Int64),
        ("is_current_ancestor", DataType::Boolean),
    ])
}

pub(super) fn manifests_schema() -> SchemaRef {
    schema(&[
        ("content", DataType::Int32),
        ("path", DataType::Utf8),
        ("length", DataType::Int64),
        ("partition_spec_id", DataType::Int32),
        ("added_snapshot_id", DataType::Int64),
        ("added_files_count", DataType::Int64),
        ("existing_files_count", DataType::Int64),
        ("deleted_files_count", DataType::Int64),
        ("added_rows_count", DataType::Int64),
        ("existing_rows_count", DataType::Int64),
        ("deleted_rows_count", DataType::Int64),
    ])
}

fn moments(milliseconds: impl Iterator<Item = i64>) -> ArrayRef {
    let micros = milliseconds.map(|ms| ms.saturating_mul(1000));
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("+00:00"))
}

pub(super) fn snapshots(metadata: &TableMetadata, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut all: Vec<&SnapshotRef> = metadata.snapshots().collect();
    all.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    let mut summaries = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for snapshot in &all {
        // The operation has a column of its own, as in Spark.
        let mut properties: Vec<_> = snapshot.summary().additional_properties.iter().collect();
        properties.sort_unstable();
        for (key, value) in properties {
            summaries.keys().append_value(key);
            summaries.values().append_value(value);
        }
        summaries.append(true)?;
    }
    let operation = |snapshot: &&SnapshotRef| snapshot.summary().operation.as_str().to_owned();
    batch(
        schema,
        vec![
            moments(all.iter().map(|snapshot| snapshot.timestamp_ms())),
            Arc::new(Int64Array::from_iter_values(all.iter().map(|snapshot| snapshot.snapshot_id()))),
            Arc::new(all.iter().map(|snapshot| snapshot.parent_snapshot_id()).collect::<Int64Array>()),
            Arc::new(StringArray::from_iter_values(all.iter().map(operation))),
            Arc::new(StringArray::from_iter_values(all.iter().map(|snapshot| snapshot.manifest_list()))),
            Arc::new(summaries.finish()),
        ],
    )
}

pub(super) fn history(metadata: &TableMetadata, schema: &SchemaRef) -> Result<RecordBatch> {
    let log = metadata.history();
    let of = |id| metadata.snapshot_by_id(id);
    let mut ancestors = HashSet::new();
    let mut next = metadata.current_snapshot();
    while let Some(snapshot) = next
        && ancestors.insert(snapshot.snapshot_id())
    {
        next = snapshot.parent_snapshot_id().and_then(of);
    }
    let parent = |id| of(id).and_then(|snapshot| snapshot.parent_snapshot_id());
    batch(
        schema,
        vec![
            moments(log.iter().map(|entry| entry.timestamp_ms())),
            Arc::new(Int64Array::from_iter_values(log.iter().map(|entry| entry.snapshot_id))),
            Arc::new(log.iter().map(|entry| parent(entry.snapshot_id)).collect::<Int64Array>()),
            Arc::new(
                log.iter()
                    .map(|entry| Some(ancestors.contains(&entry.snapshot_id)))
                    .collect::<BooleanArray>(),
            ),
        ],
    )
}

pub(super) async fn manifests(
    table: &Table,
    snapshot: Option<SnapshotRef>,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let Some(snapshot) = snapshot else { return Ok(RecordBatch::new_empty(schema.clone())) };
    let list = table.manifest_list_reader(&snapshot).load().await.map_err(external)?;
    let all = list.entries();
    let files = |count: fn(&iceberg::spec::ManifestFile) -> Option<u32>| -> ArrayRef {
        Arc::new(all.iter().map(|manifest| count(manifest).map(i64::from)).collect::<Int64Array>())
    };
    let rows = |count: fn(&iceberg::spec::ManifestFile) -> Option<u64>| -> ArrayRef {
        let count = |manifest| count(manifest).and_then(|count| i64::try_from(count).ok());
        Arc::new(all.iter().map(count).collect::<Int64Array>())
    };
    let content = |content| match content {
        ManifestContentType::Data => 0,
        ManifestContentType::Deletes => 1,
    };
    batch(
        schema,
        vec![
            Arc::new(Int32Array::from_iter_values(all.iter().map(|manifest| content(manifest.content)))),
            Arc::new(StringArray::from_iter_values(all.iter().map(|manifest| &manifest.manifest_path))),
            Arc::new(Int64Array::from_iter_values(all.iter().map(|manifest| manifest.manifest_length))),
            Arc::new(Int32Array::from_iter_values(all.iter().map(|manifest| manifest.partition_spec_id))),
            Arc::new(Int64Array::from_iter_values(all.iter().map(|manifest| manifest.added_snapshot_id))),
            files(|manifest| manifest.added_files_count),
            files(|manifest| manifest.existing_files_count),
            files(|manifest| manifest.deleted_files_count),
            rows(|manifest| manifest.added_rows_count),
            rows(|manifest| manifest.existing_rows_count),
            rows(|manifest| manifest.deleted_rows_count),
        ],
    )
}

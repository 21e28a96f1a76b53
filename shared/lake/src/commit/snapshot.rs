//! A snapshot upon a base.

use iceberg::spec::{FormatVersion, Snapshot, Summary, TableMetadata};

use crate::env::Env;

/// The snapshot `id` that comes next in `base`, with its manifest list and, in format version 3, the first id of its rows and
/// how many ids they take.
pub(super) fn snapshot_upon(
    base: &TableMetadata,
    id: i64,
    schema_id: i32,
    parent: Option<i64>,
    (list, rows): (String, Option<(u64, u64)>),
    summary: Summary,
    now_ms: i64,
) -> Snapshot {
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(base.next_sequence_number())
        .with_timestamp_ms(time_upon(base, now_ms))
        .with_manifest_list(list)
        .with_summary(summary)
        .with_schema_id(schema_id);
    match rows {
        Some((first, count)) if base.format_version() == FormatVersion::V3 => {
            snapshot.with_row_range(first, count).build()
        }
        _ => snapshot.build(),
    }
}

/// The time of a change to `base`: never before what is there, since readers refuse a log that goes back in time.
pub(super) fn time_upon(base: &TableMetadata, now_ms: i64) -> i64 {
    let last_in_log = base.history().last().map_or(i64::MIN, |entry| entry.timestamp_ms);
    now_ms.max(base.last_updated_ms()).max(last_in_log)
}

/// An id that no snapshot of the table has.
pub(super) fn new_id(metadata: &TableMetadata, env: &Env) -> i64 {
    loop {
        let id = env.snapshot_id();
        if id > 0 && metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

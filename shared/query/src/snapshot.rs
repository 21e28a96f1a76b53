//! Which state of a table is read.
//!
//! In: a table's metadata, and a moment, a snapshot's id, a branch or a tag. Out: a snapshot. Refused: states that the table never
//! had or has no more.

use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::error::DataFusionError;
use iceberg::spec::{SnapshotRef, TableMetadata};

/// What stands behind `FOR ... AS OF`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Microseconds since 1970.
    Timestamp(i64),
    Snapshot(i64),
    /// A branch or a tag.
    Reference(String),
}

/// The snapshot of the table `name` at `version`.
pub(crate) fn find<'a>(
    metadata: &'a TableMetadata,
    name: &str,
    version: &Version,
) -> Result<&'a SnapshotRef> {
    let of_id = |id: i64| match metadata.snapshot_by_id(id) {
        Some(snapshot) => Ok(snapshot),
        None => plan_err!("the table {name} has no snapshot {id} (any more)"),
    };
    match version {
        Version::Snapshot(id) => of_id(*id),
        Version::Reference(reference) => match metadata.snapshot_for_ref(reference) {
            Some(snapshot) => Ok(snapshot),
            None => plan_err!("the table {name} has no branch or tag {reference}"),
        },
        Version::Timestamp(micros) => {
            let until = |ms: i64| ms.saturating_mul(1000) <= *micros;
            let log = metadata.history();
            match log.iter().rev().find(|entry| until(entry.timestamp_ms())) {
                Some(entry) => of_id(entry.snapshot_id),
                None => {
                    let oldest = log.first().map_or_else(
                        || "it has none".to_owned(),
                        |entry| {
                            format!("the oldest is of {}", utc(entry.timestamp_ms().saturating_mul(1000)))
                        },
                    );
                    plan_err!("the table {name} has no snapshot of {} or before: {oldest}", utc(*micros))
                }
            }
        }
    }
}

/// Microseconds since 1970 as text.
fn utc(micros: i64) -> String {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("+00:00".into()))
        .cast_to(&datafusion::arrow::datatypes::DataType::Utf8)
        .map_or_else(|_: DataFusionError| micros.to_string(), |text| text.to_string())
}

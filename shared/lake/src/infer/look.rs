//! Objects -> the schema of what they hold, from a look at a part of each.

use records::unpack::Options;
use std::sync::Arc;
use tokio::time::Instant;

use iceberg::spec::Schema;
use iceberg::{Error, ErrorKind, Result};

use super::Inference;
use crate::job::Limits;
use crate::objects::{FoundObject, Records};
use crate::task::{self, Stop};

/// Of all objects that a schema is inferred from, so much content is looked at, an equal part of each.
const INFERRED_BYTES: u64 = 256 * 1024 * 1024;
/// The least of one object.
const MIN_INFERRED_BYTES: u64 = 64 * 1024;

/// What a look at some objects has told.
pub(crate) struct Inferred {
    /// A schema for the records that were looked at; None if there were none.
    pub(crate) schema: Option<Schema>,
    /// The objects whose storage failed.
    pub(crate) failed: Vec<(usize, Error)>,
    /// Whether there was no time for some of the objects.
    pub(crate) cut_short: bool,
}

/// Looks at a part of each of `objects`, until `until`: at [`INFERRED_BYTES`] of content, and beyond that until there is
/// a record.
///
/// # Errors
/// No schema can be made: a defect.
pub(crate) async fn infer(
    objects: Vec<Arc<FoundObject>>,
    limits: Limits,
    unpack: &Options,
    until: Instant,
) -> Result<Inferred> {
    let ((waiting, stop), unpack) = (task::waiting(), unpack.clone());
    let mut work = task::spawn_blocking(move || {
        let share = INFERRED_BYTES.checked_div(objects.len() as u64).unwrap_or(0).max(MIN_INFERRED_BYTES);
        let mut inference = Inference::default();
        let mut failed = Vec::new();
        for object in objects {
            let at = object.at;
            let observed = observe(object, limits, &unpack, share, &mut inference, &stop);
            if stop.is_stopped() {
                break;
            }
            if let Err(error) = observed {
                failed.push((at, error));
            }
        }
        let cut_short = stop.is_stopped();
        inference.schema().map(|schema| Inferred { schema, failed, cut_short })
    });
    let looked = match tokio::time::timeout_at(until, &mut work).await {
        Ok(looked) => looked,
        Err(_) => {
            // What it has seen by now must do.
            drop(waiting);
            work.await
        }
    };
    looked.map_err(|error| Error::new(ErrorKind::Unexpected, "inference ended early").with_source(error))?
}

/// The error is the storage's.
fn observe(
    object: Arc<FoundObject>,
    limits: Limits,
    unpack: &Options,
    share_bytes: u64,
    inference: &mut Inference,
    stop: &Stop,
) -> Result<()> {
    let mut records = Records::open(object, limits, unpack, stop)?;
    while !stop.is_stopped() && (records.bytes_read() < share_bytes || !inference.has_observed()) {
        // What is refused makes no column.
        let goes_on = records.next(|_, record| {
            if let Ok(text) = record {
                inference.observe(text);
            }
            Ok::<_, Error>(())
        })?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::objects::testing::{bomb, found, limits};

    #[tokio::test]
    async fn inference_ends_in_time_with_what_it_has_seen() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { decompressed_bytes: u64::MAX, ..limits() };
        let bomb = bomb();
        let objects = (0..4).map(|at| found(folder.path(), at, &bomb, 0)).collect();
        let started = Instant::now();
        let inferred =
            infer(objects, limits, &Options::default(), started + Duration::from_millis(300)).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let schema = inferred.schema.unwrap();
        assert!(schema.field_by_name("text").is_some() && inferred.failed.is_empty());
    }
}

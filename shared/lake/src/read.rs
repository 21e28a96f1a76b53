//! Objects -> rows and rejections, on a thread of their own.
//!
//! In: objects that exist. Out: [`Step`]s through a short channel, in the order of the objects and of their records.
//! Fetching, decoding and writing thus go on at the same time, and none of them runs ahead of the others by more than
//! the channel holds. The thread ends soon after whoever takes the steps has gone away.

use arrow_array::RecordBatch;
use iceberg::{Error, Result};
use tokio::sync::mpsc;

use crate::decode::RowDecoder;
use crate::job::{Limits, Rejected};
use crate::objects::{Closed, End, Origin, Pass, Record, Refused, Sink};
use crate::quarantine::Rejection;
use crate::task::{self, Waiting};

/// Steps that the reader may be ahead of the writer. A batch is a step.
const STEPS_AHEAD: usize = 2;
/// Rows of a batch at most, however short they are.
const BATCH_ROWS: usize = 64 * 1024;

/// What reading gives, one after the other.
pub(crate) enum Step {
    /// Rows of one or several objects; an error is a defect.
    Rows(Result<RecordBatch>),
    /// A record is refused.
    Rejected(Rejection),
    /// Object `at` was read to its end. Its last rows may still come.
    Finished { at: usize, rows: u64, rejected: Rejected },
    /// The storage failed on object `at`. If the pass is `spoiled`, some of the object's rows or rejections have gone out,
    /// and only further failures follow: those of the objects that are still to come.
    Failed { at: usize, error: Error, spoiled: bool },
    /// There was no time for object `.0`.
    NotReached(usize),
}

/// The steps of a reader, which goes on while they are held.
pub(crate) struct Steps {
    steps: mpsc::Receiver<Step>,
    _waiting: Waiting,
}

impl Steps {
    /// The next step; None at the end.
    pub(crate) async fn next(&mut self) -> Option<Step> {
        self.steps.recv().await
    }
}

/// Reads the objects of `pass` into `decoder`'s batches.
pub(crate) fn rows(pass: Pass, mut decoder: RowDecoder) -> Steps {
    let (sender, steps) = mpsc::channel(STEPS_AHEAD);
    let (waiting, stop) = task::waiting();
    let limits = pass.limits;
    decoder.set_row_bytes(limits.row_bytes);
    task::spawn_blocking(move || {
        let mut rows = Rows { decoder, limits, sender, source: None, rows: 0, rejected: Rejected::new() };
        // A closed channel means that nobody wants the rest.
        let _ = pass.run(&mut rows, &stop).and_then(|()| rows.flush());
    });
    Steps { steps, _waiting: waiting }
}

/// Decodes records.
struct Rows {
    decoder: RowDecoder,
    limits: Limits,
    sender: mpsc::Sender<Step>,
    /// The source whose records come, and what was found in it so far.
    source: Option<usize>,
    rows: u64,
    rejected: Rejected,
}

impl Sink for Rows {
    fn record(&mut self, origin: &Origin, record: Record<'_>) -> std::result::Result<(), Closed> {
        if self.source != Some(origin.source()) {
            self.source = Some(origin.source());
            let Origin::Object { object, .. } = origin;
            self.decoder.set_file_name(&object.object.uri);
        }
        let decoded = record.and_then(|text| {
            let refused = |refusal| Refused { refusal, bytes: Some(text), keep_object: false };
            self.decoder.push(text).map_err(refused)
        });
        match decoded {
            Ok(()) => self.rows += 1,
            Err(Refused { refusal, bytes, keep_object }) => {
                *self.rejected.entry(refusal.reason).or_default() += 1;
                let (origin, bytes) = (origin.clone(), bytes.map(<[u8]>::to_vec));
                self.send(Step::Rejected(Rejection { origin, refusal, bytes, keep_object }))?;
            }
        }
        if self.decoder.is_full(self.limits.batch_bytes) || self.decoder.rows() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn end(&mut self, at: usize, end: End) -> std::result::Result<(), Closed> {
        let (rows, rejected) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.rejected));
        self.send(match end {
            End::Read => Step::Finished { at, rows, rejected },
            End::Failed(error) => Step::Failed { at, error, spoiled: false },
            End::Spoiled(error) => Step::Failed { at, error, spoiled: true },
            End::NotReached => Step::NotReached(at),
        })
    }
}

impl Rows {
    fn flush(&mut self) -> std::result::Result<(), Closed> {
        if self.decoder.rows() == 0 {
            return Ok(());
        }
        let batch = self.decoder.finish();
        self.send(Step::Rows(batch))
    }

    fn send(&self, step: Step) -> std::result::Result<(), Closed> {
        self.sender.blocking_send(step).map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::time::Instant;

    use iceberg::io::FileIOBuilder;
    use iceberg::spec::{NestedField, PrimitiveType, Schema};

    use super::*;
    use crate::infer::infer;
    use crate::objects::testing::{found, limits};
    use crate::objects::{PassTime, count_records};
    use crate::storage::{S3Config, storage_factory};

    fn decoder() -> RowDecoder {
        let column = NestedField::optional(1, "n", PrimitiveType::Long.into());
        let schema = Schema::builder().with_fields([column.into()]).build().unwrap();
        RowDecoder::new(&schema, "1970-01-01T00:00:00Z").unwrap()
    }

    /// A runtime waits for its threads when it ends.
    #[test]
    fn nothing_goes_on_when_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        // One record without an end: there is no frame and no step at which the reader could look up.
        let mut endless = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        endless.write_all(b"{\"text\": \"").unwrap();
        (0..500).for_each(|_| endless.write_all(&[b'x'; 1 << 20]).unwrap());
        let endless = endless.finish().unwrap();
        for task in ["infer", "count", "rows"] {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let object = found(folder.path(), 0, &endless, 0);
            runtime.block_on(async {
                let wait = Duration::from_millis(50);
                let end = Instant::now() + Duration::from_secs(600);
                match task {
                    "infer" => drop(tokio::time::timeout(wait, infer(vec![object], limits(), end)).await),
                    "count" => {
                        let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
                        let counting = count_records(&file_io, &object.object, limits());
                        drop(tokio::time::timeout(wait, counting).await);
                    }
                    _ => {
                        let time = PassTime { begin_until: end, cut_off: end };
                        let steps = rows(Pass { objects: vec![object], limits: limits(), time }, decoder());
                        tokio::time::sleep(wait).await;
                        drop(steps);
                    }
                }
            });
            let started = Instant::now();
            drop(runtime);
            assert!(started.elapsed() < Duration::from_secs(5), "{task}: {:?}", started.elapsed());
        }
    }
}

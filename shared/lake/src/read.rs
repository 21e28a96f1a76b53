//! Objects -> rows and rejections, on a thread of their own.
//!
//! In: objects that exist. Out: [`Step`]s through a short channel, in the order of the objects and of their records.
//! Fetching, decoding and writing thus go on at the same time, and none of them runs ahead of the others by more than
//! the channel holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use iceberg::io::{FileIO, InputFile};
use iceberg::spec::Schema;
use iceberg::{Error, ErrorKind, Result};
use records::frame::{Frame, Framer};
use records::rejection::{Reason, Refusal};
use records::scan::Fault;
use tokio::sync::mpsc;

use crate::decode::RowDecoder;
use crate::failpoint::failpoint;
use crate::firehose_errors::ErrorLines;
use crate::infer::Inference;
use crate::job::{Limits, Rejected, SourceObject};
use crate::quarantine::Rejection;
use crate::source::{Failure, ObjectReader, content, damage};

/// Steps that the reader may be ahead of the writer. A batch is a step.
const STEPS_AHEAD: usize = 2;
/// Rows of a batch at most, however short they are.
const BATCH_ROWS: usize = 64 * 1024;
/// What must have been read before the time that an object takes can be told from its size.
const SAMPLE_BYTES: u64 = 1024 * 1024;
/// Frames between two looks at the clock.
const FRAMES_PER_LOOK: u64 = 64;

const TOO_LATE: &str = "the time of the invocation is not enough to read the object to its end; give the function a \
    longer time-out, or more memory, which makes it faster";

/// The time for reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadingTime {
    /// No object is begun that is not expected to be at its end by then.
    pub(crate) begin_until: Instant,
    /// An object that is not at its end by then is cut off, and all that was read before is in vain: the files hold some
    /// of its rows. Later than `begin_until`, for objects that take longer than expected.
    pub(crate) cut_off: Instant,
}

/// An object to read.
pub(crate) struct Reading {
    /// Its index in the invocation.
    pub(crate) at: usize,
    pub(crate) object: SourceObject,
    /// Its bytes, as they were when their number was asked for.
    pub(crate) input: Arc<InputFile>,
    pub(crate) size_bytes: u64,
}

/// What reading gives, one after the other.
pub(crate) enum Step {
    /// Rows of one or several objects; an error is a defect.
    Rows(Result<RecordBatch>),
    /// A record of object `.0` is refused.
    Rejected(usize, Rejection),
    /// Object `at` was read to its end. Its last rows may still come.
    Finished { at: usize, rows: u64, rejected: Rejected },
    /// The storage failed on object `.0`; nothing follows.
    Failed(usize, Error),
    /// There was no time for object `.0`.
    NotReached(usize),
}

/// Reads `readings` into `decoder`'s batches. Objects for which the time will not be enough, by what it took to read the
/// ones before, are not begun; one that is cut off has failed.
pub(crate) fn rows(
    readings: Vec<Reading>,
    mut decoder: RowDecoder,
    limits: Limits,
    time: ReadingTime,
) -> mpsc::Receiver<Step> {
    let (sender, receiver) = mpsc::channel(STEPS_AHEAD);
    let runtime = tokio::runtime::Handle::current();
    decoder.set_row_bytes(limits.row_bytes);
    tokio::task::spawn_blocking(move || {
        let _within = runtime.enter();
        // A closed channel means that nobody wants the rest.
        let _ = Reader { decoder, limits, time, sender }.run(readings);
    });
    receiver
}

struct Reader {
    decoder: RowDecoder,
    limits: Limits,
    time: ReadingTime,
    sender: mpsc::Sender<Step>,
}

/// The writer has gone away.
struct Closed;

impl Reader {
    fn run(mut self, readings: Vec<Reading>) -> std::result::Result<(), Closed> {
        let started = Instant::now();
        let mut bytes_read = 0;
        let fetch = |reading: Reading| {
            let raw = ObjectReader::open(reading.input.clone(), reading.size_bytes);
            (reading, raw)
        };
        let mut readings = readings.into_iter();
        let mut ahead = readings.next().map(fetch);
        while let Some((reading, raw)) = ahead.take() {
            let left = self.time.begin_until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.send(Step::NotReached(reading.at))?;
                for reading in readings.by_ref() {
                    self.send(Step::NotReached(reading.at))?;
                }
                break;
            }
            // Most objects are small: the next one comes while this one is read.
            ahead = readings.next().map(fetch);
            let needed = match bytes_read {
                ..SAMPLE_BYTES => Duration::ZERO,
                bytes => started.elapsed().mul_f64(reading.size_bytes as f64 / bytes as f64),
            };
            if needed > left {
                self.send(Step::NotReached(reading.at))?;
                continue;
            }
            self.decoder.set_file_name(&reading.object.uri);
            if let Err(error) = self.read(&reading, raw)? {
                return self.send(Step::Failed(reading.at, error));
            }
            bytes_read += reading.size_bytes;
        }
        self.flush()
    }

    /// One object. The inner error is the storage's.
    fn read(&mut self, reading: &Reading, raw: ObjectReader) -> std::result::Result<Result<()>, Closed> {
        let at = reading.at;
        let mut counts = Counts::default();
        let content = Content::open(raw, reading, self.limits)
            .and_then(|content| failpoint("after get").map(|()| content).map_err(Interrupted::Storage));
        let damage = match content {
            Ok(mut content) => match self.read_frames(reading, &mut content, &mut counts)? {
                Ok(()) => None,
                Err(Interrupted::Storage(error)) => return Ok(Err(error)),
                Err(Interrupted::Damage(refusal)) => Some((refusal, content.framer.bytes_read())),
            },
            Err(Interrupted::Storage(error)) => return Ok(Err(error)),
            Err(Interrupted::Damage(refusal)) => Some((refusal, 0)),
        };
        if let Some((refusal, offset)) = damage {
            self.reject(at, &mut counts, refusal, offset, None)?;
        }
        self.send(Step::Finished { at, rows: counts.rows, rejected: counts.rejected })?;
        Ok(Ok(()))
    }

    /// The records of one object, as far as it can be read.
    fn read_frames(
        &mut self,
        reading: &Reading,
        content: &mut Content,
        counts: &mut Counts,
    ) -> std::result::Result<std::result::Result<(), Interrupted>, Closed> {
        let at = reading.at;
        let mut error_lines = ErrorLines::of(&reading.object);
        let mut frames: u64 = 0;
        loop {
            frames += 1;
            if frames.is_multiple_of(FRAMES_PER_LOOK) && Instant::now() >= self.time.cut_off {
                return Ok(Err(Interrupted::Storage(Error::new(ErrorKind::Unexpected, TOO_LATE))));
            }
            match content.next_frame() {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(Frame::Record { offset, text })) => {
                    let record = match &mut error_lines {
                        None => Ok(text),
                        Some(lines) => lines.record(text, counts.next_row()),
                    };
                    let pushed = record
                        .and_then(|record| self.decoder.push(record).map_err(|refusal| (refusal, record)));
                    match pushed {
                        Ok(()) => {
                            counts.rows += 1;
                            if let Err(error) = failpoint("mid decode") {
                                return Ok(Err(Interrupted::Storage(error)));
                            }
                        }
                        Err((refusal, bytes)) => self.reject(at, counts, refusal, offset, Some(bytes))?,
                    }
                }
                Ok(Some(Frame::Broken { offset, text, fault })) => {
                    let refusal = match fault {
                        Fault::Incomplete => {
                            Refusal::new(Reason::Truncated, "the object ends in the middle of this record")
                        }
                        fault => Refusal::new(Reason::InvalidJson, fault.describe(text)),
                    };
                    self.reject(at, counts, refusal, offset, Some(text))?;
                }
                Ok(Some(Frame::TooLarge { offset, length })) => {
                    let what = format!("the record is {length} bytes long");
                    self.reject(at, counts, Refusal::new(Reason::RecordTooLarge, what), offset, None)?;
                }
                Err(Interrupted::Damage(refusal)) => {
                    let (offset, rest) = content.framer.remainder();
                    if !rest.trim_ascii().is_empty() {
                        let what = "the object is damaged in the middle of this record";
                        self.reject(at, counts, Refusal::new(Reason::Truncated, what), offset, Some(rest))?;
                    }
                    return Ok(Err(Interrupted::Damage(refusal)));
                }
                Err(interrupted) => return Ok(Err(interrupted)),
            }
            if self.decoder.is_full(self.limits.batch_bytes) || self.decoder.rows() >= BATCH_ROWS {
                self.flush()?;
            }
        }
    }

    fn reject(
        &mut self,
        at: usize,
        counts: &mut Counts,
        refusal: Refusal,
        offset: u64,
        bytes: Option<&[u8]>,
    ) -> std::result::Result<(), Closed> {
        let row = counts.next_row();
        *counts.rejected.entry(refusal.reason).or_default() += 1;
        self.send(Step::Rejected(at, Rejection { refusal, offset, row, bytes: bytes.map(<[u8]>::to_vec) }))
    }

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

/// What was found in an object so far.
#[derive(Default)]
struct Counts {
    rows: u64,
    rejected: Rejected,
}

impl Counts {
    /// Which record of the object comes next, from 1.
    fn next_row(&self) -> u64 {
        self.rows + self.rejected.values().sum::<u64>() + 1
    }
}

/// The schema of all `readings`, if they hold any record, and the objects whose storage failed.
///
/// # Errors
/// No schema can be made: a defect.
pub(crate) async fn infer(
    readings: Vec<Reading>,
    limits: Limits,
) -> Result<(Option<Schema>, Vec<(usize, Error)>)> {
    let runtime = tokio::runtime::Handle::current();
    let task = tokio::task::spawn_blocking(move || {
        let _within = runtime.enter();
        let mut inference = Inference::default();
        let mut failed = Vec::new();
        for reading in readings {
            if let Err(Interrupted::Storage(error)) = observe(&reading, limits, &mut inference) {
                failed.push((reading.at, error));
            }
        }
        inference.schema().map(|schema| (schema, failed))
    });
    task.await
        .map_err(|error| Error::new(ErrorKind::Unexpected, "inference ended early").with_source(error))?
}

fn observe(
    reading: &Reading,
    limits: Limits,
    inference: &mut Inference,
) -> std::result::Result<(), Interrupted> {
    let raw = ObjectReader::open(reading.input.clone(), reading.size_bytes);
    let mut content = Content::open(raw, reading, limits)?;
    let mut error_lines = ErrorLines::of(&reading.object);
    while let Some(frame) = content.next_frame()? {
        if let Frame::Record { text, .. } = frame {
            match &mut error_lines {
                None => inference.observe(text),
                // Neither the id nor what is refused makes a column.
                Some(lines) => lines.record(text, 0).map_or((), |record| inference.observe(record)),
            }
        }
    }
    Ok(())
}

/// How many records `object` has, as an append finds them: those that become rows and those that it rejects.
///
/// # Errors
/// The storage's. Damage is no error: it is one rejection, as it is to an append.
pub async fn count_records(file_io: &FileIO, object: &SourceObject, limits: Limits) -> Result<u64> {
    let input = Arc::new(file_io.new_input(&object.uri)?);
    let size_bytes = input.metadata().await?.size;
    let reading = Reading { at: 0, object: object.clone(), input, size_bytes };
    let runtime = tokio::runtime::Handle::current();
    let task = tokio::task::spawn_blocking(move || {
        let _within = runtime.enter();
        count(&reading, limits)
    });
    task.await
        .map_err(|error| Error::new(ErrorKind::Unexpected, "counting ended early").with_source(error))?
}

/// Counts what [`Reader::read`] would send, step by step.
fn count(reading: &Reading, limits: Limits) -> Result<u64> {
    let mut records = 0;
    let raw = ObjectReader::open(reading.input.clone(), reading.size_bytes);
    let mut content = match Content::open(raw, reading, limits) {
        Ok(content) => content,
        Err(Interrupted::Storage(error)) => return Err(error),
        Err(Interrupted::Damage(_)) => return Ok(1),
    };
    loop {
        match content.next_frame() {
            Ok(None) => return Ok(records),
            Ok(Some(_)) => records += 1,
            Err(Interrupted::Storage(error)) => return Err(error),
            Err(Interrupted::Damage(_)) => {
                // The record that is cut off, if there is one, and what cannot be read behind it.
                let (_, rest) = content.framer.remainder();
                return Ok(records + u64::from(!rest.trim_ascii().is_empty()) + 1);
            }
        }
    }
}

/// The frames of one object.
struct Content {
    framer: Framer<Box<dyn std::io::Read + Send>>,
    failure: Failure,
}

/// Why an object cannot be read further.
enum Interrupted {
    /// The storage failed: later it may not.
    Storage(Error),
    /// The content is damaged, or not of a known kind.
    Damage(Refusal),
}

impl Content {
    fn open(raw: ObjectReader, reading: &Reading, limits: Limits) -> std::result::Result<Self, Interrupted> {
        let failure = raw.failure();
        match content(raw, &reading.object.key, limits.decompressed_bytes, limits.window_bytes) {
            Ok(content) => Ok(Self { framer: Framer::new(content, limits.record_bytes), failure }),
            Err(error) => Err(interrupted(&failure, &error)),
        }
    }

    fn next_frame(&mut self) -> std::result::Result<Option<Frame<'_>>, Interrupted> {
        self.framer.next_frame().map_err(|error| interrupted(&self.failure, &error))
    }
}

fn interrupted(failure: &Failure, error: &std::io::Error) -> Interrupted {
    match failure.take() {
        Some(error) => Interrupted::Storage(error),
        None => Interrupted::Damage(damage(error)),
    }
}

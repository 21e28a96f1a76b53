//! Objects -> rows and rejections, on a thread of their own.
//!
//! In: objects that exist. Out: [`Step`]s through a short channel, in the order of the objects and of their records.
//! Fetching, decoding and writing thus go on at the same time, and none of them runs ahead of the others by more than
//! the channel holds. The thread ends soon after whoever takes the steps has gone away.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use iceberg::io::{FileIO, InputFile};
use iceberg::spec::Schema;
use iceberg::{Error, ErrorKind, Result};
use records::frame::{Frame, Framer};
use records::rejection::{Reason, Refusal};
use records::scan::Fault;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::decode::RowDecoder;
use crate::failpoint::failpoint;
use crate::firehose_errors::ErrorLines;
use crate::infer::Inference;
use crate::job::{Limits, Rejected, SourceObject};
use crate::quarantine::Rejection;
use crate::source::{Failure, ObjectReader, content, damage};
use crate::task::{self, Stop, Waiting};

/// Steps that the reader may be ahead of the writer. A batch is a step.
const STEPS_AHEAD: usize = 2;
/// Rows of a batch at most, however short they are.
const BATCH_ROWS: usize = 64 * 1024;
/// What must have been read before the time that an object takes can be told from its size.
const SAMPLE_BYTES: u64 = 1024 * 1024;
/// Of all objects that a schema is inferred from, so much content is looked at, an equal part of each.
const INFERRED_BYTES: u64 = 256 * 1024 * 1024;
/// The least of one object.
const MIN_INFERRED_BYTES: u64 = 64 * 1024;
/// Read at a time where only failures are looked for.
const LOOK_BYTES: usize = 256 * 1024;
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

/// Reads `readings` into `decoder`'s batches. Objects for which the time will not be enough, by what it took to read the
/// ones before, are not begun; one that is cut off has failed.
pub(crate) fn rows(
    readings: Vec<Reading>,
    mut decoder: RowDecoder,
    limits: Limits,
    time: ReadingTime,
) -> Steps {
    let (sender, steps) = mpsc::channel(STEPS_AHEAD);
    let (waiting, stop) = task::waiting();
    decoder.set_row_bytes(limits.row_bytes);
    task::spawn_blocking(move || {
        // A closed channel means that nobody wants the rest.
        let _ = Reader { decoder, limits, time, sender, stop }.run(readings);
    });
    Steps { steps, _waiting: waiting }
}

struct Reader {
    decoder: RowDecoder,
    limits: Limits,
    time: ReadingTime,
    sender: mpsc::Sender<Step>,
    stop: Stop,
}

/// The writer has gone away.
struct Closed;

impl Reader {
    fn run(mut self, readings: Vec<Reading>) -> std::result::Result<(), Closed> {
        let started = Instant::now();
        let mut bytes_read = 0;
        let stop = self.stop.clone();
        let fetch = |reading: Reading| {
            let raw = ObjectReader::open(reading.input.clone(), reading.size_bytes, &stop);
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
            let mut counts = Counts::default();
            if let Err(error) = self.read(&reading, raw, &mut counts)? {
                let spoiled = counts.next_row() > 1;
                self.send(Step::Failed { at: reading.at, error, spoiled })?;
                if spoiled {
                    return self.look_for_failures(ahead.into_iter().chain(readings.map(fetch)));
                }
                continue;
            }
            bytes_read += reading.size_bytes;
        }
        self.flush()
    }

    /// Fetches what is left of a pass that is in vain, so that the next one does without all objects that fail. Half of
    /// the time is for the next one.
    fn look_for_failures(
        &self,
        rest: impl Iterator<Item = (Reading, ObjectReader)>,
    ) -> std::result::Result<(), Closed> {
        let until = Instant::now() + self.time.begin_until.saturating_duration_since(Instant::now()) / 2;
        let mut buffer = vec![0; LOOK_BYTES];
        for (reading, mut raw) in rest {
            let failure = raw.failure();
            while Instant::now() < until && matches!(raw.read(&mut buffer), Ok(1..)) {}
            if self.stop.is_stopped() {
                return Err(Closed);
            }
            if let Some(error) = failure.take() {
                self.send(Step::Failed { at: reading.at, error, spoiled: true })?;
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }

    /// One object. The inner error is the storage's.
    fn read(
        &mut self,
        reading: &Reading,
        raw: ObjectReader,
        counts: &mut Counts,
    ) -> std::result::Result<Result<()>, Closed> {
        let at = reading.at;
        let content = Content::open(raw, reading, self.limits, &self.stop)
            .and_then(|content| failpoint("after get").map(|()| content).map_err(Interrupted::Storage));
        let damage = match content {
            Ok(mut content) => match self.read_frames(reading, &mut content, counts)? {
                Ok(()) => None,
                Err(Interrupted::Storage(error)) => return Ok(Err(error)),
                Err(Interrupted::Damage(refusal)) => Some((refusal, content.framer.bytes_read())),
            },
            Err(Interrupted::Storage(error)) => return Ok(Err(error)),
            Err(Interrupted::Damage(refusal)) => Some((refusal, 0)),
        };
        if let Some((refusal, offset)) = damage {
            self.reject(at, counts, refusal, offset, None)?;
        }
        self.send(Step::Finished { at, rows: counts.rows, rejected: std::mem::take(&mut counts.rejected) })?;
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
                    // Of something else than JSON text, white space between the pieces is part too.
                    let keep_object = counts.next_row() == 1 || !is_text(text);
                    self.reject_piece(at, counts, refusal, offset, Some(text), keep_object)?;
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
        self.reject_piece(at, counts, refusal, offset, bytes, false)
    }

    /// The same; `keep_object` has the object kept too.
    fn reject_piece(
        &mut self,
        at: usize,
        counts: &mut Counts,
        refusal: Refusal,
        offset: u64,
        bytes: Option<&[u8]>,
        keep_object: bool,
    ) -> std::result::Result<(), Closed> {
        let row = counts.next_row();
        *counts.rejected.entry(refusal.reason).or_default() += 1;
        let bytes = bytes.map(<[u8]>::to_vec);
        self.send(Step::Rejected(at, Rejection { refusal, offset, row, bytes, keep_object }))
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

/// Whether `bytes` are text: UTF-8 without control characters but white space.
fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_control)
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

/// What a look at some objects has told.
pub(crate) struct Inferred {
    /// A schema for the records that were looked at; None if there were none.
    pub(crate) schema: Option<Schema>,
    /// The objects whose storage failed.
    pub(crate) failed: Vec<(usize, Error)>,
    /// Whether there was no time for some of the objects.
    pub(crate) cut_short: bool,
}

/// Looks at a part of each of `readings`, until `until`: at [`INFERRED_BYTES`] of content, and beyond that until there is
/// a record.
///
/// # Errors
/// No schema can be made: a defect.
pub(crate) async fn infer(readings: Vec<Reading>, limits: Limits, until: Instant) -> Result<Inferred> {
    let (waiting, stop) = task::waiting();
    let mut work = task::spawn_blocking(move || {
        let share = INFERRED_BYTES.checked_div(readings.len() as u64).unwrap_or(0).max(MIN_INFERRED_BYTES);
        let mut inference = Inference::default();
        let mut failed = Vec::new();
        for reading in readings {
            let observed = observe(&reading, limits, share, &mut inference, &stop);
            if stop.is_stopped() {
                break;
            }
            if let Err(Interrupted::Storage(error)) = observed {
                failed.push((reading.at, error));
            }
        }
        let cut_short = stop.is_stopped();
        inference.schema().map(|schema| Inferred { schema, failed, cut_short })
    });
    let looked = match tokio::time::timeout_at(until.into(), &mut work).await {
        Ok(looked) => looked,
        Err(_) => {
            // What it has seen by now must do.
            drop(waiting);
            work.await
        }
    };
    looked.map_err(|error| Error::new(ErrorKind::Unexpected, "inference ended early").with_source(error))?
}

fn observe(
    reading: &Reading,
    limits: Limits,
    share_bytes: u64,
    inference: &mut Inference,
    stop: &Stop,
) -> std::result::Result<(), Interrupted> {
    let raw = ObjectReader::open(reading.input.clone(), reading.size_bytes, stop);
    let mut content = Content::open(raw, reading, limits, stop)?;
    let mut error_lines = ErrorLines::of(&reading.object);
    while !stop.is_stopped()
        && (content.framer.bytes_read() < share_bytes || !inference.has_observed())
        && let Some(frame) = content.next_frame()?
    {
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
    let (_waiting, stop) = task::waiting();
    let work = task::spawn_blocking(move || count(&reading, limits, &stop));
    work.await
        .map_err(|error| Error::new(ErrorKind::Unexpected, "counting ended early").with_source(error))?
}

/// Counts what [`Reader::read`] would send, step by step.
fn count(reading: &Reading, limits: Limits, stop: &Stop) -> Result<u64> {
    let mut records = 0;
    let raw = ObjectReader::open(reading.input.clone(), reading.size_bytes, stop);
    let mut content = match Content::open(raw, reading, limits, stop) {
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
    framer: Framer<Box<dyn Read + Send>>,
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
    /// Ends with `stop`, whatever there is to decompress.
    fn open(
        raw: ObjectReader,
        reading: &Reading,
        limits: Limits,
        stop: &Stop,
    ) -> std::result::Result<Self, Interrupted> {
        let failure = raw.failure();
        match content(raw, &reading.object.key, limits.decompressed_bytes, limits.window_bytes) {
            Ok(content) => {
                let wanted = Wanted { content, stop: stop.clone(), failure: failure.clone() };
                Ok(Self { framer: Framer::new(Box::new(wanted), limits.record_bytes), failure })
            }
            Err(error) => Err(interrupted(&failure, &error)),
        }
    }

    fn next_frame(&mut self) -> std::result::Result<Option<Frame<'_>>, Interrupted> {
        self.framer.next_frame().map_err(|error| interrupted(&self.failure, &error))
    }
}

/// Content, as long as someone waits for it.
struct Wanted<R> {
    content: R,
    stop: Stop,
    failure: Failure,
}

impl<R: Read> Read for Wanted<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.stop.is_stopped() {
            let error = Error::new(ErrorKind::Unexpected, "nobody waits for the object any longer");
            return Err(self.failure.set(error));
        }
        self.content.read(out)
    }
}

fn interrupted(failure: &Failure, error: &std::io::Error) -> Interrupted {
    match failure.take() {
        Some(error) => Interrupted::Storage(error),
        None => Interrupted::Damage(damage(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use iceberg::io::FileIOBuilder;
    use iceberg::spec::{NestedField, PrimitiveType};

    use super::*;
    use crate::storage::{S3Config, storage_factory};
    use crate::token::Token;

    fn limits() -> Limits {
        Limits::for_memory(128 << 20)
    }

    /// `content` as an object, which is said to be so much longer than it is.
    fn reading(folder: &Path, at: usize, content: &[u8], missing_bytes: u64) -> Reading {
        let path = folder.join(at.to_string());
        std::fs::write(&path, content).unwrap();
        let (uri, key) = (path.to_str().unwrap().to_owned(), at.to_string());
        let input =
            FileIOBuilder::new(storage_factory(&S3Config::default())).build().new_input(&uri).unwrap();
        let token = Token::new("raw", &key, "1");
        let object = SourceObject { uri, bucket: "raw".into(), key, version_id: None, token };
        let size_bytes = content.len() as u64 + missing_bytes;
        Reading { at, object, input: Arc::new(input), size_bytes }
    }

    fn decoder() -> RowDecoder {
        let column = NestedField::optional(1, "n", PrimitiveType::Long.into());
        let schema = Schema::builder().with_fields([column.into()]).build().unwrap();
        RowDecoder::new(&schema, "1970-01-01T00:00:00Z").unwrap()
    }

    /// A gigabyte of rows in a small file.
    fn bomb() -> Vec<u8> {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..100_000).for_each(|_| member.write_all(b"{\"n\": 1, \"text\": \"some text\"}\n").unwrap());
        member.finish().unwrap().repeat(300)
    }

    /// Which objects failed in the pass, and whether that spoiled it; which were read to their ends.
    async fn failures(readings: Vec<Reading>) -> (Vec<(usize, bool)>, Vec<usize>) {
        let end = Instant::now() + Duration::from_secs(60);
        let mut steps = rows(readings, decoder(), limits(), ReadingTime { begin_until: end, cut_off: end });
        let (mut failed, mut finished) = (Vec::new(), Vec::new());
        while let Some(step) = steps.next().await {
            match step {
                Step::Failed { at, spoiled, .. } => failed.push((at, spoiled)),
                Step::Finished { at, .. } => finished.push(at),
                _ => {}
            }
        }
        (failed, finished)
    }

    #[tokio::test]
    async fn one_pass_finds_all_objects_that_fail() {
        let folder = tempfile::tempdir().unwrap();
        // More than two ranges, and what the third one lacks.
        let long = "{\"n\": 1}\n".repeat(1 << 20);
        let torn = |at| reading(folder.path(), at, long.as_bytes(), 1 << 20);
        let good = |at| reading(folder.path(), at, b"{\"n\": 1}\n", 0);
        let readings = vec![good(0), torn(1), good(2), torn(3), torn(4), good(5)];
        assert_eq!(failures(readings).await, (vec![(1, true), (3, true), (4, true)], vec![0]));
    }

    #[tokio::test]
    async fn an_object_that_gives_nothing_spoils_no_pass() {
        let folder = tempfile::tempdir().unwrap();
        let good = |at| reading(folder.path(), at, b"{\"n\": 1}\n", 0);
        let empty = |at| reading(folder.path(), at, b"", 10);
        let readings = vec![empty(0), good(1), empty(2), good(3)];
        assert_eq!(failures(readings).await, (vec![(0, false), (2, false)], vec![1, 3]));
    }

    #[tokio::test]
    async fn inference_ends_in_time_with_what_it_has_seen() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { decompressed_bytes: u64::MAX, ..limits() };
        let bomb = bomb();
        let readings = (0..4).map(|at| reading(folder.path(), at, &bomb, 0)).collect();
        let started = Instant::now();
        let inferred = infer(readings, limits, started + Duration::from_millis(300)).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let schema = inferred.schema.unwrap();
        assert!(schema.field_by_name("text").is_some() && inferred.failed.is_empty());
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
            let reading = reading(folder.path(), 0, &endless, 0);
            runtime.block_on(async {
                let wait = Duration::from_millis(50);
                let end = Instant::now() + Duration::from_secs(600);
                match task {
                    "infer" => drop(tokio::time::timeout(wait, infer(vec![reading], limits(), end)).await),
                    "count" => {
                        let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
                        let counting = count_records(&file_io, &reading.object, limits());
                        drop(tokio::time::timeout(wait, counting).await);
                    }
                    _ => {
                        let time = ReadingTime { begin_until: end, cut_off: end };
                        let steps = rows(vec![reading], decoder(), limits(), time);
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

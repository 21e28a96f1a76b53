//! Many objects -> their records, one object after the other, in the time that there is.
//!
//! In: objects that are there. Out, to a [`Sink`]: the records of each, and how each ends. Objects for which the time will
//! not be enough, by what it took to read the ones before, are not begun; one that is cut off has failed. The next object
//! is fetched while one is read.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use iceberg::{Error, ErrorKind};
use records::unpack::Options;
use tokio::time::Instant;

use super::fetch::ObjectReader;
use super::find::FoundObject;
use super::origin::Origin;
use super::records::{Record, Records};
use crate::failpoint::failpoint;
use crate::job::Limits;
use crate::task::Stop;

/// What must have been read before the time that an object takes can be told from its size.
const SAMPLE_BYTES: u64 = 1024 * 1024;
/// Read at a time where only failures are looked for.
const LOOK_BYTES: usize = 256 * 1024;
/// Records between two looks at the clock.
const RECORDS_PER_LOOK: u64 = 64;

const TOO_LATE: &str = "the time of the invocation is not enough to read the object to its end; give the function a \
    longer time-out, or more memory, which makes it faster";

/// The time for reading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassTime {
    /// No object is begun that is not expected to be at its end by then.
    pub(crate) begin_until: Instant,
    /// An object that is not at its end by then is cut off, and all that was read before is in vain: some of its records
    /// have gone out. Later than `begin_until`, for objects that take longer than expected.
    pub(crate) cut_off: Instant,
}

/// Takes what a pass gives, on the thread of the pass.
pub(crate) trait Sink {
    /// A record, or what is refused.
    ///
    /// # Errors
    /// Nobody wants the rest.
    fn record(&mut self, origin: &Origin, record: Record<'_>) -> Result<(), Closed>;

    /// An object that `text` begins with, of which nothing is checked, if it needs no second look: its length, or None if it
    /// is to be given as any other record. `is_event` says of its text whether it is an event as it stands.
    ///
    /// # Errors
    /// The same.
    fn plain(
        &mut self,
        _origin: &Origin,
        _text: &[u8],
        _is_event: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Option<usize>, Closed> {
        Ok(None)
    }

    /// The source `source` has ended so. One that gives no record ends without a [`Sink::record`].
    ///
    /// # Errors
    /// Nobody wants the rest.
    fn end(&mut self, source: usize, end: End) -> Result<(), Closed>;
}

/// Nobody wants the rest of a pass.
#[derive(Debug)]
pub(crate) struct Closed;

/// How a source ends.
#[derive(Debug)]
pub(crate) enum End {
    /// It was read to its end.
    Read {
        /// Messages in it that hold no record on purpose.
        dropped: u64,
    },
    /// The storage failed before a record went out.
    Failed(Error),
    /// The storage failed, and some of its records have gone out. Only further ones that fail so follow, of those that
    /// were still to come.
    Spoiled(Error),
    /// There was no time for it.
    NotReached,
}

/// One pass over some objects.
pub(crate) struct Pass {
    pub(crate) objects: Vec<Arc<FoundObject>>,
    pub(crate) limits: Limits,
    pub(crate) unpack: Options,
    pub(crate) time: PassTime,
}

impl Pass {
    /// Hands all records to `sink`, or those up to `stop`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The sink's.
    pub(crate) fn run(self, sink: &mut impl Sink, stop: &Stop) -> Result<(), Closed> {
        let started = Instant::now();
        let mut bytes_read = 0;
        let fetch = |object: Arc<FoundObject>| {
            let raw = ObjectReader::open(object.input.clone(), object.size_bytes, stop);
            (object, raw)
        };
        let mut objects = self.objects.into_iter();
        let mut ahead = objects.next().map(fetch);
        while let Some((object, raw)) = ahead.take() {
            let left = self.time.begin_until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                sink.end(object.at, End::NotReached)?;
                for object in objects.by_ref() {
                    sink.end(object.at, End::NotReached)?;
                }
                break;
            }
            // Most objects are small: the next one comes while this one is read.
            ahead = objects.next().map(fetch);
            let needed = match bytes_read {
                ..SAMPLE_BYTES => Duration::ZERO,
                bytes => started.elapsed().mul_f64(object.size_bytes as f64 / bytes as f64),
            };
            if needed > left {
                sink.end(object.at, End::NotReached)?;
                continue;
            }
            let (at, size_bytes) = (object.at, object.size_bytes);
            let records = Records::from_raw(object, raw, self.limits, &self.unpack, stop)
                .and_then(|records| failpoint("after get").map(|()| records));
            let end = match records {
                Ok(records) => read(records, self.time.cut_off, sink)?,
                Err(error) => End::Failed(error),
            };
            let spoiled = matches!(end, End::Spoiled(_));
            bytes_read += if matches!(end, End::Read { .. }) { size_bytes } else { 0 };
            sink.end(at, end)?;
            if spoiled {
                let rest = ahead.into_iter().chain(objects.map(fetch));
                return look_for_failures(rest, self.time.begin_until, sink, stop);
            }
        }
        Ok(())
    }
}

/// Why the records of an object end early.
enum Halt {
    Failed(Error),
    Closed,
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The records of one object, as far as it can be read until `cut_off`.
fn read(mut records: Records, cut_off: Instant, sink: &mut impl Sink) -> Result<End, Closed> {
    let mut looks = 0;
    loop {
        let is_time_to_look = (records.count() + 1) / RECORDS_PER_LOOK > looks;
        looks = (records.count() + 1) / RECORDS_PER_LOOK;
        let next = match is_time_to_look && Instant::now() >= cut_off {
            true => Err(Halt::Failed(Error::new(ErrorKind::Unexpected, TOO_LATE))),
            false => next(&mut records, sink),
        };
        let error = match next {
            Ok(true) => continue,
            Ok(false) => return Ok(End::Read { dropped: records.dropped() }),
            Err(Halt::Closed) => return Err(Closed),
            Err(Halt::Failed(error)) => error,
        };
        return Ok(if records.count() > 0 { End::Spoiled(error) } else { End::Failed(error) });
    }
}

/// The records of the next value of the object. False at its end.
fn next(records: &mut Records, sink: &mut impl Sink) -> Result<bool, Halt> {
    let taken = records.next_plain(|origin, text, is_event| sink.plain(origin, text, is_event));
    if taken.map_err(|Closed| Halt::Closed)? {
        failpoint("mid decode")?;
        return Ok(true);
    }
    records.next(|origin, record| {
        let is_whole = record.is_ok();
        sink.record(origin, record).map_err(|Closed| Halt::Closed)?;
        if is_whole {
            failpoint("mid decode")?;
        }
        Ok(())
    })
}

/// Fetches what is left of a pass that is in vain, so that the next one does without all objects that fail. Half of
/// the time until `begin_until` is for the next one.
fn look_for_failures(
    rest: impl Iterator<Item = (Arc<FoundObject>, ObjectReader)>,
    begin_until: Instant,
    sink: &mut impl Sink,
    stop: &Stop,
) -> Result<(), Closed> {
    let until = Instant::now() + begin_until.saturating_duration_since(Instant::now()) / 2;
    let mut buffer = vec![0; LOOK_BYTES];
    for (object, mut raw) in rest {
        let failure = raw.failure();
        while Instant::now() < until && matches!(raw.read(&mut buffer), Ok(1..)) {}
        if stop.is_stopped() {
            return Err(Closed);
        }
        if let Some(error) = failure.take() {
            sink.end(object.at, End::Spoiled(error))?;
        }
        if Instant::now() >= until {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, limits};
    use super::*;
    use crate::task;

    /// How each source ended: by index, and whether its storage failed and spoiled the pass.
    #[derive(Default)]
    struct Ends {
        failed: Vec<(usize, bool)>,
        read: Vec<usize>,
    }

    impl Sink for Ends {
        fn record(&mut self, _: &Origin, _: Record<'_>) -> Result<(), Closed> {
            Ok(())
        }

        fn end(&mut self, source: usize, end: End) -> Result<(), Closed> {
            match end {
                End::Read { .. } => self.read.push(source),
                End::Failed(_) => self.failed.push((source, false)),
                End::Spoiled(_) => self.failed.push((source, true)),
                End::NotReached => {}
            }
            Ok(())
        }
    }

    /// Which objects failed in the pass, and whether that spoiled it; which were read to their ends.
    async fn failures(objects: Vec<Arc<FoundObject>>) -> (Vec<(usize, bool)>, Vec<usize>) {
        let end = Instant::now() + Duration::from_secs(60);
        let time = PassTime { begin_until: end, cut_off: end };
        let pass = Pass { objects, limits: limits(), unpack: Options::default(), time };
        let (_waiting, stop) = task::waiting();
        let reading = task::spawn_blocking(move || {
            let mut ends = Ends::default();
            pass.run(&mut ends, &stop).unwrap();
            (ends.failed, ends.read)
        });
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn one_pass_finds_all_objects_that_fail() {
        let folder = tempfile::tempdir().unwrap();
        // More than two ranges, and what the third one lacks.
        let long = "{\"n\": 1}\n".repeat(1 << 20);
        let torn = |at| found(folder.path(), at, long.as_bytes(), 1 << 20);
        let good = |at| found(folder.path(), at, b"{\"n\": 1}\n", 0);
        let objects = vec![good(0), torn(1), good(2), torn(3), torn(4), good(5)];
        assert_eq!(failures(objects).await, (vec![(1, true), (3, true), (4, true)], vec![0]));
    }

    #[tokio::test]
    async fn an_object_that_gives_nothing_spoils_no_pass() {
        let folder = tempfile::tempdir().unwrap();
        let good = |at| found(folder.path(), at, b"{\"n\": 1}\n", 0);
        let empty = |at| found(folder.path(), at, b"", 10);
        let objects = vec![empty(0), good(1), empty(2), good(3)];
        assert_eq!(failures(objects).await, (vec![(0, false), (2, false)], vec![1, 3]));
    }
}

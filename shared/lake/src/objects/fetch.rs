//! A stored object -> its bytes, as a stream.
//!
//! In: an object and its size. Out: a [`Read`] over its bytes, for a thread that may block. The object is fetched in
//! ranges ahead of the reader and never held whole. Refused: a range that is short. The storage's error is kept aside, so
//! that it is not taken for damage.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use iceberg::ErrorKind;
use iceberg::io::{FileRead, InputFile};
use tokio::sync::{mpsc, oneshot};

use crate::task::{self, Stop};

/// Bytes of one range request.
const RANGE_BYTES: u64 = 4 * 1024 * 1024;
/// Ranges fetched ahead of the reader, at the same time: one connection to S3 is slower than the reader, two are not.
const RANGES_AHEAD: usize = 2;

/// What a range request gives, once it does.
type Fetched = oneshot::Receiver<iceberg::Result<Bytes>>;

/// A stored object while it is fetched.
pub(super) struct ObjectReader {
    ranges: mpsc::Receiver<Fetched>,
    current: Bytes,
    /// Bytes of the object that are still to come.
    left: u64,
    failure: Failure,
}

/// The storage's error, kept for whoever handed the reader on.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<Mutex<Option<iceberg::Error>>>);

impl Failure {
    /// The error, if it was the storage that failed.
    pub(super) fn take(&self) -> Option<iceberg::Error> {
        self.lock().take()
    }

    /// Keeps `error`, and gives back what stands for it.
    pub(super) fn set(&self, error: iceberg::Error) -> io::Error {
        let message = error.to_string();
        *self.lock() = Some(error);
        io::Error::other(message)
    }

    fn lock(&self) -> MutexGuard<'_, Option<iceberg::Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ObjectReader {
    /// Starts to fetch `size_bytes` bytes of `input`, until `stop`. Must be called within a tokio runtime.
    pub(super) fn open(input: Arc<InputFile>, size_bytes: u64, stop: &Stop) -> Self {
        let (sender, ranges) = mpsc::channel(RANGES_AHEAD);
        let stop = stop.clone();
        task::spawn(async move {
            let fetching = async {
                match input.reader().await {
                    Ok(object) => fetch(object.into(), size_bytes, &sender, &stop).await,
                    Err(error) => {
                        let (result, range) = oneshot::channel();
                        // A reader that has gone away has no use for the error.
                        let _ = (result.send(Err(error)), sender.send(range).await);
                    }
                }
            };
            stop.run(fetching).await;
        });
        Self { ranges, current: Bytes::new(), left: size_bytes, failure: Failure::default() }
    }

    pub(super) fn failure(&self) -> Failure {
        self.failure.clone()
    }
}

/// Asks for one range after the other, each when there is room for what it gives, until the reader has gone away.
async fn fetch(object: Arc<dyn FileRead>, size_bytes: u64, sender: &mpsc::Sender<Fetched>, stop: &Stop) {
    let mut start = 0;
    while start < size_bytes {
        let Ok(room) = sender.reserve().await else { return };
        let end = size_bytes.min(start + RANGE_BYTES);
        let (mut result, range) = oneshot::channel();
        let (object, stop) = (object.clone(), stop.clone());
        task::spawn(async move {
            tokio::select! {
                // A reader that has gone away has no use for the range.
                () = result.closed() => {}
                fetched = stop.run(fetch_range(object.as_ref(), start..end)) => {
                    drop(fetched.map(|fetched| result.send(fetched)));
                }
            }
        });
        room.send(range);
        start = end;
    }
}

async fn fetch_range(object: &dyn FileRead, range: Range<u64>) -> iceberg::Result<Bytes> {
    let bytes = object.read(range.clone()).await?;
    // A gap would look like damaged content, and the rest of the object would be given up for ever.
    if bytes.len() as u64 != range.end - range.start {
        let what = format!("the storage gave {} bytes for the range {range:?}", bytes.len());
        return Err(iceberg::Error::new(ErrorKind::Unexpected, what));
    }
    Ok(bytes)
}

impl Read for ObjectReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let error = match self.ranges.blocking_recv().map(oneshot::Receiver::blocking_recv) {
                None if self.left == 0 => return Ok(0),
                None | Some(Err(_)) => {
                    iceberg::Error::new(ErrorKind::Unexpected, "fetching the object ended early")
                }
                Some(Ok(Ok(range))) => {
                    self.left = self.left.saturating_sub(range.len() as u64);
                    self.current = range;
                    continue;
                }
                Some(Ok(Err(error))) => error,
            };
            return Err(self.failure.set(error));
        }
        let count = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use iceberg::io::{FileIOBuilder, LocalFsStorageFactory};

    use super::*;

    /// A reader of `size_bytes` that is sent `ranges`, and then nothing more.
    fn sent(ranges: &[&[u8]], size_bytes: u64) -> ObjectReader {
        let (sender, receiver) = mpsc::channel(ranges.len().max(1));
        for range in ranges {
            let (result, fetched) = oneshot::channel();
            result.send(Ok(Bytes::copy_from_slice(range))).unwrap();
            sender.try_send(fetched).unwrap();
        }
        ObjectReader {
            ranges: receiver,
            current: Bytes::new(),
            left: size_bytes,
            failure: Failure::default(),
        }
    }

    /// An object that ends early would be taken for one that is whole, or damaged for ever.
    #[test]
    fn a_fetch_that_ends_early_is_a_failure_of_the_storage() {
        let object: Vec<u8> = (0..200).collect();
        for cut in 0..=object.len() {
            let mut reader = sent(&[&object[..cut / 2], &object[cut / 2..cut]], object.len() as u64);
            let failure = reader.failure();
            let mut read = Vec::new();
            let end = reader.read_to_end(&mut read);
            assert_eq!(read, object[..cut]);
            assert_eq!(end.is_ok(), cut == object.len(), "{cut} bytes");
            assert_eq!(failure.take().is_some(), cut < object.len(), "{cut} bytes");
        }
    }

    /// A storage that gives one byte less of each range but the first.
    struct Short;

    #[async_trait::async_trait]
    impl FileRead for Short {
        async fn read(&self, range: Range<u64>) -> iceberg::Result<Bytes> {
            let missing = u64::from(range.start > 0);
            Ok(Bytes::from(vec![b' '; (range.end - range.start - missing) as usize]))
        }
    }

    /// Counts the ranges that are on their way, none of which ever comes.
    #[derive(Debug, Default)]
    struct Slow(Arc<AtomicUsize>);

    struct OnItsWay(Arc<AtomicUsize>);

    impl Drop for OnItsWay {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[async_trait::async_trait]
    impl FileRead for Slow {
        async fn read(&self, _: Range<u64>) -> iceberg::Result<Bytes> {
            self.0.fetch_add(1, Ordering::SeqCst);
            let _on_its_way = OnItsWay(self.0.clone());
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_takes_its_ranges_along() {
        let object = Arc::new(Slow::default());
        let (on_their_way, (sender, ranges)) = (object.0.clone(), mpsc::channel(RANGES_AHEAD));
        let (_waiting, stop) = task::waiting();
        let fetching = tokio::spawn(async move { fetch(object, 9 * RANGE_BYTES, &sender, &stop).await });
        let wait_for = async |count| {
            let reached = async {
                while on_their_way.load(Ordering::SeqCst) != count {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
        };
        wait_for(RANGES_AHEAD).await;
        drop(ranges);
        wait_for(0).await;
        fetching.await.unwrap();
    }

    /// A thread that waits for a range is not seen to go away: it waits.
    #[tokio::test]
    async fn ranges_end_with_whoever_waits_for_the_reader() {
        let object = Arc::new(Slow::default());
        let (sender, ranges) = mpsc::channel(RANGES_AHEAD);
        let (waiting, stop) = task::waiting();
        let fetching = tokio::spawn(async move {
            stop.run(fetch(object, 9 * RANGE_BYTES, &sender, &stop)).await;
        });
        let (left, failure) = (9 * RANGE_BYTES, Failure::default());
        let mut reader = ObjectReader { ranges, current: Bytes::new(), left, failure };
        let reading = tokio::task::spawn_blocking(move || reader.read(&mut [0; 10]).is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(waiting);
        let ended = async { (reading.await.unwrap(), fetching.await.unwrap()) };
        assert_eq!(tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap(), (true, ()));
    }

    #[tokio::test]
    async fn a_range_that_is_short_is_a_failure_of_the_storage() {
        let (sender, mut ranges) = mpsc::channel(3);
        let (_waiting, stop) = task::waiting();
        fetch(Arc::new(Short), 2 * RANGE_BYTES, &sender, &stop).await;
        assert_eq!(ranges.recv().await.unwrap().await.unwrap().unwrap().len() as u64, RANGE_BYTES);
        let error = ranges.recv().await.unwrap().await.unwrap().unwrap_err();
        assert_eq!(error.message(), "the storage gave 4194303 bytes for the range 4194304..8388608");
    }

    #[test]
    fn an_object_is_read_whole_or_not_at_all() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _within = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("object");
        // Three ranges, the last one short.
        let object: Vec<u8> = (0..2 * RANGE_BYTES + 1000).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &object).unwrap();
        let file_io = FileIOBuilder::new(Arc::new(LocalFsStorageFactory)).build();
        let input = Arc::new(file_io.new_input(path.to_str().unwrap()).unwrap());
        let size_bytes = object.len() as u64;
        let (_waiting, stop) = task::waiting();
        // As it was when its size was asked for; or cut since then; or gone.
        for (claimed, whole) in [(size_bytes, true), (size_bytes + 1, false), (3 * RANGE_BYTES, false)] {
            let mut reader = ObjectReader::open(input.clone(), claimed, &stop);
            let failure = reader.failure();
            let mut read = Vec::new();
            assert_eq!(reader.read_to_end(&mut read).is_ok(), whole, "{claimed} bytes");
            assert!(object.starts_with(&read) && (read.len() == object.len()) == whole);
            assert_eq!(failure.take().is_some(), !whole);
        }
        std::fs::remove_file(&path).unwrap();
        let mut reader = ObjectReader::open(input, size_bytes, &stop);
        let failure = reader.failure();
        assert!(reader.read(&mut [0; 10]).is_err());
        assert!(failure.take().is_some());
    }
}

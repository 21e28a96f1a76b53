//! Content that comes from a thread of its own.
//!
//! In: a reader. Out: a reader of the same content and the same error, which is read while the one before is worked on. At most
//! [`CHUNKS`] chunks wait.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::task;

const CHUNK_BYTES: usize = 256 * 1024;
const CHUNKS: usize = 2;

/// What comes from the thread: a chunk, of which only the end has no bytes, or why there is no more.
type Chunk = io::Result<Vec<u8>>;

/// A reader that runs ahead.
pub(super) struct Ahead {
    chunks: Receiver<Chunk>,
    /// Chunks that were read, to be filled again.
    spare: Sender<Vec<u8>>,
    current: Vec<u8>,
    /// Bytes of it that were given out.
    given: usize,
    is_at_end: bool,
}

impl Ahead {
    /// Starts to read `content`, until its end, its error, or until nobody waits. Must be called within a tokio runtime.
    pub(super) fn new(content: impl Read + Send + 'static) -> Self {
        let (sender, chunks) = sync_channel(CHUNKS);
        let (spare, empty) = channel();
        task::spawn_blocking(move || run(content, &sender, &empty));
        Self { chunks, spare, current: Vec::new(), given: 0, is_at_end: false }
    }
}

fn run(mut content: impl Read, sender: &SyncSender<Chunk>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut chunk = empty.try_recv().unwrap_or_default();
        chunk.resize(CHUNK_BYTES, 0);
        let (length, failure) = fill(&mut content, &mut chunk);
        chunk.truncate(length);
        let is_last = length == 0 || failure.is_some();
        // The error comes after what was read before it. Nobody listens: nobody wants the rest.
        let whole = (length > 0 || failure.is_none()).then_some(Ok(chunk));
        for part in whole.into_iter().chain(failure.map(Err)) {
            if sender.send(part).is_err() {
                return;
            }
        }
        if is_last {
            return;
        }
    }
}

/// Bytes that `chunk` has of `content` now: all that it holds, but at the end or before an error.
fn fill(content: &mut impl Read, chunk: &mut [u8]) -> (usize, Option<io::Error>) {
    let mut length = 0;
    while let Some(room) = chunk.get_mut(length..).filter(|room| !room.is_empty()) {
        match content.read(room) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Some(error)),
        }
    }
    (length, None)
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.current.len() && !self.is_at_end {
            let ended_early = || io::Error::other("reading the content ended early");
            let chunk = self.chunks.recv().map_err(|_| ended_early())??;
            self.is_at_end = chunk.is_empty();
            self.given = 0;
            // Nobody takes it when the thread has ended.
            let _ = self.spare.send(std::mem::replace(&mut self.current, chunk));
        }
        let count = self.current.get(self.given..).unwrap_or_default().read(out)?;
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives `left` bytes in odd pieces, and then fails or ends. Which byte it is depends on how many are left.
    struct Odd {
        left: usize,
        fails: bool,
    }

    impl Read for Odd {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if self.left == 0 && self.fails {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "torn"));
            }
            let count = self.left.min(out.len()).min(self.left % 70_000 + 1);
            for byte in &mut out[..count] {
                *byte = self.left as u8;
                self.left -= 1;
            }
            Ok(count)
        }
    }

    #[test]
    fn it_is_the_same_content_with_the_same_end() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _within = runtime.enter();
        for left in [0, 1, CHUNK_BYTES, 5 * CHUNK_BYTES + 17] {
            for fails in [false, true] {
                let (mut plain, mut ahead) = (Vec::new(), Vec::new());
                let end = Odd { left, fails }.read_to_end(&mut plain).map_err(|error| error.kind());
                let mut reader = Ahead::new(Odd { left, fails });
                assert_eq!(reader.read_to_end(&mut ahead).map_err(|error| error.kind()), end);
                assert!(ahead == plain, "{left} bytes");
                assert_eq!(reader.read(&mut [0; 8]).is_ok(), !fails, "the end is the end");
            }
        }
    }

    #[test]
    fn the_thread_ends_with_its_reader() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let within = runtime.enter();
        let mut reader = Ahead::new(io::repeat(b'x'));
        assert_eq!(reader.read(&mut [0; 8]).unwrap(), 8);
        drop(reader);
        drop(within);
        // Waits for its threads.
        drop(runtime);
    }
}

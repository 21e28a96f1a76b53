//! An input file -> records for Firehose.
//!
//! In: a file of Firehose events or of data, plain or compressed; a pipe or standard input is copied to one first. Out: its records, put into a [`Firehose`]. Which of
//! both it is, is told by its first JSON value. What is no JSON is put as it stands: to refuse it is transform's part.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use lake::Digest;
use records::frame::{Frame, Framer};
use records::unpack::{Options, Piece, Unpacker};

use super::firehose::Firehose;

const SAMPLE: &[u8] = include_bytes!("../../../events/clickstream.json.gz");
/// When the sample arrives: two seconds before an hour ends, so that its rows lie in two partitions.
const SAMPLE_ARRIVAL_MILLIS: i64 = 1_767_232_798_000;

/// Longest record that is read. What a function's payload of 6 MB cannot carry in base64 need not be read whole.
const MAX_RECORD_BYTES: usize = 4 << 20;
const MAX_DECOMPRESSED_BYTES: u64 = 1 << 40;
/// What `zstd` itself reads without `--long`.
const MAX_WINDOW_BYTES: u64 = 128 << 20;

/// The input that is standard input.
pub(super) const STDIN: &str = "-";
/// The name of whatever comes through a pipe: that of the pipe itself may be another one each time.
const PIPE: &str = "stdin";

/// A file of events.
#[derive(Debug)]
pub(super) struct Input {
    name: String,
    source: Source,
    size_bytes: u64,
    digest: [u8; 32],
    arrival_millis: i64,
}

#[derive(Debug)]
enum Source {
    Sample,
    File(File),
}

impl Input {
    pub(super) fn sample() -> Self {
        Self {
            name: "clickstream.json.gz".to_owned(),
            source: Source::Sample,
            size_bytes: SAMPLE.len() as u64,
            digest: Digest::of(SAMPLE).bytes(),
            arrival_millis: SAMPLE_ARRIVAL_MILLIS,
        }
    }

    /// Reads the file at `path` once for its digest: its name and content tell its objects from others'. What can be read
    /// only once is copied to a file without a name in `folder`.
    pub(super) fn open(path: &Path, folder: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        if path == Path::new(STDIN) {
            return Self::spool(io::stdin().lock(), folder).context("cannot read standard input");
        }
        let mut file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        let metadata = file.metadata().with_context(|| format!("cannot open {shown}"))?;
        if metadata.is_dir() {
            bail!("{shown} is no file, but a folder; name the files in it");
        }
        if !metadata.is_file() {
            return Self::spool(file, folder).with_context(|| format!("cannot read {shown}"));
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut digest = Digest::of(&name);
        io::copy(&mut file, &mut digest).with_context(|| format!("cannot read {shown}"))?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
        Ok(Self::new(name, file, metadata.len(), digest, modified))
    }

    fn spool(mut from: impl Read, folder: &Path) -> io::Result<Self> {
        let file = tempfile::tempfile_in(folder)?;
        let mut copy = Copy { file, digest: Digest::of(PIPE) };
        let size_bytes = io::copy(&mut from, &mut copy)?;
        let Copy { mut file, digest } = copy;
        file.rewind()?;
        Ok(Self::new(PIPE.to_owned(), file, size_bytes, digest, SystemTime::now()))
    }

    fn new(name: String, file: File, size_bytes: u64, digest: Digest, modified: SystemTime) -> Self {
        let arrival_seconds = modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            name,
            source: Source::File(file),
            size_bytes,
            digest: digest.bytes(),
            arrival_millis: arrival_seconds as i64 * 1000,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What tells this input from every other one.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// When its first records arrive, in milliseconds since the Unix epoch but to the second: when the file was last
    /// changed.
    pub(super) fn arrival_millis(&self) -> i64 {
        self.arrival_millis
    }

    /// Puts every record into `firehose`. An array that is longer than a record may be is put as its elements.
    pub(super) fn read_into(
        self,
        firehose: &mut Firehose<'_>,
        unpack: &Options,
        progress: &ProgressBar,
    ) -> anyhow::Result<()> {
        let raw: Box<dyn Read + Send> = match self.source {
            Source::Sample => Box::new(Cursor::new(SAMPLE)),
            Source::File(file) => Box::new(file),
        };
        let content =
            lake::content(progress.wrap_read(raw), &self.name, MAX_DECOMPRESSED_BYTES, MAX_WINDOW_BYTES)?;
        let mut framer = Framer::new(content, MAX_RECORD_BYTES * 2).with_elements(unpack.unwrap.as_ref());
        let unpacker = Unpacker::new(MAX_RECORD_BYTES, unpack);
        let mut holds_events = None;
        loop {
            match framer.next_frame() {
                Ok(None) => return Ok(()),
                Ok(Some(Frame::Record { offset, text })) => {
                    let json = std::str::from_utf8(text).unwrap_or_default();
                    if *holds_events.get_or_insert_with(|| lambda::firehose::is_event(json)) {
                        firehose.put_event(offset, json).with_context(|| format!("at byte {offset}"))?;
                    } else if text.len() > MAX_RECORD_BYTES {
                        firehose.refuse(offset, text.len() as u64)?;
                    } else {
                        firehose.put(offset, text)?;
                    }
                }
                // Whoever sends so much at once to Firehose sends its events.
                Ok(Some(Frame::Element { offset, text, fault, beside })) => {
                    let mut put = |piece: Piece<'_>| match piece {
                        Piece::Event(event) | Piece::Refused(event, _) => firehose.put(offset, event),
                        Piece::Dropped => Ok(()),
                    };
                    if fault.is_none() {
                        unpacker.unpack_element(text, beside, &mut put)?;
                    } else if !unpacker.unpack_broken_element(text, beside, &mut put)? {
                        firehose.put(offset, text)?;
                    }
                }
                Ok(Some(Frame::Behind { offset, text })) => firehose.put(offset, text)?,
                Ok(Some(Frame::Broken { offset, text, .. })) => firehose.put(offset, text)?,
                Ok(Some(Frame::TooLarge { offset, length } | Frame::Rest { offset, length })) => {
                    firehose.refuse(offset, length)?;
                }
                Err(error) => {
                    // What was read stands; the record that is cut off is put like any other that is no JSON.
                    let (offset, rest) = framer.remainder();
                    if !rest.trim_ascii().is_empty() {
                        firehose.put(offset, rest)?;
                    }
                    firehose.damaged(&error.to_string());
                    return Ok(());
                }
            }
        }
    }
}

/// A copy that is being made, and its digest.
struct Copy {
    file: File,
    digest: Digest,
}

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

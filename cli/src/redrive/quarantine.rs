//! Quarantine files: where they are, and their lines.
//!
//! In: the folder `errors/quarantine`. Out: its files by table, and of each file the lines one after the other, with the record
//! that can be put back, or the reason why there is none. Refused: what is no line of a quarantine, since a
//! damaged file is nothing to go by.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use lake::quarantine::{FileName, Kept, Line, lines_in};
use records::enrich::{Stamp, enrich};
use records::frame::{Frame, Framer};
use records::rejection::Reason;
use records::unpack::{Identity, Piece, Unpacker};
use uuid::Uuid;

use crate::warehouse::{Folders, files, is_unfinished, local_path};

/// What was rejected of one version of one object.
#[derive(Clone, Debug)]
pub(super) struct QuarantineFile {
    pub(super) path: PathBuf,
    /// Below `errors/quarantine`.
    pub(super) place: String,
    /// What the place says.
    pub(super) name: FileName,
}

/// What is put back of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// One JSON object, or something that holds events.
    pub(super) text: &'a [u8],
    /// Whether it depends on the ceiling for records or on the options, or holds something else than one JSON object: it
    /// must then not be mixed with others.
    pub(super) is_alone: bool,
}

/// How long a record may be, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceiling {
    /// Without a word of the user.
    pub(super) usual: usize,
    /// Now; not less than `usual`.
    pub(super) now: usize,
    /// Most content of an object.
    pub(super) decompressed: u64,
}

/// All quarantine files, in order.
pub(super) fn list(folders: &Folders) -> anyhow::Result<Vec<QuarantineFile>> {
    let folder = folders.root.join("errors/quarantine");
    let paths = files(&folder)?.into_iter().filter(|path| !is_unfinished(path));
    paths.map(|path| QuarantineFile::named(&folder, path)).collect()
}

pub(super) fn by_table(files: Vec<QuarantineFile>) -> BTreeMap<String, Vec<QuarantineFile>> {
    let mut by_table: BTreeMap<String, Vec<QuarantineFile>> = BTreeMap::new();
    for file in files {
        by_table.entry(file.name.table.clone()).or_default().push(file);
    }
    by_table
}

impl QuarantineFile {
    fn named(folder: &Path, path: PathBuf) -> anyhow::Result<Self> {
        let place = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default().to_owned();
        let name = FileName::parse(&place).with_context(|| {
            format!(
                "{} is no file of the quarantine: expected <table>/<bucket>/<key>.<version>.<commit>.jsonl or \
                 .jsonl.gz; move it elsewhere",
                path.display()
            )
        })?;
        Ok(Self { path, place, name })
    }

    /// How many lines it has, as far as it can be read.
    pub(super) fn records(&self) -> u64 {
        let Ok(reader) = self.open() else { return 0 };
        reader.split(b'\n').map_while(Result::ok).count() as u64
    }

    fn open(&self) -> io::Result<Box<dyn io::BufRead>> {
        Ok(lines_in(&self.place, File::open(&self.path)?))
    }

    /// Hands each line to `each`: its text without the newline, what it says, and its record, or why it stays.
    ///
    /// # Errors
    /// The file cannot be read, or has something else in it; whatever `each` says.
    pub(super) fn records_of_lines(
        &self,
        ceiling: Ceiling,
        unpacker: &Unpacker,
        mut each: impl FnMut(&[u8], &Line<'_>, Result<Record<'_>, String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut scratch = Scratch::default();
        self.lines(|number, text, line| {
            let record =
                scratch.record(line, ceiling, unpacker).map_err(|error| self.damaged(number, error))?;
            each(text, line, record)
        })
    }

    /// Hands each line to `each`: its number from 1, its text without the newline, and what it says.
    ///
    /// # Errors
    /// As above.
    pub(super) fn lines(
        &self,
        mut each: impl FnMut(u64, &[u8], &Line<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut reader = self.open().with_context(|| self.cannot_read())?;
        let mut text = Vec::new();
        for number in 1.. {
            text.clear();
            if reader.read_until(b'\n', &mut text).with_context(|| self.cannot_read())? == 0 {
                break;
            }
            let damaged = |error: String| self.damaged(number, error);
            let text = text.strip_suffix(b"\n").ok_or_else(|| damaged("it is cut off".to_owned()))?;
            let line = Line::parse(text).map_err(damaged)?;
            if line.row == 0 {
                return Err(damaged("it does not say which row of the object it is about".to_owned()));
            }
            each(number, text, &line)?;
        }
        Ok(())
    }

    fn damaged(&self, number: u64, what: String) -> anyhow::Error {
        anyhow!(what).context(format!(
            "line {number} of {} is no line of a quarantine; nothing of the file was put back",
            self.path.display()
        ))
    }

    pub(super) fn cannot_read(&self) -> String {
        format!("cannot read {}", self.path.display())
    }
}

/// Used again for every line.
#[derive(Default)]
struct Scratch {
    record: Vec<u8>,
    enriched: Vec<u8>,
}

impl Scratch {
    /// The record of a line, or why it stays where it is. The outer error is a line that is damaged.
    fn record(
        &mut self,
        line: &Line<'_>,
        ceiling: Ceiling,
        unpacker: &Unpacker,
    ) -> Result<Result<Record<'_>, String>, String> {
        let is = |reason: Reason| *line.error_code == *reason.code();
        let copy = match line.decode(&mut self.record)? {
            Kept::Here => None,
            Kept::Copy(copy) if is(Reason::RecordTooLarge) => Some(copy),
            Kept::Copy(copy) => {
                let what = "not a record, but the rest of an object, kept in";
                return Ok(Err(format!("{what} {copy}. {}", line.remedy)));
            }
        };
        if let Some(copy) = copy
            && let Err(why) = take_out(copy, line, ceiling, &mut self.record)
        {
            return Ok(Err(why));
        }
        if is(Reason::InvalidBase64) || is(Reason::InvalidErrorLine) {
            return Ok(Err("not a record, but a wrong line of an error object of Firehose".to_owned()));
        }
        // Only one JSON object is certain to be one record again when it stands among others.
        self.enriched.clear();
        let single = enrich(&self.record, Uuid::nil(), &Stamp::default(), &mut self.enriched);
        if let Err(refusal) = &single
            && !holds_events(&self.record, unpacker)
        {
            return Ok(Err(format!("no JSON object, so no table takes it: {}", refusal.reason)));
        }
        if self.record.len() > ceiling.now {
            return Ok(Err(too_long(ceiling)));
        }
        let is_alone = copy.is_some() || single.is_err() || self.record.len() > ceiling.usual;
        let Some(Identity { id, stamp }) = line.identity() else {
            return Ok(Ok(Record { text: &self.record, is_alone }));
        };
        self.enriched.clear();
        let enriched = unpacker.enrich(&self.record, id, &stamp, &mut self.enriched);
        let text = self.enriched.trim_ascii_end();
        Ok(match enriched {
            Ok(_) => Ok(Record { text, is_alone: true }),
            Err(refusal) => Err(format!("no JSON object, so no table takes it: {}", refusal.reason)),
        })
    }
}

/// Whether `record` holds events and nothing that is refused.
fn holds_events(record: &[u8], unpacker: &Unpacker) -> bool {
    let mut events = 0_u64;
    let unpacked = unpacker.unpack(record, &mut |piece| match piece {
        Piece::Event(text) if text.starts_with(b"{") && std::str::from_utf8(text).is_ok() => {
            events += 1;
            Ok(())
        }
        Piece::Event(_) | Piece::Refused(..) => Err(()),
        Piece::Dropped => Ok(()),
    });
    unpacked.is_ok() && events > 0
}

/// The largest window of a zstd frame that a function of 10,240 MB reads.
const MAX_WINDOW_BYTES: u64 = 1 << 30;

/// Takes the record of a line, which was too long when it was read, out of the copy of its object.
fn take_out(copy: &str, line: &Line<'_>, ceiling: Ceiling, record: &mut Vec<u8>) -> Result<(), String> {
    let unreadable = |error: io::Error| format!("its copy {copy} cannot be read: {error}");
    if lake::holds_failed_records(line.object.split_once("/errors/").map_or("", |(_, key)| key)) {
        return Err(
            "a line of an error object of Firehose, too long for one; it is kept in a copy".to_owned()
        );
    }
    let path = local_path(copy).ok_or_else(|| format!("its copy {copy} is not on this machine"))?;
    let file = File::open(path).map_err(unreadable)?;
    let mut content =
        lake::content(file, &line.object, ceiling.decompressed, MAX_WINDOW_BYTES).map_err(unreadable)?;
    io::copy(&mut content.by_ref().take(line.offset), &mut io::sink()).map_err(unreadable)?;
    match Framer::new(content, ceiling.now).next_frame().map_err(unreadable)? {
        Some(Frame::Record { text, .. }) => {
            record.clear();
            record.extend_from_slice(text);
            Ok(())
        }
        Some(Frame::TooLarge { .. }) => Err(too_long(ceiling)),
        Some(_) | None => Err(format!("no JSON object, so no table takes it: {}", Reason::InvalidJson)),
    }
}

fn too_long(ceiling: Ceiling) -> String {
    format!(
        "longer than the {} bytes that a record may have; --max-record-bytes takes longer ones",
        ceiling.now
    )
}

//! Quarantine files: where they are, and their lines.
//!
//! In: the folder of the quarantine. Out: its files by table, and of each file the lines one after the other, with the record
//! that can be put back, or the reason why there is none. Refused: what is no line of a quarantine, since a
//! damaged file is nothing to go by.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom};
use std::time::SystemTime;

use anyhow::{Context as _, anyhow};
use lake::quarantine::{FileName, Kept, Line, lines_in};
use lake::{Files, Layout};
use records::enrich::{Stamp, enrich};
use records::frame::{Frame, Framer};
use records::rejection::Reason;
use records::unpack::{Identity, Piece, Unpacker};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use uuid::Uuid;

/// What was rejected of one version of one object.
#[derive(Clone, Debug)]
pub(super) struct QuarantineFile {
    pub(super) uri: String,
    /// Below the folder of the quarantine.
    pub(super) place: String,
    pub(super) written: SystemTime,
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
pub(super) async fn list(files: &Files, layout: &Layout) -> anyhow::Result<Vec<QuarantineFile>> {
    let folder = format!("{}/quarantine/", layout.errors);
    let listed = files.sorted(&folder, None).await?.into_iter();
    let listed = listed.filter(|file| !layout.is_unfinished(&file.uri));
    listed.map(|file| QuarantineFile::named(&folder, file.uri, file.modified)).collect()
}

pub(super) fn by_table(files: Vec<QuarantineFile>) -> BTreeMap<String, Vec<QuarantineFile>> {
    let mut by_table: BTreeMap<String, Vec<QuarantineFile>> = BTreeMap::new();
    for file in files {
        by_table.entry(file.name.table.clone()).or_default().push(file);
    }
    by_table
}

impl QuarantineFile {
    fn named(folder: &str, uri: String, written: SystemTime) -> anyhow::Result<Self> {
        let place = uri.strip_prefix(folder).unwrap_or_default().to_owned();
        let name = FileName::parse(&place).with_context(|| {
            format!(
                "{} is no file of the quarantine: expected <table>/<bucket>/<key>.<version>.<commit>.jsonl or \
                 .jsonl.gz; move it elsewhere",
                shown(&uri)
            )
        })?;
        Ok(Self { uri, place, written, name })
    }

    /// How many lines it has, as far as it can be read.
    pub(super) async fn records(&self, files: &Files) -> u64 {
        let Ok(content) = files.open(&self.uri).await else { return 0 };
        lines_in(&self.place, content).split(b'\n').map_while(Result::ok).count() as u64
    }

    /// Its content; None if it is gone: another redrive may have been faster.
    pub(super) async fn open(&self, files: &Files) -> anyhow::Result<Option<File>> {
        files.open_if_there(&self.uri).await.with_context(|| self.cannot_read())
    }

    /// Hands each line to `each`: its text without the newline, what it says, and its record, or why it stays.
    ///
    /// # Errors
    /// The file cannot be read, or has something else in it; whatever `each` says.
    pub(super) fn records_of_lines(
        &self,
        files: &Files,
        content: File,
        ceiling: Ceiling,
        unpacker: &Unpacker,
        mut each: impl FnMut(&[u8], &Line<'_>, Result<Record<'_>, String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut scratch = Scratch { files, copy: None, record: Vec::new(), enriched: Vec::new() };
        self.lines(content, |number, text, line| {
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
        content: File,
        mut each: impl FnMut(u64, &[u8], &Line<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut reader = lines_in(&self.place, content);
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
            shown(&self.uri)
        ))
    }

    pub(super) fn cannot_read(&self) -> String {
        format!("cannot read {}", shown(&self.uri))
    }
}

/// A file for people: the path of one on this machine.
pub(super) fn shown(uri: &str) -> &str {
    uri.strip_prefix("file://").unwrap_or(uri)
}

/// Waits for what a line needs while its file is read. Other tasks go on meanwhile.
pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(work))
}

/// Used again for every line.
struct Scratch<'a> {
    files: &'a Files,
    /// The copy that was opened last.
    copy: Option<(String, File)>,
    record: Vec<u8>,
    enriched: Vec<u8>,
}

impl Scratch<'_> {
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
            && let Err(why) = self.take_out(copy, line, ceiling)
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

    /// Takes the record of a line, which was too long when it was read, out of the copy of its object.
    fn take_out(&mut self, copy: &str, line: &Line<'_>, ceiling: Ceiling) -> Result<(), String> {
        if lake::holds_failed_records(line.object.split_once("/errors/").map_or("", |(_, key)| key)) {
            return Err(
                "a line of an error object of Firehose, too long for one; it is kept in a copy".to_owned()
            );
        }
        let unreadable = |error: io::Error| format!("its copy {copy} cannot be read: {error}");
        let mut file =
            self.open_copy(copy).map_err(|error| format!("its copy {copy} cannot be read: {error}"))?;
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut content =
            lake::content(file, &line.object, ceiling.decompressed, MAX_WINDOW_BYTES).map_err(unreadable)?;
        io::copy(&mut content.by_ref().take(line.offset), &mut io::sink()).map_err(unreadable)?;
        match Framer::new(content, ceiling.now).next_frame().map_err(unreadable)? {
            Some(Frame::Record { text, .. }) => {
                self.record.clear();
                self.record.extend_from_slice(text);
                Ok(())
            }
            Some(Frame::TooLarge { .. }) => Err(too_long(ceiling)),
            Some(_) | None => Err(format!("no JSON object, so no table takes it: {}", Reason::InvalidJson)),
        }
    }

    /// Several lines may be about one copy, which is far away.
    fn open_copy(&mut self, copy: &str) -> anyhow::Result<File> {
        if let Some((_, file)) = self.copy.as_ref().filter(|(uri, _)| uri == copy) {
            return Ok(file.try_clone()?);
        }
        let files = self.files;
        let file = wait(files.open(copy))?;
        self.copy = Some((copy.to_owned(), file.try_clone()?));
        Ok(file)
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

fn too_long(ceiling: Ceiling) -> String {
    format!(
        "longer than the {} bytes that a record may have; --max-record-bytes takes longer ones",
        ceiling.now
    )
}

//! Quarantine files: where they are, and their lines.
//!
//! In: the folder `errors/quarantine`. Out: its files by table, and of each file the lines one after the other, with the record
//! that can be put back, or the reason why there is none. Refused: what is no line of a quarantine, since a
//! damaged file is nothing to go by.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use records::enrich::{Stamp, enrich};
use records::rejection::Reason;
use serde::Deserialize;
use uuid::Uuid;

use crate::warehouse::{Folders, files, is_unfinished};

/// What was rejected of one version of one object.
#[derive(Clone, Debug)]
pub(super) struct QuarantineFile {
    pub(super) path: PathBuf,
    /// Below `errors/quarantine`: `<table>/<bucket>/<key>.<version>.jsonl`.
    pub(super) place: String,
    /// `NAMESPACE.NAME`.
    pub(super) table: String,
    /// Digest of the object's version.
    pub(super) version: String,
}

/// One line of a quarantine file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    error_code: Cow<'a, str>,
    #[serde(borrow)]
    remedy: Cow<'a, str>,
    /// URI of the object.
    #[serde(borrow)]
    pub(super) object: Cow<'a, str>,
    /// Which record of the object: what tells the lines of one file apart.
    pub(super) row: u64,
    raw_data: Option<Cow<'a, str>>,
    raw_object: Option<Cow<'a, str>>,
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
        by_table.entry(file.table.clone()).or_default().push(file);
    }
    by_table
}

impl QuarantineFile {
    fn named(folder: &Path, path: PathBuf) -> anyhow::Result<Self> {
        let place = path.strip_prefix(folder).ok().and_then(Path::to_str).unwrap_or_default().to_owned();
        let table = place.split_once('/').map(|(table, _)| table.to_owned());
        let version = place.strip_suffix(".jsonl").and_then(|name| name.rsplit_once('.'));
        let version = version.map(|(_, version)| version.to_owned());
        let parts = table.zip(version).with_context(|| {
            format!(
                "{} is no file of the quarantine: expected <table>/<bucket>/<key>.<version>.jsonl; move it elsewhere",
                path.display()
            )
        });
        let (table, version) = parts?;
        Ok(Self { path, place, table, version })
    }

    /// How many lines it has, as far as it can be read.
    pub(super) fn records(&self) -> u64 {
        let lines =
            File::open(&self.path).map(|file| BufReader::new(file).split(b'\n').map_while(Result::ok));
        lines.map_or(0, |lines| lines.count() as u64)
    }

    /// Hands each line to `each`: its text without the newline, what it says, and its record, one JSON object of at most
    /// `max_bytes`, or why it stays.
    ///
    /// # Errors
    /// The file cannot be read, or has something else in it; whatever `each` says.
    pub(super) fn lines(
        &self,
        max_bytes: usize,
        mut each: impl FnMut(&[u8], &Line<'_>, Result<&[u8], String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let file = File::open(&self.path).with_context(|| self.cannot_read())?;
        let (mut reader, mut text, mut scratch) = (BufReader::new(file), Vec::new(), Scratch::default());
        for number in 1.. {
            text.clear();
            if reader.read_until(b'\n', &mut text).with_context(|| self.cannot_read())? == 0 {
                break;
            }
            let damaged = |error: anyhow::Error| {
                error.context(format!(
                    "line {number} of {} is no line of a quarantine; nothing of the file was put back",
                    self.path.display()
                ))
            };
            let text = text.strip_suffix(b"\n").ok_or_else(|| damaged(anyhow!("it is cut off")))?;
            let line: Line<'_> = serde_json::from_slice(text).map_err(|error| damaged(error.into()))?;
            let record = scratch.record(&line, max_bytes).map_err(damaged)?;
            each(text, &line, record)?;
        }
        Ok(())
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
    fn record(&mut self, line: &Line<'_>, max_bytes: usize) -> anyhow::Result<Result<&[u8], String>> {
        let Some(data) = &line.raw_data else {
            let copy = line.raw_object.as_deref().context("it has neither rawData nor rawObject")?;
            return Ok(Err(format!(
                "not a record, but the rest of an object, kept in {copy}. {}",
                line.remedy
            )));
        };
        self.record.clear();
        STANDARD.decode_vec(&**data, &mut self.record).context("its rawData is not base64")?;
        if [Reason::InvalidBase64, Reason::InvalidErrorLine].map(Reason::code).contains(&&*line.error_code) {
            return Ok(Err("not a record, but a wrong line of an error object of Firehose".to_owned()));
        }
        // Only one JSON object is certain to be one record again when it stands among others.
        self.enriched.clear();
        if let Err(refusal) = enrich(&self.record, Uuid::nil(), &Stamp::default(), &mut self.enriched) {
            return Ok(Err(format!("no JSON object, so no table takes it: {}", refusal.reason)));
        }
        if self.record.len() > max_bytes {
            return Ok(Err(format!("longer than the {max_bytes} bytes that a record may have")));
        }
        Ok(Ok(&self.record))
    }
}

//! One quarantine file -> a raw object of its records, and then a file of the lines that were put back.
//!
//! In: a quarantine file. Out: [`Lot`]: the object for append, and the lines that stay. After append has taken the object,
//! [`Lot::settle`] moves the lines. Each step leaves all lines in at least one of the two files, and is the same when it is
//! done again:
//!
//! 1. the records go into `raw/redrive/<place>.<digest of the records>.jsonl`;
//! 2. append commits them with the object's token;
//! 3. their lines go into `errors/redriven/<place>`;
//! 4. the quarantine file goes, or keeps the lines that stay.
//!
//! Which records are put back must not depend on the table: after a crash between 2 and 3 other records would make
//! another object, and come in twice. A file of which the table takes nothing is left whole.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use iceberg::spec::TableMetadata;
use lake::{REDRIVEN_PREFIX, RowDecoder};
use sha2::{Digest as _, Sha256};

use super::history::History;
use super::now_millis;
use super::quarantine::QuarantineFile;
use crate::replay::firehose::{DeliveredObject, etag};
use crate::warehouse::{Folders, RAW_BUCKET};
use crate::whole_file::WholeFile;

/// Part of the object's name: enough to tell apart what comes out of one quarantine file over time.
const DIGEST_CHARACTERS: usize = 16;

/// What is put back of a quarantine file.
#[derive(Debug)]
pub(super) struct Lot {
    pub(super) file: QuarantineFile,
    /// The records as an object, if there are any that the table takes.
    pub(super) object: Option<DeliveredObject>,
    /// How many they are.
    pub(super) records: u64,
    /// How many lines stay, and why.
    pub(super) left: BTreeMap<String, u64>,
    max_record_bytes: usize,
}

impl Lot {
    /// Writes the raw object.
    ///
    /// # Errors
    /// The quarantine file is damaged, or the object cannot be written.
    pub(super) fn prepare(
        folders: &Folders,
        file: QuarantineFile,
        metadata: &TableMetadata,
        history: &History,
        max_record_bytes: usize,
    ) -> anyhow::Result<Self> {
        let Some(written) = written(&file)? else { return Ok(Self::nothing(file)) };
        let place = file.place.strip_suffix(".jsonl").unwrap_or(&file.place);
        let folder = folders.root.join(RAW_BUCKET);
        let mut object = WholeFile::create(&folder.join(format!("{REDRIVEN_PREFIX}{place}.jsonl")))?;
        let mut decoder = RowDecoder::for_table(metadata, "1970-01-01T00:00:00Z")?;
        let (mut digest, mut size_bytes, mut records) = (Sha256::new(), 0, 0);
        let (mut left, mut refused) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        let mut fits = false;
        file.lines(max_record_bytes, |_, line, record| {
            let outdated = counts(folders, history, &file, &line.object, written);
            let record = match record.and_then(|record| outdated.map(|()| record)) {
                Ok(record) => record,
                Err(why) => {
                    *left.entry(why).or_default() += 1;
                    return Ok(());
                }
            };
            records += 1;
            for bytes in [record, b"\n"] {
                object.write_all(bytes)?;
                digest.update(bytes);
                size_bytes += bytes.len() as u64;
            }
            if !fits {
                match decoder.push(record) {
                    Ok(()) => fits = true,
                    Err(refusal) => *refused.entry(refusal.reason.to_string()).or_default() += 1,
                }
            }
            Ok(())
        })?;
        if !fits {
            left.extend(
                refused
                    .into_iter()
                    .map(|(code, count)| (format!("the table still refuses it: {code}"), count)),
            );
            return Ok(Self { left, ..Self::nothing(file) });
        }
        let etag = etag(digest);
        let key = format!("{REDRIVEN_PREFIX}{place}.{}.jsonl", &etag[..DIGEST_CHARACTERS]);
        object.finish_as(&folder.join(&key))?;
        let delivered_millis = now_millis();
        let object = DeliveredObject { bucket: RAW_BUCKET, key, size_bytes, etag, delivered_millis };
        Ok(Self { object: Some(object), file, records, left, max_record_bytes })
    }

    fn nothing(file: QuarantineFile) -> Self {
        Self { file, object: None, records: 0, left: BTreeMap::new(), max_record_bytes: 0 }
    }

    /// Moves the lines of the records, which are in the table now, out of the quarantine.
    ///
    /// # Errors
    /// A file cannot be read or written, or is another than it was; running the command again does the rest.
    pub(super) fn settle(&self, folders: &Folders) -> anyhow::Result<()> {
        let file = &self.file;
        // Another redrive may have been faster.
        let Some(written) = written(file)? else { return Ok(()) };
        let path = folders.root.join("errors/redriven").join(&file.place);
        let (mut redriven, mut quarantine) = (WholeFile::create(&path)?, WholeFile::create(&file.path)?);
        // Lines of an earlier time: the file may have come again after a rollback, or had lines that stayed.
        let mut rows = HashSet::new();
        if path.exists() {
            let before = QuarantineFile { path, ..file.clone() };
            before.lines(usize::MAX, |text, line, _| {
                rows.insert(line.row);
                Ok(redriven.write_all(text).and_then(|()| redriven.write_all(b"\n"))?)
            })?;
        }
        let (mut digest, mut records, mut left) = (Sha256::new(), 0, 0_u64);
        file.lines(self.max_record_bytes, |text, line, record| {
            let into = match record {
                Ok(record) => {
                    records += 1;
                    digest.update(record);
                    digest.update(b"\n");
                    if !rows.insert(line.row) {
                        return Ok(());
                    }
                    &mut redriven
                }
                Err(_) => {
                    left += 1;
                    &mut quarantine
                }
            };
            Ok(into.write_all(text).and_then(|()| into.write_all(b"\n"))?)
        })?;
        if records == 0 {
            return Ok(());
        }
        if self.object.as_ref().is_none_or(|object| object.etag != etag(digest)) {
            bail!("{} has changed while its rows were put back; run the command again", file.path.display());
        }
        redriven.finish()?;
        if left > 0 {
            return quarantine.finish_dated(written);
        }
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", file.path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// When `file` was written; None if it is gone.
fn written(file: &QuarantineFile) -> anyhow::Result<Option<SystemTime>> {
    match fs::metadata(&file.path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        written => written.map(Some).with_context(|| file.cannot_read()),
    }
}

/// Whether `file` counts, which is about the object at `uri`; if not, why.
fn counts(
    folders: &Folders,
    history: &History,
    file: &QuarantineFile,
    uri: &str,
    written: SystemTime,
) -> Result<(), String> {
    let place = uri.strip_prefix("file://").and_then(|path| folders.place(path.as_ref()));
    let Some((bucket, key)) = place.as_deref().and_then(|place| place.split_once('/')) else {
        return Err(format!("its object {uri} lies outside of this folder"));
    };
    history.counts(bucket, key, &file.version, written).map_err(str::to_owned)
}

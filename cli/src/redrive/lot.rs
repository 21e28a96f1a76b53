//! One quarantine file -> raw objects of its records, and then a file of the lines that were put back.
//!
//! In: a quarantine file. Out: [`Lot`]: objects for append, and the lines that stay. After append has taken the objects,
//! [`Lot::settle`] moves the lines. Each step leaves all lines in at least one of the two files, and is the same when it is
//! done again:
//!
//! 1. the records go into `raw/redrive/<place>.<digest of the records>.jsonl`, those beyond the usual ceiling, and what is
//!    more or less than one JSON object, each into one of its own;
//! 2. append commits them with the objects' tokens;
//! 3. their lines go into `errors/redriven/<place>`;
//! 4. the quarantine file goes, or keeps the lines that stay.
//!
//! Which records are put back together must depend neither on the table nor on the ceiling nor on the options: after a crash between 2 and 3
//! other records would make another object, and come in twice. A file of which the table takes nothing is left whole.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Write as _};
use std::time::SystemTime;

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::spec::TableMetadata;
use lake::quarantine::{Ledger, Standing};
use lake::{Digest, REDRIVEN_PREFIX, RowDecoder, SystemColumn, WholeFile};
use records::rejection::Refusal;
use records::unpack::{Piece, Unpacker};

use super::now_millis;
use super::quarantine::{Ceiling, QuarantineFile, Record};
use crate::replay::firehose::DeliveredObject;
use crate::warehouse::{Folders, RAW_BUCKET};

/// Part of the object's name: enough to tell apart what comes out of one quarantine file over time.
const DIGEST_CHARACTERS: usize = 16;

/// What decides whether the lines of a file may be put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) metadata: &'a TableMetadata,
    pub(super) ledger: &'a Ledger,
    pub(super) ceiling: Ceiling,
    pub(super) unpacker: &'a Unpacker,
    /// Whether files count of which the snapshots have expired.
    pub(super) expired: bool,
}

/// What is put back of a quarantine file.
#[derive(Debug)]
pub(super) struct Lot {
    pub(super) file: QuarantineFile,
    /// The records that the table takes, as objects.
    pub(super) parts: Vec<Part>,
    /// How many lines stay, and why.
    pub(super) left: BTreeMap<String, u64>,
    ceiling: Ceiling,
}

/// Records that become one object.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) object: DeliveredObject,
    /// How many they are.
    pub(super) records: u64,
    /// The row that it is about, if it is one that stands alone.
    row: Option<u64>,
}

/// An object that is being written.
struct Writing {
    object: WholeFile,
    digest: Digest,
    size_bytes: u64,
    records: u64,
}

impl Writing {
    fn new(folders: &Folders, stem: &str) -> anyhow::Result<Self> {
        let path = folders.root.join(RAW_BUCKET).join(format!("{REDRIVEN_PREFIX}{stem}.jsonl"));
        Ok(Self { object: WholeFile::create(&path)?, digest: Digest::default(), size_bytes: 0, records: 0 })
    }

    fn add(&mut self, record: &[u8]) -> anyhow::Result<()> {
        for bytes in [record, b"\n"] {
            self.object.write_all(bytes)?;
            self.digest.update(bytes);
            self.size_bytes += bytes.len() as u64;
        }
        self.records += 1;
        Ok(())
    }

    fn finish(self, folders: &Folders, stem: &str, row: Option<u64>) -> anyhow::Result<Part> {
        let Self { object, digest, size_bytes, records } = self;
        let etag = digest.hex();
        let key = format!("{REDRIVEN_PREFIX}{stem}.{}.jsonl", &etag[..DIGEST_CHARACTERS]);
        object.finish_as(&folders.root.join(RAW_BUCKET).join(&key))?;
        let delivered_millis = now_millis();
        let object = DeliveredObject { bucket: RAW_BUCKET, key, size_bytes, etag, delivered_millis };
        Ok(Part { object, records, row })
    }
}

impl Lot {
    /// Writes the raw objects.
    ///
    /// # Errors
    /// The quarantine file is damaged, or an object cannot be written.
    pub(super) fn prepare(folders: &Folders, file: QuarantineFile, rules: Rules<'_>) -> anyhow::Result<Self> {
        let mut lot = Self { file, parts: Vec::new(), left: BTreeMap::new(), ceiling: rules.ceiling };
        let Some(written) = written(&lot.file)? else { return Ok(lot) };
        let place = lot.file.place.as_str();
        let stem = place.strip_suffix(".gz").unwrap_or(place);
        let stem = stem.strip_suffix(".jsonl").unwrap_or(stem).to_owned();
        let mut joint = Writing::new(folders, &stem)?;
        let mut decoder =
            RowDecoder::for_table(rules.metadata, &SystemColumn::of_object("", "1970-01-01T00:00:00Z"))?;
        let (mut left, mut refused) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        let mut parts = Vec::new();
        let mut fits = false;
        lot.file.records_of_lines(rules.ceiling, rules.unpacker, |_, line, record| {
            let counts = counts(folders, rules, &lot.file, &line.object, written);
            let record = match record.and_then(|record| counts.map(|()| record)) {
                Ok(record) => record,
                Err(why) => {
                    *left.entry(why).or_default() += 1;
                    return Ok(());
                }
            };
            let refusal = match record.is_alone || !fits {
                true => refusal(record.text, &mut decoder, rules.unpacker),
                false => None,
            };
            if record.is_alone {
                if let Some(refusal) = refusal {
                    *left.entry(still_refused(refusal.reason.code())).or_default() += 1;
                    return Ok(());
                }
                decoder.finish()?;
                let stem = format!("{stem}.{}", line.row);
                let mut alone = Writing::new(folders, &stem)?;
                alone.add(record.text)?;
                parts.push(alone.finish(folders, &stem, Some(line.row))?);
                return Ok(());
            }
            joint.add(record.text)?;
            match refusal {
                Some(refusal) => *refused.entry(still_refused(refusal.reason.code())).or_default() += 1,
                None => fits = true,
            }
            Ok(())
        })?;
        if fits {
            parts.push(joint.finish(folders, &stem, None)?);
        } else {
            left.extend(refused);
        }
        (lot.parts, lot.left) = (parts, left);
        Ok(lot)
    }

    /// Moves the lines of the records that are in the table now, by the keys of the objects in `done`, out of the
    /// quarantine.
    ///
    /// # Errors
    /// A file cannot be read or written, or is another than it was; running the command again does the rest.
    pub(super) fn settle(
        &self,
        folders: &Folders,
        unpacker: &Unpacker,
        done: &HashSet<String>,
    ) -> anyhow::Result<()> {
        let file = &self.file;
        // Another redrive may have been faster.
        let Some(written) = written(file)? else { return Ok(()) };
        let path = folders.root.join("errors/redriven").join(&file.place);
        let (mut redriven, mut quarantine) = (Lines::create(&path)?, Lines::create(&file.path)?);
        // Lines of an earlier time: the file may have come again after a rollback, or had lines that stayed.
        let mut rows = HashSet::new();
        if path.exists() {
            let before = QuarantineFile { path, ..file.clone() };
            before.lines(|_, text, line| {
                rows.insert(line.row);
                redriven.add(text)
            })?;
        }
        let done: Vec<&Part> = self.parts.iter().filter(|part| done.contains(&part.object.key)).collect();
        let mut digests: Vec<Digest> = done.iter().map(|_| Digest::default()).collect();
        let (mut moved, mut left) = (0_u64, 0_u64);
        file.records_of_lines(self.ceiling, unpacker, |text, line, record| {
            let part_of = |record: Record<'_>| {
                let row = record.is_alone.then_some(line.row);
                done.iter().position(|part| part.row == row)
            };
            match record.ok().and_then(|record| Some((record, part_of(record)?))) {
                Some((record, at)) => {
                    moved += 1;
                    if let Some(digest) = digests.get_mut(at) {
                        digest.update(record.text);
                        digest.update(b"\n");
                    }
                    if rows.insert(line.row) { redriven.add(text) } else { Ok(()) }
                }
                None => {
                    left += 1;
                    quarantine.add(text)
                }
            }
        })?;
        if moved == 0 {
            return Ok(());
        }
        if done.iter().zip(digests).any(|(part, digest)| part.object.etag != digest.hex()) {
            bail!("{} has changed while its rows were put back; run the command again", file.path.display());
        }
        redriven.file()?.finish()?;
        if left > 0 {
            return Ok(quarantine.file()?.finish_dated(written)?);
        }
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", file.path.display()))
            }
            _ => Ok(()),
        }
    }
}

/// A file of lines, compressed if its name says so.
pub(super) enum Lines {
    Plain(WholeFile),
    Compressed(Box<GzEncoder<WholeFile>>),
}

impl Lines {
    pub(super) fn create(path: &std::path::Path) -> anyhow::Result<Self> {
        let file = WholeFile::create(path)?;
        Ok(match path.extension().is_some_and(|extension| extension == "gz") {
            true => Self::Compressed(Box::new(GzEncoder::new(file, Compression::fast()))),
            false => Self::Plain(file),
        })
    }

    pub(super) fn add(&mut self, text: &[u8]) -> anyhow::Result<()> {
        let into: &mut dyn io::Write = match self {
            Self::Plain(file) => file,
            Self::Compressed(encoder) => encoder,
        };
        Ok(into.write_all(text).and_then(|()| into.write_all(b"\n"))?)
    }

    pub(super) fn file(self) -> anyhow::Result<WholeFile> {
        match self {
            Self::Plain(file) => Ok(file),
            Self::Compressed(encoder) => Ok(encoder.finish()?),
        }
    }
}

/// Why the table takes nothing of `record`; None if it takes an event of it.
fn refusal(record: &[u8], decoder: &mut RowDecoder, unpacker: &Unpacker) -> Option<Refusal> {
    let mut refusal = None;
    // Its error is that of an event that is taken.
    let unpacked = unpacker.unpack(record, &mut |piece| {
        refusal = match piece {
            Piece::Event(text) => decoder.push(text).err(),
            Piece::Refused(_, refusal) => Some(refusal),
            Piece::Dropped => return Ok(()),
        };
        if refusal.is_none() { Err(()) } else { Ok(()) }
    });
    refusal.filter(|_| unpacked.is_ok())
}

fn still_refused(code: &str) -> String {
    format!("the table still refuses it: {code}")
}

/// When `file` was written; None if it is gone.
pub(super) fn written(file: &QuarantineFile) -> anyhow::Result<Option<SystemTime>> {
    match fs::metadata(&file.path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        written => written.map(Some).with_context(|| file.cannot_read()),
    }
}

/// Whether the lines of `file` may be put back, which is about the object at `uri`; if not, why.
fn counts(
    folders: &Folders,
    rules: Rules<'_>,
    file: &QuarantineFile,
    uri: &str,
    written: SystemTime,
) -> Result<(), String> {
    let place = uri.strip_prefix("file://").and_then(|path| folders.place(path.as_ref()));
    let Some((bucket, key)) = place.as_deref().and_then(|place| place.split_once('/')) else {
        return Err(format!("its object {uri} lies outside of this folder"));
    };
    let why = match rules.ledger.standing(&file.name, bucket, key, written) {
        Standing::Counts => return Ok(()),
        Standing::Expired if rules.expired => return Ok(()),
        Standing::Stale => {
            "an attempt left it behind that was never committed: the commit that took its object accounts for \
             all of its records; frazil sweep --delete removes it"
        }
        Standing::Pending => {
            "its object is not in the table yet, or not in this version; deliver that again first"
        }
        Standing::Expired => {
            "the snapshots have expired that say whether the table has accounted for it; if frazil audit has no \
             finding about its object, put it back with --expired"
        }
    };
    Err(why.to_owned())
}

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
use std::io::{self, Write as _};

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use iceberg::spec::TableMetadata;
use lake::quarantine::{Ledger, Standing};
use lake::{Digest, Files, Layout, NewFile, RowDecoder, SystemColumn};
use records::rejection::Refusal;
use records::unpack::{Piece, Unpacker};

use super::now_millis;
use super::quarantine::{Ceiling, QuarantineFile, Record, shown, wait};
use crate::replay::firehose::DeliveredObject;

/// Part of the object's name: enough to tell apart what comes out of one quarantine file over time.
const DIGEST_CHARACTERS: usize = 16;

/// What decides whether the lines of a file may be put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    pub(super) files: &'a Files,
    pub(super) layout: &'a Layout,
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
    object: NewFile,
    digest: Digest,
    size_bytes: u64,
    records: u64,
}

impl Writing {
    fn new(rules: Rules<'_>, stem: &str) -> anyhow::Result<Self> {
        let uri = format!("{}{stem}.jsonl", rules.layout.redrive);
        let object = rules.files.create(&uri)?;
        Ok(Self { object, digest: Digest::default(), size_bytes: 0, records: 0 })
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

    fn finish(self, rules: Rules<'_>, stem: &str, row: Option<u64>) -> anyhow::Result<Part> {
        let Self { object: file, digest, size_bytes, records } = self;
        let etag = digest.hex();
        let uri = format!("{}{stem}.{}.jsonl", rules.layout.redrive, &etag[..DIGEST_CHARACTERS]);
        let place = rules.layout.place(&uri).with_context(|| format!("{uri} lies nowhere"))?;
        let (bucket, key) = place.split_once('/').with_context(|| format!("{uri} is in no bucket"))?;
        // Each of very many is in its place before the next one is begun.
        wait(file.finish_as(rules.files, &uri))?;
        let object = DeliveredObject {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            size_bytes,
            etag,
            version_id: None,
            delivered_millis: Some(now_millis()),
        };
        Ok(Part { object, records, row })
    }
}

impl Lot {
    /// Writes the raw objects.
    ///
    /// # Errors
    /// The quarantine file is damaged, or an object cannot be written.
    pub(super) async fn prepare(file: QuarantineFile, rules: Rules<'_>) -> anyhow::Result<Self> {
        let mut lot = Self { file, parts: Vec::new(), left: BTreeMap::new(), ceiling: rules.ceiling };
        let Some(content) = lot.file.open(rules.files).await? else { return Ok(lot) };
        let place = lot.file.place.as_str();
        let stem = place.strip_suffix(".gz").unwrap_or(place);
        let stem = stem.strip_suffix(".jsonl").unwrap_or(stem).to_owned();
        let mut joint = Writing::new(rules, &stem)?;
        let mut decoder =
            RowDecoder::for_table(rules.metadata, &SystemColumn::of_object("", "1970-01-01T00:00:00Z"))?;
        let (mut left, mut refused) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        let mut parts = Vec::new();
        let mut fits = false;
        lot.file.records_of_lines(
            rules.files,
            content,
            rules.ceiling,
            rules.unpacker,
            |_, line, record| {
                let counts = counts(rules, &lot.file, &line.object);
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
                    let mut alone = Writing::new(rules, &stem)?;
                    alone.add(record.text)?;
                    parts.push(alone.finish(rules, &stem, Some(line.row))?);
                    return Ok(());
                }
                joint.add(record.text)?;
                match refusal {
                    Some(refusal) => *refused.entry(still_refused(refusal.reason.code())).or_default() += 1,
                    None => fits = true,
                }
                Ok(())
            },
        )?;
        if fits {
            parts.push(joint.finish(rules, &stem, None)?);
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
    pub(super) async fn settle(&self, rules: Rules<'_>, done: &HashSet<String>) -> anyhow::Result<()> {
        let (file, files) = (&self.file, rules.files);
        // Another redrive may have been faster.
        let Some(content) = file.open(files).await? else { return Ok(()) };
        let uri = format!("{}/redriven/{}", rules.layout.errors, file.place);
        let (mut redriven, mut quarantine) = (Lines::create(files, &uri)?, Lines::create(files, &file.uri)?);
        // Lines of an earlier time: the file may have come again after a rollback, or had lines that stayed.
        let mut rows = HashSet::new();
        let before = QuarantineFile { uri, ..file.clone() };
        if let Some(content) = before.open(files).await? {
            before.lines(content, |_, text, line| {
                rows.insert(line.row);
                redriven.add(text)
            })?;
        }
        let done: Vec<&Part> = self.parts.iter().filter(|part| done.contains(&part.object.key)).collect();
        let mut digests: Vec<Digest> = done.iter().map(|_| Digest::default()).collect();
        let (mut moved, mut left) = (0_u64, 0_u64);
        file.records_of_lines(files, content, self.ceiling, rules.unpacker, |text, line, record| {
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
            bail!("{} has changed while its rows were put back; run the command again", shown(&file.uri));
        }
        redriven.file()?.finish_as(files, &before.uri).await?;
        if left > 0 {
            return Ok(quarantine.file()?.finish_dated(files, &file.uri, file.written).await?);
        }
        Ok(files.delete(&file.uri).await?)
    }
}

/// A file of lines, compressed if its name says so.
pub(super) enum Lines {
    Plain(NewFile),
    Compressed(Box<GzEncoder<NewFile>>),
}

impl Lines {
    pub(super) fn create(files: &Files, uri: &str) -> anyhow::Result<Self> {
        let file = files.create(uri)?;
        Ok(match uri.ends_with(".gz") {
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

    pub(super) fn file(self) -> anyhow::Result<NewFile> {
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

/// Whether the lines of `file` may be put back, which is about the object at `uri`; if not, why.
fn counts(rules: Rules<'_>, file: &QuarantineFile, uri: &str) -> Result<(), String> {
    let place = rules.layout.place(uri);
    let Some((bucket, key)) = place.as_deref().and_then(|place| place.split_once('/')) else {
        return Err(format!("its object {uri} lies outside of this folder"));
    };
    let why = match rules.ledger.standing(&file.name, bucket, key, file.written) {
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

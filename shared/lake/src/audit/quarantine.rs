//! What was rejected, by table and object.
//!
//! In: the files under `quarantine/` of the errors, and under `redriven/`, where those go that were put back into a
//! table. Out: what each says of each object, into the [`Spill`], and findings about files that are damaged; of one part of
//! it an [`Account`] for each object that a table rejected records of. Lines are read one at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, Read as _};
use std::time::SystemTime;

use futures::TryStreamExt as _;
use iceberg::Result;
use serde::{Deserialize, Serialize};

use super::report::{Kind, Report};
use super::spill::{Entry, Spill};
use super::{Options, Step};
use crate::digest::Digest;
use crate::files::Files;
use crate::layout::Layout;
use crate::quarantine::{FileName, Kept, Ledger, Line, Standing, TOPICS, lines_in};
use crate::storage::ListedFile;

const QUARANTINE: &str = "quarantine";
const REDRIVEN: &str = "redriven";
/// No record that is kept makes a longer line.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What a table rejected of an object.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) quarantined: u64,
    pub(super) redriven: u64,
    /// In files of attempts that were not committed, at least not yet.
    pub(super) pending: u64,
    /// URIs of the files with these rejections. One object has several when it was delivered in several versions.
    pub(super) files: Vec<String>,
    /// Copies of the object that stand for what could not be cut into records, and which file names them.
    pub(super) copies: BTreeMap<String, String>,
}

/// By table, and by the object's place.
pub(super) type Accounts = BTreeMap<(String, String), Account>;

/// A file of rejections.
struct Source {
    uri: String,
    table: String,
    redriven: bool,
    written: SystemTime,
    /// None if the file has a name that no append gives.
    name: Option<FileName>,
}

/// What one file says of one object.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rejections {
    file: String,
    redriven: bool,
    /// Whether they are of an attempt that was not committed, at least not yet.
    pending: bool,
    count: u64,
    /// A digest of each, in order.
    digests: Vec<[u8; 16]>,
    copies: Vec<String>,
}

/// Reads everything that was rejected into `spill`. `ledgers` are those of the tables, by name.
pub(super) async fn read(
    files: &Files,
    layout: &Layout,
    options: &Options,
    ledgers: &HashMap<&str, &Ledger>,
    spill: &mut Spill,
    report: &mut Report,
) -> Result<()> {
    let mut count = 0;
    for (folder, redriven) in [(QUARANTINE, false), (REDRIVEN, true)] {
        let folder = format!("{}/{folder}/", layout.errors);
        let mut listed = files.list(&folder)?;
        while let Some(file) = listed.try_next().await? {
            if layout.is_unfinished(&file.uri) {
                report.unfinished_files += 1;
                continue;
            }
            let source = Source::new(&folder, file, redriven);
            if source.name.as_ref().is_some_and(|name| options.passes_over(name)) {
                continue;
            }
            read_source(files, layout, options, ledgers, source, spill, report).await?;
            count += 1;
            (options.progress)(Step::Quarantine, count);
        }
    }
    Ok(())
}

async fn read_source(
    files: &Files,
    layout: &Layout,
    options: &Options,
    ledgers: &HashMap<&str, &Ledger>,
    source: Source,
    spill: &mut Spill,
    report: &mut Report,
) -> Result<()> {
    let opened = files.open(&source.uri).await;
    // By place, and how the lines name the object if they do so in another way.
    let mut of_file: BTreeMap<String, (Rejections, Option<String>)> = BTreeMap::new();
    let read = opened.map_err(|error| format!("cannot be read: {error}")).and_then(|file| {
        read_file(&source.uri, file, |line, record| {
            // What was rejected of objects that lie elsewhere is no part of these sums.
            let place = match line.topic_key() {
                Some(key) => Some(format!("{TOPICS}/{key}")),
                None => layout.place(&line.object).filter(|place| options.has(place)),
            };
            let Some(place) = place else { return };
            let named = (line.topic_key().is_none() && line.object != layout.uri(&place))
                .then(|| line.object.as_ref().to_owned());
            let (of_object, of_name) = of_file.entry(place).or_default();
            of_name.clone_from(&named);
            of_object.count += 1;
            of_object.copies.extend(line.raw_object.as_deref().map(str::to_owned));
            of_object.copies.dedup();
            of_object.digests.push(digest(line, record));
        })
    });
    let (mut is_stale, mut stale) = (!of_file.is_empty(), 0);
    for (place, (mut rejections, named)) in of_file {
        match source.standing(&place, ledgers.get(&*source.table).copied()) {
            Standing::Stale => {
                stale += rejections.count;
                continue;
            }
            // Without a commit in its name it may be of a time when there was no table.
            Standing::Pending => {
                rejections.pending = source.name.as_ref().is_some_and(|name| name.commit.is_some());
            }
            Standing::Counts | Standing::Expired => {}
        }
        is_stale = false;
        rejections.digests.sort_unstable();
        (rejections.file, rejections.redriven) = (source.uri.clone(), source.redriven);
        spill.add(&Entry::Rejected { table: source.table.clone(), place, named, rejections })?;
    }
    report.stale_quarantine_files += u64::from(is_stale);
    report.stale_quarantine_records += stale;
    if let Some(what) = read.err().filter(|_| !is_stale) {
        report.find(Kind::DamagedQuarantine, source.uri.clone(), what);
    }
    Ok(())
}

/// The accounts of the rejections of one part, by table and place.
pub(super) fn accounts(rejections: BTreeMap<(String, String), Vec<Rejections>>) -> Accounts {
    let mut accounts = Accounts::new();
    for (of, rejections) in rejections {
        let account = accounts.entry(of).or_default();
        let (pending, rejections): (Vec<_>, Vec<_>) = rejections.into_iter().partition(|it| it.pending);
        account.pending = pending.iter().map(|rejections| rejections.count).sum();
        let all = distinct(rejections.iter());
        account.quarantined = distinct(rejections.iter().filter(|rejections| !rejections.redriven));
        account.redriven = all - account.quarantined;
        for Rejections { file, copies, .. } in rejections {
            account.copies.extend(copies.into_iter().map(|copy| (copy, file.clone())));
            account.files.push(file);
        }
        account.files.sort();
    }
    accounts
}

impl Source {
    fn new(folder: &str, file: ListedFile, redriven: bool) -> Self {
        let below = file.uri.strip_prefix(folder).unwrap_or_default();
        let table = below.split('/').next().unwrap_or_default().to_owned();
        let name = FileName::parse(below);
        Self { table, redriven, written: file.modified, name, uri: file.uri }
    }

    /// Whether it counts for the object at `place`. Lines that were put back count whatever is said of the rest of the file.
    fn standing(&self, place: &str, ledger: Option<&Ledger>) -> Standing {
        let (Some(ledger), Some(name), Some((bucket, key)), false) =
            (ledger, &self.name, place.split_once('/'), self.redriven)
        else {
            return Standing::Counts;
        };
        ledger.standing(name, bucket, key, self.written)
    }
}

/// How many records are rejected by all of `files`. What several versions of an object have in common stands in several
/// files, and counts once: as often as the file has it that has it most often.
fn distinct<'a>(files: impl Iterator<Item = &'a Rejections>) -> u64 {
    let mut most: HashMap<[u8; 16], u64> = HashMap::new();
    for file in files {
        for same in file.digests.chunk_by(|one, next| one == next) {
            if let Some(digest) = same.first() {
                let count = most.entry(*digest).or_default();
                *count = (*count).max(same.len() as u64);
            }
        }
    }
    most.values().sum::<u64>()
}

/// Of what a line keeps and of where that was.
fn digest(line: &Line<'_>, record: &[u8]) -> [u8; 16] {
    let kept = if line.raw_data.is_some() { record } else { line.error_code.as_bytes() };
    let place = line.offset.to_be_bytes();
    Digest::of(place).and(kept).bytes()
}

/// Reads the lines of one file, and hands each that is sound to `take` with its record. The error says what is wrong.
fn read_file(
    uri: &str,
    file: File,
    mut take: impl FnMut(&Line<'_>, &[u8]),
) -> std::result::Result<(), String> {
    let mut reader = lines_in(uri, file);
    let (mut text, mut record, mut number) = (Vec::new(), Vec::new(), 0_u64);
    let mut wrong: Option<String> = None;
    loop {
        text.clear();
        let length = match reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut text) {
            Ok(length) => length,
            // Of a compressed file, what comes before the damage counts.
            Err(error) => {
                wrong.get_or_insert(format!("cannot be read behind line {number}: {error}"));
                break;
            }
        };
        if length == 0 {
            break;
        }
        number += 1;
        let sound = match text.strip_suffix(b"\n") {
            None => Err("it is cut off".to_owned()),
            Some(text) => Line::parse(text)
                .and_then(|line| line.decode(&mut record).map(|_: Kept<'_>| ()).map(|()| line)),
        };
        match sound {
            Ok(line) => take(&line, &record),
            Err(what) => {
                wrong.get_or_insert(format!("line {number} is damaged: {what}"));
            }
        }
        if length as u64 == MAX_LINE_BYTES {
            break;
        }
    }
    if number == 0 && wrong.is_none() {
        wrong = Some("is empty, which no quarantine file is".to_owned());
    }
    let remedy =
        "restore it from a backup, or roll the table back to before its object and deliver that again";
    wrong.map_or(Ok(()), |what| Err(format!("{what}; {remedy}")))
}

/// What is wrong with a copy of an object that a rejection names instead of bytes. `object` is the object itself, if it
/// exists and only one version of it is known.
pub(super) async fn check_copy(files: &Files, copy: &str, object: Option<&str>) -> Option<String> {
    let kept = match files.size(copy).await {
        Ok(Some(kept)) => kept,
        Ok(None) => {
            return Some(format!("names the copy {copy}, which is gone; copy the object there again"));
        }
        Err(error) => return Some(format!("names the copy {copy}, which cannot be read: {error}")),
    };
    let original = files.size(object?).await.ok()??;
    (kept != original).then(|| {
        format!("names the copy {copy} of {kept} bytes, but the object has {original}; copy it again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_versions_have_in_common_counts_once() {
        let file = |redriven, digests: &[u8]| Rejections {
            redriven,
            digests: digests.iter().map(|digest| [*digest; 16]).collect(),
            ..Rejections::default()
        };
        let one = [file(false, &[1, 1, 2])];
        assert_eq!(distinct(one.iter()), 3);
        let versions = [file(false, &[1, 1, 2]), file(true, &[1, 2, 2, 3])];
        assert_eq!(distinct(versions.iter()), 5);
        assert_eq!(distinct([].iter()), 0);
    }
}

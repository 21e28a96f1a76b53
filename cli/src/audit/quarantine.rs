//! What was rejected, by table and object.
//!
//! In: the files under `errors/quarantine/`, and under `errors/redriven/`, where those go that were put back into a
//! table. Out: an [`Account`] for each object that a table rejected records of, and findings about files that are
//! damaged. Lines are read one at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use lake::Digest;
use lake::quarantine::{FileName, Kept, Ledger, Line, Standing, TOPICS, lines_in};

use super::objects::Objects;
use super::report::{Kind, Report};
use crate::warehouse::{Folders, files, is_unfinished, local_path};

const QUARANTINE: &str = "errors/quarantine";
const REDRIVEN: &str = "errors/redriven";
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
    path: PathBuf,
    uri: String,
    table: String,
    redriven: bool,
    /// None if the file has a name that no append gives.
    name: Option<FileName>,
}

/// What one file says of one object.
#[derive(Default)]
struct Rejections {
    file: String,
    redriven: bool,
    count: u64,
    /// A digest of each, if there are other files about the object.
    digests: Vec<[u8; 16]>,
    copies: Vec<String>,
}

/// Reads everything that was rejected. `ledgers` are those of the tables, by name.
pub(super) fn read(
    folders: &Folders,
    objects: &mut Objects,
    ledgers: &HashMap<&str, &Ledger>,
    report: &mut Report,
) -> anyhow::Result<Accounts> {
    let mut accounts = Accounts::new();
    let mut rejections: BTreeMap<(String, String), Vec<Rejections>> = BTreeMap::new();
    let sources = list(folders, report)?;
    let mut files_of: HashMap<(&str, &str), u64> = HashMap::new();
    for name in sources.iter().filter_map(|source| source.name.as_ref()) {
        *files_of.entry((&name.table, &name.object)).or_default() += 1;
    }
    for source in &sources {
        let name = source.name.as_ref();
        let is_only = name.is_some_and(|name| files_of.get(&(&*name.table, &*name.object)) == Some(&1));
        let mut of_file: BTreeMap<String, Rejections> = BTreeMap::new();
        let read = read_file(source, |line, record| {
            // What was rejected of objects that lie elsewhere is no part of this warehouse's sums.
            let place = match line.topic_key() {
                Some(key) => Some(format!("{TOPICS}/{key}")),
                None => objects.place_of(folders, &line.object),
            };
            let Some(place) = place else { return };
            let of_object = of_file.entry(place).or_default();
            of_object.count += 1;
            of_object.copies.extend(line.raw_object.as_deref().map(str::to_owned));
            of_object.copies.dedup();
            if !is_only {
                of_object.digests.push(digest(line, record));
            }
        });
        let (mut is_stale, mut stale) = (!of_file.is_empty(), 0);
        for (place, mut found) in of_file {
            match source.standing(&place, ledgers.get(&*source.table).copied()) {
                Standing::Stale => {
                    stale += found.count;
                    continue;
                }
                // Without a commit in its name it may be of a time when there was no table.
                Standing::Pending if name.is_some_and(|name| name.commit.is_some()) => {
                    accounts.entry((source.table.clone(), place)).or_default().pending += found.count;
                }
                Standing::Pending | Standing::Counts | Standing::Expired => {
                    found.digests.sort_unstable();
                    (found.file, found.redriven) = (source.uri.clone(), source.redriven);
                    rejections.entry((source.table.clone(), place)).or_default().push(found);
                }
            }
            is_stale = false;
        }
        report.stale_quarantine_files += u64::from(is_stale);
        report.stale_quarantine_records += stale;
        if let Some(what) = read.err().filter(|_| !is_stale) {
            report.find(Kind::DamagedQuarantine, source.uri.clone(), what);
        }
    }
    for (of, rejections) in rejections {
        let account = accounts.entry(of).or_default();
        let all = distinct(rejections.iter());
        account.quarantined = distinct(rejections.iter().filter(|rejections| !rejections.redriven));
        account.redriven = all - account.quarantined;
        for Rejections { file, copies, .. } in rejections {
            account.copies.extend(copies.into_iter().map(|copy| (copy, file.clone())));
            account.files.push(file);
        }
    }
    Ok(accounts)
}

fn list(folders: &Folders, report: &mut Report) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (folder, redriven) in [(QUARANTINE, false), (REDRIVEN, true)] {
        for path in files(&folders.root.join(folder))? {
            if is_unfinished(&path) {
                report.unfinished_files += 1;
                continue;
            }
            let Some(place) = folders.place(&path) else { continue };
            let uri = format!("{}/{place}", folders.root_uri);
            let table = place.split('/').nth(2).unwrap_or_default().to_owned();
            let below = place.strip_prefix(folder).and_then(|below| below.strip_prefix('/'));
            let name = below.and_then(FileName::parse);
            sources.push(Source { path, uri, table, redriven, name });
        }
    }
    Ok(sources)
}

impl Source {
    /// Whether it counts for the object at `place`. Lines that were put back count whatever is said of the rest of the file.
    fn standing(&self, place: &str, ledger: Option<&Ledger>) -> Standing {
        let (Some(ledger), Some(name), Some((bucket, key)), false) =
            (ledger, &self.name, place.split_once('/'), self.redriven)
        else {
            return Standing::Counts;
        };
        let written = fs::metadata(&self.path).and_then(|metadata| metadata.modified());
        ledger.standing(name, bucket, key, written.unwrap_or(UNIX_EPOCH))
    }
}

/// How many records are rejected by all of `files`. What several versions of an object have in common stands in several
/// files, and counts once: as often as the file has it that has it most often.
fn distinct<'a>(files: impl Iterator<Item = &'a Rejections>) -> u64 {
    let mut most: HashMap<[u8; 16], u64> = HashMap::new();
    let mut undigested = 0;
    for file in files {
        if file.digests.is_empty() {
            undigested += file.count;
        }
        for same in file.digests.chunk_by(|one, next| one == next) {
            if let Some(digest) = same.first() {
                let count = most.entry(*digest).or_default();
                *count = (*count).max(same.len() as u64);
            }
        }
    }
    undigested + most.values().sum::<u64>()
}

/// Of what a line keeps and of where that was.
fn digest(line: &Line<'_>, record: &[u8]) -> [u8; 16] {
    let kept = if line.raw_data.is_some() { record } else { line.error_code.as_bytes() };
    let place = line.offset.to_be_bytes();
    Digest::of(place).and(kept).bytes()
}

/// Reads the lines of one file, and hands each that is sound to `take` with its record. The error says what is wrong.
fn read_file(source: &Source, mut take: impl FnMut(&Line<'_>, &[u8])) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut reader = lines_in(&source.uri, File::open(&source.path).map_err(unreadable)?);
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
pub(super) fn check_copy(copy: &str, object: Option<&Path>) -> Option<String> {
    let metadata = |path: PathBuf| path.metadata().ok().filter(std::fs::Metadata::is_file);
    let Some(kept) = local_path(copy).and_then(metadata) else {
        return Some(format!("names the copy {copy}, which is gone; copy the object there again"));
    };
    let original = object.and_then(|object| metadata(object.to_owned()))?;
    (kept.len() != original.len()).then(|| {
        let (kept, original) = (kept.len(), original.len());
        format!("names the copy {copy} of {kept} bytes, but the object has {original}; copy it again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_versions_have_in_common_counts_once() {
        let file = |redriven, digests: &[u8]| Rejections {
            file: String::new(),
            redriven,
            count: digests.len() as u64,
            copies: Vec::new(),
            digests: digests.iter().map(|digest| [*digest; 16]).collect(),
        };
        let one = [file(false, &[1, 1, 2])];
        assert_eq!(distinct(one.iter()), 3);
        let versions = [file(false, &[1, 1, 2]), file(true, &[1, 2, 2, 3])];
        assert_eq!(distinct(versions.iter()), 5);
        assert_eq!(distinct([].iter()), 0);
    }
}

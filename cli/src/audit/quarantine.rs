//! What was rejected, by table and object.
//!
//! In: the files under `errors/quarantine/`, and under `errors/redriven/`, where those go that were put back into a
//! table. Out: an [`Account`] for each object that a table rejected records of, and findings about files that are
//! damaged. Lines are read one at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lake::Digest;
use serde::Deserialize;

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
    /// URIs of the files with these rejections. One object has several when it was delivered in several versions.
    pub(super) files: Vec<String>,
    /// Copies of the object that stand for what could not be cut into records, and which file names them.
    pub(super) copies: BTreeMap<String, String>,
}

/// By table, and by the object's place.
pub(super) type Accounts = BTreeMap<(String, String), Account>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    error_code: String,
    object: String,
    #[serde(default)]
    offset: u64,
    raw_data: Option<String>,
    raw_object: Option<String>,
}

/// What one file says of one object: a digest for every rejection.
struct Rejections {
    file: String,
    redriven: bool,
    digests: Vec<[u8; 16]>,
}

/// Reads everything that was rejected.
pub(super) fn read(
    folders: &Folders,
    objects: &mut Objects,
    report: &mut Report,
) -> anyhow::Result<Accounts> {
    let mut accounts = Accounts::new();
    let mut rejections: BTreeMap<(String, String), Vec<Rejections>> = BTreeMap::new();
    for (folder, redriven) in [(QUARANTINE, false), (REDRIVEN, true)] {
        for path in files(&folders.root.join(folder))? {
            if is_unfinished(&path) {
                report.unfinished_files += 1;
                continue;
            }
            let Some(place) = folders.place(&path) else { continue };
            let file = format!("{}/{place}", folders.root_uri);
            let table = place.split('/').nth(2).unwrap_or_default();
            let mut of_file: HashMap<String, Vec<[u8; 16]>> = HashMap::new();
            let read = read_file(&path, |line, digest| {
                let place = objects.place_of(folders, &line.object);
                // What was rejected of objects that lie elsewhere is no part of this warehouse's sums.
                let Some(place) = place else { return };
                if let Some(copy) = line.raw_object {
                    let account = accounts.entry((table.to_owned(), place.clone())).or_default();
                    account.copies.insert(copy, file.clone());
                }
                of_file.entry(place).or_default().push(digest);
            });
            if let Err(what) = read {
                report.find(Kind::DamagedQuarantine, file.clone(), what);
            }
            for (place, mut digests) in of_file {
                digests.sort_unstable();
                let found = Rejections { file: file.clone(), redriven, digests };
                rejections.entry((table.to_owned(), place)).or_default().push(found);
            }
        }
    }
    for (of, rejections) in rejections {
        let account = accounts.entry(of).or_default();
        let all = distinct(rejections.iter());
        account.quarantined = distinct(rejections.iter().filter(|rejections| !rejections.redriven));
        account.redriven = all - account.quarantined;
        account.files = rejections.into_iter().map(|rejections| rejections.file).collect();
    }
    Ok(accounts)
}

/// How many records are rejected by all of `files`. What several versions of an object have in common stands in several
/// files, and counts once: as often as the file has it that has it most often.
fn distinct<'a>(files: impl Iterator<Item = &'a Rejections>) -> u64 {
    let mut most: HashMap<[u8; 16], u64> = HashMap::new();
    let mut files = files.peekable();
    let Some(first) = files.next() else { return 0 };
    if files.peek().is_none() {
        return first.digests.len() as u64;
    }
    for file in [first].into_iter().chain(files) {
        for same in file.digests.chunk_by(|one, next| one == next) {
            if let Some(digest) = same.first() {
                let count = most.entry(*digest).or_default();
                *count = (*count).max(same.len() as u64);
            }
        }
    }
    most.values().sum()
}

/// Reads the lines of one file. The error says what is wrong with it; the lines that are sound count all the same.
fn read_file(path: &Path, mut take: impl FnMut(Line, [u8; 16])) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut line, mut number) = (Vec::new(), 0_u64);
    let mut wrong: Option<String> = None;
    loop {
        line.clear();
        let length = reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(unreadable)?;
        if length == 0 {
            break;
        }
        number += 1;
        let is_whole = line.ends_with(b"\n");
        match check(&line)
            .and_then(|sound| if is_whole { Ok(sound) } else { Err("it is cut off".to_owned()) })
        {
            Ok((line, digest)) => take(line, digest),
            Err(what) => {
                let what = if is_whole { what } else { "it is cut off".to_owned() };
                wrong.get_or_insert(format!("line {number} is damaged: {what}"));
            }
        }
        if length as u64 == MAX_LINE_BYTES {
            break;
        }
    }
    if number == 0 {
        wrong = Some("is empty, which no quarantine file is".to_owned());
    }
    let remedy =
        "restore it from a backup, or roll the table back to before its object and deliver that again";
    wrong.map_or(Ok(()), |what| Err(format!("{what}; {remedy}")))
}

/// A line that is sound, and a digest of what it keeps and of where that was.
fn check(line: &[u8]) -> Result<(Line, [u8; 16]), String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let kept = match (&line.raw_data, &line.raw_object) {
        (Some(data), _) => {
            STANDARD.decode(data).map_err(|error| format!("its rawData is no base64: {error}"))?
        }
        (None, Some(_)) => line.error_code.clone().into_bytes(),
        (None, None) => return Err("it has neither rawData nor rawObject".to_owned()),
    };
    let place = line.offset.to_be_bytes();
    Ok((line, Digest::of(place).and(kept).bytes()))
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
            digests: digests.iter().map(|digest| [*digest; 16]).collect(),
        };
        let one = [file(false, &[1, 1, 2])];
        assert_eq!(distinct(one.iter()), 3);
        let versions = [file(false, &[1, 1, 2]), file(true, &[1, 2, 2, 3])];
        assert_eq!(distinct(versions.iter()), 5);
        assert_eq!(distinct([].iter()), 0);
    }
}

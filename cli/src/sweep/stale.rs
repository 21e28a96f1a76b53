//! Quarantine files that attempts left behind which were never committed.
//!
//! In: the tables, and old files below `errors/quarantine`. Out: those of the files that no table accounts for: another
//! commit took their objects, and no snapshot that is still there, rolled back or not, is theirs. A file that cannot be
//! read, or is about a table that cannot be, stays.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::BufRead as _;
use std::path::Path;

use iceberg::io::FileIO;
use lake::quarantine::{FileName, Ledger, Line, Standing, TOPICS, lines_in};

use super::OldFile;
use crate::inventory::read_metadata;
use crate::warehouse::{Folders, ListedTable, is_unfinished, local_path};

pub(super) const FOLDER: &str = "errors/quarantine";

/// Those of `files` that are stale.
pub(super) async fn of(
    folders: &Folders,
    file_io: &FileIO,
    tables: &[ListedTable],
    files: Vec<OldFile>,
) -> anyhow::Result<Vec<OldFile>> {
    if files.is_empty() {
        return Ok(files);
    }
    let mut ledgers = HashMap::new();
    for table in tables {
        if let Ok(metadata) = read_metadata(file_io, &table.metadata_location).await {
            ledgers.insert(table.name.as_str(), Ledger::of(&metadata, file_io).await);
        }
    }
    let is_stale = |file: &OldFile| is_stale(folders, &ledgers, &file.path).unwrap_or(false);
    let stale = files.into_iter().filter(|file| !is_unfinished(&file.path) && is_stale(file));
    Ok(stale.map(|file| OldFile { is_known: true, ..file }).collect())
}

/// None if it cannot be told.
fn is_stale(folders: &Folders, ledgers: &HashMap<&str, Ledger>, path: &Path) -> Option<bool> {
    let place = folders.place(path)?;
    let name = FileName::parse(place.strip_prefix(FOLDER)?.strip_prefix('/')?)?;
    let ledger = ledgers.get(name.table.as_str())?;
    let mut text = Vec::new();
    lines_in(&place, File::open(path).ok()?).read_until(b'\n', &mut text).ok()?;
    let line = Line::parse(&text).ok()?;
    let object = match line.topic_key() {
        Some(key) => format!("{TOPICS}/{key}"),
        None => folders.place(&local_path(&line.object)?)?,
    };
    let (bucket, key) = object.split_once('/')?;
    let written = fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    let is_stale = ledger.standing(&name, bucket, key, written) == Standing::Stale;
    Some(is_stale && !ledger.may_need(&name))
}

//! Quarantine files that attempts left behind which were never committed.
//!
//! In: the tables, and old files of the quarantine. Out: those of the files that no table accounts for: another
//! commit took their objects, and no snapshot that is still there, rolled back or not, is theirs. A file that cannot be
//! read, or is about a table that cannot be, stays.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::time::SystemTime;

use iceberg::Result;

use super::OldFile;
use crate::audit::ListedTable;
use crate::files::Files;
use crate::inventory::read_metadata;
use crate::layout::Layout;
use crate::quarantine::{FileName, Ledger, Line, Standing, TOPICS, lines_in};
use crate::spool::Spool;

/// Where they lie.
pub(super) fn folder(layout: &Layout) -> String {
    format!("{}/quarantine", layout.errors)
}

/// Those of `old`, which lie below `folder` and were written at that time, that are stale.
pub(super) async fn of(
    files: &Files,
    layout: &Layout,
    tables: &[ListedTable],
    folder: &str,
    mut old: Spool<(OldFile, SystemTime)>,
) -> Result<Vec<OldFile>> {
    let (mut ledgers, mut stale) = (None, Vec::new());
    for file in old.read()? {
        let (file, written) = file?;
        let ledgers = match &mut ledgers {
            Some(ledgers) => ledgers,
            None => ledgers.insert(ledgers_of(files, tables).await),
        };
        if is_stale(files, layout, ledgers, folder, &file, written).await.unwrap_or(false) {
            stale.push(OldFile { is_known: true, ..file });
        }
    }
    Ok(stale)
}

async fn ledgers_of<'a>(files: &Files, tables: &'a [ListedTable]) -> HashMap<&'a str, Ledger> {
    let mut ledgers = HashMap::new();
    for table in tables {
        if let Ok(metadata) = read_metadata(&files.file_io, &table.metadata_location).await {
            ledgers.insert(table.name.as_str(), Ledger::of(&metadata, &files.file_io).await);
        }
    }
    ledgers
}

/// None if it cannot be told.
async fn is_stale(
    files: &Files,
    layout: &Layout,
    ledgers: &HashMap<&str, Ledger>,
    folder: &str,
    file: &OldFile,
    written: SystemTime,
) -> Option<bool> {
    let below = file.path.strip_prefix(folder)?.trim_start_matches('/');
    let name = FileName::parse(below)?;
    let ledger = ledgers.get(name.table.as_str())?;
    // Most are needed, and need not be read.
    if ledger.may_need(&name) {
        return Some(false);
    }
    let object = {
        let (mut text, content) = (Vec::new(), files.open(&file.path).await.ok()?);
        lines_in(below, content).read_until(b'\n', &mut text).ok()?;
        let line = Line::parse(&text).ok()?;
        match line.topic_key() {
            Some(key) => format!("{TOPICS}/{key}"),
            None => layout.place(&line.object)?,
        }
    };
    let (bucket, key) = object.split_once('/')?;
    Some(ledger.standing(&name, bucket, key, written) == Standing::Stale)
}

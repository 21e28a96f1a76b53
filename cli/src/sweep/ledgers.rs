//! Ledgers of tokens that no table names any more.
//!
//! In: the tables, and old files below `ledgers`. Out: those that the table has replaced long ago. The one that it names
//! stays, whatever its age, and so does the last one that is old: a writer may have replaced it just now. Ledgers of
//! tables that are not known stay too.

use std::collections::BTreeMap;
use std::path::PathBuf;

use iceberg::io::FileIO;

use super::OldFile;
use crate::inventory::read_metadata;
use crate::warehouse::{Folders, ListedTable, canonical, local_path};

pub(super) const FOLDER: &str = "ledgers";
const ENDING: &str = ".ledger";

/// Those of `files` that nobody needs.
pub(super) async fn of(
    folders: &Folders,
    file_io: &FileIO,
    tables: &[ListedTable],
    files: Vec<OldFile>,
) -> Vec<OldFile> {
    let root = canonical(&folders.root.join(FOLDER));
    let mut by_folder: BTreeMap<PathBuf, Vec<OldFile>> = BTreeMap::new();
    for file in files.into_iter().filter(|file| file.path.to_string_lossy().ends_with(ENDING)) {
        by_folder.entry(file.path.parent().unwrap_or(&root).to_owned()).or_default().push(file);
    }
    let mut unneeded = Vec::new();
    for table in tables {
        let Some(mut old) = by_folder.remove(&root.join(&table.name)) else { continue };
        let Ok(metadata) = read_metadata(file_io, &table.metadata_location).await else { continue };
        let named = metadata.properties().get(lake::LEDGER).and_then(|uri| local_path(uri));
        let named = named.map(|path| canonical(&path));
        // Their names sort by time.
        old.sort_by(|a, b| a.path.cmp(&b.path));
        old.pop();
        let is_unneeded = |file: &OldFile| Some(&file.path) != named.as_ref();
        unneeded.extend(old.into_iter().filter(is_unneeded).map(|file| OldFile { is_known: true, ..file }));
    }
    unneeded
}

//! Ledgers of tokens that no table names any more.
//!
//! In: the tables, and old files below `ledgers`. Out: those that the table has replaced long ago. The one that it names
//! stays, whatever its age, and so does the last one that is old: a writer may have replaced it just now. Ledgers of
//! tables that are not known stay too.

use std::collections::BTreeMap;

use super::{OldFile, identity};
use crate::audit::ListedTable;
use crate::files::Files;
use crate::inventory::read_metadata;
use crate::layout::Layout;
use crate::ledger::{ENDING, PROPERTY, root};

/// Where they lie.
pub(super) fn folder(layout: &Layout) -> String {
    root(&layout.errors, "")
}

/// Those of `old`, which lie below `folder`, that nobody needs.
pub(super) async fn of(
    files: &Files,
    tables: &[ListedTable],
    folder: &str,
    old: Vec<OldFile>,
) -> Vec<OldFile> {
    let mut by_folder: BTreeMap<String, Vec<OldFile>> = BTreeMap::new();
    for file in old.into_iter().filter(|file| file.path.ends_with(ENDING)) {
        let parent = file.path.rsplit_once('/').map_or(folder, |(parent, _)| parent).to_owned();
        by_folder.entry(parent).or_default().push(file);
    }
    let mut unneeded = Vec::new();
    for table in tables {
        let own = format!("{}/{}", folder.trim_end_matches('/'), table.name);
        let Some(mut old) = by_folder.remove(&own) else { continue };
        let Ok(metadata) = read_metadata(&files.file_io, &table.metadata_location).await else { continue };
        let named = metadata.properties().get(PROPERTY).map(|uri| identity(uri));
        // Their names sort by time.
        old.sort_by(|one, other| one.path.cmp(&other.path));
        old.pop();
        let is_unneeded = |file: &OldFile| Some(&file.path) != named.as_ref();
        unneeded.extend(old.into_iter().filter(is_unneeded).map(|file| OldFile { is_known: true, ..file }));
    }
    unneeded
}

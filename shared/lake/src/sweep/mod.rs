//! The sweep: files that no table needs and that nobody is about to need.
//!
//! In: where things lie, the tables of a catalog, and a safety age. Out: the orphans below the folders of these tables, what
//! killed writers left unfinished, quarantine files of attempts that were never committed, and ledgers that were replaced; if
//! so wanted they are gone. A table of which anything cannot be read is left alone: what it needs is not known.
//!
//! Files are listed BEFORE the tables' metadata is read. A file that is committed meanwhile is thus either not listed or
//! referred to; one that is written and not yet committed is younger than the safety age. Of what is listed and of what is
//! needed, digests are in memory; the names are on disk.

mod ledgers;
mod needs;
mod stale;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::{Error, Result};
use serde::{Deserialize, Serialize};

use self::needs::Needs;
use crate::audit::ListedTable;
use crate::digest::Digest;
use crate::files::Files;
use crate::inventory::read_metadata;
use crate::layout::{Layout, canonical, local_path};
use crate::spool::Spool;
use crate::storage::{ListedFile, UNFINISHED};

/// How the names of files end that writers of Iceberg tables make. Whatever else lies there is somebody else's.
const KINDS: [&str; 6] = [".parquet", ".avro", ".orc", ".metadata.json", ".puffin", ".stats"];
/// Files that are deleted with one request.
const DELETED_AT_ONCE: usize = 1000;

/// What is swept.
pub struct Options<'a> {
    /// Files that are younger are left alone.
    pub older_than: Duration,
    /// Whether files are deleted; else they are listed alone.
    pub delete: bool,
    /// Why a table that lies in this folder is not one of this lake, if it is not.
    pub foreign: &'a dyn Fn(&ListedTable, Option<&Path>) -> Option<String>,
    /// Told how many files were looked at so far.
    pub progress: &'a dyn Fn(u64),
}

/// A file that is older than the safety age. An orphan is one that nothing needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OldFile {
    /// Its path without links to folders, or its URI.
    pub path: String,
    /// In bytes.
    pub size_bytes: u64,
    /// When it was last written, in seconds before the sweep.
    pub age_seconds: u64,
    /// Whether its name is one that writers of tables give.
    #[serde(skip)]
    is_known: bool,
}

/// A table that was left alone.
#[derive(Debug, Serialize)]
pub struct NotSwept {
    /// `NAMESPACE.NAME`.
    pub table: String,
    /// Why.
    pub reason: String,
}

/// What a sweep found and did.
#[derive(Debug, Default, Serialize)]
pub struct Swept {
    /// Files that nothing needs.
    pub orphans: Vec<OldFile>,
    /// Their size in bytes.
    pub orphan_bytes: u64,
    /// How many of them were deleted.
    pub deleted: u64,
    /// Files that nothing needs, but that no writer of Iceberg tables makes either. They are left alone.
    pub unknown_files: u64,
    /// Tables that were left alone.
    pub not_swept: Vec<NotSwept>,
    /// Folders of tables that are in no catalog. They are left alone.
    pub folders_of_no_table: Vec<PathBuf>,
    /// Orphans that could not be deleted, and why.
    pub failed: Vec<String>,
    /// The folders of the tables, as far as they are known.
    #[serde(skip)]
    pub table_folders: Vec<String>,
}

/// Sweeps. `tables` is asked for the tables of the catalog, before and after files are listed.
///
/// # Errors
/// What `tables` says; files cannot be listed. What is wrong with a table or a file is said in what is given back.
pub async fn sweep<E: From<Error>>(
    files: &Files,
    layout: &Layout,
    options: &Options<'_>,
    tables: impl AsyncFn() -> std::result::Result<Vec<ListedTable>, E>,
) -> std::result::Result<Swept, E> {
    let mut looking = Looking { files, options, now: SystemTime::now(), count: 0 };
    let mut sites = Sites { of_tables: Vec::new(), listed: HashSet::new(), old: Spool::new()? };
    for table in tables().await? {
        // What cannot be read is said below.
        let Ok(metadata) = read_metadata(&files.file_io, &table.metadata_location).await else { continue };
        let folder = identity(metadata.location());
        let at = sites.of_tables.len();
        looking
            .list(&folder, |file, old| {
                sites.listed.insert(digest(&file.uri));
                old.map_or(Ok(()), |old| sites.old.add(&(at, old)))
            })
            .await?;
        sites.of_tables.push(Site { table: table.name, folder });
    }
    let (mut candidates, mut stops) = (Vec::new(), Vec::new());
    if layout.is_local() {
        for folder in [&layout.raw, &layout.errors] {
            let folder = identity(folder);
            looking
                .list(&folder, |_, old| {
                    candidates.extend(old.filter(|old| old.path.ends_with(UNFINISHED)));
                    Ok(())
                })
                .await?;
            stops.push(folder);
        }
    }
    let (mut rejected, mut ledgers) = (Spool::new()?, Vec::new());
    let quarantine = identity(&stale::folder(layout));
    looking
        .list(&quarantine, |file, old| old.map_or(Ok(()), |old| rejected.add(&(old, file.modified))))
        .await?;
    let ledgers_root = identity(&ledgers::folder(layout));
    looking
        .list(&ledgers_root, |_, old| {
            ledgers.extend(old);
            Ok(())
        })
        .await?;
    stops.push(ledgers_root.clone());

    // Only from here on: see above.
    let tables = tables().await?;
    let needs = Needs::read(files, options, &tables, &mut sites).await?;
    // Of a table in doubt, the catalog may have lost the very commit that a quarantine file is of.
    let in_doubt = |table: &ListedTable| {
        needs.tables.iter().any(|need| need.table == table.name && need.doubt.is_some())
    };
    let known: Vec<ListedTable> = tables.iter().filter(|table| !in_doubt(table)).cloned().collect();
    candidates.extend(stale::of(files, layout, &known, &quarantine, rejected).await?);
    candidates.extend(ledgers::of(files, &known, &ledgers_root, ledgers).await);
    let Sites { of_tables, mut old, .. } = sites;
    // One that is no longer in the catalog, or has moved, belongs to no table by now.
    let may_sweep: Vec<bool> = of_tables.iter().map(|site| needs.may_sweep(site)).collect();
    for file in old.read()? {
        let (at, file): (usize, OldFile) = file?;
        if may_sweep.get(at).copied().unwrap_or(false) && !needs.files.contains(&digest(&file.path)) {
            candidates.push(file.judged());
        }
    }
    stops.extend(of_tables.into_iter().zip(may_sweep).filter(|(_, may)| *may).map(|(site, _)| site.folder));
    let mut swept = Swept::of(candidates);
    swept.table_folders = needs.tables.iter().filter_map(|need| need.folder.clone()).collect();
    let in_doubt = needs.tables.into_iter();
    swept.not_swept =
        in_doubt.filter_map(|need| Some(NotSwept { table: need.table, reason: need.doubt? })).collect();
    if options.delete {
        swept.delete(files, &stops).await;
    }
    Ok(swept)
}

/// What a file is called here, whatever a reference calls it: its path without links, or its URI.
fn identity(uri: &str) -> String {
    match local_path(uri) {
        Some(path) => canonical(&path).to_string_lossy().into_owned(),
        None => match uri.split_once("://") {
            // Hadoop's older names for S3.
            Some(("s3a" | "s3n", place)) => format!("s3://{}", place.trim_end_matches('/')),
            _ => uri.trim_end_matches('/').to_owned(),
        },
    }
}

fn digest(identity: &str) -> [u8; 16] {
    Digest::of(identity).bytes()
}

/// Whether `folder` is `other`, or lies in it.
fn is_within(folder: &str, other: &str) -> bool {
    folder.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A table's folder.
struct Site {
    table: String,
    folder: String,
}

/// The folders of tables, and what lay in them before the tables' metadata was read.
struct Sites {
    of_tables: Vec<Site>,
    /// Digests of all files.
    listed: HashSet<[u8; 16]>,
    /// The old files, with the number of their table.
    old: Spool<(usize, OldFile)>,
}

struct Looking<'a> {
    files: &'a Files,
    options: &'a Options<'a>,
    now: SystemTime,
    count: u64,
}

impl Looking<'_> {
    /// Hands each file below `folder` to `take`, and the same as an old file if it is one.
    async fn list(
        &mut self,
        folder: &str,
        mut take: impl FnMut(&ListedFile, Option<OldFile>) -> Result<()>,
    ) -> Result<()> {
        let mut listed = self.files.list(folder)?;
        while let Some(file) = listed.try_next().await? {
            let age = self.now.duration_since(file.modified).unwrap_or_default();
            let old = (age >= self.options.older_than).then(|| OldFile::new(&file, age).judged());
            take(&file, old)?;
            self.count += 1;
            (self.options.progress)(self.count);
        }
        Ok(())
    }
}

impl OldFile {
    fn new(file: &ListedFile, age: Duration) -> Self {
        let (path, size_bytes) = (file.uri.clone(), file.size_bytes);
        Self { path, size_bytes, age_seconds: age.as_secs(), is_known: false }
    }

    /// The same, with what its name tells.
    fn judged(mut self) -> Self {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let is_named = name.ends_with(UNFINISHED) || KINDS.iter().any(|kind| name.ends_with(kind));
        let is_link = || fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_symlink());
        self.is_known = is_named && !(self.path.starts_with('/') && is_link());
        self
    }
}

impl Swept {
    fn of(mut unneeded: Vec<OldFile>) -> Self {
        // Tables may share a folder.
        unneeded.sort();
        unneeded.dedup();
        let (orphans, unknown): (Vec<_>, Vec<_>) = unneeded.into_iter().partition(|file| file.is_known);
        let orphan_bytes = orphans.iter().map(|orphan| orphan.size_bytes).sum();
        Self { orphans, orphan_bytes, unknown_files: unknown.len() as u64, ..Self::default() }
    }

    /// Deletes the orphans, and the folders that become empty, below those in `stops`.
    async fn delete(&mut self, files: &Files, stops: &[String]) {
        let (local, remote): (Vec<_>, Vec<_>) =
            self.orphans.iter().map(|orphan| orphan.path.clone()).partition(|path| path.starts_with('/'));
        for path in local {
            match fs::remove_file(&path) {
                Ok(()) => self.deleted += 1,
                Err(error) => {
                    self.failed.push(format!("{path}: {error}"));
                    continue;
                }
            }
            let above = Path::new(&path).ancestors().skip(1);
            for folder in above.take_while(|folder| !stops.iter().any(|stop| Path::new(stop) == *folder)) {
                // Only an empty one can be removed.
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        for uris in remote.chunks(DELETED_AT_ONCE) {
            match files.file_io.delete_stream(stream::iter(uris.to_vec()).boxed()).await {
                Ok(()) => self.deleted += uris.len() as u64,
                Err(error) => self.failed.push(format!("{} files: {error}", uris.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_any_name() {
        for uri in ["s3://b/t/x", "s3a://b/t/x", "s3n://b/t/x"] {
            assert_eq!(identity(uri), "s3://b/t/x");
        }
        assert_eq!(identity("file:///nowhere/x"), identity("/nowhere/x"));
        assert!(is_within("s3://b/t", "s3://b/t") && is_within("s3://b/t/u", "s3://b/t"));
        assert!(!is_within("s3://b/tu", "s3://b/t") && !is_within("s3://b", "s3://b/t"));
    }
}

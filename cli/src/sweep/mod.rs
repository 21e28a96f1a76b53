//! `frazil sweep`: files that no table needs and that nobody is about to need.
//!
//! In: a warehouse on this machine, and a safety age. Out: the orphans below the folders of its tables, what killed
//! writers left unfinished, quarantine files of attempts that were never committed, and ledgers that were replaced; with
//! `--delete` they are gone. A table of which anything cannot be read is left alone: what it needs is not known.
//!
//! Files are listed BEFORE the tables' metadata is read. A file that is committed meanwhile is thus either not listed or
//! referred to; one that is written and not yet committed is younger than the safety age.

mod ledgers;
mod needs;
mod stale;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use iceberg::io::{FileIOBuilder, LocalFsStorageFactory};
use indicatif::{HumanBytes, HumanDuration};
use serde::Serialize;

use self::needs::Needs;
use crate::inventory;
use crate::page::{counted, out, print_json};
use crate::warehouse::{
    self, Folders, ListedTable, Listing, RAW_BUCKET, canonical, files, is_unfinished, local_path,
};

/// How the names of files end that writers of Iceberg tables make. Whatever else lies there is somebody else's.
const KINDS: [&str; 6] = [".parquet", ".avro", ".orc", ".metadata.json", ".puffin", ".stats"];

/// Find files that no snapshot of any table needs, and delete them with --delete.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder with the catalog, the tables, the raw objects and what was rejected.
    #[arg(long, value_name = "DIR", default_value = ".frazil")]
    warehouse: PathBuf,
    /// Leave files alone that are younger, such as 3d, 12h, 30m or 0s. With less than 1h, writers that are at work may
    /// lose files that they have not committed yet.
    #[arg(long, value_name = "AGE", default_value = "3d", value_parser = parse_age)]
    older_than: Duration,
    /// Delete the files instead of only listing them.
    #[arg(long)]
    delete: bool,
    /// Print one JSON object instead of the list.
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; expected an age such as 3d or 12h"))
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folders = Folders::new(&arguments.warehouse)?;
    let catalog = folders.existing_catalog()?;
    let file_io = FileIOBuilder::new(Arc::new(LocalFsStorageFactory)).build();
    let now = SystemTime::now();

    let old_files = |folder: &Path| OldFile::list(folder, now, arguments.older_than);
    let mut sites = Vec::new();
    for table in listing(&catalog).await? {
        // What cannot be read is said below.
        let metadata = inventory::read_metadata(&file_io, &table.metadata_location).await.ok();
        if let Some(folder) = metadata.and_then(|metadata| local_path(metadata.location())) {
            let folder = canonical(&folder);
            sites.push(Site { table: table.name, files: old_files(&folder)?, folder });
        }
    }
    let others = [RAW_BUCKET, "errors"].map(|name| canonical(&folders.root.join(name)));
    let mut candidates = Vec::new();
    for folder in &others {
        candidates.extend(old_files(folder)?.into_iter().filter(|file| is_unfinished(&file.path)));
    }
    let rejected = old_files(&canonical(&folders.root.join(stale::FOLDER)))?;
    let ledgers_root = canonical(&folders.root.join(ledgers::FOLDER));
    let ledgers = old_files(&ledgers_root)?;

    // Only from here on: see above.
    let tables = listing(&catalog).await?;
    let needs = Needs::read(&folders, &file_io, &tables, &sites).await;
    // Of a table in doubt, the catalog may have lost the very commit that a quarantine file is of.
    let in_doubt = |table: &ListedTable| {
        needs.tables.iter().any(|need| need.table == table.name && need.doubt.is_some())
    };
    let known: Vec<ListedTable> = tables.iter().filter(|table| !in_doubt(table)).cloned().collect();
    candidates.extend(stale::of(&folders, &file_io, &known, rejected).await?);
    candidates.extend(ledgers::of(&folders, &file_io, &known, ledgers).await);
    let mut stops = others.to_vec();
    stops.push(ledgers_root);
    for site in sites {
        // One that is no longer in the catalog, or has moved, belongs to no table by now.
        if needs.may_sweep(&site) {
            candidates.extend(site.files.into_iter().filter(|file| !needs.files.contains(&file.path)));
            stops.push(site.folder);
        }
    }
    let mut swept = Swept::of(candidates);
    swept.folders_of_no_table = needs.folders_of_no_table(&folders)?;
    let in_doubt = needs.tables.into_iter();
    swept.not_swept =
        in_doubt.filter_map(|need| Some(NotSwept { table: need.table, reason: need.doubt? })).collect();
    if arguments.delete {
        swept.delete(&stops);
    }
    if arguments.json {
        print_json(&swept)?
    } else {
        swept.print(arguments.delete)
    }
    let is_done = swept.not_swept.is_empty() && swept.failed.is_empty();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn listing(catalog: &Path) -> anyhow::Result<Vec<ListedTable>> {
    let Listing { tables, damage } = warehouse::list_tables(catalog).await?;
    if !damage.is_empty() {
        bail!("{} is damaged, so nothing is swept: {}", catalog.display(), damage.join("; "));
    }
    Ok(tables)
}

/// A table's folder, and the old files that lay in it before the table's metadata was read.
struct Site {
    table: String,
    folder: PathBuf,
    files: Vec<OldFile>,
}

/// A file that is older than the safety age. An orphan is one that nothing needs.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct OldFile {
    path: PathBuf,
    size_bytes: u64,
    age_seconds: u64,
    /// Whether its name is one that writers of tables give.
    #[serde(skip)]
    is_known: bool,
}

impl OldFile {
    fn list(folder: &Path, now: SystemTime, older_than: Duration) -> anyhow::Result<Vec<Self>> {
        let mut found = Vec::new();
        for path in files(folder)? {
            let metadata = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot look at {}", path.display()));
                }
            };
            let modified = metadata.modified().with_context(|| format!("{} has no age", path.display()))?;
            let age = now.duration_since(modified).unwrap_or_default();
            if age < older_than {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_named = is_unfinished(&path) || KINDS.iter().any(|kind| name.ends_with(kind));
            let is_known = is_named && metadata.is_file();
            found.push(Self { path, size_bytes: metadata.len(), age_seconds: age.as_secs(), is_known });
        }
        Ok(found)
    }
}

/// A table that was left alone.
#[derive(Debug, Serialize)]
struct NotSwept {
    table: String,
    reason: String,
}

/// What a sweep found and did.
#[derive(Debug, Default, Serialize)]
struct Swept {
    orphans: Vec<OldFile>,
    orphan_bytes: u64,
    /// How many of them were deleted.
    deleted: u64,
    /// Files that nothing needs, but that no writer of Iceberg tables makes either. They are left alone.
    unknown_files: u64,
    not_swept: Vec<NotSwept>,
    folders_of_no_table: Vec<PathBuf>,
    /// Orphans that could not be deleted, and why.
    failed: Vec<String>,
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
    fn delete(&mut self, stops: &[PathBuf]) {
        for OldFile { path, .. } in &self.orphans {
            match fs::remove_file(path) {
                Ok(()) => self.deleted += 1,
                Err(error) => {
                    self.failed.push(format!("{}: {error}", path.display()));
                    continue;
                }
            }
            let above = path.ancestors().skip(1);
            for folder in above.take_while(|folder| !stops.iter().any(|stop| stop == folder)) {
                // Only an empty one can be removed.
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
    }

    fn print(&self, delete: bool) {
        for OldFile { path, size_bytes, age_seconds, .. } in &self.orphans {
            let age = format!("{:#}", HumanDuration(Duration::from_secs(*age_seconds)));
            let size = HumanBytes(*size_bytes).to_string();
            out!("  {age:>6}  {size:>10}  {}", path.display());
        }
        for folder in &self.folders_of_no_table {
            out!("left alone: {} belongs to no table of the catalog", folder.display());
        }
        if self.unknown_files > 0 {
            out!("left alone: {} of unknown kinds", counted(self.unknown_files, "file"));
        }
        for NotSwept { table, reason } in &self.not_swept {
            out!("not swept: {table}: {reason}");
        }
        for failed in &self.failed {
            out!("not deleted: {failed}");
        }
        let orphans = counted(self.orphans.len() as u64, "orphan");
        let done = match (delete, self.orphans.is_empty()) {
            (_, true) => String::new(),
            (true, _) => format!("; {} deleted", counted(self.deleted, "file")),
            (false, _) => "; nothing was deleted, --delete does that".to_owned(),
        };
        out!("{orphans}, {}{done}", HumanBytes(self.orphan_bytes));
    }
}

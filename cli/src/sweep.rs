//! `frazil sweep`: files that no table needs and that nobody is about to need.
//!
//! In: which lake, and a safety age. Out: a list of the files, or one JSON object; with `--delete` they are gone. The exit
//! status is 1 if a table was left alone or a file could not be deleted.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar};
use lake::Files;
use lake::audit::ListedTable;
use lake::sweep::{NotSwept, OldFile, Options, Swept, sweep};
use lambda::env::Environment;
use walkdir::WalkDir;

use crate::page::{counted, out, print_json};
use crate::place::{Place, Site, Stream};
use crate::warehouse::{Folders, Listing, canonical, files, is_gone};

/// Find files that no snapshot of any table needs, and delete them with --delete.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    stream: Stream,
    /// The table, instead of FRAZIL_TABLE. Of a lake in a folder all tables are swept.
    #[arg(long, value_name = "NAMESPACE.NAME", conflicts_with = "warehouse")]
    table: Option<String>,
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
    let site = arguments.place.site(&Environment::of_process())?;
    let folders = site.folders.as_ref();
    if let Some(folders) = folders {
        folders.existing_catalog()?;
    }
    site.refuse_one_of_folder(arguments.table.as_deref())?;
    let layout = site.swept_layout(&arguments.stream)?;
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let options = Options {
        older_than: arguments.older_than,
        delete: arguments.delete,
        foreign: &|table, folder| outside(folders?, table, folder),
        progress: &|count| bar.set_message(format!("{} files", HumanCount(count))),
    };
    let tables = async || tables(&site, arguments.table.as_deref()).await;
    let mut swept = sweep(&Files::new(&site.s3), &layout, &options, tables).await?;
    bar.finish_and_clear();
    if let Some(folders) = folders {
        swept.folders_of_no_table = folders_of_no_table(folders, &swept.table_folders)?;
    }
    if arguments.json {
        print_json(&swept)?
    } else {
        print(&swept, arguments.delete)
    }
    let is_done = swept.not_swept.is_empty() && swept.failed.is_empty();
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn tables(site: &Site, named: Option<&str>) -> anyhow::Result<Vec<ListedTable>> {
    let Listing { tables, damage } = site.tables(named).await?;
    if let (Some(folders), false) = (&site.folders, damage.is_empty()) {
        let catalog = folders.catalog();
        bail!("{} is damaged, so nothing is swept: {}", catalog.display(), damage.join("; "));
    }
    Ok(tables)
}

/// Whether a table lies elsewhere, where another catalog may know more of it: a copy of a warehouse, say, whose tables
/// are still those of the original.
fn outside(folders: &Folders, table: &ListedTable, folder: Option<&Path>) -> Option<String> {
    let Some(folder) = folder else { return folders.displaced(table) };
    if !folder.is_absolute() {
        return Some("it is not on this machine".to_owned());
    }
    if folders.place(folder).is_some() {
        return None;
    }
    let elsewhere = || format!("{} is not in {}", folder.display(), folders.root.display());
    Some(folders.displaced(table).unwrap_or_else(elsewhere))
}

/// Folders of tables that were dropped, say. Nobody knows what is in them.
fn folders_of_no_table(folders: &Folders, of_tables: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let of_tables: Vec<&Path> = of_tables.iter().map(Path::new).collect();
    let warehouse = canonical(&folders.root.join("warehouse"));
    let (mut found, mut walk) = (Vec::new(), WalkDir::new(&warehouse).min_depth(1).into_iter());
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) if entry.file_type().is_dir() => entry,
            Ok(_) => continue,
            Err(error) if is_gone(&error) => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot list {}", warehouse.display()));
            }
        };
        let path = entry.into_path();
        if of_tables.contains(&path.as_path()) {
            walk.skip_current_dir();
        } else if !of_tables.iter().any(|table| table.starts_with(&path)) {
            walk.skip_current_dir();
            if !files(&path)?.is_empty() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn print(swept: &Swept, delete: bool) {
    for OldFile { path, size_bytes, age_seconds, .. } in &swept.orphans {
        let age = format!("{:#}", HumanDuration(Duration::from_secs(*age_seconds)));
        let size = HumanBytes(*size_bytes).to_string();
        out!("  {age:>6}  {size:>10}  {}", path);
    }
    for folder in &swept.folders_of_no_table {
        out!("left alone: {} belongs to no table of the catalog", folder.display());
    }
    if swept.unknown_files > 0 {
        out!("left alone: {} of unknown kinds", counted(swept.unknown_files, "file"));
    }
    for NotSwept { table, reason } in &swept.not_swept {
        out!("not swept: {table}: {reason}");
    }
    for failed in &swept.failed {
        out!("not deleted: {failed}");
    }
    let orphans = counted(swept.orphans.len() as u64, "orphan");
    let done = match (delete, swept.orphans.is_empty()) {
        (_, true) => String::new(),
        (true, _) => format!("; {} deleted", counted(swept.deleted, "file")),
        (false, _) => "; nothing was deleted, --delete does that".to_owned(),
    };
    out!("{orphans}, {}{done}", HumanBytes(swept.orphan_bytes));
}

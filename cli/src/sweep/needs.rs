//! What the tables of a warehouse need, and which of them may be swept.
//!
//! In: the tables of the catalog. Out: [`Needs`]: the files that they refer to, by canonical path, and for each table
//! where it lies and why it is left alone, if it is. A table is in doubt if
//!
//! - anything of its metadata cannot be read;
//! - a file that it refers to is not there: its references may mean something else than what is understood here;
//! - there is newer metadata of it than the catalog knows: a catalog that was restored, or whose last pages were lost,
//!   would have the files of the latest commits deleted, which are all that is left of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use uuid::Uuid;
use walkdir::WalkDir;

use super::Site;
use crate::inventory::{Inventory, Unreadable, read_metadata};
use crate::warehouse::{Folders, ListedTable, canonical, files, is_gone, local_path};

/// What all tables need.
pub(super) struct Needs {
    /// By canonical path.
    pub(super) files: HashSet<PathBuf>,
    pub(super) tables: Vec<Need>,
}

/// What is known of one table.
pub(super) struct Need {
    pub(super) table: String,
    /// Where its files lie, as far as is known.
    folder: Option<PathBuf>,
    /// Which table it is and how far it has come, if its metadata can be read.
    state: Option<State>,
    /// Why it is left alone.
    pub(super) doubt: Option<String>,
}

#[derive(Clone, Copy)]
struct State {
    uuid: Uuid,
    sequence_number: i64,
}

impl Need {
    fn is_at(&self, site: &Site) -> bool {
        self.table == site.table && self.folder.as_ref() == Some(&site.folder)
    }
}

impl State {
    fn of(metadata: &TableMetadata) -> Self {
        Self { uuid: metadata.uuid(), sequence_number: metadata.last_sequence_number() }
    }
}

impl Needs {
    /// Reads what `tables` need, and holds it against the files that lie in their folders.
    pub(super) async fn read(
        folders: &Folders,
        file_io: &FileIO,
        tables: &[ListedTable],
        sites: &[Site],
    ) -> Self {
        let mut needs = Self { files: HashSet::new(), tables: Vec::new() };
        for table in tables {
            let ListedTable { name, metadata_location } = table;
            let need = match Inventory::read(file_io, metadata_location).await {
                Ok(inventory) => {
                    let folder = local_path(inventory.metadata.location()).map(|folder| canonical(&folder));
                    let doubt = needs.add(&inventory).or_else(|| outside(folders, table, folder.as_deref()));
                    let state = Some(State::of(&inventory.metadata));
                    Need { table: name.clone(), folder, state, doubt }
                }
                Err(unreadable) => {
                    // Metadata lies in `<table>/metadata/` unless somebody has put it elsewhere.
                    let path = local_path(metadata_location).map(|path| canonical(&path));
                    let folder = path.and_then(|path| path.ancestors().nth(2).map(Path::to_owned));
                    let doubt = folders.displaced(table).unwrap_or_else(|| unreadable.to_string());
                    let doubt = Some(doubt);
                    Need { table: name.clone(), folder, state: None, doubt }
                }
            };
            needs.tables.push(need);
        }
        for site in sites.iter().filter(|site| needs.may_sweep(site)).collect::<Vec<_>>() {
            let doubt = needs.newer_metadata(file_io, site).await;
            needs
                .tables
                .iter_mut()
                .filter(|need| need.is_at(site))
                .for_each(|need| need.doubt = doubt.clone());
        }
        needs.doubt_neighbours();
        needs
    }

    /// Metadata of the table that nothing refers to, and that is ahead of the catalog.
    async fn newer_metadata(&self, file_io: &FileIO, site: &Site) -> Option<String> {
        let current = self.tables.iter().find(|need| need.is_at(site)).and_then(|need| need.state)?;
        for file in site.files.iter().filter(|file| !self.files.contains(&file.path)) {
            let path = file.path.to_string_lossy();
            if !path.ends_with(".metadata.json") {
                continue;
            }
            // One that cannot be read was never current.
            let Ok(metadata) = read_metadata(file_io, &path).await else { continue };
            let found = State::of(&metadata);
            if found.uuid == current.uuid && found.sequence_number > current.sequence_number {
                return Some(format!(
                    "{path} is newer than the metadata in the catalog; if the catalog has lost it, register it, \
                     else append to the table, and sweep again"
                ));
            }
        }
        None
    }

    /// Tables that share a folder may need each other's files.
    fn doubt_neighbours(&mut self) {
        let in_doubt: Vec<(String, PathBuf)> = self
            .tables
            .iter()
            .filter(|need| need.doubt.is_some())
            .filter_map(|need| Some((need.table.clone(), need.folder.clone()?)))
            .collect();
        for need in self.tables.iter_mut().filter(|need| need.doubt.is_none()) {
            let overlapping = in_doubt.iter().find(|(_, folder)| {
                need.folder.as_ref().is_some_and(|own| own.starts_with(folder) || folder.starts_with(own))
            });
            need.doubt = overlapping.map(|(other, _)| format!("it shares its folder with {other}"));
        }
    }

    /// Adds what a table needs. What keeps it from being known is given back.
    fn add(&mut self, inventory: &Inventory) -> Option<String> {
        let paths = |uri: &String| local_path(uri).map(|path| canonical(&path));
        self.files.extend(inventory.other_files.iter().filter_map(paths));
        let mut missing = None;
        let needed: HashSet<&String> = inventory.needed().collect();
        for uri in needed {
            match paths(uri) {
                Some(path) if path.exists() => {
                    self.files.insert(path);
                }
                // Perhaps it was meant in another way, and is about to be taken for an orphan.
                _ => missing = Some(format!("{uri} is not there; see frazil audit")),
            }
        }
        inventory.unreadable.first().map(Unreadable::to_string).or(missing)
    }

    /// Whether the table of `site` may be swept, and still lies there.
    pub(super) fn may_sweep(&self, site: &Site) -> bool {
        self.tables.iter().any(|need| need.is_at(site) && need.doubt.is_none())
    }

    /// Folders of tables that were dropped, say. Nobody knows what is in them.
    pub(super) fn folders_of_no_table(&self, folders: &Folders) -> anyhow::Result<Vec<PathBuf>> {
        let of_tables: Vec<&PathBuf> = self.tables.iter().filter_map(|need| need.folder.as_ref()).collect();
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
            if of_tables.contains(&&path) {
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
}

/// Whether a table lies elsewhere, where another catalog may know more of it: a copy of a warehouse, say, whose tables
/// are still those of the original.
fn outside(folders: &Folders, table: &ListedTable, folder: Option<&Path>) -> Option<String> {
    let Some(folder) = folder else { return Some("it is not on this machine".to_owned()) };
    if folders.place(folder).is_some() {
        return None;
    }
    let elsewhere = || format!("{} is not in {}", folder.display(), folders.root.display());
    Some(folders.displaced(table).unwrap_or_else(elsewhere))
}

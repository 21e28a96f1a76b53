//! What the tables of a warehouse need, and which of them may be swept.
//!
//! In: the tables of the catalog. Out: [`Needs`]: the files that they refer to, by canonical path, and for each table
//! where it lies and why it is left alone, if it is. A table is in doubt if anything of its metadata cannot be read, or
//! if a file that it refers to is not there: then its references mean something else than what is understood here.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use iceberg::io::FileIO;

use crate::inventory::Inventory;
use crate::warehouse::{Folders, ListedTable, canonical, files, local_path};

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
    /// Why it is left alone.
    pub(super) doubt: Option<String>,
}

impl Needs {
    pub(super) async fn read(folders: &Folders, file_io: &FileIO, tables: &[ListedTable]) -> Self {
        let mut needs = Self { files: HashSet::new(), tables: Vec::new() };
        for ListedTable { name, metadata_location } in tables {
            let (folder, doubt) = match Inventory::read(file_io, metadata_location).await {
                Ok(inventory) => {
                    let folder = local_path(inventory.metadata.location()).map(|folder| canonical(&folder));
                    let doubt = needs.add(&inventory).or_else(|| outside(folders, folder.as_deref()));
                    (folder, doubt)
                }
                Err(unreadable) => {
                    // Metadata lies in `<table>/metadata/` unless somebody has put it elsewhere.
                    let path = local_path(metadata_location).map(|path| canonical(&path));
                    let folder = path.and_then(|path| path.ancestors().nth(2).map(Path::to_owned));
                    (folder, Some(format!("{} {}", unreadable.path, unreadable.what)))
                }
            };
            needs.tables.push(Need { table: name.clone(), folder, doubt });
        }
        // Tables that share a folder may need each other's files.
        let in_doubt: Vec<(String, PathBuf)> = needs
            .tables
            .iter()
            .filter(|need| need.doubt.is_some())
            .filter_map(|need| Some((need.table.clone(), need.folder.clone()?)))
            .collect();
        for need in needs.tables.iter_mut().filter(|need| need.doubt.is_none()) {
            let overlapping = in_doubt.iter().find(|(_, folder)| {
                need.folder.as_ref().is_some_and(|own| own.starts_with(folder) || folder.starts_with(own))
            });
            need.doubt = overlapping.map(|(other, _)| format!("it shares its folder with {other}"));
        }
        needs
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
        let unreadable = inventory.unreadable.first();
        unreadable.map(|unreadable| format!("{} {}", unreadable.path, unreadable.what)).or(missing)
    }

    /// Whether the table of this name may be swept, and still lies in `folder`.
    pub(super) fn may_sweep(&self, table: &str, folder: &Path) -> bool {
        let is_this = |need: &&Need| need.table == table && need.folder.as_deref() == Some(folder);
        self.tables.iter().filter(is_this).any(|need| need.doubt.is_none())
    }

    /// Folders of tables that were dropped, say. Nobody knows what is in them.
    pub(super) fn folders_of_no_table(&self, folders: &Folders) -> anyhow::Result<Vec<PathBuf>> {
        let of_tables: Vec<&PathBuf> = self.tables.iter().filter_map(|need| need.folder.as_ref()).collect();
        let (mut found, mut open) = (Vec::new(), vec![canonical(&folders.root.join("warehouse"))]);
        while let Some(folder) = open.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
            };
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
                let path = entry.path();
                if !entry.file_type()?.is_dir() || of_tables.contains(&&path) {
                    continue;
                }
                if of_tables.iter().any(|table| table.starts_with(&path)) {
                    open.push(path);
                } else if !of_tables.iter().any(|table| path.starts_with(table)) && !files(&path)?.is_empty()
                {
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
fn outside(folders: &Folders, folder: Option<&Path>) -> Option<String> {
    match folder {
        Some(folder) if folders.place(folder).is_some() => None,
        Some(folder) => Some(format!("{} is not in {}", folder.display(), folders.root.display())),
        None => Some("it is not on this machine".to_owned()),
    }
}

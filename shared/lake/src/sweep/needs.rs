//! What the tables of a lake need, and which of them may be swept.
//!
//! In: the tables of the catalog. Out: [`Needs`]: the files that they refer to, and for each table where it lies and why it
//! is left alone, if it is. A table is in doubt if
//!
//! - anything of its metadata cannot be read;
//! - a file that it refers to is not there: its references may mean something else than what is understood here;
//! - there is newer metadata of it than the catalog knows: a catalog that was restored, or whose last pages were lost,
//!   would have the files of the latest commits deleted, which are all that is left of them.

use std::collections::HashSet;
use std::path::Path;

use iceberg::Result;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::{OldFile, Options, Site, Sites, digest, identity, is_within};
use crate::audit::ListedTable;
use crate::files::Files;
use crate::inventory::{References, Unreadable, read_metadata};

/// What all tables need.
pub(super) struct Needs {
    /// Digests of what the files are called.
    pub(super) files: HashSet<[u8; 16]>,
    pub(super) tables: Vec<Need>,
}

/// What is known of one table.
pub(super) struct Need {
    pub(super) table: String,
    /// Where its files lie, as far as is known.
    pub(super) folder: Option<String>,
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
        files: &Files,
        options: &Options<'_>,
        tables: &[ListedTable],
        sites: &mut Sites,
    ) -> Result<Self> {
        let mut needs = Self { files: HashSet::new(), tables: Vec::new() };
        for table in tables {
            let ListedTable { name, metadata_location } = table;
            let need = match read_metadata(&files.file_io, metadata_location).await {
                Ok(metadata) => {
                    let folder = identity(metadata.location());
                    let doubt = needs.add(files, &metadata, metadata_location, &sites.listed).await;
                    let doubt = doubt.or_else(|| (options.foreign)(table, Some(Path::new(&folder))));
                    let state = Some(State::of(&metadata));
                    Need { table: name.clone(), folder: Some(folder), state, doubt }
                }
                Err(unreadable) => {
                    // Metadata lies in `<table>/metadata/` unless somebody has put it elsewhere.
                    let location = identity(metadata_location);
                    let folder = location.rsplitn(3, '/').nth(2).map(str::to_owned);
                    let doubt = (options.foreign)(table, None).unwrap_or_else(|| unreadable.to_string());
                    Need { table: name.clone(), folder, state: None, doubt: Some(doubt) }
                }
            };
            needs.tables.push(need);
        }
        needs.look_for_newer_metadata(files, sites).await?;
        needs.doubt_neighbours();
        Ok(needs)
    }

    /// Metadata of a table that nothing refers to, and that is ahead of the catalog.
    async fn look_for_newer_metadata(&mut self, files: &Files, sites: &mut Sites) -> Result<()> {
        for file in sites.old.read()? {
            let (at, OldFile { path, .. }) = file?;
            let Some(site) = sites.of_tables.get(at) else { continue };
            if !path.ends_with(".metadata.json")
                || self.files.contains(&digest(&path))
                || !self.may_sweep(site)
            {
                continue;
            }
            let current = self.tables.iter().find(|need| need.is_at(site)).and_then(|need| need.state);
            // One that cannot be read was never current.
            let (Some(current), Ok(metadata)) = (current, read_metadata(&files.file_io, &path).await) else {
                continue;
            };
            let found = State::of(&metadata);
            if found.uuid == current.uuid && found.sequence_number > current.sequence_number {
                let doubt = format!(
                    "{path} is newer than the metadata in the catalog; if the catalog has lost it, register it, \
                     else append to the table, and sweep again"
                );
                let of_site = self.tables.iter_mut().filter(|need| need.is_at(site));
                of_site.for_each(|need| need.doubt = Some(doubt.clone()));
            }
        }
        Ok(())
    }

    /// Tables that share a folder may need each other's files.
    fn doubt_neighbours(&mut self) {
        let in_doubt: Vec<(String, String)> = self
            .tables
            .iter()
            .filter(|need| need.doubt.is_some())
            .filter_map(|need| Some((need.table.clone(), need.folder.clone()?)))
            .collect();
        for need in self.tables.iter_mut().filter(|need| need.doubt.is_none()) {
            let overlapping = in_doubt.iter().find(|(_, folder)| {
                need.folder.as_ref().is_some_and(|own| is_within(own, folder) || is_within(folder, own))
            });
            need.doubt = overlapping.map(|(other, _)| format!("it shares its folder with {other}"));
        }
    }

    /// Adds what a table needs. What keeps it from being known is given back. `listed` are files that are there.
    async fn add(
        &mut self,
        files: &Files,
        metadata: &TableMetadata,
        location: &str,
        listed: &HashSet<[u8; 16]>,
    ) -> Option<String> {
        let references = References::new(metadata, location);
        self.files.extend(references.other_files.iter().map(|uri| digest(&identity(uri))));
        let (mut missing, mut unlisted) = (None, Vec::new());
        let unreadable = references.visit(&files.file_io, metadata, |uri| {
            let digest = digest(&identity(uri));
            if self.files.insert(digest) && !listed.contains(&digest) {
                unlisted.push(uri.to_owned());
            }
        });
        let unreadable = unreadable.await;
        for uri in unlisted {
            // Perhaps it was meant in another way, and is about to be taken for an orphan.
            if !matches!(files.size(&uri).await, Ok(Some(_))) {
                missing = Some(format!("{uri} is not there; see frazil audit"));
            }
        }
        unreadable.first().map(Unreadable::to_string).or(missing)
    }

    /// Whether the table of `site` may be swept, and still lies there.
    pub(super) fn may_sweep(&self, site: &Site) -> bool {
        self.tables.iter().any(|need| need.is_at(site) && need.doubt.is_none())
    }
}

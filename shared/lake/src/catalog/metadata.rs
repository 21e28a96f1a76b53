//! Metadata files of tables, for catalogs that keep no more than a pointer to the current one.
//!
//! In: the location of a metadata file, or a table as it is to be. Out: a [`Table`], or the file. Metadata files are
//! never changed, so that the last ones are kept, one of each table: whoever commits loads what it has just written.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{TableMetadataBuilder, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{Error, Result, Runtime, TableCreation, TableIdent};

use super::metadata_name::{file_of, unpacked};
use super::refs::{self, Refs};
use super::swap::{Loaded, Next};
use crate::error::reworded;
use crate::failpoint::failpoint;

/// Files that are kept, of so many tables.
const KEPT: usize = 8;

#[derive(Debug)]
pub(super) struct MetadataFiles {
    file_io: FileIO,
    /// The files that were read or written last, the last one first.
    kept: Mutex<VecDeque<Kept>>,
}

/// What a metadata file holds.
#[derive(Clone, Debug)]
struct Kept {
    location: String,
    metadata: TableMetadataRef,
    refs: Refs,
}

impl MetadataFiles {
    pub(super) fn new(file_io: FileIO) -> Self {
        Self { file_io, kept: Mutex::default() }
    }

    /// The table `ident`, whose metadata file is at `location`, and its branches and tags.
    pub(super) async fn table(&self, ident: &TableIdent, location: &str) -> Result<(Table, Refs)> {
        let file = match self.kept(location) {
            Some(file) => file,
            None => {
                let read = self.read(location).await;
                self.keep(read.map_err(|error| unreadable(ident, location, error))?)
            }
        };
        Ok((self.built(ident, location, file.metadata)?, file.refs))
    }

    async fn read(&self, location: &str) -> Result<Kept> {
        let json = unpacked(self.file_io.new_input(location)?.read().await?)?;
        let metadata = TableMetadataRef::new(serde_json::from_slice(&json)?);
        Ok(Kept { location: location.to_owned(), metadata, refs: refs::of_json(&json)? })
    }

    /// Writes the first metadata file of a table.
    pub(super) async fn create(&self, ident: &TableIdent, creation: TableCreation) -> Result<Table> {
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        let metadata = TableMetadataRef::new(metadata);
        let location = self.write(&metadata, None).await?;
        self.built(ident, &location, metadata)
    }

    /// Writes the metadata file of `next`, which is to follow `base`. Nothing refers to it yet. Gives back its location.
    pub(super) async fn stage(&self, base: &Loaded, next: &Next) -> Result<String> {
        let before = base.table.metadata_location_result()?;
        let location = self.write(&TableMetadataRef::new(next.metadata.clone()), Some(before)).await?;
        failpoint("before pointer swap")?;
        Ok(location)
    }

    pub(super) async fn write(&self, metadata: &TableMetadataRef, after: Option<&str>) -> Result<String> {
        let json = serde_json::to_vec(metadata)?;
        let refs = refs::of_json(&json)?;
        let (location, bytes) = file_of(metadata, json, after)?;
        self.file_io.new_output(&location)?.write(bytes.into()).await?;
        Ok(self.keep(Kept { location, metadata: metadata.clone(), refs }).location)
    }

    pub(super) fn built(
        &self,
        ident: &TableIdent,
        location: &str,
        metadata: TableMetadataRef,
    ) -> Result<Table> {
        Table::builder()
            .identifier(ident.clone())
            .metadata_location(location)
            .metadata(metadata)
            .file_io(self.file_io.clone())
            .runtime(Runtime::try_current()?)
            .build()
    }

    fn kept(&self, location: &str) -> Option<Kept> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|kept| kept.location == location).cloned()
    }

    fn keep(&self, file: Kept) -> Kept {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.metadata.uuid() != file.metadata.uuid());
        kept.push_front(file.clone());
        kept.truncate(KEPT);
        file
    }
}

fn unreadable(ident: &TableIdent, location: &str, error: Error) -> Error {
    let what = format!(
        "the catalog names {location} as the metadata file of the table {ident}, and it cannot be read: {error}. Allow \
         the function's role to read it, restore it if it was deleted, or drop the catalog's entry of the table"
    );
    reworded(&error, what)
}

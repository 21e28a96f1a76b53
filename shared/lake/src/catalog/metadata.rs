//! Metadata files of tables, for catalogs that keep no more than a pointer to the current one.
//!
//! In: the location of a metadata file, or a table as it is to be. Out: a [`Table`], or the file. Metadata files are
//! never changed, so that the last one is kept: whoever commits loads what it has just written.

use std::sync::{Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuilder, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{Error, Result, Runtime, TableCreation, TableIdent};

use super::metadata_name::file_of;
use super::swap::{Loaded, Next};
use crate::error::reworded;
use crate::failpoint::failpoint;

#[derive(Debug)]
pub(super) struct MetadataFiles {
    file_io: FileIO,
    /// The file that was read or written last, and its location.
    last: Mutex<Option<(String, TableMetadataRef)>>,
}

impl MetadataFiles {
    pub(super) fn new(file_io: FileIO) -> Self {
        Self { file_io, last: Mutex::new(None) }
    }

    /// The table `ident`, whose metadata file is at `location`.
    pub(super) async fn table(&self, ident: &TableIdent, location: &str) -> Result<Table> {
        let metadata = match self.kept(location) {
            Some(metadata) => metadata,
            None => {
                let read = TableMetadata::read_from(&self.file_io, location).await;
                let metadata =
                    TableMetadataRef::new(read.map_err(|error| unreadable(ident, location, error))?);
                self.keep(location, &metadata);
                metadata
            }
        };
        self.built(ident, location, metadata)
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
        let (location, bytes) = file_of(metadata, after)?;
        self.file_io.new_output(&location)?.write(bytes.into()).await?;
        self.keep(&location, metadata);
        Ok(location)
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

    fn kept(&self, location: &str) -> Option<TableMetadataRef> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(kept, _)| kept == location).map(|(_, metadata)| metadata.clone())
    }

    fn keep(&self, location: &str, metadata: &TableMetadataRef) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((location.to_owned(), metadata.clone()));
    }
}

fn unreadable(ident: &TableIdent, location: &str, error: Error) -> Error {
    let what = format!(
        "the catalog names {location} as the metadata file of the table {ident}, and it cannot be read: {error}. Allow \
         the function's role to read it, restore it if it was deleted, or drop the catalog's entry of the table"
    );
    reworded(&error, what)
}

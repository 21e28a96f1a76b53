//! Metadata files of tables, for catalogs that keep no more than a pointer to the current one.
//!
//! In: the location of a metadata file, or a table as it is to be. Out: a [`Table`], or the file. Metadata files are
//! never changed, so that the last one is kept: a commit loads the same one several times.

use std::str::FromStr as _;
use std::sync::{Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuilder, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{Error, MetadataLocation, Result, Runtime, TableCommit, TableCreation, TableIdent};

use super::swap::{Loaded, Next};
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
        let location = MetadataLocation::new_with_metadata(metadata.location(), &metadata);
        metadata.write_to(&self.file_io, &location).await?;
        let (location, metadata) = (location.to_string(), TableMetadataRef::new(metadata));
        self.keep(&location, &metadata);
        self.built(ident, &location, metadata)
    }

    /// Writes the metadata file of `table` as it is after `commit`. Nothing refers to it yet.
    pub(super) async fn stage(&self, table: Table, commit: TableCommit) -> Result<Table> {
        let staged = commit.apply(table)?;
        let location = staged.metadata_location_result()?;
        staged.metadata().write_to(&self.file_io, &MetadataLocation::from_str(location)?).await?;
        self.keep(location, &staged.metadata_ref());
        failpoint("before pointer swap")?;
        Ok(staged)
    }

    /// Writes the metadata file of what `base` is to become, and returns its location. Nothing refers to it yet.
    pub(super) async fn stage_next(&self, base: &Loaded, next: &Next) -> Result<String> {
        let location = MetadataLocation::from_str(base.table.metadata_location_result()?)?
            .with_next_version()
            .with_new_metadata(&next.metadata);
        next.metadata.write_to(&self.file_io, &location).await?;
        let location = location.to_string();
        self.keep(&location, &TableMetadataRef::new(next.metadata.clone()));
        failpoint("before pointer swap")?;
        Ok(location)
    }

    fn built(&self, ident: &TableIdent, location: &str, metadata: TableMetadataRef) -> Result<Table> {
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
    Error::new(error.kind(), what)
}

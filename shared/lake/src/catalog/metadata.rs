//! Metadata files of tables, for catalogs that keep no more than a pointer to the current one.
//!
//! In: the location of a metadata file, or a table as it is to be. Out: a [`Table`], or the file. Metadata files are
//! never changed, so that the last ones are kept, one of each table: whoever commits loads what it has just written.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{TableMetadata, TableMetadataBuilder, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{Error, Result, Runtime, TableCreation, TableIdent, TableUpdate};
use uuid::Uuid;

use super::metadata_name::{Codec, location, unpacked};
use super::metadata_text::{self, Chunks};
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
    chunks: Chunks,
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
        let metadata: TableMetadata = serde_json::from_slice(&json)?;
        let (location, chunks) = (location.to_owned(), self.chunks(metadata.uuid()));
        Ok(Kept { location, metadata: metadata.into(), refs: refs::of_json(&json)?, chunks })
    }

    /// Writes the first metadata file of a table.
    pub(super) async fn create(&self, ident: &TableIdent, creation: TableCreation) -> Result<Table> {
        let metadata = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        let metadata = TableMetadataRef::new(metadata);
        let location = self.write(&metadata, None, std::iter::empty()).await?;
        self.built(ident, &location, metadata)
    }

    /// Writes the metadata file of `next`, which is to follow `base`. Nothing refers to it yet. Gives back its location.
    pub(super) async fn stage(&self, base: &Loaded, next: &Next) -> Result<String> {
        let before = base.table.metadata_location_result()?;
        let set = next.updates.iter().filter_map(|update| match update {
            TableUpdate::SetSnapshotRef { ref_name, .. } => Some(ref_name.as_str()),
            _ => None,
        });
        let ref_names = base.refs.keys().map(String::as_str).chain(set);
        let metadata = TableMetadataRef::new(next.metadata.clone());
        let location = self.write(&metadata, Some(before), ref_names).await?;
        failpoint("before pointer swap")?;
        Ok(location)
    }

    /// Writes the file of `metadata`, which follows the one at `after` and has no other branches and tags than `ref_names`.
    pub(super) async fn write<'a>(
        &self,
        metadata: &TableMetadataRef,
        after: Option<&str>,
        ref_names: impl Iterator<Item = &'a str> + Send,
    ) -> Result<String> {
        let codec = Codec::of(metadata);
        let text = metadata_text::of(metadata, codec, ref_names, &self.chunks(metadata.uuid()))?;
        #[cfg(test)]
        if is_compared(metadata) {
            assert_same(metadata, &text.bytes)?;
        }
        let location = location(metadata, codec, after);
        self.file_io.new_output(&location)?.write(text.bytes.into()).await?;
        let (metadata, refs, chunks) = (metadata.clone(), text.refs, text.chunks);
        Ok(self.keep(Kept { location, metadata, refs, chunks }).location)
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

    /// What the last file of the table `uuid` has of its snapshots.
    fn chunks(&self, uuid: Uuid) -> Chunks {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|kept| kept.metadata.uuid() == uuid)
            .map(|kept| kept.chunks.clone())
            .unwrap_or_default()
    }

    fn keep(&self, file: Kept) -> Kept {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.metadata.uuid() != file.metadata.uuid());
        kept.push_front(file.clone());
        kept.truncate(KEPT);
        file
    }
}

/// The first files of a table and a quarter of the later ones: to compare all is a tenth of the simulation's time.
#[cfg(test)]
fn is_compared(metadata: &TableMetadata) -> bool {
    metadata.last_sequence_number() < 3 || metadata.last_updated_ms() % 4 == 0
}

/// What is put together says what the library says.
#[cfg(test)]
fn assert_same(metadata: &TableMetadata, bytes: &[u8]) -> Result<()> {
    let read: TableMetadata = serde_json::from_slice(&unpacked(bytes.to_vec().into())?)?;
    let whole: TableMetadata = serde_json::from_slice(&serde_json::to_vec(metadata)?)?;
    assert_eq!(read, whole);
    Ok(())
}

fn unreadable(ident: &TableIdent, location: &str, error: Error) -> Error {
    let what = format!(
        "the catalog names {location} as the metadata file of the table {ident}, and it cannot be read: {error}. Allow \
         the function's role to read it, restore it if it was deleted, or drop the catalog's entry of the table"
    );
    reworded(&error, what)
}

//! The seam between a commit and a catalog: load a table, and put its successor in its place if it is still the same.
//!
//! In: a table's name, later what it is to become. Out: [`Loaded`], later whether the swap was made. A catalog that keeps
//! no more than a pointer writes the metadata file of [`Next`] and swaps the pointer; a REST catalog is sent its updates
//! and requirements and writes the file itself (Iceberg REST catalog specification, "Commit updates to a table").

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use iceberg::{Catalog, Error, ErrorKind, Result, TableCommit, TableIdent, TableRequirement, TableUpdate};

use super::refs::Refs;

/// A table as a catalog had it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Its metadata and where they lie.
    pub(crate) table: Table,
    /// Its branches and tags.
    pub(crate) refs: Refs,
    /// What a swap is conditional on.
    #[cfg_attr(
        not(any(feature = "glue", feature = "s3tables")),
        allow(dead_code, reason = "what else there is compares locations")
    )]
    pub(crate) version: Version,
}

/// Which state of a table was loaded, as its catalog tells states apart.
#[derive(Clone, Debug)]
pub(crate) enum Version {
    /// By the location of its metadata file.
    Location,
    /// By Glue's entry, which a swap writes back with what others keep there.
    #[cfg(feature = "glue")]
    Glue(Box<aws_sdk_glue::types::Table>),
    /// By the version token of S3 Tables.
    #[cfg(feature = "s3tables")]
    S3Tables(String),
}

/// What a table is to become.
#[derive(Clone, Debug)]
pub(crate) struct Next {
    /// The changes to the loaded metadata, in order.
    #[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "only a REST catalog is sent them"))]
    pub(crate) updates: Vec<TableUpdate>,
    /// What must hold of the table for them to be right.
    #[cfg_attr(not(feature = "rest"), allow(dead_code, reason = "only a REST catalog is sent them"))]
    pub(crate) requirements: Vec<TableRequirement>,
    /// The loaded metadata with the updates applied.
    pub(crate) metadata: TableMetadata,
}

/// Why a swap was not made, as far as can be known.
#[derive(Debug)]
pub(crate) enum NotSwapped {
    /// The table was no longer the one that was loaded: another writer was faster. Nothing was changed, unless a repeated
    /// request has met its own success.
    Conflict(Error),
    /// It never will be made: the request itself was refused. Nothing was changed.
    Refused(Error),
    /// It may have been made, or may still be.
    Unknown(Error),
}

/// A catalog that commits can be made to.
#[async_trait]
pub(crate) trait TableCatalog: Catalog {
    /// The table `ident`.
    ///
    /// # Errors
    /// There is none, the catalog cannot be asked, or the metadata cannot be read.
    async fn load(&self, ident: &TableIdent) -> Result<Loaded>;

    /// Puts `next` in the place of `base`, if the table is still as `base` was loaded. Tries once.
    ///
    /// # Errors
    /// [`NotSwapped`].
    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped>;

    /// Whether the catalog lets snapshots expire by itself, which properties of the table would keep it from.
    fn keeps_history(&self) -> bool {
        false
    }

    /// Whether the catalog writes metadata files itself, and deletes those that are not needed.
    fn keeps_metadata_files(&self) -> bool {
        false
    }
}

impl NotSwapped {
    /// Another writer was faster: `what`.
    pub(super) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict(Error::new(ErrorKind::CatalogCommitConflicts, what).with_retryable(true))
    }

    /// The base of the table `ident` came from another catalog.
    #[cfg(any(feature = "glue", feature = "s3tables"))]
    pub(super) fn not_loaded_here(ident: &TableIdent) -> Self {
        let what =
            format!("the table {ident} was loaded from another catalog than it is committed to, a defect");
        Self::Refused(Error::new(ErrorKind::Unexpected, what))
    }
}

impl From<NotSwapped> for Error {
    fn from(why: NotSwapped) -> Self {
        match why {
            NotSwapped::Conflict(error) | NotSwapped::Refused(error) | NotSwapped::Unknown(error) => error,
        }
    }
}

/// [`Catalog::update_table`] in terms of [`TableCatalog`], for transactions of the library.
pub(super) async fn update(catalog: &dyn TableCatalog, mut commit: TableCommit) -> Result<Table> {
    let ident = commit.identifier().clone();
    let base = catalog.load(&ident).await?;
    let (updates, requirements) = (commit.take_updates(), commit.take_requirements());
    for requirement in &requirements {
        requirement.check(Some(base.table.metadata()))?;
    }
    let location = base.table.metadata_location().map(str::to_owned);
    let mut metadata = base.table.metadata().clone().into_builder(location);
    for update in &updates {
        metadata = update.clone().apply(metadata)?;
    }
    let next = Next { updates, requirements, metadata: metadata.build()?.metadata };
    catalog.swap(&base, &next).await?;
    catalog.load_table(&ident).await
}

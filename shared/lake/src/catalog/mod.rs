//! The catalog: which tables there are and which metadata file is current.
//!
//! In: a [`CatalogConfig`]. Out: a [`Lake`], an Iceberg [`Catalog`] and the storage that goes with it. Each catalog is a
//! feature of this crate, so that a function carries the one that it uses; SQLite is the default. Refused: a catalog
//! that was not compiled in.

#[cfg(any(feature = "glue", feature = "s3tables"))]
mod aws;
mod config;
#[cfg(all(test, any(feature = "glue", feature = "rest", feature = "s3tables")))]
mod fake;
#[cfg(feature = "glue")]
mod glue;
#[cfg(any(feature = "glue", feature = "s3tables", feature = "sqlite"))]
mod metadata;
#[cfg(any(feature = "glue", feature = "s3tables", feature = "sqlite"))]
mod metadata_chunks;
#[cfg(any(feature = "glue", feature = "s3tables", feature = "sqlite"))]
mod metadata_name;
#[cfg(any(feature = "glue", feature = "s3tables", feature = "sqlite"))]
mod metadata_text;
pub(crate) mod refs;
#[cfg(any(feature = "glue", feature = "rest", feature = "s3tables"))]
mod refused;
#[cfg(feature = "rest")]
mod rest;
#[cfg(feature = "s3tables")]
mod s3tables;
#[cfg(test)]
#[cfg(feature = "sqlite")]
pub(crate) mod simulated;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg_attr(
    not(all(feature = "sqlite", feature = "glue", feature = "rest", feature = "s3tables")),
    allow(dead_code, reason = "each catalog goes by its part of what was loaded and what is to be")
)]
mod swap;

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use iceberg::table::Table;
use iceberg::{Catalog, ErrorKind, Result, TableIdent};

pub use self::config::{CATALOG_NAME, CatalogConfig, RestAuth, Secret};
pub(crate) use self::swap::{Loaded, Next, NotSwapped, TableCatalog};
use crate::avro_names;
use crate::definition::TableDefinition;
use crate::env::{Env, Source};
use crate::ledger::Ledgers;
use crate::name_bounds::NameBounds;
use crate::storage::{S3Config, storage_factory};

/// A catalog and the storage of its tables.
#[derive(Clone, Debug)]
pub struct Lake {
    pub(crate) catalog: Arc<dyn TableCatalog>,
    pub(crate) file_io: FileIO,
    pub(crate) name_bounds: Arc<NameBounds>,
    pub(crate) ledgers: Arc<Ledgers>,
    pub(crate) env: Env,
}

impl Lake {
    /// Opens a catalog, and the storage by `s3`.
    ///
    /// # Errors
    /// It cannot be opened, or this program was built without it.
    pub async fn open(config: &CatalogConfig, s3: &S3Config) -> Result<Self> {
        Self::open_on(config, storage_factory(s3)).await
    }

    /// Opens a catalog whose tables, and all objects, lie in what `storage` makes: one that counts, or one that fails.
    ///
    /// # Errors
    /// It cannot be opened, or this program was built without it.
    pub async fn open_on(config: &CatalogConfig, storage: Arc<dyn StorageFactory>) -> Result<Self> {
        avro_names::install();
        let file_io = FileIOBuilder::new(storage.clone()).build();
        let catalog: Arc<dyn TableCatalog> = match config {
            #[cfg(feature = "sqlite")]
            CatalogConfig::Sqlite { database, warehouse } => {
                Arc::new(sqlite::SqliteCatalog::open(database, warehouse, storage).await?)
            }
            #[cfg(feature = "glue")]
            CatalogConfig::Glue { catalog_id, warehouse, optimizer_role } => Arc::new(
                glue::GlueCatalog::open(catalog_id.clone(), warehouse.clone(), file_io.clone())
                    .await
                    .with_optimizers(optimizer_role.clone()),
            ),
            #[cfg(feature = "rest")]
            CatalogConfig::Rest { uri, warehouse, auth } => {
                Arc::new(rest::RestCatalog::new(uri, warehouse.as_deref(), auth, storage)?)
            }
            #[cfg(feature = "s3tables")]
            CatalogConfig::S3Tables { table_bucket_arn } => {
                Arc::new(s3tables::S3TablesCatalog::open(table_bucket_arn, file_io.clone()).await)
            }
            #[cfg(not(all(feature = "sqlite", feature = "glue", feature = "rest", feature = "s3tables")))]
            absent => return Err(absent.not_compiled_in()),
        };
        Ok(Self {
            catalog,
            file_io,
            name_bounds: Arc::default(),
            ledgers: Arc::default(),
            env: Env::default(),
        })
    }

    /// The same lake by another clock, and other chance: for simulations and benchmarks.
    #[must_use]
    pub fn with_source(self, source: impl Source + 'static) -> Self {
        Self { env: Env::new(source), ..self }
    }

    /// Opens the SQLite catalog in the file `database`, created if it is missing. Tables lie under `warehouse_uri`.
    ///
    /// # Errors
    /// The file cannot be opened or is no SQLite database.
    #[cfg(feature = "sqlite")]
    pub async fn open_sqlite(database: &std::path::Path, warehouse_uri: &str) -> Result<Self> {
        let (database, warehouse) = (database.to_owned(), warehouse_uri.to_owned());
        Self::open(&CatalogConfig::Sqlite { database, warehouse }, &S3Config::default()).await
    }

    /// The catalog, for readers.
    pub fn catalog(&self) -> &dyn Catalog {
        self.catalog.as_ref()
    }

    /// The table `ident`, or None if there is none.
    ///
    /// # Errors
    /// The catalog cannot be asked, or the table's metadata cannot be read.
    pub async fn table(&self, ident: &TableIdent) -> Result<Option<Table>> {
        match self.catalog.load_table(ident).await {
            Ok(table) => Ok(Some(table)),
            Err(error)
                if [ErrorKind::TableNotFound, ErrorKind::NamespaceNotFound].contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Creates the table `ident` by `definition`. Where another writer is faster its table counts.
    ///
    /// # Errors
    /// The catalog's.
    pub async fn create(&self, ident: &TableIdent, definition: TableDefinition) -> Result<Table> {
        let namespace = ident.namespace();
        if !self.catalog.namespace_exists(namespace).await?
            && let Err(error) = self.catalog.create_namespace(namespace, HashMap::new()).await
            && !self.catalog.namespace_exists(namespace).await?
        {
            return Err(error);
        }
        match self
            .catalog
            .create_table(namespace, definition.into_creation(ident.name(), self.catalog.keeps_history()))
            .await
        {
            Ok(table) => Ok(table),
            Err(error) => match self.table(ident).await {
                Ok(Some(table)) => Ok(table),
                _ => Err(error),
            },
        }
    }
}

impl CatalogConfig {
    /// Makes the file of a catalog in a file hold every commit, so that it alone is the catalog. A catalog that is a
    /// server needs nothing. Readers and writers go on meanwhile; `patience` is how long to wait for readers that are at an
    /// earlier state. True if it is done.
    ///
    /// # Errors
    /// The file is damaged or cannot be written.
    pub async fn checkpoint(&self, patience: std::time::Duration) -> Result<bool> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { database, .. } => sqlite::checkpoint(database, patience).await,
            _ => {
                let _ = patience;
                Ok(true)
            }
        }
    }
}

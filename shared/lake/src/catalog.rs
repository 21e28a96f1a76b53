//! The catalog: which tables there are and which metadata file is current.
//!
//! In: configuration. Out: a [`Lake`], an Iceberg [`Catalog`] and the storage that goes with it. This release has one
//! catalog, SQLite in a local file, the embedded default. PyIceberg opens the same file as its `sql` catalog.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::table::Table;
use iceberg::{Catalog, CatalogBuilder as _, Error, ErrorKind, Result, TableIdent};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::definition::TableDefinition;
use crate::name_bounds::NameBounds;
use crate::storage::storage_factory;

/// The name under which every engine must open the SQLite catalog.
pub const CATALOG_NAME: &str = "frazil";

/// How long a connection waits for another one's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A catalog and the storage of its tables.
#[derive(Clone, Debug)]
pub struct Lake {
    pub(crate) catalog: Arc<dyn Catalog>,
    pub(crate) file_io: FileIO,
    pub(crate) name_bounds: Arc<NameBounds>,
}

impl Lake {
    /// Opens the SQLite catalog in the file `database`, created if it is missing. Tables lie under `warehouse_uri`.
    ///
    /// # Errors
    /// The file cannot be opened or is no SQLite database.
    pub async fn open_sqlite(database: &Path, warehouse_uri: &str) -> Result<Self> {
        use_write_ahead_log(database).await?;
        let storage = storage_factory();
        let path = database.to_str().ok_or_else(|| unreadable(database, "the path is not UTF-8"))?;
        let catalog = SqlCatalogBuilder::default()
            .uri(format!("sqlite://{}?mode=rwc", percent_encoded(path)))
            .warehouse_location(warehouse_uri)
            .sql_bind_style(SqlBindStyle::QMark)
            .with_storage_factory(storage.clone())
            .load(CATALOG_NAME, HashMap::new())
            .await?;
        Ok(Self {
            catalog: Arc::new(catalog),
            file_io: FileIOBuilder::new(storage).build(),
            name_bounds: Arc::default(),
        })
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
        match self.catalog.table_exists(ident).await {
            Ok(true) => self.catalog.load_table(ident).await.map(Some),
            Ok(false) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NamespaceNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates the table `ident` by `definition`. Where another writer is faster its table counts.
    pub(crate) async fn create(&self, ident: &TableIdent, definition: TableDefinition) -> Result<Table> {
        let namespace = ident.namespace();
        if !self.catalog.namespace_exists(namespace).await?
            && let Err(error) = self.catalog.create_namespace(namespace, HashMap::new()).await
            && !self.catalog.namespace_exists(namespace).await?
        {
            return Err(error);
        }
        match self.catalog.create_table(namespace, definition.into_creation(ident.name())).await {
            Ok(table) => Ok(table),
            Err(error) => match self.table(ident).await? {
                Some(table) => Ok(table),
                None => Err(error),
            },
        }
    }
}

/// Switches the database to write-ahead logging, which stays with the file.
///
/// Without it a reader's lock makes the COMMIT of another process fail, and the catalog's implementation does not
/// look at the outcome of its COMMIT (see also the check after every commit in `commit.rs`).
async fn use_write_ahead_log(database: &Path) -> Result<()> {
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder).map_err(|error| unreadable(database, error))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal);
    // SQLite does not wait for locks while it changes the journal mode; another process may be doing the same.
    let mut attempts = 0;
    loop {
        match options.connect().await {
            Ok(connection) => {
                return connection.close().await.map_err(|error| unreadable(database, error));
            }
            Err(error) if attempts < 100 && error.to_string().contains("locked") => {
                attempts += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(unreadable(database, error)),
        }
    }
}

fn unreadable(database: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        format!("cannot open the SQLite catalog {}: {error}", database.display()),
    )
}

/// `path` for a SQLite URI, whose reader takes `?`, `#` and `%` for its own.
fn percent_encoded(path: &str) -> String {
    path.replace('%', "%25").replace('?', "%3F").replace('#', "%23")
}

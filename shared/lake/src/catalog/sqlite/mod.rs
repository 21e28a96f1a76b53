//! The SQLite catalog, the embedded default. PyIceberg opens the same file as its `sql` catalog.
//!
//! In: a database file. Out: Iceberg's [`Catalog`]. Namespaces, and what lists tables, are the crate's
//! `iceberg-catalog-sql`. The pointers to metadata files are read and swapped here: that crate reads the metadata anew for
//! every call, knows metadata files by one form of names only, and does not look at the outcome of its COMMIT.

mod file;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::io::{FileIOBuilder, StorageFactory};
use iceberg::table::Table;
use iceberg::{
    Catalog, CatalogBuilder as _, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit,
    TableCreation, TableIdent,
};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

pub(super) use self::file::checkpoint;
use super::config::CATALOG_NAME;
use super::metadata::MetadataFiles;
use super::swap::{Loaded, Next, NotSwapped, TableCatalog, Version, update};

/// What has a meaning in a SQLite URI.
const URI_SYNTAX: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');
/// Property of a namespace.
const LOCATION: &str = "location";
/// Result codes that say that nothing was written, and that another attempt will end likewise: SQLITE_PERM, SQLITE_READONLY
/// and SQLITE_AUTH (SQLite, "Result and Error Codes"). The low byte of a code is its kind.
const REFUSALS: [i32; 3] = [3, 8, 23];

/// The table of the catalog is that of Iceberg's JDBC catalog, which holds views beside tables.
const POINTER: &str = "SELECT metadata_location FROM iceberg_tables \
     WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? \
     AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
/// One statement is a transaction of its own: its outcome is that of the COMMIT.
const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
     WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ? \
     AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const INSERT: &str = "INSERT INTO iceberg_tables \
     (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) VALUES (?, ?, ?, ?, 'TABLE')";

#[derive(Debug)]
pub(super) struct SqliteCatalog {
    inner: SqlCatalog,
    database: PathBuf,
    pool: SqlitePool,
    warehouse: String,
    files: MetadataFiles,
}

impl SqliteCatalog {
    /// Opens the catalog in the file `database`, created if it is missing. Tables lie under `warehouse`, a URI.
    pub(super) async fn open(
        database: &Path,
        warehouse: &str,
        storage: Arc<dyn StorageFactory>,
    ) -> Result<Self> {
        file::use_write_ahead_log(database).await?;
        let path = database.to_str().ok_or_else(|| file::unreadable(database, "the path is not UTF-8"))?;
        let inner = SqlCatalogBuilder::default()
            .uri(format!("sqlite://{}?mode=rwc", utf8_percent_encode(path, URI_SYNTAX)))
            .warehouse_location(warehouse)
            .sql_bind_style(SqlBindStyle::QMark)
            .with_storage_factory(storage.clone())
            .load(CATALOG_NAME, HashMap::new())
            .await?;
        let options = SqliteConnectOptions::new().filename(database).busy_timeout(file::BUSY_TIMEOUT);
        Ok(Self {
            inner,
            database: database.to_owned(),
            pool: SqlitePoolOptions::new().connect_lazy_with(options),
            warehouse: warehouse.to_owned(),
            files: MetadataFiles::new(FileIOBuilder::new(storage).build()),
        })
    }

    /// Where the metadata file of the table `ident` is.
    async fn pointer(&self, ident: &TableIdent) -> Result<String> {
        let asked = sqlx::query_scalar(POINTER)
            .bind(CATALOG_NAME)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .fetch_optional(&self.pool)
            .await;
        // A row without a location is nothing that can be read.
        let pointer: Option<Option<String>> =
            asked.map_err(|error| self.failed(&format!("look for the table {ident}"), error))?;
        pointer.flatten().ok_or_else(|| {
            let what = format!(
                "the SQLite catalog {} has no table {ident}: create it, or see FRAZIL_TABLE and FRAZIL_CATALOG_URI",
                self.database.display()
            );
            Error::new(ErrorKind::TableNotFound, what)
        })
    }

    async fn insert(&self, table: &Table) -> Result<()> {
        let ident = table.identifier();
        let inserted = sqlx::query(INSERT)
            .bind(CATALOG_NAME)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .bind(table.metadata_location_result()?)
            .execute(&self.pool)
            .await;
        match inserted {
            Ok(_) => Ok(()),
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                let what = format!("the SQLite catalog has a table {ident} already");
                Err(Error::new(ErrorKind::TableAlreadyExists, what))
            }
            Err(error) => Err(self.failed(&format!("create the table {ident}"), error)),
        }
    }

    /// Where a table lies if nothing else is said.
    async fn default_location(&self, namespace: &NamespaceIdent, name: &str) -> Result<String> {
        let properties = self.inner.get_namespace(namespace).await?;
        let folder = match properties.properties().get(LOCATION) {
            Some(location) => location.clone(),
            None => format!("{}/{}", self.warehouse, namespace.join("/")),
        };
        Ok(format!("{folder}/{name}"))
    }

    fn failed(&self, what: &str, error: sqlx::Error) -> Error {
        let database = self.database.display();
        let remedy =
            "See that the file can be written, that its disk has room, and that no program keeps it locked";
        Error::new(
            ErrorKind::Unexpected,
            format!("cannot {what} in the SQLite catalog {database}: {error}. {remedy}"),
        )
    }
}

/// Whether SQLite says that it has not written, and never will.
fn is_refusal(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| REFUSALS.contains(&(code & 0xff)))
}

#[async_trait]
impl TableCatalog for SqliteCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
        let (table, refs) = self.files.table(ident, &self.pointer(ident).await?).await?;
        Ok(Loaded { table, refs, version: Version::Location })
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let ident = base.table.identifier();
        let before = base.table.metadata_location_result().map_err(NotSwapped::Refused)?;
        let location = self.files.stage(base, next).await.map_err(NotSwapped::Unknown)?;
        let swapped = sqlx::query(SWAP)
            .bind(location)
            .bind(before)
            .bind(CATALOG_NAME)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .bind(before)
            .execute(&self.pool)
            .await;
        match swapped {
            Ok(swapped) if swapped.rows_affected() == 1 => Ok(()),
            // Dropped counts as changed: the next load says so.
            Ok(_) => {
                Err(NotSwapped::conflict(format!("another writer was faster: the table {ident} has changed")))
            }
            Err(error) => {
                let why = if is_refusal(&error) { NotSwapped::Refused } else { NotSwapped::Unknown };
                Err(why(self.failed(&format!("update the table {ident}"), error)))
            }
        }
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        Ok(self.load(ident).await?.table)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        update(self, commit).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<Table> {
        let default = self.default_location(namespace, &creation.name).await?;
        creation.location.get_or_insert(default);
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let table = self.files.create(&ident, creation).await?;
        self.insert(&table).await?;
        Ok(table)
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: String) -> Result<Table> {
        let (table, _) = self.files.table(ident, &metadata_location).await?;
        self.insert(&table).await?;
        Ok(table)
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        self.inner.table_exists(ident).await
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        self.inner.drop_table(ident).await
    }

    async fn purge_table(&self, ident: &TableIdent) -> Result<()> {
        self.inner.purge_table(ident).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.inner.rename_table(from, to).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.inner.list_tables(namespace).await
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.inner.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.inner.create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.inner.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.inner.namespace_exists(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.inner.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.inner.drop_namespace(namespace).await
    }
}

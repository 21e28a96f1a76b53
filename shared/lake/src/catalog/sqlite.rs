//! The SQLite catalog, the embedded default. PyIceberg opens the same file as its `sql` catalog.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use iceberg::io::StorageFactory;
use iceberg::{CatalogBuilder as _, Error, ErrorKind, Result};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::CATALOG_NAME;

/// How long a connection waits for another one's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// What has a meaning in a SQLite URI.
const URI_SYNTAX: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// Opens the catalog in the file `database`, created if it is missing. Tables lie under `warehouse_uri`.
pub(crate) async fn open(
    database: &Path,
    warehouse_uri: &str,
    storage: Arc<dyn StorageFactory>,
) -> Result<SqlCatalog> {
    use_write_ahead_log(database).await?;
    let path = database.to_str().ok_or_else(|| unreadable(database, "the path is not UTF-8"))?;
    SqlCatalogBuilder::default()
        .uri(format!("sqlite://{}?mode=rwc", utf8_percent_encode(path, URI_SYNTAX)))
        .warehouse_location(warehouse_uri)
        .sql_bind_style(SqlBindStyle::QMark)
        .with_storage_factory(storage)
        .load(CATALOG_NAME, HashMap::new())
        .await
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

#[cfg(test)]
mod tests {
    use iceberg::Catalog as _;
    use iceberg::io::LocalFsStorageFactory;

    use super::*;

    #[tokio::test]
    async fn any_path_names_its_own_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["50%", "%41", "a b+c", "which?mode=memory", "nr#1", "zoë"] {
            let database = folder.path().join(name).join("catalog.db");
            let catalog = open(&database, "file:///unused", Arc::new(LocalFsStorageFactory)).await.unwrap();
            assert!(catalog.list_namespaces(None).await.unwrap().is_empty());
            // The catalog's tables are in this file and in no other.
            let options = SqliteConnectOptions::new().filename(&database);
            let mut connection = options.connect().await.unwrap();
            sqlx::query("SELECT count(*) FROM iceberg_tables").execute(&mut connection).await.unwrap();
        }
    }
}

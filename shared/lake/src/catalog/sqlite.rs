//! The SQLite catalog, the embedded default. PyIceberg opens the same file as its `sql` catalog.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iceberg::TableIdent;
use iceberg::io::{FileIOBuilder, StorageFactory};
use iceberg::{CatalogBuilder as _, Error, ErrorKind, Result};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalog, SqlCatalogBuilder};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{ConnectOptions as _, Connection as _};

use super::CATALOG_NAME;
use super::metadata::MetadataFiles;
use super::swap::{Loaded, Next, NotSwapped, TableCatalog, Version};

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

/// Brings the commits in the write-ahead log into the file `database`, so that a copy of this file alone is the catalog.
/// Nobody has to wait for it. A transaction of another process that began before the last commit holds the log back:
/// `patience` is how long to wait for its end. True if the file has everything.
///
/// # Errors
/// The file is no SQLite database, or cannot be written.
pub(crate) async fn checkpoint(database: &Path, patience: Duration) -> Result<bool> {
    const PAUSE: Duration = Duration::from_millis(20);
    if !database.is_file() {
        return Ok(true);
    }
    let failed = |error| unreadable(database, error);
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::ZERO);
    let until = Instant::now() + patience;
    let mut connection = options.connect().await.map_err(failed)?;
    let is_done = loop {
        // PASSIVE is the mode that takes no lock of readers or writers (SQLite, "PRAGMA wal_checkpoint").
        let passive = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut connection).await;
        let (is_busy, in_log, in_file): (i64, i64, i64) = passive.map_err(failed)?;
        if is_busy == 0 && in_log == in_file {
            break true;
        }
        if Instant::now() >= until {
            break false;
        }
        tokio::time::sleep(PAUSE).await;
    };
    if is_done {
        // An empty log says so to whoever looks at the folder. If others read it just now, it stays as it is.
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
    }
    connection.close().await.map_err(failed)?;
    Ok(is_done)
}

fn unreadable(database: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        format!("cannot open the SQLite catalog {}: {error}", database.display()),
    )
}

/// The catalog in a file.
#[derive(Debug)]
pub(super) struct SqliteCatalog {
    pool: SqlitePool,
    files: MetadataFiles,
}

impl SqliteCatalog {
    pub(super) fn open(database: &Path, storage: Arc<dyn StorageFactory>) -> Result<Self> {
        let file_io = FileIOBuilder::new(storage).build();
        let options = SqliteConnectOptions::new().filename(database).busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_lazy_with(options);
        Ok(Self { pool, files: MetadataFiles::new(file_io) })
    }
}

const SELECT: &str = "SELECT metadata_location FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? \
                      AND table_name = ? AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL)";
const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
                    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? \
                    AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) AND metadata_location = ?";

#[async_trait]
impl TableCatalog for SqliteCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
        let asked: std::result::Result<Option<Option<String>>, sqlx::Error> = sqlx::query_scalar(SELECT)
            .bind(CATALOG_NAME)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .fetch_optional(&self.pool)
            .await;
        let location = asked
            .map_err(|error| Error::new(ErrorKind::Unexpected, format!("the SQLite catalog: {error}")))?;
        let location = location.flatten().ok_or_else(|| {
            Error::new(ErrorKind::TableNotFound, format!("the SQLite catalog has no table {ident}"))
        })?;
        Ok(Loaded { table: self.files.table(ident, &location).await?, version: Version::Location })
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let staged = self.files.stage_next(base, next).await.map_err(NotSwapped::Unknown)?;
        let location = base.table.metadata_location_result().map_err(NotSwapped::Refused)?;
        let ident = base.table.identifier();
        let swapped = sqlx::query(SWAP)
            .bind(&staged)
            .bind(location)
            .bind(CATALOG_NAME)
            .bind(ident.namespace().join("."))
            .bind(ident.name())
            .bind(location)
            .execute(&self.pool)
            .await;
        match swapped {
            Ok(done) if done.rows_affected() > 0 => Ok(()),
            Ok(_) => Err(NotSwapped::Conflict(Error::new(
                ErrorKind::CatalogCommitConflicts,
                "another writer was faster",
            ))),
            Err(error) => Err(NotSwapped::Unknown(Error::new(ErrorKind::Unexpected, error.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use iceberg::Catalog as _;
    use iceberg::io::LocalFsStorageFactory;
    use sqlx::SqliteConnection;

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

    async fn connect(database: &Path) -> SqliteConnection {
        SqliteConnectOptions::new().filename(database).connect().await.unwrap()
    }

    async fn run(connection: &mut SqliteConnection, statement: &str) {
        sqlx::query(statement).execute(connection).await.unwrap();
    }

    /// What a copy of the file alone has.
    async fn rows_in_copy(database: &Path) -> i64 {
        let copy = database.with_extension("copy");
        std::fs::copy(database, &copy).unwrap();
        let mut copy = connect(&copy).await;
        sqlx::query_scalar("SELECT count(*) FROM numbers").fetch_one(&mut copy).await.unwrap()
    }

    #[tokio::test]
    async fn a_checkpoint_waits_for_readers_and_stops_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("catalog.db");
        assert!(checkpoint(&database, Duration::ZERO).await.unwrap() && !database.exists());
        use_write_ahead_log(&database).await.unwrap();
        let (mut writer, mut reader) = (connect(&database).await, connect(&database).await);
        run(&mut writer, "CREATE TABLE numbers (n)").await;
        run(&mut writer, "INSERT INTO numbers VALUES (1)").await;
        assert!(checkpoint(&database, Duration::ZERO).await.unwrap());
        assert_eq!(rows_in_copy(&database).await, 1);

        run(&mut reader, "BEGIN").await;
        run(&mut reader, "SELECT * FROM numbers").await;
        run(&mut writer, "INSERT INTO numbers VALUES (2)").await;
        assert!(!checkpoint(&database, Duration::ZERO).await.unwrap(), "the reader is at the first row");
        let (is_done, ()) = tokio::join!(checkpoint(&database, Duration::from_secs(60)), async {
            run(&mut writer, "INSERT INTO numbers VALUES (3)").await;
            run(&mut reader, "COMMIT").await;
        });
        assert!(is_done.unwrap());
        assert_eq!(rows_in_copy(&database).await, 3);
        let log = database.with_extension("db-wal");
        assert_eq!(log.metadata().unwrap().len(), 0);

        std::fs::write(&database, [0x55; 8192]).unwrap();
        assert!(checkpoint(&database, Duration::ZERO).await.is_err());
    }
}

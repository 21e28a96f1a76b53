//! The database file of the SQLite catalog: write-ahead logging, and how to make the file alone the whole catalog.

use std::path::Path;
use std::time::{Duration, Instant};

use iceberg::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

/// How long a connection waits for another one's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Switches the database to write-ahead logging, which stays with the file.
///
/// Without it a reader's lock makes the COMMIT of another process fail, and the crate that creates namespaces does not look
/// at the outcome of its COMMIT.
pub(super) async fn use_write_ahead_log(database: &Path) -> Result<()> {
    if let Some(folder) = database.parent() {
        std::fs::create_dir_all(folder).map_err(|error| unreadable(database, error))?;
    }
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal);
    // SQLite does not wait for locks while it changes the journal mode; another process may be doing the same.
    let until = Instant::now() + BUSY_TIMEOUT;
    loop {
        match options.connect().await {
            Ok(connection) => {
                return connection.close().await.map_err(|error| unreadable(database, error));
            }
            Err(error) if Instant::now() < until && is_locked(&error) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => return Err(unreadable(database, error)),
        }
    }
}

/// Whether another connection has the database for itself: SQLITE_BUSY or SQLITE_LOCKED, whose low byte is the kind (SQLite,
/// "Result and Error Codes").
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| [5, 6].contains(&(code & 0xff)))
}

/// Brings the commits in the write-ahead log into the file `database`, so that a copy of this file alone is the catalog.
/// What is being written comes first: a connection that was dropped in the middle of a statement still runs it to its end.
/// Nobody has to wait for it. A transaction of another process that began before the last commit holds the log back:
/// `patience` is how long to wait for its end. True if the file has everything.
///
/// # Errors
/// The file is no SQLite database, or cannot be written.
pub(in super::super) async fn checkpoint(database: &Path, patience: Duration) -> Result<bool> {
    const PAUSE: Duration = Duration::from_millis(20);
    if !database.is_file() {
        return Ok(true);
    }
    let failed = |error| unreadable(database, error);
    let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::ZERO);
    let until = Instant::now() + patience;
    let mut connection = options.connect().await.map_err(failed)?;
    let mut has_waited_for_writer = false;
    let is_done = loop {
        if !has_waited_for_writer {
            // One writer at a time: who has the lock knows that no other statement is under way.
            has_waited_for_writer = match sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await {
                Ok(_) => {
                    sqlx::query("ROLLBACK").execute(&mut connection).await.map_err(failed)?;
                    true
                }
                Err(error) if is_locked(&error) => false,
                Err(error) => return Err(failed(error)),
            };
        }
        // PASSIVE is the mode that takes no lock of readers or writers (SQLite, "PRAGMA wal_checkpoint").
        let passive = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut connection).await;
        let (is_busy, in_log, in_file): (i64, i64, i64) = passive.map_err(failed)?;
        if has_waited_for_writer && is_busy == 0 && in_log == in_file {
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

pub(super) fn unreadable(database: &Path, error: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        format!("cannot open the SQLite catalog {}: {error}", database.display()),
    )
}

#[cfg(test)]
mod tests {
    use sqlx::SqliteConnection;

    use super::*;

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

        run(&mut writer, "BEGIN IMMEDIATE").await;
        run(&mut writer, "INSERT INTO numbers VALUES (4)").await;
        assert!(!checkpoint(&database, Duration::ZERO).await.unwrap(), "the writer has not committed");
        let (is_done, ()) = tokio::join!(checkpoint(&database, Duration::from_secs(60)), async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            run(&mut writer, "COMMIT").await;
        });
        assert!(is_done.unwrap());
        assert_eq!(rows_in_copy(&database).await, 4);

        std::fs::write(&database, [0x55; 8192]).unwrap();
        assert!(checkpoint(&database, Duration::ZERO).await.is_err());
    }
}

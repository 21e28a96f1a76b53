//! What the tests of the append binary share: a lake in a folder of its own, raw objects, the binary under a Runtime
//! API, a queue that delivers messages until they are done, and a comparison of the table with the objects.
//!
//! Nothing here asks the code under test what is right. Objects know their records; the table is read from the
//! catalog's file, the metadata, the manifests and the Parquet files.

#![allow(dead_code, unused_imports, reason = "every test uses a part")]
#![allow(clippy::expect_used, clippy::panic, reason = "test helpers fail by panicking")]

mod fleet;
mod function;
mod input;
mod runtime;
mod table;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use append::config::table_ident;
use fastrand::Rng;
use flate2::read::MultiGzDecoder;
use lake::Lake;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tempfile::TempDir;

pub(crate) use self::fleet::{Fate, Fleet, Message, Plan, messages, sqs_event};
pub(crate) use self::function::function;
pub(crate) use self::input::{Input, Kind};
pub(crate) use self::runtime::{Answer, Heard, PATIENCE, Process, REQUEST_ID};

/// The repository.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The table of all tests.
pub(crate) const TABLE: &str = "streaming_analytics.user_events";

/// A folder with a lake: `raw/`, `catalog.db`, `warehouse/`, `errors/`, and `log`, what the functions log. It is kept
/// if the test fails.
pub(crate) struct Place {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Place {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { folder: tempfile::tempdir().unwrap(), runtime }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.path().join("catalog.db")
    }

    /// Writes the raw objects.
    pub(crate) fn put(&self, inputs: &[Input]) {
        for input in inputs {
            let path = self.path().join("raw").join(&input.key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &input.content).unwrap();
        }
    }

    /// How often the functions have logged `text`.
    pub(crate) fn logged(&self, text: &str) -> usize {
        std::fs::read_to_string(self.path().join("log")).unwrap().matches(text).count()
    }

    pub(crate) fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Creates the catalog and the namespace of [`TABLE`], but no table.
    pub(crate) fn create_namespace(&self) {
        self.wait_for(async {
            let lake = Lake::open_sqlite(&self.catalog(), "file:///unused").await.unwrap();
            let namespace = table_ident(TABLE).unwrap().namespace().clone();
            lake.catalog().create_namespace(&namespace, HashMap::new()).await.unwrap();
        });
    }

    /// Takes the catalog's write lock, which nobody else has then.
    pub(crate) fn lock_catalog(&self) -> SqliteConnection {
        self.wait_for(async {
            let mut catalog = self.connect().await;
            sqlx::query("BEGIN IMMEDIATE").execute(&mut catalog).await.unwrap();
            catalog
        })
    }

    /// Begins to read the catalog.
    pub(crate) fn read_catalog(&self) -> SqliteConnection {
        self.wait_for(async {
            let mut catalog = self.connect().await;
            sqlx::query("BEGIN").execute(&mut catalog).await.unwrap();
            sqlx::query("SELECT * FROM iceberg_tables").fetch_all(&mut catalog).await.unwrap();
            catalog
        })
    }

    /// Gives back a lock.
    pub(crate) fn unlock_catalog(&self, mut catalog: SqliteConnection) {
        self.wait_for(async {
            sqlx::query("ROLLBACK").execute(&mut catalog).await.unwrap();
            catalog.close().await.unwrap();
        });
    }

    /// How many files of table metadata are whole.
    pub(crate) fn whole_metadata(&self) -> usize {
        self.in_warehouse(".metadata.json").iter().filter(|path| metadata(path).is_some()).count()
    }

    /// Files under the warehouse whose names end like this.
    pub(crate) fn in_warehouse(&self, ending: &str) -> Vec<PathBuf> {
        let mut files = files(&self.path().join("warehouse"));
        files.retain(|path| path.to_str().unwrap().ends_with(ending));
        files
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            say(&format!("kept for inspection: {}", self.path().display()));
        }
    }
}

/// The numbers from which the test `name` draws all its choices: those of `FRAZIL_SEED` if it is set, others every time
/// if not.
pub(crate) fn random(name: &str) -> Rng {
    let seed = match std::env::var("FRAZIL_SEED") {
        Ok(seed) => seed.parse().expect("FRAZIL_SEED is a whole number"),
        Err(_) => fastrand::u64(..1_000_000_000),
    };
    say(&format!("seed={seed} {name}"));
    let name = name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Rng::with_seed(seed ^ name.rotate_left(32))
}

/// How often to repeat what is worth repeating: `FRAZIL_ROUNDS`, or once.
pub(crate) fn rounds() -> usize {
    std::env::var("FRAZIL_ROUNDS")
        .map_or(1, |rounds| rounds.parse().expect("FRAZIL_ROUNDS is a whole number"))
}

/// Writes a line that is to be seen even where the test passes.
#[expect(clippy::explicit_write, reason = "the macro's lines are seen only where it fails")]
pub(crate) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}

/// Waits until `condition` gives something.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The table metadata in a file, compressed or not; None while it is not whole.
pub(crate) fn metadata(path: &Path) -> Option<Value> {
    let mut bytes = std::fs::read(path).unwrap();
    if path.to_str().unwrap().ends_with(".gz.metadata.json") {
        let mut json = Vec::new();
        MultiGzDecoder::new(&bytes[..]).read_to_end(&mut json).ok()?;
        bytes = json;
    }
    serde_json::from_slice(&bytes).ok()
}

/// All files under `folder`, at any depth.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

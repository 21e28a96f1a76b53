//! The folder of a lake on this machine: what is where in it, and which tables its catalog lists.
//!
//! In: the path that the user gave. Out: [`Folders`], and a [`Listing`] of the SQLite catalog that is read without
//! changing it. Nothing is created unless [`Folders::create`] is called.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use lake::audit::ListedTable;
use lake::{CatalogConfig, Layout};
pub(crate) use lake::{canonical, local_path};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use walkdir::WalkDir;

/// The folder that stands for the bucket of raw objects.
pub(crate) const RAW_BUCKET: &str = "raw";
/// The function whose limits count here: what an append takes for a record follows from them.
pub(crate) const MEMORY_BYTES: usize = 512 << 20;

/// Beyond so many, a catalog that changes while it is read is left to its writers.
const LISTING_ATTEMPTS: u32 = 10;
const LISTING_PAUSE: Duration = Duration::from_millis(20);

/// The folders of a lake.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
    pub(crate) root_uri: String,
    /// `root` without links: another user of the lake may have come by another path.
    canonical_root: PathBuf,
}

impl Folders {
    pub(crate) fn new(warehouse: &Path) -> anyhow::Result<Self> {
        if let Some(uri) = warehouse.to_str().filter(|text| text.contains("://")) {
            bail!(
                "{uri} is a URI: --warehouse works on a local warehouse only; give the path of a folder, or name the lake by \
                 --catalog or the variables of append, where the command takes them"
            );
        }
        let root = std::path::absolute(warehouse)?;
        let text = root.to_str().with_context(|| format!("{} is not UTF-8", root.display()))?;
        // Engines read the locations in the metadata as URIs, whatever is written there.
        if text.contains(['#', '?']) {
            bail!(
                "{text}: a warehouse whose path has '#' or '?' cannot be opened by other engines; choose another"
            );
        }
        let root_uri = format!("file://{}", text.trim_end_matches('/'));
        let canonical_root = canonical(&root);
        Ok(Self { root, root_uri, canonical_root })
    }

    /// Creates the folders that are missing.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        for folder in ["warehouse", RAW_BUCKET, "errors"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        Ok(())
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog.db")
    }

    /// How to open the catalog.
    pub(crate) fn catalog_config(&self) -> CatalogConfig {
        CatalogConfig::Sqlite { database: self.catalog(), warehouse: format!("{}/warehouse", self.root_uri) }
    }

    /// The catalog's file, which must be there.
    pub(crate) fn existing_catalog(&self) -> anyhow::Result<PathBuf> {
        let catalog = self.catalog();
        if !catalog.is_file() {
            bail!(
                "{} has no catalog.db: there is no lake here; name the folder of one with --warehouse",
                self.root.display()
            );
        }
        Ok(catalog)
    }

    /// Refuses a warehouse that was copied or moved: its tables are where they were, and so would be what is written.
    ///
    /// # Errors
    /// Where its tables are, and what to do. The catalog cannot be read.
    pub(crate) async fn require_home(&self) -> anyhow::Result<()> {
        if self.catalog().is_file() {
            for table in list_tables(&self.catalog()).await?.tables {
                if let Some(why) = self.displaced(&table) {
                    bail!("{why}");
                }
            }
        }
        Ok(())
    }

    /// Why `table` belongs to a warehouse in another folder, if it does. Metadata of Iceberg has absolute paths. A table
    /// that was registered from elsewhere is none of these: it has no place in the warehouse of this folder, nor in that
    /// of another catalog.
    pub(crate) fn displaced(&self, table: &ListedTable) -> Option<String> {
        let path = local_path(&table.metadata_location)?;
        if self.place(&path).is_some() {
            return None;
        }
        let home =
            path.ancestors().skip(1).filter(|folder| folder.ends_with("warehouse")).find_map(|folder| {
                let (home, below) = (folder.parent()?, path.strip_prefix(folder).ok()?);
                let is_here = self.root.join("warehouse").join(below).exists();
                (is_here || home.join("catalog.db").is_file()).then_some(home)
            })?;
        let is_copy = home.join("catalog.db").is_file();
        let (root, home, name) = (self.root.display(), home.display(), &table.name);
        Some(if is_copy {
            format!(
                "{root} is a copy of the warehouse in {home}: its table {name} is not in {root}, but still in {home}, \
                 where new rows would go. Use --warehouse {home}; to get another warehouse, replay the inputs into a new \
                 folder"
            )
        } else {
            format!(
                "{root} was moved: its table {name} is not in {root}, but was in {home}, and the metadata of Iceberg \
                 has absolute paths. Move the folder back, or lay a link where it was: ln -s {root} {home}"
            )
        })
    }

    /// Where things lie in it.
    pub(crate) fn layout(&self) -> Layout {
        Layout::of_folder(&self.root, &self.root_uri)
    }

    /// Where `path` lies below the root, by whatever path to it: `<bucket>/<key>` for an object. None if it does not.
    pub(crate) fn place(&self, path: &Path) -> Option<String> {
        let below = match path.strip_prefix(&self.root) {
            Ok(below) => below.to_owned(),
            Err(_) => canonical(path).strip_prefix(&self.canonical_root).ok()?.to_owned(),
        };
        below.into_os_string().into_string().ok().filter(|place| !place.is_empty())
    }
}

/// All files below `folder`, in order; none if there is no such folder. Links to folders are not followed: what lies
/// behind them belongs to somebody else.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(folder) {
        match entry {
            Ok(entry) => {
                let kind = entry.file_type();
                if kind.is_file() || (kind.is_symlink() && entry.path().is_file()) {
                    found.push(entry.into_path());
                }
            }
            // Never there, or gone since its folder was listed.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot list {}", folder.display())),
        }
    }
    found.sort();
    Ok(found)
}

/// Whether an entry is not there, or not any more.
pub(crate) fn is_gone(error: &walkdir::Error) -> bool {
    error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// What the catalog says.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) tables: Vec<ListedTable>,
    /// What is wrong with the database itself. The tables are then those that could be read.
    pub(crate) damage: Vec<String>,
}

/// Reads the catalog in the file `database` and changes nothing in it.
///
/// A reader of a database in write-ahead mode leaves files of its own beside it. Only where there is no log of a writer
/// may it be opened as one that cannot change; if it did meanwhile, what was read is not trusted.
pub(crate) async fn list_tables(database: &Path) -> anyhow::Result<Listing> {
    for _ in 0..LISTING_ATTEMPTS {
        let before = state(database)?;
        let immutable = before.log_bytes == 0;
        let mut listing = Listing::default();
        if let Err(error) = read_listing(database, immutable, &mut listing).await {
            listing.damage.push(error.to_string());
        }
        if !immutable || state(database)? == before {
            return Ok(listing);
        }
        tokio::time::sleep(LISTING_PAUSE).await;
    }
    bail!("{} is written to all the time; try again later", database.display())
}

#[derive(PartialEq, Eq)]
struct State {
    modified: SystemTime,
    bytes: u64,
    log_bytes: u64,
}

fn state(database: &Path) -> anyhow::Result<State> {
    let failed = || format!("cannot read {}", database.display());
    let metadata = fs::metadata(database).with_context(failed)?;
    let log_bytes = |extension| fs::metadata(database.with_extension(extension)).map_or(0, |log| log.len());
    Ok(State {
        modified: metadata.modified().with_context(failed)?,
        bytes: metadata.len(),
        log_bytes: log_bytes("db-wal") + log_bytes("db-journal"),
    })
}

async fn read_listing(database: &Path, immutable: bool, listing: &mut Listing) -> sqlx::Result<()> {
    let mut connection = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true)
        .immutable(immutable)
        .busy_timeout(Duration::from_secs(10))
        .connect()
        .await?;
    let read = read_tables(&mut connection, listing).await;
    let checked = check(&mut connection, listing).await;
    connection.close().await?;
    read.and(checked)
}

async fn read_tables(connection: &mut SqliteConnection, listing: &mut Listing) -> sqlx::Result<()> {
    // A writer that was killed early may have left an empty database.
    let tables = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'iceberg_tables'";
    if sqlx::query(tables).fetch_optional(&mut *connection).await?.is_none() {
        return Ok(());
    }
    // Whatever the name under which an engine opens the catalog: the tables in the file are the lake's.
    let rows = sqlx::query("SELECT * FROM iceberg_tables ORDER BY table_namespace, table_name");
    for row in rows.fetch_all(connection).await? {
        // Catalogs of old have no such column, and hold tables only.
        let kind: Option<String> = row.try_get("iceberg_type").unwrap_or_default();
        let metadata_location: Option<String> = row.try_get("metadata_location")?;
        let (namespace, name): (String, String) =
            (row.try_get("table_namespace")?, row.try_get("table_name")?);
        let name = format!("{namespace}.{name}");
        match (kind.as_deref(), metadata_location) {
            (None | Some("TABLE"), Some(metadata_location)) => {
                let table = ListedTable { name, metadata_location };
                if !listing.tables.contains(&table) {
                    listing.tables.push(table);
                }
            }
            (None | Some("TABLE"), None) => listing.damage.push(format!("the table {name} has no metadata")),
            (Some(_), _) => {}
        }
    }
    Ok(())
}

async fn check(connection: &mut SqliteConnection, listing: &mut Listing) -> sqlx::Result<()> {
    for row in sqlx::query("PRAGMA integrity_check").fetch_all(connection).await? {
        let what: String = row.try_get(0)?;
        if what != "ok" {
            listing.damage.push(what);
        }
    }
    Ok(())
}

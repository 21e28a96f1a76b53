//! The folder of a lake on this machine: what is where in it, and which tables its catalog lists.
//!
//! In: the path that the user gave. Out: [`Folders`] and a [`Listing`]. Nothing is created unless [`Folders::create`] is called.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

/// The folder that stands for the bucket of raw objects.
pub(crate) const RAW_BUCKET: &str = "raw";
/// The function whose limits count here.
pub(crate) const MEMORY_BYTES: usize = 512 << 20;

/// The folders of a lake.
#[derive(Debug)]
pub(crate) struct Folders {
    pub(crate) root: PathBuf,
    pub(crate) root_uri: String,
}

impl Folders {
    pub(crate) fn new(warehouse: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(warehouse)?;
        let text = root.to_str().with_context(|| format!("{} is not UTF-8", root.display()))?;
        // Engines read the locations in the metadata as URIs, whatever is written there.
        if text.contains(['#', '?']) {
            bail!(
                "{text}: a warehouse whose path has '#' or '?' cannot be opened by other engines; choose another"
            );
        }
        let root_uri = format!("file://{}", text.trim_end_matches('/'));
        Ok(Self { root, root_uri })
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

    /// Where `path` lies below the root: `<bucket>/<key>` for an object. None if it does not.
    pub(crate) fn place(&self, path: &Path) -> Option<String> {
        path.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned)
    }
}

/// All files below `folder`, in order; none if there is no such folder.
pub(crate) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let failed = || format!("cannot list {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(failed),
        };
        for entry in entries {
            let entry = entry.with_context(failed)?;
            if entry.file_type().with_context(failed)?.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Whether `path` is a file that its writer never finished.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "part")
}

/// What the catalog says.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) tables: Vec<ListedTable>,
    /// What is wrong with the database itself.
    pub(crate) damage: Vec<String>,
}

/// A table of the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedTable {
    /// `NAMESPACE.NAME`.
    pub(crate) name: String,
}

/// The tables in the catalog's file, by name. The catalog itself does not list what is in a namespace whose parent was never
/// created.
pub(crate) async fn list_tables(database: &Path) -> anyhow::Result<Listing> {
    let mut connection = SqliteConnectOptions::new().filename(database).connect().await?;
    let rows = "SELECT table_namespace, table_name FROM iceberg_tables ORDER BY 1, 2";
    let rows = sqlx::query(rows).fetch_all(&mut connection).await?;
    connection.close().await?;
    let mut listing = Listing::default();
    for row in rows {
        let (namespace, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        listing.tables.push(ListedTable { name: format!("{namespace}.{name}") });
    }
    Ok(listing)
}

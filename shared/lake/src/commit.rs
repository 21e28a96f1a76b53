//! Data files and tokens -> one snapshot.
//!
//! In: files that nothing refers to yet, and the tokens of the objects they were made of. Out: the snapshot that has
//! both, or the tokens that another writer has committed meanwhile. This is the only door to the table.
//!
//! - The tokens stand in the summary of the snapshot that holds the rows: one atomic change.
//! - Before EVERY attempt the tokens are looked for on the base of that attempt. The library rebases a transaction
//!   by itself; [`Pinned`] refuses a base other than the one that was looked at, and lets no error be retried there.
//! - After ANY error the outcome is unknown: the table is loaded again and the tokens are looked for before another
//!   attempt. After a success too: the table must really hold the snapshot.
//! - Nothing is deleted here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent,
};
use uuid::Uuid;

use crate::token::{self, Seen, Token};

/// Where a snapshot's summary names the commit that made it.
const COMMIT_KEY: &str = "frazil.commit";

/// The first pause between attempts; it doubles up to [`MAX_PAUSE`] and is cut at random.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Attempts that fail for another reason than a conflict.
const MAX_FAILURES: u32 = 5;

/// What became of an append.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The table as it is with the new snapshot, and the snapshot's id.
    Snapshot(Box<Table>, i64),
    /// Nothing was committed: another writer's snapshots have these objects already. If `tried`, the files may stand
    /// in metadata that was never current, and are left alone.
    Known { tokens: Vec<Token>, tried: bool },
}

/// Appends `files` with `tokens` to the table `ident`, until `deadline`. `id` tells this commit from any other.
///
/// # Errors
/// The catalog's or the storage's. The tokens are then not in the table as it was last seen.
pub(crate) async fn commit(
    catalog: &dyn Catalog,
    ident: &TableIdent,
    files: &[DataFile],
    tokens: &[Token],
    id: Uuid,
    deadline: Instant,
) -> Result<Committed> {
    let summary = HashMap::from([
        (token::SUMMARY_KEY.to_owned(), token::listed(tokens)),
        (COMMIT_KEY.to_owned(), id.to_string()),
    ]);
    let mut retries = Retries { pause: MIN_PAUSE, failures: 0, deadline };
    let mut tried = false;
    let mut lost = None;
    loop {
        let base = match catalog.load_table(ident).await {
            Ok(base) => base,
            Err(error) => {
                retries.wait(error).await?;
                continue;
            }
        };
        let known = token::find(base.metadata(), tokens);
        let mut others = Vec::new();
        for (token, seen) in known {
            let Seen::This(snapshot) = seen else { continue };
            if tried && is_ours(&base, snapshot, id) {
                return Ok(Committed::Snapshot(Box::new(base), snapshot));
            }
            others.push(token);
        }
        if !others.is_empty() {
            return Ok(Committed::Known { tokens: others, tried });
        }
        if let Some(error) = lost.take() {
            retries.wait(error).await?;
        }
        tried = true;
        if let Err(error) = attempt(catalog, &base, files, &summary).await {
            tracing::info!(%error, "commit attempt failed");
            lost = Some(error);
        } else {
            // The next turn finds the snapshot. If it does not, the catalog has lost it.
            lost =
                Some(Error::new(ErrorKind::Unexpected, "the catalog reported a commit that it did not keep"));
        }
    }
}

fn is_ours(table: &Table, snapshot: i64, id: Uuid) -> bool {
    table
        .metadata()
        .snapshot_by_id(snapshot)
        .and_then(|snapshot| snapshot.summary().additional_properties.get(COMMIT_KEY))
        .is_some_and(|committed| *committed == id.to_string())
}

async fn attempt(
    catalog: &dyn Catalog,
    base: &Table,
    files: &[DataFile],
    summary: &HashMap<String, String>,
) -> Result<Table> {
    let transaction = Transaction::new(base);
    let append = transaction
        .fast_append()
        // The names of our files are unique; the check would read every manifest of the table.
        .with_check_duplicate(false)
        .set_snapshot_properties(summary.clone())
        .add_data_files(files.iter().cloned());
    append.apply(transaction)?.commit(&Pinned { catalog, base }).await
}

/// When to try again.
struct Retries {
    pause: Duration,
    /// Failures that were no conflict.
    failures: u32,
    deadline: Instant,
}

impl Retries {
    /// Sleeps before the next attempt, or gives `error` back when there is no time for one.
    async fn wait(&mut self, error: Error) -> Result<()> {
        // A conflict is another writer's success: as long as there is time, it is no reason to give up.
        if error.kind() != ErrorKind::CatalogCommitConflicts && !is_moved(&error) {
            self.failures += 1;
        }
        // Half is fixed and half is random, so that writers that met do not meet again.
        let sleep = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        if self.failures >= MAX_FAILURES || Instant::now() + sleep >= self.deadline {
            return Err(error);
        }
        tokio::time::sleep(sleep).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Ok(())
    }
}

const MOVED: &str = "the table has moved on since its tokens were looked at";

fn is_moved(error: &Error) -> bool {
    error.kind() == ErrorKind::PreconditionFailed && error.message() == MOVED
}

/// A catalog in which the table cannot change under a transaction: another base is refused, nothing is retried.
#[derive(Debug)]
struct Pinned<'a> {
    catalog: &'a dyn Catalog,
    base: &'a Table,
}

#[async_trait]
impl Catalog for Pinned<'_> {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        let table = self.catalog.load_table(ident).await.map_err(|error| error.with_retryable(false))?;
        if table.metadata_location() != self.base.metadata_location() {
            return Err(Error::new(ErrorKind::PreconditionFailed, MOVED));
        }
        Ok(table)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        self.catalog.update_table(commit).await.map_err(|error| error.with_retryable(false))
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.catalog.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.catalog.create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.catalog.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.catalog.namespace_exists(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.catalog.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.catalog.drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.catalog.list_tables(namespace).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        self.catalog.create_table(namespace, creation).await
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        self.catalog.drop_table(ident).await
    }

    async fn purge_table(&self, ident: &TableIdent) -> Result<()> {
        self.catalog.purge_table(ident).await
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        self.catalog.table_exists(ident).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.catalog.rename_table(from, to).await
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: String) -> Result<Table> {
        self.catalog.register_table(ident, metadata_location).await
    }
}

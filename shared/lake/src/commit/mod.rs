//! A change -> one snapshot of a table. The only door to a table.
//!
//! In: a [`Change`]: files that nothing refers to yet, the marks of what they were made of, and what else is to become of
//! the table. Out: [`Committed`]: the snapshot that has it all, or that the change no longer fits the table.
//!
//! - The marks stand in the summary of the snapshot that holds the rows: one atomic change.
//! - Each attempt loads the table, looks for the marks, computes what the table is to become, and swaps it in on the
//!   condition that nobody else was faster ([`TableCatalog`]). Whatever depends on the base is computed again.
//! - After ANY error the outcome is unknown: the table is loaded again and the commit is looked for before another
//!   attempt. After a success too: the table must really hold the snapshot.
//! - Nothing is deleted but metadata files that this commit has pushed out of the log ([`leftovers`]).

#[cfg(test)]
mod engine_tests;
mod entry;
mod expiry;
mod leftovers;
mod manifests;
mod marks;
mod merge;
mod requirements;
mod retries;
mod schema;
mod successor;
mod summary;
#[cfg(test)]
pub(crate) mod table_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use iceberg::spec::{DataFile, MAIN_BRANCH, Operation, TableMetadata};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, TableIdent};
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::expiry::MAX_METADATA_BYTES;
pub(crate) use self::marks::{Marks, Moved, Objects, Records, Verdict};
use self::retries::{Lost, Retries};
pub(crate) use self::schema::{SchemaChange, is_promotion};
use self::successor::{Successor, Successors};
use crate::ancestors::ancestors;
use crate::catalog::{Loaded, NotSwapped, TableCatalog};
use crate::env::Env;
use crate::failpoint::failpoint;
use crate::job::CommitMetrics;
use crate::ledger::Memory;
use crate::token;

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The table as it is with the new snapshot, and the snapshot's id.
    Snapshot(Box<Table>, i64),
    /// Nothing was committed. Since the table was looked at, its schema or partition spec has changed, another writer has
    /// committed some of it, what it replaces is no longer there as it was, or the snapshot that was looked at has expired
    /// or was rolled back. If `tried`, the files may stand in metadata that was never current, and are left alone.
    Outdated { tried: bool },
}

/// What is to become of a table.
#[derive(Clone)]
pub(crate) struct Change<'a> {
    /// New data files, all of the partition spec of `layout`.
    pub(crate) files: &'a [DataFile],
    /// What they were made of.
    pub(crate) marks: &'a dyn Marks,
    /// The head of the branch when it was asked for the marks; None if it had none.
    pub(crate) looked_at: Option<i64>,
    /// The schema and the partition spec that the change was made for.
    pub(crate) layout: Layout,
    /// A new schema, by which the files were written.
    pub(crate) schema: Option<SchemaChange>,
    /// Fields that were left out of the rows.
    pub(crate) ignored: u64,
    /// Table properties to set.
    pub(crate) properties: HashMap<String, String>,
    /// Whether snapshots and references go that the table's properties let expire.
    pub(crate) expire: bool,
    /// Files of the table in whose place the new ones come.
    pub(crate) replace: Option<Replace>,
    /// Keeps the tokens of snapshots that expire. Without it they are forgotten.
    pub(crate) memory: Option<Memory<'a>>,
    /// The branch that the snapshot is added to. One that is not there begins at the table's current snapshot.
    pub(crate) branch: &'a str,
    /// Tells this commit from any other.
    pub(crate) id: Uuid,
}

impl<'a> Change<'a> {
    /// Adds `files` to the main branch.
    pub(crate) fn append(files: &'a [DataFile], marks: &'a dyn Marks, layout: Layout, id: Uuid) -> Self {
        Self {
            files,
            marks,
            looked_at: None,
            layout,
            schema: None,
            ignored: 0,
            properties: HashMap::new(),
            expire: true,
            replace: None,
            memory: None,
            branch: MAIN_BRANCH,
            id,
        }
    }
}

/// Data files that others come in place of.
#[derive(Clone, Debug)]
pub(crate) struct Replace {
    /// Their paths.
    pub(crate) files: Vec<String>,
    /// The snapshot that they were read from. A delete since then makes the change outdated.
    pub(crate) planned_on: i64,
    /// `replace` if the rows are the same, else `overwrite`.
    pub(crate) operation: Operation,
    /// The sequence number of the new files' rows, so that deletes that come later in the table's order still apply.
    pub(crate) data_sequence_number: Option<i64>,
    /// Entries for the snapshot's summary.
    pub(crate) summary: HashMap<String, String>,
}

/// The current schema and the default partition spec of a table, by id. Files that were written by others cannot join it:
/// a row that was rejected for want of a column may fit by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    schema: i32,
    spec: i32,
}

impl Layout {
    pub(crate) fn of(table: &Table) -> Self {
        let metadata = table.metadata();
        Self { schema: metadata.current_schema_id(), spec: metadata.default_partition_spec_id() }
    }
}

/// Why a change was not committed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// Other writers were faster until the deadline.
    Outrun(Error),
    /// The catalog or the storage failed.
    Failed(Error),
}

/// Commits `change` to the table `ident`, until `deadline`, and counts in `metrics` what it takes.
///
/// # Errors
/// [`CommitError`]. The marks are then not in the table as it was last seen.
pub(crate) async fn commit(
    catalog: &dyn TableCatalog,
    env: &Env,
    ident: &TableIdent,
    change: &Change<'_>,
    deadline: Instant,
    metrics: &mut CommitMetrics,
) -> std::result::Result<Committed, CommitError> {
    let mut retries = Retries::until(deadline, env);
    let mut successors: Option<Successors<'_>> = None;
    let mut last_base: Option<Loaded> = None;
    let mut lost: Option<Lost> = None;
    loop {
        let base = match catalog.load(ident).await {
            Ok(base) => base,
            Err(error) => {
                retries.wait_after(error).await.map_err(CommitError::Failed)?;
                continue;
            }
        };
        let metadata = base.table.metadata();
        if let Some(last) = &last_base
            && let Some(snapshot) = ours(metadata, change)
        {
            if !catalog.keeps_metadata_files() {
                leftovers::delete(last.table.metadata(), &base.table, deadline).await;
            }
            return Ok(Committed::Snapshot(Box::new(base.table), snapshot));
        }
        let tried = last_base.is_some();
        if change.marks.seen(metadata, change.looked_at) == Verdict::Outdated
            || Layout::of(&base.table) != change.layout
            || change.schema.as_ref().is_some_and(|schema| !schema.fits(metadata))
        {
            return Ok(Committed::Outdated { tried });
        }
        if let Some(reason) = lost.take() {
            // Others commit during the pause: the next attempt must not start from a base from before it.
            retries.wait(reason).await.map_err(|reason| match reason {
                Lost::Conflict(error) => CommitError::Outrun(error),
                Lost::Failure(error) | Lost::Refusal(error) => CommitError::Failed(error),
            })?;
            continue;
        }
        let successors = successors.get_or_insert_with(|| Successors::of(change, &base.table, env));
        let next = match successors.of_base(&base, env.now_ms()).await {
            Ok(Successor::Next(next)) => next,
            Ok(Successor::Outdated) => return Ok(Committed::Outdated { tried }),
            // Nothing refers to what was written.
            Err(error) => {
                tracing::info!(%error, "commit attempt failed");
                retries.wait_after(error).await.map_err(CommitError::Failed)?;
                continue;
            }
        };
        metrics.attempts += 1;
        let swapped = match failpoint("before swap") {
            Ok(()) => catalog.swap(&base, &next).await,
            Err(error) => Err(NotSwapped::Unknown(error)),
        };
        let swapped = swapped.and_then(|()| failpoint("after swap").map_err(NotSwapped::Unknown));
        last_base = Some(base);
        lost = Some(match swapped {
            // The next turn finds the snapshot. If it does not, the catalog has lost it.
            Ok(()) => {
                let what = "the catalog reported a commit that it did not keep";
                Lost::Failure(Error::new(ErrorKind::Unexpected, what))
            }
            Err(NotSwapped::Conflict(error)) => {
                metrics.conflicts += 1;
                Lost::Conflict(error)
            }
            Err(NotSwapped::Unknown(error)) => Lost::Failure(error),
            Err(NotSwapped::Refused(error)) => Lost::Refusal(error),
        });
        tracing::debug!(outcome = ?lost, "a swap was tried");
    }
}

/// The snapshot that `change` has made, if it is in its branch.
fn ours(metadata: &TableMetadata, change: &Change<'_>) -> Option<i64> {
    let head = metadata.snapshot_for_ref(change.branch)?;
    let id = change.id.to_string();
    let mut history = ancestors(metadata, Some(head.snapshot_id()));
    let found = history.find(|snapshot| {
        snapshot.summary().additional_properties.get(token::COMMIT_KEY).is_some_and(|commit| *commit == id)
    });
    found.map(|snapshot| snapshot.snapshot_id())
}

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

mod applied;
mod attempts;
#[cfg(test)]
mod engine_tests;
mod entry;
mod expiry;
mod leftovers;
mod manifests;
mod marks;
mod merge;
mod publication;
mod requirements;
mod retries;
mod schema;
mod snapshot;
mod successor;
mod summary;
#[cfg(test)]
pub(crate) mod table_tests;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use iceberg::TableIdent;
use iceberg::spec::{DataFile, MAIN_BRANCH, Operation, TableMetadata};
use iceberg::table::Table;
use tokio::time::Instant;
use uuid::Uuid;

pub(crate) use self::attempts::CommitError;
use self::attempts::{Edit, Look};
pub(crate) use self::expiry::MAX_METADATA_BYTES;
pub(crate) use self::marks::{Marks, Moved, Objects, Records, Verdict};
pub(crate) use self::publication::{How, Published, Publishing, publish};
pub(crate) use self::schema::{SchemaChange, is_promotion};
use self::successor::{Successor, Successors};
use crate::ancestors::ancestors;
use crate::branch;
use crate::catalog::{Loaded, Next, TableCatalog};
use crate::env::Env;
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
    /// The table's current snapshot when it was asked for the marks; None if it had none.
    pub(crate) looked_at: Option<i64>,
    /// Where the branch stood then ([`branch::head`]). Of the main branch, `looked_at` tells.
    pub(crate) branch_looked_at: Option<i64>,
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
            branch_looked_at: None,
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
    let edit = Append { change, env, successors: None };
    attempts::run(catalog, env, ident, edit, deadline, metrics).await
}

/// A [`Change`] in the making.
struct Append<'a> {
    change: &'a Change<'a>,
    env: &'a Env,
    successors: Option<Successors<'a>>,
}

impl Edit for Append<'_> {
    type Outcome = Committed;

    async fn look(&mut self, base: &Loaded, is_tried: bool) -> iceberg::Result<Option<Look<Committed>>> {
        let metadata = base.table.metadata();
        if is_tried && let Some(snapshot) = ours(metadata, self.change) {
            let committed = Committed::Snapshot(Box::new(base.table.clone()), snapshot);
            return Ok(Some(Look { outcome: committed, is_committed: true }));
        }
        let is_outdated = is_seen(metadata, self.change)
            || Layout::of(&base.table) != self.change.layout
            || self.change.schema.as_ref().is_some_and(|schema| !schema.fits(metadata));
        Ok(is_outdated
            .then_some(Look { outcome: Committed::Outdated { tried: is_tried }, is_committed: false }))
    }

    async fn successor(
        &mut self,
        base: &Loaded,
        is_tried: bool,
    ) -> iceberg::Result<std::result::Result<Box<Next>, Committed>> {
        let (change, env) = (self.change, self.env);
        let successors = self.successors.get_or_insert_with(|| Successors::of(change, &base.table, env));
        Ok(match successors.of_base(base, env.now_ms()).await? {
            Successor::Next(next) => Ok(next),
            Successor::Outdated => Err(Committed::Outdated { tried: is_tried }),
        })
    }
}

/// Whether main, or the branch that `change` is for, may have some of it.
fn is_seen(metadata: &TableMetadata, change: &Change<'_>) -> bool {
    let main = (metadata.current_snapshot_id(), change.looked_at);
    let head = branch::head(metadata, change.branch).map(|head| head.snapshot_id());
    let own = (change.branch != MAIN_BRANCH).then_some((head, change.branch_looked_at));
    let mut lines = [main].into_iter().chain(own);
    lines.any(|(head, since)| change.marks.seen(metadata, head, since) == Verdict::Outdated)
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

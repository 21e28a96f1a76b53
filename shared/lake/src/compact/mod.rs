//! Many small data files -> few large ones, with the same rows.
//!
//! In: a table, and [`CompactOptions`]. Out: [`Compacted`], and a table of which a plan's files were replaced by others, in
//! commits of the operation `replace`. What is small and where it is worth it: [`plan`]. Refused: tables of format version 3,
//! whose rows have ids that a rewrite would have to keep.
//!
//! - The rows are the same, value by value; files that cannot be read as the table's stay as they are, and it is said why
//!   ([`Left`]). So do files that a delete applies to and those of older partition specs.
//! - Each commit proves, at each attempt, that its files are live and that no delete has come since they were read. If they are
//!   not, or if the snapshot that they were read from has expired, what was written is thrown away and planned anew. Appends
//!   are in nobody's way.
//! - Work ends between two bins when the time is up. What is committed stands, and the next run goes on.

mod closed;
mod conform;
mod deletes;
mod job;
mod plan;
mod read;
mod rewrite;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use iceberg::ErrorKind;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{DataFile, FormatVersion, Operation};
use iceberg::table::Table;
use tokio::time::Instant;

pub use self::job::{CompactOptions, Compacted, Left};
use self::plan::Plan;
use self::rewrite::{Rewritten, rewrite};
use crate::catalog::Lake;
use crate::commit::{self, Change, CommitError, Committed, Layout, Moved, Replace};
use crate::error::{Error as Failure, Kind};
use crate::failpoint::failpoint;
use crate::ledger::{self, Memory};

/// Files that one commit replaces, about: more is more work lost where a delete comes between.
const FILES_PER_COMMIT: usize = 2000;
/// Bytes that one commit replaces, about.
const BYTES_PER_COMMIT: u64 = 4 << 30;
/// How often a plan may come to nothing before the run gives up.
const MAX_OUTDATED: u32 = 3;
/// What of the time is kept for a commit: a tenth, and no more than this.
const COMMIT_TIME: Duration = Duration::from_secs(60);
/// Where a snapshot's summary says how many files were compacted.
const SUMMARY_KEY: &str = "frazil.compacted-files";

/// Compacts the table of `options`. A table that is not there has nothing to compact.
///
/// # Errors
/// The catalog's and the storage's; a table of format version 3. What was committed before stands.
pub async fn compact(lake: &Lake, options: &CompactOptions) -> std::result::Result<Compacted, Failure> {
    let mut run = Run { lake, options, done: Compacted::default() };
    // A storage that never answers must not keep the other tables waiting.
    let outcome = match tokio::time::timeout_at(options.deadline, Box::pin(run.run())).await {
        Ok(outcome) => outcome,
        Err(_) => {
            run.done.is_unfinished = true;
            Ok(())
        }
    };
    let done = &run.done;
    tracing::info!(
        table = %options.table,
        files_before = done.files_before,
        files_after = done.files_after,
        rows = done.rows,
        commits = done.commits,
        is_unfinished = done.is_unfinished,
        "compacted"
    );
    outcome.map(|()| run.done)
}

struct Run<'a> {
    lake: &'a Lake,
    options: &'a CompactOptions,
    done: Compacted,
}

/// What became of a plan.
enum Went {
    /// To its end.
    Through,
    /// The table is no longer what it was made for.
    Outdated,
    /// To the end of the time.
    OutOfTime,
}

impl Run<'_> {
    async fn run(&mut self) -> std::result::Result<(), Failure> {
        let mut outdated = 0;
        loop {
            let Some(table) = self.lake.table(&self.options.table).await.map_err(Failure::of_catalog)? else {
                return Ok(());
            };
            if table.metadata().format_version() == FormatVersion::V3 {
                let what = format!(
                    "the table {} is of format version 3: compaction would give its rows new ids, so it is left to an engine \
                     that keeps them",
                    self.options.table
                );
                return Err(Failure::of_catalog(iceberg::Error::new(ErrorKind::FeatureUnsupported, what)));
            }
            let plan = Plan::of(&table, self.options, self.lake.env.now_ms()).await;
            let Some(plan) = plan.map_err(Failure::of_catalog)? else { return Ok(()) };
            self.done.left.clone_from(&plan.left);
            match self.carry_out(&table, plan).await? {
                Went::Through => return Ok(()),
                Went::OutOfTime => {
                    self.done.is_unfinished = true;
                    return Ok(());
                }
                Went::Outdated => {
                    self.done.outdated += 1;
                    outdated += 1;
                    if outdated >= MAX_OUTDATED {
                        tracing::warn!(table = %self.options.table, "deletes and expiry were faster; the next run tries again");
                        self.done.is_unfinished = true;
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn carry_out(&mut self, table: &Table, plan: Plan) -> std::result::Result<Went, Failure> {
        let metadata = table.metadata();
        let schema: SchemaRef = Arc::new(schema_to_arrow_schema(metadata.current_schema())?);
        let now = Instant::now();
        let left = self.options.deadline.saturating_duration_since(now);
        let begin_until = self.options.deadline - COMMIT_TIME.min(left / 10);
        let planned_on = plan.snapshot.snapshot_id();
        let numbered = metadata.format_version() != FormatVersion::V1;
        let number = numbered.then(|| plan.snapshot.sequence_number());
        let mut lot = Lot::default();
        let mut bins = plan.bins.into_iter();
        loop {
            let is_out_of_time = bins.len() > 0 && Instant::now() >= begin_until;
            let bin = if is_out_of_time { None } else { bins.next() };
            let is_last = bin.is_none();
            if let Some(bin) = bin {
                let count = bin.files.len() as u64;
                let id = self.lake.env.uuid();
                match rewrite(table, &schema, bin, self.options.limits, id).await {
                    Ok(outcome) => {
                        for (why, what) in outcome.left {
                            tracing::warn!(table = %self.options.table, reason = %why, "left alone: {what}");
                            *self.done.left.entry(why).or_default() += 1;
                        }
                        lot.extend(outcome.rewritten);
                    }
                    // Another engine has replaced it, and its old files are gone.
                    Err(error) if Kind::of(&error) == Kind::Missing => return Ok(Went::Outdated),
                    Err(error)
                        if Kind::of(&error) == Kind::Invalid || Kind::of(&error) == Kind::Unexpected =>
                    {
                        tracing::error!(table = %self.options.table, %error, "files could not be compacted");
                        *self.done.left.entry(Left::Failed).or_default() += count;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if !lot.replaced.is_empty() && (is_last || lot.is_full()) {
                failpoint("before compaction commit")?;
                let lot = std::mem::take(&mut lot);
                if !self.commit(table, &lot, planned_on, number).await? {
                    return Ok(Went::Outdated);
                }
            }
            if is_last {
                return Ok(if is_out_of_time { Went::OutOfTime } else { Went::Through });
            }
        }
    }

    /// Commits `lot`. False if it no longer fits the table.
    async fn commit(
        &mut self,
        table: &Table,
        lot: &Lot,
        planned_on: i64,
        data_sequence_number: Option<i64>,
    ) -> std::result::Result<bool, Failure> {
        let (lake, options) = (self.lake, self.options);
        let root = ledger::root(&options.errors_uri, &options.table.to_string());
        let replace = Replace {
            files: lot.replaced.clone(),
            planned_on,
            operation: Operation::Replace,
            data_sequence_number,
            summary: HashMap::from([(SUMMARY_KEY.to_owned(), lot.replaced.len().to_string())]),
        };
        let change = Change {
            replace: Some(replace),
            memory: Some(Memory {
                ledgers: &lake.ledgers,
                root: &root,
                tokens: &[],
                offsets: None,
                newest_ms: None,
            }),
            ..Change::append(&lot.files, &Moved, Layout::of(table), lake.env.uuid())
        };
        let (catalog, metrics) = (lake.catalog.as_ref(), &mut self.done.commit);
        let started = Instant::now();
        let committed =
            commit::commit(catalog, &lake.env, &options.table, &change, options.deadline, metrics).await;
        self.done.commit.duration += started.elapsed();
        match committed {
            Ok(Committed::Snapshot(..)) => {
                let done = &mut self.done;
                done.commits += 1;
                done.files_before += lot.replaced.len() as u64;
                done.files_after += lot.files.len() as u64;
                done.bytes_before += lot.bytes;
                done.bytes_after += lot.files.iter().map(DataFile::file_size_in_bytes).sum::<u64>();
                done.rows += lot.rows;
                Ok(true)
            }
            Ok(Committed::Outdated { tried }) => {
                if !tried {
                    lot.remove(table).await;
                }
                Ok(false)
            }
            Err(CommitError::Outrun(error) | CommitError::Failed(error)) => Err(Failure::of_catalog(error)),
        }
    }
}

/// What one commit is to do.
#[derive(Debug, Default)]
struct Lot {
    replaced: Vec<String>,
    files: Vec<DataFile>,
    bytes: u64,
    rows: u64,
}

impl Lot {
    fn extend(&mut self, rewritten: Option<Rewritten>) {
        let Some(rewritten) = rewritten else { return };
        self.bytes += rewritten.replaced.iter().map(|file| file.bytes).sum::<u64>();
        self.rows += rewritten.rows;
        self.replaced.extend(rewritten.replaced.into_iter().map(|file| file.path));
        self.files.extend(rewritten.files);
    }

    fn is_full(&self) -> bool {
        self.replaced.len() >= FILES_PER_COMMIT || self.bytes >= BYTES_PER_COMMIT
    }

    /// Removes the new files. Only if no commit was tried with them.
    async fn remove(&self, table: &Table) {
        let paths: Vec<String> = self.files.iter().map(|file| file.file_path().to_owned()).collect();
        if let Err(error) = table.file_io().delete_stream(futures::stream::iter(paths)).await {
            tracing::warn!(%error, "unused data files stay behind; they are in no snapshot");
        }
    }
}

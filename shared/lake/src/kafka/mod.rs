//! Records of Kafka topics -> one commit to one table.
//!
//! In: records with their places in Kafka, as a batch brings them, whole or in part, for the first time or again. Out: a
//! [`TopicOutcome`]. It is what `append` is for objects, with the same attempt and the same commit; what differs is what
//! tells old from new:
//!
//! 1. [`mod@settle`]: a record is in the table if an ancestor of the current snapshot lists its offset, or the ledger does.
//!    A record of another time at such an offset is another record, also by its row if that is found at once: its topic
//!    was made anew, and that is an error.
//! 2. [`mod@ask`]: where neither knows, which takes a lost ledger, the table is asked for the row.
//! 3. [`mod@feed`]: what is left is read: headers of registries come off, a record gives its events, tombstones are counted.
//!    Rows go into data files, the rest into the quarantine.
//! 4. The offsets of all that, also of what was rejected or dropped, stand in the summary of the snapshot that has the rows.
//!    If another writer was faster with some of them, it begins again at 1 with what is then left.
//!
//! Offsets have gaps that nothing fills; nobody waits for one.

mod ask;
mod batch;
mod feed;
mod settle;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use iceberg::Result;
use iceberg::table::Table;
use tokio::time::Instant;

use self::batch::Batch;
pub use self::batch::{TopicOutcome, TopicStatus};
use self::feed::Feed;
pub use self::feed::refusal;
use crate::append::evolving::Evolving;
use crate::branch;
use crate::catalog::Lake;
use crate::commit::{self, Change, CommitError, Committed, Layout, Records, SchemaChange};
use crate::decode::unknown::Fixed;
use crate::definition::TableDefinition;
use crate::error::{Error as Failure, Kind, reworded};
use crate::failpoint::failpoint;
use crate::job::AppendOptions;
use crate::known::Known;
use crate::ledger::{self, Memory};
use crate::topic::{TopicRecord, sample_columns};
use crate::write::{Attempt, Attempted, Undo, Written};

/// How records of topics are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct TopicOptions {
    /// Whether a value of the shape of Kafka Connect's JsonConverter, `{"schema": ..., "payload": ...}`, stands for its
    /// payload.
    pub unwrap: bool,
}

/// Appends `records` to a table, in one commit. Whatever the catalog and the storage do, an outcome is there at the deadline.
///
/// # Errors
/// The catalog or the table's storage failed: no record was committed, as far as can be known, and all of them must be
/// delivered again.
pub async fn append_records(
    lake: &Lake,
    options: &AppendOptions,
    topic_options: TopicOptions,
    records: Vec<TopicRecord>,
) -> std::result::Result<TopicOutcome, Failure> {
    let mut invocation = Invocation { lake, options, topic_options, batch: Batch::new(records), fixed: None };
    match tokio::time::timeout_at(options.deadline, Box::pin(invocation.run())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(error),
        Err(_) => tracing::warn!(
            "the deadline came before the outcome was known; all records must be delivered again"
        ),
    }
    Ok(invocation.batch.into_outcome())
}

/// Keeps `records`, which are refused, in the quarantine, where there is no table that could account for them.
///
/// # Errors
/// The storage's.
pub async fn quarantine_records(
    lake: &Lake,
    options: &AppendOptions,
    records: Vec<TopicRecord>,
) -> std::result::Result<TopicOutcome, Failure> {
    let batch = Batch::new(records);
    let mut invocation =
        Invocation { lake, options, topic_options: TopicOptions::default(), batch, fixed: None };
    invocation.reject_all().await?;
    Ok(invocation.batch.into_outcome())
}

/// The state of one invocation.
struct Invocation<'a> {
    lake: &'a Lake,
    options: &'a AppendOptions,
    topic_options: TopicOptions,
    batch: Batch,
    /// Why the table does not grow.
    fixed: Option<Fixed>,
}

/// What is to be committed.
struct Files {
    written: Written,
    undo: Box<Undo>,
    schema: Option<SchemaChange>,
}

impl Invocation<'_> {
    async fn run(&mut self) -> std::result::Result<(), Failure> {
        let (lake, options) = (self.lake, self.options);
        let mut current = match lake.table(&options.table).await.map_err(Failure::of_catalog)? {
            Some(table) => table,
            None => match self.create().await? {
                Some(table) => table,
                None => return Ok(self.reject_all().await?),
            },
        };
        loop {
            self.batch.outcome.metadata_location = current.metadata_location().map(str::to_owned);
            let unsure = settle::settle(&mut self.batch, lake, &current, &options.branch).await;
            ask::ask(&mut self.batch, &current, &options.branch, unsure).await?;
            let evolving = Evolving::of(&current, self.fixed);
            let Some(Files { written, undo, schema }) = self.write(Some(evolving)).await? else {
                return Ok(());
            };
            failpoint("before commit")?;
            match self.commit(&current, &written, schema.clone()).await {
                Ok(Committed::Snapshot(table, snapshot)) => {
                    self.batch.outcome.metadata_location = table.metadata_location().map(str::to_owned);
                    self.batch.committed(&written, Some(snapshot));
                    return Ok(());
                }
                Ok(Committed::Outdated { tried }) => {
                    if !tried {
                        undo.run().await;
                    }
                    let loaded = lake.catalog.load_table(&options.table).await;
                    current = loaded.map_err(Failure::of_catalog)?;
                }
                // Others had all the time that there was: no fault of the function, and no reason to fail it.
                Err(CommitError::Outrun(error)) => {
                    let error = reworded(&error, format!("other writers were faster: {error}"));
                    self.batch.fail_pending(error);
                    return Ok(());
                }
                // Who may append may not always alter: the rows go where they would without a new column.
                Err(CommitError::Failed(error))
                    if schema.is_some() && [Kind::Denied, Kind::Invalid].contains(&Kind::of(&error)) =>
                {
                    tracing::warn!(%error, "the table may not get the columns that its rows bring; trying without");
                    self.fixed = Some(Fixed::Denied);
                    let loaded = lake.catalog.load_table(&options.table).await;
                    current = loaded.map_err(Failure::of_catalog)?;
                }
                Err(CommitError::Failed(error)) => return Err(Failure::of_catalog(error)),
            }
        }
    }

    /// The table for the first records; None if there is nothing to tell its columns from.
    async fn create(&mut self) -> std::result::Result<Option<Table>, Failure> {
        let (lake, options) = (self.lake, self.options);
        let definition = match &options.definition {
            Some(definition) => definition.clone(),
            None => match self.feed().infer().await? {
                Some(schema) => TableDefinition::inferred_of_topic(options.table.name(), schema)?,
                None => return Ok(None),
            },
        };
        tracing::info!(table = %options.table, "creating the table");
        let table = lake.create(&options.table, definition).await.map_err(Failure::of_catalog)?;
        failpoint("after create")?;
        Ok(Some(table))
    }

    /// Without a table: what is refused goes to the quarantine.
    async fn reject_all(&mut self) -> Result<()> {
        if let Some(Files { written, .. }) = self.write(None).await? {
            self.batch.committed(&written, None);
        }
        Ok(())
    }

    fn feed(&self) -> Feed {
        let AppendOptions { limits, unpack, .. } = self.options;
        Feed::new(self.batch.pending(), *limits, unpack, self.topic_options)
    }

    /// Writes the files of all pending records, to a table that may need more columns for them. None if none is left.
    async fn write(&mut self, mut evolving: Option<Evolving>) -> Result<Option<Files>> {
        let (lake, options, known) = (self.lake, self.options, Known::default());
        while !self.batch.is_done() {
            let (feed, id) = (self.feed(), lake.env.uuid());
            let attempt = sample_columns(&options.processing_time, |system| {
                let table = evolving.as_ref().map(Evolving::table);
                let fixed = evolving.as_ref().and_then(Evolving::fixed);
                Attempt::new(&lake.file_io, id, table, options, &known, system, fixed)
            })?;
            let feed = move |rows: &mut _, stop: &_| feed.run(rows, stop);
            match attempt.run(feed, |_, _| {}).await? {
                Attempted::Written(written, undo) => {
                    let schema = evolving.and_then(Evolving::into_change);
                    return Ok(Some(Files { written, undo, schema }));
                }
                Attempted::Grows(growth, without) => {
                    if let Some(without) = without {
                        without.undo().await;
                    }
                    if let Some(evolving) = &mut evolving {
                        evolving.grow(&growth)?;
                    }
                }
                // Records in memory neither fail nor take long.
                Attempted::Nothing | Attempted::Spoiled => return Ok(None),
                Attempted::TooManyFiles(error) => self.batch.hand_back_half(&error),
            }
        }
        Ok(None)
    }

    /// Commits what was `written` to the table, which was looked at as `looked_at`.
    async fn commit(
        &mut self,
        looked_at: &Table,
        written: &Written,
        schema: Option<SchemaChange>,
    ) -> std::result::Result<Committed, CommitError> {
        let (lake, options) = (self.lake, self.options);
        let offsets = self.batch.offsets();
        let marks = Records { offsets: &offsets, rejected: written.rejected(), dropped: written.dropped() };
        let root = ledger::root(&options.errors_uri, &options.table.to_string());
        let memory = Memory {
            ledgers: &lake.ledgers,
            root: &root,
            tokens: &[],
            offsets: Some(&offsets),
            newest_ms: None,
        };
        let change = Change {
            looked_at: looked_at.metadata().current_snapshot_id(),
            branch_looked_at: branch::head(looked_at.metadata(), &options.branch)
                .map(|head| head.snapshot_id()),
            branch: &options.branch,
            schema,
            ignored: written.ignored,
            memory: Some(memory),
            ..Change::append(&written.files, &marks, Layout::of(looked_at), written.id)
        };
        let (catalog, started) = (lake.catalog.as_ref(), Instant::now());
        let metrics = &mut self.batch.outcome.commit;
        let committed =
            commit::commit(catalog, &lake.env, &options.table, &change, options.deadline, metrics).await;
        metrics.duration += started.elapsed();
        committed
    }
}

//! Several raw objects -> one commit to one table; further versions of an object -> one more each.
//!
//! In: objects by URI and token. Out: an [`Outcome`]. Objects that the table has already are skipped; of those that it
//! may have in part, the rows that it lacks are kept. The others are read one after the other into the same data files,
//! their rejected rows into the quarantine, and all is committed at once. Wrong content never fails an object; a failing
//! storage does: it alone is left to be delivered again. One that fails when some of its rows are written costs another
//! pass over the others; a byte of each is read beforehand, and all that fails in a pass is left out of the next one.

mod create;
pub(crate) mod evolving;
mod growing;
mod horizon;
mod input;
mod routed;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use iceberg::Result;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use tokio::time::Instant;

use self::evolving::Evolving;
use self::growing::Way;
use self::input::Input;
pub use self::routed::append_routed;
use self::sources::Sources;
use crate::branch;
use crate::catalog::Lake;
use crate::commit::{self, Change, CommitError, Committed, Layout, Objects, SchemaChange};
use crate::decode::SystemColumn;
use crate::decode::unknown::Fixed;
use crate::error::{Error as Failure, Kind, reworded};
use crate::failpoint::failpoint;
use crate::job::{AppendOptions, CommitMetrics, Outcome, SourceObject};
use crate::known::Known;
use crate::ledger::{self, Memory, name_time};
use crate::objects::{FoundObject, PassTime};
use crate::route::Routed;
use crate::write::{Attempt, Attempted, Undo, Written};

/// Of the time until the deadline, the share that is kept for closing files and for the commit. Where that is less than
/// [`COMMIT_TIME`], so much is kept, but half of the time at most. No object is begun in it; one that was begun before
/// may go on in its first half.
const COMMIT_SHARE: u32 = 4;
const COMMIT_TIME: Duration = Duration::from_secs(1);

/// Appends `objects` to a table, in one commit. Whatever the catalog and the storage do, an outcome is there at the
/// deadline.
///
/// # Errors
/// The catalog or the table's storage failed: no object was committed, as far as can be known, and all of them must
/// be delivered again.
pub async fn append(
    lake: &Lake,
    options: &AppendOptions,
    objects: Vec<SourceObject>,
) -> std::result::Result<Outcome, Failure> {
    Invocation::new(lake, options, objects).until_deadline().await
}

/// What was written for a commit.
enum Files {
    /// With the change of the schema that they need.
    Written(Written, Box<Undo>, Option<SchemaChange>),
    /// Nothing, since the table has changed.
    Outdated,
    /// Nothing, since no object is left.
    None,
}

/// The state of one invocation.
struct Invocation<'a> {
    lake: &'a Lake,
    options: &'a AppendOptions,
    /// Where the records come from.
    input: Input,
    sources: Sources,
    /// The folder of definitions, for a table whose options have none.
    definitions: Option<&'a str>,
    /// For which value of a record the table is, if its name is made of that.
    routed: Option<Routed>,
    commit: CommitMetrics,
    /// The last snapshot, and the files of all of them.
    snapshot_id: Option<i64>,
    data_files: usize,
    data_file_bytes: u64,
    columns_added: usize,
    fields_ignored: u64,
    /// Why the table does not grow any more.
    fixed: Option<Fixed>,
}

impl<'a> Invocation<'a> {
    /// Of `objects`, which are to be found.
    fn new(lake: &'a Lake, options: &'a AppendOptions, objects: Vec<SourceObject>) -> Self {
        Self::of(lake, options, Sources::new(objects), Input::Objects)
    }

    /// Of `objects` whose records `input` has.
    fn over(
        lake: &'a Lake,
        options: &'a AppendOptions,
        objects: Vec<Arc<FoundObject>>,
        input: Input,
    ) -> Self {
        Self::of(lake, options, Sources::found(objects), input)
    }

    fn of(lake: &'a Lake, options: &'a AppendOptions, sources: Sources, input: Input) -> Self {
        Self {
            lake,
            options,
            input,
            sources,
            definitions: None,
            routed: None,
            commit: CommitMetrics::default(),
            snapshot_id: None,
            data_files: 0,
            data_file_bytes: 0,
            columns_added: 0,
            fields_ignored: 0,
            fixed: None,
        }
    }

    /// Runs, and gives all objects back that are not decided at the deadline.
    async fn until_deadline(&mut self) -> std::result::Result<Outcome, Failure> {
        // On the heap: whoever waits for it is small.
        match tokio::time::timeout_at(self.options.deadline, Box::pin(self.run())).await {
            Ok(outcome) => outcome,
            Err(_) => {
                tracing::warn!(
                    "the deadline came before the outcome was known; all objects must be delivered again"
                );
                Ok(self.outcome(None))
            }
        }
    }

    async fn run(&mut self) -> std::result::Result<Outcome, Failure> {
        let (lake, options) = (self.lake, self.options);
        self.sources.ignore_own(&options.errors_uri);
        let table = lake.table(&options.table).await.map_err(Failure::of_catalog)?;
        let mut told = match &table {
            Some(table) => Some(horizon::settle(&mut self.sources, lake, table, &options.branch).await),
            None => None,
        };
        self.sources.find(&lake.file_io).await;
        if self.sources.is_done() {
            return Ok(self.outcome(table.as_ref()));
        }
        let mut current = match table {
            Some(table) => table,
            None => match create::table(self).await? {
                Some(table) => table,
                None => return Ok(self.reject_all().await?),
            },
        };
        horizon::warn_if_unnamed(&current);
        while !self.sources.is_done() {
            let told = match told.take() {
                Some(told) => told,
                None => horizon::settle(&mut self.sources, lake, &current, &options.branch).await,
            };
            let known = horizon::look(&mut self.sources, lake, options, &current, told).await?;
            let (written, undo, schema) = match Box::pin(self.write(&current, &known)).await? {
                Files::Written(written, undo, schema) => (written, undo, schema),
                Files::Outdated => {
                    current = self.load().await?;
                    continue;
                }
                Files::None => break,
            };
            failpoint("before commit")?;
            match self.commit(&current, &written, schema.clone()).await {
                Ok(Committed::Snapshot(table, snapshot)) => {
                    self.snapshot_id = Some(snapshot);
                    self.data_files += written.files.len();
                    let bytes = written.files.iter().map(DataFile::file_size_in_bytes);
                    self.data_file_bytes += bytes.sum::<u64>();
                    self.columns_added += schema.map_or(0, |schema| schema.columns.len());
                    self.fields_ignored += written.ignored;
                    self.sources.committed(written.tallies);
                    // What is left are further versions of objects that are in the table now.
                    current = *table;
                }
                Ok(Committed::Outdated { tried }) => {
                    if !tried {
                        undo.run().await;
                    }
                    current = self.load().await?;
                }
                // Others had all the time that there was: no fault of the function, and no reason to fail it.
                Err(CommitError::Outrun(error)) => {
                    for tally in &written.tallies {
                        let error = reworded(&error, format!("other writers were faster: {error}"));
                        self.sources.fail(tally.source, error);
                    }
                    break;
                }
                // Who may append may not always alter: the rows go where they would without a new column.
                Err(CommitError::Failed(error))
                    if schema.is_some() && [Kind::Denied, Kind::Invalid].contains(&Kind::of(&error)) =>
                {
                    tracing::warn!(%error, "the table may not get the columns that its rows bring; trying without");
                    self.fixed = Some(Fixed::Denied);
                    current = self.load().await?;
                }
                Err(CommitError::Failed(error)) => return Err(Failure::of_catalog(error)),
            }
        }
        Ok(self.outcome(Some(&current)))
    }

    async fn load(&self) -> std::result::Result<Table, Failure> {
        self.lake.catalog.load_table(&self.options.table).await.map_err(Failure::of_catalog)
    }

    /// Without a table and without a record to infer one from: what the objects hold instead goes to the quarantine.
    /// No token is needed, since nothing could come twice.
    async fn reject_all(&mut self) -> Result<Outcome> {
        let time = PassTime { begin_until: self.options.deadline, cut_off: self.options.deadline };
        let objects = self.sources.to_read();
        let attempted = self.attempt(None, &Known::default(), objects, time, None).await?;
        if let Attempted::Written(written, _) = attempted {
            self.sources.committed(written.tallies);
        }
        Ok(self.outcome(None))
    }

    /// Writes the files of all pending objects. The rows may need more than `table` has: then the files are those of the
    /// table with the change.
    async fn write(&mut self, table: &Table, known: &Known) -> Result<Files> {
        let mut evolving = Evolving::of(table, self.fixed);
        loop {
            let started = Instant::now();
            let left = self.options.deadline.saturating_duration_since(started);
            let kept = (left / COMMIT_SHARE).max(COMMIT_TIME.min(left / 2));
            let (begin_until, cut_off) = (self.options.deadline - kept, self.options.deadline - kept / 2);
            let objects = self.sources.to_read();
            if objects.is_empty() {
                return Ok(Files::None);
            }
            let read: Vec<usize> = objects.iter().map(|object| object.at).collect();
            let time = PassTime { begin_until, cut_off };
            let attempt = self.attempt(Some(evolving.table()), known, objects, time, evolving.fixed());
            let attempted = match attempt.await? {
                Attempted::Grows(growth, without) => {
                    let (found, took) = ((growth, without), started.elapsed());
                    match self.way_on(table, &mut evolving, found, took, cut_off).await? {
                        Way::Again => continue,
                        Way::Reload => return Ok(Files::Outdated),
                        Way::Without(attempted) => *attempted,
                        Way::End => {
                            self.sources.leave_out_all();
                            return Ok(Files::None);
                        }
                    }
                }
                attempted => attempted,
            };
            match attempted {
                Attempted::Written(written, undo) => {
                    if !self.sources.stop_mistakes(&written.tallies, self.options.limits.rejected_percent) {
                        return Ok(Files::Written(written, undo, evolving.into_change()));
                    }
                    undo.run().await;
                    // What the objects that are stopped would have added is none of the others'.
                    evolving = Evolving::of(table, self.fixed);
                }
                // Another version of an object that failed may be left.
                Attempted::Nothing | Attempted::Spoiled | Attempted::Grows(..) => {}
                Attempted::TooManyFiles(error) => self.sources.hand_back_half(&read, &error),
            }
        }
    }

    /// One pass over `objects`.
    async fn attempt(
        &mut self,
        table: Option<&Table>,
        known: &Known,
        objects: Vec<Arc<FoundObject>>,
        time: PassTime,
        fixed: Option<Fixed>,
    ) -> Result<Attempted> {
        let properties = table.map(|table| table.metadata().properties());
        let claim = self.routed.as_ref().zip(properties).and_then(|(routed, it)| routed.claim(it));
        let feed = self.input.feed(objects, self.options, time, claim);
        let id = self.lake.env.uuid();
        let system = SystemColumn::of_object("", &self.options.processing_time);
        let attempt = Attempt::new(&self.lake.file_io, id, table, self.options, known, &system, fixed)?;
        attempt.run(feed, |at, why| self.sources.leave_out(at, why)).await
    }

    /// Commits what was `written` to the table, which was looked at as `looked_at`, and with it the change of its schema.
    async fn commit(
        &mut self,
        looked_at: &Table,
        written: &Written,
        schema: Option<SchemaChange>,
    ) -> std::result::Result<Committed, CommitError> {
        let (lake, options) = (self.lake, self.options);
        let tokens = self.sources.tokens(&written.tallies);
        let marks = Objects { tokens: &tokens, rejected: written.rejected() };
        let root = ledger::root(&options.errors_uri, &options.table.to_string());
        let pending = self.sources.pending();
        let newest_ms = pending.filter_map(|at| name_time(&self.sources.object(at).key)).max();
        let change = Change {
            looked_at: looked_at.metadata().current_snapshot_id(),
            branch_looked_at: branch::head(looked_at.metadata(), &options.branch)
                .map(|head| head.snapshot_id()),
            branch: &options.branch,
            schema,
            ignored: written.ignored,
            memory: Some(Memory {
                ledgers: &lake.ledgers,
                root: &root,
                tokens: &tokens,
                offsets: None,
                newest_ms,
            }),
            ..Change::append(&written.files, &marks, Layout::of(looked_at), written.id)
        };
        let (catalog, started) = (lake.catalog.as_ref(), Instant::now());
        let metrics = &mut self.commit;
        let committed =
            commit::commit(catalog, &lake.env, &options.table, &change, options.deadline, metrics).await;
        self.commit.duration += started.elapsed();
        committed
    }

    fn outcome(&mut self, table: Option<&Table>) -> Outcome {
        Outcome {
            objects: self.sources.outcomes(),
            snapshot_id: self.snapshot_id,
            metadata_location: table.and_then(Table::metadata_location).map(str::to_owned),
            data_files: self.data_files,
            data_file_bytes: self.data_file_bytes,
            columns_added: self.columns_added,
            fields_ignored: self.fields_ignored,
            commit: self.commit,
            tables: Vec::new(),
        }
    }
}

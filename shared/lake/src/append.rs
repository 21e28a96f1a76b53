//! Several raw objects -> one commit to one table.
//!
//! In: objects by URI and token. Out: an [`Outcome`]. Objects that the table has already are skipped. The others are
//! read one after the other into the same data files, their rejected rows into the quarantine, and all is committed
//! at once. Wrong content never fails an object; a failing storage does: it is dropped, the files are written again
//! without it, and it alone is left to be delivered again.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use futures::stream::{self, StreamExt as _};
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Schema};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use uuid::Uuid;

use crate::catalog::Lake;
use crate::commit::{self, Committed};
use crate::decode::RowDecoder;
use crate::definition::TableDefinition;
use crate::failpoint::failpoint;
use crate::job::{AppendOptions, ObjectOutcome, Outcome, Rejected, SourceObject, Status};
use crate::quarantine::{self, Quarantine};
use crate::read::{self, Reading, Step};
use crate::token::{self, Seen, Token};
use crate::write::TableWriter;

/// Objects whose size is asked for at the same time.
const PARALLEL_REQUESTS: usize = 16;
/// Of the time until the deadline, the share that is kept for closing files and for the commit.
const COMMIT_SHARE: u32 = 4;

/// Appends `objects` to a table, in one commit.
///
/// # Errors
/// The catalog or the table's storage failed: no object was committed, as far as can be known, and all of them must
/// be delivered again.
pub async fn append(lake: &Lake, options: &AppendOptions, objects: Vec<SourceObject>) -> Result<Outcome> {
    Invocation::new(lake, options, objects).run().await
}

/// The state of one invocation.
struct Invocation<'a> {
    lake: &'a Lake,
    options: &'a AppendOptions,
    objects: Vec<SourceObject>,
    /// What is decided, by index of the object.
    statuses: HashMap<usize, Status>,
}

/// What one pass over the objects has written.
struct Written {
    writer: TableWriter,
    files: Vec<DataFile>,
    counts: Vec<Count>,
}

/// An object that was read to its end, by index, its rows and its rejected records.
type Count = (usize, u64, Rejected);

impl<'a> Invocation<'a> {
    fn new(lake: &'a Lake, options: &'a AppendOptions, mut objects: Vec<SourceObject>) -> Self {
        let mut seen = HashSet::new();
        objects.retain(|object| seen.insert(object.token));
        Self { lake, options, objects, statuses: HashMap::new() }
    }

    async fn run(mut self) -> Result<Outcome> {
        for (at, object) in self.objects.iter().enumerate() {
            if quarantine::is_quarantined(&object.uri, &self.options.errors_uri) {
                tracing::warn!(
                    object = object.uri,
                    "ignored: it lies in the quarantine that this function writes"
                );
                self.statuses.insert(at, Status::Ignored);
            }
        }
        let mut table = self.lake.table(&self.options.table).await?;
        if let Some(table) = &table {
            let known = token::find(table.metadata(), &self.pending_tokens());
            self.settle(known.into_iter().filter(|(_, seen)| *seen != Seen::Other).map(|(token, _)| token));
        }
        let sizes = self.sizes().await;
        if self.pending().next().is_none() {
            return Ok(self.outcome(table.as_ref(), None, &[]));
        }
        let mut current = match table.take() {
            Some(table) => table,
            None => match self.create_table(&sizes).await? {
                Some(table) => table,
                None => return self.reject_all(&sizes).await,
            },
        };
        loop {
            let Some(written) = self.write(&current, &sizes).await? else {
                return Ok(self.outcome(Some(&current), None, &[]));
            };
            let tokens: Vec<Token> = written.counts.iter().map(|(at, ..)| self.objects[*at].token).collect();
            let commit_id = written.writer.attempt();
            let catalog = self.lake.catalog.as_ref();
            let deadline = self.options.deadline;
            failpoint("before commit")?;
            match commit::commit(catalog, &self.options.table, &written.files, &tokens, commit_id, deadline)
                .await?
            {
                Committed::Snapshot(table, snapshot) => {
                    for (at, rows, rejected) in written.counts {
                        self.statuses.insert(at, Status::Committed { rows, rejected });
                    }
                    return Ok(self.outcome(Some(&table), Some(snapshot), &written.files));
                }
                Committed::Known { tokens, tried } => {
                    self.settle(tokens);
                    if !tried {
                        written.writer.abandon().await;
                    }
                    current = self.lake.catalog.load_table(&self.options.table).await?;
                }
            }
        }
    }

    /// Indexes of the objects that are not decided yet.
    fn pending(&self) -> impl Iterator<Item = usize> {
        (0..self.objects.len()).filter(|at| !self.statuses.contains_key(at))
    }

    fn pending_tokens(&self) -> Vec<Token> {
        self.pending().map(|at| self.objects[at].token).collect()
    }

    /// The objects of `tokens` are in the table.
    fn settle(&mut self, tokens: impl IntoIterator<Item = Token>) {
        for token in tokens {
            if let Some(at) = self.objects.iter().position(|object| object.token == token) {
                self.statuses.insert(at, Status::AlreadyCommitted);
            }
        }
    }

    /// Sizes of the pending objects; those that cannot be found are given up before anything is written.
    async fn sizes(&mut self) -> HashMap<usize, u64> {
        let (objects, file_io) = (&self.objects, &self.lake.file_io);
        let asked: Vec<(usize, Result<u64>)> = stream::iter(self.pending().collect::<Vec<_>>())
            .map(|at| async move { (at, size_of(file_io, &objects[at]).await) })
            .buffer_unordered(PARALLEL_REQUESTS)
            .collect()
            .await;
        let mut sizes = HashMap::new();
        for (at, size) in asked {
            match size {
                Ok(size) => {
                    sizes.insert(at, size);
                }
                Err(error) => {
                    self.statuses.insert(at, Status::Failed(error));
                }
            }
        }
        sizes
    }

    /// The pending objects as a reader takes them.
    fn to_read(&self, sizes: &HashMap<usize, u64>) -> Vec<Reading> {
        self.pending()
            .map(|at| Reading {
                at,
                object: self.objects[at].clone(),
                size_bytes: sizes.get(&at).copied().unwrap_or(0),
            })
            .collect()
    }

    /// Creates the table, unless there is nothing to tell its columns from.
    async fn create_table(&mut self, sizes: &HashMap<usize, u64>) -> Result<Option<Table>> {
        let definition = match &self.options.definition {
            Some(definition) => definition.clone(),
            None => {
                let readings = self.to_read(sizes);
                let (schema, failed) = read::infer(&self.lake.file_io, readings, self.options.limits).await?;
                for (at, error) in failed {
                    self.statuses.insert(at, Status::Failed(error));
                }
                let Some(schema) = schema else { return Ok(None) };
                TableDefinition::inferred(self.options.table.name(), schema)?
            }
        };
        tracing::info!(table = %self.options.table, "creating the table");
        let table = self.lake.create(&self.options.table, definition).await?;
        failpoint("after create")?;
        Ok(Some(table))
    }

    /// Without a table and without a record to infer one from: what the objects hold instead goes to the quarantine.
    /// No token is needed, since nothing could come twice.
    async fn reject_all(mut self, sizes: &HashMap<usize, u64>) -> Result<Outcome> {
        let readings = self.to_read(sizes);
        let schema = Schema::builder().build()?;
        match self.read_once(&schema, None, readings, self.options.deadline).await? {
            Ok(counts) => {
                for (at, rows, rejected) in counts {
                    self.statuses.insert(at, Status::Committed { rows, rejected });
                }
            }
            Err((at, error)) => {
                self.statuses.insert(at, Status::Failed(error));
            }
        }
        Ok(self.outcome(None, None, &[]))
    }

    /// Writes the files of all pending objects. None if no object is left.
    async fn write(&mut self, table: &Table, sizes: &HashMap<usize, u64>) -> Result<Option<Written>> {
        let left = self.options.deadline.saturating_duration_since(Instant::now());
        let reading_until = self.options.deadline - left / COMMIT_SHARE;
        loop {
            let readings = self.to_read(sizes);
            if readings.is_empty() {
                return Ok(None);
            }
            let schema = table.metadata().current_schema();
            let mut writer = TableWriter::new(table, self.options.limits.write, new_attempt())?;
            let read = match self.read_once(schema, Some(&mut writer), readings, reading_until).await {
                Ok(Ok(counts)) if counts.is_empty() => return Ok(None),
                Ok(Ok(counts)) => writer.close().await.map(|files| Ok((files, counts))),
                Ok(Err(failed)) => Ok(Err(failed)),
                Err(error) => Err(error),
            };
            match read {
                Ok(Ok((files, counts))) => return Ok(Some(Written { writer, files, counts })),
                Ok(Err((at, error))) => {
                    tracing::warn!(object = self.objects[at].uri, %error, "object failed; writing without it");
                    self.statuses.insert(at, Status::Failed(error));
                    writer.abandon().await;
                }
                Err(error) => {
                    writer.abandon().await;
                    return Err(error);
                }
            }
        }
    }

    /// One pass over `readings`: rows to the writer, rejections to the quarantine. The inner error is an object whose
    /// storage failed.
    async fn read_once(
        &mut self,
        schema: &Schema,
        mut writer: Option<&mut TableWriter>,
        readings: Vec<Reading>,
        until: Instant,
    ) -> Result<std::result::Result<Vec<Count>, (usize, Error)>> {
        let file_io = &self.lake.file_io;
        let mut quarantine =
            Quarantine::new(file_io.clone(), &self.options.errors_uri, &self.options.table.to_string());
        let mut counts = Vec::new();
        let mut undecided = readings.len();
        let decoder = RowDecoder::new(schema, &self.options.processing_time)?;
        let mut steps = read::rows(file_io.clone(), readings, decoder, self.options.limits, until);
        while let Some(step) = steps.recv().await {
            match step {
                Step::Rows(batch) => match &mut writer {
                    Some(writer) => writer.write(&batch?).await?,
                    None => return Err(Error::new(ErrorKind::Unexpected, "rows without a table: a defect")),
                },
                Step::Rejected(at, rejection) => quarantine.add(&self.objects[at], &rejection).await?,
                Step::Finished { at, rows, rejected } => {
                    quarantine.close().await?;
                    counts.push((at, rows, rejected));
                    undecided -= 1;
                }
                Step::Failed(at, error) => return Ok(Err((at, error))),
                Step::NotReached(at) => {
                    self.statuses.insert(at, Status::NotReached);
                    undecided -= 1;
                }
            }
        }
        if undecided > 0 {
            // The files may hold rows of an object that was not read to its end.
            return Err(Error::new(ErrorKind::Unexpected, "reading ended early: a defect"));
        }
        Ok(Ok(counts))
    }

    fn outcome(mut self, table: Option<&Table>, snapshot_id: Option<i64>, files: &[DataFile]) -> Outcome {
        let objects = self
            .objects
            .into_iter()
            .enumerate()
            .map(|(at, object)| {
                let status = self.statuses.remove(&at).unwrap_or(Status::NotReached);
                ObjectOutcome { object, status }
            })
            .collect();
        Outcome {
            objects,
            snapshot_id,
            metadata_location: table.and_then(Table::metadata_location).map(str::to_owned),
            data_files: files.len(),
            data_file_bytes: files.iter().map(DataFile::file_size_in_bytes).sum(),
        }
    }
}

async fn size_of(file_io: &FileIO, object: &SourceObject) -> Result<u64> {
    let input = file_io.new_input(&object.uri)?;
    if !input.exists().await? {
        let what = format!(
            "the object {} does not exist; it was deleted, or the notification is for another place",
            object.uri
        );
        return Err(Error::new(ErrorKind::DataInvalid, what));
    }
    Ok(input.metadata().await?.size)
}

/// A name for the files of one attempt, never used before.
#[expect(
    clippy::disallowed_methods,
    reason = "file names must be unique, and sort by time for whoever looks"
)]
fn new_attempt() -> Uuid {
    Uuid::now_v7()
}

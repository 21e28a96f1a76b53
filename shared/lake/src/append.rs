//! Several raw objects -> one commit to one table; further versions of an object -> one more each.
//!
//! In: objects by URI and token. Out: an [`Outcome`]. Objects that the table has already are skipped; of those that it
//! may have in part, the rows that it lacks are kept. The others are read one after the other into the same data files,
//! their rejected rows into the quarantine, and all is committed at once. Wrong content never fails an object; a failing
//! storage does: it alone is left to be delivered again. One that fails when some of its rows are written costs another
//! pass over the others; a byte of each is read beforehand, and all that fails in a pass is left out of the next one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use iceberg::spec::{DataFile, Schema};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use records::rejection::Reason;
use tokio::time::Instant;
use uuid::Uuid;

use crate::catalog::Lake;
use crate::commit::{self, Change, CommitError, Committed, Layout, Objects};
use crate::decode::{FILE_NAME, RowDecoder};
use crate::definition::TableDefinition;
use crate::failpoint::failpoint;
use crate::infer;
use crate::job::{
    AppendError, AppendOptions, CommitMetrics, ObjectOutcome, Outcome, Rejected, SourceObject, Status,
};
use crate::known::{self, KnownRows};
use crate::ledger::{self, Doubt, Memory, is_ledger, name_time};
use crate::objects::{FoundObject, Pass, PassTime, find, place};
use crate::quarantine::{self, Added, Quarantine};
use crate::read::{self, Step};
use crate::token::{History, Seen, Token, Version};
use crate::write::TableWriter;

/// Objects whose size is asked for at the same time.
const PARALLEL_REQUESTS: usize = 16;
/// Of the time until the deadline, the share that is kept for closing files and for the commit. Where that is less than
/// [`COMMIT_TIME`], so much is kept, but half of the time at most. No object is begun in it; one that was begun before
/// may go on in its first half.
const COMMIT_SHARE: u32 = 4;
const COMMIT_TIME: Duration = Duration::from_secs(1);
/// Of the time until the deadline, the share in which a schema is inferred.
const INFERENCE_SHARE: u32 = 4;

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
) -> std::result::Result<Outcome, AppendError> {
    let mut invocation = Invocation::new(lake, options, objects);
    match tokio::time::timeout_at(options.deadline, invocation.run()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::warn!(
                "the deadline came before the outcome was known; all objects must be delivered again"
            );
            Ok(invocation.outcome(None))
        }
    }
}

/// The state of one invocation.
struct Invocation<'a> {
    lake: &'a Lake,
    options: &'a AppendOptions,
    objects: Vec<SourceObject>,
    /// What is decided, by index of the object.
    statuses: HashMap<usize, Status>,
    /// Sizes of the objects that are committed, by index.
    bytes_read: HashMap<usize, u64>,
    commit: CommitMetrics,
    /// The last snapshot, and the files of all of them.
    snapshot_id: Option<i64>,
    data_files: usize,
    data_file_bytes: u64,
    /// The objects that were found, by index.
    found: HashMap<usize, Arc<FoundObject>>,
}

/// What one pass over the objects has written.
struct Written {
    writer: TableWriter,
    quarantine: Quarantine,
    files: Vec<DataFile>,
    counts: Vec<Count>,
}

/// What the table remembers of the objects.
struct Told {
    history: History,
    /// Where rows of objects may be of which it remembers nothing.
    doubt: Option<Doubt>,
}

/// What the table has of the objects that are to be read.
#[derive(Debug, Default)]
struct Known {
    rows: KnownRows,
    /// Other versions of an object.
    versions: HashMap<Token, Vec<Version>>,
}

/// What was found in an object that was read to its end.
struct Count {
    at: usize,
    /// Rows that the table lacks.
    rows: u64,
    known: u64,
    rejected: Rejected,
}

impl<'a> Invocation<'a> {
    fn new(lake: &'a Lake, options: &'a AppendOptions, mut objects: Vec<SourceObject>) -> Self {
        let mut seen = HashSet::new();
        objects.retain(|object| seen.insert(object.token));
        Self {
            lake,
            options,
            objects,
            statuses: HashMap::new(),
            bytes_read: HashMap::new(),
            commit: CommitMetrics::default(),
            snapshot_id: None,
            data_files: 0,
            data_file_bytes: 0,
            found: HashMap::new(),
        }
    }

    async fn run(&mut self) -> std::result::Result<Outcome, AppendError> {
        for (at, object) in self.objects.iter().enumerate() {
            let errors_uri = &self.options.errors_uri;
            if quarantine::is_quarantined(&object.uri, errors_uri) || is_ledger(&object.uri, errors_uri) {
                tracing::warn!(
                    object = object.uri,
                    "ignored: it lies among the files that this function writes itself"
                );
                self.statuses.insert(at, Status::Ignored);
            }
        }
        let table = self.lake.table(&self.options.table).await.map_err(AppendError::Catalog)?;
        let mut told = match &table {
            Some(table) => Some(self.settle(table).await),
            None => None,
        };
        self.find_pending().await;
        if self.pending().next().is_none() {
            return Ok(self.outcome(table.as_ref()));
        }
        let mut current = match table {
            Some(table) => table,
            None => match self.create_table().await? {
                Some(table) => table,
                None => return Ok(self.reject_all().await?),
            },
        };
        warn_if_unnamed(&current);
        loop {
            let told = match told.take() {
                Some(told) => told,
                None => self.settle(&current).await,
            };
            let known = self.look(&current, told).await?;
            let Some(written) = self.write(&current, &known).await? else {
                return Ok(self.outcome(Some(&current)));
            };
            let tokens = self.tokens(&written.counts);
            let rejected = written.counts.iter().flat_map(|count| count.rejected.values()).sum();
            let marks = Objects { tokens: &tokens, rejected };
            let (layout, id) = (Layout::of(&current), written.writer.attempt());
            let looked_at = current.metadata().current_snapshot_id();
            let root = ledger::root(&self.options.errors_uri, &self.options.table.to_string());
            let newest_ms = self.pending().filter_map(|at| name_time(&self.objects[at].key)).max();
            let memory =
                Some(Memory { ledgers: &self.lake.ledgers, root: &root, tokens: &tokens, newest_ms });
            let change = Change { looked_at, memory, ..Change::append(&written.files, &marks, layout, id) };
            failpoint("before commit")?;
            let catalog = self.lake.catalog.as_ref();
            let (deadline, started) = (self.options.deadline, Instant::now());
            let committed = commit::commit(
                catalog,
                &self.lake.env,
                &self.options.table,
                &change,
                deadline,
                &mut self.commit,
            )
            .await;
            self.commit.duration += started.elapsed();
            match committed {
                Ok(Committed::Snapshot(table, snapshot)) => {
                    self.committed(written.counts);
                    self.snapshot_id = Some(snapshot);
                    self.data_files += written.files.len();
                    self.data_file_bytes +=
                        written.files.iter().map(DataFile::file_size_in_bytes).sum::<u64>();
                    if self.pending().next().is_none() {
                        return Ok(self.outcome(Some(&table)));
                    }
                    // Further versions of objects that are in the table now.
                    current = *table;
                }
                Ok(Committed::Outdated { tried }) => {
                    if !tried {
                        written.writer.abandon().await;
                        written.quarantine.abandon().await;
                    }
                    let loaded = catalog.load_table(&self.options.table).await;
                    current = loaded.map_err(AppendError::Catalog)?;
                }
                // Others had all the time that there was: no fault of the function, and no reason to fail it.
                Err(CommitError::Outrun(error)) => {
                    for Count { at, .. } in &written.counts {
                        let error = Error::new(error.kind(), format!("other writers were faster: {error}"));
                        self.statuses.insert(*at, Status::Failed(error));
                    }
                    return Ok(self.outcome(Some(&current)));
                }
                Err(CommitError::Failed(error)) => return Err(AppendError::Catalog(error)),
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

    /// Decides the objects whose tokens are in the table. Gives back what it tells of the others.
    async fn settle(&mut self, table: &Table) -> Told {
        let remembered = self.lake.ledgers.of(table.metadata(), table.file_io()).await;
        let history = remembered.history(&self.pending_tokens());
        for at in self.pending().collect::<Vec<_>>() {
            if let Some(Seen::This(_)) = history.seen.get(&self.objects[at].token) {
                self.statuses.insert(at, Status::AlreadyCommitted);
            }
        }
        Told { history, doubt: remembered.doubt() }
    }

    /// Asks the table for the rows of objects that may be there in part: of another version of an object; of an object
    /// that may be older than what is remembered.
    async fn look(&mut self, table: &Table, told: Told) -> Result<Known> {
        let rows = self.ask(table, &told).await?;
        Ok(Known { rows, versions: told.history.versions })
    }

    async fn ask(&mut self, table: &Table, told: &Told) -> Result<KnownRows> {
        let (history, now_ms) = (&told.history, self.lake.env.now_ms());
        let doubtful: Vec<usize> = self
            .pending()
            .filter(|at| {
                let object = &self.objects[*at];
                let is_new = |doubt: Doubt| {
                    name_time(&object.key).is_some_and(|time_ms| doubt.is_excluded(time_ms, now_ms))
                };
                history.seen.contains_key(&object.token) || told.doubt.is_some_and(|doubt| !is_new(doubt))
            })
            .collect();
        if doubtful.is_empty() {
            return Ok(KnownRows::default());
        }
        if !known::can_tell(table)? {
            tracing::warn!(
                table = %self.options.table,
                objects = doubtful.len(),
                "the table has no column file_name: whether it has rows of these objects cannot be told"
            );
            for at in doubtful {
                if history.seen.contains_key(&self.objects[at].token) {
                    let what = "another version of the object is in the table, which has no column file_name to tell which of \
                                its rows; add one";
                    self.statuses.insert(at, Status::Failed(Error::new(ErrorKind::DataInvalid, what)));
                }
            }
            return Ok(KnownRows::default());
        }
        let asked = doubtful.iter().map(|at| {
            let object = &self.objects[*at];
            // Of another version, the rows are in any file.
            let until = match history.seen.contains_key(&object.token) {
                true => None,
                false => told.doubt.map(|doubt| doubt.until),
            };
            (object.uri.as_str(), until.unwrap_or(i64::MAX))
        });
        let uris = self.lake.name_bounds.admit(table, asked.collect()).await?;
        let (known, too_many) = KnownRows::ask(table, uris, self.options.limits.known_rows).await?;
        for at in doubtful {
            if too_many.contains(&self.objects[at].uri) {
                let what = "the table has more rows of the object than can be compared; give the function more memory";
                self.statuses.insert(at, Status::Failed(Error::new(ErrorKind::DataInvalid, what)));
            }
        }
        Ok(known)
    }

    /// Pending objects whose bytes are those that were read as object `at`: itself, and, where the storage has no versions,
    /// other versions of it. What is there now was read once and stands for all of them.
    fn versions(&self, at: usize) -> impl Iterator<Item = usize> {
        let read = place(&self.objects[at]);
        self.pending().filter(move |other| place(&self.objects[*other]) == read)
    }

    /// The tokens of the objects that were read.
    fn tokens(&self, counts: &[Count]) -> Vec<Token> {
        let objects = counts.iter().flat_map(|count| self.versions(count.at));
        objects.map(|at| self.objects[at].token).collect()
    }

    /// The objects of `counts` are in the table.
    fn committed(&mut self, counts: Vec<Count>) {
        for Count { at, rows, known, rejected } in counts {
            for version in self.versions(at).collect::<Vec<_>>() {
                let nothing = Status::Committed { rows: 0, known: 0, rejected: Rejected::new() };
                self.statuses.insert(version, nothing);
            }
            self.statuses.insert(at, Status::Committed { rows, known, rejected });
            self.bytes_read.extend(self.found.get(&at).map(|found| (at, found.size_bytes)));
        }
    }

    /// Finds the pending objects; those that are not there are given up before anything is written.
    async fn find_pending(&mut self) {
        let (objects, file_io) = (&self.objects, &self.lake.file_io);
        let asked: Vec<(usize, Result<FoundObject>)> = stream::iter(self.pending().collect::<Vec<_>>())
            .map(|at| async move { (at, find(file_io, at, &objects[at]).await) })
            .buffer_unordered(PARALLEL_REQUESTS)
            .collect()
            .await;
        for (at, found) in asked {
            match found {
                Ok(found) => {
                    self.found.insert(at, Arc::new(found));
                }
                Err(error) => {
                    self.statuses.insert(at, Status::Failed(error));
                }
            }
        }
    }

    /// The pending objects as a reader takes them. Of several versions of an object the first: which rows of the next one
    /// are new is told by what the table then has.
    fn to_read(&self) -> Vec<Arc<FoundObject>> {
        let mut seen = HashSet::new();
        self.pending()
            .filter(|at| seen.insert(&self.objects[*at].uri))
            .filter_map(|at| self.found.get(&at).cloned())
            .collect()
    }

    /// The quarantine for the commit `commit`.
    fn quarantine(&self, commit: Option<Uuid>) -> Quarantine {
        let (file_io, options) = (self.lake.file_io.clone(), self.options);
        let (table, max_known) = (options.table.to_string(), options.limits.known_rows);
        Quarantine::new(file_io, &options.errors_uri, table, commit, max_known)
    }

    /// Creates the table, unless there is nothing to tell its columns from.
    async fn create_table(&mut self) -> std::result::Result<Option<Table>, AppendError> {
        let definition = match &self.options.definition {
            Some(definition) => definition.clone(),
            None => {
                let objects = self.to_read();
                let now = Instant::now();
                let until = now + self.options.deadline.saturating_duration_since(now) / INFERENCE_SHARE;
                let inferred = infer::infer(objects, self.options.limits, until).await?;
                for (at, error) in inferred.failed {
                    self.statuses.insert(at, Status::Failed(error));
                }
                let Some(schema) = inferred.schema else {
                    if inferred.cut_short {
                        tracing::warn!("there was no time to find a record that tells the table's columns");
                        self.not_reached();
                    }
                    return Ok(None);
                };
                TableDefinition::inferred(self.options.table.name(), schema)?
            }
        };
        tracing::info!(table = %self.options.table, "creating the table");
        let created = self.lake.create(&self.options.table, definition).await;
        let table = created.map_err(AppendError::Catalog)?;
        failpoint("after create")?;
        Ok(Some(table))
    }

    fn failed(&mut self, failed: Vec<(usize, Error)>) {
        self.statuses.extend(failed.into_iter().map(|(at, error)| (at, Status::Failed(error))));
    }

    /// There is no time for what is pending.
    fn not_reached(&mut self) {
        for at in self.pending().collect::<Vec<_>>() {
            self.statuses.insert(at, Status::NotReached);
        }
    }

    /// Without a table and without a record to infer one from: what the objects hold instead goes to the quarantine.
    /// No token is needed, since nothing could come twice.
    async fn reject_all(&mut self) -> Result<Outcome> {
        let objects = self.to_read();
        let decoder = RowDecoder::new(&Schema::builder().build()?, &self.options.processing_time)?;
        let known = Known::default();
        let time = PassTime { begin_until: self.options.deadline, cut_off: self.options.deadline };
        let mut quarantine = self.quarantine(None);
        match self.read_once(decoder, None, &mut quarantine, &known, objects, time).await? {
            Ok(counts) => self.committed(counts),
            Err(failed) => self.failed(failed),
        }
        Ok(self.outcome(None))
    }

    /// Writes the files of all pending objects. None if no object is left.
    async fn write(&mut self, table: &Table, known: &Known) -> Result<Option<Written>> {
        loop {
            let left = self.options.deadline.saturating_duration_since(Instant::now());
            let kept = (left / COMMIT_SHARE).max(COMMIT_TIME.min(left / 2));
            let (begin_until, cut_off) = (self.options.deadline - kept, self.options.deadline - kept / 2);
            let time = PassTime { begin_until, cut_off };
            let objects = self.to_read();
            if objects.is_empty() {
                return Ok(None);
            }
            let decoder = RowDecoder::for_table(table.metadata(), &self.options.processing_time)?;
            let read_objects: Vec<usize> = objects.iter().map(|object| object.at).collect();
            let mut writer = TableWriter::new(table, self.options.limits.write, self.lake.env.uuid())?;
            let mut quarantine = self.quarantine(Some(writer.attempt()));
            let read =
                self.read_once(decoder, Some(&mut writer), &mut quarantine, known, objects, time).await;
            let read = match read {
                // Nothing was written; another version of an object that failed may be left.
                Ok(Ok(counts)) if counts.is_empty() => continue,
                Ok(Ok(counts)) => writer.close().await.map(|files| Ok((files, counts))),
                Ok(Err(failed)) => Ok(Err(failed)),
                Err(error) => Err(error),
            };
            match read {
                Ok(Ok((files, counts))) => return Ok(Some(Written { writer, quarantine, files, counts })),
                Ok(Err(failed)) => {
                    tracing::info!(objects = failed.len(), "objects failed; writing again without them");
                    self.failed(failed);
                    writer.abandon().await;
                    quarantine.abandon().await;
                }
                Err(error) if writer.has_too_many_files() => {
                    writer.abandon().await;
                    quarantine.abandon().await;
                    self.hand_back(&read_objects, &error);
                }
                Err(error) => {
                    // To abandon may take longer than there is time.
                    tracing::error!(%error, "the files cannot be written");
                    writer.abandon().await;
                    quarantine.abandon().await;
                    return Err(error);
                }
            }
        }
    }

    /// The rows of `read` need too many files. The first half of the objects may not; the others are delivered again. An
    /// object that needs too many by itself has failed.
    fn hand_back(&mut self, read: &[usize], error: &Error) {
        for at in &read[read.len() / 2..] {
            for version in self.versions(*at).collect::<Vec<_>>() {
                let error = Error::new(error.kind(), error.message());
                self.statuses.insert(version, Status::Failed(error));
            }
        }
    }

    /// One pass over `objects`: what is not `known` goes on, rows to the writer, rejections to the quarantine. An
    /// object whose storage failed before anything of it went on does without the rest. The inner error is the objects
    /// whose storage failed later: what was written holds some of their rows.
    async fn read_once(
        &mut self,
        decoder: RowDecoder,
        mut writer: Option<&mut TableWriter>,
        quarantine: &mut Quarantine,
        known: &Known,
        objects: Vec<Arc<FoundObject>>,
        time: PassTime,
    ) -> Result<std::result::Result<Vec<Count>, Vec<(usize, Error)>>> {
        let mut lacking = known.rows.filter();
        let mut rejected_before: HashMap<(usize, Reason), u64> = HashMap::new();
        let mut counts: Vec<Count> = Vec::new();
        let mut undecided = objects.len();
        let mut failed = Vec::new();
        let mut steps = read::rows(Pass { objects, limits: self.options.limits, time }, decoder);
        while let Some(step) = steps.next().await {
            match step {
                Step::Failed { at, error, spoiled } if spoiled || !failed.is_empty() => {
                    failed.push((at, error));
                }
                // The pass is in vain, and goes on only to find out what else fails.
                _ if !failed.is_empty() => {}
                Step::Failed { at, error, .. } => {
                    self.statuses.insert(at, Status::Failed(error));
                    undecided -= 1;
                }
                Step::Rows(batch) => match &mut writer {
                    Some(writer) => writer.write(&lacking.of(batch?)?).await?,
                    None => return Err(Error::new(ErrorKind::Unexpected, "rows without a table: a defect")),
                },
                Step::Rejected(rejection) => {
                    let at = rejection.origin.source();
                    let versions = known.versions.get(&self.objects[at].token).map_or(&[][..], Vec::as_slice);
                    match quarantine.add(versions, &rejection).await? {
                        Added::New => {}
                        Added::Known => {
                            *rejected_before.entry((at, rejection.refusal.reason)).or_default() += 1;
                        }
                        Added::Failed(error) => failed.push((at, error)),
                    }
                }
                Step::Finished { at, rows, mut rejected } => {
                    quarantine.close().await?;
                    for (reason, count) in &mut rejected {
                        *count -= rejected_before.get(&(at, *reason)).copied().unwrap_or(0);
                    }
                    rejected.retain(|_, count| *count > 0);
                    counts.push(Count { at, rows, known: 0, rejected });
                    undecided -= 1;
                }
                Step::NotReached(at) => {
                    self.statuses.insert(at, Status::NotReached);
                    undecided -= 1;
                }
            }
        }
        if !failed.is_empty() {
            return Ok(Err(failed));
        }
        if undecided > 0 {
            // The files may hold rows of an object that was not read to its end.
            return Err(Error::new(ErrorKind::Unexpected, "reading ended early: a defect"));
        }
        for Count { at, rows, known, .. } in &mut counts {
            *known = lacking.known(&self.objects[*at].uri);
            *rows -= *known;
        }
        Ok(Ok(counts))
    }

    fn outcome(&mut self, table: Option<&Table>) -> Outcome {
        let objects = std::mem::take(&mut self.objects)
            .into_iter()
            .enumerate()
            .map(|(at, object)| {
                let status = self.statuses.remove(&at).unwrap_or(Status::NotReached);
                let bytes_read = self.bytes_read.get(&at).copied().unwrap_or(0);
                ObjectOutcome { object, status, bytes_read }
            })
            .collect();
        Outcome {
            objects,
            snapshot_id: self.snapshot_id,
            metadata_location: table.and_then(Table::metadata_location).map(str::to_owned),
            data_files: self.data_files,
            data_file_bytes: self.data_file_bytes,
            commit: self.commit,
        }
    }
}

/// Says once for each table that its rows do not name their objects.
fn warn_if_unnamed(table: &Table) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let (name, schema) = (table.identifier().to_string(), table.metadata().current_schema());
    if schema.field_by_name(FILE_NAME).is_none()
        && WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone())
    {
        tracing::warn!(
            table = name,
            "the table has no column {FILE_NAME}: once its snapshots expire, an object that is delivered again comes in \
             twice, and no audit can tell. Run: ALTER TABLE {name} ADD COLUMN {FILE_NAME} string"
        );
    }
}

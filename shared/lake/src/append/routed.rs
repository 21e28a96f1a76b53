//! Several raw objects -> one commit to each table that their records name, and one to the stream's own.
//!
//! In: objects, and the [`Routes`] of the stream. Out: one [`Outcome`]. The objects are read once; their records wait, by
//! table, in a [`Spool`](crate::route::Spool). Each table is then an invocation of its own, over the objects that gave it records: their tokens
//! stand in its commit. The stream's own table comes last, with the tokens of all objects whose other tables have
//! succeeded: an object whose token is there is done. A table that fails takes its objects out; whatever they gave to
//! others is skipped when they are delivered again, since its token is there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use iceberg::{Error, ErrorKind, TableIdent};
use tokio::time::Instant;

use super::sources::Sources;
use super::{Input, Invocation, append, horizon};
use crate::catalog::Lake;
use crate::error::{Error as Failure, reworded};
use crate::job::{AppendOptions, Outcome, SourceObject, Status, TableOutcome};
use crate::objects::{FoundObject, Pass, PassTime};
use crate::route::{Place, Routed, Router, Routes, Routing};
use crate::task;

/// Tables that are written to at the same time, in equal parts of the memory.
const TABLES_AT_ONCE: usize = 4;
/// Of the time that there is, the share in which objects are read; no object is begun in its last quarter.
const READ_SHARE: u32 = 2;
/// Of the time that is left then, the share that is kept for the stream's own table.
const OWN_SHARE: u32 = 4;

/// Appends the records of `objects` to the tables that they name by `routes`, and to the table of `options` what names
/// none: one commit to each. A table that fails fails the objects that have rows for it.
///
/// # Errors
/// The storage of the temporary file, or a defect: no object is done.
pub async fn append_routed(
    lake: &Lake,
    options: &AppendOptions,
    routes: &Arc<Routes>,
    objects: Vec<SourceObject>,
) -> std::result::Result<Outcome, Failure> {
    let mut all = Merged::new(&objects);
    let mut by_key: BTreeMap<String, (TableIdent, Vec<SourceObject>)> = BTreeMap::new();
    let mut others = Vec::new();
    for object in objects {
        match routes.of_key(&object.key, &options.table) {
            Some(table) => {
                by_key.entry(table.to_string()).or_insert_with(|| (table, Vec::new())).1.push(object);
            }
            None => others.push(object),
        }
    }
    let at_once = if by_key.len() > 1 { TABLES_AT_ONCE.min(by_key.len()) } else { 1 };
    let appends = by_key.into_values().map(|(table, objects)| {
        let options = of_table(options, table, at_once, options.deadline);
        async move {
            let mut invocation = Invocation::new(lake, &options, objects.clone());
            invocation.definitions = routes.definitions.as_deref();
            invocation.routed = by_folder(routes, &objects);
            let outcome = invocation.until_deadline().await;
            (options.table, objects, outcome)
        }
    });
    let mut appended = stream::iter(appends).buffer_unordered(at_once);
    while let Some((table, objects, outcome)) = appended.next().await {
        all.add(&table, &objects, outcome);
    }
    if others.is_empty() {
        return Ok(all.outcome());
    }
    if routes.field.is_none() {
        let outcome = append(lake, options, others.clone()).await;
        all.add(&options.table, &others, outcome);
        return Ok(all.outcome());
    }
    by_field(lake, options, routes, others, &mut all).await?;
    Ok(all.outcome())
}

/// The same for objects of which each record names its table.
async fn by_field(
    lake: &Lake,
    options: &AppendOptions,
    routes: &Arc<Routes>,
    objects: Vec<SourceObject>,
    all: &mut Merged,
) -> std::result::Result<(), Failure> {
    let mut sources = Sources::new(objects);
    sources.ignore_own(&options.errors_uri);
    if let Some(own) = lake.table(&options.table).await.map_err(Failure::of_catalog)? {
        let _ = horizon::settle(&mut sources, lake, &own, &options.branch).await;
    }
    sources.find(&lake.file_io).await;
    // One turn for each version of an object.
    while !sources.is_done() {
        let objects = sources.to_read();
        if objects.is_empty() {
            break;
        }
        let by_at: HashMap<usize, Arc<FoundObject>> =
            objects.iter().map(|object| (object.at, object.clone())).collect();
        let (tables, spool, left_out) = read(routes, objects, options).await?;
        for (at, why) in left_out {
            sources.leave_out(at, why);
        }
        let spool = Arc::new(spool);
        let found = |places: &[usize]| -> Vec<Arc<FoundObject>> {
            places.iter().filter_map(|at| by_at.get(at).cloned()).collect()
        };
        let left = options.deadline.saturating_duration_since(Instant::now());
        let until = options.deadline - left / OWN_SHARE;
        let at_once = TABLES_AT_ONCE.min(tables.len()).max(1);
        let numbered = tables.into_iter().enumerate();
        let appends = numbered.map(|(number, (table, routed))| {
            let options = of_table(options, table, at_once, until);
            let objects = found(&spool.sources(Place::Table(number)));
            let input = Input::Spool(spool.clone(), Place::Table(number));
            async move {
                let mut invocation = Invocation::over(lake, &options, objects.clone(), input);
                invocation.definitions = routes.definitions.as_deref();
                invocation.routed = routed;
                let outcome = match objects.is_empty() {
                    true => Ok(invocation.outcome(None)),
                    false => invocation.until_deadline().await,
                };
                (options.table, objects, outcome)
            }
        });
        let mut appended = stream::iter(appends).buffer_unordered(at_once);
        while let Some((table, objects, outcome)) = appended.next().await {
            let objects: Vec<SourceObject> = objects.iter().map(|found| found.object.clone()).collect();
            all.add(&table, &objects, outcome);
        }
        drop(appended);
        let done: Vec<usize> = spool
            .read()
            .iter()
            .copied()
            .filter(|at| by_at.get(at).is_some_and(|found| all.may_go_on(&found.object)))
            .collect();
        let objects = found(&done);
        if !objects.is_empty() {
            let input = Input::Spool(spool.clone(), Place::Own);
            let mut invocation = Invocation::over(lake, options, objects.clone(), input);
            let outcome = invocation.until_deadline().await;
            let objects: Vec<SourceObject> = objects.iter().map(|found| found.object.clone()).collect();
            all.add(&options.table, &objects, outcome);
        }
        for at in spool.read() {
            // What became of it stands in `all`.
            sources.decide(*at, Status::Ignored);
        }
    }
    for outcome in sources.outcomes() {
        all.add_undecided(outcome.object, outcome.status);
    }
    Ok(())
}

/// The folder that `objects` are in.
fn by_folder(routes: &Arc<Routes>, objects: &[SourceObject]) -> Option<Routed> {
    let mut folders = objects.iter().filter_map(|object| routes.folder(&object.key));
    let value = folders.next()?.to_owned();
    let is_mixed = folders.any(|folder| folder != value);
    Some(Routed { routes: routes.clone(), value, is_mixed })
}

/// Reads `objects` into a spool.
async fn read(
    routes: &Arc<Routes>,
    objects: Vec<Arc<FoundObject>>,
    options: &AppendOptions,
) -> std::result::Result<Routing, Failure> {
    let now = Instant::now();
    let cut_off = now + options.deadline.saturating_duration_since(now) / READ_SHARE;
    let time = PassTime { begin_until: cut_off - (cut_off - now) / 4, cut_off };
    let mut router = Router::new(routes.clone(), &objects, &options.limits);
    let pass = Pass { objects, limits: options.limits, unpack: options.unpack.clone(), time };
    let (_waiting, stop) = task::waiting();
    let reading = task::spawn_blocking(move || {
        // A router that wants no more says why.
        let _ = pass.run(&mut router, &stop);
        router
    });
    let router = reading.await.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "reading ended early: a defect").with_source(error)
    })?;
    Ok(router.finish())
}

/// The options for `table`, one of so many at once.
fn of_table(options: &AppendOptions, table: TableIdent, at_once: usize, deadline: Instant) -> AppendOptions {
    let limits = options.limits.shared_by(at_once);
    AppendOptions { table, definition: None, limits, deadline, ..options.clone() }
}

/// What became of each object, in all tables.
struct Merged {
    objects: Vec<(SourceObject, Option<Status>, u64)>,
    by_token: HashMap<crate::token::Token, usize>,
    outcome: Outcome,
}

impl Merged {
    fn new(objects: &[SourceObject]) -> Self {
        let mut by_token = HashMap::new();
        let mut kept = Vec::new();
        for object in objects {
            by_token.entry(object.token).or_insert_with(|| {
                kept.push((object.clone(), None, 0));
                kept.len() - 1
            });
        }
        let outcome = Outcome {
            objects: Vec::new(),
            snapshot_id: None,
            metadata_location: None,
            data_files: 0,
            data_file_bytes: 0,
            columns_added: 0,
            fields_ignored: 0,
            commit: Default::default(),
            tables: Vec::new(),
        };
        Self { objects: kept, by_token, outcome }
    }

    /// Whether nothing stands against it that the object's token goes into the stream's own table.
    fn may_go_on(&self, object: &SourceObject) -> bool {
        let status = self.by_token.get(&object.token).and_then(|at| self.objects.get(*at));
        status.is_some_and(|(_, status, _)| status.as_ref().is_none_or(Status::is_done))
    }

    /// Adds what became of `objects` in `table`.
    fn add(
        &mut self,
        table: &TableIdent,
        objects: &[SourceObject],
        outcome: std::result::Result<Outcome, Failure>,
    ) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(failure) => {
                tracing::error!(%table, error = %failure, "nothing was committed to the table");
                for object in objects {
                    let error =
                        failure.kind.within(ErrorKind::Unexpected, format!("the table {table}: {failure}"));
                    self.merge(object, Status::Failed(error), 0);
                }
                return;
            }
        };
        let mut rows = 0;
        for object in outcome.objects {
            let status = match object.status {
                Status::Failed(error) => {
                    Status::Failed(reworded(&error, format!("the table {table}: {}", error.message())))
                }
                status => status,
            };
            if let Status::Committed { rows: of_object, .. } = &status {
                rows += of_object;
            }
            self.merge(&object.object, status, object.bytes_read);
        }
        let all = &mut self.outcome;
        all.snapshot_id = outcome.snapshot_id.or(all.snapshot_id);
        all.metadata_location = outcome.metadata_location.or(all.metadata_location.take());
        all.data_files += outcome.data_files;
        all.data_file_bytes += outcome.data_file_bytes;
        all.columns_added += outcome.columns_added;
        all.fields_ignored += outcome.fields_ignored;
        all.commit.attempts += outcome.commit.attempts;
        all.commit.conflicts += outcome.commit.conflicts;
        all.commit.duration = all.commit.duration.max(outcome.commit.duration);
        all.tables.push(TableOutcome { table: table.clone(), rows, snapshot_id: outcome.snapshot_id });
    }

    /// Adds an object that came to no table.
    fn add_undecided(&mut self, object: SourceObject, status: Status) {
        let is_decided = self
            .by_token
            .get(&object.token)
            .and_then(|at| self.objects.get(*at))
            .is_some_and(|(_, status, _)| status.is_some());
        if !is_decided {
            self.merge(&object, status, 0);
        }
    }

    fn merge(&mut self, object: &SourceObject, status: Status, bytes_read: u64) {
        let Some((_, known, bytes)) =
            self.by_token.get(&object.token).and_then(|at| self.objects.get_mut(*at))
        else {
            return;
        };
        *bytes = bytes_read.max(*bytes);
        *known = Some(match known.take() {
            Some(before) => before.and(status),
            None => status,
        });
    }

    fn outcome(self) -> Outcome {
        let objects = self.objects.into_iter().map(|(object, status, bytes_read)| {
            let status = status.unwrap_or(Status::NotReached);
            crate::job::ObjectOutcome { object, status, bytes_read }
        });
        Outcome { objects: objects.collect(), ..self.outcome }
    }
}

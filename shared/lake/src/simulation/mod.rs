//! A simulation of whole appends: writers, compaction, faults, other engines and redeliveries, by seeded schedules.
//!
//! In: a seed. Out: what went wrong. A schedule runs the real [`append`], or [`crate::append_records`], and [`compact()`] over a catalog and a storage in memory, on one
//! thread and a clock that stands still until all wait, so that seconds of pauses take none and a seed always gives the
//! same schedule. A [`model`](self::model) says what the table must have; the checker of metadata trees judges what is
//! left. To run more schedules than a test run does, or one alone:
//!
//! ```text
//! FRAZIL_SIMULATION_SCHEDULES=10000 cargo test -p frazil-lake --lib simulation
//! FRAZIL_SIMULATION_SEED=17 cargo test -p frazil-lake --lib simulation
//! ```

mod branches;
mod engine;
mod kafka;
pub(crate) mod lies;
pub(crate) mod model;
pub(crate) mod storage;
pub(crate) mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use iceberg::TableIdent;
use iceberg::spec::{NestedField, PrimitiveType, Schema, Transform, UnboundPartitionSpec};
use tokio::time::Instant;

use self::engine::Engine;
use self::lies::Lie;
use self::model::{Input, Model, Source, token};
use self::storage::file_io;
use self::world::{Faults, Hand, RAW, World};
use crate::catalog::simulated::{LATE_MS, SimulatedCatalog};
use crate::ledger::Ledgers;
use crate::name_bounds::NameBounds;
use crate::{
    AppendOptions, CompactOptions, Lake, Limits, ObjectOutcome, Outcome, SourceObject, Status,
    TableDefinition, append, avro_names, compact,
};

/// Schedules of a test run, unless the environment says otherwise.
const SCHEDULES: u64 = 100;
/// Schedules in which a planted bug must show.
const SCHEDULES_WITH_BUG: u64 = 1_000;
/// The writers that share a table are numbered from 0; these come after them.
const MAINTAINER: u64 = 5;
const OTHER_ENGINE: u64 = 6;
const LAST: u64 = 7;
/// How long a delivery may take.
const DELIVERY: Duration = Duration::from_secs(20);

/// What is delivered in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Objects,
    Topic,
}

/// What became of each of the inputs that were delivered: whether it is done, and in words.
type Told = Vec<(bool, String)>;

/// Runs the schedule of `seed`, with a bug if one is planted. Gives back what went wrong, and what happened.
fn run(of: Of, seed: u64, lie: Option<Lie>) -> (Vec<String>, Vec<String>) {
    avro_names::install();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let told = runtime.block_on(async {
        let mut schedule = Schedule::new(of, seed, lie);
        schedule.run().await;
        let mut model = schedule.world.model();
        (std::mem::take(&mut model.faults), std::mem::take(&mut model.trace))
    });
    // A thread that reads for a writer that has died ends when it looks up.
    runtime.shutdown_timeout(Duration::from_secs(10));
    told
}

struct Schedule {
    of: Of,
    world: Arc<World>,
    lie: Option<Lie>,
    random: fastrand::Rng,
    options: AppendOptions,
}

/// What one writer does: its deliveries, each after a pause in milliseconds.
struct Plan {
    who: u64,
    deliveries: Vec<(u64, Vec<usize>)>,
    faults: Faults,
    ahead_ms: i64,
    is_warm: bool,
}

impl Schedule {
    fn new(of: Of, seed: u64, lie: Option<Lie>) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut model = Model::default();
        let mut contents = Vec::new();
        let evolves = random.bool();
        if of == Of::Topic {
            model.inputs = kafka::inputs(&mut random, evolves);
        }
        let objects = if of == Of::Objects { random.usize(2..6) } else { 0 };
        for at in 0..objects {
            let rows: Vec<i64> = (0..random.i64(1..5)).map(|row| at as i64 * 100 + row).collect();
            // Objects bring fields of their own and some that others bring too, within structs as well.
            let more = match evolves {
                true => format!(",\"f{at}\":{at},\"s\":{{\"g{at}\":\"x\",\"l\":[{{\"h{}\":1.5}}]}}", at % 2),
                false => String::new(),
            };
            let line = |n: &i64| format!("{{\"n\":{n},\"text\":\"row {n}\",\"p\":{}{more}}}\n", n % 2);
            let mut content: String = rows.iter().map(line).collect();
            if random.u8(..4) == 0 {
                content.push_str("{\"n\":\"no number\"}\n");
            }
            let uri = format!("{RAW}/object-{at}");
            contents.push((uri.clone(), content));
            // Some objects are copied onto themselves: another version with the same records.
            for version in 0..random.u64(1..4).saturating_sub(1).max(1) {
                let object = SourceObject {
                    uri: uri.clone(),
                    bucket: "raw".to_owned(),
                    key: format!("object-{at}"),
                    version_id: None,
                    token: token(at, version),
                };
                model.inputs.push(Input { source: Source::Object(object), rows: rows.clone() });
            }
        }
        let world = World::new(seed, model);
        world.files().extend(contents.into_iter().map(|(uri, content)| (uri, content.into())));
        let options = AppendOptions {
            table: TableIdent::from_strs(["test", "t"]).unwrap(),
            branch: "main".to_owned(),
            definition: Some(definition(&mut random, of)),
            errors_uri: "memory://errors".to_owned(),
            processing_time: "2020-01-01T00:00:00Z".to_owned(),
            deadline: Instant::now() + DELIVERY,
            limits: Limits::for_memory(128 << 20),
            unpack: Default::default(),
        };
        Self { of, world, lie, random, options }
    }

    async fn run(&mut self) {
        let inputs = self.world.model().inputs.len();
        let random = &mut self.random;
        let faults = match random.u8(..3) {
            0 => Faults::default(),
            1 => Faults { fails: 8, hangs: 2, kills: 4, swaps: 100, ..Faults::default() },
            _ => Faults { fails: 40, hangs: 5, kills: 15, swaps: 400, ..Faults::default() },
        };
        let plans: Vec<Plan> = (0..random.u64(1..4))
            .map(|who| {
                let delivery = |random: &mut fastrand::Rng| {
                    let pause = if random.bool() { 0 } else { random.u64(..4_000) };
                    let objects: BTreeSet<usize> =
                        (0..random.usize(1..4)).map(|_| random.usize(..inputs)).collect();
                    (pause, objects.into_iter().collect())
                };
                let deliveries = (0..random.usize(1..5)).map(|_| delivery(random)).collect();
                let ahead_ms = random.choice([0, 0, 0, 600_000, -5_000]).unwrap();
                Plan { who, deliveries, faults, ahead_ms, is_warm: random.bool() }
            })
            .collect();
        let acts: Vec<u64> = match random.u8(..4) {
            0 => Vec::new(),
            _ => (0..random.u64(1..8)).map(|_| random.u64(..3_000)).collect(),
        };

        let compactions: Vec<u64> = match random.bool() {
            false => Vec::new(),
            true => (0..random.u64(1..4)).map(|_| random.u64(..3_000)).collect(),
        };

        let this = &*self;
        let group = kafka::Group::default();
        let work_of = |plan: Plan| -> BoxFuture<'_, ()> {
            match this.of {
                Of::Objects => Box::pin(this.write(plan)),
                Of::Topic => Box::pin(this.poll(plan, &group)),
            }
        };
        let mut work: Vec<BoxFuture<'_, ()>> = plans.into_iter().map(work_of).collect();
        work.push(Box::pin(this.interfere(acts)));
        work.push(Box::pin(this.maintain(compactions, faults)));
        join_all(work).await;
        tokio::time::sleep(Duration::from_millis(LATE_MS + 100)).await;
        this.world.model().check_answers();
        this.deliver_all().await;
        if this.of == Of::Topic {
            this.make_anew().await;
        }
        this.judge();
    }

    /// The deliveries of one writer.
    async fn write(&self, plan: Plan) {
        let (bounds, ledgers): (Arc<NameBounds>, Arc<Ledgers>) = Default::default();
        for (delivery, (pause, objects)) in (0..).zip(plan.deliveries) {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let hand = Hand::new(&self.world, plan.who, delivery, plan.faults);
            let mut lake = self.lake(&hand, plan.ahead_ms);
            if plan.is_warm {
                (lake.name_bounds, lake.ledgers) = (bounds.clone(), ledgers.clone());
            }
            let since = self.world.model().rollbacks();
            tokio::select! {
                biased;
                told = self.deliver(&lake, &objects) => self.answer(plan.who, &objects, since, told),
                () = hand.death() => {
                    self.world.model().trace.push(format!("writer {} died with {objects:?}", plan.who));
                }
            }
        }
    }

    /// Compacts the table, each time after a pause.
    async fn maintain(&self, pauses: Vec<u64>, faults: Faults) {
        for (delivery, pause) in (0..).zip(pauses) {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let hand = Hand::new(&self.world, MAINTAINER, delivery, faults);
            let lake = self.lake(&hand, 0);
            let options = CompactOptions {
                table: self.options.table.clone(),
                errors_uri: self.options.errors_uri.clone(),
                margin: Duration::ZERO,
                open_files: 2,
                target_bytes: None,
                max_files: 100,
                deadline: Instant::now() + DELIVERY,
                limits: self.options.limits.write,
            };
            let told = tokio::select! {
                biased;
                compacted = compact(&lake, &options) => match compacted {
                    Ok(done) => format!("made {} files of {}", done.files_after, done.files_before),
                    Err(error) => format!("failed: {:?} {}", error.part, error.kind),
                },
                () = hand.death() => "died".to_owned(),
            };
            self.world.model().trace.push(format!("maintainer {told}"));
        }
    }

    fn lake(&self, hand: &Hand, ahead_ms: i64) -> Lake {
        Lake {
            catalog: Arc::new(SimulatedCatalog::new(hand, ahead_ms, self.lie)),
            file_io: file_io(hand, self.lie),
            name_bounds: Arc::default(),
            ledgers: Arc::default(),
            env: hand.env(ahead_ms),
        }
    }

    async fn append(&self, lake: &Lake, objects: &[usize]) -> Result<Outcome, crate::Error> {
        let inputs = self.world.model().inputs.clone();
        let object = |at: &usize| match &inputs[*at].source {
            Source::Object(object) => Some(object.clone()),
            Source::Record(_) => None,
        };
        let objects = objects.iter().filter_map(object).collect();
        let options = AppendOptions { deadline: Instant::now() + DELIVERY, ..self.options.clone() };
        append(lake, &options, objects).await
    }

    /// Delivers inputs.
    async fn deliver(&self, lake: &Lake, inputs: &[usize]) -> Result<Told, crate::Error> {
        if self.of == Of::Topic {
            return self.append_records(lake, inputs).await;
        }
        let outcome = self.append(lake, inputs).await?;
        let told = |object: &ObjectOutcome| (object.status.is_done(), in_words(&object.status));
        Ok(outcome.objects.iter().map(told).collect())
    }

    fn answer(&self, who: u64, inputs: &[usize], since: u64, told: Result<Told, crate::Error>) {
        let mut model = self.world.model();
        let told = told.unwrap_or_else(|error| {
            // Its text names metadata files, whose names are not drawn from the seed.
            inputs.iter().map(|_| (false, format!("{:?} {}", error.part, error.kind))).collect()
        });
        let words: Vec<&String> = told.iter().map(|(_, words)| words).collect();
        model.trace.push(format!("writer {who} answers for {inputs:?}: {words:?}"));
        for (at, (is_done, _)) in inputs.iter().zip(told) {
            if is_done {
                model.answered(*at, since);
            }
        }
    }

    /// What other engines and operators do, each after a pause.
    async fn interfere(&self, acts: Vec<u64>) {
        let hand = Hand::new(&self.world, OTHER_ENGINE, 0, Faults::default());
        let mut engine = Engine::new(hand, self.options.table.clone());
        for pause in acts {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            engine.act().await;
        }
    }

    /// Delivers everything again, in a world without faults.
    async fn deliver_all(&self) {
        let hand = Hand::new(&self.world, LAST, 0, Faults::default());
        let inputs: Vec<usize> = (0..self.world.model().inputs.len()).collect();
        let told = self.deliver(&self.lake(&hand, 0), &inputs).await;
        let is_done = told.as_ref().is_ok_and(|told| told.iter().all(|(is_done, _)| *is_done));
        if !is_done {
            self.world.model().faults.push(format!("a delivery without faults fails: {told:?}"));
        }
        let since = self.world.model().rollbacks();
        self.answer(LAST, &inputs, since, told);
    }

    /// Holds what is left against the model and the rules of the specification.
    fn judge(&self) {
        let bytes = |path: &str| self.world.bytes(path);
        let Some(pointer) = self.world.model().pointer.clone() else {
            self.world.model().faults.push("there is no table".to_owned());
            return;
        };
        let mut checker = tree::Checker::default();
        let mut faults: Vec<String> =
            checker.check(&pointer.location, &bytes).iter().map(ToString::to_string).collect();
        for snapshot in pointer.metadata.snapshots() {
            let id = snapshot.snapshot_id();
            let mut rows = Vec::new();
            let schema = snapshot.schema(&pointer.metadata).unwrap();
            for file in checker.live_files(snapshot.manifest_list(), &bytes) {
                // The checker tells of those that are not there.
                let Some(file) = self.world.rows(&file) else { continue };
                let mut fields = file.fields.iter();
                let lacking = fields.find(|(id, name)| schema.name_by_field_id(**id) != Some(name.as_str()));
                if let Some((field, name)) = lacking {
                    faults.push(format!(
                        "a reader of the snapshot {id} does not see the column {name} ({field}) of its rows"
                    ));
                }
                rows.extend(file.numbers());
            }
            rows.sort_unstable();
            let expected: Vec<i64> = self.world.model().rows(id).into_iter().collect();
            if rows != expected {
                faults.push(format!("the snapshot {id} has the rows {rows:?}, and should have {expected:?}"));
            }
        }
        let mut model = self.world.model();
        let mut rows = model.current_rows();
        rows.extend(model.current_deleted());
        let lacking: Vec<i64> = model
            .inputs
            .iter()
            .flat_map(|input| input.rows.clone())
            .filter(|row| !rows.contains(row))
            .collect();
        if !lacking.is_empty() {
            faults.push(format!("rows that never came: {lacking:?}"));
        }
        model.faults.extend(faults);
    }
}

/// Without the backtrace that an error may have.
fn in_words(status: &Status) -> String {
    match status {
        Status::Failed(error) => format!("failed: {}", error.message()),
        status => format!("{status:?}"),
    }
}

fn definition(random: &mut fastrand::Rng, of: Of) -> TableDefinition {
    let mut fields = vec![
        NestedField::optional(1, "n", PrimitiveType::Long.into()),
        NestedField::optional(2, "text", PrimitiveType::String.into()),
        NestedField::optional(3, "p", PrimitiveType::Int.into()),
        NestedField::optional(4, "file_name", PrimitiveType::String.into()),
    ];
    if random.bool() {
        fields.push(NestedField::optional(5, "rest", PrimitiveType::String.into()));
    }
    if of == Of::Topic {
        fields.extend(kafka::columns());
    }
    let schema = Schema::builder().with_fields(fields.into_iter().map(Into::into)).build().unwrap();
    let spec = || {
        let spec = UnboundPartitionSpec::builder().add_partition_field(3, "p", Transform::Identity);
        spec.unwrap().build()
    };
    let partition_spec = random.bool().then(spec);
    let properties = [
        ("frazil.rest-column", ["rest", "rest", "rest"]),
        ("history.expire.max-snapshot-age-ms", ["1", "500", "86400000"]),
        ("history.expire.min-snapshots-to-keep", ["1", "2", "100"]),
        ("commit.manifest.min-count-to-merge", ["2", "3", "100"]),
        ("write.metadata.previous-versions-max", ["1", "3", "20"]),
        // To make room for compression is much of the work on a small file.
        ("write.parquet.compression-codec", ["zstd", "uncompressed", "uncompressed"]),
    ];
    let properties =
        properties.map(|(key, values)| (key.to_owned(), random.choice(values).unwrap().to_owned()));
    let (name, write_order) = ("t".to_owned(), None);
    TableDefinition { name, schema, partition_spec, write_order, properties: properties.into() }
}

/// Gives the table a rest column, or none.
fn with_rest(options: &mut AppendOptions, has_rest: bool) {
    let definition = options.definition.as_mut().unwrap();
    let mut fields = definition.schema.as_struct().fields().to_vec();
    fields.retain(|field| field.name != "rest");
    if has_rest {
        fields.push(NestedField::optional(5, "rest", PrimitiveType::String.into()).into());
    } else {
        definition.properties.remove("frazil.rest-column");
    }
    definition.schema = Schema::builder().with_fields(fields).build().unwrap();
}

/// Who may append and not alter: what could be a column goes where it does without one.
#[test]
fn a_writer_that_may_not_alter_the_table_appends_all_the_same() {
    for (has_rest, expected) in [(true, (2, 0)), (false, (1, 1))] {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let found = runtime.block_on(async {
            let mut schedule = Schedule::new(Of::Objects, 0, None);
            let uri = format!("{RAW}/object-0");
            let content = "{\"n\":1}\n{\"n\":2,\"new\":true}\n";
            schedule.world.files().insert(uri, content.into());
            with_rest(&mut schedule.options, has_rest);
            let faults = Faults { is_denied_schema: true, ..Faults::default() };
            let hand = Hand::new(&schedule.world, 0, 0, faults);
            let outcome = schedule.append(&schedule.lake(&hand, 0), &[0]).await.unwrap();
            let Status::Committed { rows, rejected, .. } = &outcome.objects[0].status else {
                panic!("{outcome:?}")
            };
            let columns = schedule.world.model().pointer.clone().unwrap().metadata.current_schema().clone();
            assert!(columns.field_by_name("new").is_none());
            (*rows, rejected.get(&records::rejection::Reason::UnknownField).copied().unwrap_or(0))
        });
        assert_eq!(found, expected, "rest column: {has_rest}");
    }
}

/// An object that is read once or twice in the time that there is, and not three times.
#[test]
fn what_brings_new_fields_and_takes_long_comes_to_an_end() {
    const SLOW_MS: u64 = 3_000;
    // How long a step takes, and whether the table may grow and has a rest column; rows without a new field, and fields that
    // one more row brings.
    for (slow_ms, may_grow, has_rest, rows, fields) in [
        (SLOW_MS, true, false, 1, 1),
        (SLOW_MS * 2 / 3, true, false, 1, 1),
        (SLOW_MS, false, false, 1, 1),
        (SLOW_MS, false, true, 1, 1),
        (SLOW_MS, true, false, 10_000, 1_001),
        (SLOW_MS, true, true, 10_000, 1_001),
    ] {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut schedule = Schedule::new(Of::Objects, 0, None);
            with_rest(&mut schedule.options, has_rest);
            let new: Vec<String> = (0..fields).map(|at| format!("\"new{at}\":{at}")).collect();
            let content = format!("{}{{\"n\":2,{}}}\n", "{\"n\":1}\n".repeat(rows), new.join(","));
            for (name, content) in [("object-0", "{\"n\":0}\n"), ("object-1", &content)] {
                schedule.world.files().insert(format!("{RAW}/{name}"), content.to_owned().into());
            }
            let deliver = async |delivery, key: &str, slow_ms| {
                let faults = Faults { is_denied_schema: !may_grow, slow_ms, ..Faults::default() };
                let hand = Hand::new(&schedule.world, 0, delivery, faults);
                let at = schedule
                    .world
                    .model()
                    .inputs
                    .iter()
                    .position(|it| matches!(&it.source, Source::Object(object) if object.key == key))
                    .unwrap();
                schedule.append(&schedule.lake(&hand, 0), &[at]).await.unwrap()
            };
            deliver(0, "object-0", 0).await;
            let mut outcome = deliver(1, "object-1", slow_ms).await;
            let columns = schedule.world.model().pointer.clone().unwrap().metadata.current_schema().clone();
            let has_grown = columns.field_by_name("new0").is_some();
            assert_eq!(has_grown, may_grow && fields == 1, "{outcome:?}");
            let is_left = matches!(outcome.objects[0].status, Status::NotReached);
            assert_eq!(is_left, has_grown && slow_ms == SLOW_MS, "{outcome:?}");
            if is_left {
                // The columns are there, and one pass is enough.
                outcome = deliver(2, "object-1", slow_ms).await;
            }
            let Status::Committed { rows: in_table, rejected, .. } = &outcome.objects[0].status else {
                panic!("{may_grow} {has_rest} {fields}: {outcome:?}")
            };
            let refused = u64::from(!has_grown && !has_rest);
            assert_eq!((*in_table, rejected.values().sum::<u64>()), (rows as u64 + 1 - refused, refused));
            assert!(rejected.keys().all(|reason| *reason == records::rejection::Reason::UnknownField));
        });
    }
}

/// A number in the environment.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// The schedules of `seeds` that go wrong, until there are `enough`.
fn failures(of: Of, seeds: std::ops::Range<u64>, lie: Option<Lie>, enough: usize) -> Vec<(u64, Vec<String>)> {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(Vec::new()));
    let work = || {
        while found.lock().unwrap().len() < enough {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let faults = match catch_unwind(AssertUnwindSafe(|| run(of, seed, lie))) {
                Ok((faults, _)) => faults,
                Err(_) => vec!["it panics".to_owned()],
            };
            if !faults.is_empty() {
                found.lock().unwrap().push((seed, faults));
            }
        }
    };
    std::thread::scope(|scope| {
        // More than there are processors in CI: a schedule waits for threads of its own.
        for _ in 0..3 {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner().unwrap();
    found.sort();
    found
}

/// Schedules of `of`, or the one that the environment names.
fn nothing_goes_wrong(of: Of) {
    if let Some(seed) = told("FRAZIL_SIMULATION_SEED") {
        let (faults, trace) = run(of, seed, None);
        trace.iter().for_each(|line| println!("{line}"));
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        return;
    }
    let schedules = told("FRAZIL_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES);
    let failed = failures(of, 0..schedules, None, 3);
    assert!(failed.is_empty(), "FRAZIL_SIMULATION_SEED={} shows the first of {failed:#?}", failed[0].0);
}

#[test]
fn every_record_comes_once_whatever_happens() {
    nothing_goes_wrong(Of::Objects);
}

#[test]
fn every_record_of_a_topic_comes_once_whatever_happens() {
    nothing_goes_wrong(Of::Topic);
}

#[test]
fn a_seed_gives_the_same_schedule_again() {
    for (of, seed) in [Of::Objects, Of::Topic].into_iter().flat_map(|of| (0..5).map(move |seed| (of, seed))) {
        assert_eq!(run(of, seed, None), run(of, seed, None), "{of:?}, seed {seed}");
    }
}

/// That schedules with a bug go wrong as `expected`, by one of the first that go wrong.
fn is_found(of: Of, lie: Lie, expected: &str, enough: usize) {
    let failed = failures(of, 0..SCHEDULES_WITH_BUG, Some(lie), enough);
    let is_found = failed.iter().any(|(_, faults)| faults.iter().any(|fault| fault.contains(expected)));
    assert!(is_found, "{of:?}, {lie:?}: {failed:?}");
}

#[test]
fn planted_bugs_are_found() {
    for (lie, expected) in [
        (Lie::HideMarks, "has the rows"),
        (Lie::OldSummary, "Summary"),
        (Lie::ExpireNeeded, "needs it"),
        (Lie::DeleteReferenced, "FilesExist"),
        (Lie::AnswerEarly, "was answered for"),
        (Lie::LoseNumbers, "WrittenOut"),
        (Lie::ForgetRollback, "was answered for"),
    ] {
        // The first may show it in another way.
        is_found(Of::Objects, lie, expected, 5);
    }
}

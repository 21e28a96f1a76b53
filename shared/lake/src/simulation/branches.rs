//! Appends to a branch and its publications, while main is appended to and compacted.
//!
//! In: a seed. Out: what went wrong. Writers, publishers and the maintainer meet the faults of [`super`]. In every state
//! that the catalog ever had, main has no row that was not delivered to it or seen by an audit, none twice, and none less than
//! before; in the end it has all.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{LocalBoxFuture, join_all};
use tokio::time::Instant;

use super::lies::Lie;
use super::model::{Pointer, Source};
use super::world::{Faults, Hand, World};
use super::{DELIVERY, LAST, Of, Plan, Schedule, told};
use crate::catalog::simulated::LATE_MS;
use crate::publish::{Audited, Bounds, Checks, PublicationStatus, PublishOptions};
use crate::{AppendOptions, Lake};

pub(crate) const AUDIT: &str = "audit";
const MAIN: &str = "main";
/// Schedules of a test run, unless the environment says otherwise.
const SCHEDULES: u64 = 60;
/// After the writers; the maintainer is the next.
const PUBLISHERS: Range<u64> = 3..5;

/// What main might have, state by state of the table.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Rows that were delivered to main, and those that an audit has let pass.
    may_have: BTreeSet<i64>,
    states: Vec<(Pointer, BTreeSet<i64>)>,
}

impl Told {
    /// The table is `now`.
    pub(crate) fn swapped(&mut self, now: &Pointer) {
        self.states.push((now.clone(), self.may_have.clone()));
    }
}

/// Lets rows pass, or some of the time nothing.
#[derive(Debug)]
struct Auditor {
    hand: Hand,
    is_strict: bool,
}

#[async_trait]
impl Checks for Auditor {
    async fn findings(&self, _: &Lake, audited: Audited) -> Vec<String> {
        if self.is_strict && self.hand.dice("audit").is_multiple_of(4) {
            return vec!["planned: not right".to_owned()];
        }
        let world = &self.hand.world;
        let rows = audited.new_files.iter().flat_map(|file| world.rows(file).unwrap().numbers());
        let rows: Vec<i64> = rows.collect();
        world.model().branches.as_mut().unwrap().may_have.extend(rows);
        Vec::new()
    }
}

/// Runs the schedule of `seed`, with a bug if one is planted. Gives back what went wrong, and what happened.
fn run(seed: u64, lie: Option<Lie>) -> (Vec<String>, Vec<String>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let told = runtime.block_on(async {
        let both = Both::new(seed, lie);
        both.run(fastrand::Rng::with_seed(!seed)).await;
        let mut model = both.main.world.model();
        (std::mem::take(&mut model.faults), std::mem::take(&mut model.trace))
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    told
}

/// A table, as it is appended to on main and on the branch.
struct Both {
    main: Schedule,
    audit: Schedule,
    /// The objects for each.
    of_main: Vec<usize>,
    of_audit: Vec<usize>,
}

impl Both {
    fn new(seed: u64, lie: Option<Lie>) -> Self {
        let main = Schedule::new(Of::Objects, seed, lie);
        let (world, options) = (main.world.clone(), main.options.clone());
        let objects = {
            let mut model = world.model();
            let mut seen = HashSet::new();
            model.inputs.retain(
                |input| matches!(&input.source, Source::Object(object) if seen.insert(object.uri.clone())),
            );
            let of_main = model.inputs.iter().skip(1).step_by(2).flat_map(|input| input.rows.clone());
            let may_have = of_main.collect();
            model.branches = Some(Told { may_have, states: Vec::new() });
            model.inputs.len()
        };
        let options = AppendOptions { branch: AUDIT.to_owned(), ..options };
        let audit = Schedule { of: Of::Objects, world, lie, random: fastrand::Rng::with_seed(seed), options };
        let (of_audit, of_main) = (0..objects).partition(|at| at % 2 == 0);
        Self { main, audit, of_main, of_audit }
    }

    async fn run(&self, mut random: fastrand::Rng) {
        let faults = match random.u8(..3) {
            0 => Faults::default(),
            1 => Faults { fails: 8, hangs: 2, kills: 4, swaps: 100, ..Faults::default() },
            _ => Faults { fails: 40, hangs: 5, kills: 15, swaps: 400, ..Faults::default() },
        };
        let mut plan = |who, objects: &[usize]| {
            let mut delivery = || {
                let some: BTreeSet<usize> =
                    (0..random.usize(1..3)).filter_map(|_| random.choice(objects).copied()).collect();
                (random.u64(..4_000), some.into_iter().collect())
            };
            let deliveries = (0..4).map(|_| delivery()).collect();
            Plan { who, deliveries, faults, ahead_ms: 0, is_warm: who == 1 }
        };
        let plans = [plan(0, &self.of_audit), plan(1, &self.of_audit), plan(2, &self.of_main)];
        let mut pauses = |most: usize| (0..random.usize(..most)).map(|_| random.u64(..4_000)).collect();
        let [to_audit, again, to_main] = plans;
        let mut work: Vec<LocalBoxFuture<'_, ()>> = vec![
            Box::pin(self.audit.write(to_audit)),
            Box::pin(self.audit.write(again)),
            Box::pin(self.main.write(to_main)),
            Box::pin(self.main.maintain(pauses(3), faults)),
        ];
        for who in PUBLISHERS {
            work.push(Box::pin(self.publish(who, pauses(5), faults)));
        }
        join_all(work).await;
        tokio::time::sleep(Duration::from_millis(LATE_MS + 100)).await;
        self.check_answers();
        self.deliver_all().await;
        self.judge();
    }

    /// Publishes the branch, each time after a pause.
    async fn publish(&self, who: u64, pauses: Vec<u64>, faults: Faults) {
        for (delivery, pause) in (0..).zip(pauses) {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let hand = Hand::new(&self.main.world, who, delivery, faults);
            let (lake, options) = (self.main.lake(&hand, 0), self.options(&hand, true));
            let told = tokio::select! {
                biased;
                done = lake.publish(&options) => match done {
                    Ok(done) => format!("of {}: {:?}", done.snapshot, done.status),
                    Err(error) => format!("failed: {:?} {}", error.part, error.kind),
                },
                () = hand.death() => "died".to_owned(),
                // A step of its audit may never be answered.
                () = tokio::time::sleep(DELIVERY * 2) => "was stopped".to_owned(),
            };
            self.main.world.model().trace.push(format!("publisher {who} {told}"));
        }
    }

    fn options(&self, hand: &Hand, is_strict: bool) -> PublishOptions {
        PublishOptions {
            table: self.main.options.table.clone(),
            branch: AUDIT.to_owned(),
            snapshot: None,
            bounds: Bounds::default(),
            checks: Some(Arc::new(Auditor { hand: hand.clone(), is_strict })),
            errors_uri: self.main.options.errors_uri.clone(),
            is_dry_run: false,
            deadline: Instant::now() + DELIVERY,
        }
    }

    /// Whatever was answered for is on main or on the branch.
    fn check_answers(&self) {
        let world = &self.main.world;
        let Some(pointer) = world.model().pointer.clone() else { return };
        let mut files = Files::new(world);
        let mut rows = files.rows(&pointer, MAIN);
        rows.extend(files.rows(&pointer, AUDIT));
        let mut model = world.model();
        let lost = model.answers().flat_map(|input| &input.rows).filter(|row| !rows.contains(row));
        let lost: Vec<i64> = lost.copied().collect();
        if !lost.is_empty() {
            model.faults.push(format!("{lost:?} were answered for, and are nowhere"));
        }
    }

    /// Delivers every object again, and publishes, in a world without faults.
    async fn deliver_all(&self) {
        let world = &self.main.world;
        for (delivery, (schedule, objects)) in
            [(&self.main, &self.of_main), (&self.audit, &self.of_audit)].into_iter().enumerate()
        {
            let hand = Hand::new(world, LAST, delivery as u64, Faults::default());
            let outcome = schedule.append(&schedule.lake(&hand, 0), objects).await;
            let is_done = outcome
                .as_ref()
                .is_ok_and(|outcome| outcome.objects.iter().all(|object| object.status.is_done()));
            if !is_done {
                world.model().faults.push(format!("a delivery without faults fails: {outcome:?}"));
            }
        }
        let hand = Hand::new(world, LAST, 2, Faults::default());
        match self.main.lake(&hand, 0).publish(&self.options(&hand, false)).await.map(|done| done.status) {
            Ok(PublicationStatus::Nothing | PublicationStatus::FastForward | PublicationStatus::Applied) => {}
            other => world.model().faults.push(format!("a publication without faults fails: {other:?}")),
        }
    }

    /// Holds every state of the table against what it might have, and the last one against what it must.
    fn judge(&self) {
        let world = &self.main.world;
        let (mut states, mut expected) = {
            let mut model = world.model();
            let told = model.branches.take().unwrap();
            let rows = model.inputs.iter().flat_map(|input| input.rows.clone());
            (told.states, rows.collect::<Vec<i64>>())
        };
        let (mut files, mut faults, mut before) = (Files::new(world), Vec::new(), Vec::new());
        for (at, (pointer, may_have)) in states.iter().enumerate() {
            let (main, branch) = (files.rows(pointer, MAIN), files.rows(pointer, AUDIT));
            for (name, rows) in [(MAIN, &main), (AUDIT, &branch)] {
                if rows.windows(2).any(|pair| pair[0] == pair[1]) {
                    faults.push(format!("state {at}: {name} has rows twice: {rows:?}"));
                }
            }
            let unseen: Vec<_> = main.iter().filter(|row| !may_have.contains(row)).collect();
            if !unseen.is_empty() {
                faults.push(format!("state {at}: main has {unseen:?}, which no audit has let pass"));
            }
            let lost: Vec<_> = before.iter().filter(|row| !main.contains(row)).collect();
            if !lost.is_empty() {
                faults.push(format!("state {at}: main has {lost:?} no longer"));
            }
            before = main;
        }
        expected.sort_unstable();
        if before != expected {
            faults.push(format!("main has {before:?} in the end, and should have {expected:?}"));
        }
        if let Some((last, _)) = states.pop() {
            let bytes = |path: &str| world.bytes(path);
            faults.extend(tree::check(&last.location, &bytes).iter().map(ToString::to_string));
        }
        world.model().faults.extend(faults);
    }
}

/// The rows of files, each read once.
struct Files<'a> {
    world: &'a World,
    checker: tree::Checker,
}

impl<'a> Files<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, checker: tree::Checker::default() }
    }

    /// What a reader of the branch `name` sees, sorted.
    fn rows(&mut self, pointer: &Pointer, name: &str) -> Vec<i64> {
        let bytes = |path: &str| self.world.bytes(path);
        let Some(head) = pointer.metadata.snapshot_for_ref(name) else { return Vec::new() };
        let mut rows = Vec::new();
        for file in self.checker.live_files(head.manifest_list(), &bytes) {
            rows.extend(self.world.rows(&file).map(|rows| rows.numbers()).unwrap_or_default());
        }
        rows.sort_unstable();
        rows
    }
}

#[test]
fn main_has_what_was_audited_whatever_happens() {
    if let Some(seed) = told("FRAZIL_SIMULATION_SEED") {
        let (faults, trace) = run(seed, None);
        trace.iter().for_each(|line| println!("{line}"));
        assert!(faults.is_empty(), "seed {seed}: {faults:#?}");
        return;
    }
    let (mut published, mut applied) = (0, 0);
    for seed in 0..told("FRAZIL_SIMULATION_SCHEDULES").unwrap_or(SCHEDULES) {
        let (faults, trace) = run(seed, None);
        assert!(faults.is_empty(), "FRAZIL_SIMULATION_SEED={seed} shows {faults:#?}");
        published += trace.iter().filter(|line| line.ends_with("FastForward")).count();
        applied += trace.iter().filter(|line| line.ends_with("Applied")).count();
    }
    assert!(published > 0 && applied > 0, "{published} set, {applied} applied again");
}

#[test]
fn a_planted_bug_of_branches_is_found() {
    for (lie, expected) in
        [(Lie::ForgetBranch, "which no audit has let pass"), (Lie::HideMarks, "has rows twice")]
    {
        let is_found = |seed| run(seed, Some(lie)).0.iter().any(|fault| fault.contains(expected));
        assert!((0..SCHEDULES).any(is_found), "{lie:?}");
    }
}

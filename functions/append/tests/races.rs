//! Many processes of the function's own binary at one table: every row is in it once, no commit is lost, and every event
//! is answered before its deadline.
//!
//! All choices come from a seed that is printed; `FRAZIL_SEED` makes them again, `FRAZIL_ROUNDS` makes more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use support::{
    Fate, Fleet, Input, Kind, Message, Place, Plan, Process, messages, random, rounds, say, sqs_event, until,
};

const PROCESSES: usize = 8;
/// A short time-out.
const TIME: Duration = Duration::from_secs(3);
/// By how much a machine that does other things too may be late: the function is told of its deadline, not of those.
const GRACE: Duration = Duration::from_secs(1);
/// The places at which steps fail or take long, and how often a process passes them between two of these.
const POINTS: [(&str, u32); 9] = [
    ("after get", 30),
    ("mid decode", 300),
    ("after data file", 15),
    ("after quarantine", 15),
    ("after create", 1),
    ("before commit", 8),
    ("before swap", 12),
    ("after swap", 8),
    ("before acknowledgement", 8),
];

/// What has a deadline does not share the machine with another test of this file.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Each of `objects` for some of the processes, in about the same order for each of them: those that get the same
/// object get it at about the same time.
fn duplicates(objects: usize, copies: impl Fn(&mut Rng) -> usize, rng: &mut Rng) -> Vec<Vec<Message>> {
    let mut order: Vec<usize> = (0..objects).collect();
    rng.shuffle(&mut order);
    let mut queues = vec![Vec::new(); PROCESSES];
    for object in order {
        let count = copies(rng);
        for to in rng.choose_multiple(0..PROCESSES, count) {
            queues[to].push(object);
        }
    }
    let mut shuffled = |mut queue: Vec<usize>| {
        queue.chunks_mut(10).for_each(|chunk| rng.shuffle(chunk));
        messages(queue, rng)
    };
    queues.into_iter().map(&mut shuffled).collect()
}

/// `FAILPOINTS` of a process in which a few steps fail and a few take long.
fn trouble(rng: &mut Rng) -> String {
    let points = rng.choose_multiple(POINTS, 4).into_iter().map(|(point, every)| {
        let actions = (0..6).map(|_| {
            let action = match rng.bool() {
                true => "return(error)".to_owned(),
                false => format!("sleep({})", rng.u32(1..60)),
            };
            format!("{}*off->1*{action}", rng.u32(0..=every))
        });
        format!("{point}={}", actions.collect::<Vec<_>>().join("->"))
    });
    points.collect::<Vec<_>>().join(";")
}

#[test]
fn every_object_once_under_fire() {
    let mut rng = random("every object once under fire");
    let _alone = alone();
    for _ in 0..rounds() {
        let kinds = [
            (70, Kind::Plain),
            (70, Kind::Gzip),
            (25, Kind::Mixed),
            (25, Kind::MixedGzip),
            (5, Kind::Truncated),
            (5, Kind::AllBad),
        ];
        let inputs = Input::several(&kinds, &mut rng, |rng| rng.usize(10..30));
        let place = Place::new();
        place.put(&inputs);
        let queues = duplicates(inputs.len(), |rng| rng.usize(1..=4), &mut rng);
        let plan = Plan {
            failpoints: Box::new(trouble),
            fate: Box::new(|rng| {
                let mut millis = |most| Duration::from_millis(rng.u64(..most));
                let (after, time) = (millis(500), millis(1000));
                match rng.u8(..16) {
                    0..3 => Fate::Kill(after),
                    3 => Fate::Freeze(after, time),
                    _ => Fate::Live,
                }
            }),
            ..Plan::default()
        };
        let mut fleet = Fleet::new(&place, &inputs, queues, plan, &mut rng);
        fleet.drain();
        say(&fleet.summary());
    }
}

/// More writers than the table can take in the time that they have; and somebody who every now and then keeps the
/// catalog locked, at times for longer than that.
#[test]
fn a_conflict_storm_ends_in_answers() {
    let mut rng = random("a conflict storm ends in answers");
    let _alone = alone();
    for _ in 0..rounds() {
        let inputs = Input::several(&[(120, Kind::Plain)], &mut rng, |rng| rng.usize(1..10));
        let place = Place::new();
        place.put(&inputs);
        let queues = duplicates(inputs.len(), |rng| rng.usize(1..=2), &mut rng);
        let plan = Plan { batch: 1..=2, time: TIME, grace: GRACE, ..Plan::default() };
        let mut locks = rng.fork();
        let mut fleet = Fleet::new(&place, &inputs, queues, plan, &mut rng);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                until("there is a table", || place.table().map(drop));
                let mut time = TIME + GRACE;
                while !is_over.load(Ordering::Acquire) {
                    let catalog = place.lock_catalog();
                    std::thread::sleep(time);
                    place.unlock_catalog(catalog);
                    std::thread::sleep(Duration::from_millis(locks.u64(..2000)));
                    time = Duration::from_millis(locks.u64(..4000));
                }
            });
            let _over = SetOnDrop(&is_over);
            fleet.drain();
        });
        say(&fleet.summary());
        assert!(fleet.tally.handed_back > 0 || !fleet.tally.errors.is_empty(), "that was no storm");
    }
}

/// Ends the other thread even where the test fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Delivers `inputs`, all in one event, to a process that has not the time for so many and is configured with
/// `failpoints`, by which they take longer than it has on any machine: it commits what it has finished, hands back the
/// others, and is never cut off.
fn drains_in_time(inputs: &[Input], failpoints: &str, rng: &mut Rng) {
    let place = Place::new();
    place.put(inputs);
    let queue = messages(0..inputs.len(), rng);
    let plan = Plan {
        batch: inputs.len()..=inputs.len(),
        time: 2 * TIME,
        grace: GRACE,
        failpoints: Box::new(|_| failpoints.to_owned()),
        ..Plan::default()
    };
    let mut fleet = Fleet::new(&place, inputs, vec![queue], plan, rng);
    fleet.drain();
    say(&fleet.summary());
    let events = fleet.tally.events;
    assert!(events > 1, "all was done at once: more objects are needed");
    // The object that a process is at when its time is over takes a small part of it: that is no reason to give up what
    // was read before. A busy machine may hold up one now and then, but not one in each event.
    let in_vain = place.logged("writing without it");
    assert!(in_vain < events, "in {events} events, {in_vain} passes were in vain: {:#?}", fleet.tally);
    assert!(fleet.tally.errors.is_empty(), "{:#?}", fleet.tally);
}

#[test]
fn a_full_queue_drains_within_the_deadline() {
    let mut rng = random("a full queue drains within the deadline");
    let _alone = alone();
    for _ in 0..rounds() {
        let inputs = Input::several(&[(300, Kind::Gzip)], &mut rng, |rng| rng.usize(600..1000));
        drains_in_time(&inputs, "after get=sleep(25)", &mut rng);
    }
}

/// However little a process has read, by bytes, when its time is over.
#[test]
fn objects_that_come_slowly_are_handed_back_in_time() {
    let mut rng = random("objects that come slowly are handed back in time");
    let _alone = alone();
    for _ in 0..rounds() {
        let inputs = Input::several(&[(140, Kind::Plain)], &mut rng, |rng| rng.usize(70..90));
        drains_in_time(&inputs, "mid decode=sleep(1)", &mut rng);
    }
}

/// Whoever reads the catalog for long, as an engine that plans a query does, holds up no commit.
#[test]
fn a_reader_holds_up_no_commit() {
    let mut rng = random("a reader holds up no commit");
    let _alone = alone();
    let inputs = Input::several(&[(4, Kind::Plain)], &mut rng, |rng| rng.usize(1..10));
    let place = Place::new();
    place.put(&inputs);
    let process = Process::start_with("", &place);
    let mut deliver = |objects: Range<usize>| {
        // Longer than a connection waits for a lock.
        process.give(&sqs_event(&messages(objects, &mut rng), &inputs), Duration::from_secs(8));
        let answer = process.answer();
        assert_eq!((answer.is_error, answer.body), (false, json!({"batchItemFailures": []})));
    };
    deliver(0..2);
    let reader = place.read_catalog();
    deliver(2..4);
    place.unlock_catalog(reader);
    drop(process);
    assert_eq!(place.findings(&inputs), [""; 0]);
}

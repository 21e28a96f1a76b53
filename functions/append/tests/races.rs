//! Many processes of the function's own binary at one table: every row is in it once, no commit is lost, and every event
//! is answered before its deadline.
//!
//! All choices come from a seed that is printed; `FRAZIL_SEED` makes them again, `FRAZIL_ROUNDS` makes more of them.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;
use support::{Fate, Fleet, Input, Kind, Message, Place, Plan, messages, random, rounds, say};

const PROCESSES: usize = 8;
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
                let (after, time) = (millis(800), millis(1000));
                match rng.u8(..16) {
                    0..2 => Fate::Kill(after),
                    2 => Fate::Freeze(after, time),
                    _ => Fate::Live,
                }
            }),
            ..Plan::default()
        };
        let mut fleet = Fleet::new(&place, &inputs, queues, plan, &mut rng);
        fleet.drain();
        say(&format!("{:?}", fleet.tally));
    }
}

/// More writers than the table can take, and now and then somebody who keeps the catalog locked for longer than an
/// invocation has time.
#[test]
fn a_conflict_storm_ends_in_answers() {
    let mut rng = random("a conflict storm ends in answers");
    for _ in 0..rounds() {
        let inputs = Input::several(&[(100, Kind::Plain)], &mut rng, |rng| rng.usize(1..10));
        let place = Place::new();
        place.put(&inputs);
        let queues = duplicates(inputs.len(), |rng| rng.usize(1..=2), &mut rng);
        let plan = Plan {
            batch: 1..=2,
            time: Duration::from_millis(2500),
            grace: Duration::from_millis(1000),
            ..Plan::default()
        };
        let mut fleet = Fleet::new(&place, &inputs, queues, plan, &mut rng);
        fleet.drain();
        say(&format!("{:?}", fleet.tally));
    }
}

#[test]
fn a_full_queue_drains_within_the_deadline() {
    let mut rng = random("a full queue drains within the deadline");
    for _ in 0..rounds() {
        let inputs = Input::several(&[(300, Kind::Gzip)], &mut rng, |rng| rng.usize(400..800));
        let place = Place::new();
        place.put(&inputs);
        let queue = messages(0..inputs.len(), &mut rng);
        let plan =
            Plan { batch: 300..=300, time: Duration::from_secs(2), grace: Duration::ZERO, ..Plan::default() };
        let mut fleet = Fleet::new(&place, &inputs, vec![queue], plan, &mut rng);
        fleet.drain();
        say(&format!("{:?}", fleet.tally));
    }
}

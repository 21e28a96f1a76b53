//! The function's own binary is killed, wherever that hurts, and what it did not acknowledge is delivered again: in the
//! end the table and the quarantine hold every record once.
//!
//! All choices come from a seed that is printed; `FRAZIL_SEED` makes them again, `FRAZIL_ROUNDS` makes more of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use support::{
    Answer, Fate, Fleet, Heard, Input, Kind, PATIENCE, Place, Plan, Process, function, messages, random,
    rounds, say, sqs_event, until,
};

/// The places at which the function can be stopped; how often at least it passes them until all [`objects`] are done;
/// and how often if they come in one event.
const POINTS: [(&str, u32, u32); 9] = [
    ("after get", 25, 25),
    ("mid decode", 250, 250),
    ("after data file", 8, 3),
    ("after quarantine", 8, 8),
    ("after create", 1, 1),
    ("before commit", 3, 1),
    ("before swap", 3, 1),
    ("after swap", 3, 1),
    ("before acknowledgement", 3, 1),
];

/// Some of every kind.
fn objects(rng: &mut Rng) -> Vec<Input> {
    let kinds = [
        (8, Kind::Plain),
        (8, Kind::Gzip),
        (5, Kind::Mixed),
        (5, Kind::MixedGzip),
        (2, Kind::Truncated),
        (2, Kind::AllBad),
    ];
    Input::several(&kinds, rng, |rng| rng.usize(10..40))
}

/// `FAILPOINTS` that stop the process when it is at `point` for the `hit`-th time.
fn stop_at(point: &str, hit: u32) -> String {
    format!("{point}={}*off->return", hit - 1)
}

/// Delivers objects to processes of which the first is killed at `point`, the first time that it is there and another
/// time; of which the second is killed somewhere else too; and of which the last is left in peace.
fn killed_at(point: &str) {
    let mut rng = random(&format!("killed {point}"));
    let most = POINTS.iter().find(|(name, ..)| *name == point).unwrap().1;
    for _ in 0..rounds() {
        for (hit, is_killed_again) in [(1, false), (rng.u32(1..=most), false), (rng.u32(1..=most), true)] {
            let again = rng.choice(POINTS).filter(|_| is_killed_again);
            let again = again.map(|(point, most, _)| stop_at(point, rng.u32(1..=most.div_ceil(2))));
            let mut failpoints = [stop_at(point, hit)].into_iter().chain(again);
            let inputs = objects(&mut rng);
            let place = Place::new();
            place.put(&inputs);
            let queue = messages(0..inputs.len(), &mut rng);
            let plan = Plan {
                batch: 5..=8,
                failpoints: Box::new(move |_| failpoints.next().unwrap_or_default()),
                ..Plan::default()
            };
            let mut fleet = Fleet::new(&place, &inputs, vec![queue], plan, &mut rng);
            fleet.drain();
            let reached = fleet.tally.reached.first().map(String::as_str);
            assert_eq!(reached, Some(point), "the {hit}th time of {most}");
        }
    }
}

macro_rules! killed {
    ($($test:ident $point:literal)*) => {
        $(#[test]
        fn $test() {
            killed_at($point);
        })*
    };
}

killed! {
    killed_after_get "after get"
    killed_mid_decode "mid decode"
    killed_after_data_file "after data file"
    killed_after_quarantine "after quarantine"
    killed_after_create "after create"
    killed_before_commit "before commit"
    killed_before_swap "before swap"
    killed_after_swap "after swap"
    killed_before_acknowledgement "before acknowledgement"
}

/// Delivers everything, and lets no process come to harm.
fn deliver_in_peace(place: &Place, inputs: &[Input], rng: &mut Rng) {
    let queue = messages(0..inputs.len(), rng);
    Fleet::new(place, inputs, vec![queue], Plan::default(), rng).drain();
}

/// An event that announces all of `objects`, some of `inputs`.
fn event(objects: impl IntoIterator<Item = usize>, inputs: &[Input], rng: &mut Rng) -> String {
    sqs_event(&messages(objects, rng), inputs)
}

fn assert_done(answer: &Answer) {
    assert_eq!((answer.is_error, &answer.body), (false, &json!({"batchItemFailures": []})));
}

/// The catalog writes the new metadata and then changes the pointer to it. Whoever holds the catalog's write lock keeps
/// it between the two.
#[test]
fn killed_between_the_metadata_and_the_swap() {
    let mut rng = random("killed between the metadata and the swap");
    for round in 0..3 * rounds() {
        let inputs = objects(&mut rng);
        let place = Place::new();
        place.put(&inputs);
        let process = Process::start_with("", &place);
        // The table is made by the event itself, or there is one.
        let first = rng.usize(5..10);
        process.give(&event(0..first, &inputs, &mut rng), PATIENCE);
        assert_done(&process.answer());
        let before = place.in_warehouse(".metadata.json").len();

        let catalog = place.lock_catalog();
        process.give(&event(first - 2..first + 10, &inputs, &mut rng), PATIENCE);
        until("the metadata is written", || {
            let written = place.in_warehouse(".metadata.json").len() > before;
            // Now and then it is killed while it is writing.
            (written && (round % 3 == 2 || place.whole_metadata() > before)).then_some(())
        });
        drop(process);
        place.unlock_catalog(catalog);
        assert_eq!(place.table().unwrap().commits(), 1, "the pointer is where it was");
        deliver_in_peace(&place, &inputs, &mut rng);
    }
}

/// Two processes have written the metadata of a table that neither has entered into the catalog, when one is killed.
#[test]
fn killed_while_two_create_the_table() {
    let mut rng = random("killed while two create the table");
    for round in 0..4 * rounds() {
        let kinds = [(10, Kind::Plain), (10, Kind::Gzip)];
        let inputs = Input::several(&kinds, &mut rng, |rng| rng.usize(1..20));
        let place = Place::new();
        place.put(&inputs);
        let infers = round % 2 == 1;
        let start = || {
            let mut function = function(place.path());
            if infers {
                function.env_remove("FRAZIL_TABLE_DEFINITION");
            }
            Process::start(function)
        };
        place.create_namespace();
        let (killed, other) = (start(), start());
        let catalog = place.lock_catalog();
        killed.give(&event(0..12, &inputs, &mut rng), PATIENCE);
        other.give(&event(8..20, &inputs, &mut rng), PATIENCE);
        until("both have written metadata", || (place.whole_metadata() == 2).then_some(()));
        drop(killed);
        place.unlock_catalog(catalog);
        assert_done(&other.answer());
        drop(other);
        deliver_in_peace(&place, &inputs, &mut rng);
    }
}

/// The catalog is a file in which processes are killed at any moment: as they open it, as they create the table, as
/// they commit. In the end all are killed at once, so that nobody closes it.
#[test]
fn killed_at_any_moment() {
    let mut rng = random("killed at any moment");
    for _ in 0..2 * rounds() {
        let inputs = Input::several(&[(40, Kind::Plain), (40, Kind::Mixed)], &mut rng, |rng| rng.usize(1..5));
        let place = Place::new();
        place.put(&inputs);
        let queues = messages(0..inputs.len(), &mut rng);
        let queues = queues.chunks(queues.len().div_ceil(3)).map(<[_]>::to_vec).collect();
        let plan = Plan {
            batch: 1..=3,
            fate: Box::new(|rng| match rng.u8(..3) {
                0 => Fate::Kill(Duration::from_micros(rng.u64(..150_000))),
                _ => Fate::Live,
            }),
            ..Plan::default()
        };
        let mut fleet = Fleet::new(&place, &inputs, queues, plan, &mut rng);
        fleet.drain();
        say(&fleet.summary());
        assert!(fleet.tally.kills >= 5, "{:#?}", fleet.tally);
    }
}

/// A commit that succeeds with an error is a commit: it is acknowledged, counted as ours, and not made again. One that fails
/// without effect is made again.
#[test]
fn an_error_of_the_catalog_is_no_answer() {
    let mut rng = random("an error of the catalog is no answer");
    for (failpoints, is_direct) in [
        ("before swap=1*return(error)", false),
        ("after swap=1*return(error)", false),
        ("after swap=1*return(error)", true),
    ] {
        let inputs = objects(&mut rng);
        let place = Place::new();
        place.put(&inputs);
        let process = Process::start_with(failpoints, &place);
        if is_direct {
            let records = inputs.iter().map(Input::s3_record).collect::<Vec<_>>();
            process.give(&json!({"Records": records}).to_string(), PATIENCE);
            let rows: usize = inputs.iter().map(|input| input.ids.len()).sum();
            let rejected: usize = inputs.iter().map(|input| input.rejected.len()).sum();
            let expected = json!({"objects": inputs.len(), "rows": rows, "rows_quarantined": rejected});
            assert_eq!(process.answer().body, expected);
        } else {
            process.give(&event(0..inputs.len(), &inputs, &mut rng), PATIENCE);
            assert_done(&process.answer());
        }
        drop(process);
        assert_eq!(place.findings(&inputs), [""; 0], "{failpoints}");
        assert_eq!(place.table().unwrap().commits(), 1, "{failpoints}");
    }
}

/// While a process waits somewhere, another one gets the same messages and handles them to the end. Then the first one
/// goes on, or is killed, or goes on and is killed a bit later: it must spoil nothing.
#[test]
fn a_duplicate_in_flight_spoils_nothing() {
    let mut rng = random("a duplicate in flight spoils nothing");
    let points = POINTS.into_iter().filter(|(name, ..)| *name != "after create");
    for (name, _, most) in points.clone() {
        for end in ["is killed", "goes on", "goes on and is killed"] {
            let inputs = objects(&mut rng);
            let place = Place::new();
            place.put(&inputs);
            let mut failpoints = format!("{name}={}*off->1*return(wait)", rng.u32(..most));
            // It may come there before it waits. Then it is killed there.
            let dies = rng.choice(points.clone().filter(|point| point.0 != name).collect::<Vec<_>>());
            if let Some((point, _, most)) = dies.filter(|_| end == "goes on and is killed") {
                failpoints = format!("{failpoints};{}", stop_at(point, rng.u32(1..=most)));
            }
            let mut slow = Process::start_with(&failpoints, &place);
            let event = event(0..inputs.len(), &inputs, &mut rng);
            slow.give(&event, PATIENCE);
            let reached = slow.reaches_a_point();
            let quick = Process::start_with("", &place);
            quick.give(&event, PATIENCE);
            assert_done(&quick.answer());
            assert_eq!(place.findings(&inputs), [""; 0], "{name}, {reached}");
            if end != "is killed" && reached == name {
                slow.instance.go_on();
                match slow.hear("goes on") {
                    Heard::Answer(answer) => assert_done(&answer),
                    Heard::Said(line) if end == "goes on and is killed" && line.starts_with("reached ") => {}
                    other => panic!("the function goes on: {other:?}"),
                }
            }
            drop((slow, quick));
            assert_eq!(place.findings(&inputs), [""; 0], "{name}, {end}");
        }
    }
}

/// As above, but what is rejected is in the quarantine when the slow process comes to it, and it dies half way.
#[test]
fn a_duplicate_that_is_killed_leaves_the_quarantine_whole() {
    let mut rng = random("a duplicate that is killed leaves the quarantine whole");
    let inputs = [Input::new(Kind::Mixed, 0, 400, &mut rng)];
    let place = Place::new();
    place.put(&inputs);
    // More rejections come before than the reader may be ahead of the writer.
    let failpoints = "after get=1*return(wait);mid decode=100*off->return";
    let mut slow = Process::start_with(failpoints, &place);
    let event = event(0..1, &inputs, &mut rng);
    slow.give(&event, PATIENCE);
    assert_eq!(slow.reaches_a_point(), "after get");
    let quick = Process::start_with("", &place);
    quick.give(&event, PATIENCE);
    assert_done(&quick.answer());
    slow.instance.go_on();
    assert_eq!(slow.reaches_a_point(), "mid decode");
    drop((slow, quick));
    assert_eq!(place.findings(&inputs), [""; 0]);
}

/// As above, but the slow process stands still wherever it is at that moment. If it holds a lock there, the other one
/// hands back.
#[test]
fn a_process_that_stands_still_for_a_while_spoils_nothing() {
    let mut rng = random("a process that stands still for a while spoils nothing");
    for _ in 0..6 * rounds() {
        let inputs = objects(&mut rng);
        let place = Place::new();
        place.put(&inputs);
        let slow = Process::start_with("", &place);
        let event = event(0..inputs.len(), &inputs, &mut rng);
        slow.give(&event, PATIENCE);
        std::thread::sleep(Duration::from_micros(rng.u64(..600_000)));
        slow.instance.signal("STOP");
        let quick = Process::start_with("", &place);
        quick.give(&event, Duration::from_secs(10));
        quick.answer();
        if rng.bool() {
            slow.instance.signal("CONT");
            assert_done(&slow.answer());
        }
        drop((slow, quick));
        deliver_in_peace(&place, &inputs, &mut rng);
    }
}

//! The function's own binary is killed at every step of a compaction, and is invoked again: in the end the table has every
//! row once, in as few files as were planned, and still knows every object.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::time::Duration;

use lake::Status;

use self::support::Place;
use self::support::runtime::Process;

/// The places at which the process is killed, and whether the compaction stands by then.
const POINTS: [(&str, bool); 6] = [
    ("after data file", false),
    ("compacted", false),
    ("before compaction commit", false),
    ("before swap", false),
    ("before pointer swap", false),
    ("after swap", true),
];
const OBJECTS: usize = 12;

#[tokio::test]
async fn a_compaction_that_is_killed_anywhere_loses_and_doubles_nothing() {
    for (point, is_committed) in POINTS {
        let place = Place::new();
        for n in 0..OBJECTS {
            place.append(vec![place.put(n, n % 2)]).await;
        }
        let before = place.ids().await;
        assert_eq!((before.len(), place.data_files().await), (OBJECTS, OBJECTS));

        let mut stopped = place.function();
        stopped.env("FAILPOINTS", format!("{point}=return"));
        let mut process = Process::start(stopped);
        process.give("{}", Duration::from_secs(600));
        assert_eq!(process.reaches_a_point(), point);
        process.instance.kill();
        assert_eq!(place.ids().await, before, "{point}");
        // While nobody compacts, events go on.
        place.append(vec![place.put(OBJECTS, 0)]).await;

        let process = Process::start(place.function());
        process.give("{}", Duration::from_secs(600));
        let answer = process.answer();
        assert!(!answer.is_error, "{point}: {:?}", answer.body);
        let done = &answer.body["tables"][support::TABLE];
        let late = if is_committed { 2 } else { OBJECTS + 1 };
        assert_eq!(done["files_compacted"], late, "{point}: {:?}", answer.body);
        assert_eq!(place.ids().await.len(), OBJECTS + 1, "{point}");
        assert_eq!(place.data_files().await, 2, "{point}");
        for n in 0..=OBJECTS {
            let outcome = place.append(vec![place.put(n, n % 2)]).await;
            assert!(matches!(outcome.objects[0].status, Status::AlreadyCommitted), "{point}: {outcome:?}");
        }
    }
}

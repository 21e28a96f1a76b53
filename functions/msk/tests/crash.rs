//! The function's own binary is killed at every step, and the same event comes again, cut differently: in the end the table
//! has every record once, and one file of the quarantine counts for each that is rejected.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::time::Duration;

use lake::Lake;
use lake::quarantine::{FileName, Ledger, Standing, TOPICS};
use serde_json::Value;
use tempfile::TempDir;

use self::support::runtime::Process;
use self::support::{TABLE, files, function, sample};

/// The places at which the process is killed, and whether the commit stands by then.
const POINTS: [(&str, bool); 8] = [
    ("after create", false),
    ("after data file", false),
    ("after quarantine", false),
    ("before commit", false),
    ("before swap", false),
    ("before pointer swap", false),
    ("after swap", true),
    ("before acknowledgement", true),
];

/// The event with the first `left_out` records of its first partition left out.
fn cut(event: &str, left_out: usize) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap();
    event["records"]["user-events-0"].as_array_mut().unwrap().drain(..left_out);
    event.to_string()
}

#[tokio::test]
async fn a_function_that_is_killed_anywhere_loses_and_doubles_nothing() {
    let event = sample("msk.json");
    for (point, is_committed) in POINTS {
        let folder = TempDir::new().unwrap();
        let mut stopped = function(folder.path());
        stopped.env("FAILPOINTS", format!("{point}=return"));
        let mut process = Process::start(stopped);
        process.give(&event, Duration::from_secs(600));
        assert_eq!(process.reaches_a_point(), point);
        process.instance.kill();
        let process = Process::start(function(folder.path()));
        let mut rows = 0;
        for event in [cut(&event, 2), event.clone(), cut(&event, 4)] {
            process.give(&event, Duration::from_secs(600));
            let answer = process.answer();
            assert!(!answer.is_error, "{point}: {:?}", answer.body);
            rows += answer.body["rows"].as_u64().unwrap();
        }
        assert_eq!(rows, if is_committed { 0 } else { 7 }, "{point}");

        let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), "file:///unused").await.unwrap();
        let table = lake.table(&settings::table_ident(TABLE).unwrap()).await.unwrap().unwrap();
        let summary = table.metadata().current_snapshot().unwrap().summary();
        assert_eq!(summary.additional_properties["total-records"], "7", "{point}");
        // The tombstone too is counted once.
        let dropped = table.metadata().snapshots().map(|snapshot| {
            snapshot.summary().additional_properties["frazil.kafka.dropped"].parse::<u64>().unwrap()
        });
        assert_eq!(dropped.sum::<u64>(), 1, "{point}");
        let ledger = Ledger::of(table.metadata(), table.file_io()).await;
        let quarantine = folder.path().join("errors/quarantine");
        let standings: Vec<Standing> = files(&quarantine)
            .iter()
            .map(|path| {
                let place = path.strip_prefix(&quarantine).unwrap().to_str().unwrap();
                let text = std::fs::read_to_string(path).unwrap();
                let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
                let partition = line["object"].as_str().unwrap().strip_prefix("kafka://").unwrap();
                let key = format!("{partition}/{}", line["offset"]);
                let written = path.metadata().unwrap().modified().unwrap();
                ledger.standing(&FileName::parse(place).unwrap(), TOPICS, &key, written)
            })
            .collect();
        let count = |standing| standings.iter().filter(|one| **one == standing).count();
        assert_eq!(count(Standing::Counts), 2, "{point}: {standings:?}");
        assert_eq!(count(Standing::Stale), standings.len() - 2, "{point}: {standings:?}");
    }
}

//! Two pollers after a rebalance: the old owner of a partition is still at work when the new one begins. Each order in which
//! files are written and swaps are made is played by processes of the function's own binary.
//!
//! A is the old poller with the offsets 500 to 509. B and C come to the new one, C after B: 500 to 504, then 505 to 514.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::path::Path;
use std::time::Duration;

use arrow_array::Int64Array;
use futures::TryStreamExt as _;
use iceberg::table::Table;
use lake::{Lake, Offsets, Stream, ancestors, offsets_of};
use serde_json::json;
use tempfile::TempDir;

use self::support::runtime::Process;
use self::support::{TABLE, function};

const CLUSTER: &str = "arn:aws:kafka:eu-north-1:123456789012:cluster/clicks/0b5e-2";
const A: std::ops::Range<i64> = 500..510;
const B: std::ops::Range<i64> = 500..505;
const C: std::ops::Range<i64> = 505..515;
/// The data file is written, and the table loaded that the swap is for.
const SWAP_WAITS: &str = "before swap=1*return(wait)->off";

fn event(offsets: std::ops::Range<i64>) -> String {
    let record = |offset: i64| {
        json!({
            "topic": "clicks", "partition": 0, "offset": offset, "timestamp": 1_772_000_000_000 + offset,
            "timestampType": "CREATE_TIME", "key": "aw==", "headers": [],
            // {"user_id": "u", "event_type": "view"}
            "value": "eyJ1c2VyX2lkIjogInUiLCAiZXZlbnRfdHlwZSI6ICJ2aWV3In0=",
        })
    };
    let records: Vec<_> = offsets.map(record).collect();
    json!({"eventSource": "aws:kafka", "eventSourceArn": CLUSTER, "records": {"clicks-0": records}})
        .to_string()
}

/// A poller, and the function that it invokes, with these failpoints.
struct Poller(Process);

impl Poller {
    fn new(folder: &Path, failpoints: &str) -> Self {
        let mut function = function(folder);
        if !failpoints.is_empty() {
            function.env("FAILPOINTS", failpoints);
        }
        Self(Process::start(function))
    }

    fn begins(&self, offsets: std::ops::Range<i64>) {
        self.0.give(&event(offsets), Duration::from_secs(600));
    }

    /// Begins, and waits with all written.
    fn writes(&self, offsets: std::ops::Range<i64>) {
        self.begins(offsets);
        assert_eq!(self.0.reaches_a_point(), "before swap");
    }

    fn goes_on(&mut self) -> u64 {
        self.0.instance.go_on();
        self.answers()
    }

    /// How many rows it says that it has appended.
    fn answers(&self) -> u64 {
        let answer = self.0.answer();
        assert!(!answer.is_error, "{:?}", answer.body);
        answer.body["rows"].as_u64().unwrap()
    }

    fn appends(&self, offsets: std::ops::Range<i64>) -> u64 {
        self.begins(offsets);
        self.answers()
    }
}

async fn table(folder: &Path) -> Table {
    let lake = Lake::open_sqlite(&folder.join("catalog.db"), "file:///unused").await.unwrap();
    lake.table(&settings::table_ident(TABLE).unwrap()).await.unwrap().unwrap()
}

/// Plays `schedule`, which gives the rows of A, B and C, in a folder of its own; how many snapshots there are then.
async fn plays(name: &str, expected: [u64; 3], schedule: impl FnOnce(&Path) -> [u64; 3]) -> usize {
    let folder = TempDir::new().unwrap();
    assert_eq!(schedule(folder.path()), expected, "{name}");
    let table = table(folder.path()).await;
    let batches = table.scan().select(["offset"]).build().unwrap().to_arrow().await.unwrap();
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    let columns = batches.iter().map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap());
    let mut offsets: Vec<i64> = columns.flat_map(|column| column.values().to_vec()).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (500..515).collect::<Vec<_>>(), "{name}");

    let metadata = table.metadata();
    let mut line: Vec<_> = ancestors(metadata, metadata.current_snapshot_id()).collect();
    line.reverse();
    let (mut all, mut next) = (0, Vec::new());
    for snapshot in &line {
        let set: Offsets = offsets_of(snapshot).unwrap();
        let (stream, partition, end, count) = set.partitions().next().unwrap();
        assert_eq!((stream, partition), (&Stream::new(CLUSTER, "clicks", ""), 0));
        all += count;
        next.push(next.last().map_or(end, |last: &i64| end.max(*last)));
        // A writer that finds nothing left makes no commit, and none has rows that it did not bring.
        assert_eq!(snapshot.summary().additional_properties["added-records"], count.to_string(), "{name}");
    }
    assert_eq!((all, next.last()), (15, Some(&515)), "{name}");
    line.len()
}

#[tokio::test]
async fn one_after_the_other() {
    let old_first = |folder: &Path| {
        let a = Poller::new(folder, "").appends(A);
        let new = Poller::new(folder, "");
        [a, new.appends(B), new.appends(C)]
    };
    assert_eq!(plays("1", [10, 0, 5], old_first).await, 2);
    let new_first = |folder: &Path| {
        let new = Poller::new(folder, "");
        let (b, c) = (new.appends(B), new.appends(C));
        [Poller::new(folder, "").appends(A), b, c]
    };
    assert_eq!(plays("2", [0, 5, 10], new_first).await, 2);
}

#[tokio::test]
async fn the_old_poller_loses_the_swap_and_decides_anew() {
    let to_the_first = |folder: &Path| {
        let (mut old, new) = (Poller::new(folder, SWAP_WAITS), Poller::new(folder, ""));
        old.writes(A);
        let b = new.appends(B);
        let a = old.goes_on();
        [a, b, new.appends(C)]
    };
    assert_eq!(plays("3", [5, 5, 5], to_the_first).await, 3);
    let to_both = |folder: &Path| {
        let (mut old, new) = (Poller::new(folder, SWAP_WAITS), Poller::new(folder, ""));
        old.writes(A);
        let (b, c) = (new.appends(B), new.appends(C));
        [old.goes_on(), b, c]
    };
    assert_eq!(plays("4", [0, 5, 10], to_both).await, 2);
}

#[tokio::test]
async fn both_pollers_lose_a_swap() {
    let schedule = |folder: &Path| {
        let (mut old, new) = (Poller::new(folder, SWAP_WAITS), Poller::new(folder, ""));
        old.writes(A);
        let b = new.appends(B);
        let mut new = Poller::new(folder, SWAP_WAITS);
        new.writes(C);
        let a = old.goes_on();
        [a, b, new.goes_on()]
    };
    assert_eq!(plays("5", [5, 5, 5], schedule).await, 3);
}

#[tokio::test]
async fn the_old_poller_does_not_hear_of_its_swap() {
    let looks = |folder: &Path| {
        let a = Poller::new(folder, "after swap=1*return(error)->off").appends(A);
        let new = Poller::new(folder, "");
        [a, new.appends(B), new.appends(C)]
    };
    assert_eq!(plays("6", [10, 0, 5], looks).await, 2);
    let is_killed = |folder: &Path| {
        let mut old = Poller::new(folder, "after swap=return");
        old.begins(A);
        assert_eq!(old.0.reaches_a_point(), "after swap");
        old.0.instance.kill();
        let new = Poller::new(folder, "");
        // It has not answered.
        [0, new.appends(B), new.appends(C)]
    };
    assert_eq!(plays("7", [0, 0, 5], is_killed).await, 2);
}

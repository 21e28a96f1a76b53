//! Health of real tables.

use super::*;
use crate::branch::testing::{AUDIT, Bench, MAIN};

async fn health(bench: &Bench) -> Health {
    bench.lake.health(&bench.table().await).await.unwrap()
}

#[tokio::test]
async fn files_are_counted_by_partition_and_size() {
    let bench = Bench::new().await;
    for (name, day) in [("1", "2026-03-02"), ("2", "2026-03-02"), ("3", "2026-03-03")] {
        let rows = format!("{{\"n\":1,\"day\":\"{day}\"}}\n{{\"n\":2,\"day\":\"{day}\"}}\n");
        bench.deliver_objects(MAIN, vec![bench.object_of(name, "1", &rows)]).await;
    }
    let health = health(&bench).await;
    assert_eq!((health.rows, health.files, health.small_files, health.delete_files), (7, 4, 4, 0));
    assert_eq!(health.files_by_size, [4, 0, 0, 0, 0, 0, 0]);
    let partitions: Vec<_> =
        health.partitions.iter().map(|it| (it.name.as_str(), it.rows, it.files)).collect();
    assert_eq!(partitions, [("day=2026-03-01", 1, 1), ("day=2026-03-02", 4, 2), ("day=2026-03-03", 2, 1)]);
    assert_eq!(health.partitions.iter().map(|it| it.bytes).sum::<u64>(), health.bytes);
    let table = bench.table().await;
    let last = table.metadata().current_snapshot().unwrap();
    assert_eq!(health.partitions[2].updated_ms, Some(last.timestamp_ms()));
    assert_eq!((health.appended_ms, health.snapshots), (Some(last.timestamp_ms()), 4));
    let stored = table.metadata_location().unwrap().strip_prefix("file://").unwrap();
    assert_eq!(health.metadata_bytes, std::fs::metadata(stored).unwrap().len());
    let history: Vec<_> = health.history.iter().map(|entry| (entry.added_rows, entry.rows)).collect();
    assert_eq!(history, [(1, 1), (2, 3), (2, 5), (2, 7)].map(|(added, rows)| (Some(added), Some(rows))));
    assert_eq!((health.growth, health.due.len(), health.references.len()), (None, 0, 0));
}

#[tokio::test]
async fn what_is_due_is_said_with_its_command() {
    let bench = Bench::new().await;
    for n in 0..9 {
        bench.deliver(MAIN, [n.to_string().as_str()]).await;
    }
    bench.deliver(AUDIT, ["20"]).await;
    bench.deliver(AUDIT, ["21", "22"]).await;
    let health = health(&bench).await;
    let branch = &health.references[0];
    assert_eq!((branch.name.as_str(), branch.ahead, branch.ahead_rows), (AUDIT, 2, 3));
    assert!(branch.ahead_since_ms.is_some_and(|since| since < branch.time_ms));
    // Main's alone.
    assert_eq!((health.rows, health.files), (10, 10));
    let due: Vec<_> = health.due.iter().map(|due| (due.what.as_str(), due.why.as_str())).collect();
    let branch = "the branch audit has 2 commits with 3 rows that main does not have";
    assert_eq!(due, [("compact", "10 files below 64 MiB in 1 partition"), ("publish", branch)]);
    assert_eq!(health.due[1].command, "frazil publish --table lake.audited --branch audit");
}

#[tokio::test]
async fn a_table_without_rows_has_nothing_wrong() {
    let bench = Bench::empty([]).await;
    bench.deliver(AUDIT, ["1"]).await;
    let health = health(&bench).await;
    assert_eq!((health.rows, health.files, health.history.len(), health.appended_ms), (0, 0, 0, None));
    assert_eq!(health.references[0].ahead, 1);
}

#[test]
fn growth_is_that_of_a_day() {
    let entry = |hours: i64, rows: u64| HistoryEntry {
        snapshot_id: hours,
        time_ms: hours * 3_600_000,
        operation: "append".to_owned(),
        added_rows: None,
        rows: Some(rows),
        files: None,
        bytes: Some(10 * rows),
    };
    let history = [entry(0, 100), entry(6, 120), entry(12, 150)];
    assert_eq!(growth(&history), Some(Growth { rows: 100.0, bytes: 1000.0, commits: 4.0 }));
    assert_eq!(growth(&history[..1]), None);
}

//! What is appended to a branch, on a real table.

use super::testing::{AUDIT, Bench, MAIN, numbers};
use super::*;

const KEEP_ONE: [(&str, &str); 2] =
    [("history.expire.max-snapshot-age-ms", "1"), ("history.expire.min-snapshots-to-keep", "1")];

#[tokio::test]
async fn what_is_appended_to_a_branch_is_not_on_main() {
    let bench = Bench::new().await;
    let main = bench.head(MAIN).await;
    assert_eq!(bench.deliver(AUDIT, ["1"]).await, [Some(1)]);
    assert_eq!(bench.deliver(AUDIT, ["2", "bad"]).await, [Some(1), Some(1)]);
    assert_eq!(bench.head(MAIN).await, main);
    assert_eq!(bench.numbers(MAIN).await, numbers([100]));
    assert_eq!(bench.numbers(AUDIT).await, [None, Some(1), Some(2), Some(100)]);
}

#[tokio::test]
async fn the_first_rows_of_a_table_may_be_a_branchs() {
    let bench = Bench::empty([]).await;
    assert_eq!(bench.deliver(AUDIT, ["1"]).await, [Some(1)]);
    assert_eq!((bench.head(MAIN).await, bench.numbers(AUDIT).await), (None, numbers([1])));
    assert_eq!(bench.deliver(AUDIT, ["1"]).await, [None]);
    assert_eq!(bench.deliver(MAIN, ["m1"]).await, [Some(1)]);
    assert_eq!(bench.numbers(MAIN).await, numbers([100]));
}

#[tokio::test]
async fn an_object_that_either_has_is_not_appended_to_the_branch_again() {
    let bench = Bench::new().await;
    assert_eq!(bench.deliver(AUDIT, ["1", "m1"]).await, [Some(1), None]);
    // Main has gone on by itself.
    assert_eq!(bench.deliver(MAIN, ["2"]).await, [Some(1)]);
    let before = bench.head(AUDIT).await;
    assert_eq!(bench.deliver(AUDIT, ["1", "2", "m1"]).await, [None, None, None]);
    assert_eq!(bench.head(AUDIT).await, before);
    // A branch that is dropped takes what it had with it.
    bench.drop_branch(AUDIT).await;
    assert_eq!(bench.deliver(AUDIT, ["1", "2"]).await, [Some(1), None]);
    assert_eq!(bench.numbers(AUDIT).await, numbers([1, 2, 100]));
}

#[tokio::test]
async fn rows_of_another_version_are_known_whichever_has_them() {
    let bench = Bench::new().await;
    let row = |n: i64| format!("{{\"n\":{n},\"record_id\":\"id-{n}\",\"day\":\"2026-03-01\"}}\n");
    let object = |version: &str, rows: [i64; 2]| bench.object_of("late", version, &rows.map(row).concat());
    assert_eq!(bench.deliver_objects(AUDIT, vec![object("1", [1, 2])]).await, [Some(2)]);
    assert_eq!(bench.deliver_objects(AUDIT, vec![object("2", [2, 3])]).await, [Some(1)]);
    assert_eq!(bench.deliver_objects(MAIN, vec![object("3", [4, 5])]).await, [Some(2)]);
    assert_eq!(bench.deliver_objects(AUDIT, vec![object("4", [3, 5])]).await, [Some(0)]);
    assert_eq!(bench.numbers(AUDIT).await, numbers([1, 2, 3, 100]));
}

/// Appends to main let everything expire that may; nothing of the branch may.
#[tokio::test]
async fn commits_that_main_does_not_have_outlive_expiry() {
    let bench = Bench::with(KEEP_ONE).await;
    for name in ["1", "2", "3"] {
        bench.deliver(AUDIT, [name]).await;
    }
    assert_eq!((bench.kept(AUDIT).await, bench.kept(MAIN).await), (Some(3), None));
    for name in ["m2", "m3", "m4"] {
        bench.deliver(MAIN, [name]).await;
    }
    let table = bench.table().await;
    let left: Vec<bool> = ancestors(table.metadata(), bench.head(AUDIT).await)
        .map(|snapshot| token::is_ours(snapshot))
        .collect();
    // Main has two: the current snapshot, and the one before that the last commit has kept.
    assert!(table.metadata().snapshots().len() <= 3 + 2, "{table:?}");
    assert_eq!(left.len(), 3);
    assert_eq!(bench.deliver(AUDIT, ["1", "2", "3", "m1", "m4"]).await, [None; 5]);
    assert_eq!(bench.numbers(AUDIT).await, numbers([1, 2, 3, 100]));
}

#[tokio::test]
async fn a_branch_that_is_too_old_is_dropped_with_what_it_had() {
    let bench = Bench::with([("history.expire.max-ref-age-ms", "1")]).await;
    bench.deliver(AUDIT, ["1"]).await;
    bench.deliver(MAIN, ["m2"]).await;
    bench.deliver(MAIN, ["m3"]).await;
    assert_eq!(bench.head(AUDIT).await, None);
    assert_eq!(bench.deliver(AUDIT, ["1"]).await, [Some(1)]);
}

#[tokio::test]
async fn a_tag_is_no_branch() {
    let bench = Bench::new().await;
    let table = bench.table().await;
    let head = table.metadata().current_snapshot_id().unwrap();
    let tag = SnapshotReference::new(head, SnapshotRetention::Tag { max_ref_age_ms: None });
    let error = moved(table.metadata(), &[("v1".to_owned(), tag)].into(), "v1", head).unwrap_err();
    assert!(error.to_string().contains("v1 is a tag of the table, not a branch"), "{error}");
    assert_eq!(Kind::of(&error), Kind::Misconfigured);
}

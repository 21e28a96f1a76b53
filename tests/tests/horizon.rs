//! What no token tells: snapshots that have expired, other versions of an object, engines that rewrite the table.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::slice;
use std::time::{Duration, Instant};

use iceberg::spec::{DataFile, ManifestStatus};
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use lake::{Limits, SUMMARY_KEY};
use tests::{Bench, Object, definition, files, gzip, handle, lines, open, plain_table, sqs_event, writer};

/// A table of enriched events, as far as these tests need it.
fn events_table() -> lake::TableDefinition {
    definition(&[("n", "long"), ("record_id", "string"), ("file_name", "string")], &[])
}

/// Events with ids.
fn events(numbers: impl IntoIterator<Item = i64>) -> String {
    numbers.into_iter().map(|n| format!("{{\"n\":{n},\"record_id\":\"id-{n}\"}}\n")).collect()
}

/// Expires all snapshots but the newest, and with them their tokens.
async fn expire(bench: &Bench) {
    writer::expire(bench.appender.lake(), &bench.table().await).await;
    assert_eq!(bench.table().await.metadata().snapshots().len(), 1);
}

/// The files of the current snapshot.
async fn live_files(bench: &Bench) -> Vec<DataFile> {
    let table = bench.table().await;
    let snapshot = table.metadata().current_snapshot().unwrap().clone();
    let list = table.manifest_list_reader(&snapshot).load().await.unwrap();
    let mut files = Vec::new();
    for manifest in list.entries() {
        let manifest = manifest.load_manifest(table.file_io()).await.unwrap();
        let live = manifest.entries().iter().filter(|entry| entry.status() != ManifestStatus::Deleted);
        files.extend(live.map(|entry| entry.data_file().clone()));
    }
    files
}

fn times(objects: &[Object], what: &str) -> Vec<String> {
    vec![what.to_owned(); objects.len()]
}

#[tokio::test]
async fn an_object_whose_token_has_expired_is_not_appended_again() {
    for (table, content) in [(events_table(), events as fn(_) -> _), (plain_table(), lines)] {
        let bench = Bench::new(Some(table)).await;
        let put = |at: i64| bench.put(&format!("{at}.gz"), gzip(content(at * 100..(at + 1) * 100)));
        let objects: Vec<Object> = (0..4).map(put).collect();
        for object in objects.chunks(1) {
            bench.deliver(object).await;
        }
        let never_committed = put(4);
        expire(&bench).await;

        let delivered = bench.deliver(&objects).await;
        assert_eq!(delivered.objects[..3], times(&objects[..3], "0 rows, 100 known"));
        assert_eq!(delivered.objects[3], "known");
        assert!(delivered.failed.is_empty());
        assert_eq!(delivered.outcome.unwrap().data_files, 0);
        assert_eq!(bench.numbers().await, (0..400).collect::<Vec<_>>());
        // An object older than the horizon that was never committed is still appended.
        assert_eq!(bench.deliver(&[never_committed]).await.objects, ["100 rows"]);
        assert_eq!(bench.numbers().await, (0..500).collect::<Vec<_>>());
        // What was asked once has its token again.
        assert_eq!(bench.deliver(&objects).await.objects, times(&objects, "known"));
    }
}

/// Rejections are in no table: they are written over with the same.
#[tokio::test]
async fn rejections_of_an_expired_object_are_not_counted_twice() {
    let bench = Bench::new(Some(events_table())).await;
    let mixed = bench.put("mixed", format!("{}nonsense\n{}", events(0..5), events(5..10)));
    let rejected = bench.put("rejected", "nonsense\n".repeat(3));
    bench.deliver(slice::from_ref(&mixed)).await;
    bench.deliver(slice::from_ref(&rejected)).await;
    bench.deliver(&[bench.put("last", events(10..20))]).await;
    expire(&bench).await;
    let before = bench.rejections();
    let delivered = bench.deliver(&[mixed, rejected]).await;
    assert_eq!(delivered.objects, ["0 rows, 10 known, 1 invalid_json", "0 rows, 3 invalid_json"]);
    // The new commit accounts for all of it, and the files of the expired one are stale.
    assert_eq!(bench.rejections_that_count().await, before);
    assert_eq!(bench.numbers().await, (0..20).collect::<Vec<_>>());
}

/// The files that are opened are those whose bounds of `file_name` admit the object.
#[tokio::test]
async fn the_table_is_asked_by_the_bounds_of_its_files() {
    let bench = Bench::new(Some(events_table())).await;
    let put = |at: i64| bench.put(&format!("2026/11/{at:02}/events"), events(at * 10..(at + 1) * 10));
    let objects: Vec<Object> = (0..8).map(put).collect();
    for object in objects.chunks(1) {
        bench.deliver(object).await;
    }
    expire(&bench).await;
    // All files but the one of object 3 go away: who opens another of them fails.
    let uri = |object: &Object| format!("file://{}", bench.path("raw", &object.key).display());
    let name_of_3 = uri(&objects[3]);
    let mut kept = 0;
    for file in live_files(&bench).await {
        let bounds = file.lower_bounds().values().chain(file.upper_bounds().values());
        if bounds.map(ToString::to_string).any(|bound| bound.contains(&name_of_3)) {
            kept += 1;
        } else {
            std::fs::remove_file(file.file_path().strip_prefix("file://").unwrap()).unwrap();
        }
    }
    assert_eq!(kept, 1);
    let delivered = bench.deliver(&[objects[3].clone(), put(8), put(9)]).await;
    assert_eq!(delivered.objects, ["0 rows, 10 known", "10 rows", "10 rows"]);
}

#[tokio::test]
async fn another_version_of_an_object_adds_the_records_that_the_table_lacks() {
    for (table, content) in [(events_table(), events as fn(_) -> _), (plain_table(), lines)] {
        let bench = Bench::new(Some(table)).await;
        let first = bench.put("events", content(0..100));
        assert_eq!(bench.deliver(slice::from_ref(&first)).await.objects, ["100 rows"]);
        let second = bench.put("events", content(0..130));
        assert_eq!(bench.deliver(slice::from_ref(&second)).await.objects, ["30 rows, 100 known"]);
        assert_eq!(bench.numbers().await, (0..130).collect::<Vec<_>>());
        // Each version has its token now; the first one comes late once more.
        assert_eq!(bench.deliver(&[first.clone(), second.clone()]).await.objects, ["known", "known"]);
        // Past the horizon the versions are told by their rows as well.
        bench.deliver(&[bench.put("later", content(130..140))]).await;
        expire(&bench).await;
        let third = bench.put("events", content(0..150));
        let delivered = bench.deliver(&[first, third]).await;
        assert_eq!(delivered.objects, ["20 rows, 130 known", "0 rows"]);
        let mut expected: Vec<i64> = (0..150).chain(130..140).collect();
        expected.sort_unstable();
        assert_eq!(bench.numbers().await, expected);
    }
}

/// Of rejected records the quarantine has each once, as the table has of rows.
#[tokio::test]
async fn another_version_of_an_object_adds_the_rejections_that_the_quarantine_lacks() {
    let bench = Bench::new(Some(events_table())).await;
    let content = |rows, bad: &[&str]| format!("{}{}", bad.concat(), events(0..rows));
    bench.deliver(&[bench.put("events", content(3, &["a\n", "a\n", "b\n"]))]).await;
    assert_eq!(bench.rejections().len(), 3);
    for (rows, bad, outcome) in [
        (4, &["b\n", "a\n", "a\n"][..], "1 rows, 3 known"),
        (5, &["a\n", "c\n", "b\n", "a\n", "a\n"], "1 rows, 4 known, 2 invalid_json"),
    ] {
        let object = bench.put("events", content(rows, bad));
        assert_eq!(bench.deliver(slice::from_ref(&object)).await.objects, [outcome]);
    }
    let mut rejected: Vec<_> = bench.rejections().into_iter().map(|line| line.raw.unwrap()).collect();
    rejected.sort_unstable();
    assert_eq!(rejected, [b"a", b"a", b"a", b"b", b"c"]);
    assert_eq!(bench.numbers().await, [0, 1, 2, 3, 4]);
    assert_eq!(files(&bench.folder.path().join("errors/quarantine")).len(), 2);
}

/// Records in another order, and one that is not the last is new.
#[tokio::test]
async fn records_are_told_by_their_ids_in_any_order() {
    let bench = Bench::new(Some(events_table())).await;
    bench.deliver(&[bench.put("events", events([1, 3, 5]))]).await;
    let second = bench.put("events", events([5, 4, 3, 2, 1]));
    assert_eq!(bench.deliver(&[second]).await.objects, ["2 rows, 3 known"]);
    assert_eq!(bench.numbers().await, [1, 2, 3, 4, 5]);
}

/// What the object holds now stands for all versions that were announced.
#[tokio::test]
async fn versions_that_meet_in_one_event_are_read_once() {
    let bench = Bench::new(Some(events_table())).await;
    let versions: Vec<Object> = (1..=3).map(|size| bench.put("events", events(0..size * 10))).collect();
    let delivered = bench.deliver(&versions).await;
    assert_eq!(delivered.objects, ["30 rows", "0 rows", "0 rows"]);
    assert!(delivered.failed.is_empty());
    assert_eq!(bench.deliver(&versions).await.objects, times(&versions, "known"));
    assert_eq!(bench.numbers().await, (0..30).collect::<Vec<_>>());
}

/// Two writers have looked at the table before either of them commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn versions_that_two_writers_hold_at_the_same_time() {
    for _ in 0..10 {
        let bench = Bench::new(Some(events_table())).await;
        bench.deliver(&[bench.put("before", events([]))]).await;
        let versions: Vec<Object> = (1..=2).map(|size| bench.put("events", events(0..size * 10))).collect();
        let deliveries = versions.iter().map(|version| async {
            let limits = Limits::for_memory(512 << 20);
            let appender = open(bench.folder.path(), Some(events_table()), limits).await;
            let event = sqs_event(&[slice::from_ref(version)]);
            handle(&appender, &event, Instant::now() + Duration::from_secs(60)).await
        });
        let delivered = futures::future::join_all(deliveries).await;
        assert!(delivered.iter().all(|delivered| delivered.failed.is_empty()), "{delivered:?}");
        assert_eq!(bench.numbers().await, (0..20).collect::<Vec<_>>());
    }
}

/// Without `file_name` the rows of an object cannot be told from others: an error is better than rows that come twice.
#[tokio::test]
async fn a_table_without_file_names() {
    let bench = Bench::new(Some(definition(&[("n", "long"), ("record_id", "string")], &[]))).await;
    bench.deliver(&[bench.put("events", events(0..10))]).await;
    let second = bench.put("events", events(0..20));
    let delivered = bench.deliver(&[second, bench.put("others", events(20..30))]).await;
    assert_eq!(delivered.objects, ["failed", "10 rows"]);
    assert_eq!(delivered.failed, [0]);
    expire(&bench).await;
    // Nothing but the token tells what is new, and it says nothing.
    let delivered = bench.deliver(&[bench.put("new", events(30..40))]).await;
    assert_eq!(delivered.objects, ["10 rows"]);
    let expected: Vec<i64> = (0..10).chain(20..40).collect();
    assert_eq!(bench.numbers().await, expected);
}

#[tokio::test]
async fn more_known_rows_than_the_memory_is_for() {
    let bench = Bench::limited(Some(events_table()), |limits| limits.known_rows = 50).await;
    let [small, large] = [bench.put("small", events(0..10)), bench.put("large", events(100..200))];
    bench.deliver(&[small.clone(), large.clone()]).await;
    bench.deliver(&[bench.put("last", events([1000]))]).await;
    expire(&bench).await;
    let delivered = bench.deliver(&[small, large]).await;
    assert_eq!(delivered.objects, ["0 rows, 10 known", "failed"]);
    assert_eq!(delivered.failed, [1]);
    assert_eq!(bench.numbers().await.len(), 111);
}

/// An engine adds snapshots without tokens on top of ours: they are no reason to ask the table.
#[tokio::test]
async fn snapshots_of_other_engines_hide_no_token() {
    let bench = Bench::new(Some(events_table())).await;
    let objects = [bench.put("a", events(0..10)), bench.put("b", events(10..20))];
    bench.deliver(&objects).await;
    let table = bench.table().await;
    let transaction = Transaction::new(&table);
    let append =
        transaction.fast_append().set_snapshot_properties([("engine".into(), "other".into())].into());
    append.apply(transaction).unwrap().commit(bench.appender.lake().catalog()).await.unwrap();
    let table = bench.table().await;
    let summary = table.metadata().current_snapshot().unwrap().summary();
    assert!(!summary.additional_properties.contains_key(SUMMARY_KEY));
    assert_eq!(bench.deliver(&objects).await.objects, ["known", "known"]);
}

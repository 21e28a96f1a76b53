//! Whatever is delivered, how often, by how many writers at a time: every row is in the table once.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use iceberg::MetadataLocation;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use lake::{Limits, SUMMARY_KEY};
use tests::{Bench, Object, definition, files, gzip, handle, lines, open, plain_table, sqs_event};
use tokio::task::JoinSet;

/// Objects `0..count` of 100 rows each; object `at` has the rows from `at * 100` on.
fn put_objects(bench: &Bench, count: i64) -> Vec<Object> {
    (0..count).map(|at| bench.put(&format!("{at}.gz"), gzip(lines(rows_of(at))))).collect()
}

fn rows_of(at: i64) -> Range<i64> {
    at * 100..(at + 1) * 100
}

async fn assert_rows(bench: &Bench, expected: Range<i64>) {
    assert_eq!(bench.numbers().await, expected.collect::<Vec<_>>());
}

/// The tokens of each snapshot, oldest first.
async fn tokens(bench: &Bench) -> Vec<Vec<String>> {
    let table = bench.table().await;
    let mut snapshots: Vec<_> = table.metadata().snapshots().collect();
    snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
    let listed = snapshots.iter().map(|snapshot| &snapshot.summary().additional_properties[SUMMARY_KEY]);
    listed.map(|tokens| tokens.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Every object of the table has its token in one snapshot alone.
async fn assert_tokens(bench: &Bench, objects: usize) {
    let tokens: Vec<String> = tokens(bench).await.concat();
    assert_eq!(tokens.len(), objects);
    assert_eq!(tokens.into_iter().collect::<BTreeSet<_>>().len(), objects);
}

fn data_files(bench: &Bench) -> Vec<PathBuf> {
    let files = files(&bench.folder.path().join("warehouse"));
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect()
}

#[tokio::test]
async fn the_same_event_twice() {
    let bench = Bench::new(Some(plain_table())).await;
    let objects = put_objects(&bench, 3);
    let first = bench.deliver(&objects).await;
    assert_eq!((first.objects, first.failed), (vec!["100 rows".to_owned(); 3], vec![]));
    let files = data_files(&bench);
    let again = bench.deliver(&objects).await;
    assert_eq!((again.objects, again.failed), (vec!["known".to_owned(); 3], vec![]));
    assert_eq!(again.outcome.unwrap().snapshot_id, None);
    assert_eq!(data_files(&bench), files);
    assert_rows(&bench, 0..300).await;
    assert_tokens(&bench, 3).await;
}

#[tokio::test]
async fn the_same_object_several_times_in_one_event() {
    let bench = Bench::new(Some(plain_table())).await;
    let [a, b] = &put_objects(&bench, 2)[..] else { unreachable!("two objects") };
    let twice = [a.clone(), a.clone()];
    let both = [b.clone(), a.clone()];
    let event = sqs_event(&[&twice, &both, &twice[..1]]);
    let delivered = bench.handle(&event, Duration::from_secs(60)).await;
    assert!(delivered.failed.is_empty());
    assert_eq!(delivered.objects, ["100 rows", "100 rows"]);
    assert_rows(&bench, 0..200).await;
    assert_tokens(&bench, 2).await;
}

#[tokio::test]
async fn old_and_new_objects_in_one_event() {
    let bench = Bench::new(Some(plain_table())).await;
    let objects = put_objects(&bench, 5);
    bench.deliver(&[objects[1].clone(), objects[3].clone()]).await;
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["100 rows", "known", "100 rows", "known", "100 rows"]);
    assert_rows(&bench, 0..500).await;
    assert_tokens(&bench, 5).await;
}

#[tokio::test]
async fn another_object_of_the_same_content_is_another_object() {
    let bench = Bench::new(Some(plain_table())).await;
    let objects = [bench.put("a", lines(0..2)), bench.put("b", lines(0..2))];
    assert_eq!(bench.deliver(&objects).await.objects, ["2 rows", "2 rows"]);
    assert_eq!(bench.numbers().await, [0, 0, 1, 1]);
}

/// Delivers each of `events` through a writer of its own, all at the same time; gives back how many objects
/// of the events were appended.
async fn all_at_once(bench: &Bench, events: &[&[Object]]) -> usize {
    let mut writers = JoinSet::new();
    for objects in events {
        let appender = open(bench.folder.path(), Some(plain_table()), Limits::for_memory(512 << 20)).await;
        let event = sqs_event(&objects.chunks(1).collect::<Vec<_>>());
        let deadline = Instant::now() + Duration::from_secs(60);
        writers.spawn(async move { handle(&appender, &event, deadline).await });
    }
    let mut appended = 0;
    for delivered in writers.join_all().await {
        assert!(delivered.failed.is_empty(), "{delivered:?}");
        appended += delivered.objects.iter().filter(|object| *object == "100 rows").count();
    }
    appended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_the_same_objects_at_the_same_time() {
    for _ in 0..5 {
        let bench = Bench::new(Some(plain_table())).await;
        let objects = put_objects(&bench, 4);
        assert_eq!(all_at_once(&bench, &[&objects[..]; 4]).await, 4);
        assert_rows(&bench, 0..400).await;
        assert_tokens(&bench, 4).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_different_objects_at_the_same_time() {
    for _ in 0..3 {
        let bench = Bench::new(Some(plain_table())).await;
        let objects = put_objects(&bench, 8);
        assert_eq!(all_at_once(&bench, &objects.chunks(2).collect::<Vec<_>>()).await, 8);
        assert_rows(&bench, 0..800).await;
        assert_tokens(&bench, 8).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_whose_objects_overlap_at_the_same_time() {
    for _ in 0..5 {
        let bench = Bench::new(Some(plain_table())).await;
        let objects = put_objects(&bench, 7);
        let events = [&objects[0..4], &objects[2..6], &objects[3..7], &objects[0..7]];
        assert_eq!(all_at_once(&bench, &events).await, 7);
        assert_rows(&bench, 0..700).await;
        assert_tokens(&bench, 7).await;
    }
}

#[tokio::test]
async fn objects_of_one_event_share_the_files_of_their_partitions() {
    let table = definition(&[("n", "long"), ("city", "string")], &[("city", "identity")]);
    let bench = Bench::new(Some(table)).await;
    let objects: Vec<Object> = (0..20)
        .map(|at| {
            let rows = (0..30).map(|row| {
                let n = at * 30 + row;
                format!("{{\"n\":{n},\"city\":\"{}\"}}\n", ["Bergen", "Tromsø", "Ålesund"][row % 3])
            });
            bench.put(&at.to_string(), rows.collect::<String>())
        })
        .collect();
    let outcome = bench.deliver(&objects).await.outcome.unwrap();
    assert_eq!(outcome.data_files, 3);
    assert_eq!(data_files(&bench).len(), 3);
    assert_rows(&bench, 0..600).await;
}

#[tokio::test]
async fn an_object_whose_storage_fails_is_left_out_of_the_files() {
    let bench = Bench::new(Some(plain_table())).await;
    let mut objects = put_objects(&bench, 3);
    // To read a folder is a real error of the file system.
    std::fs::create_dir(bench.path("raw", "folder")).unwrap();
    objects.insert(2, Object { bucket: "raw".into(), key: "folder".into(), etag: "0".into() });
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["100 rows", "100 rows", "failed", "100 rows"]);
    assert_eq!(delivered.failed, [2]);
    assert_rows(&bench, 0..300).await;
    assert_eq!(data_files(&bench).len(), 1, "the files of the first attempt are gone");
    assert_tokens(&bench, 3).await;

    std::fs::remove_dir(bench.path("raw", "folder")).unwrap();
    bench.put("folder", lines(300..310));
    assert_eq!(bench.deliver(&objects).await.objects, ["known", "known", "10 rows", "known"]);
    assert_rows(&bench, 0..310).await;
}

#[tokio::test]
async fn many_objects_that_cannot_be_read_are_found_out_before_anything_is_written() {
    let bench = Bench::new(Some(plain_table())).await;
    let mut objects = put_objects(&bench, 20);
    for at in 0..20 {
        let key = format!("folder-{at}");
        std::fs::create_dir(bench.path("raw", &key)).unwrap();
        objects.insert(at * 2, Object { bucket: "raw".into(), key, etag: "0".into() });
    }
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.failed, (0..20).map(|at| at * 2).collect::<Vec<_>>());
    assert_rows(&bench, 0..2000).await;
    assert_tokens(&bench, 20).await;
}

/// The object becomes shorter once its first record is in the quarantine: its rest is then not to be had.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_fails_half_way_leaves_no_rows() {
    let bench = Bench::new(Some(plain_table())).await;
    let text = "x".repeat(500);
    let rows: String = (100..100_000).map(|n| format!("{{\"n\":{n},\"text\":\"{text}\"}}\n")).collect();
    // Long enough for its file to be there at once: short ones are written when their object is at its end.
    let whole = format!("not a record {}\n{rows}", "x".repeat(1 << 20));
    assert!(whole.len() > 50_000_000, "far more than is read ahead");
    let objects =
        [bench.put("before", lines(0..50)), bench.put("torn", &whole), bench.put("z", lines(50..100))];
    let torn = bench.path("raw", "torn");
    let quarantine = bench.folder.path().join("errors");
    let tear = tokio::spawn(async move {
        while files(&quarantine).is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        OpenOptions::new().write(true).open(torn).unwrap().set_len(5 << 20).unwrap();
    });
    let delivered = bench.deliver(&objects).await;
    tear.await.unwrap();
    assert_eq!(delivered.objects, ["50 rows", "failed", "50 rows"]);
    assert_eq!(delivered.failed, [1]);
    assert_rows(&bench, 0..100).await;
    assert_eq!(data_files(&bench).len(), 1, "the files of the first attempt are gone");

    bench.put("torn", &whole);
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["known", "99900 rows, 1 invalid_json", "known"]);
    assert_rows(&bench, 0..100_000).await;
    assert_eq!(bench.rejections().len(), 1, "the quarantine of the first attempt is gone");
}

#[tokio::test]
async fn a_message_is_done_when_all_its_objects_are() {
    let bench = Bench::new(Some(plain_table())).await;
    let missing = Object { bucket: "raw".into(), key: "late".into(), etag: "0".into() };
    let [a, b] = &put_objects(&bench, 2)[..] else { unreachable!("two objects") };
    let (with_missing, alone) = ([a.clone(), missing], [b.clone()]);
    let event = sqs_event(&[&with_missing, &alone]);
    let delivered = bench.handle(&event, Duration::from_secs(60)).await;
    assert_eq!(delivered.failed, [0]);
    assert_rows(&bench, 0..200).await;
    bench.put("late", lines(200..210));
    let delivered = bench.handle(&event, Duration::from_secs(60)).await;
    assert!(delivered.failed.is_empty());
    assert_rows(&bench, 0..210).await;
}

#[tokio::test]
async fn nothing_is_done_after_the_deadline() {
    for definition in [Some(plain_table()), None] {
        let bench = Bench::new(definition).await;
        let objects = put_objects(&bench, 3);
        let event = sqs_event(&objects.chunks(1).collect::<Vec<_>>());
        let delivered = handle(&bench.appender, &event, Instant::now()).await;
        assert_eq!(delivered.failed, [0, 1, 2]);
        assert_eq!(delivered.objects, ["not reached"; 3]);
        assert_eq!(delivered.outcome.unwrap().snapshot_id, None);
        assert!(data_files(&bench).is_empty());
        assert_eq!(bench.deliver(&objects).await.objects, ["100 rows"; 3]);
        assert_rows(&bench, 0..300).await;
    }
}

/// However many objects the time is enough for: those that are committed are acknowledged and no others.
#[tokio::test]
async fn what_is_not_reached_in_time_is_handed_back() {
    let bench = Bench::new(Some(plain_table())).await;
    let count: i64 = 60;
    let objects: Vec<Object> =
        (0..count).map(|at| bench.put(&format!("{at}.json"), lines(at * 3000..(at + 1) * 3000))).collect();
    let event = sqs_event(&objects.chunks(1).collect::<Vec<_>>());
    let delivered = bench.handle(&event, Duration::from_millis(500)).await;
    let done = delivered.objects.iter().filter(|object| *object == "3000 rows").count();
    assert_eq!(delivered.failed, (done..60).collect::<Vec<_>>());
    assert_rows(&bench, 0..done as i64 * 3000).await;
    let mut turns = 0;
    while !bench.deliver(&objects).await.failed.is_empty() {
        turns += 1;
        assert!(turns < 10);
    }
    assert_rows(&bench, 0..count * 3000).await;
    assert_tokens(&bench, 60).await;
}

/// Two gigabytes of rows in a small file: no machine reads them in the time of these tests.
fn put_huge(bench: &Bench) -> Object {
    bench.put("huge.gz", gzip(lines(0..100_000)).repeat(500))
}

#[tokio::test]
async fn an_object_for_which_the_time_is_not_enough_holds_nothing_up() {
    let bench = Bench::new(Some(plain_table())).await;
    let [a, b] = [bench.put("a", lines(0..1)), bench.put("b", lines(1..2))];
    let event = sqs_event(&[&[put_huge(&bench)], &[a], &[b]]);
    let delivered = bench.handle(&event, Duration::from_secs(4)).await;
    assert_eq!(
        (&delivered.objects[0][..], &delivered.objects[1..]),
        ("failed", &["1 rows".to_owned(), "1 rows".into()][..])
    );
    assert_eq!(delivered.failed, [0]);
    assert_rows(&bench, 0..2).await;
}

#[tokio::test]
async fn an_object_that_will_take_too_long_is_not_begun() {
    let bench = Bench::new(Some(plain_table())).await;
    let sample = bench.put("sample", lines(0..40_000));
    let event = sqs_event(&[&[sample], &[put_huge(&bench)], &[bench.put("small", lines(40_000..40_001))]]);
    let delivered = bench.handle(&event, Duration::from_secs(20)).await;
    assert_eq!(delivered.objects, ["40000 rows", "not reached", "1 rows"]);
    assert_eq!(delivered.failed, [1]);
    assert_rows(&bench, 0..40_001).await;
}

#[tokio::test]
async fn the_summary_of_a_snapshot_says_what_it_holds() {
    let bench = Bench::new(Some(plain_table())).await;
    let objects = put_objects(&bench, 3);
    bench.deliver(&objects[..2]).await;
    bench.deliver(&objects[2..]).await;
    let table = bench.table().await;
    let summary = &table.metadata().current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((&summary["added-records"][..], &summary["total-records"][..]), ("100", "300"));
    assert_eq!((&summary["added-data-files"][..], &summary["total-data-files"][..]), ("1", "2"));
    let tokens = tokens(&bench).await;
    assert_eq!(tokens.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    assert_tokens(&bench, 3).await;
}

/// What is rolled back is no longer in the table, and its objects may come again.
#[tokio::test]
async fn objects_of_a_snapshot_that_was_rolled_back_come_again() {
    let bench = Bench::new(Some(plain_table())).await;
    let objects = put_objects(&bench, 3);
    for object in objects.chunks(1) {
        bench.deliver(object).await;
    }
    roll_back(&bench, 2).await;
    assert_rows(&bench, 0..100).await;
    assert_eq!(bench.deliver(&objects).await.objects, ["known", "100 rows", "100 rows"]);
    assert_rows(&bench, 0..300).await;
}

/// Makes the snapshot current that came `snapshots` before, as an engine's rollback procedure does: the crate
/// has no transaction for it, so the table is registered anew.
async fn roll_back(bench: &Bench, snapshots: usize) {
    let table = bench.table().await;
    let mut target = table.metadata().current_snapshot().unwrap().clone();
    for _ in 0..snapshots {
        let parent = target.parent_snapshot_id().unwrap();
        target = table.metadata().snapshot_by_id(parent).unwrap().clone();
    }
    let reference = SnapshotReference::new(
        target.snapshot_id(),
        SnapshotRetention::Branch {
            min_snapshots_to_keep: None,
            max_snapshot_age_ms: None,
            max_ref_age_ms: None,
        },
    );
    let builder = table.metadata().clone().into_builder(table.metadata_location().map(str::to_owned));
    let rolled_back = builder.set_ref(MAIN_BRANCH, reference).unwrap().build().unwrap().metadata;
    let location: MetadataLocation = table.metadata_location().unwrap().parse().unwrap();
    let location = location.with_next_version();
    rolled_back.write_to(table.file_io(), &location).await.unwrap();
    let catalog = bench.appender.lake().catalog();
    catalog.drop_table(table.identifier()).await.unwrap();
    catalog.register_table(table.identifier(), location.to_string()).await.unwrap();
}

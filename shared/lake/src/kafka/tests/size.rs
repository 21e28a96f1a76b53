//! What the marks of many partitions take.

use super::*;

/// Commits of a record of each of these partitions, one after the other; the size of the metadata file after every tenth, in
/// bytes that are not compressed, and the table's last one.
async fn grow(
    bench: &Bench,
    commits: i64,
    partitions: impl Fn(i64) -> std::ops::Range<i32>,
) -> (Vec<usize>, Table) {
    let (lake, mut sizes) = (bench.lake().await, Vec::new());
    let mut table = None;
    for commit in 0..commits {
        let batch = partitions(commit).map(|partition| TopicRecord {
            value: TopicValue::None,
            // As far as a topic is after years.
            ..record(partition, 12_345_678_900 + commit)
        });
        let outcome = append_records(&lake, &bench.options(), TopicOptions::default(), batch.collect()).await;
        assert!(outcome.unwrap().snapshot_id.is_some());
        if commit % 10 == 9 {
            let loaded = lake.catalog.load_table(&ident()).await.unwrap();
            sizes.push(serde_json::to_vec(loaded.metadata()).unwrap().len());
            table = Some(loaded);
        }
    }
    (sizes, table.unwrap())
}

fn bench() -> Bench {
    Bench::with(
        &serde_json::from_slice(include_bytes!("../../../../../tables/kafka_user_events.json")).unwrap(),
    )
}

/// That the metadata stopped growing long before the end, below a megabyte.
fn assert_flat(sizes: &[usize]) {
    let (early, late) = sizes.split_at(sizes.len() / 2);
    let (early, late) = (early.iter().max().unwrap(), late.iter().max().unwrap());
    assert!(*late < 1_000_000 && late.saturating_sub(*early) < early / 50, "{sizes:?}");
}

/// Batches with a few of the partitions each.
#[tokio::test]
async fn marks_of_2_000_partitions_keep_the_metadata_small() {
    let bench = bench();
    let (sizes, table) = grow(&bench, 100, |commit| {
        let from = (commit as i32 * 100) % 2_000;
        from..from + 100
    })
    .await;
    // They grow by a tenth of what all partitions take, up to the same height.
    assert!(sizes.iter().all(|bytes| *bytes < 1_000_000), "{sizes:?}");
    // Nothing is forgotten: the first batches are known.
    let remembered = crate::ledger::committed(table.metadata(), table.file_io()).await;
    assert_eq!((remembered.offsets.count(), remembered.offsets_are_complete), (100 * 100, true));
}

/// Batches with all of the partitions: after a few commits the metadata are as large as after thousands.
#[tokio::test]
async fn marks_of_all_of_2_000_partitions_keep_the_metadata_flat() {
    let bench = bench();
    let (sizes, table) = grow(&bench, 80, |_| 0..2_000).await;
    assert_flat(&sizes);
    let remembered = crate::ledger::committed(table.metadata(), table.file_io()).await;
    assert_eq!((remembered.offsets.count(), remembered.offsets_are_complete), (80 * 2_000, true));
}

/// The same, a thousand times: `cargo test -p frazil-lake --lib 1_000_commits -- --ignored --nocapture`. Takes a quarter of an
/// hour; docs/measurements.md has what it prints.
#[tokio::test]
#[ignore = "takes a quarter of an hour"]
async fn marks_of_all_of_2_000_partitions_over_1_000_commits_keep_the_metadata_below_a_megabyte() {
    let bench = bench();
    let (sizes, table) = grow(&bench, 1_000, |_| 0..2_000).await;
    let location = table.metadata_location().unwrap().strip_prefix("file://").unwrap();
    let file_bytes = std::fs::metadata(location).unwrap().len();
    println!(
        "bytes of the metadata, not compressed: after 10 commits {}, 100 {}, 500 {}, 1,000 {}; at most {}; the last file {file_bytes}",
        sizes[0],
        sizes[9],
        sizes[49],
        sizes[99],
        sizes.iter().max().unwrap()
    );
    assert_flat(&sizes);
    let remembered = crate::ledger::committed(table.metadata(), table.file_io()).await;
    assert_eq!((remembered.offsets.count(), remembered.offsets_are_complete), (1_000 * 2_000, true));
}

//! What the marks of many partitions take.

use super::*;

/// Commits of a record of each of these partitions, one after the other; the largest metadata file, in bytes that are not
/// compressed, and the table's last one.
async fn grow(
    bench: &Bench,
    commits: i64,
    partitions: impl Fn(i64) -> std::ops::Range<i32>,
) -> (usize, Table) {
    let (lake, mut largest) = (bench.lake().await, 0);
    let mut table = None;
    for commit in 0..commits {
        let batch = partitions(commit).map(|partition| TopicRecord {
            value: TopicValue::None,
            // As far as a topic is after years.
            ..record(partition, 12_345_678_900 + commit)
        });
        let outcome = append_records(&lake, &bench.options(), TopicOptions::default(), batch.collect()).await;
        assert!(outcome.unwrap().snapshot_id.is_some());
        if commit % 20 == 19 {
            let loaded = lake.catalog.load_table(&ident()).await.unwrap();
            largest = largest.max(serde_json::to_vec(loaded.metadata()).unwrap().len());
            table = Some(loaded);
        }
    }
    (largest, table.unwrap())
}

fn bench() -> Bench {
    Bench::with(
        &serde_json::from_slice(include_bytes!("../../../../../tables/kafka_user_events.json")).unwrap(),
    )
}

/// Batches with a few of the partitions each, and batches with all of them.
#[tokio::test]
async fn marks_of_2_000_partitions_keep_the_metadata_small() {
    let few = bench();
    let (largest, table) = grow(&few, 100, |commit| {
        let from = (commit as i32 * 100) % 2_000;
        from..from + 100
    })
    .await;
    assert!(largest < 1_000_000, "{largest}");
    let all = bench();
    let (largest, _) = grow(&all, 40, |_| 0..2_000).await;
    assert!(largest < 1_000_000, "{largest}");
    // Nothing is forgotten: the first batches are known.
    let remembered = crate::ledger::committed(table.metadata(), table.file_io()).await;
    assert_eq!((remembered.offsets.count(), remembered.offsets_are_complete), (100 * 100, true));
}

/// `cargo test --release -p frazil-lake --lib a_thousand_commits -- --ignored --nocapture`
#[tokio::test]
#[ignore = "the same for a thousand commits: minutes of unoptimised code"]
async fn a_thousand_commits_of_2_000_partitions_keep_the_metadata_small() {
    let bench = bench();
    let (largest, table) = grow(&bench, 1_000, |_| 0..2_000).await;
    println!("{largest} bytes at most");
    assert!(largest < 1_000_000, "{largest}");
    let remembered = crate::ledger::committed(table.metadata(), table.file_io()).await;
    assert_eq!((remembered.offsets.count(), remembered.offsets_are_complete), (2_000_000, true));
}

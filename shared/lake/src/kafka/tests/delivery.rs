//! What is new and what is known, however batches are cut.

use iceberg::spec::{DataFile, Operation, TableMetadata};
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::commit::{Marks, Replace, Verdict, commit};
use crate::env::Env;
use crate::job::CommitMetrics;

/// Snapshots that live for a millisecond, two of which are kept.
fn short() -> Bench {
    let columns = [
        ("place", "string"),
        ("topic", "string"),
        ("partition", "int"),
        ("offset", "long"),
        ("kafka_timestamp", "timestamptz"),
        ("record_id", "string"),
    ];
    let fields = columns
        .iter()
        .zip(1..)
        .map(|((name, kind), id)| json!({"id": id, "name": name, "type": kind, "required": false}));
    Bench::with(&json!({
        "name": "orders",
        "schema": {"type": "struct", "schema-id": 0, "fields": fields.collect::<Vec<_>>()},
        "properties": {"history.expire.max-snapshot-age-ms": "1", "history.expire.min-snapshots-to-keep": "2"}
    }))
}

/// Another engine's commits have no marks.
struct Unmarked;

impl Marks for Unmarked {
    fn seen(&self, _: &TableMetadata, _: Option<i64>, _: Option<i64>) -> Verdict {
        Verdict::New
    }

    fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Another engine deletes the rows of one data file.
async fn delete_a_file(bench: &Bench) {
    let table = bench.table().await;
    let snapshot = table.metadata().current_snapshot().unwrap();
    let list = table.manifest_list_reader(snapshot).load().await.unwrap();
    let manifest = list.entries()[0].load_manifest(table.file_io()).await.unwrap();
    let file: &DataFile = manifest.entries().iter().find(|entry| entry.is_alive()).unwrap().data_file();
    let replace = Replace {
        files: vec![file.file_path().to_owned()],
        planned_on: snapshot.snapshot_id(),
        operation: Operation::Overwrite,
        data_sequence_number: None,
        summary: [].into(),
    };
    let change = Change {
        replace: Some(replace),
        looked_at: Some(snapshot.snapshot_id()),
        expire: false,
        ..Change::append(&[], &Unmarked, Layout::of(&table), Uuid::new_v4())
    };
    let (deadline, lake) = (Instant::now() + Duration::from_secs(60), bench.lake().await);
    let env = Env::default();
    let mut metrics = CommitMetrics::default();
    let done = commit(lake.catalog.as_ref(), &env, &ident(), &change, deadline, &mut metrics).await;
    assert!(matches!(done, Ok(Committed::Snapshot(..))), "{done:?}");
}

/// Another engine expires all snapshots but the current one.
async fn expire(bench: &Bench) {
    let table = bench.table().await;
    let current = table.metadata().current_snapshot_id();
    let ids = table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id());
    let old: Vec<i64> = ids.filter(|id| Some(*id) != current).collect();
    let transaction = Transaction::new(&table);
    let expired = transaction.expire_snapshots().expire_snapshot_ids(old).apply(transaction).unwrap();
    expired.commit(bench.lake().await.catalog.as_ref()).await.unwrap();
}

#[tokio::test]
async fn batches_that_are_cut_differently_bring_each_record_once() {
    let bench = Bench::new();
    let both = |from: i64, to: i64, other: &[i64]| {
        let others = other.iter().map(|offset| record(1, *offset));
        records(from..to).into_iter().chain(others).collect::<Vec<_>>()
    };
    // The first again; it starts lower and ends higher; it comes in pieces; all of it.
    for (batch, new, rows, snapshots) in [
        (both(200, 204, &[40]), 5, 5, 1),
        (both(200, 204, &[40]), 0, 5, 1),
        (both(197, 208, &[40, 41]), 8, 13, 2),
        (both(206, 210, &[41]), 2, 15, 3),
        (both(197, 210, &[40, 41]), 0, 15, 3),
    ] {
        let all = batch.len();
        let outcome = bench.deliver(batch).await;
        assert_eq!(counts(&outcome), [new, all - new, 0]);
        assert_eq!((outcome.rows, outcome.snapshot_id.is_some()), (new as u64, new > 0));
        assert_eq!(bench.rows().await.values().sum::<usize>(), rows);
        assert_eq!(bench.snapshots().await, snapshots);
    }
    let rows = bench.rows().await;
    let places: Vec<(i32, i64)> = (197..210).map(|offset| (0, offset)).chain([(1, 40), (1, 41)]).collect();
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), places);
    assert!(rows.values().all(|count| *count == 1));
    let ids: std::collections::HashSet<String> =
        bench.column("record_id").await.into_values().flatten().collect();
    assert_eq!(ids.len(), 15);
}

#[tokio::test]
async fn earlier_records_that_come_later_are_new_and_a_deleted_row_stays_deleted() {
    let bench = short();
    for (offsets, new) in [(0..3, 3), (6..9, 3), (3..6, 3), (4..5, 0), (10..12, 2), (9..10, 1), (0..12, 0)] {
        let outcome = bench.deliver(records(offsets)).await;
        assert_eq!(counts(&outcome)[0], new);
    }
    assert_eq!(bench.offsets().await, (0..12).collect::<Vec<_>>());
    assert_eq!(bench.snapshots().await, 2, "what is older has expired");
    delete_a_file(&bench).await;
    expire(&bench).await;
    let left = bench.offsets().await;
    assert!(left.len() < 12 && !left.is_empty());
    assert_eq!(counts(&bench.deliver(records(0..12)).await), [0, 12, 0]);
    assert_eq!(counts(&bench.deliver(records(0..13)).await), [1, 12, 0]);
    assert_eq!(bench.offsets().await.len(), left.len() + 1);
}

#[tokio::test]
async fn gaps_are_never_waited_for() {
    let bench = Bench::new();
    let mut all = Vec::new();
    for offsets in [vec![0, 1, 2], vec![5, 6, 9], vec![1450, 1451], vec![3], vec![2000]] {
        all.extend(offsets.clone());
        assert_eq!(counts(&bench.deliver(records(offsets.clone())).await), [offsets.len(), 0, 0]);
        assert_eq!(counts(&bench.deliver(records(all.clone())).await), [0, all.len(), 0]);
    }
    assert_eq!(bench.ends().await, [3, 10, 1452, 1452, 2001]);
}

#[tokio::test]
async fn a_topic_that_was_made_anew_is_an_error_until_its_life_has_a_name() {
    let bench = Bench::new();
    bench.deliver(records(0..5)).await;
    let anew = |offset: i64, life: &str| TopicRecord {
        partition: Arc::new(TopicPartition::new(CLUSTER, TOPIC, life, 0)),
        timestamp_ms: Some(START + 86_400_000 + offset),
        ..record(0, offset)
    };
    let other_topic =
        TopicRecord { partition: Arc::new(TopicPartition::new(CLUSTER, "clicks", "", 0)), ..record(0, 0) };
    // Also what comes beyond the old height is of the new life.
    let batch = [0, 1, 2, 7].map(|offset| anew(offset, ""));
    let outcome = bench.deliver(batch.into_iter().chain([other_topic]).collect()).await;
    assert_eq!(counts(&outcome), [1, 0, 4]);
    let TopicStatus::Failed(error) = &outcome.records[0] else { panic!("{:?}", outcome.records) };
    for part in
        [CLUSTER, "topic orders", "partition 0", "offset 0", "expected is 5", "FRAZIL_TOPIC_LIVES=orders=2"]
    {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert_eq!((bench.offsets().await.len(), bench.snapshots().await), (6, 2));
    // The old life goes on meanwhile; the new one counts once it has a name, and so does another cluster.
    assert_eq!(counts(&bench.deliver(records(3..6)).await), [1, 2, 0]);
    for new in [3, 0] {
        let outcome = bench.deliver([0, 1, 2].map(|offset| anew(offset, "2")).to_vec()).await;
        assert_eq!(counts(&outcome), [new, 3 - new, 0]);
    }
    let elsewhere =
        TopicRecord { partition: Arc::new(TopicPartition::new("another", TOPIC, "", 0)), ..anew(0, "") };
    assert_eq!(counts(&bench.deliver(vec![elsewhere]).await), [1, 0, 0]);
    assert_eq!(bench.offsets().await.len(), 11);
}

/// Also where its times lie between those of the old life: the rows tell.
#[tokio::test]
async fn another_record_between_the_old_times_is_told_by_its_row() {
    let bench = Bench::new();
    bench.deliver(records(0..5)).await;
    let anew = |life: &str| TopicRecord {
        partition: Arc::new(TopicPartition::new(CLUSTER, TOPIC, life, 0)),
        timestamp_ms: Some(START + 3),
        ..record(0, 1)
    };
    let outcome = bench.deliver(vec![record(0, 0), anew("")]).await;
    assert_eq!(counts(&outcome), [0, 0, 2], "all of the topic fails");
    assert_eq!(counts(&bench.deliver(vec![anew("2")]).await), [1, 0, 0]);
    // What has the place of a row of another cluster or life is no other record.
    assert_eq!(counts(&bench.deliver(records(0..5)).await), [0, 5, 0]);
    assert_eq!(counts(&bench.deliver(vec![anew("2")]).await), [0, 1, 0]);
}

/// Ranges of snapshots that are no ancestors do not count: what was rolled back comes again.
#[tokio::test]
async fn a_rollback_brings_records_back() {
    let bench = Bench::new();
    let first = bench.deliver(records(0..5)).await.snapshot_id.unwrap();
    bench.deliver(records(5..10)).await;
    bench.roll_back(first).await;
    assert_eq!(bench.offsets().await, [0, 1, 2, 3, 4]);
    assert_eq!(counts(&bench.deliver(records(0..10)).await), [5, 5, 0]);
    assert_eq!(bench.offsets().await, (0..10).collect::<Vec<_>>());
}

/// A ledger that is gone is no empty one: the table is asked.
#[tokio::test]
async fn without_its_ledger_the_table_is_asked() {
    let bench = short();
    for from in [0, 5, 10, 15] {
        bench.deliver(records(from..from + 5)).await;
    }
    let ledger = bench.table().await.metadata().properties()[crate::LEDGER].clone();
    std::fs::remove_file(ledger.strip_prefix("file://").unwrap()).unwrap();
    // Nobody remembers what was before but the table; of another cluster, it has none of these.
    let of_other = |offset| TopicRecord {
        partition: Arc::new(TopicPartition::new("another", TOPIC, "", 0)),
        ..record(0, offset)
    };
    let batch = records(3..7).into_iter().chain([of_other(3), of_other(4)]).collect();
    assert_eq!(counts(&bench.deliver(batch).await), [2, 4, 0]);
    assert_eq!(counts(&bench.deliver(records(0..21)).await), [1, 20, 0]);
    let mut expected: Vec<i64> = (0..21).chain([3, 4]).collect();
    expected.sort_unstable();
    assert_eq!(bench.offsets().await, expected);
}

/// A record that an event brings twice is one record.
#[tokio::test]
async fn a_record_that_comes_twice_in_one_batch_is_one() {
    let bench = Bench::new();
    assert_eq!(counts(&bench.deliver(records([4, 5, 4, 5, 4])).await), [5, 0, 0]);
    assert_eq!(bench.offsets().await, [4, 5]);
}

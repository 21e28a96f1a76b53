//! Several writers at once, rewinds, and batches that nobody cuts twice the same: each record comes once.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::*;

/// A batch from the topic as a mapping may bring it: some partitions, each from a place of its own, with some left out.
fn cut(random: &mut Rng, ends: &[i64]) -> Vec<TopicRecord> {
    let mut batch = Vec::new();
    for (partition, end) in ends.iter().enumerate() {
        if random.u8(..4) == 0 {
            continue;
        }
        let from = random.i64(0..*end);
        let to = (from + random.i64(1..25)).min(*end);
        let left_out = random.bool().then(|| random.i64(from..to));
        let offsets = (from..to).filter(|offset| Some(*offset) != left_out);
        batch.extend(offsets.map(|offset| record(partition as i32, offset)));
    }
    batch
}

/// Two pollers after a rebalance, many times over: whoever loses the swap decides anew what is new.
#[test]
fn writers_that_race_bring_each_record_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Arc::new(Bench::new());
        bench.deliver(vec![record(0, 0)]).await;
        let ends = [60, 40, 30];
        let writers = (0..6).map(|seed| {
            let bench = bench.clone();
            tokio::spawn(async move {
                let (mut random, lake) = (Rng::with_seed(seed), bench.lake().await);
                let mut delivered = BTreeSet::new();
                for _ in 0..6 {
                    let batch = cut(&mut random, &ends);
                    let places: Vec<_> =
                        batch.iter().map(|record| (record.partition.partition, record.offset)).collect();
                    let options = bench.options();
                    let outcome =
                        append_records(&lake, &options, TopicOptions::default(), batch).await.unwrap();
                    for (place, status) in places.into_iter().zip(&outcome.records) {
                        // Others may be faster until the end; then the batch comes again.
                        if status.is_done() {
                            delivered.insert(place);
                        }
                    }
                }
                delivered
            })
        });
        let mut expected = BTreeSet::from([(0, 0)]);
        for writer in writers.collect::<Vec<_>>() {
            expected.extend(writer.await.unwrap());
        }
        let rows = bench.rows().await;
        assert_eq!(rows.keys().copied().collect::<BTreeSet<_>>(), expected);
        assert!(rows.values().all(|count| *count == 1), "{rows:?}");
        assert!(bench.ends().await.is_sorted(), "marks never get smaller");
        assert!(expected.len() > 60);
    });
}

//! Which of the records the table has already, by the offsets that it remembers.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::table::Table;
use iceberg::{Error, ErrorKind};

use super::ask;
use super::batch::{Batch, TopicStatus};
use crate::catalog::Lake;
use crate::offsets::{Offsets, Stream};
use crate::topic::TopicRecord;

/// Decides the records whose offsets the table has, in main or in the branch that is appended to, and those of topics that were made anew. Gives back the records of
/// which it does not remember whether it has them.
pub(super) async fn settle(
    batch: &mut Batch,
    lake: &Lake,
    table: &Table,
    branch: &str,
) -> Vec<(usize, Arc<TopicRecord>)> {
    let remembered = lake.ledgers.of_branch(table.metadata(), branch, table.file_io()).await;
    let (sets, is_doubtful) = (remembered.offsets(), remembered.offsets_doubt().is_some());
    let mut all = Offsets::default();
    sets.iter().for_each(|set| all.merge(set));
    let pending = batch.pending();
    let mut others: HashMap<Stream, Arc<Error>> = HashMap::new();
    let (mut known, mut unsure) = (Vec::new(), Vec::new());
    for (at, record) in &pending {
        let (stream, partition) = (&record.partition.stream, record.partition.partition);
        let ranges = all.ranges(stream, partition);
        if ranges.is_some_and(|ranges| ranges.contains(record.offset)) {
            match sets.iter().any(|set| has(set, record)) {
                true => known.push((*at, record.clone())),
                false if others.contains_key(stream) => {}
                false => {
                    let next = ranges.map_or(0, |ranges| ranges.end());
                    others.insert(stream.clone(), Arc::new(another(table, record, next)));
                }
            }
        } else if is_doubtful || ranges.is_some_and(|ranges| ranges.is_unsure_of(record.offset)) {
            unsure.push((*at, record.clone()));
        }
    }
    let differing = ask::differing(table, branch, known.clone()).await.unwrap_or_else(|error| {
        // The marks have said that these are known.
        tracing::warn!(%error, "the rows of records that are known cannot be looked at");
        Vec::new()
    });
    for record in differing {
        let (stream, partition) = (&record.partition.stream, record.partition.partition);
        let next = all.ranges(stream, partition).map_or(0, |ranges| ranges.end());
        others.entry(stream.clone()).or_insert_with(|| Arc::new(another(table, &record, next)));
    }
    known.iter().for_each(|(at, _)| batch.decide(*at, TopicStatus::AlreadyCommitted));
    // What else comes of such a topic is of its new life too, whatever its offset.
    for (at, record) in pending {
        if let Some(error) = others.get(&record.partition.stream) {
            batch.decide(at, TopicStatus::Failed(error.clone()));
        }
    }
    unsure.retain(|(_, record)| !others.contains_key(&record.partition.stream));
    unsure
}

/// Whether the record may be the one at its offset in `set`: none of another time.
fn has(set: &Offsets, record: &TopicRecord) -> bool {
    let stream = &record.partition.stream;
    let ranges = set.ranges(stream, record.partition.partition);
    ranges.is_some_and(|ranges| ranges.contains(record.offset))
        && !set.excludes_time(stream, record.timestamp_ms)
}

/// The table has another record at the place of `record`.
pub(super) fn another(table: &Table, record: &TopicRecord, next: i64) -> Error {
    let (partition, offset) = (&record.partition, record.offset);
    let topic = &partition.topic;
    let life = match partition.life.as_str() {
        "" => "2",
        life => &format!("{life}-2"),
    };
    let what = format!(
        "another record than the one that came is in the table {} at offset {offset} of partition {} of the topic {topic} \
         (cluster {}; the next offset expected is {next}): the times of the two differ. The topic was deleted and made anew, \
         or its cluster was restored, and its offsets begin again. Nothing of the topic was committed, and nothing counts \
         as a duplicate. If it is a new life of the topic, give it a name: FRAZIL_TOPIC_LIVES={topic}={life}; the records \
         are then new",
        table.identifier(),
        partition.partition,
        partition.cluster,
    );
    Error::new(ErrorKind::DataInvalid, what)
}

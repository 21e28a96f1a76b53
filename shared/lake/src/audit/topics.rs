//! The records of Kafka topics that a table has: its marks against its rows and what was rejected.
//!
//! In: a table, and the quarantine. Out: counts by partition, and findings where they disagree. Of every record whose offset a
//! commit lists, there are rows, or lines in the quarantine, or it was dropped and counted. Gaps between offsets are none of a
//! record: compaction, transactions and filters leave them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_cast::cast;
use arrow_schema::DataType;
use futures::TryStreamExt as _;
use iceberg::io::FileIO;
use iceberg::table::StaticTable;
use iceberg::{Result, TableIdent};
use serde::Serialize;

use super::number::HumanCount;
use super::quarantine::Accounts;
use super::report::{Kind, Report};
use crate::offsets::Offsets;
use crate::quarantine::TOPICS;

/// Columns that tell the place of a row's record, and its time.
const COLUMNS: [&str; 4] = ["topic", "partition", "offset", "kafka_timestamp"];

/// What is known of the records of a table.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) offsets: Offsets,
    pub(super) is_complete: bool,
    pub(super) dropped: Option<u64>,
    /// Whether a snapshot has deleted rows.
    pub(super) has_deletes: bool,
    /// Rows that are of a record of a topic.
    pub(super) rows: u64,
    /// Records that there are rows of, by topic and partition: offset and time.
    pub(super) with_rows: BTreeMap<(String, i32), HashSet<(i64, i64)>>,
}

/// The counts of a table's records.
#[derive(Debug, Default, Serialize)]
pub struct TopicCounts {
    /// Records that commits list.
    pub records: u64,
    /// Those that there are rows of.
    pub records_with_rows: u64,
    /// Those of which there is nothing but lines in the quarantine, or lines that were put back.
    pub records_quarantined: u64,
    /// Those that hold no event on purpose. Where commits have expired that would tell, whatever is left: rows that were
    /// deleted are among them.
    pub records_dropped: u64,
    /// Its partitions.
    pub partitions: Vec<PartitionCounts>,
}

/// The counts of one partition.
#[derive(Debug, Serialize)]
pub struct PartitionCounts {
    /// Digest of the cluster, topic, and life unless it is the first.
    pub stream: String,
    /// The partition.
    pub partition: i32,
    /// Records that commits list.
    pub records: u64,
    /// The offset behind the last one.
    pub next_offset: i64,
}

impl Topics {
    /// Reads the places of the rows of the table with this metadata file.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) async fn read_rows(&mut self, file_io: &FileIO, metadata_location: &str) -> Result<()> {
        let ident = TableIdent::from_strs(["audited", "table"])?;
        let table =
            StaticTable::from_metadata_file(metadata_location, ident, file_io.clone()).await?.into_table();
        let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(()) };
        let schema = snapshot.schema(table.metadata())?;
        let fields = schema.as_struct().fields().iter().map(|field| field.name.as_str());
        let columns: Vec<&str> = fields.filter(|name| COLUMNS.contains(name)).collect();
        if COLUMNS[..3].iter().any(|name| !columns.contains(name)) {
            return Ok(());
        }
        let scan = table.scan().select(columns).build()?;
        let mut batches = scan.to_arrow().await?;
        while let Some(batch) = batches.try_next().await? {
            self.add(&batch)?;
        }
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = |name: &str, to: &DataType| {
            let found = batch.column_by_name(name).map(|column| cast(column, to)).transpose();
            found.map_err(|error| {
                iceberg::Error::new(iceberg::ErrorKind::DataInvalid, format!("the column {name}"))
                    .with_source(error)
            })
        };
        let (Some(topics), Some(partitions), Some(offsets)) = (
            column("topic", &DataType::Utf8)?,
            column("partition", &DataType::Int64)?,
            column("offset", &DataType::Int64)?,
        ) else {
            return Ok(());
        };
        let times = column("kafka_timestamp", &DataType::Int64)?;
        let (topics, partitions) = (topics.as_string::<i32>(), partitions.as_primitive::<Int64Type>());
        let offsets = offsets.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            if topics.is_null(row) || partitions.is_null(row) || offsets.is_null(row) {
                continue;
            }
            self.rows += 1;
            let time = times.as_ref().map(|times| times.as_primitive::<Int64Type>());
            let time = time.filter(|times| times.is_valid(row)).map_or(-1, |times| times.value(row));
            let place = (topics.value(row).to_owned(), i32::try_from(partitions.value(row)).unwrap_or(-1));
            self.with_rows.entry(place).or_default().insert((offsets.value(row), time));
        }
        Ok(())
    }

    /// The counts of the table `table`, and findings about it. `quarantined` is the sum of [`Topics::quarantined_alone`].
    pub(super) fn reconcile(&self, table: &str, quarantined: u64, report: &mut Report) -> TopicCounts {
        let mut counts = TopicCounts::default();
        for (stream, partition, next_offset, records) in self.offsets.partitions() {
            if !stream.is_redriven() {
                counts.records += records;
                let stream = stream.to_string();
                counts.partitions.push(PartitionCounts { stream, partition, records, next_offset });
            }
        }
        counts.records_with_rows = self.with_rows.values().map(|records| records.len() as u64).sum();
        counts.records_quarantined = quarantined;
        let told = counts.records_with_rows + counts.records_quarantined;
        counts.records_dropped = match self.dropped {
            Some(dropped) => dropped,
            None => counts.records.saturating_sub(told),
        };
        let told = told + counts.records_dropped;
        let (records, all) = (HumanCount(counts.records), HumanCount(told));
        if told < counts.records {
            let lacks = HumanCount(counts.records - told);
            let (kind, remedy) = match self.has_deletes {
                true => (
                    Kind::RowsDeleted,
                    "a snapshot has deleted rows: if nobody meant to, roll back to before it",
                ),
                false => (
                    Kind::RowsMissing,
                    "roll back to the snapshot before they went, and rewind the consumer group",
                ),
            };
            let detail = format!(
                "of {records} Kafka records that its commits list, {lacks} are neither in rows nor in the quarantine nor \
                 were dropped; {remedy}"
            );
            report.find(kind, table.to_owned(), detail);
        } else if told > counts.records && self.is_complete {
            let detail = format!(
                "it has {all} Kafka records in rows, in the quarantine or dropped, but its commits list {records}; delete \
                 what others have appended twice"
            );
            report.find(Kind::RowsSurplus, table.to_owned(), detail);
        }
        counts
    }

    /// Records of which there are lines in the quarantine, or were, and no rows; those of one part.
    pub(super) fn quarantined_alone(&self, table: &str, accounts: &Accounts) -> u64 {
        let offsets: BTreeMap<(&str, i32), HashSet<i64>> = self
            .with_rows
            .iter()
            .map(|((topic, partition), records)| {
                ((topic.as_str(), *partition), records.iter().map(|(offset, _)| *offset).collect())
            })
            .collect();
        let of_table = accounts
            .iter()
            .filter(|((of, _), account)| of == table && account.quarantined + account.redriven > 0);
        let places = of_table.filter_map(|((_, place), _)| place.strip_prefix(TOPICS)?.strip_prefix('/'));
        let mut alone = BTreeSet::new();
        for place in places {
            let mut parts = place.rsplitn(3, '/');
            let (offset, partition, stream) = (parts.next(), parts.next(), parts.next());
            let (Some(Ok(offset)), Some(Ok(partition)), Some(stream)) =
                (offset.map(str::parse::<i64>), partition.map(str::parse::<i32>), stream)
            else {
                continue;
            };
            let stream = stream.split('~').next().unwrap_or_default();
            let topic = stream.split('/').nth(1).unwrap_or_default();
            if !offsets.get(&(topic, partition)).is_some_and(|offsets| offsets.contains(&offset)) {
                alone.insert((stream, partition, offset));
            }
        }
        alone.len() as u64
    }
}

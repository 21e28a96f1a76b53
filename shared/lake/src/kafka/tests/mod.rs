//! Records of topics into a table of a SQLite catalog, in files.

mod content;
mod delivery;
mod pollers;
mod size;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use iceberg::table::Table;
use records::rejection::Reason;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;
use crate::catalog::Next;
use crate::job::Limits;
use crate::offsets::{Offsets, Stream, offsets_of};
use crate::topic::{TopicPartition, TopicValue};
use crate::{CatalogConfig, S3Config};

const CLUSTER: &str = "arn:aws:kafka:eu-north-1:000000000000:cluster/demo/5b0c-2";
const TOPIC: &str = "orders";
const START: i64 = 1_772_000_000_000;

/// A lake in a folder.
pub(super) struct Bench {
    folder: TempDir,
    definition: Option<TableDefinition>,
    unwrap: bool,
}

/// A record of the topic in its first life, whose event says where it is.
pub(super) fn record(partition: i32, offset: i64) -> TopicRecord {
    let event = format!("{{\"place\": \"{partition}/{offset}\"}}");
    TopicRecord {
        partition: Arc::new(TopicPartition::new(CLUSTER, TOPIC, "", partition)),
        offset,
        timestamp_ms: Some(START + offset),
        key: Some(format!("k-{offset}").into_bytes()),
        headers: Vec::new(),
        value: TopicValue::Bytes(event.into_bytes()),
        schema_id: None,
        first_event: 0,
    }
}

/// A record with this value.
pub(super) fn with_value(offset: i64, value: impl Into<Vec<u8>>) -> TopicRecord {
    TopicRecord { value: TopicValue::Bytes(value.into()), ..record(0, offset) }
}

/// Records of partition 0.
pub(super) fn records(offsets: impl IntoIterator<Item = i64>) -> Vec<TopicRecord> {
    offsets.into_iter().map(|offset| record(0, offset)).collect()
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["ns", "orders"]).unwrap()
}

impl Bench {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), definition: None, unwrap: false }
    }

    /// The table is created by this definition.
    pub(super) fn with(definition: &Value) -> Self {
        let definition = TableDefinition::parse(definition.to_string().as_bytes()).unwrap();
        Self { definition: Some(definition), ..Self::new() }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) async fn lake(&self) -> Lake {
        let database = self.path().join("catalog.db");
        let warehouse = format!("file://{}/warehouse", self.path().display());
        Lake::open(&CatalogConfig::Sqlite { database, warehouse }, &S3Config::default()).await.unwrap()
    }

    pub(super) fn options(&self) -> AppendOptions {
        AppendOptions {
            table: ident(),
            branch: "main".to_owned(),
            definition: self.definition.clone(),
            errors_uri: format!("file://{}/errors", self.path().display()),
            processing_time: "2026-03-01T07:08:09.000000Z".to_owned(),
            deadline: Instant::now() + Duration::from_secs(120),
            limits: Limits::for_memory(512 << 20),
            unpack: Default::default(),
        }
    }

    /// Delivers records to a function that has just started.
    pub(super) async fn deliver(&self, records: Vec<TopicRecord>) -> TopicOutcome {
        // Snapshots that live for a millisecond are not of the same one.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let topic_options = TopicOptions { unwrap: self.unwrap };
        append_records(&self.lake().await, &self.options(), topic_options, records).await.unwrap()
    }

    pub(super) async fn table(&self) -> Table {
        self.lake().await.catalog.load_table(&ident()).await.unwrap()
    }

    pub(super) async fn snapshots(&self) -> usize {
        self.table().await.metadata().snapshots().len()
    }

    pub(super) async fn batches(&self) -> Vec<RecordBatch> {
        let scan = self.table().await.scan().build().unwrap();
        scan.to_arrow().await.unwrap().try_collect().await.unwrap()
    }

    /// How many rows there are of each partition and offset.
    pub(super) async fn rows(&self) -> BTreeMap<(i32, i64), usize> {
        let mut rows = BTreeMap::new();
        for batch in self.batches().await {
            let partitions = batch.column_by_name("partition").unwrap().as_primitive::<Int32Type>();
            let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                *rows.entry((partitions.value(row), offsets.value(row))).or_default() += 1;
            }
        }
        rows
    }

    /// The offsets of partition 0 that there are rows of, each as often as it has one.
    pub(super) async fn offsets(&self) -> Vec<i64> {
        let rows = self.rows().await;
        rows.into_iter()
            .flat_map(|((partition, offset), count)| {
                assert_eq!(partition, 0);
                vec![offset; count]
            })
            .collect()
    }

    /// By offset of a row of partition 0, the text of the column `name`; what is null is `-`.
    pub(super) async fn column(&self, name: &str) -> BTreeMap<i64, Vec<String>> {
        let mut texts: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        for batch in self.batches().await {
            let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
            let column = batch.column_by_name(name).unwrap();
            let options = arrow_cast::display::FormatOptions::new().with_null("-");
            let formatter = arrow_cast::display::ArrayFormatter::try_new(column, &options).unwrap();
            for row in 0..batch.num_rows() {
                texts.entry(offsets.value(row)).or_default().push(formatter.value(row).to_string());
            }
        }
        texts
    }

    /// The offset behind the last one that the snapshots tell of partition 0, as of each snapshot.
    pub(super) async fn ends(&self) -> Vec<i64> {
        let table = self.table().await;
        let (mut all, mut ends) = (Offsets::default(), Vec::new());
        let mut line: Vec<_> =
            crate::ancestors(table.metadata(), table.metadata().current_snapshot_id()).collect();
        line.reverse();
        for snapshot in line {
            all.merge(&offsets_of(snapshot).unwrap());
            ends.push(all.ranges(&Stream::new(CLUSTER, TOPIC, ""), 0).unwrap().end());
        }
        ends
    }

    /// The current snapshot is `snapshot` again.
    pub(super) async fn roll_back(&self, snapshot: i64) {
        let lake = self.lake().await;
        let base = lake.catalog.load(&ident()).await.unwrap();
        let (metadata, location) = (base.table.metadata().clone(), base.table.metadata_location());
        let reference = SnapshotReference::new(snapshot, SnapshotRetention::branch(None, None, None));
        let builder = metadata.into_builder(location.map(str::to_owned));
        let result = builder.set_ref(MAIN_BRANCH, reference).unwrap().build().unwrap();
        let next = Next { updates: result.changes, requirements: Vec::new(), metadata: result.metadata };
        lake.catalog.swap(&base, &next).await.unwrap();
    }

    /// Lines of the quarantine.
    pub(super) fn quarantined(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        let mut folders = vec![self.path().join("errors/quarantine")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => {
                        let text = std::fs::read_to_string(path).unwrap();
                        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                    }
                }
            }
        }
        lines.sort_by_key(|line| (line["offset"].as_i64(), line["row"].as_i64()));
        lines
    }
}

/// How many records are committed, known, and failed or not reached.
pub(super) fn counts(outcome: &TopicOutcome) -> [usize; 3] {
    let count = |is: fn(&TopicStatus) -> bool| outcome.records.iter().filter(|status| is(status)).count();
    [
        count(|status| matches!(status, TopicStatus::Committed)),
        count(|status| matches!(status, TopicStatus::AlreadyCommitted)),
        count(|status| !status.is_done()),
    ]
}

/// How often each reason stands in the outcome.
pub(super) fn rejected(outcome: &TopicOutcome) -> Vec<(Reason, u64)> {
    outcome.rejected.iter().map(|(reason, count)| (*reason, *count)).collect()
}

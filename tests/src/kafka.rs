//! The msk handler on a lake in a folder of its own.
//!
//! In: events as Lambda's event source mappings for Kafka make them. Out: what the handler answers, the rows of its tables,
//! and the quarantine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iceberg::expr::Predicate;
use iceberg::table::Table;
use lambda::env::Environment;
use msk::config::Config;
use msk::handler::{Answer, Consumer, Failure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{NOW_MICROS, files, scan};

/// The cluster of the events.
pub const CLUSTER: &str = "arn:aws:kafka:eu-north-1:123456789012:cluster/events/0b5e-2";
/// When the records were made, in milliseconds since 1970.
pub const MADE_MILLIS: i64 = 1_772_000_000_000;

/// A lake of its own, and the msk handler on it.
pub struct KafkaBench {
    /// Holds `catalog.db` and the folders `warehouse` and `errors`.
    pub folder: TempDir,
    variables: Vec<(String, String)>,
}

impl KafkaBench {
    /// A handler with these variables beside those that say where its lake is.
    pub fn new(variables: &[(&str, &str)]) -> Self {
        let mut bench = Self { folder: tempfile::tempdir().unwrap(), variables: Vec::new() };
        bench.set(variables);
        bench
    }

    /// Sets variables from now on.
    pub fn set(&mut self, variables: &[(&str, &str)]) {
        self.variables.extend(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    }

    /// An instance of the function that has just started.
    pub async fn consumer(&self) -> Consumer {
        let root = format!("file://{}", self.folder.path().display());
        let catalog = self.folder.path().join("catalog.db").display().to_string();
        let own = [
            ("FRAZIL_CATALOG_URI", catalog),
            ("FRAZIL_WAREHOUSE", format!("{root}/warehouse")),
            ("FRAZIL_ERRORS", format!("{root}/errors")),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let environment: Environment = own.into_iter().chain(self.variables.clone()).collect();
        Consumer::open(Config::from_env(&environment).await.unwrap()).await.unwrap()
    }

    /// Hands an event to the handler; its answer as JSON.
    ///
    /// # Errors
    /// The handler's.
    pub async fn deliver(&self, event: &Value) -> Result<Value, Failure> {
        let deadline = Instant::now() + Duration::from_secs(300);
        let handled = self.consumer().await.handle(&event.to_string(), NOW_MICROS, deadline).await?;
        Ok(answer(&handled.answer))
    }

    /// The table `name`, if it is there.
    pub async fn table(&self, name: &str) -> Option<Table> {
        let table = settings::table_ident(name).unwrap();
        self.consumer().await.lake().table(&table).await.unwrap()
    }

    /// The rows of a table, by topic, partition and offset; none where there is no table.
    pub async fn rows(&self, name: &str) -> Vec<Value> {
        let Some(table) = self.table(name).await else { return Vec::new() };
        let mut rows = scan(&table, &[], Predicate::AlwaysTrue).await;
        rows.sort_by_key(|row| {
            (row["topic"].to_string(), row["partition"].as_i64(), row["offset"].as_i64(), row.to_string())
        });
        rows
    }

    /// How many rows there are at each topic, partition and offset.
    pub async fn places(&self, name: &str) -> BTreeMap<(String, i64, i64), usize> {
        let mut places = BTreeMap::new();
        for row in self.rows(name).await {
            let number = |name: &str| row[name].as_i64().unwrap();
            let place = (row["topic"].as_str().unwrap().to_owned(), number("partition"), number("offset"));
            *places.entry(place).or_default() += 1;
        }
        places
    }

    /// How many snapshots a table has.
    pub async fn snapshots(&self, name: &str) -> usize {
        self.table(name).await.map_or(0, |table| table.metadata().snapshots().len())
    }

    /// The lines of the quarantine, by topic, partition, offset and event.
    pub fn quarantined(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for path in files(&self.folder.path().join("errors/quarantine")) {
            let text = std::fs::read_to_string(path).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines.sort_by_key(|line| {
            (
                line["topic"].to_string(),
                line["partition"].as_i64(),
                line["offset"].as_i64(),
                line["row"].as_i64(),
            )
        });
        lines
    }
}

/// The answer as it is posted.
pub fn answer(answer: &Answer) -> Value {
    serde_json::to_value(answer).unwrap()
}

/// A record of an event, made a millisecond after the one before.
pub fn record(topic: &str, partition: i32, offset: i64, value: Option<&[u8]>) -> Value {
    json!({
        "topic": topic, "partition": partition, "offset": offset, "timestamp": MADE_MILLIS + offset,
        "timestampType": "CREATE_TIME", "key": STANDARD.encode(format!("k-{offset}")),
        "value": value.map(|value| STANDARD.encode(value)), "headers": []
    })
}

/// A record whose event says where it is.
pub fn placed(topic: &str, partition: i32, offset: i64) -> Value {
    let event = json!({"place": format!("{topic}/{partition}/{offset}")}).to_string();
    record(topic, partition, offset, Some(event.as_bytes()))
}

/// An event of `records` from [`CLUSTER`].
pub fn event(records: impl IntoIterator<Item = Value>) -> Value {
    event_of(CLUSTER, records)
}

/// An event of `records` from a cluster.
pub fn event_of(cluster: &str, records: impl IntoIterator<Item = Value>) -> Value {
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for record in records {
        let group = format!("{}-{}", record["topic"].as_str().unwrap(), record["partition"]);
        groups.entry(group).or_default().push(record);
    }
    json!({
        "eventSource": "aws:kafka", "eventSourceArn": cluster,
        "bootstrapServers": "b-1.example:9098,b-2.example:9098", "records": groups
    })
}

/// Names of records in an answer with batch item failures.
pub fn failures(places: &[(&str, i64)]) -> Value {
    let failures = places
        .iter()
        .map(|(partition, offset)| json!({"itemIdentifier": {"partition": partition, "offset": offset}}));
    json!({"batchItemFailures": failures.collect::<Vec<_>>()})
}

//! Metrics, in CloudWatch's embedded metric format: a line of JSON on standard output that CloudWatch takes
//! numbers from (AWS: "Specification: Embedded metric format").
//!
//! In: the values of one invocation. Out: one line, in Lambda only. Whatever the functions count is listed in
//! [`METRICS`]; dashboard, alarms and documentation go by it.

use std::io::Write as _;

use serde_json::{Map, Value, json};

use crate::env::Environment;

/// The metrics' namespace.
pub const NAMESPACE: &str = "Frazil";
/// The metrics' dimension; its value is the name of the Lambda function.
pub const DIMENSION: &str = "Function";
/// A second dimension, of what is counted once more by the kind of an error.
pub const KIND_DIMENSION: &str = "ErrorKind";

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The function that reports it: `transform`, `append`, `msk` or `maintain`.
    pub function: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its unit, one of CloudWatch's.
    pub unit: &'static str,
    /// What it tells of an invocation.
    pub meaning: &'static str,
}

const fn metric(
    function: &'static str,
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric { function, name, unit, meaning }
}

/// Every metric.
#[rustfmt::skip]
pub const METRICS: [Metric; 46] = [
    metric("transform", "RecordsReceived", "Count", "Records in the event"),
    metric("transform", "RecordsOk", "Count", "Records answered Ok"),
    metric("transform", "RecordsDropped", "Count", "Records answered Dropped: they hold no event on purpose"),
    metric("transform", "RecordsFailed", "Count", "Records answered ProcessingFailed, RecordsNotFitting among them"),
    metric("transform", "RecordsNotFitting", "Count", "Records that failed only because the response was full"),
    metric("transform", "EventsOk", "Count", "Events in the records answered Ok"),
    metric("transform", "RequestBytes", "Bytes", "Size of the event"),
    metric("transform", "ResponseBytes", "Bytes", "Size of the response"),
    metric("append", "ObjectsCommitted", "Count", "Objects committed"),
    metric("append", "ObjectsKnown", "Count", "Objects that the table had before"),
    metric("append", "ObjectsFailed", "Count", "Objects that failed; they must be delivered again"),
    metric("append", "ObjectsNotReached", "Count", "Objects that there was no time for; they must be delivered again"),
    metric("append", "RowsCommitted", "Count", "Rows committed"),
    metric("append", "RowsKnown", "Count", "Rows of committed objects that the table had before"),
    metric("append", "RowsQuarantined", "Count", "Records of committed objects that are in the quarantine instead"),
    metric("append", "MessagesDropped", "Count", "Messages of committed objects that hold no record on purpose"),
    metric("append", "FieldsIgnored", "Count", "Fields left out of rows, where the table's properties want it"),
    metric("append", "ColumnsAdded", "Count", "Columns that tables got with the rows that brought them"),
    metric("append", "DataFiles", "Count", "Data files committed"),
    metric("append", "DataFileBytes", "Bytes", "Size of the data files committed"),
    metric("append", "BytesRead", "Bytes", "Size of the raw objects committed, as they were delivered"),
    metric("append", "CommitAttempts", "Count", "Attempts to commit"),
    metric("append", "CommitConflicts", "Count", "Attempts to commit that failed because another writer was faster"),
    metric("append", "CommitLatency", "Milliseconds", "From the first attempt to the commit, if there was one"),
    metric("append", "Freshness", "Seconds", "From an object's creation to its commit, the longest of the invocation"),
    metric("msk", "KafkaRecordsReceived", "Count", "Kafka records in the event"),
    metric("msk", "KafkaRecordsCommitted", "Count", "Kafka records committed, with all that they hold"),
    metric("msk", "KafkaRecordsKnown", "Count", "Kafka records that the table had before"),
    metric("msk", "KafkaRecordsFailed", "Count", "Kafka records that failed; they must be delivered again"),
    metric("msk", "KafkaRecordsDropped", "Count", "Kafka records committed that hold no event on purpose, such as tombstones"),
    metric("msk", "KafkaRowsCommitted", "Count", "Rows of Kafka records committed"),
    metric("msk", "KafkaRowsQuarantined", "Count", "Events of committed Kafka records that are in the quarantine instead"),
    metric("msk", "KafkaCommitConflicts", "Count", "Attempts to commit that failed because another writer was faster"),
    metric("msk", "KafkaCommitLatency", "Milliseconds", "From the first attempt to the commit, if there was one; of several tables, the longest"),
    metric("msk", "KafkaFreshness", "Seconds", "From a Kafka record's time to its commit, the longest of the invocation"),
    metric("maintain", "FilesCompacted", "Count", "Data files that were compacted"),
    metric("maintain", "FilesMade", "Count", "Data files that came in their place"),
    metric("maintain", "RowsCompacted", "Count", "Rows in them"),
    metric("maintain", "BytesCompacted", "Bytes", "Size of the data files that were compacted"),
    metric("maintain", "CompactionsOutdated", "Count", "Plans that came to nothing, because of deletes or of expiry"),
    metric("maintain", "CompactionsUnfinished", "Count", "Tables that there was not time enough for"),
    metric("maintain", "OrphansDeleted", "Count", "Files deleted that nothing refers to"),
    metric("maintain", "TablesFailed", "Count", "Tables that could not be looked after"),
    metric("maintain", "PendingObjects", "Count", "Delivered objects of the last days that no table has, and should have"),
    metric("maintain", "PendingAge", "Seconds", "How long the oldest of them has waited, if there are any"),
    metric("maintain", "DataFreshness", "Seconds", "Since the newest row of a table arrived, when that is asked for"),
];

/// What a metric is in this invocation, by its name in [`METRICS`].
pub type Values = Vec<(&'static str, Value)>;

/// Writes metrics where CloudWatch takes them from.
#[derive(Clone, Debug, Default)]
pub struct Emitter {
    function: Option<String>,
}

impl Emitter {
    /// Writes in Lambda, and nothing elsewhere.
    pub fn from_env(environment: &Environment) -> Self {
        Self { function: environment.text("AWS_LAMBDA_FUNCTION_NAME").map(str::to_owned) }
    }

    /// Writes a line for one invocation, which ended `now_millis` milliseconds after the Unix epoch.
    pub fn emit(&self, now_millis: i64, values: Values) {
        self.write(now_millis, None, values);
    }

    /// Writes the metric `name` once more, a line for each kind of error: what it is of that kind.
    pub fn emit_by_kind(
        &self,
        now_millis: i64,
        name: &'static str,
        by_kind: impl Iterator<Item = (&'static str, u64)>,
    ) {
        for (kind, value) in by_kind {
            self.write(now_millis, Some(kind), vec![(name, value.into())]);
        }
    }

    fn write(&self, now_millis: i64, kind: Option<&str>, values: Values) {
        if let Some(function) = &self.function {
            let line = format!("{}\n", document(function, kind, now_millis, values));
            // One call, under the lock that log lines take: no line ends up inside another. Without standard output
            // there is nobody to tell.
            let _ = std::io::stdout().lock().write_all(line.as_bytes());
        }
    }
}

fn document(function: &str, kind: Option<&str>, now_millis: i64, values: Values) -> Value {
    let (mut defined, mut document) = (Vec::new(), Map::new());
    for (name, value) in values {
        // Without its unit a metric would be another metric.
        if let Some(metric) = METRICS.iter().find(|metric| metric.name == name) {
            defined.push(json!({"Name": metric.name, "Unit": metric.unit}));
            document.insert(name.to_owned(), value);
        }
    }
    let mut dimensions = vec![DIMENSION];
    if let Some(kind) = kind {
        dimensions.push(KIND_DIMENSION);
        document.insert(KIND_DIMENSION.to_owned(), kind.into());
    }
    let directive = json!({"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": defined});
    document.insert("_aws".to_owned(), json!({"Timestamp": now_millis, "CloudWatchMetrics": [directive]}));
    document.insert(DIMENSION.to_owned(), function.into());
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_document_is_what_cloudwatch_expects() {
        let values = vec![("RecordsOk", 3.into()), ("Freshness", 1.5.into()), ("Misspelled", 1.into())];
        assert_eq!(
            document("my-function", None, 1_767_323_045_678, values),
            json!({
                "_aws": {
                    "Timestamp": 1_767_323_045_678_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Frazil",
                        "Dimensions": [["Function"]],
                        "Metrics": [
                            {"Name": "RecordsOk", "Unit": "Count"},
                            {"Name": "Freshness", "Unit": "Seconds"},
                        ],
                    }],
                },
                "Function": "my-function",
                "RecordsOk": 3,
                "Freshness": 1.5,
            })
        );
    }

    #[test]
    fn a_kind_is_a_second_dimension() {
        let document = document("f", Some("denied"), 0, vec![("ObjectsFailed", 2.into())]);
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Dimensions"], json!([["Function", "ErrorKind"]]));
        assert_eq!((&document["ErrorKind"], &document["ObjectsFailed"]), (&json!("denied"), &json!(2)));
    }

    /// AWS: "Specification: Embedded metric format", "Embedded metric format schema".
    #[test]
    fn all_metrics_at_once_keep_to_the_specification() {
        let values = METRICS.iter().map(|metric| (metric.name, Value::from(1))).collect();
        let document = document("f", None, 0, values);
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(metrics.len() == METRICS.len() && metrics.len() <= 100);
        let units = ["Count", "Bytes", "Milliseconds", "Seconds"];
        for metric in metrics {
            assert!(units.contains(&metric["Unit"].as_str().unwrap()), "{metric}");
            assert!(document[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        for dimension in directive["Dimensions"][0].as_array().unwrap() {
            assert!(document[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
    }

    #[test]
    fn names_are_distinct_and_of_a_function() {
        let names: HashSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert!(!names.contains(DIMENSION) && !names.contains(KIND_DIMENSION));
        for metric in METRICS {
            assert!(
                ["transform", "append", "msk", "maintain"].contains(&metric.function)
                    && !metric.meaning.is_empty()
            );
        }
    }

    #[test]
    fn nothing_is_written_outside_lambda() {
        assert_eq!(Emitter::from_env(&Environment::default()).function, None);
        let lambda = Environment::from_iter([("AWS_LAMBDA_FUNCTION_NAME", "f")]);
        assert_eq!(Emitter::from_env(&lambda).function.as_deref(), Some("f"));
    }
}

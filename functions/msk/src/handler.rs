//! One event -> a commit for each table, and one answer.
//!
//! In: the JSON of an invocation, the clock and the deadline. Out: [`Handled`]. An answer that acknowledges a record comes
//! after the commit that accounts for it: with batch item failures every record that is not committed is named, without
//! them the invocation fails. Offsets that Lambda commits can never be ahead of the table.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, SecondsFormat};
use futures::FutureExt as _;
use iceberg::{NamespaceIdent, TableIdent};
use lake::{AppendOptions, Kind, Lake, TopicOutcome, TopicRecord, TopicStatus, TopicValue};
use lambda::failure::{ErrorType, PANICKED};
use lambda::kafka::BatchResponse;
use lambda::metrics::Emitter;
use records::rejection::{Reason, Refusal};
use serde::Serialize;
pub use settings::Failure;

use crate::config::Config;
use crate::event::{self, Item};
use crate::report::Report;

/// Stands in the quarantine for the table that a topic has none of.
const NO_TABLE: [&str; 2] = ["frazil", "no_table"];
/// Records older than this are no stream's: of what is read from the beginning of a topic, freshness tells nothing.
const OLDEST_MS: i64 = 30 * 24 * 3_600_000;

/// What is kept from one invocation to the next.
#[derive(Debug)]
pub struct Consumer {
    config: Config,
    lake: Lake,
    emitter: Emitter,
}

/// What came of one invocation.
#[derive(Debug)]
pub struct Handled {
    /// What the function answers.
    pub answer: Answer,
    /// What was done for each table.
    pub outcomes: Vec<(TableIdent, TopicOutcome)>,
    /// Why the first of the records that the answer names is not committed.
    pub failure: Option<Failure>,
}

/// What the function answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To a mapping with batch item failures: the records to be delivered again.
    Batch(BatchResponse),
    /// To any other: all records are done.
    Done {
        /// Records in the event.
        records: usize,
        /// Rows appended.
        rows: u64,
        /// What is in the quarantine instead.
        rows_quarantined: u64,
        /// Records that hold no event on purpose.
        dropped: u64,
    },
}

/// Why a record is not committed.
#[derive(Clone, Debug)]
enum Reported {
    /// The table, or its storage.
    Table(Arc<Failure>),
    /// The record.
    Record(Arc<iceberg::Error>),
    OutOfTime,
}

impl Consumer {
    /// Opens the catalog.
    ///
    /// # Errors
    /// The catalog cannot be opened.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let lake = Lake::open(&config.catalog, &config.s3).await.context("cannot open the catalog")?;
        Ok(Self { config, lake, emitter: Emitter::default() })
    }

    /// The tables.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The same, telling CloudWatch through `emitter` what it does.
    #[must_use]
    pub fn with_metrics(self, emitter: Emitter) -> Self {
        Self { emitter, ..self }
    }

    /// Handles the event `event_json`. `now_micros` is the clock in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The event is of no known shape; or, without batch item failures, a record was not committed. All records must then
    /// be delivered again; those that are in the table are skipped.
    pub async fn handle(
        &self,
        event_json: &str,
        now_micros: i64,
        deadline: Instant,
    ) -> Result<Handled, Failure> {
        let (started, mut report) = (Instant::now(), Report::default());
        // Whatever happens, the invocation has its line and its metrics.
        let handled = AssertUnwindSafe(self.consume(event_json, now_micros, deadline, &mut report));
        let handled = Box::pin(handled.catch_unwind()).await;
        let handled = handled.unwrap_or_else(|_| Err(Failure::of(ErrorType::Defect)(anyhow!(PANICKED))));
        // Of a catalog in a file, that file alone is what is copied or backed up. The commit stands without it.
        if let Err(error) = self.config.catalog.checkpoint(Duration::ZERO).await {
            tracing::warn!(error = %error, "the catalog's log stays beside its file");
        }
        report.log(started.elapsed(), handled.as_ref().err());
        let now_millis = (now_micros / 1000).saturating_add(started.elapsed().as_millis() as i64);
        self.emitter.emit(now_millis, report.metrics());
        handled
    }

    async fn consume(
        &self,
        event_json: &str,
        now_micros: i64,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Handled, Failure> {
        let items =
            event::items(event_json, &self.config).map_err(Failure::of(ErrorType::EventNotUnderstood))?;
        let received = items.received;
        report.received = received;
        let processing_time = DateTime::from_timestamp_micros(now_micros)
            .context("the clock is out of range")
            .map_err(Failure::of(ErrorType::ConfigurationInvalid))?
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut tables: BTreeMap<Option<TableIdent>, Vec<Item>> = BTreeMap::new();
        for mut item in items.items {
            let table = self.config.routes.table(&item.record.partition.topic);
            let table = table.map_err(|what| item.record.value = without_table(&item.record, what)).ok();
            tables.entry(table).or_default().push(item);
        }
        let (mut outcomes, mut failed) = (Vec::new(), Vec::new());
        let mut left = tables.len() as u32;
        for (table, items) in tables {
            // A table that hangs must leave time for the others.
            let now = Instant::now();
            let share = deadline.saturating_duration_since(now) / left.max(1);
            left -= 1;
            let options = self.options(table.as_ref(), &processing_time, now + share);
            let (places, records) = parted(items);
            let times: Vec<Option<i64>> = records.iter().map(|record| record.timestamp_ms).collect();
            let name = options.table.to_string();
            let appended = match &table {
                Some(_) => lake::append_records(&self.lake, &options, self.config.options, records).await,
                None => lake::quarantine_records(&self.lake, &options, records).await,
            };
            match appended {
                Ok(outcome) => {
                    report.add(&name, &outcome);
                    let now_millis = now_micros / 1000;
                    report.freshness = report.freshness.max(freshness(&times, &outcome, now_millis));
                    let reported = places.into_iter().zip(&outcome.records);
                    failed.extend(reported.filter_map(|(place, status)| Some((place, reason(status)?))));
                    outcomes.push((options.table, outcome));
                }
                Err(error) => {
                    report.add_failed(places.len());
                    let failure = Arc::new(Failure::of_table(error, &name));
                    tracing::error!(
                        table = name,
                        records = places.len(),
                        error = %failure,
                        "no record was committed; they must be delivered again"
                    );
                    failed.extend(places.into_iter().map(|place| (place, Reported::Table(failure.clone()))));
                }
            }
        }
        self.handled(received, outcomes, failed)
    }

    fn options(&self, table: Option<&TableIdent>, processing_time: &str, deadline: Instant) -> AppendOptions {
        let no_table =
            || TableIdent::new(NamespaceIdent::new(NO_TABLE[0].to_owned()), NO_TABLE[1].to_owned());
        AppendOptions {
            table: table.cloned().unwrap_or_else(no_table),
            branch: self.config.branch.clone(),
            definition: self.config.definition.clone(),
            errors_uri: self.config.errors.clone(),
            processing_time: processing_time.to_owned(),
            deadline: deadline.into(),
            limits: self.config.limits,
            unpack: self.config.unpack.clone(),
        }
    }

    fn handled(
        &self,
        received: usize,
        outcomes: Vec<(TableIdent, TopicOutcome)>,
        failed: Vec<((String, i64), Reported)>,
    ) -> Result<Handled, Failure> {
        let mut told: Vec<&Arc<iceberg::Error>> = Vec::new();
        for (_, reason) in &failed {
            if let Reported::Record(error) = reason
                && !told.iter().any(|other| Arc::ptr_eq(other, error))
            {
                told.push(error);
                tracing::error!(%error, "records failed; they must be delivered again");
            }
        }
        let names = BatchResponse::of(failed.iter().map(|((group, offset), _)| (group.as_str(), *offset)));
        let count = failed.len();
        let failure = failed.into_iter().next().map(|((group, offset), reason)| {
            reason.into_failure(&format!(
                "{count} of {received} records are not committed, the first at offset {offset} of {group}"
            ))
        });
        if self.config.batch_item_failures {
            return Ok(Handled { answer: Answer::Batch(names), outcomes, failure });
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let sum = |of: fn(&TopicOutcome) -> u64| outcomes.iter().map(|(_, outcome)| of(outcome)).sum();
        let answer = Answer::Done {
            records: received,
            rows: sum(|outcome| outcome.rows),
            rows_quarantined: sum(|outcome| outcome.rejected.values().sum()),
            dropped: sum(|outcome| outcome.dropped),
        };
        Ok(Handled { answer, outcomes, failure })
    }
}

impl Reported {
    fn into_failure(self, what: &str) -> Failure {
        match self {
            Self::Table(failure) => Failure {
                error_type: failure.error_type,
                error_kind: failure.error_kind,
                error: anyhow!("{what}: {failure}"),
            },
            Self::Record(error) => Failure {
                error_type: ErrorType::RecordsFailed,
                error_kind: Some(Kind::of(&error)),
                error: anyhow!("{what}: {error}"),
            },
            Self::OutOfTime => {
                Failure::of(ErrorType::OutOfTime)(anyhow!("{what}: there was no time for them"))
            }
        }
    }
}

fn reason(status: &TopicStatus) -> Option<Reported> {
    match status {
        TopicStatus::Committed | TopicStatus::AlreadyCommitted => None,
        TopicStatus::Failed(error) => Some(Reported::Record(error.clone())),
        TopicStatus::NotReached => Some(Reported::OutOfTime),
    }
}

/// What the mapping is told of the records, and the records.
fn parted(items: Vec<Item>) -> (Vec<(String, i64)>, Vec<TopicRecord>) {
    items.into_iter().map(|Item { group, offset, record }| ((group, offset), record)).unzip()
}

/// The value of a record that no table is for.
fn without_table(record: &TopicRecord, what: String) -> TopicValue {
    match &record.value {
        // Nothing is lost with it.
        TopicValue::None => TopicValue::None,
        TopicValue::Bytes(bytes) => TopicValue::Refused(bytes.clone(), Refusal::new(Reason::NoTable, what)),
        refused @ TopicValue::Refused(..) => refused.clone(),
    }
}

/// The age of the oldest record that was committed.
fn freshness(times: &[Option<i64>], outcome: &TopicOutcome, now_millis: i64) -> Option<Duration> {
    let committed = times.iter().zip(&outcome.records);
    let committed = committed.filter(|(_, status)| matches!(status, TopicStatus::Committed));
    let ages = committed.filter_map(|(time, _)| Some(now_millis.saturating_sub((*time)?)));
    let oldest = ages.filter(|age| *age <= OLDEST_MS).max()?;
    Some(Duration::from_millis(u64::try_from(oldest).unwrap_or(0)))
}

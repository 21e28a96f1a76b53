//! One event -> one commit and one answer.
//!
//! In: the JSON of an invocation, the clock and the deadline. Out: [`Handled`]: the answer to whoever invoked the
//! function, and what was done. An answer that acknowledges an object comes after the commit that holds its rows.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, bail};
use chrono::{DateTime, SecondsFormat};
use lake::{AppendOptions, Lake, ObjectOutcome, Outcome, SourceObject, Status, Token};
use lambda::notification::{BatchResponse, Delivery, Notification, ObjectRef, Source};
use serde::Serialize;

use crate::config::Config;

/// What is kept from one invocation to the next.
#[derive(Debug)]
pub struct Appender {
    config: Config,
    lake: Lake,
}

/// What came of one invocation.
#[derive(Debug)]
pub struct Handled {
    /// What the function answers.
    pub answer: Answer,
    /// What became of the objects; None if the event named none.
    pub outcome: Option<Outcome>,
}

/// What the function answers.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To an SQS event source: the messages to be delivered again.
    Batch(BatchResponse),
    /// To anyone else: all objects are done.
    Done {
        /// Objects that the event named.
        objects: usize,
        /// Rows appended.
        rows: u64,
        /// Records in the quarantine.
        rows_quarantined: u64,
    },
}

impl Appender {
    /// Opens the catalog.
    ///
    /// # Errors
    /// The catalog cannot be opened.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let lake = Lake::open(&config.catalog).await.context("cannot open the catalog")?;
        Ok(Self { config, lake })
    }

    /// The tables.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// Handles the event `event_json`. `now_micros` is the clock in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The event is of no known shape, nothing could be committed, or an object failed that no queue delivers again by
    /// itself. All objects must then be delivered again; those that are in the table are skipped.
    pub async fn handle(
        &self,
        event_json: &str,
        now_micros: i64,
        deadline: Instant,
    ) -> anyhow::Result<Handled> {
        let notification = Notification::parse(event_json)?;
        let processing_time = DateTime::from_timestamp_micros(now_micros)
            .context("the clock is out of range")?
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        for delivery in &notification.deliveries {
            log_unusable(delivery);
        }
        let objects: Vec<SourceObject> = notification
            .deliveries
            .iter()
            .filter_map(|delivery| delivery.objects.as_ref().ok())
            .flatten()
            .map(|object| self.source_object(object))
            .collect();
        let outcome = if objects.is_empty() {
            None
        } else {
            let options = AppendOptions {
                table: self.config.table.clone(),
                definition: self.config.definition.clone(),
                errors_uri: self.config.errors.clone(),
                processing_time,
                deadline,
                limits: self.config.limits,
            };
            let appended = lake::append(&self.lake, &options, objects).await;
            Some(appended.with_context(|| format!("cannot append to the table {}", self.config.table))?)
        };
        if let Some(outcome) = &outcome {
            log_outcome(outcome);
        }
        let answer = self.answer(&notification, outcome.as_ref())?;
        Ok(Handled { answer, outcome })
    }

    fn source_object(&self, object: &ObjectRef) -> SourceObject {
        let version = [&object.version_id, &object.etag, &object.sequencer].into_iter().flatten().next();
        let version = version.map_or("", String::as_str);
        SourceObject {
            uri: format!("{}{}/{}", self.config.source_root, object.bucket, object.key),
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            token: Token::new(&object.bucket, &object.key, version),
        }
    }

    fn answer(&self, notification: &Notification, outcome: Option<&Outcome>) -> anyhow::Result<Answer> {
        let objects = outcome.map_or(&[][..], |outcome| &outcome.objects);
        let by_token: HashMap<Token, &Status> =
            objects.iter().map(|ObjectOutcome { object, status }| (object.token, status)).collect();
        let status = |object: &ObjectRef| by_token.get(&self.source_object(object).token).copied();
        match notification.source {
            Source::Sqs => Ok(Answer::Batch(
                notification
                    .deliveries
                    .iter()
                    .filter(|delivery| match &delivery.objects {
                        Ok(objects) => {
                            !objects.iter().all(|object| status(object).is_some_and(Status::is_done))
                        }
                        Err(_) => true,
                    })
                    .filter_map(|delivery| delivery.message_id.clone())
                    .collect(),
            )),
            Source::Direct => {
                let (mut rows, mut rows_quarantined) = (0, 0);
                for ObjectOutcome { object, status } in objects {
                    match status {
                        Status::Committed { rows: appended, rejected, .. } => {
                            rows += appended;
                            rows_quarantined += rejected.values().sum::<u64>();
                        }
                        Status::Failed(error) => bail!("cannot read {}: {error}", object.uri),
                        Status::NotReached => bail!("there was no time for {}", object.uri),
                        Status::AlreadyCommitted | Status::Ignored => {}
                    }
                }
                Ok(Answer::Done { objects: objects.len(), rows, rows_quarantined })
            }
        }
    }
}

fn log_unusable(delivery: &Delivery) {
    let message_id = delivery.message_id.as_deref();
    for ignored in &delivery.ignored {
        tracing::info!(message_id, event = ignored, "ignored: it announces no new object");
    }
    if let Err(error) = &delivery.objects {
        tracing::error!(message_id, error, "the message cannot be read");
    }
}

fn log_outcome(outcome: &Outcome) {
    for ObjectOutcome { object, status } in &outcome.objects {
        let object = &object.uri;
        match status {
            Status::Committed { rows, known, rejected } => {
                let by_reason: Vec<String> =
                    rejected.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
                tracing::info!(
                    object,
                    rows,
                    rows_known = known,
                    rows_quarantined = by_reason.join(","),
                    "object committed"
                );
            }
            Status::AlreadyCommitted => tracing::info!(object, "object was committed before"),
            Status::Ignored => {}
            Status::Failed(error) => {
                tracing::error!(object, %error, "object failed; it must be delivered again")
            }
            Status::NotReached => {
                tracing::warn!(object, "no time for the object; it must be delivered again")
            }
        }
    }
    tracing::info!(
        objects = outcome.objects.len(),
        snapshot_id = outcome.snapshot_id,
        data_files = outcome.data_files,
        data_file_bytes = outcome.data_file_bytes,
        "event handled"
    );
}

//! One event -> one commit and one answer.
//!
//! In: the JSON of an invocation, the clock and the deadline. Out: [`Handled`]: the answer to whoever invoked the
//! function, and what was done. An answer that acknowledges an object comes after the commit that holds its rows.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, SecondsFormat};
use futures::FutureExt as _;
use lake::{AppendOptions, Kind, Lake, ObjectOutcome, Outcome, SourceObject, Status, Token};
use lambda::failure::{ErrorType, PANICKED};
use lambda::metrics::Emitter;
use lambda::notification::{Delivery, Notification, ObjectRef, Source, SqsBatchResponse};
use serde::Serialize;
pub use settings::Failure;

use crate::config::Config;
use crate::report::Report;

/// What is kept from one invocation to the next.
#[derive(Debug)]
pub struct Appender {
    config: Config,
    lake: Lake,
    emitter: Emitter,
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
    Batch(SqsBatchResponse),
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
        let lake = Lake::open(&config.catalog, &config.s3).await.context("cannot open the catalog")?;
        Ok(Self { config, lake, emitter: Emitter::default() })
    }

    /// The tables.
    pub fn lake(&self) -> &Lake {
        &self.lake
    }

    /// The same, telling CloudWatch through `emitter` what it does.
    pub fn with_metrics(self, emitter: Emitter) -> Self {
        Self { emitter, ..self }
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
    ) -> Result<Handled, Failure> {
        let clock = Clock { started: Instant::now(), started_micros: now_micros };
        let mut report = Report::default();
        // Whatever happens, the invocation has its line and its metrics.
        let handled =
            AssertUnwindSafe(self.append(event_json, &clock, deadline, &mut report)).catch_unwind().await;
        let handled = handled.unwrap_or_else(|_| Err(Failure::of(ErrorType::Defect)(anyhow!(PANICKED))));
        // Of a catalog in a file, that file alone is what is copied or backed up. The commit stands without it.
        if let Err(error) = self.config.catalog.checkpoint(Duration::ZERO).await {
            tracing::warn!(error = %error, "the catalog's log stays beside its file");
        }
        report.log(clock.started.elapsed(), handled.as_ref().err());
        let now_millis = clock.now_micros() / 1000;
        self.emitter.emit_by_kind(now_millis, "ObjectsFailed", report.failed_by_kind());
        self.emitter.emit(now_millis, report.metrics());
        handled
    }

    async fn append(
        &self,
        event_json: &str,
        clock: &Clock,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Handled, Failure> {
        let notification =
            Notification::parse(event_json).map_err(Failure::of(ErrorType::EventNotUnderstood))?;
        let processing_time = DateTime::from_timestamp_micros(clock.started_micros)
            .context("the clock is out of range")
            .map_err(Failure::of(ErrorType::ConfigurationInvalid))?
            .to_rfc3339_opts(SecondsFormat::Micros, true);
        for delivery in &notification.deliveries {
            log_unusable(delivery);
        }
        let created: Vec<&ObjectRef> =
            notification.deliveries.iter().filter_map(|it| it.objects.as_ref().ok()).flatten().collect();
        let objects: Vec<SourceObject> = created.iter().map(|object| self.source_object(object)).collect();
        let outcome = if objects.is_empty() {
            None
        } else {
            let options = AppendOptions {
                table: self.config.table.clone(),
                branch: self.config.branch.clone(),
                definition: self.config.definition.clone(),
                errors_uri: self.config.errors.clone(),
                processing_time,
                deadline: deadline.into(),
                limits: self.config.limits,
                unpack: self.config.unpack.clone(),
            };
            let appended = match &self.config.routes {
                Some(routes) => {
                    Box::pin(lake::append_routed(&self.lake, &options, routes, objects.clone())).await
                }
                None => lake::append(&self.lake, &options, objects.clone()).await,
            };
            match appended {
                Ok(outcome) => {
                    let times = creation_times(&objects, &created);
                    report.add(&outcome, |object| clock.since(*times.get(&object.token)?));
                    Some(outcome)
                }
                Err(error) => {
                    report.add_failed(&objects, error.kind);
                    return Err(Failure::of_table(error, &self.config.table.to_string()));
                }
            }
        };
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
            version_id: object.version_id.clone(),
            token: Token::new(&object.bucket, &object.key, version),
        }
    }

    fn answer(&self, notification: &Notification, outcome: Option<&Outcome>) -> Result<Answer, Failure> {
        let objects = outcome.map_or(&[][..], |outcome| &outcome.objects);
        let by_token: HashMap<Token, &Status> =
            objects.iter().map(|outcome| (outcome.object.token, &outcome.status)).collect();
        let status = |object: &ObjectRef| by_token.get(&self.source_object(object).token).copied();
        match notification.source {
            Source::Sqs => {
                let failed = notification.deliveries.iter().filter(|delivery| match &delivery.objects {
                    Ok(objects) => !objects.iter().all(|object| status(object).is_some_and(Status::is_done)),
                    Err(_) => true,
                });
                let mut response = SqsBatchResponse::default();
                response.set_failures(failed.map(Delivery::item_identifier));
                Ok(Answer::Batch(response))
            }
            Source::Direct => {
                let (mut rows, mut rows_quarantined) = (0, 0);
                for ObjectOutcome { object, status, .. } in objects {
                    match status {
                        Status::Committed { rows: appended, rejected, .. } => {
                            rows += appended;
                            rows_quarantined += rejected.values().sum::<u64>();
                        }
                        Status::Failed(error) => {
                            let error_kind = Some(Kind::of(error));
                            let error = anyhow!("cannot read {}: {error}", object.uri);
                            return Err(Failure { error_type: ErrorType::ObjectFailed, error_kind, error });
                        }
                        Status::NotReached => {
                            let error = anyhow!("there was no time for {}", object.uri);
                            return Err(Failure::of(ErrorType::OutOfTime)(error));
                        }
                        Status::AlreadyCommitted | Status::Ignored => {}
                    }
                }
                Ok(Answer::Done { objects: objects.len(), rows, rows_quarantined })
            }
        }
    }
}

/// The clock of an invocation.
struct Clock {
    started: Instant,
    started_micros: i64,
}

impl Clock {
    fn now_micros(&self) -> i64 {
        self.started_micros.saturating_add(self.started.elapsed().as_micros() as i64)
    }

    /// The time since `millis` milliseconds after the Unix epoch. S3 has a clock of its own, which may be fast.
    fn since(&self, millis: i64) -> Option<Duration> {
        let micros = self.now_micros().checked_sub(millis.checked_mul(1000)?)?;
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }
}

/// When S3 created each object, in milliseconds since the Unix epoch, as far as it was told.
fn creation_times(objects: &[SourceObject], created: &[&ObjectRef]) -> HashMap<Token, i64> {
    let mut times = HashMap::new();
    for (object, created) in objects.iter().zip(created) {
        if let Some(millis) = created.event_time_millis {
            let earliest = times.entry(object.token).or_insert(millis);
            *earliest = millis.min(*earliest);
        }
    }
    times
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

//! What stands in for S3's notifications and SQS: delivered objects -> invocations of append.
//!
//! In: objects that were delivered. Out: what append made of them. Each object is one message that holds an S3
//! event; messages that append hands back are delivered again, as often as the queue of template.yaml would.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use append::handler::{Answer, Appender};
use chrono::{DateTime, SecondsFormat};
use lake::{Outcome, Status};
use serde_json::{Value, json};

use super::firehose::DeliveredObject;

/// `maxReceiveCount` of the queue.
const MAX_RECEIVES: u32 = 5;
/// Lambda's longest time-out.
const TIMEOUT: Duration = Duration::from_secs(900);

pub(crate) struct Queue<'a> {
    appender: &'a Appender,
}

impl<'a> Queue<'a> {
    pub(crate) fn new(appender: &'a Appender) -> Self {
        Self { appender }
    }

    /// Delivers `objects` until append has taken all of them, and passes on what it says each time.
    pub(crate) async fn deliver(
        &mut self,
        objects: &[DeliveredObject],
        mut on_outcome: impl FnMut(&Outcome),
    ) -> anyhow::Result<()> {
        let mut waiting: Vec<&DeliveredObject> = objects.iter().collect();
        for receive in 1..=MAX_RECEIVES {
            let event = json!({"Records": waiting.iter().map(|object| message(object)).collect::<Vec<_>>()});
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let handled = self
                .appender
                .handle(&event.to_string(), now.as_micros() as i64, Instant::now() + TIMEOUT)
                .await;
            let handled = match handled {
                Ok(handled) => handled,
                Err(error) if receive == MAX_RECEIVES => return Err(error.into()),
                Err(_) => continue,
            };
            if let Some(outcome) = &handled.outcome {
                on_outcome(outcome);
            }
            let Answer::Batch(failures) = handled.answer else {
                bail!("append took an SQS event for another")
            };
            let failed: HashSet<&str> =
                failures.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
            waiting.retain(|object| failed.contains(object.key.as_str()));
            if waiting.is_empty() {
                return Ok(());
            }
            if receive == MAX_RECEIVES {
                let errors =
                    handled.outcome.iter().flat_map(|outcome| &outcome.objects).filter_map(|object| {
                        match &object.status {
                            Status::Failed(error) => Some(error.to_string()),
                            _ => None,
                        }
                    });
                bail!(
                    "{} objects could not be appended: {}",
                    waiting.len(),
                    errors.collect::<Vec<_>>().join("; ")
                );
            }
        }
        Ok(())
    }
}

/// An SQS message around an S3 event.
fn message(object: &DeliveredObject) -> Value {
    json!({"messageId": object.key, "body": s3_event(object).to_string(), "eventSource": "aws:sqs"})
}

/// The event by which S3 announces an object (Amazon S3 User Guide, "Event message structure").
pub(crate) fn s3_event(object: &DeliveredObject) -> Value {
    let DeliveredObject { bucket, key, size_bytes, etag, version_id, delivered_millis } = object;
    let mut event = json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": format!("arn:aws:s3:::{bucket}")},
            "object": {"key": url_encoded(key), "size": size_bytes, "eTag": etag},
        },
    });
    if let Some(time) = delivered_millis.and_then(DateTime::from_timestamp_millis) {
        event["eventTime"] = time.to_rfc3339_opts(SecondsFormat::Millis, true).into();
    }
    if let Some(version_id) = version_id {
        event["s3"]["object"]["versionId"] = version_id.as_str().into();
    }
    json!({"Records": [event]})
}

/// As S3 writes keys in its events.
fn url_encoded(key: &str) -> String {
    let encoded = key.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        _ if byte.is_ascii_alphanumeric() || b"-._*/".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

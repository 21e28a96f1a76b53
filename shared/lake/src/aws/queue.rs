//! Messages -> an SQS queue.
//!
//! In: the URL of a queue, and the bodies of messages. Out: they are in the queue, or an error that names the queue and says how
//! many are not. A message may be in it twice: append takes that.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata as _;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use iceberg::{Error, ErrorKind, Result};

use crate::aws::{fault_of, sdk_config};
use crate::causes::causes;

/// How often messages are sent that SQS alone did not take.
const ATTEMPTS: u32 = 5;

/// A queue.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    url: String,
}

impl SqsQueue {
    /// The queue at `url`. It is not asked for anything yet.
    pub async fn open(url: &str) -> Self {
        Self { client: Client::new(sdk_config().await), url: url.to_owned() }
    }

    /// Sends up to ten messages, as many as SQS takes in one request (Amazon SQS API, "SendMessageBatch").
    ///
    /// # Errors
    /// The queue's; how many messages were not sent.
    pub async fn send(&self, bodies: &[String]) -> Result<()> {
        let mut waiting =
            bodies.iter().enumerate().map(|(at, body)| entry(at, body)).collect::<Result<Vec<_>>>()?;
        let mut why = String::new();
        for _ in 0..ATTEMPTS {
            let request = self.client.send_message_batch().queue_url(&self.url);
            let sent = request.set_entries(Some(waiting.clone())).send().await;
            let sent = sent.map_err(|error| {
                let code = error.code().unwrap_or_default().to_owned();
                let what = format!(
                    "cannot send messages to {}: {}; the caller needs sqs:SendMessage on it, and where the queue is \
                     encrypted kms:GenerateDataKey and kms:Decrypt on its key",
                    self.url,
                    causes(&error)
                );
                fault_of(&code).kind().within(ErrorKind::Unexpected, what)
            })?;
            let Some(first) = sent.failed.first() else { return Ok(()) };
            why = format!("{}: {}", first.code, first.message.as_deref().unwrap_or_default());
            waiting.retain(|entry| sent.failed.iter().any(|failed| failed.id == entry.id));
        }
        let what = format!("{} of {} messages are not in {}: {why}", waiting.len(), bodies.len(), self.url);
        Err(Error::new(ErrorKind::Unexpected, what))
    }
}

fn entry(at: usize, body: &str) -> Result<SendMessageBatchRequestEntry> {
    let entry = SendMessageBatchRequestEntry::builder().id(at.to_string()).message_body(body).build();
    entry.map_err(|error| Error::new(ErrorKind::Unexpected, "a message has no body").with_source(error))
}

//! The Lambda binary: reads the environment and opens the catalog once, then handles one event after the other.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use append::config::Config;
use append::handler::{Answer, Appender};
use lambda::env::Environment;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;

/// Of the time that Lambda gives, the part that is kept for the answer: a twentieth, within these bounds.
const ANSWER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Lambda tells the deadline of every invocation, but local emulators may tell one that has passed long ago.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::of_process();
    lambda::log::init(&environment)?;
    let appender = Appender::open(Config::from_env(&environment).await?).await?;
    let appender = &appender;
    let serve = |event: LambdaEvent<Box<RawValue>>| async move { respond(event, appender).await };
    lambda_runtime::run(service_fn(serve)).await.map_err(|error| anyhow!(error))
}

async fn respond(event: LambdaEvent<Box<RawValue>>, appender: &Appender) -> Result<Answer, Diagnostic> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = event.context.deadline.checked_sub(now.as_millis() as u64).map(Duration::from_millis);
    let left = left.unwrap_or(UNKNOWN_DEADLINE);
    let deadline = Instant::now() + left.saturating_sub((left / 20).clamp(ANSWER.0, ANSWER.1));
    match appender.handle(event.payload.get(), now.as_micros() as i64, deadline).await {
        Ok(handled) => {
            lake::failpoint("before acknowledgement").map_err(|error| failed(&error.into()))?;
            Ok(handled.answer)
        }
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &anyhow::Error) -> Diagnostic {
    tracing::error!(error = format!("{error:#}"), "invocation failed");
    Diagnostic { error_type: "AppendFailed".to_owned(), error_message: format!("{error:#}") }
}

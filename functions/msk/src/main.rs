//! The Lambda binary: reads the environment and opens the catalog once, then handles one event after the other.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda::env::Environment;
use lambda::failure::{self, ErrorType};
use lambda::metrics::Emitter;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use msk::config::Config;
use msk::handler::{Answer, Consumer, Failure};
use serde_json::value::RawValue;

/// Of the time that Lambda gives, the part that is kept for the answer: a twentieth, within these bounds.
const ANSWER: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Lambda tells the deadline of every invocation, but local emulators may tell one that has passed long ago.
const UNKNOWN_DEADLINE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> ExitCode {
    let environment = Environment::of_process();
    let consumer = match open(&environment).await {
        Ok(consumer) => consumer.with_metrics(Emitter::from_env(&environment)),
        Err(failure) => return failure::at_start(&environment, failure.error_type, &failure.to_string()),
    };
    let consumer = &consumer;
    let serve = |event: LambdaEvent<Box<RawValue>>| async move { respond(event, consumer).await };
    failure::at_end(lambda_runtime::run(service_fn(serve)).await)
}

async fn open(environment: &Environment) -> Result<Consumer, Failure> {
    lambda::log::init(environment).map_err(Failure::of(ErrorType::ConfigurationInvalid))?;
    let config = Config::from_env(environment).await.map_err(Failure::of(ErrorType::ConfigurationInvalid))?;
    Consumer::open(config).await.map_err(Failure::of(ErrorType::CatalogFailed))
}

async fn respond(event: LambdaEvent<Box<RawValue>>, consumer: &Consumer) -> Result<Answer, Diagnostic> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = event.context.deadline.checked_sub(now.as_millis() as u64).map(Duration::from_millis);
    let left = left.unwrap_or(UNKNOWN_DEADLINE);
    let deadline = Instant::now() + left.saturating_sub((left / 20).clamp(ANSWER.0, ANSWER.1));
    let handled = consumer.handle(event.payload.get(), now.as_micros() as i64, deadline).await;
    let acknowledged = handled.and_then(|handled| {
        lake::failpoint("before acknowledgement").map_err(Failure::of(ErrorType::StorageFailed))?;
        Ok(handled.answer)
    });
    acknowledged.map_err(|failure| Diagnostic {
        error_type: failure.error_type.to_string(),
        error_message: failure.to_string(),
    })
}

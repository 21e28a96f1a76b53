//! The Lambda binary: reads the environment and opens the catalog once, then handles one event after the other.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lambda::env::Environment;
use lambda::failure::{self, ErrorType};
use lambda::metrics::Emitter;
use lambda::time;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use msk::config::Config;
use msk::handler::{Answer, Consumer, Failure};
use serde_json::value::RawValue;

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
    let deadline = time::until_answer(event.context.deadline, now);
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

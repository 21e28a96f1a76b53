//! The Lambda binary: reads the environment once, then answers one event after the other.

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lambda::env::{Environment, VariableError};
use lambda::failure::{self, ErrorType, PANICKED};
use lambda::firehose::Response;
use lambda::metrics::Emitter;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use transform::config::Config;
use transform::handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let environment = Environment::of_process();
    let config = match configure(&environment) {
        Ok(config) => config,
        Err(error) => {
            return failure::at_start(&environment, ErrorType::ConfigurationInvalid, &error.to_string());
        }
    };
    let (config, emitter) = (&config, &Emitter::from_env(&environment));
    // The event as text: the handler borrows from it.
    let serve =
        |event: LambdaEvent<Box<RawValue>>| async move { respond(event.payload.get(), config, emitter) };
    failure::at_end(lambda_runtime::run(service_fn(serve)).await)
}

fn configure(environment: &Environment) -> Result<Config, VariableError> {
    lambda::log::init(environment)?;
    Config::from_env(environment)
}

fn respond(event_json: &str, config: &Config, emitter: &Emitter) -> Result<Response, Diagnostic> {
    let started = Instant::now();
    let handled = catch_unwind(|| handler::handle(event_json, now_micros(), config));
    let (error_type, error) = match handled {
        Ok(Ok(outcome)) => {
            outcome.log(started.elapsed());
            emitter.emit(now_micros() / 1000, outcome.metrics());
            return Ok(outcome.response);
        }
        Ok(Err(error)) => (ErrorType::EventNotUnderstood, error.to_string()),
        Err(_) => (ErrorType::Defect, PANICKED.to_owned()),
    };
    let (request_bytes, duration_ms) = (event_json.len(), started.elapsed().as_millis() as u64);
    tracing::error!(%error_type, error, request_bytes, duration_ms, "invocation failed");
    emitter.emit(now_micros() / 1000, vec![("RequestBytes", request_bytes.into())]);
    Err(Diagnostic { error_type: error_type.to_string(), error_message: error })
}

fn now_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

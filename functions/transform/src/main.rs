//! The Lambda binary: reads the environment once, then answers one event after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lambda::env::{Environment, VariableError};
use lambda::failure::{self, ErrorType, PANICKED};
use lambda::firehose;
use lambda::metrics::Emitter;
use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Diagnostic, Runtime, service_fn};
use transform::config::Config;
use transform::handler;

use self::service::AnswerLayer;

mod service;

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
    let write_answer = |body: &[u8], answer: &mut Vec<u8>| respond(body, answer, config, emitter);
    let runtime = Runtime::new(service_fn(service::fail)).layer(AnswerLayer { write_answer });
    failure::at_end(runtime.layer(TracingLayer::new()).run().await)
}

fn configure(environment: &Environment) -> Result<Config, VariableError> {
    lambda::log::init(environment)?;
    Config::from_env(environment)
}

fn respond(body: &[u8], answer: &mut Vec<u8>, config: &Config, emitter: &Emitter) -> Result<(), Diagnostic> {
    let started = Instant::now();
    let handled = catch_unwind(AssertUnwindSafe(|| {
        firehose::text(body).and_then(|event_json| handler::handle(event_json, now_micros(), config, answer))
    }));
    let (error_type, error) = match handled {
        Ok(Ok(outcome)) => {
            outcome.log(started.elapsed());
            emitter.emit(now_micros() / 1000, outcome.metrics());
            return Ok(());
        }
        Ok(Err(error)) => (ErrorType::EventNotUnderstood, error.to_string()),
        Err(_) => (ErrorType::Defect, PANICKED.to_owned()),
    };
    let (request_bytes, duration_ms) = (body.len(), started.elapsed().as_millis() as u64);
    tracing::error!(%error_type, error, request_bytes, duration_ms, "invocation failed");
    emitter.emit(now_micros() / 1000, vec![("RequestBytes", request_bytes.into())]);
    Err(Diagnostic { error_type: error_type.to_string(), error_message: error })
}

fn now_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

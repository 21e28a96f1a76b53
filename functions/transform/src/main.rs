//! The Lambda binary: reads the environment once, then answers one event after the other.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::anyhow;
use lambda::env::Environment;
use lambda::firehose::Response;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use transform::config::Config;
use transform::handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::of_process();
    lambda::log::init(&environment)?;
    let config = Config::from_env(&environment)?;
    let config = &config;
    // The event as text: the handler borrows from it.
    let serve = |event: LambdaEvent<Box<RawValue>>| async move { respond(event.payload.get(), config) };
    lambda_runtime::run(service_fn(serve)).await.map_err(|error| anyhow!(error))
}

fn respond(event_json: &str, config: &Config) -> Result<Response, Diagnostic> {
    match handler::handle(event_json, now_micros(), config) {
        Ok(outcome) => {
            outcome.log();
            Ok(outcome.response)
        }
        Err(error) => {
            tracing::error!(%error, "the invocation is no transformation event");
            Err(Diagnostic { error_type: "NotAFirehoseEvent".to_owned(), error_message: error.to_string() })
        }
    }
}

fn now_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

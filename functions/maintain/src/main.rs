//! The Lambda binary: reads the environment and opens the catalog once, then handles one event after the other.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lambda::env::Environment;
use lambda::failure::{self, ErrorType};
use lambda::metrics::Emitter;
use lambda::time;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use maintain::config::Config;
use maintain::event::Task;
use maintain::handler::{Failure, Maintained, Maintainer};
use serde_json::value::RawValue;

#[tokio::main]
async fn main() -> ExitCode {
    let environment = Environment::of_process();
    let maintainer = match open(&environment).await {
        Ok(maintainer) => maintainer.with_metrics(Emitter::from_env(&environment)),
        Err(failure) => return failure::at_start(&environment, failure.error_type, &failure.to_string()),
    };
    let maintainer = &maintainer;
    let serve = |event: LambdaEvent<Box<RawValue>>| async move { respond(event, maintainer).await };
    failure::at_end(lambda_runtime::run(service_fn(serve)).await)
}

async fn open(environment: &Environment) -> Result<Maintainer, Failure> {
    lambda::log::init(environment).map_err(Failure::of(ErrorType::ConfigurationInvalid))?;
    let config = Config::from_env(environment).map_err(Failure::of(ErrorType::ConfigurationInvalid))?;
    Maintainer::open(config).await.map_err(Failure::of(ErrorType::CatalogFailed))
}

async fn respond(
    event: LambdaEvent<Box<RawValue>>,
    maintainer: &Maintainer,
) -> Result<Maintained, Diagnostic> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = time::until_answer(event.context.deadline, now);
    let now_micros = now.as_micros() as i64;
    let maintained = match Task::of(event.payload.get()) {
        Ok(Task::Upkeep) => maintainer.handle(now_micros, deadline).await,
        Ok(Task::Freshness(table)) => maintainer.freshness(&table, now_micros).await,
        Err(error) => {
            let failure = Failure::of(ErrorType::EventNotUnderstood)(error);
            tracing::error!(error_type = %failure.error_type, error = %failure, "invocation failed");
            Err(failure)
        }
    };
    maintained.map_err(|failure| Diagnostic {
        error_type: failure.error_type.to_string(),
        error_message: failure.to_string(),
    })
}

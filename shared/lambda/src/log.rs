//! Logging set-up.
//!
//! In: the environment. Out: a global subscriber: JSON lines on standard output in Lambda, each with an RFC
//! 3339 `timestamp` (without one Lambda's level filter takes every line for INFO; AWS: "Using Lambda advanced
//! logging controls") and the ids of request and trace, text on standard error elsewhere. `FRAZIL_LOG` holds the
//! level or a filter per module (`info,lake=debug`); where it is not set, Lambda's own `AWS_LAMBDA_LOG_LEVEL` counts,
//! or `info`. Refused: a filter that does not parse; `info` counts then.

use std::panic::PanicHookInfo;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::env::{Environment, VariableError};

const VARIABLE: &str = "FRAZIL_LOG";

/// What holds for Lambda's runtime whatever the filter says: the span with the ids of request and trace is in every
/// line; a failure is logged once, and by us; no event is logged.
const RUNTIME: [&str; 3] = [
    "lambda_runtime::layers::trace=info",
    "lambda_runtime::layers::panic=off",
    "lambda_runtime::layers::api_response=error",
];

/// Sets the process's subscriber up. One that is set already stays.
///
/// # Errors
/// [`VariableError::Invalid`] if `FRAZIL_LOG` holds no filter. The error can be logged.
pub fn init(environment: &Environment) -> Result<(), VariableError> {
    let (filter, error) = match filter(environment) {
        Ok(filter) => (filter, Ok(())),
        Err(error) => (EnvFilter::new("info"), Err(error)),
    };
    let builder = tracing_subscriber::fmt();
    let outcome = if environment.text("AWS_LAMBDA_FUNCTION_NAME").is_some() {
        std::panic::set_hook(Box::new(log_panic));
        let filter = RUNTIME
            .iter()
            .filter_map(|directive| directive.parse().ok())
            .fold(filter, EnvFilter::add_directive);
        // The innermost span holds the ids.
        builder
            .with_env_filter(filter)
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init()
    } else {
        // A line that nobody reads any more is no reason to panic.
        let builder = builder.with_env_filter(filter).with_writer(std::io::stderr);
        builder.log_internal_errors(false).finish().try_init()
    };
    // An error means that there is a subscriber: a test's or an embedding program's.
    drop(outcome);
    error
}

fn filter(environment: &Environment) -> Result<EnvFilter, VariableError> {
    let expected = "a level (error, warn, info, debug, trace) or a filter such as info,lake=debug";
    let filter = environment.parse::<EnvFilter>(VARIABLE, expected)?;
    Ok(filter.unwrap_or_else(|| EnvFilter::new(lambda_level(environment))))
}

/// The level that Lambda's logging configuration asks for.
fn lambda_level(environment: &Environment) -> &'static str {
    match environment.text("AWS_LAMBDA_LOG_LEVEL") {
        Some("TRACE") => "trace",
        Some("DEBUG") => "debug",
        Some("WARN") => "warn",
        Some("ERROR" | "FATAL") => "error",
        _ => "info",
    }
}

/// One line. A message that was put together may quote the data; one that stands in the code does not.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let location = panic.location().map(ToString::to_string);
    let message = panic.payload().downcast_ref::<&'static str>();
    tracing::error!(location, error = message, "panicked: a defect");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_named() {
        let environment = Environment::from_iter([("FRAZIL_LOG", "lake=loud")]);
        let message = init(&environment).unwrap_err().to_string();
        assert!(message.starts_with("FRAZIL_LOG=lake=loud: expected a level"), "{message}");
    }

    #[test]
    fn lambdas_level_counts_where_ours_is_not_set() {
        for (variables, expected) in [
            (vec![], "info"),
            (vec![("AWS_LAMBDA_LOG_LEVEL", "DEBUG")], "debug"),
            (vec![("AWS_LAMBDA_LOG_LEVEL", "FATAL")], "error"),
            (vec![("AWS_LAMBDA_LOG_LEVEL", "LOUD")], "info"),
            (vec![("AWS_LAMBDA_LOG_LEVEL", "DEBUG"), ("FRAZIL_LOG", "warn,lake=trace")], "lake=trace,warn"),
        ] {
            assert_eq!(filter(&Environment::from_iter(variables)).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn directives_for_the_runtime_parse() {
        for directive in RUNTIME {
            assert!(directive.parse::<tracing_subscriber::filter::Directive>().is_ok(), "{directive}");
        }
    }
}

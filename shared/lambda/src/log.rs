//! Logging set-up.
//!
//! In: the environment. Out: a global subscriber: JSON lines on standard output in Lambda, each with an RFC
//! 3339 `timestamp` (without one Lambda's level filter takes every line for INFO; AWS: "Using Lambda advanced
//! logging controls"), text on standard error elsewhere. `FRAZIL_LOG` holds the level, `info` by default, or
//! a filter per module (`info,lake=debug`). Refused: a filter that does not parse.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::env::{Environment, VariableError};

const VARIABLE: &str = "FRAZIL_LOG";

/// Sets the process's subscriber up. One that is set already stays.
///
/// # Errors
/// [`VariableError::Invalid`] if `FRAZIL_LOG` holds no filter.
pub fn init(environment: &Environment) -> Result<(), VariableError> {
    let expected = "a level (error, warn, info, debug, trace) or a filter such as info,lake=debug";
    let filter =
        environment.parse::<EnvFilter>(VARIABLE, expected)?.unwrap_or_else(|| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let outcome = if environment.text("AWS_LAMBDA_FUNCTION_NAME").is_some() {
        // The innermost span holds the request id.
        builder.json().flatten_event(true).with_current_span(true).with_span_list(false).finish().try_init()
    } else {
        builder.with_writer(std::io::stderr).finish().try_init()
    };
    // An error means that there is a subscriber: a test's or an embedding program's.
    drop(outcome);
    Ok(())
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
}

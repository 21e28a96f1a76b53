//! Which variables say what of a record is an event.
//!
//! In: the environment, of either function or of the command. Out: [`Options`]. Refused: values that are none of those
//! listed.

use records::unpack::Options;

use crate::env::{Environment, VariableError};

/// Reads `FRAZIL_UNWRAP`, `FRAZIL_NAN`, `FRAZIL_DYNAMODB_JSON`, `FRAZIL_LOG_MESSAGE` and `FRAZIL_TEXT`.
///
/// # Errors
/// A [`VariableError`] that names the variable.
pub fn options(environment: &Environment) -> Result<Options, VariableError> {
    let chosen = |name, choices: [(&str, bool); 2]| {
        environment.choice(name, &choices).map(|chosen| chosen.unwrap_or_default())
    };
    let path = "the path of an array of events, one to eight names of fields, separated by dots";
    Ok(Options {
        unwrap: environment.parse("FRAZIL_UNWRAP", path)?,
        nan_is_null: chosen("FRAZIL_NAN", [("null", true), ("reject", false)])?,
        dynamodb_json: chosen("FRAZIL_DYNAMODB_JSON", [("true", true), ("false", false)])?,
        log_fields: chosen("FRAZIL_LOG_MESSAGE", [("fields", true), ("text", false)])?,
        text_is_message: chosen("FRAZIL_TEXT", [("message", true), ("reject", false)])?,
    })
}

/// The same for values of Kafka topics: the options, and whether values are envelopes of Kafka Connect's JsonConverter,
/// which is what `FRAZIL_UNWRAP=payload` says here.
///
/// # Errors
/// The same.
pub fn topic_options(environment: &Environment) -> Result<(Options, bool), VariableError> {
    let mut options = options(environment)?;
    let is_connect = environment.text("FRAZIL_UNWRAP") == Some("payload");
    options.unwrap = options.unwrap.filter(|_| !is_connect);
    Ok((options, is_connect))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Options, String> {
        options(&Environment::from_iter(variables.iter().copied())).map_err(|error| error.to_string())
    }

    #[test]
    fn every_choice_has_its_variable() {
        assert_eq!(read(&[]), Ok(Options::default()));
        let others = [
            ("FRAZIL_NAN", "reject"),
            ("FRAZIL_DYNAMODB_JSON", "false"),
            ("FRAZIL_LOG_MESSAGE", "text"),
            ("FRAZIL_TEXT", "reject"),
        ];
        assert_eq!(read(&others), Ok(Options::default()));
        let all = [
            ("FRAZIL_UNWRAP", "detail.items"),
            ("FRAZIL_NAN", "null"),
            ("FRAZIL_DYNAMODB_JSON", "true"),
            ("FRAZIL_LOG_MESSAGE", "fields"),
            ("FRAZIL_TEXT", "message"),
        ];
        let expected = Options {
            unwrap: Some("detail.items".parse().unwrap()),
            nan_is_null: true,
            dynamodb_json: true,
            log_fields: true,
            text_is_message: true,
        };
        assert_eq!(read(&all), Ok(expected));
    }

    #[test]
    fn other_values_are_refused_by_name() {
        assert_eq!(read(&[("FRAZIL_NAN", "0")]).unwrap_err(), "FRAZIL_NAN=0: expected null or reject");
        let error = read(&[("FRAZIL_UNWRAP", "a..b")]).unwrap_err();
        assert!(error.starts_with("FRAZIL_UNWRAP=a..b: expected the path of an array"), "{error}");
    }
}

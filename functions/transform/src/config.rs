//! Every variable that the function reads, besides `FRAZIL_LOG`.
//!
//! In: the environment. Out: [`Config`]. Refused: values out of range.

use lambda::env::{Environment, VariableError};

/// Lambda's limit for the payload of a synchronous invocation, in bytes (AWS: "Lambda quotas").
const LAMBDA_MAX_PAYLOAD_BYTES: usize = 6_291_556;

/// The function's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `FRAZIL_MAX_RESPONSE_BYTES`: the response stays under this size in bytes. By default Lambda's own
    /// limit, and no more than that.
    pub max_response_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_response_bytes: LAMBDA_MAX_PAYLOAD_BYTES }
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A [`VariableError`] that names the variable.
    pub fn from_env(environment: &Environment) -> Result<Self, VariableError> {
        let name = "FRAZIL_MAX_RESPONSE_BYTES";
        let expected = "a whole number of bytes, at most 6291556";
        let max_response_bytes = environment.parse(name, expected)?.unwrap_or(LAMBDA_MAX_PAYLOAD_BYTES);
        if max_response_bytes > LAMBDA_MAX_PAYLOAD_BYTES {
            return Err(VariableError::Invalid { name, value: max_response_bytes.to_string(), expected });
        }
        Ok(Self { max_response_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<usize, String> {
        Config::from_env(&Environment::from_iter([("FRAZIL_MAX_RESPONSE_BYTES", value)]))
            .map(|config| config.max_response_bytes)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_response_limit() {
        let expected = "expected a whole number of bytes, at most 6291556";
        assert_eq!(read(""), Ok(6_291_556));
        assert_eq!(read("1000"), Ok(1000));
        assert_eq!(read("6291557"), Err(format!("FRAZIL_MAX_RESPONSE_BYTES=6291557: {expected}")));
        assert_eq!(read("6MB"), Err(format!("FRAZIL_MAX_RESPONSE_BYTES=6MB: {expected}")));
    }
}

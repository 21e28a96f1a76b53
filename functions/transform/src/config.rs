//! Every variable that the function reads, besides `FRAZIL_LOG`.
//!
//! In: the environment. Out: [`Config`]. Refused: values out of range.

use lambda::env::{Environment, VariableError};
use records::unpack::Options;

use crate::destination::Destination;

/// Lambda's limit for the payload of a synchronous invocation, in bytes (AWS: "Lambda quotas").
const LAMBDA_MAX_PAYLOAD_BYTES: usize = 6_291_556;

/// A smaller response holds no record of ordinary size, and every one would be refused.
const MIN_RESPONSE_BYTES: usize = 64 * 1024;

/// The function's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `FRAZIL_MAX_RESPONSE_BYTES`: the response stays under this size in bytes. By default Lambda's own
    /// limit, and no more than that.
    pub max_response_bytes: usize,
    /// What of a record is an event: the variables of [`lambda::unpack::options`].
    pub unpack: Options,
    /// `FRAZIL_PARTITION_KEYS`, `FRAZIL_FIREHOSE_TABLE`: where Firehose is to deliver a record.
    pub destination: Destination,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_response_bytes: LAMBDA_MAX_PAYLOAD_BYTES,
            unpack: Options::default(),
            destination: Destination::default(),
        }
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A [`VariableError`] that names the variable.
    pub fn from_env(environment: &Environment) -> Result<Self, VariableError> {
        let range = MIN_RESPONSE_BYTES..=LAMBDA_MAX_PAYLOAD_BYTES;
        let max_response_bytes = environment.number("FRAZIL_MAX_RESPONSE_BYTES", "bytes", range)?;
        Ok(Self {
            max_response_bytes: max_response_bytes.unwrap_or(LAMBDA_MAX_PAYLOAD_BYTES),
            unpack: lambda::unpack::options(environment)?,
            destination: Destination::from_env(environment)?,
        })
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
        let expected = "expected a whole number of bytes from 65536 to 6291556";
        assert_eq!(read(""), Ok(6_291_556));
        assert_eq!(read("65536"), Ok(65_536));
        assert_eq!(read("0"), Err(format!("FRAZIL_MAX_RESPONSE_BYTES=0: {expected}")));
        assert_eq!(read("6291557"), Err(format!("FRAZIL_MAX_RESPONSE_BYTES=6291557: {expected}")));
        assert_eq!(read("6MB"), Err(format!("FRAZIL_MAX_RESPONSE_BYTES=6MB: {expected}")));
    }
}

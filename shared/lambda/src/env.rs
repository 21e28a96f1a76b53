//! Environment variables, typed.
//!
//! In: a set of variables, the process's or a test's. Out: typed values. Refused: a value that does not
//! parse, named together with its variable and with what is expected. An empty variable counts as not set.

use std::collections::HashMap;
use std::str::FromStr;

/// A variable that is wrong or missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The value does not parse.
    #[error("{name}={value}: expected {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should hold, in words.
        expected: &'static str,
    },
    /// The variable is required and not set.
    #[error("{name} is not set: expected {expected}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// What it should hold, in words.
        expected: &'static str,
    },
}

/// A set of environment variables.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        // Lossy, so that a variable in another encoding is reported by whoever parses it and not passed over.
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
    }

    /// The text of a variable, if it is set and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The text of a variable that must be set; `expected` says in words what it holds.
    ///
    /// # Errors
    /// [`VariableError::Missing`].
    pub fn required(&self, name: &'static str, expected: &'static str) -> Result<&str, VariableError> {
        self.text(name).ok_or(VariableError::Missing { name, expected })
    }

    /// The parsed value of a variable, `None` if it is not set; `expected` says in words what parses, with
    /// the unit (`"a whole number of bytes"`).
    ///
    /// # Errors
    /// [`VariableError::Invalid`].
    pub fn parse<T: FromStr>(
        &self,
        name: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, VariableError> {
        let parse = |value: &str| {
            value.trim().parse().map_err(|_| VariableError::Invalid {
                name,
                value: value.to_owned(),
                expected,
            })
        };
        self.text(name).map(parse).transpose()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &str = "a whole number of bytes";

    #[test]
    fn values_are_parsed_and_absent_or_empty_ones_are_none() {
        let environment = Environment::from_iter([("FRAZIL_A", "12"), ("FRAZIL_B", "")]);
        assert_eq!(environment.parse::<u64>("FRAZIL_A", BYTES), Ok(Some(12)));
        assert_eq!(environment.parse::<u64>("FRAZIL_B", BYTES), Ok(None));
        assert_eq!(environment.parse::<u64>("FRAZIL_C", BYTES), Ok(None));
        assert_eq!(environment.required("FRAZIL_A", BYTES), Ok("12"));
    }

    #[test]
    fn errors_name_variable_value_and_expectation() {
        let environment = Environment::from_iter([("FRAZIL_MAX_RECORD_BYTES", "abc")]);
        assert_eq!(
            environment.parse::<u64>("FRAZIL_MAX_RECORD_BYTES", BYTES).unwrap_err().to_string(),
            "FRAZIL_MAX_RECORD_BYTES=abc: expected a whole number of bytes"
        );
        assert_eq!(
            environment.required("FRAZIL_TABLE", "a table name").unwrap_err().to_string(),
            "FRAZIL_TABLE is not set: expected a table name"
        );
    }
}

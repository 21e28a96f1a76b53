//! Environment variables, typed.
//!
//! In: a set of variables, the process's or a test's. Out: typed values. Refused: a value that does not parse or is out of
//! range, named together with its variable and with what is expected. An empty variable counts as not set.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A variable that is wrong or missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariableError {
    /// The value does not parse, or is out of range.
    #[error("{name}={value}: expected {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should hold, in words.
        expected: String,
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

    /// The same, with another value of one variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
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
    pub fn parse<T: FromStr>(&self, name: &'static str, expected: &str) -> Result<Option<T>, VariableError> {
        self.text(name).map(|value| parse(name, value, expected)).transpose()
    }

    /// The whole number that a variable holds, within `range`, `None` if it is not set; `unit` says what it counts
    /// (`"bytes"`).
    ///
    /// # Errors
    /// [`VariableError::Invalid`].
    pub fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &'static str,
        unit: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, VariableError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        let expected = format!("a whole number of {unit} from {} to {}", range.start(), range.end());
        let number = parse(name, value, &expected)?;
        if range.contains(&number) {
            return Ok(Some(number));
        }
        Err(VariableError::Invalid { name, value: value.to_owned(), expected })
    }

    /// The value that a variable holds as one of the words of `choices`, `None` if it is not set.
    ///
    /// # Errors
    /// [`VariableError::Invalid`].
    pub fn choice<T: Clone>(
        &self,
        name: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, VariableError> {
        let Some(value) = self.text(name) else { return Ok(None) };
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == value) {
            return Ok(Some(chosen.clone()));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let expected = match words.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => words.concat(),
        };
        Err(VariableError::Invalid { name, value: value.to_owned(), expected })
    }
}

fn parse<T: FromStr>(name: &'static str, value: &str, expected: &str) -> Result<T, VariableError> {
    value.trim().parse().map_err(|_| VariableError::Invalid {
        name,
        value: value.to_owned(),
        expected: expected.to_owned(),
    })
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
    fn numbers_have_a_range_and_words_a_list() {
        let environment =
            Environment::from_iter([("FRAZIL_A", "12"), ("FRAZIL_B", "-1"), ("FRAZIL_C", "yes")]);
        let error = |result: Result<Option<u64>, VariableError>| result.unwrap_err().to_string();
        let range = "expected a whole number of bytes from 13 to 99";
        assert_eq!(environment.number("FRAZIL_A", "bytes", 12..=12), Ok(Some(12)));
        assert_eq!(environment.number("FRAZIL_D", "bytes", 13..=99), Ok(None::<u64>));
        assert_eq!(error(environment.number("FRAZIL_A", "bytes", 13..=99)), format!("FRAZIL_A=12: {range}"));
        assert_eq!(error(environment.number("FRAZIL_B", "bytes", 13..=99)), format!("FRAZIL_B=-1: {range}"));
        assert_eq!(environment.choice("FRAZIL_C", &[("no", 0), ("yes", 1)]), Ok(Some(1)));
        assert_eq!(
            error(environment.choice("FRAZIL_C", &[("true", 1), ("false", 0)])),
            "FRAZIL_C=yes: expected true or false"
        );
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

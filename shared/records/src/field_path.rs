//! Where a field is.
//!
//! In: names and dots. Out: a [`FieldPath`]. Refused: what names nothing, or more than [`MAX_FIELDS`].

use std::fmt;
use std::str::FromStr;

/// Fields of a path at most.
const MAX_FIELDS: usize = 8;

/// The names of fields from the root of an object inwards: `detail.items`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPath(Vec<String>);

/// A text that is no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one to {MAX_FIELDS} names of fields, separated by dots")]
pub struct InvalidPath;

impl FieldPath {
    /// The names.
    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for FieldPath {
    type Err = InvalidPath;

    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        let names: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_path = names.len() <= MAX_FIELDS && names.iter().all(|name| !name.is_empty());
        if is_path { Ok(Self(names)) } else { Err(InvalidPath) }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_and_dots() {
        for text in ["Records", "detail.items", "a.b.c.d.e.f.g.h"] {
            assert_eq!(text.parse::<FieldPath>().unwrap().to_string(), text);
        }
        for text in ["", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(text.parse::<FieldPath>(), Err(InvalidPath), "{text}");
        }
    }
}

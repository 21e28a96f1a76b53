//! Why a row is refused: a reason, the path of the field and the place in the record.

use std::fmt;

use jiter::JiterError;
use records::rejection::{Reason, Refusal};

/// Bytes of a name that a path shows: a key of megabytes is the row's content, and kept with it.
const PATH_NAME_BYTES: usize = 255;

/// Why a row is refused, while the path of the field is still being put together from the inside out.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    what: String,
    /// Which byte of what the parser was given.
    at: Option<usize>,
    path: Vec<String>,
}

impl Fault {
    pub(super) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self { reason, what: what.into(), at: None, path: Vec::new() }
    }

    pub(super) fn invalid_json(what: impl fmt::Display, at: usize) -> Self {
        Self { at: Some(at), ..Self::new(Reason::InvalidJson, what.to_string()) }
    }

    /// The fault where the parser was given what begins at `offset` of the record.
    pub(super) fn behind(self, offset: usize) -> Self {
        Self { at: self.at.map(|at| offset + at), ..self }
    }

    pub(super) fn mismatch(expected: &str, found: &str) -> Self {
        Self::new(Reason::TypeMismatch, format!("expected {expected}, found {found}"))
    }

    pub(super) fn within(mut self, name: &str) -> Self {
        let end = name.floor_char_boundary(PATH_NAME_BYTES);
        self.path.push(format!("{}{}", &name[..end], if end < name.len() { "..." } else { "" }));
        self
    }

    pub(super) fn into_refusal(self) -> Refusal {
        let mut path = String::new();
        for name in self.path.iter().rev() {
            if !path.is_empty() && !name.starts_with('[') {
                path.push('.');
            }
            path.push_str(name);
        }
        let place = self.at.map_or(String::new(), |at| format!(" at byte {at} of the record"));
        match self.path.is_empty() {
            true => Refusal::new(self.reason, self.what + &place),
            false => Refusal::new(self.reason, format!("field {path:?}: {}{place}", self.what)),
        }
    }
}

impl From<JiterError> for Fault {
    fn from(error: JiterError) -> Self {
        Self::invalid_json(error.error_type, error.index)
    }
}

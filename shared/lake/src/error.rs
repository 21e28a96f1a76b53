//! Why something failed, by what helps.
//!
//! In: an error of iceberg's, which is what its traits for storage and catalogs pass on. Out: a [`Kind`], and for the
//! caller of this crate an [`Error`]. An error that is made here carries its kind as its source; one that others have made
//! gets the kind of its cause. Wrong content of an object is no error: its records are rejected, each for a
//! [`records::rejection::Reason`].

use std::error::Error as StdError;
use std::{fmt, io};

use iceberg::ErrorKind;

use crate::causes::causes;

/// What kind of failure, by what helps. Its name in logs and metrics is its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A permission is missing: grant the one that the message names.
    Denied,
    /// There are no credentials, they are wrong or have expired, or the clock is minutes off: mend them.
    Credentials,
    /// A setting names what is not there or cannot be used, a bucket or a key perhaps: correct it.
    Misconfigured,
    /// A quota or a disk is used up: have it raised, or make room.
    Exhausted,
    /// Metadata, a table or a request is not as it must be: mend what the message names.
    Invalid,
    /// The object or the table is not there: restore it, or drop the message.
    Missing,
    /// The object was replaced while it was read: nothing, it is read anew.
    Changed,
    /// Other writers were faster: fewer of them, if it lasts.
    Conflict,
    /// Too many requests: fewer functions at a time, if it lasts.
    Throttled,
    /// A service does not answer, or failed: see its status, if it lasts.
    Unavailable,
    /// Nothing is known of it: read the message; report it, if it lasts.
    Unexpected,
}

/// What becomes of what failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// The same may succeed at once: try again in this invocation, then hand back.
    Retry,
    /// The same may succeed with another delivery: hand back. Asking again for what may come into being is no mistake.
    HandBack,
    /// Nothing helps but that someone acts: fail at once. The queue keeps the messages until then.
    Fail,
}

impl Kind {
    /// What becomes of what failed so.
    pub fn directive(self) -> Directive {
        match self {
            Self::Denied | Self::Credentials | Self::Misconfigured | Self::Exhausted | Self::Invalid => {
                Directive::Fail
            }
            Self::Missing | Self::Changed => Directive::HandBack,
            Self::Conflict | Self::Throttled | Self::Unavailable | Self::Unexpected => Directive::Retry,
        }
    }

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::Misconfigured => "misconfigured",
            Self::Exhausted => "exhausted",
            Self::Invalid => "invalid",
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Conflict => "conflict",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Unexpected => "unexpected",
        }
    }

    /// The kind of `error`: the one that it or a cause of it carries, or what it tells by itself.
    pub fn of(error: &iceberg::Error) -> Self {
        let causes = std::iter::successors(error.source(), |cause| (*cause).source());
        causes.into_iter().find_map(of_cause).unwrap_or(of_iceberg(error.kind()))
    }

    /// An error of this kind that says `what`.
    #[cfg(any(feature = "aws", feature = "rest", test))]
    pub(crate) fn error(self, what: impl Into<String>) -> iceberg::Error {
        self.within(ErrorKind::Unexpected, what)
    }

    /// The same for callers, the library among them, that go by its own kinds.
    pub(crate) fn within(self, kind: ErrorKind, what: impl Into<String>) -> iceberg::Error {
        let error = iceberg::Error::new(kind, what);
        if self == of_iceberg(kind) { error } else { error.with_source(self) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl StdError for Kind {}

/// `error` in other words: an error of its kind that says `what`.
pub(crate) fn reworded(error: &iceberg::Error, what: impl Into<String>) -> iceberg::Error {
    Kind::of(error).within(error.kind(), what)
}

fn of_cause(cause: &(dyn StdError + 'static)) -> Option<Kind> {
    if let Some(kind) = cause.downcast_ref::<Kind>() {
        return Some(*kind);
    }
    if let Some(error) = cause.downcast_ref::<iceberg::Error>() {
        return Some(of_iceberg(error.kind())).filter(|kind| *kind != Kind::Unexpected);
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::NotFound => Some(Kind::Missing),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(Kind::Denied),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Kind::Exhausted),
        _ => None,
    }
}

/// What the library's kinds come to.
fn of_iceberg(kind: ErrorKind) -> Kind {
    match kind {
        ErrorKind::DataInvalid => Kind::Invalid,
        ErrorKind::FeatureUnsupported => Kind::Misconfigured,
        ErrorKind::TableNotFound | ErrorKind::NamespaceNotFound => Kind::Missing,
        ErrorKind::PreconditionFailed => Kind::Changed,
        ErrorKind::CatalogCommitConflicts
        | ErrorKind::TableAlreadyExists
        | ErrorKind::NamespaceAlreadyExists => Kind::Conflict,
        // The library may add to its kinds.
        _ => Kind::Unexpected,
    }
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The catalog, or the files of the table's metadata.
    Catalog,
    /// The storage of data files or of the quarantine.
    Storage,
}

/// Why nothing was committed, as far as can be known.
#[derive(Debug)]
pub struct Error {
    /// What helps.
    pub kind: Kind,
    /// What failed.
    pub part: Part,
    error: iceberg::Error,
}

impl Error {
    /// The catalog failed with `error`.
    pub(crate) fn of_catalog(error: iceberg::Error) -> Self {
        Self { kind: Kind::of(&error), part: Part::Catalog, error }
    }
}

impl From<iceberg::Error> for Error {
    fn from(error: iceberg::Error) -> Self {
        Self { kind: Kind::of(&error), part: Part::Storage, error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            Part::Catalog => "catalog",
            Part::Storage => "storage",
        };
        write!(formatter, "the {part} failed: {}", causes(&self.error))
    }
}

/// Without a source: its text has the causes, and a chain would show them twice.
impl StdError for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_again_however_deep_it_is() {
        let made = Kind::Throttled.error("slow down");
        assert_eq!(Kind::of(&made), Kind::Throttled);
        assert_eq!(made.to_string(), "Unexpected => slow down, source: throttled");
        let outer = iceberg::Error::new(ErrorKind::DataInvalid, "no metadata").with_source(made);
        assert_eq!(Kind::of(&outer), Kind::Throttled);
        let again = reworded(&outer, "no table");
        assert_eq!((Kind::of(&again), again.kind()), (Kind::Throttled, ErrorKind::DataInvalid));
        assert_eq!(Error::of_catalog(again).kind, Kind::Throttled);
    }

    #[test]
    fn what_others_made_has_the_kind_of_its_cause() {
        let foreign = |kind: ErrorKind| iceberg::Error::new(kind, "what");
        for (error, kind) in [
            (foreign(ErrorKind::Unexpected), Kind::Unexpected),
            (foreign(ErrorKind::DataInvalid), Kind::Invalid),
            (foreign(ErrorKind::TableNotFound), Kind::Missing),
            (
                foreign(ErrorKind::Unexpected).with_source(io::Error::from(io::ErrorKind::NotFound)),
                Kind::Missing,
            ),
            (foreign(ErrorKind::Unexpected).with_source(io::Error::other("what")), Kind::Unexpected),
            (foreign(ErrorKind::Unexpected).with_source(foreign(ErrorKind::DataInvalid)), Kind::Invalid),
        ] {
            assert_eq!(Kind::of(&error), kind, "{error}");
            // What the library's kind says by itself is not said again.
            assert_eq!(
                kind.within(error.kind(), "what").source().is_some(),
                kind != of_iceberg(error.kind())
            );
        }
    }
}

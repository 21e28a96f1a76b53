//! Why a request to the catalog's server did not bring what it was sent for, and what that means for the caller.
//!
//! In: what was answered, or what kept an answer away. Out: an error with a remedy, or a [`NotSwapped`]. The server's
//! status and the type of its error decide, never its words.

use iceberg::{Error, ErrorKind, NamespaceIdent, TableIdent};
use reqwest::StatusCode;

use super::super::swap::NotSwapped;
use crate::error::{Directive, Kind, reworded};

/// What is said of an error: some servers answer with pages.
const LONGEST_TOLD_CHARS: usize = 1000;

/// Why a request did not bring what it was sent for.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server answered that it did not do it, or does not know.
    Answered {
        status: StatusCode,
        /// The type of the error, such as `CommitFailedException`; empty if the server tells none.
        kind: String,
        /// What else the server says, in parentheses, or nothing.
        reason: String,
    },
    /// No answer came, or not all of it.
    Silent(String),
    /// An answer came that is not the specification's. It is not quoted here.
    NotUnderstood(String),
    /// Nothing was asked: there is no token, or the server does not tell its configuration.
    NoSession(Error),
}

impl Failure {
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the server refuses whoever asks. A token may just have expired.
    pub(super) fn is_about_identity(&self) -> bool {
        // 419 is the specification's for a session that has timed out.
        self.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403 | 419))
    }

    /// Whether the server refuses what it was sent, whoever asks.
    pub(super) fn is_about_content(&self) -> bool {
        self.status().is_some_and(|status| {
            [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY].contains(&status)
        })
    }

    /// What helps.
    fn kind(&self) -> Kind {
        match self {
            Self::Answered { status, .. } => kind_of(*status),
            Self::Silent(_) => Kind::Unavailable,
            // Whoever answers so is no such server.
            Self::NotUnderstood(_) => Kind::Misconfigured,
            Self::NoSession(error) => Kind::of(error),
        }
    }

    /// Whether the same request may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        self.kind().directive() == Directive::Retry
    }

    /// What is said of it, in one line.
    pub(super) fn told(&self) -> String {
        let text = match self {
            Self::Answered { status, reason, .. } => format!("it answers {status}{reason}"),
            Self::Silent(why) => why.clone(),
            Self::NotUnderstood(why) => format!("its answer is not understood: {why}"),
            Self::NoSession(error) => error.to_string(),
        };
        text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST_TOLD_CHARS).collect()
    }

    /// What failed, with a remedy.
    pub(super) fn error(&self, uri: &str) -> Error {
        if let Self::NoSession(error) = self {
            return reworded(error, error.message());
        }
        let remedy = match self.status().map(|status| status.as_u16()) {
            Some(401 | 419) => {
                "The credentials are wrong or have expired: see FRAZIL_CATALOG_TOKEN or FRAZIL_CATALOG_CREDENTIAL"
            }
            Some(403) => {
                "The credentials do not allow this: see the rights of their principal in the catalog"
            }
            Some(404) => "See FRAZIL_CATALOG_URI (without /v1) and FRAZIL_WAREHOUSE",
            _ => "See FRAZIL_CATALOG_URI and the server's log; messages are delivered again",
        };
        let what = format!("the REST catalog {uri}: {}. {remedy}", self.told());
        self.kind().error(what)
    }

    /// What failed about the table `ident`, which is missing if anything is.
    pub(super) fn of_table(&self, uri: &str, ident: &TableIdent) -> Error {
        if self.status() != Some(StatusCode::NOT_FOUND) {
            return self.error(uri);
        }
        let what = format!("the REST catalog {uri} has no table {ident}: create it, or see FRAZIL_TABLE");
        Error::new(ErrorKind::TableNotFound, what)
    }

    /// What failed in `namespace`, which is missing if anything is.
    pub(super) fn of_namespace(&self, uri: &str, namespace: &NamespaceIdent) -> Error {
        if self.status() != Some(StatusCode::NOT_FOUND) {
            return self.error(uri);
        }
        let what =
            format!("the REST catalog {uri} has no namespace {namespace}: create it, or see FRAZIL_TABLE");
        Error::new(ErrorKind::NamespaceNotFound, what)
    }

    /// What failed about a new table.
    pub(super) fn not_created(&self, uri: &str, ident: &TableIdent) -> Error {
        if self.status() == Some(StatusCode::CONFLICT) {
            let what = format!("the REST catalog has a table {ident} already");
            return Error::new(ErrorKind::TableAlreadyExists, what);
        }
        self.of_namespace(uri, ident.namespace())
    }

    /// The server refused a commit to the table `ident` since another one came first.
    pub(super) fn conflict(&self, ident: &TableIdent) -> NotSwapped {
        let told = self.told();
        NotSwapped::conflict(format!("another writer was faster: the table {ident} has changed ({told})"))
    }

    /// Why a commit was not made (Iceberg REST catalog specification, "updateTable").
    pub(super) fn not_swapped(&self, uri: &str, ident: &TableIdent) -> NotSwapped {
        let error = self.of_table(uri, ident);
        match self {
            Self::Answered { kind, .. } if kind == "CommitStateUnknownException" => {
                NotSwapped::Unknown(error)
            }
            Self::Answered { status, kind, .. }
                if *status == StatusCode::CONFLICT || kind == "CommitFailedException" =>
            {
                self.conflict(ident)
            }
            Self::Answered { status, .. } if status.is_client_error() && !self.may_pass() => {
                NotSwapped::Refused(error)
            }
            Self::NoSession(_) if !self.may_pass() => NotSwapped::Refused(error),
            // An answer of success is not read, so that one that is not understood is no answer to a commit.
            Self::Answered { .. } | Self::Silent(_) | Self::NotUnderstood(_) | Self::NoSession(_) => {
                NotSwapped::Unknown(error)
            }
        }
    }
}

/// What a status of an answer says (Iceberg REST catalog specification, "responses").
pub(super) fn kind_of(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 | 419 => Kind::Credentials,
        403 => Kind::Denied,
        404 => Kind::Missing,
        409 => Kind::Conflict,
        429 => Kind::Throttled,
        408 | 425 | 500.. => Kind::Unavailable,
        _ => Kind::Invalid,
    }
}

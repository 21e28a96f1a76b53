//! Why an invocation failed, for Lambda, the log and the metrics.

use lake::{Kind, Part};
use lambda::failure::ErrorType;

/// Why an invocation failed.
#[derive(Debug, thiserror::Error)]
#[error("{error:#}")]
pub struct Failure {
    /// What is to be looked after.
    pub error_type: ErrorType,
    /// What helps, if lake failed.
    pub error_kind: Option<Kind>,
    /// What happened.
    pub error: anyhow::Error,
}

impl Failure {
    /// Makes an error a failure of this type.
    pub fn of<E: Into<anyhow::Error>>(error_type: ErrorType) -> impl FnOnce(E) -> Self {
        move |error| Self { error_type, error_kind: None, error: error.into() }
    }

    /// Nothing could be appended to the table `table`, as far as is known.
    pub fn of_table(error: lake::Error, table: &str) -> Self {
        let error_type = match error.part {
            Part::Catalog => ErrorType::CatalogFailed,
            Part::Storage => ErrorType::StorageFailed,
        };
        let (error_kind, what) = (Some(error.kind), format!("cannot append to the table {table}"));
        Self { error_type, error_kind, error: anyhow::Error::new(error).context(what) }
    }
}

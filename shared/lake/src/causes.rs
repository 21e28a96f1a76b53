//! An error and its causes, in one line.
//!
//! In: an error whose own text says too little, as an HTTP client's does, or the same thing several times, as a library's
//! does that shows its causes itself. Out: a sentence that says each thing once.

use std::error::Error;

use crate::error::Kind;

/// The text of `error` and of everything that led to it.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let said = own_text(cause);
        if !text.contains(&said) {
            text = if text.is_empty() { said } else { format!("{text}: {said}") };
        }
        next = cause.source();
    }
    text
}

/// What `error` says beside its cause, and beside kinds that only programs go by. May be empty.
fn own_text(error: &(dyn Error + 'static)) -> String {
    if error.is::<Kind>() {
        return String::new();
    }
    let whole = error.to_string();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let own = whole.strip_suffix(&cause).unwrap_or(&whole);
    let own =
        if own.len() < whole.len() { own.trim_end_matches(": ").trim_end_matches(", source") } else { own };
    let Some(iceberg) = error.downcast_ref::<iceberg::Error>() else {
        // How `parquet` calls an error that is not its own.
        return own.strip_prefix("External").filter(|rest| rest.is_empty()).unwrap_or(own).to_owned();
    };
    let kind = iceberg.kind().to_string();
    let Some((context, message)) = own.strip_prefix(&kind).and_then(|own| own.split_once(" => ")) else {
        return own.to_owned();
    };
    format!("{message}{context}")
}

#[cfg(test)]
mod tests {
    use std::io;

    use iceberg::ErrorKind;
    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn each_thing_is_said_once() {
        let full = || io::Error::new(io::ErrorKind::StorageFull, "cannot write a.parquet: no space left");
        let written = iceberg::Error::new(ErrorKind::Unexpected, full().to_string()).with_source(full());
        let closed = iceberg::Error::new(ErrorKind::Unexpected, "cannot close a.parquet")
            .with_source(ParquetError::External(written.into()));
        assert_eq!(causes(&closed), "cannot close a.parquet: cannot write a.parquet: no space left");
        let found = iceberg::Error::new(ErrorKind::DataInvalid, "no schema").with_context("path", "v1.json");
        assert_eq!(causes(&found), "no schema, context: { path: v1.json }");
        assert_eq!(causes(&Kind::Throttled.error("slow down")), "slow down");
        assert_eq!(causes(&iceberg::Error::new(ErrorKind::TableNotFound, "")), "TableNotFound");
        assert_eq!(causes(&full()), "cannot write a.parquet: no space left");
    }
}

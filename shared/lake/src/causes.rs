//! An error and its causes, in one line.
//!
//! In: an error of an HTTP client, whose own text often says no more than that something went wrong. Out: a sentence
//! that says what.

use std::error::Error;

/// The text of `error` and of everything that led to it.
pub(crate) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some errors show their cause themselves.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

//! What a command prints.
//!
//! In: lines of text, and values as JSON. Out: standard output and standard error. A reader that went away early, as
//! `head` does, wants no more and is no error. Any other failure is kept until the command has done its work, and
//! [`finished`] tells of it.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use indicatif::HumanCount;
use serde::Serialize;

/// What happened on standard output.
struct Output {
    has_printed: bool,
    error: Option<io::Error>,
}

static OUTPUT: Mutex<Output> = Mutex::new(Output { has_printed: false, error: None });

/// Prints a line on standard output, as `println!` does, which panics where nobody reads it.
macro_rules! out {
    ($($part:tt)*) => { $crate::page::print(format_args!($($part)*)) };
}
pub(crate) use out;

/// Prints a line on standard output.
pub(crate) fn print(text: fmt::Arguments<'_>) {
    let mut output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
    output.has_printed = true;
    if output.error.is_none() {
        output.error = writeln!(io::stdout(), "{text}").err();
    }
}

/// Prints `value` as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    out!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Whether anything was printed, be it read or not.
pub(crate) fn has_printed() -> bool {
    OUTPUT.lock().unwrap_or_else(PoisonError::into_inner).has_printed
}

/// Ends the output.
///
/// # Errors
/// Not all of it could be written.
pub(crate) fn finished() -> anyhow::Result<()> {
    let error = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner).error.take();
    match error.or_else(|| io::stdout().flush().err()) {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Prints a line on standard error.
pub(crate) fn complain(text: impl fmt::Display) {
    // There is nowhere else to say that this failed.
    let _ = writeln!(io::stderr(), "frazil: {text}");
}

/// `  name        1,234  remark`, on standard output.
pub(crate) fn line(name: &str, count: u64, remark: &str) {
    let count = HumanCount(count).to_string();
    out!("{}", format!("  {name:<12}{count:>12}  {remark}").trim_end());
}

/// `counted(1, "file")` is `1 file`, `counted(2, "file")` is `2 files`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", HumanCount(count), if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_singular_or_plural() {
        assert_eq!((counted(1, "file"), counted(1_000, "file")), ("1 file".into(), "1,000 files".into()));
    }
}

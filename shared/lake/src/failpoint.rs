//! Places where tests stop, slow down or break the process.
//!
//! In: the name of a place that the code passes. Out: nothing, unless the crate was built with the feature
//! `failpoints`, which only tests switch on, and the environment's `FAILPOINTS` configures the place (syntax of the crate
//! `fail`, `NAME=ACTION;NAME=ACTION`). Beside the actions of that crate:
//! - `return`: writes `reached NAME` to standard error and stays there for ever, to be killed;
//! - `return(wait)`: writes `reached NAME` and goes on when standard input gives a line;
//! - `return(error)`: fails with an error that names the place.

use iceberg::Result;

/// Passes the place `name`.
///
/// # Errors
/// Those that a test asked for.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn failpoint(_name: &'static str) -> Result<()> {
    Ok(())
}

/// Passes the place `name`.
///
/// # Errors
/// Those that a test asked for.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &'static str) -> Result<()> {
    use iceberg::{Error, ErrorKind};

    static SETUP: std::sync::Once = std::sync::Once::new();
    // The places stay configured until the process ends.
    SETUP.call_once(|| std::mem::forget(fail::FailScenario::setup()));
    fail::fail_point!(name, |action| match action.as_deref() {
        Some("error") => Err(Error::new(ErrorKind::Unexpected, format!("the failpoint {name}"))),
        Some("wait") => {
            tell(name);
            let line = std::io::stdin().read_line(&mut String::new());
            line.map(drop).map_err(|error| Error::new(ErrorKind::Unexpected, format!("{name}: {error}")))
        }
        _ => {
            tell(name);
            loop {
                std::thread::park();
            }
        }
    });
    Ok(())
}

/// Tells the test that `name` is reached.
#[cfg(feature = "failpoints")]
#[expect(clippy::print_stderr, reason = "the test reads it there")]
fn tell(name: &str) {
    eprintln!("reached {name}");
}

//! Places where tests stop, slow down or break the process.
//!
//! In: the name of a place that the code passes. Out: nothing, unless the crate was built with the feature
//! `failpoints`, which only tests switch on, and the environment's `FAILPOINTS` configures the place (syntax of the crate
//! `fail`, `NAME=ACTION;NAME=ACTION`). Beside the actions of that crate:
//! - `return`: writes `reached NAME` to standard error and stays there for ever, to be killed;
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
    fail::fail_point!(name, |action| {
        if action.as_deref() == Some("error") {
            return Err(Error::new(ErrorKind::Unexpected, format!("the failpoint {name}")));
        }
        stop(name)
    });
    Ok(())
}

/// Tells the test that `name` is reached, and waits to be killed.
#[cfg(feature = "failpoints")]
#[expect(clippy::print_stderr, reason = "the test reads it there")]
fn stop(name: &str) -> ! {
    eprintln!("reached {name}");
    loop {
        std::thread::park();
    }
}

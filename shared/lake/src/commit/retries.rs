//! When a commit is tried again.

use std::time::Duration;

use iceberg::{Error, Result};
use tokio::time::Instant;

use crate::env::Env;
use crate::error::{Directive, Kind};

/// The first pause between attempts; it doubles up to [`MAX_PAUSE`] and is cut at random.
pub(super) const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Attempts that fail for another reason than a conflict.
pub(super) const MAX_FAILURES: u32 = 5;

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(super) enum Lost {
    /// Another writer was faster.
    Conflict(Error),
    /// It failed, and may not fail again.
    Failure(Error),
    /// It will fail again.
    Refusal(Error),
}

impl Lost {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Conflict(error) | Self::Failure(error) | Self::Refusal(error) => error,
        }
    }
}

#[derive(Debug)]
pub(super) struct Retries<'a> {
    env: &'a Env,
    pause: Duration,
    /// Failures that were no conflict.
    failures: u32,
    deadline: Instant,
}

impl<'a> Retries<'a> {
    pub(super) fn until(deadline: Instant, env: &'a Env) -> Self {
        Self { env, pause: MIN_PAUSE, failures: 0, deadline }
    }

    /// Sleeps before the next attempt, or gives `lost` back when there is to be none.
    pub(super) async fn wait(&mut self, lost: Lost) -> std::result::Result<(), Lost> {
        match lost {
            // Another writer's success: as long as there is time, it is no reason to give up.
            Lost::Conflict(_) => {}
            Lost::Failure(_) => self.failures += 1,
            Lost::Refusal(_) => return Err(lost),
        }
        // Half is fixed and half is random, so that writers that met do not meet again.
        let sleep = self.pause.mul_f64(0.5 + self.env.jitter() / 2.0);
        if self.failures >= MAX_FAILURES || Instant::now() + sleep >= self.deadline {
            return Err(lost);
        }
        tokio::time::sleep(sleep).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Ok(())
    }

    /// The same for an error that came before there was an attempt.
    pub(super) async fn wait_after(&mut self, error: Error) -> Result<()> {
        let lost = match Kind::of(&error).directive() {
            Directive::Fail => Lost::Refusal(error),
            // What is not there may be a file that a writer has replaced meanwhile.
            Directive::HandBack | Directive::Retry => Lost::Failure(error),
        };
        self.wait(lost).await.map_err(Lost::into_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn where_only_a_person_can_help_nothing_is_tried_again() {
        let env = Env::default();
        for (kind, is_tried_again) in [
            (Kind::Denied, false),
            (Kind::Misconfigured, false),
            (Kind::Missing, true),
            (Kind::Throttled, true),
            (Kind::Unexpected, true),
        ] {
            let mut retries = Retries::until(Instant::now() + Duration::from_secs(60), &env);
            let waited = retries.wait_after(kind.error("planned")).await;
            assert_eq!(waited.is_ok(), is_tried_again, "{kind}");
        }
    }
}

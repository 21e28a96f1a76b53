//! Attempts to put something in the place of a table, until one succeeds or none can.
//!
//! In: an [`Edit`], which knows what is to become of any base. Out: its outcome. Each attempt starts from the table as it is
//! then. After any error the outcome of a swap is unknown, and only the table tells.

use iceberg::{Error, ErrorKind, Result, TableIdent};
use tokio::time::Instant;

use super::leftovers;
use super::retries::{Lost, Retries};
use crate::catalog::{Loaded, Next, NotSwapped, TableCatalog};
use crate::env::Env;
use crate::failpoint::failpoint;
use crate::job::CommitMetrics;

/// What is to become of a table.
pub(super) trait Edit {
    type Outcome;

    /// What came of it, if `base` tells: it is there, or it can no longer be made. `is_tried` says whether a swap was tried.
    ///
    /// # Errors
    /// The storage's.
    async fn look(&mut self, base: &Loaded, is_tried: bool) -> Result<Option<Look<Self::Outcome>>>;

    /// What `base` is to become, or why it cannot.
    ///
    /// # Errors
    /// The storage's. Nothing refers to what was written.
    async fn successor(
        &mut self,
        base: &Loaded,
        is_tried: bool,
    ) -> Result<std::result::Result<Box<Next>, Self::Outcome>>;
}

/// What a base tells of an edit.
pub(super) struct Look<T> {
    pub(super) outcome: T,
    /// Whether it is in the base.
    pub(super) is_committed: bool,
}

/// Why a change was not committed.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// Other writers were faster until the deadline.
    Outrun(Error),
    /// The catalog or the storage failed.
    Failed(Error),
}

/// Makes `edit` to the table `ident`, until `deadline`, and counts in `metrics` what it takes.
///
/// # Errors
/// [`CommitError`].
pub(super) async fn run<E: Edit>(
    catalog: &dyn TableCatalog,
    env: &Env,
    ident: &TableIdent,
    mut edit: E,
    deadline: Instant,
    metrics: &mut CommitMetrics,
) -> std::result::Result<E::Outcome, CommitError> {
    let mut retries = Retries::until(deadline, env);
    let mut last_base: Option<Loaded> = None;
    let mut lost: Option<Lost> = None;
    loop {
        let is_tried = last_base.is_some();
        let looked = match catalog.load(ident).await {
            Ok(base) => edit.look(&base, is_tried).await.map(|look| (base, look)),
            Err(error) => Err(error),
        };
        let (base, look) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                retries.wait_after(error).await.map_err(CommitError::Failed)?;
                continue;
            }
        };
        if let Some(look) = look {
            if let Some(last) = last_base.filter(|_| look.is_committed && !catalog.keeps_metadata_files()) {
                leftovers::delete(last.table.metadata(), &base.table, deadline).await;
            }
            return Ok(look.outcome);
        }
        if let Some(reason) = lost.take() {
            // Others commit during the pause: the next attempt must not start from a base from before it.
            retries.wait(reason).await.map_err(|reason| match reason {
                Lost::Conflict(error) => CommitError::Outrun(error),
                Lost::Failure(error) | Lost::Refusal(error) => CommitError::Failed(error),
            })?;
            continue;
        }
        let next = match edit.successor(&base, is_tried).await {
            Ok(Ok(next)) => next,
            Ok(Err(outcome)) => return Ok(outcome),
            // Nothing refers to what was written.
            Err(error) => {
                tracing::info!(%error, "commit attempt failed");
                retries.wait_after(error).await.map_err(CommitError::Failed)?;
                continue;
            }
        };
        metrics.attempts += 1;
        let swapped = match failpoint("before swap") {
            Ok(()) => catalog.swap(&base, &next).await,
            Err(error) => Err(NotSwapped::Unknown(error)),
        };
        let swapped = swapped.and_then(|()| failpoint("after swap").map_err(NotSwapped::Unknown));
        last_base = Some(base);
        lost = Some(match swapped {
            // The next turn finds it. If it does not, the catalog has lost it.
            Ok(()) => {
                let what = "the catalog reported a commit that it did not keep";
                Lost::Failure(Error::new(ErrorKind::Unexpected, what))
            }
            Err(NotSwapped::Conflict(error)) => {
                metrics.conflicts += 1;
                Lost::Conflict(error)
            }
            Err(NotSwapped::Unknown(error)) => Lost::Failure(error),
            Err(NotSwapped::Refused(error)) => Lost::Refusal(error),
        });
        tracing::debug!(outcome = ?lost, "a swap was tried");
    }
}

//! Tasks and threads beside the one that answers.
//!
//! In: work, on tasks or on threads that may block. Out: the same work, whose log lines carry the span of whoever started
//! it (and so the request id of the invocation), and which ends once nobody waits for it: whoever waits holds a
//! [`Waiting`], the work a [`Stop`]. A thread cannot be stopped from outside, so it asks its [`Stop`] wherever it would
//! otherwise go on for long; whatever it waits for must end by the [`Stop`] too.

use std::sync::OnceLock;
use std::thread::available_parallelism;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument as _, Span};

/// Held by whoever waits for work. Dropped, it ends the work.
#[derive(Debug)]
pub(crate) struct Waiting {
    _guard: DropGuard,
}

/// Tells work that nobody waits for it any longer.
#[derive(Clone, Debug)]
pub(crate) struct Stop(CancellationToken);

/// The two ends of a piece of work.
pub(crate) fn waiting() -> (Waiting, Stop) {
    let token = CancellationToken::new();
    (Waiting { _guard: token.clone().drop_guard() }, Stop(token))
}

impl Stop {
    /// Whether nobody waits any longer.
    pub(crate) fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Does `work` while someone waits for it; None if it was not done by then.
    pub(crate) async fn run<F: Future>(&self, work: F) -> Option<F::Output> {
        self.0.run_until_cancelled(work).await
    }
}

/// Whether two threads can run at once. Asked once: the answer is read from files of the kernel.
pub(crate) fn has_two_processors() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| available_parallelism().is_ok_and(|count| count.get() > 1))
}

/// Starts a task in the current span.
pub(crate) fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(work.in_current_span())
}

/// Starts `work` on a thread that may block, in the current span and runtime.
pub(crate) fn spawn_blocking<T, F>(work: F) -> JoinHandle<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let (runtime, span) = (tokio::runtime::Handle::current(), Span::current());
    tokio::task::spawn_blocking(move || {
        let _within = runtime.enter();
        span.in_scope(work)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn spawned_work_is_in_the_span_of_its_invocation() {
        // Threads have no subscriber of their own.
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
        let span = tracing::info_span!("invocation", requestId = "r-1");
        let inner = async {
            let task = spawn(async { Span::current().id() }).await.unwrap();
            let thread = spawn_blocking(|| Span::current().id()).await.unwrap();
            (task, thread)
        };
        let (task, thread) = inner.instrument(span.clone()).await;
        assert!(span.id().is_some());
        assert_eq!((task, thread), (span.id(), span.id()));
    }

    #[tokio::test]
    async fn work_ends_with_whoever_waits_for_it() {
        let (waiting, stop) = waiting();
        assert_eq!((stop.is_stopped(), stop.run(async { 7 }).await), (false, Some(7)));
        let work = spawn(async move { stop.run(std::future::pending::<()>()).await });
        drop(waiting);
        assert_eq!(work.await.unwrap(), None);
    }
}

//! The end of a command that writes, however it comes.
//!
//! In: the command and its catalog. Out: what came of it. On SIGINT and SIGTERM the command ends where it is: what it
//! committed stands, and running it again does the rest. Whatever the end is, the file of a catalog in a file alone is the catalog after it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use append::config::CatalogConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::page::complain;

/// How long a command that was stopped may take to let go of the catalog.
const LETTING_GO: Duration = Duration::from_secs(1);
/// How long to wait for programs that read the catalog in an earlier state.
const READERS: Duration = Duration::from_secs(5);

/// A signal ended the command.
#[derive(Debug)]
pub(crate) struct Stopped {
    name: &'static str,
    signal: SignalKind,
}

impl Stopped {
    /// The exit status that shells give to a program that a signal ends.
    pub(crate) fn status(&self) -> ExitCode {
        ExitCode::from(128 + self.signal.as_raw_value() as u8)
    }
}

impl std::error::Error for Stopped {}

impl std::fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "stopped by {}; what was committed stands, and running the command again does the rest",
            self.name
        )
    }
}

/// Runs `command`, which writes to tables of `catalog`, to its end or to a signal.
pub(crate) async fn guarded(
    catalog: &CatalogConfig,
    command: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> anyhow::Result<()> {
    let watched = "cannot watch for signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(watched)?;
    let mut terminate = signal(SignalKind::terminate()).context(watched)?;
    // In a task of its own: the command must not keep the signals waiting while it computes.
    let mut command = tokio::spawn(command);
    let stopped = tokio::select! {
        outcome = &mut command => {
            settle(catalog).await;
            return outcome.context("the command panicked: a defect")?;
        }
        _ = interrupt.recv() => Stopped { name: "SIGINT", signal: SignalKind::interrupt() },
        _ = terminate.recv() => Stopped { name: "SIGTERM", signal: SignalKind::terminate() },
    };
    command.abort();
    let _ = timeout(LETTING_GO, command).await;
    settle(catalog).await;
    Err(stopped.into())
}

/// Brings every commit into the file of a catalog in a file.
async fn settle(catalog: &CatalogConfig) {
    // A catalog that is damaged or cannot be written was the command's own error.
    if let (Ok(false), CatalogConfig::Sqlite { database, .. }) = (catalog.checkpoint(READERS).await, catalog)
    {
        complain(format_args!(
            "another program is reading {0}; its last commit is in {0}-wal until that ends: copy both",
            database.display()
        ));
    }
}

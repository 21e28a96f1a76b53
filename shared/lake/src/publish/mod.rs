//! A branch that was appended to -> main has what was audited, or nothing of it.
//!
//! In: a table, a branch, the bounds that its new rows must keep. Out: a [`Publication`]: the commits that main does not
//! have, what was found wrong with them, and what became of them. What is audited is a snapshot, and that snapshot is
//! published, whatever comes to the branch meanwhile. The audit holds the files against what the commits say of them, and
//! their rows against the bounds. Refused: a branch that cannot be applied upon main ([`crate::commit`]).

mod audit;
mod checks;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests;

use std::sync::Arc;

use iceberg::spec::{MAIN_BRANCH, SnapshotRef};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, TableIdent};
use tokio::time::Instant;

use self::audit::Audit;
pub use self::audit::{Bounds, MaxNulls};
pub use self::checks::{Audited, Checks};
use crate::branch::{self, Lead};
use crate::catalog::Lake;
use crate::commit::{self, CommitError, How, Published, Publishing};
use crate::error::{Error as Failure, Kind};
use crate::ledger::{self, Memory};
use crate::token;

/// What is to be published.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The table.
    pub table: TableIdent,
    /// The branch.
    pub branch: String,
    /// The snapshot of the branch that is audited and published; without it, the branch's head as it is now.
    pub snapshot: Option<i64>,
    /// What its new rows must keep to.
    pub bounds: Bounds,
    /// What else is to hold, which others than this crate know how to ask.
    pub checks: Option<Arc<dyn Checks>>,
    /// Where rejected rows go: the table's ledger lies beside it.
    pub errors_uri: String,
    /// Whether it is audited only.
    pub is_dry_run: bool,
    /// When it must be done.
    pub deadline: Instant,
}

/// What became of a branch.
#[derive(Debug)]
pub struct Publication {
    /// The snapshot that was audited.
    pub snapshot: i64,
    /// The commits that main did not have, oldest first.
    pub commits: Vec<NewCommit>,
    /// What is wrong with them.
    pub findings: Vec<String>,
    /// What became of them.
    pub status: PublicationStatus,
    /// The table's current snapshot by now.
    pub main: Option<i64>,
}

/// A commit of a branch that main does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCommit {
    /// Its snapshot.
    pub snapshot: i64,
    /// When it was committed, in milliseconds since 1970.
    pub time_ms: i64,
    /// Rows in its files.
    pub rows: u64,
    /// Data files that it has added.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Raw objects that it is made of.
    pub objects: u64,
}

/// What became of the commits of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicationStatus {
    /// Main has them all already.
    Nothing,
    /// They did not pass the audit. Nothing was changed.
    Rejected,
    /// They pass the audit and were not to be published. `is_fast` says whether main would only be set to the snapshot.
    Audited {
        /// Whether main stands where the branch began.
        is_fast: bool,
    },
    /// Main was set to the snapshot.
    FastForward,
    /// They were applied again upon main, which had gone on.
    Applied,
    /// They cannot be published: why, and what to do. Nothing was changed.
    Refused(String),
}

impl Lake {
    /// Audits what a branch has and main has not, and publishes it.
    ///
    /// # Errors
    /// There is no such table, branch, snapshot or column; the catalog or the storage failed. Main is then as it was, as far
    /// as can be known, and the same call again finds out.
    pub async fn publish(&self, options: &PublishOptions) -> std::result::Result<Publication, Failure> {
        let PublishOptions { table: ident, branch, deadline, .. } = options;
        let table = self.catalog.load_table(ident).await.map_err(Failure::of_catalog)?;
        let audited = audited(&table, options)?;
        let metadata = table.metadata();
        let main = self.ledgers.of(metadata, table.file_io()).await;
        let mut publication = Publication {
            snapshot: audited,
            commits: Vec::new(),
            findings: Vec::new(),
            status: PublicationStatus::Nothing,
            main: metadata.current_snapshot_id(),
        };
        if branch::is_published(metadata, &main, audited) {
            return Ok(publication);
        }
        let Lead { mut commits, is_whole } = main.lead(metadata, audited);
        commits.reverse();
        let mut audit = Audit::of(&table, audited, &commits, options).await?;
        publication.commits = commits.iter().map(|commit| new_commit(commit, &audit)).collect();
        publication.findings = audit.findings(&commits, &options.bounds);
        if !is_whole {
            let what = "commits of the branch that came before have expired and were never published";
            publication.findings.push(what.to_owned());
        }
        if let Some(checks) = &options.checks {
            let new_files = std::mem::take(&mut audit.new_files);
            let audited = Audited { table: table.clone(), snapshot: audited, new_files };
            publication.findings.extend(checks.findings(self, audited).await);
        }
        if !publication.findings.is_empty() {
            publication.status = PublicationStatus::Rejected;
            return Ok(publication);
        }
        if options.is_dry_run {
            let fork = commits.first().and_then(|first| first.parent_snapshot_id());
            publication.status = PublicationStatus::Audited { is_fast: fork == publication.main };
            return Ok(publication);
        }
        let root = ledger::root(&options.errors_uri, &ident.to_string());
        let (ledgers, tokens) = (self.ledgers.as_ref(), [].as_slice());
        let memory = Memory { ledgers, root: &root, tokens, offsets: None, newest_ms: None };
        let publishing = Publishing { branch, audited, memory };
        let published = commit::publish(self.catalog.as_ref(), &self.env, ident, publishing, *deadline).await;
        let published = published.map_err(|error| match error {
            CommitError::Outrun(error) | CommitError::Failed(error) => Failure::of_catalog(error),
        })?;
        let (status, table) = match published {
            Published::Done(table, How::FastForward) => (PublicationStatus::FastForward, Some(table)),
            Published::Done(table, How::Applied) => (PublicationStatus::Applied, Some(table)),
            // Another publisher was faster.
            Published::Before(table) => (PublicationStatus::Nothing, Some(table)),
            Published::Refused(why) => (PublicationStatus::Refused(why), None),
        };
        publication.status = status;
        publication.main = table.map_or(publication.main, |table| table.metadata().current_snapshot_id());
        Ok(publication)
    }
}

/// The snapshot to audit.
fn audited(table: &Table, options: &PublishOptions) -> std::result::Result<i64, Error> {
    let (metadata, branch, ident) = (table.metadata(), options.branch.as_str(), &options.table);
    if branch == MAIN_BRANCH {
        let what = format!("{MAIN_BRANCH} is what readers see: name the branch that is appended to");
        return Err(Kind::Misconfigured.within(ErrorKind::DataInvalid, what));
    }
    let Some(head) = metadata.snapshot_for_ref(branch) else {
        let what = format!(
            "the table {ident} has no branch {branch}: nothing was appended to it yet, or it was dropped. FRAZIL_BRANCH names \
             the branch that is appended to"
        );
        return Err(Kind::Missing.within(ErrorKind::DataInvalid, what));
    };
    match options.snapshot {
        None => Ok(head.snapshot_id()),
        Some(id) if metadata.snapshot_by_id(id).is_some() => Ok(id),
        Some(id) => {
            let what = format!("the table {ident} has no snapshot {id}, or not any more");
            Err(Kind::Missing.within(ErrorKind::DataInvalid, what))
        }
    }
}

fn new_commit(commit: &SnapshotRef, audit: &Audit) -> NewCommit {
    let tally = audit.of_commit(commit.snapshot_id());
    NewCommit {
        snapshot: commit.snapshot_id(),
        time_ms: commit.timestamp_ms(),
        rows: tally.rows,
        files: tally.files,
        bytes: tally.bytes,
        objects: token::tokens_of(commit).count() as u64,
    }
}

//! Conditions on what a branch has and main has not, which another crate evaluates.
//!
//! In: the snapshot that was audited, and which of its files main does not have. Out: what does not hold.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use iceberg::table::Table;

use crate::catalog::Lake;

/// What was audited, before it is published.
#[derive(Debug)]
pub struct Audited {
    /// The table, with the metadata that the audit went by.
    pub table: Table,
    /// The snapshot that is published if all holds.
    pub snapshot: i64,
    /// Paths of the data files that the branch's commits have added and that the snapshot still has.
    pub new_files: HashSet<String>,
}

/// Conditions that a publication depends on.
#[async_trait]
pub trait Checks: fmt::Debug + Send + Sync {
    /// What does not hold, or cannot be told; empty if nothing stands against the publication.
    async fn findings(&self, lake: &Lake, audited: Audited) -> Vec<String>;
}

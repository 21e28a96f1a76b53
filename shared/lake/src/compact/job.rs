//! What a compaction is given, and what it gives back.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use iceberg::spec::TableMetadata;
use iceberg::{Result, TableIdent};
use tokio::time::Instant;

use crate::job::{CommitMetrics, WriteLimits};
use crate::write::target_file_bytes;

/// How to compact.
#[derive(Clone, Debug)]
pub struct CompactOptions {
    /// The table.
    pub table: TableIdent,
    /// Where rejected rows go: beside it lies the ledger of tokens.
    pub errors_uri: String,
    /// How long after its end a partition counts as closed.
    pub margin: Duration,
    /// Files of about one size that are worth being made one in a partition that is still written to.
    pub open_files: usize,
    /// Bytes that a file should have; None for what the table says (`write.target-file-size-bytes`).
    pub target_bytes: Option<u64>,
    /// Most files of one plan: memory holds their names.
    pub max_files: usize,
    /// When all must be done, by the clock of tokio.
    pub deadline: Instant,
    /// What reading and writing hold.
    pub limits: WriteLimits,
}

impl CompactOptions {
    pub(super) fn target_bytes(&self, metadata: &TableMetadata) -> Result<u64> {
        match self.target_bytes {
            Some(bytes) => Ok(bytes),
            None => target_file_bytes(metadata),
        }
    }
}

/// Why small files stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Left {
    /// They were written by a partition spec that is no longer the table's.
    OlderSpec,
    /// They are no Parquet files.
    Format,
    /// Deletes apply to them, or may. The engine that deletes compacts them.
    Deletes,
    /// Their columns have no field ids.
    NoFieldIds,
    /// A column cannot be read as the table's.
    Columns,
    /// They have a row group that memory has no room for.
    Memory,
    /// They are entered under another partition than their rows are of.
    Partition,
    /// As many files would come of them.
    NoGain,
    /// The rows did not come out as they went in.
    Rows,
    /// They cannot be read, or what was written could not be kept.
    Failed,
}

impl Left {
    /// Its name in logs and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::OlderSpec => "older_partition_spec",
            Self::Format => "not_parquet",
            Self::Deletes => "deletes_apply",
            Self::NoFieldIds => "no_field_ids",
            Self::Columns => "unreadable_columns",
            Self::Memory => "row_group_too_large",
            Self::Partition => "wrong_partition",
            Self::NoGain => "no_gain",
            Self::Rows => "rows_differ",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Left {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Data files that were replaced.
    pub files_before: u64,
    /// Those that came in their place.
    pub files_after: u64,
    /// Bytes of the files that were replaced.
    pub bytes_before: u64,
    /// Bytes of those that came in their place.
    pub bytes_after: u64,
    /// Rows in them.
    pub rows: u64,
    /// Snapshots that were committed.
    pub commits: u64,
    /// How often a plan came to nothing, because of a delete or because its snapshot had expired.
    pub outdated: u64,
    /// Small files that stay as they are, by reason.
    pub left: BTreeMap<Left, u64>,
    /// Whether there is more to do that there was no time for.
    pub is_unfinished: bool,
    /// What it took to commit.
    pub commit: CommitMetrics,
}

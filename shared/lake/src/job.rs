//! What an append is given, and what it gives back.

use std::collections::BTreeMap;
use std::time::Duration;

use iceberg::{Error, TableIdent};
use records::rejection::Reason;
use records::unpack::Options;
use tokio::time::Instant;

use crate::definition::TableDefinition;
use crate::token::Token;

/// A raw object to append.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceObject {
    /// Where its bytes are.
    pub uri: String,
    /// The bucket of its key.
    pub bucket: String,
    /// Its key, not encoded.
    pub key: String,
    /// The id of its version, in a bucket that has versions: that version is read, whatever has been put since. Without
    /// it, what is there is read.
    pub version_id: Option<String>,
    /// Which object and version it is.
    pub token: Token,
}

/// Ceilings on what one invocation holds and takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest record, in bytes. A longer one is quarantined.
    pub record_bytes: usize,
    /// Most memory that a row may take, in bytes. One that takes more is quarantined: JSON can be far shorter than what it
    /// becomes.
    pub row_bytes: usize,
    /// Most content of one compressed object, in bytes. The rest is quarantined.
    pub decompressed_bytes: u64,
    /// Largest window of a zstd frame, in bytes: that much of the content is held while it is decompressed.
    pub window_bytes: u64,
    /// Rows are handed to the writer in batches of about this many bytes.
    pub batch_bytes: usize,
    /// Most rows of objects that are compared with the rows that the table has of them.
    pub known_rows: usize,
    /// Of the records of an object, the share in percent that may be rejected. Beyond it the object fails. None allows all.
    pub rejected_percent: Option<u8>,
    /// What the writer holds.
    pub write: WriteLimits,
}

/// Ceilings on what the writer holds at once.
#[derive(Clone, Copy, Debug)]
pub struct WriteLimits {
    /// Bytes of rows that are in no file yet: row groups of open files, and rows that wait.
    pub buffer_bytes: usize,
    /// Files open at once, one a partition.
    pub open_partitions: usize,
    /// Bytes of rows that wait in temporary files.
    pub spill_bytes: u64,
    /// Most data files of one commit.
    pub files: usize,
    /// Whether columns are encoded on two threads where there are two processors. What another thread allocates and frees
    /// stays with the process for long, which a small function has no room for, nor the processors.
    pub two_encoders: bool,
}

impl Limits {
    /// Ceilings for a process that may use `memory_bytes`: a part for records and batches, a part for rows that are in no
    /// file yet, an open file for each 8 MiB and one of a commit for each 128 KiB, two encoders from 512 MiB on, and most of
    /// it for what cannot be counted. More than 512 MiB serves nothing here but the windows of zstd. Half of the temporary storage that Lambda gives is for rows that wait.
    pub fn for_memory(memory_bytes: usize) -> Self {
        // RFC 8878 section 3.1.1.1.2 wants decoders to take 8 MiB.
        let window_bytes = (memory_bytes as u64 / 8).max(8 << 20);
        let memory_bytes = memory_bytes.clamp(128 << 20, 512 << 20);
        Self {
            record_bytes: memory_bytes / 32,
            row_bytes: memory_bytes / 16,
            decompressed_bytes: 8 << 30,
            window_bytes,
            batch_bytes: memory_bytes / 128,
            known_rows: memory_bytes / 256,
            rejected_percent: None,
            write: WriteLimits {
                buffer_bytes: memory_bytes / 8,
                open_partitions: memory_bytes >> 23,
                spill_bytes: 256 << 20,
                files: memory_bytes >> 17,
                two_encoders: memory_bytes >= 512 << 20,
            },
        }
    }

    /// Ceilings for one of so many that work at once. A record may be as large as before.
    #[must_use]
    pub fn shared_by(self, count: usize) -> Self {
        let share = |whole: usize| (whole / count.max(1)).max(1);
        let write = WriteLimits {
            buffer_bytes: share(self.write.buffer_bytes),
            open_partitions: share(self.write.open_partitions),
            spill_bytes: self.write.spill_bytes / count.max(1) as u64,
            ..self.write
        };
        Self { batch_bytes: share(self.batch_bytes), known_rows: share(self.known_rows), write, ..self }
    }
}

/// How to append.
#[derive(Clone, Debug)]
pub struct AppendOptions {
    /// The table.
    pub table: TableIdent,
    /// The branch that is appended to. One that is not there begins where main stands.
    pub branch: String,
    /// What the table is created by where it does not exist; without it, the objects' own shape.
    pub definition: Option<TableDefinition>,
    /// Where rejected rows go.
    pub errors_uri: String,
    /// What the column `processing_time` says, RFC 3339.
    pub processing_time: String,
    /// When all must be done, by the clock of tokio, which a test can pause. Objects that are not reached in time are handed back.
    pub deadline: Instant,
    /// Ceilings.
    pub limits: Limits,
    /// What of an object is an event.
    pub unpack: Options,
}

/// How many records of an object were rejected, by reason.
pub type Rejected = BTreeMap<Reason, u64>;

/// `rejected` in one line, as logs and errors have it: `invalid_json=1,type_mismatch=2`.
pub fn by_code(rejected: &Rejected) -> String {
    let counts: Vec<String> = rejected.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
    counts.join(",")
}

/// What became of one object.
#[derive(Debug)]
pub struct ObjectOutcome {
    /// The object.
    pub object: SourceObject,
    /// What became of it.
    pub status: Status,
    /// Its size in bytes, if it was read and committed.
    pub bytes_read: u64,
}

/// What became of an object.
#[derive(Debug)]
pub enum Status {
    /// Its rows are in the table and its rejected records in the quarantine.
    Committed {
        /// Rows appended.
        rows: u64,
        /// Rows that the table had before: of another version of the object, or of one whose token has expired.
        known: u64,
        /// Records in the quarantine, by reason.
        rejected: Rejected,
        /// Messages that hold no record on purpose, of which nothing is kept.
        dropped: u64,
    },
    /// Its token was in the table before.
    AlreadyCommitted,
    /// It is written by this pipeline itself and never read as input.
    Ignored,
    /// It could not be read; it must be delivered again.
    Failed(Error),
    /// There was no time for it; it must be delivered again.
    NotReached,
}

impl Status {
    /// Whether the object needs no further delivery.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Committed { .. } | Self::AlreadyCommitted | Self::Ignored)
    }

    /// Of an object whose records go to several tables: what became of it in one, and in another.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (failed @ Self::Failed(_), _) | (_, failed @ Self::Failed(_)) => failed,
            (Self::NotReached, _) | (_, Self::NotReached) => Self::NotReached,
            (
                Self::Committed { rows, known, mut rejected, dropped },
                Self::Committed { rows: more, known: more_known, rejected: others, dropped: more_dropped },
            ) => {
                for (reason, count) in others {
                    *rejected.entry(reason).or_default() += count;
                }
                let (rows, known, dropped) = (rows + more, known + more_known, dropped + more_dropped);
                Self::Committed { rows, known, rejected, dropped }
            }
            (committed @ Self::Committed { .. }, _) | (_, committed) => committed,
        }
    }
}

/// What an invocation has done.
#[derive(Debug)]
pub struct Outcome {
    /// Every object, in the order in which they were given, each once.
    pub objects: Vec<ObjectOutcome>,
    /// The snapshot that was committed, if there was something to commit; the last one, if there were several.
    pub snapshot_id: Option<i64>,
    /// Current metadata file of the table, if the table exists.
    pub metadata_location: Option<String>,
    /// Data files that were added.
    pub data_files: usize,
    /// Their size in bytes.
    pub data_file_bytes: u64,
    /// Columns that the tables got with the rows, those within others that came with it not counted.
    pub columns_added: usize,
    /// Fields that were left out of rows, as the table property `frazil.schema-evolution` wants.
    pub fields_ignored: u64,
    /// What it took to commit, to all tables together.
    pub commit: CommitMetrics,
    /// Where records name their tables, what became of each.
    pub tables: Vec<TableOutcome>,
}

/// What became of one of many tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOutcome {
    /// The table.
    pub table: TableIdent,
    /// Rows appended.
    pub rows: u64,
    /// The snapshot that was committed, if there was something to commit.
    pub snapshot_id: Option<i64>,
}

/// What it took to commit, whatever came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitMetrics {
    /// Attempts to swap the table's metadata.
    pub attempts: u32,
    /// Those that failed because another writer was faster.
    pub conflicts: u32,
    /// From the first look at the table to the outcome.
    pub duration: Duration,
}

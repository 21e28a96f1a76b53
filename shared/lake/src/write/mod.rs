//! Record batches -> Parquet data files of one table, by partition.
//!
//! In: batches in the table's Arrow schema. Out: [`DataFile`]s that a commit can add; nothing refers to them before.
//! The rows of a batch are in the table's sort order, if it has one. Each partition has one open file; a file that reaches the table's target size is closed and the next one begins.
//! Refused: rows that need more files than one commit may add ([`WriteLimits::files`]).
//!
//! Memory is bounded. Half of [`WriteLimits::buffer_bytes`] is for the row groups of open files; beyond it the largest
//! is ended early. When [`WriteLimits::open_partitions`] are open, an idle one makes room for another; if none is
//! idle, the rows of further partitions wait, a quarter of the memory of them in memory and the rest on disk, and are
//! written partition by partition in the end. A partition whose file was closed early waits as well. So rows that come
//! from many partitions in turn make a file or two a partition, not one a batch. What a storage holds of open files, up to
//! one part of each, may be as much again; beyond it, the file is closed that it holds most of. Row groups that have ended
//! and files that are closed take memory until the commit, and are counted too.

mod attempt;
mod data_file;
mod held;
mod location;
mod memory;
mod novelty;
mod order;
mod overflow;
mod parquet_file;
mod partition;
mod properties;
mod rows;
mod side_by_side;
mod transform;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use futures::stream;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Struct};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use parquet::errors::ParquetError;
use uuid::Uuid;

pub(crate) use self::attempt::{Attempt, Attempted, LeftOut, Tally, Undo, Without, Written};
use self::location::Locations;
use self::order::Order;
use self::overflow::Overflow;
use self::parquet_file::ParquetFile;
use self::partition::{Partitioner, take_rows};
use self::properties::FileProperties;
pub(crate) use self::properties::target_file_bytes;
pub(crate) use self::rows::Rows;
use crate::failpoint::failpoint;
pub(crate) use crate::job::WriteLimits;
use crate::storage;

/// What is always there for the footers of open files: [`WriteLimits::buffer_bytes`] of the smallest function by 8.
const MIN_FOOTER_BYTES: usize = 2 << 20;
/// What a column of an open file takes before there is a value.
const OPEN_COLUMN_BYTES: usize = 512;
/// What is always there for closed files.
const MIN_ENTRY_BYTES: usize = 8 << 20;

/// Bytes for what open files take besides their rows.
fn footer_bytes(limits: &WriteLimits) -> usize {
    (limits.buffer_bytes / 8).max(MIN_FOOTER_BYTES)
}

/// Writes the data files of one attempt to append to a table.
pub(crate) struct TableWriter {
    file_io: FileIO,
    partitioner: Arc<Partitioner>,
    order: Order,
    locations: Locations,
    properties: Arc<FileProperties>,
    limits: WriteLimits,
    /// Most that the storage holds of an open file.
    part_bytes: usize,
    /// Open files by the encoded value of their partition.
    open: HashMap<Vec<u8>, OpenFile>,
    /// Every partition that there were rows of.
    partitions: HashMap<Vec<u8>, Seen>,
    /// Rows of partitions that have no open file.
    overflow: Overflow,
    closed: Vec<DataFile>,
    /// About how many bytes of memory `closed` takes.
    entry_bytes: usize,
    /// Every path that this writer has created, for [`TableWriter::abandon`].
    paths: Vec<String>,
    attempt: Uuid,
    partition_spec_id: i32,
    /// Batches written so far: how long a file has been idle is told in batches.
    batches: u64,
    /// A file that has so many bytes is closed.
    target_file_bytes: usize,
    has_too_many_files: bool,
}

struct OpenFile {
    path: String,
    partition: Struct,
    parquet: ParquetFile,
    last_batch: u64,
}

/// What was done about a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It may have an open file.
    Open,
    /// Its file was closed to make room. Another one would be as small: its rows wait.
    Closed,
}

impl TableWriter {
    /// A writer to `table` as it is now. `attempt` makes the names of its files unique.
    pub(crate) fn new(table: &Table, mut limits: WriteLimits, attempt: Uuid) -> Result<Self> {
        let metadata = table.metadata();
        let locations = Locations::new(metadata)?;
        let properties = FileProperties::new(metadata)?;
        let target_file_bytes = properties.target_file_bytes;
        let open_bytes = (properties.leaves * OPEN_COLUMN_BYTES).max(1);
        limits.open_partitions = limits.open_partitions.min((footer_bytes(&limits) / open_bytes).max(1));
        Ok(Self {
            file_io: table.file_io().clone(),
            partitioner: Arc::new(Partitioner::new(metadata)?),
            order: Order::new(metadata),
            part_bytes: storage::held_bytes(locations.data()),
            locations,
            properties: Arc::new(properties),
            limits,
            open: HashMap::new(),
            partitions: HashMap::new(),
            overflow: Overflow::default(),
            closed: Vec::new(),
            entry_bytes: 0,
            paths: Vec::new(),
            attempt,
            partition_spec_id: metadata.default_partition_spec_id(),
            batches: 0,
            target_file_bytes,
            has_too_many_files: false,
        })
    }

    /// The same, with files as large as they become.
    pub(crate) fn one_file_a_partition(self) -> Self {
        Self { target_file_bytes: usize::MAX, ..self }
    }

    /// Whether an error means that the rows need more files than [`WriteLimits::files`]. Fewer rows may not.
    pub(crate) fn has_too_many_files(&self) -> bool {
        self.has_too_many_files
    }

    /// Writes the rows of `batch`, each to the file of its partition.
    ///
    /// # Errors
    /// The storage's, or there would be too many files; see [`TableWriter::has_too_many_files`].
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.batches += 1;
        let sorted = self.order.sorted(batch)?;
        let batch = sorted.as_ref().unwrap_or(batch);
        let mut others: Vec<u32> = Vec::new();
        for part in self.partitioner.clone().split(batch)? {
            let key = part.key.clone();
            if !self.partitions.contains_key(&key) && self.partitions.len() >= self.limits.files {
                return Err(self.too_many_files());
            }
            let seen = *self.partitions.entry(key.clone()).or_insert(Seen::Open);
            let is_open = self.open.contains_key(&key);
            if !is_open && (seen == Seen::Closed || !self.make_room().await?) {
                others.extend(part.rows);
                continue;
            }
            let rows = part.of(batch)?;
            let file = match self.open.remove(&key) {
                Some(file) => file,
                None => self.open_file(self.partitioner.value(&rows)?).await?,
            };
            self.write_to(key, file, &rows).await?;
            self.bound_memory().await?;
        }
        if !others.is_empty() {
            self.overflow.push(take_rows(batch, &UInt32Array::from(others))?);
            self.bound_overflow().await?;
        }
        Ok(())
    }

    /// Closes all files.
    ///
    /// # Errors
    /// As of [`TableWriter::write`]; the files are then best left to [`TableWriter::abandon`].
    pub(crate) async fn close(&mut self) -> Result<Vec<DataFile>> {
        self.write_overflow().await?;
        for (_, file) in std::mem::take(&mut self.open) {
            self.close_file(file).await?;
        }
        Ok(std::mem::take(&mut self.closed))
    }

    /// Removes everything this writer has written. Only for files that no commit was tried with.
    pub(crate) async fn abandon(self) {
        drop(self.open);
        let files = self.paths.len();
        if files > 0
            && let Err(error) = self.file_io.delete_stream(stream::iter(self.paths)).await
        {
            tracing::warn!(files, %error, "unused data files stay behind; they are in no snapshot");
        }
    }

    async fn open_file(&mut self, partition: Struct) -> Result<OpenFile> {
        let budget = (self.limits.buffer_bytes / 2).max(MIN_ENTRY_BYTES);
        if self.paths.len() >= self.limits.files || self.entry_bytes > budget {
            return Err(self.too_many_files());
        }
        let name = format!("{}-{:05}.parquet", self.attempt, self.paths.len());
        let path = self.locations.data_file(&partition, &name);
        let output = self.file_io.new_output(&path)?.writer().await?;
        self.paths.push(path.clone());
        let parquet = ParquetFile::new(output, &self.properties, self.limits.two_encoders)
            .map_err(|error| failed("open", &path, error))?;
        Ok(OpenFile { path, partition, parquet, last_batch: 0 })
    }

    fn too_many_files(&mut self) -> Error {
        self.has_too_many_files = true;
        let what = format!(
            "the commit would need more data files than it may have: {} are written, for {} partitions so far, and {} \
             is the limit (or what the function's memory has room for); choose a coarser partition spec, or give the \
             function more memory or raise FRAZIL_MAX_FILES_PER_COMMIT",
            self.paths.len(),
            self.partitions.len(),
            self.limits.files
        );
        Error::new(ErrorKind::DataInvalid, what)
    }

    /// Writes `rows` to the open file of the partition `key`; closes it if it has its size.
    async fn write_to(&mut self, key: Vec<u8>, mut file: OpenFile, rows: &RecordBatch) -> Result<()> {
        file.parquet.write(rows).await.map_err(|error| failed("write", &file.path, error))?;
        file.last_batch = self.batches;
        if file.bytes() >= self.target_file_bytes {
            return self.close_file(file).await;
        }
        self.open.insert(key, file);
        Ok(())
    }

    async fn close_file(&mut self, mut file: OpenFile) -> Result<()> {
        let metadata = file.parquet.finish().await.map_err(|error| failed("close", &file.path, error))?;
        failpoint("after data file")?;
        let size_bytes = file.parquet.bytes_written() as u64;
        let entry = data_file::describe(
            file.path,
            file.partition,
            self.partition_spec_id,
            &self.properties,
            &metadata,
            size_bytes,
        )?;
        self.entry_bytes += data_file::memory_bytes(&entry);
        self.closed.push(entry);
        Ok(())
    }
}

impl OpenFile {
    /// What a storage that sends parts of `part_bytes` still holds of it.
    fn held_bytes(&self, part_bytes: usize) -> usize {
        self.parquet.bytes_written().checked_rem(part_bytes).unwrap_or(0)
    }

    fn bytes(&self) -> usize {
        self.parquet.bytes_written() + self.parquet.in_progress_size()
    }
}

fn failed(what: &str, path: &str, error: ParquetError) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} the data file {path}")).with_source(error)
}

#[cfg(test)]
mod tests;

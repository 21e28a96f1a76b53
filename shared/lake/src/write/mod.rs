//! Record batches -> Parquet data files of one table, by partition.
//!
//! In: batches in the table's Arrow schema. Out: [`DataFile`]s that a commit can add; nothing refers to them before.
//! Each partition has one open file; a file that reaches the table's target size is closed and the next one begins.
//!
//! Memory is bounded. Half of [`WriteLimits::buffer_bytes`] is for the row groups of open files; beyond it the largest
//! is flushed early. When [`WriteLimits::open_partitions`] are open, an idle one makes room for another; if none is
//! idle, the rows of further partitions wait in the other half, and where that is full the largest lot becomes a file
//! of its own. So rows that come from many partitions in turn make files as large as the memory allows, not one a
//! batch. What a storage holds of open files, up to one part of each, may be as much again; beyond it, the file is closed
//! that it holds most of.

mod data_file;
mod location;
mod partition;
mod properties;
mod transform;

use std::collections::HashMap;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream;
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{DataFile, Struct};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use uuid::Uuid;

use self::location::Locations;
use self::partition::{Part, Partitioner};
use self::properties::FileProperties;
use crate::failpoint::failpoint;
use crate::storage;

/// Ceilings on what the writer holds at once.
#[derive(Clone, Copy, Debug)]
pub struct WriteLimits {
    /// Bytes of rows that are in no file yet: row groups of open files, and rows that wait.
    pub buffer_bytes: usize,
    /// Files open at once, one a partition.
    pub open_partitions: usize,
}

/// Writes the data files of one attempt to append to a table.
pub(crate) struct TableWriter {
    file_io: FileIO,
    partitioner: Partitioner,
    locations: Locations,
    properties: FileProperties,
    limits: WriteLimits,
    /// Most that the storage holds of an open file.
    part_bytes: usize,
    /// Open files by the encoded value of their partition.
    open: HashMap<Vec<u8>, OpenFile>,
    /// Rows of partitions that have no open file.
    waiting: HashMap<Vec<u8>, Waiting>,
    closed: Vec<DataFile>,
    /// Every path that this writer has created, for [`TableWriter::abandon`].
    paths: Vec<String>,
    attempt: Uuid,
    partition_spec_id: i32,
    /// Batches written so far: how long a file has been idle is told in batches.
    batches: u64,
}

struct OpenFile {
    path: String,
    partition: Struct,
    parquet: AsyncArrowWriter<Sink>,
    last_batch: u64,
}

struct Waiting {
    partition: Struct,
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl TableWriter {
    /// A writer to `table` as it is now. `attempt` makes the names of its files unique.
    pub(crate) fn new(table: &Table, limits: WriteLimits, attempt: Uuid) -> Result<Self> {
        let metadata = table.metadata();
        let locations = Locations::new(metadata)?;
        Ok(Self {
            file_io: table.file_io().clone(),
            partitioner: Partitioner::new(metadata)?,
            part_bytes: storage::held_bytes(locations.data()),
            locations,
            properties: FileProperties::new(metadata)?,
            limits,
            open: HashMap::new(),
            waiting: HashMap::new(),
            closed: Vec::new(),
            paths: Vec::new(),
            attempt,
            partition_spec_id: metadata.default_partition_spec_id(),
            batches: 0,
        })
    }

    /// What makes the names of this writer's files unique.
    pub(crate) fn attempt(&self) -> Uuid {
        self.attempt
    }

    /// Writes the rows of `batch`, each to the file of its partition.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.batches += 1;
        for Part { key, value, batch } in self.partitioner.split(batch)? {
            let file = match self.open.remove(&key) {
                Some(file) => Some(file),
                None if self.make_room().await? => Some(self.open_file(&value, batch.schema()).await?),
                None => None,
            };
            match file {
                Some(mut file) => {
                    let waiting = self.waiting.remove(&key).map_or(Vec::new(), |waiting| waiting.batches);
                    for batch in waiting.iter().chain([&batch]) {
                        file.write(batch, &self.properties).await?;
                    }
                    file.last_batch = self.batches;
                    if file.bytes() >= self.properties.target_file_bytes {
                        self.close_file(file).await?;
                    } else {
                        self.open.insert(key, file);
                    }
                }
                None => {
                    let waiting = self.waiting.entry(key).or_insert_with(|| Waiting {
                        partition: value,
                        batches: Vec::new(),
                        bytes: 0,
                    });
                    waiting.bytes += batch.get_array_memory_size();
                    waiting.batches.push(batch);
                }
            }
            self.bound_memory().await?;
        }
        Ok(())
    }

    /// Closes all files.
    ///
    /// # Errors
    /// The storage's; the files are then best left to [`TableWriter::abandon`].
    pub(crate) async fn close(&mut self) -> Result<Vec<DataFile>> {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            self.write_waiting(waiting).await?;
        }
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

    /// Whether another file may be opened; one that the last two batches had no row for is closed for it.
    async fn make_room(&mut self) -> Result<bool> {
        if self.open.len() < self.limits.open_partitions {
            return Ok(true);
        }
        let idle = self.open.iter().min_by_key(|(_, file)| file.last_batch);
        let idle = idle.filter(|(_, file)| file.last_batch + 1 < self.batches).map(|(key, _)| key.clone());
        match idle.and_then(|key| self.open.remove(&key)) {
            Some(file) => self.close_file(file).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn open_file(&mut self, partition: &Struct, schema: arrow_schema::SchemaRef) -> Result<OpenFile> {
        let path =
            self.locations.data_file(partition, &format!("{}-{:05}.parquet", self.attempt, self.paths.len()));
        let output = self.file_io.new_output(&path)?.writer().await?;
        self.paths.push(path.clone());
        let parquet = AsyncArrowWriter::try_new(Sink(output), schema, Some(self.properties.parquet.clone()))
            .map_err(|error| failed("open", &path, error))?;
        Ok(OpenFile { path, partition: partition.clone(), parquet, last_batch: 0 })
    }

    async fn close_file(&mut self, mut file: OpenFile) -> Result<()> {
        let metadata = file.parquet.finish().await.map_err(|error| failed("close", &file.path, error))?;
        failpoint("after data file")?;
        let size_bytes = file.parquet.bytes_written() as u64;
        self.closed.push(data_file::describe(
            file.path,
            file.partition,
            self.partition_spec_id,
            &self.properties.schema,
            &metadata,
            size_bytes,
        )?);
        Ok(())
    }

    /// Makes a file of rows that waited.
    async fn write_waiting(&mut self, waiting: Waiting) -> Result<()> {
        let Some(first) = waiting.batches.first() else { return Ok(()) };
        let schema = first.schema();
        let rows = concat_batches(&schema, &waiting.batches).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "batches of one table do not fit together").with_source(error)
        })?;
        let mut file = self.open_file(&waiting.partition, schema).await?;
        file.write(&rows, &self.properties).await?;
        self.close_file(file).await
    }

    async fn bound_memory(&mut self) -> Result<()> {
        let half = self.limits.buffer_bytes / 2;
        while self.waiting.values().map(|waiting| waiting.bytes).sum::<usize>() > half {
            let largest =
                self.waiting.iter().max_by_key(|(_, waiting)| waiting.bytes).map(|(key, _)| key.clone());
            let Some(waiting) = largest.and_then(|key| self.waiting.remove(&key)) else { break };
            self.write_waiting(waiting).await?;
        }
        while self.open.values().map(|file| file.parquet.memory_size()).sum::<usize>() > half {
            let Some(largest) = self.open.values_mut().max_by_key(|file| file.parquet.memory_size()) else {
                break;
            };
            if largest.parquet.in_progress_rows() == 0 {
                break;
            }
            largest.flush().await?;
        }
        let part_bytes = self.part_bytes;
        while self.open.values().map(|file| file.held_bytes(part_bytes)).sum::<usize>()
            > self.limits.buffer_bytes
        {
            let largest = self.open.iter().max_by_key(|(_, file)| file.held_bytes(part_bytes));
            let largest = largest.map(|(key, _)| key.clone());
            let Some(file) = largest.and_then(|key| self.open.remove(&key)) else { break };
            self.close_file(file).await?;
        }
        Ok(())
    }
}

impl OpenFile {
    async fn write(&mut self, batch: &RecordBatch, properties: &FileProperties) -> Result<()> {
        self.parquet.write(batch).await.map_err(|error| failed("write", &self.path, error))?;
        if self.parquet.in_progress_size() >= properties.row_group_bytes {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> Result<()> {
        self.parquet.flush().await.map_err(|error| failed("write", &self.path, error))
    }

    /// What a storage that sends parts of `part_bytes` still holds of it.
    fn held_bytes(&self, part_bytes: usize) -> usize {
        self.parquet.bytes_written().checked_rem(part_bytes).unwrap_or(0)
    }

    fn bytes(&self) -> usize {
        self.parquet.bytes_written() + self.parquet.in_progress_size()
    }
}

/// The storage as the Parquet writer wants it.
struct Sink(Box<dyn FileWrite>);

impl AsyncFileWriter for Sink {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async { self.0.write(bytes).await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        async { self.0.close().await.map_err(|error| ParquetError::External(Box::new(error))) }.boxed()
    }
}

fn failed(what: &str, path: &str, error: ParquetError) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} the data file {path}")).with_source(error)
}

#[cfg(test)]
mod tests;

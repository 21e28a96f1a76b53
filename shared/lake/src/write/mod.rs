//! Record batches -> Parquet data files of one table, by partition.
//!
//! In: batches in the table's Arrow schema. Out: [`DataFile`]s that a commit can add; nothing refers to them before.
//! Each partition has one open file; a file that reaches the table's target size is closed and the next one begins.
//! Memory is bounded: over [`WriteLimits::buffer_bytes`] the largest row group is flushed early, and over
//! [`WriteLimits::open_partitions`] the file that was written to longest ago is closed.

mod data_file;
mod location;
mod partition;
mod properties;

use std::collections::HashMap;

use arrow_array::RecordBatch;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use iceberg::io::{FileIO, FileWrite};
use iceberg::spec::{DataFile, Struct};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use uuid::Uuid;

use self::location::Locations;
use self::partition::Partitioner;
use self::properties::FileProperties;

/// Ceilings on what the writer holds at once.
#[derive(Clone, Copy, Debug)]
pub struct WriteLimits {
    /// Bytes of row groups not yet flushed, over all open files.
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
    /// Open files by the encoded value of their partition.
    open: HashMap<Vec<u8>, OpenFile>,
    closed: Vec<DataFile>,
    /// Every path that this writer has created, for [`TableWriter::abandon`].
    paths: Vec<String>,
    attempt: Uuid,
    partition_spec_id: i32,
    writes: u64,
}

struct OpenFile {
    path: String,
    partition: Struct,
    parquet: AsyncArrowWriter<Sink>,
    last_write: u64,
}

impl TableWriter {
    /// A writer to `table` as it is now. `attempt` makes the names of its files unique.
    pub(crate) fn new(table: &Table, limits: WriteLimits, attempt: Uuid) -> Result<Self> {
        let metadata = table.metadata();
        Ok(Self {
            file_io: table.file_io().clone(),
            partitioner: Partitioner::new(metadata)?,
            locations: Locations::new(metadata)?,
            properties: FileProperties::new(metadata)?,
            limits,
            open: HashMap::new(),
            closed: Vec::new(),
            paths: Vec::new(),
            attempt,
            partition_spec_id: metadata.default_partition_spec_id(),
            writes: 0,
        })
    }

    /// What makes the names of this writer's files unique.
    pub(crate) fn attempt(&self) -> Uuid {
        self.attempt
    }

    /// Writes the rows of `batch`, each to the open file of its partition.
    pub(crate) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for part in self.partitioner.split(batch)? {
            let mut file = match self.open.remove(&part.key) {
                Some(file) => file,
                None => self.open_file(part.value, part.batch.schema()).await?,
            };
            self.writes += 1;
            file.last_write = self.writes;
            file.parquet.write(&part.batch).await.map_err(|error| failed("write", &file.path, error))?;
            if file.parquet.in_progress_size() >= self.properties.row_group_bytes {
                file.parquet.flush().await.map_err(|error| failed("write", &file.path, error))?;
            }
            let file_bytes = file.parquet.bytes_written() + file.parquet.in_progress_size();
            if file_bytes >= self.properties.target_file_bytes {
                self.close_file(file).await?;
            } else {
                self.open.insert(part.key, file);
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
        for (_, file) in std::mem::take(&mut self.open) {
            self.close_file(file).await?;
        }
        Ok(std::mem::take(&mut self.closed))
    }

    /// Removes everything this writer has written. Only for files that no commit was tried with.
    pub(crate) async fn abandon(self) {
        drop(self.open);
        for path in self.paths {
            if let Err(error) = self.file_io.delete(&path).await {
                tracing::warn!(path, %error, "an unused data file stays behind; it is in no snapshot");
            }
        }
    }

    async fn open_file(&mut self, partition: Struct, schema: arrow_schema::SchemaRef) -> Result<OpenFile> {
        if self.open.len() >= self.limits.open_partitions {
            let idle = self.open.iter().min_by_key(|(_, file)| file.last_write).map(|(key, _)| key.clone());
            if let Some(file) = idle.and_then(|key| self.open.remove(&key)) {
                self.close_file(file).await?;
            }
        }
        let path = self
            .locations
            .data_file(&partition, &format!("{}-{:05}.parquet", self.attempt, self.paths.len()));
        let output = self.file_io.new_output(&path)?.writer().await?;
        self.paths.push(path.clone());
        let parquet = AsyncArrowWriter::try_new(Sink(output), schema, Some(self.properties.parquet.clone()))
            .map_err(|error| failed("open", &path, error))?;
        Ok(OpenFile { path, partition, parquet, last_write: 0 })
    }

    async fn close_file(&mut self, mut file: OpenFile) -> Result<()> {
        let metadata = file.parquet.finish().await.map_err(|error| failed("close", &file.path, error))?;
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

    async fn bound_memory(&mut self) -> Result<()> {
        while self.open.values().map(|file| file.parquet.memory_size()).sum::<usize>()
            > self.limits.buffer_bytes
        {
            let Some(largest) = self.open.values_mut().max_by_key(|file| file.parquet.memory_size()) else {
                break;
            };
            if largest.parquet.in_progress_rows() == 0 {
                break;
            }
            largest.parquet.flush().await.map_err(|error| failed("write", &largest.path, error))?;
        }
        Ok(())
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

//! Record batches -> one Parquet file, a row group at a time.
//!
//! A writer of a Parquet column costs about [`WRITER_BYTES`] before it holds anything: dictionary, compression, page. So
//! a column has one only once it holds more than that. Until then, and to the end of the row group if it never does, its
//! values are held as Arrow arrays, without its nulls. A row group thus costs what its values take, however many columns
//! the table has, and is ended column by column: one writer at a time, or two where there is a second processor.

use std::io;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{FieldRef, Schema as ArrowSchema};
use bytes::Bytes;
use iceberg::io::FileWrite;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;

use super::held::Held;
use super::novelty::are_new;
use super::properties::FileProperties;
use super::side_by_side::each;

/// What a column's writer takes before it holds anything (parquet 58): 74 KiB of dictionary, a zstd context that grows
/// with the page, and a decompressor that it never uses.
const WRITER_BYTES: usize = 256 << 10;
/// Rows that are filled with their nulls at once.
const CHUNK_ROWS: usize = 64 * 1024;
/// Columns that are ended before what came of them is put into the file.
const COLUMNS_AT_ONCE: usize = 16;
/// What a column of a closed row group takes until the file is closed, besides its bounds: chunk, statistics, indexes.
const CHUNK_METADATA_BYTES: usize = size_of::<ColumnChunkMetaData>() + 1024;

/// A Parquet file that is being written.
pub(super) struct ParquetFile {
    sink: Box<dyn FileWrite>,
    parquet: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Column>,
    properties: Arc<FileProperties>,
    two_encoders: bool,
    /// Rows of the row group in progress.
    rows: usize,
    /// What its columns hold.
    memory_bytes: usize,
    metadata_bytes: usize,
}

/// A top-level column of the row group in progress.
struct Column {
    field: FieldRef,
    leaves: usize,
    held: Held,
    /// One a leaf, once the column holds enough.
    writers: Vec<ArrowColumnWriter>,
    memory_bytes: usize,
}

impl ParquetFile {
    /// An empty file. `two_encoders` is that of [`WriteLimits`](crate::job::WriteLimits).
    pub(super) fn new(
        sink: Box<dyn FileWrite>,
        properties: &Arc<FileProperties>,
        two_encoders: bool,
    ) -> Result<Self> {
        let parquet =
            SerializedFileWriter::new(Vec::new(), properties.root.clone(), properties.parquet.clone())?;
        let leaves = parquet.schema_descr();
        let mut count = vec![0; properties.arrow.fields().len()];
        for leaf in 0..leaves.num_columns() {
            if let Some(count) = count.get_mut(leaves.get_column_root_idx(leaf)) {
                *count += 1;
            }
        }
        let columns = properties.arrow.fields().iter().zip(count);
        let columns = columns.map(|(field, leaves)| Column::new(field.clone(), leaves)).collect();
        let properties = properties.clone();
        let (rows, memory_bytes, metadata_bytes) = (0, 0, 0);
        Ok(Self { sink, parquet, columns, properties, two_encoders, rows, memory_bytes, metadata_bytes })
    }

    /// Adds rows to the row group in progress, and ends it if it has the size that the table asks for.
    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows();
        let columns = self.columns.iter_mut().zip(batch.columns());
        each(self.two_encoders, columns, |(column, array)| column.write(array, &self.properties))?;
        self.memory_bytes = self.columns.iter().map(|column| column.memory_bytes).sum();
        if self.in_progress_size() >= self.properties.row_group_bytes { self.flush().await } else { Ok(()) }
    }

    /// Ends the row group in progress.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut row_group = self.parquet.next_row_group()?;
        for columns in self.columns.chunks_mut(COLUMNS_AT_ONCE) {
            let mut chunks: [Vec<ArrowColumnChunk>; COLUMNS_AT_ONCE] = Default::default();
            each(self.two_encoders, columns.iter_mut().zip(&mut chunks), |(column, chunks)| {
                *chunks = column.finish(&self.properties)?;
                Ok::<_, ParquetError>(())
            })?;
            for chunk in chunks.into_iter().flatten() {
                self.metadata_bytes += CHUNK_METADATA_BYTES;
                chunk.append_to_row_group(&mut row_group)?;
            }
        }
        row_group.close()?;
        (self.rows, self.memory_bytes) = (0, 0);
        self.send().await
    }

    /// Ends the file. Its footer.
    pub(super) async fn finish(&mut self) -> Result<ParquetMetaData> {
        self.flush().await?;
        let metadata = self.parquet.finish()?;
        self.send().await?;
        self.sink.close().await.map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(metadata)
    }

    async fn send(&mut self) -> Result<()> {
        let bytes = Bytes::from(std::mem::take(self.parquet.inner_mut()));
        self.sink.write(bytes).await.map_err(|error| ParquetError::External(Box::new(error)))
    }

    /// Rows of the row group in progress.
    pub(super) fn in_progress_rows(&self) -> usize {
        self.rows
    }

    /// About how many bytes of memory the row group in progress takes.
    pub(super) fn memory_size(&self) -> usize {
        self.memory_bytes
    }

    /// About how many bytes of memory the row groups before it take until the file is closed.
    pub(super) fn metadata_size(&self) -> usize {
        self.metadata_bytes
    }

    /// About how many bytes of the file the row group in progress will be.
    pub(super) fn in_progress_size(&self) -> usize {
        self.columns.iter().map(Column::size).sum()
    }

    /// Bytes of the file so far.
    pub(super) fn bytes_written(&self) -> usize {
        self.parquet.bytes_written()
    }
}

impl Column {
    fn new(field: FieldRef, leaves: usize) -> Self {
        let held = Held::new(&field);
        Self { field, leaves, held, writers: Vec::new(), memory_bytes: 0 }
    }

    fn write(&mut self, array: &ArrayRef, properties: &FileProperties) -> Result<()> {
        if self.writers.is_empty() || array.null_count() == array.len() {
            self.held.push(array)?;
            if self.writers.is_empty() && self.held.bytes() > self.leaves * WRITER_BYTES {
                let is_new = self.held.values().is_some_and(are_new);
                let properties = if is_new { &properties.no_dictionary } else { &properties.parquet };
                self.writers = writers(&self.field, properties)?;
                self.encode_held()?;
            }
        } else {
            self.encode_held()?;
            encode(&self.field, array, &mut self.writers)?;
        }
        let writers = self.writers.iter().map(|writer| writer.memory_size() + WRITER_BYTES);
        self.memory_bytes = self.held.memory_bytes() + writers.sum::<usize>();
        Ok(())
    }

    fn encode_held(&mut self) -> Result<()> {
        let mut taken = self.held.take()?;
        while taken.rows() > 0 {
            let array = taken.next(taken.rows().min(CHUNK_ROWS))?;
            encode(&self.field, &array, &mut self.writers)?;
        }
        Ok(())
    }

    /// The column's chunks; the column is empty afterwards.
    fn finish(&mut self, properties: &FileProperties) -> Result<Vec<ArrowColumnChunk>> {
        if self.writers.is_empty() {
            let properties =
                if self.held.has_values() { &properties.parquet } else { &properties.no_dictionary };
            self.writers = writers(&self.field, properties)?;
        }
        self.encode_held()?;
        self.memory_bytes = 0;
        std::mem::take(&mut self.writers).into_iter().map(ArrowColumnWriter::close).collect()
    }

    fn size(&self) -> usize {
        let writers = self.writers.iter().map(ArrowColumnWriter::get_estimated_total_bytes);
        self.held.bytes() + writers.sum::<usize>()
    }
}

/// Writers of the leaves of one column.
fn writers(field: &FieldRef, properties: &WriterPropertiesPtr) -> Result<Vec<ArrowColumnWriter>> {
    let schema = Arc::new(ArrowSchema::new(vec![field.clone()]));
    let descriptor = ArrowSchemaConverter::new().convert(&schema)?;
    // The factory takes the schema from a file; of this one, nothing is kept.
    let file = SerializedFileWriter::new(io::sink(), descriptor.root_schema_ptr(), properties.clone())?;
    ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)
}

fn encode(field: &FieldRef, array: &ArrayRef, writers: &mut [ArrowColumnWriter]) -> Result<()> {
    for (leaf, writer) in compute_leaves(field, array)?.iter().zip(writers) {
        writer.write(leaf)?;
    }
    Ok(())
}

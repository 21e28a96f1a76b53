//! Rows of partitions that have no open file, until they are written partition by partition.
//!
//! In: batches of rows of any partitions. Out: the same rows, grouped by partition: a sort outside of memory. What memory
//! has no room for is sorted and goes to an unnamed temporary file (`TMPDIR`, `/tmp` on Lambda), which the operating system
//! removes with the process; in the end the sorted runs are merged. So rows that come from very many partitions in turn
//! make about one file a partition.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::ops::Range;

use arrow_array::{Array as _, RecordBatch, UInt32Array};
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_row::Rows;
use arrow_schema::ArrowError;
use arrow_select::concat::concat_batches;
use iceberg::spec::Struct;
use iceberg::{Error, ErrorKind, Result};

use super::partition::{Partitioner, take_rows};

/// Bytes of a batch of a sorted run: of each run, one is in memory while runs are merged.
const RUN_BATCH_BYTES: usize = 256 << 10;

/// Rows that wait.
#[derive(Default)]
pub(super) struct Overflow {
    batches: Vec<RecordBatch>,
    bytes: usize,
    runs: Vec<File>,
    spilled_bytes: u64,
}

impl Overflow {
    pub(super) fn push(&mut self, batch: RecordBatch) {
        self.bytes += held_bytes(&batch);
        self.batches.push(batch);
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes on disk.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }

    /// Moves what is in memory to disk.
    ///
    /// # Errors
    /// The temporary file cannot be written. Nothing is lost: the rows are still in memory.
    pub(super) fn spill(&mut self, partitioner: &Partitioner) -> Result<()> {
        let Some(sorted) = self.sorted(partitioner)? else { return Ok(()) };
        let (file, bytes) = write_run(&sorted).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "rows cannot be kept in a temporary file").with_source(error)
        })?;
        self.runs.push(file);
        self.spilled_bytes += bytes;
        (self.batches, self.bytes) = (Vec::new(), 0);
        Ok(())
    }

    /// Hands over all rows, by partition.
    pub(super) fn merge(&mut self, partitioner: &Partitioner) -> Result<Merge> {
        let mut runs = Vec::new();
        for mut file in std::mem::take(&mut self.runs) {
            file.seek(SeekFrom::Start(0)).map_err(|error| unreadable(ArrowError::from(error)))?;
            let reader = StreamReader::try_new(BufReader::new(file), None).map_err(unreadable)?;
            runs.extend(Run::begin(Batches::Disk(Box::new(reader)), partitioner)?);
        }
        if let Some(sorted) = self.sorted(partitioner)? {
            runs.extend(Run::begin(Batches::Memory(VecDeque::from([sorted])), partitioner)?);
        }
        *self = Self::default();
        Ok(Merge { runs })
    }

    fn sorted(&self, partitioner: &Partitioner) -> Result<Option<RecordBatch>> {
        let Some(first) = self.batches.first() else { return Ok(None) };
        let rows = concat_batches(&first.schema(), &self.batches).map_err(unsorted)?;
        let Some(keys) = partitioner.keys(&rows)? else { return Ok(Some(rows)) };
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order.sort_by(|a, b| keys.row(*a as usize).cmp(&keys.row(*b as usize)));
        take_rows(&rows, &UInt32Array::from(order)).map(Some)
    }
}

/// The rows of an [`Overflow`] in the order of their partitions.
pub(super) struct Merge {
    runs: Vec<Run>,
}

impl Merge {
    /// The partition that comes next: its key and its value.
    pub(super) fn partition(&self, partitioner: &Partitioner) -> Result<Option<(Vec<u8>, Struct)>> {
        let Some(run) = self.runs.iter().min_by(|a, b| a.key().cmp(b.key())) else { return Ok(None) };
        let value = partitioner.value(&run.batch.slice(run.at, 1))?;
        Ok(Some((run.key().to_vec(), value)))
    }

    /// More rows of the partition `key`.
    pub(super) fn rows(&mut self, key: &[u8], partitioner: &Partitioner) -> Result<Option<RecordBatch>> {
        let Some(place) = self.runs.iter().position(|run| run.key() == key) else { return Ok(None) };
        let run = &mut self.runs[place];
        let range = run.alike();
        let rows = run.batch.slice(range.start, range.len());
        run.at = range.end;
        if run.at == run.batch.num_rows() && !run.advance(partitioner)? {
            self.runs.swap_remove(place);
        }
        Ok(Some(rows))
    }
}

/// A sorted run, at a row.
struct Run {
    batches: Batches,
    batch: RecordBatch,
    keys: Option<Rows>,
    at: usize,
}

enum Batches {
    Disk(Box<StreamReader<BufReader<File>>>),
    Memory(VecDeque<RecordBatch>),
}

impl Run {
    fn begin(mut batches: Batches, partitioner: &Partitioner) -> Result<Option<Self>> {
        let Some(batch) = batches.next()? else { return Ok(None) };
        let keys = partitioner.keys(&batch)?;
        Ok(Some(Self { batches, batch, keys, at: 0 }))
    }

    /// Goes on to the next batch, if there is one.
    fn advance(&mut self, partitioner: &Partitioner) -> Result<bool> {
        let Some(batch) = self.batches.next()? else { return Ok(false) };
        (self.keys, self.batch, self.at) = (partitioner.keys(&batch)?, batch, 0);
        Ok(true)
    }

    fn key(&self) -> &[u8] {
        self.keys.as_ref().map_or(&[], |keys| keys.row(self.at).data())
    }

    /// The rows from here on that are of one partition.
    fn alike(&self) -> Range<usize> {
        let Some(keys) = &self.keys else { return self.at..self.batch.num_rows() };
        let key = keys.row(self.at);
        let end = (self.at..self.batch.num_rows()).find(|at| keys.row(*at) != key);
        self.at..end.unwrap_or(self.batch.num_rows())
    }
}

impl Batches {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Self::Disk(reader) => reader.next().transpose().map_err(unreadable),
            Self::Memory(batches) => Ok(batches.pop_front()),
        }
    }
}

fn write_run(rows: &RecordBatch) -> std::result::Result<(File, u64), ArrowError> {
    let file = tempfile::tempfile()?;
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(BufWriter::new(file), rows.schema_ref(), options)?;
    let row_bytes = rows.get_array_memory_size() / rows.num_rows().max(1);
    let step = (RUN_BATCH_BYTES / row_bytes.max(1)).clamp(1, rows.num_rows().max(1));
    for start in (0..rows.num_rows()).step_by(step) {
        writer.write(&rows.slice(start, step.min(rows.num_rows() - start)))?;
    }
    writer.finish()?;
    let mut buffer = writer.into_inner()?;
    buffer.flush()?;
    let mut file = buffer.into_inner().map_err(|error| ArrowError::from(error.into_error()))?;
    let bytes = file.stream_position()?;
    Ok((file, bytes))
}

/// About how many bytes of memory `batch` takes: columns without values share theirs.
fn held_bytes(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter().map(|column| match column.null_count() == column.len() {
        true => 256,
        false => column.get_array_memory_size(),
    });
    columns.sum()
}

fn unreadable(error: ArrowError) -> Error {
    Error::new(ErrorKind::Unexpected, "rows in a temporary file cannot be read").with_source(error)
}

fn unsorted(error: ArrowError) -> Error {
    Error::new(ErrorKind::Unexpected, "rows cannot be sorted by partition").with_source(error)
}

//! A bin of data files -> one data file with the same rows.
//!
//! In: a [`Bin`]. Out: [`Rewritten`]: the new file, and the files that it may come in place of. It is the same partition, in
//! the table's sort order: all rows at once if memory has room for them, else by stretches, in which case the file is as well
//! clustered as its row groups are. Rows are counted: of the manifests, read, and written.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use futures::stream::{self, StreamExt as _};
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::Left;
use super::deletes::same;
use super::plan::{Bin, Input};
use super::read::{ReadLimits, Rows, Unfit};
use crate::failpoint::failpoint;
use crate::job::WriteLimits;
use crate::write::TableWriter;

/// Small files that are fetched ahead.
const FILES_AHEAD: usize = 8;

/// A file in place of others.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) replaced: Vec<Input>,
    pub(super) files: Vec<DataFile>,
    pub(super) rows: u64,
}

/// What came of a bin.
pub(super) struct Outcome {
    /// None if it was not worth it, or did not come out right.
    pub(super) rewritten: Option<Rewritten>,
    /// Files that stay as they are.
    pub(super) left: Vec<(Left, String)>,
}

/// Writes the rows of `bin` to one file, by the layout of `table`, whose schema in Arrow's terms is `schema`.
///
/// # Errors
/// The storage's. What was written is removed.
pub(super) async fn rewrite(
    table: &Table,
    schema: &SchemaRef,
    bin: Bin,
    limits: WriteLimits,
    attempt: Uuid,
) -> Result<Outcome> {
    let mut writer = TableWriter::new(table, limits, attempt)?.one_file_a_partition();
    let mut left = Vec::new();
    let written = match copy(table, schema, bin, limits, &mut writer, &mut left).await {
        Ok(Some((replaced, rows))) => {
            writer.close().await.map(|files| Some(Rewritten { replaced, files, rows }))
        }
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    let rewritten = match written {
        Ok(Some(rewritten)) => match rewritten.fault() {
            None => return Ok(Outcome { rewritten: Some(rewritten), left }),
            Some((why, what)) => {
                left.push((why, what));
                Ok(None)
            }
        },
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    writer.abandon().await;
    rewritten.map(|rewritten| Outcome { rewritten, left })
}

/// Reads the files of `bin` into `writer`. Which files, and how many rows; None if there are not two.
async fn copy(
    table: &Table,
    schema: &SchemaRef,
    bin: Bin,
    limits: WriteLimits,
    writer: &mut TableWriter,
    left: &mut Vec<(Left, String)>,
) -> Result<Option<(Vec<Input>, u64)>> {
    let stretch_bytes = (limits.buffer_bytes / 4).max(1);
    let read = ReadLimits {
        whole_bytes: (stretch_bytes / FILES_AHEAD) as u64,
        row_group_bytes: limits.buffer_bytes as u64,
        batch_bytes: (stretch_bytes / 4).max(1),
    };
    let current = table.metadata().current_schema().clone();
    let opens = bin.files.into_iter().map(|file| {
        let (file_io, current, schema) = (table.file_io().clone(), current.clone(), schema.clone());
        async move {
            let rows = Rows::open(&file_io, &file, &current, &schema, read).await;
            (file, rows)
        }
    });
    let mut files = stream::iter(opens).buffered(FILES_AHEAD);
    let is_sorted = !table.metadata().default_sort_order().is_unsorted();
    let (mut replaced, mut rows, mut held) = (Vec::new(), 0_u64, Stretch::default());
    while let Some((file, opened)) = files.next().await {
        let mut batches = match opened {
            Ok(batches) => batches,
            Err(Unfit::Left(why, what)) => {
                left.push((why, what));
                continue;
            }
            Err(Unfit::Failed(error)) => return Err(error),
        };
        let mut own = 0;
        while let Some(batch) = batches.next().await? {
            own += batch.num_rows() as u64;
            // A batch of a few rows costs the writer as much as one of many.
            held.push(batch);
            if held.bytes >= if is_sorted { stretch_bytes } else { read.batch_bytes } {
                held.write(writer).await?;
            }
        }
        if own != file.rows {
            let what = format!("{} has {own} rows, and its manifest says {}", file.path, file.rows);
            return Err(Error::new(ErrorKind::DataInvalid, what));
        }
        rows += own;
        replaced.push(file);
    }
    held.write(writer).await?;
    failpoint("compacted")?;
    Ok((replaced.len() > 1).then_some((replaced, rows)))
}

/// Rows that are written together.
#[derive(Default)]
struct Stretch {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

impl Stretch {
    fn push(&mut self, batch: RecordBatch) {
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
    }

    async fn write(&mut self, writer: &mut TableWriter) -> Result<()> {
        let Some(first) = self.batches.first() else { return Ok(()) };
        let rows = concat_batches(&first.schema(), &self.batches).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "rows cannot be put together").with_source(error)
        })?;
        *self = Self::default();
        writer.write(&rows).await
    }
}

impl Rewritten {
    /// Why it cannot come in place of the others.
    fn fault(&self) -> Option<(Left, String)> {
        let first = self.replaced.first()?;
        let written: u64 = self.files.iter().map(DataFile::record_count).sum();
        if written != self.rows {
            let what = format!("{written} rows were written of {}: a defect, please report it", self.rows);
            return Some((Left::Rows, what));
        }
        if self.files.iter().any(|file| same(file.partition()) != same(&first.partition)) {
            let what = format!(
                "the rows of {} and others are not of the partition that they are entered under",
                first.path
            );
            return Some((Left::Partition, what));
        }
        if self.files.len() >= self.replaced.len() {
            let what = format!("{} and others would not become fewer files", first.path);
            return Some((Left::NoGain, what));
        }
        None
    }
}

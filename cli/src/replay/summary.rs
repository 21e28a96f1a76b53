//! What a replay did, for people and for programs.
//!
//! In: counts of every stage and the table. Out: a page on standard output, or one JSON object.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::table::Table;
use lake::{Outcome, Status};
use serde::Serialize;

use super::firehose::Counts;
use crate::page::{grouped, line};

/// Rows, columns and characters of a value that the page shows of the table.
const SHOWN_ROWS: usize = 4;
const SHOWN_COLUMNS: usize = 5;
const SHOWN_CHARACTERS: usize = 30;

#[derive(Debug, Serialize)]
pub(super) struct Summary {
    table: String,
    records: u64,
    ok: u64,
    failed: u64,
    invocations: u64,
    objects: u64,
    objects_already_committed: u64,
    rows: u64,
    rows_quarantined: u64,
    rows_quarantined_by_reason: BTreeMap<&'static str, u64>,
    data_files: usize,
    data_file_bytes: u64,
    snapshot_id: Option<i64>,
    metadata_location: Option<String>,
    damaged: Vec<String>,
    pub(super) seconds: f64,
}

impl Summary {
    pub(super) fn new(table: &TableIdent) -> Self {
        Self {
            table: table.to_string(),
            records: 0,
            ok: 0,
            failed: 0,
            invocations: 0,
            objects: 0,
            objects_already_committed: 0,
            rows: 0,
            rows_quarantined: 0,
            rows_quarantined_by_reason: BTreeMap::new(),
            data_files: 0,
            data_file_bytes: 0,
            snapshot_id: None,
            metadata_location: None,
            damaged: Vec::new(),
            seconds: 0.0,
        }
    }

    pub(super) fn add_transformed(&mut self, counts: &Counts) {
        self.records = counts.records;
        self.ok = counts.ok;
        self.failed = counts.failed;
        self.invocations = counts.invocations;
        self.damaged.clone_from(&counts.damaged);
    }

    pub(super) fn add_appended(&mut self, outcome: &Outcome) {
        for object in &outcome.objects {
            match &object.status {
                Status::Committed { rows, rejected, .. } => {
                    self.objects += 1;
                    self.rows += rows;
                    for (reason, count) in rejected {
                        self.rows_quarantined += count;
                        *self.rows_quarantined_by_reason.entry(reason.code()).or_default() += count;
                    }
                }
                Status::AlreadyCommitted => {
                    self.objects += 1;
                    self.objects_already_committed += 1;
                }
                // Delivered again, and counted then.
                Status::Failed(_) | Status::NotReached | Status::Ignored => {}
            }
        }
        self.data_files += outcome.data_files;
        self.data_file_bytes += outcome.data_file_bytes;
    }

    pub(super) fn describe(&mut self, table: &Table) {
        self.snapshot_id = table.metadata().current_snapshot_id();
        self.metadata_location = table.metadata_location().map(str::to_owned);
    }

    #[expect(clippy::print_stdout, reason = "this is the command's output")]
    pub(super) fn print_json(&self) -> anyhow::Result<()> {
        println!("{}", serde_json::to_string(self)?);
        self.complain()
    }

    #[expect(clippy::print_stdout, reason = "this is the command's output")]
    pub(super) async fn print(&self, root: &Path, table: Option<&Table>) -> anyhow::Result<()> {
        let root = root.display();
        let rate = match self.rows {
            0 => String::new(),
            rows => format!(", {} rows/s", grouped((rows as f64 / self.seconds) as u64)),
        };
        let reasons: Vec<String> =
            self.rows_quarantined_by_reason.iter().map(|(code, count)| format!("{code} {count}")).collect();
        let kept = |count: u64, place: &str| {
            if count > 0 { format!("kept in {root}/errors/{place}") } else { String::new() }
        };
        let quarantined = match self.rows_quarantined {
            0 => String::new(),
            count => format!("{}: {}", kept(count, "quarantine"), reasons.join(", ")),
        };
        let already = match self.objects_already_committed {
            0 => String::new(),
            count => format!("{} of them committed before", grouped(count)),
        };
        println!("{}", self.table);
        line("records", self.records, &format!("in {} invocations of transform", grouped(self.invocations)));
        line("ok", self.ok, "");
        line("failed", self.failed, &kept(self.failed, "processing-failed"));
        line("objects", self.objects, &already);
        line("rows", self.rows, &format!("{:.2} s{rate}", self.seconds));
        line("quarantined", self.rows_quarantined, &quarantined);
        line("files", self.data_files as u64, &format!("{:.1} MB", self.data_file_bytes as f64 / 1e6));
        if let Some(snapshot) = self.snapshot_id {
            println!("  {:<12}{snapshot}", "snapshot");
        }
        if let Some(table) = table {
            println!("  {:<12}{}", "metadata", table.metadata_location().unwrap_or_default());
            println!();
            for row in first_rows(table).await? {
                println!("  {row}");
            }
        }
        self.complain()
    }

    /// The rows of a damaged input stand as far as it could be read, but a script must see that it was damaged.
    fn complain(&self) -> anyhow::Result<()> {
        if !self.damaged.is_empty() {
            bail!("{}; what was read before stands", self.damaged.join("; "));
        }
        Ok(())
    }
}

/// The first rows of the table, read back through Iceberg, as a small table of text.
async fn first_rows(table: &Table) -> anyhow::Result<Vec<String>> {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(Vec::new()) };
    let schema = snapshot.schema(table.metadata())?;
    let fields = schema.as_struct().fields();
    let fields = &fields[..fields.len().min(SHOWN_COLUMNS)];
    let columns: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    // By ids: a scan takes names such as `pos` and `_file` for columns of metadata, not of the table.
    let field_ids: Vec<i32> = fields.iter().map(|field| field.id).collect();
    let tasks = table.scan().select_empty().build()?.plan_files().await?;
    let tasks = tasks.map_ok(move |mut task| {
        task.project_field_ids.clone_from(&field_ids);
        task
    });
    let mut batches =
        table.reader_builder().with_batch_size(SHOWN_ROWS).build().read(Box::pin(tasks))?.stream();
    let Some(batch) = batches.try_next().await? else { return Ok(Vec::new()) };
    let mut rows = vec![columns.iter().map(|name| shortened(name)).collect::<Vec<_>>()];
    rows.extend(text_of(&batch)?);
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let lines = rows.iter().map(|row| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    });
    Ok(lines.collect())
}

fn text_of(batch: &RecordBatch) -> anyhow::Result<Vec<Vec<String>>> {
    let options = FormatOptions::default().with_null("null");
    let columns = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = batch.num_rows().min(SHOWN_ROWS);
    Ok((0..rows)
        .map(|row| columns.iter().map(|column| shortened(&column.value(row).to_string())).collect())
        .collect())
}

fn shortened(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= SHOWN_CHARACTERS {
        return text;
    }
    text.chars().take(SHOWN_CHARACTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shortened() {
        assert_eq!(shortened(&"ü".repeat(40)).chars().count(), SHOWN_CHARACTERS);
        assert_eq!(shortened("a\nb"), "a b");
    }
}

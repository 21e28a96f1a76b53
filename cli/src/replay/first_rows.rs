//! The first rows of a table, for the page of a replay.
//!
//! In: a table. Out: lines of text, a few columns wide; none if the table has no rows.

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use iceberg::table::Table;

/// Rows, columns and characters of a value that are shown.
const SHOWN_ROWS: usize = 4;
const SHOWN_COLUMNS: usize = 5;
const SHOWN_CHARACTERS: usize = 30;

/// The first rows of the table, as a small table of text. The library reads them in a task of its own: if it panics over
/// a file that somebody else wrote, only that ends.
pub(super) async fn first_rows(table: Table) -> anyhow::Result<Vec<String>> {
    tokio::spawn(async move { read_first_rows(&table).await }).await?
}

/// The first rows of the table, read back through Iceberg, as a small table of text.
async fn read_first_rows(table: &Table) -> anyhow::Result<Vec<String>> {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(Vec::new()) };
    let schema = snapshot.schema(table.metadata())?;
    // The library cannot read a struct that has got fields since its file was written.
    let may_have_grown = table.metadata().schemas_iter().len() > 1;
    let fields = schema.as_struct().fields().iter();
    let fields = fields.filter(|field| field.field_type.is_primitive() || !may_have_grown);
    let fields: Vec<_> = fields.take(SHOWN_COLUMNS).collect();
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
    let mut rows = vec![columns.iter().map(|name| shortened(name)).collect::<Vec<_>>()];
    while rows.len() <= SHOWN_ROWS
        && let Some(batch) = batches.try_next().await?
    {
        rows.extend(text_of(&batch)?);
    }
    rows.truncate(SHOWN_ROWS + 1);
    if rows.len() == 1 {
        return Ok(Vec::new());
    }
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

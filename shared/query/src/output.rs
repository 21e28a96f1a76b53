//! Rows, written for people and programs.
//!
//! In: a stream of rows. Out: a table, CSV, or JSON with an object in each line, batch by batch. Refused: nested columns in
//! CSV, which has no form for them.

use std::io::Write;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::json::WriterBuilder;
use datafusion::arrow::json::writer::LineDelimited;
use datafusion::arrow::util::pretty::pretty_format_batches_with_schema;
use datafusion::common::{Result, plan_err};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt as _;

/// Rows of one table; what comes after gets a table, with a width, of its own.
const TABLE_ROWS: usize = 1000;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns of text, for people.
    Table,
    /// With a line of names.
    Csv,
    /// An object in each line; nulls are written.
    Json,
}

/// Writes all rows.
///
/// # Errors
/// Those of the query, and of `out`.
pub async fn write(
    mut rows: SendableRecordBatchStream,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let schema = rows.schema();
    match format {
        Format::Table => {
            let (mut held, mut count, mut is_written) = (Vec::new(), 0, false);
            while let Some(batch) = rows.try_next().await? {
                let mut from = 0;
                while from < batch.num_rows() {
                    let length = (TABLE_ROWS - count).min(batch.num_rows() - from);
                    held.push(batch.slice(from, length));
                    (from, count) = (from + length, count + length);
                    if count == TABLE_ROWS {
                        table(&schema, &held, out)?;
                        (count, is_written) = (0, true);
                        held.clear();
                    }
                }
            }
            if count > 0 || !is_written {
                table(&schema, &held, out)?;
            }
        }
        Format::Csv => {
            if let Some(field) = schema.fields().iter().find(|field| field.data_type().is_nested()) {
                return plan_err!(
                    "the column {} is nested, for which CSV has no form: take its fields, or --format json",
                    field.name()
                );
            }
            let mut writer = csv::WriterBuilder::new().with_header(true).build(&mut *out);
            writer.write(&RecordBatch::new_empty(schema))?;
            while let Some(batch) = rows.try_next().await? {
                writer.write(&batch)?;
            }
        }
        Format::Json => {
            let builder = WriterBuilder::new().with_explicit_nulls(true);
            let mut writer = builder.build::<_, LineDelimited>(&mut *out);
            while let Some(batch) = rows.try_next().await? {
                writer.write(&batch)?;
            }
            writer.finish()?;
        }
    }
    out.flush().map_err(DataFusionError::IoError)
}

fn table(schema: &std::sync::Arc<Schema>, rows: &[RecordBatch], out: &mut (dyn Write + Send)) -> Result<()> {
    let text = pretty_format_batches_with_schema(schema.clone(), rows)?;
    writeln!(out, "{text}").map_err(DataFusionError::IoError)
}

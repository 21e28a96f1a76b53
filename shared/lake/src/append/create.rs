//! The first objects of a table -> the table.

use iceberg::table::Table;
use tokio::time::Instant;

use super::sources::Sources;
use crate::catalog::Lake;
use crate::definition::TableDefinition;
use crate::error::Error as Failure;
use crate::failpoint::failpoint;
use crate::infer;
use crate::job::AppendOptions;

/// Of the time until the deadline, the share in which a schema is inferred.
const INFERENCE_SHARE: u32 = 4;

/// Creates the table, unless there is nothing to tell its columns from.
///
/// # Errors
/// The catalog's, or a defect.
pub(super) async fn table(
    sources: &mut Sources,
    lake: &Lake,
    options: &AppendOptions,
) -> std::result::Result<Option<Table>, Failure> {
    let definition = match &options.definition {
        Some(definition) => definition.clone(),
        None => {
            let now = Instant::now();
            let until = now + options.deadline.saturating_duration_since(now) / INFERENCE_SHARE;
            let inferred = infer::infer(sources.to_read(), options.limits, until).await?;
            for (at, error) in inferred.failed {
                sources.fail(at, error);
            }
            let Some(schema) = inferred.schema else {
                if inferred.cut_short {
                    tracing::warn!("there was no time to find a record that tells the table's columns");
                    sources.leave_out_all();
                }
                return Ok(None);
            };
            TableDefinition::inferred(options.table.name(), schema)?
        }
    };
    tracing::info!(table = %options.table, "creating the table");
    let created = lake.create(&options.table, definition).await;
    let table = created.map_err(Failure::of_catalog)?;
    failpoint("after create")?;
    Ok(Some(table))
}

//! The first objects of a table -> the table.

use iceberg::table::Table;
use tokio::time::Instant;

use super::Invocation;
use crate::catalog::Lake;
use crate::definition::TableDefinition;
use crate::error::{Error as Failure, reworded};
use crate::failpoint::failpoint;
use crate::infer::Inferred;

/// Of the time until the deadline, the share in which a schema is inferred.
const INFERENCE_SHARE: u32 = 4;

/// Creates the table, unless there is nothing to tell its columns from.
///
/// # Errors
/// The catalog's, or a defect.
pub(super) async fn table(invocation: &mut Invocation<'_>) -> std::result::Result<Option<Table>, Failure> {
    let Invocation { lake, options, sources, input, definitions, routed, .. } = invocation;
    let definition = match &options.definition {
        Some(definition) => Some(definition.clone()),
        None => kept(lake, definitions, options.table.name()).await?,
    };
    let mut definition = match definition {
        Some(definition) => definition,
        None => {
            let now = Instant::now();
            let until = now + options.deadline.saturating_duration_since(now) / INFERENCE_SHARE;
            let unpack = &options.unpack;
            let inferred: Inferred = input.infer(sources.to_read(), options.limits, unpack, until).await?;
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
    if let Some(routed) = routed {
        routed.note(&mut definition.properties);
    }
    tracing::info!(table = %options.table, "creating the table");
    let created = lake.create(&options.table, definition).await;
    let table = created.map_err(Failure::of_catalog)?;
    failpoint("after create")?;
    Ok(Some(table))
}

/// The definition `<name>.json` in the folder `definitions`, if it is there.
///
/// # Errors
/// The storage's, or the file is no definition.
async fn kept(
    lake: &Lake,
    definitions: &Option<&str>,
    name: &str,
) -> std::result::Result<Option<TableDefinition>, Failure> {
    let Some(folder) = definitions else { return Ok(None) };
    let input = lake.file_io.new_input(format!("{}/{name}.json", folder.trim_end_matches('/')))?;
    if !input.exists().await? {
        return Ok(None);
    }
    let definition = TableDefinition::parse(&input.read().await?);
    let named = |error| reworded(&error, format!("{}: {}", input.location(), error.message()));
    Ok(Some(definition.map_err(named)?))
}

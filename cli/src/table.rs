//! `frazil table`: tables of a warehouse, their definitions and how these change.
//!
//! In: a table's name, and for `create` and `evolve` a definition. Out: the definition that the table has by now, on
//! standard output, or what has changed. It goes by the catalog alone and works on any.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use iceberg::TableIdent;
use iceberg::table::Table;
use lake::{Lake, TableDefinition};
use lambda::env::Environment;
use serde_json::json;

use crate::page::{counted, out};
use crate::place::{Place, ident_of, table_names};

/// Show, create or evolve a table.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the definition of a table; the names of all without one.
    Show {
        #[arg(value_name = "NAMESPACE.NAME")]
        table: Option<String>,
    },
    /// Create a table.
    Create {
        #[arg(value_name = "NAMESPACE.NAME")]
        table: String,
        /// A table definition, as frazil infer prints it.
        #[arg(value_name = "FILE.json")]
        definition: PathBuf,
    },
    /// Give a table the columns that it lacks of a definition, and wider types. Nothing else of it changes.
    Evolve {
        #[arg(value_name = "NAMESPACE.NAME")]
        table: String,
        /// A table definition, as frazil table show prints it, with more columns.
        #[arg(value_name = "FILE.json")]
        definition: PathBuf,
    },
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.place.site(&Environment::of_process())?;
    match arguments.command {
        Command::Show { table: None } => {
            table_names(&site.lake().await?).await?.iter().for_each(|table| out!("{table}"));
        }
        Command::Show { table: Some(name) } => {
            let (_, table) = existing(&site.lake().await?, &name).await?;
            out!("{}", serde_json::to_string_pretty(&definition_of(&table)?)?);
        }
        Command::Create { table: name, definition } => {
            let (definition, ident) = (read(&definition)?, ident_of(&name)?);
            let lake = site.new_lake().await?;
            if lake.table(&ident).await?.is_some() {
                bail!("there is a table {ident}; see frazil table evolve");
            }
            lake.create(&ident, definition).await?;
            out!("{ident} is created");
        }
        Command::Evolve { table: name, definition } => {
            let definition = read(&definition)?;
            let lake = site.lake().await?;
            let (ident, _) = existing(&lake, &name).await?;
            let paths = lake.evolve(&ident, &definition.schema).await.with_context(|| ident.to_string())?;
            out!("{ident}: {} new or wider", counted(paths.len() as u64, "column"));
            paths.iter().for_each(|path| out!("  {path}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn existing(lake: &Lake, name: &str) -> anyhow::Result<(TableIdent, Table)> {
    let ident = ident_of(name)?;
    match lake.table(&ident).await? {
        Some(table) => Ok((ident, table)),
        None => bail!("there is no table {ident}; frazil table show names those that are there"),
    }
}

fn read(file: &Path) -> anyhow::Result<TableDefinition> {
    let shown = file.display();
    let json = std::fs::read(file).with_context(|| format!("cannot read the table definition {shown}"))?;
    TableDefinition::parse(&json).with_context(|| shown.to_string())
}

fn definition_of(table: &Table) -> anyhow::Result<serde_json::Value> {
    let metadata = table.metadata();
    let mut properties: Vec<_> = metadata.properties().iter().collect();
    properties.sort();
    let spec = metadata.default_partition_spec().as_ref().clone().into_unbound();
    let mut definition = json!({
        "name": table.identifier().name(),
        "schema": metadata.current_schema(),
        "partition-spec": spec,
        "properties": properties.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
    });
    if !metadata.default_sort_order().is_unsorted() {
        definition["write-order"] = serde_json::to_value(metadata.default_sort_order())?;
    }
    Ok(definition)
}

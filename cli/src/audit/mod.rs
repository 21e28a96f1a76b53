//! `frazil audit`: proof that nothing is lost and nothing is twice.
//!
//! In: a warehouse on this machine. Out: counts and findings; the exit status is 1 if there is any finding. Objects are
//! listed first, then the tables are read, then the quarantine: what is delivered meanwhile is not taken for missing.
//! Nothing is changed.

mod objects;
mod quarantine;
mod reconcile;
mod report;
mod rows;
mod table;
mod topics;
mod vectors;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use append::routes::routes;
use iceberg::TableIdent;
use iceberg::io::{FileIOBuilder, LocalFsStorageFactory};

use lambda::env::Environment;

use self::objects::Objects;
use self::reconcile::{Books, Holdings};
use self::report::{Kind, Report};
use crate::page;
use crate::warehouse::{self, Folders};

/// Prove that every event of the raw objects is in a table or in the quarantine, once, and that every file is there.
///
/// Objects that were delivered and are in no table yet are findings, too: run it while nothing is being appended.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder with the catalog, the tables, the raw objects and what was rejected.
    #[arg(long, value_name = "DIR", default_value = ".frazil")]
    warehouse: PathBuf,
    /// Print one JSON object instead of the page.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let folders = Folders::new(&arguments.warehouse)?;
    let catalog = folders.existing_catalog()?;
    folders.require_home().await?;
    let file_io = FileIOBuilder::new(Arc::new(LocalFsStorageFactory)).build();
    let mut report = Report { warehouse: folders.root.display().to_string(), ..Report::default() };
    let mut objects = Objects::list(&folders)?;
    let listing = warehouse::list_tables(&catalog).await?;
    for damage in &listing.damage {
        let detail = format!("{damage}; restore it from a backup, or register the tables in a new one");
        report.find(Kind::DamagedCatalog, format!("file://{}", catalog.display()), detail);
    }
    let (mut tables, mut unreadable_tables) = (Vec::new(), Vec::new());
    if !listing.damage.is_empty() {
        unreadable_tables.push("the catalog".to_owned());
    }
    for table in &listing.tables {
        match table::examine(&file_io, table, &mut report).await {
            Some(facts) => tables.push(Holdings::new(&folders, &mut objects, facts)),
            None => unreadable_tables.push(table.name.clone()),
        }
    }
    let ledgers = tables.iter().map(Holdings::ledger).collect();
    let accounts = quarantine::read(&folders, &mut objects, &ledgers, &mut report)?;
    let environment = Environment::of_process();
    let unpack = lambda::unpack::options(&environment)?;
    // Which tables they go to is no matter here, only that they may be several.
    let is_routed = routes(&environment, &TableIdent::from_strs(["audit", "any"])?)?.is_some();
    objects.count(&file_io, &unpack).await;
    report.unfinished_files += objects.unfinished_files;
    let books = Books {
        folders: &folders,
        objects: &objects,
        accounts: &accounts,
        unreadable_tables: &unreadable_tables,
        is_routed,
    };
    books.reconcile(&tables, &mut report);
    report.findings.sort();
    let is_clean = report.findings.is_empty();
    if arguments.json {
        page::print_json(&report)?;
    } else {
        report.print();
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

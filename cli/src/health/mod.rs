//! `frazil health`: how the tables are, and what upkeep is due.
//!
//! In: a lake, or one table of it. Out: text, JSON, or a page with charts. It reads metadata alone and changes nothing.

mod charts;
mod html;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use indicatif::HumanBytes;
use lake::{Health, PartitionHealth};
use lambda::env::Environment;
use serde_json::json;

use self::words::{ago, clock, percent};
use crate::page::{counted, line, out, print_json};
use crate::place::{Place, ident_of, table_names};

/// Most partitions and snapshots that are printed.
const MAX_LISTED: usize = 10;

/// Show how tables are: files, history, growth, branches, and what upkeep is due.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The table; all tables without it.
    #[arg(long, value_name = "NAMESPACE.NAME")]
    table: Option<String>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a page with charts into this file.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let lake = arguments.place.site(&Environment::of_process())?.lake().await?;
    let idents = match &arguments.table {
        Some(name) => vec![ident_of(name)?],
        None => table_names(&lake).await?,
    };
    let mut tables = Vec::new();
    for ident in idents {
        let Some(table) = lake.table(&ident).await? else {
            bail!("there is no table {ident}; frazil table show names those that are there");
        };
        tables.push(lake.health(&table).await.with_context(|| ident.to_string())?);
    }
    if let Some(file) = &arguments.html {
        let page = html::page(&tables);
        std::fs::write(file, page).with_context(|| format!("cannot write {}", file.display()))?;
    }
    match (arguments.json, arguments.html) {
        (true, _) => print_json(&json!({ "tables": tables }))?,
        (false, Some(file)) => out!("{}", file.display()),
        (false, None) => tables.iter().for_each(print),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(health: &Health) {
    let Health { table, at_ms, rows, files, bytes, .. } = health;
    out!("{table}: {} in {}, {}", counted(*rows, "row"), counted(*files, "file"), HumanBytes(*bytes));
    let below = HumanBytes(health.small_below_bytes);
    let small = format!("below {below}: {}", percent(health.small_files, *files));
    line("small", health.small_files, &small);
    line("deletes", health.deletes, &format!("in {}", counted(health.delete_files, "file")));
    let metadata = HumanBytes(health.metadata_bytes);
    line("snapshots", health.snapshots, &format!("{metadata} of metadata"));
    line("manifests", health.manifests, "");
    match health.appended_ms {
        Some(time_ms) => out!("  appended    {} ({} ago)", clock(time_ms), ago(at_ms - time_ms)),
        None => out!("  appended    never, as far as snapshots tell"),
    }
    if let Some(time_ms) = health.newest_event_ms {
        out!("  newest      {} ({} ago)", clock(time_ms), ago(at_ms - time_ms));
    }
    if let Some(growth) = health.growth {
        let (rows, bytes) =
            (counted(growth.rows.max(0.0) as u64, "row"), HumanBytes(growth.bytes.max(0.0) as u64));
        out!("  growth      {rows} and {bytes} a day, in {:.0} commits", growth.commits);
    }
    for reference in &health.references {
        let kind = if reference.is_branch { "branch" } else { "tag" };
        let ahead = match reference.ahead {
            0 => String::new(),
            ahead => format!(
                ", {} and {} ahead of main",
                counted(ahead, "commit"),
                counted(reference.ahead_rows, "row")
            ),
        };
        out!(
            "  {kind} {} at {} ({}){ahead}",
            reference.name,
            reference.snapshot_id,
            clock(reference.time_ms)
        );
    }
    print_partitions(health);
    out!("  last snapshots");
    for entry in health.history.iter().rev().take(MAX_LISTED) {
        let added = counted(entry.added_rows.unwrap_or(0), "row");
        out!("    {}  {:<20} {:<10} {added} added", clock(entry.time_ms), entry.snapshot_id, entry.operation);
    }
    match health.due.is_empty() {
        true => out!("  nothing is due"),
        false => out!("  due"),
    }
    for due in &health.due {
        out!("    {}: {}", due.what, due.why);
        out!("      {}", due.command);
    }
}

fn print_partitions(health: &Health) {
    let mut partitions: Vec<&PartitionHealth> =
        health.partitions.iter().filter(|partition| !partition.name.is_empty()).collect();
    if partitions.is_empty() {
        return;
    }
    partitions.sort_by(|one, other| (other.updated_ms, &other.name).cmp(&(one.updated_ms, &one.name)));
    let hidden = partitions.len().saturating_sub(MAX_LISTED);
    out!("  partitions that were written to last");
    for partition in partitions.into_iter().take(MAX_LISTED) {
        out!(
            "    {}: {} in {} ({} small), {}",
            partition.name,
            counted(partition.rows, "row"),
            counted(partition.files, "file"),
            partition.small_files,
            HumanBytes(partition.bytes),
        );
    }
    if hidden > 0 || health.other_partitions.is_some() {
        out!("    and {hidden} more; --json has them");
    }
}

//! `frazil replay`: files of events -> rows of a table, through the very handlers that run in Lambda.
//!
//! In: Firehose events or data files. Out: a table in a local folder, and a summary. What AWS does between the
//! functions is stood in for by [`firehose`] (buffering, delivery) and [`queue`] (notifications, redelivery). The same
//! input gives the same objects with the same names, so that replaying it again redelivers what the table has. What the
//! functions are told by variables about the records of a stream is told here by the same.

mod counts;
pub(crate) mod firehose;
mod first_rows;
mod input;
pub(crate) mod queue;
mod refusals;
pub(crate) mod summary;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use append::config::{Config, branch, table_ident};
use append::handler::Appender;
use append::routes::routes;
use iceberg::TableIdent;
use indicatif::{ProgressBar, ProgressStyle};
use lake::{Limits, S3Config, TableDefinition};
use lambda::env::Environment;
use records::unpack::Options;
use tokio::sync::mpsc;

use self::counts::Counts;
use self::firehose::{DeliveredObject, Firehose};
use self::input::{Input, STDIN};
use self::queue::Queue;
use self::summary::Summary;
use crate::warehouse::{Folders, MEMORY_BYTES};

const NAMESPACE: &str = "streaming_analytics";
const INFERRED_TABLE: &str = "events";
const SAMPLE_TABLE: &[u8] = include_bytes!("../../../tables/user_events.json");

/// Replay events into a table: transform, deliver, append.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Firehose events (a JSON object with `records`) or data files (newline-delimited or concatenated JSON), plain,
    /// gzip or zstd; - is standard input. Without any: a bundled sample of 20,000 clickstream events.
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Folder for the catalog, the tables, the raw objects and what was rejected.
    #[arg(long, value_name = "DIR", default_value = ".frazil")]
    pub(crate) warehouse: PathBuf,
    /// A table definition (REST CreateTableRequest) or the name of a table; one that does not exist is created.
    #[arg(long, value_name = "FILE.json|NAMESPACE.NAME")]
    table: Option<String>,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let folders = Folders::new(&arguments.warehouse)?;
    folders.create()?;
    folders.require_home().await?;
    let unpack = lambda::unpack::options(&Environment::of_process())?;
    let (table, definition) = table(arguments.table.as_deref(), arguments.inputs.is_empty())?;
    let infers = definition.is_none();
    let (paths, root) = (arguments.inputs, folders.root.clone());
    let inputs = tokio::task::spawn_blocking(move || open(&paths, &root)).await??;
    let appender = Appender::open(Config {
        catalog: folders.catalog_config(),
        errors: format!("{}/errors", folders.root_uri),
        branch: branch(&Environment::of_process())?,
        source_root: format!("{}/", folders.root_uri),
        table: table.clone(),
        definition,
        routes: routes(&Environment::of_process(), &table)?.map(Arc::new),
        limits: Limits::for_memory(MEMORY_BYTES),
        unpack: unpack.clone(),
        s3: S3Config::default(),
    })
    .await?;

    // One that cannot be read says so when it is appended to.
    let is_inferred = infers && appender.lake().table(&table).await.is_ok_and(|table| table.is_none());

    let progress = progress_bar(&inputs);
    let mut summary = Summary::new(&table);
    let quarantine = folders.root.join("errors/quarantine").join(table.to_string());
    let (sender, mut delivered) = mpsc::channel(1);
    let root = folders.root.clone();
    let (producer_progress, unpack) = (progress.clone(), unpack);
    let producer =
        tokio::task::spawn_blocking(move || produce(inputs, &root, &unpack, &sender, &producer_progress));
    let mut queue = Queue::new(&appender);
    while let Some(objects) = delivered.recv().await {
        progress.set_message("appending");
        queue.deliver(&objects, |outcome| summary.add_appended(&quarantine, outcome)).await?;
    }
    // The channel is closed when the producer has come to its end, or to its error.
    summary.add_transformed(producer.await??);
    progress.finish_and_clear();
    summary.seconds = started.elapsed().as_secs_f64();
    // What is committed is committed, whether it can be shown or not.
    let table = appender.lake().table(&table).await.unwrap_or_else(|error| {
        summary.warnings.push(format!("the table cannot be read: {error}; see frazil audit"));
        None
    });
    if let Some(table) = &table {
        summary.describe(table);
        if is_inferred {
            summary.warn_of_whole_numbers(table);
        }
    }
    if arguments.json { summary.print_json() } else { summary.print(&folders, table).await }
}

/// The inputs at `paths`, or the sample if there are none.
fn open(paths: &[PathBuf], folder: &Path) -> anyhow::Result<Vec<Input>> {
    if paths.is_empty() {
        return Ok(vec![Input::sample()]);
    }
    if paths.iter().filter(|path| *path == Path::new(STDIN)).count() > 1 {
        bail!("- is given several times, but standard input can be read once");
    }
    paths.iter().map(|path| Input::open(path, folder)).collect()
}

/// Reads `inputs` into Firehose and sends what it delivers, in batches as SQS would. Gives back what was counted.
fn produce(
    inputs: Vec<Input>,
    root: &Path,
    unpack: &Options,
    sender: &mpsc::Sender<Vec<DeliveredObject>>,
    progress: &ProgressBar,
) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    for input in inputs {
        let name = input.name().to_owned();
        let mut firehose = Firehose::new(root, &input, unpack, sender)?;
        input.read_into(&mut firehose, unpack, progress).with_context(|| format!("cannot replay {name}"))?;
        counts += firehose.finish().with_context(|| format!("cannot replay {name}"))?;
    }
    Ok(counts)
}

/// The table to append to, and how to create it.
fn table(argument: Option<&str>, is_sample: bool) -> anyhow::Result<(TableIdent, Option<TableDefinition>)> {
    let named = |name: &str| TableIdent::from_strs([NAMESPACE, name]);
    match argument {
        None if is_sample => {
            let definition = TableDefinition::parse(SAMPLE_TABLE)?;
            Ok((named(&definition.name)?, Some(definition)))
        }
        None => Ok((named(INFERRED_TABLE)?, None)),
        Some(file) if file.ends_with(".json") => {
            let json =
                std::fs::read(file).with_context(|| format!("cannot read the table definition {file}"))?;
            let definition = TableDefinition::parse(&json).with_context(|| file.to_owned())?;
            Ok((named(&definition.name)?, Some(definition)))
        }
        Some(file) if file.contains(['/', '\\']) || Path::new(file).is_file() => bail!(
            "--table {file}: this is a path, not a name: expected NAMESPACE.NAME, or a table definition FILE.json; \
             give files of events without --table"
        ),
        Some(name) => {
            let ident = table_ident(name)
                .with_context(|| format!("--table {name}: expected NAMESPACE.NAME or a FILE.json"))?;
            let is_sample_table = is_sample && ident == named("user_events")?;
            let definition = is_sample_table.then(|| TableDefinition::parse(SAMPLE_TABLE)).transpose()?;
            Ok((ident, definition))
        }
    }
}

/// A bar over the bytes of the inputs; hidden where there is no terminal.
fn progress_bar(inputs: &[Input]) -> ProgressBar {
    let bar = ProgressBar::new(inputs.iter().map(Input::size_bytes).sum());
    bar.enable_steady_tick(Duration::from_millis(200));
    match ProgressStyle::with_template("{spinner} {bar:40} {bytes}/{total_bytes}  {elapsed}  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

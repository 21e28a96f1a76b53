//! `frazil maintain`: the upkeep of tables, once.
//!
//! In: a lake, and which of its tables. Out: what the function maintain does on a schedule, printed: small data files made
//! few, and the delivered objects that no table has. The exit status tells whether all went well and nothing is pending.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::HumanBytes;
use lambda::env::Environment;
use maintain::config::{Compaction, Config, Raw, Tables};
use maintain::handler::{Maintained, Maintainer, TableReport};

use crate::page::{counted, out, print_json};
use crate::place::{Place, Site, ident_of, table_names};
use crate::warehouse::RAW_BUCKET;

/// A run has no limit but the patience of whoever waits for it.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How far back delivered objects are looked for: as far as a ledger remembers them.
const DAYS: u32 = 14;

/// Make few data files of many small ones, and find delivered objects that no table has.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Only this table. May be given several times.
    #[arg(long = "table", value_name = "NAMESPACE.NAME")]
    tables: Vec<String>,
    /// How long after the end of its hour or day a partition counts as closed, such as 1h or 30m.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    closed_after: Option<Duration>,
    /// Files of about one size that are made one in a partition that is still written to.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(2..))]
    open_files: Option<u64>,
    /// Bytes that a file should have, instead of the table's write.target-file-size-bytes.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    target_bytes: Option<u64>,
    /// How long a delivered object may wait for its commit.
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    pending_after: Option<Duration>,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let site = arguments.place.site(&environment)?;
    let lake = site.lake().await?;
    let tables = match arguments.tables.is_empty() {
        true => table_names(&lake).await?,
        false => arguments.tables.iter().map(|name| ident_of(name)).collect::<Result<_, _>>()?,
    };
    let mut config = config(&site, &environment)?;
    config.tables = tables.into_iter().map(Tables::One).collect();
    if let Some(compaction) = &mut config.compaction {
        compaction.margin = arguments.closed_after.unwrap_or(compaction.margin);
        let open_files = arguments.open_files.and_then(|count| usize::try_from(count).ok());
        compaction.open_files = open_files.unwrap_or(compaction.open_files);
        compaction.target_bytes = arguments.target_bytes.or(compaction.target_bytes);
    }
    if let Some(raw) = &mut config.raw {
        raw.after = arguments.pending_after.unwrap_or(raw.after);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let maintainer = Maintainer::open(config).await?;
    let done = maintainer.handle(now.as_micros() as i64, Instant::now() + PATIENCE).await?;
    if arguments.json {
        print_json(&done)?;
    } else {
        print(&done);
    }
    let is_well = done.tables.values().all(|table| table.error.is_none())
        && done.pending.is_none_or(|pending| pending.pending == 0);
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the function would be told of the lake.
fn config(site: &Site, environment: &Environment) -> anyhow::Result<Config> {
    let Some(folders) = &site.folders else {
        // Which tables is said by whoever calls.
        return Config::from_env(&environment.clone().with("FRAZIL_TABLES", "all.*"));
    };
    let root = &folders.root_uri;
    Ok(Config {
        catalog: site.catalog.clone(),
        errors: format!("{root}/errors"),
        tables: Vec::new(),
        s3: site.s3.clone(),
        compaction: Some(Compaction::from_env(environment)?),
        raw: Some(Raw {
            folders: vec![format!("{root}/{RAW_BUCKET}")],
            source_root: format!("{root}/"),
            days: DAYS,
            after: Duration::from_secs(3600),
        }),
        // There is a command for it, which asks.
        sweep_after: None,
    })
}

fn print(done: &Maintained) {
    for (name, table) in &done.tables {
        print_table(name, table);
    }
    if let Some(pending) = &done.pending {
        for uri in &pending.named {
            out!("pending: {uri}");
        }
        let delivered = counted(pending.delivered, "delivered object");
        out!("{delivered}, {} in no table", pending.pending);
    }
}

fn print_table(name: &str, table: &TableReport) {
    if let Some(error) = &table.error {
        out!("{name}: {error}");
        return;
    }
    let files = counted(table.files_compacted, "data file");
    match table.files_compacted {
        0 => out!("{name}: nothing to compact"),
        _ => out!(
            "{name}: {files} became {}, {} became {}, {}",
            table.files_made,
            HumanBytes(table.bytes_compacted),
            HumanBytes(table.bytes_made),
            counted(table.rows, "row")
        ),
    }
    for (why, count) in &table.left {
        out!("  left alone, {why}: {}", counted(*count, "small file"));
    }
    if table.is_unfinished {
        out!("  there is more to do: run it again");
    }
}

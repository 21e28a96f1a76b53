//! `frazil query`: SQL over the tables of a warehouse.
//!
//! In: the text of a query, or a file that holds it. Out: its rows, on standard output. Nothing is changed.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use ::query::output::{Format, write};
use ::query::{Limits, Session};
use anyhow::{Context as _, bail};
use lambda::env::Environment;

use crate::place::{Place, ident_of};

/// Memory for what a query holds, in MB.
pub(crate) const MEMORY_MB: u32 = 1024;

/// Run a query over the tables of a warehouse.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The query, or a file NAME.sql that holds it. A table's own metadata are in "TABLE$snapshots", "TABLE$files" and so
    /// on; TABLE FOR TIMESTAMP AS OF and FOR VERSION AS OF read an earlier state.
    #[arg(value_name = "SQL|FILE.sql")]
    query: String,
    /// Names without a namespace are looked up in that of this table.
    #[arg(long, value_name = "NAMESPACE.NAME", default_value = "streaming_analytics.user_events")]
    table: String,
    #[command(flatten)]
    place: Place,
    /// How rows are written.
    #[arg(long, value_enum, default_value = "table")]
    format: OutputFormat,
    /// Most memory, in MB, for what a query holds; sorts, groups and joins go on in temporary files beyond it.
    #[arg(long, value_name = "MB", default_value_t = MEMORY_MB, value_parser = clap::value_parser!(u32).range(16..))]
    memory_mb: u32,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OutputFormat {
    Table,
    Csv,
    Json,
}

impl Arguments {
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.format, OutputFormat::Json)
    }
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let sql = text(&arguments.query)?;
    let table = ident_of(&arguments.table)?;
    let lake = arguments.place.site(&Environment::of_process())?.lake().await?;
    let limits = limits(arguments.memory_mb);
    let session = Session::new(lake, &table.namespace().as_ref().join("."), limits)?;
    let format = match arguments.format {
        OutputFormat::Table => Format::Table,
        OutputFormat::Csv => Format::Csv,
        OutputFormat::Json => Format::Json,
    };
    let mut out = Out { inner: BufWriter::new(io::stdout()), is_read: true };
    let answered = async {
        let rows = session.run(&sql).await?;
        write(rows, format, &mut out).await
    };
    let answered = tokio::select! {
        answered = answered => answered,
        // A query that is dropped leaves no temporary files.
        signal = tokio::signal::ctrl_c() => {
            signal?;
            bail!("stopped");
        }
    };
    match answered {
        Err(error) if out.is_read => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// What a query may take.
pub(crate) fn limits(memory_mb: u32) -> Limits {
    Limits {
        memory_bytes: (memory_mb as usize) << 20,
        parallel: std::thread::available_parallelism().map_or(1, usize::from),
    }
}

/// Standard output. A reader that went away early, as `head` does, wants no more.
struct Out {
    inner: BufWriter<io::Stdout>,
    is_read: bool,
}

impl Out {
    fn noting<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome {
            self.is_read &= error.kind() != ErrorKind::BrokenPipe;
        }
        outcome
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.inner.write(bytes);
        self.noting(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.inner.flush();
        self.noting(outcome)
    }
}

/// The query itself.
pub(crate) fn text(query: &str) -> anyhow::Result<String> {
    let path = Path::new(query);
    if path.extension().is_some_and(|extension| extension == "sql") {
        return std::fs::read_to_string(path).with_context(|| format!("{query} cannot be read"));
    }
    Ok(query.to_owned())
}

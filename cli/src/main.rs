//! `frazil`: the whole path from events to an Iceberg table, on one machine.

mod announce;
mod audit;
mod consumer;
mod health;
mod infer;
#[cfg(feature = "kafka")]
mod kafka;
mod maintain;
mod page;
mod place;
mod publish;
#[cfg(feature = "query")]
mod query;
mod redrive;
mod replay;
mod stop;
mod sweep;
mod table;
mod warehouse;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lambda::env::Environment;
use serde_json::json;

use self::warehouse::Folders;

/// Streams of JSON events into Apache Iceberg, on one machine.
#[derive(Debug, Parser)]
#[command(name = "frazil", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(replay::Arguments),
    Audit(audit::Arguments),
    Announce(announce::Arguments),
    Redrive(redrive::Arguments),
    #[cfg(feature = "kafka")]
    Kafka(kafka::Arguments),
    Sweep(sweep::Arguments),
    Maintain(maintain::Arguments),
    Infer(infer::Arguments),
    Table(table::Arguments),
    Publish(publish::Arguments),
    Health(health::Arguments),
    #[cfg(feature = "query")]
    Query(query::Arguments),
}

impl Command {
    fn is_json(&self) -> bool {
        match self {
            Self::Replay(arguments) => arguments.json,
            Self::Audit(arguments) => arguments.json,
            Self::Announce(arguments) => arguments.json,
            Self::Redrive(arguments) => arguments.json,
            #[cfg(feature = "kafka")]
            Self::Kafka(arguments) => arguments.json,
            Self::Sweep(arguments) => arguments.json,
            Self::Maintain(arguments) => arguments.json,
            Self::Publish(arguments) => arguments.json,
            Self::Health(arguments) => arguments.json,
            // What they print for programs is JSON as it is.
            Self::Infer(_) | Self::Table(_) => false,
            #[cfg(feature = "query")]
            Self::Query(arguments) => arguments.is_json(),
        }
    }
}

fn main() -> ExitCode {
    let command = match Arguments::try_parse() {
        Ok(arguments) => arguments.command,
        Err(error) => return misused(&error),
    };
    let is_json = command.is_json();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into(), is_json),
    };
    let outcome = runtime.block_on(run(command));
    // A thread may be waiting for input that never comes.
    runtime.shutdown_background();
    match outcome.and_then(|status| page::finished().map(|()| status)) {
        Ok(status) => status,
        Err(error) => failed(&error, is_json),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    // The summary says what matters; the functions' own log lines come with FRAZIL_LOG=info.
    let environment = Environment::of_process();
    let level = environment.text("FRAZIL_LOG").unwrap_or("error");
    lambda::log::init(&Environment::from_iter([("FRAZIL_LOG", level)]))?;
    match command {
        Command::Replay(arguments) => {
            let catalog = Folders::new(&arguments.warehouse)?.catalog_config();
            stop::guarded(&catalog, replay::run(arguments)).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Redrive(arguments) => {
            let catalog = arguments.place.site(&environment)?.catalog;
            stop::guarded(&catalog, Box::pin(redrive::run(arguments))).await?;
            Ok(ExitCode::SUCCESS)
        }
        #[cfg(feature = "kafka")]
        Command::Kafka(arguments) => {
            let catalog = Folders::new(&arguments.warehouse)?.catalog_config();
            stop::guarded(&catalog, Box::pin(kafka::run(arguments))).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Audit(arguments) => audit::run(arguments).await,
        Command::Announce(arguments) => announce::run(arguments).await,
        Command::Sweep(arguments) => sweep::run(arguments).await,
        Command::Maintain(arguments) => Box::pin(maintain::run(arguments)).await,
        Command::Infer(arguments) => infer::run(&arguments),
        Command::Table(arguments) => table::run(arguments).await,
        Command::Publish(arguments) => publish::run(arguments).await,
        Command::Health(arguments) => health::run(arguments).await,
        #[cfg(feature = "query")]
        Command::Query(arguments) => Box::pin(query::run(arguments)).await,
    }
}

/// Says what failed, to people and, if nothing else was printed, to programs. Gives back the exit status.
fn failed(error: &anyhow::Error, is_json: bool) -> ExitCode {
    let text = lake::causes(error.as_ref());
    if is_json && !page::has_printed() {
        page::out!("{}", json!({ "error": text }));
    }
    page::complain(text);
    error.downcast_ref::<stop::Stopped>().map_or(ExitCode::FAILURE, |stopped| stopped.status())
}

/// Says what is wrong with the arguments, or what help was asked for.
fn misused(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && is_json {
        // The usage follows in paragraphs of its own.
        let text = error.to_string();
        let text = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
        page::out!("{}", json!({ "error": text }));
    }
    // There is nowhere else to say that this failed.
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

//! `frazil`: the whole path from events to an Iceberg table, on one machine.

mod audit;
mod inventory;
mod page;
mod redrive;
mod replay;
mod sweep;
mod warehouse;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lambda::env::Environment;

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
    Redrive(redrive::Arguments),
    Sweep(sweep::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The summary says what matters; the functions' own log lines come with FRAZIL_LOG=info.
    let quiet = [("FRAZIL_LOG".to_owned(), "error".to_owned())];
    let environment = quiet.into_iter().chain(std::env::vars()).collect::<Environment>();
    let outcome = match lambda::log::init(&environment) {
        Ok(()) => match arguments.command {
            Command::Replay(arguments) => replay::run(arguments).await.map(|()| ExitCode::SUCCESS),
            Command::Audit(arguments) => audit::run(arguments).await,
            Command::Redrive(arguments) => redrive::run(arguments).await.map(|()| ExitCode::SUCCESS),
            Command::Sweep(arguments) => sweep::run(arguments).await,
        },
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(status) => status,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command's errors belong there")]
fn complain(error: &anyhow::Error) {
    eprintln!("frazil: {error:#}");
}

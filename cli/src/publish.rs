//! `frazil publish`: what was appended to a branch, audited and made visible.
//!
//! In: a table, a branch, and the bounds that its new rows must keep. Out: the commits that main does not have, what is
//! wrong with them, and what became of them. Exit status 0 if main has what was audited, 1 if not.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat};
use indicatif::HumanBytes;
use lake::{Bounds, Checks, MaxNulls, NewCommit, Publication, PublicationStatus, PublishOptions};
use lambda::env::Environment;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::page::{counted, out, print_json};
use crate::place::{Place, ident_of};

/// Longest time to wait for other writers.
const PATIENCE: Duration = Duration::from_secs(600);
/// Most commits that are listed.
const MAX_LISTED: usize = 20;

/// Publish what was appended to a branch of a table, if it passes its audit.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// The table.
    #[arg(long, value_name = "NAMESPACE.NAME")]
    table: String,
    /// The branch, as FRAZIL_BRANCH names it.
    #[arg(long, value_name = "NAME")]
    branch: String,
    /// The least number of new rows.
    #[arg(long, value_name = "N")]
    min_rows: Option<u64>,
    /// The greatest number of new rows.
    #[arg(long, value_name = "N")]
    max_rows: Option<u64>,
    /// Of a hundred new rows, how many may be null in a column.
    #[arg(long, value_name = "COLUMN=PERCENT", value_parser = max_nulls)]
    max_nulls: Vec<MaxNulls>,
    /// A condition on the new rows in SQL, such as "count_if(user_id IS NULL) = 0", or a file NAME.sql of such conditions with
    /// semicolons between them; may be given several times.
    #[arg(long, value_name = "SQL|FILE.sql")]
    check: Vec<String>,
    /// The snapshot of the branch to audit and publish, in place of the last one.
    #[arg(long, value_name = "ID")]
    snapshot: Option<i64>,
    /// Audit, and publish nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

fn max_nulls(text: &str) -> Result<MaxNulls, String> {
    let parsed = text.rsplit_once('=').and_then(|(column, percent)| {
        let percent: f64 = percent.trim_end_matches('%').trim().parse().ok()?;
        let is_sound = !column.is_empty() && (0.0..=100.0).contains(&percent);
        is_sound.then(|| MaxNulls { column: column.to_owned(), percent })
    });
    parsed.ok_or_else(|| "expected COLUMN=PERCENT, from 0 to 100".to_owned())
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let checks = checks(&arguments.check)?;
    let environment = Environment::of_process();
    let (table, site) = (ident_of(&arguments.table)?, arguments.place.site(&environment)?);
    let errors_uri = match &site.folders {
        Some(folders) => format!("{}/errors", folders.root_uri),
        None => settings::errors(&environment)?,
    };
    let lake = site.lake().await?;
    let options = PublishOptions {
        table,
        branch: arguments.branch,
        snapshot: arguments.snapshot,
        bounds: Bounds {
            min_rows: arguments.min_rows,
            max_rows: arguments.max_rows,
            max_nulls: arguments.max_nulls,
        },
        checks,
        errors_uri,
        is_dry_run: arguments.dry_run,
        deadline: Instant::now() + PATIENCE,
    };
    let publication = lake.publish(&options).await.with_context(|| arguments.table.clone())?;
    match arguments.json {
        true => print_json(&to_json(&options, &publication))?,
        false => print(&options, &publication),
    }
    Ok(match publication.status {
        PublicationStatus::Rejected | PublicationStatus::Refused(_) => ExitCode::FAILURE,
        PublicationStatus::Nothing
        | PublicationStatus::Audited { .. }
        | PublicationStatus::FastForward
        | PublicationStatus::Applied => ExitCode::SUCCESS,
    })
}

/// The conditions in SQL, if there are any.
#[cfg(feature = "query")]
fn checks(arguments: &[String]) -> anyhow::Result<Option<Arc<dyn Checks>>> {
    if arguments.is_empty() {
        return Ok(None);
    }
    let texts = arguments.iter().map(|argument| crate::query::text(argument));
    let texts = texts.collect::<anyhow::Result<Vec<_>>>()?;
    let limits = crate::query::limits(crate::query::MEMORY_MB);
    let checks = ::query::SqlChecks::new(texts.iter().map(String::as_str), limits).context("--check")?;
    Ok(Some(Arc::new(checks)))
}

#[cfg(not(feature = "query"))]
fn checks(arguments: &[String]) -> anyhow::Result<Option<Arc<dyn Checks>>> {
    let what = "--check: this program was built without SQL: build it with --features query";
    anyhow::ensure!(arguments.is_empty(), what);
    Ok(None)
}

fn name(status: &PublicationStatus) -> &'static str {
    match status {
        PublicationStatus::Nothing => "nothing_to_publish",
        PublicationStatus::Rejected => "rejected",
        PublicationStatus::Audited { .. } => "audited",
        PublicationStatus::FastForward => "fast_forward",
        PublicationStatus::Applied => "applied",
        PublicationStatus::Refused(_) => "refused",
    }
}

fn to_json(options: &PublishOptions, publication: &Publication) -> Value {
    let commits = publication.commits.iter().map(|commit| {
        json!({
            "snapshot_id": commit.snapshot,
            "committed_at": time(commit.time_ms),
            "rows": commit.rows,
            "files": commit.files,
            "bytes": commit.bytes,
            "objects": commit.objects,
        })
    });
    let mut json = json!({
        "table": options.table.to_string(),
        "branch": options.branch,
        "snapshot_id": publication.snapshot,
        "status": name(&publication.status),
        "findings": publication.findings,
        "commits": commits.collect::<Vec<_>>(),
        "main_snapshot_id": publication.main,
    });
    if let PublicationStatus::Refused(why) = &publication.status {
        json["reason"] = why.as_str().into();
    }
    json
}

fn print(options: &PublishOptions, publication: &Publication) {
    let (table, branch, commits) = (&options.table, &options.branch, &publication.commits);
    let sum = |of: fn(&NewCommit) -> u64| commits.iter().map(of).sum::<u64>();
    if !commits.is_empty() {
        out!(
            "{table}, branch {branch}, snapshot {}: {} in {}, {}, that main does not have",
            publication.snapshot,
            counted(sum(|commit| commit.rows), "row"),
            counted(commits.len() as u64, "commit"),
            HumanBytes(sum(|commit| commit.bytes)),
        );
        for commit in commits.iter().take(MAX_LISTED) {
            let (rows, objects) = (counted(commit.rows, "row"), counted(commit.objects, "object"));
            out!("  {}  {}  {rows}, {objects}", time(commit.time_ms), commit.snapshot);
        }
        if commits.len() > MAX_LISTED {
            out!("  ... and {} more", commits.len() - MAX_LISTED);
        }
    }
    publication.findings.iter().for_each(|finding| out!("not right: {finding}"));
    match &publication.status {
        PublicationStatus::Nothing => out!("nothing to publish: main has all of the branch {branch}"),
        PublicationStatus::Rejected => out!(
            "not published: main is as it was. Put the data right on the branch, or drop it (in Spark: ALTER TABLE {table} \
             DROP BRANCH {branch}) and deliver its objects again"
        ),
        PublicationStatus::Audited { is_fast: true } => {
            out!("would be published: main stands where the branch began");
        }
        PublicationStatus::Audited { is_fast: false } => {
            out!("would be published: main has gone on, so the commits would be applied again upon it");
        }
        PublicationStatus::FastForward => out!("published: main is at this snapshot"),
        PublicationStatus::Applied => out!(
            "published: main had gone on, and has the commits upon that, at the snapshot {}",
            publication.main.unwrap_or_default()
        ),
        PublicationStatus::Refused(why) => out!("not published: {why}"),
    }
}

fn time(time_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

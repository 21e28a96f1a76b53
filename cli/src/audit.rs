//! `frazil audit`: proof that nothing is lost and nothing is twice.
//!
//! In: which lake, and which of its objects count. Out: a page on standard output, or one JSON object; the exit status is 1 if
//! there is any finding. Nothing is changed.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use append::routes::routes;
use iceberg::TableIdent;
use indicatif::{HumanCount, ProgressBar};
use lake::audit::{Audit, Counts, Finding, Options, Progress, Report, Step, TableCounts, TopicCounts};
use lake::{Files, Limits};
use lambda::env::Environment;

use crate::page::{self, counted, line, out};
use crate::place::{Place, Stream};
use crate::warehouse::MEMORY_BYTES;

/// Findings of one kind that the page shows; the JSON has all.
const SHOWN_FINDINGS: usize = 100;

/// Prove that every event of the raw objects is in a table or in the quarantine, once, and that every file is there.
///
/// Objects that were delivered and are in no table yet are findings, too: run it while nothing is being appended.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    stream: Stream,
    /// The table, instead of FRAZIL_TABLE. Of a lake in a folder all tables are audited.
    #[arg(long, value_name = "NAMESPACE.NAME", conflicts_with = "warehouse")]
    table: Option<String>,
    /// Only objects whose key begins so, such as raw/2026/11/27/.
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only objects that were last written at that time (RFC 3339) or later, or are not older than that (3d, 12h).
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// Print one JSON object instead of the page.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A time, or an age.
pub(crate) fn parse_since(text: &str) -> Result<SystemTime, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(age).ok_or_else(|| format!("{text} ago there was no time"));
    }
    let with_time = format!("{text}T00:00:00Z");
    [text, &with_time].iter().find_map(|text| humantime::parse_rfc3339_weak(text).ok()).ok_or_else(|| {
        "expected an age such as 3d or 12h, or a time such as 2026-11-27 or 2026-11-27T06:00:00Z".to_owned()
    })
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let site = arguments.place.site(&environment)?;
    if let Some(folders) = &site.folders {
        folders.existing_catalog()?;
        folders.require_home().await?;
    }
    site.refuse_one_of_folder(arguments.table.as_deref())?;
    let layout = site.layout(&arguments.stream)?;
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let options = Options {
        limits: Limits::for_memory(MEMORY_BYTES),
        unpack: lambda::unpack::options(&environment)?,
        // Which tables they go to is no matter here, only that they may be several.
        is_routed: routes(&environment, &TableIdent::from_strs(["audit", "any"])?)?.is_some(),
        prefix: arguments.prefix,
        since: arguments.since,
        progress: shown_on(bar.clone()),
    };
    let mut audit = Audit::of_objects(Files::new(&site.s3), layout, options).await?;
    let listing = site.tables(arguments.table.as_deref()).await?;
    for damage in &listing.damage {
        let catalog = site.folders.iter().map(|folders| format!("file://{}", folders.catalog().display()));
        audit.add_damage(&catalog.collect::<String>(), damage);
    }
    for table in &listing.tables {
        audit.add_table(table).await?;
    }
    let mut report = audit.finish().await?;
    bar.finish_and_clear();
    report.warehouse = site.name();
    report.since = arguments.since.map(|since| humantime::format_rfc3339_seconds(since).to_string());
    let is_clean = report.findings.is_empty();
    if arguments.json {
        page::print_json(&report)?;
    } else {
        print(&report);
    }
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// On standard error, if that is a terminal.
fn shown_on(bar: ProgressBar) -> Progress {
    Arc::new(move |step, count| {
        let what = match step {
            Step::Objects => "objects read",
            Step::Files => "files of the table compared",
            Step::Rows => "rows read",
            Step::Quarantine => "files of the quarantine read",
            Step::Parts => "parts of the books closed",
        };
        bar.set_message(format!("{} {what}", HumanCount(count)));
    })
}

fn print(report: &Report) {
    out!("{}", report.warehouse);
    let range = [("--prefix", &report.prefix), ("--since", &report.since)];
    for (name, value) in range.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        out!("  only what {name} {value} has");
    }
    let (committed, pending) = (HumanCount(report.objects_committed), HumanCount(report.objects_pending));
    let untold = match report.objects_untold {
        0 => String::new(),
        count => format!(" + {} that cannot be told", HumanCount(count)),
    };
    line("objects", report.objects, &format!("= {committed} committed + {pending} pending{untold}"));
    if report.processing_failed_objects > 0 {
        let objects = counted(report.processing_failed_objects, "object");
        line(
            "failed",
            report.processing_failed_records,
            &format!("refused by transform, kept by Firehose in {objects}"),
        );
    }
    if report.unfinished_files > 0 {
        line("unfinished", report.unfinished_files, "files of writers that were killed; see frazil sweep");
    }
    if report.stale_quarantine_files > 0 {
        let what = "quarantine files of attempts that were never committed; harmless, see frazil sweep";
        line("stale", report.stale_quarantine_files, what);
    }
    for TableCounts { table, objects, names_objects, counts, kafka } in &report.tables {
        out!("{table}");
        if !names_objects {
            out!("  its rows do not name their objects, so only their sum is checked: ALTER TABLE {table}");
            out!("  ADD COLUMN file_name string, before snapshots expire");
        }
        line("objects", *objects, "");
        line("records", counts.rows_in_objects, &equation(counts));
        if counts.messages_dropped > 0 {
            let what = "messages of these objects that hold no record on purpose; nothing of them is kept";
            line("dropped", counts.messages_dropped, what);
        }
        if let Some(kafka) = kafka {
            let TopicCounts { records, records_with_rows, records_quarantined, records_dropped, .. } = kafka;
            let told = records_with_rows + records_quarantined + records_dropped;
            let sign = if *records == told { "=" } else { "≠" };
            let [rows, quarantined, dropped] =
                [records_with_rows, records_quarantined, records_dropped].map(|count| HumanCount(*count));
            let what = format!("{sign} {rows} with rows + {quarantined} quarantined + {dropped} dropped");
            line("of Kafka", *records, &what);
            let partitions = kafka.partitions.len() as u64;
            line("partitions", partitions, "--json has the next offset of each");
        }
        if counts.rows_of_other_origin > 0 {
            line("other rows", counts.rows_of_other_origin, "that come from no object of this warehouse");
        }
        line("twice", counts.record_ids_twice, "record ids");
        line("files", counts.data_files_checked, &format!("in {}", counted(counts.snapshots, "snapshot")));
    }
    out!("");
    print_findings(report);
}

fn print_findings(report: &Report) {
    let has_kafka = report.tables.iter().any(|table| table.kafka.is_some());
    if report.findings.is_empty() && report.objects == 0 && has_kafka {
        out!("Every Kafka record that was committed is in, nothing is lost, nothing is twice.");
        return;
    }
    if report.findings.is_empty() && report.objects == 0 {
        out!("There is no object yet: nothing to prove.");
        return;
    }
    if report.findings.is_empty() {
        out!("Every object is in, nothing is lost, nothing is twice.");
        return;
    }
    out!("{}", counted(report.findings.len() as u64 + report.findings_not_kept, "finding"));
    for same in report.findings.chunk_by(|one, next| one.kind == next.kind) {
        for Finding { kind, name, detail } in same.iter().take(SHOWN_FINDINGS) {
            out!("  {:<20}{name}: {detail}", kind.name());
        }
        if let (Some(first), more @ 1..) = (same.first(), same.len().saturating_sub(SHOWN_FINDINGS)) {
            out!("  {:<20}and {} more; --json has all", first.kind.name(), HumanCount(more as u64));
        }
    }
}

/// What became of the records of a table's objects.
fn equation(counts: &Counts) -> String {
    let Counts { rows_in_objects, rows_in_tables, rows_quarantined, rows_redriven, .. } = counts;
    let sign =
        if *rows_in_objects == rows_in_tables + rows_quarantined + rows_redriven { "=" } else { "≠" };
    let redriven = match rows_redriven {
        0 => String::new(),
        count => format!(" + {} redriven", HumanCount(*count)),
    };
    format!(
        "{sign} {} rows + {} quarantined{redriven}",
        HumanCount(*rows_in_tables),
        HumanCount(*rows_quarantined)
    )
}

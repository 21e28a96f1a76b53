//! `frazil redrive`: quarantined rows and Firehose's error objects -> append once more, after what kept them out is mended.
//!
//! In: which lake. Out: new raw objects of the quarantined records, delivered to append; their quarantine files
//! under `errors/redriven`; a summary. A quarantine file gives the same object each time, so that its token
//! guards the rows: a redrive that is killed can be run again, and two may run at once. What cannot become a row stays where
//! it is, and is listed with the reason. Rows that are refused again are in the quarantine of the new object, for a later run.

mod batches;
mod lot;
mod quarantine;
mod summary;
mod targets;
mod topics;

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use append::handler::Appender;
use iceberg::TableIdent;
use iceberg::spec::TableMetadataRef;
use lake::quarantine::Ledger;
use lake::{Files, Layout, Limits, Status};
use lambda::env::Environment;
use records::unpack::{Options, Unpacker};

use self::lot::{Lot, Rules};
use self::quarantine::{Ceiling, QuarantineFile, shown};
use self::summary::Summary;
use crate::place::{Place, Site, Stream};
use crate::replay::firehose::DeliveredObject;
use crate::replay::queue::Queue;
use crate::warehouse::MEMORY_BYTES;

/// Objects that are delivered together, and committed at once.
const BATCH_OBJECTS: usize = 50;

/// Put quarantined rows, and what Firehose could not process, through append once more.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    stream: Stream,
    /// Table for the records in errors/processing-failed; needed where there are several tables, or instead of FRAZIL_TABLE.
    /// Quarantined rows go to the table that refused them.
    #[arg(long, value_name = "NAMESPACE.NAME")]
    table: Option<String>,
    /// Put back also what was rejected of objects whose snapshots have expired. Only if frazil audit has no finding about
    /// them: an attempt that was never committed may have left the same records.
    #[arg(long)]
    expired: bool,
    /// Batches of Kafka records that an event source mapping gave up and wrote to its on-failure destination in S3: a file, or
    /// a folder of them, or their URI. They go to --table, or where FRAZIL_TOPIC_TABLES says; the other variables of msk count too.
    #[arg(long, value_name = "PATH")]
    failed_batches: Option<String>,
    /// Longest record, in bytes; at least the 16 MiB that count without it. For records that were rejected as
    /// record_too_large.
    #[arg(long, value_name = "BYTES", default_value_t = Limits::for_memory(MEMORY_BYTES).record_bytes)]
    max_record_bytes: usize,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    fn ceiling(&self) -> anyhow::Result<Ceiling> {
        let Limits { record_bytes: usual, decompressed_bytes: decompressed, .. } =
            Limits::for_memory(MEMORY_BYTES);
        if self.max_record_bytes < usual {
            bail!("--max-record-bytes {}: expected at least {usual}", self.max_record_bytes);
        }
        Ok(Ceiling { usual, now: self.max_record_bytes, decompressed })
    }
}

/// The lake, and how it is read.
struct Redrive<'a> {
    site: &'a Site,
    files: &'a Files,
    layout: &'a Layout,
    ceiling: Ceiling,
    unpack: &'a Options,
}

/// A table that rows are put back into.
struct Target {
    ident: TableIdent,
    appender: Appender,
    metadata: TableMetadataRef,
    ledger: Ledger,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let started = Instant::now();
    let environment = Environment::of_process();
    let site = arguments.place.site(&environment)?;
    if let Some(folders) = &site.folders {
        folders.require_home().await?;
        folders.existing_catalog()?;
    }
    let layout = site.layout(&arguments.stream)?;
    let files = Files::new(&site.s3);
    let ceiling = arguments.ceiling()?;
    let unpack = lambda::unpack::options(&environment)?;
    let unpacker = Unpacker::new(ceiling.now, &unpack);
    let redrive = Redrive { site: &site, files: &files, layout: &layout, ceiling, unpack: &unpack };
    // Listed before anything is done: what this run puts into the quarantine is left to the next one.
    let quarantine = quarantine::list(&files, &layout).await?;
    let targets = redrive.targets(arguments.table.as_deref(), &quarantine).await?;
    let (known, failed) = redrive.error_objects(&targets).await?;
    let target_of_failed = targets::of_failed(&targets, arguments.table.as_deref(), failed.len())?;

    let mut summary = Summary::new(quarantine.len(), known);
    for (table, of_table) in quarantine::by_table(quarantine) {
        let (of_topics, of_objects): (Vec<_>, Vec<_>) = of_table.into_iter().partition(topics::is_of_topic);
        let target = match (table.as_str(), arguments.table.as_deref()) {
            (topics::NO_TABLE, Some(named)) => targets.get(named),
            _ => targets.get(&table),
        };
        redrive.put_back_records(target, &arguments, of_topics, &mut summary).await;
        match targets.get(&table) {
            Some(target) => {
                let Target { metadata, ledger, .. } = target;
                let expired = arguments.expired;
                let (files, layout, unpacker) = (&files, &layout, &unpacker);
                let rules = Rules { files, layout, metadata, ledger, ceiling, unpacker, expired };
                put_back(target, rules, of_objects, &mut summary).await;
            }
            None => {
                for file in of_objects {
                    let records = file.records(&files).await;
                    summary.leave(&file, &format!("there is no table {table}"), records);
                }
            }
        }
    }
    for objects in failed.chunks(BATCH_OBJECTS) {
        if let Some(target) = target_of_failed {
            summary.error_objects += deliver(target, objects, &mut summary).await.len() as u64;
        }
    }
    if let Some(path) = &arguments.failed_batches {
        let delivered = batches::deliver(&site, &files, path, arguments.table.as_deref(), &mut summary).await;
        delivered.unwrap_or_else(|error| summary.errors.push(format!("{error:#}")));
    }
    summary.seconds = started.elapsed().as_secs_f64();
    match arguments.json {
        true => summary.print_json(),
        false => summary.print(&site.name(), shown(&layout.errors)),
    }
}

/// Puts the rows of quarantine files of one table back, a batch of files at a time.
async fn put_back(target: &Target, rules: Rules<'_>, files: Vec<QuarantineFile>, summary: &mut Summary) {
    let mut lots: Vec<Lot> = Vec::new();
    let mut files = files.into_iter().peekable();
    while let Some(file) = files.next() {
        match Lot::prepare(file, rules).await {
            Ok(lot) => {
                for (why, records) in &lot.left {
                    summary.leave(&lot.file, why, *records);
                }
                lots.extend((!lot.parts.is_empty()).then_some(lot));
            }
            Err(error) => summary.errors.push(format!("{error:#}")),
        }
        if lots.len() < BATCH_OBJECTS && files.peek().is_some() {
            continue;
        }
        let objects: Vec<DeliveredObject> =
            lots.iter().flat_map(|lot| &lot.parts).map(|part| part.object.clone()).collect();
        let mut done = HashSet::new();
        // What stands alone is an object each.
        for objects in objects.chunks(BATCH_OBJECTS) {
            done.extend(deliver(target, objects, summary).await);
        }
        for lot in lots.drain(..) {
            let parts = lot.parts.iter().filter(|part| done.contains(&part.object.key));
            let records: u64 = parts.map(|part| part.records).sum();
            if records > 0 {
                summary.files += 1;
                summary.records += records;
                if let Err(error) = lot.settle(rules, &done).await {
                    summary.errors.push(format!("{error:#}"));
                }
            }
        }
    }
}

impl Redrive<'_> {
    /// Puts the records of topics in quarantine files back into their table.
    async fn put_back_records(
        &self,
        target: Option<&Target>,
        arguments: &Arguments,
        quarantine: Vec<QuarantineFile>,
        summary: &mut Summary,
    ) {
        for file in quarantine {
            let Some(target) = target else {
                let why = match file.name.table.as_str() {
                    topics::NO_TABLE => {
                        "no rule names a table for its topic; say which with --table".to_owned()
                    }
                    table => format!("there is no table {table}"),
                };
                let records = file.records(self.files).await;
                summary.leave(&file, &why, records);
                continue;
            };
            let into = topics::Into {
                files: self.files,
                layout: self.layout,
                lake: target.appender.lake(),
                table: &target.ident,
                metadata: &target.metadata,
                ledger: &target.ledger,
                limits: self.limits(),
                expired: arguments.expired,
            };
            if let Err(error) = into.put_back(&file, summary).await {
                summary.errors.push(format!("{error:#}"));
            }
        }
    }

    fn limits(&self) -> Limits {
        Limits { record_bytes: self.ceiling.now, ..Limits::for_memory(MEMORY_BYTES) }
    }
}

/// Delivers `objects`. Gives back the keys of those that are in the table then.
async fn deliver(target: &Target, objects: &[DeliveredObject], summary: &mut Summary) -> HashSet<String> {
    let mut done = HashSet::new();
    if objects.is_empty() {
        return done;
    }
    let mut queue = Queue::new(&target.appender);
    let delivered = queue.deliver(objects, |outcome| {
        summary.add(outcome);
        let in_table = outcome
            .objects
            .iter()
            .filter(|object| matches!(object.status, Status::Committed { .. } | Status::AlreadyCommitted));
        done.extend(in_table.map(|object| object.object.key.clone()));
    });
    if let Err(error) = delivered.await {
        summary.errors.push(format!("{error:#}"));
    }
    done
}

fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

//! `frazil redrive`: quarantined rows and Firehose's error objects -> append once more, after what kept them out is mended.
//!
//! In: the folder of a lake. Out: new raw objects of the quarantined records, delivered to append; their quarantine files
//! under `errors/redriven`; a summary. A quarantine file gives the same object each time, so that its token
//! guards the rows: a redrive that is killed can be run again, and two may run at once. What cannot become a row stays where
//! it is, and is listed with the reason. Rows that are refused again are in the quarantine of the new object, for a later run.

mod batches;
mod lot;
mod quarantine;
mod summary;
mod topics;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use append::config::{CatalogConfig, Config, branch, table_ident};
use append::handler::Appender;
use iceberg::TableIdent;
use iceberg::spec::TableMetadataRef;
use lake::quarantine::Ledger;
use lake::{Digest, Lake, Limits, S3Config, Status, Token};
use lambda::env::Environment;
use records::unpack::{Options, Unpacker};

use self::lot::{Lot, Rules};
use self::quarantine::{Ceiling, QuarantineFile};
use self::summary::Summary;
use crate::replay::firehose::DeliveredObject;
use crate::replay::queue::Queue;
use crate::warehouse::{Folders, MEMORY_BYTES, files, is_unfinished, list_tables};
use lake::audit::ListedTable;

/// The bucket, by its folder, of what Firehose could not process.
const ERRORS_BUCKET: &str = "errors";
/// Objects that are delivered together, and committed at once.
const BATCH_OBJECTS: usize = 50;

/// Put quarantined rows, and what Firehose could not process, through append once more.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the catalog, the tables and what was rejected.
    #[arg(long, value_name = "DIR", default_value = ".frazil")]
    pub(crate) warehouse: PathBuf,
    /// Table for the records in errors/processing-failed; needed where there are several tables. Quarantined rows go to
    /// the table that refused them.
    #[arg(long, value_name = "NAMESPACE.NAME")]
    table: Option<String>,
    /// Put back also what was rejected of objects whose snapshots have expired. Only if frazil audit has no finding about
    /// them: an attempt that was never committed may have left the same records.
    #[arg(long)]
    expired: bool,
    /// Batches of Kafka records that an event source mapping gave up and wrote to its on-failure destination in S3: a file, or
    /// a folder of them. They go to --table, or where FRAZIL_TOPIC_TABLES says; the other variables of msk count too.
    #[arg(long, value_name = "PATH")]
    failed_batches: Option<PathBuf>,
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
    let folders = Folders::new(&arguments.warehouse)?;
    folders.require_home().await?;
    let ceiling = arguments.ceiling()?;
    let unpack = lambda::unpack::options(&Environment::of_process())?;
    let unpacker = Unpacker::new(ceiling.now, &unpack);
    let targets = targets(&folders, ceiling, &unpack).await?;
    // Listed before anything is done: what this run puts into the quarantine is left to the next one.
    let quarantine = quarantine::list(&folders)?;
    let (known, failed): (Vec<_>, Vec<_>) = error_objects(&folders)?.into_iter().partition(|object| {
        let token = Token::new(object.bucket, &object.key, &object.etag);
        targets.values().any(|target| target.ledger.has(&token))
    });
    let target_of_failed = target_of_failed(&targets, arguments.table.as_deref(), failed.len())?;

    let mut summary = Summary::new(quarantine.len(), known.len());
    for (table, files) in quarantine::by_table(quarantine) {
        let (of_topics, files): (Vec<_>, Vec<_>) = files.into_iter().partition(topics::is_of_topic);
        let target = match (table.as_str(), arguments.table.as_deref()) {
            (topics::NO_TABLE, Some(named)) => targets.get(named),
            _ => targets.get(&table),
        };
        put_back_records(&folders, target, ceiling, &arguments, of_topics, &mut summary).await;
        match targets.get(&table) {
            Some(target) => {
                let Target { metadata, ledger, .. } = target;
                let expired = arguments.expired;
                let rules = Rules { metadata, ledger, ceiling, unpacker: &unpacker, expired };
                put_back(&folders, target, rules, files, &mut summary).await;
            }
            None => {
                for file in files {
                    let records = file.records();
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
        let delivered = batches::deliver(&folders, path, arguments.table.as_deref(), &mut summary).await;
        delivered.unwrap_or_else(|error| summary.errors.push(format!("{error:#}")));
    }
    summary.seconds = started.elapsed().as_secs_f64();
    if arguments.json { summary.print_json() } else { summary.print(&folders.root) }
}

/// Puts the rows of quarantine files of one table back, a batch of files at a time.
async fn put_back(
    folders: &Folders,
    target: &Target,
    rules: Rules<'_>,
    files: Vec<QuarantineFile>,
    summary: &mut Summary,
) {
    let mut lots: Vec<Lot> = Vec::new();
    let mut files = files.into_iter().peekable();
    while let Some(file) = files.next() {
        match Lot::prepare(folders, file, rules) {
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
                if let Err(error) = lot.settle(folders, rules.unpacker, &done) {
                    summary.errors.push(format!("{error:#}"));
                }
            }
        }
    }
}

/// Puts the records of topics in quarantine files back into their table.
async fn put_back_records(
    folders: &Folders,
    target: Option<&Target>,
    ceiling: Ceiling,
    arguments: &Arguments,
    files: Vec<QuarantineFile>,
    summary: &mut Summary,
) {
    for file in files {
        let Some(target) = target else {
            let why = match file.name.table.as_str() {
                topics::NO_TABLE => "no rule names a table for its topic; say which with --table".to_owned(),
                table => format!("there is no table {table}"),
            };
            summary.leave(&file, &why, file.records());
            continue;
        };
        let into = topics::Into {
            folders,
            lake: target.appender.lake(),
            table: &target.ident,
            metadata: &target.metadata,
            ledger: &target.ledger,
            limits: Limits { record_bytes: ceiling.now, ..Limits::for_memory(MEMORY_BYTES) },
            expired: arguments.expired,
        };
        if let Err(error) = into.put_back(&file, summary).await {
            summary.errors.push(format!("{error:#}"));
        }
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

/// The tables of the lake in `folders`, by name.
async fn targets(
    folders: &Folders,
    ceiling: Ceiling,
    unpack: &Options,
) -> anyhow::Result<BTreeMap<String, Target>> {
    let catalog = folders.existing_catalog()?;
    let warehouse = format!("{}/warehouse", folders.root_uri);
    let lake = Lake::open_sqlite(&catalog, &warehouse).await?;
    let mut targets = BTreeMap::new();
    let listing = list_tables(&catalog).await?;
    if !listing.damage.is_empty() {
        bail!("{} is damaged: {}", catalog.display(), listing.damage.join("; "));
    }
    for ListedTable { name, .. } in listing.tables {
        let ident = table_ident(&name).with_context(|| format!("{name} is no NAMESPACE.NAME"))?;
        // A table that is dropped just now is one that there is not.
        let Some(table) = lake.table(&ident).await? else { continue };
        let appender = Appender::open(Config {
            catalog: CatalogConfig::Sqlite { database: catalog.clone(), warehouse: warehouse.clone() },
            errors: format!("{}/errors", folders.root_uri),
            branch: branch(&Environment::of_process())?,
            source_root: format!("{}/", folders.root_uri),
            table: ident.clone(),
            definition: None,
            routes: None,
            limits: Limits { record_bytes: ceiling.now, ..Limits::for_memory(MEMORY_BYTES) },
            unpack: unpack.clone(),
            s3: S3Config::default(),
        })
        .await?;
        let metadata = table.metadata_ref();
        let ledger = Ledger::of(table.metadata(), table.file_io()).await;
        targets.insert(name, Target { ident, appender, metadata, ledger });
    }
    Ok(targets)
}

/// The table that takes what Firehose could not process, in so many objects: nothing in them tells.
fn target_of_failed<'a>(
    targets: &'a BTreeMap<String, Target>,
    named: Option<&str>,
    objects: usize,
) -> anyhow::Result<Option<&'a Target>> {
    let names = targets.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    match named {
        Some(name) => match targets.get(name) {
            Some(target) => Ok(Some(target)),
            None => bail!("--table {name}: there is no such table; there are: {names}"),
        },
        None if objects == 0 || targets.len() == 1 => Ok(targets.values().next()),
        None if targets.is_empty() => bail!(
            "errors/processing-failed has {objects} objects, but there is no table for their records; \
             create one first, for instance with a replay"
        ),
        None => bail!(
            "errors/processing-failed has {objects} objects, and nothing tells which table their records are for; \
             choose one with --table: {names}"
        ),
    }
}

/// The objects that Firehose wrote under its error prefix.
fn error_objects(folders: &Folders) -> anyhow::Result<Vec<DeliveredObject>> {
    let bucket = folders.root.join(ERRORS_BUCKET);
    let mut objects = Vec::new();
    for path in files(&bucket.join("processing-failed"))?.iter().filter(|path| !is_unfinished(path)) {
        let key = key_in(&bucket, path)?;
        let failed = || format!("cannot read {}", path.display());
        let mut digest = Digest::default();
        let size_bytes = File::open(path)
            .and_then(|mut file| std::io::copy(&mut file, &mut digest))
            .with_context(failed)?;
        let object = DeliveredObject {
            bucket: ERRORS_BUCKET,
            key,
            size_bytes,
            etag: digest.hex(),
            delivered_millis: now_millis(),
        };
        objects.push(object);
    }
    Ok(objects)
}

/// The key of the file at `path` in the folder of a bucket.
fn key_in(bucket: &Path, path: &Path) -> anyhow::Result<String> {
    let key = path.strip_prefix(bucket).ok().and_then(Path::to_str);
    Ok(key.with_context(|| format!("{} is not UTF-8", path.display()))?.to_owned())
}

fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

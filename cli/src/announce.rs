//! `frazil announce`: objects that exist -> notifications for append.
//!
//! In: the URI of a prefix, and the queue of append. Out: a message for each object that no table has, in the shape in which S3
//! announces objects, at a limited rate; a summary. Append takes an object that was announced twice once. The messages do not
//! say when the object was created: how fresh rows are says nothing about objects that were there for long.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use futures::TryStreamExt as _;
use indicatif::{HumanCount, ProgressBar};
use lake::quarantine::Ledger;
use lake::{Files, StoredObject, stored_objects};
use lambda::env::Environment;
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::audit::parse_since;
use crate::page::{line, out, print_json};
use crate::place::{Place, Site, Stream};
use crate::replay::firehose::DeliveredObject;
use crate::replay::queue::s3_event;

/// Messages that are sent together.
const MESSAGES_AT_ONCE: usize = 10;

/// Announce objects that exist to append once more, but for those that a table has.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which objects: s3://BUCKET/PREFIX; with --dry-run also file:///PATH.
    #[arg(value_name = "URI")]
    prefix: String,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    stream: Stream,
    /// URL of the SQS queue that append takes its messages from: the output QueueUrl of the stack.
    #[arg(long, value_name = "URL", required_unless_present = "dry_run")]
    queue: Option<String>,
    /// Most messages per second.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// The table, instead of FRAZIL_TABLE. Of a lake in a folder all tables are asked.
    #[arg(long, value_name = "NAMESPACE.NAME", conflicts_with = "warehouse")]
    table: Option<String>,
    /// Only objects that were last written at that time (RFC 3339) or later, or are not older than that (3d, 12h).
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// Announce also what a table has. Append passes over it; where the records of a stream name their tables, one table may
    /// have an object and another not.
    #[arg(long)]
    all: bool,
    /// Only say what would be announced.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of the summary.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    prefix: String,
    objects: u64,
    /// Objects that a table has.
    objects_known: u64,
    /// Messages that were sent; with `--dry-run` those that would be.
    announced: u64,
    bytes: u64,
    dry_run: bool,
}

/// Runs the command.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let site = arguments.place.site(&Environment::of_process())?;
    if !arguments.dry_run && !arguments.prefix.starts_with("s3://") {
        bail!("{}: expected s3://BUCKET/PREFIX; append is told of no other objects", arguments.prefix);
    }
    let layout = site.announced_layout(&arguments.stream)?;
    let files = Files::new(&site.s3);
    let ledgers = match arguments.all {
        true => Vec::new(),
        false => ledgers(&site, arguments.table.as_deref()).await?,
    };
    let mut queue = match &arguments.queue {
        Some(url) if !arguments.dry_run => Some(Queue::open(url, arguments.rate).await?),
        _ => None,
    };
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(200));
    let (prefix, dry_run) = (arguments.prefix.clone(), arguments.dry_run);
    let mut summary = Summary { prefix, dry_run, ..Summary::default() };
    let mut objects = stored_objects(&files, &layout, &arguments.prefix, arguments.since, &ledgers)?;
    while let Some(object) = objects.try_next().await? {
        summary.objects += 1;
        if object.is_known {
            summary.objects_known += 1;
        } else {
            summary.announced += 1;
            summary.bytes += object.size_bytes;
            match &mut queue {
                Some(queue) => queue.add(&object).await.with_context(|| sent(&summary))?,
                None if arguments.json => {}
                None => out!("{}", object.uri),
            }
        }
        bar.set_message(format!(
            "{} objects, {} announced",
            HumanCount(summary.objects),
            HumanCount(summary.announced)
        ));
    }
    if let Some(queue) = &mut queue {
        queue.flush().await.with_context(|| sent(&summary))?;
    }
    bar.finish_and_clear();
    if arguments.json {
        print_json(&summary)?;
    } else {
        out!("{}", summary.prefix);
        line("objects", summary.objects, "");
        line("known", summary.objects_known, "to a table");
        let what = if dry_run { "nothing was sent: --dry-run" } else { "in the queue" };
        line("announced", summary.announced, what);
    }
    Ok(ExitCode::SUCCESS)
}

fn sent(summary: &Summary) -> String {
    format!("after about {} messages; running the command again does the rest", summary.announced)
}

/// What the tables remember. A table that is not there has nothing.
async fn ledgers(site: &Site, named: Option<&str>) -> anyhow::Result<Vec<Ledger>> {
    let lake = site.lake().await?;
    let mut ledgers = Vec::new();
    for ident in site.remembering(named).await? {
        if let Some(table) = lake.table(&ident).await? {
            ledgers.push(Ledger::of(table.metadata(), table.file_io()).await);
        }
    }
    Ok(ledgers)
}

/// The queue, at a rate.
struct Queue {
    #[cfg(feature = "s3")]
    sqs: lake::SqsQueue,
    waiting: Vec<String>,
    pause: Duration,
    next: Instant,
}

impl Queue {
    #[cfg(feature = "s3")]
    async fn open(url: &str, rate: u32) -> anyhow::Result<Self> {
        let pause = Duration::from_secs(1) / rate;
        let (sqs, next) = (lake::SqsQueue::open(url).await, Instant::now());
        Ok(Self { sqs, waiting: Vec::new(), pause, next })
    }

    #[cfg(not(feature = "s3"))]
    #[expect(clippy::unused_async, reason = "as it is with queues")]
    async fn open(url: &str, _: u32) -> anyhow::Result<Self> {
        bail!(
            "{url}: this program was built without queues: build it with --features s3, or with a catalog of AWS"
        )
    }

    async fn add(&mut self, object: &StoredObject) -> anyhow::Result<()> {
        let object = DeliveredObject {
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            size_bytes: object.size_bytes,
            etag: object.version.etag.clone(),
            version_id: object.version.version_id.clone(),
            delivered_millis: None,
        };
        self.waiting.push(s3_event(&object).to_string());
        match self.waiting.len() < MESSAGES_AT_ONCE {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        sleep_until(self.next).await;
        self.next = Instant::now() + self.pause * self.waiting.len() as u32;
        #[cfg(feature = "s3")]
        self.sqs.send(&self.waiting).await?;
        self.waiting.clear();
        Ok(())
    }
}

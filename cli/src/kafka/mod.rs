//! `frazil kafka`: topics of a broker -> tables, through the very handler that runs in Lambda.
//!
//! In: a broker and topics. Out: tables in a local folder, and a summary. What Lambda's event source mapping does is stood in
//! for here: it is a member of a consumer group, gathers records up to a number, a size or a time, hands them to msk as the
//! JSON of an event, and commits their offsets once msk has answered. It may be killed at any moment, and several may run
//! at once: what comes twice is told by the offsets in the table, and what was not committed comes again.

mod batch;
mod ends;
mod group;
mod summary;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use futures::{FutureExt as _, StreamExt as _};
use lambda::kafka::BatchResponse;
use msk::handler::{Answer, Consumer};
use rdkafka::error::KafkaError;
use tokio::task::block_in_place;

use self::batch::Batch;
use self::ends::Ends;
use self::group::Member;
use self::summary::Summary;
use crate::consumer;
use crate::page::complain;
use crate::warehouse::Folders;

/// Longest time for one batch. All attempts together are done before the group gives the partitions to another member, after
/// the five minutes of `max.poll.interval.ms`.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a batch is delivered at most, and how long to wait before the second time; twice as long before the next.
const DELIVERIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// How long nothing may come before it is looked whether all is read.
const IDLE: Duration = Duration::from_millis(200);
/// Where topics go that neither `--table` nor a rule is for.
const TABLE_PER_TOPIC: &str = "(.+)=streaming_analytics.$1";

/// Read topics of a Kafka broker into tables, as an event source mapping and msk do.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Address of a broker; several are parted by commas.
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap: String,
    /// A topic to read.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// The consumer group.
    #[arg(long, value_name = "GROUP", default_value = "frazil")]
    group: String,
    /// Table for the topics that no rule of FRAZIL_TOPIC_TABLES is for. Without it and without rules each topic goes to
    /// streaming_analytics.TOPIC. The other variables of msk count too.
    #[arg(long, value_name = "NAMESPACE.NAME")]
    table: Option<String>,
    /// Folder for the catalog, the tables and what was rejected.
    #[arg(long, value_name = "DIR", default_value = ".frazil")]
    pub(crate) warehouse: PathBuf,
    /// Records of a batch at most. A batch of 6 MB of JSON is full before.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_records: u32,
    /// How long a batch is gathered at most, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    batch_seconds: u64,
    /// A property of the consumer, by its name in librdkafka.
    #[arg(long = "property", value_name = "KEY=VALUE")]
    properties: Vec<String>,
    /// Stop when the group has what is in the topics at the start. Without it, read on.
    #[arg(long)]
    until_end: bool,
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
    let topics: Vec<&str> = arguments.topics.iter().map(String::as_str).collect();
    let member = Member::new(&arguments.bootstrap, &arguments.group, &arguments.properties)?;
    // These wait for the broker.
    let partitions = block_in_place(|| ends::partitions(&member, &topics))?;
    let ends = arguments.until_end.then(|| block_in_place(|| Ends::of(&member, partitions))).transpose()?;
    let cluster = block_in_place(|| member.cluster());
    let consumer = handler(&folders, arguments.table.as_deref(), cluster.as_deref()).await?;
    member.join(&topics)?;
    let mut mapping = Mapping {
        batch: Batch::new(&arguments.bootstrap, arguments.batch_records as usize),
        window: Duration::from_secs(arguments.batch_seconds),
        ends,
        member,
        consumer,
        summary: Summary::new(),
    };
    mapping.run().await?;
    mapping.summary.seconds = started.elapsed().as_secs_f64();
    mapping.summary.next = mapping.member.committed().clone();
    if arguments.json { mapping.summary.print_json() } else { mapping.summary.print(&folders) }
}

async fn handler(folders: &Folders, table: Option<&str>, cluster: Option<&str>) -> anyhow::Result<Consumer> {
    let mut own =
        vec![("FRAZIL_BATCH_ITEM_FAILURES", "true"), ("FRAZIL_KAFKA_CLUSTER", cluster.unwrap_or_default())];
    own.push(table.map_or(("FRAZIL_TOPIC_TABLES", TABLE_PER_TOPIC), |table| ("FRAZIL_TABLE", table)));
    consumer::open(folders, &own).await
}

/// What stands in for the event source mapping.
struct Mapping {
    member: Member,
    consumer: Consumer,
    batch: Batch,
    /// How long a batch is gathered at most.
    window: Duration,
    /// Where to stop, if anywhere.
    ends: Option<Ends>,
    summary: Summary,
}

impl Mapping {
    async fn run(&mut self) -> anyhow::Result<()> {
        loop {
            self.gather().await?;
            let is_idle = self.batch.is_empty();
            if !is_idle {
                self.deliver().await?;
            }
            block_in_place(|| self.member.commit(&self.batch))?;
            self.summary.tell(self.member.behind());
            if let Some(ends) = &mut self.ends
                && block_in_place(|| ends.are_committed(&self.member, is_idle))
            {
                return Ok(());
            }
        }
    }

    /// Gathers records until the batch is full, its time is over, or nothing more is to come. Comes back without any where
    /// nothing comes for a while.
    async fn gather(&mut self) -> anyhow::Result<()> {
        let consumer = self.member.consumer.clone();
        let mut messages = consumer.stream();
        let mut over = None;
        while !self.batch.is_full() {
            let now = Instant::now();
            if over.is_some_and(|over| now >= over) {
                break;
            }
            let until = over.map_or(now + IDLE, |over: Instant| over.min(now + IDLE));
            // Most have been fetched ahead: those need no timer.
            let next = match messages.next().now_or_never() {
                Some(next) => Ok(next),
                None => tokio::time::timeout_at(until.into(), messages.next()).await,
            };
            // Before what came is looked at: it may be the same record, by a new assignment.
            self.member.revoked(|topic, partition| self.batch.remove(topic, partition));
            match next {
                Ok(Some(Ok(message))) => {
                    self.batch.add(&message);
                    over.get_or_insert(now + self.window);
                }
                Ok(Some(Err(KafkaError::PartitionEOF(partition)))) => self.member.has_ended(partition),
                Ok(Some(Err(error))) => self.member.failed(&error)?,
                Ok(None) => bail!("the consumer has ended by itself: a defect"),
                Err(_) => {
                    self.member.have_come(self.batch.places());
                    if self.batch.is_empty() || self.ends.as_ref().is_some_and(|it| it.are_read(&self.member))
                    {
                        break;
                    }
                }
            }
        }
        self.member.have_come(self.batch.places());
        Ok(())
    }

    /// Hands the batch to msk until all of it is in the tables. After each answer the offsets below the first record that is
    /// not may be committed.
    async fn deliver(&mut self) -> anyhow::Result<()> {
        let mut pause = PAUSE;
        for delivery in 1..=DELIVERIES {
            let event = self.batch.event();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
            let handled = self.consumer.handle(&event, now, Instant::now() + PATIENCE).await;
            drop(event);
            self.summary.invocations += 1;
            let failure = match handled {
                Ok(handled) => {
                    self.summary.add(&handled.outcomes);
                    let failed = match handled.answer {
                        Answer::Batch(failed) => failed,
                        Answer::Done { .. } => BatchResponse::default(),
                    };
                    self.summary.records += self.batch.keep(&failed);
                    handled.failure
                }
                Err(failure) => Some(failure),
            };
            if self.batch.is_empty() {
                return Ok(());
            }
            let why = failure.map_or_else(|| "msk names none of its reasons".to_owned(), |it| it.to_string());
            if delivery == DELIVERIES {
                block_in_place(|| self.member.commit(&self.batch))?;
                return Err(anyhow::anyhow!(why)).with_context(|| {
                    format!("records were delivered {DELIVERIES} times, and their offsets are not committed")
                });
            }
            complain(format_args!("delivering once more: {why}"));
            block_in_place(|| self.member.commit(&self.batch))?;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

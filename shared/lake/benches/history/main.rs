//! What one more commit costs, the longer a table has been written to: `bench/history.sh`.
//!
//! In: how many objects a commit has, at which commits to look, properties of the table. Out: a line for each of those commits:
//! means over the commits around it (as many as its number, a hundred at most), and the table's metadata after it. SQLite and a
//! local folder: requests and bytes are exact, times are this machine's.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark, not the product")]

mod counting;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iceberg::TableIdent;
use lake::{
    AppendOptions, CatalogConfig, Lake, Limits, S3Config, Source, SourceObject, Status, TableDefinition,
    Token, append,
};
use serde_json::json;
use tokio::time::Instant;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

const RECORDS: usize = 10;
const WINDOW: usize = 100;
const PROCESSING_TIME: &str = "2026-01-02T03:04:05.678901Z";

struct Arguments {
    objects: usize,
    at: Vec<usize>,
    properties: BTreeMap<String, String>,
    /// How far the wall clock of the lake is moved by each commit; None leaves it alone.
    every: Option<Duration>,
    /// Opens the lake anew for each commit, as a function's new instance does.
    cold: bool,
}

#[tokio::main]
async fn main() {
    let arguments = arguments();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Statements)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    println!(
        "{RECORDS} records an object, {} objects a commit, {:?}\n",
        arguments.objects, arguments.properties
    );
    println!(
        "| commit | CPU ms | wall ms | statements | heads | reads | writes | deletes | bytes read | bytes written \
         | metadata bytes | uncompressed | manifests | snapshots | metadata files |"
    );
    println!("|{}", " ---: |".repeat(15));
    run(&arguments, folder.path()).await;
}

fn arguments() -> Arguments {
    let mut read = Arguments {
        objects: 1,
        at: vec![10, 100, 1000, 5000],
        properties: BTreeMap::new(),
        every: None,
        cold: false,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().unwrap_or_else(usage);
        match name.as_str() {
            "--objects" => read.objects = value().parse().unwrap_or_else(|_| usage()),
            "--at" => {
                let numbers = value();
                read.at = numbers.split(',').map(|n| n.parse().unwrap_or_else(|_| usage())).collect();
            }
            "--property" => {
                let property = value();
                let (key, value) = property.split_once('=').unwrap_or_else(usage);
                read.properties.insert(key.to_owned(), value.to_owned());
            }
            "--every" => {
                read.every = Some(Duration::from_secs(value().parse().unwrap_or_else(|_| usage())));
            }
            "--cold" => read.cold = true,
            // Cargo's.
            "--bench" => {}
            _ => usage(),
        }
    }
    read
}

fn usage<T>() -> T {
    println!("[--objects N] [--at N,N,...] [--property KEY=VALUE]... [--every SECONDS] [--cold]");
    std::process::exit(2)
}

/// What one commit took, or several: CPU and wall time in seconds, statements to the catalog, and what the storage has counted.
type Cost = [f64; 9];

async fn run(arguments: &Arguments, folder: &Path) {
    let definition = definition(&arguments.properties);
    let mut lake = open(folder, arguments.every).await;
    let windows: Vec<(usize, usize, usize)> = arguments
        .at
        .iter()
        .map(|at| (*at, at.saturating_sub(WINDOW.min(*at) / 2), at + WINDOW.min(*at) / 2))
        .collect();
    let mut sums: Vec<Cost> = vec![[0.0; 9]; windows.len()];
    let mut states = vec![String::new(); windows.len()];
    let last = windows.iter().map(|(_, _, last)| *last).max().unwrap_or(0);
    for commit in 1..=last {
        let objects: Vec<SourceObject> =
            (0..arguments.objects).map(|number| put(folder, commit, number)).collect();
        let every = arguments.every.unwrap_or_default();
        MOVED_MS.fetch_add(every.as_millis() as i64, Ordering::Relaxed);
        let before = now();
        if arguments.cold {
            lake = open(folder, arguments.every).await;
        }
        let options = AppendOptions {
            table: table(),
            branch: "main".to_owned(),
            definition: Some(definition.clone()),
            errors_uri: uri(&folder.join("errors")),
            processing_time: PROCESSING_TIME.to_owned(),
            deadline: Instant::now() + Duration::from_secs(60),
            limits: Limits::for_memory(512 << 20),
            unpack: Default::default(),
        };
        let outcome = append(&lake, &options, objects).await.unwrap();
        let after = now();
        let written = outcome.objects.iter().filter(
            |object| matches!(object.status, Status::Committed { rows, .. } if rows == RECORDS as u64),
        );
        assert_eq!(written.count(), arguments.objects, "{outcome:?}");
        for (place, (at, begin, end)) in windows.iter().enumerate() {
            if commit > *begin && commit <= *end {
                for (sum, (after, before)) in sums[place].iter_mut().zip(after.iter().zip(before)) {
                    *sum += (after - before) / (end - begin) as f64;
                }
            }
            if commit == *at {
                states[place] = state(&lake).await;
            }
            if commit == *end {
                let [cpu, wall, statements, heads, reads, writes, deletes, read, written] = sums[place];
                println!(
                    "| {at} | {:.1} | {:.1} | {statements:.1} | {heads:.1} | {reads:.1} | {writes:.1} | {deletes:.1} \
                     | {read:.0} | {written:.0} | {} |",
                    cpu * 1e3,
                    wall * 1e3,
                    states[place],
                );
            }
        }
    }
}

async fn open(folder: &Path, every: Option<Duration>) -> Lake {
    let config = CatalogConfig::Sqlite {
        database: folder.join("catalog.db"),
        warehouse: uri(&folder.join("warehouse")),
    };
    let inner = lake::storage_factory(&S3Config::default());
    let lake = Lake::open_on(&config, Arc::new(counting::Counting { inner })).await.unwrap();
    if every.is_some() { lake.with_source(Moved) } else { lake }
}

fn table() -> TableIdent {
    TableIdent::from_strs(["bench", "history"]).unwrap()
}

fn definition(properties: &BTreeMap<String, String>) -> TableDefinition {
    let field =
        |id: i32, name: &str, kind: &str| json!({"id": id, "name": name, "type": kind, "required": false});
    let fields = [field(1, "n", "long"), field(2, "text", "string"), field(3, "file_name", "string")];
    let definition = json!({
        "name": "history",
        "schema": {"type": "struct", "schema-id": 0, "fields": fields},
        "properties": properties,
    });
    TableDefinition::parse(definition.to_string().as_bytes()).unwrap()
}

fn put(folder: &Path, commit: usize, number: usize) -> SourceObject {
    let key = format!("raw/2026/01/02/03/stream-1-2026-01-02-03-04-05-{commit:06}-{number}");
    let path = folder.join(&key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let lines = (0..RECORDS).map(|n| format!("{{\"n\":{n},\"text\":\"row {n} of {commit}-{number}\"}}\n"));
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let token = Token::new("bench", &key, "1");
    SourceObject { uri: uri(&path), bucket: "bench".to_owned(), key, version_id: None, token }
}

/// The end of the line: what the table's metadata take.
async fn state(lake: &Lake) -> String {
    let table = lake.table(&table()).await.unwrap().unwrap();
    let path = table.metadata_location().unwrap().strip_prefix("file://").unwrap().to_owned();
    let bytes = std::fs::read(&path).unwrap();
    let plain = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
        plain.len()
    } else {
        bytes.len()
    };
    let metadata = table.metadata();
    let list = table.manifest_list_reader(metadata.current_snapshot().unwrap()).load().await.unwrap();
    let files = std::fs::read_dir(Path::new(&path).parent().unwrap())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("metadata.json"));
    format!(
        "{} | {plain} | {} | {} | {}",
        bytes.len(),
        list.entries().len(),
        metadata.snapshots().count(),
        files.count()
    )
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

fn now() -> Cost {
    // The fourteenth and fifteenth field, in hundredths of a second (proc(5)); the second one is in parentheses.
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = text.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    let cpu = ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let [heads, reads, writes, deletes, read, written] = counting::counted().map(|counter| counter as f64);
    let statements = STATEMENTS.load(Ordering::Relaxed) as f64;
    [cpu, wall, statements, heads, reads, writes, deletes, read, written]
}

/// How far the clock of [`Moved`] is ahead, in milliseconds.
static MOVED_MS: AtomicI64 = AtomicI64::new(0);

/// The machine's clock, moved.
#[derive(Debug)]
struct Moved;

impl Source for Moved {
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        since_epoch.as_millis() as i64 + MOVED_MS.load(Ordering::Relaxed)
    }

    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

static STATEMENTS: AtomicU64 = AtomicU64::new(0);

/// Counts the statements that the catalog runs, by the events of its driver.
struct Statements;

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
    }
}

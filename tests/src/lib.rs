//! What the end-to-end tests share: a lake in a folder of its own, and the append handler on it.
//!
//! In: raw objects as bytes. Out: what the handler answers, the table's rows as JSON values, and the
//! rejections. All of it is real: files, SQLite, Parquet.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

pub mod command;
pub mod kafka;
mod table;
pub mod writer;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use append::config::{CatalogConfig, Config, table_ident};
use append::handler::{Answer, Appender};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::write::GzEncoder;
use iceberg::expr::Predicate;
use iceberg::table::Table;
use lake::quarantine::{FileName, Ledger};
use lake::{Limits, Outcome, Routes, S3Config, Status, TableDefinition};
use records::unpack::Options;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use crate::table::{definition, enriched_table, numbers, plain_table, rows_in_files, scan, strict, with};

/// The table of a [`Bench`].
pub const TABLE: &str = "test.events";
/// What the handler is told the time is: 2026-01-02T03:04:05.678901Z.
pub const NOW_MICROS: i64 = 1_767_323_045_678_901;

/// A lake of its own, and the append handler on it.
pub struct Bench {
    /// Holds `catalog.db` and the folders `warehouse`, `raw` and `errors`.
    pub folder: TempDir,
    /// The handler.
    pub appender: Appender,
}

/// An object that was put.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its bucket.
    pub bucket: String,
    /// Its key, not encoded.
    pub key: String,
    /// A digest of its content.
    pub etag: String,
}

/// What came of one event.
#[derive(Debug)]
pub struct Delivered {
    /// Which messages are to be delivered again, by their place in the event.
    pub failed: Vec<usize>,
    /// What became of each object: `2 rows, 1 known, 1 truncated`, `known`, `ignored`, `failed`, `not reached`.
    pub objects: Vec<String>,
    /// What the lake says.
    pub outcome: Option<Outcome>,
}

/// One line of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// URI of the object.
    pub object: String,
    /// Which record of it, from 1.
    pub row: u64,
    /// Where the record starts, in bytes of content.
    pub offset: u64,
    /// The reason's code.
    pub code: String,
    /// The sentence for people.
    pub message: String,
    /// The record's bytes.
    pub raw: Option<Vec<u8>>,
    /// The file that holds a copy of the whole object.
    pub copy: Option<PathBuf>,
}

impl Bench {
    /// A bench whose table is created by `definition`, or inferred.
    pub async fn new(definition: Option<TableDefinition>) -> Self {
        Self::limited(definition, |_| {}).await
    }

    /// A bench with other limits than those of a 512 MiB function.
    pub async fn limited(definition: Option<TableDefinition>, change: impl FnOnce(&mut Limits)) -> Self {
        Self::unpacking(definition, change, Options::default()).await
    }

    /// A bench with other limits, and with settings for what of an object is an event.
    pub async fn unpacking(
        definition: Option<TableDefinition>,
        change: impl FnOnce(&mut Limits),
        unpack: Options,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = Limits::for_memory(512 << 20);
        change(&mut limits);
        let appender = open_with(folder.path(), definition, limits, |config| config.unpack = unpack).await;
        Self { folder, appender }
    }

    /// A bench whose stream feeds many tables.
    pub async fn routed(routes: Routes, change: impl FnOnce(&mut Limits)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut limits = Limits::for_memory(512 << 20);
        change(&mut limits);
        let appender =
            open_with(folder.path(), None, limits, |config| config.routes = Some(Arc::new(routes))).await;
        Self { folder, appender }
    }

    /// Writes an object. Its ETag tells its content, as S3's does.
    pub fn put(&self, key: &str, content: impl AsRef<[u8]>) -> Object {
        let path = self.path("raw", key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &content).unwrap();
        let mut hasher = DefaultHasher::new();
        content.as_ref().hash(&mut hasher);
        Object { bucket: "raw".into(), key: key.into(), etag: format!("{:032x}", hasher.finish()) }
    }

    /// Where an object lies.
    pub fn path(&self, bucket: &str, key: &str) -> PathBuf {
        self.folder.path().join(bucket).join(key)
    }

    /// Delivers `objects`, one in each message of one event.
    pub async fn deliver(&self, objects: &[Object]) -> Delivered {
        let messages: Vec<&[Object]> = objects.chunks(1).collect();
        self.handle(&sqs_event(&messages), Duration::from_secs(300)).await
    }

    /// Hands an SQS event to the handler, which has so much `time`.
    pub async fn handle(&self, event: &Value, time: Duration) -> Delivered {
        handle(&self.appender, event, Instant::now() + time).await
    }

    /// The table.
    pub async fn table(&self) -> Table {
        self.appender.lake().table(&table_ident(TABLE).unwrap()).await.unwrap().unwrap()
    }

    /// The values of the column `n` of the table `name`, in order; None if there is no such table.
    pub async fn numbers_of(&self, name: &str) -> Option<Vec<i64>> {
        let table = self.appender.lake().table(&table_ident(name).unwrap()).await.unwrap()?;
        Some(numbers(&scan(&table, &["n"], Predicate::AlwaysTrue).await))
    }

    /// All rows.
    pub async fn rows(&self) -> Vec<Value> {
        scan(&self.table().await, &[], Predicate::AlwaysTrue).await
    }

    /// The values of the column `n`, in order.
    pub async fn numbers(&self) -> Vec<i64> {
        numbers(&scan(&self.table().await, &["n"], Predicate::AlwaysTrue).await)
    }

    /// Everything in the quarantine, by object and row.
    pub fn rejections(&self) -> Vec<Rejection> {
        self.rejections_in(|_| true)
    }

    /// As above, but for the files of commits that the table does not have, or has no more.
    pub async fn rejections_that_count(&self) -> Vec<Rejection> {
        let table = self.table().await;
        let ledger = Ledger::of(table.metadata(), table.file_io()).await;
        let folder = self.folder.path().join("errors/quarantine");
        self.rejections_in(|path| {
            let place = path.strip_prefix(&folder).unwrap().to_str().unwrap();
            FileName::parse(place).is_some_and(|name| ledger.may_need(&name))
        })
    }

    fn rejections_in(&self, wanted: impl Fn(&Path) -> bool) -> Vec<Rejection> {
        let mut rejections: Vec<Rejection> = files(&self.folder.path().join("errors/quarantine"))
            .iter()
            .filter(|path| wanted(path))
            .flat_map(|path| {
                let file = std::fs::File::open(path).unwrap();
                let lines = lake::quarantine::lines_in(path.to_str().unwrap(), file).lines();
                lines
                    .map(|line| rejection(&serde_json::from_str(&line.unwrap()).unwrap()))
                    .collect::<Vec<_>>()
            })
            .collect();
        rejections.sort_by(|a, b| (&a.object, a.row).cmp(&(&b.object, b.row)));
        rejections
    }
}

/// A handler on the lake in `folder`, as another instance of the function would have it.
pub async fn open(folder: &Path, definition: Option<TableDefinition>, limits: Limits) -> Appender {
    open_with(folder, definition, limits, |_| {}).await
}

async fn open_with(
    folder: &Path,
    definition: Option<TableDefinition>,
    limits: Limits,
    change: impl FnOnce(&mut Config),
) -> Appender {
    let root = format!("file://{}", folder.display());
    let mut config = Config {
        catalog: CatalogConfig::Sqlite {
            database: folder.join("catalog.db"),
            warehouse: format!("{root}/warehouse"),
        },
        errors: format!("{root}/errors"),
        branch: "main".to_owned(),
        source_root: format!("{root}/"),
        table: table_ident(TABLE).unwrap(),
        definition,
        routes: None,
        limits,
        unpack: Options::default(),
        s3: S3Config::default(),
    };
    change(&mut config);
    Box::pin(Appender::open(config)).await.unwrap()
}

/// Hands an SQS event to `appender`.
pub async fn handle(appender: &Appender, event: &Value, deadline: Instant) -> Delivered {
    let handled = Box::pin(appender.handle(&event.to_string(), NOW_MICROS, deadline)).await.unwrap();
    let Answer::Batch(answer) = handled.answer else { unreachable!("an SQS event is answered as such") };
    let failed = answer.batch_item_failures.iter().map(|failure| failure.item_identifier.parse().unwrap());
    let objects = handled.outcome.iter().flat_map(|outcome| &outcome.objects);
    Delivered {
        failed: failed.collect(),
        objects: objects.map(|object| in_words(&object.status)).collect(),
        outcome: handled.outcome,
    }
}

fn in_words(status: &Status) -> String {
    match status {
        Status::Committed { rows, known, rejected, dropped } => {
            let dropped = if *dropped > 0 { format!(", {dropped} dropped") } else { String::new() };
            let known = if *known > 0 { format!(", {known} known") } else { String::new() };
            let rejected = rejected.iter().map(|(reason, count)| format!(", {count} {reason}"));
            format!("{rows} rows{known}{}{dropped}", rejected.collect::<String>())
        }
        Status::AlreadyCommitted => "known".into(),
        Status::Ignored => "ignored".into(),
        Status::Failed(_) => "failed".into(),
        Status::NotReached => "not reached".into(),
    }
}

/// An SQS event of `messages`, each with an S3 event of its objects. A message's id is its place.
pub fn sqs_event(messages: &[&[Object]]) -> Value {
    let messages = messages.iter().enumerate().map(|(at, objects)| {
        let records = objects.iter().map(|object| {
            let described = json!({"key": url_encoded(&object.key), "eTag": object.etag});
            json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": object.bucket}, "object": described}})
        });
        let body = json!({"Records": records.collect::<Vec<_>>()});
        json!({"messageId": at.to_string(), "body": body.to_string(), "eventSource": "aws:sqs"})
    });
    json!({"Records": messages.collect::<Vec<_>>()})
}

/// As S3 encodes keys in its events.
pub fn url_encoded(key: &str) -> String {
    let encoded = key.bytes().map(|byte| match byte {
        b' ' => "+".to_owned(),
        _ if byte.is_ascii_alphanumeric() || b"-._*/".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// Records of [`plain_table`], one a line.
pub fn lines(numbers: Range<i64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n},\"text\":\"row {n}\"}}\n")).collect()
}

/// `content` in gzip.
pub fn gzip(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn rejection(line: &Value) -> Rejection {
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    Rejection {
        object: text("object"),
        row: line["row"].as_u64().unwrap(),
        offset: line["offset"].as_u64().unwrap(),
        code: text("errorCode"),
        message: text("errorMessage"),
        raw: line["rawData"].as_str().map(|data| STANDARD.decode(data).unwrap()),
        copy: line["rawObject"].as_str().map(|uri| uri.strip_prefix("file://").unwrap().into()),
    }
}

/// All files under `folder`, at any depth.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let below = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    let mut found: Vec<PathBuf> = below.collect();
    found.sort();
    found
}

//! What holds for any objects and notifications: every byte is in a row, in a rejection, or separates records; every row
//! is in the table once, in a file of its own partition; and an object's token tells its bucket, key and version.
//!
//! A failure prints the smallest input that shows it, and the seed to come there again. `PROPTEST_CASES` says how many
//! inputs each law is tried on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs::File;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use futures::TryStreamExt as _;
use iceberg::expr::Reference;
use iceberg::spec::Datum;
use lake::{Status, Token, WriteLimits};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};
use tests::{Bench, NOW_MICROS, Rejection, definition, gzip, numbers, plain_table, scan, url_encoded};
use tokio::runtime::Runtime;

/// Tries `law` on inputs, `cases` of them unless `PROPTEST_CASES` says how many.
fn for_all<T: Debug>(cases: u32, inputs: impl Strategy<Value = T>, law: impl AsyncFn(T)) {
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    config.max_shrink_iters = 100;
    let seed = match config.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => fastrand::u64(..),
    };
    config.rng_seed = RngSeed::Fixed(seed);
    let runtime = Runtime::new().unwrap();
    TestRunner::new(config)
        .run(&inputs, |input| {
            runtime.block_on(law(input));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}\nagain with PROPTEST_RNG_SEED={seed}"));
}

/// The longest record of these tests.
const MAX_RECORD_BYTES: usize = 60;

/// How an object is stored.
#[derive(Clone, Debug)]
enum Stored {
    Plain,
    Gzip,
    Zstd,
    /// Gzip, of which the end is missing.
    Cut(Index),
}

impl Stored {
    fn bytes(&self, content: &[u8]) -> Vec<u8> {
        match self {
            Self::Plain => content.to_vec(),
            Self::Gzip => gzip(content),
            Self::Zstd => zstd::encode_all(content, 1).unwrap(),
            Self::Cut(at) => {
                let whole = gzip(content);
                whole[..10 + at.index(whole.len() - 10)].to_vec()
            }
        }
    }
}

/// What objects are made of here: rows, what is refused as a row, and what is no JSON.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let separator = select(vec!["\n", "\n", "\r\n", "", " ", "\n\u{feff}"]);
    let row = (0..100, separator.clone()).prop_map(|(n, separator)| format!("{{\"n\":{n}}}{separator}"));
    let text = (0..100, "[a-z}{é\\\\n]{0,50}", separator)
        .prop_map(|(n, text, separator)| format!("{}{separator}", json!({"n": n, "text": text})));
    let other = select(vec![
        "{\"n\":1.5}\n",
        "{\"n\":1,\"n\":2}\n",
        "{\"m\":1}\n",
        "{}\n",
        "{\n  \"n\": 7,\n  \"text\": [1,\n{}]\n}\n",
        "[{\"n\":1}]\n",
        "12\n",
        "\"{\\\"n\\\":1}\"\n",
        "nope\n",
        "{\"n\":1",
        "{\"n\":",
        "}",
        "\"",
        "\\",
        ",",
        "\n",
        "\u{c}",
        "2026-01-02 {\"n\":1}\n",
        "[\n{\"n\":1},\n",
        "{\"file_name\":\"x\"}\n",
    ]);
    let piece = prop_oneof![
        4 => row.prop_map(String::into_bytes),
        2 => text.prop_map(String::into_bytes),
        3 => other.prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    // An object that is told from its first bytes to be of another format is another matter.
    prop::collection::vec(piece, 0..20).prop_map(|pieces| [&b"\n"[..], &pieces.concat()].concat())
}

/// Which bytes of `content` the rejections say are not in the table, as ranges in order.
fn rejected_ranges(content: &[u8], rejections: &[Rejection]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<_> = rejections
        .iter()
        .map(|rejection| {
            let start = rejection.offset as usize;
            match (&rejection.raw, &rejection.code[..]) {
                (Some(raw), _) => {
                    assert!(content[start..].starts_with(raw), "{rejection:?} quotes the object");
                    (start, start + raw.len())
                }
                (None, "record_too_large") => {
                    let length = rejection.message.split(' ').find_map(|word| word.parse::<usize>().ok());
                    assert!(length.unwrap() > MAX_RECORD_BYTES);
                    (start, start + length.unwrap())
                }
                // The rest of an array that is longer than a record may be.
                (None, "invalid_json") => {
                    let length = rejection.message.split(' ').find_map(|word| word.parse::<usize>().ok());
                    (start, start + length.unwrap())
                }
                (None, _) => (start, content.len()),
            }
        })
        .collect();
    ranges.sort_unstable();
    assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{rejections:?} do not overlap");
    ranges
}

/// The values of `n` of the records in `text`, in which there is nothing else but arrays of them and separators.
fn numbers_in(mut text: &[u8]) -> Vec<Option<i64>> {
    let mut numbers = Vec::new();
    loop {
        text = text.trim_ascii_start();
        if let Some(rest) = text.strip_prefix("\u{feff}".as_bytes()) {
            text = rest;
            continue;
        }
        // 0x1E begins a record of a JSON text sequence (RFC 7464).
        if let [b'[' | b',' | b']' | 0x1E, rest @ ..] = text {
            text = rest;
            continue;
        }
        let mut records = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        let Some(record) = records.next() else { return numbers };
        numbers
            .push(record.unwrap_or_else(|error| panic!("{error} in {}", text.escape_ascii()))["n"].as_i64());
        text = &text[records.byte_offset()..];
    }
}

#[test]
fn every_byte_is_in_a_row_or_in_a_rejection_or_separates_records() {
    let stored = prop_oneof![
        2 => Just(Stored::Plain),
        1 => Just(Stored::Gzip),
        1 => Just(Stored::Zstd),
        2 => any::<Index>().prop_map(Stored::Cut),
    ];
    let objects = prop::collection::vec((content(), stored), 1..5);
    for_all(32, objects, async |objects| {
        let limited = Bench::limited(Some(plain_table()), |limits| {
            limits.record_bytes = MAX_RECORD_BYTES;
            limits.batch_bytes = 500;
        });
        let bench = limited.await;
        let put = objects.iter().enumerate();
        let put = put.map(|(at, (content, stored))| bench.put(&at.to_string(), stored.bytes(content)));
        let put: Vec<_> = put.collect();
        let delivered = bench.deliver(&put).await;
        assert!(delivered.failed.is_empty(), "wrong content is acknowledged: {delivered:?}");

        let (rows, rejections) = (bench.rows().await, bench.rejections());
        for (object, (content, _)) in put.iter().zip(&objects) {
            let uri = format!("file://{}", bench.path(&object.bucket, &object.key).display());
            let rejections: Vec<_> = rejections.iter().filter(|it| it.object == uri).cloned().collect();
            let mut found: Vec<_> =
                rows.iter().filter(|row| row["file_name"] == *uri).map(|row| row["n"].as_i64()).collect();
            let mut expected = Vec::new();
            let mut start = 0;
            for (from, to) in rejected_ranges(content, &rejections) {
                expected.extend(numbers_in(&content[start..from]));
                start = to;
            }
            expected.extend(numbers_in(&content[start..]));
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "{uri}: rows, and what is not rejected");
        }
    });
}

/// A row of the partitioned table: a city, milliseconds since 1970, and a small number.
type Row = (Option<String>, Option<i64>, Option<i32>);

const DAY_MILLIS: i64 = 86_400_000;

/// Each row of a data file, and its `n`.
fn rows_of(path: &str) -> Vec<(i64, Row)> {
    let file = File::open(path.strip_prefix("file://").unwrap()).unwrap();
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let mut rows = Vec::new();
    for batch in batches.map(Result::unwrap) {
        let numbers = batch.column(0).as_primitive::<Int64Type>().values();
        let cities = batch.column(1).as_string::<i32>().iter();
        let instants = batch.column(2).as_primitive::<TimestampMicrosecondType>().iter();
        let small = batch.column(3).as_primitive::<Int32Type>().iter();
        let cells = cities.zip(instants).zip(small);
        let cells = cells.map(|((city, at), k)| (city.map(str::to_owned), at.map(|at| at / 1000), k));
        rows.extend(numbers.iter().copied().zip(cells));
    }
    rows
}

/// What the rows of a partition have in common: the city's first two characters, the day, and the small number.
fn partition((city, at, k): &Row) -> Row {
    let city = city.as_ref().map(|city| city.chars().take(2).collect());
    (city, at.map(|at| at.div_euclid(DAY_MILLIS)), *k)
}

#[test]
fn every_row_is_in_the_table_once_in_a_file_of_its_partition() {
    let columns = [("n", "long"), ("city", "string"), ("at", "timestamptz"), ("k", "int")];
    let partitions = [("city", "truncate[2]"), ("at", "day"), ("k", "identity"), ("n", "bucket[2]")];
    let mut definition = definition(&columns, &partitions);
    // Days around 1970: no magnitude tells their unit.
    definition.properties.insert("frazil.timestamp-unit.at".to_owned(), "ms".to_owned());

    let city = prop::option::weighted(0.9, select(vec!["", "Oslo", "Os", "öö", "a/../b", "null"]));
    let city = city.prop_map(|city| city.map(str::to_owned));
    let at = (-2..2_i64, select(vec![0, 1, DAY_MILLIS - 1])).prop_map(|(day, rest)| day * DAY_MILLIS + rest);
    let row = (city, prop::option::weighted(0.9, at), prop::option::weighted(0.9, 0..2));
    let objects = prop::collection::vec(prop::collection::vec(row, 0..30), 1..4);
    let limits = (1..5_usize, 0..50_000_usize, 1..2_000_usize);

    for_all(12, (objects, limits), async |(objects, (open_partitions, buffer_bytes, batch_bytes))| {
        let limited = Bench::limited(Some(definition.clone()), |limits| {
            limits.write = WriteLimits { buffer_bytes, open_partitions, ..limits.write };
            limits.batch_bytes = batch_bytes;
        });
        let bench = limited.await;
        let rows: Vec<(i64, &Row)> = (0..).zip(objects.iter().flatten()).collect();
        let mut lines = rows.iter().map(|(n, (city, at, k))| json!({"n": n, "city": city, "at": at, "k": k}));
        let put = objects.iter().enumerate().map(|(at, rows)| {
            let lines = lines.by_ref().take(rows.len()).map(|line| format!("{line}\n"));
            bench.put(&at.to_string(), lines.collect::<String>())
        });
        let put: Vec<_> = put.collect();
        let delivered = bench.deliver(&put).await;
        assert!(delivered.failed.is_empty(), "{delivered:?}");

        let table = bench.table().await;
        let plan = table.scan().build().unwrap().plan_files().await.unwrap();
        let paths: Vec<String> = plan.map_ok(|file| file.data_file_path).try_collect().await.unwrap();
        let mut found = BTreeMap::new();
        for path in paths {
            let rows = rows_of(&path);
            let first = partition(&rows[0].1);
            assert!(rows.iter().all(|(_, row)| partition(row) == first), "{rows:?} in {path}");
            for (n, cells) in rows {
                assert_eq!(found.insert(n, cells), None, "row {n} is there twice");
            }
        }
        assert_eq!(found, rows.iter().map(|(n, row)| (*n, (*row).clone())).collect());
        // The bucket of a row's number leads a reader to the row.
        for (n, _) in rows.iter().rev().step_by(20) {
            let filter = Reference::new("n").equal_to(Datum::long(*n));
            assert_eq!(numbers(&scan(&table, &["n"], filter).await), [*n]);
        }
    });
}

/// What S3 announces of an object, and how it comes.
#[derive(Clone, Debug)]
struct Announced {
    bucket: &'static str,
    key: &'static str,
    version_id: Option<&'static str>,
    etag: Option<&'static str>,
    sequencer: Option<&'static str>,
    size: Option<u64>,
    time: Option<&'static str>,
    by_event_bridge: bool,
    by_sns: bool,
    by_sqs: bool,
}

const BUCKETS: [&str; 2] = ["raw", "raw2"];
const KEYS: [&str; 5] = ["a", "a b", "a+b", "ä/%20", "2a"];

fn announced() -> impl Strategy<Value = Announced> {
    let text = || select(vec![None, Some("1"), Some("2")]);
    let time = select(vec![None, Some("2026-01-02T03:04:05.678Z"), Some("yesterday")]);
    let identity = (select(&BUCKETS[..]), select(&KEYS[..]), text(), text(), text());
    (identity, any::<Option<u64>>(), time, any::<[bool; 3]>()).prop_map(
        |((bucket, key, version_id, etag, sequencer), size, time, [by_event_bridge, by_sns, by_sqs])| {
            Announced {
                bucket,
                key,
                version_id,
                etag,
                sequencer,
                size,
                time,
                by_event_bridge,
                by_sns,
                by_sqs,
            }
        },
    )
}

impl Announced {
    /// The bucket, the key, and the version by the best name that it has.
    fn identity(&self) -> (&'static str, &'static str, &'static str) {
        let version = [self.version_id, self.etag, self.sequencer].into_iter().flatten().next();
        (self.bucket, self.key, version.unwrap_or_default())
    }

    /// The event without a queue around it.
    fn body(&self) -> Value {
        let Self { bucket, key, version_id, etag, sequencer, size, time, .. } = self;
        let event = if self.by_event_bridge {
            let object = json!({"key": key, "version-id": version_id, "etag": etag, "sequencer": sequencer, "size": size});
            json!({"source": "aws.s3", "detail-type": "Object Created", "time": time,
                "detail": {"bucket": {"name": bucket}, "object": object}})
        } else {
            let object = json!({"key": url_encoded(key), "versionId": version_id, "eTag": etag, "sequencer": sequencer,
                "size": size});
            json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": time,
                "s3": {"bucket": {"name": bucket}, "object": object}}]})
        };
        match self.by_sns {
            true => json!({"Type": "Notification", "Message": event.to_string()}),
            false => event,
        }
    }

    fn message(&self, id: usize) -> Value {
        json!({"messageId": id.to_string(), "body": self.body().to_string()})
    }
}

#[test]
fn a_token_tells_the_bucket_the_key_and_the_version_and_nothing_else() {
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::new(Some(plain_table())));
    for (bucket, key) in BUCKETS.into_iter().flat_map(|bucket| KEYS.map(|key| (bucket, key))) {
        let path = bench.path(bucket, key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{}").unwrap();
    }
    let tokens = async |event: Value| {
        let deadline = Instant::now() + Duration::from_secs(300);
        let handled = bench.appender.handle(&event.to_string(), NOW_MICROS, deadline).await.unwrap();
        let objects = handled.outcome.unwrap().objects;
        objects.into_iter().map(|object| (object.object.token, object.status)).collect::<Vec<_>>()
    };
    let known = RefCell::new(BTreeMap::new());
    for_all(12, prop::collection::vec(announced(), 1..8), async |announced| {
        for (at, object) in announced.iter().enumerate() {
            let event = if object.by_sqs { json!({"Records": [object.message(at)]}) } else { object.body() };
            let [(token, status)] = &tokens(event).await[..] else { panic!("one object: {object:?}") };
            let is_known = match known.borrow_mut().entry(object.identity()) {
                Entry::Occupied(entry) => {
                    assert_eq!(token, entry.get(), "the same object: {object:?}");
                    true
                }
                Entry::Vacant(entry) => {
                    entry.insert(*token);
                    false
                }
            };
            assert_eq!(matches!(status, Status::AlreadyCommitted), is_known, "{object:?}: {status:?}");
        }
        // All of them in one event, the other way round.
        let messages: Vec<_> = announced.iter().rev().enumerate().map(|(at, it)| it.message(at)).collect();
        let found: Vec<Token> =
            tokens(json!({"Records": messages})).await.into_iter().map(|(it, _)| it).collect();
        let mut expected: Vec<Token> = Vec::new();
        for object in announced.iter().rev() {
            let token = known.borrow()[&object.identity()];
            if !expected.contains(&token) {
                expected.push(token);
            }
        }
        assert_eq!(found, expected);
    });
    let known = known.into_inner();
    let distinct: BTreeSet<_> = known.values().collect();
    assert_eq!(distinct.len(), known.len(), "no two objects have one token");
}

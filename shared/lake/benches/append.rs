//! How fast the stages of append are: `cargo bench -p frazil-lake`.
//!
//! Each line is one thread's work, or for `append` the whole of it on the runtime that Lambda gives. Compare lines of one run
//! with each other; figures of different runs and machines say little. With a file as argument (`-- FILE`) its records are
//! measured instead of generated ones: newline-delimited JSON, not compressed.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark, not the product")]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use iceberg::TableIdent;
use lake::{AppendOptions, Inference, Lake, Limits, RowDecoder, SourceObject, Status, Token, append};
use records::frame::{Frame, Framer};

const GENERATED_BYTES: usize = 64 << 20;
const ROUNDS: usize = 3;
const PROCESSING_TIME: &str = "2026-01-02T03:04:05.678901Z";

fn main() {
    let file = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let text = match file {
        Some(path) => std::fs::read(path).unwrap(),
        None => generated(),
    };
    let mut rows = 0;
    each_record(&text, |_| rows += 1);
    println!("{} MB, {rows} records of {} bytes", text.len() / 1_000_000, text.len() / rows);

    report("to compare: serde_json to Value", &text, rows, || {
        each_record(&text, |record| {
            std::hint::black_box(serde_json::from_slice::<serde_json::Value>(record).ok());
        });
    });
    report("frame", &text, rows, || {
        each_record(&text, |record| {
            std::hint::black_box(record);
        })
    });
    let mut inference = Inference::default();
    report("frame, infer", &text, rows, || each_record(&text, |record| inference.observe(record)));
    let schema = inference.schema().unwrap().unwrap();
    report("frame, decode", &text, rows, || {
        let mut decoder = RowDecoder::new(&schema, PROCESSING_TIME).unwrap();
        each_record(&text, |record| {
            let _ = decoder.push(record);
            if decoder.bytes() > 4 << 20 {
                std::hint::black_box(decoder.finish().unwrap());
            }
        });
    });

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain"), &text).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&text).unwrap();
    std::fs::write(folder.path().join("gzip"), gzip.finish().unwrap()).unwrap();
    let lake = runtime.block_on(open(folder.path()));
    for name in ["plain", "gzip"] {
        let mut round = 0;
        report(&format!("append, {name}"), &text, rows, || {
            round += 1;
            let appended = runtime.block_on(append_object(&lake, folder.path(), name, round));
            assert!(appended <= rows as u64);
        });
    }
}

fn report(stage: &str, text: &[u8], rows: usize, mut work: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed());
    }
    let seconds = best.as_secs_f64();
    println!(
        "{stage:<34}{:>7.0} MB/s{:>10.0} rows/s",
        text.len() as f64 / 1e6 / seconds,
        rows as f64 / seconds
    );
}

fn each_record(text: &[u8], mut take: impl FnMut(&[u8])) {
    let mut framer = Framer::new(text, 16 << 20);
    while let Some(frame) = framer.next_frame().unwrap() {
        if let Frame::Record { text, .. } = frame {
            take(text);
        }
    }
}

async fn open(folder: &Path) -> Lake {
    Lake::open_sqlite(&folder.join("catalog.db"), &uri(&folder.join("warehouse"))).await.unwrap()
}

async fn append_object(lake: &Lake, folder: &Path, name: &str, round: usize) -> u64 {
    let options = AppendOptions {
        table: TableIdent::from_strs(["bench", name]).unwrap(),
        branch: "main".to_owned(),
        definition: None,
        errors_uri: uri(&folder.join("errors")),
        processing_time: PROCESSING_TIME.to_owned(),
        deadline: (Instant::now() + Duration::from_secs(600)).into(),
        limits: Limits::for_memory(512 << 20),
        unpack: Default::default(),
    };
    let object = SourceObject {
        uri: uri(&folder.join(name)),
        bucket: "bench".to_owned(),
        key: name.to_owned(),
        version_id: None,
        token: Token::new("bench", &round.to_string(), ""),
    };
    let outcome = append(lake, &options, vec![object]).await.unwrap();
    match outcome.objects[0].status {
        Status::Committed { rows, .. } => rows,
        _ => 0,
    }
}

fn uri(path: &Path) -> String {
    format!("file://{}", path.display())
}

/// Events of the sample's shape, enriched: a map of strings, text that is not ASCII, nulls and numbers.
fn generated() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = Vec::with_capacity(GENERATED_BYTES + 1024);
    let kinds = ["page_view", "click", "purchase", "search", "add_to_cart"];
    while text.len() < GENERATED_BYTES {
        let (user, page, kind) = (random.u32(..50_000), random.u32(..5_000), random.usize(..kinds.len()));
        let comment =
            ["zum Geschäft", "ça marche", "検索結果", "plain", "a \\\"quoted\\\" word"][random.usize(..5)];
        writeln!(
            text,
            "{{\"user_id\":\"user-{user:05}\",\"event_type\":\"{}\",\"session\":\"{:016x}\",\"referrer\":null,\
             \"amount\":{}.{:02},\"count\":{},\"is_new\":{},\"device\":{{\"os\":\"android\",\"version\":\"{}.{}\"}},\
             \"page\":\"/products/{page}\",\"comment\":\"{comment} {}\",\"record_id\":\"{:08x}-0000-5000-8000-{:012x}\",\
             \"ingestion_timestamp\":\"2026-01-02T03:04:{:02}.{:06}Z\",\"partition_date\":\"2026-01-02\",\
             \"partition_hour\":\"03\"}}",
            kinds[kind],
            random.u64(..),
            random.u32(..500),
            random.u32(..100),
            random.i32(-100..1000),
            random.bool(),
            random.u8(8..16),
            random.u8(..10),
            random.u32(..),
            random.u32(..),
            random.u64(..1 << 48),
            random.u32(..60),
            random.u32(..1_000_000),
        )
        .unwrap();
    }
    text
}

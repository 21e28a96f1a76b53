//! What a record costs msk: `cargo bench -p frazil-msk`.
//!
//! Events of 6 MB, as a mapping sends them, to a table of `tables/kafka_user_events.json` in a local folder. CPU is that of the
//! whole process, as Linux counts it: user and system time of all threads. Compare figures of one machine and one day.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs, reason = "a benchmark, not the product")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda::env::Environment;
use msk::config::Config;
use msk::handler::Consumer;

const EVENT_BYTES: usize = 6 << 20;
const EVENTS: usize = 40;
const PARTITIONS: i64 = 4;
const START_MICROS: i64 = 1_772_000_000_000_000;

fn main() {
    let (events, rows) = events();
    let bytes: usize = events.iter().map(String::len).sum();
    println!("{} events, {rows} records, {} bytes of the event each", events.len(), bytes / rows);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let consumer = runtime.block_on(open(folder.path()));
        let (started, cpu) = (Instant::now(), cpu_seconds());
        for (at, event) in (0..).zip(&events) {
            let deadline = Instant::now() + Duration::from_secs(600);
            let handled = runtime.block_on(consumer.handle(event, START_MICROS + at * 60_000_000, deadline));
            assert!(handled.unwrap().failure.is_none());
        }
        let (wall, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "{cpu:.2} CPU s, {:.0} rows per CPU s, {:.0} rows per s",
            rows as f64 / cpu,
            rows as f64 / wall
        );
    }
}

async fn open(folder: &std::path::Path) -> Consumer {
    let uri = |name: &str| format!("file://{}", folder.join(name).display());
    let environment = Environment::from_iter([
        ("FRAZIL_CATALOG_URI", folder.join("catalog.db").display().to_string()),
        ("FRAZIL_WAREHOUSE", uri("warehouse")),
        ("FRAZIL_ERRORS", uri("errors")),
        ("FRAZIL_TABLE", "streaming_analytics.user_events".to_owned()),
        (
            "FRAZIL_TABLE_DEFINITION",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tables/kafka_user_events.json").to_owned(),
        ),
    ]);
    Consumer::open(Config::from_env(&environment).await.unwrap()).await.unwrap()
}

fn cpu_seconds() -> f64 {
    // proc_pid_stat(5): utime and stime, in hundredths of a second on Linux, are fields 14 and 15.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// Events of the definition's shape, of about 590 bytes each, and how many records they have.
fn events() -> (Vec<String>, usize) {
    let mut random = fastrand::Rng::with_seed(7);
    let kinds = ["page_view", "click", "search", "add_to_cart", "purchase"];
    let (mut events, mut records) = (Vec::new(), 0);
    let mut next = [0; PARTITIONS as usize];
    while events.len() < EVENTS {
        let mut groups = vec![String::new(); PARTITIONS as usize];
        while groups.iter().map(String::len).sum::<usize>() < EVENT_BYTES {
            let (user, text) = (random.u32(..20_000), format!("{:032x}", random.u128(..)).repeat(6));
            let value = format!(
                "{{\"user_id\": \"user-{user:06}\", \"event_type\": \"{}\", \
                 \"timestamp\": \"2026-03-01T{:02}:{:02}:{:02}.{:03}Z\", \"session_id\": \"{:032x}\", \
                 \"device_info\": {{\"device_type\": \"mobile\", \"os\": \"iOS 17.2\", \"app_version\": \"4.12.0\"}}, \
                 \"properties\": {{\"page\": \"/products/{}/reviews\", \
                 \"referrer\": \"https://www.example.com/search?q={:016x}\", \"campaign\": \"spring-{}\", \
                 \"duration_ms\": {}, \"price\": {}.25, \"text\": \"{}\"}}}}",
                kinds[random.usize(..kinds.len())],
                random.u32(..24),
                random.u32(..60),
                random.u32(..60),
                random.u32(..1000),
                random.u128(..),
                random.u32(..5000),
                random.u64(..),
                random.u32(..40),
                random.u32(..100_000),
                random.u32(..1000),
                &text[..170],
            );
            let partition = records % groups.len();
            let offset = next[partition];
            next[partition] += 1;
            records += 1;
            write!(
                groups[partition],
                "{{\"topic\":\"events\",\"partition\":{partition},\"offset\":{offset},\"timestamp\":{},\
                 \"timestampType\":\"CREATE_TIME\",\"key\":\"{}\",\"value\":\"{}\",\"headers\":[]}},",
                START_MICROS / 1000 + offset,
                STANDARD.encode(format!("user-{user:06}")),
                STANDARD.encode(value),
            )
            .unwrap();
        }
        let groups = groups.iter().enumerate();
        let groups = groups.map(|(at, text)| format!("\"events-{at}\":[{}]", text.trim_end_matches(',')));
        events.push(format!(
            "{{\"eventSource\":\"aws:kafka\",\"eventSourceArn\":\"arn:aws:kafka:eu-north-1:1:cluster/c/1\",\
             \"bootstrapServers\":\"b-1:9098\",\"records\":{{{}}}}}",
            groups.collect::<Vec<_>>().join(",")
        ));
    }
    (events, records)
}

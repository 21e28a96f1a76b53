//! What an event costs transform: `cargo bench -p frazil-transform`.
//!
//! In: a file of newline-delimited JSON (`-- FILE`), of which the first 3 MB become a Firehose event; instead of it, the bytes
//! of a record, of which enough are generated (436 if there is neither); then, the bytes of the event before base64. Out: the CPU time, user and system, in which each function answers it through a Runtime API on this machine:
//! transform as it is released, the [`peers`], and one in Python if `FRAZIL_BENCH_PYTHON` is an interpreter. They take turns in one run, so that their ratios hold on a machine that is
//! busy; figures of different runs and machines say little.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark, not the product"
)]

mod peers;
mod runtime_api;

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::runtime_api::{Answer, Function};

const EVENT_BYTES: usize = 3_000_000;
const WARM_UP: usize = 3;
const ROUNDS: usize = 31;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let records = arguments.next().unwrap_or_else(|| "436".to_owned());
    if records == peers::FLAG {
        return peers::run(&arguments.next().unwrap());
    }
    let text = match records.parse() {
        Ok(bytes) => generated(bytes),
        Err(_) => std::fs::read_to_string(records).unwrap(),
    };
    let event_bytes = arguments.next().map_or(EVENT_BYTES, |bytes| bytes.parse().unwrap());
    let mut bytes = 0;
    let fits = |line: &&str| {
        bytes += line.len();
        bytes <= event_bytes
    };
    let lines: Vec<&str> = text.lines().take_while(fits).collect();
    let bytes: usize = lines.iter().map(|line| line.len()).sum();
    let event = event(&lines);
    println!("{} records, {bytes} bytes, an event of {} bytes", lines.len(), event.len());

    let itself = std::env::current_exe().unwrap();
    let peer = |name: &'static str| {
        let mut command = Command::new(&itself);
        command.args([peers::FLAG, name]);
        (name, command)
    };
    let transform = ("transform", Command::new(env!("CARGO_BIN_EXE_transform")));
    // An interpreter of Python for the peer that is written in it.
    let python = std::env::var_os("FRAZIL_BENCH_PYTHON").map(|python| {
        let mut command = Command::new(python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/compare/transform.py"));
        ("Python", command)
    });
    let mut functions: Vec<(&str, Function, Vec<f64>)> = [transform, peer(peers::PLAIN), peer(peers::FLOOR)]
        .into_iter()
        .chain(python)
        .map(|(name, command)| (name, Function::start(command), Vec::new()))
        .collect();
    for round in 0..WARM_UP + ROUNDS {
        for (name, function, times) in &mut functions {
            let Answer { body, cpu } = function.invoke(&event);
            if round == 0 {
                check(name, &body, lines.len());
            }
            if round >= WARM_UP {
                times.push(cpu.as_secs_f64() * 1000.0);
            }
        }
    }
    let ours = median(&mut functions[0].2);
    println!("\n| function | CPU ms | least | MB/s | transform takes | peak MB |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (name, function, times) in &mut functions {
        let (median, peak) = (median(times), function.peak_kib() as f64 * 1024.0 / 1e6);
        let rate = bytes as f64 / median / 1000.0;
        println!("| {name} | {median:.2} | {:.2} | {rate:.0} | {:.3} | {peak:.0} |", times[0], ours / median);
    }
}

/// The middle one; sorts.
fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// An event as Firehose sends it: ids of 56 digits, an arrival for each record.
fn event(lines: &[&str]) -> Vec<u8> {
    let record = |(at, line): (usize, &&str)| {
        let id = 49_546_986_683_135_544_286_507_457_936_321_625_675_u128 + at as u128;
        let (arrival, data) = (1_507_217_624_302 + at / 7, STANDARD.encode(line));
        format!(r#"{{"recordId":"{id:056}","approximateArrivalTimestamp":{arrival},"data":"{data}"}}"#)
    };
    let records: Vec<String> = lines.iter().enumerate().map(record).collect();
    format!(
        r#"{{"invocationId":"2b4d1ad9-2f48-94bd-a088-767c317e994a","deliveryStreamArn":"arn:aws:firehose:us-east-1:123456789012:deliverystream/clicks","region":"us-east-1","records":[{}]}}"#,
        records.join(",")
    )
    .into_bytes()
}

fn check(name: &str, body: &[u8], records: usize) {
    let answer: Value = serde_json::from_slice(body).unwrap();
    let answers = answer["records"].as_array().unwrap();
    assert_eq!(answers.len(), records, "{name}");
    for answer in answers {
        let line = STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert!(line["partition_hour"] == "15" && answer["result"] == "Ok", "{name}: {line}");
    }
}

/// Records of about `bytes` each, with a member for every 25 of them: flags, nulls, numbers, and strings, some not ASCII, some
/// with escapes.
fn generated(bytes: usize) -> String {
    let places = ["Zürich", "Lagos", "São Paulo", "Osaka", "Bergen", "Quito", "Perth", "Łódź"];
    let record = |at: usize| {
        let place = places[at % places.len()];
        let (millis, user, page) = (at % 1000, at * 7919 % 100_003, at * 31);
        let mut line = format!(
            r#"{{"time":"2026-01-02T03:04:05.{millis:03}Z","user":"user {user}","page":"/articles/{place}/{page}""#
        );
        for member in 0.. {
            let value = match member % 5 {
                0 => "null".to_owned(),
                1 => at.is_multiple_of(member + 2).to_string(),
                2 => (at * 104_729 % 8191).to_string(),
                3 => format!("\"{place}\""),
                _ => format!(r#""bought \"{user}\" there, and so on""#),
            };
            if line.len() >= bytes {
                break;
            }
            line.push_str(&format!(r#","field_{member}":{value}"#));
        }
        line + "}\n"
    };
    (0..EVENT_BYTES / bytes + 1).map(record).collect()
}

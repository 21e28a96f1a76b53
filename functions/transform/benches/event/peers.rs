//! What transform is compared with.
//!
//! - [`PLAIN`]: the same runtime and the same fields, written without thought for speed: a record is a `serde_json::Value`.
//! - [`FLOOR`]: the least that an answer takes: SIMD base64, four fields of constant bytes before the last brace, one buffer
//!   for each direction that is used again, HTTP by hand. It checks nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64_simd::AsOut as _;
use chrono::DateTime;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

/// The argument that makes a peer of the benchmark.
pub(crate) const FLAG: &str = "--peer";
pub(crate) const PLAIN: &str = "plain Rust";
pub(crate) const FLOOR: &str = "floor";

pub(crate) fn run(name: &str) {
    match name {
        PLAIN => plain(),
        _ => floor(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    delivery_stream_arn: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    record_id: String,
    approximate_arrival_timestamp: i64,
    data: String,
}

#[derive(Serialize)]
struct Response {
    records: Vec<Answer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    record_id: String,
    result: &'static str,
    data: String,
}

#[tokio::main(flavor = "current_thread")]
async fn plain() {
    let serve = |event: LambdaEvent<Event>| async move {
        let Event { delivery_stream_arn, records } = event.payload;
        let records = records.into_iter().map(|record| answer(&delivery_stream_arn, record)).collect();
        Ok::<_, lambda_runtime::Error>(Response { records })
    };
    lambda_runtime::run(service_fn(serve)).await.unwrap();
}

fn answer(stream: &str, record: Record) -> Answer {
    let data = STANDARD.decode(record.data).unwrap();
    let mut fields: Value = serde_json::from_slice(&data).unwrap();
    let arrival = DateTime::from_timestamp_millis(record.approximate_arrival_timestamp).unwrap();
    let name = format!("direct-put\0{stream}\0{}", record.record_id);
    fields["record_id"] = json!(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).to_string());
    fields["ingestion_timestamp"] = json!(arrival.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string());
    fields["partition_date"] = json!(arrival.format("%Y-%m-%d").to_string());
    fields["partition_hour"] = json!(arrival.format("%H").to_string());
    let mut line = serde_json::to_vec(&fields).unwrap();
    line.push(b'\n');
    Answer { record_id: record.record_id, result: "Ok", data: STANDARD.encode(line) }
}

const FIELDS: &[u8] = br#","record_id":"8a7b3d02-e185-5fe2-894d-5a00e38aade1","ingestion_timestamp":"2017-10-05T15:33:44.302000Z","partition_date":"2017-10-05","partition_hour":"15"}
"#;

fn floor() {
    let mut api = TcpStream::connect(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap()).unwrap();
    let (mut request, mut answer, mut line) = (vec![0; 1 << 23], Vec::with_capacity(1 << 23), Vec::new());
    loop {
        api.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        let event = receive(&mut api, &mut request);
        answer.clear();
        // Room for the head, which tells the length of what follows.
        answer.resize(HEAD_BYTES, b' ');
        answer.extend_from_slice(br#"{"records":["#);
        let mut rest = event;
        while let Some(at) = memchr::memmem::find(rest, br#""recordId":""#) {
            let id = &rest[at + 12..];
            let id_end = memchr::memchr(b'"', id).unwrap();
            let data = &id[memchr::memmem::find(id, br#""data":""#).unwrap() + 8..];
            let end = memchr::memchr(b'"', data).unwrap();
            line.resize(end, 0);
            let bytes = base64_simd::STANDARD.decode(&data[..end], line.as_out()).unwrap().len();
            line.truncate(bytes - 1);
            line.extend_from_slice(FIELDS);
            answer.extend_from_slice(br#"{"recordId":""#);
            answer.extend_from_slice(&id[..id_end]);
            answer.extend_from_slice(br#"","result":"Ok","data":""#);
            base64_simd::STANDARD.encode_append(&line, &mut answer);
            answer.extend_from_slice(br#""},"#);
            rest = &data[end..];
        }
        answer.pop();
        answer.extend_from_slice(b"]}");
        let head = head(answer.len() - HEAD_BYTES);
        let start = HEAD_BYTES - head.len();
        answer[start..HEAD_BYTES].copy_from_slice(head.as_bytes());
        api.write_all(&answer[start..]).unwrap();
        receive(&mut api, &mut request);
    }
}

const HEAD_BYTES: usize = 200;

fn head(bytes: usize) -> String {
    format!(
        "POST /2018-06-01/runtime/invocation/8476a536-e9f4-11e8-9739-2dfe598c3fcd/response HTTP/1.1\r\n\
         host: a\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

/// The body of a response.
fn receive<'a>(api: &mut TcpStream, buffer: &'a mut [u8]) -> &'a [u8] {
    let (mut read, mut whole) = (0, None);
    while whole.is_none_or(|(_, end)| read < end) {
        read += api.read(&mut buffer[read..]).unwrap();
        if whole.is_none()
            && let Some(body) = memchr::memmem::find(&buffer[..read], b"\r\n\r\n")
        {
            let head = str::from_utf8(&buffer[..body]).unwrap();
            let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
            whole = Some((body + 4, body + 4 + length.parse::<usize>().unwrap()));
        }
    }
    let (start, end) = whole.unwrap();
    &buffer[start..end]
}

//! The function's own binary against a Lambda Runtime API, over real HTTP.
//!
//! AWS: "Using the Lambda runtime API for custom runtimes".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test helpers fail by panicking")]

use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const ARRIVAL_MILLIS: i64 = 1_507_217_624_302;
const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// One HTTP request: its first line and its body.
async fn read_request(stream: &mut BufReader<TcpStream>) -> (String, String) {
    let mut request_line = String::new();
    stream.read_line(&mut request_line).await.unwrap();
    let mut body_bytes = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.unwrap();
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body).await.unwrap();
    (request_line.trim_end().to_owned(), String::from_utf8(body).unwrap())
}

/// Gives the binary one event; returns what it posts back: the request line, the body, and its log.
async fn invoke(event: &str) -> (String, Value, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut function = Command::new(env!("CARGO_BIN_EXE_transform"))
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "transform")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env_remove("FRAZIL_LOG")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let posted = loop {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let (request_line, body) = read_request(&mut stream).await;
        if !request_line.starts_with("GET /2018-06-01/runtime/invocation/next ") {
            break (request_line, body);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\
             lambda-runtime-aws-request-id: {REQUEST_ID}\r\nlambda-runtime-deadline-ms: 32503680000000\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:1:function:transform\r\n\r\n",
            event.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(event.as_bytes()).await.unwrap();
    };
    function.kill().await.unwrap();
    let mut log = String::new();
    function.stdout.take().unwrap().read_to_string(&mut log).await.unwrap();
    (posted.0, serde_json::from_str(&posted.1).unwrap(), log)
}

async fn invoke_in_time(event: &str) -> (String, Value, String) {
    tokio::time::timeout(Duration::from_secs(60), invoke(event)).await.expect("the function answers")
}

#[tokio::test]
async fn an_event_is_answered() {
    let event = json!({"invocationId": "i", "deliveryStreamArn": "arn:d", "region": "r", "records": [
        {"recordId": "r1", "approximateArrivalTimestamp": ARRIVAL_MILLIS, "data": STANDARD.encode("{\"a\":1}")},
        {"recordId": "r2", "approximateArrivalTimestamp": ARRIVAL_MILLIS, "data": STANDARD.encode("secret")},
    ]});
    let (request_line, response, log) = invoke_in_time(&event.to_string()).await;
    assert_eq!(request_line, format!("POST /2018-06-01/runtime/invocation/{REQUEST_ID}/response HTTP/1.1"));
    let records = response["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["recordId"], &records[0]["result"]), (&json!("r1"), &json!("Ok")));
    let data = STANDARD.decode(records[0]["data"].as_str().unwrap()).unwrap();
    let data: Value = serde_json::from_slice(&data).unwrap();
    assert_eq!((&data["a"], &data["partition_date"]), (&json!(1), &json!("2017-10-05")));
    assert_eq!(records[1], json!({"recordId": "r2", "result": "ProcessingFailed"}));

    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert_eq!((&lines[0]["level"], &lines[0]["code"]), (&json!("WARN"), &json!("invalid_json")));
    assert_eq!((&lines[1]["ok"], &lines[1]["failed_by_code"]), (&json!(1), &json!("invalid_json=1")));
    for line in &lines {
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.len() >= 20 && timestamp.ends_with('Z'), "{timestamp}");
        assert_eq!(line["span"]["requestId"], json!(REQUEST_ID));
    }
    assert!(!log.contains("secret") && !log.contains(&STANDARD.encode("secret")));
}

#[tokio::test]
async fn another_event_is_an_invocation_error() {
    let (request_line, error, _) = invoke_in_time(r#"{"Records":[]}"#).await;
    assert_eq!(request_line, format!("POST /2018-06-01/runtime/invocation/{REQUEST_ID}/error HTTP/1.1"));
    assert_eq!(
        error,
        json!({
            "errorType": "EventNotUnderstood",
            "errorMessage": "not a Firehose transformation event: no \"records\" array (found keys: Records)"
        })
    );
}

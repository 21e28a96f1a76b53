//! The function's own binary against a Lambda Runtime API, over real HTTP.
//!
//! AWS: "Using the Lambda runtime API for custom runtimes".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda::metrics::METRICS;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

const ARRIVAL_MILLIS: i64 = 1_507_217_624_302;
const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
const TRACE_ID: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1";

/// Lambda's id of the invocation, which the answer must carry.
const INVOCATION_ID: &str = "invocation-7";

/// One HTTP request: its first line and its body. What answers an event must carry the id of the invocation.
async fn read_request(stream: &mut BufReader<TcpStream>) -> (String, String) {
    let mut carries_id = false;
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
        carries_id |= name == "lambda-runtime-invocation-id" && value.trim() == INVOCATION_ID;
    }
    assert_eq!(carries_id, request_line.contains(REQUEST_ID), "{request_line}");
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body).await.unwrap();
    (request_line.trim_end().to_owned(), String::from_utf8(body).unwrap())
}

/// What the binary did with one event.
struct Invoked {
    /// What it posted: the request line, and the body.
    request_line: String,
    body: Value,
    /// What it posted for the events before the last.
    bodies_before: Vec<Value>,
    /// Its log lines, and its lines of metrics.
    lines: Vec<Value>,
    metrics: Vec<Value>,
    /// All that it wrote.
    output: String,
}

/// Gives the binary one event after the other, with these variables besides those that Lambda sets.
async fn invoke_with(events: &[&str], variables: &[(&str, &str)]) -> Invoked {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut function = Command::new(env!("CARGO_BIN_EXE_transform"))
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "transform")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env_remove("FRAZIL_LOG")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let (mut events, mut bodies_before) = (events.iter(), Vec::new());
    // The connection stays open: where it ends before the function does, the function logs that.
    let (request_line, body, _connection) = loop {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let (request_line, body) = read_request(&mut stream).await;
        if !request_line.starts_with("GET /2018-06-01/runtime/invocation/next ") {
            if events.len() == 0 || !request_line.contains("/invocation/") {
                break (request_line, body, stream);
            }
            bodies_before.push(serde_json::from_str(&body).unwrap());
            let accepted = "HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(accepted.as_bytes()).await.unwrap();
            continue;
        }
        let event = events.next().unwrap();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\
             lambda-runtime-aws-request-id: {REQUEST_ID}\r\nlambda-runtime-deadline-ms: 32503680000000\r\n\
             lambda-runtime-invocation-id: {INVOCATION_ID}\r\nlambda-runtime-trace-id: {TRACE_ID}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:1:function:transform\r\n\r\n",
            event.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(event.as_bytes()).await.unwrap();
    };
    function.kill().await.unwrap();
    let mut output = String::new();
    function.stdout.take().unwrap().read_to_string(&mut output).await.unwrap();
    let all = output.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (metrics, lines) = all.partition(|line| line.get("_aws").is_some());
    function.stderr.take().unwrap().read_to_string(&mut output).await.unwrap();
    let body = serde_json::from_str(&body).unwrap();
    Invoked { request_line, body, bodies_before, lines, metrics, output }
}

async fn invoke_all(events: &[&str], variables: &[(&str, &str)]) -> Invoked {
    let invoked = invoke_with(events, variables);
    tokio::time::timeout(Duration::from_secs(60), invoked).await.expect("the function answers")
}

async fn invoke(event: &str, variables: &[(&str, &str)]) -> Invoked {
    invoke_all(&[event], variables).await
}

/// The values of a line of metrics.
fn values(metrics: &Value) -> BTreeMap<&str, u64> {
    let defined = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    let names = defined.iter().map(|metric| metric["Name"].as_str().unwrap());
    names.map(|name| (name, metrics[name].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn an_event_is_answered() {
    let event = json!({"invocationId": "i", "deliveryStreamArn": "arn:d", "region": "r", "records": [
        {"recordId": "r1", "approximateArrivalTimestamp": ARRIVAL_MILLIS, "data": STANDARD.encode("{\"a\":1}")},
        {"recordId": "r2", "approximateArrivalTimestamp": ARRIVAL_MILLIS, "data": STANDARD.encode("secret")},
    ]});
    let event = event.to_string();
    let invoked = invoke(&event, &[]).await;
    let response = &invoked.body;
    assert_eq!(
        invoked.request_line,
        format!("POST /2018-06-01/runtime/invocation/{REQUEST_ID}/response HTTP/1.1")
    );
    let records = response["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["recordId"], &records[0]["result"]), (&json!("r1"), &json!("Ok")));
    let data = STANDARD.decode(records[0]["data"].as_str().unwrap()).unwrap();
    let data: Value = serde_json::from_slice(&data).unwrap();
    assert_eq!((&data["a"], &data["partition_date"]), (&json!(1), &json!("2017-10-05")));
    assert_eq!(records[1], json!({"recordId": "r2", "result": "ProcessingFailed"}));

    let lines = &invoked.lines;
    assert_eq!(lines.len(), 2, "{}", invoked.output);
    assert_eq!((&lines[0]["level"], &lines[0]["code"]), (&json!("WARN"), &json!("invalid_json")));
    assert_eq!((&lines[1]["ok"], &lines[1]["failed_by_code"]), (&json!(1), &json!("invalid_json=1")));
    assert!(lines[1]["duration_ms"].is_u64());
    for line in lines {
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.len() >= 20 && timestamp.ends_with('Z'), "{timestamp}");
        assert_eq!(
            (&line["span"]["requestId"], &line["span"]["xrayTraceId"]),
            (&json!(REQUEST_ID), &json!(TRACE_ID))
        );
    }
    assert_eq!(invoked.metrics.len(), 1, "{}", invoked.output);
    assert_eq!(invoked.metrics[0]["Function"], "transform");
    let response_bytes = serde_json::to_vec(response).unwrap().len() as u64;
    let expected = [
        ("RecordsReceived", 2),
        ("RecordsOk", 1),
        ("RecordsDropped", 0),
        ("RecordsFailed", 1),
        ("RecordsNotFitting", 0),
        ("EventsOk", 1),
        ("RequestBytes", event.len() as u64),
        ("ResponseBytes", response_bytes),
    ];
    assert_eq!(values(&invoked.metrics[0]), BTreeMap::from(expected));
    let listed = METRICS.iter().filter(|metric| metric.function == "transform").map(|metric| metric.name);
    assert_eq!(listed.collect::<Vec<_>>(), expected.map(|(name, _)| name));
    assert!(!invoked.output.contains("secret") && !invoked.output.contains(&STANDARD.encode("secret")));
}

#[tokio::test]
async fn nothing_of_one_answer_is_in_the_next() {
    let event = |id: &str, data: &str| {
        let record = json!({"recordId": id, "approximateArrivalTimestamp": 0, "data": STANDARD.encode(data)});
        json!({"deliveryStreamArn": "arn:d", "records": [record]}).to_string()
    };
    let large = event("large", &format!("{{\"a\":\"{}\"}}", "x".repeat(300_000)));
    let (small, refused) = (event("small", "{}"), event("refused", "secret"));
    let invoked = invoke_all(&[&large, "{}", &small, &refused, &large], &[]).await;
    assert_eq!(invoked.bodies_before.len(), 4);
    assert_eq!(invoked.bodies_before[0], invoked.body);
    assert_eq!(invoked.bodies_before[1]["errorType"], "EventNotUnderstood");
    assert_eq!(invoked.bodies_before[2], invoke(&small, &[]).await.body);
    assert_eq!(
        invoked.bodies_before[3],
        json!({"records": [{"recordId": "refused", "result": "ProcessingFailed"}]})
    );
    assert_eq!(invoked.body["records"].as_array().unwrap().len(), 1);
    assert_eq!(invoked.metrics.len(), 5);
}

#[tokio::test]
async fn records_that_do_not_fit_are_counted_as_such() {
    let large = STANDARD.encode(format!("{{\"a\":\"{}\"}}", "x".repeat(30_000)));
    let records: Vec<Value> = [large.as_str(), "bad!", large.as_str()]
        .into_iter()
        .map(|data| json!({"recordId": "r", "data": data}))
        .collect();
    let event = json!({"invocationId": "i", "deliveryStreamArn": "arn:d", "region": "r", "records": records});
    let invoked = invoke(&event.to_string(), &[("FRAZIL_MAX_RESPONSE_BYTES", "65536")]).await;
    let values = values(&invoked.metrics[0]);
    let counts = ["RecordsReceived", "RecordsOk", "RecordsFailed", "RecordsNotFitting"].map(|it| values[it]);
    assert_eq!(counts, [3, 1, 2, 1], "{}", invoked.output);
}

#[tokio::test]
async fn the_level_leaves_ids_and_metrics_alone() {
    let event = json!({"invocationId": "i", "records": [{"recordId": "r1", "data": "bad!"}]}).to_string();
    for (variables, lines) in [
        (vec![("FRAZIL_LOG", "warn")], 1),
        (vec![("FRAZIL_LOG", "transform=warn,lambda_runtime=error")], 1),
        (vec![("AWS_LAMBDA_LOG_LEVEL", "WARN")], 1),
        (vec![("AWS_LAMBDA_LOG_LEVEL", "ERROR")], 0),
        (vec![("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("FRAZIL_LOG", "info")], 2),
    ] {
        let invoked = invoke(&event, &variables).await;
        assert_eq!(
            (invoked.lines.len(), invoked.metrics.len()),
            (lines, 1),
            "{variables:?} {}",
            invoked.output
        );
        assert!(invoked.lines.iter().all(|line| line["span"]["requestId"] == REQUEST_ID));
    }
    // Whoever asks for everything still gets no event.
    let invoked = invoke(&event.replace("bad!", "c2VjcmV0"), &[("FRAZIL_LOG", "trace")]).await;
    assert!(invoked.lines.len() > 2 && !invoked.output.contains("c2VjcmV0"), "{}", invoked.output);
}

#[tokio::test]
async fn another_event_is_an_invocation_error() {
    let missing = "not a Firehose transformation event: no \"records\" array (found keys: Records)";
    let other = "not a Firehose transformation event: invalid type: string, expected struct Record \
                 at line 1 column 20";
    for (event, message) in [(r#"{"Records":[]}"#, missing), (r#"{"records":["secret"]}"#, other)] {
        let invoked = invoke(event, &[]).await;
        assert_eq!(
            invoked.request_line,
            format!("POST /2018-06-01/runtime/invocation/{REQUEST_ID}/error HTTP/1.1")
        );
        assert_eq!(invoked.body, json!({"errorType": "EventNotUnderstood", "errorMessage": message}));
        assert_eq!((invoked.lines.len(), invoked.metrics.len()), (1, 1), "{}", invoked.output);
        let line = &invoked.lines[0];
        assert_eq!((&line["level"], &line["error_type"]), (&json!("ERROR"), &json!("EventNotUnderstood")));
        assert_eq!((&line["error"], &line["span"]["requestId"]), (&json!(message), &json!(REQUEST_ID)));
        assert_eq!(values(&invoked.metrics[0]), BTreeMap::from([("RequestBytes", event.len() as u64)]));
        assert!(!invoked.output.contains("secret"));
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_one_line_and_lambda_knows_it() {
    for (name, value) in [("FRAZIL_MAX_RESPONSE_BYTES", "6MB"), ("FRAZIL_LOG", "a=b=c")] {
        let invoked = invoke("{}", &[(name, value)]).await;
        assert_eq!(invoked.request_line, "POST /2018-06-01/runtime/init/error HTTP/1.1");
        assert_eq!(invoked.body["errorType"], "ConfigurationInvalid");
        let message = invoked.body["errorMessage"].as_str().unwrap();
        assert!(message.starts_with(&format!("{name}={value}: expected ")), "{message}");
        assert_eq!(invoked.output.lines().count(), 1, "{}", invoked.output);
        let line = &invoked.lines[0];
        assert_eq!((&line["level"], &line["error_type"]), (&json!("ERROR"), &json!("ConfigurationInvalid")));
        assert_eq!(line["error"], message);
    }
}

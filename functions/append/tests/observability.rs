//! What the function's own binary tells CloudWatch: log lines, metrics and types of errors.
//!
//! AWS: "Specification: Embedded metric format", "Using the Lambda runtime API for custom runtimes".

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use lambda::metrics::METRICS;
use serde_json::{Value, json};
use tempfile::TempDir;

const TRACE_ID: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1";
/// The time-out of an invocation, unless a test says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the binary did with one event.
struct Invoked {
    /// `response`, `error` or, for a function that does not start, `init/error`.
    kind: String,
    body: Value,
    lines: Vec<Value>,
    metrics: Vec<Value>,
    /// Lines of metrics that have the kind of an error as a second dimension.
    lines_by_kind: Vec<Value>,
}

impl Invoked {
    /// Lines with this message.
    fn saying(&self, message: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["message"].as_str().unwrap().starts_with(message)).collect()
    }

    /// The only line of metrics, by name.
    fn values(&self) -> BTreeMap<&str, f64> {
        let [metrics] = &self.metrics[..] else { panic!("one line of metrics: {:?}", self.metrics) };
        assert_eq!(metrics["Function"], "my-append");
        let defined = metrics["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        let names = defined.iter().map(|metric| metric["Name"].as_str().unwrap());
        names.map(|name| (name, metrics[name].as_f64().unwrap())).collect()
    }

    /// The objects that failed, by the kind of the error.
    fn failed_by_kind(&self) -> BTreeMap<&str, f64> {
        let by_kind = self.lines_by_kind.iter();
        by_kind
            .map(|line| (line["ErrorKind"].as_str().unwrap(), line["ObjectsFailed"].as_f64().unwrap()))
            .collect()
    }

    /// Some values.
    fn counts<const N: usize>(&self, names: [&str; N]) -> [f64; N] {
        let values = self.values();
        names.map(|name| values[name])
    }
}

/// Gives one instance of the function with its lake in `folder` all `events`, whose request ids are their places.
/// Everything that it writes is read as lines of JSON, and none of it may hold the word "secret".
fn invoke(folder: &Path, variables: &[(&str, &str)], events: &[Value], time: Duration) -> Vec<Invoked> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = format!("file://{}", folder.display());
    listener.set_nonblocking(true).unwrap();
    let mut function = Command::new(env!("CARGO_BIN_EXE_append"))
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "my-append")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("FRAZIL_CATALOG_URI", folder.join("catalog.db"))
        .env("FRAZIL_WAREHOUSE", format!("{root}/warehouse"))
        .env("FRAZIL_ERRORS", format!("{root}/errors"))
        .env("FRAZIL_SOURCE_ROOT", format!("{root}/"))
        .env("FRAZIL_TABLE", "streaming_analytics.user_events")
        .env("FRAZIL_TABLE_DEFINITION", concat!(env!("CARGO_MANIFEST_DIR"), "/../../tables/user_events.json"))
        .env_remove("FRAZIL_LOG")
        .env_remove("FAILPOINTS")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut posted = Vec::new();
    let mut given = 0;
    while posted.len() < events.len() {
        let mut stream = accept(&listener, &mut function);
        let (path, body) = read_request(&stream);
        let (headers, answer) = if path.ends_with("/invocation/next") {
            let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
            let headers = format!(
                "lambda-runtime-aws-request-id: request-{given}\r\nlambda-runtime-trace-id: {TRACE_ID}\r\n\
                 lambda-runtime-deadline-ms: {}\r\nlambda-runtime-invoked-function-arn: arn:a\r\n",
                deadline.as_millis()
            );
            given += 1;
            (headers, events[given - 1].to_string())
        } else {
            posted.push((path, serde_json::from_str::<Value>(&body).unwrap()));
            (String::new(), String::new())
        };
        let length = answer.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{answer}"
        );
        // At once: a function that cannot start goes away with the first byte.
        stream.write_all(answer.as_bytes()).unwrap();
    }
    let mut lines = split(function, given > 0).into_iter();
    let invoked = posted.into_iter().enumerate().map(|(at, (path, body))| {
        let prefix = format!("/2018-06-01/runtime/invocation/request-{at}/");
        let kind = path.strip_prefix(&prefix).or(path.strip_prefix("/2018-06-01/runtime/")).unwrap();
        let (metrics, lines): (Vec<Value>, _) =
            lines.next().unwrap().into_iter().partition(|line| line.get("_aws").is_some());
        let (lines_by_kind, metrics) = metrics.into_iter().partition(|line| line.get("ErrorKind").is_some());
        Invoked { kind: kind.to_owned(), body, lines, metrics, lines_by_kind }
    });
    invoked.collect()
}

/// The next connection of `function`, which must not end before.
fn accept(listener: &TcpListener, function: &mut Child) -> TcpStream {
    let until = Instant::now() + TIMEOUT;
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        assert_eq!(function.try_wait().unwrap(), None, "the function goes on");
        assert!(Instant::now() < until, "the function asks for events and answers them");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The path and the body of one HTTP request.
fn read_request(stream: &TcpStream) -> (String, String) {
    let mut stream = BufReader::new(stream);
    let (mut request_line, mut body_bytes) = (String::new(), 0);
    stream.read_line(&mut request_line).unwrap();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        match header.trim_end().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                body_bytes = value.trim().parse().unwrap();
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; body_bytes];
    stream.read_exact(&mut body).unwrap();
    (request_line.split(' ').nth(1).unwrap().to_owned(), String::from_utf8(body).unwrap())
}

/// What the process wrote, a list for each invocation, each of which ends with its metrics.
fn split(mut function: Child, is_running: bool) -> Vec<Vec<Value>> {
    if is_running {
        function.kill().unwrap();
    }
    let output = function.wait_with_output().unwrap();
    assert!(!output.status.success());
    let written = String::from_utf8(output.stdout).unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{written}");
    assert!(!written.contains("secret") && !written.contains("c2VjcmV0"), "{written}");
    let (mut split, mut lines) = (Vec::new(), Vec::new());
    for line in written.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let ends = line.get("_aws").is_some() && line.get("ErrorKind").is_none();
        if line.get("_aws").is_none() {
            let timestamp = line["timestamp"].as_str().unwrap();
            assert!(timestamp.ends_with('Z') && DateTime::parse_from_rfc3339(timestamp).is_ok(), "{line}");
            assert!(["ERROR", "WARN", "INFO"].contains(&line["level"].as_str().unwrap()), "{line}");
        }
        lines.push(line);
        if ends {
            split.push(std::mem::take(&mut lines));
        }
    }
    if !lines.is_empty() {
        split.push(lines);
    }
    split
}

/// Writes an object and gives back its size.
fn put(folder: &Path, key: &str, content: &str) -> f64 {
    std::fs::create_dir_all(folder.join("raw")).unwrap();
    std::fs::write(folder.join("raw").join(key), content).unwrap();
    content.len() as f64
}

/// An S3 event about the object `key`, created so many seconds ago.
fn s3_event(key: &str, seconds_ago: u64) -> Value {
    let created: DateTime<Utc> = DateTime::from(SystemTime::now() - Duration::from_secs(seconds_ago));
    s3_event_of(key, &created.to_rfc3339_opts(SecondsFormat::Millis, true))
}

fn s3_event_of(key: &str, time: &str) -> Value {
    json!({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": time,
        "s3": {"bucket": {"name": "raw"}, "object": {"key": key, "eTag": "e"}}}]})
}

fn sqs_event(bodies: &[Value]) -> Value {
    let message =
        |body: &Value| json!({"messageId": "m", "body": body.to_string(), "eventSource": "aws:sqs"});
    json!({"Records": bodies.iter().map(message).collect::<Vec<_>>()})
}

fn rows(count: usize) -> String {
    "{\"user_id\":\"secret\",\"event_type\":\"click\",\"partition_date\":\"2026-01-02\",\"partition_hour\":\"03\"}\n"
        .repeat(count)
}

/// Two passes over the object take longer than an invocation may: the first one adds the column, a later one the rows.
#[test]
fn an_object_that_leaves_no_time_for_a_second_pass_gets_in_all_the_same() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "wide", &"{\"n\":1,\"later\":\"x\"}\n".repeat(1_500));
    let definition = json!({"name": "user_events", "schema": {"type": "struct", "schema-id": 0,
        "fields": [{"id": 1, "name": "n", "type": "long", "required": false}]}});
    let variables =
        [("FRAZIL_TABLE_DEFINITION", &definition.to_string()[..]), ("FAILPOINTS", "mid decode=sleep(1)")];
    let events = vec![s3_event("wide", 1); 12];
    let invoked = invoke(folder.path(), &variables, &events, Duration::from_millis(2_600));
    let kinds: Vec<&str> = invoked.iter().map(|it| &it.kind[..]).collect();
    assert_eq!(kinds[0], "error", "two passes had time");
    let done = kinds.iter().position(|kind| *kind == "response").unwrap();
    assert_eq!(invoked[done].body["rows"], 1_500);
    assert_eq!(invoked[done].values()["ColumnsAdded"], 0.0);
}

#[test]
fn everything_is_counted_once_and_nothing_of_the_records_is_told() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let rejected = "{\"event_data\":\"secret\"}\nsecret\n{\"secret\":1}\n[\"secret\"]\n";
    let mut sizes = put(folder, "mixed", &format!("{}{rejected}", rows(3)));
    sizes += put(folder, "good", &rows(2));
    let later = put(folder, "later", &rows(4));
    put(folder, "old", &rows(1));
    let first = sqs_event(&[
        s3_event("mixed", 90),
        s3_event("good", 30),
        s3_event("none", 60),
        json!("secret"),
        json!({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
    ]);
    let second = sqs_event(&[s3_event("mixed", 90), s3_event("later", 20)]);
    let third = s3_event_of("old", "1970-01-01T00:00:00.000Z");
    let invoked = invoke(folder, &[], &[first, second, third], TIMEOUT);

    let kinds: Vec<&str> = invoked.iter().map(|it| &it.kind[..]).collect();
    assert_eq!(kinds, ["response"; 3]);
    for (at, invoked) in invoked.iter().enumerate() {
        assert_eq!(invoked.saying("event handled").len(), 1);
        for line in &invoked.lines {
            let span = &line["span"];
            assert_eq!(
                (&span["requestId"], &span["xrayTraceId"]),
                (&json!(format!("request-{at}")), &json!(TRACE_ID))
            );
        }
    }

    let [first, second, third] = &invoked[..] else { panic!() };
    let objects = |invoked: &Invoked| -> Vec<String> {
        let lines = invoked.lines.iter().filter(|line| line.get("object").is_some());
        let key = |line: &Value| line["object"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
        lines.map(|line| format!("{} {}", key(line), line["message"].as_str().unwrap())).collect()
    };
    assert_eq!(
        objects(first),
        ["mixed object committed", "good object committed", "none object failed; it must be delivered again"]
    );
    assert_eq!(objects(second), ["mixed object was committed before", "later object committed"]);
    let mixed = first.saying("object committed")[0];
    assert_eq!((&mixed["rows"], &mixed["rows_quarantined"]), (&json!(3), &json!(4)));
    assert_eq!(
        mixed["quarantined_by_code"],
        "invalid_json=1,not_an_object=1,unknown_field=1,type_mismatch=1"
    );
    let summary = first.saying("event handled")[0];
    assert_eq!((&summary["rows"], &summary["bytes_read"]), (&json!(5), &json!(sizes as u64)));
    assert!(summary["duration_ms"].is_u64() && summary["snapshot_id"].is_i64());

    let mut values = first.values();
    let age = values.remove("Freshness").unwrap();
    assert!((90.0..90.0 + TIMEOUT.as_secs_f64()).contains(&age), "{age}");
    assert!(values.remove("CommitLatency").unwrap() < TIMEOUT.as_millis() as f64);
    assert!(values.remove("DataFileBytes").unwrap() > 0.0);
    let expected = [
        ("ObjectsCommitted", 2.0),
        ("ObjectsKnown", 0.0),
        ("ObjectsFailed", 1.0),
        ("ObjectsNotReached", 0.0),
        ("RowsCommitted", 5.0),
        ("RowsKnown", 0.0),
        ("RowsQuarantined", 4.0),
        ("MessagesDropped", 0.0),
        ("FieldsIgnored", 0.0),
        ("ColumnsAdded", 0.0),
        ("DataFiles", 1.0),
        ("BytesRead", sizes),
        ("CommitAttempts", 1.0),
        ("CommitConflicts", 0.0),
    ];
    assert_eq!(values, BTreeMap::from(expected));
    let listed = METRICS.iter().filter(|metric| metric.function == "append").map(|metric| metric.name);
    assert_eq!(first.values().into_keys().collect::<BTreeSet<_>>(), listed.collect());

    let counts = ["ObjectsCommitted", "ObjectsKnown", "RowsCommitted", "BytesRead"];
    assert_eq!(second.counts(counts), [1.0, 1.0, 4.0, later]);
    let age = second.values()["Freshness"];
    assert!((20.0..20.0 + TIMEOUT.as_secs_f64()).contains(&age), "{age}: only what is committed now counts");
    assert_eq!(third.counts(["ObjectsCommitted", "RowsCommitted"]), [1.0, 1.0]);
    assert!(!third.values().contains_key("Freshness"), "nothing is 56 years fresh");

    // Another version of an object, with another row.
    put(folder, "later", &rows(5));
    let mut event = s3_event("later", 0);
    event["Records"][0]["s3"]["object"]["eTag"] = json!("f");
    let invoked = invoke(folder, &[], &[event], TIMEOUT).remove(0);
    assert_eq!(invoked.counts(["ObjectsCommitted", "RowsCommitted", "RowsKnown"]), [1.0, 1.0, 4.0]);
}

/// Without a commit there is neither latency nor freshness.
#[test]
fn a_failure_has_its_type_one_line_and_metrics() {
    let put_event = || s3_event("a", 1);
    let failing = |place: &str| vec![("FAILPOINTS", format!("{place}=return(error)"))];
    for (variables, event, time, error_type, kind, not_reached) in [
        (vec![], json!({"name": "secret"}), TIMEOUT, "EventNotUnderstood", None, 0.0),
        (vec![], s3_event("none", 1), TIMEOUT, "ObjectFailed", Some("missing"), 0.0),
        (failing("after get"), put_event(), TIMEOUT, "ObjectFailed", Some("unexpected"), 0.0),
        (vec![], put_event(), Duration::from_millis(1), "OutOfTime", None, 1.0),
        (failing("after create"), put_event(), TIMEOUT, "StorageFailed", Some("unexpected"), 0.0),
        (failing("before swap"), put_event(), TIMEOUT, "CatalogFailed", Some("unexpected"), 0.0),
    ] {
        let failed = if kind.is_some() { 1.0 } else { 0.0 };
        let folder = TempDir::new().unwrap();
        put(folder.path(), "a", &rows(1));
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, &value[..])).collect();
        let invoked = invoke(folder.path(), &variables, &[event], time).remove(0);
        assert_eq!((&invoked.kind[..], &invoked.body["errorType"]), ("error", &json!(error_type)));
        let lines = invoked.saying("invocation failed");
        assert_eq!(lines.len(), 1, "{:?}", invoked.lines);
        let line = lines[0];
        assert_eq!((&line["level"], &line["error_type"]), (&json!("ERROR"), &json!(error_type)));
        assert_eq!(line["error"], invoked.body["errorMessage"]);
        assert_eq!(line.get("error_kind"), kind.map(Value::from).as_ref());
        assert_eq!(invoked.failed_by_kind(), kind.map(|kind| (kind, 1.0)).into_iter().collect());
        assert_eq!(line["span"]["requestId"], "request-0");
        let objects = invoked.lines.iter().filter(|line| line.get("object").is_some()).count() as f64;
        assert_eq!(objects, failed + not_reached, "a line for each object: {:?}", invoked.lines);
        assert_eq!(
            invoked.counts(["ObjectsFailed", "ObjectsNotReached", "ObjectsCommitted"]),
            [failed, not_reached, 0.0],
            "{error_type}"
        );
        let values = invoked.values();
        assert!(!values.contains_key("Freshness") && !values.contains_key("CommitLatency"));
    }
}

/// Neither the reader's thread nor the handler's tells more than the place.
#[test]
fn a_defect_is_a_line_without_data() {
    let folder = TempDir::new().unwrap();
    put(folder.path(), "a", &rows(1));
    for (place, error_type) in [("mid decode", "StorageFailed"), ("before commit", "Defect")] {
        let failpoint = format!("{place}=panic(secret)");
        let variables = [("FAILPOINTS", &failpoint[..])];
        let invoked = invoke(folder.path(), &variables, &[s3_event("a", 1)], TIMEOUT).remove(0);
        assert_eq!(invoked.body["errorType"], error_type);
        assert!(!invoked.body.to_string().contains("secret"), "{}", invoked.body);
        let panics = invoked.saying("panicked");
        assert!(panics.len() == 1 && panics[0]["location"].as_str().unwrap().contains(".rs:"), "{panics:?}");
        assert_eq!(invoked.saying("invocation failed").len(), 1);
        assert_eq!(invoked.counts(["ObjectsCommitted"]), [0.0]);
    }
}

#[test]
fn a_function_that_cannot_start_says_so_in_one_line() {
    for (name, value, error_type, expected) in [
        ("FRAZIL_TABLE", "user_events", "ConfigurationInvalid", "FRAZIL_TABLE=user_events: expected"),
        ("FRAZIL_LOG", "a=b=c", "ConfigurationInvalid", "FRAZIL_LOG=a=b=c: expected"),
        (
            "FRAZIL_TABLE_DEFINITION",
            "none.json",
            "ConfigurationInvalid",
            "FRAZIL_TABLE_DEFINITION=none.json: ",
        ),
        ("FRAZIL_CATALOG_URI", "/dev/null/catalog.db", "CatalogFailed", "cannot open the SQLite catalog"),
    ] {
        let folder = TempDir::new().unwrap();
        let invoked = invoke(folder.path(), &[(name, value)], &[json!({})], TIMEOUT).remove(0);
        assert_eq!((&invoked.kind[..], &invoked.body["errorType"]), ("init/error", &json!(error_type)));
        let message = invoked.body["errorMessage"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        assert_eq!((invoked.lines.len(), invoked.metrics.len()), (1, 0), "{:?}", invoked.lines);
        let line = &invoked.lines[0];
        assert_eq!((&line["level"], &line["error_type"]), (&json!("ERROR"), &json!(error_type)));
        assert_eq!(line["error"], message);
    }
}

#[test]
fn the_level_leaves_ids_and_metrics_alone() {
    for (variables, levels) in [
        (vec![("FRAZIL_LOG", "warn")], vec!["ERROR"]),
        (vec![("AWS_LAMBDA_LOG_LEVEL", "ERROR")], vec!["ERROR"]),
        (vec![("FRAZIL_LOG", "info"), ("AWS_LAMBDA_LOG_LEVEL", "ERROR")], vec!["ERROR", "INFO"]),
    ] {
        let folder = TempDir::new().unwrap();
        let event = sqs_event(&[s3_event("none", 1)]);
        let invoked = invoke(folder.path(), &variables, &[event], TIMEOUT).remove(0);
        let found: Vec<&Value> = invoked.lines.iter().map(|line| &line["level"]).collect();
        assert_eq!(found, levels, "{variables:?}");
        assert!(invoked.lines.iter().all(|line| line["span"]["requestId"] == "request-0"));
        assert_eq!(invoked.counts(["ObjectsFailed"]), [1.0]);
    }
}

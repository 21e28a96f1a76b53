//! A server on this machine that does what a test says, for faults that no real one can be made to have.
//!
//! In: HTTP/1.1 requests. Out: what the test's function answers, or nothing: the connection is closed.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// `METHOD /path?query`.
    pub(super) line: String,
    /// By name in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What the server does about a request.
pub(super) enum Reply {
    Json(u16, Value),
    /// An error as services of AWS give it.
    Refused(u16, &'static str, &'static str),
    /// It closes the connection.
    HangUp,
}

pub(super) struct Server {
    pub(super) uri: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// A server that lives as long as the process. Requests are answered one after the other.
    pub(super) fn start(answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let answer = Arc::new(Mutex::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    seen.lock().unwrap().push(request.clone());
                    let reply = (answer.lock().unwrap())(&request);
                    write(&stream, reply);
                });
            }
        });
        Self { uri, requests }
    }

    /// All requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// A URI at which nobody listens.
pub(super) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request { line, headers, body })
}

fn write(mut stream: &TcpStream, reply: Reply) {
    let (status, code, body) = match reply {
        Reply::Json(status, body) => (status, "", body),
        Reply::Refused(status, code, message) => (status, code, json!({"__type": code, "message": message})),
        Reply::HangUp => return,
    };
    let body = body.to_string();
    let length = body.len();
    // The client may have gone.
    let _ = write!(
        stream,
        "HTTP/1.1 {status} Status\r\nx-amzn-errortype: {code}\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
}

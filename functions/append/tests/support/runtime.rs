//! One process of a function's binary and the Runtime API that it works for.
//!
//! In: events. Out: [`Heard`], what the process asks, answers and writes to standard error, in the order in which it
//! comes. Threads of their own listen, so that an answer has the time at which it came.
//!
//! AWS: "Using the Lambda runtime API for custom runtimes".

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How long the function may take for anything that has no deadline.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Every invocation's: a process has one at a time.
pub(crate) const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";

/// What comes from a process.
#[derive(Debug)]
pub(crate) enum Heard {
    /// It waits for an event.
    Ready(TcpStream),
    /// It has handled its event.
    Answer(Answer),
    /// A line on standard error.
    Said(String),
    /// It has ended.
    Ended,
}

/// What a process posts for an event.
#[derive(Debug)]
pub(crate) struct Answer {
    /// When it came.
    pub(crate) at: Instant,
    /// Whether it is an invocation error.
    pub(crate) is_error: bool,
    pub(crate) body: Value,
}

/// A process.
pub(crate) struct Instance {
    process: Child,
    address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Instance {
    /// Starts `function`. `hear` takes what comes from it.
    pub(crate) fn start(mut function: Command, hear: impl Fn(Heard) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut process = function.env("AWS_LAMBDA_RUNTIME_API", address.to_string()).spawn().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let heard = hear.clone();
        std::thread::spawn(move || {
            stderr.lines().map_while(Result::ok).for_each(|line| heard(Heard::Said(line)));
            heard(Heard::Ended);
        });
        let is_over = over.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                // A process that is killed in the middle of a request has not made it.
                read_request(stream).into_iter().for_each(&hear);
            }
        });
        Self { process, address, over }
    }

    /// Gives the process an event that it must answer within `time`.
    pub(crate) fn invoke(mut asked: TcpStream, event: &str, time: Duration) {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        let headers = format!(
            "lambda-runtime-aws-request-id: {REQUEST_ID}\r\n\
             lambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-west-1:1:function:frazil\r\n",
            deadline.as_millis()
        );
        // The process may have been killed meanwhile; that is seen elsewhere.
        let _ = respond(&mut asked, "200 OK", &headers, event);
    }

    /// Lets a process go on that waits at a failpoint.
    pub(crate) fn go_on(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Sends the process `signal`: `STOP`, `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        let command = format!("kill -{signal} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success(), "{command}");
    }

    /// SIGKILL, whatever the process is doing.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
        self.over.store(true, Ordering::Release);
        // Wakes the thread that listens.
        let _ = TcpStream::connect(self.address);
    }
}

/// A process that is spoken to step by step.
pub(crate) struct Process {
    pub(crate) instance: Instance,
    heard: Receiver<Heard>,
}

impl Process {
    pub(crate) fn start(function: Command) -> Self {
        let (sender, heard) = mpsc::channel();
        let instance = Instance::start(function, move |heard| {
            // Nobody listens any more when the test is over.
            let _ = sender.send(heard);
        });
        Self { instance, heard }
    }

    /// Waits until the process asks for an event, and gives it one.
    pub(crate) fn give(&self, event: &str, time: Duration) {
        match self.hear("asks for an event") {
            Heard::Ready(asked) => Instance::invoke(asked, event, time),
            other => panic!("the function asks for an event: {other:?}"),
        }
    }

    /// Waits until the process says that it is at a failpoint, and gives back which.
    pub(crate) fn reaches_a_point(&self) -> String {
        match self.hear("reaches a failpoint") {
            Heard::Said(line) if line.starts_with("reached ") => line["reached ".len()..].to_owned(),
            other => panic!("the function reaches a failpoint: {other:?}"),
        }
    }

    /// Waits for the answer to an event.
    pub(crate) fn answer(&self) -> Answer {
        match self.hear("answers") {
            Heard::Answer(answer) => answer,
            other => panic!("the function answers: {other:?}"),
        }
    }

    /// Waits for whatever comes next.
    pub(crate) fn hear(&self, what: &str) -> Heard {
        self.heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("in {PATIENCE:?} the function {what}"))
    }
}

/// Takes one request, and answers it unless it asks for an event.
fn read_request(mut stream: TcpStream) -> Option<Heard> {
    let mut reader = BufReader::new(&stream);
    let (mut request_line, mut body_bytes) = (String::new(), 0);
    reader.read_line(&mut request_line).ok()?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; body_bytes];
    reader.read_exact(&mut body).ok()?;
    if request_line.starts_with("GET /2018-06-01/runtime/invocation/next ") {
        return Some(Heard::Ready(stream));
    }
    let at = Instant::now();
    let path = format!("POST /2018-06-01/runtime/invocation/{REQUEST_ID}/");
    let kind = request_line.strip_prefix(&path)?.split(' ').next()?;
    assert!(["response", "error"].contains(&kind), "{request_line}");
    let body = serde_json::from_slice(&body).unwrap();
    let _ = respond(&mut stream, "202 Accepted", "", "");
    Some(Heard::Answer(Answer { at, is_error: kind == "error", body }))
}

fn respond(stream: &mut TcpStream, status: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

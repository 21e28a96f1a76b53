//! A Lambda Runtime API (AWS: "Using the Lambda runtime API for custom runtimes") for one function.
//!
//! In: the function's command, and events. Out: its answers, and the CPU time that each took.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// A function that runs until it is dropped.
pub(crate) struct Function {
    process: Child,
    /// Requests for the next event, and answers.
    requests: Receiver<Request>,
    /// Where the function waits for its next event.
    waiting: TcpStream,
}

pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) cpu: Duration,
}

enum Request {
    Next(TcpStream),
    Answer(Vec<u8>),
}

impl Function {
    pub(crate) fn start(mut command: Command) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        command
            .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr().unwrap().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "transform")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            // As the template has it.
            .env("FRAZIL_LOG", "warn")
            .stdout(Stdio::null());
        let (sender, requests) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                thread::spawn(move || serve(stream.unwrap(), &sender));
            }
        });
        let process = command.spawn().unwrap();
        let waiting = next(&requests);
        Self { process, requests, waiting }
    }

    pub(crate) fn invoke(&mut self, event: &[u8]) -> Answer {
        let before = self.cpu();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
             lambda-runtime-deadline-ms: 32503680000000\r\n\
             lambda-runtime-trace-id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:t\r\n\r\n",
            event.len()
        );
        self.waiting.write_all(head.as_bytes()).unwrap();
        self.waiting.write_all(event).unwrap();
        let Request::Answer(body) = self.requests.recv().unwrap() else { panic!("no answer") };
        self.waiting = next(&self.requests);
        Answer { body, cpu: self.cpu() - before }
    }

    /// The CPU time of all threads, once they rest.
    fn cpu(&self) -> Duration {
        thread::sleep(Duration::from_millis(3));
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let nanoseconds = tasks.map(|task| -> u64 {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        });
        Duration::from_nanos(nanoseconds.sum())
    }

    /// The most memory that the process has had.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn next(requests: &Receiver<Request>) -> TcpStream {
    match requests.recv().unwrap() {
        Request::Next(stream) => stream,
        Request::Answer(body) => panic!("{}", String::from_utf8_lossy(&body)),
    }
}

fn serve(stream: TcpStream, sender: &Sender<Request>) {
    let mut reader = BufReader::with_capacity(1 << 20, stream);
    while let Some((line, body)) = read_request(&mut reader) {
        let mut stream = reader.get_ref().try_clone().unwrap();
        if line.ends_with("/invocation/next HTTP/1.1") {
            sender.send(Request::Next(stream)).unwrap();
            continue;
        }
        // First: with this the function asks for the next event, perhaps over another connection.
        sender.send(Request::Answer(body)).unwrap();
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").unwrap();
    }
}

/// A request's first line and its body, whose length is told; None where the connection ends.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|bytes| *bytes > 0)?;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        assert!(!name.eq_ignore_ascii_case("transfer-encoding"), "a length is expected, not chunks");
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.trim_end().to_owned(), body))
}

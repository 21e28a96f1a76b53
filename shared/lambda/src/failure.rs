//! Failures, told so that alarms and people can act on them.
//!
//! In: what went wrong. Out: Lambda's `errorType`, one of a few; for a function that cannot start, a log line and
//! Lambda's own report (AWS: "Using the Lambda runtime API for custom runtimes", "Initialization error").

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use crate::env::Environment;

/// What kind of failure; its name is Lambda's `errorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// A variable is missing or wrong: correct the function's configuration.
    ConfigurationInvalid,
    /// The event is of no known shape: correct what invokes the function.
    EventNotUnderstood,
    /// The catalog could not be opened or asked, or did not take a commit: look after it, or after the permissions.
    CatalogFailed,
    /// Files of the table or of the quarantine could not be read or written: look after the storage.
    StorageFailed,
    /// An object could not be appended, and no queue delivers it again: invoke the function with it again.
    ObjectFailed,
    /// Records of a Kafka topic could not be committed: read the message, and deliver them again if nobody does.
    RecordsFailed,
    /// There was no time for an object, and no queue delivers it again: give the function a longer time-out.
    OutOfTime,
    /// The function panicked: report the place that the log names.
    Defect,
}

/// The message of a [`ErrorType::Defect`]: what the panic says may quote the data.
pub const PANICKED: &str = "the function panicked: a defect; the line before names the place";

impl fmt::Display for ErrorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

/// Ends a function that cannot start. Lambda starts it again for the next event.
pub fn at_start(environment: &Environment, error_type: ErrorType, error: &str) -> ExitCode {
    tracing::error!(%error_type, error, "the function cannot start");
    if let Some(runtime_api) = environment.text("AWS_LAMBDA_RUNTIME_API") {
        // Without the report Lambda knows that the process has ended, but not why; the line above says it anyway.
        let _ = report(runtime_api, error_type, error);
    }
    ExitCode::FAILURE
}

/// Ends a function whose runtime has ended, which it does only where Lambda cannot be reached.
pub fn at_end<E: fmt::Display>(outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime API failed");
            ExitCode::FAILURE
        }
    }
}

/// Reports an error of the initialisation, so that whoever invokes the function sees it.
fn report(runtime_api: &str, error_type: ErrorType, error: &str) -> std::io::Result<()> {
    // Plain HTTP to an address of the sandbox, as any runtime does; nothing there takes long, on a machine that is not busy.
    const PATIENCE: Duration = Duration::from_secs(5);
    let address: SocketAddr = runtime_api.parse().map_err(std::io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let body =
        json!({"errorType": error_type.to_string(), "errorMessage": error, "stackTrace": []}).to_string();
    let request = format!(
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nhost: {runtime_api}\r\nconnection: close\r\n\
         content-type: application/json\r\nlambda-runtime-function-error-type: {error_type}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    // The process must not end before the answer is there.
    stream.read_exact(&mut [0; 1])
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn lambda_is_told_why_a_function_cannot_start() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let runtime_api = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                match line.trim_end() {
                    "" => break,
                    line => lines.push(line.to_owned()),
                }
            }
            let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            stream.get_mut().write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n").unwrap();
            (lines, String::from_utf8(body).unwrap())
        });
        let environment = Environment::from_iter([("AWS_LAMBDA_RUNTIME_API", address)]);
        at_start(&environment, ErrorType::ConfigurationInvalid, "A=\"b\": expected c");
        let (lines, body) = runtime_api.join().unwrap();
        assert_eq!(lines[0], "POST /2018-06-01/runtime/init/error HTTP/1.1");
        assert!(lines.contains(&"lambda-runtime-function-error-type: ConfigurationInvalid".to_owned()));
        assert_eq!(
            body,
            r#"{"errorMessage":"A=\"b\": expected c","errorType":"ConfigurationInvalid","stackTrace":[]}"#
        );
    }

    #[test]
    fn a_report_that_nobody_takes_holds_nothing_up() {
        for runtime_api in ["127.0.0.1:1", "no address"] {
            let environment = Environment::from_iter([("AWS_LAMBDA_RUNTIME_API", runtime_api)]);
            assert_eq!(at_start(&environment, ErrorType::CatalogFailed, "e"), ExitCode::FAILURE);
        }
    }
}

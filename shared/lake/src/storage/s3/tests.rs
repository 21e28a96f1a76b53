//! What cannot be had of a real server on demand: answers that break off, stand still, or refuse for a reason of AWS's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use futures::stream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::connection::{Encryption, Settings};
use super::*;
use crate::aws;

const URI: &str = "s3://lake/a/object";
/// Longer than a client waits for the next bytes.
const STALL: Duration = Duration::from_secs(30);

/// A request as the server got it.
#[derive(Clone, Debug)]
struct Request {
    /// Method, path and query.
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn is(&self, start: &str) -> bool {
        self.line.starts_with(start)
    }
}

/// An answer.
#[derive(Clone, Debug)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Bytes of the body after which the connection ends.
    cut: Option<usize>,
    /// Bytes of the body after which nothing more comes for a while.
    stall: Option<usize>,
    /// How long the server thinks.
    after: Duration,
}

impl Reply {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), cut: None, stall: None, after: Duration::ZERO }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// An error as S3 words it.
    fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status, format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
    }
}

/// A server that answers as it is told.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (answer, log) = (Arc::new(answer), requests.clone());
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let (answer, log) = (answer.clone(), log.clone());
                // A client that goes away is no fault of the server.
                std::thread::spawn(move || serve(&connection.unwrap(), answer.as_ref(), &log));
            }
        });
        Self { endpoint, requests }
    }

    /// A server that gives the same answer always.
    fn always(reply: Reply) -> Self {
        Self::start(move |_| reply.clone())
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }

    async fn storage(&self) -> S3Storage {
        self.storage_with(Settings::default()).await
    }

    async fn storage_with(&self, settings: Settings) -> S3Storage {
        let sdk = loader(&self.endpoint).retry_config(RetryConfig::standard().with_max_attempts(1));
        connected(sdk, settings).await
    }
}

async fn connected(sdk: aws_config::ConfigLoader, settings: Settings) -> S3Storage {
    S3Storage::connected(Connection::new(&sdk.load().await, settings).unwrap())
}

fn loader(endpoint: &str) -> aws_config::ConfigLoader {
    let credentials = Credentials::new("key", "secret", None, None, "test");
    aws::loader()
        .endpoint_url(endpoint)
        .region(Region::new("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
}

fn serve(
    connection: &TcpStream,
    answer: &dyn Fn(&Request) -> Reply,
    log: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let mut lines = head.trim_end().lines();
        let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(a, b)| (a.to_lowercase(), b.to_owned()))
            .collect();
        let mut request = Request { line, headers, body: Vec::new() };
        if request.header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        log.lock().unwrap().push(request.clone());
        let reply = answer(&request);
        std::thread::sleep(reply.after);
        let mut text = format!("HTTP/1.1 {} Said\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            text += &format!("{name}: {value}\r\n");
        }
        writer.write_all((text + "\r\n").as_bytes())?;
        if !request.is("HEAD ") {
            let sent = reply.stall.unwrap_or(0);
            writer.write_all(&reply.body[..sent])?;
            if reply.stall.is_some() {
                std::thread::sleep(STALL);
            }
            writer.write_all(&reply.body[sent..reply.cut.unwrap_or(reply.body.len())])?;
        }
        if reply.cut.is_some() {
            return connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// The bytes of `content` that a request asks for.
fn part_of(content: &[u8], request: &Request) -> Reply {
    let range = request.header("range").map(|range| {
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        first.parse::<usize>().unwrap()..last.parse::<usize>().unwrap() + 1
    });
    match range {
        Some(range) => {
            let told = format!("bytes {}-{}/{}", range.start, range.end - 1, content.len());
            Reply::new(206, &content[range]).header("content-range", &told)
        }
        None => Reply::new(200, content),
    }
}

#[tokio::test]
async fn errors_say_what_was_asked_and_what_helps() {
    let cases = [
        (
            404,
            "NoSuchBucket",
            "",
            "the bucket lake does not exist; create it, or correct the URI (status 404, NoSuchBucket",
        ),
        (404, "NoSuchKey", "", "the object does not exist"),
        (
            403,
            "AccessDenied",
            "Access Denied",
            "grant s3:GetObject on the bucket lake; to whom s3:ListBucket",
        ),
        (403, "InvalidAccessKeyId", "", "the credentials are wrong; correct AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "", "the credentials are wrong; correct AWS_ACCESS_KEY_ID"),
        (400, "ExpiredToken", "", "the credentials have expired; renew them"),
        (403, "RequestTimeTooSkewed", "", "the clock of this machine is wrong"),
        (
            403,
            "AccessDenied",
            "not authorized to perform: kms:Decrypt",
            "grant kms:GenerateDataKey and kms:Decrypt",
        ),
        (
            400,
            "KMS.DisabledException",
            "k is disabled.",
            "see that it exists, is enabled and in the bucket's region",
        ),
        (
            301,
            "PermanentRedirect",
            "",
            "the bucket lake is in the region eu-west-1, and all buckets of a function must be in its own",
        ),
        (403, "InvalidObjectState", "", "the object is archived; restore it first"),
        (503, "SlowDown", "", "run fewer functions at a time"),
        (412, "PreconditionFailed", "", "the object changed while it was read"),
        (416, "InvalidRange", "", "the object changed while it was read"),
        (418, "Teapot", "short and stout", ") refused (status 418, Teapot: short and stout"),
    ];
    for (status, code, message, expected) in cases {
        let reply = Reply::error(status, code, message).header("x-amz-bucket-region", "eu-west-1");
        let server = Server::always(reply.header("x-amz-request-id", "4442587FB7D0A2F9"));
        let error = server.storage().await.read(URI).await.unwrap_err().to_string();
        assert!(error.contains("cannot read s3://lake/a/object: "), "{error}");
        assert!(error.contains(expected), "{code}: {error}");
        assert!(error.contains("request 4442587FB7D0A2F9") || status == 404, "{error}");
    }
    let denied = || Server::always(Reply::error(403, "AccessDenied", "Access Denied"));
    let error = denied().storage().await.write(URI, Bytes::new()).await.unwrap_err();
    assert!(
        error.message().contains("cannot write s3://lake/a/object: access is denied; grant s3:PutObject")
    );
    let error = denied().storage().await.delete(URI).await.unwrap_err();
    assert!(error.message().contains("grant s3:DeleteObject on the bucket lake (status 403"), "{error}");
    let error = denied().storage().await.delete_prefix(URI).await.unwrap_err();
    assert!(
        error.message().contains("cannot list s3://lake/a/object/: access is denied; grant s3:ListBucket")
    );
}

/// HEAD is answered without a body, and so without a reason.
#[tokio::test]
async fn a_head_without_a_reason_is_looked_into() {
    let server = |status, code: &'static str| {
        Server::start(move |request| match request.is("HEAD ") {
            true => Reply::new(status, ""),
            false => Reply::error(status, code, ""),
        })
    };
    assert!(!server(404, "NoSuchKey").storage().await.exists(URI).await.unwrap());
    let error = server(404, "NoSuchKey").storage().await.metadata(URI).await.err().unwrap();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::DataInvalid, "s3://lake/a/object does not exist")
    );
    for (status, code, expected) in [
        (404, "NoSuchBucket", "the bucket lake does not exist"),
        (403, "AccessDenied", "to whom s3:ListBucket on the bucket is not granted"),
        (403, "SignatureDoesNotMatch", "the credentials are wrong"),
        (400, "ExpiredToken", "the credentials have expired"),
    ] {
        let error = server(status, code).storage().await.exists(URI).await.unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        let error = server(status, code).storage().await.metadata(URI).await.err().unwrap();
        assert!(error.message().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let content: Vec<u8> = (0..1000).map(|at| at as u8).collect();
    for (breaks, whole) in [(2, true), (3, false)] {
        let (count, answered) = (Mutex::new(0), content.clone());
        let server = Server::start(move |request| {
            let mut reply = part_of(&answered, request).header("etag", "\"1\"");
            *count.lock().unwrap() += 1;
            reply.cut = (*count.lock().unwrap() <= breaks).then_some(50);
            reply
        });
        let reader = server.storage().await.reader(URI).await.unwrap();
        let read = reader.read(100..300).await;
        assert_eq!(server.requests().len(), 3);
        match whole {
            true => assert_eq!(read.unwrap(), content[100..300]),
            false => {
                let error = read.unwrap_err();
                assert!(error.message().contains("3 attempts failed, the last one since"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_stands_still_is_asked_for_again() {
    let content: Vec<u8> = (0..1000).map(|at| at as u8).collect();
    let (count, answered) = (Mutex::new(0), content.clone());
    let server = Server::start(move |request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        Reply { stall: (*count == 1).then_some(50), ..part_of(&answered, request) }
    });
    let impatient = StalledStreamProtectionConfig::enabled().grace_period(Duration::from_secs(1));
    let sdk = loader(&server.endpoint).stalled_stream_protection(impatient.build());
    let reader = connected(sdk, Settings::default()).await.reader(URI).await.unwrap();
    let started = Instant::now();
    assert_eq!(reader.read(0..1000).await.unwrap(), content);
    assert!(started.elapsed() < STALL);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_sent_again_whole() {
    let refused = Mutex::new(Vec::new());
    let server = Server::start(move |request| {
        let mut refused = refused.lock().unwrap();
        if refused.contains(&request.line) {
            return uploads(request);
        }
        refused.push(request.line.clone());
        Reply::error(503, "SlowDown", "Please reduce your request rate.")
    });
    let quickly = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let storage = connected(loader(&server.endpoint).retry_config(quickly), Settings::default()).await;
    let bytes = |count: usize| Bytes::from((0..count).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    for count in [1000, 2 * PART_BYTES + 1000] {
        storage.write(URI, bytes(count)).await.unwrap();
    }
    let requests = server.requests();
    for request in &requests {
        let twins: Vec<_> = requests.iter().filter(|other| other.line == request.line).collect();
        assert_eq!(twins.len(), 2, "{}", request.line);
        assert!(twins[0].body == twins[1].body, "{}", request.line);
    }
    let sent: usize =
        requests.iter().filter(|request| request.is("PUT")).map(|request| request.body.len()).sum();
    assert_eq!(sent, 2 * (1000 + 2 * PART_BYTES + 1000));
}

/// A server may pass over a range and send the object, or claim another length.
#[tokio::test]
async fn a_range_is_exactly_what_was_asked_for() {
    let object: Vec<u8> = (0..1000_u32).map(|byte| byte as u8).collect();
    let server = Server::always(Reply::new(200, object.clone()));
    let reader = server.storage().await.reader(URI).await.unwrap();
    for range in [0..1, 100..300, 999..1000, 0..1000] {
        assert!(reader.read(range.start as u64..range.end as u64).await.unwrap() == object[range]);
    }
    let part = |length| Reply::new(206, vec![0; length]).header("content-range", "bytes 100-299/1000");
    for reply in [
        Reply::new(200, vec![0; 199]),
        Reply::new(200, Vec::new()),
        part(201),
        part(199),
        part(1000),
        part(0),
    ] {
        let server = Server::always(reply);
        let reader = server.storage().await.reader(URI).await.unwrap();
        let error = reader.read(100..300).await.unwrap_err();
        assert!(error.message().contains("does not have the 200 bytes that were asked for"), "{error}");
        assert!(reader.read(7..7).await.unwrap().is_empty());
    }
}

/// Another version is told by the precondition, and where a server ignores it, by the ETag of its answer.
#[tokio::test]
async fn versions_of_an_object_are_never_mixed() {
    for ignores_preconditions in [false, true] {
        let version = Arc::new(Mutex::new("\"1\""));
        let current = version.clone();
        let server = Server::start(move |request| {
            let etag = *current.lock().unwrap();
            match request.header("if-match") {
                Some(wanted) if wanted != etag && !ignores_preconditions => {
                    Reply::error(412, "PreconditionFailed", "")
                }
                _ => part_of(&[0; 100], request).header("etag", etag),
            }
        });
        let storage = server.storage().await;
        let reader = storage.reader(URI).await.unwrap();
        reader.read(0..10).await.unwrap();
        let input = storage.new_input(URI).unwrap();
        assert_eq!(input.metadata().await.unwrap().size, 100);
        *version.lock().unwrap() = "\"2\"";
        let begun_later = input.reader().await.unwrap();
        for read in [reader.read(10..20).await, begun_later.read(0..10).await, input.read().await] {
            let error = read.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
            assert!(error.message().contains("the object changed while it was read"), "{error}");
        }
        // Whoever looks again sees the new one.
        assert_eq!(storage.new_input(URI).unwrap().read().await.unwrap().len(), 100);
        assert_eq!(storage.read(URI).await.unwrap().len(), 100);
        storage.reader(URI).await.unwrap().read(0..10).await.unwrap();
    }
}

/// Answers to what a multipart upload asks.
fn uploads(request: &Request) -> Reply {
    let xml = match request.line.split_once('?').map_or("", |(_, query)| query) {
        query if query.starts_with("uploads") => {
            "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        }
        _ if request.is("POST") => {
            "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        }
        _ => "",
    };
    Reply::new(200, xml).header("etag", "\"1\"")
}

#[tokio::test]
async fn objects_are_encrypted_as_configured() {
    let kms = Encryption {
        algorithm: Some(aws_sdk_s3::types::ServerSideEncryption::AwsKms),
        kms_key_id: Some("alias/k".to_owned()),
        bucket_key: Some(true),
    };
    for (encryption, expected) in
        [(kms, [Some("aws:kms"), Some("alias/k"), Some("true")]), (Encryption::default(), [None, None, None])]
    {
        let server = Server::start(uploads);
        let storage = server.storage_with(Settings { encryption, ..Settings::default() }).await;
        storage.write(URI, Bytes::from_static(b"small")).await.unwrap();
        storage.write(URI, vec![0; PART_BYTES + 1].into()).await.unwrap();
        let requests = server.requests();
        let puts = requests.iter().filter(|request| !request.line.contains("uploadId="));
        let headers: Vec<_> = puts
            .map(|request| {
                assert!(
                    request.is("PUT /lake/a/object?x-id=PutObject")
                        || request.is("POST /lake/a/object?uploads")
                );
                [
                    "x-amz-server-side-encryption",
                    "x-amz-server-side-encryption-aws-kms-key-id",
                    "x-amz-server-side-encryption-bucket-key-enabled",
                ]
                .map(|name| request.header(name).map(str::to_owned))
            })
            .collect();
        assert_eq!(headers, vec![expected.map(|value| value.map(str::to_owned)); 2]);
        // A checksum goes with every body, as a header: bodies in chunks are what other servers stumble over.
        for request in requests.iter().filter(|request| request.is("PUT")) {
            assert!(request.header("x-amz-checksum-crc32").is_some(), "{request:?}");
            assert_eq!(request.header("content-encoding"), None);
            assert_eq!(request.header("content-length"), Some(request.body.len().to_string().as_str()));
        }
    }
}

/// Keys go to S3 as they are, whatever they mean to others.
#[tokio::test]
async fn keys_are_sent_as_they_are() {
    let server = Server::always(Reply::new(200, ""));
    let storage = server.storage().await;
    for (key, path) in [
        ("a b+c%d#e?f=g&h", "a%20b%2Bc%25d%23e%3Ff%3Dg%26h"),
        ("ü/日本", "%C3%BC/%E6%97%A5%E6%9C%AC"),
        ("/a//b/", "/a//b/"),
        ("a/../b/./c", "a/../b/./c"),
        ("a:b;c,d", "a%3Ab%3Bc%2Cd"),
    ] {
        storage.metadata(&format!("s3://lake/{key}")).await.unwrap();
        assert_eq!(server.lines().pop().unwrap(), format!("HEAD /lake/{path}"));
    }
}

/// Waits until the server was asked for a line that contains `text`.
async fn asked(server: &Server, text: &str) -> bool {
    for _ in 0..100 {
        if server.lines().iter().any(|line| line.contains(text)) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test]
async fn what_goes_wrong_is_aborted() {
    const ABORT: &str = "DELETE /lake/a/object?x-id=AbortMultipartUpload&uploadId=u";
    let whole = || Bytes::from(vec![0; 4 * PART_BYTES]);
    // A part that is refused.
    let server = Server::start(|request| match request.line.contains("partNumber=2") {
        true => Reply::error(403, "AccessDenied", ""),
        false => uploads(request),
    });
    let storage = server.storage().await;
    let error = storage.write(URI, whole()).await.unwrap_err();
    assert!(error.message().contains("cannot write s3://lake/a/object: access is denied"), "{error}");
    // The third part was on its way: the server may hear of it after the abort.
    let lines = server.lines();
    assert_eq!(lines.iter().filter(|line| *line == ABORT).count(), 1, "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("POST") && line.contains("uploadId=")), "{lines:?}");
    // An error that comes after the status said that all is well.
    let server = Server::start(|request| match request.is("POST") && request.line.contains("uploadId=") {
        true => Reply::error(200, "InternalError", "We encountered an internal error. Please try again."),
        false => uploads(request),
    });
    let error = server.storage().await.write(URI, whole()).await.unwrap_err();
    assert!(error.message().contains("InternalError"), "{error}");
    assert_eq!(server.lines().last().unwrap(), ABORT);
    // A writer that is given up, before and after its first part.
    let server = Server::start(uploads);
    let storage = server.storage().await;
    let mut writer = storage.writer(URI).await.unwrap();
    writer.write(Bytes::from(vec![0; PART_BYTES])).await.unwrap();
    drop(writer);
    let mut writer = storage.writer(URI).await.unwrap();
    writer.write(Bytes::from(vec![0; 3 * PART_BYTES])).await.unwrap();
    drop(writer);
    assert!(asked(&server, ABORT).await);
    assert!(
        server.lines().iter().all(|line| line.contains("upload")),
        "nothing was put: {:?}",
        server.lines()
    );
    // One that is closed already.
    let mut writer = storage.writer(URI).await.unwrap();
    writer.close().await.unwrap();
    assert!(writer.write(Bytes::from_static(b"more")).await.is_err() && writer.close().await.is_err());
    assert!(server.lines().iter().any(|line| line.contains("PutObject")));
}

/// A network that takes nothing must not make the process hold everything.
#[tokio::test]
async fn memory_is_bounded_by_the_parts_on_their_way() {
    let server = Server::start(|request| {
        let mut reply = uploads(request);
        if request.line.contains("partNumber=") {
            reply.after = Duration::from_secs(60);
        }
        reply
    });
    let storage = server.storage().await;
    let mut taken = [0_usize; 4];
    let mut writers = Vec::new();
    for (at, bytes) in taken.iter_mut().enumerate() {
        let mut writer = storage.writer(&format!("{URI}{at}")).await.unwrap();
        let piece = Bytes::from(vec![0; PART_BYTES / 4]);
        let patience = Duration::from_secs(1);
        while let Ok(written) = tokio::time::timeout(patience, writer.write(piece.clone())).await {
            written.unwrap();
            *bytes += piece.len();
        }
        writers.push(writer);
    }
    // Two parts are on their way; of each file, one part waits.
    assert_eq!(taken.map(|bytes| bytes / PART_BYTES), [3, 1, 1, 1]);
}

#[tokio::test]
async fn whoever_does_not_answer_is_not_waited_for_long() {
    // Nobody listens: found out at once, and tried again.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sdk = loader(&format!("http://{closed}")).load().await;
    let storage = S3Storage::connected(Connection::new(&sdk, Settings::default()).unwrap());
    let started = Instant::now();
    let error = storage.exists(URI).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    assert!(
        error.message().contains(&format!("S3 (http://{closed}) does not answer; check AWS_ENDPOINT_URL")),
        "{error}"
    );
    // Someone listens and says nothing.
    let silent = Server::start(|_| Reply { after: Duration::from_secs(60), ..Reply::new(200, "") });
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(1));
    let sdk = loader(&silent.endpoint).timeout_config(timeouts.build()).retry_config(
        RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(1)),
    );
    let storage = S3Storage::connected(Connection::new(&sdk.load().await, Settings::default()).unwrap());
    let error = storage.read(URI).await.unwrap_err();
    assert!(error.message().contains("does not answer"), "{error}");
    assert_eq!(silent.requests().len(), 2);
}

#[tokio::test]
async fn many_are_deleted_at_once_and_a_bucket_never() {
    const LISTED: &str = "<ListBucketResult><IsTruncated>false</IsTruncated>\
        <Contents><Key>a/t/1</Key></Contents><Contents><Key>a/t/2</Key></Contents></ListBucketResult>";
    const REFUSED: &str = "<DeleteResult>\
        <Error><Key>a/t/2</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>";
    let server = Server::start(|request| Reply::new(200, if request.is("GET") { LISTED } else { REFUSED }));
    let storage = server.storage().await;
    let error = storage.delete_prefix("s3://lake/a/t").await.unwrap_err();
    assert_eq!(error.message(), "cannot delete s3://lake/a/t/2: AccessDenied: no");
    let requests = server.requests();
    assert!(requests[0].line.contains("prefix=a%2Ft%2F"), "{}", requests[0].line);
    assert!(
        requests[1].is("POST /lake/?delete") || requests[1].is("POST /lake?delete"),
        "{}",
        requests[1].line
    );
    for bucket in ["s3://lake", "s3://lake/", "s3://lake//"] {
        assert!(storage.delete_prefix(bucket).await.is_err());
    }
    let uris = stream::iter((0..1500).map(|at| format!("s3://{}/k{at}", ["lake", "raw"][at % 2])));
    let server = Server::always(Reply::new(200, "<DeleteResult></DeleteResult>"));
    server.storage().await.delete_stream(uris.boxed()).await.unwrap();
    let mut keys: Vec<usize> = server
        .requests()
        .iter()
        .map(|request| request.body.windows(5).filter(|text| text == b"<Key>").count())
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, [250, 250, 500, 500]);
}

/// Both versions that are announced are read, each by its id, and a row that both have comes once.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "multi_thread")]
async fn versions_that_are_announced_together_are_all_read() {
    use crate::catalog::Lake;
    use crate::job::{AppendOptions, Limits, SourceObject, Status};
    use crate::token::Token;

    let server = Server::start(|request| {
        let ids: &[&str] = match &request.line {
            line if line.contains("versionId=v1") => &["a", "b"],
            line if line.contains("versionId=v2") => &["b", "c"],
            _ => return Reply::error(404, "NoSuchKey", "a delete marker"),
        };
        let text: String = ids.iter().map(|id| format!("{{\"record_id\": \"{id}\"}}\n")).collect();
        part_of(text.as_bytes(), request).header("etag", &format!("\"{}\"", ids[0]))
    });
    let folder = tempfile::tempdir().unwrap();
    let uri = |name: &str| format!("file://{}", folder.path().join(name).display());
    let mut lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &uri("warehouse")).await.unwrap();
    lake.file_io = super::super::file_io_with(server.storage().await);
    let object = |version: &str| SourceObject {
        uri: URI.to_owned(),
        bucket: "lake".to_owned(),
        key: "a/object".to_owned(),
        version_id: Some(version.to_owned()),
        token: Token::new("lake", "a/object", version),
    };
    let options = AppendOptions {
        table: iceberg::TableIdent::from_strs(["test", "t"]).unwrap(),
        branch: "main".to_owned(),
        definition: None,
        errors_uri: uri("errors"),
        processing_time: "2026-01-02T03:04:05Z".to_owned(),
        deadline: (Instant::now() + Duration::from_secs(120)).into(),
        limits: Limits::for_memory(128 << 20),
        unpack: Default::default(),
    };
    let outcome = crate::append(&lake, &options, ["v1", "v2", "v3"].map(object).to_vec()).await.unwrap();
    let rows: Vec<Option<(u64, u64)>> = outcome
        .objects
        .iter()
        .map(|object| match object.status {
            Status::Committed { rows, known, .. } => Some((rows, known)),
            _ => None,
        })
        .collect();
    assert_eq!(rows, [Some((2, 0)), Some((1, 1)), None]);
    assert_eq!(outcome.data_files, 2);
    let Status::Failed(error) = &outcome.objects[2].status else { panic!("v3 does not exist") };
    assert!(error.message().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_folder_is_listed_page_by_page() {
    let object = |key: &str, size: u64| {
        format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>2026-01-02T03:04:05.000Z</LastModified></Contents>"
        )
    };
    let first = [object("a/t/1", 1), object("a/t/b c+%20", 2)].concat();
    let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>n=1</NextContinuationToken>";
    let pages = [
        format!("<ListBucketResult>{more}{first}</ListBucketResult>"),
        format!(
            "<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
            object("a/t/z/3", 3)
        ),
    ];
    let server = Server::start(move |request| {
        let page = usize::from(request.line.contains("continuation-token"));
        Reply::new(200, pages[page].clone())
    });
    let storage = server.storage().await;
    let listed: Vec<ListedFile> = storage.list("s3a://lake/a/t/").unwrap().try_collect().await.unwrap();
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(1_767_323_045);
    let file = |uri: &str, size_bytes| ListedFile { uri: uri.to_owned(), size_bytes, modified };
    let expected =
        [file("s3a://lake/a/t/1", 1), file("s3a://lake/a/t/b c+%20", 2), file("s3a://lake/a/t/z/3", 3)];
    assert_eq!(listed, expected);
    let lines = server.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("list-type=2") && line.contains("prefix=a%2Ft%2F")));
    assert!(lines[1].contains("continuation-token=n%3D1"), "{lines:?}");

    let refused = Server::always(Reply::error(403, "AccessDenied", "no")).storage().await;
    let error = refused.list("s3://lake/").unwrap().try_next().await.unwrap_err();
    assert!(
        error.message().contains("cannot list s3://lake/: access is denied; grant s3:ListBucket"),
        "{error}"
    );
    assert!(refused.list("s3:///a/").is_err());
}

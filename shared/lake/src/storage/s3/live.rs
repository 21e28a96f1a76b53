//! Against a real server, whose address and credentials are in the environment: `tests/interop/run.sh 8`.

use std::io::BufRead as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use aws_config::ConfigLoader;
use aws_sdk_s3::config::{Credentials, RequestChecksumCalculation, SharedCredentialsProvider};
use futures::StreamExt as _;
use futures::stream;

use super::connection::Settings;
use super::*;
use crate::aws;

const BUCKET: &str = "lake";
/// Tells [`a_process_that_is_killed`] what to write.
const KILLED_URI: &str = "FRAZIL_TEST_KILLED_URI";

async fn storage(loader: ConfigLoader) -> S3Storage {
    S3Storage::connected(Connection::new(&loader.load().await, Settings::new(&S3Config::default())).unwrap())
}

/// A folder that no other test has.
fn folder(name: &str) -> String {
    format!("s3://{BUCKET}/{name}-{:016x}", fastrand::u64(..))
}

fn as_user(name: &str, secret: &str) -> ConfigLoader {
    let credentials = Credentials::new(name, secret, None, None, "test");
    aws::loader().credentials_provider(SharedCredentialsProvider::new(credentials))
}

/// Bytes that no two places have in common.
fn content(size_bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(size_bytes as u64);
    std::iter::repeat_with(|| random.u64(..).to_le_bytes()).flatten().take(size_bytes).collect()
}

/// Keys of uploads that were begun and neither completed nor aborted.
async fn incomplete_uploads(storage: &S3Storage, folder: &str) -> Vec<(String, String)> {
    let s3 = storage.connect().await.unwrap();
    let prefix = Location::parse(folder).unwrap().key;
    let answer = s3.client.list_multipart_uploads().bucket(BUCKET).prefix(prefix).send().await.unwrap();
    let uploads = answer.uploads.unwrap_or_default().into_iter();
    uploads.map(|upload| (upload.key.unwrap(), upload.upload_id.unwrap())).collect()
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn what_is_written_is_read() {
    const PIECES: [usize; 4] = [1, 65_537, 3 << 20, 700_000];
    let folder = folder("sizes");
    for (checksums, sizes) in [
        (
            RequestChecksumCalculation::WhenSupported,
            &[0, 1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 40 << 20][..],
        ),
        (RequestChecksumCalculation::WhenRequired, &[1, PART_BYTES + 1]),
    ] {
        let storage = storage(aws::loader().request_checksum_calculation(checksums)).await;
        for &size in sizes {
            let (uri, content) = (format!("{folder}/{size}"), Bytes::from(content(size)));
            let mut writer = storage.writer(&uri).await.unwrap();
            let mut rest = content.clone();
            for piece in PIECES.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                writer.write(rest.split_to(rest.len().min(*piece))).await.unwrap();
            }
            assert!(
                !storage.exists(&uri).await.unwrap(),
                "{size} bytes are visible before the file is closed"
            );
            writer.close().await.unwrap();
            assert!(storage.exists(&uri).await.unwrap());
            assert_eq!(storage.metadata(&uri).await.unwrap().size, size as u64);
            assert!(storage.read(&uri).await.unwrap() == content, "{size} bytes");
            let reader = storage.reader(&uri).await.unwrap();
            for range in
                [0..1, size / 2..size, size.saturating_sub(1)..size, 0..size, PART_BYTES - 2..PART_BYTES + 2]
            {
                let range = range.start.min(size)..range.end.min(size);
                let read = reader.read(range.start as u64..range.end as u64).await.unwrap();
                assert!(read == content[range.clone()], "{range:?} of {size} bytes");
            }
            if size > 0 {
                let error = reader.read(0..size as u64 + 1).await.unwrap_err();
                assert!(error.message().contains("3 attempts failed"), "{error}");
            }
            storage.delete(&uri).await.unwrap();
            assert!(!storage.exists(&uri).await.unwrap());
            storage.delete(&uri).await.unwrap();
        }
        assert!(incomplete_uploads(&storage, &folder).await.is_empty());
    }
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn keys_may_have_any_characters() {
    let (storage, folder) = (storage(aws::loader()).await, folder("keys"));
    let keys = [
        "a b",
        "a+b",
        "a%20b",
        "a%2Fb",
        "a#b",
        "a?b=c&d",
        "ü/é/日本",
        "a=b/c:d",
        "'\"<>&;,$!*()[]{}|^~`@",
        "a\\b",
        "emoji 🧊",
    ];
    for (at, key) in keys.iter().enumerate() {
        let uri = format!("{folder}/{key}");
        storage.write(&uri, Bytes::from(vec![0; at])).await.unwrap();
        assert_eq!(storage.metadata(&uri).await.unwrap().size, at as u64, "{key}");
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(storage.read(&format!("{folder}/{key}")).await.unwrap().len(), at, "{key}");
    }
    storage.delete_prefix(&folder).await.unwrap();
    for key in keys {
        assert!(!storage.exists(&format!("{folder}/{key}")).await.unwrap(), "{key}");
    }
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn an_object_that_is_overwritten_is_not_read_on() {
    let (storage, folder) = (storage(aws::loader()).await, folder("versions"));
    let uri = format!("{folder}/object");
    let put = async |fill: u8| storage.write(&uri, vec![fill; 1000].into()).await.unwrap();
    put(1).await;
    let reader = storage.reader(&uri).await.unwrap();
    assert_eq!(reader.read(0..10).await.unwrap(), [1; 10].as_slice());
    let input = storage.new_input(&uri).unwrap();
    assert_eq!(input.metadata().await.unwrap().size, 1000);
    put(2).await;
    for read in [reader.read(10..20).await, input.reader().await.unwrap().read(0..10).await] {
        let error = read.unwrap_err();
        assert!(error.message().contains("the object changed while it was read"), "{error}");
    }
    assert_eq!(storage.reader(&uri).await.unwrap().read(0..10).await.unwrap(), [2; 10].as_slice());
    // An object that is put again as it was is the same.
    let reader = storage.reader(&uri).await.unwrap();
    reader.read(0..10).await.unwrap();
    put(2).await;
    reader.read(10..20).await.unwrap();
    storage.delete(&uri).await.unwrap();
    let error = reader.read(20..30).await.unwrap_err();
    assert!(error.message().contains("the object does not exist"), "{error}");
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn a_writer_that_is_given_up_leaves_nothing() {
    let (storage, folder) = (storage(aws::loader()).await, folder("dropped"));
    let uri = format!("{folder}/object");
    let mut writer = storage.writer(&uri).await.unwrap();
    writer.write(content(2 * PART_BYTES).into()).await.unwrap();
    writer.write(content(2 * PART_BYTES).into()).await.unwrap();
    assert_eq!(incomplete_uploads(&storage, &folder).await.len(), 1);
    drop(writer);
    for _ in 0..100 {
        if incomplete_uploads(&storage, &folder).await.is_empty() {
            assert!(!storage.exists(&uri).await.unwrap());
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the upload was not aborted");
}

/// The process of the next test.
#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn a_process_that_is_killed() {
    let Ok(uri) = std::env::var(KILLED_URI) else { return };
    let mut writer = storage(aws::loader()).await.writer(&uri).await.unwrap();
    writer.write(content(5 * PART_BYTES).into()).await.unwrap();
    println!("{KILLED_URI} written");
    tokio::time::sleep(Duration::from_secs(60)).await;
    writer.close().await.unwrap();
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn a_killed_process_leaves_no_object() {
    let (storage, folder) = (storage(aws::loader()).await, folder("killed"));
    let uri = format!("{folder}/object");
    storage.write(&uri, Bytes::from_static(b"before")).await.unwrap();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["storage::s3::live::a_process_that_is_killed", "--exact", "--ignored", "--nocapture"])
        .env(KILLED_URI, &uri)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("written")), "the process ended before it was killed");
    process.kill().unwrap();
    process.wait().unwrap();
    assert_eq!(storage.read(&uri).await.unwrap(), "before");
    // What is left is for the bucket's lifecycle rule.
    let left = incomplete_uploads(&storage, &folder).await;
    assert_eq!(left.len(), 1);
    let s3 = storage.connect().await.unwrap();
    let (key, id) = &left[0];
    s3.client.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(id).send().await.unwrap();
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn errors_of_a_server_say_what_helps() {
    let (admin, folder) = (storage(aws::loader()).await, folder("errors"));
    let uri = format!("{folder}/object");
    let missing = format!("{folder}/missing");
    assert!(!admin.exists(&missing).await.unwrap());
    let error = admin.metadata(&missing).await.err().unwrap();
    assert_eq!(error.message(), format!("{missing} does not exist"));
    let error = admin.read(&missing).await.unwrap_err();
    assert!(error.message().contains("the object does not exist"), "{error}");
    let elsewhere = "s3://no-such-bucket/object";
    for error in [
        admin.exists(elsewhere).await.unwrap_err(),
        admin.read(elsewhere).await.unwrap_err(),
        admin.write(elsewhere, Bytes::from_static(b"x")).await.unwrap_err(),
        admin.write(elsewhere, vec![0; PART_BYTES + 1].into()).await.unwrap_err(),
        admin.delete_prefix(elsewhere).await.unwrap_err(),
    ] {
        assert!(error.message().contains("the bucket no-such-bucket does not exist"), "{error}");
    }
    admin.write(&uri, Bytes::from_static(b"x")).await.unwrap();
    for (name, secret) in [("admin", "wrong"), ("nobody", "wrong")] {
        let wrong = storage(as_user(name, secret)).await;
        for error in [
            wrong.exists(&uri).await.unwrap_err(),
            wrong.read(&uri).await.unwrap_err(),
            wrong.write(&uri, Bytes::new()).await.unwrap_err(),
        ] {
            assert!(
                error.message().contains("the credentials are wrong; correct AWS_ACCESS_KEY_ID"),
                "{error}"
            );
        }
    }
    let reader = storage(as_user("reader", "secret-of-reader")).await;
    assert_eq!(reader.read(&uri).await.unwrap(), "x");
    for error in [
        reader.write(&uri, Bytes::new()).await.unwrap_err(),
        reader.write(&uri, vec![0; PART_BYTES + 1].into()).await.unwrap_err(),
    ] {
        assert!(error.message().contains("access is denied; grant s3:PutObject"), "{error}");
    }
    let error = reader.delete(&uri).await.unwrap_err();
    assert!(error.message().contains("access is denied; grant s3:DeleteObject"), "{error}");
}

#[tokio::test]
#[ignore = "needs an S3 server: tests/interop/run.sh 8"]
async fn a_folder_is_deleted_and_its_neighbours_are_not() {
    let (storage, folder) = (storage(aws::loader()).await, folder("deleted"));
    let uris = ["t/1", "t/a/2", "t/3", "t2/4", "t"].map(|name| format!("{folder}/{name}"));
    // The server has folders: an object cannot have the name of one.
    for uri in &uris[..4] {
        storage.write(uri, Bytes::from_static(b"x")).await.unwrap();
    }
    storage.delete_prefix(&uris[4]).await.unwrap();
    let mut left = Vec::new();
    for uri in &uris[..4] {
        left.push(storage.exists(uri).await.unwrap());
    }
    assert_eq!(left, [false, false, false, true]);
    let many: Vec<String> = (0..1001).map(|at| format!("{folder}/m/{at}")).collect();
    stream::iter(&many)
        .map(|uri| storage.write(uri, Bytes::new()))
        .buffer_unordered(8)
        .for_each(async |written| written.unwrap())
        .await;
    storage.delete_stream(stream::iter(many.clone()).boxed()).await.unwrap();
    for uri in [&many[0], &many[999], &many[1000]] {
        assert!(!storage.exists(uri).await.unwrap());
    }
}

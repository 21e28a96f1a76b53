//! What was rejected of one object -> a file of JSON lines under the errors prefix.
//!
//! In: refusals with the bytes they are about. Out: `<errors>/quarantine/<table>/<bucket>/<key>.<version>.jsonl`, one
//! object a line: `errorCode`, `errorMessage` and `rawData` (base64) as Firehose writes its own failed records (Amazon Data
//! Firehose Developer Guide, "Handle failure in data transformation"), and `object`, `offset` (bytes into the
//! decompressed object) and `row` (from 1). A rejection of the object's remainder names a copy of the object
//! instead of `rawData`. The file's name and content depend on the object and on the versions of it that the table has: a
//! retry overwrites it with the same.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use iceberg::Result;
use iceberg::io::{FileIO, FileWrite, InputFile};
use records::rejection::Refusal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::digest::Digest;
use crate::failpoint::failpoint;
use crate::job::SourceObject;
use crate::token::Token;

const BUFFER_BYTES: usize = 1024 * 1024;
const COPY_BYTES: u64 = 4 * 1024 * 1024;
/// File systems take 255 bytes a name, and S3 takes 1,024 a key; a prefix and a suffix must fit in too.
const MAX_NAME_BYTES: usize = 150;
const MAX_PATH_BYTES: usize = 700;

/// What of an object is rejected.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) refusal: Refusal,
    /// Where it begins in the decompressed object, in bytes.
    pub(crate) offset: u64,
    /// Which record of the object, from 1.
    pub(crate) row: u64,
    /// The record, or None where the rest of the object cannot be cut into records.
    pub(crate) bytes: Option<Vec<u8>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    error_code: &'a str,
    error_message: &'a str,
    remedy: &'a str,
    object: &'a str,
    offset: u64,
    row: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_object: Option<&'a str>,
}

/// What of a [`Line`] is read again.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawData<'a> {
    #[serde(borrow)]
    raw_data: Option<Cow<'a, str>>,
}

/// Writes the quarantine of one table.
pub(crate) struct Quarantine {
    file_io: FileIO,
    errors_uri: String,
    table: String,
    open: Option<OpenFile>,
}

struct OpenFile {
    object: SourceObject,
    file: Box<dyn FileWrite>,
    buffer: Vec<u8>,
    is_empty: bool,
    has_copy: bool,
    /// Records that other versions of the object brought: how many of each are still to be met.
    known: HashMap<u128, u64>,
}

impl Quarantine {
    pub(crate) fn new(file_io: FileIO, errors_uri: &str, table: &str) -> Self {
        let errors_uri = errors_uri.trim_end_matches('/').to_owned();
        Self { file_io, errors_uri, table: table.to_owned(), open: None }
    }

    /// Adds a rejection of `object`, whose bytes are `input`, unless one of its other `versions` brought the record here
    /// before. Says whether it was added. The rejections of an object come one after the other, then
    /// [`Quarantine::close`].
    ///
    /// # Errors
    /// The inner error is that of reading the object, which goes along as a copy where a line cannot hold what is
    /// rejected.
    pub(crate) async fn add(
        &mut self,
        object: &SourceObject,
        input: &InputFile,
        versions: &[Token],
        rejection: &Rejection,
    ) -> Result<Result<bool>> {
        let copy = self.uri("objects", object, object.token, "");
        let path = self.uri("quarantine", object, object.token, ".jsonl");
        let others = versions
            .iter()
            .flat_map(|other| ["quarantine", "redriven"].map(|kind| self.uri(kind, object, *other, ".jsonl")))
            .collect();
        let open = match &mut self.open {
            Some(open) => open,
            empty => empty.insert(OpenFile {
                object: object.clone(),
                file: self.file_io.new_output(path)?.writer().await?,
                buffer: Vec::new(),
                is_empty: true,
                has_copy: false,
                known: records_of(&self.file_io, others).await?,
            }),
        };
        let raw_data = rejection.bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        if let Some(known) = raw_data.as_ref().and_then(|data| open.known.get_mut(&Digest::of(data).number()))
            && *known > 0
        {
            *known -= 1;
            return Ok(Ok(false));
        }
        open.is_empty = false;
        if rejection.bytes.is_none() && !open.has_copy {
            if let Err(error) = copy_object(input, &self.file_io, &copy).await? {
                return Ok(Err(error));
            }
            open.has_copy = true;
        }
        let line = Line {
            error_code: rejection.refusal.reason.code(),
            error_message: &rejection.refusal.message,
            remedy: rejection.refusal.reason.remedy(),
            object: &object.uri,
            offset: rejection.offset,
            row: rejection.row,
            raw_data,
            raw_object: rejection.bytes.is_none().then_some(copy.as_str()),
        };
        serde_json::to_writer(&mut open.buffer, &line).map_err(|error| {
            iceberg::Error::new(iceberg::ErrorKind::Unexpected, "cannot write a quarantine line")
                .with_source(error)
        })?;
        open.buffer.push(b'\n');
        if open.buffer.len() >= BUFFER_BYTES {
            open.file.write(Bytes::from(std::mem::take(&mut open.buffer))).await?;
        }
        Ok(Ok(true))
    }

    /// Ends the file of the current object, if anything of it was rejected.
    pub(crate) async fn close(&mut self) -> Result<()> {
        if let Some(mut open) = self.open.take().filter(|open| !open.is_empty) {
            tracing::debug!(object = open.object.uri, "quarantine written");
            if !open.buffer.is_empty() {
                open.file.write(Bytes::from(open.buffer)).await?;
            }
            open.file.close().await?;
            failpoint("after quarantine")?;
        }
        Ok(())
    }

    fn uri(&self, folder: &str, object: &SourceObject, version: Token, suffix: &str) -> String {
        let version = version.version_text();
        let (bucket, key) = (safe_path(&object.bucket), safe_path(&object.key));
        format!("{}/{folder}/{}/{bucket}/{key}.{version}{suffix}", self.errors_uri, self.table)
    }
}

/// How often each record is in the files at `uris`, of versions of one object, by digest of its base64.
async fn records_of(file_io: &FileIO, uris: Vec<String>) -> Result<HashMap<u128, u64>> {
    let mut records: HashMap<u128, u64> = HashMap::new();
    for uri in uris {
        let file = file_io.new_input(uri)?;
        if !file.exists().await? {
            continue;
        }
        let (size_bytes, reader) = (file.metadata().await?.size, file.reader().await?);
        let (mut start, mut text) = (0, Vec::new());
        while start < size_bytes {
            let end = size_bytes.min(start + COPY_BYTES);
            text.extend_from_slice(&reader.read(start..end).await?);
            start = end;
            let whole_lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in text[..whole_lines].split(|byte| *byte == b'\n') {
                if let Ok(RawData { raw_data: Some(data) }) = serde_json::from_slice(line) {
                    *records.entry(Digest::of(&*data).number()).or_default() += 1;
                }
            }
            text.drain(..whole_lines);
        }
    }
    Ok(records)
}

/// Whether `uri` is a file that the quarantine wrote, or keeps when its rows were put back: to read it as raw input would
/// never end.
pub(crate) fn is_quarantined(uri: &str, errors_uri: &str) -> bool {
    uri.strip_prefix(errors_uri.trim_end_matches('/')).is_some_and(|rest| {
        ["/quarantine/", "/objects/", "/redriven/"].iter().any(|own| rest.starts_with(own))
    })
}

/// `key` with the segments escaped that a file system would not take as names. Digests stand for what is too long.
fn safe_path(key: &str) -> String {
    let segments: Vec<String> = key
        .split('/')
        .map(|segment| match segment {
            "" => "%".to_owned(),
            "." => "%2E".to_owned(),
            ".." => "%2E%2E".to_owned(),
            name => match name.replace('%', "%25").replace('#', "%23").replace('?', "%3F") {
                escaped if escaped.len() > MAX_NAME_BYTES => digest(name),
                escaped => escaped,
            },
        })
        .collect();
    match segments.join("/") {
        path if path.len() > MAX_PATH_BYTES => digest(key),
        path => path,
    }
}

fn digest(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

/// The inner error is that of reading.
async fn copy_object(from: &InputFile, file_io: &FileIO, to: &str) -> Result<Result<()>> {
    let opened = async { Ok((from.metadata().await?.size, from.reader().await?)) };
    let (size_bytes, reader) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    let mut writer = file_io.new_output(to)?.writer().await?;
    let mut start = 0;
    while start < size_bytes {
        let end = size_bytes.min(start + COPY_BYTES);
        match reader.read(start..end).await {
            Ok(bytes) => writer.write(bytes).await?,
            Err(error) => return Ok(Err(error)),
        }
        start = end;
    }
    writer.close().await.map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_quarantine() {
        assert_eq!(safe_path("../a/./b//c%2F#?.gz"), "%2E%2E/a/%2E/b/%/c%252F%23%3F.gz");
        assert!(safe_path(&format!("a/{}", "x".repeat(1000))).len() < 50);
        assert!(safe_path(&"a/".repeat(500)).len() < 50);
        assert!(safe_path(&"%".repeat(120)).len() < 50, "what counts is the length when escaped");
    }

    #[test]
    fn our_own_output_is_known() {
        assert!(is_quarantined("s3://b/errors/quarantine/t/x.jsonl", "s3://b/errors/"));
        assert!(is_quarantined("s3://b/errors/objects/t/x", "s3://b/errors"));
        assert!(is_quarantined("s3://b/errors/redriven/t/raw/processing-failed/x.jsonl", "s3://b/errors"));
        assert!(!is_quarantined("s3://b/errors/processing-failed/x", "s3://b/errors"));
        assert!(!is_quarantined("s3://b/raw/quarantine/x", "s3://b/errors"));
    }
}

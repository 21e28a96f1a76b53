//! Ranges of one version of an object.
//!
//! In: ranges of bytes. Out: exactly those bytes. The ETag of the first answer goes with every further request, so that
//! bytes of two versions are never mixed: once another version is put, reading fails. A body that breaks off or stands
//! still is asked for again; the client's own retries end when the answer begins.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use iceberg::io::FileRead;
use iceberg::{Error, ErrorKind, Result};

use super::connection::{Connection, transfer_time};
use super::error::{Action, changed, failed};
use super::location::Location;
use crate::causes::causes;

/// How often a body is asked for.
const BODY_ATTEMPTS: u32 = 3;

/// Which version of an object is read: the ETag of the first answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Version(Arc<OnceLock<String>>);

impl Version {
    /// Takes note of an answer about the object `at`.
    pub(super) fn check(&self, at: &Location, etag: Option<&str>) -> Result<()> {
        match etag {
            Some(etag) if self.0.get_or_init(|| etag.to_owned()) != etag => Err(changed(at)),
            _ => Ok(()),
        }
    }
}

/// An object that is read in ranges.
pub(super) struct ObjectRead {
    pub(super) s3: Arc<Connection>,
    pub(super) at: Location,
    pub(super) version: Version,
}

#[async_trait]
impl FileRead for ObjectRead {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        get(&self.s3, &self.at, &self.version, Some(range)).await
    }
}

/// The bytes `range` of the object `at`, or all of it.
pub(super) async fn get(
    s3: &Connection,
    at: &Location,
    version: &Version,
    range: Option<Range<u64>>,
) -> Result<Bytes> {
    let mut attempt = 1;
    loop {
        let request = s3
            .client
            .get_object()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_version_id(at.version_id.clone())
            .set_if_match(version.0.get().cloned())
            .set_range(range.as_ref().map(|range| format!("bytes={}-{}", range.start, range.end - 1)));
        let answer = request.send().await.map_err(|error| failed(s3, Action::Read, at, &error))?;
        version.check(at, answer.e_tag())?;
        let told = answer.content_length().and_then(|length| u64::try_from(length).ok());
        let expected = range.as_ref().map(|range| range.end - range.start).or(told);
        // A server may pass a range over and send the object (RFC 9110, 14.2): some do for a version of an object.
        let whole = range.as_ref().filter(|_| answer.content_range().is_none());
        let time = transfer_time(whole.and(told).or(expected).unwrap_or(0));
        let body = match whole {
            Some(range) => cut(answer.body, range.clone()).left_future(),
            None => collect(answer.body, expected).right_future(),
        };
        let why = match tokio::time::timeout(time, body).await {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(why)) => why,
            Err(_) => format!("it took longer than {} s", time.as_secs()),
        };
        if attempt == BODY_ATTEMPTS {
            let what =
                format!("cannot read {}: {BODY_ATTEMPTS} attempts failed, the last one since {why}", at.uri);
            return Err(Error::new(ErrorKind::Unexpected, what));
        }
        tracing::warn!(object = at.uri, attempt, why, "the answer broke off; asking again");
        attempt += 1;
    }
}

/// The bytes `range` of a body that is the whole object. Not more of it is read than that needs.
async fn cut(mut body: ByteStream, range: Range<u64>) -> std::result::Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity((range.end - range.start) as usize);
    let mut at = 0;
    while at < range.end
        && let Some(chunk) = body.try_next().await.map_err(|error| causes(&error))?
    {
        let end = at + chunk.len() as u64;
        if end > range.start {
            let from = range.start.saturating_sub(at) as usize;
            bytes.extend_from_slice(&chunk[from..(range.end.min(end) - at) as usize]);
        }
        at = end;
    }
    complete(bytes, range.end - range.start)
}

/// The whole body, which must have `expected` bytes.
async fn collect(mut body: ByteStream, expected: Option<u64>) -> std::result::Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity(expected.unwrap_or(0) as usize);
    while let Some(chunk) = body.try_next().await.map_err(|error| causes(&error))? {
        if expected.is_some_and(|expected| (bytes.len() + chunk.len()) as u64 > expected) {
            break;
        }
        bytes.extend_from_slice(&chunk);
    }
    match expected {
        Some(expected) => complete(bytes, expected),
        None => Ok(bytes.freeze()),
    }
}

fn complete(bytes: BytesMut, expected: u64) -> std::result::Result<Bytes, String> {
    if bytes.len() as u64 != expected {
        return Err(format!("the answer does not have the {expected} bytes that were asked for"));
    }
    Ok(bytes.freeze())
}

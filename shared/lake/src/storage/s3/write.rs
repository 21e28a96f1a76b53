//! Bytes -> an object that is there whole or not at all.
//!
//! In: bytes, piece by piece. Out: one PutObject when the file is closed, or, for more than [`PART_BYTES`], a multipart
//! upload whose parts are sent while more bytes come. Memory: of each file what is not a whole part yet, and of all files
//! the parts on their way. What goes wrong, or is dropped before it is closed, is aborted; what a killed process leaves is
//! for the bucket's lifecycle rule for incomplete uploads.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use iceberg::io::FileWrite;
use iceberg::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument as _;

use super::connection::{Connection, PARTS_IN_FLIGHT, with_time_for};
use super::error::{Action, failed};
use super::location::Location;
use crate::task;

/// Bytes of a part, and most bytes of an object that is put at once.
pub(crate) const PART_BYTES: usize = 8 * 1024 * 1024;
/// Parts of that size. S3 takes 10,000 parts: those that follow are larger, which is enough for 570 GiB.
const SMALL_PARTS: usize = 1000;
const LARGE_PART_BYTES: usize = 8 * PART_BYTES;

/// Puts `bytes` at once.
pub(super) async fn put(s3: &Connection, at: &Location, bytes: Bytes) -> Result<()> {
    let encryption = s3.encryption.clone();
    let size_bytes = bytes.len();
    let request = s3
        .client
        .put_object()
        .bucket(&at.bucket)
        .key(&at.key)
        .body(body(bytes))
        .set_server_side_encryption(encryption.algorithm)
        .set_ssekms_key_id(encryption.kms_key_id)
        .set_bucket_key_enabled(encryption.bucket_key)
        .customize()
        .config_override(with_time_for(size_bytes));
    request.send().await.map(|_| ()).map_err(|error| failed(s3, Action::Write, at, &error))
}

/// A body that can be sent again.
fn body(bytes: Bytes) -> ByteStream {
    ByteStream::new(SdkBody::from(bytes))
}

/// An object that is being written.
pub(super) struct ObjectWrite {
    s3: Arc<Connection>,
    at: Location,
    state: State,
}

enum State {
    /// What came so far fits into one request.
    Small(Vec<u8>),
    Multipart(Upload),
    /// Closed, or failed.
    Closed,
}

/// What came of sending a part.
type Sent = std::result::Result<Result<CompletedPart>, JoinError>;

/// A multipart upload.
struct Upload {
    id: String,
    /// The part that is not full yet.
    buffer: Vec<u8>,
    sending: JoinSet<Result<CompletedPart>>,
    sent: Vec<CompletedPart>,
    /// Parts begun.
    parts: usize,
}

impl ObjectWrite {
    pub(super) fn new(s3: Arc<Connection>, at: Location) -> Self {
        Self { s3, at, state: State::Small(Vec::new()) }
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let State::Small(buffer) = &mut self.state {
            if buffer.len() + bytes.len() <= PART_BYTES {
                buffer.extend_from_slice(bytes);
                return Ok(());
            }
            let buffer = std::mem::take(buffer);
            // Until the upload is there: whoever stops waiting for it must not close an object of what is left.
            self.state = State::Closed;
            self.state = State::Multipart(Upload::begin(&self.s3, &self.at, buffer).await?);
        }
        match &mut self.state {
            State::Multipart(upload) => upload.append(&self.s3, &self.at, bytes).await,
            State::Small(_) | State::Closed => Err(closed(&self.at)),
        }
    }

    /// Gives up what has come of the file. It goes on if nobody waits for it any longer.
    async fn fail(&mut self) {
        if let Some(abort) = self.abandon() {
            let _ = task::spawn(abort).await;
        }
    }

    /// Gives up what has come of the file, if it was not closed.
    fn abandon(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Multipart(upload) => Some(upload.abort(self.s3.clone(), self.at.clone())),
            State::Small(_) | State::Closed => None,
        }
    }
}

#[async_trait]
impl FileWrite for ObjectWrite {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let appended = self.append(&bytes).await;
        if appended.is_err() {
            self.fail().await;
        }
        appended
    }

    async fn close(&mut self) -> Result<()> {
        let finished = match &mut self.state {
            State::Small(buffer) => {
                let bytes = Bytes::from(std::mem::take(buffer));
                self.state = State::Closed;
                return put(&self.s3, &self.at, bytes).await;
            }
            State::Multipart(upload) => upload.complete(&self.s3, &self.at).await,
            State::Closed => Err(closed(&self.at)),
        };
        match finished {
            Ok(()) => self.state = State::Closed,
            Err(_) => self.fail().await,
        }
        finished
    }
}

impl Drop for ObjectWrite {
    fn drop(&mut self) {
        if let Some(abort) = self.abandon() {
            match Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(abort.in_current_span())),
                Err(_) => tracing::warn!(
                    object = self.at.uri,
                    "an upload is left incomplete; the bucket's lifecycle rule must abort it"
                ),
            }
        }
    }
}

impl Upload {
    /// Begins an upload whose first bytes are `buffer`.
    async fn begin(s3: &Connection, at: &Location, buffer: Vec<u8>) -> Result<Self> {
        let encryption = s3.encryption.clone();
        let request = s3
            .client
            .create_multipart_upload()
            .bucket(&at.bucket)
            .key(&at.key)
            .set_checksum_algorithm(s3.part_checksum.clone())
            .set_server_side_encryption(encryption.algorithm)
            .set_ssekms_key_id(encryption.kms_key_id)
            .set_bucket_key_enabled(encryption.bucket_key);
        let answer = request.send().await.map_err(|error| failed(s3, Action::Write, at, &error))?;
        let id = answer.upload_id.ok_or_else(|| broken(at, "S3 gave the upload no id"))?;
        Ok(Self { id, buffer, sending: JoinSet::new(), sent: Vec::new(), parts: 0 })
    }

    async fn append(&mut self, s3: &Arc<Connection>, at: &Location, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.part_bytes().saturating_sub(self.buffer.len());
            if room == 0 {
                self.send(s3, at).await?;
                continue;
            }
            let (fitting, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(fitting);
            bytes = rest;
        }
        Ok(())
    }

    /// Bytes of the part that is being filled.
    fn part_bytes(&self) -> usize {
        if self.parts < SMALL_PARTS { PART_BYTES } else { LARGE_PART_BYTES }
    }

    /// Sends the buffer as a part, once there is room for it.
    async fn send(&mut self, s3: &Arc<Connection>, at: &Location) -> Result<()> {
        // A part that failed is found out before more are sent.
        while let Some(sent) = self.sending.try_join_next() {
            self.keep(at, sent)?;
        }
        let permits = self.buffer.len().div_ceil(PART_BYTES).clamp(1, PARTS_IN_FLIGHT) as u32;
        let permits = s3.parts.clone().acquire_many_owned(permits).await;
        let permits = permits.map_err(|_| broken(at, "the storage is closed"))?;
        self.parts += 1;
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let part = send_part(s3.clone(), at.clone(), self.id.clone(), self.parts as i32, bytes);
        let sending = async move {
            let sent = part.await;
            drop(permits);
            sent
        };
        self.sending.spawn(sending.in_current_span());
        Ok(())
    }

    fn keep(&mut self, at: &Location, sent: Sent) -> Result<()> {
        let sent = sent.map_err(|error| broken(at, "sending a part ended early").with_source(error))?;
        self.sent.push(sent?);
        Ok(())
    }

    async fn complete(&mut self, s3: &Arc<Connection>, at: &Location) -> Result<()> {
        self.send(s3, at).await?;
        while let Some(sent) = self.sending.join_next().await {
            self.keep(at, sent)?;
        }
        self.sent.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(std::mem::take(&mut self.sent)));
        let request = s3
            .client
            .complete_multipart_upload()
            .bucket(&at.bucket)
            .key(&at.key)
            .upload_id(&self.id)
            .multipart_upload(parts.build())
            .customize()
            // S3 takes its time to put the parts of a large object together.
            .config_override(with_time_for(LARGE_PART_BYTES));
        request.send().await.map(|_| ()).map_err(|error| failed(s3, Action::Write, at, &error))
    }

    async fn abort(mut self, s3: Arc<Connection>, at: Location) {
        // A part that arrives after the abort would stay.
        self.sending.shutdown().await;
        let request = s3.client.abort_multipart_upload().bucket(&at.bucket).key(&at.key).upload_id(&self.id);
        if let Err(error) = request.send().await
            && !error.as_service_error().is_some_and(|error| error.is_no_such_upload())
        {
            let error = failed(&s3, Action::Write, &at, &error);
            tracing::warn!(%error, "an upload is left incomplete; the bucket's lifecycle rule must abort it");
        }
    }
}

async fn send_part(
    s3: Arc<Connection>,
    at: Location,
    upload_id: String,
    number: i32,
    bytes: Bytes,
) -> Result<CompletedPart> {
    let size_bytes = bytes.len();
    let request = s3
        .client
        .upload_part()
        .bucket(&at.bucket)
        .key(&at.key)
        .upload_id(upload_id)
        .part_number(number)
        .body(body(bytes))
        .customize()
        .config_override(with_time_for(size_bytes));
    let answer = request.send().await.map_err(|error| failed(&s3, Action::Write, &at, &error))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(answer.e_tag)
        .set_checksum_crc32(answer.checksum_crc32)
        .build())
}

fn closed(at: &Location) -> Error {
    broken(at, "it is closed")
}

fn broken(at: &Location, why: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot write {}: {why}", at.uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_parts_are_larger() {
        let part_bytes = |parts| {
            let (buffer, sending, sent) = (Vec::new(), JoinSet::new(), Vec::new());
            Upload { id: String::new(), buffer, sending, sent, parts }.part_bytes()
        };
        assert_eq!((part_bytes(0), part_bytes(999)), (PART_BYTES, PART_BYTES));
        assert_eq!(part_bytes(1000), LARGE_PART_BYTES);
        // S3 takes parts of 5 MiB at least, and 10,000 of them.
        const { assert!(PART_BYTES >= 5 << 20 && 1000 * PART_BYTES + 9000 * LARGE_PART_BYTES > 500 << 30) };
    }
}

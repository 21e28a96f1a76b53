//! What was rejected of one object -> a file of JSON lines under the errors prefix.
//!
//! In: refusals with the bytes they are about. Out: a file for each object of which anything was rejected, named as
//! `name` says, with one `Line` for each rejection. A rejection of the object's remainder names a copy of the object
//! instead of the record. A file of more than `PLAIN_BYTES` is compressed: millions of tiny records would take many times
//! their own size. The file has the id of the commit in its name that accounts for it: what an attempt wrote that
//! never committed is told by that (`ledger`).

mod ledger;
mod line;
mod name;
mod topic;

use std::collections::HashMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};
use iceberg::io::{FileIO, FileWrite, InputFile};
use iceberg::{Error, ErrorKind, Result};
use records::rejection::Refusal;
use records::unpack::Identity;
use uuid::Uuid;

pub use self::ledger::{Ledger, Standing};
pub use self::line::{Kept, Line, lines_in};
pub use self::name::FileName;
use self::name::Places;
pub(crate) use self::name::is_quarantined;
pub use self::topic::{BUCKET as TOPICS, Header, record_of};
use crate::digest::Digest;
use crate::failpoint::failpoint;
use crate::job::SourceObject;
use crate::objects::Origin;
use crate::token::Version;

/// Up to so many bytes a file is plain text, for people.
const PLAIN_BYTES: usize = 1024 * 1024;
/// Compressed bytes that are written at once.
const BUFFER_BYTES: usize = 1024 * 1024;
const COPY_BYTES: u64 = 4 * 1024 * 1024;
/// Compressed bytes that are unpacked at once: they become up to a thousand times as many.
const UNPACKED_BYTES: usize = 4 * 1024;

/// What of an object is rejected.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) origin: Origin,
    pub(crate) refusal: Refusal,
    /// The record, or None where the rest of the object cannot be cut into records.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Whether a copy of the object is kept too: what separates pieces of something else than JSON is part of it.
    pub(crate) keep_object: bool,
    /// What the record has, where its bytes do not say so.
    pub(crate) identity: Option<Identity>,
}

/// What became of a rejection.
pub(crate) enum Added {
    New,
    /// Another version of the object brought the record here before.
    Known,
    /// The object alone has failed: it cannot be read, and goes along as a copy where a line cannot hold what is rejected;
    /// or its other versions have too many rejections to compare.
    Failed(Error),
}

/// Writes the quarantine of one table, for one commit.
pub(crate) struct Quarantine {
    file_io: FileIO,
    places: Places,
    /// The commit that is to account for it; None if there is no table yet.
    commit: Option<Uuid>,
    /// Most records of other versions of an object that are compared.
    max_known: usize,
    open: Option<OpenFile>,
    /// Files that are closed.
    written: Vec<String>,
}

struct OpenFile {
    object: SourceObject,
    /// Lines, as long as they are few.
    plain: Vec<u8>,
    packed: Option<Packed>,
    has_copy: bool,
    /// Records that other versions of the object brought: how many of each are still to be met.
    known: HashMap<u128, u64>,
}

struct Packed {
    path: String,
    file: Box<dyn FileWrite>,
    encoder: GzEncoder<Vec<u8>>,
}

impl Quarantine {
    pub(crate) fn new(
        file_io: FileIO,
        errors_uri: &str,
        table: String,
        commit: Option<Uuid>,
        max_known: usize,
    ) -> Self {
        let errors_uri = errors_uri.trim_end_matches('/').to_owned();
        let places = Places { errors_uri, table };
        Self { file_io, places, commit, max_known, open: None, written: Vec::new() }
    }

    /// Adds a rejection, unless one of the other `versions` of its object brought the record here before. The rejections of
    /// an object come one after the other, then [`Quarantine::close`].
    ///
    /// # Errors
    /// The storage's, where the quarantine is.
    pub(crate) async fn add(&mut self, versions: &[Version], rejection: &Rejection) -> Result<Added> {
        let open = match &mut self.open {
            Some(open) => open,
            empty => {
                let object = &match &rejection.origin {
                    Origin::Object { object: found, .. } => found.object.clone(),
                    Origin::Kafka { record, .. } => topic::place(record),
                };
                let others = versions.iter().flat_map(|other| {
                    let place = |folder, compressed| {
                        self.places.lines(folder, object, other.token, other.commit, compressed)
                    };
                    ["quarantine", "redriven"].map(|folder| [false, true].map(|packed| place(folder, packed)))
                });
                let others = others.flatten().collect();
                let Some(known) = records_of(&self.file_io, others, self.max_known).await? else {
                    let what = "other versions of the object have more rejected records than can be compared; give \
                                the function more memory";
                    return Ok(Added::Failed(Error::new(ErrorKind::DataInvalid, what)));
                };
                let (object, plain) = (object.to_owned(), Vec::new());
                empty.insert(OpenFile { object, plain, packed: None, has_copy: false, known })
            }
        };
        let raw_data = rejection.bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
        if let Some(known) = raw_data.as_ref().and_then(|data| open.known.get_mut(&Digest::of(data).number()))
            && *known > 0
        {
            *known -= 1;
            return Ok(Added::Known);
        }
        let object = &open.object;
        let (line, offset, row, copy) = match &rejection.origin {
            Origin::Object { object: found, offset, row } => {
                let keep = rejection.bytes.is_none() || rejection.keep_object;
                let copy = keep.then(|| self.places.copy(object));
                if let Some(copy) = copy.as_ref().filter(|_| !open.has_copy) {
                    if let Copied::Unreadable(error) = copy_object(&found.input, &self.file_io, copy).await? {
                        return Ok(Added::Failed(error));
                    }
                    open.has_copy = true;
                }
                (Line::default(), *offset, *row, copy)
            }
            Origin::Kafka { record, index, .. } => {
                (topic::line(record), record.offset.unsigned_abs(), *index as u64 + 1, None)
            }
        };
        let line = Line {
            error_code: rejection.refusal.reason.code().into(),
            error_message: rejection.refusal.message.as_str().into(),
            remedy: rejection.refusal.reason.remedy().into(),
            object: object.uri.as_str().into(),
            offset,
            row,
            record_id: rejection.identity.map(|identity| identity.id.to_string().into()),
            ingestion_timestamp: rejection.identity.map(|it| it.stamp.as_str().to_owned().into()),
            raw_data: raw_data.map(Into::into),
            raw_object: copy.map(Into::into),
            ..line
        };
        match &mut open.packed {
            None => {
                write_line(&mut open.plain, &line)?;
                if open.plain.len() > PLAIN_BYTES {
                    let path = self.places.lines("quarantine", object, object.token, self.commit, true);
                    let file = self.file_io.new_output(&path)?.writer().await?;
                    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                    encoder.write_all(&std::mem::take(&mut open.plain)).map_err(cannot_write)?;
                    open.packed = Some(Packed { path, file, encoder });
                }
            }
            Some(packed) => write_line(&mut packed.encoder, &line)?,
        }
        if let Some(packed) =
            open.packed.as_mut().filter(|packed| packed.encoder.get_ref().len() >= BUFFER_BYTES)
        {
            packed.file.write(Bytes::from(std::mem::take(packed.encoder.get_mut()))).await?;
        }
        Ok(Added::New)
    }

    /// Ends the file of the current object, if anything of it was rejected.
    pub(crate) async fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let path = match open.packed {
            Some(mut packed) => {
                let rest = packed.encoder.finish().map_err(cannot_write)?;
                packed.file.write(Bytes::from(rest)).await?;
                packed.file.close().await?;
                packed.path
            }
            None if open.plain.is_empty() => return Ok(()),
            None => {
                let object = &open.object;
                let path = self.places.lines("quarantine", object, object.token, self.commit, false);
                self.file_io.new_output(&path)?.write(Bytes::from(open.plain)).await?;
                path
            }
        };
        tracing::debug!(object = open.object.uri, file = path, "quarantine written");
        self.written.push(path);
        failpoint("after quarantine")
    }

    /// Removes the files, which no commit will account for. What remains is stale, and harmless.
    pub(crate) async fn abandon(self) {
        for path in self.written {
            if let Err(error) = self.file_io.delete(&path).await {
                tracing::debug!(file = path, %error, "a stale quarantine file stays");
            }
        }
    }
}

fn write_line(into: &mut impl std::io::Write, line: &Line<'_>) -> Result<()> {
    serde_json::to_writer(&mut *into, line).map_err(std::io::Error::from).map_err(cannot_write)?;
    into.write_all(b"\n").map_err(cannot_write)
}

fn cannot_write(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "cannot write a quarantine line").with_source(error)
}

/// How often each record is in the files at `uris`, of versions of one object, by digest of its base64. None if they are
/// more than `max`.
async fn records_of(file_io: &FileIO, uris: Vec<String>, max: usize) -> Result<Option<HashMap<u128, u64>>> {
    let mut records: HashMap<u128, u64> = HashMap::new();
    for uri in uris {
        let is_packed = name::is_compressed(&uri);
        let file = file_io.new_input(uri)?;
        if !file.exists().await? {
            continue;
        }
        let (size_bytes, reader) = (file.metadata().await?.size, file.reader().await?);
        let (mut start, mut text) = (0, Vec::new());
        let mut decoder = MultiGzDecoder::new(Vec::new());
        while start < size_bytes {
            let end = size_bytes.min(start + COPY_BYTES);
            let bytes = reader.read(start..end).await?;
            start = end;
            for part in bytes.chunks(if is_packed { UNPACKED_BYTES } else { bytes.len() }) {
                if is_packed {
                    decoder.write_all(part).and_then(|()| decoder.flush()).map_err(|error| {
                        Error::new(ErrorKind::DataInvalid, "a quarantine file is damaged").with_source(error)
                    })?;
                    text.append(decoder.get_mut());
                } else {
                    text.extend_from_slice(part);
                }
                let whole_lines = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                for line in text[..whole_lines].split(|byte| *byte == b'\n') {
                    if let Ok(Line { raw_data: Some(data), .. }) = Line::parse(line) {
                        *records.entry(Digest::of(&*data).number()).or_default() += 1;
                    }
                }
                text.drain(..whole_lines);
                if records.len() > max {
                    return Ok(None);
                }
            }
        }
    }
    Ok(Some(records))
}

/// What became of the copy of an object.
enum Copied {
    Whole,
    /// The object cannot be read.
    Unreadable(Error),
}

async fn copy_object(from: &InputFile, file_io: &FileIO, to: &str) -> Result<Copied> {
    let opened = async { Ok((from.metadata().await?.size, from.reader().await?)) };
    let (size_bytes, reader) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return Ok(Copied::Unreadable(error)),
    };
    let mut writer = file_io.new_output(to)?.writer().await?;
    let mut start = 0;
    while start < size_bytes {
        let end = size_bytes.min(start + COPY_BYTES);
        match reader.read(start..end).await {
            Ok(bytes) => writer.write(bytes).await?,
            Err(error) => return Ok(Copied::Unreadable(error)),
        }
        start = end;
    }
    writer.close().await?;
    Ok(Copied::Whole)
}

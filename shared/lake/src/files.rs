//! Files at any URI, for upkeep: whether one is there, how long it is, and its bytes for code that reads files.
//!
//! In: a storage and URIs. Out: sizes, listings, open files and new ones. What is not on this machine is copied into a file
//! without a name, so that memory does not follow its size.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek as _, SeekFrom, Write as _};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::io::{FileIO, FileIOBuilder, InputFile};
use iceberg::{Error, ErrorKind, Result};

use crate::digest::Digest;
use crate::error::Kind;
use crate::layout::local_path;
use crate::storage::{ListedFile, Lister, ObjectVersion, S3Config, WholeFile, storage_factory};

/// Bytes that are copied at once.
const COPIED_AT_ONCE: u64 = 8 << 20;

/// Files.
#[derive(Clone, Debug)]
pub struct Files {
    pub(crate) file_io: FileIO,
    lister: Lister,
}

impl Files {
    /// Those on this machine, and those of S3 as `s3` says.
    pub fn new(s3: &S3Config) -> Self {
        Self { file_io: FileIOBuilder::new(storage_factory(s3)).build(), lister: Lister::new(s3) }
    }

    /// How long the file is, in bytes. None if there is none.
    ///
    /// # Errors
    /// The storage's.
    pub async fn size(&self, uri: &str) -> Result<Option<u64>> {
        if let Some(path) = local_path(uri) {
            return match std::fs::metadata(path) {
                Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(failed("read", uri, error)),
            };
        }
        match self.file_io.new_input(uri)?.metadata().await {
            Ok(metadata) => Ok(Some(metadata.size)),
            Err(error) if Kind::of(&error) == Kind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The files below a folder.
    ///
    /// # Errors
    /// There is no storage for it. In the stream: the storage's.
    pub fn list(&self, folder: &str) -> Result<BoxStream<'static, Result<ListedFile>>> {
        self.lister.list(folder)
    }

    /// The files below a folder that were written before `until`, if it is given, in the order of their URIs.
    ///
    /// # Errors
    /// As [`Files::list`].
    pub async fn sorted(&self, folder: &str, until: Option<SystemTime>) -> Result<Vec<ListedFile>> {
        let files = self.list(folder)?;
        let files = files
            .try_filter(|file| std::future::ready(until.is_none_or(|until| file.modified <= until)))
            .boxed();
        let mut files: Vec<ListedFile> = files.try_collect().await?;
        files.sort_by(|one, other| one.uri.cmp(&other.uri));
        Ok(files)
    }

    /// Opens a file to read.
    ///
    /// # Errors
    /// It cannot be read, or is not there.
    pub async fn open(&self, uri: &str) -> Result<File> {
        let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
        self.open_if_there(uri).await?.ok_or_else(|| failed("read", uri, gone()))
    }

    /// The same, but None if it is not there.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn open_if_there(&self, uri: &str) -> Result<Option<File>> {
        let failed = |error| failed("read", uri, error);
        if let Some(path) = local_path(uri) {
            return match File::open(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                opened => opened.map(Some).map_err(failed),
            };
        }
        let input = self.file_io.new_input(uri)?;
        match Self::copy_of(&input).await {
            Ok(copied) => copied.map(Some).map_err(failed),
            Err(error) if Kind::of(&error) == Kind::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A copy of a file; the inner error is that of the disk.
    async fn copy_of(input: &InputFile) -> Result<std::io::Result<File>> {
        let size_bytes = input.metadata().await?.size;
        let reader = input.reader().await?;
        let mut file = match tempfile::tempfile() {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let mut start = 0;
        while start < size_bytes {
            let end = size_bytes.min(start + COPIED_AT_ONCE);
            let bytes = reader.read(start..end).await?;
            if let Err(error) = file.write_all(&bytes) {
                return Ok(Err(error));
            }
            start = end;
        }
        Ok(file.seek(SeekFrom::Start(0)).map(|_| file))
    }

    /// Which version of an object there is now, as a notification of it says. Of a local file a digest of its content stands
    /// for its ETag, before it was compressed by gzip, as `frazil replay` has it. None if there is none.
    ///
    /// # Errors
    /// The storage's.
    pub async fn version(&self, uri: &str) -> Result<Option<ObjectVersion>> {
        if let Some(path) = local_path(uri) {
            if !path.is_file() {
                return Ok(None);
            }
            let digest = |mut content: Box<dyn Read>| {
                let mut digest = Digest::default();
                std::io::copy(&mut content, &mut digest).map(|_| digest)
            };
            let unpacked = match uri.ends_with(".gz") {
                true => digest(Box::new(MultiGzDecoder::new(BufReader::new(self.open(uri).await?)))).ok(),
                false => None,
            };
            let digest = match unpacked {
                Some(digest) => digest,
                None => {
                    digest(Box::new(self.open(uri).await?)).map_err(|error| failed("read", uri, error))?
                }
            };
            return Ok(Some(ObjectVersion { etag: digest.hex(), version_id: None }));
        }
        self.lister.version(uri).await
    }

    /// Begins the file at `uri`, which is there once it is finished.
    ///
    /// # Errors
    /// It cannot be begun.
    pub fn create(&self, uri: &str) -> Result<NewFile> {
        let begun = match local_path(uri) {
            Some(path) => WholeFile::create(&path).map(NewFile::Local),
            None => tempfile::tempfile().map(|file| NewFile::Remote(BufWriter::new(file))),
        };
        begun.map_err(|error| failed("write", uri, error))
    }

    /// Deletes a file. One that does not exist is as good as deleted.
    ///
    /// # Errors
    /// The storage's.
    pub async fn delete(&self, uri: &str) -> Result<()> {
        match local_path(uri).map(std::fs::remove_file) {
            None => self.file_io.delete(uri).await,
            Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(failed("remove", uri, error))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A file that is being written, whole or not at all. What is not on this machine goes to its storage when it is finished.
#[derive(Debug)]
pub enum NewFile {
    /// On this machine.
    Local(WholeFile),
    /// Elsewhere.
    Remote(BufWriter<File>),
}

impl NewFile {
    /// Puts the file at `uri`; a local one in the folder in which it was begun.
    ///
    /// # Errors
    /// The storage's.
    pub async fn finish_as(self, files: &Files, uri: &str) -> Result<()> {
        let failed = |error| failed("write", uri, error);
        let mut file = match (self, local_path(uri)) {
            (Self::Local(file), Some(path)) => return file.finish_as(&path).map_err(failed),
            (Self::Local(_), None) => return Err(failed(std::io::Error::other("it was begun elsewhere"))),
            (Self::Remote(file), _) => file.into_inner().map_err(|error| failed(error.into_error()))?,
        };
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut writer = files.file_io.new_output(uri)?.writer().await?;
        loop {
            let mut part = Vec::new();
            if (&mut file).take(COPIED_AT_ONCE).read_to_end(&mut part).map_err(failed)? == 0 {
                break;
            }
            writer.write(part.into()).await?;
        }
        writer.close().await
    }

    /// The same, as a file that was last written at `modified`. S3 dates objects itself.
    ///
    /// # Errors
    /// The storage's.
    pub async fn finish_dated(self, files: &Files, uri: &str, modified: SystemTime) -> Result<()> {
        match self {
            Self::Local(file) => file.finish_dated(modified).map_err(|error| failed("write", uri, error)),
            remote @ Self::Remote(_) => remote.finish_as(files, uri).await,
        }
    }
}

impl std::io::Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Local(file) => file.write(bytes),
            Self::Remote(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Local(file) => file.flush(),
            Self::Remote(file) => file.flush(),
        }
    }
}

fn failed(what: &str, uri: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} {uri}: {error}")).with_source(error)
}

//! Files at any URI, for upkeep: whether one is there, how long it is, and its bytes for code that reads files.
//!
//! In: a storage and URIs. Out: sizes, listings, and open files. What is not on this machine is copied into a file without a
//! name, so that memory does not follow its size.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::SystemTime;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::io::{FileIO, FileIOBuilder};
use iceberg::{Error, ErrorKind, Result};

use crate::error::Kind;
use crate::layout::local_path;
use crate::storage::{ListedFile, Lister, S3Config, storage_factory};

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
        if local_path(uri).is_some_and(|path| path.is_dir()) {
            return Ok(None);
        }
        match self.file_io.new_input(uri)?.metadata().await {
            Ok(metadata) => Ok(Some(metadata.size)),
            Err(error) if Kind::of(&error) == Kind::Missing => Ok(None),
            Err(error) => match self.file_io.exists(uri).await {
                Ok(false) => Ok(None),
                _ => Err(error),
            },
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
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unexpected, format!("cannot read {uri}: {error}")).with_source(error)
        };
        if let Some(path) = local_path(uri) {
            return File::open(path).map_err(failed);
        }
        let input = self.file_io.new_input(uri)?;
        let size_bytes = input.metadata().await?.size;
        let mut file = tempfile::tempfile().map_err(failed)?;
        if size_bytes > 0 {
            let reader = input.reader().await?;
            let mut start = 0;
            while start < size_bytes {
                let end = size_bytes.min(start + COPIED_AT_ONCE);
                file.write_all(&reader.read(start..end).await?).map_err(failed)?;
                start = end;
            }
        }
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(file)
    }
}

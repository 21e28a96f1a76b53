//! Files of the local file system that are there whole or not at all, as objects of S3 are.
//!
//! In: paths or `file:` URIs. Out: Iceberg's [`Storage`]. The crate's own local storage writes in place: a process
//! that is killed while it writes a file for the second time, as a redelivery does with the quarantine, would leave
//! half of what was whole before. Here a file is written under another name that ends in [`UNFINISHED`], synchronised and
//! renamed. All else is left to the crate's storage.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, LocalFsStorage, OutputFile, Storage};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// How the names of files end that are being written, or whose writer was killed.
pub const UNFINISHED: &str = ".part";

/// The local file system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LocalStorage {
    inner: LocalFsStorage,
}

#[async_trait]
#[typetag::serde(name = "frazil-local")]
impl Storage for LocalStorage {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        let mut file = WholeFile::create(path)?;
        file.write(bytes).await?;
        file.close().await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        Ok(Box::new(WholeFile::create(path)?))
    }

    async fn exists(&self, path: &str) -> Result<bool> {
        self.inner.exists(path).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        self.inner.metadata(path).await
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.inner.read(path).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        self.inner.reader(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path).await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        self.inner.delete_prefix(path).await
    }

    async fn delete_stream(&self, paths: BoxStream<'static, String>) -> Result<()> {
        self.inner.delete_stream(paths).await
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

/// A file that gets its name when it is closed. Dropped before that, it leaves nothing.
struct WholeFile {
    path: PathBuf,
    unfinished: PathBuf,
    /// None once it is closed.
    file: Option<File>,
}

impl WholeFile {
    fn create(uri: &str) -> Result<Self> {
        let path = local_path(uri);
        // Two deliveries may write the same file at the same time.
        let unfinished = PathBuf::from(format!("{}.{:016x}{UNFINISHED}", path.display(), fastrand::u64(..)));
        let folder = path.parent().unwrap_or(Path::new("/"));
        let file = fs::create_dir_all(folder).and_then(|()| File::create_new(&unfinished));
        let file = file.map_err(|error| failed("create", &path, error))?;
        Ok(Self { path, unfinished, file: Some(file) })
    }

    fn finish(&mut self, file: File) -> io::Result<()> {
        file.sync_all()?;
        fs::rename(&self.unfinished, &self.path)?;
        // The name is as durable as the content: whatever refers to the file comes after it.
        File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

#[async_trait]
impl FileWrite for WholeFile {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(file) = &mut self.file else {
            return Err(failed("write", &self.path, io::Error::other("it is closed")));
        };
        file.write_all(&bytes).map_err(|error| failed("write", &self.path, error))
    }

    async fn close(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else {
            return Err(failed("close", &self.path, io::Error::other("it is closed")));
        };
        self.finish(file).map_err(|error| {
            // The error that is reported is the first.
            let _ = fs::remove_file(&self.unfinished);
            failed("close", &self.path, error)
        })
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stays behind has no name that anyone reads.
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

/// The path that a `file:` URI names, or the path itself.
fn local_path(uri: &str) -> PathBuf {
    let path = uri.strip_prefix("file://").or_else(|| uri.strip_prefix("file:")).unwrap_or(uri);
    Path::new("/").join(path)
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot {what} the file {}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let uri = format!("file://{}", path.display());
        let storage = LocalStorage::default();
        let entries = || fs::read_dir(path.parent().unwrap()).unwrap().count();

        let mut first = storage.writer(&uri).await.unwrap();
        first.write(Bytes::from_static(b"first")).await.unwrap();
        assert!(!storage.exists(&uri).await.unwrap());
        first.close().await.unwrap();
        assert_eq!(storage.read(&uri).await.unwrap(), "first");

        let mut second = storage.writer(&uri).await.unwrap();
        second.write(Bytes::from_static(b"sec")).await.unwrap();
        assert_eq!(storage.read(&uri).await.unwrap(), "first");
        assert_eq!(entries(), 2);
        drop(second);
        assert_eq!((storage.read(&uri).await.unwrap(), entries()), (Bytes::from_static(b"first"), 1));

        storage.write(path.to_str().unwrap(), Bytes::from_static(b"third")).await.unwrap();
        assert_eq!((storage.read(&uri).await.unwrap(), entries()), (Bytes::from_static(b"third"), 1));
        let mut closed = storage.writer(&uri).await.unwrap();
        closed.close().await.unwrap();
        assert!(closed.write(Bytes::new()).await.is_err());
    }

    #[test]
    fn uris_name_paths() {
        for uri in ["file:///a/b", "file:/a/b", "file://a/b", "/a/b"] {
            assert_eq!(local_path(uri), Path::new("/a/b"));
        }
    }
}

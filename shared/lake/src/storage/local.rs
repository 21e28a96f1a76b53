//! Files of the local file system that are there whole or not at all, as objects of S3 are.
//!
//! In: paths or `file:` URIs. Out: Iceberg's [`Storage`]. The crate's own local storage writes in place: a process
//! that is killed while it writes a file for the second time, as a redelivery does with the quarantine, would leave
//! half of what was whole before. Here every file is a [`WholeFile`]. All else is left to the crate's storage.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, LocalFsStorage, OutputFile, Storage};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::list::ListedFile;
use super::whole_file::WholeFile;
use crate::task;

/// The local file system.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LocalStorage {
    inner: LocalFsStorage,
}

#[async_trait]
#[typetag::serde(name = "frazil-local")]
impl Storage for LocalStorage {
    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        WholeFile::write_all_to(&local_path(path), &bytes).map_err(failed)
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        Ok(Box::new(Writer::create(path)?))
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

/// A file that gets its name when it is closed.
struct Writer {
    path: PathBuf,
    /// None once it is closed.
    file: Option<WholeFile>,
}

impl Writer {
    fn create(uri: &str) -> Result<Self> {
        let path = local_path(uri);
        let file = Some(WholeFile::create(&path).map_err(failed)?);
        Ok(Self { path, file })
    }

    fn closed(&self) -> Error {
        Error::new(ErrorKind::Unexpected, format!("{} is closed", self.path.display()))
    }
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.file {
            Some(file) => file.write_all(&bytes).map_err(failed),
            None => Err(self.closed()),
        }
    }

    async fn close(&mut self) -> Result<()> {
        self.file.take().ok_or_else(|| self.closed())?.finish().map_err(failed)
    }
}

/// The files below `folder`, whose URIs begin with it; it ends in a slash.
pub(super) fn list(folder: &str) -> BoxStream<'static, Result<ListedFile>> {
    let folders = stream::try_unfold(vec![folder.to_owned()], async |mut folders| {
        let Some(folder) = folders.pop() else { return Result::Ok(None) };
        let listed = task::spawn_blocking(move || list_folder(&folder)).await;
        let (files, below) = listed.map_err(|error| failed(io::Error::other(error)))??;
        folders.extend(below);
        Ok(Some((stream::iter(files.into_iter().map(Ok)), folders)))
    });
    folders.try_flatten().boxed()
}

/// The files in `folder`, and the folders in it. What is gone meanwhile is in neither.
fn list_folder(folder: &str) -> Result<(Vec<ListedFile>, Vec<String>)> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(local_path(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((files, folders)),
        Err(error) => return Err(cannot_list(folder, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| cannot_list(folder, error))?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(cannot_list(folder, error)),
        };
        let name = entry.file_name().into_string().map_err(|name| {
            let what = format!("cannot list {folder}: the name {} is not UTF-8; rename it", name.display());
            Error::new(ErrorKind::DataInvalid, what)
        })?;
        let uri = format!("{folder}{name}");
        if metadata.is_dir() {
            folders.push(uri + "/");
        } else if metadata.is_file() || (metadata.is_symlink() && entry.path().is_file()) {
            let modified = metadata.modified().map_err(|error| cannot_list(folder, error))?;
            files.push(ListedFile { uri, size_bytes: metadata.len(), modified });
        }
    }
    Ok((files, folders))
}

fn cannot_list(folder: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("cannot list {folder}: {error}")).with_source(error)
}

/// The path that a `file:` URI names, or the path itself.
fn local_path(uri: &str) -> PathBuf {
    let path = uri.strip_prefix("file://").or_else(|| uri.strip_prefix("file:")).unwrap_or(uri);
    Path::new("/").join(path)
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, error.to_string()).with_source(error)
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

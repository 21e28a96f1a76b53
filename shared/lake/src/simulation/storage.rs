//! Files in memory, as one writer meets them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use iceberg::io::{
    FileIO, FileIOBuilder, FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
    StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::lies::{self, Lie};
use super::world::{Hand, World};

/// The files of a [`World`]. Clones share them, so it is its own factory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SimulatedStorage {
    /// None where it was sent to another process, which no test does.
    #[serde(skip)]
    hand: Option<Hand>,
    #[serde(skip)]
    lie: Option<Lie>,
}

/// The files as `hand` meets them.
pub(crate) fn file_io(hand: &Hand, lie: Option<Lie>) -> FileIO {
    FileIOBuilder::new(Arc::new(SimulatedStorage { hand: Some(hand.clone()), lie })).build()
}

impl SimulatedStorage {
    async fn step<T>(&self, step: &str, path: &str, work: impl FnOnce(&World) -> Result<T>) -> Result<T> {
        match &self.hand {
            Some(hand) => hand.step(step, path, work).await,
            None => Err(Error::new(ErrorKind::Unexpected, "a storage of no world")),
        }
    }
}

fn found(files: &HashMap<String, Bytes>, path: &str) -> Result<Bytes> {
    let bytes = files.get(path).cloned();
    bytes.ok_or_else(|| Error::new(ErrorKind::DataInvalid, format!("{path} does not exist")))
}

#[typetag::serde(name = "frazil-simulated")]
impl StorageFactory for SimulatedStorage {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "frazil-simulated")]
impl Storage for SimulatedStorage {
    async fn exists(&self, path: &str) -> Result<bool> {
        self.step("exists", path, |world| Ok(world.bytes(path).is_some())).await
    }

    async fn metadata(&self, path: &str) -> Result<FileMetadata> {
        let size = self.step("size", path, |world| Ok(found(&world.files(), path)?.len() as u64)).await?;
        Ok(FileMetadata { size })
    }

    async fn read(&self, path: &str) -> Result<Bytes> {
        self.step("read", path, |world| found(&world.files(), path)).await
    }

    async fn reader(&self, path: &str) -> Result<Box<dyn FileRead>> {
        let bytes = self.step("open", path, |world| found(&world.files(), path)).await?;
        Ok(Box::new(Reader { storage: self.clone(), path: path.to_owned(), bytes }))
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<()> {
        self.step("write", path, |world| {
            let bytes = match self.lie {
                Some(Lie::LoseNumbers) => lies::without_numbers(path, bytes),
                _ => bytes,
            };
            world.files().insert(path.to_owned(), bytes);
            Ok(())
        })
        .await
    }

    async fn writer(&self, path: &str) -> Result<Box<dyn FileWrite>> {
        Ok(Box::new(Writer { storage: self.clone(), path: path.to_owned(), bytes: Some(Vec::new()) }))
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.step("delete", path, |world| {
            let mut path = path.to_owned();
            if self.lie == Some(Lie::DeleteReferenced) {
                path = lies::referenced(world).unwrap_or(path);
            }
            world.model().deletes(&path);
            world.files().remove(&path);
            Ok(())
        })
        .await
    }

    async fn delete_prefix(&self, path: &str) -> Result<()> {
        Err(Error::new(ErrorKind::FeatureUnsupported, format!("nothing deletes all of {path}")))
    }

    async fn delete_stream(&self, mut paths: BoxStream<'static, String>) -> Result<()> {
        while let Some(path) = paths.next().await {
            self.delete(&path).await?;
        }
        Ok(())
    }

    fn new_input(&self, path: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), path.to_owned()))
    }

    fn new_output(&self, path: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), path.to_owned()))
    }
}

struct Reader {
    storage: SimulatedStorage,
    path: String,
    bytes: Bytes,
}

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = |_: &World| {
            let end = (range.end as usize).min(self.bytes.len());
            Ok(self.bytes.slice((range.start as usize).min(end)..end))
        };
        self.storage.step("read", &self.path, read).await
    }
}

/// A file that is there when it is closed.
struct Writer {
    storage: SimulatedStorage,
    path: String,
    bytes: Option<Vec<u8>>,
}

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.bytes {
            Some(written) => written.extend_from_slice(&bytes),
            None => return Err(Error::new(ErrorKind::Unexpected, "the file is closed")),
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        match self.bytes.take() {
            Some(bytes) => self.storage.write(&self.path, bytes.into()).await,
            None => Err(Error::new(ErrorKind::Unexpected, "the file is closed")),
        }
    }
}

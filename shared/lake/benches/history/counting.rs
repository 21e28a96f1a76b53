//! A storage that hands everything to another one and counts: requests as S3 would bill them, and bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};
use iceberg::Result;
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory,
};
use serde::{Deserialize, Serialize};

static HEADS: AtomicU64 = AtomicU64::new(0);
static READS: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);
static DELETES: AtomicU64 = AtomicU64::new(0);
static BYTES_READ: AtomicU64 = AtomicU64::new(0);
static BYTES_WRITTEN: AtomicU64 = AtomicU64::new(0);

/// What has been counted: `[heads, reads, writes, deletes, bytes read, bytes written]`.
pub(crate) fn counted() -> [u64; 6] {
    [&HEADS, &READS, &WRITES, &DELETES, &BYTES_READ, &BYTES_WRITTEN]
        .map(|counter| counter.load(Ordering::Relaxed))
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// Makes counting storages of those that `inner` makes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Counting {
    pub(crate) inner: Arc<dyn StorageFactory>,
}

#[typetag::serde(name = "bench-counting")]
impl StorageFactory for Counting {
    fn build(&self, config: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(CountingStorage { inner: self.inner.build(config)? }))
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CountingStorage {
    inner: Arc<dyn Storage>,
}

#[async_trait]
#[typetag::serde(name = "bench-counting")]
impl Storage for CountingStorage {
    async fn exists(&self, uri: &str) -> Result<bool> {
        count(&HEADS, 1);
        self.inner.exists(uri).await
    }

    async fn metadata(&self, uri: &str) -> Result<FileMetadata> {
        count(&HEADS, 1);
        self.inner.metadata(uri).await
    }

    async fn read(&self, uri: &str) -> Result<Bytes> {
        let bytes = self.inner.read(uri).await?;
        count(&READS, 1);
        count(&BYTES_READ, bytes.len() as u64);
        Ok(bytes)
    }

    async fn reader(&self, uri: &str) -> Result<Box<dyn FileRead>> {
        Ok(Box::new(Reader(self.inner.reader(uri).await?)))
    }

    async fn write(&self, uri: &str, bytes: Bytes) -> Result<()> {
        count(&WRITES, 1);
        count(&BYTES_WRITTEN, bytes.len() as u64);
        self.inner.write(uri, bytes).await
    }

    async fn writer(&self, uri: &str) -> Result<Box<dyn FileWrite>> {
        count(&WRITES, 1);
        Ok(Box::new(Writer(self.inner.writer(uri).await?)))
    }

    async fn delete(&self, uri: &str) -> Result<()> {
        count(&DELETES, 1);
        self.inner.delete(uri).await
    }

    async fn delete_prefix(&self, uri: &str) -> Result<()> {
        count(&DELETES, 1);
        self.inner.delete_prefix(uri).await
    }

    async fn delete_stream(&self, uris: BoxStream<'static, String>) -> Result<()> {
        let counted = uris.inspect(|_| count(&DELETES, 1));
        self.inner.delete_stream(counted.boxed()).await
    }

    fn new_input(&self, uri: &str) -> Result<InputFile> {
        self.inner.new_input(uri)?;
        Ok(InputFile::new(Arc::new(self.clone()), uri.to_owned()))
    }

    fn new_output(&self, uri: &str) -> Result<OutputFile> {
        self.inner.new_output(uri)?;
        Ok(OutputFile::new(Arc::new(self.clone()), uri.to_owned()))
    }
}

struct Reader(Box<dyn FileRead>);

#[async_trait]
impl FileRead for Reader {
    async fn read(&self, range: std::ops::Range<u64>) -> Result<Bytes> {
        let bytes = self.0.read(range).await?;
        count(&READS, 1);
        count(&BYTES_READ, bytes.len() as u64);
        Ok(bytes)
    }
}

struct Writer(Box<dyn FileWrite>);

#[async_trait]
impl FileWrite for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        count(&BYTES_WRITTEN, bytes.len() as u64);
        self.0.write(bytes).await
    }

    async fn close(&mut self) -> Result<()> {
        self.0.close().await
    }
}

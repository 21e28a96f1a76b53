//! Iceberg's storage, which hands everything to the storage of the URI's scheme.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use iceberg::io::{
    FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig, StorageFactory,
};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use super::config::S3Config;
use super::list::{ListedFile, ObjectVersion};
use super::local;
#[cfg(feature = "s3")]
use super::s3;
use super::uri::{is_s3, scheme};

/// Paths that are deleted with one request.
const DELETED_AT_ONCE: usize = 1000;

/// The storages. Clones share their state, so it is its own factory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ByScheme {
    pub(super) local: local::LocalStorage,
    #[cfg(feature = "s3")]
    pub(super) s3: s3::S3Storage,
}

impl ByScheme {
    #[cfg_attr(not(feature = "s3"), allow(unused_variables, reason = "this build has no S3 storage"))]
    pub(super) fn new(s3: &S3Config) -> Self {
        Self {
            local: local::LocalStorage::default(),
            #[cfg(feature = "s3")]
            s3: s3::S3Storage::new(s3.clone()),
        }
    }

    /// The files below `folder`, which ends in a slash.
    pub(super) fn list(&self, folder: &str) -> Result<BoxStream<'static, Result<ListedFile>>> {
        // Refuses what has no storage.
        self.of(folder)?;
        match scheme(folder) {
            #[cfg(feature = "s3")]
            Some(scheme) if is_s3(scheme) => self.s3.list(folder),
            _ => Ok(local::list(folder)),
        }
    }

    /// Which version of the object at `uri` there is now; None if there is none.
    pub(super) async fn version(&self, uri: &str) -> Result<Option<ObjectVersion>> {
        // Refuses what has no storage.
        self.of(uri)?;
        match scheme(uri) {
            #[cfg(feature = "s3")]
            Some(scheme) if is_s3(scheme) => self.s3.object_version(uri).await,
            _ => Err(Error::new(ErrorKind::FeatureUnsupported, format!("{uri} has no versions"))),
        }
    }

    fn of(&self, uri: &str) -> Result<&dyn Storage> {
        match scheme(uri) {
            Some(scheme) if scheme.eq_ignore_ascii_case("file") => Ok(&self.local),
            #[cfg(feature = "s3")]
            Some(scheme) if is_s3(scheme) => Ok(&self.s3),
            #[cfg(not(feature = "s3"))]
            Some(scheme) if is_s3(scheme) => {
                let what = format!("{uri}: this build has no S3 storage; build it with the cargo feature s3");
                Err(Error::new(ErrorKind::FeatureUnsupported, what))
            }
            None if uri.split_once(":/").is_some_and(|(scheme, _)| is_s3(scheme)) => {
                let what = format!("{uri} has one slash: expected s3://BUCKET/KEY");
                Err(Error::new(ErrorKind::DataInvalid, what))
            }
            None => Ok(&self.local),
            Some(scheme) => {
                let what =
                    format!("{uri}: no storage for {scheme}: expected s3://BUCKET/KEY or file:///PATH");
                Err(Error::new(ErrorKind::FeatureUnsupported, what))
            }
        }
    }
}

#[typetag::serde(name = "frazil")]
impl StorageFactory for ByScheme {
    /// The properties that a catalog hands on are not used: see docs/decisions/0011-s3-storage.md.
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde(name = "frazil")]
impl Storage for ByScheme {
    async fn exists(&self, uri: &str) -> Result<bool> {
        self.of(uri)?.exists(uri).await
    }

    async fn metadata(&self, uri: &str) -> Result<FileMetadata> {
        self.of(uri)?.metadata(uri).await
    }

    async fn read(&self, uri: &str) -> Result<Bytes> {
        self.of(uri)?.read(uri).await
    }

    async fn reader(&self, uri: &str) -> Result<Box<dyn FileRead>> {
        self.of(uri)?.reader(uri).await
    }

    async fn write(&self, uri: &str, bytes: Bytes) -> Result<()> {
        self.of(uri)?.write(uri, bytes).await
    }

    async fn writer(&self, uri: &str) -> Result<Box<dyn FileWrite>> {
        self.of(uri)?.writer(uri).await
    }

    async fn delete(&self, uri: &str) -> Result<()> {
        self.of(uri)?.delete(uri).await
    }

    async fn delete_prefix(&self, uri: &str) -> Result<()> {
        self.of(uri)?.delete_prefix(uri).await
    }

    async fn delete_stream(&self, uris: BoxStream<'static, String>) -> Result<()> {
        let mut chunks = uris.chunks(DELETED_AT_ONCE);
        while let Some(uris) = chunks.next().await {
            if let Some(refused) = uris.iter().find_map(|uri| self.of(uri).err()) {
                return Err(refused);
            }
            let (remote, local): (Vec<_>, Vec<_>) =
                uris.into_iter().partition(|uri| scheme(uri).is_some_and(is_s3));
            for uris in [remote, local] {
                if let Some(first) = uris.first() {
                    self.of(first)?.delete_stream(stream::iter(uris).boxed()).await?;
                }
            }
        }
        Ok(())
    }

    fn new_input(&self, uri: &str) -> Result<InputFile> {
        self.of(uri)?.new_input(uri)
    }

    fn new_output(&self, uri: &str) -> Result<OutputFile> {
        self.of(uri)?.new_output(uri)
    }
}

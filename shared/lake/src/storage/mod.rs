//! All bytes that Frazil reads and writes, by URI.
//!
//! In: the URI of a file or an object. Out: Iceberg's [`Storage`], which hands everything to the storage of the URI's
//! scheme: [`local`] for paths and `file:`, [`s3`] for `s3://`, `s3a://` and `s3n://`. One version of an object has a URI
//! too ([`version_uri`]). Refused: any other scheme.

mod config;
mod list;
mod local;
#[cfg(feature = "s3")]
mod s3;
mod whole_file;

use std::borrow::Cow;
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

pub use self::config::{S3Config, S3Encryption};
pub use self::list::{ListedFile, Lister};
pub use self::whole_file::{UNFINISHED, WholeFile};

/// Paths that are deleted with one request.
const DELETED_AT_ONCE: usize = 1000;

/// What makes the storage of a [`crate::Lake`]. All that comes of one factory shares its S3 client.
pub fn storage_factory(s3: &S3Config) -> Arc<dyn StorageFactory> {
    Arc::new(ByScheme::new(s3))
}

/// Most bytes of an open file at `uri` that stay in memory until the file is closed, or until so many have come.
pub(crate) fn held_bytes(uri: &str) -> usize {
    match scheme(uri) {
        #[cfg(feature = "s3")]
        Some(scheme) if is_s3(scheme) => s3::PART_BYTES,
        _ => 0,
    }
}

/// The scheme of URIs that name one version of an object, for readers.
const S3_VERSION: &str = "s3-version";

/// The URI under which the version `version_id` of the object at `uri` is read: `s3-version://ID@BUCKET/KEY`. Where the
/// storage has no versions, or none is named, `uri` itself.
pub(crate) fn version_uri<'a>(uri: &'a str, version_id: Option<&str>) -> Cow<'a, str> {
    match (version_id, uri.split_once("://")) {
        // S3 gives out ids of letters, digits, `.`, `_` and `-`; a bucket's name holds no `@`.
        (Some(id), Some((scheme, place))) if is_s3(scheme) && !id.contains('/') => {
            format!("{S3_VERSION}://{id}@{place}").into()
        }
        _ => uri.into(),
    }
}

/// The storages. Clones share their state, so it is its own factory.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ByScheme {
    local: local::LocalStorage,
    #[cfg(feature = "s3")]
    s3: s3::S3Storage,
}

impl ByScheme {
    #[cfg_attr(not(feature = "s3"), allow(unused_variables, reason = "this build has no S3 storage"))]
    fn new(s3: &S3Config) -> Self {
        Self {
            local: local::LocalStorage::default(),
            #[cfg(feature = "s3")]
            s3: s3::S3Storage::new(s3.clone()),
        }
    }

    /// The files below `folder`, which ends in a slash.
    fn list(&self, folder: &str) -> Result<BoxStream<'static, Result<ListedFile>>> {
        // Refuses what has no storage.
        self.of(folder)?;
        match scheme(folder) {
            #[cfg(feature = "s3")]
            Some(scheme) if is_s3(scheme) => self.s3.list(folder),
            _ => Ok(local::list(folder)),
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

/// The scheme of `uri`, or None if it is a path.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|next| next.is_ascii_alphanumeric() || "+-.".contains(next));
    // `file:/a` is a URI; `a:b` may well be a path.
    (named && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("file"))).then_some(scheme)
}

/// Hadoop's older names for S3 stand in the metadata of many tables.
fn is_s3(scheme: &str) -> bool {
    ["s3", "s3a", "s3n", S3_VERSION].iter().any(|name| scheme.eq_ignore_ascii_case(name))
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

/// All files, those of S3 by `s3`.
#[cfg(all(test, feature = "s3"))]
fn file_io_with(s3: s3::S3Storage) -> iceberg::io::FileIO {
    let local = local::LocalStorage::default();
    iceberg::io::FileIOBuilder::new(Arc::new(ByScheme { local, s3 })).build()
}

#[cfg(test)]
mod tests {
    use iceberg::io::FileIOBuilder;

    use super::*;

    #[test]
    fn schemes_are_told_from_paths() {
        for (uri, expected) in [
            ("s3://b/k", Some("s3")),
            ("S3A://b/k", Some("S3A")),
            ("file:///a", Some("file")),
            ("file:/a", Some("file")),
            ("abfss://c@a.dfs.core.windows.net/k", Some("abfss")),
            ("/a/b", None),
            ("/a/s3://b", None),
            ("a:b", None),
            ("2026://a", None),
            ("", None),
        ] {
            assert_eq!(scheme(uri), expected, "{uri}");
        }
        for uri in ["s3://b/k", "s3a://b/k", "s3n://b/k", "S3://b/k"] {
            assert!(scheme(uri).is_some_and(is_s3), "{uri}");
        }
    }

    #[test]
    fn a_version_has_a_uri_where_the_storage_has_versions() {
        for (uri, version_id, expected) in [
            ("s3://b/k@1", Some("v.1"), "s3-version://v.1@b/k@1"),
            ("s3://b/k", None, "s3://b/k"),
            ("file:///a", Some("v1"), "file:///a"),
            ("/a", Some("v1"), "/a"),
        ] {
            assert_eq!(version_uri(uri, version_id), expected);
        }
    }

    #[tokio::test]
    async fn each_scheme_has_its_storage_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let uris = [path("a"), format!("file://{}", path("b")), format!("file:{}", path("c"))];
        for uri in &uris {
            file_io.new_output(uri).unwrap().write(Bytes::from_static(b"text")).await.unwrap();
            assert_eq!(file_io.new_input(uri).unwrap().read().await.unwrap(), "text");
        }
        for uri in ["gs://b/k", "hdfs://n/k", "http://h/k"] {
            let error = file_io.new_input(uri).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FeatureUnsupported);
            assert!(error.message().contains("expected s3://BUCKET/KEY or file:///PATH"), "{error}");
            let some = stream::iter([uris[0].clone(), uri.to_owned()]);
            assert!(file_io.delete_stream(some).await.is_err());
            assert!(file_io.exists(&uris[0]).await.unwrap(), "nothing is deleted by halves");
        }
        let error = file_io.new_input("s3:/b/k").unwrap_err();
        assert_eq!(error.message(), "s3:/b/k has one slash: expected s3://BUCKET/KEY");
        #[cfg(not(feature = "s3"))]
        {
            let error = file_io.new_input("s3://b/k").unwrap_err();
            assert!(error.message().contains("cargo feature s3"), "{error}");
        }
        file_io.delete_stream(stream::iter(uris.clone())).await.unwrap();
        assert!(!file_io.exists(&uris[0]).await.unwrap() && !file_io.exists(&uris[2]).await.unwrap());
    }

    /// Iceberg may send a storage to another process.
    #[tokio::test]
    async fn a_storage_survives_being_written_down() {
        let factory = serde_json::to_string(storage_factory(&S3Config::default()).as_ref()).unwrap();
        let factory: Box<dyn StorageFactory> = serde_json::from_str(&factory).unwrap();
        let storage = serde_json::to_string(factory.build(&StorageConfig::new()).unwrap().as_ref()).unwrap();
        let storage: Box<dyn Storage> = serde_json::from_str(&storage).unwrap();
        assert!(storage.exists("/").await.unwrap());
    }
}

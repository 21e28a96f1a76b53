//! All bytes that Frazil reads and writes, by URI.
//!
//! In: the URI of a file or an object. Out: Iceberg's `Storage`, which hands everything to the storage of the URI's
//! scheme: [`local`] for paths and `file:`, [`s3`] for `s3://`, `s3a://` and `s3n://`. One version of an object has a URI
//! too ([`version_uri`]). Refused: any other scheme.

mod by_scheme;
mod config;
mod list;
mod lister;
mod local;
#[cfg(feature = "s3")]
mod s3;
mod uri;
mod whole_file;

use std::sync::Arc;

use iceberg::io::StorageFactory;

use self::by_scheme::ByScheme;
pub use self::config::{S3Config, S3Encryption};
pub use self::list::{ListedFile, ObjectVersion};
pub use self::lister::Lister;
pub(crate) use self::uri::version_uri;
pub use self::whole_file::{UNFINISHED, WholeFile};

/// What makes the storage of a [`crate::Lake`]. All that comes of one factory shares its S3 client.
pub fn storage_factory(s3: &S3Config) -> Arc<dyn StorageFactory> {
    Arc::new(ByScheme::new(s3))
}

/// Most bytes of an open file at `uri` that stay in memory until the file is closed, or until so many have come.
pub(crate) fn held_bytes(uri: &str) -> usize {
    match uri::scheme(uri) {
        #[cfg(feature = "s3")]
        Some(scheme) if uri::is_s3(scheme) => s3::PART_BYTES,
        _ => 0,
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
    use bytes::Bytes;
    use futures::stream;
    use iceberg::ErrorKind;
    use iceberg::io::{FileIOBuilder, Storage, StorageConfig};

    use super::*;

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

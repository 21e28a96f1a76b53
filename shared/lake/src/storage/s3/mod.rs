//! Objects of S3, and of servers that speak its protocol.
//!
//! In: `s3://BUCKET/KEY`, and for reading one version of an object. Out: Iceberg's [`Storage`]. The client is made at the first request. Retries, time-outs and
//! credentials are those of [`crate::aws`]; [`connection`] has what is configured here, and
//! docs/decisions/0011-s3-storage.md the reasons.

mod connection;
mod delete;
mod error;
mod list;
#[cfg(test)]
mod live;
mod location;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use iceberg::io::{FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage};
use iceberg::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use self::connection::Connection;
use self::error::{Action, failed};
use self::location::Location;
use self::read::{ObjectRead, Version};
use self::write::ObjectWrite;

pub(crate) use self::write::PART_BYTES;
use super::config::S3Config;
use super::list::{ListedFile, ObjectVersion};

use crate::error::Kind;

/// S3.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct S3Storage {
    config: S3Config,
    /// Shared by all clones. One that was sent to another process connects there anew.
    #[serde(skip)]
    connection: Arc<OnceCell<Arc<Connection>>>,
    /// The version that an [`InputFile`] stands for; None for the storage at large.
    #[serde(skip)]
    version: Option<Version>,
}

impl S3Storage {
    pub(super) fn new(config: S3Config) -> Self {
        Self { config, connection: Arc::default(), version: None }
    }

    /// The objects below `folder`, which ends in a slash.
    pub(super) fn list(&self, folder: &str) -> Result<BoxStream<'static, Result<ListedFile>>> {
        let (storage, prefix) = (self.clone(), Location::folder(folder)?);
        let connected = async move { Result::Ok(list::below(storage.connect().await?, prefix)) };
        Ok(stream::once(connected).try_flatten().boxed())
    }

    /// Which version of the object at `uri` there is now; None if there is none.
    pub(super) async fn object_version(&self, uri: &str) -> Result<Option<ObjectVersion>> {
        let (s3, at) = (self.connect().await?, Location::parse(uri)?);
        let version = head(&s3, &at).await?.map(|head| ObjectVersion {
            etag: head.e_tag().unwrap_or_default().trim_matches('"').to_owned(),
            // What was there before the bucket kept versions.
            version_id: head.version_id().filter(|id| *id != "null").map(str::to_owned),
        });
        Ok(version)
    }

    async fn connect(&self) -> Result<Arc<Connection>> {
        let open = || async { Connection::open(&self.config).await.map(Arc::new) };
        self.connection.get_or_try_init(open).await.cloned()
    }

    #[cfg(test)]
    fn connected(connection: Connection) -> Self {
        let connection = Arc::new(OnceCell::new_with(Some(Arc::new(connection))));
        Self { connection, ..Self::new(S3Config::default()) }
    }

    fn version(&self) -> Version {
        self.version.clone().unwrap_or_default()
    }
}

/// The head of the object `at`, or None if there is none.
async fn head(s3: &Connection, at: &Location) -> Result<Option<HeadObjectOutput>> {
    let error = match s3
        .client
        .head_object()
        .bucket(&at.bucket)
        .key(&at.key)
        .set_version_id(at.version_id.clone())
        .send()
        .await
    {
        Ok(head) => return Ok(Some(head)),
        Err(error) => error,
    };
    if error.raw_response().is_none_or(|answer| matches!(answer.status().as_u16(), 429 | 500..)) {
        return Err(failed(s3, Action::Read, at, &error));
    }
    // The answer to HEAD has no body and hence no reason: a missing bucket looks like a missing object, and wrong
    // credentials like a lack of permission.
    let get = s3.client.get_object().bucket(&at.bucket).key(&at.key).set_version_id(at.version_id.clone());
    match get.range("bytes=0-0").send().await {
        Ok(_) => Err(failed(s3, Action::Read, at, &error)),
        Err(reason) if matches!(reason.code(), Some("NoSuchKey" | "NoSuchVersion")) => Ok(None),
        Err(reason) => Err(failed(s3, Action::Read, at, &reason)),
    }
}

#[async_trait]
#[typetag::serde(name = "frazil-s3")]
impl Storage for S3Storage {
    async fn exists(&self, uri: &str) -> Result<bool> {
        let at = Location::to_read(uri)?;
        Ok(head(self.connect().await?.as_ref(), &at).await?.is_some())
    }

    async fn metadata(&self, uri: &str) -> Result<FileMetadata> {
        let at = Location::to_read(uri)?;
        let Some(head) = head(self.connect().await?.as_ref(), &at).await? else {
            return Err(Kind::Missing.within(ErrorKind::DataInvalid, format!("{uri} does not exist")));
        };
        self.version().check(&at, head.e_tag())?;
        let size = head.content_length().and_then(|length| u64::try_from(length).ok());
        let size =
            size.ok_or_else(|| Error::new(ErrorKind::Unexpected, format!("{uri}: S3 tells no size")))?;
        Ok(FileMetadata { size })
    }

    async fn read(&self, uri: &str) -> Result<Bytes> {
        let at = Location::to_read(uri)?;
        read::get(self.connect().await?.as_ref(), &at, &self.version(), None).await
    }

    async fn reader(&self, uri: &str) -> Result<Box<dyn FileRead>> {
        let at = Location::to_read(uri)?;
        Ok(Box::new(ObjectRead { s3: self.connect().await?, at, version: self.version() }))
    }

    async fn write(&self, uri: &str, bytes: Bytes) -> Result<()> {
        let mut file = self.writer(uri).await?;
        file.write(bytes).await?;
        file.close().await
    }

    async fn writer(&self, uri: &str) -> Result<Box<dyn FileWrite>> {
        let at = Location::parse(uri)?;
        Ok(Box::new(ObjectWrite::new(self.connect().await?, at)))
    }

    async fn delete(&self, uri: &str) -> Result<()> {
        let at = Location::parse(uri)?;
        delete::one(self.connect().await?.as_ref(), &at).await
    }

    async fn delete_prefix(&self, uri: &str) -> Result<()> {
        // A folder: its neighbours may have names that begin like its own.
        let at = Location::parse(&format!("{}/", uri.trim_end_matches('/')))?;
        delete::below(self.connect().await?.as_ref(), &at).await
    }

    async fn delete_stream(&self, uris: BoxStream<'static, String>) -> Result<()> {
        delete::all(self.connect().await?.as_ref(), uris).await
    }

    /// An input that sees one version of the object.
    fn new_input(&self, uri: &str) -> Result<InputFile> {
        Location::to_read(uri)?;
        let storage = Self { version: Some(Version::default()), ..self.clone() };
        Ok(InputFile::new(Arc::new(storage), uri.to_owned()))
    }

    fn new_output(&self, uri: &str) -> Result<OutputFile> {
        Location::parse(uri)?;
        Ok(OutputFile::new(Arc::new(self.clone()), uri.to_owned()))
    }
}

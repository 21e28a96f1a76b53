//! The S3 client of a storage, and how it is configured.
//!
//! In: the AWS configuration of the process and an [`S3Config`]. Out: a [`Connection`]. Refused: a process without a
//! region.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption};
use iceberg::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::super::config::{S3Config, S3Encryption};
use crate::aws;

/// Parts of `PART_BYTES` that are sent at the same time, of all files: more than the writer's thread can fill.
pub(super) const PARTS_IN_FLIGHT: usize = 2;
/// The slowest transfer that is waited for, beyond the time of a request without a body.
const SLOWEST_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// A client and what its requests have in common.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) encryption: Encryption,
    /// The checksum of the parts of a multipart upload.
    pub(super) part_checksum: Option<ChecksumAlgorithm>,
    /// One permit for each part that is being sent, of whatever file; large parts need more.
    pub(super) parts: Arc<Semaphore>,
    /// Where it is, in words.
    pub(super) endpoint: String,
}

/// What is configured besides the AWS configuration of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) endpoint: Option<String>,
    pub(super) path_style: Option<bool>,
    pub(super) encryption: Encryption,
}

/// How new objects are encrypted. What is None is left to the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Encryption {
    pub(super) algorithm: Option<ServerSideEncryption>,
    pub(super) kms_key_id: Option<String>,
    pub(super) bucket_key: Option<bool>,
}

impl Settings {
    pub(super) fn new(config: &S3Config) -> Self {
        // The configuration of the process has no endpoints of single services.
        let endpoint = std::env::var("AWS_ENDPOINT_URL_S3").ok().filter(|value| !value.is_empty());
        let encryption = Encryption::new(config.encryption.as_ref());
        Self { endpoint, path_style: config.path_style, encryption }
    }
}

impl Encryption {
    fn new(config: Option<&S3Encryption>) -> Self {
        let (algorithm, kms_key_id) = match config {
            None => return Self::default(),
            Some(S3Encryption::Aes256) => (ServerSideEncryption::Aes256, None),
            Some(S3Encryption::Kms { key_id }) => (ServerSideEncryption::AwsKms, key_id.clone()),
            Some(S3Encryption::KmsDsse { key_id }) => (ServerSideEncryption::AwsKmsDsse, key_id.clone()),
        };
        // One request to KMS for many objects. S3 has no bucket keys for dsse.
        let bucket_key = (algorithm == ServerSideEncryption::AwsKms).then_some(true);
        Self { algorithm: Some(algorithm), kms_key_id, bucket_key }
    }
}

impl Connection {
    /// The connection of the process.
    pub(super) async fn open(config: &S3Config) -> Result<Self> {
        Self::new(aws::sdk_config().await, Settings::new(config))
    }

    pub(super) fn new(sdk: &SdkConfig, settings: Settings) -> Result<Self> {
        let endpoint = settings.endpoint.or_else(|| sdk.endpoint_url().map(str::to_owned));
        let mut config = Builder::from(sdk)
            .force_path_style(settings.path_style.unwrap_or(endpoint.is_some()))
            // The answer to a range carries no checksum.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        let region = match (sdk.region(), &endpoint) {
            (Some(region), _) => region.clone(),
            // Servers other than AWS take any.
            (None, Some(_)) => Region::from_static("us-east-1"),
            (None, None) => {
                let what =
                    "no AWS region is configured for s3:// URIs: set AWS_REGION, or region in the profile";
                return Err(Error::new(ErrorKind::DataInvalid, what));
            }
        };
        config = config.region(region);
        let in_part = sdk.request_checksum_calculation() != Some(RequestChecksumCalculation::WhenRequired);
        Ok(Self {
            client: Client::from_conf(config.build()),
            encryption: settings.encryption,
            part_checksum: in_part.then_some(ChecksumAlgorithm::Crc32),
            parts: Arc::new(Semaphore::new(PARTS_IN_FLIGHT)),
            endpoint: endpoint.unwrap_or_else(|| "AWS".to_owned()),
        })
    }
}

/// The time that a body of `size_bytes` may take.
pub(super) fn transfer_time(size_bytes: u64) -> Duration {
    aws::ATTEMPT + Duration::from_secs(size_bytes / SLOWEST_BYTES_PER_SECOND)
}

/// Time-outs for a request with a body of `size_bytes`: the client's own are for requests without one.
pub(super) fn with_time_for(size_bytes: usize) -> Builder {
    let attempt = transfer_time(size_bytes as u64);
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(attempt)
        .operation_timeout(attempt + aws::OPERATION.saturating_sub(aws::ATTEMPT));
    Config::builder().timeout_config(timeouts.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kms_has_bucket_keys() {
        let key_id = Some("alias/k".to_owned());
        for (config, expected) in [
            (None, (None, None, None)),
            (Some(S3Encryption::Aes256), (Some("AES256"), None, None)),
            (
                Some(S3Encryption::Kms { key_id: key_id.clone() }),
                (Some("aws:kms"), Some("alias/k"), Some(true)),
            ),
            (Some(S3Encryption::KmsDsse { key_id }), (Some("aws:kms:dsse"), Some("alias/k"), None)),
        ] {
            let found = Encryption::new(config.as_ref());
            let algorithm = found.algorithm.as_ref().map(ServerSideEncryption::as_str);
            assert_eq!((algorithm, found.kms_key_id.as_deref(), found.bucket_key), expected);
        }
    }

    #[test]
    fn without_region_and_endpoint_there_is_no_connection() {
        let sdk = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::v2026_01_12()).build();
        let error = Connection::new(&sdk, Settings::default()).unwrap_err();
        assert!(error.message().contains("set AWS_REGION"), "{error}");
    }
}

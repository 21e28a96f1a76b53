//! The S3 client of a storage, and how it is configured.
//!
//! In: the AWS configuration of the process, and four variables of our own:
//!
//! - `FRAZIL_S3_PATH_STYLE`: `true` puts the bucket into the path, `false` into the host name. Without it, the path where an
//!   endpoint is configured (`AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`), as servers other than AWS need it.
//! - `FRAZIL_S3_SSE`: how objects are encrypted: `AES256`, `aws:kms` or `aws:kms:dsse`. Without it, as the bucket says.
//! - `FRAZIL_S3_KMS_KEY_ID`: the key of `aws:kms` and `aws:kms:dsse`. Without it, the account's key for S3.
//!
//! Out: a [`Connection`]. Refused: a value that is none of these; a process without a region.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Builder, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::types::{ChecksumAlgorithm, ServerSideEncryption};
use iceberg::{Error, ErrorKind, Result};
use tokio::sync::Semaphore;

use super::write::PARTS_IN_FLIGHT;
use crate::aws;

/// The slowest transfer that is waited for, beyond the time of a request without a body.
const SLOWEST_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// A client and what its requests have in common.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) encryption: Encryption,
    /// The checksum of the parts of a multipart upload.
    pub(super) part_checksum: Option<ChecksumAlgorithm>,
    /// One permit for each part of the smallest size that is being sent, of whatever file.
    pub(super) parts: std::sync::Arc<Semaphore>,
    /// Where it is, in words.
    pub(super) endpoint: String,
}

/// What is configured by variables of our own.
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
    pub(super) fn of_process() -> Result<Self> {
        Self::read(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the settings from the variables that `variable` gives; an empty one counts as not set.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let path_style = match variable("FRAZIL_S3_PATH_STYLE").as_deref() {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(invalid("FRAZIL_S3_PATH_STYLE", other, "true or false")),
        };
        let algorithm = match variable("FRAZIL_S3_SSE").as_deref() {
            None => None,
            Some("AES256") => Some(ServerSideEncryption::Aes256),
            Some("aws:kms") => Some(ServerSideEncryption::AwsKms),
            Some("aws:kms:dsse") => Some(ServerSideEncryption::AwsKmsDsse),
            Some(other) => {
                return Err(invalid("FRAZIL_S3_SSE", other, "AES256, aws:kms or aws:kms:dsse"));
            }
        };
        let kms_key_id = variable("FRAZIL_S3_KMS_KEY_ID");
        let by_kms =
            matches!(algorithm, Some(ServerSideEncryption::AwsKms | ServerSideEncryption::AwsKmsDsse));
        if let (Some(key), false) = (&kms_key_id, by_kms) {
            return Err(invalid(
                "FRAZIL_S3_KMS_KEY_ID",
                key,
                "FRAZIL_S3_SSE=aws:kms or aws:kms:dsse with it",
            ));
        }
        // One request to KMS for many objects. S3 has no bucket keys for dsse.
        let bucket_key = (algorithm == Some(ServerSideEncryption::AwsKms)).then_some(true);
        let endpoint = variable("AWS_ENDPOINT_URL_S3");
        Ok(Self { endpoint, path_style, encryption: Encryption { algorithm, kms_key_id, bucket_key } })
    }
}

fn invalid(name: &str, value: &str, expected: &str) -> Error {
    Error::new(ErrorKind::DataInvalid, format!("{name}={value}: expected {expected}"))
}

impl Connection {
    /// The connection of the process.
    pub(super) async fn open() -> Result<Self> {
        let settings = Settings::of_process()?;
        Self::new(aws::sdk_config().await, settings)
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
            parts: std::sync::Arc::new(Semaphore::new(PARTS_IN_FLIGHT)),
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

    fn read(variables: &[(&str, &str)]) -> Result<Settings> {
        let value = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        Settings::read(|name| value(name).map(str::to_owned))
    }

    #[test]
    fn settings_come_from_variables() {
        assert_eq!(read(&[]).unwrap(), Settings::default());
        assert_eq!(
            read(&[("FRAZIL_S3_SSE", ""), ("FRAZIL_S3_PATH_STYLE", "")]).unwrap(),
            Settings::default()
        );
        let kms = |algorithm, key: Option<&str>, bucket_key| Encryption {
            algorithm: Some(algorithm),
            kms_key_id: key.map(str::to_owned),
            bucket_key,
        };
        for (variables, expected) in [
            (&[("FRAZIL_S3_SSE", "AES256")][..], kms(ServerSideEncryption::Aes256, None, None)),
            (&[("FRAZIL_S3_SSE", "aws:kms")], kms(ServerSideEncryption::AwsKms, None, Some(true))),
            (
                &[("FRAZIL_S3_SSE", "aws:kms"), ("FRAZIL_S3_KMS_KEY_ID", "alias/k")],
                kms(ServerSideEncryption::AwsKms, Some("alias/k"), Some(true)),
            ),
            (
                &[("FRAZIL_S3_SSE", "aws:kms:dsse"), ("FRAZIL_S3_KMS_KEY_ID", "alias/k")],
                kms(ServerSideEncryption::AwsKmsDsse, Some("alias/k"), None),
            ),
        ] {
            assert_eq!(read(variables).unwrap().encryption, expected);
        }
        assert_eq!(read(&[("FRAZIL_S3_PATH_STYLE", "false")]).unwrap().path_style, Some(false));
    }

    #[test]
    fn errors_name_the_variable() {
        for (variables, expected) in [
            (&[("FRAZIL_S3_PATH_STYLE", "yes")][..], "FRAZIL_S3_PATH_STYLE=yes: expected true or false"),
            (&[("FRAZIL_S3_SSE", "kms")], "FRAZIL_S3_SSE=kms: expected AES256, aws:kms or aws:kms:dsse"),
            (
                &[("FRAZIL_S3_KMS_KEY_ID", "k")],
                "FRAZIL_S3_KMS_KEY_ID=k: expected FRAZIL_S3_SSE=aws:kms or aws:kms:dsse with it",
            ),
            (
                &[("FRAZIL_S3_SSE", "AES256"), ("FRAZIL_S3_KMS_KEY_ID", "k")],
                "FRAZIL_S3_KMS_KEY_ID=k: expected FRAZIL_S3_SSE=aws:kms or aws:kms:dsse with it",
            ),
        ] {
            assert_eq!(read(variables).unwrap_err().message(), expected);
        }
    }

    #[test]
    fn without_region_and_endpoint_there_is_no_connection() {
        let sdk = SdkConfig::builder().behavior_version(aws_config::BehaviorVersion::v2026_01_12()).build();
        let error = Connection::new(&sdk, Settings::default()).unwrap_err();
        assert!(error.message().contains("set AWS_REGION"), "{error}");
    }
}

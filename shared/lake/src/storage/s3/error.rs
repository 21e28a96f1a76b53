//! What S3 answered, or did not -> one error that says what was asked, what stands in the way, and what helps.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use iceberg::{Error, ErrorKind};

use super::connection::Connection;
use super::location::Location;
use crate::aws::{Fault, fault_of};
use crate::error::Kind;

const CHANGED: &str = "the object changed while it was read; read it again from its start";
const WRONG_CREDENTIALS: &str = "the credentials are wrong; correct AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and \
    AWS_SESSION_TOKEN, or the profile or role that stands for them";
const KMS: &str = "the KMS key cannot be used; see that it exists, is enabled and in the bucket's region, and grant \
    kms:GenerateDataKey and kms:Decrypt on it";
/// Who may not list is not told what does not exist.
const HIDDEN: &str = "; to whom s3:ListBucket on the bucket is not granted, S3 says the same of an object that does \
    not exist";
const ROUTE: &str =
    "check AWS_ENDPOINT_URL, and the network: a function in a VPC needs a gateway endpoint for S3";

/// What is asked of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Write,
    Delete,
    List,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
        }
    }

    /// What IAM must allow for it.
    fn permission(self, at: &Location) -> &'static str {
        match self {
            Self::Read if at.version_id.is_some() => "s3:GetObject and s3:GetObjectVersion",
            Self::Read => "s3:GetObject",
            Self::Write => "s3:PutObject and s3:AbortMultipartUpload",
            Self::Delete => "s3:DeleteObject",
            Self::List => "s3:ListBucket",
        }
    }
}

/// What an answer that is an error says.
struct Answer<'a> {
    status: u16,
    code: &'a str,
    message: &'a str,
    /// Where the bucket is, if S3 says so.
    region: Option<&'a str>,
}

/// The error of a request.
pub(super) fn failed<E>(s3: &Connection, action: Action, at: &Location, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let (kind, why) = match (error, error.raw_response()) {
        (SdkError::ServiceError(_), Some(response)) => {
            let answer = Answer {
                status: response.status().as_u16(),
                code: error.code().unwrap_or_default(),
                message: error.message().unwrap_or_default(),
                region: response.headers().get("x-amz-bucket-region"),
            };
            let (kind, why) = explain(s3, action, at, &answer);
            let request = error.meta().request_id().unwrap_or("unknown");
            let said = [answer.code, answer.message].into_iter().filter(|text| !text.is_empty());
            let said = said.collect::<Vec<_>>().join(": ");
            let details = [format!("status {}", answer.status), said, format!("request {request}")];
            let details: Vec<String> = details.into_iter().filter(|text| !text.is_empty()).collect();
            (kind, format!("{why} ({})", details.join(", ")))
        }
        _ => unanswered(s3, error),
    };
    // Whose absence is asked about is told by the library's own kind.
    let library = match kind {
        Kind::Missing => ErrorKind::DataInvalid,
        Kind::Changed => ErrorKind::PreconditionFailed,
        _ => ErrorKind::Unexpected,
    };
    kind.within(library, format!("cannot {} {}: {why}", action.verb(), at.uri))
}

fn explain(s3: &Connection, action: Action, at: &Location, answer: &Answer<'_>) -> (Kind, String) {
    let bucket = &at.bucket;
    let fault = fault_of(answer.code);
    let (kind, why) = match (answer.code, answer.status) {
        ("NoSuchBucket", _) => {
            let why = format!("the bucket {bucket} does not exist; create it, or correct the URI");
            return (Kind::Misconfigured, why);
        }
        ("NoSuchKey" | "NoSuchVersion" | "NotFound" | "", 404) if action == Action::Read => {
            (Kind::Missing, "the object does not exist")
        }
        (_, 412 | 416) => (Kind::Changed, CHANGED),
        _ if fault == Fault::WrongCredentials => (fault.kind(), WRONG_CREDENTIALS),
        _ if fault == Fault::ExpiredCredentials => (fault.kind(), "the credentials have expired; renew them"),
        _ if fault == Fault::WrongClock => (fault.kind(), "the clock of this machine is wrong; set it"),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed", _) | (_, 301 | 307) => match answer.region {
            Some(region) => {
                let why = format!(
                    "the bucket {bucket} is in the region {region}, and all buckets of a function must be in its own; \
                     deploy it there (outside Lambda, set AWS_REGION={region})"
                );
                return (Kind::Misconfigured, why);
            }
            None => (
                Kind::Misconfigured,
                "the bucket is in another region than the function; deploy it there (outside Lambda, set AWS_REGION)",
            ),
        },
        ("InvalidObjectState", _) => (Kind::Missing, "the object is archived; restore it first"),
        ("NoSuchUpload", _) => {
            (Kind::Unexpected, "someone else aborted the upload, a lifecycle rule of the bucket perhaps")
        }
        (code, _) if code.ends_with("ThrottlingException") => (
            Kind::Throttled,
            "KMS has too many requests, and was asked several times; run fewer functions at a time",
        ),
        (code, _) if code.starts_with("KMS") || answer.message.contains("kms:") => (Kind::Misconfigured, KMS),
        (_, status) if fault == Fault::Throttled || matches!(status, 429 | 503) => (
            Kind::Throttled,
            "S3 has too many requests, and was asked several times; run fewer functions at a time",
        ),
        (_, status) if fault == Fault::Denied || matches!(status, 401 | 403) => {
            let permission = action.permission(at);
            let hidden = if action == Action::Read { HIDDEN } else { "" };
            let why = format!("access is denied; grant {permission} on the bucket {bucket}{hidden}");
            return (Kind::Denied, why);
        }
        (_, 500..) => return (Kind::Unavailable, format!("the server ({}) failed", s3.endpoint)),
        _ => return (fault.kind(), format!("the server ({}) refused", s3.endpoint)),
    };
    (kind, why.to_owned())
}

/// Why no whole answer came.
fn unanswered<E: StdError + 'static>(s3: &Connection, error: &SdkError<E>) -> (Kind, String) {
    let causes = || std::iter::successors(Some(error as &dyn StdError), |error| (*error).source());
    let root = causes().last().map(ToString::to_string).unwrap_or_default();
    // Who does not answer in time is told by a text alone.
    if causes().any(|cause| cause.is::<CredentialsError>()) || root.starts_with("identity resolver timed out")
    {
        let why = format!(
            "there are no AWS credentials to be had; give the function a role, or set AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or AWS_PROFILE ({root})"
        );
        return (Kind::Credentials, why);
    }
    let unreachable = match error {
        SdkError::DispatchFailure(failure) => failure.is_io() || failure.is_timeout(),
        SdkError::TimeoutError(_) => true,
        _ => false,
    };
    let endpoint = &s3.endpoint;
    let why = if unreachable {
        format!("S3 ({endpoint}) does not answer; {ROUTE} ({root})")
    } else {
        format!("the request to S3 ({endpoint}) failed ({root})")
    };
    (Kind::Unavailable, why)
}

/// Another version came while an object was read.
pub(super) fn changed(at: &Location) -> Error {
    Error::new(ErrorKind::PreconditionFailed, format!("cannot read {}: {CHANGED}", at.uri))
}

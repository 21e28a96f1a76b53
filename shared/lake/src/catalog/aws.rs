//! What the catalogs of AWS have in common: how often a swap is sent, and errors that say what to do.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use iceberg::{Error, ErrorKind};

use crate::causes::causes;

/// A swap whose answer was lost conflicts with its own success; who commits looks for its snapshot then. One repetition
/// helps against a lost connection, more would only add to the time until someone looks.
const SWAP_ATTEMPTS: u32 = 2;
const SWAP_BACKOFF: Duration = Duration::from_millis(250);

/// How often the request is sent that swaps the pointer of a table.
pub(super) fn swap_retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(SWAP_ATTEMPTS).with_initial_backoff(SWAP_BACKOFF)
}

/// The error code of a service's answer, such as `AccessDeniedException`.
pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// `what` could not be done; `access` says what the role needs for it.
pub(super) fn failed<E, R>(what: &str, access: &str, error: SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    let (cause, remedy) = match error.as_service_error() {
        Some(service) => {
            let code = service.code().unwrap_or("an error without a code");
            // Of a wrong signature the services tell all that was signed, in many lines.
            let message =
                service.message().and_then(|message| message.lines().next()).unwrap_or("no message");
            (format!("{code}: {message}"), remedy_of(code, access))
        }
        None => {
            let cause = causes(&error);
            let remedy = remedy_of_no_answer(&error, &cause);
            (cause, remedy)
        }
    };
    Error::new(ErrorKind::Unexpected, format!("cannot {what}: {cause}. {remedy}"))
}

fn remedy_of(code: &str, access: &str) -> String {
    if code.starts_with("AccessDenied") || code == "NotAuthorizedException" || code == "ForbiddenException" {
        return format!("Allow the function's role {access}");
    }
    let remedy = match code {
        "ExpiredToken" | "ExpiredTokenException" => "The credentials have expired: sign in again",
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationTokenException" => {
            "The credentials are wrong: see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or \
             AWS_PROFILE"
        }
        "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
            "Too many requests: let fewer functions run at the same time (MaximumConcurrency), or have the quota \
             raised"
        }
        "ResourceNumberLimitExceededException" => {
            "A quota is used up: delete old versions of tables, or have it raised"
        }
        _ => "See the service's documentation of this code; messages are delivered again",
    };
    remedy.to_owned()
}

fn remedy_of_no_answer(error: &(dyn StdError + 'static), cause: &str) -> String {
    let mut chain = std::iter::successors(Some(error), |error| (*error).source());
    let remedy = if chain.any(|cause| cause.is::<CredentialsError>()) {
        "There are no credentials: give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or \
         AWS_PROFILE"
    } else if cause.contains("region") {
        "Set AWS_REGION, or the region of the profile"
    } else {
        "See AWS_ENDPOINT_URL, and the network: a function in a VPC needs an endpoint of the service there"
    };
    remedy.to_owned()
}

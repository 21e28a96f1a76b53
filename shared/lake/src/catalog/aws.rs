//! What the catalogs of AWS have in common: how often a swap is sent, and errors that say what to do.

use std::error::Error as StdError;
use std::fmt::Debug;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use iceberg::{Error, ErrorKind};

use super::swap::NotSwapped;
use crate::aws::{Fault, fault_of};
use crate::causes::causes;

/// Codes by which Glue and S3 Tables say that they have done nothing, and never will with this request (AWS Glue API,
/// "UpdateTable"; Amazon S3 API, "UpdateTableMetadataLocation"). `OperationTimeoutException` and whatever is not listed may
/// come after the deed.
const REFUSALS: [&str; 8] = [
    "BadRequestException",
    "EntityNotFoundException",
    "GlueEncryptionException",
    "InvalidInputException",
    "MethodNotAllowedException",
    "NotFoundException",
    "ResourceNumberLimitExceededException",
    "ValidationException",
];

/// How often the request is sent that swaps the pointer of a table: once. Sent again after a lost answer it would conflict
/// with its own success, and a conflict would say nothing.
pub(super) fn swap_retries() -> RetryConfig {
    RetryConfig::disabled()
}

/// Why a swap was not made, which was answered with `code`: `error`. Who knows of a conflict has told so before.
pub(super) fn not_swapped(code: Option<&str>, error: Error) -> NotSwapped {
    let is_refusal = code.is_some_and(|code| {
        let is_common = match fault_of(code) {
            Fault::Denied | Fault::WrongCredentials | Fault::ExpiredCredentials | Fault::WrongClock => true,
            Fault::Throttled | Fault::Other => false,
        };
        is_common || REFUSALS.contains(&code)
    });
    if is_refusal { NotSwapped::Refused(error) } else { NotSwapped::Unknown(error) }
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
    let remedy = match fault_of(code) {
        Fault::Denied => return format!("Allow the function's role {access}"),
        Fault::ExpiredCredentials => "The credentials have expired: sign in again",
        Fault::WrongCredentials => {
            "The credentials are wrong: see AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or \
             AWS_PROFILE"
        }
        Fault::WrongClock => "The clock of this machine is wrong: set it",
        Fault::Throttled => {
            "Too many requests: let fewer functions run at the same time (MaximumConcurrency), or have the quota \
             raised"
        }
        Fault::Other if code == "ResourceNumberLimitExceededException" => {
            "A quota is used up: delete old versions of tables, or have it raised"
        }
        Fault::Other => "See the service's documentation of this code; messages are delivered again",
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

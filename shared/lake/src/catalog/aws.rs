//! What the catalogs of AWS have in common: how often a swap is sent, and errors that say what to do.

use std::error::Error as StdError;
use std::fmt::Debug;

use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use iceberg::Error;

use super::swap::NotSwapped;
use crate::aws::{Fault, fault_of};
use crate::causes::causes;
use crate::error::{Directive, Kind};

/// How often the request is sent that swaps the pointer of a table: once. Sent again after a lost answer it would conflict
/// with its own success, and a conflict would say nothing.
pub(super) fn swap_retries() -> RetryConfig {
    RetryConfig::disabled()
}

/// Why the swap that is called `what` was not made. A service that answers what is wrong with a request has done nothing,
/// and never will with this one (AWS Glue API, "UpdateTable"; Amazon S3 API, "UpdateTableMetadataLocation"). What may pass
/// may come after the deed, as `OperationTimeoutException` does, and without an answer nothing is known, whatever the error
/// says. Who knows of a conflict has told so before. `access` is what a role needs.
pub(super) fn not_swapped<E, R>(what: &str, access: &str, error: SdkError<E, R>) -> NotSwapped
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    R: Debug + Send + Sync + 'static,
{
    let is_answered = error.as_service_error().is_some();
    let error = failed(what, access, error);
    match Kind::of(&error).directive() {
        Directive::HandBack | Directive::Fail if is_answered => NotSwapped::Refused(error),
        Directive::HandBack | Directive::Fail | Directive::Retry => NotSwapped::Unknown(error),
    }
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
    let (kind, cause, remedy) = match error.as_service_error() {
        Some(service) => {
            let code = service.code().unwrap_or("an error without a code");
            // Of a wrong signature the services tell all that was signed, in many lines.
            let message =
                service.message().and_then(|message| message.lines().next()).unwrap_or("no message");
            (fault_of(code).kind(), format!("{code}: {message}"), remedy_of(code, access))
        }
        None => {
            let cause = causes(&error);
            let (kind, remedy) = remedy_of_no_answer(&error, &cause);
            (kind, cause, remedy.to_owned())
        }
    };
    kind.error(format!("cannot {what}: {cause}. {remedy}"))
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
        Fault::Quota => "A quota is used up: delete old versions of tables, or have it raised",
        Fault::Missing | Fault::Key | Fault::Invalid | Fault::Other => {
            "See the service's documentation of this code; messages are delivered again"
        }
    };
    remedy.to_owned()
}

fn remedy_of_no_answer(error: &(dyn StdError + 'static), cause: &str) -> (Kind, &'static str) {
    let mut chain = std::iter::successors(Some(error), |error| (*error).source());
    if chain.any(|cause| cause.is::<CredentialsError>()) {
        let remedy = "There are no credentials: give the function a role, or set AWS_ACCESS_KEY_ID and \
                      AWS_SECRET_ACCESS_KEY, or AWS_PROFILE";
        (Kind::Credentials, remedy)
    } else if cause.contains("region") {
        (Kind::Misconfigured, "Set AWS_REGION, or the region of the profile")
    } else {
        let remedy = "See AWS_ENDPOINT_URL, and the network: a function in a VPC needs an endpoint of the service there";
        (Kind::Unavailable, remedy)
    }
}

#[cfg(all(test, feature = "glue"))]
mod tests {
    use aws_sdk_glue::operation::update_table::UpdateTableError;

    use super::*;

    /// The swap may have been made, whatever the text of an error reminds of.
    #[test]
    fn without_an_answer_nothing_is_known() {
        for text in ["timed out", "no answer from https://region.example"] {
            let error: SdkError<UpdateTableError, ()> = SdkError::timeout_error(text);
            let why = not_swapped("update", "access", error);
            assert!(matches!(why, NotSwapped::Unknown(_)), "{why:?}");
        }
    }
}

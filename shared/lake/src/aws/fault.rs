//! The error code of an AWS service -> what stands behind it, whatever the service.
//!
//! In: codes such as `AccessDeniedException`, which services spell in their own ways (AWS, "Common error types"; S3, "Error
//! responses"). Out: a [`Fault`]. What a code means for one service only, that service's own module knows.

/// What stands behind an error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The role lacks a permission.
    Denied,
    /// The credentials are nobody's, or the signature does not match.
    WrongCredentials,
    /// The credentials were good once.
    ExpiredCredentials,
    /// The clock of this machine is minutes off.
    WrongClock,
    /// Too many requests.
    Throttled,
    /// Anything else.
    Other,
}

/// What stands behind `code`.
pub(crate) fn fault_of(code: &str) -> Fault {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "ForbiddenException"
        | "NotAuthorized"
        | "NotAuthorizedException"
        | "UnauthorizedAccess" => Fault::Denied,
        "AuthFailure"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Fault::WrongCredentials,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => Fault::ExpiredCredentials,
        "RequestExpired" | "RequestTimeTooSkewed" => Fault::WrongClock,
        "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException" => Fault::Throttled,
        _ => Fault::Other,
    }
}

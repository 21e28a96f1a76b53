//! The error code of an AWS service -> what stands behind it, whatever the service.
//!
//! In: codes such as `AccessDeniedException`, which services spell in their own ways (AWS, "Common error types"; S3, "Error
//! responses"). Out: a [`Fault`]. What a code means for one service only, that service's own module knows.

use crate::error::Kind;

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
    /// A quota is used up.
    Quota,
    /// What is asked for is not there.
    Missing,
    /// A key cannot be used.
    Key,
    /// The request is wrong, and will be whenever it is sent.
    Invalid,
    /// Anything else.
    Other,
}

impl Fault {
    /// What helps. Of a code that is not listed nothing is known, not even whether it came after the deed.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Denied => Kind::Denied,
            Self::WrongCredentials | Self::ExpiredCredentials | Self::WrongClock => Kind::Credentials,
            Self::Throttled => Kind::Throttled,
            Self::Quota => Kind::Exhausted,
            Self::Missing => Kind::Missing,
            Self::Key => Kind::Misconfigured,
            Self::Invalid => Kind::Invalid,
            Self::Other => Kind::Unexpected,
        }
    }
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
        "ResourceNumberLimitExceededException" => Fault::Quota,
        "EntityNotFoundException" | "NotFoundException" => Fault::Missing,
        "GlueEncryptionException" => Fault::Key,
        "BadRequestException"
        | "InvalidInputException"
        | "MethodNotAllowedException"
        | "ValidationException" => Fault::Invalid,
        _ => Fault::Other,
    }
}

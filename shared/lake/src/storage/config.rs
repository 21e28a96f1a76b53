//! What is configured of a storage.

use serde::{Deserialize, Serialize};

/// How S3 is spoken to, beyond what every AWS tool reads from its standard environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Config {
    /// Whether the bucket stands in the path of the URL rather than in the host name. None: where an endpoint is configured,
    /// as servers other than AWS need it.
    pub path_style: Option<bool>,
    /// How new objects are encrypted. None: as the bucket says.
    pub encryption: Option<S3Encryption>,
}

/// How new objects are encrypted (Amazon S3 API, `x-amz-server-side-encryption`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum S3Encryption {
    /// `AES256`: by keys of S3.
    Aes256,
    /// `aws:kms`: by a key of KMS, the account's key for S3 if None.
    Kms {
        /// The key's id, ARN or alias.
        key_id: Option<String>,
    },
    /// `aws:kms:dsse`: twice, by a key of KMS, the account's key for S3 if None.
    KmsDsse {
        /// The key's id, ARN or alias.
        key_id: Option<String>,
    },
}

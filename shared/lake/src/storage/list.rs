//! What a listing tells of a file.

use std::time::SystemTime;

/// A version of an object, as a notification names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    /// Without the quotes.
    pub etag: String,
    /// None where the bucket keeps no versions.
    pub version_id: Option<String>,
}

/// A file or an object as a listing tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its URI, which begins with that of the folder as it was asked for.
    pub uri: String,
    /// Its size in bytes; that of a link is its own.
    pub size_bytes: u64,
    /// When it was last written, by the clock of the storage.
    pub modified: SystemTime,
}

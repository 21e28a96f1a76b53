//! What a listing tells of a file.

use std::time::SystemTime;

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

//! An object that was announced -> one that is there.
//!
//! In: an object by URI and version. Out: a handle on its bytes, and their number. Refused: an object that does not exist,
//! and one whose size is told but whose bytes are not given.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use iceberg::io::{FileIO, InputFile};
use iceberg::{ErrorKind, Result};

use crate::error::Kind;
use crate::job::SourceObject;
use crate::storage::version_uri;

/// An object that is there.
pub(crate) struct FoundObject {
    /// Its index in the invocation.
    pub(crate) at: usize,
    pub(crate) object: SourceObject,
    /// Its bytes, as they were when their number was asked for.
    pub(crate) input: Arc<InputFile>,
    pub(crate) size_bytes: u64,
}

impl fmt::Debug for FoundObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FoundObject").field("uri", &self.object.uri).finish_non_exhaustive()
    }
}

/// The URI of the bytes of `object`.
pub(crate) fn place(object: &SourceObject) -> Cow<'_, str> {
    version_uri(&object.uri, object.version_id.as_deref())
}

/// Finds `object`, the `at`th of the invocation, and reads a byte of it.
///
/// # Errors
/// The storage's; `DataInvalid` for an object that does not exist.
pub(crate) async fn find(file_io: &FileIO, at: usize, object: &SourceObject) -> Result<FoundObject> {
    let input = file_io.new_input(place(object))?;
    match input.metadata().await {
        Ok(metadata) => {
            // Some storage tells the size of what it does not give: an archived object, one whose key is not granted.
            if metadata.size > 0 {
                input.reader().await?.read(0..1).await?;
            }
            let (object, input) = (object.clone(), Arc::new(input));
            Ok(FoundObject { at, object, input, size_bytes: metadata.size })
        }
        Err(error) if error.kind() == ErrorKind::DataInvalid && !input.exists().await? => {
            let what = format!(
                "the object {} does not exist; it was deleted, or the notification is for another place",
                object.uri
            );
            Err(Kind::Missing.within(ErrorKind::DataInvalid, what))
        }
        Err(error) => Err(error),
    }
}

//! Objects that exist -> those that no table has, to be announced to append once more: after a rollback, when a notification
//! was lost, or to fill a table from a bucket that was there before.
//!
//! In: the URI of a prefix, and what tables remember of their objects. Out: a stream of the objects below it, each with
//! whether a table has it in this version. Tokens of a long time ago are forgotten: their objects are announced, and append
//! finds their rows. Passed over: what Frazil itself wrote, which append ignores.

use std::time::SystemTime;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::{Error, ErrorKind, Result};

use crate::files::Files;
use crate::layout::Layout;
use crate::ledger::is_ledger;
use crate::quarantine::{Ledger, is_quarantined};
use crate::storage::{ListedFile, ObjectVersion};
use crate::token::Token;

/// Objects whose versions are asked for at the same time.
const PARALLEL: usize = 16;

/// An object that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its URI.
    pub uri: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key, not encoded.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its current version.
    pub version: ObjectVersion,
    /// Whether a table has it.
    pub is_known: bool,
}

/// The objects whose URIs begin with `prefix` and that were last written at `since` or later, if it is given. `ledgers` are
/// those of the tables that may have them.
///
/// # Errors
/// There is no storage for the prefix. In the stream: the storage's.
pub fn stored_objects<'a>(
    files: &'a Files,
    layout: &'a Layout,
    prefix: &'a str,
    since: Option<SystemTime>,
    ledgers: &'a [Ledger],
) -> Result<BoxStream<'a, Result<StoredObject>>> {
    // A listing is of a folder.
    let folder = match prefix.rsplit_once('/') {
        Some((folder, _)) if !folder.ends_with(['/', ':']) => folder,
        _ => prefix,
    };
    let is_wanted = move |file: &ListedFile| {
        file.uri.starts_with(prefix)
            && since.is_none_or(|since| file.modified >= since)
            && !layout.is_unfinished(&file.uri)
            && (layout.errors.is_empty()
                || !(is_quarantined(&file.uri, &layout.errors) || is_ledger(&file.uri, &layout.errors)))
    };
    let wanted = files.list(folder)?.try_filter(move |file| std::future::ready(is_wanted(file)));
    let objects = wanted.map(move |file| look_at(files, layout, ledgers, file)).buffered(PARALLEL);
    Ok(objects.try_filter_map(|object| std::future::ready(Ok(object))).boxed())
}

async fn look_at(
    files: &Files,
    layout: &Layout,
    ledgers: &[Ledger],
    file: Result<ListedFile>,
) -> Result<Option<StoredObject>> {
    let ListedFile { uri, size_bytes, .. } = file?;
    let place = layout.place(&uri);
    let Some((bucket, key)) = place.as_deref().and_then(|place| place.split_once('/')) else {
        let what = format!("{uri}: expected an object below {}", layout.source_root);
        return Err(Error::new(ErrorKind::DataInvalid, what));
    };
    // Gone since it was listed.
    let Some(version) = files.version(&uri).await? else { return Ok(None) };
    let token = Token::new(bucket, key, version.version_id.as_deref().unwrap_or(&version.etag));
    let is_known = ledgers.iter().any(|ledger| ledger.has(&token));
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    Ok(Some(StoredObject { uri, bucket, key, size_bytes, version, is_known }))
}

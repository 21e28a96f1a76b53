//! The objects of a stream, and how many records each has.
//!
//! In: where they lie, and which of them count. Out: each is read once, by the reader that append uses, as it is listed, and
//! goes into the [`Spill`]; [`Objects`] are those of one part of it, with whatever else the tables name.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::Result;

use super::spill::{Entry, Spill};
use super::{Options, Step};
use crate::files::Files;
use crate::job::SourceObject;
use crate::layout::Layout;
use crate::objects::count_records;
use crate::storage::ListedFile;
use crate::token::Token;

/// Objects that are read at the same time: of S3 the answers take longer than the reading.
const PARALLEL_LOCAL: usize = 2;
const PARALLEL_REMOTE: usize = 16;

/// An object that exists.
#[derive(Debug)]
pub(super) struct Object {
    /// Its bucket and key.
    pub(super) token: Token,
    /// What Firehose keeps of records that transform refused: it need not be in a table.
    pub(super) processing_failed: bool,
    /// How many records an append finds in it, or why it cannot be read.
    pub(super) records: std::result::Result<u64, String>,
    /// Messages in it that hold no record on purpose.
    pub(super) dropped: u64,
}

/// The objects of one part.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// By their place, `<bucket>/<key>`.
    pub(super) by_place: BTreeMap<String, Object>,
    /// The place of every object that was named so far, by the digest that tokens have of it.
    by_digest: HashMap<[u8; 16], String>,
}

impl Objects {
    pub(super) fn add(
        &mut self,
        layout: &Layout,
        place: String,
        records: std::result::Result<u64, String>,
        dropped: u64,
    ) {
        let token = token_of(&place);
        self.by_digest.insert(token.key(), place.clone());
        let processing_failed = layout.is_of_failed_records(&place);
        self.by_place.entry(place).or_insert(Object { token, processing_failed, records, dropped });
    }

    /// Remembers the place of an object that a row or a rejection names, whether it still exists or not. The key of its token
    /// is as it was written, which may differ from the path in slashes.
    pub(super) fn name(&mut self, layout: &Layout, place: &str, named: Option<&str>) {
        let below = named.and_then(|uri| uri.strip_prefix(layout.source_root.as_str()));
        if let Some((bucket, key)) =
            below.map_or(place, |below| below.trim_start_matches('/')).split_once('/')
        {
            self.by_digest.entry(Token::new(bucket, key, "").key()).or_insert_with(|| place.to_owned());
        }
    }

    /// The place of the object that `token` is of, if it was named anywhere.
    pub(super) fn place_of_token(&self, token: &Token) -> Option<&String> {
        self.by_digest.get(&token.key())
    }
}

/// The version is not known here, and not asked for.
fn token_of(place: &str) -> Token {
    let (bucket, key) = place.split_once('/').unwrap_or((place, ""));
    Token::new(bucket, key, "")
}

/// Lists the objects that count, reads each, and puts them into `spill`. Gives back how many files are unfinished.
pub(super) async fn list(
    files: &Files,
    layout: &Layout,
    options: &Options,
    spill: &mut Spill,
) -> Result<u64> {
    let parallel = if layout.is_local() { PARALLEL_LOCAL } else { PARALLEL_REMOTE };
    let (mut unfinished, mut count) = (0, 0);
    for folder in layout.folders() {
        let Some(folder) = options.narrowed(layout, folder) else { continue };
        let mut places = files
            .list(&folder)?
            .try_filter_map(|file| std::future::ready(Ok(wanted(layout, options, file))))
            .map(|wanted| async move {
                match wanted? {
                    Some(place) => count_of(files, layout, options, place).await.map(Some),
                    None => Ok(None),
                }
            })
            .buffer_unordered(parallel)
            .boxed();
        while let Some(entry) = places.try_next().await? {
            match entry {
                Some(entry) => spill.add(&entry)?,
                None => unfinished += 1,
            }
            count += 1;
            (options.progress)(Step::Objects, count);
        }
    }
    Ok(unfinished)
}

/// The place of a file that counts; within it None for one that is not finished.
fn wanted(layout: &Layout, options: &Options, file: ListedFile) -> Option<Option<String>> {
    if layout.is_unfinished(&file.uri) {
        return Some(None);
    }
    let place = layout.place(&file.uri).filter(|place| options.has(place))?;
    options.since.is_none_or(|since| file.modified >= since).then_some(Some(place))
}

/// The object at `place`, read.
pub(super) async fn count_of(
    files: &Files,
    layout: &Layout,
    options: &Options,
    place: String,
) -> Result<Entry> {
    let (bucket, key) = place.split_once('/').unwrap_or((&place, ""));
    let source = SourceObject {
        uri: layout.uri(&place),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        version_id: None,
        token: token_of(&place),
    };
    let counted = count_records(&files.file_io, &source, options.limits, &options.unpack).await;
    let dropped = counted.as_ref().map_or(0, |counts| counts.dropped);
    let records = counted.map(|counts| counts.records).map_err(|error| error.to_string());
    Ok(Entry::Object { place, records, dropped })
}

/// The objects at `places` that exist, read.
pub(super) async fn look_for(
    files: &Files,
    layout: &Layout,
    options: &Options,
    places: Vec<String>,
) -> Result<Vec<Entry>> {
    let parallel = if layout.is_local() { PARALLEL_LOCAL } else { PARALLEL_REMOTE };
    let look = |place: String| async move {
        match files.size(&layout.uri(&place)).await {
            Ok(Some(_)) => count_of(files, layout, options, place).await.map(Some),
            Ok(None) => Ok(None),
            Err(error) => Ok(Some(Entry::Object { place, records: Err(error.to_string()), dropped: 0 })),
        }
    };
    let found = stream::iter(places).map(look).buffer_unordered(parallel);
    found.try_filter_map(|entry| std::future::ready(Ok(entry))).try_collect().await
}

//! The objects of a warehouse, and how many records each has.
//!
//! In: the folders. Out: [`Objects`] by their place below the root: everything under `raw/`, what Firehose keeps of
//! failed records, and whatever else the tables name. Each is read once, by the reader that append uses.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt as _, stream};
use iceberg::io::FileIO;
use lake::{Limits, SourceObject, Token};
use records::unpack::Options;

use crate::warehouse::{Folders, MEMORY_BYTES, RAW_BUCKET, files, is_unfinished, local_path};

/// Objects that are read at the same time.
const PARALLEL_OBJECTS: usize = 2;
const PROCESSING_FAILED: &str = "errors/processing-failed/";

/// An object that exists.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) source: SourceObject,
    /// What Firehose keeps of records that transform refused: it need not be in a table.
    pub(super) processing_failed: bool,
    /// How many records an append finds in it, or why it cannot be read.
    pub(super) records: Result<u64, String>,
    /// Messages in it that hold no record on purpose.
    pub(super) dropped: u64,
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// By their place below the root, `<bucket>/<key>`.
    pub(super) by_place: BTreeMap<String, Object>,
    pub(super) unfinished_files: u64,
    /// The place of every object that was named so far, by the digest that tokens have of it.
    by_digest: HashMap<[u8; 16], String>,
    /// What was found for every name so far.
    places: HashMap<String, Option<String>>,
}

impl Objects {
    /// What lies in the folders of objects.
    pub(super) fn list(folders: &Folders) -> anyhow::Result<Self> {
        let mut objects = Self::default();
        for folder in [RAW_BUCKET, PROCESSING_FAILED] {
            for path in files(&folders.root.join(folder))? {
                if is_unfinished(&path) {
                    objects.unfinished_files += 1;
                } else if let Some(place) = folders.place(&path) {
                    objects.add(folders, place);
                }
            }
        }
        Ok(objects)
    }

    fn add(&mut self, folders: &Folders, place: String) {
        let (bucket, key) = place.split_once('/').unwrap_or((&place, ""));
        // The version is not known here, and not asked for.
        let token = Token::new(bucket, key, "");
        let source = SourceObject {
            uri: format!("{}/{place}", folders.root_uri),
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            version_id: None,
            token,
        };
        self.by_digest.insert(token.key(), place.clone());
        let processing_failed = place.starts_with(PROCESSING_FAILED);
        let records = Err("it was not read".to_owned());
        self.by_place.entry(place).or_insert(Object { source, processing_failed, records, dropped: 0 });
    }

    /// The place of the object that a row or a rejection names by `uri`, whether it still exists or not. None if it is
    /// none of this warehouse.
    pub(super) fn place_of(&mut self, folders: &Folders, uri: &str) -> Option<String> {
        if let Some(place) = self.places.get(uri) {
            return place.clone();
        }
        let path = local_path(uri);
        let place = path.as_ref().and_then(|path| folders.place(path));
        if let (Some(path), Some(place)) = (path, &place) {
            if path.is_file() && !self.by_place.contains_key(place) {
                self.add(folders, place.clone());
            }
            // The key of its token is as it was written, which may differ from the path in slashes.
            let below = uri.strip_prefix(&folders.root_uri).map(|below| below.trim_start_matches('/'));
            if let Some((bucket, key)) = below.unwrap_or(place).split_once('/') {
                self.by_digest.entry(Token::new(bucket, key, "").key()).or_insert_with(|| place.clone());
            }
        }
        self.places.insert(uri.to_owned(), place.clone());
        place
    }

    /// The place of the object that `token` is of, if it was named anywhere.
    pub(super) fn place_of_token(&self, token: &Token) -> Option<&String> {
        self.by_digest.get(&token.key())
    }

    /// Counts the records of all objects, as append finds them by the options `unpack`.
    pub(super) async fn count(&mut self, file_io: &FileIO, unpack: &Options) {
        let limits = Limits::for_memory(MEMORY_BYTES);
        stream::iter(self.by_place.values_mut())
            .for_each_concurrent(PARALLEL_OBJECTS, |object| async move {
                let counted = lake::count_records(file_io, &object.source, limits, unpack).await;
                object.dropped = counted.as_ref().map_or(0, |counts| counts.dropped);
                object.records = counted.map(|counts| counts.records).map_err(|error| error.to_string());
            })
            .await;
    }
}

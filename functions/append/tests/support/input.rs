//! Raw objects, and what must become of them.
//!
//! In: a kind, a number, and random choices. Out: an [`Input`]: the object's bytes, the ids of its sound records, and
//! the records that must be rejected.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastrand::Rng;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Place;

/// A raw object.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) key: String,
    pub(crate) etag: String,
    pub(crate) content: Vec<u8>,
    /// `record_id` of every sound record.
    pub(crate) ids: Vec<String>,
    /// The others, in order.
    pub(crate) rejected: Vec<Rejected>,
}

/// Which record is rejected, from 1, and its bytes; none for a rest that cannot be cut into records.
pub(crate) type Rejected = (u64, Option<Vec<u8>>);

/// What is in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sound records.
    Plain,
    /// The same in gzip.
    Gzip,
    /// Sound records, and between them some that are not.
    Mixed,
    /// The same in gzip.
    MixedGzip,
    /// Gzip that ends too early.
    Truncated,
    /// No sound record.
    AllBad,
}

impl Input {
    /// The object number `number`, of `records` records.
    pub(crate) fn new(kind: Kind, number: usize, records: usize, rng: &mut Rng) -> Self {
        let mut lines = Vec::new();
        for record in 0..records {
            let id = format!("object {number} record {record}");
            let is_bad = match kind {
                Kind::Plain | Kind::Gzip | Kind::Truncated => false,
                Kind::Mixed | Kind::MixedGzip => rng.u8(..4) == 0,
                Kind::AllBad => true,
            };
            lines.push(match is_bad {
                true => (None, bad_record(&id, rng)),
                false => {
                    let record = sound_record(&id, rng);
                    (Some(id), record)
                }
            });
        }
        let mut content =
            lines.iter().fold(String::new(), |content, (_, line)| content + line + "\n").into_bytes();
        let (mut ids, mut rejected) = (Vec::new(), Vec::new());
        let mut key = format!("2026/01/02/03/clicks-{number}-{}.json", rng.u32(..));
        if matches!(kind, Kind::Gzip | Kind::MixedGzip | Kind::Truncated) {
            content = gzip(&content);
            key += ".gz";
        }
        if kind == Kind::Truncated {
            content.truncate(content.len() * rng.usize(40..70) / 100);
            let mut readable = Vec::new();
            MultiGzDecoder::new(&content[..]).read_to_end(&mut readable).unwrap_err();
            let whole = readable.iter().filter(|byte| **byte == b'\n').count();
            lines.truncate(whole);
            let rest = readable.rsplit(|byte| *byte == b'\n').next().unwrap();
            let mut row = whole as u64;
            if !rest.is_empty() {
                row += 1;
                rejected.push((row, Some(rest.to_vec())));
            }
            rejected.push((row + 1, None));
        }
        for (at, (id, line)) in lines.into_iter().enumerate() {
            match id {
                Some(id) => ids.push(id),
                None => rejected.push((at as u64 + 1, Some(line.into_bytes()))),
            }
        }
        rejected.sort();
        Self { key, etag: format!("{:032x}", rng.u128(..)), content, ids, rejected }
    }

    /// So many objects of each kind, in any order, of as many records as `records` draws.
    pub(crate) fn several(
        counts: &[(usize, Kind)],
        rng: &mut Rng,
        records: impl Fn(&mut Rng) -> usize,
    ) -> Vec<Self> {
        let mut kinds: Vec<Kind> =
            counts.iter().flat_map(|(count, kind)| std::iter::repeat_n(*kind, *count)).collect();
        rng.shuffle(&mut kinds);
        let numbered = kinds.into_iter().enumerate();
        numbered
            .map(|(number, kind)| {
                let records = records(rng);
                Self::new(kind, number, records, rng)
            })
            .collect()
    }

    pub(crate) fn uri(&self, place: &Place) -> String {
        format!("file://{}/raw/{}", place.path().display(), self.key)
    }

    /// How S3 announces the object.
    pub(crate) fn s3_record(&self) -> Value {
        json!({"eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "raw"}, "object": {"key": self.key, "eTag": self.etag}}})
    }

    /// What stands in the summary of the snapshot that holds the object.
    pub(crate) fn token(&self) -> String {
        let key = Sha256::digest(format!("raw\0{}", self.key));
        let version = Sha256::digest(&self.etag);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&key[..16]), URL_SAFE_NO_PAD.encode(&version[..8]))
    }
}

fn sound_record(id: &str, rng: &mut Rng) -> String {
    let hour = rng.u8(2..5);
    let (user, event) = (rng.u16(..), ["view", "click", "buy"][rng.usize(..3)]);
    format!(
        "{{\"record_id\":\"{id}\",\"user_id\":\"u{user}\",\"event_type\":\"{event}\",\
         \"event_data\":{{\"page\":\"/{}\"}},\"ingestion_timestamp\":\"2026-01-02T{hour:02}:04:05.678Z\",\
         \"partition_date\":\"2026-01-02\",\"partition_hour\":\"{hour:02}\"}}",
        rng.u32(..)
    )
}

fn bad_record(id: &str, rng: &mut Rng) -> String {
    match rng.u8(..4) {
        0 => format!("{{\"record_id\":\"{id}\",\"user_id\":oops}}"),
        1 => format!("{{\"record_id\":\"{id}\",\"no_such_column\":1}}"),
        2 => format!("{{\"record_id\":\"{id}\",\"ingestion_timestamp\":\"yesterday\"}}"),
        _ => format!("[\"{id}\"]"),
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

//! The identity of a raw object, as it stands in the summary of the snapshot that holds its rows.
//!
//! In: bucket, key and version of an object. Out: a [`Token`], short and a function of nothing else, so that every
//! delivery of the same object carries the same token. A snapshot's summary lists the tokens of its objects under
//! [`SUMMARY_KEY`]. Tokens count only in the ancestry of the current snapshot: what was rolled back may come again.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iceberg::spec::TableMetadata;
use sha2::{Digest as _, Sha256};

/// Where a snapshot's summary lists its objects: `<key digest>.<version digest>`, parted by spaces.
pub const SUMMARY_KEY: &str = "frazil.objects";

/// Which object, and which version of it. 128 bits of SHA-256 for the key, 64 for the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    key: [u8; 16],
    version: [u8; 8],
}

impl Token {
    /// The token of version `version` (version id, else ETag, else sequencer) of the object `key` in `bucket`.
    pub fn new(bucket: &str, key: &str, version: &str) -> Self {
        // A bucket's name holds no NUL, so no other bucket and key give the same bytes.
        let key = Sha256::new().chain_update(bucket).chain_update([0]).chain_update(key).finalize();
        let version = Sha256::digest(version);
        let mut token = Self { key: [0; 16], version: [0; 8] };
        token.key.copy_from_slice(&key[..16]);
        token.version.copy_from_slice(&version[..8]);
        token
    }

    /// The digest of bucket and key alone: the same for all versions of an object.
    pub fn key(&self) -> [u8; 16] {
        self.key
    }

    /// The digest of the version alone: part of the names of files about this object.
    pub(crate) fn version_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.version)
    }

    fn parse(text: &str) -> Option<Self> {
        let (key, version) = text.split_once('.')?;
        Some(Self {
            key: URL_SAFE_NO_PAD.decode(key).ok()?.try_into().ok()?,
            version: URL_SAFE_NO_PAD.decode(version).ok()?.try_into().ok()?,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", URL_SAFE_NO_PAD.encode(self.key), URL_SAFE_NO_PAD.encode(self.version))
    }
}

/// What a table knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The snapshot of this id holds this version of the object.
    This(i64),
    /// The table holds another version of the object.
    Other,
}

/// Looks for `tokens` in the summaries of the current snapshot and its ancestors.
pub(crate) fn find(metadata: &TableMetadata, tokens: &[Token]) -> HashMap<Token, Seen> {
    // Several versions of one object may be among them.
    let mut wanted: HashMap<[u8; 16], Vec<Token>> = HashMap::new();
    for token in tokens {
        wanted.entry(token.key).or_default().push(*token);
    }
    let mut found = HashMap::new();
    let mut next = metadata.current_snapshot();
    while let Some(snapshot) = next {
        let listed = snapshot.summary().additional_properties.get(SUMMARY_KEY).map_or("", String::as_str);
        for token in listed.split_ascii_whitespace().filter_map(Token::parse) {
            for wanted in wanted.get(&token.key).into_iter().flatten() {
                if token == *wanted {
                    found.insert(*wanted, Seen::This(snapshot.snapshot_id()));
                } else {
                    found.entry(*wanted).or_insert(Seen::Other);
                }
            }
        }
        next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
    }
    found
}

/// Every token in the ancestry of the current snapshot, with its snapshot's id, newest first, and whether that ancestry
/// reaches back to the table's first snapshot: where it does not, snapshots have expired, and their tokens with them.
pub fn committed(metadata: &TableMetadata) -> (Vec<(Token, i64)>, bool) {
    let mut tokens = Vec::new();
    let mut next = metadata.current_snapshot();
    let mut reaches_back = true;
    // No ancestry is longer than this, unless it is damaged and leads back into itself.
    for _ in 0..metadata.snapshots().len() {
        let Some(snapshot) = next else { break };
        let listed = snapshot.summary().additional_properties.get(SUMMARY_KEY).map_or("", String::as_str);
        let of_snapshot = listed.split_ascii_whitespace().filter_map(Token::parse);
        tokens.extend(of_snapshot.map(|token| (token, snapshot.snapshot_id())));
        next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
        reaches_back = next.is_some() || snapshot.parent_snapshot_id().is_none();
    }
    (tokens, reaches_back)
}

/// The value of [`SUMMARY_KEY`] for `tokens`.
pub(crate) fn listed(tokens: &[Token]) -> String {
    let tokens: Vec<String> = tokens.iter().map(Token::to_string).collect();
    tokens.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_bucket_key_and_version_apart() {
        let token = Token::new("raw", "a/b.gz", "v1");
        assert_eq!(token, Token::new("raw", "a/b.gz", "v1"));
        for other in [
            Token::new("raw", "a/b.gz", "v2"),
            Token::new("raw", "a/c.gz", "v1"),
            Token::new("rawa", "/b.gz", "v1"),
        ] {
            assert_ne!(token, other);
        }
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        assert_eq!(token.to_string().len(), 34);
    }
}

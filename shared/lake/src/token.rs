//! The identity of a raw object, as it stands in the summary of the snapshot that holds its rows.
//!
//! In: bucket, key and version of an object. Out: a [`Token`], short and a function of nothing else, so that every
//! delivery of the same object carries the same token. A snapshot's summary lists the tokens of its objects under
//! [`SUMMARY_KEY`]. Tokens count only in the ancestry of the current snapshot: what was rolled back may come again.

use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use iceberg::spec::{Snapshot, TableMetadata};
use uuid::Uuid;

use crate::ancestors::ancestors;
use crate::digest::Digest;
use crate::offsets;

/// Where a snapshot's summary lists its objects: `<key digest>.<version digest>`, parted by spaces.
pub const SUMMARY_KEY: &str = "frazil.objects";
/// Where a snapshot's summary says how many fields were left out of its rows, if any.
pub(crate) const IGNORED_KEY: &str = "frazil.ignored-fields";
/// Where a snapshot's summary names the commit that made it.
pub(crate) const COMMIT_KEY: &str = "frazil.commit";
/// Where a snapshot's summary says how many records of its objects were rejected. A snapshot that says so accounts for
/// the quarantine files with the id of its commit in their names, and for no others.
pub(crate) const REJECTED_KEY: &str = "frazil.rejected";

/// All of these that tell of what a snapshot is made of.
pub(crate) const OWN_KEYS: [&str; 4] = [SUMMARY_KEY, IGNORED_KEY, COMMIT_KEY, REJECTED_KEY];

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
        let key = Digest::of(bucket).and([0]).and(key).bytes();
        Self { key, version: Digest::of(version).bytes() }
    }

    /// The digest of bucket and key alone: the same for all versions of an object.
    pub fn key(&self) -> [u8; 16] {
        self.key
    }

    /// The digest of the version alone: part of the names of files about this object.
    pub(crate) fn version_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.version)
    }

    /// The digest of the version alone.
    pub(crate) fn version(&self) -> [u8; 8] {
        self.version
    }

    /// The token of these digests.
    pub(crate) fn of_digests(key: [u8; 16], version: [u8; 8]) -> Self {
        Self { key, version }
    }

    /// The token of the version of an object of which `version` is the digest, as file names have it.
    pub(crate) fn of_version(bucket: &str, key: &str, version: &str) -> Option<Self> {
        let version = URL_SAFE_NO_PAD.decode(version).ok()?.try_into().ok()?;
        Some(Self { version, ..Self::new(bucket, key, "") })
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

/// The sequence number of a table's first snapshot (Iceberg specification, "Sequence Numbers"). Tables of format version
/// 1 have none.
pub(crate) const FIRST_SEQUENCE_NUMBER: i64 = 1;

/// What a table knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The snapshot of this id holds this version of the object.
    This(i64),
    /// The table holds other versions of the object: [`History::versions`].
    Other,
}

/// A version of an object that a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) token: Token,
    /// The commit that its quarantine file is named by.
    pub(crate) commit: Option<Uuid>,
}

/// What a line of a table's snapshots tells of some tokens.
#[derive(Debug)]
pub(crate) struct History {
    /// The tokens that it knows something of.
    pub(crate) seen: HashMap<Token, Seen>,
    /// Other versions of the object of a token.
    pub(crate) versions: HashMap<Token, Vec<Version>>,
    /// Whether the ancestry was followed to its end. If not, snapshots may have expired that held any object.
    pub(crate) complete: bool,
}

impl History {
    pub(crate) fn new(complete: bool) -> Self {
        Self { seen: HashMap::new(), versions: HashMap::new(), complete }
    }

    /// The snapshot `snapshot` has `found`, the object of `wanted` in this or another version.
    pub(crate) fn add(&mut self, wanted: Token, found: Version, snapshot: i64) {
        if found.token == wanted {
            self.seen.insert(wanted, Seen::This(snapshot));
        } else {
            self.seen.entry(wanted).or_insert(Seen::Other);
            self.versions.entry(wanted).or_default().push(found);
        }
    }
}

/// The tokens that a snapshot lists.
pub(crate) fn tokens_of(snapshot: &Snapshot) -> impl Iterator<Item = Token> {
    let listed = snapshot.summary().additional_properties.get(SUMMARY_KEY).map_or("", String::as_str);
    listed.split_ascii_whitespace().filter_map(Token::parse)
}

/// Whether `text` is a list of tokens, and nothing else.
pub(crate) fn are_tokens(text: &str) -> bool {
    text.split_ascii_whitespace().all(|token| Token::parse(token).is_some())
}

/// Whether a snapshot lists what its rows are from: objects, or records of Kafka topics.
pub(crate) fn is_ours(snapshot: &Snapshot) -> bool {
    let summary = &snapshot.summary().additional_properties;
    summary.contains_key(SUMMARY_KEY) || summary.contains_key(offsets::SUMMARY_KEY)
}

/// Looks for `tokens` in the summaries of the snapshot `head` and its ancestors: of all of them, or of those that came
/// after the snapshot `since`, which must then be an ancestor.
pub(crate) fn history(
    metadata: &TableMetadata,
    head: Option<i64>,
    tokens: &[Token],
    since: Option<i64>,
) -> History {
    // Several versions of one object may be among them.
    let mut wanted: HashMap<[u8; 16], Vec<Token>> = HashMap::new();
    for token in tokens {
        wanted.entry(token.key).or_default().push(*token);
    }
    let mut history = History::new(head == since);
    for snapshot in ancestors(metadata, head) {
        if Some(snapshot.snapshot_id()) == since {
            history.complete = true;
            break;
        }
        let commit = accounting(snapshot);
        for token in tokens_of(snapshot) {
            for wanted in wanted.get(&token.key).into_iter().flatten() {
                history.add(*wanted, Version { token, commit }, snapshot.snapshot_id());
            }
        }
        // Some engines expire a snapshot and leave its child without a parent, as if it were the table's first.
        history.complete = since.is_none() && snapshot.sequence_number() == FIRST_SEQUENCE_NUMBER;
    }
    history
}

/// The commit that quarantine files of the objects of `snapshot` are named by. None if the snapshot is not ours, or of a
/// version of Frazil that named no commits there.
pub(crate) fn accounting(snapshot: &Snapshot) -> Option<Uuid> {
    let summary = &snapshot.summary().additional_properties;
    summary.contains_key(REJECTED_KEY).then(|| Uuid::try_parse(summary.get(COMMIT_KEY)?).ok())?
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

//! The name of a quarantine file: which table, which version of which object, and which commit.
//!
//! In: an object and the commit that is to account for it, or the name of a file. Out: the other. Below the errors prefix a
//! file is `quarantine/<table>/<bucket>/<key>.<version>.<commit>.jsonl`, with `.gz` behind it where it is large. Without
//! `<commit>` it is of an object that was rejected when there was no table, or was written by a version of Frazil that
//! named no commits.

use uuid::Uuid;

use crate::job::SourceObject;
use crate::token::Token;

/// File systems take 255 bytes a name, and S3 takes 1,024 a key; a prefix and a suffix must fit in too.
const MAX_NAME_BYTES: usize = 150;
const MAX_PATH_BYTES: usize = 700;
const COMPRESSED: &str = ".gz";

/// What the name of a quarantine file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    /// `NAMESPACE.NAME`.
    pub table: String,
    /// `<bucket>/<key>` as the name has them, escaped or as digests: the same for all files about one object.
    pub object: String,
    /// Digest of the object's version.
    pub version: String,
    /// The commit that accounts for the object if this file counts.
    pub commit: Option<Uuid>,
}

impl FileName {
    /// Reads `place`, which is below `errors/quarantine/` or `errors/redriven/`. None if no such file has this name.
    pub fn parse(place: &str) -> Option<Self> {
        let (table, rest) = place.split_once('/')?;
        let rest = rest.strip_suffix(COMPRESSED).unwrap_or(rest).strip_suffix(".jsonl")?;
        let (rest, last) = rest.rsplit_once('.')?;
        // The digest of a version is shorter than any form of a UUID.
        let (object, version, commit) = match Uuid::try_parse(last) {
            Ok(commit) => {
                let (object, version) = rest.rsplit_once('.')?;
                (object, version, Some(commit))
            }
            Err(_) => (rest, last, None),
        };
        Some(Self { table: table.to_owned(), object: object.to_owned(), version: version.to_owned(), commit })
    }
}

/// Whether a quarantine file of this name is compressed.
pub(super) fn is_compressed(name: &str) -> bool {
    name.ends_with(COMPRESSED)
}

/// The places of one table's files.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) errors_uri: String,
    pub(super) table: String,
}

impl Places {
    /// The copy of an object.
    pub(super) fn copy(&self, object: &SourceObject) -> String {
        format!("{}.{}", self.stem("objects", object), object.token.version_text())
    }

    /// Where the quarantine of `version` of `object` is if the commit `commit` accounts for it; `folder` is `quarantine`, or
    /// `redriven` for lines that were put back.
    pub(super) fn lines(
        &self,
        folder: &str,
        object: &SourceObject,
        version: Token,
        commit: Option<Uuid>,
        compressed: bool,
    ) -> String {
        let commit = commit.map_or_else(String::new, |commit| format!(".{}", commit.simple()));
        let ending = if compressed { COMPRESSED } else { "" };
        format!("{}.{}{commit}.jsonl{ending}", self.stem(folder, object), version.version_text())
    }

    fn stem(&self, folder: &str, object: &SourceObject) -> String {
        let (bucket, key) = (safe_path(&object.bucket), safe_path(&object.key));
        format!("{}/{folder}/{}/{bucket}/{key}", self.errors_uri, self.table)
    }
}

/// Whether `uri` is a file that the quarantine wrote, or keeps when its rows were put back: to read it as raw input would
/// never end.
pub(crate) fn is_quarantined(uri: &str, errors_uri: &str) -> bool {
    uri.strip_prefix(errors_uri.trim_end_matches('/')).is_some_and(|rest| {
        ["/quarantine/", "/objects/", "/redriven/"].iter().any(|own| rest.starts_with(own))
    })
}

/// `key` with the segments escaped that a file system would not take as names. Digests stand for what is too long.
fn safe_path(key: &str) -> String {
    let segments: Vec<String> = key
        .split('/')
        .map(|segment| match segment {
            "" => "%".to_owned(),
            "." => "%2E".to_owned(),
            ".." => "%2E%2E".to_owned(),
            name => match name.replace('%', "%25").replace('#', "%23").replace('?', "%3F") {
                escaped if escaped.len() > MAX_NAME_BYTES => digest(name),
                escaped => escaped,
            },
        })
        .collect();
    match segments.join("/") {
        path if path.len() > MAX_PATH_BYTES => digest(key),
        path => path,
    }
}

fn digest(name: &str) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_leaves_the_quarantine() {
        assert_eq!(safe_path("../a/./b//c%2F#?.gz"), "%2E%2E/a/%2E/b/%/c%252F%23%3F.gz");
        assert!(safe_path(&format!("a/{}", "x".repeat(1000))).len() < 50);
        assert!(safe_path(&"a/".repeat(500)).len() < 50);
        assert!(safe_path(&"%".repeat(120)).len() < 50, "what counts is the length when escaped");
    }

    #[test]
    fn our_own_output_is_known() {
        assert!(is_quarantined("s3://b/errors/quarantine/t/x.jsonl", "s3://b/errors/"));
        assert!(is_quarantined("s3://b/errors/objects/t/x", "s3://b/errors"));
        assert!(is_quarantined("s3://b/errors/redriven/t/raw/processing-failed/x.jsonl", "s3://b/errors"));
        assert!(!is_quarantined("s3://b/errors/processing-failed/x", "s3://b/errors"));
        assert!(!is_quarantined("s3://b/raw/quarantine/x", "s3://b/errors"));
    }

    #[test]
    fn a_name_says_what_it_was_made_of() {
        let places = Places { errors_uri: "e".into(), table: "ns.t".into() };
        let commit = Uuid::from_u128(7 << 64);
        for key in ["a/b.gz", "a.AAAAAAAAAAA", "a.00000000000000000000000000000001", "ü %"] {
            let token = Token::new("raw", key, "v");
            let object = SourceObject {
                uri: String::new(),
                bucket: "raw".into(),
                key: key.into(),
                version_id: None,
                token,
            };
            for (commit, compressed) in [(None, false), (Some(commit), false), (Some(commit), true)] {
                let uri = places.lines("quarantine", &object, token, commit, compressed);
                assert_eq!(is_compressed(&uri), compressed);
                let expected = FileName {
                    table: "ns.t".into(),
                    object: format!("raw/{}", safe_path(key)),
                    version: token.version_text(),
                    commit,
                };
                assert_eq!(
                    FileName::parse(uri.strip_prefix("e/quarantine/").unwrap()),
                    Some(expected),
                    "{uri}"
                );
            }
        }
        for other in ["README", "t/raw/x.jsonl.bak", "t/raw/x", "x.v.jsonl"] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}

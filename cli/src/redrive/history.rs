//! Whether a quarantine file tells what a table lacks of an object.
//!
//! In: the table's metadata, and a quarantine file by object, version and age. Out: yes, or why not. A quarantine
//! file is written before the commit of its object. As long as that is not in the table, the object may come again, with
//! the very rows. Of several versions that are in the table each has a file of what it brought first.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use iceberg::spec::TableMetadata;
use lake::{SUMMARY_KEY, Token};

/// The sequence number of a table's first snapshot; some engines hide that it had a parent.
const FIRST_SEQUENCE_NUMBER: i64 = 1;

/// The objects that the current snapshot of a table and its ancestors tell of.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Digests of the versions of each object, by the digest of its key.
    versions: HashMap<String, Vec<String>>,
    /// When the oldest snapshot was made that is still there, if it was not the first.
    begins_millis: Option<i64>,
}

impl History {
    pub(super) fn of(metadata: &TableMetadata) -> Self {
        let mut history = Self::default();
        let mut next = metadata.current_snapshot();
        while let Some(snapshot) = next {
            let tokens = snapshot.summary().additional_properties.get(SUMMARY_KEY).map_or("", String::as_str);
            for (key, version) in tokens.split_ascii_whitespace().filter_map(|token| token.split_once('.')) {
                history.versions.entry(key.to_owned()).or_default().push(version.to_owned());
            }
            next = snapshot.parent_snapshot_id().and_then(|parent| metadata.snapshot_by_id(parent));
            if next.is_none() && snapshot.sequence_number() != FIRST_SEQUENCE_NUMBER {
                history.begins_millis = Some(snapshot.timestamp_ms());
            }
        }
        history
    }

    /// Whether the object is in the table.
    pub(super) fn has(&self, token: &Token) -> bool {
        let token = token.to_string();
        let (key, version) = token.split_once('.').unwrap_or_default();
        self.versions.get(key).is_some_and(|versions| versions.iter().any(|known| known == version))
    }

    /// Whether a quarantine file counts that was written at `written`, about the version of an object of which `version` is
    /// the digest.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn counts(
        &self,
        bucket: &str,
        key: &str,
        version: &str,
        written: SystemTime,
    ) -> Result<(), &'static str> {
        let token = Token::new(bucket, key, "").to_string();
        let key = token.split_once('.').map_or("", |(key, _)| key);
        let written_millis = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        match self.versions.get(key) {
            Some(versions) if versions.iter().any(|known| known == version) => Ok(()),
            Some(_) => Err("this version of its object is not in the table yet; deliver that again first"),
            // Its commit came after the file, and would be seen unless it has expired.
            None if self.begins_millis.is_some_and(|begins| written_millis < begins as u128) => Ok(()),
            None => Err("its object is not in the table yet; deliver that again first"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn history(tokens: &[&Token], begins_millis: Option<i64>) -> History {
        let mut history = History { begins_millis, ..History::default() };
        for token in tokens {
            let token = token.to_string();
            let (key, version) = token.split_once('.').unwrap();
            history.versions.entry(key.to_owned()).or_default().push(version.to_owned());
        }
        history
    }

    #[test]
    fn versions_count_that_are_in_the_table() {
        let [old, new, other] =
            [("k", "v1"), ("k", "v2"), ("l", "v1")].map(|(key, version)| Token::new("raw", key, version));
        let version = |token: &Token| token.to_string().split_once('.').unwrap().1.to_owned();
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let whole = history(&[&new, &old], None);
        assert!(whole.has(&old) && whole.has(&new) && !whole.has(&other));
        for known in [&old, &new] {
            assert_eq!(whole.counts("raw", "k", &version(known), at(5)), Ok(()));
        }
        assert!(whole.counts("raw", "l", &version(&other), at(5)).unwrap_err().contains("not in the table"));

        let begins_late = history(&[&new], Some(100));
        assert_eq!(begins_late.counts("raw", "l", &version(&other), at(99)), Ok(()));
        assert!(begins_late.counts("raw", "l", &version(&other), at(100)).is_err());
        assert!(begins_late.counts("raw", "k", &version(&old), at(99)).is_err());
    }
}

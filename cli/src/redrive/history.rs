//! Whether a quarantine file tells what a table lacks of an object.
//!
//! In: the table's metadata, and a quarantine file by object, version and age. Out: yes, or why not. A quarantine
//! file is written before the commit of its object. As long as that is not in the table, the object may come again, with
//! the very rows. Of several versions that are in the table each has a file of what it brought first.

use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

use iceberg::spec::TableMetadata;
use lake::{Token, committed};

/// The objects that the current snapshot of a table and its ancestors tell of.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Tokens, as text.
    tokens: HashSet<String>,
    /// When the oldest snapshot was made that is still there, if it was not the first.
    begins_millis: Option<i64>,
}

impl History {
    pub(super) fn of(metadata: &TableMetadata) -> Self {
        let (tokens, reaches_back) = committed(metadata);
        let oldest = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms()).min();
        Self {
            tokens: tokens.iter().map(|(token, _)| token.to_string()).collect(),
            begins_millis: oldest.filter(|_| !reaches_back),
        }
    }

    /// Whether the object is in the table.
    pub(super) fn has(&self, token: &Token) -> bool {
        self.tokens.contains(&token.to_string())
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
        // The commit comes after the file, and would be seen unless it has expired.
        let has_expired = self.begins_millis.is_some_and(|begins| written_millis < begins as u128);
        if has_expired || self.tokens.contains(&format!("{key}.{version}")) {
            Ok(())
        } else {
            Err("its object is not in the table yet, or not in this version; deliver that again first")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn versions_count_that_are_in_the_table() {
        let [old, new, other] =
            [("k", "v1"), ("k", "v2"), ("l", "v1")].map(|(key, version)| Token::new("raw", key, version));
        let version = |token: &Token| token.to_string().split_once('.').unwrap().1.to_owned();
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let tokens = |tokens: &[&Token]| tokens.iter().map(|token| token.to_string()).collect();
        let whole = History { tokens: tokens(&[&new, &old]), begins_millis: None };
        assert!(whole.has(&old) && whole.has(&new) && !whole.has(&other));
        for known in [&old, &new] {
            assert_eq!(whole.counts("raw", "k", &version(known), at(5)), Ok(()));
        }
        assert!(whole.counts("raw", "l", &version(&other), at(5)).unwrap_err().contains("not in the table"));

        let begins_late = History { tokens: tokens(&[&new]), begins_millis: Some(100) };
        for expired in [&old, &new] {
            assert_eq!(begins_late.counts("raw", "k", &version(expired), at(99)), Ok(()));
        }
        assert!(begins_late.counts("raw", "l", &version(&other), at(100)).is_err());
        assert!(begins_late.counts("raw", "k", &version(&old), at(100)).is_err());
    }
}

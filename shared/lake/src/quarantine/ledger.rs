//! Which quarantine files a table accounts for.
//!
//! In: the table's metadata, and a quarantine file by name, object and age. Out: a [`Standing`]. A quarantine file is
//! written before the commit of its object, and that may never come: then the next delivery writes another one, of other
//! records if the table or the limits have changed in between. So a file has the id of its commit in its name, and counts
//! once a snapshot in the ancestry of the current one has that id and the object's token.

use std::collections::{HashMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use super::{FileName, topic};
use crate::ledger::Ledgers;
use crate::offsets::Offsets;
use crate::token::{self, Token};

/// What a table says of a quarantine file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The commit that took its object accounts for it.
    Counts,
    /// Another commit took its object: an attempt left it behind that came to nothing. It is harmless.
    Stale,
    /// Its object is not in the table, or not in this version, and may still come.
    Pending,
    /// The snapshots that would tell have expired.
    Expired,
}

/// What a table tells of its objects.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By token: the commits that account for it. None is one of a version of Frazil that named no commits in files.
    commits: HashMap<Token, Vec<Option<Uuid>>>,
    /// All commits that are known, whether they are ancestors of the current one or not.
    all: HashSet<Uuid>,
    /// Before which time tokens may be missing, if any are.
    begins_millis: Option<i64>,
    /// The commits that are ancestors of the current one, or it itself.
    ancestors: HashSet<Uuid>,
    /// The records of Kafka topics that the table has.
    offsets: Offsets,
}

impl Ledger {
    /// The ledger of the table `metadata`.
    pub async fn of(metadata: &TableMetadata, file_io: &FileIO) -> Self {
        let remembered = Ledgers::default().of(metadata, file_io).await;
        let mut ledger = Self::default();
        for (token, _, commit) in remembered.objects() {
            ledger.commits.entry(token).or_default().push(commit);
        }
        ledger.all = metadata.snapshots().filter_map(|snapshot| token::accounting(snapshot)).collect();
        ledger.all.extend(remembered.commits().iter().filter_map(|commit| commit.id));
        ledger.begins_millis = remembered.doubt().map(|doubt| doubt.floor.time_ms);
        ledger.ancestors = remembered.commit_ids().collect();
        remembered.offsets().iter().for_each(|offsets| ledger.offsets.merge(offsets));
        ledger
    }

    /// Whether the object is in the table, in this version.
    pub fn has(&self, token: &Token) -> bool {
        self.commits.contains_key(token)
    }

    /// Whether the table has the record of a topic that `key` stands for: see [`topic::place`].
    fn has_record(&self, key: &str) -> bool {
        let mut parts = key.rsplitn(3, '/');
        let (offset, partition) = (parts.next().map(str::parse), parts.next().map(str::parse));
        let (Some(Ok(offset)), Some(Ok(partition)), Some(stream)) = (offset, partition, parts.next()) else {
            return false;
        };
        self.offsets.has_offset(stream, partition, offset)
    }

    /// Whether any snapshot that is still there, also one that was rolled back, may need the file.
    pub fn may_need(&self, file: &FileName) -> bool {
        file.commit.is_none_or(|commit| self.all.contains(&commit))
    }

    /// What is to be said of the quarantine file `file`, which was written at `written` and is about the object `key`
    /// in `bucket`.
    pub fn standing(&self, file: &FileName, bucket: &str, key: &str, written: SystemTime) -> Standing {
        if let Some(commits) =
            Token::of_version(bucket, key, &file.version).and_then(|token| self.commits.get(&token))
        {
            return if commits.contains(&file.commit) { Standing::Counts } else { Standing::Stale };
        }
        if bucket == topic::BUCKET {
            match file.commit {
                Some(commit) if self.ancestors.contains(&commit) => return Standing::Counts,
                // Another commit has taken the record.
                _ if self.has_record(key) => return Standing::Stale,
                _ => {}
            }
        }
        let written_millis = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        // A redrive that leaves lines writes the file again, and S3 dates it anew: the id of its commit stays as old as it is.
        let born_millis = file.commit.and_then(|commit| commit.get_timestamp()).map(|time| {
            let (seconds, nanos) = time.to_unix();
            u128::from(seconds) * 1000 + u128::from(nanos) / 1_000_000
        });
        let written_millis = born_millis.map_or(written_millis, |born| born.min(written_millis));
        // The commit comes after the file, and would be seen unless it has expired.
        match self.begins_millis {
            Some(begins) if written_millis < begins.max(0) as u128 => Standing::Expired,
            _ => Standing::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_counts_by_the_commit_in_its_name() {
        let token = |key: &str, version: &str| Token::new("raw", key, version);
        let ids = [1, 2, 3].map(Uuid::from_u128);
        let file = |version: &str, commit| FileName {
            table: "t".into(),
            object: "raw/k".into(),
            version: token("k", version).version_text(),
            commit,
        };
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let commits =
            HashMap::from([(token("k", "new"), vec![Some(ids[0])]), (token("k", "old"), vec![None])]);
        let all = HashSet::from([ids[0], ids[2]]);
        let ledger = |begins_millis| Ledger {
            commits: commits.clone(),
            all: all.clone(),
            begins_millis,
            ..Ledger::default()
        };
        let whole = ledger(None);
        for (version, commit, expected) in [
            ("new", Some(ids[0]), Standing::Counts),
            ("new", Some(ids[1]), Standing::Stale),
            ("new", None, Standing::Stale),
            ("old", None, Standing::Counts),
            ("old", Some(ids[1]), Standing::Stale),
            ("other", Some(ids[1]), Standing::Pending),
            ("other", None, Standing::Pending),
        ] {
            let file = file(version, commit);
            assert_eq!(whole.standing(&file, "raw", "k", at(5)), expected, "{file:?}");
            assert_eq!(whole.standing(&file, "raw", "l", at(5)), Standing::Pending, "another object");
        }
        let late = ledger(Some(100));
        assert_eq!(late.standing(&file("new", Some(ids[0])), "raw", "k", at(5)), Standing::Counts);
        assert_eq!(late.standing(&file("other", Some(ids[1])), "raw", "k", at(99)), Standing::Expired);
        assert_eq!(late.standing(&file("other", Some(ids[1])), "raw", "k", at(100)), Standing::Pending);
        // One whose commit was begun at 50 is as old, whenever S3 has got it again.
        let begun = uuid::Builder::from_unix_timestamp_millis(50, &[1; 10]).into_uuid();
        assert_eq!(late.standing(&file("other", Some(begun)), "raw", "k", at(200)), Standing::Expired);
        let needed = [Some(ids[0]), Some(ids[1]), Some(ids[2]), None].map(|commit| file("new", commit));
        assert_eq!(needed.map(|file| late.may_need(&file)), [true, false, true, true]);
    }
}

//! What must be true of a table, whatever befalls its writers.
//!
//! The model follows the table from swap to swap: which rows each snapshot must have, which objects were answered for. What
//! it says is held against the table in the end, and against each step as it is made.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use iceberg::spec::{SnapshotReference, SnapshotRetention, TableMetadata, TableMetadataRef};

use super::branches::Told;
use crate::offsets::{Offsets, offsets_of};
use crate::token::{SUMMARY_KEY, Token};
use crate::{SourceObject, TopicRecord};

/// What is delivered, and the values of `n` in the rows of it.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) source: Source,
    pub(crate) rows: Vec<i64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Source {
    Object(SourceObject),
    /// A record of a topic.
    Record(TopicRecord),
}

/// The table, as its catalog has it.
#[derive(Clone, Debug)]
pub(crate) struct Pointer {
    pub(crate) location: String,
    pub(crate) metadata: TableMetadataRef,
}

/// Who makes a swap.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// Frazil, by its clock.
    Append { now_ms: i64 },
    /// Another engine or an operator: the rows that the new snapshot has more and less, if there is one.
    Other { added: Vec<i64>, deleted: Vec<i64> },
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) inputs: Vec<Input>,
    pub(crate) pointer: Option<Pointer>,
    /// Rows of each snapshot that there ever was, and those that were deleted on its line.
    rows: HashMap<i64, BTreeSet<i64>>,
    deleted: HashMap<i64, BTreeSet<i64>>,
    /// Objects that were answered for, with the number of rollbacks there had been.
    answered: BTreeMap<usize, u64>,
    rollbacks: u64,
    /// Set where a branch is appended to and published: it judges the table's states then.
    pub(crate) branches: Option<Told>,
    /// All marks that any snapshot has ever had.
    pub(crate) marks: Marks,
    /// What happened, for whoever looks into a failure.
    pub(crate) trace: Vec<String>,
    /// What must not have happened.
    pub(crate) faults: Vec<String>,
}

impl Model {
    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let what = what();
            self.trace.push(format!("FAULT {what}"));
            self.faults.push(what);
        }
    }

    /// The rows that the snapshot `id` must have, each once.
    pub(crate) fn rows(&self, id: i64) -> BTreeSet<i64> {
        self.rows.get(&id).cloned().unwrap_or_default()
    }

    /// The rows that the current snapshot must have.
    pub(crate) fn current_rows(&self) -> BTreeSet<i64> {
        let current = self.pointer.as_ref().and_then(|pointer| pointer.metadata.current_snapshot_id());
        current.map(|id| self.rows(id)).unwrap_or_default()
    }

    /// The rows that were deleted from the current snapshot or one before it: they must not come back.
    pub(crate) fn current_deleted(&self) -> BTreeSet<i64> {
        let current = self.pointer.as_ref().and_then(|pointer| pointer.metadata.current_snapshot_id());
        current.and_then(|id| self.deleted.get(&id)).cloned().unwrap_or_default()
    }

    /// Whether the table has all rows of the object `at` that nobody has deleted.
    fn has(&self, at: usize) -> bool {
        let (rows, deleted) = (self.current_rows(), self.current_deleted());
        self.inputs[at].rows.iter().all(|row| rows.contains(row) || deleted.contains(row))
    }

    /// How often the table was rolled back so far.
    pub(crate) fn rollbacks(&self) -> u64 {
        self.rollbacks
    }

    /// The object `at` was answered for: it will not be delivered again. The delivery began after `rollbacks`; one that
    /// came while it went on may have taken the object away again.
    pub(crate) fn answered(&mut self, at: usize, rollbacks: u64) {
        self.answered.insert(at, rollbacks);
        if rollbacks != self.rollbacks || self.branches.is_some() {
            return;
        }
        let is_there = self.has(at);
        self.expect(is_there, || format!("input {at} was answered for, and is not in the table"));
    }

    /// The objects that were answered for.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &Input> {
        self.answered.keys().map(|at| &self.inputs[*at])
    }

    /// Puts `next` in the place of the table at `before`; false if the table is another one.
    pub(crate) fn swap(&mut self, before: Option<&str>, next: Pointer, by: By) -> bool {
        let base = self.pointer.clone();
        if base.as_ref().map(|base| base.location.as_str()) != before {
            return false;
        }
        self.pointer = Some(next.clone());
        if let Some(told) = &mut self.branches {
            told.swapped(&next);
            return true;
        }
        let Some(base) = base else { return true };
        let (old, new) = (&base.metadata, &next.metadata);
        let added: Vec<i64> = ids(new).difference(&ids(old)).copied().collect();
        let gone: Vec<i64> = ids(old).difference(&ids(new)).copied().collect();
        self.trace.push(format!(
            "{by:?} adds {added:?}, removes {gone:?}, current {:?}",
            new.current_snapshot_id()
        ));
        self.expect(added.len() <= 1, || format!("several snapshots in one commit: {added:?}"));
        if let Some(id) = added.first() {
            self.added(old, new, *id, &by);
        } else if new.current_snapshot_id() != old.current_snapshot_id() {
            self.rollbacks += 1;
        }
        if let By::Append { now_ms } = by {
            self.keeps_what_is_needed(old, new, &gone, now_ms);
        }
        true
    }

    fn added(&mut self, old: &TableMetadata, new: &TableMetadata, id: i64, by: &By) {
        let Some(snapshot) = new.snapshot_by_id(id) else { return };
        let parent = snapshot.parent_snapshot_id();
        self.expect(new.current_snapshot_id() == Some(id), || format!("the snapshot {id} is not current"));
        self.expect(parent == old.current_snapshot_id(), || {
            format!(
                "the snapshot {id} comes after {parent:?}, the current was {:?}",
                old.current_snapshot_id()
            )
        });
        let mut rows = parent.map(|parent| self.rows(parent)).unwrap_or_default();
        let mut gone = parent.and_then(|parent| self.deleted.get(&parent)).cloned().unwrap_or_default();
        match by {
            By::Append { .. } => {
                let marks = Marks::of(new, id);
                self.marks.tokens.extend(marks.tokens.iter().cloned());
                self.marks.offsets.merge(&marks.offsets);
                let inputs = self.inputs.iter().filter(|input| marks.have(&input.source));
                rows.extend(inputs.flat_map(|input| input.rows.iter().copied()));
                let before = ancestors(old, old.current_snapshot_id());
                let again = before.iter().find(|other| Marks::of(old, **other).meet(&marks));
                self.expect(again.is_none(), || format!("the snapshot {id} has marks of {again:?} again"));
            }
            By::Other { added, deleted } => {
                rows.extend(added);
                gone.extend(deleted);
            }
        }
        rows.retain(|row| !gone.contains(row));
        self.rows.insert(id, rows);
        self.deleted.insert(id, gone);
    }

    /// An append keeps references, and the snapshots that they, the table's properties or a rollback need.
    fn keeps_what_is_needed(&mut self, old: &TableMetadata, new: &TableMetadata, gone: &[i64], now_ms: i64) {
        let (old_refs, new_refs) = (references(old), references(new));
        let now_ms = now_ms.min(old.last_updated_ms());
        let number = |key: &str| old.properties().get(key).and_then(|text| text.parse::<i64>().ok());
        let age = |id: i64| old.snapshot_by_id(id).map_or(0, |snapshot| now_ms - snapshot.timestamp_ms());
        for (name, reference) in &old_refs {
            let (_, max_ref_age) = retention(reference);
            let may_go = max_ref_age.or(number("history.expire.max-ref-age-ms"));
            let may_go = name != "main" && may_go.is_some_and(|most| age(reference.snapshot_id) > most);
            let kept = new_refs.get(name);
            let is_kept = match name.as_str() {
                "main" => kept.is_some_and(|kept| kept.retention == reference.retention),
                _ => kept == Some(reference),
            };
            self.expect(is_kept || (may_go && kept.is_none()), || {
                format!("an append made {kept:?} of the reference {name}, {reference:?}")
            });
        }
        self.expect(
            old.properties().get("gc.enabled").is_none_or(|text| text != "false") || gone.is_empty(),
            || format!("{gone:?} have expired, and gc.enabled is false"),
        );
        for (name, reference) in &new_refs {
            let ((least, max_age), _) = retention(reference);
            let is_branch = matches!(reference.retention, SnapshotRetention::Branch { .. });
            let least = least.or(number("history.expire.min-snapshots-to-keep")).unwrap_or(1).max(1);
            let max_age = max_age.or(number("history.expire.max-snapshot-age-ms")).unwrap_or(432_000_000);
            let mut at = 0;
            let mut next = Some(reference.snapshot_id);
            let mut seen = HashSet::new();
            while let Some(id) = next.filter(|id| seen.insert(*id) && (is_branch || at == 0)) {
                let is_needed = at < least || age(id) <= max_age;
                self.expect(!(is_needed && gone.contains(&id)), || {
                    format!("{id} has expired at the age of {} ms; {name} needs it", age(id))
                });
                let snapshot = new.snapshot_by_id(id).or_else(|| old.snapshot_by_id(id));
                next = snapshot.and_then(|snapshot| snapshot.parent_snapshot_id());
                at += 1;
            }
        }
    }

    /// The rows of objects that are there in one version only. What another version brings again cannot be told from new
    /// records, once the row is gone from the table.
    pub(crate) fn rows_of_one_version(&self) -> BTreeSet<i64> {
        let mut versions: HashMap<&str, usize> = HashMap::new();
        fn uri(input: &Input) -> Option<&str> {
            match &input.source {
                Source::Object(object) => Some(object.uri.as_str()),
                Source::Record(_) => None,
            }
        }
        self.inputs.iter().filter_map(uri).for_each(|uri| *versions.entry(uri).or_default() += 1);
        let once = self.inputs.iter().filter(|input| uri(input).is_none_or(|uri| versions[uri] == 1));
        once.flat_map(|input| input.rows.clone()).collect()
    }

    /// Someone deletes `path`.
    pub(crate) fn deletes(&mut self, path: &str) {
        let Some(pointer) = &self.pointer else { return };
        let metadata = &pointer.metadata;
        let is_needed = pointer.location == path
            || metadata.metadata_log().iter().any(|entry| entry.metadata_file == path)
            || metadata.snapshots().any(|snapshot| snapshot.manifest_list() == path);
        self.expect(!is_needed, || format!("{path} is deleted, and the table needs it"));
    }

    /// Before everything is delivered once more: whatever was answered for is there, unless the table was rolled back.
    pub(crate) fn check_answers(&mut self) {
        let answers: Vec<usize> =
            self.answered.iter().filter(|(_, at)| **at == self.rollbacks).map(|(at, _)| *at).collect();
        for at in answers {
            let is_there = self.has(at);
            self.expect(is_there, || format!("input {at} was answered for, and is no longer in the table"));
        }
    }
}

fn ids(metadata: &TableMetadata) -> BTreeSet<i64> {
    metadata.snapshots().map(|snapshot| snapshot.snapshot_id()).collect()
}

/// The snapshot `head` and what it comes from, as far as it is there.
pub(crate) fn ancestors(metadata: &TableMetadata, head: Option<i64>) -> Vec<i64> {
    let mut found = Vec::new();
    let mut next = head;
    while let Some(snapshot) = next.and_then(|id| metadata.snapshot_by_id(id)) {
        found.push(snapshot.snapshot_id());
        next = snapshot.parent_snapshot_id().filter(|parent| !found.contains(parent));
    }
    found
}

/// What the summary of a snapshot says of its records.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Tokens of objects, as text.
    pub(crate) tokens: BTreeSet<String>,
    pub(crate) offsets: Offsets,
}

impl Marks {
    fn of(metadata: &TableMetadata, id: i64) -> Self {
        let Some(snapshot) = metadata.snapshot_by_id(id) else { return Self::default() };
        let tokens = snapshot.summary().additional_properties.get(SUMMARY_KEY);
        let tokens = tokens.iter().flat_map(|tokens| tokens.split_whitespace()).map(str::to_owned).collect();
        Self { tokens, offsets: offsets_of(snapshot).unwrap_or_default() }
    }

    fn have(&self, source: &Source) -> bool {
        match source {
            Source::Object(object) => self.tokens.contains(&object.token.to_string()),
            Source::Record(TopicRecord { partition, offset, .. }) => {
                let ranges = self.offsets.ranges(&partition.stream, partition.partition);
                ranges.is_some_and(|ranges| ranges.contains(*offset))
            }
        }
    }

    fn meet(&self, other: &Self) -> bool {
        !self.tokens.is_disjoint(&other.tokens) || self.offsets.meets(&other.offsets)
    }
}

/// The library tells references by JSON alone.
pub(crate) fn references(metadata: &TableMetadata) -> BTreeMap<String, SnapshotReference> {
    let json = serde_json::to_value(metadata).unwrap();
    serde_json::from_value(json["refs"].clone()).unwrap_or_default()
}

/// How many snapshots are kept and for how long, and the reference itself.
fn retention(reference: &SnapshotReference) -> ((Option<i64>, Option<i64>), Option<i64>) {
    match reference.retention {
        SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
            ((min_snapshots_to_keep.map(i64::from), max_snapshot_age_ms), max_ref_age_ms)
        }
        SnapshotRetention::Tag { max_ref_age_ms } => ((Some(1), Some(i64::MAX)), max_ref_age_ms),
    }
}

/// The token of the version `version` of the object number `at`.
pub(crate) fn token(at: usize, version: u64) -> Token {
    Token::new("raw", &format!("object-{at}"), &version.to_string())
}

//! A checker of Iceberg metadata trees, for tests.
//!
//! In: the location of a table's metadata file, and a way to the bytes of any file. Out: the [`Fault`]s of the whole tree:
//! metadata, and for each snapshot its manifest list, its manifests and its data files. The rules are those of the table
//! specification, and a few that the specification leaves open and that engines rely on. Nothing of the code under test
//! takes part: JSON and Avro are read as plain values, so that a fault in writing is not hidden by the same fault in
//! reading.

mod avro;
mod files;
mod metadata;
mod row_ids;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::rc::Rc;

use bytes::Bytes;
use serde_json::Value;

use crate::avro::{ListEntry, Manifest};

/// What is expected of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// The metadata file is there and is JSON, plain or gzip.
    MetadataReadable,
    /// Current schema, default spec and default sort order exist, and every snapshot's schema; no id lies beyond the last
    /// one.
    IdsKnown,
    /// References name snapshots that exist, `main` is the current one, and a tag has no retention of a branch.
    References,
    /// The snapshot log names snapshots that exist, goes on in time, within a minute, and ends with the current one.
    SnapshotLog,
    /// The metadata log goes on in time, within a minute, has no file twice and is no longer than the table's property
    /// says.
    MetadataLog,
    /// The files of the metadata log exist.
    MetadataLogFiles,
    /// Statistics are those of snapshots that exist.
    Statistics,
    /// Sequence numbers of snapshots differ, rise from parent to child, and none is beyond the table's last one.
    SequenceNumbers,
    /// A snapshot is no more than a minute older than its parent, or newer than the metadata.
    Times,
    /// The manifest list of a snapshot is there and can be read, and lists nothing twice.
    ListReadable,
    /// A manifest is there, can be read and is as long as the list says.
    ManifestReadable,
    /// A manifest has data files alone or delete files alone, as the list and its header say.
    Content,
    /// List, header and entries agree on the partition spec, and the manifest's schema has its source columns.
    Spec,
    /// The list has one field summary for each field of the spec.
    FieldSummaries,
    /// The list's numbers of files and rows are those of the entries.
    Counts,
    /// An entry that is not new has its snapshot and its sequence numbers written out; one that is new may inherit them.
    WrittenOut,
    /// What is known of a file is the same in every snapshot of a line, but for one that was picked from another.
    Unchanging,
    /// The smallest sequence number of a manifest is that of its live entries.
    MinSequenceNumber,
    /// No number in a manifest is larger than the manifest's, nor the manifest's than the snapshot's.
    ManifestSequenceNumber,
    /// A manifest that a snapshot adds deletes only what the snapshot deletes.
    CarriedDeletes,
    /// Every live file is there.
    FilesExist,
    /// No file is live twice.
    LiveOnce,
    /// The totals of a summary, and what it says was added, are those of the manifests.
    Summary,
    /// Row ids: assigned once, written out where an entry is not new, none for delete manifests, all below the next one.
    RowIds,
}

/// A rule that a tree does not obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// Where, and what is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.rule, self.what)
    }
}

/// A checker that reads each manifest once, however many trees have it. Manifests and their lists never change.
#[derive(Default)]
pub struct Checker {
    /// Whether the files of the metadata log may be gone, as where a catalog or an engine deletes them by itself.
    pub metadata_log_may_be_cut: bool,
    manifests: HashMap<String, Result<Rc<Manifest>, String>>,
    lists: HashMap<String, Result<Rc<Vec<ListEntry>>, String>>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Checker of {} manifests", self.manifests.len())
    }
}

/// Checks the tree whose metadata file is at `location`, all of it.
pub fn check(location: &str, bytes: &dyn Fn(&str) -> Option<Bytes>) -> Vec<Fault> {
    Checker::default().check(location, bytes)
}

/// The metadata at `location` as JSON.
fn metadata(location: &str, bytes: &dyn Fn(&str) -> Option<Bytes>) -> Result<Value, String> {
    let bytes = bytes(location).ok_or("it does not exist")?;
    let mut text = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let read = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut text);
        read.map_err(|error| format!("it is no gzip: {error}"))?;
    } else {
        text.extend_from_slice(&bytes);
    }
    serde_json::from_slice(&text).map_err(|error| format!("it is no JSON: {error}"))
}

impl Checker {
    /// Checks the tree whose metadata file is at `location`. A list or a manifest that was read before is not read again.
    pub fn check(&mut self, location: &str, bytes: &dyn Fn(&str) -> Option<Bytes>) -> Vec<Fault> {
        let mut faults = Faults::default();
        match metadata(location, bytes) {
            Ok(json) => {
                let exists = |path: &str| self.metadata_log_may_be_cut || bytes(path).is_some();
                metadata::check(&json, location, &exists, &mut faults);
                files::check(&json, self, bytes, &mut faults);
            }
            Err(why) => faults.add(Rule::MetadataReadable, format!("{location}: {why}")),
        }
        faults.0
    }

    /// The paths of the live data and delete files of the snapshot whose manifest list is at `list`, as far as they can be
    /// read.
    pub fn live_files(&mut self, list: &str, bytes: &dyn Fn(&str) -> Option<Bytes>) -> Vec<String> {
        let mut paths = Vec::new();
        for listed in self.list(list, bytes).iter().flat_map(|list| list.iter()) {
            if let Ok(manifest) = self.manifest(&listed.path, bytes) {
                let live = manifest.entries.iter().filter(|entry| entry.is_live());
                paths.extend(live.map(|entry| entry.file.path.clone()));
            }
        }
        paths
    }

    fn list(
        &mut self,
        path: &str,
        bytes: &dyn Fn(&str) -> Option<Bytes>,
    ) -> Result<Rc<Vec<ListEntry>>, String> {
        let found = bytes(path).ok_or("it does not exist")?;
        let read = || avro::list(&found).map(Rc::new);
        self.lists.entry(path.to_owned()).or_insert_with(read).clone()
    }

    fn manifest(
        &mut self,
        path: &str,
        bytes: &dyn Fn(&str) -> Option<Bytes>,
    ) -> Result<Rc<Manifest>, String> {
        let found = bytes(path).ok_or("it does not exist")?;
        let read = || avro::manifest(&found).map(Rc::new);
        self.manifests.entry(path.to_owned()).or_insert_with(read).clone()
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, rule: Rule, what: impl Into<String>) {
        self.0.push(Fault { rule, what: what.into() });
    }

    /// Unless `holds`, the rule is broken.
    fn expect(&mut self, holds: bool, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.add(rule, what());
        }
    }
}

/// Clocks of writers differ by so much, in milliseconds: what Iceberg's own library tolerates.
const TOLERANCE_MS: i64 = 60_000;

/// The elements of an array, or nothing.
fn array<'a>(json: &'a Value, key: &str) -> &'a [Value] {
    json[key].as_array().map_or(&[], Vec::as_slice)
}

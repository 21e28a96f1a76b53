//! The rules of manifest lists, manifests and files, for each snapshot.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use bytes::Bytes;
use serde_json::Value;

use crate::avro::{ADDED, DELETED, Entry, ListEntry, Manifest};
use crate::{Checker, Faults, Rule, array, row_ids};

/// What every snapshot must say alike of a file: snapshot id, data and file sequence number, first row id.
type Identity = (Option<i64>, i64, i64, Option<i64>);

/// A snapshot, with its manifests.
pub(crate) struct Tree<'a> {
    pub(crate) id: i64,
    pub(crate) sequence_number: i64,
    pub(crate) json: &'a Value,
    pub(crate) manifests: Vec<(ListEntry, Rc<Manifest>)>,
    /// Of each manifest, the first row id of each entry.
    pub(crate) row_ids: Vec<Vec<Option<i64>>>,
}

pub(crate) fn check(
    json: &Value,
    checker: &mut Checker,
    bytes: &dyn Fn(&str) -> Option<Bytes>,
    faults: &mut Faults,
) {
    let has_numbers = json["format-version"].as_i64().unwrap_or(1) > 1;
    let parents = parents(json);
    let mut files: HashMap<FileKey, Vec<(i64, Identity)>> = HashMap::new();
    let picked = picked(json);
    let mut exists: HashMap<String, bool> = HashMap::new();
    let mut trees = Vec::new();
    for snapshot in array(json, "snapshots") {
        let Some(tree) = read(snapshot, checker, bytes, faults) else { continue };
        for (listed, manifest) in &tree.manifests {
            layout(json, listed, manifest, faults);
            counts(listed, manifest, faults);
            numbers(&tree, listed, manifest, has_numbers, faults);
        }
        live(&tree, (&picked, &parents), bytes, &mut files, &mut exists, faults);
        summary(json, &tree, faults);
        trees.push(tree);
    }
    row_ids::check(json, &trees, faults);
}

fn read<'a>(
    json: &'a Value,
    checker: &mut Checker,
    bytes: &dyn Fn(&str) -> Option<Bytes>,
    faults: &mut Faults,
) -> Option<Tree<'a>> {
    let id = json["snapshot-id"].as_i64()?;
    let path = json["manifest-list"].as_str()?;
    let list = match checker.list(path, bytes) {
        Ok(list) => list,
        Err(why) => {
            faults.add(Rule::ListReadable, format!("the list {path} of the snapshot {id}: {why}"));
            return None;
        }
    };
    let mut seen = HashSet::new();
    let mut manifests = Vec::new();
    for listed in list.iter() {
        let path = &listed.path;
        faults.expect(seen.insert(path), Rule::ListReadable, || {
            format!("the snapshot {id} lists {path} twice")
        });
        match checker.manifest(path, bytes) {
            Ok(manifest) => {
                let length = manifest.length;
                faults.expect(length as i64 == listed.length, Rule::ManifestReadable, || {
                    format!("{path} has {length} bytes, and {} in the list of {id}", listed.length)
                });
                manifests.push((listed.clone(), manifest));
            }
            Err(why) => {
                faults.add(Rule::ManifestReadable, format!("{path} of the snapshot {id}: {why}"));
            }
        }
    }
    let row_ids = manifests.iter().map(|(listed, manifest)| row_ids::of(listed, manifest)).collect();
    let sequence_number = json["sequence-number"].as_i64().unwrap_or(0);
    Some(Tree { id, sequence_number, json, manifests, row_ids })
}

/// Content and partition spec.
fn layout(json: &Value, listed: &ListEntry, manifest: &Manifest, faults: &mut Faults) {
    let (path, header) = (&listed.path, &manifest.header);
    let expected = if listed.content == 0 { "data" } else { "deletes" };
    faults.expect(header.content == expected, Rule::Content, || {
        format!("{path} is listed for {expected}, and says {}", header.content)
    });
    let stray = manifest.entries.iter().find(|entry| (entry.file.content == 0) != (listed.content == 0));
    faults.expect(stray.is_none(), Rule::Content, || {
        format!("{path} is for {expected}, and has {:?}", stray.map(|entry| &entry.file))
    });

    let specs = array(json, "partition-specs");
    let Some(spec) = specs.iter().find(|spec| spec["spec-id"].as_i64() == Some(listed.spec_id)) else {
        faults.add(Rule::Spec, format!("{path} is of the spec {}, which does not exist", listed.spec_id));
        return;
    };
    faults.expect(header.spec_id == Some(listed.spec_id), Rule::Spec, || {
        format!("{path} is of the spec {:?}, and listed for {}", header.spec_id, listed.spec_id)
    });
    let fields = array(spec, "fields");
    let ids: Vec<i64> = fields.iter().filter_map(|field| field["field-id"].as_i64()).collect();
    let of_header = header.spec.as_array().map_or(&[][..], Vec::as_slice);
    let of_header: Vec<i64> = of_header.iter().filter_map(|field| field["field-id"].as_i64()).collect();
    faults.expect(of_header == ids, Rule::Spec, || {
        format!("the header of {path} has the partition fields {of_header:?}, the spec {ids:?}")
    });
    if let Some(of_tuple) = &manifest.partition_ids {
        faults.expect(*of_tuple == ids, Rule::Spec, || {
            format!("the tuples of {path} have the fields {of_tuple:?}, the spec {ids:?}")
        });
    }
    let short = manifest.entries.iter().find(|entry| entry.file.partition_fields != fields.len());
    faults.expect(short.is_none(), Rule::Spec, || {
        format!("{path}: {:?} in a spec of {} fields", short.map(|entry| &entry.file), fields.len())
    });
    for source in fields.iter().filter_map(|field| field["source-id"].as_i64()) {
        faults.expect(has_column(&header.schema, source), Rule::Spec, || {
            format!("the schema of {path} has no column {source}, which the spec needs")
        });
    }
    let fits = match listed.summaries {
        None => fields.is_empty(),
        Some(count) => count == fields.len(),
    };
    faults.expect(fits, Rule::FieldSummaries, || {
        format!("{path} is listed with {:?} field summaries, for {} fields", listed.summaries, fields.len())
    });
}

/// Whether a schema has the column `id`, at any depth.
fn has_column(json: &Value, id: i64) -> bool {
    match json {
        Value::Array(items) => items.iter().any(|item| has_column(item, id)),
        Value::Object(fields) => {
            let is_it =
                ["id", "element-id", "key-id", "value-id"].iter().any(|key| json[*key].as_i64() == Some(id));
            is_it || fields.values().any(|value| has_column(value, id))
        }
        _ => false,
    }
}

fn counts(listed: &ListEntry, manifest: &Manifest, faults: &mut Faults) {
    let (mut files, mut rows) = ([0; 3], [0; 3]);
    for entry in &manifest.entries {
        let Some(at) = usize::try_from(entry.status).ok().filter(|at| *at < 3) else {
            faults.add(Rule::Counts, format!("{}: an entry of the status {}", listed.path, entry.status));
            continue;
        };
        files[at] += 1;
        rows[at] += entry.file.record_count;
    }
    for (what, stated, counted) in [("files", listed.files, files), ("rows", listed.rows, rows)] {
        let differs =
            stated.iter().zip(counted).any(|(stated, counted)| stated.is_some_and(|n| n != counted));
        faults.expect(!differs, Rule::Counts, || {
            format!(
                "{}: {what} existing, added, deleted are {stated:?} in the list, and {counted:?}",
                listed.path
            )
        });
    }
}

/// The sequence number of an entry, by inheritance.
fn number(listed: &ListEntry, entry: &Entry) -> i64 {
    entry.sequence_number.unwrap_or(listed.sequence_number)
}

fn numbers(tree: &Tree<'_>, listed: &ListEntry, manifest: &Manifest, has_numbers: bool, faults: &mut Faults) {
    let (path, is_of_this) = (&listed.path, listed.added_snapshot_id == tree.id);
    for entry in &manifest.entries {
        let file = &entry.file.path;
        let is_new = entry.status == ADDED;
        let has_all = entry.snapshot_id.is_some()
            && (!has_numbers || (entry.sequence_number.is_some() && entry.file_sequence_number.is_some()));
        faults.expect(is_new || has_all, Rule::WrittenOut, || {
            format!("{path}: the entry of {file} is not new, and has {:?}", Numbers::of(entry))
        });
        let is_own = entry.snapshot_id.is_none_or(|id| id == listed.added_snapshot_id);
        let keeps_file_number = entry.file_sequence_number.is_none_or(|own| own == listed.sequence_number);
        faults.expect(!is_new || (is_own && keeps_file_number), Rule::WrittenOut, || {
            format!("{path}: the entry of {file} is new, and of {:?}", Numbers::of(entry))
        });
        // Whatever its manifest's snapshot has deleted is deleted by it; other deletions need not be told again.
        let is_carried = entry.status == DELETED && entry.snapshot_id != Some(listed.added_snapshot_id);
        faults.expect(!(is_of_this && is_carried), Rule::CarriedDeletes, || {
            format!("{path} of the snapshot {} deletes {file}, as {:?} did", tree.id, entry.snapshot_id)
        });
        faults.expect(
            !has_numbers || number(listed, entry) <= listed.sequence_number,
            Rule::ManifestSequenceNumber,
            || format!("{path} has the number {}, {file} {}", listed.sequence_number, number(listed, entry)),
        );
    }
    if !has_numbers {
        return;
    }
    let is_in_order = match is_of_this {
        true => listed.sequence_number == tree.sequence_number,
        false => listed.sequence_number <= tree.sequence_number,
    };
    faults.expect(is_in_order, Rule::ManifestSequenceNumber, || {
        format!(
            "{path}, added by the snapshot {}, has the number {}; the snapshot {} has {}",
            listed.added_snapshot_id, listed.sequence_number, tree.id, tree.sequence_number
        )
    });
    let live = manifest.entries.iter().filter(|entry| entry.is_live());
    if let Some(least) = live.map(|entry| number(listed, entry)).min() {
        faults.expect(listed.min_sequence_number == least, Rule::MinSequenceNumber, || {
            format!("{path}: the smallest number is {least}, in the list {}", listed.min_sequence_number)
        });
    }
}

/// The numbers of an entry as they are written.
#[derive(Debug)]
#[expect(dead_code, reason = "read by Debug")]
struct Numbers {
    snapshot_id: Option<i64>,
    sequence_number: Option<i64>,
    file_sequence_number: Option<i64>,
}

impl Numbers {
    fn of(entry: &Entry) -> Self {
        let Entry { snapshot_id, sequence_number, file_sequence_number, .. } = *entry;
        Self { snapshot_id, sequence_number, file_sequence_number }
    }
}

/// A file by its path, the place of its content within, and the snapshot that it was picked into from another, if it was: it
/// is new in each.
type FileKey = (String, Option<i64>, Option<i64>);

/// The snapshots that were picked from others.
fn picked(json: &Value) -> HashSet<i64> {
    let snapshots = array(json, "snapshots").iter();
    let picked = snapshots.filter(|snapshot| snapshot["summary"]["source-snapshot-id"].is_string());
    picked.filter_map(|snapshot| snapshot["snapshot-id"].as_i64()).collect()
}

/// The parent of each snapshot.
fn parents(json: &Value) -> HashMap<i64, i64> {
    let snapshots = array(json, "snapshots").iter();
    let parent = |snapshot: &Value| {
        Some((snapshot["snapshot-id"].as_i64()?, snapshot["parent-snapshot-id"].as_i64()?))
    };
    snapshots.filter_map(parent).collect()
}

/// Whether one of the snapshots comes from the other. What was rolled back may be added once more, as something new.
fn is_one_line(parents: &HashMap<i64, i64>, one: i64, other: i64) -> bool {
    let comes_from = |from: i64, to: i64| {
        let mut line = std::iter::successors(Some(to), |id| parents.get(id).copied()).take(parents.len() + 1);
        line.any(|id| id == from)
    };
    comes_from(one, other) || comes_from(other, one)
}

fn live(
    tree: &Tree<'_>,
    (picked, parents): (&HashSet<i64>, &HashMap<i64, i64>),
    bytes: &dyn Fn(&str) -> Option<Bytes>,
    files: &mut HashMap<FileKey, Vec<(i64, Identity)>>,
    exists: &mut HashMap<String, bool>,
    faults: &mut Faults,
) {
    let mut seen = HashSet::new();
    for ((listed, manifest), row_ids) in tree.manifests.iter().zip(&tree.row_ids) {
        for (entry, row_id) in manifest.entries.iter().zip(row_ids).filter(|(entry, _)| entry.is_live()) {
            let (path, key) = (&entry.file.path, (entry.file.path.clone(), entry.file.content_offset));
            faults.expect(seen.insert(key.clone()), Rule::LiveOnce, || {
                format!("{path} is live twice in the snapshot {}", tree.id)
            });
            let is_there = *exists.entry(path.clone()).or_insert_with(|| bytes(path).is_some());
            faults.expect(is_there, Rule::FilesExist, || {
                format!("{path} does not exist, and is live in the snapshot {}", tree.id)
            });
            let identity = (
                entry.snapshot_id.or(Some(listed.added_snapshot_id)),
                number(listed, entry),
                entry.file_sequence_number.unwrap_or(listed.sequence_number),
                *row_id,
            );
            let into = identity.0.filter(|id| picked.contains(id));
            let known = files.entry((key.0, key.1, into)).or_default();
            let of_line = known.iter().find(|(id, _)| is_one_line(parents, *id, tree.id));
            let Some((_, known)) = of_line.copied() else {
                known.push((tree.id, identity));
                continue;
            };
            // A table that was upgraded gives row ids to files that had none.
            let is_same = known.3.is_none() || identity.3.is_none() || known.3 == identity.3;
            faults.expect(
                is_same && (known.0, known.1, known.2) == (identity.0, identity.1, identity.2),
                Rule::Unchanging,
                || {
                    format!(
                        "{path} is {identity:?} in {} (snapshot {}), and {known:?} in another snapshot",
                        listed.path, tree.id
                    )
                },
            );
        }
    }
}

/// The keys of a summary that tell of totals.
const TOTALS: [&str; 6] = [
    "total-records",
    "total-data-files",
    "total-delete-files",
    "total-files-size",
    "total-position-deletes",
    "total-equality-deletes",
];

/// Whose snapshots must tell all totals, since they always could: ours.
const OUR_KEYS: &str = "frazil.";

fn summary(json: &Value, tree: &Tree<'_>, faults: &mut Faults) {
    let mut counted: BTreeMap<&str, i64> = TOTALS.iter().map(|key| (*key, 0)).collect();
    let mut add = |key, count| *counted.entry(key).or_insert(0) += count;
    for (listed, manifest) in &tree.manifests {
        for Entry { status, snapshot_id, file, .. } in &manifest.entries {
            let is_of_this = snapshot_id.unwrap_or(listed.added_snapshot_id) == tree.id;
            if *status != DELETED {
                add("total-files-size", file.size_bytes);
                match file.content {
                    0 => add("total-data-files", 1),
                    _ => add("total-delete-files", 1),
                }
                match file.content {
                    0 => add("total-records", file.record_count),
                    1 => add("total-position-deletes", file.record_count),
                    _ => add("total-equality-deletes", file.record_count),
                }
            }
            if *status == ADDED && is_of_this && file.content == 0 {
                add("added-data-files", 1);
                add("added-records", file.record_count);
            }
            if *status == DELETED && is_of_this && file.content == 0 {
                add("deleted-data-files", 1);
                add("deleted-records", file.record_count);
            }
        }
    }
    let summary = &tree.json["summary"];
    let stated = |summary: &Value, key: &str| summary[key].as_str().and_then(|text| text.parse::<i64>().ok());
    for (key, counted) in &counted {
        if let Some(stated) = stated(summary, key) {
            faults.expect(stated == *counted, Rule::Summary, || {
                format!("the snapshot {} says {key} = {stated}, and has {counted}", tree.id)
            });
        }
    }
    let is_ours =
        summary.as_object().is_some_and(|entries| entries.keys().any(|key| key.starts_with(OUR_KEYS)));
    let parent = tree.json["parent-snapshot-id"].as_i64();
    let parent = array(json, "snapshots").iter().find(|other| other["snapshot-id"].as_i64() == parent);
    // Totals are counted on from the parent's.
    let could = parent.map_or(tree.json["parent-snapshot-id"].is_null(), |parent| {
        TOTALS.iter().all(|key| stated(&parent["summary"], key).is_some())
    });
    let lacking = TOTALS.iter().find(|key| stated(summary, key).is_none());
    faults.expect(!(is_ours && could && lacking.is_some()), Rule::Summary, || {
        format!("the snapshot {} does not say {}", tree.id, lacking.unwrap_or(&""))
    });
}

//! Row lineage: the rules of format version 3 (specification, "Row Lineage", "First Row ID Assignment").

use std::collections::BTreeMap;

use serde_json::Value;

use crate::avro::{ADDED, ListEntry, Manifest};
use crate::files::Tree;
use crate::{Faults, Rule};

/// The first row id of each entry: written, or by its place among those that have none.
pub(crate) fn of(listed: &ListEntry, manifest: &Manifest) -> Vec<Option<i64>> {
    let mut next = listed.first_row_id.filter(|_| listed.content == 0);
    let ids = manifest.entries.iter().map(|entry| {
        if entry.file.first_row_id.is_some() || !entry.is_live() {
            return entry.file.first_row_id;
        }
        let first = next?;
        next = Some(first + entry.file.record_count);
        Some(first)
    });
    ids.collect()
}

pub(crate) fn check(json: &Value, trees: &[Tree<'_>], faults: &mut Faults) {
    if json["format-version"].as_i64().unwrap_or(1) < 3 {
        return;
    }
    let Some(next_row_id) = json["next-row-id"].as_i64() else {
        faults.add(Rule::RowIds, "the table has no next-row-id");
        return;
    };
    let mut given: Vec<(i64, i64, i64, i64)> = Vec::new();
    for tree in trees {
        // Snapshots from before an upgrade have none.
        let Some(first) = tree.json["first-row-id"].as_i64() else { continue };
        let Some(added) = tree.json["added-rows"].as_i64() else {
            faults.add(Rule::RowIds, format!("the snapshot {} has no added-rows", tree.id));
            continue;
        };
        let end = first + added;
        given.push((tree.sequence_number, first, end, tree.id));
        faults.expect(added >= 0 && end <= next_row_id, Rule::RowIds, || {
            format!("the snapshot {} gives ids up to {end}, the table's next is {next_row_id}", tree.id)
        });
        manifests(tree, first, end, faults);
        files(tree, end, faults);
    }
    given.sort_unstable();
    for pair in given.windows(2) {
        let ((_, _, end, before), (_, first, _, after)) = (pair[0], pair[1]);
        faults.expect(end <= first, Rule::RowIds, || {
            format!("the snapshot {before} gives ids up to {end}, and {after} from {first} on")
        });
    }
}

fn manifests(tree: &Tree<'_>, first: i64, end: i64, faults: &mut Faults) {
    for (listed, manifest) in &tree.manifests {
        let path = &listed.path;
        if listed.content != 0 {
            faults.expect(listed.first_row_id.is_none(), Rule::RowIds, || {
                format!("{path} is for deletes, and has a first row id")
            });
            continue;
        }
        let Some(start) = listed.first_row_id else {
            faults.add(Rule::RowIds, format!("{path} of the snapshot {} has no first row id", tree.id));
            continue;
        };
        if listed.added_snapshot_id == tree.id {
            faults.expect((first..=end).contains(&start), Rule::RowIds, || {
                format!("{path} has ids from {start} on, its snapshot {first} to {end}")
            });
        }
        for entry in manifest.entries.iter().filter(|entry| entry.is_live() && entry.status != ADDED) {
            faults.expect(
                entry.file.first_row_id.is_some() || manifest.header.format_version < 3,
                Rule::RowIds,
                || format!("{path}: the entry of {} is not new, and has no first row id", entry.file.path),
            );
        }
    }
}

/// No two live files share an id, and none has one that was not given yet.
fn files(tree: &Tree<'_>, end: i64, faults: &mut Faults) {
    let mut ranges: BTreeMap<i64, (i64, &str)> = BTreeMap::new();
    for ((listed, manifest), row_ids) in tree.manifests.iter().zip(&tree.row_ids) {
        let entries = manifest.entries.iter().zip(row_ids).filter(|(entry, _)| entry.is_live());
        for (entry, row_id) in entries.filter(|_| listed.content == 0) {
            let (path, rows) = (entry.file.path.as_str(), entry.file.record_count);
            let Some(start) = *row_id else {
                faults.add(Rule::RowIds, format!("the rows of {path} have no ids"));
                continue;
            };
            faults.expect(start + rows <= end, Rule::RowIds, || {
                format!("{path} has ids up to {}, the snapshot {} up to {end}", start + rows, tree.id)
            });
            if rows == 0 {
                continue;
            }
            let before =
                ranges.range(..start + rows).next_back().filter(|(_, (other_end, _))| *other_end > start);
            faults.expect(before.is_none(), Rule::RowIds, || {
                format!("{path} has ids from {start} on, and so has {:?}", before.map(|(_, (_, path))| path))
            });
            ranges.insert(start, (start + rows, path));
        }
    }
}

//! The rules of the metadata file itself.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::{Faults, Rule, TOLERANCE_MS, array};

/// How many files the metadata log has at most, unless the table says otherwise (specification, "Table behavior
/// properties").
const PREVIOUS_VERSIONS_MAX: i64 = 100;

pub(crate) fn check(json: &Value, location: &str, exists: &dyn Fn(&str) -> bool, faults: &mut Faults) {
    let snapshots: HashMap<i64, &Value> = array(json, "snapshots")
        .iter()
        .filter_map(|snapshot| Some((snapshot["snapshot-id"].as_i64()?, snapshot)))
        .collect();
    ids(json, faults);
    references(json, &snapshots, faults);
    snapshot_log(json, &snapshots, faults);
    metadata_log(json, location, exists, faults);
    for kind in ["statistics", "partition-statistics"] {
        for file in array(json, kind) {
            let id = file["snapshot-id"].as_i64().unwrap_or(-1);
            faults.expect(snapshots.contains_key(&id), Rule::Statistics, || {
                format!("{kind} of the snapshot {id}, which does not exist")
            });
        }
    }
    numbers_and_times(json, &snapshots, faults);
}

/// The current snapshot; files say -1 or nothing where there is none.
pub(crate) fn current_snapshot(json: &Value) -> Option<i64> {
    json["current-snapshot-id"].as_i64().filter(|id| *id != -1)
}

fn ids(json: &Value, faults: &mut Faults) {
    let known = |list: &str, id: &str| -> HashSet<i64> {
        array(json, list).iter().filter_map(|item| item[id].as_i64()).collect()
    };
    let schemas = known("schemas", "schema-id");
    for (current, known) in [
        ("current-schema-id", schemas.clone()),
        ("default-spec-id", known("partition-specs", "spec-id")),
        ("default-sort-order-id", known("sort-orders", "order-id")),
    ] {
        // Version 1 may leave the lists out.
        let Some(id) = json[current].as_i64().filter(|_| !known.is_empty()) else { continue };
        faults.expect(known.contains(&id), Rule::IdsKnown, || format!("{current} is {id}, of {known:?}"));
    }
    for snapshot in array(json, "snapshots") {
        let Some(id) = snapshot["schema-id"].as_i64() else { continue };
        faults.expect(schemas.contains(&id), Rule::IdsKnown, || {
            format!("the snapshot {} has the schema {id}, which does not exist", snapshot["snapshot-id"])
        });
    }
    let most = |list: &str, id: &str, most: &mut i64| {
        for item in array(json, list) {
            highest(&item["fields"], id, most);
        }
    };
    for (last, list, id) in
        [("last-column-id", "schemas", "id"), ("last-partition-id", "partition-specs", "field-id")]
    {
        let mut used = i64::MIN;
        most(list, id, &mut used);
        let Some(last_id) = json[last].as_i64() else { continue };
        faults
            .expect(used <= last_id, Rule::IdsKnown, || format!("{last} is {last_id}, and {used} is in use"));
    }
}

/// The highest number under the key `id` in `json`, at any depth, with those of elements, keys and values.
fn highest(json: &Value, id: &str, most: &mut i64) {
    match json {
        Value::Array(items) => items.iter().for_each(|item| highest(item, id, most)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let is_id =
                    key == id || (id == "id" && ["element-id", "key-id", "value-id"].contains(&&**key));
                if let Some(number) = value.as_i64().filter(|_| is_id) {
                    *most = number.max(*most);
                }
                highest(value, id, most);
            }
        }
        _ => {}
    }
}

fn references(json: &Value, snapshots: &HashMap<i64, &Value>, faults: &mut Faults) {
    if let Some(current) = current_snapshot(json) {
        faults.expect(snapshots.contains_key(&current), Rule::References, || {
            format!("the current snapshot {current} does not exist")
        });
    }
    let Some(references) = json["refs"].as_object() else { return };
    for (name, reference) in references {
        let id = reference["snapshot-id"].as_i64().unwrap_or(-1);
        faults.expect(snapshots.contains_key(&id), Rule::References, || {
            format!("{name} refers to the snapshot {id}, which does not exist")
        });
        let of_branch = ["min-snapshots-to-keep", "max-snapshot-age-ms"];
        let is_sound = match reference["type"].as_str() {
            Some("branch") => true,
            Some("tag") => name != "main" && of_branch.iter().all(|key| reference[*key].is_null()),
            _ => false,
        };
        faults.expect(is_sound, Rule::References, || format!("{name} is {reference}"));
    }
    let main = references.get("main").and_then(|main| main["snapshot-id"].as_i64());
    faults.expect(main == current_snapshot(json), Rule::References, || {
        format!("main is {main:?}, the current snapshot {:?}", current_snapshot(json))
    });
}

fn snapshot_log(json: &Value, snapshots: &HashMap<i64, &Value>, faults: &mut Faults) {
    let log = array(json, "snapshot-log");
    for entry in log {
        let id = entry["snapshot-id"].as_i64().unwrap_or(-1);
        faults.expect(snapshots.contains_key(&id), Rule::SnapshotLog, || {
            format!("the log names the snapshot {id}, which does not exist")
        });
    }
    in_time("the snapshot log", log, json, Rule::SnapshotLog, faults);
    if let Some(last) = log.last() {
        let last = last["snapshot-id"].as_i64();
        faults.expect(last == current_snapshot(json), Rule::SnapshotLog, || {
            format!("the log ends with {last:?}, and {:?} is current", current_snapshot(json))
        });
    } else if let Some(current) = current_snapshot(json) {
        faults.add(Rule::SnapshotLog, format!("the log is empty, and {current} is current"));
    }
}

fn metadata_log(json: &Value, location: &str, exists: &dyn Fn(&str) -> bool, faults: &mut Faults) {
    let log = array(json, "metadata-log");
    in_time("the metadata log", log, json, Rule::MetadataLog, faults);
    let most = json["properties"]["write.metadata.previous-versions-max"]
        .as_str()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(PREVIOUS_VERSIONS_MAX)
        .max(1);
    faults.expect(log.len() as i64 <= most, Rule::MetadataLog, || {
        format!("the log has {} files, of {most}", log.len())
    });
    let mut seen = HashSet::from([location]);
    for file in log.iter().filter_map(|entry| entry["metadata-file"].as_str()) {
        faults.expect(seen.insert(file), Rule::MetadataLog, || format!("the log has {file} twice"));
        faults.expect(exists(file), Rule::MetadataLogFiles, || {
            format!("{file} is in the log and does not exist")
        });
    }
}

/// Entries follow each other in time, and none is later than the metadata.
fn in_time(what: &str, log: &[Value], json: &Value, rule: Rule, faults: &mut Faults) {
    let times = log.iter().map(|entry| entry["timestamp-ms"].as_i64().unwrap_or(i64::MIN));
    let times: Vec<i64> = times.chain(json["last-updated-ms"].as_i64()).collect();
    for pair in times.windows(2) {
        let back = pair[0].saturating_sub(pair[1]);
        faults.expect(back <= TOLERANCE_MS, rule, || format!("{what} goes back by {back} ms: {times:?}"));
    }
}

fn numbers_and_times(json: &Value, snapshots: &HashMap<i64, &Value>, faults: &mut Faults) {
    let all = array(json, "snapshots");
    faults.expect(all.len() == snapshots.len(), Rule::SequenceNumbers, || {
        format!("{} snapshots have {} ids", all.len(), snapshots.len())
    });
    let updated = json["last-updated-ms"].as_i64().unwrap_or(i64::MAX);
    let has_numbers = json["format-version"].as_i64().unwrap_or(1) > 1;
    let last = json["last-sequence-number"].as_i64().unwrap_or(i64::MIN);
    let mut numbers = HashSet::new();
    for snapshot in all {
        let id = &snapshot["snapshot-id"];
        let time = snapshot["timestamp-ms"].as_i64().unwrap_or(i64::MIN);
        let number = snapshot["sequence-number"].as_i64().unwrap_or(0);
        faults.expect(time.saturating_sub(updated) <= TOLERANCE_MS, Rule::Times, || {
            format!("the snapshot {id} is of {time}, the metadata of {updated}")
        });
        if has_numbers {
            faults.expect((1..=last).contains(&number), Rule::SequenceNumbers, || {
                format!("the snapshot {id} has the number {number}, the table's last is {last}")
            });
            faults.expect(numbers.insert(number), Rule::SequenceNumbers, || {
                format!("two snapshots have the number {number}")
            });
        }
        let parent = snapshot["parent-snapshot-id"].as_i64().and_then(|parent| snapshots.get(&parent));
        let Some(parent) = parent else { continue };
        let back = parent["timestamp-ms"].as_i64().unwrap_or(i64::MIN).saturating_sub(time);
        faults.expect(back <= TOLERANCE_MS, Rule::Times, || {
            format!("the snapshot {id} is {back} ms older than its parent")
        });
        let of_parent = parent["sequence-number"].as_i64().unwrap_or(0);
        faults.expect(!has_numbers || of_parent < number, Rule::SequenceNumbers, || {
            format!("the snapshot {id} has the number {number}, its parent {of_parent}")
        });
    }
}

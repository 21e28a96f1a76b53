//! Which snapshots and references of a table go with a commit.
//!
//! In: the metadata a commit starts from, the branch it adds a snapshot to, the time. Out: [`Expired`]. The rules are
//! those of the specification ("Snapshot Retention Policy"), with the properties of the table and the settings of its
//! references; a table that has none of them keeps everything. Beyond them [`MAX_METADATA_BYTES`] bounds what a commit has
//! to read and write: where snapshots come faster than they age, the oldest go first.

use std::collections::{HashMap, HashSet};

use iceberg::Result;
use iceberg::spec::{
    MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention, TableMetadata, TableMetadataBuildResult,
    TableMetadataBuilder, TableProperties,
};

use crate::ancestors::ancestors;

/// The table property that says how large the snapshots in the metadata may be together, as JSON that is not compressed.
pub(crate) const MAX_METADATA_BYTES: &str = "frazil.history.max-metadata-bytes";
/// Of a snapshot's JSON, what is neither the place of its manifest list nor its summary, with its entry in the log.
const SNAPSHOT_BYTES: usize = 240;

/// What a commit removes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expired {
    pub(crate) snapshots: Vec<i64>,
    pub(crate) refs: Vec<String>,
}

/// How long snapshots are kept.
#[derive(Clone, Copy, Debug)]
struct Policy {
    max_age_ms: i64,
    min_to_keep: usize,
    max_ref_age_ms: i64,
    max_bytes: Option<usize>,
}

impl Policy {
    /// None if nothing of the table ever expires.
    fn of(metadata: &TableMetadata, refs: &HashMap<String, SnapshotReference>) -> Option<Self> {
        let properties = metadata.properties();
        let number = |key: &str| properties.get(key).and_then(|text| text.trim().parse::<i64>().ok());
        if properties
            .get(TableProperties::PROPERTY_GC_ENABLED)
            .is_some_and(|text| text.eq_ignore_ascii_case("false"))
        {
            return None;
        }
        let max_age_ms = number(TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS);
        let min_to_keep = number(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP);
        let max_ref_age_ms = number(TableProperties::PROPERTY_MAX_REF_AGE_MS);
        let max_bytes = number(MAX_METADATA_BYTES).and_then(|bytes| usize::try_from(bytes).ok());
        let says_nothing = max_age_ms.or(min_to_keep).or(max_ref_age_ms).is_none() && max_bytes.is_none();
        if says_nothing && refs.values().all(|reference| keeps_all(&reference.retention)) {
            return None;
        }
        let min_to_keep = min_to_keep.and_then(|number| usize::try_from(number).ok());
        Some(Self {
            // A table that says nothing of age keeps its snapshots, whatever else it says.
            max_age_ms: max_age_ms.unwrap_or(match min_to_keep {
                Some(_) => TableProperties::PROPERTY_MAX_SNAPSHOT_AGE_MS_DEFAULT,
                None => i64::MAX,
            }),
            min_to_keep: min_to_keep
                .unwrap_or(TableProperties::PROPERTY_MIN_SNAPSHOTS_TO_KEEP_DEFAULT)
                .max(1),
            max_ref_age_ms: max_ref_age_ms.unwrap_or(TableProperties::PROPERTY_MAX_REF_AGE_MS_DEFAULT),
            max_bytes,
        })
    }
}

fn keeps_all(retention: &SnapshotRetention) -> bool {
    match retention {
        SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, max_ref_age_ms } => {
            min_snapshots_to_keep.is_none() && max_snapshot_age_ms.is_none() && max_ref_age_ms.is_none()
        }
        SnapshotRetention::Tag { max_ref_age_ms } => max_ref_age_ms.is_none(),
    }
}

/// What is to go from `base` when a snapshot is added to its branch `branch`, which counts among those that are kept.
/// `refs` are the references of `base`.
pub(crate) fn expired(
    base: &TableMetadata,
    refs: &HashMap<String, SnapshotReference>,
    branch: &str,
    now_ms: i64,
) -> Expired {
    let Some(policy) = Policy::of(base, refs) else { return Expired::default() };
    // The earlier of both clocks: one that is ahead must not cost history.
    let now_ms = now_ms.min(base.last_updated_ms());
    let is_older = |timestamp_ms: i64, age_ms: i64| timestamp_ms < now_ms.saturating_sub(age_ms);

    let mut expired = Expired::default();
    let mut kept: HashSet<i64> = HashSet::new();
    // Ancestors of branches, also those that are not kept: they are no strays.
    let mut reached: HashSet<i64> = HashSet::new();
    for (name, reference) in refs {
        let head = base.snapshot_by_id(reference.snapshot_id);
        let max_ref_age_ms = match reference.retention {
            SnapshotRetention::Branch { max_ref_age_ms, .. } | SnapshotRetention::Tag { max_ref_age_ms } => {
                max_ref_age_ms.unwrap_or(policy.max_ref_age_ms)
            }
        };
        let is_aged = head.is_none_or(|head| is_older(head.timestamp_ms(), max_ref_age_ms));
        if is_aged && name != MAIN_BRANCH && name != branch {
            expired.refs.push(name.clone());
            continue;
        }
        match reference.retention {
            SnapshotRetention::Tag { .. } => {
                kept.insert(reference.snapshot_id);
            }
            SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. } => {
                let min_to_keep = min_snapshots_to_keep.and_then(|number| usize::try_from(number).ok());
                let min_to_keep = min_to_keep.unwrap_or(policy.min_to_keep).max(1);
                let max_age_ms = max_snapshot_age_ms.unwrap_or(policy.max_age_ms);
                let added = usize::from(name == branch);
                let mut bytes = 0;
                for (at, snapshot) in ancestors(base, Some(reference.snapshot_id)).enumerate() {
                    reached.insert(snapshot.snapshot_id());
                    bytes += json_bytes(snapshot);
                    let is_large = policy.max_bytes.is_some_and(|max| bytes > max);
                    let is_needed = at + added < min_to_keep || (added == 0 && at == 0);
                    if is_needed || !(is_large || is_older(snapshot.timestamp_ms(), max_age_ms)) {
                        kept.insert(snapshot.snapshot_id());
                    }
                }
            }
        }
    }
    let goes = |snapshot: &Snapshot| {
        let id = snapshot.snapshot_id();
        !kept.contains(&id) && (reached.contains(&id) || is_older(snapshot.timestamp_ms(), policy.max_age_ms))
    };
    expired.snapshots =
        base.snapshots().filter(|snapshot| goes(snapshot)).map(|snapshot| snapshot.snapshot_id()).collect();
    expired.snapshots.sort_unstable();
    expired.refs.sort_unstable();
    expired
}

/// What `builder` makes of `base`, without what is `expired`.
pub(super) fn without(
    builder: TableMetadataBuilder,
    base: &TableMetadata,
    expired: &Expired,
) -> Result<TableMetadataBuildResult> {
    if *expired == Expired::default() {
        return builder.build();
    }
    let mut shorter = builder.clone();
    for name in &expired.refs {
        shorter = shorter.remove_ref(name);
    }
    let goes = |id: &i64| expired.snapshots.contains(id) || base.snapshot_by_id(*id).is_none();
    for id in base.statistics_iter().map(|file| file.snapshot_id).filter(goes) {
        shorter = shorter.remove_statistics(id);
    }
    for id in base.partition_statistics_iter().map(|file| file.snapshot_id).filter(goes) {
        shorter = shorter.remove_partition_statistics(id);
    }
    match shorter.remove_snapshots(&expired.snapshots).build() {
        Ok(result) => Ok(result),
        // A log that others have left in disorder is no reason to append nothing.
        Err(error) => {
            tracing::warn!(%error, "snapshots cannot expire; the commit goes on without");
            builder.build()
        }
    }
}

/// About how many bytes of JSON the snapshot takes, not compressed.
fn json_bytes(snapshot: &Snapshot) -> usize {
    let summary = &snapshot.summary().additional_properties;
    let summary = summary.iter().map(|(key, value)| key.len() + value.len() + r#""":"","#.len());
    SNAPSHOT_BYTES + snapshot.manifest_list().len() + summary.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use iceberg::Result;
    use serde_json::{Value, json};

    use super::*;
    use crate::catalog::refs::of_metadata;

    /// Snapshots by id, parent and time; references.
    fn metadata(snapshots: &[(i64, Option<i64>, i64)], refs: Value, properties: Value) -> TableMetadata {
        let list: Vec<Value> = snapshots
            .iter()
            .map(|(id, parent, time)| {
                json!({"snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": id, "timestamp-ms": time,
                       "manifest-list": "file:///t/metadata/list.avro", "summary": {"operation": "append"}, "schema-id": 0})
            })
            .collect();
        let log: Vec<Value> =
            snapshots.iter().map(|(id, _, time)| json!({"snapshot-id": id, "timestamp-ms": time})).collect();
        serde_json::from_value(json!({
            "format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1", "location": "file:///t",
            "last-sequence-number": 99, "last-updated-ms": NOW, "last-column-id": 0, "current-schema-id": 0,
            "schemas": [{"type": "struct", "schema-id": 0, "fields": []}],
            "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}], "last-partition-id": 999,
            "default-sort-order-id": 0, "sort-orders": [{"order-id": 0, "fields": []}],
            "current-snapshot-id": refs["main"]["snapshot-id"], "refs": refs, "properties": properties,
            "snapshots": list, "snapshot-log": log, "metadata-log": []
        }))
        .unwrap()
    }

    const NOW: i64 = 1_800_000_000_000;
    const HOUR: i64 = 3_600_000;

    /// Five snapshots on main, an hour apart, the last one now.
    fn line(refs: Value, properties: Value) -> TableMetadata {
        let snapshots: Vec<_> =
            (1..=5).map(|id| (id, (id > 1).then_some(id - 1), NOW - (5 - id) * HOUR)).collect();
        metadata(&snapshots, refs, properties)
    }

    fn main_at(id: i64) -> Value {
        json!({"main": {"snapshot-id": id, "type": "branch"}})
    }

    fn expired(base: &TableMetadata, branch: &str, now_ms: i64) -> Result<Expired> {
        let refs = of_metadata(base)?;
        Ok(super::expired(base, &refs, branch, now_ms))
    }

    fn gone(metadata: &TableMetadata) -> Vec<i64> {
        expired(metadata, MAIN_BRANCH, NOW).unwrap().snapshots
    }

    fn properties(age_ms: i64, min_to_keep: usize) -> Value {
        json!({"history.expire.max-snapshot-age-ms": age_ms.to_string(),
               "history.expire.min-snapshots-to-keep": min_to_keep.to_string()})
    }

    #[test]
    fn age_and_number_decide() {
        assert_eq!(gone(&line(main_at(5), json!({}))), [] as [i64; 0]);
        assert_eq!(gone(&line(main_at(5), properties(2 * HOUR, 1))), [1, 2]);
        // The snapshot that comes counts.
        assert_eq!(gone(&line(main_at(5), properties(1, 1))), [1, 2, 3, 4]);
        assert_eq!(gone(&line(main_at(5), properties(1, 3))), [1, 2, 3]);
        assert_eq!(gone(&line(main_at(5), properties(1, 100))), [] as [i64; 0]);
        let mut switched_off = properties(1, 1);
        switched_off["gc.enabled"] = "false".into();
        assert_eq!(gone(&line(main_at(5), switched_off)), [] as [i64; 0]);
    }

    #[test]
    fn a_clock_that_is_ahead_costs_nothing() {
        let table = line(main_at(5), properties(4 * HOUR, 1));
        assert_eq!(expired(&table, MAIN_BRANCH, NOW + 100 * HOUR).unwrap(), Expired::default());
        assert_eq!(expired(&table, MAIN_BRANCH, NOW - 100 * HOUR).unwrap(), Expired::default());
    }

    #[test]
    fn what_references_need_is_kept() {
        let mut refs = main_at(5);
        refs["month"] = json!({"snapshot-id": 2, "type": "tag"});
        assert_eq!(gone(&line(refs.clone(), properties(1, 1))), [1, 3, 4]);
        // A branch keeps its head, and more by its own settings; so does main.
        refs["audit"] = json!({"snapshot-id": 4, "type": "branch", "min-snapshots-to-keep": 2});
        assert_eq!(gone(&line(refs.clone(), properties(1, 1))), [1]);
        refs["main"]["max-snapshot-age-ms"] = (100 * HOUR).into();
        assert_eq!(gone(&line(refs, properties(1, 1))), [] as [i64; 0]);
        let own = json!({"main": {"snapshot-id": 5, "type": "branch", "max-snapshot-age-ms": 1, "min-snapshots-to-keep": 2}});
        assert_eq!(gone(&line(own, json!({}))), [1, 2, 3, 4]);
    }

    #[test]
    fn references_age_too() {
        let mut refs = main_at(5);
        refs["old"] = json!({"snapshot-id": 1, "type": "tag", "max-ref-age-ms": HOUR});
        refs["young"] = json!({"snapshot-id": 2, "type": "tag", "max-ref-age-ms": 5 * HOUR});
        let expired = expired(&line(refs, properties(1, 1)), MAIN_BRANCH, NOW).unwrap();
        assert_eq!((expired.refs, expired.snapshots), (vec!["old".to_owned()], vec![1, 3, 4]));
    }

    /// Snapshots that no reference leads to are staged or rolled back: they go by age alone.
    #[test]
    fn strays_go_by_age() {
        assert_eq!(gone(&line(main_at(3), properties(2 * HOUR, 2))), [1, 2]);
        assert_eq!(gone(&line(main_at(3), properties(10 * HOUR, 1))), [] as [i64; 0]);
    }

    #[test]
    fn a_parent_that_is_gone_ends_the_line() {
        let table = metadata(&[(3, Some(2), NOW - HOUR), (4, Some(3), NOW)], main_at(4), properties(1, 1));
        assert_eq!(gone(&table), [3]);
    }

    #[test]
    fn the_size_of_the_metadata_bounds_history() {
        let mut all = properties(100 * HOUR, 2);
        all[MAX_METADATA_BYTES] = "1000".into();
        // 268 bytes each: three fit.
        assert_eq!(gone(&line(main_at(5), all.clone())), [1, 2]);
        all[MAX_METADATA_BYTES] = "10".into();
        assert_eq!(gone(&line(main_at(5), all)), [1, 2, 3, 4]);
    }
}

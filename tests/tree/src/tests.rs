//! A tree that is right, and one fault in it for each rule.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use apache_avro::types::Value;
use apache_avro::{Schema, Writer};
use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::avro::{Entry, File, Header, ListEntry, Manifest};
use crate::{Checker, Fault, Rule, check};

const LOCATION: &str = "t/metadata/3.metadata.json";

/// A tree that can be changed before it is written.
#[derive(Clone)]
struct Tree {
    metadata: Json,
    lists: BTreeMap<&'static str, Vec<ListEntry>>,
    manifests: BTreeMap<&'static str, Manifest>,
    others: BTreeSet<&'static str>,
    gzip: bool,
}

fn file(path: &str, content: i64, record_count: i64, first_row_id: Option<i64>) -> File {
    let path = path.to_owned();
    File {
        content,
        path,
        partition_fields: 1,
        record_count,
        size_bytes: 100,
        first_row_id,
        content_offset: None,
    }
}

fn entry(status: i64, snapshot_id: Option<i64>, number: Option<i64>, file: File) -> Entry {
    Entry { status, snapshot_id, sequence_number: number, file_sequence_number: number, file }
}

fn manifest(content: &str, entries: Vec<Entry>) -> Manifest {
    let schema = json!({"type": "struct", "fields": [
        {"id": 1, "name": "n", "type": "long"}, {"id": 2, "name": "day", "type": "date"}]});
    let header = Header {
        schema,
        spec: json!([{"source-id": 2, "field-id": 1000, "name": "day", "transform": "identity"}]),
        spec_id: Some(0),
        format_version: 3,
        content: content.to_owned(),
    };
    Manifest { length: 0, header, partition_ids: Some(vec![1000]), entries }
}

fn listed(path: &str, snapshot: i64, files: [i64; 3], rows: [i64; 3]) -> ListEntry {
    ListEntry {
        path: path.to_owned(),
        // Filled in when the list is written.
        length: 0,
        spec_id: 0,
        content: 0,
        sequence_number: snapshot,
        min_sequence_number: 1,
        added_snapshot_id: snapshot,
        files: files.map(Some),
        rows: rows.map(Some),
        summaries: Some(1),
        first_row_id: Some(0),
    }
}

impl Tree {
    /// Snapshot 1 adds the file a of 10 rows. Snapshot 2 adds b of 5 rows, in a manifest merged with that of a, and a
    /// file of two deletes. Snapshot 3 deletes b.
    fn right() -> Self {
        let a = || file("a", 0, 10, None);
        let (kept_a, b) = (file("a", 0, 10, Some(0)), || file("b", 0, 5, None));
        let deletes = || ListEntry {
            content: 1,
            min_sequence_number: 2,
            first_row_id: None,
            ..listed("deletes", 2, [0, 1, 0], [0, 2, 0])
        };
        let merged = ListEntry { first_row_id: Some(10), ..listed("m2", 2, [1, 1, 0], [10, 5, 0]) };
        let rest = ListEntry { first_row_id: Some(15), ..listed("m3", 3, [1, 0, 1], [10, 0, 5]) };
        let summary = |operation: &str, records: i64, files: i64, deletes: i64| {
            let total_size = (files + deletes) * 100;
            json!({"operation": operation, "frazil.commit": "c", "total-records": records.to_string(),
                "total-data-files": files.to_string(), "total-delete-files": deletes.to_string(),
                "total-files-size": total_size.to_string(), "total-equality-deletes": "0",
                "total-position-deletes": (deletes * 2).to_string()})
        };
        let snapshot = |id: i64, rows: (i64, i64), summary: Json| {
            let parent = if id > 1 { json!(id - 1) } else { json!(null) };
            json!({"snapshot-id": id, "parent-snapshot-id": parent, "sequence-number": id,
                "timestamp-ms": 1_000_000 * id, "manifest-list": format!("l{id}"), "schema-id": 0,
                "first-row-id": rows.0, "added-rows": rows.1, "summary": summary})
        };
        let log = |id: i64| json!({"snapshot-id": id, "timestamp-ms": 1_000_000 * id});
        let version = |id: i64| json!({"metadata-file": format!("t/metadata/{id}.metadata.json"), "timestamp-ms": 1_000_000 * id});
        let metadata = json!({
            "format-version": 3, "location": "t", "last-updated-ms": 3_000_000, "last-sequence-number": 3,
            "next-row-id": 15, "current-schema-id": 0, "last-column-id": 2, "default-spec-id": 0,
            "last-partition-id": 1000, "default-sort-order-id": 0, "properties": {},
            "schemas": [{"schema-id": 0, "fields": [{"id": 1, "name": "n"}, {"id": 2, "name": "day"}]}],
            "partition-specs": [{"spec-id": 0, "fields": [
                {"source-id": 2, "field-id": 1000, "name": "day", "transform": "identity"}]}],
            "sort-orders": [{"order-id": 0, "fields": []}],
            "current-snapshot-id": 3,
            "refs": {"main": {"snapshot-id": 3, "type": "branch", "min-snapshots-to-keep": 2},
                "first": {"snapshot-id": 1, "type": "tag", "max-ref-age-ms": 1}},
            "snapshots": [snapshot(1, (0, 10), summary("append", 10, 1, 0)),
                snapshot(2, (10, 5), summary("append", 15, 2, 1)),
                snapshot(3, (15, 0), summary("delete", 10, 1, 1))],
            "snapshot-log": [log(1), log(2), log(3)],
            "metadata-log": [version(1), version(2)],
            "statistics": [{"snapshot-id": 2}], "partition-statistics": [{"snapshot-id": 3}],
        });
        let of_deletes = vec![entry(1, None, None, file("d", 1, 2, None))];
        let of_rest = vec![
            entry(0, Some(1), Some(1), kept_a.clone()),
            entry(2, Some(3), Some(2), file("b", 0, 5, Some(10))),
        ];
        let of_merged = vec![entry(0, Some(1), Some(1), kept_a), entry(1, Some(2), None, b())];
        Self {
            metadata,
            lists: BTreeMap::from([
                ("l1", vec![listed("m1", 1, [0, 1, 0], [0, 10, 0])]),
                ("l2", vec![merged, deletes()]),
                ("l3", vec![rest, deletes()]),
            ]),
            manifests: BTreeMap::from([
                ("m1", manifest("data", vec![entry(1, None, None, a())])),
                ("m2", manifest("data", of_merged)),
                ("m3", manifest("data", of_rest)),
                ("deletes", manifest("deletes", of_deletes)),
            ]),
            others: BTreeSet::from([
                "a",
                "b",
                "d",
                "t/metadata/1.metadata.json",
                "t/metadata/2.metadata.json",
            ]),
            gzip: false,
        }
    }

    fn listed(&mut self, list: &str, at: usize) -> &mut ListEntry {
        &mut self.lists.get_mut(list).unwrap()[at]
    }

    fn manifest(&mut self, path: &str) -> &mut Manifest {
        self.manifests.get_mut(path).unwrap()
    }

    fn entry(&mut self, path: &str, at: usize) -> &mut Entry {
        &mut self.manifest(path).entries[at]
    }

    /// Every file by its path.
    fn write(&self) -> BTreeMap<String, Bytes> {
        let mut files: BTreeMap<String, Bytes> =
            self.others.iter().map(|path| ((*path).to_owned(), Bytes::new())).collect();
        for (path, manifest) in &self.manifests {
            files.insert((*path).to_owned(), write_manifest(manifest).into());
        }
        for (path, list) in &self.lists {
            let list = list.iter().cloned().map(|mut listed| {
                let length = files.get(&listed.path).map_or(1, Bytes::len) as i64;
                listed.length = if listed.length == 0 { length } else { listed.length };
                listed
            });
            let list = write_list(&list.collect::<Vec<_>>());
            files.insert((*path).to_owned(), list.into());
        }
        let mut metadata = self.metadata.to_string().into_bytes();
        if self.gzip {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&metadata).unwrap();
            metadata = encoder.finish().unwrap();
        }
        files.insert(LOCATION.to_owned(), metadata.into());
        files
    }

    fn faults(&self) -> Vec<Fault> {
        let files = self.write();
        check(LOCATION, &|path| files.get(path).cloned())
    }
}

fn optional(number: Option<i64>) -> Value {
    match number {
        None => Value::Union(0, Box::new(Value::Null)),
        Some(number) => Value::Union(1, Box::new(Value::Long(number))),
    }
}

fn record(fields: Vec<(&str, Value)>) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn field(name: &str, kind: Json) -> Json {
    json!({"name": name, "type": kind})
}

fn schema(name: &str, fields: Vec<Json>) -> Json {
    json!({"type": "record", "name": name, "fields": fields})
}

fn write_list(list: &[ListEntry]) -> Vec<u8> {
    const NUMBERS: [&str; 6] = [
        "manifest_length",
        "partition_spec_id",
        "content",
        "sequence_number",
        "min_sequence_number",
        "added_snapshot_id",
    ];
    const COUNTS: [&str; 3] = ["existing", "added", "deleted"];
    let maybe = || json!(["null", "long"]);
    let mut fields = vec![field("manifest_path", json!("string"))];
    fields.extend(NUMBERS.map(|name| field(name, json!("long"))));
    fields.extend(COUNTS.map(|name| field(&format!("{name}_files_count"), maybe())));
    fields.extend(COUNTS.map(|name| field(&format!("{name}_rows_count"), maybe())));
    let summary = schema("summary", vec![field("contains_null", json!("boolean"))]);
    fields.push(field("partitions", json!(["null", {"type": "array", "items": summary}])));
    fields.push(field("first_row_id", maybe()));
    let schema = Schema::parse(&schema("manifest_file", fields)).unwrap();
    let mut writer = Writer::new(&schema, Vec::new());
    for listed in list {
        let numbers = [
            listed.length,
            listed.spec_id,
            listed.content,
            listed.sequence_number,
            listed.min_sequence_number,
            listed.added_snapshot_id,
        ];
        let mut fields = vec![("manifest_path", Value::String(listed.path.clone()))];
        fields.extend(NUMBERS.into_iter().zip(numbers.map(Value::Long)));
        let names = COUNTS.map(|name| (format!("{name}_files_count"), format!("{name}_rows_count")));
        fields.extend(
            names.iter().zip(listed.files).map(|((name, _), count)| (name.as_str(), optional(count))),
        );
        fields
            .extend(names.iter().zip(listed.rows).map(|((_, name), count)| (name.as_str(), optional(count))));
        let summary = || record(vec![("contains_null", Value::Boolean(false))]);
        let summaries = match listed.summaries {
            None => Value::Union(0, Box::new(Value::Null)),
            Some(count) => Value::Union(1, Box::new(Value::Array((0..count).map(|_| summary()).collect()))),
        };
        fields.push(("partitions", summaries));
        fields.push(("first_row_id", optional(listed.first_row_id)));
        writer.append(record(fields)).unwrap();
    }
    writer.into_inner().unwrap()
}

fn write_manifest(manifest: &Manifest) -> Vec<u8> {
    let maybe = || json!(["null", "long"]);
    let ids = manifest.partition_ids.clone().unwrap_or_default();
    let names: Vec<String> = ids.iter().map(|id| format!("f{id}")).collect();
    let tuple =
        names.iter().zip(&ids).map(|(name, id)| json!({"name": name, "type": maybe(), "field-id": id}));
    let file = schema(
        "r2",
        vec![
            field("content", json!("int")),
            field("file_path", json!("string")),
            field("partition", schema("r102", tuple.collect())),
            field("record_count", json!("long")),
            field("file_size_in_bytes", json!("long")),
            field("first_row_id", maybe()),
        ],
    );
    let numbers = ["snapshot_id", "sequence_number", "file_sequence_number"];
    let mut fields = vec![field("status", json!("int"))];
    fields.extend(numbers.map(|name| field(name, maybe())));
    fields.push(field("data_file", file));
    let schema = Schema::parse(&schema("manifest_entry", fields)).unwrap();
    let mut writer = Writer::new(&schema, Vec::new());
    let header = &manifest.header;
    for (key, value) in [
        ("schema", header.schema.to_string()),
        ("partition-spec", header.spec.to_string()),
        ("partition-spec-id", header.spec_id.unwrap().to_string()),
        ("format-version", header.format_version.to_string()),
        ("content", header.content.clone()),
    ] {
        writer.add_user_metadata(key.to_owned(), value).unwrap();
    }
    for Entry { status, snapshot_id, sequence_number, file_sequence_number, file } in &manifest.entries {
        let tuple = names.iter().map(|name| (name.as_str(), optional(Some(7)))).collect();
        let file = record(vec![
            ("content", Value::Int(file.content as i32)),
            ("file_path", Value::String(file.path.clone())),
            ("partition", record(tuple)),
            ("record_count", Value::Long(file.record_count)),
            ("file_size_in_bytes", Value::Long(file.size_bytes)),
            ("first_row_id", optional(file.first_row_id)),
        ]);
        let mut fields = vec![("status", Value::Int(*status as i32))];
        fields.extend(
            numbers
                .into_iter()
                .zip([snapshot_id, sequence_number, file_sequence_number].map(|n| optional(*n))),
        );
        fields.push(("data_file", file));
        writer.append(record(fields)).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn a_right_tree_has_no_fault() {
    let mut tree = Tree::right();
    assert_eq!(tree.faults(), []);
    tree.gzip = true;
    assert_eq!(tree.faults(), []);
    // Version 2 has no row ids.
    tree.metadata["format-version"] = json!(2);
    tree.metadata["next-row-id"] = json!(null);
    assert_eq!(tree.faults(), []);

    let files = tree.write();
    let bytes = |path: &str| files.get(path).cloned();
    let live = |list: &str| Checker::default().live_files(list, &bytes);
    assert_eq!(live("l2"), ["a", "b", "d"]);
    assert_eq!(live("l3"), ["a", "d"]);
    assert!(live("none").is_empty());
}

#[test]
fn what_a_checker_has_read_before_may_still_go() {
    let (mut checker, tree) = (Checker::default(), Tree::right());
    let mut files = tree.write();
    assert_eq!(checker.check(LOCATION, &|path| files.get(path).cloned()), []);
    files.remove("m1");
    let faults = checker.check(LOCATION, &|path| files.get(path).cloned());
    assert!(faults.iter().any(|fault| fault.rule == Rule::ManifestReadable), "{faults:?}");
}

#[test]
fn a_log_may_be_cut_where_that_is_expected() {
    let mut tree = Tree::right();
    tree.others.remove("t/metadata/1.metadata.json");
    let files = tree.write();
    let mut checker = Checker { metadata_log_may_be_cut: true, ..Checker::default() };
    assert_eq!(checker.check(LOCATION, &|path| files.get(path).cloned()), []);
}

/// One way to break a tree.
type Break = fn(&mut Tree);

#[test]
fn each_fault_is_told_by_its_rule() {
    let breaks: &[(Rule, &str, Break)] = &[
        (Rule::IdsKnown, "a schema that is not there", |t| t.metadata["current-schema-id"] = json!(4)),
        (Rule::IdsKnown, "a snapshot's schema", |t| t.metadata["snapshots"][0]["schema-id"] = json!(4)),
        (Rule::IdsKnown, "a column beyond the last", |t| t.metadata["last-column-id"] = json!(1)),
        (Rule::References, "a tag of nothing", |t| t.metadata["refs"]["first"]["snapshot-id"] = json!(9)),
        (Rule::References, "main elsewhere", |t| t.metadata["refs"]["main"]["snapshot-id"] = json!(2)),
        (Rule::References, "a tag with retention of a branch", |t| {
            t.metadata["refs"]["first"]["min-snapshots-to-keep"] = json!(2);
        }),
        (Rule::SnapshotLog, "a snapshot that is gone", |t| {
            t.metadata["snapshot-log"][0]["snapshot-id"] = json!(9)
        }),
        (Rule::SnapshotLog, "back in time", |t| {
            t.metadata["snapshot-log"][0]["timestamp-ms"] = json!(2_060_001)
        }),
        (Rule::SnapshotLog, "another end", |t| t.metadata["snapshot-log"][2]["snapshot-id"] = json!(2)),
        (Rule::SnapshotLog, "nothing", |t| t.metadata["snapshot-log"] = json!([])),
        (Rule::MetadataLog, "back in time", |t| {
            t.metadata["metadata-log"][0]["timestamp-ms"] = json!(2_060_001)
        }),
        (Rule::MetadataLog, "too long", |t| {
            t.metadata["properties"]["write.metadata.previous-versions-max"] = json!("1");
        }),
        (Rule::MetadataLog, "itself", |t| t.metadata["metadata-log"][1]["metadata-file"] = json!(LOCATION)),
        (Rule::MetadataLogFiles, "one gone", |t| assert!(t.others.remove("t/metadata/1.metadata.json"))),
        (Rule::Statistics, "of a snapshot that is gone", |t| {
            t.metadata["statistics"][0]["snapshot-id"] = json!(9)
        }),
        (Rule::SequenceNumbers, "beyond the last", |t| t.metadata["last-sequence-number"] = json!(2)),
        (Rule::SequenceNumbers, "twice", |t| t.metadata["snapshots"][1]["sequence-number"] = json!(1)),
        (Rule::Times, "older than the parent", |t| {
            t.metadata["snapshots"][0]["timestamp-ms"] = json!(2_060_001);
        }),
        (Rule::Times, "newer than the metadata", |t| t.metadata["last-updated-ms"] = json!(2_939_999)),
        (Rule::ListReadable, "one gone", |t| t.metadata["snapshots"][0]["manifest-list"] = json!("l9")),
        (Rule::ListReadable, "a manifest twice", |t| {
            let listed = t.lists["l1"][0].clone();
            t.lists.get_mut("l1").unwrap().push(listed);
        }),
        (Rule::ManifestReadable, "one gone", |t| assert!(t.manifests.remove("m1").is_some())),
        (Rule::ManifestReadable, "another length", |t| t.listed("l1", 0).length = 5),
        (Rule::Content, "a delete among data", |t| t.entry("m2", 1).file.content = 2),
        (Rule::Content, "another header", |t| t.manifest("deletes").header.content = "data".to_owned()),
        (Rule::Spec, "one that is not there", |t| t.listed("l1", 0).spec_id = 3),
        (Rule::Spec, "another in the header", |t| t.manifest("m1").header.spec_id = Some(1)),
        (Rule::Spec, "other fields in the header", |t| {
            t.manifest("m1").header.spec[0]["field-id"] = json!(1001)
        }),
        (Rule::Spec, "another tuple", |t| t.manifest("m1").partition_ids = Some(vec![1001])),
        (Rule::Spec, "a shorter tuple", |t| t.manifest("m1").partition_ids = Some(vec![])),
        (Rule::Spec, "no source column", |t| t.manifest("m1").header.schema["fields"][1]["id"] = json!(3)),
        (Rule::FieldSummaries, "none", |t| t.listed("l2", 0).summaries = None),
        (Rule::FieldSummaries, "too many", |t| t.listed("l2", 0).summaries = Some(2)),
        (Rule::Counts, "of files", |t| t.listed("l2", 0).files[0] = Some(2)),
        (Rule::Counts, "of rows", |t| t.listed("l3", 0).rows[2] = Some(4)),
        (Rule::WrittenOut, "an existing entry without its number", |t| {
            t.entry("m2", 0).sequence_number = None
        }),
        (Rule::WrittenOut, "without the file's", |t| t.entry("m3", 0).file_sequence_number = None),
        (Rule::WrittenOut, "without its snapshot", |t| t.entry("m2", 0).snapshot_id = None),
        (Rule::WrittenOut, "a deleted entry", |t| t.entry("m3", 1).sequence_number = None),
        (Rule::WrittenOut, "a new entry of another snapshot", |t| t.entry("m2", 1).snapshot_id = Some(1)),
        (Rule::Unchanging, "another number", |t| {
            t.entry("m2", 0).sequence_number = Some(2);
            t.entry("m2", 0).file_sequence_number = Some(2);
        }),
        (Rule::Unchanging, "another snapshot", |t| t.entry("m3", 0).snapshot_id = Some(2)),
        (Rule::MinSequenceNumber, "of a deleted entry", |t| {
            // The oldest entry of the manifest is deleted: only what is live counts.
            t.entry("m2", 0).status = 2;
            t.entry("m2", 0).snapshot_id = Some(2);
        }),
        (Rule::ManifestSequenceNumber, "beyond the snapshot's", |t| t.listed("l2", 0).sequence_number = 3),
        (Rule::ManifestSequenceNumber, "an entry's beyond it", |t| {
            t.entry("m3", 1).sequence_number = Some(4)
        }),
        (Rule::CarriedDeletes, "of an earlier snapshot", |t| t.entry("m3", 1).snapshot_id = Some(2)),
        (Rule::FilesExist, "one gone", |t| assert!(t.others.remove("b"))),
        (Rule::LiveOnce, "twice", |t| {
            let twice = t.manifests["m2"].entries[0].clone();
            t.manifest("m2").entries.push(twice);
        }),
        (Rule::Summary, "of another base", |t| {
            t.metadata["snapshots"][1]["summary"]["total-records"] = json!("5");
        }),
        (Rule::Summary, "without totals", |t| {
            t.metadata["snapshots"][1]["summary"] = json!({"operation": "append", "frazil.commit": "c"});
        }),
        (Rule::Summary, "what was added", |t| {
            t.metadata["snapshots"][1]["summary"]["added-records"] = json!("6");
        }),
        (Rule::RowIds, "no next one", |t| t.metadata["next-row-id"] = json!(null)),
        (Rule::RowIds, "beyond the next", |t| t.metadata["next-row-id"] = json!(14)),
        (Rule::RowIds, "twice by snapshots", |t| t.metadata["snapshots"][1]["first-row-id"] = json!(9)),
        (Rule::RowIds, "twice by files", |t| t.entry("m2", 1).file.first_row_id = Some(9)),
        (Rule::RowIds, "on deletes", |t| t.listed("l2", 1).first_row_id = Some(10)),
        (Rule::RowIds, "none on data", |t| t.listed("l2", 0).first_row_id = None),
        (Rule::RowIds, "outside of the snapshot's", |t| t.listed("l2", 0).first_row_id = Some(16)),
        (Rule::RowIds, "an existing entry without", |t| t.entry("m2", 0).file.first_row_id = None),
    ];
    for (rule, what, change) in breaks {
        let mut tree = Tree::right();
        change(&mut tree);
        let faults = tree.faults();
        assert!(faults.iter().any(|fault| fault.rule == *rule), "{rule:?}, {what}: {faults:?}");
    }
    let no_metadata = check("nowhere", &|_| None);
    assert_eq!(no_metadata[0].rule, Rule::MetadataReadable);
    assert_eq!(no_metadata[0].to_string(), "MetadataReadable: nowhere: it does not exist");
}

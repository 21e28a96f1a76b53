//! What commits make of a table's metadata, by the rules that readers go by.

use iceberg::ErrorKind;
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, FormatVersion, ManifestFile, ManifestStatus,
    ManifestWriterBuilder, NestedField, PrimitiveType, SnapshotReference, SnapshotRetention, StatisticsFile,
    TableMetadataBuilder,
};
use serde_json::{Value, json};

use super::tests::{Act, Bench, Faulty, ROWS, ident, in_seconds, token};
use super::*;
use crate::catalog::{Lake, Next, NotSwapped, refs};
use crate::token::Token;

/// An entry of a manifest: status, snapshot, data and file sequence number, first row id.
type Entry = (ManifestStatus, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

const MERGE_FROM_3: (&str, &str) = ("commit.manifest.min-count-to-merge", "3");
const KEEP_TWO: [(&str, &str); 2] =
    [("history.expire.max-snapshot-age-ms", "1"), ("history.expire.min-snapshots-to-keep", "2")];

impl Bench {
    /// Commits a file with `tokens`, and gives back the table.
    async fn append(&self, tokens: &[Token]) -> Table {
        // Snapshots that are kept for a millisecond are not of the same one.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        let looked_at = self.table().await.metadata().current_snapshot_id();
        let (files, marks) = (self.files().await, Objects { tokens, rejected: 0 });
        let id = Uuid::from_u128(fastrand::u128(..));
        let layout = Layout::of(&self.table().await);
        let change = Change { looked_at, ..Change::append(&files, &marks, layout, id) };
        let committed = self.change(&change).await;
        assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
        self.table().await
    }

    async fn change(&self, change: &Change<'_>) -> std::result::Result<Committed, CommitError> {
        let tables = self.lake.catalog.as_ref();
        commit(tables, &Env::default(), &ident(), change, in_seconds(10), &mut CommitMetrics::default()).await
    }

    /// Another engine changes the table.
    async fn meanwhile(
        &self,
        change: impl FnOnce(TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder>,
    ) {
        meanwhile(&self.lake, &ident(), change).await;
    }

    /// Another engine leaves metadata that are edited as JSON.
    async fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let base = self.lake.catalog.load(&ident()).await.unwrap();
        let mut json = serde_json::to_value(base.table.metadata()).unwrap();
        edit(&mut json);
        let metadata = serde_json::from_value(json).unwrap();
        let next = Next { updates: Vec::new(), requirements: Vec::new(), metadata };
        self.lake.catalog.swap(&base, &next).await.unwrap();
    }

    /// The manifests of the current snapshot, each with its entries as they are written.
    async fn manifests(&self) -> Vec<(ManifestFile, Vec<Entry>)> {
        let table = self.table().await;
        let snapshot = table.metadata().current_snapshot().unwrap();
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        let mut manifests = Vec::new();
        for manifest in list.entries() {
            let bytes = table.file_io().new_input(&manifest.manifest_path).unwrap().read().await.unwrap();
            // Without what entries inherit.
            let parsed = iceberg::spec::Manifest::parse_avro(&bytes).unwrap();
            let entries = parsed.entries().iter().map(|entry| {
                let file = entry.file_sequence_number;
                let row_id = entry.data_file().first_row_id();
                (entry.status(), entry.snapshot_id(), entry.sequence_number(), file, row_id)
            });
            manifests.push((manifest.clone(), entries.collect()));
        }
        manifests
    }

    async fn rows(&self) -> u64 {
        let table = self.table().await;
        let summary = &table.metadata().current_snapshot().unwrap().summary().additional_properties;
        let total: u64 = summary["total-records"].parse().unwrap();
        let files: Vec<_> = self.manifests().await;
        let live =
            files.iter().flat_map(|(_, entries)| entries).filter(|entry| entry.0 != ManifestStatus::Deleted);
        assert_eq!(summary["total-data-files"], live.count().to_string());
        total
    }

    /// Snapshots that are there, in the order of their sequence numbers.
    async fn snapshots(&self) -> Vec<i64> {
        let table = self.table().await;
        let mut snapshots: Vec<_> = table.metadata().snapshots().collect();
        snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
        snapshots.into_iter().map(|snapshot| snapshot.snapshot_id()).collect()
    }
}

fn current(table: &Table) -> i64 {
    table.metadata().current_snapshot_id().unwrap()
}

#[tokio::test]
async fn entries_that_are_merged_keep_their_numbers() {
    for overtaken in [false, true] {
        let bench = Bench::with(&[MERGE_FROM_3]).await;
        let mut ids =
            vec![current(&bench.append(&[token("1")]).await), current(&bench.append(&[token("2")]).await)];
        assert_eq!(bench.manifests().await.len(), 2);
        // The attempt that is overtaken has merged two manifests with its own; the next one merges three.
        let act = if overtaken { Act::Overtake(vec![token("other")]) } else { Act::Pass };
        bench.commit(&Faulty::swaps(&bench, [act]), &[token("3")]).await.unwrap();
        let manifests = bench.manifests().await;
        let id = current(&bench.table().await);
        if overtaken {
            ids.clear();
        }
        let (manifest, entries) = &manifests[0];
        assert_eq!(manifests.len(), if overtaken { 2 } else { 1 });
        let existing = entries.iter().filter(|entry| entry.0 == ManifestStatus::Existing);
        for (_, snapshot, data, file, _) in existing.clone() {
            assert!(snapshot.is_some() && data.is_some() && data == file);
        }
        for (at, snapshot) in ids.iter().enumerate() {
            let number = Some(at as i64 + 1);
            assert!(entries.contains(&(ManifestStatus::Existing, Some(*snapshot), number, number, None)));
        }
        let added: Vec<_> = entries.iter().filter(|entry| entry.0 == ManifestStatus::Added).collect();
        assert_eq!(added, [&(ManifestStatus::Added, Some(id), None, None, None)]);
        assert_eq!(manifest.added_snapshot_id, id);
        assert_eq!(manifest.sequence_number, bench.table().await.metadata().last_sequence_number());
        assert_eq!(manifest.existing_files_count, Some(existing.count() as u32));
        assert_eq!((manifest.added_files_count, manifest.added_rows_count), (Some(1), Some(ROWS)));
        if !overtaken {
            assert_eq!(manifest.min_sequence_number, 1);
        }
        assert_eq!(bench.rows().await, ROWS * if overtaken { 4 } else { 3 });
    }
}

#[tokio::test]
async fn snapshots_expire_in_the_commit() {
    let bench = Bench::with(&KEEP_TWO).await;
    let mut ids = Vec::new();
    for key in ["1", "2", "3", "4"] {
        ids.push(current(&bench.append(&[token(key)]).await));
        if key == "3" {
            for id in &ids {
                bench.meanwhile(|builder| Ok(builder.set_statistics(statistics(*id)))).await;
            }
        }
    }
    assert_eq!(bench.snapshots().await, ids[2..]);
    let table = bench.table().await;
    let log: Vec<i64> = table.metadata().history().iter().map(|entry| entry.snapshot_id).collect();
    assert_eq!(log, ids[2..]);
    let with_statistics: Vec<i64> = table.metadata().statistics_iter().map(|file| file.snapshot_id).collect();
    assert_eq!(with_statistics, [ids[2]]);
    assert_eq!(bench.rows().await, 4 * ROWS);
    bench
        .meanwhile(|builder| builder.set_properties([("gc.enabled".to_owned(), "false".to_owned())].into()))
        .await;
    bench.append(&[token("5")]).await;
    assert_eq!(bench.snapshots().await.len(), 3);
}

fn statistics(snapshot_id: i64) -> StatisticsFile {
    serde_json::from_value(json!({"snapshot-id": snapshot_id, "statistics-path": "file:///s.puffin",
        "file-size-in-bytes": 1, "file-footer-size-in-bytes": 1, "blob-metadata": []}))
    .unwrap()
}

#[tokio::test]
async fn references_keep_their_snapshots_and_their_settings() {
    let bench = Bench::with(&KEEP_TWO).await;
    let tagged = current(&bench.append(&[token("1")]).await);
    let branched = current(&bench.append(&[token("2")]).await);
    let of_main = SnapshotRetention::branch(Some(1), None, None);
    let of_audit = SnapshotRetention::branch(Some(5), None, None);
    bench
        .meanwhile(|builder| {
            builder
                .set_ref(
                    "month",
                    SnapshotReference::new(tagged, SnapshotRetention::Tag { max_ref_age_ms: None }),
                )?
                .set_ref("audit", SnapshotReference::new(branched, of_audit.clone()))?
                .set_ref(MAIN_BRANCH, SnapshotReference::new(branched, of_main.clone()))
        })
        .await;
    let mut ids = Vec::new();
    for key in ["3", "4", "5"] {
        ids.push(current(&bench.append(&[token(key)]).await));
    }
    let table = bench.table().await;
    let found = refs::of_metadata(table.metadata()).unwrap();
    assert_eq!(found["month"].snapshot_id, tagged);
    assert_eq!(found["audit"], SnapshotReference::new(branched, of_audit));
    assert_eq!(found[MAIN_BRANCH], SnapshotReference::new(current(&table), of_main));
    // By the table's own time the one before the last had no age when the last one came.
    assert_eq!(bench.snapshots().await, [tagged, branched, ids[1], ids[2]]);
}

/// What is kept depends on the references of the base that the swap is made on.
#[tokio::test]
async fn a_tag_that_comes_during_an_attempt_keeps_its_snapshot() {
    let bench = Bench::with(&KEEP_TWO).await;
    let first = current(&bench.append(&[token("1")]).await);
    bench.append(&[token("2")]).await;
    let base = bench.lake.catalog.load(&ident()).await.unwrap();
    let (files, marks) = (bench.files().await, Objects { tokens: &[token("3")], rejected: 0 });
    let change = Change::append(&files, &marks, Layout::default(), Uuid::from_u128(7));
    let env = Env::default();
    let mut successors = Successors::of(&change, &base.table, &env);
    let Successor::Next(next) = successors.of_base(&base, env.now_ms() + 10).await.unwrap() else { panic!() };
    assert!(next.metadata.snapshot_by_id(first).is_none());
    bench
        .meanwhile(|builder| {
            builder
                .set_ref("t", SnapshotReference::new(first, SnapshotRetention::Tag { max_ref_age_ms: None }))
        })
        .await;
    assert!(matches!(bench.lake.catalog.swap(&base, &next).await, Err(NotSwapped::Conflict(_))));
    bench.change(&change).await.unwrap();
    assert!(bench.table().await.metadata().snapshot_by_id(first).is_some());
}

#[tokio::test]
async fn a_clock_that_was_ahead_stops_nobody() {
    let bench = Bench::with(&[("history.expire.max-snapshot-age-ms", "86400000")]).await;
    for key in ["1", "2"] {
        bench.append(&[token(key)]).await;
    }
    let env = Env::default();
    let ahead = env.now_ms() + 600_000;
    bench.edit(|metadata| metadata["last-updated-ms"] = ahead.into()).await;
    let table = bench.append(&[token("3")]).await;
    let snapshot = table.metadata().current_snapshot().unwrap();
    assert!(snapshot.timestamp_ms() >= ahead && table.metadata().last_updated_ms() >= ahead);
    assert!(table.metadata().history().is_sorted_by_key(|entry| entry.timestamp_ms));
    // One that is two days ahead now costs no snapshot that is younger by the table's own time.
    let (files, marks) = (bench.files().await, Objects { tokens: &[token("4")], rejected: 0 });
    let change = Change { looked_at: None, ..Change::append(&files, &marks, Layout::default(), Uuid::nil()) };
    let base = bench.lake.catalog.load(&ident()).await.unwrap();
    let mut successors = Successors::of(&change, &base.table, &env);
    let Successor::Next(next) = successors.of_base(&base, env.now_ms() + 172_800_000).await.unwrap() else {
        panic!()
    };
    assert_eq!(next.metadata.snapshots().len(), 4);
}

#[tokio::test]
async fn metadata_files_are_deleted_once_the_commit_is_seen() {
    let properties = [
        ("write.metadata.previous-versions-max", "2"),
        ("write.metadata.delete-after-commit.enabled", "true"),
    ];
    let bench = Bench::with(&properties).await;
    for key in ["1", "2", "3", "4"] {
        bench.append(&[token(key)]).await;
    }
    let table = bench.table().await;
    let folder = format!("{}/metadata", table.metadata().location().trim_start_matches("file://"));
    let files = || {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name.ends_with(".metadata.json"));
        names.sort_unstable();
        names
    };
    let mut named: Vec<String> =
        table.metadata().metadata_log().iter().map(|entry| entry.metadata_file.clone()).collect();
    named.extend(table.metadata_location().map(str::to_owned));
    let named: Vec<_> = named.iter().map(|path| path.rsplit('/').next().unwrap()).collect();
    assert_eq!(files(), named);
    assert_eq!(files().len(), 3);
    // The answer is lost, and others commit before the outcome is looked for: what is named is there.
    let catalog = Faulty::swaps(&bench, [Act::DoAndFail(ErrorKind::Unexpected)]);
    bench.commit(&catalog, &[token("5")]).await.unwrap();
    bench.commit(&Faulty::swaps(&bench, [Act::Overtake(vec![token("7")])]), &[token("6")]).await.unwrap();
    let table = bench.table().await;
    for entry in table.metadata().metadata_log() {
        assert!(table.file_io().exists(&entry.metadata_file).await.unwrap());
    }
    assert_eq!(bench.rows().await, 7 * ROWS);
}

#[tokio::test]
async fn row_ids_of_format_version_3_survive() {
    let bench = Bench::with(&[MERGE_FROM_3]).await;
    bench.append(&[token("before")]).await;
    bench.meanwhile(|builder| builder.upgrade_format_version(FormatVersion::V3)).await;
    bench.append(&[token("1")]).await;
    let ids = row_ids(&bench.manifests().await);
    assert_eq!(ids.len(), 2);
    for key in ["2", "3", "4", "5"] {
        let before = row_ids(&bench.manifests().await);
        bench.append(&[token(key)]).await;
        let after = row_ids(&bench.manifests().await);
        assert_eq!(after.len(), before.len() + 1);
        for id in &before {
            assert!(after.contains(id), "{id:?} of {before:?} is not in {after:?}");
        }
        let mut firsts: Vec<i64> = after.iter().map(|(_, first)| *first).collect();
        firsts.sort_unstable();
        assert!(firsts.windows(2).all(|pair| pair[0] + ROWS as i64 <= pair[1]), "{firsts:?}");
        let table = bench.table().await;
        assert!(table.metadata().next_row_id() as i64 >= firsts.last().unwrap() + ROWS as i64);
    }
}

/// The first row id of each file, by the sequence number that it came with.
fn row_ids(manifests: &[(ManifestFile, Vec<Entry>)]) -> Vec<(i64, i64)> {
    let mut ids = Vec::new();
    for (manifest, entries) in manifests {
        let mut next = manifest.first_row_id.unwrap() as i64;
        for (_, _, data, _, first) in entries {
            let first = first.unwrap_or_else(|| {
                next += ROWS as i64;
                next - ROWS as i64
            });
            ids.push((data.unwrap_or(manifest.sequence_number), first));
        }
    }
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn columns_and_wider_types_come_with_a_commit() {
    let bench = Bench::with(&[]).await;
    bench.append(&[token("1")]).await;
    let marks = Objects { tokens: &[token("2")], rejected: 0 };
    let schema = SchemaChange {
        columns: vec![(None, NestedField::optional(2, "amount", PrimitiveType::Float.into()).into())],
        promotions: Vec::new(),
    };
    let change =
        Change { schema: Some(schema), ..Change::append(&[], &marks, Layout::default(), Uuid::from_u128(1)) };
    bench.change(&change).await.unwrap();
    let table = bench.table().await;
    let snapshot = table.metadata().current_snapshot().unwrap();
    assert_eq!(snapshot.schema_id(), Some(table.metadata().current_schema_id()));
    assert_eq!(table.metadata().last_column_id(), 2);
    let marks = Objects { tokens: &[token("3")], rejected: 0 };
    let wider = |id, to| Some(SchemaChange { columns: Vec::new(), promotions: vec![(id, to)] });
    let promoted = Change {
        schema: wider(2, PrimitiveType::Double),
        looked_at: Some(current(&table)),
        ..Change::append(&[], &marks, Layout::of(&table), Uuid::from_u128(2))
    };
    bench.change(&promoted).await.unwrap();
    let table = bench.table().await;
    let field = table.metadata().current_schema().field_by_name("amount").unwrap().clone();
    assert_eq!(*field.field_type, PrimitiveType::Double.into());
    // Made for the schema before: the table is another one by now.
    assert!(matches!(
        bench.change(&promoted).await,
        Ok(Committed::Outdated { .. } | Committed::Snapshot(..))
    ));
    let narrower = Change {
        schema: wider(2, PrimitiveType::Float),
        looked_at: Some(current(&table)),
        marks: &Objects { tokens: &[token("4")], rejected: 0 },
        ..Change::append(&[], &marks, Layout::of(&table), Uuid::from_u128(3))
    };
    let Err(CommitError::Failed(error)) = bench.change(&narrower).await else { panic!() };
    assert!(error.message().contains("cannot become float"), "{error}");
    // Another writer has had an id meanwhile, whether its column is still there or not.
    let late = SchemaChange {
        columns: vec![(None, NestedField::optional(2, "late", PrimitiveType::Int.into()).into())],
        promotions: Vec::new(),
    };
    let late = Change { schema: Some(late), id: Uuid::from_u128(4), ..narrower };
    assert!(matches!(bench.change(&late).await, Ok(Committed::Outdated { tried: false })));
    assert_eq!(bench.rows().await, ROWS);
}

#[tokio::test]
async fn a_branch_takes_commits_of_its_own() {
    let bench = Bench::with(&[]).await;
    let head = current(&bench.append(&[token("1")]).await);
    let (files, marks) = (bench.files().await, Objects { tokens: &[token("2")], rejected: 0 });
    let change = Change {
        branch: "audit",
        looked_at: None,
        ..Change::append(&files, &marks, Layout::default(), Uuid::from_u128(1))
    };
    let Ok(Committed::Snapshot(table, id)) = bench.change(&change).await else { panic!() };
    assert_eq!(current(&table), head);
    assert_eq!(table.metadata().snapshot_for_ref("audit").unwrap().snapshot_id(), id);
    assert_eq!(table.metadata().snapshot_by_id(id).unwrap().parent_snapshot_id(), Some(head));
    let scan = table.scan().snapshot_id(id).build().unwrap();
    let files: Vec<_> = futures::TryStreamExt::try_collect(scan.plan_files().await.unwrap()).await.unwrap();
    let files: Vec<iceberg::scan::FileScanTask> = files;
    assert_eq!(files.iter().map(|file| file.record_count.unwrap()).sum::<u64>(), 2 * ROWS);
}

#[tokio::test]
async fn files_are_replaced_unless_a_delete_came_between() {
    for deleted in [false, true] {
        // What is said to be deleted is said by a manifest that could be merged with the new one.
        let bench = Bench::with(&[("commit.manifest.min-count-to-merge", "2")]).await;
        for key in ["1", "2", "3"] {
            bench.append(&[token(key)]).await;
        }
        let table = bench.table().await;
        let planned_on = current(&table);
        let paths = live_paths(&bench).await;
        let replace = Replace {
            files: paths[..2].to_vec(),
            planned_on,
            operation: Operation::Replace,
            data_sequence_number: Some(2),
            summary: [("frazil.compacted".to_owned(), "2".to_owned())].into(),
        };
        if deleted {
            add_delete_manifest(&bench.lake, &ident()).await;
        }
        let (files, marks) = (bench.files().await, Objects { tokens: &[], rejected: 0 });
        let change = Change {
            replace: Some(replace),
            looked_at: Some(current(&bench.table().await)),
            ..Change::append(&files, &marks, Layout::default(), Uuid::from_u128(1))
        };
        match bench.change(&change).await.unwrap() {
            Committed::Outdated { .. } => assert!(deleted),
            Committed::Snapshot(table, id) => {
                assert!(!deleted);
                let summary = table.metadata().snapshot_by_id(id).unwrap().summary().clone();
                assert_eq!(summary.operation, Operation::Replace);
                assert_eq!(summary.additional_properties["total-data-files"], "2");
                assert_eq!(summary.additional_properties["deleted-data-files"], "2");
                let entries: Vec<Entry> =
                    bench.manifests().await.into_iter().flat_map(|(_, entries)| entries).collect();
                assert!(
                    entries.contains(&(ManifestStatus::Added, Some(id), Some(2), None, None)),
                    "{entries:?}"
                );
                assert_eq!(entries.iter().filter(|entry| entry.0 == ManifestStatus::Deleted).count(), 2);
                // The next snapshot does not speak of them any more.
                bench.append(&[token("4")]).await;
                assert_eq!(live_paths(&bench).await.len(), 3);
                let entries: Vec<Entry> =
                    bench.manifests().await.into_iter().flat_map(|(_, entries)| entries).collect();
                assert!(entries.iter().all(|entry| entry.0 != ManifestStatus::Deleted), "{entries:?}");
            }
        }
    }
}

/// What an attempt has made of the manifests is there for the next one, and is counted once.
#[tokio::test]
async fn a_replacement_that_is_overtaken_is_counted_once() {
    let bench = Bench::with(&[]).await;
    for key in ["1", "2", "3"] {
        bench.append(&[token(key)]).await;
    }
    let planned_on = current(&bench.table().await);
    let replace = Replace {
        files: live_paths(&bench).await,
        planned_on,
        operation: Operation::Replace,
        data_sequence_number: Some(3),
        summary: HashMap::new(),
    };
    let files = bench.files().await;
    let change = Change {
        replace: Some(replace),
        ..Change::append(&files, &Moved, Layout::default(), Uuid::from_u128(1))
    };
    let acts = ["4", "5"].map(|key| Act::Overtake(vec![token(key)]));
    let (catalog, metrics) = (Faulty::swaps(&bench, acts), &mut CommitMetrics::default());
    let committed = commit(&catalog, &Env::default(), &ident(), &change, in_seconds(10), metrics).await;
    let Ok(Committed::Snapshot(table, id)) = committed else { panic!("{committed:?}") };
    assert_eq!((metrics.attempts, metrics.conflicts), (3, 2));
    let summary = table.metadata().snapshot_by_id(id).unwrap().summary().additional_properties.clone();
    let counts =
        ["added-data-files", "deleted-data-files", "deleted-records", "total-data-files", "total-records"];
    assert_eq!(counts.map(|key| summary[key].parse::<u64>().unwrap()), [1, 3, 3 * ROWS, 3, 3 * ROWS]);
    assert_eq!(bench.rows().await, 3 * ROWS);
    // One manifest in place of the three, whatever the number of attempts.
    let metadata =
        std::path::Path::new(table.metadata().location().trim_start_matches("file://")).join("metadata");
    let own =
        std::fs::read_dir(metadata).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(own.filter(|name| name.starts_with(&format!("{}-m", change.id))).count(), 2);
}

async fn live_paths(bench: &Bench) -> Vec<String> {
    let table = bench.table().await;
    let scan = table.scan().build().unwrap();
    let files: Vec<iceberg::scan::FileScanTask> =
        futures::TryStreamExt::try_collect(scan.plan_files().await.unwrap()).await.unwrap();
    let mut paths: Vec<String> = files.into_iter().map(|file| file.data_file_path).collect();
    paths.sort_unstable();
    paths
}

/// Another engine commits a manifest of position deletes to a table without partitions.
pub(crate) async fn add_delete_manifest(lake: &Lake, ident: &TableIdent) {
    let table = lake.catalog.load_table(ident).await.unwrap();
    let metadata = table.metadata();
    let (id, number) = (77, metadata.next_sequence_number());
    let path = |name: &str| format!("{}/metadata/{name}.avro", metadata.location());
    let file = DataFileBuilder::default()
        .content(DataContentType::PositionDeletes)
        .file_path(path("deletes"))
        .file_format(DataFileFormat::Parquet)
        .partition_spec_id(0)
        .record_count(1)
        .file_size_in_bytes(1)
        .build()
        .unwrap();
    let output = table.file_io().new_output(path("deletes-m0")).unwrap();
    let schema = metadata.current_schema().clone();
    let spec = metadata.default_partition_spec().as_ref().clone();
    let mut writer = ManifestWriterBuilder::new(output, Some(id), schema, spec).build_v2_deletes();
    writer.add_file(file, -1).unwrap();
    let deletes = writer.write_manifest_file().await.unwrap();
    let head = metadata.current_snapshot().unwrap();
    let mut manifests = table.manifest_list_reader(head).load().await.unwrap().entries().to_vec();
    manifests.push(deletes);
    let list = table.file_io().new_output(path("deletes-list")).unwrap().writer().await.unwrap();
    let mut list = iceberg::spec::ManifestListWriter::v2(list, id, Some(head.snapshot_id()), number);
    list.add_manifests(manifests.into_iter()).unwrap();
    list.close().await.unwrap();
    let snapshot = iceberg::spec::Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(Some(head.snapshot_id()))
        .with_sequence_number(number)
        .with_timestamp_ms(Env::default().now_ms())
        .with_manifest_list(path("deletes-list"))
        .with_summary(iceberg::spec::Summary {
            operation: Operation::Delete,
            additional_properties: HashMap::new(),
        })
        .with_schema_id(0)
        .build();
    meanwhile(lake, ident, |builder| builder.set_branch_snapshot(snapshot, MAIN_BRANCH)).await;
}

/// Another engine changes the table.
async fn meanwhile(
    lake: &Lake,
    ident: &TableIdent,
    change: impl FnOnce(TableMetadataBuilder) -> iceberg::Result<TableMetadataBuilder>,
) {
    let base = lake.catalog.load(ident).await.unwrap();
    let location = base.table.metadata_location().map(str::to_owned);
    let metadata =
        change(base.table.metadata().clone().into_builder(location)).unwrap().build().unwrap().metadata;
    let next = Next { updates: Vec::new(), requirements: Vec::new(), metadata };
    lake.catalog.swap(&base, &next).await.unwrap();
}

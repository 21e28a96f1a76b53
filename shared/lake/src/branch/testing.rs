//! A table with a branch, what is delivered to it, and what other engines do to it.

use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::scan::FileScanTask;
use iceberg::spec::{Operation, SnapshotReference, SnapshotRetention, TableMetadata, TableMetadataBuilder};
use iceberg::table::Table;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

use crate::append::append;
use crate::branch::head;
use crate::catalog::Lake;
use crate::commit::{Change, Committed, Layout, Marks, Replace, Verdict, commit};
use crate::definition::TableDefinition;
use crate::env::Env;
use crate::job::{AppendOptions, CommitMetrics, Limits, SourceObject, Status};
use crate::token::Token;

pub(crate) const AUDIT: &str = "audit";
pub(crate) const MAIN: &str = "main";

#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) folder: TempDir,
    pub(crate) lake: Lake,
    properties: Vec<(&'static str, &'static str)>,
}

/// What another engine commits.
struct Unmarked;

impl Marks for Unmarked {
    fn seen(&self, _: &TableMetadata, _: Option<i64>, _: Option<i64>) -> Verdict {
        Verdict::New
    }

    fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
        Vec::new()
    }
}

pub(crate) fn numbers<const N: usize>(numbers: [i64; N]) -> Vec<Option<i64>> {
    numbers.map(Some).to_vec()
}

pub(crate) fn ident() -> TableIdent {
    TableIdent::from_strs(["lake", "audited"]).unwrap()
}

impl Bench {
    /// A table to which `m1` was appended, a row with n = 100.
    pub(crate) async fn new() -> Self {
        Self::with([]).await
    }

    pub(crate) async fn with<const N: usize>(properties: [(&'static str, &'static str); N]) -> Self {
        let bench = Self::empty(properties).await;
        assert_eq!(bench.deliver(MAIN, ["m1"]).await, [Some(1)]);
        bench
    }

    pub(crate) async fn empty<const N: usize>(properties: [(&'static str, &'static str); N]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}/warehouse", folder.path().display());
        let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &warehouse).await.unwrap();
        Self { folder, lake, properties: properties.to_vec() }
    }

    /// The object `name`: its row has the number in the name, or none for `bad`; `m` is short for a hundred.
    pub(crate) fn object(&self, name: &str) -> SourceObject {
        let n = match (name.strip_prefix('m'), name.parse::<i64>()) {
            (Some(rest), _) => json!(99 + rest.parse::<i64>().unwrap()),
            (None, Ok(n)) => json!(n),
            _ => json!(null),
        };
        let row = json!({"n": n, "name": name, "day": "2026-03-01"});
        self.object_of(name, "1", &format!("{row}\n"))
    }

    pub(crate) fn object_of(&self, name: &str, version: &str, content: &str) -> SourceObject {
        let key = format!("{name}.ndjson");
        let path = self.folder.path().join("raw").join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let (uri, token) = (format!("file://{}", path.display()), Token::new("raw", &key, version));
        SourceObject { uri, bucket: "raw".into(), key, version_id: None, token }
    }

    pub(crate) fn errors_uri(&self) -> String {
        format!("file://{}/errors", self.folder.path().display())
    }

    /// Delivers objects to `branch`: how many rows of each were appended; None if it was there already.
    pub(crate) async fn deliver<const N: usize>(&self, branch: &str, names: [&str; N]) -> Vec<Option<u64>> {
        self.deliver_objects(branch, names.map(|name| self.object(name)).to_vec()).await
    }

    pub(crate) async fn deliver_objects(&self, branch: &str, objects: Vec<SourceObject>) -> Vec<Option<u64>> {
        // Snapshots that are kept for a millisecond are not of the same one.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let text = ["name", "day", "record_id", "file_name"].map(|name| (name, "string"));
        let columns = [("n", "long")].into_iter().chain(text);
        let fields = columns
            .zip(1..)
            .map(|((name, kind), id)| json!({"id": id, "name": name, "type": kind, "required": false}));
        let properties: serde_json::Map<_, _> =
            self.properties.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let definition = json!({"name": "audited", "properties": properties,
            "schema": {"type": "struct", "schema-id": 0, "fields": fields.collect::<Vec<_>>()},
            "partition-spec": {"spec-id": 0, "fields": [
                {"source-id": 3, "field-id": 1000, "name": "day", "transform": "identity"}]}});
        let options = AppendOptions {
            table: ident(),
            branch: branch.to_owned(),
            definition: Some(TableDefinition::parse(definition.to_string().as_bytes()).unwrap()),
            errors_uri: self.errors_uri(),
            processing_time: "2026-01-02T03:04:05Z".to_owned(),
            deadline: Instant::now() + Duration::from_secs(60),
            limits: Limits::for_memory(512 << 20),
            unpack: Default::default(),
        };
        let outcome = append(&self.lake, &options, objects).await.unwrap();
        let status = |status: &Status| match status {
            Status::Committed { rows, .. } => Some(*rows),
            Status::AlreadyCommitted => None,
            other => panic!("{other:?}"),
        };
        outcome.objects.iter().map(|object| status(&object.status)).collect()
    }

    pub(crate) async fn table(&self) -> Table {
        self.lake.catalog.load_table(&ident()).await.unwrap()
    }

    /// Where `branch` stands; None if it is not there.
    pub(crate) async fn head(&self, branch: &str) -> Option<i64> {
        self.table().await.metadata().snapshot_for_ref(branch).map(|head| head.snapshot_id())
    }

    /// The setting `min-snapshots-to-keep` of a branch.
    pub(crate) async fn kept(&self, branch: &str) -> Option<i64> {
        let json = serde_json::to_value(self.table().await.metadata()).unwrap();
        json["refs"][branch]["min-snapshots-to-keep"].as_i64()
    }

    /// What the column `n` of the rows on `branch` holds, sorted.
    pub(crate) async fn numbers(&self, branch: &str) -> Vec<Option<i64>> {
        let table = self.table().await;
        let Some(head) = table.metadata().snapshot_for_ref(branch) else { return Vec::new() };
        let scan = table.scan().snapshot_id(head.snapshot_id()).select(["n"]).build().unwrap();
        let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
        let column = |batch: &arrow_array::RecordBatch| {
            batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
        };
        let mut numbers: Vec<Option<i64>> = batches.iter().flat_map(column).collect();
        numbers.sort_unstable();
        numbers
    }

    pub(crate) async fn files(&self, branch: &str) -> Vec<String> {
        let table = self.table().await;
        let head = head(table.metadata(), branch).unwrap();
        let scan = table.scan().snapshot_id(head.snapshot_id()).build().unwrap();
        let tasks: Vec<FileScanTask> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
        tasks.into_iter().map(|task| task.data_file_path).collect()
    }

    /// Another engine takes the files of `branch` away that `goes` names, as a copy-on-write delete does.
    pub(crate) async fn delete(&self, branch: &str, goes: impl Fn(usize) -> bool) {
        let table = self.table().await;
        let files = self.files(branch).await.into_iter().enumerate();
        let replace = Replace {
            files: files.filter(|(at, _)| goes(*at)).map(|(_, file)| file).collect(),
            planned_on: head(table.metadata(), branch).unwrap().snapshot_id(),
            operation: Operation::Overwrite,
            data_sequence_number: None,
            summary: [].into(),
        };
        self.replace(branch, replace).await;
    }

    /// Another engine commits a rewrite that changes no row to `branch`.
    pub(crate) async fn rewrite(&self, branch: &str) {
        let table = self.table().await;
        let replace = Replace {
            files: Vec::new(),
            planned_on: head(table.metadata(), branch).unwrap().snapshot_id(),
            operation: Operation::Replace,
            data_sequence_number: None,
            summary: [].into(),
        };
        self.replace(branch, replace).await;
    }

    async fn replace(&self, branch: &str, replace: Replace) {
        let table = self.table().await;
        let change = Change {
            replace: Some(replace),
            branch,
            expire: false,
            ..Change::append(&[], &Unmarked, Layout::of(&table), Uuid::new_v4())
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        let catalog = self.lake.catalog.as_ref();
        let committed =
            commit(catalog, &Env::default(), &ident(), &change, deadline, &mut CommitMetrics::default())
                .await;
        assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
    }

    /// An operator has a branch keep so many snapshots.
    pub(crate) async fn settings(&self, branch: &str, kept: i32) {
        let head = self.head(branch).await.unwrap();
        let reference = SnapshotReference::new(head, SnapshotRetention::branch(Some(kept), None, None));
        self.edit(|builder| builder.set_ref(branch, reference).unwrap()).await;
    }

    /// Another engine drops a branch.
    pub(crate) async fn drop_branch(&self, branch: &str) {
        self.edit(|builder| builder.remove_ref(branch)).await;
    }

    async fn edit(&self, edit: impl FnOnce(TableMetadataBuilder) -> TableMetadataBuilder) {
        let base = self.lake.catalog.load(&ident()).await.unwrap();
        let location = base.table.metadata_location().map(str::to_owned);
        let builder = edit(base.table.metadata().clone().into_builder(location));
        let result = builder.build().unwrap();
        let next = crate::catalog::Next {
            updates: result.changes,
            requirements: Vec::new(),
            metadata: result.metadata,
        };
        self.lake.catalog.swap(&base, &next).await.unwrap();
    }
}

//! Appends to a table of which another engine deletes rows and expires snapshots.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::scan::FileScanTask;
use iceberg::spec::{Operation, TableMetadata};
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;
use uuid::Uuid;

use super::PROPERTY;
use crate::catalog::Lake;
use crate::commit::{Change, Committed, Layout, Marks, Replace, Verdict, commit};
use crate::env::Env;
use crate::job::{AppendOptions, CommitMetrics, Limits, Outcome, SourceObject, Status};
use crate::token::Token;
use crate::{TableDefinition, append};

/// Snapshots that live for a millisecond, two of which are kept.
const SHORT: [(&str, &str); 2] =
    [("history.expire.max-snapshot-age-ms", "1"), ("history.expire.min-snapshots-to-keep", "2")];

struct Bench {
    folder: TempDir,
    lake: Lake,
    properties: Vec<(&'static str, &'static str)>,
}

/// Another engine's commits have no marks.
struct Unmarked;

impl Marks for Unmarked {
    fn seen(&self, _: &TableMetadata, _: Option<i64>, _: Option<i64>) -> Verdict {
        Verdict::New
    }

    fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
        Vec::new()
    }
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["ns", "events"]).unwrap()
}

impl Bench {
    async fn new() -> Self {
        Self::with([]).await
    }

    async fn with<const N: usize>(properties: [(&'static str, &'static str); N]) -> Self {
        let folder = TempDir::new().unwrap();
        let lake = open(folder.path()).await;
        Self { folder, lake, properties: SHORT.into_iter().chain(properties).collect() }
    }

    fn object(&self, n: i64) -> SourceObject {
        let key = format!("{n:02}.ndjson");
        let path = self.folder.path().join("raw").join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{{\"n\":{n},\"record_id\":\"id-{n}\"}}\n")).unwrap();
        let (uri, token) = (format!("file://{}", path.display()), Token::new("raw", &key, "1"));
        SourceObject { uri, bucket: "raw".into(), key, version_id: None, token }
    }

    /// Delivers objects, each with one row, to a function that has just started.
    async fn deliver(&self, numbers: impl IntoIterator<Item = i64>) -> Outcome {
        self.try_to_deliver(numbers).await.unwrap()
    }

    async fn try_to_deliver(&self, numbers: impl IntoIterator<Item = i64>) -> Result<Outcome, crate::Error> {
        // Snapshots that are kept for a millisecond are not of the same one.
        tokio::time::sleep(Duration::from_millis(3)).await;
        let columns = [("n", "long"), ("record_id", "string"), ("file_name", "string")];
        let fields = columns
            .iter()
            .zip(1..)
            .map(|((name, kind), id)| json!({"id": id, "name": name, "type": kind, "required": false}));
        let properties: serde_json::Map<_, _> =
            self.properties.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let definition = json!({"name": "events", "properties": properties,
            "schema": {"type": "struct", "schema-id": 0, "fields": fields.collect::<Vec<_>>()}});
        let options = AppendOptions {
            table: ident(),
            branch: "main".to_owned(),
            definition: Some(TableDefinition::parse(definition.to_string().as_bytes()).unwrap()),
            errors_uri: format!("file://{}/errors", self.folder.path().display()),
            processing_time: "2026-01-02T03:04:05Z".to_owned(),
            deadline: Instant::now() + Duration::from_secs(60),
            limits: Limits::for_memory(512 << 20),
            unpack: Default::default(),
        };
        let objects = numbers.into_iter().map(|n| self.object(n)).collect();
        append(&open(self.folder.path()).await, &options, objects).await
    }

    async fn table(&self) -> Table {
        self.lake.catalog.load_table(&ident()).await.unwrap()
    }

    async fn files(&self) -> Vec<String> {
        let scan = self.table().await.scan().build().unwrap();
        let tasks: Vec<FileScanTask> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
        tasks.into_iter().map(|task| task.data_file_path).collect()
    }

    async fn numbers(&self) -> Vec<i64> {
        let scan = self.table().await.scan().select(["n"]).build().unwrap();
        let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
        let column = |batch: &arrow_array::RecordBatch| {
            use arrow_array::cast::AsArray as _;
            batch.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
        };
        let mut numbers: Vec<i64> = batches.iter().flat_map(column).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Another engine rewrites the table without the rows of one file.
    async fn delete(&self, path: &str) {
        let table = self.table().await;
        let replace = Replace {
            files: vec![path.to_owned()],
            planned_on: table.metadata().current_snapshot_id().unwrap(),
            operation: Operation::Overwrite,
            data_sequence_number: None,
            summary: [].into(),
        };
        let change = Change {
            replace: Some(replace),
            looked_at: table.metadata().current_snapshot_id(),
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

    /// Another engine expires all snapshots but the current one.
    async fn expire(&self) {
        let table = self.table().await;
        let current = table.metadata().current_snapshot_id();
        let ids = table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id());
        let old: Vec<i64> = ids.filter(|id| Some(*id) != current).collect();
        let transaction = Transaction::new(&table);
        let expired = transaction.expire_snapshots().expire_snapshot_ids(old).apply(transaction).unwrap();
        expired.commit(self.lake.catalog.as_ref()).await.unwrap();
        assert_eq!(self.table().await.metadata().snapshots().len(), 1);
    }

    /// Where the table's ledger is.
    async fn ledger(&self) -> std::path::PathBuf {
        self.table().await.metadata().properties()[PROPERTY].strip_prefix("file://").unwrap().into()
    }
}

async fn open(folder: &Path) -> Lake {
    let warehouse = format!("file://{}/warehouse", folder.display());
    Lake::open_sqlite(&folder.join("catalog.db"), &warehouse).await.unwrap()
}

/// What became of the objects: new and known rows, or none if they were known by their tokens.
fn statuses(outcome: &Outcome) -> Vec<Option<(u64, u64)>> {
    let status = |status: &Status| match status {
        Status::Committed { rows, known, .. } => Some((*rows, *known)),
        Status::AlreadyCommitted => None,
        other => panic!("{other:?}"),
    };
    outcome.objects.iter().map(|object| status(&object.status)).collect()
}

#[tokio::test]
async fn a_deleted_row_stays_deleted_past_expiry() {
    let bench = Bench::new().await;
    for n in 1..=10 {
        assert_eq!(statuses(&bench.deliver([n]).await), [Some((1, 0))]);
    }
    assert_eq!(bench.table().await.metadata().snapshots().len(), 2);
    // Which file is whose: by the bounds of `n`, of which each has one.
    let mut paths = bench.files().await;
    paths.sort_unstable();
    bench.delete(&paths[2]).await;
    bench.expire().await;
    let left = bench.numbers().await;
    assert_eq!(left.len(), 9);
    let before = bench.table().await.metadata_location().map(str::to_owned);
    assert_eq!(statuses(&bench.deliver(1..=10).await), [None; 10]);
    assert_eq!(bench.table().await.metadata_location().map(str::to_owned), before, "no commit was made");
    assert_eq!(bench.numbers().await, left);

    // A ledger that is gone is no empty one: the table is asked, and the next commit writes another.
    let lost = bench.ledger().await;
    assert!(lost.starts_with(bench.folder.path().join("ledgers/ns.events")), "{lost:?}");
    std::fs::remove_file(&lost).unwrap();
    let known = left[0];
    assert_eq!(statuses(&bench.deliver([known, 11]).await), [Some((0, 1)), Some((1, 0))]);
    assert_ne!(bench.ledger().await, lost);
    assert!(bench.ledger().await.exists());
    assert_eq!(statuses(&bench.deliver([known, 11]).await), [None; 2]);
}

/// Rows do not wait for a ledger, but what it should have held does.
#[tokio::test]
async fn nothing_expires_without_a_ledger() {
    let bench = Bench::new().await;
    // Where the folder should be, there is a file.
    let blocked = bench.folder.path().join("ledgers");
    std::fs::write(&blocked, "").unwrap();
    for n in 1..=4 {
        assert_eq!(statuses(&bench.deliver([n]).await), [Some((1, 0))]);
    }
    let table = bench.table().await;
    assert_eq!((table.metadata().snapshots().len(), table.metadata().properties().get(PROPERTY)), (4, None));
    std::fs::remove_file(&blocked).unwrap();
    bench.deliver([5]).await;
    assert_eq!(bench.table().await.metadata().snapshots().len(), 2);
    assert_eq!(statuses(&bench.deliver(1..=5).await), [None; 5]);
}

/// Of an object that nothing is known of there can be rows only in files as old as the tokens that are missing.
#[tokio::test]
async fn the_table_is_asked_only_for_what_is_older_than_the_ledger() {
    // Commit 3 was the base of commit 4, which dropped what was older.
    for (at, is_read) in [(3, false), (2, false), (1, true), (0, true)] {
        let bench = Bench::with([(super::RETENTION, "1")]).await;
        for n in 1..=4 {
            bench.deliver([n]).await;
        }
        let table = bench.table().await;
        let snapshot = table.metadata().current_snapshot().unwrap();
        let list = table.manifest_list_reader(snapshot).load().await.unwrap();
        let mut manifests: Vec<_> = list.entries().iter().collect();
        manifests.sort_by_key(|manifest| manifest.sequence_number);
        std::fs::remove_file(manifests[at].manifest_path.strip_prefix("file://").unwrap()).unwrap();
        let delivered = bench.try_to_deliver([5]).await;
        assert_eq!(delivered.is_err(), is_read, "manifest {at}: {delivered:?}");
    }
}

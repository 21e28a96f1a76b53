//! Compaction of tables in files, beside other writers.

use std::path::Path;
use std::sync::OnceLock;

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::scan::FileScanTask;
use iceberg::spec::{MAIN_BRANCH, PrimitiveType, Schema, Struct, TableMetadata};
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::plan::Input;
use super::read::{ReadLimits, Rows};
use super::*;
use crate::commit::table_tests::add_delete_manifest;
use crate::commit::{Marks, Verdict};
use crate::env::Env;
use crate::job::{AppendOptions, CommitMetrics, Limits, Outcome, SourceObject, Status};
use crate::token::Token;
use crate::{TableDefinition, append};

const HOUR_MS: i64 = 3_600_000;
/// Keeps every snapshot.
const LONG: (&str, &str) = ("history.expire.min-snapshots-to-keep", "1000000");
/// Snapshots that live for a millisecond, two of which are kept.
const SHORT: [(&str, &str); 2] =
    [("history.expire.max-snapshot-age-ms", "1"), ("history.expire.min-snapshots-to-keep", "2")];

struct Bench {
    folder: TempDir,
    lake: Lake,
    definition: Value,
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["ns", "events"]).unwrap()
}

/// The time of the rows of `hour`, of which 6 is the present one.
fn time(hour: i64) -> String {
    static PRESENT: OnceLock<i64> = OnceLock::new();
    let present = *PRESENT.get_or_init(|| Env::default().now_ms().div_euclid(HOUR_MS));
    let at = chrono::DateTime::from_timestamp_millis((present - 6 + hour) * HOUR_MS).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

async fn open(folder: &Path) -> Lake {
    let warehouse = format!("file://{}/warehouse", folder.display());
    Lake::open_sqlite(&folder.join("catalog.db"), &warehouse).await.unwrap()
}

impl Bench {
    /// A table of hours.
    async fn new() -> Self {
        Self::with(Some("hour(t)"), None, &[LONG]).await
    }

    async fn with(spec: Option<&str>, order: Option<&str>, properties: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let lake = open(folder.path()).await;
        let columns = [("n", "long"), ("t", "timestamptz"), ("record_id", "string"), ("file_name", "string")];
        let fields = columns
            .iter()
            .zip(1..)
            .map(|((name, kind), id)| json!({"id": id, "name": name, "type": kind, "required": false}));
        let properties: serde_json::Map<_, _> =
            properties.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let mut definition = json!({"name": "events", "properties": properties,
            "schema": {"type": "struct", "schema-id": 0, "fields": fields.collect::<Vec<_>>()}});
        if let Some(spec) = spec {
            definition["partition-spec"] = spec.into();
        }
        if let Some(order) = order {
            definition["write-order"] = order.into();
        }
        Self { folder, lake, definition }
    }

    fn object(&self, key: &str, lines: &str) -> SourceObject {
        let path = self.folder.path().join("raw").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, lines).unwrap();
        let (uri, token) = (format!("file://{}", path.display()), Token::new("raw", key, "1"));
        SourceObject { uri, bucket: "raw".into(), key: key.to_owned(), version_id: None, token }
    }

    /// Delivers an object to a function that has just started.
    async fn deliver_lines(&self, key: &str, lines: &str) -> Outcome {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let options = AppendOptions {
            table: ident(),
            definition: Some(TableDefinition::parse(self.definition.to_string().as_bytes()).unwrap()),
            errors_uri: format!("file://{}/errors", self.folder.path().display()),
            processing_time: "2026-01-02T03:04:05Z".to_owned(),
            deadline: Instant::now() + Duration::from_secs(60),
            limits: Limits::for_memory(512 << 20),
            unpack: Default::default(),
            branch: MAIN_BRANCH.to_owned(),
        };
        append(&open(self.folder.path()).await, &options, vec![self.object(key, lines)]).await.unwrap()
    }

    /// Delivers an object with the row `n` of `hour`.
    async fn deliver(&self, n: i64, hour: i64) -> Outcome {
        let line = json!({"n": n, "t": time(hour), "record_id": format!("id-{n}")});
        self.deliver_lines(&format!("{n:04}.ndjson"), &format!("{line}\n")).await
    }

    async fn table(&self) -> Table {
        self.lake.catalog.load_table(&ident()).await.unwrap()
    }

    async fn files(&self) -> Vec<FileScanTask> {
        let scan = self.table().await.scan().build().unwrap();
        scan.plan_files().await.unwrap().try_collect().await.unwrap()
    }

    /// How many files there are of each partition, the most first.
    async fn counts(&self) -> Vec<usize> {
        let mut counts: HashMap<Option<Struct>, usize> = HashMap::new();
        for file in self.files().await {
            *counts.entry(file.partition).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
        counts
    }

    /// Every row as text, in order.
    async fn rows(&self) -> Vec<String> {
        let batches: Vec<_> =
            self.table().await.scan().build().unwrap().to_arrow().await.unwrap().try_collect().await.unwrap();
        texts(&batches)
    }

    fn options(&self) -> CompactOptions {
        CompactOptions {
            table: ident(),
            errors_uri: format!("file://{}/errors", self.folder.path().display()),
            margin: Duration::from_secs(3600),
            open_files: 4,
            target_bytes: None,
            max_files: 1000,
            deadline: Instant::now() + Duration::from_secs(60),
            limits: Limits::for_memory(512 << 20).write,
        }
    }

    async fn compact(&self) -> Compacted {
        compact(&self.lake, &self.options()).await.unwrap()
    }

    /// Carries out a plan of `table`, whatever has become of the table since.
    async fn carry_out(&self, table: &Table) -> (Went, Compacted) {
        let options = self.options();
        let plan = Plan::of(table, &options, self.lake.env.now_ms()).await.unwrap().unwrap();
        assert!(!plan.bins.is_empty());
        let mut run = Run { lake: &self.lake, options: &options, done: Compacted::default() };
        let went = run.carry_out(table, plan).await.unwrap();
        (went, run.done)
    }

    /// Data files in the table's folder, referred to or not.
    fn files_on_disk(&self) -> usize {
        let mut found = 0;
        let mut folders = vec![self.folder.path().join("warehouse")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    found += 1;
                }
            }
        }
        found
    }

    /// Another engine rewrites the table without the rows of one file.
    async fn delete(&self, path: &str) {
        struct Unmarked;
        impl Marks for Unmarked {
            fn seen(&self, _: &TableMetadata, _: Option<i64>, _: Option<i64>) -> Verdict {
                Verdict::New
            }

            fn summary(&self, _: &TableMetadata) -> Vec<(String, String)> {
                Vec::new()
            }
        }
        let table = self.table().await;
        let replace = Replace {
            files: vec![path.to_owned()],
            planned_on: table.metadata().current_snapshot_id().unwrap(),
            operation: Operation::Overwrite,
            data_sequence_number: None,
            summary: HashMap::new(),
        };
        let change = Change {
            replace: Some(replace),
            expire: false,
            ..Change::append(&[], &Unmarked, Layout::of(&table), uuid::Uuid::new_v4())
        };
        let (catalog, deadline) = (self.lake.catalog.as_ref(), Instant::now() + Duration::from_secs(60));
        let env = Env::default();
        let metrics = &mut CommitMetrics::default();
        let committed = commit::commit(catalog, &env, &ident(), &change, deadline, metrics).await;
        assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
    }
}

fn texts(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    let options = FormatOptions::default().with_null("null");
    for batch in batches {
        let schema = batch.schema();
        let columns: Vec<_> = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, column)| (field.name(), ArrayFormatter::try_new(column, &options).unwrap()))
            .collect();
        for row in 0..batch.num_rows() {
            let values = columns.iter().map(|(name, column)| format!("{name}={}", column.value(row)));
            rows.push(values.collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort_unstable();
    rows
}

#[tokio::test]
async fn closed_partitions_become_one_file_and_open_ones_wait() {
    let bench = Bench::new().await;
    for n in 0..15 {
        // Five files of each hour; the last one is not over.
        bench.deliver(n, [0, 1, 6][n as usize % 3]).await;
    }
    let before = bench.rows().await;
    assert_eq!(bench.counts().await, [5, 5, 5]);
    let mut options = bench.options();
    options.open_files = 6;
    let done = compact(&bench.lake, &options).await.unwrap();
    assert_eq!((done.files_before, done.files_after, done.rows, done.commits), (10, 2, 10, 1));
    assert!(done.bytes_after < done.bytes_before && !done.is_unfinished && done.left.is_empty(), "{done:?}");
    assert_eq!(bench.counts().await, [5, 1, 1]);
    assert_eq!(bench.rows().await, before);
    let table = bench.table().await;
    let snapshot = table.metadata().current_snapshot().unwrap();
    assert_eq!(snapshot.summary().operation, Operation::Replace);
    let summary = &snapshot.summary().additional_properties;
    assert_eq!((summary["total-records"].as_str(), summary["total-data-files"].as_str()), ("15", "7"));
    // There is nothing left to do, until there is enough in the open one.
    let again = compact(&bench.lake, &options).await.unwrap();
    assert_eq!((again.commits, again.files_before), (0, 0));
    bench.deliver(15, 6).await;
    let done = compact(&bench.lake, &options).await.unwrap();
    assert_eq!((done.files_before, done.files_after), (6, 1));
    assert_eq!(bench.counts().await, [1, 1, 1]);
    assert_eq!(bench.rows().await.len(), 16);
}

#[tokio::test]
async fn an_append_between_plan_and_commit_is_kept() {
    let bench = Bench::new().await;
    for n in 0..6 {
        bench.deliver(n, 0).await;
    }
    let planned = bench.table().await;
    // Into the same partition, and with a commit that merges manifests or not.
    bench.deliver(6, 0).await;
    let before = bench.rows().await;
    let (went, done) = bench.carry_out(&planned).await;
    assert!(matches!(went, Went::Through));
    assert_eq!((done.files_before, done.files_after), (6, 1));
    assert_eq!(bench.rows().await, before);
    assert_eq!(bench.counts().await, [2]);
}

#[tokio::test]
async fn a_delete_between_plan_and_commit_is_planned_around() {
    for by_position in [false, true] {
        // Position deletes of no file in particular may be of any.
        let bench = Bench::with(None, None, &[LONG]).await;
        for n in 0..6 {
            bench.deliver(n, 0).await;
        }
        let planned = bench.table().await;
        if by_position {
            add_delete_manifest(&bench.lake, &ident()).await;
        } else {
            let path = bench.files().await[0].data_file_path.clone();
            bench.delete(&path).await;
        }
        let current = bench.table().await.metadata().current_snapshot_id();
        let (went, done) = bench.carry_out(&planned).await;
        assert!(matches!(went, Went::Outdated));
        assert_eq!(done.commits, 0);
        assert_eq!(bench.table().await.metadata().current_snapshot_id(), current);
        assert_eq!(bench.files_on_disk(), 6, "what was written is removed");
        // The next plan knows of it.
        let done = bench.compact().await;
        if by_position {
            assert_eq!((done.commits, done.left.get(&Left::Deletes)), (0, Some(&6)));
            bench.deliver(7, 0).await;
            assert_eq!(bench.compact().await.commits, 0, "what is newer is one file alone");
        } else {
            assert_eq!((done.files_before, done.files_after), (5, 1));
            assert_eq!(bench.rows().await.len(), 5);
        }
    }
}

#[tokio::test]
async fn where_the_snapshot_of_the_plan_has_expired_it_is_planned_anew() {
    let bench = Bench::with(Some("hour(t)"), None, &SHORT).await;
    for n in 0..6 {
        bench.deliver(n, 0).await;
    }
    let planned = bench.table().await;
    for n in 6..9 {
        bench.deliver(n, 0).await;
    }
    let before = bench.rows().await;
    let (went, _) = bench.carry_out(&planned).await;
    assert!(matches!(went, Went::Outdated));
    assert_eq!(bench.rows().await, before);
    let done = bench.compact().await;
    assert_eq!((done.files_before, done.files_after, done.outdated), (9, 1, 0));
    assert_eq!(bench.rows().await, before);
}

/// What became of the object: new and known rows, or none if it was known by its token.
fn status(outcome: &Outcome) -> Option<(u64, u64)> {
    match &outcome.objects[0].status {
        Status::Committed { rows, known, .. } => Some((*rows, *known)),
        Status::AlreadyCommitted => None,
        other => panic!("{other:?}"),
    }
}

/// Tokens outlive their snapshots, and rows that were moved are found where no token is left.
#[tokio::test]
async fn objects_stay_known() {
    let bench = Bench::with(Some("hour(t)"), None, &SHORT).await;
    for n in 0..6 {
        bench.deliver(n, 0).await;
    }
    assert_eq!(bench.compact().await.files_after, 1);
    // The compaction expires, too.
    for n in 6..10 {
        bench.deliver(n, 1).await;
    }
    let table = bench.table().await;
    let transaction = Transaction::new(&table);
    let current = table.metadata().current_snapshot_id();
    let ids = table.metadata().snapshots().map(|snapshot| snapshot.snapshot_id());
    let old: Vec<i64> = ids.filter(|id| Some(*id) != current).collect();
    let expired = transaction.expire_snapshots().expire_snapshot_ids(old).apply(transaction).unwrap();
    expired.commit(bench.lake.catalog.as_ref()).await.unwrap();
    for n in 0..10 {
        assert_eq!(status(&bench.deliver(n, 0).await), None, "{n}");
    }
    let remembered = crate::committed(bench.table().await.metadata(), &bench.lake.file_io).await;
    assert!(remembered.is_complete && remembered.is_ours_alone, "{remembered:?}");
    assert_eq!(remembered.tokens.len(), 10);

    // Without a ledger the table is asked, the compacted files too.
    std::fs::remove_dir_all(bench.folder.path().join("ledgers")).unwrap();
    for n in 0..6 {
        assert_eq!(status(&bench.deliver(n, 0).await), Some((0, 1)), "{n}");
    }
    assert_eq!(bench.rows().await.len(), 10);
}

/// The tokens of the first objects are forgotten, those of later ones are not. The rows of all of them are in a file that is
/// newer than any of them: the sequence number of a file does not tell which objects it is of.
#[tokio::test]
async fn rows_that_were_moved_are_found_past_the_end_of_the_ledger() {
    const RETENTION: &str = "frazil.ledger.retention-ms";
    let mut properties = SHORT.to_vec();
    properties.push((RETENTION, "1"));
    let bench = Bench::with(Some("hour(t)"), None, &properties).await;
    for n in 0..6 {
        bench.deliver(n, 0).await;
    }
    let table = bench.table().await;
    let transaction = Transaction::new(&table);
    let update = transaction.update_table_properties().set(RETENTION.to_owned(), "1000000000".to_owned());
    let longer = update.apply(transaction).unwrap();
    longer.commit(bench.lake.catalog.as_ref()).await.unwrap();
    for n in 6..9 {
        bench.deliver(n, 0).await;
    }
    assert_eq!(bench.compact().await.files_after, 1);
    for n in 9..12 {
        bench.deliver(n, 1).await;
    }
    let remembered = crate::committed(bench.table().await.metadata(), &bench.lake.file_io).await;
    assert!((6..12).contains(&remembered.tokens.len()), "{remembered:?}");
    assert_eq!(status(&bench.deliver(0, 0).await), Some((0, 1)));
    for n in 1..12 {
        assert!(status(&bench.deliver(n, 0).await).is_none_or(|(rows, _)| rows == 0), "{n}");
    }
    assert_eq!(bench.rows().await.len(), 12);
}

#[tokio::test]
async fn files_of_former_schemas_are_read_as_the_table_is_now() {
    let mut bench = Bench::with(None, None, &[LONG]).await;
    let kinds = [
        ("b", json!("boolean")),
        ("i", json!("int")),
        ("f", json!("float")),
        ("e", json!("double")),
        ("d", json!("decimal(9,2)")),
        ("s", json!("string")),
        ("x", json!("binary")),
        ("u", json!("uuid")),
        ("day", json!("date")),
        ("clock", json!("time")),
        ("t", json!("timestamptz")),
        ("l", json!({"type": "list", "element-id": 20, "element": "long", "element-required": false})),
        (
            "m",
            json!({"type": "map", "key-id": 21, "key": "string", "value-id": 22, "value": "int",
                     "value-required": false}),
        ),
        (
            "o",
            json!({"type": "struct", "fields": [{"id": 23, "name": "p", "type": "int", "required": false}]}),
        ),
    ];
    let fields = (1..)
        .zip(kinds)
        .map(|(id, (name, kind))| json!({"id": id, "name": name, "type": kind, "required": false}));
    bench.definition["schema"]["fields"] = fields.collect();
    let rows = [
        json!({"b": true, "i": 7, "f": 0.1, "e": -0.0, "d": "1234567.25", "s": "é\u{0}\u{1F600}", "x": "AAEC",
               "u": "01234567-89ab-cdef-0123-456789abcdef", "day": "1969-12-31", "clock": "23:59:59.999999",
               "t": "1969-12-31T23:59:59.999999Z", "l": [1, null, 3], "m": {"k": 1, "j": null}, "o": {"p": 5}}),
        json!({"i": -2147483648i64, "l": [], "m": {}, "o": {}}),
        json!({}),
        json!({"f": 1.5, "e": 1e308, "s": "", "o": null}),
    ];
    for (at, row) in rows.iter().enumerate() {
        bench.deliver_lines(&format!("{at}.ndjson"), &format!("{row}\n")).await;
    }
    // Wider types, a new column and a new field in a struct.
    let schema = bench.table().await.metadata().current_schema().as_ref().clone();
    let mut wanted = serde_json::to_value(&schema).unwrap();
    for field in wanted["fields"].as_array_mut().unwrap() {
        match field["name"].as_str().unwrap() {
            "i" => field["type"] = json!("long"),
            "f" => field["type"] = json!("double"),
            "d" => field["type"] = json!("decimal(18,2)"),
            "o" => field["type"]["fields"]
                .as_array_mut()
                .unwrap()
                .push(json!({"id": 90, "name": "q", "type": "string", "required": false})),
            _ => {}
        }
    }
    wanted["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({"id": 91, "name": "new", "type": "date", "required": false}));
    let wanted: Schema = serde_json::from_value(wanted).unwrap();
    bench.lake.evolve(&ident(), &wanted).await.unwrap();
    let late = json!({"i": 9_000_000_000i64, "o": {"p": 1, "q": "later"}, "new": "2027-01-01"});
    bench.deliver_lines("late.ndjson", &format!("{late}\n")).await;

    let before = read_all(&bench).await;
    assert_eq!(before.len(), 5);
    assert!(before.iter().any(|row| row.contains("q: later")), "{before:?}");
    let done = bench.compact().await;
    assert_eq!((done.files_before, done.files_after, done.rows), (5, 1, 5), "{done:?}");
    assert_eq!(read_all(&bench).await, before);
    // All files have the table's own schema now, which the library can read.
    let scanned: Vec<_> =
        bench.table().await.scan().build().unwrap().to_arrow().await.unwrap().try_collect().await.unwrap();
    assert_eq!(texts(&scanned), before);
    let field = bench.table().await.metadata().current_schema().field_by_name("i").unwrap().clone();
    assert_eq!(*field.field_type, PrimitiveType::Long.into());
}

/// The rows of all files, read by the table's schema.
async fn read_all(bench: &Bench) -> Vec<String> {
    let table = bench.table().await;
    let current = table.metadata().current_schema();
    let schema: SchemaRef = Arc::new(schema_to_arrow_schema(current).unwrap());
    let mut batches = Vec::new();
    for file in bench.files().await {
        let input = Input {
            path: file.data_file_path,
            bytes: file.file_size_in_bytes,
            rows: 0,
            sequence_number: 0,
            partition: Struct::empty(),
        };
        let limits = ReadLimits { whole_bytes: 0, row_group_bytes: u64::MAX, batch_bytes: 1 << 20 };
        let mut rows = match Rows::open(table.file_io(), &input, current, &schema, limits).await {
            Ok(rows) => rows,
            Err(why) => panic!("{why:?}"),
        };
        while let Some(batch) = rows.next().await.unwrap() {
            batches.push(batch);
        }
    }
    texts(&batches)
}

#[tokio::test]
async fn rows_come_in_the_tables_order() {
    let bench = Bench::with(None, Some("n desc"), &[LONG]).await;
    for n in [3, 9, 1, 7, 5] {
        bench.deliver(n, 0).await;
    }
    assert_eq!(bench.compact().await.files_after, 1);
    let scan = bench.table().await.scan().select(["n"]).build().unwrap();
    let batches: Vec<RecordBatch> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
    let numbers: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            use arrow_array::cast::AsArray as _;
            batch.column(0).as_primitive::<arrow_array::types::Int64Type>().values().to_vec()
        })
        .collect();
    assert_eq!(numbers, [9, 7, 5, 3, 1]);
}

#[tokio::test]
async fn without_time_nothing_is_begun_and_the_next_run_goes_on() {
    let bench = Bench::new().await;
    for n in 0..4 {
        bench.deliver(n, 0).await;
    }
    let mut options = bench.options();
    options.deadline = Instant::now();
    let done = compact(&bench.lake, &options).await.unwrap();
    assert!(done.is_unfinished && done.commits == 0 && done.files_before == 0, "{done:?}");
    assert_eq!(bench.files_on_disk(), 4);
    assert_eq!(bench.compact().await.files_after, 1);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_stops_its_partition_alone() {
    let bench = Bench::new().await;
    for n in 0..6 {
        bench.deliver(n, n % 2).await;
    }
    let path = bench.files().await[0].data_file_path.clone();
    let path = path.strip_prefix("file://").unwrap();
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, vec![0; bytes.len()]).unwrap();
    let done = bench.compact().await;
    assert_eq!(
        (done.files_before, done.files_after, done.left.get(&Left::Failed)),
        (3, 1, Some(&3)),
        "{done:?}"
    );
    std::fs::write(path, bytes).unwrap();
    assert_eq!(bench.compact().await.files_before, 3);
    assert_eq!(bench.rows().await.len(), 6);
}

#[tokio::test]
async fn row_ids_are_not_made_anew() {
    let bench = Bench::with(None, None, &[LONG]).await;
    for n in 0..4 {
        bench.deliver(n, 0).await;
    }
    let table = bench.table().await;
    let transaction = Transaction::new(&table);
    let upgraded =
        transaction.upgrade_table_version().set_format_version(FormatVersion::V3).apply(transaction).unwrap();
    upgraded.commit(bench.lake.catalog.as_ref()).await.unwrap();
    let error = compact(&bench.lake, &bench.options()).await.unwrap_err();
    assert!(error.to_string().contains("format version 3"), "{error}");
    assert_eq!(bench.counts().await, [4]);
}

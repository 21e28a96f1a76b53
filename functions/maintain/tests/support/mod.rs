//! What the tests of maintain share: a lake in a folder, objects that are appended to its table, and what the table has.

#![allow(dead_code, reason = "every test uses a part")]
#![allow(clippy::panic, reason = "test helpers fail by panicking")]

#[path = "../../../append/tests/support/runtime.rs"]
pub(crate) mod runtime;

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use futures::TryStreamExt as _;
use iceberg::scan::FileScanTask;
use iceberg::table::Table;
use lake::{AppendOptions, Lake, Limits, Outcome, SourceObject, TableDefinition, Token};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The table of all tests, which is parted by hours.
pub(crate) const TABLE: &str = "shop.events";

/// A folder with a lake.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path().join(name).display())
    }

    /// What maintain is told of the lake.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("FRAZIL_CATALOG_URI", self.path().join("catalog.db").display().to_string()),
            ("FRAZIL_WAREHOUSE", self.uri("warehouse")),
            ("FRAZIL_ERRORS", self.uri("errors")),
            ("FRAZIL_TABLES", TABLE.to_owned()),
        ]
    }

    /// The binary; it adds to the file `log`.
    pub(crate) fn function(&self) -> Command {
        let log = OpenOptions::new().create(true).append(true).open(self.path().join("log")).unwrap();
        let mut function = Command::new(env!("CARGO_BIN_EXE_maintain"));
        function
            .env("AWS_LAMBDA_FUNCTION_NAME", "maintain")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .envs(self.variables())
            .env_remove("FRAZIL_LOG")
            .env_remove("FAILPOINTS")
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(Stdio::piped());
        function
    }

    pub(crate) async fn lake(&self) -> Lake {
        Lake::open_sqlite(&self.path().join("catalog.db"), &self.uri("warehouse")).await.unwrap()
    }

    pub(crate) async fn table(&self) -> Table {
        self.lake().await.table(&settings::table_ident(TABLE).unwrap()).await.unwrap().unwrap()
    }

    /// Puts an object with the row `n` of an hour of 2026 that is long over.
    pub(crate) fn put(&self, n: usize, hour: usize) -> SourceObject {
        let time = format!("2026-01-02T{hour:02}:00:00Z");
        self.put_event(n, &json!({"record_id": format!("id-{n:04}"), "n": n, "t": time}))
    }

    /// Puts the object `n` with one event.
    pub(crate) fn put_event(&self, n: usize, event: &Value) -> SourceObject {
        let key = format!("raw/{n:04}.ndjson");
        let path = self.path().join("bucket").join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{event}\n")).unwrap();
        let token = Token::new("bucket", &key, "1");
        SourceObject {
            uri: format!("file://{}", path.display()),
            bucket: "bucket".into(),
            key,
            version_id: None,
            token,
        }
    }

    /// Delivers objects as one notification.
    pub(crate) async fn append(&self, objects: Vec<SourceObject>) -> Outcome {
        let columns = [
            ("record_id", "string"),
            ("n", "long"),
            ("t", "timestamptz"),
            ("file_name", "string"),
            ("ingestion_timestamp", "timestamptz"),
        ];
        let fields: Vec<_> = (1..)
            .zip(columns)
            .map(|(id, (name, kind))| json!({"id": id, "name": name, "type": kind, "required": false}))
            .collect();
        let definition = json!({"name": "events", "partition-spec": "hour(t)",
            "schema": {"type": "struct", "schema-id": 0, "fields": fields}});
        let options = AppendOptions {
            table: settings::table_ident(TABLE).unwrap(),
            branch: "main".to_owned(),
            definition: Some(TableDefinition::parse(definition.to_string().as_bytes()).unwrap()),
            errors_uri: self.uri("errors"),
            processing_time: "2026-01-02T03:04:05Z".to_owned(),
            deadline: tokio::time::Instant::now() + Duration::from_secs(60),
            limits: Limits::for_memory(512 << 20),
            unpack: Default::default(),
        };
        lake::append(&self.lake().await, &options, objects).await.unwrap()
    }

    /// The ids of all rows, in order.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let scan = self.table().await.scan().select(["record_id"]).build().unwrap();
        let batches: Vec<_> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
        let mut ids: Vec<String> = batches
            .iter()
            .flat_map(|batch| batch.column(0).as_string::<i32>().iter().map(|id| id.unwrap().to_owned()))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// How many data files the table has.
    pub(crate) async fn data_files(&self) -> usize {
        let scan = self.table().await.scan().build().unwrap();
        let tasks: Vec<FileScanTask> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
        tasks
            .iter()
            .for_each(|task| assert!(Path::new(task.data_file_path.trim_start_matches("file://")).exists()));
        tasks.len()
    }
}

/// All files under `folder`, at any depth.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

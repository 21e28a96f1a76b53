//! The table as it is on disk, and what is wrong with it.
//!
//! In: a [`Place`], and the objects that were delivered. Out: findings, none if every sound record is in the table once,
//! every object's token once in the ancestry of the current snapshot, every other record once in the quarantine, and
//! every file that a snapshot refers to exists.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iceberg::spec::{FormatVersion, Manifest, ManifestList, ManifestStatus};
use lake::quarantine::{FileName, lines_in};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::input::{Input, Rejected};
use super::{Place, TABLE, files};

/// The table's current metadata.
pub(crate) struct Table {
    /// The current snapshot and its ancestors, oldest first.
    ancestry: Vec<Value>,
    snapshots: usize,
}

/// What the quarantine holds of an object.
#[derive(Default)]
pub(crate) struct Quarantined {
    rejected: Vec<Rejected>,
    /// Where it says that the whole object is.
    copies: Vec<PathBuf>,
}

impl Place {
    /// A connection to the catalog's file.
    pub(crate) async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.catalog()).busy_timeout(super::PATIENCE);
        options.connect().await.unwrap()
    }

    /// The table, once it exists.
    pub(crate) fn table(&self) -> Option<Table> {
        if !self.catalog().exists() {
            return None;
        }
        let location = self.wait_for(async {
            let mut catalog = self.connect().await;
            let location = metadata_location(&mut catalog).await;
            catalog.close().await.unwrap();
            location
        })?;
        let metadata: Value = super::metadata(&path(&location)).unwrap();
        let snapshots = metadata["snapshots"].as_array().cloned().unwrap_or_default();
        let by_id: HashMap<i64, &Value> = snapshots.iter().map(|snapshot| (id(snapshot), snapshot)).collect();
        let mut ancestry = Vec::new();
        let mut next = metadata["current-snapshot-id"].as_i64().and_then(|id| by_id.get(&id));
        while let Some(snapshot) = next {
            ancestry.push((*snapshot).clone());
            next = snapshot["parent-snapshot-id"].as_i64().map(|parent| &by_id[&parent]);
        }
        ancestry.reverse();
        Some(Table { ancestry, snapshots: snapshots.len() })
    }

    /// What SQLite finds wrong with the catalog's file.
    pub(crate) fn catalog_findings(&self) -> Vec<String> {
        self.wait_for(async {
            let mut catalog = self.connect().await;
            let mut findings = Vec::new();
            for (pragma, expected) in [("integrity_check", "ok"), ("journal_mode", "wal")] {
                let row = sqlx::query(&format!("PRAGMA {pragma}")).fetch_one(&mut catalog).await.unwrap();
                let found: String = row.get(0);
                if found != expected {
                    findings.push(format!("PRAGMA {pragma}: {found}"));
                }
            }
            let count = "SELECT count(*) FROM iceberg_tables";
            let tables: i64 = sqlx::query(count).fetch_one(&mut catalog).await.unwrap().get(0);
            if tables > 1 {
                findings.push(format!("{tables} tables in the catalog"));
            }
            catalog.close().await.unwrap();
            findings
        })
    }

    /// Compares all that is on disk with `inputs`, each of which was acknowledged. No process may be running.
    pub(crate) fn findings(&self, inputs: &[Input]) -> Vec<String> {
        let mut findings = self.catalog_findings();
        match self.table() {
            Some(table) => {
                table.compare_tokens(inputs, &mut findings);
                let data_files = table.data_files(&mut findings);
                self.compare_rows(inputs, &table, &data_files, &mut findings);
            }
            None => findings.push("there is no table".to_owned()),
        }
        self.compare_quarantine(inputs, &mut findings);
        findings
    }

    fn compare_rows(
        &self,
        inputs: &[Input],
        table: &Table,
        data_files: &BTreeMap<PathBuf, (u64, u64)>,
        findings: &mut Vec<String>,
    ) {
        let mut rows: HashMap<(String, String), usize> = HashMap::new();
        let mut total = 0;
        for (path, (size_bytes, records)) in data_files {
            let found = path.metadata().map(|metadata| metadata.len()).ok();
            if found != Some(*size_bytes) {
                findings.push(format!("{}: {found:?} bytes instead of {size_bytes}", path.display()));
                continue;
            }
            let in_file = read_rows(path);
            if in_file.len() as u64 != *records {
                findings.push(format!("{}: {} rows instead of {records}", path.display(), in_file.len()));
            }
            total += in_file.len();
            in_file.into_iter().for_each(|row| *rows.entry(row).or_default() += 1);
        }
        for input in inputs {
            let uri = input.uri(self);
            for id in &input.ids {
                match rows.remove(&(id.clone(), uri.clone())) {
                    Some(1) => {}
                    found => findings.push(format!("{id}: {} times in the table", found.unwrap_or(0))),
                }
            }
        }
        findings.extend(rows.into_keys().map(|row| format!("{row:?}: a row that no object has")));
        let summary = table.ancestry.last().map(|snapshot| &snapshot["summary"]["total-records"]);
        if summary.is_some_and(|counted| counted.as_str() != Some(&total.to_string())) {
            findings.push(format!("{total} rows, but the summary says {summary:?}"));
        }
    }

    fn compare_quarantine(&self, inputs: &[Input], findings: &mut Vec<String>) {
        let quarantined = self.quarantined(findings);
        self.compare_rejections(&inputs.iter().collect::<Vec<_>>(), &quarantined, findings);
        let uris: HashSet<String> = inputs.iter().map(|input| input.uri(self)).collect();
        let others = quarantined.into_keys().filter(|object| !uris.contains(object));
        findings.extend(others.map(|object| format!("{object}: quarantined, but no object")));
    }

    /// Whether the quarantine holds what is rejected of `inputs`, and nothing else of them.
    pub(crate) fn compare_rejections(
        &self,
        inputs: &[&Input],
        quarantined: &HashMap<String, Quarantined>,
        findings: &mut Vec<String>,
    ) {
        let nothing = Quarantined::default();
        for input in inputs {
            let uri = input.uri(self);
            let Quarantined { rejected, copies } = quarantined.get(&uri).unwrap_or(&nothing);
            if *rejected != input.rejected {
                let same =
                    rejected.iter().zip(&input.rejected).take_while(|(found, expected)| found == expected);
                let at = same.count();
                findings.push(format!(
                    "{uri}: {} records in the quarantine instead of {}, first {:?} instead of {:?}",
                    rejected.len(),
                    input.rejected.len(),
                    rejected.get(at).map(in_words),
                    input.rejected.get(at).map(in_words),
                ));
            }
            let broken =
                copies.iter().filter(|copy| std::fs::read(copy).ok().as_ref() != Some(&input.content));
            findings.extend(broken.map(|copy| format!("{} is no copy of {uri}", copy.display())));
        }
    }

    /// What is in the quarantine, by the URI of the object. Files of commits that the table does not have count for nothing:
    /// attempts left them behind that were overtaken, or ended early.
    pub(crate) fn quarantined(&self, findings: &mut Vec<String>) -> HashMap<String, Quarantined> {
        let mut found: HashMap<String, Quarantined> = HashMap::new();
        let folder = self.path().join("errors/quarantine");
        // Listed before the table is read: what was committed by then is not taken for an attempt.
        let listed = files(&folder);
        let table = self.table();
        let ancestry = table.iter().flat_map(|table| &table.ancestry);
        let commits: HashSet<&str> =
            ancestry.filter_map(|snapshot| snapshot["summary"]["frazil.commit"].as_str()).collect();
        for file in listed {
            let name = file.strip_prefix(&folder).ok().and_then(|place| FileName::parse(place.to_str()?));
            if name
                .is_none_or(|name| name.commit.is_some_and(|commit| !commits.contains(&*commit.to_string())))
            {
                continue;
            }
            let lines = lines_in(file.to_str().unwrap(), File::open(&file).unwrap()).lines();
            for line in lines.map(Result::unwrap) {
                match serde_json::from_str::<Value>(&line) {
                    Ok(line) => {
                        let raw = line["rawData"].as_str().map(|data| STANDARD.decode(data).unwrap());
                        let object = line["object"].as_str().unwrap().to_owned();
                        let quarantined = found.entry(object).or_default();
                        quarantined.rejected.push((line["row"].as_u64().unwrap(), raw));
                        quarantined.copies.extend(line["rawObject"].as_str().map(path));
                    }
                    Err(error) => findings.push(format!("{}: {error} in {line}", file.display())),
                }
            }
        }
        found.values_mut().for_each(|quarantined| quarantined.rejected.sort());
        found
    }
}

fn in_words((row, bytes): &Rejected) -> String {
    let bytes = bytes.as_deref().map(String::from_utf8_lossy);
    format!("record {row}: {}", bytes.as_deref().unwrap_or("the rest"))
}

impl Table {
    /// Which snapshots hold the objects' tokens; those of an object that has none or several are findings.
    pub(crate) fn snapshots_of(&self, inputs: &[&Input], findings: &mut Vec<String>) -> Vec<i64> {
        let tokens = self.tokens();
        let mut snapshots = Vec::new();
        for input in inputs {
            match tokens.get(&input.token()).map(Vec::as_slice) {
                Some([snapshot]) => snapshots.push(*snapshot),
                found => findings.push(format!("{}: its token stands in the snapshots {found:?}", input.key)),
            }
        }
        snapshots
    }

    /// Whether the snapshot is an ancestor of the current one, or that itself.
    pub(crate) fn has(&self, snapshot: i64) -> bool {
        self.ancestry.iter().any(|ancestor| id(ancestor) == snapshot)
    }

    pub(crate) fn commits(&self) -> usize {
        self.ancestry.len()
    }

    /// The snapshots of every token.
    fn tokens(&self) -> HashMap<String, Vec<i64>> {
        let mut tokens: HashMap<String, Vec<i64>> = HashMap::new();
        for snapshot in &self.ancestry {
            let listed = snapshot["summary"]["frazil.objects"].as_str().unwrap_or("");
            for token in listed.split(' ').filter(|token| !token.is_empty()) {
                tokens.entry(token.to_owned()).or_default().push(id(snapshot));
            }
        }
        tokens
    }

    fn compare_tokens(&self, inputs: &[Input], findings: &mut Vec<String>) {
        if self.snapshots != self.ancestry.len() {
            findings.push(format!("{} snapshots, {} in the ancestry", self.snapshots, self.ancestry.len()));
        }
        self.snapshots_of(&inputs.iter().collect::<Vec<_>>(), findings);
        let expected: HashSet<String> = inputs.iter().map(Input::token).collect();
        let others = self.tokens().into_keys().filter(|token| !expected.contains(token));
        findings.extend(others.map(|token| format!("{token}: a token of no object")));
    }

    /// The files of all snapshots: size in bytes and rows.
    fn data_files(&self, findings: &mut Vec<String>) -> BTreeMap<PathBuf, (u64, u64)> {
        let (mut manifests, mut data_files) = (HashSet::new(), BTreeMap::new());
        for snapshot in &self.ancestry {
            let list = std::fs::read(path(snapshot["manifest-list"].as_str().unwrap())).unwrap();
            let list = ManifestList::parse_with_version(&list, FormatVersion::V2).unwrap();
            for manifest in list.entries() {
                if !manifests.insert(manifest.manifest_path.clone()) {
                    continue;
                }
                let manifest = Manifest::parse_avro(&std::fs::read(path(&manifest.manifest_path)).unwrap());
                for entry in manifest.unwrap().entries() {
                    let file = path(entry.file_path());
                    let size = (entry.file_size_in_bytes(), entry.record_count());
                    if entry.status() == ManifestStatus::Deleted || data_files.insert(file, size).is_some() {
                        findings.push(format!("{}: deleted, or added twice", entry.file_path()));
                    }
                }
            }
        }
        data_files
    }
}

async fn metadata_location(catalog: &mut SqliteConnection) -> Option<String> {
    let query = "SELECT metadata_location FROM iceberg_tables WHERE table_namespace || '.' || table_name = ?";
    match sqlx::query(query).bind(TABLE).fetch_optional(catalog).await {
        Ok(row) => row.map(|row| row.get(0)),
        Err(error) if error.to_string().contains("no such table") => None,
        Err(error) => panic!("{error}"),
    }
}

/// `record_id` and `file_name` of every row.
fn read_rows(path: &Path) -> Vec<(String, String)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let columns = ProjectionMask::columns(reader.parquet_schema(), ["record_id", "file_name"]);
    let batches = reader.with_projection(columns).build().unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let batch = batch.unwrap();
        let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        let (ids, names) = (text("record_id"), text("file_name"));
        rows.extend(ids.iter().zip(&names).map(|(id, name)| (id.unwrap().into(), name.unwrap().into())));
    }
    rows
}

fn id(snapshot: &Value) -> i64 {
    snapshot["snapshot-id"].as_i64().unwrap()
}

fn path(uri: &str) -> PathBuf {
    uri.strip_prefix("file://").unwrap_or(uri).into()
}

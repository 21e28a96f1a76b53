//! The commits of a branch -> what is wrong with them.
//!
//! In: a snapshot and the commits that led to it from main, oldest first. Out: an [`Audit`]: rows, files and nulls of each
//! commit, and what does not hold. Counted are the rows of data files that these commits have added and that the snapshot
//! still has; delete files are not applied to them. One manifest is held at a time.

use std::collections::{HashMap, HashSet};

use arrow_array::Array as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iceberg::io::FileIO;
use iceberg::scan::FileScanTask;
use iceberg::spec::{DataFile, ManifestContentType, Operation, SchemaRef, SnapshotRef};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};

use super::PublishOptions;
use crate::error::Kind;

/// Files that are looked for at the same time.
const PARALLEL_REQUESTS: usize = 16;
/// Most findings of one kind.
const MAX_FINDINGS: usize = 10;

/// What the new rows of a branch must keep to, all of them together.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// The least number of rows.
    pub min_rows: Option<u64>,
    /// The greatest number of rows.
    pub max_rows: Option<u64>,
    /// How many values of columns may be null.
    pub max_nulls: Vec<MaxNulls>,
}

/// How many values of a column may be null.
#[derive(Clone, Debug)]
pub struct MaxNulls {
    /// A column of the table, none within another.
    pub column: String,
    /// Of a hundred rows.
    pub percent: f64,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Audit {
    commits: HashMap<i64, Tally>,
    /// Paths of the files that were counted, if checks ask for them.
    pub(super) new_files: HashSet<String>,
    /// What is wrong with files.
    broken: Vec<String>,
}

/// What a commit has added.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// By column, as [`Bounds::max_nulls`] names them.
    nulls: Vec<u64>,
}

impl Audit {
    /// Audits the snapshot `audited` of `table`, which `commits` led to.
    ///
    /// # Errors
    /// The table has no such column; the storage's.
    pub(super) async fn of(
        table: &Table,
        audited: i64,
        commits: &[SnapshotRef],
        options: &PublishOptions,
    ) -> Result<Self> {
        let bounds = &options.bounds;
        let metadata = table.metadata();
        let columns = columns(metadata.current_schema(), bounds)?;
        let mut audit = Self::default();
        let (Some(first), Some(snapshot)) = (commits.first(), metadata.snapshot_by_id(audited)) else {
            return Ok(audit);
        };
        let new: HashSet<i64> = commits.iter().map(|commit| commit.snapshot_id()).collect();
        // By column: files that say nothing of nulls, and the commits that have added them.
        let mut silent: Vec<HashMap<String, i64>> = vec![HashMap::new(); columns.len()];
        let list = table.manifest_list_reader(snapshot).load().await?;
        for manifest in list.entries() {
            // One that is older has nothing of these commits.
            if manifest.content != ManifestContentType::Data
                || manifest.sequence_number < first.sequence_number()
            {
                continue;
            }
            let manifest = manifest.load_manifest(table.file_io()).await?;
            let mut files = Vec::new();
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let Some(commit) = entry.snapshot_id().filter(|id| new.contains(id)) else { continue };
                let file = entry.data_file();
                let tally = audit.commits.entry(commit).or_default();
                tally.nulls.resize(columns.len(), 0);
                tally.rows += file.record_count();
                tally.files += 1;
                tally.bytes += file.file_size_in_bytes();
                for ((nulls, silent), id) in tally.nulls.iter_mut().zip(&mut silent).zip(&columns) {
                    match file.null_value_counts().get(id) {
                        Some(count) => *nulls += count,
                        None => {
                            silent.insert(file.file_path().to_owned(), commit);
                        }
                    }
                }
                if options.checks.is_some() {
                    audit.new_files.insert(file.file_path().to_owned());
                }
                files.push(file.clone());
            }
            audit.look_for(table.file_io(), files).await?;
        }
        for (at, files) in silent.iter().enumerate().filter(|(_, files)| !files.is_empty()) {
            audit.read_nulls(table, audited, (at, &bounds.max_nulls[at].column), files).await?;
        }
        Ok(audit)
    }

    /// Looks whether the files are there as the table says.
    async fn look_for(&mut self, file_io: &FileIO, files: Vec<DataFile>) -> Result<()> {
        let looks = files.into_iter().map(|file| look(file_io.clone(), file));
        let mut looks = stream::iter(looks).buffer_unordered(PARALLEL_REQUESTS);
        while let Some(broken) = looks.try_next().await? {
            self.broken.extend(broken);
        }
        Ok(())
    }

    /// Counts the nulls of a column in `files`, by reading it.
    async fn read_nulls(
        &mut self,
        table: &Table,
        audited: i64,
        (at, column): (usize, &str),
        files: &HashMap<String, i64>,
    ) -> Result<()> {
        let scan = table.scan().snapshot_id(audited).select([column]).build()?;
        let mut tasks = scan.plan_files().await?;
        while let Some(mut task) = tasks.try_next().await? {
            let Some(commit) = files.get(&task.data_file_path) else { continue };
            task.deletes.clear();
            let nulls = nulls_of(table, task).await?;
            if let Some(nulls_of) = self.commits.get_mut(commit).and_then(|tally| tally.nulls.get_mut(at)) {
                *nulls_of += nulls;
            }
        }
        Ok(())
    }

    /// What the commit `id` has added.
    pub(super) fn of_commit(&self, id: i64) -> Tally {
        self.commits.get(&id).cloned().unwrap_or_default()
    }

    /// What is wrong with `commits`.
    pub(super) fn findings(&self, commits: &[SnapshotRef], bounds: &Bounds) -> Vec<String> {
        let mut findings: Vec<String> = self.broken.iter().take(MAX_FINDINGS).cloned().collect();
        if self.broken.len() > MAX_FINDINGS {
            findings.push(format!("and {} more files", self.broken.len() - MAX_FINDINGS));
        }
        let appends_only = commits.iter().all(|commit| commit.summary().operation == Operation::Append);
        for commit in commits.iter().filter(|_| appends_only) {
            let (id, summary) = (commit.snapshot_id(), &commit.summary().additional_properties);
            let said = summary.get("added-records").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            let rows = self.of_commit(id).rows;
            if said != rows {
                findings.push(format!(
                    "the commit {id} says that it has added {said} rows; its files have {rows}"
                ));
            }
        }
        let rows: u64 = self.commits.values().map(|tally| tally.rows).sum();
        if let Some(min) = bounds.min_rows.filter(|min| rows < *min) {
            findings.push(format!("{rows} new rows, and at least {min} are expected"));
        }
        if let Some(max) = bounds.max_rows.filter(|max| rows > *max) {
            findings.push(format!("{rows} new rows, and at most {max} are expected"));
        }
        findings.extend(
            bounds
                .max_nulls
                .iter()
                .enumerate()
                .filter_map(|(at, bound)| self.too_many_nulls(commits, rows, at, bound)),
        );
        findings
    }

    fn too_many_nulls(
        &self,
        commits: &[SnapshotRef],
        rows: u64,
        at: usize,
        bound: &MaxNulls,
    ) -> Option<String> {
        let of = |tally: &Tally| tally.nulls.get(at).copied().unwrap_or(0);
        let nulls: u64 = self.commits.values().map(of).sum();
        if nulls as f64 * 100.0 <= bound.percent * rows as f64 {
            return None;
        }
        let ids = commits.iter().map(|commit| commit.snapshot_id());
        let with: Vec<String> = ids
            .map(|id| (id, self.of_commit(id)))
            .filter(|(_, tally)| of(tally) > 0)
            .map(|(id, tally)| format!("{id} ({} of {} rows)", of(&tally), tally.rows))
            .take(MAX_FINDINGS)
            .collect();
        Some(format!(
            "{} is null in {nulls} of {rows} new rows, and at most {} % are allowed; commits that have them: {}",
            bound.column,
            bound.percent,
            with.join(", ")
        ))
    }
}

/// The ids of the columns that have bounds.
fn columns(schema: &SchemaRef, bounds: &Bounds) -> Result<Vec<i32>> {
    let ids = bounds.max_nulls.iter().map(|bound| {
        let field = schema.as_struct().fields().iter().find(|field| field.name == bound.column);
        field.map(|field| field.id).ok_or_else(|| {
            let names: Vec<&str> =
                schema.as_struct().fields().iter().map(|field| field.name.as_str()).collect();
            let what = format!("the table has no column {}; it has {}", bound.column, names.join(", "));
            Kind::Misconfigured.within(ErrorKind::DataInvalid, what)
        })
    });
    ids.collect()
}

/// What is wrong with a file, if anything is.
async fn look(file_io: FileIO, file: DataFile) -> Result<Option<String>> {
    let (path, size) = (file.file_path(), file.file_size_in_bytes());
    match file_io.new_input(path)?.metadata().await {
        Ok(found) if found.size == size => Ok(None),
        Ok(found) => Ok(Some(format!("{path} has {} bytes, and the table says {size}", found.size))),
        Err(_) if !file_io.exists(path).await? => Ok(Some(format!("{path} is not there"))),
        Err(error) => Err(error),
    }
}

/// How many values of the one column that `task` reads are null.
async fn nulls_of(table: &Table, task: FileScanTask) -> Result<u64> {
    let reader = table.reader_builder().with_row_group_filtering_enabled(false).build();
    let mut batches = reader.read(stream::iter([Ok::<_, Error>(task)]).boxed())?.stream();
    let mut nulls = 0;
    while let Some(batch) = batches.try_next().await? {
        nulls += batch.columns().first().map_or(0, |column| column.logical_null_count()) as u64;
    }
    Ok(nulls)
}

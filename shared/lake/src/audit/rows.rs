//! The rows of a table's current snapshot, by the object that each came from.
//!
//! In: an [`Inventory`], and which of its files cannot be read. Out: [`Rows`]: how many there are of each `file_name`,
//! and the `record_id`s that occur more than once. Files are read one batch at a time; what is kept of all rows is on disk:
//! a number for every object of a file, and 16 bytes for every row.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, BooleanArray, RecordBatch, StringArray};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_select::filter::filter_record_batch;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::arrow::ArrowReaderBuilder;
use iceberg::io::FileIO;
use iceberg::scan::{FileScanTask, FileScanTaskDeleteFile};
use iceberg::spec::{
    DEFAULT_SCHEMA_NAME_MAPPING, DataContentType, NameMapping, NestedFieldRef, PrimitiveType, Type,
};
use iceberg::{Error, ErrorKind, Result, Runtime};
use roaring::RoaringTreemap;

use super::ids::{IdDigest, Ids};
use super::{Options, Step};
use crate::digest::Digest;
use crate::inventory::{ContentFile, Inventory, Vector};
use crate::vectors;

/// Files that are read at the same time.
const PARALLEL_FILES: usize = 2;
const FILE_NAME: &str = crate::decode::FILE_NAME;
const RECORD_ID: &str = "record_id";

/// The rows of a table.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Whether rows name their objects at all.
    pub(super) have_file_name: bool,
    pub(super) total: u64,
    /// Those whose `file_name` is null, or all where there is no such column.
    pub(super) unnamed: u64,
    /// How many ids occur more than once.
    pub(super) ids_twice: u64,
    /// These ids, or the first of very many.
    pub(super) twice: BTreeMap<String, Twice>,
    /// Files whose rows are not among these, and why.
    pub(super) unread: Vec<(String, String)>,
    /// Data files that are sound, but whose rows cannot be told, and why.
    pub(super) untold: Vec<(String, String)>,
}

/// Where the rows of one id are.
#[derive(Debug, Default)]
pub(super) struct Twice {
    pub(super) rows: u64,
    /// `file_name`s of the rows; where they have none, the data files.
    pub(super) origins: BTreeSet<String>,
}

/// Reads the current snapshot of `inventory`, but for the files in `unusable`. `sizes` are those of files that have another
/// size than their manifests say. The rows of each `file_name` go to `named`, file by file.
pub(super) async fn read(
    file_io: &FileIO,
    inventory: &Inventory,
    unusable: &HashSet<String>,
    sizes: &HashMap<String, u64>,
    options: &Options,
    mut named: impl FnMut(String, u64) -> Result<()>,
) -> Result<Rows> {
    let columns = Columns::of(inventory);
    let mut rows = Rows { have_file_name: columns.file_name, ..Rows::default() };
    let mut tasks = match tasks(inventory, unusable, sizes, &columns) {
        Ok(tasks) => tasks,
        Err(error) => {
            rows.unread.push((inventory.metadata.location().to_owned(), error.to_string()));
            return Ok(rows);
        }
    };
    rows.resolve_vectors(file_io, inventory, unusable, &mut tasks).await;
    let mut ids = Ids::default();
    let mut read = stream::iter(tasks.clone())
        .map(|task| async move { (task.scan.data_file_path.clone(), guarded(file_io, task, count).await) })
        .buffer_unordered(PARALLEL_FILES);
    while let Some((path, counted)) = read.next().await {
        match counted {
            Ok(counted) => {
                for (name, count) in counted.by_file_name {
                    rows.total += count;
                    match name {
                        Some(name) => named(name, count)?,
                        None => rows.unnamed += count,
                    }
                }
                ids.add(counted.digests)?;
            }
            Err(what) => rows.unread.push((path, what)),
        }
        (options.progress)(Step::Rows, rows.total);
    }
    drop(read);
    let (count, twice) = ids.repeated()?;
    rows.ids_twice = count;
    if !twice.is_empty() {
        rows.twice = names(file_io, tasks, Arc::new(twice)).await;
    }
    Ok(rows)
}

impl Rows {
    /// Reads the deletion vectors of `tasks`. Those of which that is not possible are left out.
    async fn resolve_vectors(
        &mut self,
        file_io: &FileIO,
        inventory: &Inventory,
        unusable: &HashSet<String>,
        tasks: &mut Vec<Task>,
    ) {
        let vectors: HashMap<&str, (&ContentFile, &Vector)> = inventory
            .current_files()
            .filter_map(|file| Some((file, file.vector.as_ref()?)))
            .map(|(file, vector)| (vector.data_file.as_str(), (file, vector)))
            .collect();
        for mut task in std::mem::take(tasks) {
            let path = &task.scan.data_file_path;
            let Some((file, vector)) = vectors.get(path.as_str()) else {
                tasks.push(task);
                continue;
            };
            // The specification has readers ignore position deletes where there is a vector.
            task.scan.deletes.retain(|delete| delete.file_type != DataContentType::PositionDeletes);
            if unusable.contains(&file.path) {
                let what = format!("its deletion vector in {} cannot be used", file.path);
                self.untold.push((path.clone(), what));
                continue;
            }
            if !task.scan.deletes.is_empty() {
                let what = "a deletion vector and equality deletes apply to it at once, which cannot be counted here; \
                            compact the table, and audit again";
                self.untold.push((path.clone(), what.to_owned()));
                continue;
            }
            match vectors::read(file_io, &file.path, vector).await {
                Ok(deleted) => {
                    task.deleted = Some(Arc::new(deleted));
                    tasks.push(task);
                }
                Err(what) => self.unread.push((file.path.clone(), format!("{what} (of {path})"))),
            }
        }
    }
}

/// What is read of one data file.
#[derive(Clone)]
struct Task {
    scan: FileScanTask,
    /// Rows that a deletion vector takes away.
    deleted: Option<Arc<RoaringTreemap>>,
}

/// The columns that are read, and the ids of their fields in the order of the schema: the library gives others the
/// wrong names.
struct Columns {
    file_name: bool,
    field_ids: Vec<i32>,
}

impl Columns {
    fn of(inventory: &Inventory) -> Self {
        let fields = inventory.metadata.current_schema().as_struct().fields();
        let is = |field: &&NestedFieldRef, name: &str| field.name == name && field.field_type.is_primitive();
        let is_text = |field: &&NestedFieldRef| *field.field_type == Type::Primitive(PrimitiveType::String);
        let file_name = fields.iter().any(|field| is(&field, FILE_NAME) && is_text(&field));
        let wanted =
            fields.iter().filter(|field| is(field, RECORD_ID) || (is(field, FILE_NAME) && is_text(field)));
        let mut field_ids: Vec<i32> = wanted.map(|field| field.id).collect();
        if field_ids.is_empty() {
            // Some column must be read to tell how many rows the delete files have left.
            field_ids
                .extend(fields.iter().find(|field| field.field_type.is_primitive()).map(|field| field.id));
        }
        Self { file_name, field_ids }
    }
}

/// One task for each data file of the current snapshot, with the delete files that apply to it (Iceberg table
/// specification, "Scan Planning"). The library's own planning gives up where one manifest is gone.
fn tasks(
    inventory: &Inventory,
    unusable: &HashSet<String>,
    sizes: &HashMap<String, u64>,
    columns: &Columns,
) -> Result<Vec<Task>> {
    let metadata = &inventory.metadata;
    let mapping = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING);
    let mapping: Option<NameMapping> =
        mapping.map(|json| serde_json::from_str(json)).transpose().map_err(|error| {
            Error::new(ErrorKind::DataInvalid, "the table's name mapping is no JSON").with_source(error)
        })?;
    let mapping = mapping.map(Arc::new);
    let usable = || inventory.current_files().filter(|file| !unusable.contains(&file.path));
    let mut deletes: HashMap<_, Vec<&ContentFile>> = HashMap::new();
    for file in usable().filter(|file| file.content != DataContentType::Data && file.vector.is_none()) {
        let is_global =
            file.content == DataContentType::EqualityDeletes && file.partition.fields().is_empty();
        let scope = (!is_global).then_some((file.partition_spec_id, &file.partition));
        deletes.entry(scope).or_default().push(file);
    }
    let task = |file: &ContentFile| {
        let scopes = [None, Some((file.partition_spec_id, &file.partition))];
        let within = scopes.iter().filter_map(|scope| deletes.get(scope)).flatten();
        let deletes = within.filter(|delete| match delete.content {
            DataContentType::EqualityDeletes => delete.sequence_number > file.sequence_number,
            _ => delete.sequence_number >= file.sequence_number,
        });
        let deletes = deletes.map(|delete| {
            FileScanTaskDeleteFile::builder()
                .with_file_path(delete.path.clone())
                .with_file_size_in_bytes(delete.size_bytes)
                .with_file_type(delete.content)
                .with_partition_spec_id(delete.partition_spec_id)
                .with_equality_ids(delete.equality_ids.clone())
                .build()
        });
        let scan = FileScanTask::builder()
            // One that has another size than the manifest says may still have its rows.
            .with_file_size_in_bytes(sizes.get(&file.path).copied().unwrap_or(file.size_bytes))
            .with_start(0)
            .with_length(0)
            .with_data_file_path(file.path.clone())
            .with_data_file_format(file.format)
            .with_schema(metadata.current_schema().clone())
            .with_project_field_ids(columns.field_ids.clone())
            .with_deletes(deletes.collect())
            .with_name_mapping(mapping.clone())
            .with_case_sensitive(true)
            .build();
        Task { scan, deleted: None }
    };
    Ok(usable().filter(|file| file.content == DataContentType::Data).map(task).collect())
}

/// Runs `take` over the batches of one file, in a task of its own, so that a library that panics over damaged bytes ends
/// only that.
async fn guarded<T: Default + Send + 'static>(
    file_io: &FileIO,
    task: Task,
    mut take: impl FnMut(&mut T, &RecordBatch) -> Result<()> + Send + 'static,
) -> std::result::Result<T, String> {
    let file_io = file_io.clone();
    let read = async move {
        let reader = ArrowReaderBuilder::new(file_io, Runtime::try_current()?)
            .with_data_file_concurrency_limit(1)
            .build();
        let mut batches = reader.read(Box::pin(stream::iter([Ok(task.scan)])))?.stream();
        let (mut taken, mut position) = (T::default(), 0_u64);
        while let Some(mut batch) = batches.try_next().await? {
            if let Some(deleted) = &task.deleted {
                let rows = batch.num_rows() as u64;
                let stays: BooleanArray =
                    (position..position + rows).map(|row| Some(!deleted.contains(row))).collect();
                position += rows;
                batch = filter_record_batch(&batch, &stays).map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "rows cannot be filtered").with_source(error)
                })?;
            }
            take(&mut taken, &batch)?;
        }
        Ok::<_, Error>(taken)
    };
    match tokio::spawn(read).await {
        Ok(Ok(taken)) => Ok(taken),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// What one file holds.
#[derive(Default)]
struct Counted {
    by_file_name: HashMap<Option<String>, u64>,
    digests: Vec<IdDigest>,
}

fn count(counted: &mut Counted, batch: &RecordBatch) -> Result<()> {
    match texts(batch, FILE_NAME)? {
        None => *counted.by_file_name.entry(None).or_default() += batch.num_rows() as u64,
        Some(names) => {
            let names: Vec<Option<&str>> = names.iter().collect();
            // Rows of one object lie together.
            for run in names.chunk_by(|one, next| one == next) {
                if let Some(name) = run.first() {
                    *counted.by_file_name.entry(name.map(str::to_owned)).or_default() += run.len() as u64;
                }
            }
        }
    }
    if let Some(ids) = texts(batch, RECORD_ID)? {
        counted.digests.extend(ids.iter().flatten().map(digest));
    }
    Ok(())
}

/// The values of a column as text, if it is among those that were read.
fn texts(batch: &RecordBatch, name: &str) -> Result<Option<StringArray>> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Ok(Some(texts.clone()));
    }
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options).map_err(|error| {
        Error::new(ErrorKind::DataInvalid, format!("the column {name} cannot be read")).with_source(error)
    })?;
    let rows = 0..column.len();
    Ok(Some(rows.map(|row| column.is_valid(row).then(|| formatter.value(row).to_string())).collect()))
}

fn digest(id: &str) -> IdDigest {
    Digest::of(id).bytes()
}

/// A second look: the ids behind `twice`, and where their rows are.
async fn names(file_io: &FileIO, tasks: Vec<Task>, twice: Arc<HashSet<IdDigest>>) -> BTreeMap<String, Twice> {
    let mut found: BTreeMap<String, Twice> = BTreeMap::new();
    for task in tasks {
        let (path, twice) = (task.scan.data_file_path.clone(), twice.clone());
        let look = move |rows: &mut Vec<(String, Option<String>)>, batch: &RecordBatch| {
            let Some(ids) = texts(batch, RECORD_ID)? else { return Ok(()) };
            let names = texts(batch, FILE_NAME)?;
            for (row, id) in ids.iter().enumerate() {
                if let Some(id) = id.filter(|id| twice.contains(&digest(id))) {
                    let name =
                        names.as_ref().filter(|names| names.is_valid(row)).map(|names| names.value(row));
                    rows.push((id.to_owned(), name.map(str::to_owned)));
                }
            }
            Ok(())
        };
        // A file that could not be read is known from the first look.
        for (id, name) in guarded(file_io, task, look).await.unwrap_or_default() {
            let of_id = found.entry(id).or_default();
            of_id.rows += 1;
            of_id.origins.insert(name.unwrap_or_else(|| path.clone()));
        }
    }
    found.retain(|_, of_id| of_id.rows > 1);
    found
}

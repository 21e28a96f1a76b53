//! What the table itself knows of an object: its rows.
//!
//! In: URIs of objects of which the table may have rows though no token says so: another version of the object is there,
//! or the snapshot that would hold the token has expired. Out: [`KnownRows`], and from that a filter that lets through
//! the rows that the table lacks. Rows are told by `file_name` and `record_id`; those without an id, by all that they hold.
//!
//! Only data files are opened whose bounds of the column `file_name` admit one of the URIs. Delete files are not looked
//! at: a row that someone has deleted was in the table, and must not come back with a redelivery.

mod content;
mod layout;

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_cast::display::ArrayFormatter;
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::expr::{Bind as _, Predicate, Reference};
use iceberg::scan::FileScanTask;
use iceberg::spec::{Datum, SnapshotRef};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use records::enrich::RECORD_ID;

use self::content::{Content, FORMAT};
use self::layout::layout;
use crate::decode::{FILE_NAME, PROCESSING_TIME};
use crate::digest::Digest;
use crate::objects::Origin;
use crate::token::{Token, Version};

/// Objects that are asked for at once.
const URIS_PER_SCAN: usize = 100;

/// What a table has of some objects.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) rows: KnownRows,
    /// Other versions of an object, by its token.
    pub(crate) versions: HashMap<Token, Vec<Version>>,
}

impl Known {
    /// Other versions of what `origin` is in.
    pub(crate) fn versions(&self, origin: &Origin) -> &[Version] {
        match origin {
            Origin::Object { object, .. } => {
                self.versions.get(&object.object.token).map_or(&[], Vec::as_slice)
            }
            Origin::Kafka { .. } => &[],
        }
    }
}

/// The rows that a table has of some objects.
#[derive(Debug, Default)]
pub(crate) struct KnownRows {
    by_uri: HashMap<String, KnownObject>,
}

/// The rows that a table has of one object.
#[derive(Debug, Default)]
struct KnownObject {
    /// Digests of their ids.
    ids: HashSet<u128>,
    /// Of those that have none: how often there is which content, by digest.
    contents: HashMap<u128, u64>,
}

impl KnownObject {
    fn len(&self) -> usize {
        self.ids.len() + self.contents.len()
    }
}

/// By what a row is told from others of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Id(u128),
    Content(u128),
}

/// Whether these snapshots of a table can tell from which object a row is.
pub(crate) fn can_tell(table: &Table, snapshots: &[&SnapshotRef]) -> Result<bool> {
    for snapshot in snapshots {
        if snapshot.schema(table.metadata())?.field_by_name(FILE_NAME).is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl KnownRows {
    /// Asks `snapshots` of `table`, which [`can_tell`], for the rows of the objects at `uris`. The second part of
    /// the answer are objects with more rows than fit into `max_rows` together with those of the others.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn ask(
        table: &Table,
        snapshots: &[&SnapshotRef],
        mut uris: Vec<&str>,
        max_rows: usize,
    ) -> Result<(Self, Vec<String>)> {
        uris.sort_unstable();
        uris.dedup();
        let (mut known, mut too_many) = (Self::default(), Vec::new());
        for uris in uris.chunks(URIS_PER_SCAN) {
            // Ids are enough for rows that have them, which are nearly all there are.
            let ids = |name: &str| [FILE_NAME, RECORD_ID].contains(&name);
            if !known.scan_all(table, snapshots, uris, ids, max_rows, &mut too_many).await? {
                known.by_uri.retain(|uri, _| !uris.contains(&uri.as_str()));
                let all = |name: &str| name != PROCESSING_TIME;
                known.scan_all(table, snapshots, uris, all, max_rows, &mut too_many).await?;
            }
        }
        too_many.sort_unstable();
        too_many.dedup();
        known.by_uri.retain(|uri, _| too_many.binary_search(uri).is_err());
        Ok((known, too_many))
    }

    /// Reads the columns `wanted` of the rows of the objects at `uris`, each file once. False if there are rows that these
    /// cannot tell.
    async fn scan_all(
        &mut self,
        table: &Table,
        snapshots: &[&SnapshotRef],
        uris: &[&str],
        wanted: impl Fn(&str) -> bool,
        max_rows: usize,
        too_many: &mut Vec<String>,
    ) -> Result<bool> {
        let mut read = HashSet::new();
        for snapshot in snapshots {
            if !self.scan(table, snapshot, &mut read, uris, &wanted, max_rows, too_many).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same of one snapshot, without the files that were `read`.
    #[expect(clippy::too_many_arguments, reason = "one pass of what is above")]
    async fn scan(
        &mut self,
        table: &Table,
        snapshot: &SnapshotRef,
        read: &mut HashSet<String>,
        uris: &[&str],
        wanted: impl Fn(&str) -> bool,
        max_rows: usize,
        too_many: &mut Vec<String>,
    ) -> Result<bool> {
        // In the order of the schema: the library gives columns in another order the wrong names.
        let schema = snapshot.schema(table.metadata())?;
        let fields = schema.as_struct().fields().iter().filter(|field| wanted(&field.name));
        let field_ids: Vec<i32> = fields.map(|field| field.id).collect();
        let has_contents = wanted("");
        // One by one: of a list, the library compares only the ends with a file's bounds.
        let name = || Reference::new(FILE_NAME);
        let any = uris.iter().map(|uri| name().equal_to(Datum::string(*uri))).reduce(Predicate::or);
        // By ids: a scan takes names such as `pos` and `file_path` for columns of metadata, not of the table.
        let any = any.unwrap_or(Predicate::AlwaysFalse);
        let scan =
            table.scan().snapshot_id(snapshot.snapshot_id()).select_empty().with_filter(any).build()?;
        let mut tasks: Vec<FileScanTask> = scan.plan_files().await?.try_collect().await?;
        tasks.retain(|task| read.insert(task.data_file_path.clone()));
        tracing::info!(
            objects = uris.len(),
            files_opened = tasks.len(),
            files = snapshot.summary().additional_properties.get("total-data-files"),
            "asked the table for rows of objects that no token tells of"
        );
        let rows = name().is_in(uris.iter().map(Datum::string)).bind(schema.clone(), true)?;
        for task in &mut tasks {
            tracing::debug!(file = task.data_file_path, "opened for its file names");
            task.predicate = Some(rows.clone());
            task.project_field_ids.clone_from(&field_ids);
            task.deletes.clear();
            if has_contents && let Some(own) = layout(table.file_io(), task, &schema).await? {
                let own_ids = own.as_struct().fields().iter().map(|field| field.id);
                task.project_field_ids = own_ids.filter(|id| field_ids.contains(id)).collect();
                task.schema = own;
            }
        }
        // The statistics of row groups were written by any engine, and rows that stay hidden would come twice.
        let reader = table.reader_builder().with_row_group_filtering_enabled(false).build();
        let mut batches = reader.read(futures::stream::iter(tasks.into_iter().map(Ok)).boxed())?.stream();
        while let Some(batch) = batches.try_next().await? {
            self.add(&batch)?;
            if !has_contents && self.by_uri.values().any(|known| !known.contents.is_empty()) {
                return Ok(false);
            }
            while self.by_uri.values().map(KnownObject::len).sum::<usize>() > max_rows {
                let largest = self.by_uri.iter().max_by_key(|(_, known)| known.len());
                let Some(uri) = largest.map(|(uri, _)| uri.clone()) else { break };
                self.by_uri.remove(&uri);
                too_many.push(uri);
            }
        }
        Ok(true)
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = Keys::of(batch)?;
        for (row, uri) in file_names(batch)?.into_iter().enumerate() {
            let Some(uri) = uri else { continue };
            if !self.by_uri.contains_key(uri) {
                self.by_uri.insert(uri.to_owned(), KnownObject::default());
            }
            let Some(known) = self.by_uri.get_mut(uri) else { continue };
            match keys.of_row(row)? {
                Key::Id(id) => {
                    known.ids.insert(id);
                }
                Key::Content(content) => *known.contents.entry(content).or_default() += 1,
            }
        }
        Ok(())
    }

    /// A filter for one pass over the objects.
    pub(crate) fn filter(&self) -> Lacking<'_> {
        Lacking { known: self, met: HashMap::new() }
    }
}

/// Lets through the rows that the table lacks.
#[derive(Debug)]
pub(crate) struct Lacking<'a> {
    known: &'a KnownRows,
    met: HashMap<&'a str, Met>,
}

/// Rows of an object so far that the table has.
#[derive(Debug, Default)]
struct Met {
    rows: u64,
    contents: HashMap<u128, u64>,
}

impl Lacking<'_> {
    /// The rows of `batch` that the table lacks.
    ///
    /// # Errors
    /// Arrow's: a defect.
    pub(crate) fn of(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.known.by_uri.is_empty() {
            return Ok(batch);
        }
        let keys = Keys::of(&batch)?;
        let mut lacking = Vec::with_capacity(batch.num_rows());
        for (row, uri) in file_names(&batch)?.into_iter().enumerate() {
            let Some((uri, known)) = uri.and_then(|uri| self.known.by_uri.get_key_value(uri)) else {
                lacking.push(true);
                continue;
            };
            let met = self.met.entry(uri).or_default();
            let has = match keys.of_row(row)? {
                Key::Id(id) => known.ids.contains(&id),
                Key::Content(content) => {
                    let so_far = met.contents.entry(content).or_default();
                    *so_far += 1;
                    known.contents.get(&content).is_some_and(|count| *so_far <= *count)
                }
            };
            met.rows += u64::from(has);
            lacking.push(!has);
        }
        filter_record_batch(&batch, &BooleanArray::from(lacking))
            .map_err(|error| Error::new(ErrorKind::Unexpected, "rows cannot be filtered").with_source(error))
    }

    /// How many rows of the object at `uri` the table had.
    pub(crate) fn known(&self, uri: &str) -> u64 {
        self.met.get(uri).map_or(0, |met| met.rows)
    }
}

/// The keys of the rows of a batch.
struct Keys<'a> {
    id: Option<ArrayFormatter<'a>>,
    ids: Option<&'a ArrayRef>,
    /// All other columns of records.
    columns: Vec<Content<'a>>,
}

impl<'a> Keys<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self> {
        let (mut id, mut ids, mut columns) = (None, None, Vec::new());
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            match field.name().as_str() {
                FILE_NAME | PROCESSING_TIME => {}
                RECORD_ID => {
                    let formatter = ArrayFormatter::try_new(column, &FORMAT).map_err(incomparable)?;
                    (id, ids) = (Some(formatter), Some(column));
                }
                _ => columns.push(Content::of(field, column).map_err(incomparable)?),
            }
        }
        columns.sort_by_key(Content::key);
        Ok(Self { id, ids, columns })
    }

    fn of_row(&self, row: usize) -> Result<Key> {
        let mut digest = Digest::default();
        if let (Some(id), Some(ids)) = (&self.id, self.ids)
            && ids.is_valid(row)
        {
            digest.update(id.value(row).try_to_string().map_err(incomparable)?);
            return Ok(Key::Id(digest.number()));
        }
        for column in &self.columns {
            column.add(row, &mut digest).map_err(incomparable)?;
        }
        Ok(Key::Content(digest.number()))
    }
}

fn incomparable(error: ArrowError) -> Error {
    Error::new(ErrorKind::DataInvalid, "rows of the object cannot be compared with those of the table")
        .with_source(error)
}

fn file_names(batch: &RecordBatch) -> Result<Vec<Option<&str>>> {
    let column = batch.column_by_name(FILE_NAME);
    let Some(names) = column.and_then(|column| column.as_string_opt::<i32>()) else {
        return Err(Error::new(ErrorKind::DataInvalid, format!("the column {FILE_NAME} holds no strings")));
    };
    Ok(names.iter().collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};

    use super::*;

    fn batch(rows: &[(&str, Option<&str>)]) -> RecordBatch {
        let names = StringArray::from_iter_values(rows.iter().map(|(name, _)| name));
        let ids = rows.iter().map(|(_, id)| *id).collect::<StringArray>();
        let columns: [(_, ArrayRef); 2] = [(FILE_NAME, Arc::new(names)), (RECORD_ID, Arc::new(ids))];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn lacking(filter: &mut Lacking<'_>, rows: &[(&str, Option<&str>)]) -> Vec<String> {
        let batch = filter.of(batch(rows)).unwrap();
        let (names, ids) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        names.iter().zip(ids).map(|(name, id)| format!("{} {}", name.unwrap(), id.unwrap_or("-"))).collect()
    }

    #[test]
    fn rows_are_told_by_object_and_id() {
        let mut known = KnownRows::default();
        known.add(&batch(&[("a", Some("1")), ("a", Some("2")), ("b", Some("3"))])).unwrap();
        let mut filter = known.filter();
        let rows = [("a", Some("3")), ("a", Some("1")), ("b", Some("1")), ("c", Some("1")), ("a", Some("1"))];
        assert_eq!(lacking(&mut filter, &rows), ["a 3", "b 1", "c 1"]);
        assert_eq!((filter.known("a"), filter.known("b"), filter.known("c")), (2, 0, 0));
    }

    #[test]
    fn rows_without_an_id_are_told_by_what_they_hold() {
        let rows = |contents: &[(Option<&str>, Option<i64>)]| {
            let names = StringArray::from_iter_values(contents.iter().map(|_| "a"));
            let ids = contents.iter().map(|_| None::<&str>).collect::<StringArray>();
            let texts = contents.iter().map(|(text, _)| *text).collect::<StringArray>();
            let numbers = contents.iter().map(|(_, number)| *number).collect::<Int64Array>();
            let columns: [(_, ArrayRef); 4] = [
                (FILE_NAME, Arc::new(names)),
                ("text", Arc::new(texts)),
                (RECORD_ID, Arc::new(ids)),
                ("number", Arc::new(numbers)),
            ];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
                .unwrap()
        };
        let mut known = KnownRows::default();
        let all =
            rows(&[(Some("x"), None), (Some("x"), None), (Some("1"), None), (None, Some(1)), (None, None)]);
        known.add(&all).unwrap();
        // Each as often as the table has it, in any order; what is not the same is another row.
        let more = [(None, Some(1)), (None, None), (Some("1"), None), (Some("x"), None), (Some("x"), None)];
        let others = [(Some("x"), None), (Some(""), None), (Some("1"), Some(1)), (None, Some(2))];
        let mut filter = known.filter();
        assert_eq!(filter.of(rows(&more)).unwrap().num_rows(), 0);
        assert_eq!(filter.of(rows(&others)).unwrap(), rows(&others));
        assert_eq!(filter.known("a"), 5);
        // A column that is not there yet is null.
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(["a", "a"]));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(["x", "y"]));
        let batch = RecordBatch::try_from_iter([(FILE_NAME, names), ("text", texts)]).unwrap();
        assert_eq!(known.filter().of(batch).unwrap().num_rows(), 1);
    }
}

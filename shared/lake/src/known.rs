//! What the table itself knows of an object: its rows.
//!
//! In: URIs of objects of which the table may have rows though no token says so: another version of the object is there,
//! or the snapshot that would hold the token has expired. Out: [`KnownRows`], and from that a filter that lets through
//! the rows that the table lacks. Rows are told by `file_name` and `record_id`; those without an id, by their place
//! among the rows without an id of their object.
//!
//! Only data files are opened whose bounds of the column `file_name` admit one of the URIs. Delete files are not looked
//! at: a row that someone has deleted was in the table, and must not come back with a redelivery.

use std::collections::{HashMap, HashSet};

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::DataType;
use arrow_select::filter::filter_record_batch;
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::expr::{Bind as _, Predicate, Reference};
use iceberg::scan::FileScanTask;
use iceberg::spec::Datum;
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use records::enrich::RECORD_ID;
use sha2::{Digest as _, Sha256};

use crate::decode::FILE_NAME;

/// Objects that are asked for at once.
const URIS_PER_SCAN: usize = 100;

/// The rows that a table has of some objects.
#[derive(Debug, Default)]
pub(crate) struct KnownRows {
    by_uri: HashMap<String, Known>,
}

/// The rows that a table has of one object.
#[derive(Debug, Default)]
struct Known {
    /// Digests of their ids.
    ids: HashSet<u128>,
    /// How many have none.
    without_id: u64,
}

/// Whether a table can tell from which object a row is.
pub(crate) fn can_tell(table: &Table) -> Result<bool> {
    let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(true) };
    Ok(snapshot.schema(table.metadata())?.field_by_name(FILE_NAME).is_some())
}

impl KnownRows {
    /// Asks the current snapshot of `table`, which [`can_tell`], for the rows of the objects at `uris`. The second part of
    /// the answer are objects whose ids would be more than `max_ids` together with those before them.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn ask(
        table: &Table,
        mut uris: Vec<&str>,
        max_ids: usize,
    ) -> Result<(Self, Vec<String>)> {
        uris.sort_unstable();
        uris.dedup();
        let mut known = Self::default();
        let mut too_many = Vec::new();
        for uris in uris.chunks(URIS_PER_SCAN) {
            known.scan(table, uris, max_ids, &mut too_many).await?;
        }
        Ok((known, too_many))
    }

    async fn scan(
        &mut self,
        table: &Table,
        uris: &[&str],
        max_ids: usize,
        too_many: &mut Vec<String>,
    ) -> Result<()> {
        let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(()) };
        // In the order of the schema: the library gives columns in another order the wrong names.
        let schema = snapshot.schema(table.metadata())?;
        let fields = schema.as_struct().fields().iter().map(|field| field.name.as_str());
        let columns = fields.filter(|name| [FILE_NAME, RECORD_ID].contains(name));
        // One by one: of a list, the library compares only the ends with a file's bounds.
        let name = || Reference::new(FILE_NAME);
        let any = uris.iter().map(|uri| name().equal_to(Datum::string(*uri))).reduce(Predicate::or);
        let scan = table.scan().select(columns).with_filter(any.unwrap_or(Predicate::AlwaysFalse)).build()?;
        let mut tasks: Vec<FileScanTask> = scan.plan_files().await?.try_collect().await?;
        tracing::info!(
            objects = uris.len(),
            files_opened = tasks.len(),
            files = snapshot.summary().additional_properties.get("total-data-files"),
            "asked the table for rows of objects that no token tells of"
        );
        let rows = name().is_in(uris.iter().map(Datum::string)).bind(schema, true)?;
        for task in &mut tasks {
            tracing::debug!(file = task.data_file_path, "opened for its file names");
            task.predicate = Some(rows.clone());
            task.deletes.clear();
        }
        // The statistics of row groups were written by any engine, and rows that stay hidden would come twice.
        let reader = table.reader_builder().with_row_group_filtering_enabled(false).build();
        let mut batches = reader.read(futures::stream::iter(tasks.into_iter().map(Ok)).boxed())?.stream();
        while let Some(batch) = batches.try_next().await? {
            self.add(&batch)?;
            while self.by_uri.values().map(|known| known.ids.len()).sum::<usize>() > max_ids {
                let largest = self.by_uri.iter().max_by_key(|(_, known)| known.ids.len());
                let Some(uri) = largest.map(|(uri, _)| uri.clone()) else { break };
                self.by_uri.remove(&uri);
                too_many.push(uri);
            }
        }
        too_many.sort_unstable();
        too_many.dedup();
        for uri in too_many {
            self.by_uri.remove(uri);
        }
        Ok(())
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut ids = ids(batch)?;
        for (row, uri) in file_names(batch)?.into_iter().enumerate() {
            let Some(uri) = uri else { continue };
            if !self.by_uri.contains_key(uri) {
                self.by_uri.insert(uri.to_owned(), Known::default());
            }
            let Some(known) = self.by_uri.get_mut(uri) else { continue };
            match ids.get_mut(row).and_then(Option::take) {
                Some(id) => {
                    known.ids.insert(id);
                }
                None => known.without_id += 1,
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
    /// Rows of the objects so far that the table has, by URI: all of them, and those without an id.
    met: HashMap<&'a str, (u64, u64)>,
}

impl Lacking<'_> {
    /// The rows of `batch` that the table lacks. The rows of an object come in its order.
    ///
    /// # Errors
    /// Arrow's: a defect.
    pub(crate) fn of(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.known.by_uri.is_empty() {
            return Ok(batch);
        }
        let ids = ids(&batch)?;
        let mut lacking = Vec::with_capacity(batch.num_rows());
        for (row, uri) in file_names(&batch)?.into_iter().enumerate() {
            let Some((uri, known)) = uri.and_then(|uri| self.known.by_uri.get_key_value(uri)) else {
                lacking.push(true);
                continue;
            };
            let (all, without_id) = self.met.entry(uri).or_default();
            let has = match ids.get(row).copied().flatten() {
                Some(id) => known.ids.contains(&id),
                None => {
                    *without_id += 1;
                    *without_id <= known.without_id
                }
            };
            *all += u64::from(has);
            lacking.push(!has);
        }
        filter_record_batch(&batch, &BooleanArray::from(lacking))
            .map_err(|error| Error::new(ErrorKind::Unexpected, "rows cannot be filtered").with_source(error))
    }

    /// How many rows of the object at `uri` the table had.
    pub(crate) fn known(&self, uri: &str) -> u64 {
        self.met.get(uri).map_or(0, |(all, _)| *all)
    }
}

fn file_names(batch: &RecordBatch) -> Result<Vec<Option<&str>>> {
    let column = batch.column_by_name(FILE_NAME);
    let Some(names) = column.and_then(|column| column.as_string_opt::<i32>()) else {
        return Err(Error::new(ErrorKind::DataInvalid, format!("the column {FILE_NAME} holds no strings")));
    };
    Ok(names.iter().collect())
}

/// A digest of each row's id.
fn ids(batch: &RecordBatch) -> Result<Vec<Option<u128>>> {
    let Some(column) = batch.column_by_name(RECORD_ID) else { return Ok(vec![None; batch.num_rows()]) };
    let digest = |bytes: &[u8]| {
        let mut digest = [0; 16];
        digest.copy_from_slice(&Sha256::digest(bytes)[..16]);
        u128::from_be_bytes(digest)
    };
    let texts: ArrayRef = match column.data_type() {
        DataType::FixedSizeBinary(_) => {
            return Ok(column.as_fixed_size_binary().iter().map(|id| id.map(digest)).collect());
        }
        DataType::Utf8 => column.clone(),
        _ => arrow_cast::cast(column, &DataType::Utf8).map_err(|error| {
            Error::new(ErrorKind::DataInvalid, format!("values of {RECORD_ID} cannot be compared"))
                .with_source(error)
        })?,
    };
    Ok(texts.as_string::<i32>().iter().map(|id| id.map(|id| digest(id.as_bytes()))).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{FixedSizeBinaryArray, Int64Array, StringArray};

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
    fn rows_are_told_by_object_and_id_and_else_by_their_place() {
        let mut known = KnownRows::default();
        known.add(&batch(&[("a", Some("1")), ("a", Some("2")), ("a", None), ("b", None)])).unwrap();
        known.add(&batch(&[("a", None)])).unwrap();
        let mut filter = known.filter();
        let rows = [("a", Some("3")), ("a", Some("1")), ("a", None), ("b", Some("1")), ("c", Some("1"))];
        assert_eq!(lacking(&mut filter, &rows), ["a 3", "b 1", "c 1"]);
        let rows = [("a", None), ("a", None), ("b", None), ("b", None), ("a", Some("2")), ("c", None)];
        assert_eq!(lacking(&mut filter, &rows), ["a -", "b -", "c -"]);
        assert_eq!((filter.known("a"), filter.known("b"), filter.known("c")), (4, 1, 0));
        // Every pass begins anew.
        assert_eq!(lacking(&mut known.filter(), &[("b", None), ("b", None)]), ["b -"]);
    }

    #[test]
    fn ids_of_all_types_are_compared() {
        let of = |column: ArrayRef| ids(&RecordBatch::try_from_iter([(RECORD_ID, column)]).unwrap()).unwrap();
        let numbers = of(Arc::new(Int64Array::from(vec![Some(1), Some(1), Some(2), None])));
        assert!(numbers[0].is_some() && numbers[0] == numbers[1] && numbers[0] != numbers[2]);
        assert_eq!(numbers[3], None);
        let uuids = [[1_u8; 16], [1; 16], [2; 16]];
        let uuids = of(Arc::new(FixedSizeBinaryArray::try_from_iter(uuids.iter()).unwrap()));
        assert!(uuids[0].is_some() && uuids[0] == uuids[1] && uuids[0] != uuids[2]);
    }
}

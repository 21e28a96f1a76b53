//! Which of the records the table has already, and which it has others of, by its rows.
//!
//! In: records of which the table does not remember whether it has them. Out: decided are those of which it has a row of the
//! same topic, partition, offset and time, and of the record's id where the rows have ids. Only data files are opened whose
//! bounds admit one. Delete files are not looked at: a row that someone has deleted must not come back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use futures::{StreamExt as _, TryStreamExt as _};
use iceberg::expr::{Bind as _, Predicate, Reference};
use iceberg::scan::FileScanTask;
use iceberg::spec::{Datum, NestedFieldRef, PrimitiveType, SchemaRef, Snapshot, Type};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use records::enrich::RECORD_ID;

use super::batch::{Batch, TopicStatus};
use crate::branch;
use crate::topic::{KAFKA_TIMESTAMP, OFFSET, PARTITION, TOPIC, TopicRecord};

/// Most files that are opened only to look twice.
const MAX_SECOND_LOOKS: usize = 16;

/// Topic, partition and offset.
type Place = (String, i64, i64);

/// Decides those of the records `unsure` that `table` has rows of.
///
/// # Errors
/// The storage's.
pub(super) async fn ask(
    batch: &mut Batch,
    table: &Table,
    branch: &str,
    unsure: Vec<(usize, Arc<TopicRecord>)>,
) -> Result<()> {
    if unsure.is_empty() {
        return Ok(());
    }
    let mut wanted = by_place(&unsure);
    for snapshot in branch::heads(table.metadata(), branch) {
        let schema = snapshot.schema(table.metadata())?;
        match filter(&schema, &unsure) {
            Some(any) => read_rows(table, snapshot, any, &mut wanted, usize::MAX).await?,
            None => tracing::warn!(
                table = %table.identifier(),
                records = unsure.len(),
                "the table has no columns topic, partition and offset: whether it has these records cannot be told"
            ),
        }
    }
    for wanted in wanted.into_values() {
        for (at, record) in &wanted.records {
            if wanted.has(record) {
                batch.decide(*at, TopicStatus::AlreadyCommitted);
            }
        }
    }
    Ok(())
}

/// Those of the records `known`, which are in the table by their offsets, of which it has a row with the record's id and
/// another time: they are other records. Only where the rows have ids and times, and few files may have them: this is a
/// second look, after that at the times of whole commits.
pub(super) async fn differing(
    table: &Table,
    branch: &str,
    known: Vec<(usize, Arc<TopicRecord>)>,
) -> Result<Vec<Arc<TopicRecord>>> {
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let mut wanted = by_place(&known);
    for snapshot in branch::heads(table.metadata(), branch) {
        let schema = snapshot.schema(table.metadata())?;
        let has = |name| schema.field_by_name(name).is_some();
        if let Some(any) = filter(&schema, &known).filter(|_| has(RECORD_ID) && has(KAFKA_TIMESTAMP)) {
            read_rows(table, snapshot, any, &mut wanted, MAX_SECOND_LOOKS).await?;
        }
    }
    let differing = wanted.values().flat_map(|wanted| {
        let records = wanted.records.iter().map(|(_, record)| record);
        records.filter(|record| wanted.has_another(record)).cloned()
    });
    Ok(differing.collect())
}

fn by_place(records: &[(usize, Arc<TopicRecord>)]) -> HashMap<Place, Wanted> {
    let mut wanted: HashMap<Place, Wanted> = HashMap::new();
    for (at, record) in records.iter().cloned() {
        let partition = i64::from(record.partition.partition);
        let place = (record.partition.topic.clone(), partition, record.offset);
        wanted.entry(place).or_default().records.push((at, record));
    }
    wanted
}

/// Adds the rows of `snapshot` that `any` admits to what is `wanted`, unless they may be in more than `max_files` files.
async fn read_rows(
    table: &Table,
    snapshot: &Snapshot,
    any: Predicate,
    wanted: &mut HashMap<Place, Wanted>,
    max_files: usize,
) -> Result<()> {
    let schema = snapshot.schema(table.metadata())?;
    // In the order of the schema: the library gives columns in another order the wrong names.
    let names = [TOPIC, PARTITION, OFFSET, KAFKA_TIMESTAMP, RECORD_ID];
    let fields = schema.as_struct().fields().iter().filter(|field| names.contains(&field.name.as_str()));
    let field_ids: Vec<i32> = fields.map(|field| field.id).collect();
    let scan =
        table.scan().snapshot_id(snapshot.snapshot_id()).select_empty().with_filter(any.clone()).build()?;
    let mut tasks: Vec<FileScanTask> = scan.plan_files().await?.try_collect().await?;
    if tasks.len() > max_files {
        return Ok(());
    }
    tracing::info!(records = wanted.len(), files_opened = tasks.len(), "asked the table for rows of records");
    let rows = any.bind(schema, true)?;
    for task in &mut tasks {
        task.predicate = Some(rows.clone());
        task.project_field_ids.clone_from(&field_ids);
        task.deletes.clear();
    }
    // The statistics of row groups were written by any engine, and rows that stay hidden would come twice.
    let reader = table.reader_builder().with_row_group_filtering_enabled(false).build();
    let mut batches = reader.read(futures::stream::iter(tasks.into_iter().map(Ok)).boxed())?.stream();
    while let Some(rows) = batches.try_next().await? {
        meet(wanted, &rows)?;
    }
    Ok(())
}

/// Records at one place, which may be of several clusters, and the rows that the table has there.
#[derive(Default)]
struct Wanted {
    records: Vec<(usize, Arc<TopicRecord>)>,
    /// Times and ids of rows.
    rows: Vec<(Option<i64>, Option<String>)>,
}

impl Wanted {
    /// The ids that rows of the record may have.
    fn ids(&self, record: &TopicRecord) -> HashSet<String> {
        (0..self.rows.len()).map(|index| record.record_id(index).to_string()).collect()
    }

    /// Whether there is a row of the record's id and another time.
    fn has_another(&self, record: &TopicRecord) -> bool {
        let ids = self.ids(record);
        self.rows.iter().any(|(time, id)| {
            let differs = time.zip(record.timestamp_ms).is_some_and(|(one, other)| one != other);
            differs && id.as_ref().is_some_and(|id| ids.contains(id))
        })
    }

    fn has(&self, record: &TopicRecord) -> bool {
        let ids = self.ids(record);
        self.rows
            .iter()
            .any(|(time, id)| *time == record.timestamp_ms && id.as_ref().is_none_or(|id| ids.contains(id)))
    }
}

/// What admits the records, by partition: topic, partition, the least and the greatest offset. None if the table lacks a
/// column for them.
fn filter(schema: &SchemaRef, records: &[(usize, Arc<TopicRecord>)]) -> Option<Predicate> {
    let number = |name: &str, value: i64| match schema.field_by_name(name).map(kind)? {
        Type::Primitive(PrimitiveType::Int) => Some(Datum::int(i32::try_from(value).ok()?)),
        Type::Primitive(PrimitiveType::Long) => Some(Datum::long(value)),
        _ => None,
    };
    if *kind(schema.field_by_name(TOPIC)?) != Type::Primitive(PrimitiveType::String) {
        return None;
    }
    let mut partitions: HashMap<(&str, i32), (i64, i64)> = HashMap::new();
    for (_, record) in records {
        let place = (record.partition.topic.as_str(), record.partition.partition);
        let ends = partitions.entry(place).or_insert((record.offset, record.offset));
        *ends = (ends.0.min(record.offset), ends.1.max(record.offset));
    }
    let mut any = Predicate::AlwaysFalse;
    for ((topic, partition), (least, greatest)) in partitions {
        let is_there = Reference::new(TOPIC)
            .equal_to(Datum::string(topic))
            .and(Reference::new(PARTITION).equal_to(number(PARTITION, partition.into())?))
            .and(Reference::new(OFFSET).greater_than_or_equal_to(number(OFFSET, least)?))
            .and(Reference::new(OFFSET).less_than_or_equal_to(number(OFFSET, greatest)?));
        any = any.or(is_there);
    }
    Some(any)
}

fn kind(field: &NestedFieldRef) -> &Type {
    &field.field_type
}

/// Adds the rows of `batch` to what is `wanted` at their places.
fn meet(wanted: &mut HashMap<Place, Wanted>, batch: &RecordBatch) -> Result<()> {
    let column = |name: &str, to: &DataType| -> Result<Option<ArrayRef>> {
        let cast = |column: &ArrayRef| arrow_cast::cast(column, to);
        batch.column_by_name(name).map(cast).transpose().map_err(|error| {
            Error::new(ErrorKind::DataInvalid, format!("the column {name} cannot be read")).with_source(error)
        })
    };
    let (Some(topics), Some(partitions), Some(offsets)) = (
        column(TOPIC, &DataType::Utf8)?,
        column(PARTITION, &DataType::Int64)?,
        column(OFFSET, &DataType::Int64)?,
    ) else {
        return Ok(());
    };
    let (topics, partitions) = (topics.as_string::<i32>(), partitions.as_primitive::<Int64Type>());
    let offsets = offsets.as_primitive::<Int64Type>();
    let millis = column(KAFKA_TIMESTAMP, &DataType::Timestamp(TimeUnit::Millisecond, None))?;
    let millis = millis.map(|millis| arrow_cast::cast(&millis, &DataType::Int64)).transpose();
    let millis = millis.map_err(|error| {
        Error::new(ErrorKind::DataInvalid, format!("the column {KAFKA_TIMESTAMP} cannot be read"))
            .with_source(error)
    })?;
    let ids = column(RECORD_ID, &DataType::Utf8)?;
    for row in 0..batch.num_rows() {
        if topics.is_null(row) || partitions.is_null(row) || offsets.is_null(row) {
            continue;
        }
        let place = (topics.value(row).to_owned(), partitions.value(row), offsets.value(row));
        let Some(wanted) = wanted.get_mut(&place) else { continue };
        let time = match &millis {
            Some(millis) => {
                let millis = millis.as_primitive::<Int64Type>();
                millis.is_valid(row).then(|| millis.value(row))
            }
            // Without the column, the place alone tells.
            None => wanted.records.first().and_then(|(_, record)| record.timestamp_ms),
        };
        let id = ids.as_ref().map(|ids| ids.as_string::<i32>()).filter(|ids| ids.is_valid(row));
        wanted.rows.push((time, id.map(|ids| ids.value(row).to_owned())));
    }
    Ok(())
}

//! Which of the records the table has already, by its rows.
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
use iceberg::spec::{Datum, NestedFieldRef, PrimitiveType, SchemaRef, Type};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use records::enrich::RECORD_ID;

use super::batch::{Batch, TopicStatus};
use crate::topic::{KAFKA_TIMESTAMP, OFFSET, PARTITION, TOPIC, TopicRecord};

/// Topic, partition and offset.
type Place = (String, i64, i64);

/// Decides those of the records `unsure` that `table` has rows of.
///
/// # Errors
/// The storage's.
pub(super) async fn ask(
    batch: &mut Batch,
    table: &Table,
    unsure: Vec<(usize, Arc<TopicRecord>)>,
) -> Result<()> {
    let Some(snapshot) = table.metadata().current_snapshot().filter(|_| !unsure.is_empty()) else {
        return Ok(());
    };
    let schema = snapshot.schema(table.metadata())?;
    let Some(any) = filter(&schema, &unsure) else {
        tracing::warn!(
            table = %table.identifier(),
            records = unsure.len(),
            "the table has no columns topic, partition and offset: whether it has these records cannot be told"
        );
        return Ok(());
    };
    let mut wanted: HashMap<Place, Wanted> = HashMap::new();
    for (at, record) in unsure {
        let place = (record.partition.topic.clone(), i64::from(record.partition.partition), record.offset);
        wanted.entry(place).or_default().records.push((at, record));
    }
    // In the order of the schema: the library gives columns in another order the wrong names.
    let names = [TOPIC, PARTITION, OFFSET, KAFKA_TIMESTAMP, RECORD_ID];
    let fields = schema.as_struct().fields().iter().filter(|field| names.contains(&field.name.as_str()));
    let field_ids: Vec<i32> = fields.map(|field| field.id).collect();
    let scan = table.scan().select_empty().with_filter(any.clone()).build()?;
    let mut tasks: Vec<FileScanTask> = scan.plan_files().await?.try_collect().await?;
    tracing::info!(
        records = wanted.len(),
        files_opened = tasks.len(),
        files = snapshot.summary().additional_properties.get("total-data-files"),
        "asked the table for records that no summary tells of"
    );
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
        meet(&mut wanted, &rows)?;
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

/// Records at one place, which may be of several clusters, and the rows that the table has there.
#[derive(Default)]
struct Wanted {
    records: Vec<(usize, Arc<TopicRecord>)>,
    /// Times and ids of rows.
    rows: Vec<(Option<i64>, Option<String>)>,
}

impl Wanted {
    fn has(&self, record: &TopicRecord) -> bool {
        let ids: HashSet<String> =
            (0..self.rows.len()).map(|index| record.record_id(index).to_string()).collect();
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

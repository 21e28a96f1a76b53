//! Rows -> the partition value of each.
//!
//! In: a batch in the table's schema. Out: one struct a row, by the table's partition spec (Iceberg
//! specification, "Partition Transforms"). The library's transforms, but where they are wrong or missing.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Date32Type, Int32Type, TimestampMicrosecondType, TimestampNanosecondType};
use arrow_array::{ArrayRef, LargeBinaryArray, RecordBatch, StructArray};
use arrow_schema::{DataType, Fields, TimeUnit};
use iceberg::arrow::record_batch_projector::RecordBatchProjector;
use iceberg::arrow::type_to_arrow_type;
use iceberg::spec::{PrimitiveType, StructType, TableMetadata, Transform, Type};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use iceberg::{Error, ErrorKind, Result};

const MICROS_OF_DAY: i64 = 86_400_000_000;
const NANOS_OF_DAY: i64 = MICROS_OF_DAY * 1000;
const NANOS_OF_HOUR: i64 = NANOS_OF_DAY / 24;

/// Calculates the values of a table's default partition spec.
pub(super) struct PartitionValues {
    sources: RecordBatchProjector,
    transforms: Vec<(Transform, BoxedTransformFunction)>,
    pub(super) partition_type: StructType,
    pub(super) fields: Fields,
}

impl PartitionValues {
    pub(super) fn new(metadata: &TableMetadata) -> Result<Self> {
        let (spec, schema) = (metadata.default_partition_spec(), metadata.current_schema());
        let source_ids: Vec<i32> = spec.fields().iter().map(|field| field.source_id).collect();
        let transforms = spec
            .fields()
            .iter()
            .map(|field| Ok((field.transform, create_transform_function(&field.transform)?)))
            .collect::<Result<Vec<_>>>()?;
        let partition_type = spec.partition_type(schema)?;
        let DataType::Struct(fields) = type_to_arrow_type(&Type::Struct(partition_type.clone()))? else {
            return Err(Error::new(ErrorKind::Unexpected, "a partition value is no struct"));
        };
        for field in partition_type.fields() {
            // The library cannot write such a value into a manifest: better no file than files without a commit.
            if *field.field_type == Type::Primitive(PrimitiveType::Uuid) {
                let what = format!(
                    "the partition field {:?} is the identity of a uuid, which this release cannot write; \
                     partition by its bucket",
                    field.name
                );
                return Err(Error::new(ErrorKind::FeatureUnsupported, what));
            }
        }
        let sources = RecordBatchProjector::from_iceberg_schema(schema.clone(), &source_ids)?;
        Ok(Self { sources, transforms, partition_type, fields })
    }

    pub(super) fn of(&self, batch: &RecordBatch) -> Result<StructArray> {
        let columns = self.sources.project_column(batch.columns())?.into_iter().zip(&self.transforms);
        let columns = columns
            .map(|(column, (transform, function))| apply(*transform, function, column))
            .collect::<Result<Vec<_>>>()?;
        StructArray::try_new(self.fields.clone(), columns, None).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "partition values make no struct").with_source(error)
        })
    }
}

/// What `transform`, which is the library's `function`, makes of `column`.
pub(super) fn apply(
    transform: Transform,
    function: &BoxedTransformFunction,
    column: ArrayRef,
) -> Result<ArrayRef> {
    match transformed(transform, &column) {
        Some(values) => Ok(values),
        None => function.transform(column),
    }
}

/// The transforms that the library (iceberg 0.10.1) gets wrong or lacks.
fn transformed(transform: Transform, column: &ArrayRef) -> Option<ArrayRef> {
    use TimeUnit::{Microsecond, Nanosecond};
    Some(match (transform, column.data_type()) {
        // The library rounds the last second of a day before 1970 up: no filter would find the row.
        (Transform::Day, DataType::Timestamp(Microsecond, _)) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            Arc::new(column.unary::<_, Date32Type>(|micros| micros.div_euclid(MICROS_OF_DAY) as i32))
        }
        (Transform::Day, DataType::Timestamp(Nanosecond, _)) => {
            let column = column.as_primitive::<TimestampNanosecondType>();
            Arc::new(column.unary::<_, Date32Type>(|nanos| nanos.div_euclid(NANOS_OF_DAY) as i32))
        }
        (Transform::Hour, DataType::Timestamp(Nanosecond, _)) => {
            let column = column.as_primitive::<TimestampNanosecondType>();
            Arc::new(column.unary::<_, Int32Type>(|nanos| nanos.div_euclid(NANOS_OF_HOUR) as i32))
        }
        (Transform::Truncate(width), DataType::LargeBinary) => {
            let shorten = |value: &[u8]| value[..value.len().min(width as usize)].to_vec();
            let values = column.as_binary::<i64>().iter().map(|value| value.map(shorten));
            Arc::new(LargeBinaryArray::from_iter(values))
        }
        _ => return None,
    })
}

//! One batch -> one batch a partition.
//!
//! In: a batch in the table's schema. Out: its rows grouped by the value of the table's partition spec (Iceberg
//! specification, "Partition Transforms"), in the order in which the partitions are first seen. A batch that lies in
//! one partition, the usual case of a stream, is passed on as it is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use iceberg::arrow::arrow_struct_to_literal;
use iceberg::spec::{Literal, Struct, TableMetadata};
use iceberg::{Error, ErrorKind, Result};

use super::transform::PartitionValues;

/// The rows of one partition.
pub(super) struct Part {
    /// The partition's value, encoded so that equal values are equal bytes.
    pub(super) key: Vec<u8>,
    pub(super) value: Struct,
    pub(super) batch: RecordBatch,
}

/// Splits batches by a table's default partition spec.
pub(super) struct Partitioner {
    /// None for a table without partitions.
    spec: Option<(PartitionValues, RowConverter)>,
    /// The value without partitions: null for each field that the spec once had.
    unpartitioned: Struct,
}

impl Partitioner {
    pub(super) fn new(metadata: &TableMetadata) -> Result<Self> {
        let spec = metadata.default_partition_spec();
        let unpartitioned = spec.fields().iter().map(|_| None).collect();
        if spec.is_unpartitioned() {
            return Ok(Self { spec: None, unpartitioned });
        }
        let values = PartitionValues::new(metadata)?;
        let fields = values.fields.iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(arrow_failed)?;
        Ok(Self { spec: Some((values, converter)), unpartitioned })
    }

    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<Part>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let Some((partition, converter)) = &self.spec else {
            let value = self.unpartitioned.clone();
            return Ok(vec![Part { key: Vec::new(), value, batch: batch.clone() }]);
        };
        let values = partition.of(batch)?;
        let rows = converter.convert_columns(values.columns()).map_err(arrow_failed)?;
        let value_at = |row: usize| {
            let value: ArrayRef = Arc::new(values.slice(row, 1));
            let literals = arrow_struct_to_literal(&value, &partition.partition_type)?;
            match literals.into_iter().next() {
                Some(Some(Literal::Struct(value))) => Ok(value),
                _ => Err(Error::new(ErrorKind::Unexpected, "a partition value is no struct")),
            }
        };
        let first = rows.row(0);
        if rows.iter().all(|row| row == first) {
            let key = first.as_ref().to_vec();
            return Ok(vec![Part { key, value: value_at(0)?, batch: batch.clone() }]);
        }
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut groups: Vec<Vec<u32>> = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let place = *places.entry(row.data()).or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[place].push(at as u32);
        }
        groups
            .into_iter()
            .map(|group| {
                let representative = group[0] as usize;
                Ok(Part {
                    key: rows.row(representative).as_ref().to_vec(),
                    value: value_at(representative)?,
                    batch: take_record_batch(batch, &UInt32Array::from(group)).map_err(arrow_failed)?,
                })
            })
            .collect()
    }
}

fn arrow_failed(error: ArrowError) -> Error {
    Error::new(ErrorKind::Unexpected, "cannot split a batch by partition").with_source(error)
}

//! One batch -> its rows by partition.
//!
//! In: a batch in the table's schema. Out: which of its rows are in which partition of the table's partition spec (Iceberg
//! specification, "Partition Transforms"), in the order in which the partitions are first seen. A batch that lies in
//! one partition, the usual case of a stream, is passed on as it is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::ArrowError;
use arrow_select::take::take;
use iceberg::arrow::arrow_struct_to_literal;
use iceberg::spec::{Literal, Struct, TableMetadata};
use iceberg::{Error, ErrorKind, Result};

use super::transform::PartitionValues;

/// The rows of a batch that are in one partition; never none.
pub(super) struct Part {
    /// The partition's value, encoded so that equal values are equal bytes.
    pub(super) key: Vec<u8>,
    /// Indexes of the rows.
    pub(super) rows: Vec<u32>,
}

impl Part {
    /// The rows themselves; `batch` as it is if they are all of it.
    pub(super) fn of(self, batch: &RecordBatch) -> Result<RecordBatch> {
        match self.rows.len() == batch.num_rows() {
            true => Ok(batch.clone()),
            false => take_rows(batch, &UInt32Array::from(self.rows)),
        }
    }
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

    /// The key of every row; None for a table without partitions, where all are alike.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Option<Rows>> {
        let Some((partition, converter)) = &self.spec else { return Ok(None) };
        converter.convert_columns(partition.of(batch)?.columns()).map(Some).map_err(arrow_failed)
    }

    /// The value of the partition that the first row of `batch` is in.
    pub(super) fn value(&self, batch: &RecordBatch) -> Result<Struct> {
        let Some((partition, _)) = &self.spec else { return Ok(self.unpartitioned.clone()) };
        let value: ArrayRef = Arc::new(partition.of(&batch.slice(0, 1))?);
        match arrow_struct_to_literal(&value, &partition.partition_type)?.into_iter().next() {
            Some(Some(Literal::Struct(value))) => Ok(value),
            _ => Err(Error::new(ErrorKind::Unexpected, "a partition value is no struct")),
        }
    }

    /// The rows of `batch` by partition.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<Part>> {
        let count = batch.num_rows() as u32;
        if count == 0 {
            return Ok(Vec::new());
        }
        let whole = |key| Ok(vec![Part { key, rows: (0..count).collect() }]);
        let Some((partition, converter)) = &self.spec else { return whole(Vec::new()) };
        let values = partition.of(batch)?;
        if values.columns().iter().all(is_constant) {
            let first: Vec<ArrayRef> = values.columns().iter().map(|column| column.slice(0, 1)).collect();
            let key = converter.convert_columns(&first).map_err(arrow_failed)?;
            return whole(key.row(0).as_ref().to_vec());
        }
        let keys = converter.convert_columns(values.columns()).map_err(arrow_failed)?;
        let mut places: HashMap<&[u8], usize> = HashMap::new();
        let mut parts: Vec<Part> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let place = *places.entry(key.data()).or_insert_with(|| {
                parts.push(Part { key: key.data().to_vec(), rows: Vec::new() });
                parts.len() - 1
            });
            parts[place].rows.push(at as u32);
        }
        Ok(parts)
    }
}

/// Whether all values of `column`, of which there is one at least, are the same.
fn is_constant(column: &ArrayRef) -> bool {
    let others = column.len() - 1;
    column.slice(0, others) == column.slice(1, others)
}

/// The `rows` of `batch`. Columns without values still share what they share.
pub(super) fn take_rows(batch: &RecordBatch, rows: &UInt32Array) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| match column.null_count() == column.len() && rows.len() <= column.len() {
            true => Ok(column.slice(0, rows.len())),
            false => take(column, rows, None),
        })
        .collect::<std::result::Result<_, _>>()
        .map_err(arrow_failed)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options).map_err(arrow_failed)
}

fn arrow_failed(error: ArrowError) -> Error {
    Error::new(ErrorKind::Unexpected, "cannot split a batch by partition").with_source(error)
}

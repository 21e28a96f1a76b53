//! A batch -> the same rows in the table's sort order.
//!
//! In: a batch in the table's schema. Out: it as it is, or sorted by the table's default sort order (Iceberg specification,
//! "Sorting"); rows that are alike by it keep their order. Only the rows of a batch are sorted, so files claim no order.

use arrow_array::{RecordBatch, UInt32Array};
use arrow_row::{RowConverter, SortField};
use arrow_schema::{ArrowError, SortOptions};
use iceberg::arrow::record_batch_projector::RecordBatchProjector;
use iceberg::spec::{NullOrder, SortDirection, TableMetadata, Transform};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};
use iceberg::{Error, ErrorKind, Result};

use super::partition::take_rows;
use super::transform::apply;

/// Sorts batches by a table's default sort order.
pub(super) struct Order(Option<Keys>);

struct Keys {
    sources: RecordBatchProjector,
    transforms: Vec<(Transform, BoxedTransformFunction)>,
    options: Vec<SortOptions>,
}

impl Order {
    /// An order that cannot be kept is none: to sort is to help readers, and no reason not to append.
    pub(super) fn new(metadata: &TableMetadata) -> Self {
        let keys = Keys::new(metadata).unwrap_or_else(|error| {
            tracing::warn!(%error, "the table's sort order cannot be kept; rows come as they are");
            None
        });
        Self(keys)
    }

    /// The rows of `batch` in order; None if they are so.
    ///
    /// # Errors
    /// Arrow's: a defect.
    pub(super) fn sorted(&self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let Some(Keys { sources, transforms, options }) = &self.0 else { return Ok(None) };
        let columns = sources.project_column(batch.columns())?.into_iter().zip(transforms);
        let columns = columns
            .map(|(column, (transform, function))| apply(*transform, function, column))
            .collect::<Result<Vec<_>>>()?;
        let each = columns.iter().zip(options);
        let fields =
            each.map(|(column, options)| SortField::new_with_options(column.data_type().clone(), *options));
        let converter = RowConverter::new(fields.collect()).map_err(failed)?;
        let keys = converter.convert_columns(&columns).map_err(failed)?;
        if keys.iter().is_sorted() {
            return Ok(None);
        }
        let mut rows: Vec<u32> = (0..batch.num_rows() as u32).collect();
        rows.sort_by(|one, other| keys.row(*one as usize).cmp(&keys.row(*other as usize)));
        take_rows(batch, &UInt32Array::from(rows)).map(Some)
    }
}

impl Keys {
    fn new(metadata: &TableMetadata) -> Result<Option<Self>> {
        let order = metadata.default_sort_order();
        if order.is_unsorted() {
            return Ok(None);
        }
        let source_ids: Vec<i32> = order.fields.iter().map(|field| field.source_id).collect();
        let transforms = order
            .fields
            .iter()
            .map(|field| Ok((field.transform, create_transform_function(&field.transform)?)));
        let options = order.fields.iter().map(|field| SortOptions {
            descending: field.direction == SortDirection::Descending,
            nulls_first: field.null_order == NullOrder::First,
        });
        Ok(Some(Self {
            sources: RecordBatchProjector::from_iceberg_schema(
                metadata.current_schema().clone(),
                &source_ids,
            )?,
            transforms: transforms.collect::<Result<_>>()?,
            options: options.collect(),
        }))
    }
}

fn failed(error: ArrowError) -> Error {
    Error::new(ErrorKind::Unexpected, "a batch cannot be sorted").with_source(error)
}

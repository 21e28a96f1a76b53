//! The columns of a file as the columns of the table.
//!
//! In: a batch as it lies in a Parquet file, whose fields have Iceberg's ids. Out: one of the table's schema, at every depth by
//! id: fields may have other names, another order and narrower types, and be missing (Iceberg table specification, "Column
//! Projection"). Refused: files without ids, and values that do not fit.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array as _, ArrayRef, AsArray as _, ListArray, MapArray, RecordBatch, RecordBatchOptions, StructArray,
    new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, SchemaRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;

/// Deeper columns are refused.
const MAX_DEPTH: usize = 100;

/// The id of a field, None if it has none.
pub(crate) fn id(field: &Field) -> Option<i32> {
    field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()
}

/// `batch` in the columns of `target`. A column that the file lacks has its value in `constants`, by id, or is null.
pub(crate) fn adapt(
    batch: &RecordBatch,
    target: &SchemaRef,
    constants: &HashMap<i32, ScalarValue>,
) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let schema = batch.schema();
    let columns = target.fields().iter().map(|field| {
        let at = id(field).and_then(|wanted| position(schema.fields(), wanted));
        match at {
            Some(at) => column(batch.column(at), schema.field(at), field, 0),
            None => match id(field).and_then(|id| constants.get(&id)) {
                Some(value) => value.cast_to(field.data_type())?.to_array_of_size(rows),
                None => Ok(new_null_array(field.data_type(), rows)),
            },
        }
    });
    let columns = columns.collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(target.clone(), columns, &options)?)
}

/// Where the field with an id is.
pub(crate) fn position(fields: &Fields, wanted: i32) -> Option<usize> {
    fields.iter().position(|field| id(field) == Some(wanted))
}

fn column(array: &ArrayRef, from: &Field, to: &FieldRef, depth: usize) -> Result<ArrayRef> {
    if from.data_type() == to.data_type() {
        return Ok(array.clone());
    }
    if depth == MAX_DEPTH {
        return exec_err!("the column {} is deeper than {MAX_DEPTH} levels", to.name());
    }
    Ok(match (from.data_type(), to.data_type()) {
        (DataType::Struct(of_file), DataType::Struct(of_table)) => {
            let array = array.as_struct();
            let fields = of_table.iter().map(|field| {
                match id(field).and_then(|wanted| position(of_file, wanted)).map(|at| (at, of_file.get(at))) {
                    Some((at, Some(from))) => column(array.column(at), from, field, depth + 1),
                    _ => Ok(new_null_array(field.data_type(), array.len())),
                }
            });
            let fields: Vec<ArrayRef> = fields.collect::<Result<_>>()?;
            let nulls = array.nulls().cloned();
            if fields.is_empty() {
                Arc::new(StructArray::new_empty_fields(array.len(), nulls))
            } else {
                Arc::new(StructArray::try_new(of_table.clone(), fields, nulls)?)
            }
        }
        (DataType::List(of_file), DataType::List(of_table)) => {
            let array = array.as_list::<i32>();
            let values = column(array.values(), of_file, of_table, depth + 1)?;
            let nulls = array.nulls().cloned();
            Arc::new(ListArray::try_new(of_table.clone(), array.offsets().clone(), values, nulls)?)
        }
        (DataType::Map(_, _), DataType::Map(of_table, is_sorted)) => {
            let array = array.as_map();
            let DataType::Struct(wanted) = of_table.data_type() else {
                return exec_err!("the map {} has no entries", to.name());
            };
            let entries = array.entries();
            let parts = entries.columns().iter().zip(entries.fields()).zip(wanted);
            let parts = parts.map(|((array, from), to)| column(array, from, to, depth + 1));
            let entries = StructArray::try_new(
                wanted.clone(),
                parts.collect::<Result<_>>()?,
                entries.nulls().cloned(),
            )?;
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Arc::new(MapArray::try_new(of_table.clone(), offsets, entries, nulls, *is_sorted)?)
        }
        (_, wanted) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(array, wanted, &options)?
        }
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int32Array, Int64Array, StringArray};
    use datafusion::arrow::datatypes::Schema;

    use super::*;

    fn field(name: &str, data_type: DataType, id: i32) -> Field {
        let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Field::new(name, data_type, true).with_metadata(metadata)
    }

    fn structure(fields: Vec<Field>) -> DataType {
        DataType::Struct(fields.into())
    }

    #[test]
    fn columns_are_told_by_their_ids_at_every_depth() {
        let inner = StructArray::from(vec![
            (Arc::new(field("x", DataType::Int32, 4)), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
            (
                Arc::new(field("gone", DataType::Utf8, 5)),
                Arc::new(StringArray::from(vec!["p", "q"])) as ArrayRef,
            ),
        ]);
        let of_file =
            Schema::new(vec![field("n", DataType::Int32, 1), field("old", inner.data_type().clone(), 3)]);
        let batch = RecordBatch::try_new(
            Arc::new(of_file),
            vec![Arc::new(Int32Array::from(vec![7, 8])), Arc::new(inner)],
        )
        .unwrap();
        let target = Arc::new(Schema::new(vec![
            field(
                "renamed",
                structure(vec![field("new", DataType::Utf8, 6), field("x", DataType::Int64, 4)]),
                3,
            ),
            field("day", DataType::Utf8, 2),
            field("later", DataType::Int32, 9),
            field("n", DataType::Int64, 1),
        ]));
        let constants = HashMap::from([(2, ScalarValue::from("monday"))]);
        let adapted = adapt(&batch, &target, &constants).unwrap();
        assert_eq!(adapted.column(3).as_ref(), &Int64Array::from(vec![7, 8]));
        assert_eq!(adapted.column(2).null_count(), 2);
        assert_eq!(adapted.column(1).as_ref(), &StringArray::from(vec!["monday", "monday"]));
        let inner = adapted.column(0).as_struct();
        assert_eq!(inner.column(0).null_count(), 2);
        assert_eq!(inner.column(1).as_ref(), &Int64Array::from(vec![1, 2]));
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let of_file = Arc::new(Schema::new(vec![field("n", DataType::Int64, 1)]));
        let batch = RecordBatch::try_new(of_file, vec![Arc::new(Int64Array::from(vec![1 << 40]))]).unwrap();
        let target = Arc::new(Schema::new(vec![field("n", DataType::Int32, 1)]));
        assert!(adapt(&batch, &target, &HashMap::new()).is_err());
    }
}

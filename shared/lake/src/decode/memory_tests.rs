//! What rows take in memory: a row beyond its share is refused alone, and absent columns cost nothing.

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use arrow_array::{Array as _, RecordBatch};
use iceberg::spec::{ListType, MapType, NestedField, PrimitiveType as Kind, StructType, Type};

use super::*;

const LIMIT: usize = 1 << 20;

fn decoder(fields: Vec<NestedField>) -> RowDecoder {
    let fields: Vec<_> = fields.into_iter().map(Arc::new).collect();
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let mut decoder = RowDecoder::new(&schema, "1970-01-01T00:00:00Z").unwrap();
    decoder.set_row_bytes(LIMIT);
    decoder
}

fn longs(ids: std::ops::Range<i32>, prefix: &str) -> Vec<NestedField> {
    ids.map(|id| NestedField::optional(id, format!("{prefix}{id}"), Kind::Long.into())).collect()
}

fn wide_struct() -> Type {
    Type::Struct(StructType::new(longs(5100..5300, "f").into_iter().map(Arc::new).collect()))
}

fn nested() -> RowDecoder {
    let items = ListType::new(NestedField::list_element(10, wide_struct(), false).into());
    let map = MapType::new(
        NestedField::map_key_element(11, Kind::String.into()).into(),
        NestedField::map_value_element(12, Kind::Long.into(), false).into(),
    );
    decoder(vec![
        NestedField::optional(1, "n", Kind::Long.into()),
        NestedField::optional(2, "items", Type::List(items)),
        NestedField::optional(3, "map", Type::Map(map)),
        NestedField::optional(4, "text", Kind::String.into()),
    ])
}

/// Bytes of the buffers that a batch holds, those that several columns share once.
fn buffer_bytes(batch: &RecordBatch) -> usize {
    let mut seen = std::collections::BTreeMap::new();
    let mut open: Vec<_> = batch.columns().iter().map(|column| column.to_data()).collect();
    while let Some(data) = open.pop() {
        for buffer in data.buffers().iter().chain(data.nulls().map(|nulls| nulls.buffer())) {
            seen.insert(buffer.data_ptr().as_ptr() as usize, buffer.capacity());
        }
        open.extend(data.child_data().iter().cloned());
    }
    seen.values().sum()
}

#[test]
fn a_row_beyond_its_share_is_refused_alone() {
    let mut decoder = nested();
    let elements = |n: usize| format!("{{\"n\":1,\"items\":[{}{{}}]}}", "{},".repeat(n - 1));
    let entries: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":1")).collect();
    let refused = [
        elements(LIMIT / 1600 + 1),
        format!("{{\"map\":{{{}}}}}", entries.join(",")),
        format!("{{\"text\":\"{}\"}}", "x".repeat(LIMIT + 1)),
        format!("{{\"text\":[\"{}\"]}}", "x".repeat(LIMIT)),
    ];
    for record in &refused {
        decoder.push(b"{\"n\":7,\"text\":\"stands\",\"items\":[{\"f5101\":5}]}").unwrap();
        let refusal = decoder.push(record.as_bytes()).unwrap_err();
        assert_eq!(refusal.reason, Reason::RecordTooLarge, "{refusal}");
        assert!(refusal.message.contains("more than 1048576 bytes of memory"), "{refusal}");
    }
    decoder.push(elements(100).as_bytes()).unwrap();
    let batch = decoder.finish().unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[7, 7, 7, 7, 1]);
    let items = batch.column(1).as_list::<i32>();
    assert_eq!(items.value(4).len(), 100);
    assert_eq!(items.value(3).as_struct().column(1).as_primitive::<Int64Type>().value(0), 5);
    for column in batch.columns() {
        column.to_data().validate_full().unwrap();
    }
}

#[test]
fn columns_without_values_cost_nothing() {
    let mut columns = longs(1..1900, "c");
    columns.push(NestedField::optional(2000, "s", wide_struct()));
    let mut decoder = decoder(columns);
    for n in 0..60 {
        decoder.push(if n % 2 == 0 { b"{}" } else { b"{\"c7\":7,\"s\":{\"f5150\":1}}" }).unwrap();
    }
    assert!(decoder.bytes() < 60 * 100, "{}", decoder.bytes());
    assert!(!decoder.is_full(LIMIT));
    let batch = decoder.finish().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (60, 1900));
    assert!(buffer_bytes(&batch) < 60 * 100, "{}", buffer_bytes(&batch));
    for (at, column) in batch.columns().iter().enumerate() {
        column.to_data().validate_full().unwrap();
        assert_eq!(column.null_count(), if at == 6 || at == 1899 { 30 } else { 60 });
    }
    // Rows that are filled in later count before they come.
    for _ in 0..LIMIT / (2100 * 8) {
        decoder.push(b"{}").unwrap();
    }
    decoder.push(b"{}").unwrap();
    assert!(decoder.is_full(usize::MAX));
}

#[test]
fn a_duplicate_and_a_missing_field_are_found_in_columns_that_lag() {
    let fields = vec![
        NestedField::optional(1, "a", Kind::Long.into()),
        NestedField::optional(
            2,
            "s",
            Type::Struct(StructType::new(vec![
                NestedField::required(3, "x", Kind::Long.into()).into(),
                NestedField::optional(4, "y", Kind::Boolean.into()).into(),
            ])),
        ),
    ];
    let mut decoder = decoder(fields);
    decoder.push(b"{}").unwrap();
    decoder.push(b"{\"s\":null}").unwrap();
    let reason = |decoder: &mut RowDecoder, record: &[u8]| decoder.push(record).unwrap_err().reason;
    assert_eq!(reason(&mut decoder, b"{\"s\":{\"y\":true}}"), Reason::MissingRequired);
    assert_eq!(reason(&mut decoder, b"{\"a\":null,\"a\":1}"), Reason::DuplicateField);
    assert_eq!(reason(&mut decoder, b"{\"s\":{\"x\":1,\"y\":true,\"x\":2}}"), Reason::DuplicateField);
    decoder.push(b"{\"s\":{\"x\":9,\"y\":true},\"a\":4}").unwrap();
    let batch = decoder.finish().unwrap();
    let s = batch.column(1).as_struct();
    assert_eq!((s.null_count(), batch.column(0).null_count()), (2, 2));
    assert_eq!(s.column(0).as_primitive::<Int64Type>().value(2), 9);
    s.to_data().validate_full().unwrap();
}

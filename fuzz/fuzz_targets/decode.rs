//! Records -> columns of every type.
//!
//! In: one record a line; an empty line ends a batch. The laws: nothing panics; a batch has as many rows as were taken,
//! and its arrays are valid; a refused row leaves no trace, whatever of it was read; the reader in one pass and the one that
//! judges take the same rows for the same values; a column is null where the record has null or nothing, and text, numbers
//! and booleans are what another reader makes of them.
#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array as _, RecordBatch};
use lake::{FILE_NAME, PROCESSING_TIME, RowDecoder, SystemColumn, TableDefinition};
use libfuzzer_sys::fuzz_target;
use records::scan;
use serde_json::value::RawValue;

const URI: &str = "file:///object";
const PROCESSED: (&str, i64) = ("1970-01-01T00:00:00.000007Z", 7);

static TABLE: LazyLock<TableDefinition> =
    LazyLock::new(|| TableDefinition::parse(include_bytes!("../every_type.json")).expect("a definition"));

thread_local! {
    /// One decoder for the records as they come, and one for those that were taken. Making them takes longer than using
    /// them: like those of the function, they go on from batch to batch.
    static DECODERS: RefCell<[RowDecoder; 2]> = RefCell::new([decoder(), decoder()]);
}

fn decoder() -> RowDecoder {
    let system = SystemColumn::of_object(URI, PROCESSED.0);
    RowDecoder::with_system(&TABLE.schema, &system).expect("every type can be written")
}

/// Takes `records` once more, all of them, and compares.
fn check(batch: &RecordBatch, records: &[&[u8]], again: &mut RowDecoder) {
    assert_eq!(batch.num_rows(), records.len());
    for column in batch.columns() {
        column.to_data().validate_full().expect("a valid array");
    }
    for record in records {
        again.push_judged(record).expect("taken before, taken again");
    }
    assert_eq!(batch, &again.finish().expect("a batch"));

    let schema = batch.schema();
    for (row, record) in records.iter().enumerate() {
        let members: HashMap<String, &RawValue> = serde_json::from_slice(record).expect("an object");
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            // A name in another case stands for the column too; two values of one column are refused.
            let spelled = members.iter().filter(|(name, _)| name.to_lowercase() == *field.name());
            let value = spelled.map(|(_, value)| value.get()).find(|value| *value != "null");
            match (field.name().as_str(), value) {
                (FILE_NAME, _) => assert_eq!(column.as_string::<i32>().value(row), URI),
                (PROCESSING_TIME, _) => {
                    let column = column.as_primitive::<TimestampMicrosecondType>();
                    assert_eq!(column.value(row), PROCESSED.1);
                }
                (_, None) => assert!(column.is_null(row), "{field}"),
                (name, Some(value)) => {
                    assert!(!column.is_null(row), "{field}");
                    // A string may spell a number or a boolean.
                    let text: Option<String> = serde_json::from_str(value).ok();
                    let text = text.as_deref().unwrap_or(value);
                    match name {
                        "s" => assert_eq!(column.as_string::<i32>().value(row), text),
                        "b" => assert_eq!(column.as_boolean().value(row), text == "true"),
                        "d" => assert_eq!(Ok(column.as_primitive::<Float64Type>().value(row)), text.parse()),
                        "l" => {
                            let found = column.as_primitive::<Int64Type>().value(row);
                            assert!(
                                text.parse().map_or(text.contains(['.', 'e', 'E']), |it: i64| it == found)
                            );
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Takes what can be taken of `lines`.
fn push_all(lines: &[u8], [all, again]: &mut [RowDecoder; 2]) {
    let mut taken = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').chain([&b""[..]]) {
        if line.is_empty() && !taken.is_empty() {
            check(&all.finish().expect("a batch"), &taken, again);
            taken.clear();
        } else if scan::value_end(line, 0) == Ok(line.len()) {
            match all.push(line) {
                Ok(_) => taken.push(line),
                Err(refusal) => assert_eq!(again.push_judged(line), Err(refusal)),
            }
            assert_eq!(all.rows(), taken.len());
        }
    }
}

fuzz_target!(|data: &[u8]| DECODERS.with_borrow_mut(|decoders| push_all(data, decoders)));

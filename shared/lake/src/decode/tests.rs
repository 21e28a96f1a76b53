//! What each column type takes and refuses, and that a refused row leaves no trace.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType};
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat_batches;
use iceberg::spec::PrimitiveType as Kind;
use iceberg::spec::{ListType, MapType, NestedField, StructType, Type};
use proptest::prelude::*;
use proptest::sample::select;
use records::scan;

use super::*;

const PROCESSED: &str = "2026-01-02T03:04:05.000006Z";

fn decoder(fields: impl IntoIterator<Item = NestedField>) -> RowDecoder {
    let fields: Vec<_> = fields.into_iter().map(Arc::new).collect();
    RowDecoder::new(&Schema::builder().with_fields(fields).build().unwrap(), PROCESSED).unwrap()
}

fn optional(id: i32, name: &str, field_type: impl Into<Type>) -> NestedField {
    NestedField::optional(id, name, field_type.into())
}

fn required(id: i32, name: &str, field_type: impl Into<Type>) -> NestedField {
    NestedField::required(id, name, field_type.into())
}

fn list(element: NestedField) -> Type {
    Type::List(ListType::new(element.into()))
}

fn map(key: NestedField, value: NestedField) -> Type {
    Type::Map(MapType::new(key.into(), value.into()))
}

fn structure(fields: Vec<NestedField>) -> Type {
    Type::Struct(StructType::new(fields.into_iter().map(Arc::new).collect()))
}

/// The column `c` of the rows whose `c` is each of `values`, with its Arrow type checked.
fn column(field_type: &Type, data_type: &DataType, values: &[&str]) -> ArrayRef {
    let mut decoder = decoder([optional(1, "c", field_type.clone())]);
    for value in values {
        let pushed = decoder.push(format!(r#"{{"c": {value}}}"#).as_bytes());
        pushed.unwrap_or_else(|refusal| panic!("{field_type} takes {value}: {refusal}"));
    }
    let column = decoder.finish().unwrap().column(0).clone();
    assert_eq!(column.data_type(), data_type);
    column.to_data().validate_full().unwrap();
    column
}

/// `field_type` takes each value for exactly the Arrow value beside it.
#[track_caller]
fn takes<T: ArrowPrimitiveType>(
    field_type: impl Into<Type>,
    data_type: &DataType,
    cases: &[(&str, T::Native)],
) {
    let (json, expected): (Vec<&str>, Vec<T::Native>) = cases.iter().copied().unzip();
    let column = column(&field_type.into(), data_type, &json);
    assert_eq!(column.null_count(), 0);
    for ((found, expected), json) in column.as_primitive::<T>().values().iter().zip(expected).zip(json) {
        assert_eq!(*found, expected, "{json}");
    }
}

/// `field_type`, which a person reads as `expected`, refuses each value as the kind beside it.
#[track_caller]
fn refuses(field_type: impl Into<Type>, expected: &str, cases: &[(&str, &str)]) {
    let mut decoder = decoder([optional(1, "c", field_type.into())]);
    for (json, found) in cases {
        let refusal = decoder.push(format!(r#"{{"c": {json}}}"#).as_bytes()).expect_err(json);
        let message = format!("field \"c\": expected {expected}, found {found}");
        assert_eq!(refusal, Refusal::new(Reason::TypeMismatch, message), "{json}");
    }
    assert_eq!(decoder.rows(), 0);
    assert_eq!(decoder.finish().unwrap().num_rows(), 0);
}

/// The refusal of `record`.
#[track_caller]
fn refusal(decoder: &mut RowDecoder, record: &str) -> (Reason, String) {
    let refusal = decoder.push(record.as_bytes()).expect_err(record);
    (refusal.reason, refusal.message)
}

/// `array[row]` as text: JSON, but for maps, which are `{key=value}` since any type may be a key.
fn show(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "null".into();
    }
    let all = |array: &dyn Array| (0..array.len()).map(|row| show(array, row)).collect::<Vec<_>>();
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Date32 => array.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Utf8 => format!("{:?}", array.as_string::<i32>().value(row)),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let members = columns.map(|(field, column)| format!("{}: {}", field.name(), show(column, row)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        DataType::List(_) => format!("[{}]", all(&array.as_list::<i32>().value(row)).join(", ")),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (all(entries.column(0)), all(entries.column(1)));
            let entries = keys.iter().zip(values).map(|(key, value)| format!("{key}={value}"));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => panic!("no test shows {other}"),
    }
}

/// The rows of a one-column table of `field_type`, shown.
#[track_caller]
fn shown(field_type: Type, records: &[&str]) -> Vec<String> {
    let mut decoder = decoder([optional(1, "c", field_type)]);
    for record in records {
        decoder.push(record.as_bytes()).unwrap_or_else(|refusal| panic!("{record}: {refusal}"));
    }
    let column = decoder.finish().unwrap().column(0).clone();
    column.to_data().validate_full().unwrap();
    (0..column.len()).map(|row| show(&column, row)).collect()
}

#[test]
fn boolean() {
    let column = column(
        &Kind::Boolean.into(),
        &DataType::Boolean,
        &["true", "false", "null", r#""true""#, r#""false""#, r#""tru\u0065""#],
    );
    let values: Vec<Option<bool>> = column.as_boolean().iter().collect();
    assert_eq!(values, [Some(true), Some(false), None, Some(true), Some(false), Some(true)]);
    refuses(
        Kind::Boolean,
        "boolean",
        &[
            ("1", "a whole number"),
            ("0.5", "a number with a fraction"),
            (r#""True""#, "a string of 4 bytes"),
            (r#"" true""#, "a string of 5 bytes"),
            (r#""""#, "an empty string, which frazil.empty-string-is-null=true makes null"),
            ("[true]", "an array"),
            ("{}", "an object"),
        ],
    );
}

#[test]
fn int() {
    takes::<Int32Type>(
        Kind::Int,
        &DataType::Int32,
        &[
            ("42", 42),
            ("-0", 0),
            ("1.0", 1),
            ("1e3", 1000),
            ("1.25E2", 125),
            ("2147483647", i32::MAX),
            ("-2147483648", i32::MIN),
            (r#""42""#, 42),
            (r#""-1.0""#, -1),
            (r#""\u0034\u0032""#, 42),
            (r#""0""#, 0),
            (r#""00""#, 0),
            (r#""07""#, 7),
        ],
    );
    refuses(
        Kind::Int,
        "int (a whole number of 32 bits)",
        &[
            ("1.5", "a number with a fraction"),
            ("2147483648", "a whole number"),
            ("-2147483649", "a whole number"),
            ("1e10", "a whole number"),
            ("1e400", "a number of more than 38 digits"),
            (r#""1.5""#, "a string of 3 bytes"),
            (r#""2147483648""#, "a string of 10 bytes"),
            (r#""007""#, "a string of 3 bytes"),
            (r#""0x""#, "a string of 2 bytes"),
            (r#""-07""#, "a string of 3 bytes"),
            (r#"" 1""#, "a string of 2 bytes"),
            (r#""""#, "an empty string, which frazil.empty-string-is-null=true makes null"),
            ("true", "a boolean"),
            ("[]", "an array"),
            ("{\"a\": 1}", "an object"),
        ],
    );
}

#[test]
fn long() {
    takes::<Int64Type>(
        Kind::Long,
        &DataType::Int64,
        &[
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775807.000", i64::MAX),
            ("0.9223372036854775807e19", i64::MAX),
            ("-0.0", 0),
            ("9007199254740993", 9_007_199_254_740_993),
            (r#""9007199254740993""#, 9_007_199_254_740_993),
        ],
    );
    refuses(
        Kind::Long,
        "long (a whole number of 64 bits)",
        &[
            ("9223372036854775808", "a whole number of more than 64 bits"),
            ("-9223372036854775809", "a whole number of more than 64 bits"),
            ("9223372036854775807.5", "a number with a fraction"),
            (r#""9223372036854775808""#, "a string of 19 bytes"),
            ("1e-1", "a number with a fraction"),
            ("false", "a boolean"),
        ],
    );
}

#[test]
fn float() {
    takes::<Float32Type>(
        Kind::Float,
        &DataType::Float32,
        &[
            ("0.1", 0.1),
            ("1", 1.0),
            ("3.4028235e38", f32::MAX),
            ("-3.4028235e38", f32::MIN),
            ("1e-45", f32::from_bits(1)),
            (r#""-2.5""#, -2.5),
            // As a double half way between two floats, in truth a little above: rounded once, not twice.
            ("1.00000005960464477540", f32::from_bits(0x3F80_0001)),
        ],
    );
    refuses(
        Kind::Float,
        "float (a number of single precision)",
        &[
            ("1e39", "a number of more than 38 digits"),
            (r#""NaN""#, "a string of 3 bytes"),
            (r#""-Infinity""#, "a string of 9 bytes"),
            ("true", "a boolean"),
        ],
    );
}

#[test]
fn double() {
    takes::<Float64Type>(
        Kind::Double,
        &DataType::Float64,
        &[
            ("0.1", 0.1),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", f64::from_bits(1)),
            ("1e-400", 0.0),
            ("18446744073709551616", 18_446_744_073_709_551_616.0),
            (r#""12.5""#, 12.5),
        ],
    );
    let zero = column(&Kind::Double.into(), &DataType::Float64, &["-0.0", "-0"]);
    assert!(zero.as_primitive::<Float64Type>().values().iter().all(|value| value.is_sign_negative()));
    refuses(
        Kind::Double,
        "double (a number)",
        &[
            ("1e400", "a number of more than 38 digits"),
            ("-1e400", "a number of more than 38 digits"),
            (r#""1e400""#, "a string of 5 bytes"),
            (r#""1,5""#, "a string of 3 bytes"),
            (r#""inf""#, "a string of 3 bytes"),
            ("[1.5]", "an array"),
        ],
    );
}

#[test]
fn decimal() {
    let kind = |precision, scale| Kind::Decimal { precision, scale };
    takes::<Decimal128Type>(
        kind(9, 2),
        &DataType::Decimal128(9, 2),
        &[
            ("12.34", 1234),
            ("12.3", 1230),
            ("12.340000", 1234),
            ("-0.01", -1),
            ("1e2", 10_000),
            ("9999999.99", 999_999_999),
            ("-9999999.99", -999_999_999),
            (r#""12.34""#, 1234),
            ("0.1", 10),
            ("-0", 0),
        ],
    );
    refuses(
        kind(9, 2),
        "decimal(9,2) (a number that it holds exactly)",
        &[
            ("12.345", "a number with a fraction"),
            ("10000000", "a whole number"),
            ("-10000000.00", "a whole number"),
            (r#""12.345""#, "a string of 6 bytes"),
            (r#""12.34 EUR""#, "a string of 9 bytes"),
            ("true", "a boolean"),
            ("{}", "an object"),
        ],
    );
    let widest = 10_i128.pow(38) - 1;
    takes::<Decimal128Type>(
        kind(38, 0),
        &DataType::Decimal128(38, 0),
        &[
            ("99999999999999999999999999999999999999", widest),
            ("-99999999999999999999999999999999999999", -widest),
            ("1e37", 10_i128.pow(37)),
        ],
    );
    takes::<Decimal128Type>(
        kind(38, 38),
        &DataType::Decimal128(38, 38),
        &[("0.99999999999999999999999999999999999999", widest), ("1e-38", 1)],
    );
    for (text, found) in [
        ("100000000000000000000000000000000000000", "a whole number of more than 64 bits"),
        ("170141183460469231731687303715884105728", "a number of more than 38 digits"),
    ] {
        refuses(kind(38, 0), "decimal(38,0) (a number that it holds exactly)", &[(text, found)]);
    }
    refuses(kind(38, 38), "decimal(38,38) (a number that it holds exactly)", &[("1", "a whole number")]);
}

#[test]
fn date() {
    takes::<Date32Type>(
        Kind::Date,
        &DataType::Date32,
        &[
            (r#""1970-01-01""#, 0),
            (r#""1969-12-31""#, -1),
            (r#""2024-02-29""#, 19_782),
            (r#""0001-01-01""#, -719_162),
            (r#""9999-12-31""#, 2_932_896),
            // The instant at which a day begins.
            (r#""2025-01-01T00:00:00Z""#, 20_089),
            (r#""1969-12-31 00:00""#, -1),
            (r#""2024-12-31T19:00:00-05:00""#, 20_089),
            ("1735689600000", 20_089),
            (r#""1735689600""#, 20_089),
        ],
    );
    refuses(
        Kind::Date,
        "date (YYYY-MM-DD, or an instant that is midnight in UTC)",
        &[
            (r#""2025-02-29""#, "a string of 10 bytes"),
            (r#""2025-1-1""#, "a string of 8 bytes"),
            (r#""2025-01-01T00:00:01Z""#, "a string of 20 bytes"),
            (r#""2025-01-01T00:00:00+01:00""#, "a string of 25 bytes"),
            ("1735689600001", "a whole number"),
            ("20250101", "a whole number"),
            (r#"" 2025-01-01""#, "a string of 11 bytes"),
            ("19782", "a whole number"),
            ("true", "a boolean"),
        ],
    );
}

#[test]
fn time_of_day() {
    takes::<Time64MicrosecondType>(
        Kind::Time,
        &DataType::Time64(TimeUnit::Microsecond),
        &[
            (r#""00:00:00""#, 0),
            (r#""23:59:59.999999""#, 86_399_999_999),
            (r#""23:59:59.9999999""#, 86_399_999_999),
            (r#""12:34:56.5""#, 45_296_500_000),
            (r#""12:34:56,5""#, 45_296_500_000),
            (r#""12:34""#, 45_240_000_000),
        ],
    );
    refuses(
        Kind::Time,
        "time (HH:MM:SS.ffffff)",
        &[
            (r#""24:00:00""#, "a string of 8 bytes"),
            (r#""12""#, "a string of 2 bytes"),
            (r#""12:34:56Z""#, "a string of 9 bytes"),
            ("45296", "a whole number"),
        ],
    );
}

const TIMESTAMP: &str =
    "timestamp (RFC 3339, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970)";

/// What every kind of timestamp takes and refuses; instants in microseconds.
const INSTANTS: &[(&str, i64)] = &[
    (r#""1970-01-01T00:00:00Z""#, 0),
    (r#""1970-01-01T00:00:00""#, 0),
    (r#""2026-01-02T03:04:05.678901Z""#, 1_767_323_045_678_901),
    (r#""2026-01-02T03:04:05.678901""#, 1_767_323_045_678_901),
    (r#""2026-01-02 03:04:05.678901+00:00""#, 1_767_323_045_678_901),
    (r#""2026-01-02T08:34:05.678901+05:30""#, 1_767_323_045_678_901),
    (r#""2026-01-01T19:04:05.678901-08:00""#, 1_767_323_045_678_901),
    (r#""2026-01-01T19:04:05,678901-0800""#, 1_767_323_045_678_901),
    (r#""2026-01-02T03:04:05.678901+00""#, 1_767_323_045_678_901),
    (r#""2026-01-02 03:04:05.678901 UTC""#, 1_767_323_045_678_901),
    (r#""2026-01-02T03:04Z""#, 1_767_323_040_000_000),
    (r#""1969-12-31T23:59:59.999999Z""#, -1),
    (r#""1969-12-31T16:00:00-08:00""#, 0),
    (r#""1700-01-01T00:00:00Z""#, -8_520_336_000_000_000),
    // The magnitude of a number tells its unit, however it is spelled.
    ("1767323045", 1_767_323_045_000_000),
    ("1767323045678", 1_767_323_045_678_000),
    ("1767323045678901", 1_767_323_045_678_901),
    ("1767323045678901234", 1_767_323_045_678_901),
    (r#""1767323045""#, 1_767_323_045_000_000),
    (r#""1767323045678""#, 1_767_323_045_678_000),
    (r#""1767323045678901""#, 1_767_323_045_678_901),
    (r#""1767323045678901234""#, 1_767_323_045_678_901),
    (r#""1767323045.678901""#, 1_767_323_045_678_901),
    ("1.767323045678e12", 1_767_323_045_678_000),
    // No double holds these.
    ("1767323045.678901", 1_767_323_045_678_901),
    ("1767323045678.901", 1_767_323_045_678_901),
    ("1767323045678901.234", 1_767_323_045_678_901),
    ("1767323045.678900999999999999999999999999", 1_767_323_045_678_900),
    // The edges of each magnitude.
    ("100000000", 100_000_000_000_000),
    ("-100000000", -100_000_000_000_000),
    ("-100000000.000001", -100_000_000_000_001),
    ("100000000000", 100_000_000_000_000),
    ("-100000000000", -100_000_000_000_000),
    ("100000000000000", 100_000_000_000_000),
    ("-100000000000000", -100_000_000_000_000),
    ("100000000000000000", 100_000_000_000_000),
    ("-100000000000000000", -100_000_000_000_000),
    // Before 1970, towards the past.
    ("-8520336000", -8_520_336_000_000_000),
    ("-8520336000000", -8_520_336_000_000_000),
    ("-8520336000.0000001", -8_520_336_000_000_001),
];

const UNTOLD: &str =
    "a number whose unit cannot be told (set the table property frazil.timestamp-unit to s, ms, us or ns)";
const TOO_SMALL: &str = "a number below 100,000,000, whose unit cannot be told (set the table property \
                         frazil.timestamp-unit to s, ms, us or ns)";
const TOO_LARGE: &str = "a number beyond nanoseconds (10^20 or more)";
const OUTSIDE: &str = "a number outside the years 0000 to 9999";

const NO_INSTANTS: &[(&str, &str)] = &[
    (r#""2026-01-02""#, "a string of 10 bytes"),
    (r#""2026-02-30T00:00:00Z""#, "a string of 20 bytes"),
    (r#""2026-01-02T03Z""#, "a string of 14 bytes"),
    (r#""soon""#, "a string of 4 bytes"),
    (r#""0123456789""#, "a string of 10 bytes"),
    (r#""+1767323045""#, "a string of 11 bytes"),
    (r#""""#, "an empty string, which frazil.empty-string-is-null=true makes null"),
    ("0", TOO_SMALL),
    ("-1", TOO_SMALL),
    ("1.5", TOO_SMALL),
    ("1e-400", TOO_SMALL),
    (r#""20260102""#, TOO_SMALL),
    ("99999999.999999999", TOO_SMALL),
    ("-99999999.999999999", TOO_SMALL),
    ("100000000000000000000", TOO_LARGE),
    ("-100000000000000000000", TOO_LARGE),
    ("1e30", TOO_LARGE),
    ("1e99999999999999999999", TOO_LARGE),
    // The year -1199, in each unit.
    ("-99999999999", OUTSIDE),
    ("-99999999999999", OUTSIDE),
    ("-99999999999999999", OUTSIDE),
    ("-62167219200.001", OUTSIDE),
    // The end of the year 9999 in each unit, which is in 1978 in the next.
    ("253402300799", UNTOLD),
    ("253402300799999", UNTOLD),
    ("253402300799999999", UNTOLD),
    // The digits of a date, and "never" in 64 bits.
    (r#""20260102030405""#, UNTOLD),
    ("20260102030405678", UNTOLD),
    ("9223372036854775807", UNTOLD),
    ("true", "a boolean"),
    ("[0]", "an array"),
    ("{\"$date\": 0}", "an object"),
];

#[test]
fn timestamp_and_timestamptz() {
    let zone = Some("+00:00".into());
    for (kind, zone) in [(Kind::Timestamp, None), (Kind::Timestamptz, zone)] {
        let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone);
        takes::<TimestampMicrosecondType>(kind.clone(), &data_type, INSTANTS);
        takes::<TimestampMicrosecondType>(
            kind.clone(),
            &data_type,
            &[
                // Digits beyond microseconds are cut, which is towards the past on both sides of 1970.
                (r#""1970-01-01T00:00:00.0000019Z""#, 1),
                (r#""1969-12-31T23:59:59.9999981Z""#, -2),
                (r#""0001-01-01T00:00:00Z""#, -62_135_596_800_000_000),
                (r#""9999-12-31T23:59:59.999999Z""#, 253_402_300_799_999_999),
                ("99999999999.999999", 99_999_999_999_999_999),
                ("99999999999999.999", 99_999_999_999_999_999),
                ("99999999999999999", 99_999_999_999_999_999),
                ("99999999999999999999", 99_999_999_999_999_999),
                ("-62167219200", -62_167_219_200_000_000),
                ("-62167219200000", -62_167_219_200_000_000),
            ],
        );
        refuses(kind, TIMESTAMP, NO_INSTANTS);
    }
}

#[test]
fn timestamp_ns_and_timestamptz_ns() {
    let zone = Some("+00:00".into());
    for (kind, zone) in [(Kind::TimestampNs, None), (Kind::TimestamptzNs, zone)] {
        let data_type = DataType::Timestamp(TimeUnit::Nanosecond, zone);
        // Numbers finer than microseconds have values of their own here.
        let is_finer =
            |json: &&(&str, i64)| json.0.len() > 18 && !json.0.contains('T') && !json.0.contains(' ');
        let nanos: Vec<_> = INSTANTS
            .iter()
            .filter(|json| !is_finer(json))
            .map(|(json, micros)| (*json, micros * 1000))
            .collect();
        takes::<TimestampNanosecondType>(kind.clone(), &data_type, &nanos);
        takes::<TimestampNanosecondType>(
            kind.clone(),
            &data_type,
            &[
                (r#""1969-12-31T23:59:59.999999999Z""#, -1),
                (r#""1677-09-21T00:12:43.145224192Z""#, i64::MIN),
                (r#""2262-04-11T23:47:16.854775807Z""#, i64::MAX),
                ("1767323045.678901234", 1_767_323_045_678_901_234),
                ("1767323045678.901234999", 1_767_323_045_678_901_234),
                ("1767323045678901.234", 1_767_323_045_678_901_234),
                ("1767323045678901234", 1_767_323_045_678_901_234),
                ("1767323045678901234.9", 1_767_323_045_678_901_234),
                (r#""-1767323045678901234.1""#, -1_767_323_045_678_901_235),
            ],
        );
        refuses(kind.clone(), TIMESTAMP, NO_INSTANTS);
        refuses(
            kind,
            TIMESTAMP,
            &[
                (r#""1677-09-21T00:12:43.145224191Z""#, "an instant outside the years 1677 to 2262"),
                (r#""2262-04-11T23:47:16.854775808Z""#, "an instant outside the years 1677 to 2262"),
                ("9223372036855", "an instant outside the years 1677 to 2262"),
            ],
        );
    }
}

/// A decoder of a table with these properties.
fn by_properties(fields: Vec<NestedField>, properties: &[(&str, &str)]) -> iceberg::Result<RowDecoder> {
    let schema = Schema::builder().with_fields(fields.into_iter().map(Arc::new)).build().unwrap();
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let creation = iceberg::TableCreation::builder()
        .name("t".to_owned())
        .location("memory:///t".to_owned())
        .schema(schema)
        .properties(properties)
        .build();
    let metadata = iceberg::spec::TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
    RowDecoder::for_table(&metadata, &SystemColumn::of_object("", PROCESSED))
}

#[test]
fn properties_name_the_unit_of_timestamps_at_any_depth() {
    let fields = || {
        vec![
            optional(1, "at", Kind::Timestamptz),
            optional(2, "local", Kind::Timestamp),
            optional(3, "fine", Kind::TimestampNs),
            optional(4, "times", list(optional(5, "element", Kind::Timestamptz))),
            optional(
                6,
                "s",
                structure(vec![
                    optional(7, "at", Kind::Timestamptz),
                    optional(
                        8,
                        "m",
                        map(required(9, "key", Kind::Timestamp), optional(10, "value", Kind::Timestamp)),
                    ),
                ]),
            ),
        ]
    };
    let record = br#"{"at": 0, "local": "1.5", "fine": -1.5, "times": [1e2], "s": {"at": 7, "m": {"1": 2}}}"#;
    let mut decoder = by_properties(
        fields(),
        &[
            ("frazil.timestamp-unit", "s"),
            ("frazil.timestamp-unit.local", "ms"),
            ("frazil.timestamp-unit.fine", "ns"),
            ("frazil.timestamp-unit.times", "us"),
            ("frazil.timestamp-unit.s.m.value", "ms"),
            ("frazil.timestamp-unit.dropped", "ms"),
            ("frazil.timestamp-units", "another property"),
        ],
    )
    .unwrap();
    decoder.push(record).unwrap();
    let batch = decoder.finish().unwrap();
    let row: Vec<String> = batch
        .columns()
        .iter()
        .map(|column| arrow_cast::display::array_value_to_string(column, 0).unwrap())
        .collect();
    assert_eq!(
        row,
        [
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00.001500",
            "1969-12-31T23:59:59.999999998",
            "[1970-01-01T00:00:00.000100Z]",
            "{at: 1970-01-01T00:00:07Z, m: {1970-01-01T00:00:01: 1970-01-01T00:00:00.002}}",
        ]
    );
    // A named unit holds for every magnitude, within the years that there are.
    let mut decoder = by_properties(fields(), &[("frazil.timestamp-unit.at", "s")]).unwrap();
    decoder.push(br#"{"at": 253402300799}"#).unwrap();
    decoder.push(br#"{"at": -62167219200}"#).unwrap();
    for json in ["253402300800", "-62167219200.0000001", "1772000000000", "1e40"] {
        let (reason, message) = refusal(&mut decoder, &format!("{{\"at\": {json}}}"));
        assert_eq!(reason, Reason::TypeMismatch);
        let expected = "timestamp (RFC 3339, or a number of seconds since 1970)";
        assert_eq!(message, format!("field \"at\": expected {expected}, found {OUTSIDE}"), "{json}");
    }
}

#[test]
fn a_property_that_names_no_unit_is_refused() {
    for name in ["frazil.timestamp-unit", "frazil.timestamp-unit.at"] {
        for value in ["seconds", "S", "", "null", "min"] {
            let error =
                by_properties(vec![optional(1, "at", Kind::Timestamp)], &[(name, value)]).unwrap_err();
            let start = format!("table property {name}={value}: expected s, ms, us or ns");
            assert!(error.message().starts_with(&start), "{error}");
        }
    }
}

#[test]
fn string_takes_text_and_the_json_text_of_anything_else() {
    let json = [
        r#""""#,
        r#""plain""#,
        r#""tab\t quote\" slash\/ \u00fc \ud83d\ude00 \u0000""#,
        "\"ü😀\"",
        "12.50",
        "-0",
        "1e400",
        "123456789012345678901234567890.1234567890",
        "true",
        "false",
        "[ 1,\t2 , [ ] ]",
        "{ \"b\" : 1.0,\"a\":\"\\u00fc\",  \"b\": null }",
        r#"{"s": "a\"}]", "lone": "\ud800"}"#,
        "{}",
    ];
    let expected = [
        "",
        "plain",
        "tab\t quote\" slash/ ü 😀 \0",
        "ü😀",
        "12.50",
        "-0",
        "1e400",
        "123456789012345678901234567890.1234567890",
        "true",
        "false",
        "[ 1,\t2 , [ ] ]",
        "{ \"b\" : 1.0,\"a\":\"\\u00fc\",  \"b\": null }",
        r#"{"s": "a\"}]", "lone": "\ud800"}"#,
        "{}",
    ];
    let column = column(&Kind::String.into(), &DataType::Utf8, &json);
    let found: Vec<&str> = column.as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_text_of_a_value_ends_where_the_value_does() {
    let mut decoder = decoder([optional(1, "a", Kind::String), optional(2, "b", Kind::String)]);
    decoder.push(b"{\"a\"\n:  [1] \r\n, \"b\"\t: {\"x\": 2}\n}").unwrap();
    decoder.push(b"{\"b\":1.5 ,\"a\":  7}").unwrap();
    let batch = decoder.finish().unwrap();
    let texts = |at: usize| batch.column(at).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
    assert_eq!(texts(0), ["[1]", "7"]);
    assert_eq!(texts(1), ["{\"x\": 2}", "1.5"]);
}

#[test]
fn uuid() {
    let column = column(
        &Kind::Uuid.into(),
        &DataType::FixedSizeBinary(16),
        &[r#""00112233-4455-6677-8899-aabbccddeeff""#, r#""00112233-4455-6677-8899-AABBCCDDEEFF""#, "null"],
    );
    let value =
        [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];
    let found: Vec<_> = column.as_fixed_size_binary().iter().collect();
    assert_eq!(found, [Some(&value[..]), Some(&value[..]), None]);
    refuses(
        Kind::Uuid,
        "uuid (8-4-4-4-12 hexadecimal digits)",
        &[
            (r#""00112233445566778899aabbccddeeff""#, "a string of 32 bytes"),
            (r#""{00112233-4455-6677-8899-aabbccddeeff}""#, "a string of 38 bytes"),
            (r#""urn:uuid:00112233-4455-6677-8899-aabbccddeeff""#, "a string of 45 bytes"),
            (r#""00112233-4455-6677-8899-aabbccddeefg""#, "a string of 36 bytes"),
            (r#""001122334455-6677-8899-aabbccddeeff-""#, "a string of 36 bytes"),
            (r#""00112233-4455-6677-8899aabbcc-ddeeff""#, "a string of 36 bytes"),
            ("1", "a whole number"),
        ],
    );
}

#[test]
fn binary_and_fixed() {
    let json = [r#""""#, r#""/+8=""#, r#""/+8""#, r#""AAEC""#, r#""\u0041AEC""#];
    let found = column(&Kind::Binary.into(), &DataType::LargeBinary, &json);
    let found: Vec<_> = found.as_binary::<i64>().iter().map(Option::unwrap).collect();
    assert_eq!(found, [&b""[..], &[0xFF, 0xEF], &[0xFF, 0xEF], &[0, 1, 2], &[0, 1, 2]]);
    refuses(
        Kind::Binary,
        "binary (base64)",
        &[
            (r#""_-8=""#, "a string of 4 bytes"),
            (r#""AAF""#, "a string of 3 bytes"),
            (r#""A""#, "a string of 1 bytes"),
            (r#""AA EC""#, "a string of 5 bytes"),
            (r#""AAEC\n""#, "a string of 5 bytes"),
            ("17", "a whole number"),
            ("[0, 1]", "an array"),
        ],
    );

    let found =
        column(&Kind::Fixed(3).into(), &DataType::FixedSizeBinary(3), &[r#""AAEC""#, "null", r#""////""#]);
    let found: Vec<_> = found.as_fixed_size_binary().iter().collect();
    assert_eq!(found, [Some(&[0, 1, 2][..]), None, Some(&[0xFF; 3][..])]);
    refuses(
        Kind::Fixed(3),
        "fixed[3] (base64 of 3 bytes)",
        &[
            (r#""AAE=""#, "a string of 4 bytes"),
            (r#""AAECAw==""#, "a string of 8 bytes"),
            (r#""""#, "an empty string, which frazil.empty-string-is-null=true makes null"),
            ("1", "a whole number"),
        ],
    );
}

#[test]
fn null_and_missing_are_null() {
    let kinds = [
        Kind::Boolean,
        Kind::Int,
        Kind::Long,
        Kind::Float,
        Kind::Double,
        Kind::Decimal { precision: 9, scale: 2 },
        Kind::Date,
        Kind::Time,
        Kind::Timestamp,
        Kind::Timestamptz,
        Kind::TimestampNs,
        Kind::TimestamptzNs,
        Kind::String,
        Kind::Uuid,
        Kind::Fixed(4),
        Kind::Binary,
    ];
    let mut types: Vec<Type> = kinds.into_iter().map(Type::from).collect();
    types.push(structure(vec![
        required(2, "a", Kind::Int),
        required(3, "b", list(required(4, "element", Kind::Int))),
    ]));
    types.push(list(required(2, "element", Kind::Int)));
    types.push(map(required(2, "key", Kind::String), required(3, "value", Kind::Int)));
    for field_type in types {
        let mut decoder = decoder([optional(1, "c", field_type.clone())]);
        decoder.push(b"{}").unwrap();
        decoder.push(br#"{"c": null}"#).unwrap();
        let batch = decoder.finish().unwrap();
        assert_eq!((batch.num_rows(), batch.column(0).null_count()), (2, 2), "{field_type}");
        // What is required within has no nulls of its own: that its parent is null says enough.
        if let Some(members) = batch.column(0).as_struct_opt() {
            assert!(members.columns().iter().all(|member| member.null_count() == 0));
        }
        batch.column(0).to_data().validate_full().unwrap();

        let mut decoder = self::decoder([required(1, "c", field_type.clone())]);
        for record in ["{}", r#"{"c": null}"#] {
            let (reason, message) = refusal(&mut decoder, record);
            assert_eq!(reason, Reason::MissingRequired);
            assert!(message.starts_with("field \"c\": the column is required (expected "), "{message}");
            assert!(message.ends_with(", found null or nothing)"), "{message}");
        }
    }
}

#[test]
fn structs_recurse() {
    let inner = structure(vec![required(4, "x", Kind::Int), optional(5, "y", Kind::String)]);
    let field_type = structure(vec![optional(2, "a", Kind::Int), optional(3, "s", inner)]);
    assert_eq!(
        shown(
            field_type.clone(),
            &[
                r#"{"c": {"a": 1, "s": {"x": 2, "y": {"z": [3]}}}}"#,
                r#"{"c": {"s": {"y": null, "x": "4"}}}"#,
                r#"{"c": {"s": null, "gone": null}}"#,
                r#"{"c": {}}"#,
                r#"{"c": null}"#,
            ]
        ),
        [
            r#"{a: 1, s: {x: 2, y: "{\"z\": [3]}"}}"#,
            "{a: null, s: {x: 4, y: null}}",
            "{a: null, s: null}",
            "{a: null, s: null}",
            "null",
        ]
    );
    let mut decoder = decoder([optional(1, "c", field_type)]);
    for (record, reason, message) in [
        (r#"{"c": 1}"#, Reason::TypeMismatch, "field \"c\": expected struct, found a number"),
        (r#"{"c": []}"#, Reason::TypeMismatch, "field \"c\": expected struct, found an array"),
        (r#"{"c": "{}"}"#, Reason::TypeMismatch, "field \"c\": expected struct, found a string"),
        (r#"{"c": true}"#, Reason::TypeMismatch, "field \"c\": expected struct, found a boolean"),
        (
            r#"{"c": {"a": 1, "s": {"x": 1.5}}}"#,
            Reason::TypeMismatch,
            "field \"c.s.x\": expected int (a whole number of 32 bits), found a number with a fraction",
        ),
        (
            r#"{"c": {"s": {"y": "only"}}}"#,
            Reason::MissingRequired,
            "field \"c.s.x\": the column is required \
             (expected int (a whole number of 32 bits), found null or nothing)",
        ),
        (
            r#"{"c": {"s": {"x": 1, "z": {}}}}"#,
            Reason::UnknownField,
            "field \"c.s.z\": the table has no such column (found an object)",
        ),
        (
            r#"{"c": {"a": 1, "a": 1}}"#,
            Reason::DuplicateField,
            "field \"c.a\": the row gives this field twice",
        ),
    ] {
        assert_eq!(refusal(&mut decoder, record), (reason, message.to_owned()), "{record}");
    }
}

#[test]
fn lists_recurse() {
    let field_type = list(optional(2, "element", list(optional(3, "element", Kind::Int))));
    assert_eq!(
        shown(
            field_type,
            &[
                r#"{"c": [[1, "2"], [], null, [null, 3]]}"#,
                r#"{"c": []}"#,
                r#"{"c": null}"#,
                r#"{"c": [ [ 4 ] ]}"#
            ]
        ),
        ["[[1, 2], [], null, [null, 3]]", "[]", "null", "[[4]]"]
    );
    let point = structure(vec![required(3, "x", Kind::Double)]);
    let mut decoder = decoder([optional(1, "c", list(required(2, "element", point)))]);
    for (record, reason, message) in [
        (r#"{"c": {}}"#, Reason::TypeMismatch, "field \"c\": expected list, found an object"),
        (r#"{"c": "[]"}"#, Reason::TypeMismatch, "field \"c\": expected list, found a string"),
        (
            r#"{"c": [{"x": 1}, {"x": "far"}]}"#,
            Reason::TypeMismatch,
            "field \"c[1].x\": expected double (a number), found a string of 3 bytes",
        ),
        (
            r#"{"c": [{"x": 1}, {"x": 2}, null]}"#,
            Reason::MissingRequired,
            "field \"c[2]\": the column is required (expected struct, found null or nothing)",
        ),
        (
            r#"{"c": [{"x": 1, "y": 2}]}"#,
            Reason::UnknownField,
            "field \"c[0].y\": the table has no such column (found a number)",
        ),
    ] {
        assert_eq!(refusal(&mut decoder, record), (reason, message.to_owned()), "{record}");
    }
    decoder.push(br#"{"c": [{"x": 1}]}"#).unwrap();
    assert_eq!(show(decoder.finish().unwrap().column(0), 0), "[{x: 1}]");
}

#[test]
fn maps_recurse() {
    let text = map(required(2, "key", Kind::String), optional(3, "value", Kind::String));
    assert_eq!(
        shown(
            text,
            &[
                r#"{"c": {"duration": 12.50, "page": "\u002fhome", "tags": [1, 2], "none": null, "": true}}"#,
                r#"{"c": {}}"#,
                r#"{"c": null}"#,
            ]
        ),
        [r#"{"duration"="12.50", "page"="/home", "tags"="[1, 2]", "none"=null, ""="true"}"#, "{}", "null"]
    );
    let point = structure(vec![required(4, "x", Kind::Double)]);
    let field_type = map(required(2, "key", Kind::Int), required(3, "value", point));
    assert_eq!(
        shown(field_type.clone(), &[r#"{"c": {"7": {"x": 1}, "-8.0": {"x": "2.5"}, "1e3": {"x": 0}}}"#]),
        ["{7={x: 1}, -8={x: 2.5}, 1000={x: 0}}"]
    );
    let mut decoder = decoder([optional(1, "c", field_type)]);
    for (record, reason, message) in [
        (r#"{"c": []}"#, Reason::TypeMismatch, "field \"c\": expected map, found an array"),
        (
            r#"{"c": {"7": {"x": 1}, "seven": {"x": 1}}}"#,
            Reason::TypeMismatch,
            "field \"c.seven\": expected int (a whole number of 32 bits), found a string of 5 bytes",
        ),
        (
            r#"{"c": {"7": {"x": 1}, "8": {"x": false}}}"#,
            Reason::TypeMismatch,
            "field \"c.8.x\": expected double (a number), found a boolean",
        ),
        (
            r#"{"c": {"7": {"x": 1}, "8": null}}"#,
            Reason::MissingRequired,
            "field \"c.8\": the column is required (expected struct, found null or nothing)",
        ),
        (
            r#"{"c": {"7": {"x": 1}, "\u0037": {"x": 2}}}"#,
            Reason::DuplicateField,
            "field \"c.7\": the map gives this key twice",
        ),
        (
            r#"{"c": {"7": {"x": 1}, "8": {"x": 1}, "7.0": {"x": 2}}}"#,
            Reason::DuplicateField,
            "field \"c.7.0\": the map gives this key twice",
        ),
    ] {
        assert_eq!(refusal(&mut decoder, record), (reason, message.to_owned()), "{record}");
    }
    decoder.push(br#"{"c": {"7": {"x": 1}}}"#).unwrap();
    assert_eq!(show(decoder.finish().unwrap().column(0), 0), "{7={x: 1}}");
}

#[test]
fn keys_of_maps_of_every_type_are_told_apart_by_value() {
    for (kind, one, same, other) in [
        (Kind::Boolean, "true", "true", "false"),
        (Kind::Long, "1", "1e0", "-1"),
        (Kind::Float, "0.5", "5e-1", "0.25"),
        (Kind::Double, "0.5", "5e-1", "0.25"),
        (Kind::Decimal { precision: 9, scale: 2 }, "1.5", "1.50", "1.51"),
        (Kind::Date, "2026-01-02", "2026-01-02", "2026-01-03"),
        (Kind::Time, "12:00:00", "12:00:00.0", "12:00:01"),
        (Kind::Timestamp, "2026-01-02T00:00:00Z", "2026-01-02T01:00:00+01:00", "2026-01-02T00:00:01Z"),
        (Kind::TimestamptzNs, "2026-01-02T00:00:00Z", "2026-01-02 00:00:00", "2026-01-02T00:00:01Z"),
        (
            Kind::Uuid,
            "00112233-4455-6677-8899-aabbccddeeff",
            "00112233-4455-6677-8899-AABBCCDDEEFF",
            "00112233-4455-6677-8899-aabbccddeefe",
        ),
        (Kind::Fixed(2), "AAE=", "AAE", "AAI="),
        (Kind::Binary, "AAE=", "AAE", "AA=="),
        (Kind::String, "a", "a", "A"),
    ] {
        let field_type = map(required(2, "key", kind.clone()), optional(3, "value", Kind::Int));
        let mut decoder = decoder([optional(1, "c", field_type)]);
        decoder.push(format!(r#"{{"c": {{"{one}": 1}}}}"#).as_bytes()).unwrap();
        let twice = format!(r#"{{"c": {{"{other}": 1, "{one}": 2, "{same}": 3}}}}"#);
        let (reason, message) = refusal(&mut decoder, &twice);
        assert_eq!(reason, Reason::DuplicateField, "{kind}");
        assert_eq!(message, format!("field \"c.{same}\": the map gives this key twice"));
        decoder.push(format!(r#"{{"c": {{"{other}": 1, "{one}": 2}}}}"#).as_bytes()).unwrap();
        decoder.push(format!(r#"{{"c": {{"{other}": 1}}}}"#).as_bytes()).unwrap();
        let batch = decoder.finish().unwrap();
        let lengths: Vec<usize> = batch.column(0).as_map().offsets().lengths().collect();
        assert_eq!(lengths, [1, 2, 1], "{kind}");
    }
}

/// One record of the size limit must not hold up the function until its time is over.
#[test]
fn a_map_of_very_many_keys_takes_time_in_proportion() {
    let field_type = map(required(2, "key", Kind::String), optional(3, "value", Kind::Int));
    let mut decoder = decoder([optional(1, "c", field_type)]);
    // Descending: the worst order for whoever keeps the keys sorted.
    let entries: Vec<String> = (0..200_000).rev().map(|key| format!("\"{key:06}\":1")).collect();
    let record = format!("{{\"c\":{{{}}}}}", entries.join(","));
    let started = std::time::Instant::now();
    decoder.push(record.as_bytes()).unwrap();
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!(decoder.finish().unwrap().column(0).as_map().value_length(0), 200_000);
}

#[test]
fn fields_that_the_table_lacks() {
    let mut decoder = decoder([optional(1, "userId", Kind::Int), optional(2, "a", Kind::Int)]);
    decoder.push(br#"{"gone": null, "a": 1, "gone": null, "": null, "processing_time": null}"#).unwrap();
    for (record, message) in [
        (r#"{"x": 1}"#, r#"field "x": the table has no such column (found a number)"#),
        (r#"{"a": 1, "x": ""}"#, r#"field "x": the table has no such column (found a string)"#),
        (r#"{"x": [null]}"#, r#"field "x": the table has no such column (found an array)"#),
        (r#"{"x": {}, "a": 1}"#, r#"field "x": the table has no such column (found an object)"#),
        (r#"{"x": false}"#, r#"field "x": the table has no such column (found a boolean)"#),
        // These are the pipeline's own only in a table that has them.
        (r#"{"file_name": "x"}"#, r#"field "file_name": the table has no such column (found a string)"#),
    ] {
        assert_eq!(refusal(&mut decoder, record), (Reason::UnknownField, message.to_owned()), "{record}");
    }
    let batch = decoder.finish().unwrap();
    assert_eq!((show(batch.column(0), 0), show(batch.column(1), 0)), ("null".into(), "1".into()));
}

#[test]
fn names_that_no_column_can_have() {
    let longest = "x".repeat(255);
    let mut decoder = decoder([optional(1, &longest, Kind::Int)]);
    for (name, shown) in [
        ("", ""),
        ("a\\u0000b", r"a\0b"),
        ("\\n", r"\n"),
        ("\\u0085", r"\u{85}"),
        (&*format!("{longest}x"), &*format!("{longest}...")),
        (&*format!("{}ü", "x".repeat(254)), &*format!("{}...", "x".repeat(254))),
    ] {
        let (reason, message) = refusal(&mut decoder, &format!(r#"{{"{name}": 1}}"#));
        assert_eq!(reason, Reason::InvalidName, "{name}");
        assert_eq!(message, format!("field \"{shown}\": no column can have this name (found a number)"));
    }
    decoder.push(format!(r#"{{"{longest}": 1, "": null}}"#).as_bytes()).unwrap();
    assert_eq!(decoder.rows(), 1);
}

#[test]
fn a_refusal_shows_no_more_of_a_name_than_helps() {
    let mut decoder =
        decoder([optional(1, "c", map(required(2, "key", Kind::Int), optional(3, "value", Kind::Int)))]);
    let (_, message) = refusal(&mut decoder, &format!(r#"{{"c": {{"{}": 1}}}}"#, "é".repeat(1 << 20)));
    assert!(message.len() < 400, "{} bytes", message.len());
}

#[test]
fn the_pipelines_own_columns() {
    let inner = structure(vec![optional(5, FILE_NAME, Kind::Int)]);
    let mut decoder = decoder([
        required(1, FILE_NAME, Kind::String),
        optional(2, "a", Kind::Int),
        required(3, PROCESSING_TIME, Kind::Timestamptz),
        optional(4, "s", inner),
    ]);
    decoder.set_system(&SystemColumn::of_object("file:///raw/1", PROCESSED));
    decoder.push(br#"{"a": 1, "file_name": null}"#).unwrap();
    for name in [FILE_NAME, PROCESSING_TIME] {
        let (reason, message) = refusal(&mut decoder, &format!(r#"{{"a": 2, "{name}": "mine"}}"#));
        assert_eq!(reason, Reason::ReservedField);
        assert_eq!(
            message,
            format!(
                "field {name:?}: the pipeline writes this column itself, and the table has no column producer_{name} \
                 to keep the producer's value (found a string)"
            )
        );
    }
    // Within a struct the name is free.
    decoder.push(br#"{"a": 3, "s": {"file_name": 7}}"#).unwrap();
    decoder.set_system(&SystemColumn::of_object("file:///raw/2", PROCESSED));
    decoder.push(br#"{"a": 4}"#).unwrap();
    let first = decoder.finish().unwrap();
    decoder.push(br#"{"a": 5}"#).unwrap();
    let second = decoder.finish().unwrap();

    let names: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten())
        .collect();
    assert_eq!(names, ["file:///raw/1", "file:///raw/1", "file:///raw/2", "file:///raw/2"]);
    let times = first.column(2).as_primitive::<TimestampMicrosecondType>();
    assert!(times.values().iter().all(|time| *time == 1_767_323_045_000_006), "{times:?}");
    assert_eq!(show(first.column(3), 1), "{file_name: 7}");
}

#[test]
fn a_source_gives_the_columns_that_it_knows_each_by_its_type() {
    let fields = [
        optional(1, FILE_NAME, Kind::Long),
        optional(2, "a", Kind::Int),
        optional(3, PROCESSING_TIME, Kind::Timestamptz),
    ];
    let schema = Schema::builder().with_fields(fields.map(Into::into)).build().unwrap();
    let mut decoder = RowDecoder::with_system(&schema, &[]).unwrap();
    let number = |number| SystemColumn { name: FILE_NAME, value: SystemValue::Number(number) };
    decoder.push(br#"{"a": 1}"#).unwrap();
    decoder.set_system(&[number(7), SystemColumn::of_object("", PROCESSED)[0]]);
    decoder.push(br#"{"a": 2}"#).unwrap();
    decoder.set_system(&[number(8)]);
    decoder.push(br#"{"a": 3}"#).unwrap();
    let batch = decoder.finish().unwrap();
    let names = batch.column(0).as_primitive::<Int64Type>();
    assert_eq!(names.iter().collect::<Vec<_>>(), [None, Some(7), Some(8)]);
    let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.iter().map(|time| time.is_some()).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn a_name_stands_for_the_one_column_that_differs_by_case_only() {
    let mut decoder = decoder([
        optional(1, "userId", Kind::Int),
        optional(2, "s", structure(vec![optional(3, "Äb", Kind::Int)])),
        optional(4, "twin", Kind::Int),
        optional(5, "Twin", Kind::Int),
    ]);
    decoder.push(r#"{"USERID": 1, "S": {"äB": 2}, "twin": 3, "Twin": 4}"#.as_bytes()).unwrap();
    // Null in another spelling is nothing.
    decoder.push(r#"{"userid": null, "userId": 5, "TWIN": null}"#.as_bytes()).unwrap();
    let batch = decoder.finish().unwrap();
    let rows: Vec<Vec<String>> =
        (0..2).map(|row| batch.columns().iter().map(|column| show(column, row)).collect()).collect();
    assert_eq!(rows, [["1", "{Äb: 2}", "3", "4"], ["5", "null", "null", "null"]]);
    for (record, reason) in [
        (r#"{"userId": 1, "userid": 1}"#, Reason::DuplicateField),
        (r#"{"s": {"Äb": 1, "äb": 1}}"#, Reason::DuplicateField),
        (r#"{"TWIN": 1}"#, Reason::UnknownField),
    ] {
        assert_eq!(refusal(&mut decoder, record).0, reason, "{record}");
    }
}

#[test]
fn the_producers_values_for_own_columns_have_columns_of_their_own() {
    let mut decoder = decoder([
        optional(1, FILE_NAME, Kind::String),
        optional(2, "producer_file_name", Kind::String),
        optional(3, "producer_record_id", Kind::String),
    ]);
    decoder.set_system(&SystemColumn::of_object("file:///raw/1", PROCESSED));
    decoder.push(br#"{"file_name": "a.pdf", "producer_record_id": "crm-1"}"#).unwrap();
    decoder.push(br#"{"File_Name": "b.pdf"}"#).unwrap();
    let batch = decoder.finish().unwrap();
    let rows: Vec<Vec<String>> =
        (0..2).map(|row| batch.columns().iter().map(|column| show(column, row)).collect()).collect();
    assert_eq!(rows[0], [r#""file:///raw/1""#, r#""a.pdf""#, r#""crm-1""#]);
    assert_eq!(rows[1], [r#""file:///raw/1""#, r#""b.pdf""#, "null"]);
    let both = r#"{"file_name": "a.pdf", "producer_file_name": "b.pdf"}"#;
    assert_eq!(refusal(&mut decoder, both).0, Reason::DuplicateField);
    let (reason, message) = refusal(&mut decoder, r#"{"producer_partition_date": 1}"#);
    assert_eq!(reason, Reason::UnknownField);
    assert!(message.contains("to keep the producer's own partition_date"), "{message}");
}

#[test]
fn what_transform_adds_is_left_out_where_the_table_has_no_column_for_it() {
    let mut decoder = decoder([
        optional(1, "n", Kind::Int),
        optional(2, "s", structure(vec![optional(3, "a", Kind::Int)])),
    ]);
    let enriched = r#"{"n": 1, "record_id": "8a7b3d02-e185-5fe2-894d-5a00e38aade1",
        "ingestion_timestamp": "2026-01-02T03:04:05.678000Z", "partition_date": "2026-01-02", "partition_hour": "03"}"#;
    decoder.push(enriched.as_bytes()).unwrap();
    for record in [
        r#"{"record_id": "crm-1001"}"#,
        r#"{"record_id": "8a7b3d02-e185-4fe2-894d-5a00e38aade1"}"#,
        r#"{"record_id": 7}"#,
        r#"{"partition_date": "today"}"#,
        r#"{"partition_hour": 3}"#,
        r#"{"s": {"partition_hour": "03"}}"#,
    ] {
        assert_eq!(refusal(&mut decoder, record).0, Reason::UnknownField, "{record}");
    }
}

#[test]
fn a_table_that_cannot_take_the_pipelines_columns_is_refused_before_any_row() {
    for (name, kind) in
        [(FILE_NAME, Kind::Long), (PROCESSING_TIME, Kind::Date), (PROCESSING_TIME, Kind::Long)]
    {
        let schema = Schema::builder().with_fields([optional(1, name, kind).into()]).build().unwrap();
        let error = RowDecoder::new(&schema, PROCESSED).unwrap_err();
        assert_eq!(error.kind(), iceberg::ErrorKind::FeatureUnsupported);
        let start = format!("the table cannot take the pipeline's own columns: field {name:?}: expected ");
        assert!(error.message().starts_with(&start), "{error}");
    }
}

#[test]
fn what_is_no_object_of_utf8() {
    let mut decoder = decoder([optional(1, "a", Kind::String)]);
    for (record, message) in [
        ("[]", "expected a JSON object, found an array"),
        ("null", "expected a JSON object, found null"),
        ("-1", "expected a JSON object, found a number"),
        ("true", "expected a JSON object, found a boolean"),
        ("\"{}\"", "expected a JSON object, found a string"),
        ("", "expected a JSON object, found nothing"),
    ] {
        assert_eq!(refusal(&mut decoder, record), (Reason::NotAnObject, message.to_owned()));
    }
    for (record, byte) in
        [(&b"{\"a\": \"\xFF\"}"[..], 7), (b"{\"\xC3\": 1}", 2), (b"{\"a\": [\"\xED\xA0\x80\"]}", 8)]
    {
        let refusal = decoder.push(record).unwrap_err();
        let message = format!("byte {byte} of the record is not UTF-8");
        assert_eq!(refusal, Refusal::new(Reason::NotUtf8, message));
    }
    assert_eq!(decoder.rows(), 0);
}

#[test]
fn escapes_in_keys_and_values_and_lone_surrogates() {
    let mut decoder = decoder([optional(1, "ü\"", Kind::String), optional(2, "t", Kind::String)]);
    decoder.push(br#"{"\u00fc\"": "\u00FC\ud83d\ude00", "\u0074": "\\u0041"}"#).unwrap();
    let (reason, message) = refusal(&mut decoder, r#"{"t": "a", "\u0074": "b"}"#);
    assert_eq!(
        (reason, message.as_str()),
        (Reason::DuplicateField, "field \"t\": the row gives this field twice")
    );
    // No text can hold half a character. Where it is in no column it is unknown all the same.
    for record in [
        r#"{"t": "\ud83d"}"#,
        r#"{"t": "\ude00\ud83d"}"#,
        r#"{"t": "\ud83dx"}"#,
        r#"{"\ud83d": 1}"#,
        r#"{"x\udc00": null}"#,
    ] {
        let (reason, message) = refusal(&mut decoder, record);
        assert_eq!(reason, Reason::InvalidJson, "{record}");
        assert!(message.contains("of the record"), "{message}");
    }
    let batch = decoder.finish().unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert_eq!(show(batch.column(0), 0), "\"ü😀\"");
    assert_eq!(show(batch.column(1), 0), r#""\\u0041""#);
}

#[test]
fn a_refusal_of_broken_json_names_its_byte() {
    let mut decoder = decoder([optional(1, "s", Kind::String), optional(2, "t", Kind::String)]);
    for (record, byte) in [(r#"{"t": "\ud800"}"#, 13), (r#"{"s": [[1]], "t": "\ud800"}"#, 25)] {
        let (_, message) = refusal(&mut decoder, record);
        assert!(message.ends_with(&format!(" at byte {byte} of the record")), "{message}");
        assert!(message.starts_with("field \"t\": "), "{message}");
    }
}

#[test]
fn depth() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    // As text to the depth that the framing follows, which counts the record's own object.
    let deepest = scan::DEPTH_LIMIT - 1;
    let found = column(&Kind::String.into(), &DataType::Utf8, &[&nested(deepest)]);
    assert_eq!(found.as_string::<i32>().value(0), nested(deepest));
    // As columns to the depth of the schema, which the record's own depth cannot pass.
    let mut field_type: Type = Kind::Int.into();
    for id in (2..42).rev() {
        field_type = list(optional(id, "element", field_type));
    }
    assert_eq!(shown(field_type.clone(), &[&format!(r#"{{"c": {}}}"#, nested(40))]), [nested(40)]);
    let mut decoder = decoder([optional(1, "c", field_type)]);
    for levels in [41, 400] {
        let (reason, message) = refusal(&mut decoder, &format!(r#"{{"c": {}}}"#, nested(levels)));
        assert_eq!(reason, Reason::TypeMismatch);
        assert!(message.ends_with("expected int (a whole number of 32 bits), found an array"), "{message}");
    }
}

#[test]
fn numbers_of_thousands_of_digits_are_text_too() {
    let number = format!("-{}.{}e-{}", "9".repeat(5000), "1".repeat(5000), "2".repeat(5000));
    let found = column(&Kind::String.into(), &DataType::Utf8, &[&number]);
    assert_eq!(found.as_string::<i32>().value(0), number);
}

#[test]
fn every_field_carries_its_id() {
    let inner = structure(vec![optional(11, "x", Kind::Int)]);
    let mut decoder = decoder([
        optional(7, "l", list(optional(8, "element", inner))),
        optional(3, "m", map(required(4, "key", Kind::String), optional(5, "value", Kind::Uuid))),
    ]);
    fn ids(field: &arrow_schema::Field, found: &mut Vec<(String, String)>) {
        if let Some(id) = field.metadata().get("PARQUET:field_id") {
            found.push((field.name().clone(), id.clone()));
        }
        match field.data_type() {
            DataType::Struct(fields) => fields.iter().for_each(|field| ids(field, found)),
            DataType::List(field) | DataType::Map(field, _) => ids(field, found),
            _ => {}
        }
    }
    for _ in 0..2 {
        decoder.push(br#"{"l": [{"x": 1}], "m": {}}"#).unwrap();
        let mut found = Vec::new();
        decoder.finish().unwrap().schema().fields().iter().for_each(|field| ids(field, &mut found));
        let found: Vec<_> = found.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
        assert_eq!(
            found,
            [("l", "7"), ("element", "8"), ("x", "11"), ("m", "3"), ("key", "4"), ("value", "5")]
        );
    }
}

#[test]
fn batches_are_counted_and_begin_empty() {
    let mut decoder = decoder([optional(1, "s", Kind::String), optional(2, "n", Kind::Long)]);
    assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
    assert_eq!(decoder.finish().unwrap().num_rows(), 0);
    let record = format!(r#"{{"s": "{}"}}"#, "x".repeat(1000));
    for rows in [3, 1, 2] {
        for _ in 0..rows {
            decoder.push(record.as_bytes()).unwrap();
        }
        assert_eq!(decoder.rows(), rows);
        assert!((rows * 1000..rows * 1100).contains(&decoder.bytes()), "{}", decoder.bytes());
        assert_eq!(decoder.finish().unwrap().num_rows(), rows);
        assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
    }
}

#[test]
fn a_table_without_columns_still_counts_its_rows() {
    let mut decoder = decoder([]);
    decoder.push(b"{}").unwrap();
    decoder.push(br#"{"a": null}"#).unwrap();
    assert_eq!(decoder.finish().unwrap().num_rows(), 2);
}

/// A schema in which every kind of buffer stands at the top and within structs, lists and maps.
fn nested_fields() -> Vec<NestedField> {
    let point = structure(vec![
        required(31, "x", Kind::Double),
        optional(32, "ok", Kind::Boolean),
        required(33, "tags", list(required(34, "element", Kind::String))),
    ]);
    vec![
        required(1, "id", Kind::Long),
        optional(2, "text", Kind::String),
        optional(3, "price", Kind::Decimal { precision: 9, scale: 2 }),
        optional(4, "code", Kind::Fixed(2)),
        optional(5, "key", Kind::Uuid),
        optional(6, "blob", Kind::Binary),
        optional(7, "flag", Kind::Boolean),
        optional(8, "day", Kind::Date),
        optional(9, "at", Kind::TimestamptzNs),
        optional(10, "point", point.clone()),
        optional(11, "grid", list(optional(12, "element", list(optional(13, "element", Kind::Float))))),
        optional(
            14,
            "places",
            map(required(15, "key", Kind::Int), optional(16, "value", renumbered(&point))),
        ),
        optional(17, FILE_NAME, Kind::String),
    ]
}

/// The same struct once more, under ids of its own.
fn renumbered(point: &Type) -> Type {
    let Type::Struct(point) = point else { panic!("a struct") };
    structure(
        point
            .fields()
            .iter()
            .map(|field| match field.field_type.as_ref() {
                Type::List(_) => required(53, "tags", list(required(54, "element", Kind::String))),
                other => NestedField::new(field.id + 20, &field.name, other.clone(), field.required),
            })
            .collect(),
    )
}

/// What a field may be given: values that its column takes, and values refused after a part was taken.
struct Field {
    name: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
}

const FIELDS: [Field; 12] = [
    Field { name: "id", good: &["1", "\"-2\"", "3e0"], bad: &["null", "1.5", "\"x\"", "[]"] },
    Field { name: "text", good: &["\"ü\"", "\"\"", "[1, {}]", "7", "null"], bad: &["\"\\ud800\""] },
    Field { name: "price", good: &["1.25", "\"-3\"", "null"], bad: &["1.255", "true"] },
    Field { name: "code", good: &["\"AAE=\"", "null"], bad: &["\"AAEC\"", "1"] },
    Field {
        name: "key",
        good: &["\"00112233-4455-6677-8899-aabbccddeeff\"", "null"],
        bad: &["\"00112233\""],
    },
    Field { name: "blob", good: &["\"AAEC\"", "\"\"", "null"], bad: &["\"?\"", "{}"] },
    Field { name: "flag", good: &["true", "\"false\"", "null"], bad: &["0"] },
    Field { name: "day", good: &["\"2026-01-02\"", "null"], bad: &["\"2026-02-30\""] },
    Field {
        name: "at",
        good: &["\"2026-01-02T03:04:05.000000006Z\"", "1772000000", "null"],
        bad: &["\"soon\""],
    },
    Field {
        name: "point",
        good: &[r#"{"x": 1, "ok": true, "tags": ["a", "b"]}"#, r#"{"tags": [], "x": "2.5"}"#, "null"],
        bad: &[
            r#"{"x": 1, "tags": ["a", null]}"#,
            r#"{"x": 1, "ok": true}"#,
            r#"{"tags": ["a"], "x": 1, "y": 1}"#,
            r#"{"tags": ["a"], "tags": ["b"], "x": 1}"#,
        ],
    },
    Field {
        name: "grid",
        good: &["[[1, null], [], null]", "[]", "null"],
        bad: &["[[1, 2], [3, \"x\"]]", "[[1], 2]"],
    },
    Field {
        name: "places",
        good: &[
            r#"{"1": {"x": 1, "tags": ["a"]}, "-2": null, "3": {"x": 0, "ok": false, "tags": []}}"#,
            "{}",
            "null",
        ],
        bad: &[
            r#"{"1": {"x": 1, "tags": ["a", "b"]}, "1.0": null}"#,
            r#"{"1": {"x": 1, "tags": ["a", "b"]}, "two": null}"#,
            r#"{"1": {"x": 1, "tags": ["a", 7, [true]]}, "2": {"tags": ["a"], "ok": true}}"#,
        ],
    },
];

/// A record, and whether the table takes it.
fn record() -> impl Strategy<Value = (String, bool)> {
    let fields = FIELDS.iter().map(|field| (Just(field.name), select(field.good))).collect::<Vec<_>>();
    let bad =
        FIELDS.iter().enumerate().flat_map(|(at, field)| field.bad.iter().map(move |value| (at, *value)));
    let ruin = prop_oneof![
        4 => Just(Ruin::None),
        2 => select(bad.collect::<Vec<_>>()).prop_map(|(at, value)| Ruin::Value(at, value)),
        1 => any::<prop::sample::Index>().prop_map(Ruin::Cut),
        1 => select(vec![r#", "new": 1"#, r#", "id": 1"#, r#", "file_name": "x""#]).prop_map(Ruin::Field),
    ];
    // The required `id` comes first before the shuffle, so that none of the subsequences lacks it.
    let optional =
        prop::sample::subsequence(fields[1..].to_vec(), 0..fields.len()).prop_flat_map(|chosen| chosen);
    (fields[0].clone(), optional, ruin)
        .prop_map(|(id, mut members, ruin)| {
            members.insert(0, id);
            (members, ruin)
        })
        .prop_flat_map(|(members, ruin)| (Just(members).prop_shuffle(), Just(ruin)))
        .prop_map(|(mut members, ruin)| {
            if let Ruin::Value(at, value) = ruin {
                let name = FIELDS[at].name;
                match members.iter_mut().find(|(member, _)| *member == name) {
                    Some(member) => member.1 = value,
                    None => members.push((name, value)),
                }
            }
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            let end = if let Ruin::Field(field) = ruin { field } else { "" };
            let mut record = format!("{{{}{end}}}", members.join(", "));
            if let Ruin::Cut(at) = &ruin {
                let at = record.floor_char_boundary(at.index(record.len()));
                record.truncate(at);
            }
            (record, matches!(ruin, Ruin::None))
        })
}

/// How a good record becomes a bad one.
#[derive(Clone, Debug)]
enum Ruin {
    None,
    Value(usize, &'static str),
    Cut(prop::sample::Index),
    Field(&'static str),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_refused_row_leaves_no_trace(
        records in prop::collection::vec(record(), 1..40),
        batches in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut all = decoder(nested_fields());
        let mut good_only = decoder(nested_fields());
        all.set_system(&SystemColumn::of_object("file:///a", PROCESSED));
        good_only.set_system(&SystemColumn::of_object("file:///a", PROCESSED));
        let ends: Vec<usize> = batches.iter().map(|end| end.index(records.len())).collect();
        let mut found = Vec::new();
        for (at, (record, good)) in records.iter().enumerate() {
            if ends.contains(&at) {
                found.push(all.finish().unwrap());
            }
            prop_assert_eq!(all.push(record.as_bytes()).is_ok(), *good, "{}", record);
            if *good {
                good_only.push(record.as_bytes()).unwrap();
            }
        }
        found.push(all.finish().unwrap());
        for batch in &found {
            for column in batch.columns() {
                column.to_data().validate_full().unwrap();
            }
        }
        let found = concat_batches(&found[0].schema(), &found).unwrap();
        prop_assert_eq!(found, good_only.finish().unwrap());
    }

    /// Whatever one pass takes of a text, the other reader takes too, and reads it alike.
    #[test]
    fn what_is_read_in_one_pass_is_an_object_that_is_read_alike_in_two(
        records in prop::collection::vec((record(), damage(), select(vec!["", "\n", "{}", " ,", "\u{1}"])), 1..40),
    ) {
        let mut plain = decoder(nested_fields());
        let mut judged = decoder(nested_fields());
        for ((record, good), damage, behind) in records {
            let mut text = record.into_bytes();
            let is_damaged = damage.apply_to(&mut text);
            text.extend_from_slice(behind.as_bytes());
            plain.luck = Luck::default();
            let taken = plain.push_plain(&text, |_| true);
            prop_assert!(taken.is_some() || !good || is_damaged, "{}", String::from_utf8_lossy(&text));
            let Some(end) = taken else { continue };
            prop_assert_eq!(scan::value_end(&text, 0), Ok(end), "{}", String::from_utf8_lossy(&text));
            prop_assert_eq!(judged.push_judged(&text[..end]), Ok(Vec::new()));
            prop_assert_eq!((plain.rows(), plain.content_bytes), (judged.rows(), judged.content_bytes));
        }
        let rows = plain.finish().unwrap();
        for column in rows.columns() {
            column.to_data().validate_full().unwrap();
        }
        prop_assert_eq!(rows, judged.finish().unwrap());
    }
}

/// What is done to the bytes of a record.
#[derive(Clone, Debug)]
enum Damage {
    None,
    Replace(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let bytes = select(
        [
            &b"\""[..],
            b"\\",
            b"\\u00e9",
            b"\\ud83d\\ude00",
            b"\\udc00",
            b"\\ud83d",
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b":",
            b" ",
            b"\t",
            b"\x1f",
            b"\x00",
            b"\xc3",
            b"\xff",
            b"0",
            b"-",
            b"1e2",
            b".5",
            b"99999999999999999999",
            b"null",
            b"true",
            b"ID",
            b"id",
            b"text",
        ]
        .map(<[u8]>::to_vec)
        .to_vec(),
    );
    prop_oneof![
        1 => Just(Damage::None),
        1 => (any::<prop::sample::Index>(), bytes.clone()).prop_map(|(at, bytes)| Damage::Replace(at, bytes)),
        1 => (any::<prop::sample::Index>(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
    ]
}

impl Damage {
    /// Whether anything is done.
    fn apply_to(self, text: &mut Vec<u8>) -> bool {
        match self {
            _ if text.is_empty() => false,
            Self::None => false,
            Self::Replace(at, bytes) => {
                let at = at.index(text.len());
                text.splice(at..at + 1, bytes);
                true
            }
            Self::Insert(at, bytes) => {
                let at = at.index(text.len());
                text.splice(at..at, bytes);
                true
            }
        }
    }
}

#[test]
fn what_needs_a_second_look_is_left_without_a_trace() {
    let fields =
        || [optional(1, "a", Kind::Long), optional(2, "b", Kind::String), optional(3, "c\"", Kind::Long)];
    let mut decoder = decoder(fields());
    for text in [
        "",
        "{",
        "{}",
        "{ }",
        r#"{"a":1}"#,
        r#"{ "b" : "x" , "a" : -0 }"#,
        r#"{"a":null,"b":null}"#,
        r#"{"new":null}"#,
        r#"{"b":"\u00e9\ud83d\ude00\n"}"#,
        r#"{"b":[1,{"x":"\ud800"}]}"#,
        r#"{"A":null,"a":1}"#,
    ] {
        let taken = decoder.push_plain(text.as_bytes(), |_| true);
        assert_eq!(taken, (text.len() > 1).then_some(text.len()), "{text}");
    }
    let rows = decoder.rows();
    for text in [
        "[]",
        "null",
        r#"{"a":1"#,
        r#"{"a":01}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1.5}"#,
        r#"{"a":1,"a":null}"#,
        r#"{"a":null,"a":1}"#,
        r#"{"A":1}"#,
        r#"{"new":1}"#,
        r#"{"\u0061":1}"#,
        r#"{"b":"\ud83d"}"#,
        r#"{"b":"\ud83dx"}"#,
        r#"{"b":"\ude00\ud83d"}"#,
        "{\"b\":\"\n\"}",
        r#"{"c"":1}"#,
        r#"{"a":"x"}"#,
        r#"{"a":nul}"#,
        r#"{"b":nuls}"#,
        r#"{"file_name":"x"}"#,
    ] {
        decoder.luck = Luck::default();
        assert_eq!(decoder.push_plain(text.as_bytes(), |_| true), None, "{text}");
    }
    decoder.luck = Luck::default();
    assert_eq!(decoder.push_plain(b"{\"b\":\"\xc3\"}", |_| true), None);
    assert_eq!(decoder.push_plain(br#"{"a":1}"#, |_| false), None);
    let batch = decoder.finish().unwrap();
    assert_eq!(batch.num_rows(), rows);
    let shown: Vec<String> = (0..rows).map(|row| show(batch.column(0), row)).collect();
    assert_eq!(shown, ["null", "null", "1", "0", "null", "null", "null", "null", "1"]);
}

/// Where none of many records is taken, no more are tried; but sooner or later one is.
#[test]
fn records_are_tried_again_after_a_while() {
    let mut decoder = decoder([optional(1, "a", Kind::Long)]);
    for _ in 0..1000 {
        decoder.push(br#"{"\u0061":1}"#).unwrap();
    }
    let is_taken = |_| decoder.push_plain(br#"{"a":1}"#, |_| true).is_some();
    assert!((0..100).any(is_taken));
}

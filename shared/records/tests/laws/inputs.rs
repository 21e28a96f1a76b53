//! Inputs for the laws: the content of objects, and payloads of records.

use std::fmt;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use proptest::sample::select;
use records::enrich::FIELDS;
use uuid::Uuid;

/// Bytes that a failure prints as text.
#[derive(Clone)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "b\"{}\"", self.0.escape_ascii())
    }
}

/// The instants that RFC 3339 can spell, in microseconds.
pub(crate) const MICROS: RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// What the bytes of objects are made of here: where records begin, end and break.
const PIECES: [&[u8]; 37] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\x0C",
    b"\x1E",
    b"\xEF",
    b"\xEF\xBB",
    b"\xEF\xBB\xBF",
    b"\xFF",
    b"0",
    b"-1.5e3",
    b"12",
    b"true",
    b"tru",
    b"null",
    b"\"a\"",
    b"\"a\":",
    b"\"}{\"",
    b"\"\\u00e9\"",
    b"{\"a\":1}",
    b"{\"a\":1}\n",
    b"}{",
    b"}\n{",
    b"{\n  \"a\": [\n    {\"b\": 1},\n    {\"b\": 2}\n  ]\n}",
    b"{\"a\":",
    b"[1,\n",
    b"log 12\n",
    b"{\"long\":\"0123456789012345678901234567890123456789\"}",
];

/// Content of an object: records, and what is none.
pub(crate) fn content() -> impl Strategy<Value = Bytes> {
    let piece = prop_oneof![
        8 => select(&PIECES[..]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| Bytes(pieces.concat()))
}

/// A payload, an object more often than not, with fields of the names that are ours.
pub(crate) fn payload() -> impl Strategy<Value = Bytes> {
    let name = prop_oneof![
        3 => select(FIELDS.to_vec()).prop_map(|name| format!("\"{name}\"")),
        1 => select(vec!["\"\\u0072ecord_id\"", "\"partition\\u005Fdate\"", "\"\\ud800\"", "\"record_id \""])
            .prop_map(str::to_owned),
        3 => "\"[a-cé]{0,2}\"",
    ];
    let space = || select(vec!["", "", " ", "\n", "\r\n\t"]);
    let value = select(vec![
        "1",
        "-0.10E+05",
        "null",
        "\"x\"",
        "\"\\\"record_id\\\":1\"",
        "{}",
        "[ ]",
        "{\"record_id\": [1 , 2]}",
        "\"}{\"",
        "\"é\\ud83e\\uddca\"",
        "tru",
        "[1",
        "\"\n\"",
    ]);
    let member = (space(), name, space(), space(), value, space())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"));
    let object = prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",")));
    let before = select(vec!["", "", "\u{feff}", " \n", "\u{feff}\r\n", "x"]);
    let behind = select(vec!["", "", "\n", " \r\n", ",", "{}"]);
    prop_oneof![
        4 => (before, object, behind).prop_map(|(a, object, b)| Bytes(format!("{a}{object}{b}").into_bytes())),
        1 => content(),
    ]
}

/// The four fields, as another library writes the instant.
pub(crate) fn added(id: Uuid, micros: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(micros).expect("an instant");
    format!(
        "\"record_id\":\"{id}\",\"ingestion_timestamp\":\"{}\",\"partition_date\":\"{}\",\"partition_hour\":\"{}\"",
        at.format("%Y-%m-%dT%H:%M:%S%.6fZ"),
        at.format("%Y-%m-%d"),
        at.format("%H"),
    )
}

//! Splices the pipeline's four fields into a record's own text.
//!
//! In: one record's payload, its id and the instant of its arrival. Out: the same JSON text with `record_id`,
//! `ingestion_timestamp`, `partition_date` and `partition_hour` at its end, and a newline. Members of these names, in
//! whatever case, are the producer's own: they are renamed to `producer_record_id` and so on, unless they are null. If all
//! four are as an earlier enrichment wrote them, they are replaced instead. All else passes byte for byte: numbers, key
//! order, duplicate keys, escapes, inner whitespace.
//! Refused: what is empty, not UTF-8, not JSON, no object, or more than one value.

use std::ops::Range;
use std::str;

use uuid::Uuid;

use crate::frame::RECORD_SEPARATOR;
use crate::rejection::{Reason, Refusal};
use crate::scan::{self, Fault, Member};

/// The record's identity, a UUID.
pub const RECORD_ID: &str = "record_id";
/// When the record arrived, RFC 3339.
pub const INGESTION_TIMESTAMP: &str = "ingestion_timestamp";
/// The UTC date of that instant, `YYYY-MM-DD`.
pub const PARTITION_DATE: &str = "partition_date";
/// The UTC hour of that instant, `HH`.
pub const PARTITION_HOUR: &str = "partition_hour";

/// The fields that enrichment writes, in the order in which it appends them.
pub const FIELDS: [&str; 4] = [RECORD_ID, INGESTION_TIMESTAMP, PARTITION_DATE, PARTITION_HOUR];

/// Stands before the name of a column of the pipeline where the producer sends a field of that name.
pub const PRODUCER_PREFIX: &str = "producer_";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The instant of a record's arrival, as text: `2026-01-02T03:04:05.678000Z` (RFC 3339, UTC, microseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    text: [u8; 27],
}

impl Stamp {
    /// The stamp of an instant in microseconds since the Unix epoch; `None` outside the years 0000 to 9999,
    /// which RFC 3339 cannot spell.
    pub fn from_epoch_micros(micros: i64) -> Option<Self> {
        let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000) as u32);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
        let (year, month, day) = date(days);
        let year = u32::try_from(year).ok().filter(|year| *year <= 9999)?;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        text[0..4].copy_from_slice(&digits::<4>(year));
        text[5..7].copy_from_slice(&digits::<2>(month));
        text[8..10].copy_from_slice(&digits::<2>(day));
        text[11..13].copy_from_slice(&digits::<2>(second / 3600));
        text[14..16].copy_from_slice(&digits::<2>(second / 60 % 60));
        text[17..19].copy_from_slice(&digits::<2>(second % 60));
        text[20..26].copy_from_slice(&digits::<6>(micros));
        Some(Self { text })
    }

    /// The stamp that is spelled so.
    pub fn parse(text: &str) -> Option<Self> {
        let is_stamp = is_written(INGESTION_TIMESTAMP, text);
        is_stamp.then(|| text.as_bytes().try_into().ok()).flatten().map(|text| Self { text })
    }

    /// How it is spelled.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.text).unwrap_or_default()
    }

    fn date(&self) -> &[u8] {
        &self.text[..10]
    }

    fn hour(&self) -> &[u8] {
        &self.text[11..13]
    }
}

impl Default for Stamp {
    /// The Unix epoch.
    fn default() -> Self {
        Self { text: *b"1970-01-01T00:00:00.000000Z" }
    }
}

/// Year, month and day of a day since the Unix epoch, in the Gregorian calendar (Howard Hinnant: "chrono-Compatible Low-Level
/// Date Algorithms"). Years begin with March here, so that a leap day is the last one, and come in cycles of 400.
fn date(days: i64) -> (i64, u32, u32) {
    const TO_MARCH_OF_YEAR_0: i64 = 719_468;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + TO_MARCH_OF_YEAR_0;
    let (cycle, day) = (days.div_euclid(DAYS_OF_400_YEARS), days.rem_euclid(DAYS_OF_400_YEARS) as u32);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * cycle + i64::from(year) + is_next, month, day)
}

/// The last N digits of a number.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

/// Appends the enriched record and a newline to `out`. The payload is one JSON object in UTF-8; whitespace
/// around it, a leading byte order mark and record separators (0x1E, RFC 7464) before it are dropped.
///
/// # Errors
/// A [`Refusal`] with reason [`Reason::Empty`], [`Reason::NotUtf8`], [`Reason::InvalidJson`] or
/// [`Reason::NotAnObject`]; byte positions count from the payload's start. `out` is then as it was.
pub fn enrich(payload: &[u8], id: Uuid, stamp: &Stamp, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let start = object_start(payload)?;
    let length_before = out.len();
    splice(payload, start, id, stamp, out).map_err(|fault| {
        out.truncate(length_before);
        Refusal::new(Reason::InvalidJson, format!("not JSON {}", fault.describe(payload)))
    })
}

/// Where the payload's object starts.
fn object_start(payload: &[u8]) -> Result<usize, Refusal> {
    let mark_length = if payload.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let mut start = scan::skip_whitespace(payload, mark_length);
    while payload.get(start) == Some(&RECORD_SEPARATOR) {
        start = scan::skip_whitespace(payload, start + 1);
    }
    let Some(first) = payload.get(start) else {
        return Err(Refusal::new(Reason::Empty, format!("no content in {} bytes", payload.len())));
    };
    if simdutf8::basic::from_utf8(payload).is_err()
        && let Err(error) = str::from_utf8(payload)
    {
        let at = error.valid_up_to();
        let message = format!("not UTF-8 at byte {at}: found byte 0x{:02X}", payload[at]);
        return Err(Refusal::new(Reason::NotUtf8, message));
    }
    if *first == b'{' {
        return Ok(start);
    }
    match scan::value_end(payload, start).and_then(|end| expect_end(payload, end)) {
        Ok(()) => {
            let mut message = format!("found {} at byte {start}, expected a JSON object", kind_of(*first));
            if payload[start..].starts_with(br#""{\""#) {
                message.push_str(": the object was encoded twice");
            }
            Err(Refusal::new(Reason::NotAnObject, message))
        }
        Err(fault) => Err(Refusal::new(Reason::InvalidJson, format!("not JSON {}", fault.describe(payload)))),
    }
}

/// Nothing but whitespace may follow the record's value.
fn expect_end(payload: &[u8], end: usize) -> Result<(), Fault> {
    let at = scan::skip_whitespace(payload, end);
    if at < payload.len() {
        return Err(Fault::Invalid { at, expected: "the end of the record after its first value" });
    }
    Ok(())
}

fn kind_of(first: u8) -> &'static str {
    match first {
        b'[' => "an array",
        b'"' => "a string",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "a number",
    }
}

fn splice(text: &[u8], start: usize, id: Uuid, stamp: &Stamp, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut members = scan::members(text, start);
    let mut last_end = start + 1;
    let (mut any_kept, mut any_own) = (false, false);
    for member in &mut members {
        let member = member?;
        match may_be_own(&member) && own_field(text, &member).is_some() {
            true => any_own = true,
            false => any_kept = true,
        }
        last_end = member.value.end;
    }
    let end = members.end().ok_or(Fault::Incomplete)?;
    expect_end(text, end)?;
    if any_own {
        any_kept = rename(text, start, last_end, out)?;
    } else {
        out.extend_from_slice(&text[start..last_end]);
    }
    if any_kept {
        out.push(b',');
    }
    append_fields(id, stamp, out);
    out.extend_from_slice(&text[last_end..end]);
    out.push(b'\n');
    Ok(())
}

/// Appends the members of the object at `start`, the last of which ends at `end`, without those of [`FIELDS`] that are
/// null or of an earlier enrichment, and the others renamed. Says whether any member is left.
#[cold]
fn rename(text: &[u8], start: usize, end: usize, out: &mut Vec<u8>) -> Result<bool, Fault> {
    let is_replaced = are_written(text, &own_members(text, start));
    // Text before `copied` is in `out` or left out for good; `last_end` is the end of the last member read.
    let mut copied = start;
    let mut last_end = start + 1;
    let mut any_kept = false;
    for member in scan::members(text, start) {
        let member = member?;
        let own = own_field(text, &member);
        if own.is_some() && (is_replaced || &text[member.value.clone()] == b"null") {
            out.extend_from_slice(&text[copied..last_end]);
            copied = member.value.end;
        } else {
            if !any_kept {
                any_kept = true;
                if copied > start {
                    // The members before this one are gone: so is the comma behind them.
                    copied = scan::skip_whitespace(text, last_end) + 1;
                }
            }
            if let Some(field) = own {
                out.extend_from_slice(&text[copied..member.key.start]);
                for part in ["\"", PRODUCER_PREFIX, field, "\""] {
                    out.extend_from_slice(part.as_bytes());
                }
                copied = member.key.end;
            }
        }
        last_end = member.value.end;
    }
    out.extend_from_slice(&text[copied..end]);
    Ok(any_kept)
}

/// Whether a member's key may name one of [`FIELDS`]. Most are told by their length, which includes their quotes.
#[inline]
fn may_be_own(member: &Member) -> bool {
    member.has_escapes || FIELDS.iter().any(|field| field.len() + 2 == member.key.len())
}

/// Which of [`FIELDS`] a member's key names, in whatever case, spelled with escapes or without.
#[inline(never)]
fn own_field(text: &[u8], member: &Member) -> Option<&'static str> {
    let key = &text[member.key.clone()];
    let is = |name: &[u8]| FIELDS.into_iter().find(|field| field.as_bytes().eq_ignore_ascii_case(name));
    if !member.has_escapes {
        return is(&key[1..key.len() - 1]);
    }
    // A key with a lone surrogate has no name as text, so it names no field.
    serde_json::from_slice::<String>(key).ok().and_then(|name| is(name.as_bytes()))
}

/// The members of the object at `start` that are named like [`FIELDS`], and their values.
fn own_members(text: &[u8], start: usize) -> Vec<(&'static str, Range<usize>)> {
    let own = |member: Member| Some((own_field(text, &member)?, member.value));
    scan::members(text, start).flatten().filter_map(own).collect()
}

/// Whether the members of [`FIELDS`] are those of an earlier enrichment: each once, and as it is written here.
fn are_written(text: &[u8], own: &[(&'static str, Range<usize>)]) -> bool {
    let value = |name: &str| {
        let mut values = own.iter().filter(|(field, _)| *field == name);
        let (_, range) = values.next().filter(|_| own.len() == FIELDS.len())?;
        let value = str::from_utf8(&text[range.clone()]).ok()?.strip_prefix('"')?.strip_suffix('"')?;
        is_written(name, value).then_some(value)
    };
    let [Some(_), Some(stamp), Some(date), Some(hour)] = FIELDS.map(value) else { return false };
    stamp[..10] == *date && stamp[11..13] == *hour
}

/// Whether the object at the start of `text` was enriched before.
pub(crate) fn is_enriched(text: &[u8]) -> bool {
    are_written(text, &own_members(text, 0))
}

/// Whether `text` ends as [`enrich`] ends an object: the members are at its end, spelled and as long as they are
/// written there. That takes the same time for any text.
pub(crate) fn ends_enriched(text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_suffix(b"}").map(<[u8]>::trim_ascii_end) else { return false };
    for (name, length) in FIELDS.into_iter().zip([36, 27, 10, 2]).rev() {
        let Some(start) = rest.len().checked_sub(name.len() + length + 5) else { return false };
        let (before, member) = rest.split_at(start);
        let key = member.strip_prefix(b"\"").and_then(|member| member.strip_prefix(name.as_bytes()));
        if !key.is_some_and(|behind| behind.starts_with(b"\":\"") && behind.ends_with(b"\"")) {
            return false;
        }
        rest = before.strip_suffix(b",").unwrap_or(before);
    }
    true
}

/// Whether `value` is what enrichment writes into the field `name`: as far as can be told from its form.
pub fn is_written(name: &str, value: &str) -> bool {
    let has_form = |form: &str| {
        form.len() == value.len()
            && form.bytes().zip(value.bytes()).all(|(form, byte)| match form {
                b'0' => byte.is_ascii_digit(),
                _ => form == byte,
            })
    };
    match name {
        RECORD_ID => value.len() == 36 && Uuid::try_parse(value).is_ok_and(|id| id.get_version_num() == 5),
        INGESTION_TIMESTAMP => has_form("0000-00-00T00:00:00.000000Z"),
        PARTITION_DATE => has_form("0000-00-00"),
        PARTITION_HOUR => has_form("00"),
        _ => false,
    }
}

/// The fields, for an id and an instant that stand for all: what is written over it is as long.
const FIELDS_TEXT: &[u8; 154] = b"\"record_id\":\"00000000-0000-0000-0000-000000000000\",\
    \"ingestion_timestamp\":\"0000-00-00T00:00:00.000000Z\",\
    \"partition_date\":\"0000-00-00\",\"partition_hour\":\"00\"";

fn append_fields(id: Uuid, stamp: &Stamp, out: &mut Vec<u8>) {
    let mut text = *FIELDS_TEXT;
    id.hyphenated().encode_lower(&mut text[13..49]);
    text[74..101].copy_from_slice(&stamp.text);
    text[121..131].copy_from_slice(stamp.date());
    text[151..153].copy_from_slice(stamp.hour());
    out.extend_from_slice(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Datelike as _;
    use proptest::prelude::*;
    use serde_json::value::RawValue;
    use std::collections::BTreeMap;

    const ADDED: &str = "\"record_id\":\"00000000-0000-0000-0000-000000000001\",\
        \"ingestion_timestamp\":\"2026-01-02T03:04:05.678000Z\",\
        \"partition_date\":\"2026-01-02\",\"partition_hour\":\"03\"";

    fn stamp() -> Stamp {
        Stamp::from_epoch_micros(1_767_323_045_678_000).unwrap()
    }

    /// The enriched text with the added fields as `@`, without the newline.
    fn enriched(payload: impl AsRef<[u8]>) -> Result<String, Refusal> {
        let mut out = b"before ".to_vec();
        let result = enrich(payload.as_ref(), Uuid::from_u128(1), &stamp(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before ").unwrap();
        match result {
            Ok(()) => Ok(text.strip_suffix('\n').unwrap().replace(ADDED, "@")),
            Err(refusal) => {
                assert_eq!(text, "");
                Err(refusal)
            }
        }
    }

    fn refused(payload: impl AsRef<[u8]>) -> (Reason, String) {
        let refusal = enriched(payload).unwrap_err();
        (refusal.reason, refusal.message)
    }

    #[test]
    fn what_was_enriched_is_told_from_what_was_not() {
        let added = ADDED.replace("-0000-0000-0000-", "-0000-5000-8000-");
        let text = format!("{{\"a\":[1],{added} }}");
        assert!(ends_enriched(text.as_bytes()) && is_enriched(text.as_bytes()));
        assert!(ends_enriched(format!("{{{added}}}").as_bytes()));
        let moved = format!("{{{added},\"a\":1}}");
        assert!(!ends_enriched(moved.as_bytes()) && is_enriched(moved.as_bytes()));
        for field in FIELDS {
            let other = text.replace(field, "other");
            assert!(!ends_enriched(other.as_bytes()) && !is_enriched(other.as_bytes()), "{other}");
        }
        for other in ["", "}", "{}", &format!("[{text}]"), &text[..text.len() - 3]] {
            assert!(!ends_enriched(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_producers_text_passes_byte_for_byte() {
        assert_eq!(enriched(r#"{"a":1}"#).unwrap(), r#"{"a":1,@}"#);
        let odd = r#"{ "n" : 123456789012345678901234567890.10e+05 , "s":"\u00e9\/é","n":1,	"o":{"b":[ ]} }"#;
        assert_eq!(enriched(odd).unwrap(), odd.replace("} }", "},@ }"));
    }

    #[test]
    fn an_object_without_members() {
        assert_eq!(enriched("{}").unwrap(), "{@}");
        assert_eq!(enriched("{ \n }").unwrap(), "{@ \n }");
    }

    #[test]
    fn whitespace_and_byte_order_mark_around_the_object_are_dropped() {
        assert_eq!(enriched("\u{feff} \r\n{\"a\":1}\r\n").unwrap(), r#"{"a":1,@}"#);
    }

    #[test]
    fn the_producers_own_values_survive_under_another_name() {
        assert_eq!(enriched(r#"{"record_id":"crm-1"}"#).unwrap(), r#"{"producer_record_id":"crm-1",@}"#);
        let all = r#"{ "Record_Id" : {} , "PARTITION_HOUR":[1], "a":1,"partition_date":"x" }"#;
        let renamed = r#"{ "producer_record_id" : {} , "producer_partition_hour":[1], "a":1,"producer_partition_date":"x",@ }"#;
        assert_eq!(enriched(all).unwrap(), renamed);
        // Twice is twice: whoever reads the record sees that no single value is the right one.
        let twice = r#"{"record_id":1,"producer_record_id":2}"#;
        assert_eq!(enriched(twice).unwrap(), r#"{"producer_record_id":1,"producer_record_id":2,@}"#);
    }

    #[test]
    fn null_is_no_value_and_leaves_with_exactly_one_comma() {
        assert_eq!(enriched(r#"{"record_id":null}"#).unwrap(), "{@}");
        assert_eq!(enriched(r#"{ "record_id" : null , "partition_hour":null }"#).unwrap(), "{@ }");
        assert_eq!(enriched(r#"{"record_id":null,"a":1}"#).unwrap(), r#"{"a":1,@}"#);
        let two = r#"{"record_id":null , "partition_date":null , "a":1}"#;
        assert_eq!(enriched(two).unwrap(), r#"{ "a":1,@}"#);
        assert_eq!(enriched(r#"{"a":1 , "record_id":null}"#).unwrap(), r#"{"a":1,@}"#);
        assert_eq!(enriched(r#"{"a":1, "record_id":null , "b":2}"#).unwrap(), r#"{"a":1 , "b":2,@}"#);
        let mixed = r#"{"record_id":null,"partition_hour":7,"partition_date":null,"b":2}"#;
        assert_eq!(enriched(mixed).unwrap(), r#"{"producer_partition_hour":7,"b":2,@}"#);
    }

    #[test]
    fn what_was_enriched_before_is_enriched_anew() {
        let first =
            ADDED.replace("00000000-0000-0000-0000-000000000001", "8a7b3d02-e185-5fe2-894d-5a00e38aade1");
        let first = first.replace("04:05.678", "14:15.000");
        assert_eq!(
            enriched(format!(r#"{{"producer_record_id":"x","a":1,{first}}}"#)).unwrap(),
            r#"{"producer_record_id":"x","a":1,@}"#
        );
        // The fields of an enrichment agree with each other.
        for other in [
            first.replace("\"03\"", "\"04\""),
            first.replace("-5fe2-", "-4fe2-"),
            first.replace("\"2026-01-02\"", "20260102"),
            format!("{first},\"record_id\":1"),
        ] {
            let output = enriched(format!("{{{other}}}")).unwrap();
            assert!(
                output.contains("producer_record_id") && output.contains("producer_partition_hour"),
                "{output}"
            );
        }
    }

    #[test]
    fn own_fields_are_recognised_behind_escapes() {
        let escaped = r#"{"\u0072ecord\u005Fid":1,"a":2}"#;
        assert_eq!(enriched(escaped).unwrap(), r#"{"producer_record_id":1,"a":2,@}"#);
        assert_eq!(enriched(r#"{"\ud800record_id":1}"#).unwrap(), r#"{"\ud800record_id":1,@}"#);
        assert_eq!(enriched(r#"{"record\\u005fid":1}"#).unwrap(), r#"{"record\\u005fid":1,@}"#);
    }

    #[test]
    fn names_inside_nested_values_are_the_producers() {
        let nested = r#"{"a":{"record_id":1},"b":[{"partition_date":2}],"c":"\"record_id\":3","d":1"#;
        assert_eq!(enriched(format!("{nested}}}")).unwrap(), format!("{nested},@}}"));
    }

    #[test]
    fn refusals_say_where_and_what() {
        assert_eq!(refused("").0, Reason::Empty);
        assert_eq!(refused("\u{feff} \n").0, Reason::Empty);
        assert_eq!(
            refused(b"{\"a\":\"\xC3(\"}"),
            (Reason::NotUtf8, "not UTF-8 at byte 6: found byte 0xC3".to_owned())
        );
        assert_eq!(
            refused("{\"a\":1,}"),
            (
                Reason::InvalidJson,
                "not JSON at byte 7: found '}', expected '\"': the comma before it is one too many"
                    .to_owned()
            )
        );
        assert_eq!(
            refused(r#"{"a":1}{"b":2}"#),
            (
                Reason::InvalidJson,
                "not JSON at byte 7: found '{', expected the end of the record after its first value"
                    .to_owned()
            )
        );
        assert_eq!(
            refused(" {\"a\":"),
            (Reason::InvalidJson, "not JSON at byte 6: the text ends inside a value".to_owned())
        );
        // What common encoders and templates do wrong.
        for (text, told) in [
            (r#"{"a":NaN}"#, "found NaN, which JSON does not have"),
            (r#"{"a":2}\n"#, "a backslash and a letter were sent instead of a line end"),
            ("{'a': 3}", "JSON has double quotes only"),
            (r#"{"a":6},"#, "records are separated by line ends, not by commas"),
            (r#""{\"a\": 1}""#, "the object was encoded twice"),
        ] {
            assert!(refused(text).1.contains(told), "{}", refused(text).1);
        }
        assert_eq!(refused("\u{1e}\n").0, Reason::Empty);
        assert_eq!(refused("hello").0, Reason::InvalidJson);
        assert_eq!(refused("[1] 2").0, Reason::InvalidJson);
        assert_eq!(
            refused(" [1]"),
            (Reason::NotAnObject, "found an array at byte 1, expected a JSON object".to_owned())
        );
        for scalar in ["1", "\"x\"", "null", "true"] {
            assert_eq!(refused(scalar).0, Reason::NotAnObject, "{scalar}");
        }
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused_and_does_not_overflow() {
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
        // What is passed on is not nested too deep for who frames it.
        let output = enriched(deep(scan::DEPTH_LIMIT)).unwrap().replace('@', ADDED);
        assert_eq!(scan::value_end(output.as_bytes(), 0), Ok(output.len()));
        assert_eq!(refused(deep(scan::DEPTH_LIMIT + 1)).0, Reason::InvalidJson);
        assert_eq!(refused(deep(1_000_000)).0, Reason::InvalidJson);
    }

    #[test]
    fn every_day_has_its_date() {
        let first = chrono::NaiveDate::from_ymd_opt(-1, 1, 1).unwrap();
        for day in first.iter_days().take_while(|day| day.year() <= 10_000) {
            let days = day.signed_duration_since(chrono::NaiveDate::default()).num_days();
            assert_eq!(date(days), (day.year().into(), day.month(), day.day()));
        }
    }

    #[test]
    fn stamps_are_rfc_3339_in_utc() {
        let text = |micros| {
            Stamp::from_epoch_micros(micros).map(|stamp| String::from_utf8(stamp.text.to_vec()).unwrap())
        };
        assert_eq!(text(1_767_323_045_678_901).as_deref(), Some("2026-01-02T03:04:05.678901Z"));
        assert_eq!(Stamp::from_epoch_micros(0), Some(Stamp::default()));
        assert_eq!(text(-1).as_deref(), Some("1969-12-31T23:59:59.999999Z"));
        assert_eq!(text(i64::MAX), None);
        assert_eq!(text(i64::MIN), None);
    }

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(FIELDS.to_vec()).prop_map(|field| format!("\"{field}\"")),
            Just("\"\\u0072ecord_id\"".to_owned()),
            "[a-c]{0,2}".prop_map(|name| format!("\"{name}\"")),
            any::<String>().prop_map(|name| serde_json::to_string(&name).unwrap()),
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "(-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,4})?([eE][-+]?[0-9]{1,3})?|true|false|null)",
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|items| format!("[{}]", items.join(", "))),
                (key(), inner).prop_map(|(key, value)| format!("{{{key}: {value}}}")),
            ]
        })
    }

    /// The key of a member in the output, if the member is there.
    fn kept_name(key: &str, value: &str) -> Option<String> {
        let name = serde_json::from_str::<String>(key).unwrap();
        match FIELDS.iter().find(|field| field.eq_ignore_ascii_case(&name)) {
            Some(_) if value == "null" => None,
            Some(field) => Some(format!("\"producer_{field}\"")),
            None => Some(key.to_owned()),
        }
    }

    proptest! {
        /// The output is the input's own members, those of the four names renamed, plus the four fields, in order.
        #[test]
        fn output_is_the_input_and_the_four_fields(
            members in prop::collection::vec((key(), value(), "[ \n\r\t]{0,2}"), 0..8),
        ) {
            let spaced = |(key, value, gap): &(String, String, String)| {
                format!("{gap}{key}{gap}:{gap}{value}{gap}")
            };
            let texts: Vec<String> = members.iter().map(spaced).collect();
            let payload = format!("{{{}}}", texts.join(","));
            let mut out = Vec::new();
            enrich(payload.as_bytes(), Uuid::from_u128(1), &stamp(), &mut out).unwrap();

            let output = String::from_utf8(out).unwrap();
            let parsed: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&output).unwrap();
            let mut expected: BTreeMap<String, String> = BTreeMap::new();
            for (key, value, _) in &members {
                if let Some(name) = kept_name(key, value) {
                    expected.insert(serde_json::from_str(&name).unwrap(), value.clone());
                }
            }
            let added = format!("{{{ADDED}}}");
            let added: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&added).unwrap();
            expected.extend(added.iter().map(|(name, value)| (name.clone(), value.get().to_owned())));
            let parsed: BTreeMap<String, String> =
                parsed.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect();
            prop_assert_eq!(parsed, expected);

            // Order, spelling and duplicates: the same as dropping the members from the list.
            let dense = |text: &str| text.split_ascii_whitespace().collect::<String>();
            let kept = members.iter().filter_map(|(key, value, _)| Some((kept_name(key, value)?, value)));
            let mut kept: Vec<String> = kept.map(|(key, value)| format!("{key}:{value}")).collect();
            kept.push(ADDED.to_owned());
            prop_assert_eq!(dense(&output), dense(&format!("{{{}}}", kept.join(","))));
        }

        #[test]
        fn no_input_panics(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = enriched(payload);
        }
    }
}

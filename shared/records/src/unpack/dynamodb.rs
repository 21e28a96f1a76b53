//! Images of DynamoDB items -> plain values.
//!
//! In: an event of a table's stream or export. Out: the event, in which `Keys`, `NewImage`, `OldImage` and `Item`, in it or in
//! its `dynamodb`, have values instead of typed ones (Amazon DynamoDB Developer Guide, "DynamoDB low-level API", "Data type
//! descriptors"). Numbers keep all their digits, binary values stay base64, sets become arrays. What is typed in another
//! way is no image and passes as it is.

use super::elements;
use crate::members::push_separator;
use crate::scan;
use crate::token::number_end;

const IMAGES: [&[u8]; 4] = [b"\"Keys\"", b"\"NewImage\"", b"\"OldImage\"", b"\"Item\""];
/// What has images too.
const STREAM_RECORD: &[u8] = b"\"dynamodb\"";
/// DynamoDB nests items up to 32 levels ("Quotas in Amazon DynamoDB").
const MAX_DEPTH: usize = 32;

/// The event with plain values. None if it has no image.
pub(super) fn plain(event: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(event.len());
    plain_members(event, true, &mut out).then_some(out)
}

/// Appends `object` with plain values, and says whether it has an image.
fn plain_members(object: &[u8], is_root: bool, out: &mut Vec<u8>) -> bool {
    let mut has_image = false;
    out.push(b'{');
    for member in scan::members(object, 0).flatten() {
        let (key, value) = (&object[member.key], &object[member.value]);
        push_separator(out);
        out.extend_from_slice(key);
        out.push(b':');
        let start = out.len();
        let is_plain = match key {
            STREAM_RECORD if is_root && value.starts_with(b"{") => plain_members(value, false, out),
            key if IMAGES.contains(&key) => attributes(value, 0, out).is_some(),
            _ => false,
        };
        if !is_plain {
            out.truncate(start);
            out.extend_from_slice(value);
        }
        has_image |= is_plain;
    }
    out.push(b'}');
    has_image
}

/// Appends an object of attributes with plain values.
fn attributes(object: &[u8], depth: usize, out: &mut Vec<u8>) -> Option<()> {
    if depth > MAX_DEPTH || !object.starts_with(b"{") {
        return None;
    }
    out.push(b'{');
    for member in scan::members(object, 0).flatten() {
        push_separator(out);
        out.extend_from_slice(&object[member.key]);
        out.push(b':');
        attribute(&object[member.value], depth, out)?;
    }
    out.push(b'}');
    Some(())
}

/// Appends the value that `typed` describes.
fn attribute(typed: &[u8], depth: usize, out: &mut Vec<u8>) -> Option<()> {
    if !typed.starts_with(b"{") {
        return None;
    }
    let mut members = scan::members(typed, 0).flatten();
    let (member, None) = (members.next()?, members.next()) else { return None };
    let value = &typed[member.value];
    match &typed[member.key] {
        b"\"S\"" | b"\"B\"" => text(value, out),
        b"\"N\"" => number(value, out),
        b"\"BOOL\"" if matches!(value, b"true" | b"false") => {
            out.extend_from_slice(value);
            Some(())
        }
        b"\"NULL\"" if value == b"true" => {
            out.extend_from_slice(b"null");
            Some(())
        }
        b"\"M\"" => attributes(value, depth + 1, out),
        b"\"L\"" if depth < MAX_DEPTH => array(value, out, |element, out| attribute(element, depth + 1, out)),
        b"\"SS\"" | b"\"BS\"" => array(value, out, text),
        b"\"NS\"" => array(value, out, number),
        _ => None,
    }
}

fn text(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    value.starts_with(b"\"").then(|| out.extend_from_slice(value))
}

/// A number that JSON has too, out of its string.
fn number(value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let digits = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let starts = matches!(digits.first(), Some(b'-' | b'0'..=b'9'));
    let is_number = starts && number_end(digits, 0).is_ok_and(|end| end == digits.len());
    is_number.then(|| out.extend_from_slice(digits))
}

fn array(
    value: &[u8],
    out: &mut Vec<u8>,
    mut push: impl FnMut(&[u8], &mut Vec<u8>) -> Option<()>,
) -> Option<()> {
    if !value.starts_with(b"[") {
        return None;
    }
    out.push(b'[');
    for (at, element) in elements(value).flatten().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(element, out)?;
    }
    out.push(b']');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(event: &str) -> Option<String> {
        plain(event.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn every_type_is_a_plain_value() {
        let image = r#"{"s":{"S":"a\n"},"n":{"N":"-1.50E+3"},"t":{"BOOL":true},"z":{"NULL":true},"b":{"B":"AQ=="},
            "m":{"M":{"x":{"L":[{"S":"y"},{"N":"2"},{"M":{}}]}}},"ss":{"SS":["p","q"]},"ns":{"NS":["1","2"]},"e":{"L":[]}}"#;
        let values = r#"{"s":"a\n","n":-1.50E+3,"t":true,"z":null,"b":"AQ==","m":{"x":["y",2,{}]},"ss":["p","q"],"ns":[1,2],"e":[]}"#;
        let event = format!(r#"{{"eventName":"INSERT","dynamodb":{{"NewImage":{image},"SizeBytes":9}}}}"#);
        let expected =
            format!(r#"{{"eventName":"INSERT","dynamodb":{{"NewImage":{values},"SizeBytes":9}}}}"#);
        assert_eq!(text_of(&event), Some(expected));
        assert_eq!(text_of(&format!(r#"{{"Item":{image}}}"#)), Some(format!(r#"{{"Item":{values}}}"#)));
    }

    #[test]
    fn what_is_no_image_passes_as_it_is() {
        for event in [
            r#"{"a":{"S":"x"}}"#,
            r#"{"NewImage":"x"}"#,
            r#"{"NewImage":{"a":"x"}}"#,
            r#"{"NewImage":{"a":{"S":"x","N":"1"}}}"#,
            r#"{"NewImage":{"a":{"N":"one"}}}"#,
            r#"{"NewImage":{"a":{"X":"1"}}}"#,
            r#"{"deep":{"NewImage":{"a":{"N":"1"}}}}"#,
        ] {
            assert_eq!(text_of(event), None, "{event}");
        }
        let deep =
            format!("{{\"Item\":{{\"a\":{}{{\"N\":\"1\"}}{}}}}}", "{\"L\":[".repeat(40), "]}".repeat(40));
        assert_eq!(text_of(&deep), None);
    }
}

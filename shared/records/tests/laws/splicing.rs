//! The law of splicing: the same record and the four fields, or a reason that holds.
//!
//! In: a record's payload, and what became of it. Out: nothing, or a panic that says what does not hold. Property tests
//! and a fuzz target bring the inputs.

use std::fmt;

use records::enrich::FIELDS;
use records::rejection::Reason;
use records::scan::{self, DEPTH_LIMIT};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in order, duplicates included: names as text, values as they are spelled.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// `text` without white space outside strings, and how deep its arrays and objects nest.
fn dense(text: &str) -> (String, usize) {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    let mut dense = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ if in_string => {}
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            space if is_space(space) => continue,
            _ => {}
        }
        deepest = deepest.max(depth);
        dense.push(character);
    }
    (dense, deepest)
}

/// The text of a payload's value: a byte order mark and white space around it do not count.
fn value(payload: &str) -> &str {
    payload.strip_prefix('\u{feff}').unwrap_or(payload).trim_matches(is_space)
}

/// `payload` became `out`, with the members `added`: one line, in which nothing else is other than it was.
pub(crate) fn check_accepted(payload: &[u8], added: &str, out: &[u8]) {
    let text = value(std::str::from_utf8(payload).expect("only UTF-8 is accepted"));
    let out = std::str::from_utf8(out).expect("UTF-8 comes out");
    let out = out.strip_suffix('\n').expect("a line's end comes last");
    assert!(out.matches('\n').count() <= text.matches('\n').count(), "{out:?} has line ends of its own");
    serde_json::from_str::<IgnoredAny>(text).expect("only JSON is accepted");
    serde_json::from_str::<IgnoredAny>(out).expect("JSON comes out");
    assert_eq!(scan::value_end(out.as_bytes(), 0), Ok(out.len()), "a record that framing takes, too");

    // A name with half of a surrogate pair is none that text can hold: this reader gives up there.
    let Ok(Members(before)) = serde_json::from_str(text) else { return };
    let Members(mut after) = serde_json::from_str(out).expect("an object comes out");
    let wrapped = format!("{{{added}}}");
    let Members(fields) = serde_json::from_str(&wrapped).expect("four fields");
    assert!(fields.iter().map(|(name, _)| name.as_str()).eq(FIELDS));
    let is_own = |name: &str| FIELDS.contains(&name);
    let kept: Vec<_> = before.iter().filter(|(name, _)| !is_own(name)).cloned().collect();
    let found = after.split_off(kept.len());
    assert_eq!((after, found), (kept, fields), "names and values as they are spelled, in order");

    // Where a member ends, as a place in the text.
    let end = |value: &str| value.as_ptr() as usize - text.as_ptr() as usize + value.len();
    if before.iter().all(|(name, _)| !is_own(name)) {
        let last_end = before.last().map_or(1, |(_, value)| end(value));
        let comma = if before.is_empty() { "" } else { "," };
        assert_eq!(out, format!("{}{comma}{added}{}", &text[..last_end], &text[last_end..]));
    } else {
        // How much of the white space around a replaced member goes with it is not laid down.
        let mut expected = String::from("{");
        let mut start = 1;
        for (name, value) in &before {
            if !is_own(name) {
                expected.push_str(text[start..end(value)].trim_start_matches(|c| is_space(c) || c == ','));
                expected.push(',');
            }
            start = end(value);
        }
        assert_eq!(dense(out).0, dense(&format!("{expected}{added}}}")).0);
    }
}

/// `payload` was refused: the reason is the right one.
pub(crate) fn check_refused(payload: &[u8], reason: Reason) {
    let is_blank = |bytes: &[u8]| bytes.iter().all(|byte| is_space(char::from(*byte)));
    if is_blank(payload.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(payload)) {
        assert_eq!(reason, Reason::Empty);
        return;
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        assert_eq!(reason, Reason::NotUtf8);
        return;
    };
    let text = value(text);
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok() && dense(text).1 <= DEPTH_LIMIT;
    let expected = match is_json {
        true if text.starts_with('{') => panic!("{text:?} is an object, and was refused as {reason}"),
        true => Reason::NotAnObject,
        false => Reason::InvalidJson,
    };
    assert_eq!(reason, expected, "{text:?}");
}

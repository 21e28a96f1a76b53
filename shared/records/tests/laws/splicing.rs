//! The law of splicing: the same record and the four fields, or a reason that holds.
//!
//! In: a record's payload, and what became of it. Out: nothing, or a panic that says what does not hold. Property tests
//! and a fuzz target bring the inputs.

use std::fmt;

use records::enrich::{FIELDS, is_written};
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

/// The text of a payload's value: a byte order mark, white space around it and separators before it do not count.
fn value(payload: &str) -> &str {
    let payload = payload.strip_prefix('\u{feff}').unwrap_or(payload);
    payload.trim_start_matches(|c| is_space(c) || c == '\u{1e}').trim_end_matches(is_space)
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
    let own = |name: &str| FIELDS.iter().find(|field| field.eq_ignore_ascii_case(name));
    let is_replaced =
        is_enriched(before.iter().filter_map(|(name, value)| Some((*own(name)?, *value))).collect());
    // What the output calls a member: the producer's own of the four names are renamed, but for null.
    let renamed = |(name, value): &(String, &str)| match own(name) {
        Some(_) if is_replaced || *value == "null" => None,
        Some(field) => Some(format!("producer_{field}")),
        None => Some(name.clone()),
    };
    let kept: Vec<_> = before.iter().filter_map(|member| Some((renamed(member)?, member.1))).collect();
    let found = after.split_off(kept.len());
    assert_eq!((after, found), (kept, fields), "names and values as they are spelled, in order");

    // Where a member ends, as a place in the text.
    let end = |value: &str| value.as_ptr() as usize - text.as_ptr() as usize + value.len();
    if before.iter().all(|(name, _)| own(name).is_none()) {
        let last_end = before.last().map_or(1, |(_, value)| end(value));
        let comma = if before.is_empty() { "" } else { "," };
        assert_eq!(out, format!("{}{comma}{added}{}", &text[..last_end], &text[last_end..]));
    } else {
        // How much of the white space around a replaced member goes with it is not laid down.
        let mut expected = String::from("{");
        let mut start = 1;
        for member in &before {
            let (name, value) = member;
            let spelled = text[start..end(value)].trim_start_matches(|c| is_space(c) || c == ',');
            match renamed(member) {
                Some(new) if own(name).is_some() => expected.push_str(&format!("\"{new}\":{value},")),
                Some(_) => expected.push_str(&format!("{spelled},")),
                None => {}
            }
            start = end(value);
        }
        assert_eq!(dense(out).0, dense(&format!("{expected}{added}}}")).0);
    }
}

/// Whether members of the four names are what an earlier enrichment wrote: each once, and in agreement.
fn is_enriched(own: Vec<(&str, &str)>) -> bool {
    let value = |name: &str| {
        let (_, value) = own.iter().find(|(field, _)| *field == name)?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        is_written(name, value).then_some(value)
    };
    let [Some(_), Some(stamp), Some(date), Some(hour)] = FIELDS.map(value) else { return false };
    own.len() == FIELDS.len() && stamp.starts_with(&format!("{date}T{hour}:"))
}

/// `payload` was refused: the reason is the right one.
pub(crate) fn check_refused(payload: &[u8], reason: Reason) {
    let is_blank = |bytes: &[u8]| bytes.iter().all(|byte| is_space(char::from(*byte)) || *byte == 0x1E);
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

//! Bytes that are no JSON -> JSON, as far as the [`Options`](super::Options) take them.
//!
//! In: a frame that is broken. Out: the same with null for the words that JSON does not have, or an event for each line of
//! text. Refused: what is JSON that is broken otherwise, and what is no text.

use crate::frame::{Frame, Framer};

/// What Python writes for numbers that JSON does not have.
const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// `text` with null for each of [`WORDS`] that is in no string. None if there is none, or the rest is no JSON.
pub(super) fn with_null(text: &[u8]) -> Option<Vec<u8>> {
    let mut replaced = Vec::new();
    let (mut at, mut copied, mut is_in_string) = (0, 0, false);
    while let Some(byte) = text.get(at) {
        let rest = text.get(at..).unwrap_or_default();
        match byte {
            b'"' => is_in_string = !is_in_string,
            b'\\' if is_in_string => at += 1,
            b'N' | b'I' | b'-' if !is_in_string => {
                if let Some(word) = WORDS.into_iter().find(|word| rest.starts_with(word)) {
                    replaced.extend_from_slice(&text[copied..at]);
                    replaced.extend_from_slice(b"null");
                    at += word.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return None;
    }
    replaced.extend_from_slice(&text[copied..]);
    is_json(&replaced).then_some(replaced)
}

/// Whether `text` is JSON values and nothing else.
fn is_json(text: &[u8]) -> bool {
    let mut framer = Framer::new(text, text.len());
    while let Ok(Some(frame)) = framer.next_frame() {
        if !matches!(frame, Frame::Record { .. }) {
            return false;
        }
    }
    true
}

/// An object `{"message": "..."}` for each line of `text`. None if it looks like objects, or is no text.
pub(super) fn messages(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.strip_prefix(b"[").map_or(text, <[u8]>::trim_ascii_start);
    if inner.starts_with(b"{") || !is_text(text) {
        return None;
    }
    let mut messages = Vec::new();
    for line in std::str::from_utf8(text).ok()?.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        messages.extend_from_slice(b"{\"message\":");
        serde_json::to_writer(&mut messages, line).ok()?;
        messages.extend_from_slice(b"}\n");
    }
    Some(messages)
}

/// Whether `bytes` are text: UTF-8 without control characters but white space.
pub fn is_text(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    std::str::from_utf8(bytes).is_ok() && !bytes.iter().any(is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_numbers_are_null_outside_strings() {
        let null = |text: &str| with_null(text.as_bytes()).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(
            null(r#"{"a": NaN, "b":[-Infinity,Infinity,NaN], "NaN": "NaN \"NaN"}"#).as_deref(),
            Some(r#"{"a": null, "b":[null,null,null], "NaN": "NaN \"NaN"}"#)
        );
        assert_eq!(null("{\"a\":NaN}\n{\"a\":NaN}").as_deref(), Some("{\"a\":null}\n{\"a\":null}"));
        for other in [r#"{"a": "NaN""#, r#"{"a": NaN,}"#, r#"{"a": NaNs}"#, r#"{"a": -NaN}"#, r#"{"a": nan}"#]
        {
            assert_eq!(null(other), None, "{other}");
        }
    }

    #[test]
    fn lines_of_text_are_messages() {
        let lines = |text: &[u8]| messages(text).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(
            lines("[ERROR] \"a\"\tb \r\n\n 2 c".as_bytes()).as_deref(),
            Some("{\"message\":\"[ERROR] \\\"a\\\"\\tb\"}\n{\"message\":\" 2 c\"}\n")
        );
        for other in ["{\"a\":", "[{\"a\":1},", "[ {", "a\u{1}"] {
            assert_eq!(lines(other.as_bytes()), None, "{other}");
        }
        assert_eq!(lines(b"\xFFa"), None);
    }
}

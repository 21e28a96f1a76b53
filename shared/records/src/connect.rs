//! The event within an envelope of Kafka Connect's JsonConverter with `schemas.enable=true`: `{"schema": ..., "payload":
//! ...}` (Apache Kafka documentation, "Kafka Connect", JsonConverter).
//!
//! In: one JSON value. Out: the text of its payload. What is no such envelope passes as it is: an event may have a field
//! of that name beside others.

use crate::scan;

const SCHEMA: &[u8] = b"\"schema\"";
const PAYLOAD: &[u8] = b"\"payload\"";

/// The payload of `event`; `event` itself if its members are others than `schema` and `payload`.
pub fn payload(event: &[u8]) -> &[u8] {
    member(event).unwrap_or(event)
}

fn member(event: &[u8]) -> Option<&[u8]> {
    let mut members = scan::members(event, scan::skip_whitespace(event, 0));
    let mut payload = None;
    for member in members.by_ref() {
        let member = member.ok()?;
        match &event[member.key] {
            SCHEMA => {}
            PAYLOAD if payload.is_none() => payload = Some(&event[member.value]),
            _ => return None,
        }
    }
    let end = members.end()?;
    payload.filter(|_| scan::skip_whitespace(event, end) == event.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_gives_its_payload_and_all_else_itself() {
        for (event, expected) in [
            (r#"{"schema": {"type": "struct", "fields": []}, "payload": {"a": 1}}"#, r#"{"a": 1}"#),
            (r#" { "payload" : [1, 2] , "schema" : null } "#, "[1, 2]"),
            (r#"{"payload": null}"#, "null"),
        ] {
            assert_eq!(payload(event.as_bytes()), expected.as_bytes());
        }
        for event in [
            r#"{"payload": 1, "id": 7}"#,
            r#"{"payload": 1, "payload": 2}"#,
            r#"{"schema": 1}"#,
            "{}",
            r#"{"payload": 1"#,
            r#"{"payload": {"a": }}"#,
            "[1]",
            "{,}",
            "",
        ] {
            assert_eq!(payload(event.as_bytes()), event.as_bytes());
        }
    }
}

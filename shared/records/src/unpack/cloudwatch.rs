//! A CloudWatch Logs subscription's envelope -> its log events.
//!
//! In: a JSON object (AWS: "Amazon CloudWatch Logs User Guide", "Subscription filters with Amazon Data Firehose"). Out: an
//! object for each log event with its own members, then `owner`, `log_group` and `log_stream`; `extractedFields` is called
//! `extracted_fields`. Of the envelope's other members (`messageType`, `subscriptionFilters`, `policyLevel`) nothing is
//! kept. Refused: what is no such envelope; it is an event itself.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Piece, Take, elements};
use crate::scan;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    message_type: &'a RawValue,
    #[serde(borrow)]
    owner: &'a RawValue,
    #[serde(borrow)]
    log_group: &'a RawValue,
    #[serde(borrow)]
    log_stream: &'a RawValue,
    #[serde(borrow)]
    log_events: &'a RawValue,
}

impl<'a> Envelope<'a> {
    /// None if `object` is another object.
    pub(super) fn of(object: &'a [u8]) -> Option<Self> {
        let envelope: Self = serde_json::from_slice(object).ok()?;
        let is_text = |value: &RawValue| value.get().starts_with('"');
        let events = envelope.log_events.get().as_bytes();
        let is_envelope = matches!(envelope.message_type.get(), "\"DATA_MESSAGE\"" | "\"CONTROL_MESSAGE\"")
            && [envelope.owner, envelope.log_group, envelope.log_stream].into_iter().all(is_text)
            && events.starts_with(b"[")
            && elements(events).all(|event| event.is_ok_and(is_log_event));
        is_envelope.then_some(envelope)
    }

    pub(super) fn events<E>(&self, take: &mut Take<'_, E>) -> Result<(), E> {
        let mut events = elements(self.log_events.get().as_bytes()).flatten().peekable();
        if self.message_type.get() == "\"CONTROL_MESSAGE\"" || events.peek().is_none() {
            return take(Piece::Dropped);
        }
        let mut text = Vec::new();
        for event in events {
            text.clear();
            for member in scan::members(event, 0).flatten() {
                let key = match &event[member.key] {
                    b"\"extractedFields\"" => &b"\"extracted_fields\""[..],
                    key => key,
                };
                push_member(&mut text, key, &event[member.value]);
            }
            for (key, value) in [
                ("\"owner\"", self.owner),
                ("\"log_group\"", self.log_group),
                ("\"log_stream\"", self.log_stream),
            ] {
                push_member(&mut text, key.as_bytes(), value.get().as_bytes());
            }
            text.push(b'}');
            take(Piece::Event(&text))?;
        }
        Ok(())
    }
}

/// Whether `element` is an object with an `id`, a `timestamp` and a `message`.
fn is_log_event(element: &[u8]) -> bool {
    let mut found = 0;
    for member in scan::members(element, 0) {
        let Ok(member) = member else { return false };
        found += match &element[member.key] {
            b"\"id\"" | b"\"timestamp\"" | b"\"message\"" => 1,
            _ => 0,
        };
    }
    found == 3
}

/// Appends a member to the object that begins in `text`.
fn push_member(text: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    text.push(if text.is_empty() { b'{' } else { b',' });
    text.extend_from_slice(key);
    text.push(b':');
    text.extend_from_slice(value);
}

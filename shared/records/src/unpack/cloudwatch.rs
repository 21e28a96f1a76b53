//! A CloudWatch Logs subscription's envelope -> its log events.
//!
//! In: a JSON object (AWS: "Amazon CloudWatch Logs User Guide", "Subscription filters with Amazon Data Firehose"). Out: an
//! object for each log event with its own members, then `owner`, `log_group` and `log_stream`; `extractedFields` is called
//! `extracted_fields`. Of the envelope's other members (`messageType`, `subscriptionFilters`, `policyLevel`) nothing is
//! kept. Where the fields of messages are wanted, a message that is a JSON object is the event, and the other members are
//! beside its own. Refused: what is no such envelope; it is an event itself.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Piece, Take, elements};
use crate::members::{push_member, put_beside};
use crate::scan;

const MESSAGE: &[u8] = b"\"message\"";

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

    /// How many bytes of the envelope are beside all of its events.
    pub(super) fn beside_bytes(&self) -> usize {
        let beside = [self.owner, self.log_group, self.log_stream].map(|value| value.get().len());
        let events = elements(self.log_events.get().as_bytes()).count();
        events.saturating_mul(beside.into_iter().sum())
    }

    /// Hands over the log events. `log_fields`: with the fields of messages.
    pub(super) fn events<E>(&self, log_fields: bool, take: &mut Take<'_, E>) -> Result<(), E> {
        let mut events = elements(self.log_events.get().as_bytes()).flatten().peekable();
        if self.message_type.get() == "\"CONTROL_MESSAGE\"" || events.peek().is_none() {
            return take(Piece::Dropped);
        }
        let beside = [
            (&b"\"owner\""[..], self.owner.get().as_bytes()),
            (b"\"log_group\"", self.log_group.get().as_bytes()),
            (b"\"log_stream\"", self.log_stream.get().as_bytes()),
        ];
        let mut text = Vec::new();
        for event in events {
            let members = scan::members(event, 0).flatten().map(|member| {
                let key = match &event[member.key] {
                    b"\"extractedFields\"" => &b"\"extracted_fields\""[..],
                    key => key,
                };
                (key, &event[member.value])
            });
            let members = members.chain(beside);
            let message = log_fields.then(|| members.clone().find_map(message_object)).flatten();
            match message {
                Some(message) => {
                    put_beside(&message, members.filter(|(key, _)| *key != MESSAGE), &mut text);
                }
                None => {
                    text.clear();
                    text.push(b'{');
                    members.for_each(|(key, value)| push_member(&mut text, key, value));
                    text.push(b'}');
                }
            }
            take(Piece::Event(&text))?;
        }
        Ok(())
    }
}

/// The object that is the text of a member `message`.
fn message_object((key, value): (&[u8], &[u8])) -> Option<Vec<u8>> {
    let message: String = (key == MESSAGE).then(|| serde_json::from_slice(value).ok()).flatten()?;
    let object = message.trim_ascii();
    let is_object =
        object.starts_with('{') && scan::value_end(object.as_bytes(), 0).is_ok_and(|end| end == object.len());
    is_object.then(|| object.as_bytes().to_vec())
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

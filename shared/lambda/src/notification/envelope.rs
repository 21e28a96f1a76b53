//! The wrappings and wire types of S3's object notifications.
//!
//! In: the JSON of one message. Out: the objects created, and the names of other events. Refused: a text of
//! no known shape, and a key that does not decode.

use std::borrow::Cow;

use chrono::DateTime;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{NotificationError, ObjectRef};
use crate::json;

/// Reads one event, or the events inside an SNS envelope.
pub(super) fn collect(
    json: &str,
    depth: usize,
    objects: &mut Vec<ObjectRef>,
    ignored: &mut Vec<String>,
) -> Result<(), NotificationError> {
    // S3 in SNS in SNS is as deep as anyone can wire it; the limit keeps a made-up message from recursing.
    const MAX_DEPTH: usize = 3;
    let unknown = || {
        NotificationError(format!(
            "not an object notification: expected an S3 event, SQS messages, an SNS notification or an \
             EventBridge event of S3 ({})",
            json::found(json)
        ))
    };
    let Some(members) = json::members(json) else { return Err(unknown()) };
    let text = |key: &str| members.get(key).map(|value| json::content(value)).unwrap_or_default();

    if let Some(records) = members.get("Records") {
        let records: Vec<Record> = parse(records.get(), "S3 or SNS event")?;
        for record in &records {
            match record {
                Record { s3: Some(s3), .. } => {
                    let event_time = record.event_time.as_deref();
                    add_s3(s3, record.event_name.as_deref(), event_time, objects, ignored)?;
                }
                Record { sns: Some(sns), .. } if depth < MAX_DEPTH => {
                    collect(&sns.message, depth + 1, objects, ignored)?;
                }
                _ => {
                    return Err(NotificationError(format!(
                        "not an object notification: a record without \"s3\" or \"Sns\" (event source: {})",
                        record.event_source.as_deref().unwrap_or("none")
                    )));
                }
            }
        }
        return Ok(());
    }
    if text("Event") == "s3:TestEvent" {
        ignored.push("s3:TestEvent".to_owned());
        return Ok(());
    }
    if text("Type") == "Notification" && members.contains_key("Message") && depth < MAX_DEPTH {
        return collect(&text("Message"), depth + 1, objects, ignored);
    }
    let detail_type = text("detail-type");
    if detail_type == OBJECT_CREATED || text("source") == "aws.s3" {
        add_event_bridge(&parse(json, "EventBridge event")?, objects, ignored);
        return Ok(());
    }
    Err(unknown())
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str, kind: &str) -> Result<T, NotificationError> {
    serde_json::from_str(json)
        .map_err(|error| NotificationError(format!("{kind}: {}", json::in_words(&error))))
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventSource", alias = "EventSource")]
    event_source: Option<String>,
    #[serde(rename = "eventName")]
    event_name: Option<String>,
    #[serde(rename = "eventTime")]
    event_time: Option<String>,
    s3: Option<S3Entity>,
    #[serde(rename = "Sns")]
    sns: Option<SnsMessage>,
}

#[derive(Deserialize)]
struct SnsMessage {
    #[serde(rename = "Message")]
    message: String,
}

/// An EventBridge event. `aws_lambda_events` has a type for it that refuses an event for its `time`, which only a metric
/// needs.
#[derive(Deserialize)]
struct EventBridgeEvent {
    #[serde(rename = "detail-type")]
    detail_type: String,
    time: Option<String>,
    detail: S3Entity,
}

/// What an S3 event has under `s3`, and an EventBridge event under `detail`.
#[derive(Deserialize)]
struct S3Entity {
    bucket: Bucket,
    object: S3Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

/// The object of an S3 event or of an EventBridge event, whose names differ in spelling only.
#[derive(Deserialize)]
struct S3Object {
    key: String,
    size: Option<u64>,
    #[serde(rename = "eTag", alias = "etag")]
    etag: Option<String>,
    #[serde(rename = "versionId", alias = "version-id")]
    version_id: Option<String>,
    sequencer: Option<String>,
}

const OBJECT_CREATED: &str = "Object Created";

fn add_s3(
    s3: &S3Entity,
    event_name: Option<&str>,
    event_time: Option<&str>,
    objects: &mut Vec<ObjectRef>,
    ignored: &mut Vec<String>,
) -> Result<(), NotificationError> {
    let event_name = event_name.unwrap_or("an event without a name");
    // Some S3-compatible stores keep the prefix that the notification's configuration has.
    if !event_name.trim_start_matches("s3:").starts_with("ObjectCreated:") {
        ignored.push(format!("{event_name} {}", s3.object.key));
        return Ok(());
    }
    let key = decode_key(&s3.object.key)?;
    objects.push(object_ref(s3, key, event_time.and_then(millis)));
    Ok(())
}

fn add_event_bridge(event: &EventBridgeEvent, objects: &mut Vec<ObjectRef>, ignored: &mut Vec<String>) {
    let key = &event.detail.object.key;
    if event.detail_type == OBJECT_CREATED {
        objects.push(object_ref(&event.detail, key.clone(), event.time.as_deref().and_then(millis)));
    } else {
        ignored.push(format!("{} {key}", event.detail_type));
    }
}

/// A time as AWS writes it (RFC 3339), in milliseconds since 1970.
fn millis(time: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(time).ok().map(|time| time.timestamp_millis())
}

fn object_ref(s3: &S3Entity, key: String, event_time_millis: Option<i64>) -> ObjectRef {
    let present = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    ObjectRef {
        bucket: s3.bucket.name.clone(),
        key,
        size: s3.object.size,
        etag: present(&s3.object.etag),
        version_id: present(&s3.object.version_id),
        sequencer: present(&s3.object.sequencer),
        event_time_millis,
    }
}

/// Undoes S3's form-url-encoding of keys: `+` is a space, `%XX` a byte.
fn decode_key(encoded: &str) -> Result<String, NotificationError> {
    let wrong =
        |what: &str| NotificationError(format!("S3 event: the key {encoded:?} is not url-encoded: {what}"));
    // The library passes such a % on as it is, which would be the key of another object.
    let is_escape =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if !encoded.split('%').skip(1).all(is_escape) {
        return Err(wrong("% stands without two hexadecimal digits"));
    }
    let spaced = encoded.replace('+', " ");
    let key = percent_decode_str(&spaced).decode_utf8();
    key.map(Cow::into_owned).map_err(|_| wrong("it does not decode to UTF-8"))
}

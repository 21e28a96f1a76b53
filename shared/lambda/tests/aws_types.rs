//! The samples under `events/`, read by AWS's own types (`aws_lambda_events`) and by ours: both find the same in them,
//! and what AWS's types refuse is what docs/decisions/0002 says.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aws_lambda_events::eventbridge::EventBridgeEvent;
use aws_lambda_events::firehose::KinesisFirehoseEvent;
use aws_lambda_events::s3::S3Event;
use aws_lambda_events::sns::SnsMessage;
use aws_lambda_events::sqs::SqsEvent;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda::notification::{Notification, ObjectRef, Source};
use serde::Deserialize;
use serde_json::Value;

/// The events by the name of their file, without its ending.
fn samples() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .filter(|(name, _)| name != "expected")
        .collect()
}

/// What AWS's types find: the id of each message (none for an event without a queue), and `bucket/key` of its objects.
type Found = Vec<(Option<String>, Vec<String>)>;

/// The objects of one S3 or EventBridge event, or of an SNS envelope around one; none if it is no notification.
fn objects(json: &str) -> Vec<String> {
    if let Ok(event) = serde_json::from_str::<S3Event>(json) {
        let decoded = |key: &str| {
            let pairs = format!("key={}", key.replace('=', "%3D").replace('&', "%26"));
            form_urlencoded::parse(pairs.as_bytes()).next().unwrap().1.into_owned()
        };
        let s3 = event.records.into_iter().map(|record| record.s3);
        return s3
            .map(|s3| format!("{}/{}", s3.bucket.name.unwrap(), decoded(&s3.object.key.unwrap())))
            .collect();
    }
    if let Ok(event) = serde_json::from_str::<EventBridgeEvent>(json) {
        let text = |pointer| event.detail.pointer(pointer).and_then(Value::as_str).unwrap();
        return vec![format!("{}/{}", text("/bucket/name"), text("/object/key"))];
    }
    serde_json::from_str::<SnsMessage>(json).map(|envelope| objects(&envelope.message)).unwrap_or_default()
}

fn by_aws_types(json: &str) -> Found {
    match serde_json::from_str::<SqsEvent>(json) {
        Ok(event) if event.records.iter().any(|message| message.message_id.is_some()) => {
            let messages = event.records.into_iter();
            messages.map(|message| (message.message_id, objects(&message.body.unwrap()))).collect()
        }
        _ => vec![(None, objects(json))],
    }
}

fn by_ours(notification: Notification) -> Found {
    let place = |object: &ObjectRef| format!("{}/{}", object.bucket, object.key);
    let deliveries = notification.deliveries.into_iter();
    deliveries
        .map(|delivery| (delivery.message_id, delivery.objects.iter().flatten().map(place).collect()))
        .collect()
}

#[test]
fn notifications_say_the_same() {
    let mut objects = 0;
    for (name, json) in samples().into_iter().filter(|(name, _)| !name.contains("firehose") && name != "msk")
    {
        let ours = Notification::parse(&json).unwrap();
        assert_eq!(ours.source == Source::Sqs, name.starts_with("sqs"), "{name}");
        let ours = by_ours(ours);
        objects += ours.iter().map(|(_, objects)| objects.len()).sum::<usize>();
        assert_eq!(by_aws_types(&json), ours, "{name}");
    }
    assert!(objects > 20, "{objects} objects in all samples");
}

#[test]
fn firehose_records_say_the_same() {
    let mut refused = Vec::new();
    for (name, json) in samples().into_iter().filter(|(name, _)| name.starts_with("firehose")) {
        let ours = lambda::firehose::Event::parse(&json).unwrap();
        let theirs = match serde_json::from_str::<KinesisFirehoseEvent>(&json) {
            Ok(event) => event,
            Err(error) => {
                refused.push(format!("{name}: {}", error.to_string().split(" at line").next().unwrap()));
                continue;
            }
        };
        assert_eq!(theirs.delivery_stream_arn.as_deref(), Some(ours.delivery_stream()), "{name}");
        assert_eq!(theirs.source_kinesis_stream_arn.as_deref(), ours.kinesis_stream(), "{name}");
        assert_eq!(theirs.records.len(), ours.records.len(), "{name}");
        for (theirs, ours) in theirs.records.iter().zip(&ours.records) {
            assert_eq!(theirs.record_id.as_deref(), Some(ours.record_id()), "{name}");
            assert_eq!(theirs.data.0, STANDARD.decode(ours.data_base64().unwrap()).unwrap(), "{name}");
        }
    }
    // Each for one record of several, which are answered one by one with our types.
    assert_eq!(
        refused,
        [
            "firehose-bad-records: Invalid symbol 42, offset 16.",
            "firehose-kinesis: invalid type: string \"0\", expected i64",
            "firehose-msk: missing field `data`",
        ]
    );
}

/// Why `S3Event` cannot take the place of ours.
#[test]
fn s3_event_refuses_the_test_event() {
    #[derive(Deserialize)]
    struct Sent {
        #[serde(rename = "Event")]
        event: String,
    }
    let samples = samples();
    let test_event = &samples["s3-test-event"];
    assert_eq!(serde_json::from_str::<Sent>(test_event).unwrap().event, "s3:TestEvent");
    assert!(serde_json::from_str::<S3Event>(test_event).is_err());
}

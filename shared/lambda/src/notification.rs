//! What S3 tells about new objects, by whichever way it comes.
//!
//! In: the JSON of an invocation: an S3 event, an SNS event, an EventBridge event, or SQS messages whose
//! bodies hold one of these or an SNS envelope around them. Out: the objects to append, per message, so that
//! each message can be acknowledged alone. Events other than the creation of an object are set aside by name.
//! Refused: an invocation of no known shape as a whole; a message that cannot be read alone, its neighbours
//! go through.
//!
//! AWS: "Event message structure" and "EventBridge event message structure" (Amazon S3), "Using Lambda with
//! Amazon SQS", "Amazon SNS message and JSON formats".

mod envelope;

pub use aws_lambda_events::sqs::SqsBatchResponse;
use aws_lambda_events::sqs::SqsMessage;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// The object notifications of one invocation.
#[derive(Debug, PartialEq, Eq)]
pub struct Notification {
    /// Who invoked the function.
    pub source: Source,
    /// The messages, in order.
    pub deliveries: Vec<Delivery>,
}

/// Who invoked the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An SQS event source, which takes an [`SqsBatchResponse`].
    Sqs,
    /// S3, SNS, EventBridge or a person: a failure is reported by failing the invocation.
    Direct,
}

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub struct Delivery {
    /// SQS's `messageId`, if the message has one.
    pub message_id: Option<String>,
    /// The objects that were created, or why the message cannot be read and what to do about it.
    pub objects: Result<Vec<ObjectRef>, String>,
    /// What the message tells besides: `s3:TestEvent`, `ObjectRemoved:Delete key`.
    pub ignored: Vec<String>,
}

/// An object that was created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectRef {
    /// The bucket's name.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// Size in bytes.
    pub size: Option<u64>,
    /// ETag, without quotes.
    pub etag: Option<String>,
    /// The version, in a bucket with versioning.
    pub version_id: Option<String>,
    /// Orders the events of one key: hexadecimal, to be padded with zeros on the left and compared as text.
    pub sequencer: Option<String>,
    /// When S3 finished the request, in milliseconds since the Unix epoch.
    pub event_time_millis: Option<i64>,
}

/// An invocation or a message of no known shape, or with a part that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotificationError(String);

impl Delivery {
    /// What tells SQS in an [`SqsBatchResponse`] to deliver the message again. It is empty if the message has no
    /// id: Lambda then delivers the whole batch again (AWS: "Implementing partial batch responses"), which does no harm
    /// to objects that are in the table.
    pub fn item_identifier(&self) -> &str {
        self.message_id.as_deref().unwrap_or_default()
    }
}

impl Notification {
    /// Reads an invocation.
    ///
    /// # Errors
    /// A [`NotificationError`] that names the shapes accepted and what was found, if the invocation
    /// as a whole is no notification. An SQS message that cannot be read is an error in its [`Delivery`]
    /// only.
    pub fn parse(json: &str) -> Result<Self, NotificationError> {
        let messages = sqs_messages(json);
        if messages.is_empty() {
            return Ok(Self { source: Source::Direct, deliveries: vec![read(None, json)?] });
        }
        Ok(Self { source: Source::Sqs, deliveries: messages.into_iter().map(read_message).collect() })
    }
}

/// The JSON of each message of an SQS event; none if `json` is another event.
///
/// The crate's `SqsEvent` would parse them all at once, and one message with a field of an unexpected type would hold
/// up its neighbours. Each message is parsed by itself instead.
fn sqs_messages(json: &str) -> Vec<&str> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "Records", borrow)]
        records: Vec<&'a RawValue>,
    }

    let records = serde_json::from_str::<Event<'_>>(json).map(|event| event.records).unwrap_or_default();
    let is_message = |record: &&RawValue| {
        json::members(record.get()).is_some_and(|members| {
            members.contains_key("messageId")
                || members.get("eventSource").is_some_and(|source| json::content(source) == "aws:sqs")
        })
    };
    if records.iter().any(is_message) { records.into_iter().map(RawValue::get).collect() } else { Vec::new() }
}

fn read_message(json: &str) -> Delivery {
    let (message_id, body) = match serde_json::from_str::<SqsMessage>(json) {
        Ok(message) => {
            (message.message_id, message.body.ok_or_else(|| "SQS message: it has no body".to_owned()))
        }
        Err(error) => {
            let message_id = json::members(json)
                .and_then(|members| serde_json::from_str(members.get("messageId")?.get()).ok());
            (message_id, Err(format!("SQS message: {}", json::in_words(&error))))
        }
    };
    body.and_then(|body| read(message_id.clone(), &body).map_err(|error| error.to_string())).unwrap_or_else(
        |why| {
            let objects = Err(format!("{why}; correct what sends to the queue, or delete the message"));
            Delivery { message_id, objects, ignored: Vec::new() }
        },
    )
}

fn read(message_id: Option<String>, json: &str) -> Result<Delivery, NotificationError> {
    let mut objects = Vec::new();
    let mut ignored = Vec::new();
    envelope::collect(json, 0, &mut objects, &mut ignored)?;
    Ok(Delivery { message_id, objects: Ok(objects), ignored })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const OBJECT_CREATED: &str = "Object Created";

    fn s3_record(event_name: &str, key: &str) -> serde_json::Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-01-02T03:04:05.678Z", "eventName": event_name,
            "userIdentity": {"principalId": "p"}, "requestParameters": {"sourceIPAddress": "127.0.0.1"},
            "s3": {
                "s3SchemaVersion": "1.0", "configurationId": "c",
                "bucket": {"name": "raw", "ownerIdentity": {"principalId": "p"}, "arn": "arn:aws:s3:::raw"},
                "object": {"key": key, "size": 1024, "eTag": "d41d8cd9", "versionId": "v1",
                    "sequencer": "0055AED6DCD90281E5"}
            }
        })
    }

    fn s3_event(keys: &[&str]) -> String {
        let records: Vec<_> = keys.iter().map(|key| s3_record("ObjectCreated:Put", key)).collect();
        json!({ "Records": records }).to_string()
    }

    fn event_bridge(detail_type: &str, key: &str) -> String {
        json!({
            "version": "0", "id": "17793124", "detail-type": detail_type, "source": "aws.s3", "account": "1",
            "time": "2026-01-02T03:04:05Z", "region": "ca-central-1", "resources": ["arn:aws:s3:::raw"],
            "detail": {
                "version": "0", "bucket": {"name": "raw"},
                "object": {"key": key, "size": 5, "etag": "b1946ac9", "version-id": "IYV3p45",
                    "sequencer": "00617F08299329D189"},
                "request-id": "N4N7", "reason": "PutObject"
            }
        })
        .to_string()
    }

    fn sns_envelope(message: &str) -> String {
        json!({"Type": "Notification", "MessageId": "m", "TopicArn": "arn:t", "Message": message}).to_string()
    }

    fn sqs(bodies: &[&str]) -> String {
        let records: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| {
                json!({"messageId": format!("m{index}"), "receiptHandle": "r", "body": body,
                    "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {},
                    "eventSource": "aws:sqs", "eventSourceARN": "arn:q"})
            })
            .collect();
        json!({ "Records": records }).to_string()
    }

    fn object(key: &str) -> ObjectRef {
        ObjectRef {
            bucket: "raw".into(),
            key: key.into(),
            size: Some(1024),
            etag: Some("d41d8cd9".into()),
            version_id: Some("v1".into()),
            sequencer: Some("0055AED6DCD90281E5".into()),
            event_time_millis: Some(1_767_323_045_678),
        }
    }

    fn keys(delivery: &Delivery) -> Vec<&str> {
        delivery.objects.as_ref().unwrap().iter().map(|object| object.key.as_str()).collect()
    }

    /// The one delivery of an event that S3, SNS or EventBridge sent itself.
    fn direct(json: &str) -> Delivery {
        let mut notification = Notification::parse(json).unwrap();
        assert_eq!((notification.source, notification.deliveries.len()), (Source::Direct, 1));
        notification.deliveries.remove(0)
    }

    fn refused(json: &str) -> String {
        Notification::parse(json).unwrap_err().to_string()
    }

    #[test]
    fn a_bare_s3_event() {
        let delivery = direct(&s3_event(&["a.gz", "b.gz"]));
        assert_eq!(delivery.message_id, None);
        assert_eq!(delivery.objects, Ok(vec![object("a.gz"), object("b.gz")]));
        assert!(delivery.ignored.is_empty());
    }

    #[test]
    fn sqs_messages_around_every_other_shape() {
        let bare_sns = json!({"Records": [{"EventSource": "aws:sns", "EventVersion": "1.0",
            "Sns": {"Type": "Notification", "Message": s3_event(&["c"])}}]});
        let notification = Notification::parse(&sqs(&[
            &s3_event(&["a"]),
            &sns_envelope(&s3_event(&["b"])),
            &bare_sns.to_string(),
            &event_bridge(OBJECT_CREATED, "d"),
            &sns_envelope(&event_bridge(OBJECT_CREATED, "e")),
        ]))
        .unwrap();
        assert_eq!(notification.source, Source::Sqs);
        let ids: Vec<_> =
            notification.deliveries.iter().map(|delivery| delivery.message_id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["m0", "m1", "m2", "m3", "m4"]);
        let found: Vec<_> = notification.deliveries.iter().flat_map(keys).collect();
        assert_eq!(found, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn bare_sns_and_its_envelope() {
        let event = json!({"Records": [
            {"EventSource": "aws:sns", "Sns": {"Message": s3_event(&["a"])}},
            {"EventSource": "aws:sns", "Sns": {"Message": s3_event(&["b"])}},
        ]});
        assert_eq!(keys(&direct(&event.to_string())), ["a", "b"]);
        assert_eq!(keys(&direct(&sns_envelope(&s3_event(&["a"])))), ["a"]);
    }

    #[test]
    fn an_event_bridge_event_has_its_key_as_it_is() {
        let delivery = direct(&event_bridge(OBJECT_CREATED, "a+b%20c"));
        assert_eq!(
            delivery.objects,
            Ok(vec![ObjectRef {
                bucket: "raw".into(),
                key: "a+b%20c".into(),
                size: Some(5),
                etag: Some("b1946ac9".into()),
                version_id: Some("IYV3p45".into()),
                sequencer: Some("00617F08299329D189".into()),
                event_time_millis: Some(1_767_323_045_000),
            }])
        );
    }

    #[test]
    fn what_creates_no_object_is_set_aside_by_name() {
        let test_event = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"raw","RequestId":"r"}"#;
        let delivery = direct(test_event);
        assert_eq!((keys(&delivery), delivery.ignored.clone()), (vec![], vec!["s3:TestEvent".to_owned()]));
        let removal = json!({"Records": [
            s3_record("ObjectRemoved:Delete", "x"),
            s3_record("s3:ObjectCreated:Copy", "y"),
        ]});
        let delivery = direct(&removal.to_string());
        assert_eq!(
            (keys(&delivery), delivery.ignored.clone()),
            (vec!["y"], vec!["ObjectRemoved:Delete x".to_owned()])
        );
        assert_eq!(direct(&event_bridge("Object Deleted", "z")).ignored, ["Object Deleted z"]);
        let queue = Notification::parse(&sqs(&[test_event, &s3_event(&["a"])])).unwrap();
        assert_eq!(queue.deliveries[0].ignored, ["s3:TestEvent"]);
        assert_eq!(keys(&queue.deliveries[1]), ["a"]);
    }

    #[test]
    fn keys_are_decoded() {
        for (encoded, key) in [
            ("2026/01/02/a.gz", "2026/01/02/a.gz"),
            ("my+file%2B1.json", "my file+1.json"),
            ("caf%C3%A9/%25", "café/%"),
            ("%e2%82%ac", "€"),
        ] {
            assert_eq!(keys(&direct(&s3_event(&[encoded]))), [key]);
        }
    }

    #[test]
    fn an_undecodable_key_fails_its_message_alone() {
        for (encoded, why) in [
            ("50%", "% stands without two hexadecimal digits"),
            ("a%2", "% stands without two hexadecimal digits"),
            ("a%zz", "% stands without two hexadecimal digits"),
            ("%ff", "it does not decode to UTF-8"),
        ] {
            let queue = Notification::parse(&sqs(&[
                &s3_event(&["a"]),
                &s3_event(&["b", encoded]),
                &s3_event(&["c"]),
            ]))
            .unwrap();
            assert_eq!(keys(&queue.deliveries[0]), ["a"]);
            assert_eq!(keys(&queue.deliveries[2]), ["c"]);
            assert_eq!(
                queue.deliveries[1].objects.as_ref().unwrap_err(),
                &format!(
                    "S3 event: the key {encoded:?} is not url-encoded: {why}; \
                     correct what sends to the queue, or delete the message"
                )
            );
        }
    }

    #[test]
    fn an_unreadable_body_harms_no_neighbour() {
        for body in [
            "",
            "hello",
            "[]",
            "{\"a\":1}",
            "{\"Records\":[{}]}",
            "{\"Records\":5}",
            "{\"Type\":\"Notification\"}",
        ] {
            let queue = Notification::parse(&sqs(&[body, &s3_event(&["a"])])).unwrap();
            let why = queue.deliveries[0].objects.as_ref().unwrap_err();
            assert!(why.ends_with("; correct what sends to the queue, or delete the message"), "{why}");
            assert_eq!(queue.deliveries[0].message_id.as_deref(), Some("m0"));
            assert_eq!(keys(&queue.deliveries[1]), ["a"]);
        }
    }

    #[test]
    fn other_invocations_are_refused_with_what_was_found() {
        let expected = "not an object notification: expected an S3 event, SQS messages, an SNS notification \
             or an EventBridge event of S3";
        assert_eq!(refused(r#"{"b":1,"a":2}"#), format!("{expected} (found keys: a, b)"));
        assert_eq!(refused("[]"), format!("{expected} (found an array)"));
        assert_eq!(
            refused(r#"{"detail-type":"Scheduled Event","source":"aws.events"}"#),
            format!("{expected} (found keys: detail-type, source)")
        );
        assert_eq!(
            refused(r#"{"Records":[{"eventSource":"aws:kinesis","kinesis":{}}]}"#),
            "not an object notification: a record without \"s3\" or \"Sns\" (event source: aws:kinesis)"
        );
        assert_eq!(
            refused(r#"{"Records":[{"s3":{"bucket":{"name":"b"},"object":{}}}]}"#),
            "S3 or SNS event: missing field `key` at line 1 column 41"
        );
    }

    #[test]
    fn envelopes_do_not_nest_for_ever() {
        let mut json = s3_event(&["a"]);
        for _ in 0..3 {
            json = sns_envelope(&json);
        }
        assert_eq!(keys(&direct(&json)), ["a"]);
        assert!(refused(&sns_envelope(&json)).starts_with("not an object notification"));
    }

    #[test]
    fn absent_parts_are_none() {
        let event = r#"{"Records":[{"eventName":"ObjectCreated:Put","eventTime":"yesterday",
            "s3":{"bucket":{"name":"b"},"object":{"key":"k","versionId":""}}}]}"#;
        let expected = ObjectRef { bucket: "b".into(), key: "k".into(), ..ObjectRef::default() };
        assert_eq!(direct(event).objects, Ok(vec![expected]));
        assert_eq!(keys(&direct(r#"{"Records":[]}"#)), [""; 0]);
    }

    #[test]
    fn a_message_that_differs_from_aws_s_documentation_harms_no_neighbour() {
        let odd = |fields: serde_json::Value| {
            let mut event: serde_json::Value =
                serde_json::from_str(&sqs(&["{}", &s3_event(&["a"])])).unwrap();
            event["Records"][0] = fields;
            let queue = Notification::parse(&event.to_string()).unwrap();
            assert_eq!(queue.source, Source::Sqs);
            assert_eq!(keys(&queue.deliveries[1]), ["a"]);
            let Delivery { message_id, objects, .. } = &queue.deliveries[0];
            let read = match objects {
                Ok(objects) => objects.iter().map(|object| object.key.as_str()).collect(),
                Err(why) => why.split(';').next().unwrap().to_owned(),
            };
            (message_id.as_deref().unwrap_or("none").to_owned(), read)
        };
        let body = s3_event(&["b"]);
        let no_body = "SQS message: it has no body";
        for (message, id, read) in [
            (json!({"messageId": "m", "body": body}), "m", "b"),
            (json!({"eventSource": "aws:sqs", "body": body}), "none", "b"),
            (json!({"messageId": null, "body": body}), "none", "b"),
            (
                json!({"messageId": "m", "body": body, "attributes": null, "messageAttributes": null}),
                "m",
                "b",
            ),
            (json!({"messageId": "m"}), "m", no_body),
            (json!({"messageId": "m", "body": null}), "m", no_body),
            (json!({}), "none", no_body),
            (
                json!({"messageId": "m", "body": {"Records": []}}),
                "m",
                "SQS message: invalid type: map, expected a string at line 1 column 8",
            ),
            (
                json!({"attributes": {"ApproximateReceiveCount": 1}, "body": body, "messageId": "m"}),
                "m",
                "SQS message: invalid type: integer `1`, expected a string at line 1 column 42",
            ),
            (
                json!(5),
                "none",
                "SQS message: invalid type: integer `5`, expected struct SqsMessage at line 1 column 1",
            ),
        ] {
            assert_eq!(odd(message.clone()), (id.to_owned(), read.to_owned()), "{message}");
        }
    }

    #[test]
    fn an_event_bridge_event_that_differs_from_aws_s_documentation_fails_alone() {
        let mut event: serde_json::Value = serde_json::from_str(&event_bridge(OBJECT_CREATED, "a")).unwrap();
        for absent in ["version", "id", "account", "time", "region", "resources"] {
            event.as_object_mut().unwrap().remove(absent);
        }
        assert_eq!(keys(&direct(&event.to_string())), ["a"]);
        // Only a metric needs the time.
        event["time"] = json!("yesterday");
        assert_eq!(keys(&direct(&event.to_string())), ["a"]);
        event["detail"] = json!("nothing");
        let queue = Notification::parse(&sqs(&[&event.to_string(), &s3_event(&["b"])])).unwrap();
        let why = queue.deliveries[0].objects.as_ref().unwrap_err();
        assert!(why.starts_with("EventBridge event: "), "{why}");
        assert_eq!(keys(&queue.deliveries[1]), ["b"]);
    }

    #[test]
    fn a_message_without_an_id_has_the_batch_delivered_again() {
        let event =
            json!({"Records": [{"eventSource": "aws:sqs", "body": "hello"}, {"messageId": "m", "body": ""}]});
        let queue = Notification::parse(&event.to_string()).unwrap();
        let mut response = SqsBatchResponse::default();
        response.set_failures(queue.deliveries.iter().map(Delivery::item_identifier));
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":""},{"itemIdentifier":"m"}]}"#
        );
        assert_eq!(
            serde_json::to_string(&SqsBatchResponse::default()).unwrap(),
            r#"{"batchItemFailures":[]}"#
        );
    }
}

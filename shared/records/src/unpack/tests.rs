use std::io::Write as _;

use md5::{Digest as _, Md5};
use uuid::Uuid;

use super::*;
use crate::enrich::Stamp;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// An aggregate as the library writes it: one partition key, which every user record has.
fn aggregate(records: &[&[u8]]) -> Vec<u8> {
    let mut message = b"\x0A\x01k".to_vec();
    for data in records {
        message.extend([0x1A, data.len() as u8 + 4, 0x08, 0, 0x1A, data.len() as u8]);
        message.extend_from_slice(data);
    }
    [kpl::MAGIC, &message, &Md5::digest(&message)].concat()
}

/// Each piece: the event's text, `dropped`, or the code of the refusal.
fn pieces(record: &[u8]) -> Vec<String> {
    pieces_by(&Options::default(), record)
}

fn pieces_by(options: &Options, record: &[u8]) -> Vec<String> {
    let mut pieces = Vec::new();
    let taken = Unpacker::new(1 << 16, options).unpack(record, &mut |piece| {
        pieces.push(match piece {
            Piece::Event(text) => String::from_utf8_lossy(text).into_owned(),
            Piece::Refused(_, refusal) => refusal.reason.code().to_owned(),
            Piece::Dropped => "dropped".to_owned(),
        });
        Ok::<_, ()>(())
    });
    taken.unwrap();
    pieces
}

fn enriched(record: &[u8], max_bytes: usize) -> Result<(usize, String), Refusal> {
    let mut out = b"before".to_vec();
    let result = Unpacker::new(max_bytes, &Options::default()).enrich(
        record,
        Uuid::from_u128(1),
        &Stamp::default(),
        &mut out,
    );
    let text = String::from_utf8(out).unwrap();
    assert!(result.is_ok() || text == "before");
    result.map(|events| (events, text["before".len()..].to_owned()))
}

#[test]
fn values_of_a_record_are_events_one_by_one() {
    for record in
        ["{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}{\"a\":2}", "[{\"a\":1}, {\"a\":2}]", "[{\"a\":1}]{\"a\":2}"]
    {
        assert_eq!(pieces(record.as_bytes()), ["{\"a\":1}", "{\"a\":2}"], "{record}");
        assert_eq!(pieces(&gzip(record.as_bytes())), ["{\"a\":1}", "{\"a\":2}"], "{record}");
    }
    assert_eq!(pieces(b"[]"), ["dropped"]);
    assert_eq!(pieces(b"[1,{}]"), ["[1,{}]"]);
    assert_eq!(pieces(b"[{},[{}],2]"), ["{}", "[{}]", "2"]);
    assert_eq!(pieces(b"{}\nno\n{}"), ["{}", "invalid_json", "{}"]);
}

#[test]
fn gzip_is_unpacked_as_far_as_there_is_room() {
    assert_eq!(pieces(&[gzip(b"{\"a\":1}"), b"\n".to_vec(), gzip(b"{}")].concat()), ["{\"a\":1}", "{}"]);
    assert_eq!(pieces(&gzip(&vec![b' '; 1 << 17])), ["decompression_limit"]);
    let whole = gzip(b"{\"a\":1}");
    assert_eq!(pieces(&whole[..whole.len() - 1]), ["corrupt_compression"]);
    assert_eq!(pieces(&[whole.clone(), b"x".to_vec()].concat()), ["corrupt_compression"]);
    let nested = (0..MAX_LAYERS).fold(b"{}".to_vec(), |content, _| gzip(&content));
    assert_eq!(pieces(&nested), ["{}"]);
    assert_eq!(pieces(&gzip(&nested)), ["nested_compression"]);
}

const ENVELOPE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"123","logGroup":"/svc/a","logStream":"s\u0031",
    "subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1772000000001,"message":"{\"n\": 1}"},
    {"id":"2","timestamp":1772000000002,"message":"text\n","extractedFields":{"level":"info"}}]}"#;

#[test]
fn a_subscription_gives_its_log_events() {
    let events = [
        r#"{"id":"1","timestamp":1772000000001,"message":"{\"n\": 1}","owner":"123","log_group":"/svc/a","log_stream":"s\u0031"}"#,
        r#"{"id":"2","timestamp":1772000000002,"message":"text\n","extracted_fields":{"level":"info"},"owner":"123","log_group":"/svc/a","log_stream":"s\u0031"}"#,
    ];
    assert_eq!(pieces(ENVELOPE.as_bytes()), events);
    assert_eq!(pieces(&gzip(ENVELOPE.as_bytes())), events);
    let control = ENVELOPE.replace("DATA_", "CONTROL_");
    assert_eq!(pieces(control.as_bytes()), ["dropped"]);
    assert_eq!(enriched(control.as_bytes(), 1 << 16).unwrap(), (0, String::new()));
    // What only looks like one is an event as it is.
    for other in [
        ENVELOPE.replace("DATA_", "OTHER_"),
        ENVELOPE.replace("\"123\"", "123"),
        ENVELOPE.replace("\"id\"", "\"no\""),
        ENVELOPE.replace("\"owner\":\"123\",", ""),
        ENVELOPE.replace("\"owner\"", "\"logGroup\""),
    ] {
        assert_eq!(pieces(other.as_bytes()), [&*other]);
    }
}

#[test]
fn an_aggregate_gives_its_user_records() {
    let two = aggregate(&[b"{\"a\":1}", b"{\"a\":2}"]);
    assert_eq!(pieces(&two), ["{\"a\":1}", "{\"a\":2}"]);
    assert_eq!(pieces(&aggregate(&[&gzip(b"{\"a\":1}"), b"{}{}"])), ["{\"a\":1}", "{}", "{}"]);
    assert_eq!(pieces(kpl::MAGIC), ["corrupt_aggregate"]);
    for at in kpl::MAGIC.len()..two.len() {
        let mut damaged = two.clone();
        damaged[at] ^= 0x40;
        assert_eq!(pieces(&damaged), ["corrupt_aggregate"], "byte {at}");
    }
    // The checksum is right, the message is not: a length goes beyond the end.
    let message = [0x1A, 9, 0];
    let short = [kpl::MAGIC, &message, &Md5::digest(message)].concat();
    assert_eq!(pieces(&short), ["corrupt_aggregate"]);
}

#[test]
fn the_header_of_a_schema_registry_comes_off_where_json_is_behind_it() {
    let framed = |content: &[u8]| [&[0, 0, 0, 0, 42], content].concat();
    assert_eq!(pieces(&framed(b"{\"a\":1}")), ["{\"a\":1}"]);
    assert_eq!(pieces(&framed(&gzip(b"{\"a\":1}"))), ["registry_format"]);
    assert_eq!(pieces(&framed(b"\x02\x06abc")), ["registry_format"]);
    assert_eq!(pieces(&gzip(&framed(b"{\"a\":1}\n{\"a\":2}"))), ["{\"a\":1}", "{\"a\":2}"]);
    let (events, text) = enriched(&framed(b"{\"a\":1}"), 1 << 16).unwrap();
    assert_eq!((events, text), enriched(b"{\"a\":1}", 1 << 16).unwrap(), "the id is the record's");
    let refusal = enriched(&framed(b"\x02\x06abc"), 1 << 16).unwrap_err();
    assert!(refusal.message.contains("Confluent's schema registry, schema 42"), "{refusal}");
    // NUL bytes are no header.
    assert_eq!(pieces(&[0; 16]), ["invalid_json"]);
}

#[test]
fn every_event_has_an_id_that_stays() {
    let (count, text) = enriched(b"{\"a\":1}{\"a\":2}{\"a\":3}", 1 << 16).unwrap();
    assert_eq!((count, text.lines().count()), (3, 3));
    // Computed with Python's uuid.uuid5.
    for (line, id) in text.lines().zip([
        "00000000-0000-0000-0000-000000000001",
        "c6ae59cd-4100-5d14-850d-f8202b722a98",
        "8ff9f83c-0bdf-58d9-be4e-b11369508e29",
    ]) {
        assert!(line.contains(&format!("\"record_id\":\"{id}\"")), "{line}");
    }
}

#[test]
fn one_bad_event_refuses_the_record_whole() {
    let refused = |record: &[u8]| {
        let refusal = enriched(record, 1 << 16).unwrap_err();
        (refusal.reason, refusal.message)
    };
    let (reason, message) = refused(b"{\"a\":1}\n{\"a\":}\n");
    assert_eq!(reason, Reason::InvalidJson);
    assert!(message.starts_with("event 2 of the record: not JSON at byte 5: found '}'"), "{message}");
    assert_eq!(refused(b"{\"a\":1}[1]").0, Reason::NotAnObject);
    assert_eq!(refused(b"{\"a\":}\n{\"a\":1}").1, "not JSON at byte 5: found '}', expected a JSON value");
    assert_eq!(refused(&gzip(b" ")).0, Reason::Empty);
    assert_eq!(refused(b"{\"a\":\"\xFF\"}{}").0, Reason::NotUtf8);
    assert_eq!(enriched(&b"{}".repeat(100), 1000).unwrap_err().reason, Reason::ResponseTooLarge);
}

/// Each piece of a record with its place among the ids: `index:a`, or the code of the refusal with its bytes.
fn each(record: &[u8]) -> Vec<String> {
    let identity = Identity { id: Uuid::from_u128(1), stamp: Stamp::default() };
    let index = |id: &str| (0..9).position(|at| id == event_id(identity.id, at).to_string()).unwrap();
    let mut pieces = Vec::new();
    let unpacker = Unpacker::new(1 << 16, &Options::default());
    let taken = unpacker.enrich_each(record, identity, &mut Vec::new(), &mut |piece| {
        pieces.push(match piece {
            Enriched::Event(text) => {
                let event: serde_json::Value = serde_json::from_slice(text).unwrap();
                format!("{}:{}", index(event["record_id"].as_str().unwrap()), event["a"])
            }
            Enriched::Refused(bytes, refusal, identity) => {
                format!(
                    "{}:{} {}",
                    index(&identity.unwrap().id.to_string()),
                    refusal.reason,
                    bytes.escape_ascii()
                )
            }
            Enriched::Dropped => "dropped".to_owned(),
        });
        Ok::<_, ()>(())
    });
    taken.unwrap();
    pieces
}

#[test]
fn one_by_one_a_bad_event_is_refused_alone_and_keeps_its_id() {
    assert_eq!(each(b" {\"a\":0}\n"), ["0:0"]);
    assert_eq!(each(b"{\"a\":0}\n{\"a\":}\n{\"a\":2}"), ["0:0", "1:invalid_json {\\\"a\\\":}", "2:2"]);
    assert_eq!(each(b"[{\"a\":0},1,{\"a\":2}][]"), ["0:0", "1:not_an_object 1", "2:2", "dropped"]);
    assert_eq!(each(&gzip(b"{\"a\":0}{\"a\":1}")), ["0:0", "1:1"]);
    // One piece, or no text: the whole of it.
    assert_eq!(each(b" {\"a\":}\n"), ["0:invalid_json  {\\\"a\\\":}\\n"]);
    assert_eq!(each(b"\xFF\n{\"a\":1}"), ["0:not_utf8 \\xff\\n{\\\"a\\\":1}"]);
    assert_eq!(each(b"{\"a\":0}\n{\"a\":\"\xFF\"}"), ["0:0", "1:not_utf8 {\\\"a\\\":\\\"\\xff\\\"}"]);
    assert_eq!(each(b" \n"), ["0:empty  \\n"]);
    assert_eq!(each(&gzip(b""))[0].split(' ').next(), Some("0:empty"));
}

fn unwrapping(path: &str) -> Options {
    Options { unwrap: Some(path.parse().unwrap()), ..Options::default() }
}

#[test]
fn an_array_in_an_envelope_gives_its_elements_with_the_fields_beside_it() {
    let one = |record: &str| pieces_by(&unwrapping("Records"), record.as_bytes());
    assert_eq!(one(r#"{"Records": [{"a":1} , {"a":2}]}"#), [r#"{"a":1}"#, r#"{"a":2}"#]);
    assert_eq!(
        one(r#"{"id":7, "Records": [{"a":1},{},{"ID":"x"},3], "t":"now"}"#),
        [
            r#"{"a":1,"id":7,"t":"now"}"#,
            r#"{"id":7,"t":"now"}"#,
            r#"{"ID":"x","envelope_id":7,"t":"now"}"#,
            "3"
        ]
    );
    assert_eq!(one(r#"{"Records": [], "t":1}"#), ["dropped"]);
    assert_eq!(one(r#"[{"Records": [{"a":1}]},{"a":2}]"#), [r#"{"a":1}"#, r#"{"a":2}"#]);
    for other in [
        r#"{"Records": 1}"#,
        r#"{"Records": [1,{}]}"#,
        r#"{"Records": {"a":1}}"#,
        r#"{"a": {"Records": [{}]}}"#,
        r#"{"records": [{}]}"#,
        r#"{"a":"\"Records\""}"#,
    ] {
        assert_eq!(one(other), [other]);
    }
    let wide = format!("{{\"Records\":[{{}}],\"wide\":\"{}\"}}", "x".repeat(1 << 16));
    assert_eq!(one(&wide), [&*wide], "what is beside comes again with every event");
}

/// A small record must not become a large one.
#[test]
fn what_is_beside_many_events_is_bounded() {
    let many = |count: usize, size: usize| {
        let (events, beside) = (vec!["{}"; count].join(","), "x".repeat(size));
        format!("{{\"Records\":[{events}],\"x\":\"{beside}\"}}")
    };
    let unwrapped = |record: String| pieces_by(&unwrapping("Records"), record.as_bytes());
    assert_eq!(unwrapped(many(1000, 1000)).len(), 1000);
    assert_eq!(unwrapped(many(2000, 1000)), ["record_too_large"]);
    let event = "{\"id\":\"\",\"timestamp\":1,\"message\":\"\"}";
    let record = ENVELOPE.replace("/svc/a", &"x".repeat(1 << 15));
    let record =
        record.replace("\"logEvents\":[", &format!("\"logEvents\":[{}", format!("{event},").repeat(40)));
    assert_eq!(pieces(record.as_bytes()), ["record_too_large"]);
}

#[test]
fn an_envelope_may_be_nested() {
    let one = |record: &str| pieces_by(&unwrapping("detail.items"), record.as_bytes());
    assert_eq!(one(r#"{"detail":{"items":[{"a":1}]}}"#), [r#"{"a":1}"#]);
    assert_eq!(
        one(r#"{"x":1,"detail":{"y":2,"items":[{"a":1}],"z":3}}"#),
        [r#"{"a":1,"x":1,"detail":{"y":2,"z":3}}"#]
    );
    assert_eq!(one(r#"{"detail":{"items":[{"a":1}]},"x":1}"#), [r#"{"a":1,"x":1}"#]);
    for other in [r#"{"detail":[{"items":[{}]}]}"#, r#"{"detail":1,"items":[{}]}"#] {
        assert_eq!(one(other), [other]);
    }
}

#[test]
fn the_fields_of_a_message_take_its_place() {
    let options = Options { log_fields: true, ..Options::default() };
    let record = ENVELOPE.replace("text\\n", "{\\\"timestamp\\\":\\\"t\\\", \\\"k\\\":[1]} \\n");
    assert_eq!(
        pieces_by(&options, record.as_bytes()),
        [
            r#"{"n": 1,"id":"1","timestamp":1772000000001,"owner":"123","log_group":"/svc/a","log_stream":"s\u0031"}"#,
            r#"{"timestamp":"t", "k":[1],"id":"2","envelope_timestamp":1772000000002,"extracted_fields":{"level":"info"},"owner":"123","log_group":"/svc/a","log_stream":"s\u0031"}"#,
        ]
    );
    // What is no object stays the message.
    for message in ["text", "[1]", "{\\\"a\\\":}", "{} {}"] {
        let record = ENVELOPE.replace("text\\n", message);
        assert_eq!(pieces_by(&options, record.as_bytes())[1], pieces(record.as_bytes())[1], "{message}");
    }
}

#[test]
fn what_json_does_not_have_is_refused_by_name_or_taken_by_choice() {
    let record = b"{\"a\":1}\n{\"a\": [NaN, -Infinity]}\n{\"a\":3}";
    assert_eq!(pieces(record), ["{\"a\":1}", "invalid_json", "{\"a\":3}"]);
    let message = enriched(record, 1 << 16).unwrap_err().message;
    assert!(message.contains("found NaN") && message.ends_with("or set FRAZIL_NAN=null"), "{message}");
    let options = Options { nan_is_null: true, ..Options::default() };
    assert_eq!(pieces_by(&options, record), ["{\"a\":1}", "{\"a\": [null, null]}", "{\"a\":3}"]);
    assert_eq!(pieces_by(&options, b"[{\"a\":NaN},{\"a\":2}]"), ["{\"a\":null}", "{\"a\":2}"]);
    assert_eq!(pieces_by(&options, b"{\"a\":NaN,}"), ["invalid_json"]);
}

#[test]
fn lines_of_text_are_refused_or_messages_by_choice() {
    // What the processor for message extraction leaves of a subscription.
    let record = b"{\"level\": \"info\"}\nINFO started\n2026-01-02 03:04:05 \"x\"\n12\n[WARN] 2\n{\"cut\":\n";
    let refused = ["invalid_json", "invalid_json", "12", "invalid_json", "invalid_json"];
    assert_eq!(pieces(record)[1..], refused);
    let options = Options { text_is_message: true, ..Options::default() };
    assert_eq!(
        pieces_by(&options, record),
        [
            "{\"level\": \"info\"}",
            "{\"message\":\"INFO started\"}",
            "{\"message\":\"2026-01-02 03:04:05 \\\"x\\\"\"}",
            "{\"message\":\"12\"}",
            "{\"message\":\"[WARN] 2\"}",
            "invalid_json"
        ]
    );
}

#[test]
fn images_are_plain_values_by_choice() {
    let options = Options { dynamodb_json: true, ..Options::default() };
    let record = br#"{"dynamodb":{"Keys":{"id":{"N":"1"}}}}{"a":{"N":"1"}}"#;
    assert_eq!(pieces_by(&options, record), [r#"{"dynamodb":{"Keys":{"id":1}}}"#, r#"{"a":{"N":"1"}}"#]);
}

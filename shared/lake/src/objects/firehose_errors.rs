//! Lines of Firehose's error objects -> records, as transform would have passed them on.
//!
//! In: an object under Firehose's error prefix, told by its key, and its lines. Out: the events of each line's record,
//! enriched.
//! These are the records that transform refused, that did not fit its response, or whose whole invocation failed (Amazon
//! Data Firehose Developer Guide, "Handle failure in data transformation"). A line has the record in base64 (`rawData`) and
//! the time of its arrival. By the documentation, and in what of it is published, it has neither `recordId` nor a position
//! in a stream, so that [`Origin::ProcessingFailed`] stands for the identity that transform would have seen. Refused: lines
//! without these two members, wrong base64, and what transform refuses of a record; its other events are good.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use records::enrich::Stamp;
use records::identity::Origin;
use records::rejection::{Reason, Refusal};
use records::unpack::{Enriched, Identity, Unpacker};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::decode::{instant, scaled};
use crate::job::SourceObject;

/// Keys that start so hold records that were taken out of the quarantine, whatever comes behind.
pub const REDRIVEN_PREFIX: &str = "redrive/";

/// What `!{firehose:error-output-type}` is in the key of an object of failed records.
const ERROR_OUTPUT_TYPE: &str = "processing-failed";

/// Whether an object of this key holds lines of failed records.
///
/// The word begins a part of the key or a value in it, as in all examples of Firehose's documentation: `processing-failed/...` (the
/// default), `result=processing-failed/...`, `.../processing-failed<stream>-1-...` (a prefix that does not end in a slash).
pub fn holds_failed_records(key: &str) -> bool {
    let value = |part| str::rsplit_once(part, '=').map_or(part, |(_, value)| value);
    !key.starts_with(REDRIVEN_PREFIX) && key.split('/').any(|part| value(part).starts_with(ERROR_OUTPUT_TYPE))
}

/// Takes the records out of the lines of one error object.
#[derive(Debug)]
pub(super) struct ErrorLines {
    bucket: String,
    key: String,
    // Used again for every line.
    raw: Vec<u8>,
    enriched: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    raw_data: Cow<'a, str>,
    /// Milliseconds since the Unix epoch, as a number or in a string.
    #[serde(borrow)]
    arrival_timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    attempt_ending_timestamp: Option<&'a RawValue>,
}

impl ErrorLines {
    /// None if `object` is no error object of Firehose.
    pub(super) fn of(object: &SourceObject) -> Option<Self> {
        holds_failed_records(&object.key).then(|| Self {
            bucket: object.bucket.clone(),
            key: object.key.clone(),
            raw: Vec::new(),
            enriched: Vec::new(),
        })
    }

    /// Hands the events in `text`, the line `line` of the object, from 1, to `take`, each enriched, and what is refused of
    /// it: of the record as far as the line has one, else the line.
    ///
    /// # Errors
    /// What `take` says.
    pub(super) fn records<E>(
        &mut self,
        text: &[u8],
        line: u64,
        unpacker: &Unpacker,
        take: &mut dyn FnMut(Enriched<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let stamp = match self.read(text) {
            Ok(stamp) => stamp,
            Err(refusal) => return take(Enriched::Refused(text, refusal, None)),
        };
        let Self { bucket, key, raw, enriched } = self;
        let id = Origin::ProcessingFailed { bucket, key, line }.record_id();
        unpacker.enrich_each(raw, Identity { id, stamp }, enriched, take)
    }

    /// Decodes the record of a line into `raw`. Gives back when it arrived.
    fn read(&mut self, text: &[u8]) -> Result<Stamp, Refusal> {
        if text.first() != Some(&b'{') {
            return Err(not_a_line("is no JSON object"));
        }
        let line: Line<'_> = serde_json::from_slice(text)
            .map_err(|error| not_a_line(&format!("has no rawData as text: {error}")))?;
        let stamp =
            [line.arrival_timestamp, line.attempt_ending_timestamp].into_iter().flatten().find_map(stamp);
        let stamp = stamp.ok_or_else(|| not_a_line("has no arrivalTimestamp in milliseconds since 1970"))?;
        self.raw.clear();
        STANDARD.decode_vec(&*line.raw_data, &mut self.raw).map_err(|error| {
            Refusal::new(Reason::InvalidBase64, format!("rawData of the line is not base64: {error}"))
        })?;
        Ok(stamp)
    }
}

fn not_a_line(what: &str) -> Refusal {
    let what =
        format!("the object's key is that of records that Firehose could not process, but the line {what}");
    Refusal::new(Reason::InvalidErrorLine, what)
}

/// The instant that AWS writes in milliseconds, and others in words.
fn stamp(value: &RawValue) -> Option<Stamp> {
    let text: Cow<'_, str> = serde_json::from_str(value.get()).unwrap_or(Cow::Borrowed(value.get()));
    let micros = scaled(&text, 3).ok().or_else(|| instant(&text).map(|nanos| nanos.div_euclid(1000)))?;
    Stamp::from_epoch_micros(i64::try_from(micros).ok()?)
}

#[cfg(test)]
mod tests {
    use records::unpack::Options;

    use super::*;
    use crate::token::Token;

    const ARRIVAL: &str = "\"arrivalTimestamp\":1767323045678";
    const STAMP: &str = "2026-01-02T03:04:05.678000Z";

    fn object(key: &str) -> SourceObject {
        let token = Token::new("raw", key, "v");
        SourceObject {
            uri: format!("s3://raw/{key}"),
            bucket: "raw".into(),
            key: key.into(),
            version_id: None,
            token,
        }
    }

    #[test]
    fn error_objects_are_told_by_firehoses_documented_prefixes() {
        for key in [
            "processing-failed/2026/01/02/03/s-1-2026-01-02-03-04-05-u",
            "errors/processing-failed/2026/01/02/s-1-u.gz",
            "myPrefix/result=processing-failed/2018/08/03/s-1-u",
            "myErrorPrefix/hour=23/processing-faileds-1-2026-01-02-03-04-05-u",
            "errors/processing-failed2018/08/27/s-1-u",
            "processing-failed",
        ] {
            assert!(holds_failed_records(key), "{key}");
        }
        for key in [
            "2026/01/02/03/s-1-2026-01-02-03-04-05-u",
            "errors/format-conversion-failed/2026/s-1-u",
            "event=payment-processing-failed/2026/s-1-u",
            "preprocessing-failed/s-1-u",
            "redrive/ns.t/errors/processing-failed/2026/s-1-u.v.jsonl",
            "",
        ] {
            assert!(!holds_failed_records(key), "{key}");
        }
        assert!(ErrorLines::of(&object("a/b")).is_none());
    }

    /// What becomes of a line: each record, or the reason with the bytes that are kept.
    fn outcomes(line: &str) -> Vec<Result<String, (Reason, String)>> {
        let object = object("processing-failed/s");
        let mut lines = ErrorLines::of(&object).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (unpacker, mut outcomes) = (Unpacker::new(1 << 16, &Options::default()), Vec::new());
        // What the line before left behind makes no difference.
        for (at, line) in
            [&format!("{{\"rawData\":\"eyJ4IjoxfQ==\",{ARRIVAL}}}"), line].into_iter().enumerate()
        {
            outcomes.clear();
            let taken = lines.records(line.as_bytes(), at as u64 + 1, &unpacker, &mut |piece| {
                outcomes.push(match piece {
                    Enriched::Event(event) => Ok(text(event)),
                    Enriched::Refused(bytes, refusal, _) => Err((refusal.reason, text(bytes))),
                    Enriched::Dropped => Ok("dropped".to_owned()),
                });
                Ok::<_, ()>(())
            });
            taken.unwrap();
        }
        outcomes
    }

    fn outcome(line: &str) -> Result<String, (Reason, String)> {
        let mut outcomes = outcomes(line);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes.remove(0)
    }

    fn line_of(record: &str, members: &str) -> String {
        format!("{{\"rawData\":\"{}\",{members}}}", STANDARD.encode(record))
    }

    #[test]
    fn a_line_gives_its_record_with_the_four_fields() {
        let id = Origin::ProcessingFailed { bucket: "raw", key: "processing-failed/s", line: 2 }.record_id();
        let enriched = format!(
            "{{\"producer_record_id\":7,\"n\": 1,\"record_id\":\"{id}\",\"ingestion_timestamp\":\"{STAMP}\",\
             \"partition_date\":\"2026-01-02\",\"partition_hour\":\"03\"}}"
        );
        let record = "{\"record_id\":7,\"n\": 1}\r\n";
        // In full, in the order of the documentation; as captured; as emulators write it; with what nobody knows yet.
        let whole = format!(
            "{{\"attemptsMade\":4,{ARRIVAL},\"errorCode\":\"Lambda.FunctionTimedOut\",\"errorMessage\":\"m\",\
             \"attemptEndingTimestamp\":1767323099999,\"rawData\":\"{}\",\"lambdaArn\":\"arn\"}}",
            STANDARD.encode(record)
        );
        for line in [
            whole,
            line_of(record, &format!("{ARRIVAL},\"lambdaARN\":\"arn\"")),
            line_of(record, "\"attemptsMade\":\"4\",\"arrivalTimestamp\":\"1767323045678\""),
            line_of(record, "\"arrivalTimestamp\":1.767323045678E12"),
            line_of(record, "\"arrivalTimestamp\":\"2026-01-02T04:04:05.678+01:00\""),
            line_of(record, "\"arrivalTimestamp\":null,\"attemptEndingTimestamp\":1767323045678"),
            line_of(record, &format!("{ARRIVAL},\"recordId\":{{\"new\":[1]}}")),
            line_of(record, ARRIVAL).replace("rawData\":\"e", "rawData\":\"\\u0065"),
        ] {
            assert_eq!(outcome(&line).as_deref(), Ok(&enriched[..]), "{line}");
        }
    }

    #[test]
    fn what_is_no_such_line_is_kept_as_it_is() {
        for line in [
            "{}",
            "[1]",
            "[\"e30=\",1,1]",
            "{\"n\":1}",
            "{\"rawData\":null,\"arrivalTimestamp\":1}",
            "{\"rawData\":\"e30=\"}",
            "{\"rawData\":\"e30=\",\"arrivalTimestamp\":\"soon\"}",
            "{\"rawData\":\"e30=\",\"arrivalTimestamp\":1767323045678000000}",
        ] {
            assert_eq!(outcome(line), Err((Reason::InvalidErrorLine, line.to_owned())), "{line}");
        }
        let line = format!("{{\"rawData\":\"no base64\",{ARRIVAL}}}");
        assert_eq!(outcome(&line), Err((Reason::InvalidBase64, line.clone())));
    }

    #[test]
    fn what_transform_refuses_is_kept_as_the_record() {
        for (record, reason) in [
            ("", Reason::Empty),
            ("[1]", Reason::NotAnObject),
            ("nope\n", Reason::InvalidJson),
            ("{\"a\":1,}", Reason::InvalidJson),
        ] {
            assert_eq!(outcome(&line_of(record, ARRIVAL)), Err((reason, record.to_owned())), "{record}");
        }
    }

    #[test]
    fn a_line_gives_each_event_of_its_record() {
        let line = line_of("{\"a\":1}\n{\"a\":}\n[{\"a\":3},4]\n[]", ARRIVAL);
        let id = Origin::ProcessingFailed { bucket: "raw", key: "processing-failed/s", line: 2 }.record_id();
        let event = |a: u8, index: usize| {
            let id = records::unpack::event_id(id, index);
            Ok(format!(
                "{{\"a\":{a},\"record_id\":\"{id}\",\"ingestion_timestamp\":\"{STAMP}\",\
                 \"partition_date\":\"2026-01-02\",\"partition_hour\":\"03\"}}"
            ))
        };
        let expected = [
            event(1, 0),
            Err((Reason::InvalidJson, "{\"a\":}".to_owned())),
            event(3, 2),
            Err((Reason::NotAnObject, "4".to_owned())),
            Ok("dropped".to_owned()),
        ];
        assert_eq!(outcomes(&line), expected);
    }
}

//! Events as Firehose writes them, read in less than half the time that serde takes.
//!
//! In: the event's JSON. Out: the event that serde would give. None for all that is written in another way, whether right or
//! wrong (escapes in strings, fractions, null, members that are new or come twice): serde reads it then, and says what is wrong.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde::Deserialize;

use super::{Event, Millis, Record};
use crate::json::Text;

pub(super) fn read(json: &str) -> Option<Event<'_>> {
    let mut reader = Reader { json, at: 0 };
    let (mut delivery_stream_arn, mut source_kinesis_stream_arn, mut source_msk_arn) = (None, None, None);
    let mut records = None;
    reader.expect(b'{')?;
    loop {
        match reader.key()? {
            "deliveryStreamArn" => once(&mut delivery_stream_arn, reader.text()?)?,
            "sourceKinesisStreamArn" => once(&mut source_kinesis_stream_arn, reader.text()?)?,
            "sourceMSKArn" => once(&mut source_msk_arn, reader.text()?)?,
            "records" => once(&mut records, reader.records()?)?,
            // Of no use here.
            "invocationId" | "region" => drop(reader.string()?),
            _ => return None,
        }
        if reader.is_last(b'}')? {
            break;
        }
    }
    reader.skip_whitespace();
    let event = Event { delivery_stream_arn, source_kinesis_stream_arn, source_msk_arn, records: records? };
    (reader.at == json.len()).then_some(event)
}

/// A member that comes twice is an error.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

struct Reader<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn records(&mut self) -> Option<Vec<Record<'a>>> {
        // As many as there are if they are of middle size.
        let mut records = Vec::with_capacity(self.json.len() / 512);
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(records);
        }
        loop {
            records.push(self.record()?);
            if self.is_last(b']')? {
                return Some(records);
            }
        }
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let (mut record_id, mut data, mut kafka_record_value) = (None, None, None);
        let mut approximate_arrival_timestamp = None;
        let (mut kinesis_record_metadata, mut msk_record_metadata) = (None, None);
        self.expect(b'{')?;
        loop {
            match self.key()? {
                "recordId" => once(&mut record_id, self.text()?)?,
                "data" => once(&mut data, self.text()?)?,
                "kafkaRecordValue" => once(&mut kafka_record_value, self.text()?)?,
                "approximateArrivalTimestamp" => once(&mut approximate_arrival_timestamp, self.millis()?)?,
                "kinesisRecordMetadata" => once(&mut kinesis_record_metadata, self.object()?)?,
                "mskRecordMetadata" => once(&mut msk_record_metadata, self.object()?)?,
                _ => return None,
            }
            if self.is_last(b'}')? {
                break;
            }
        }
        Some(Record {
            record_id: record_id?,
            data,
            kafka_record_value,
            approximate_arrival_timestamp,
            kinesis_record_metadata,
            msk_record_metadata,
        })
    }

    /// A key and its colon. It is compared with what is known, so that what it must not hold need not be looked for.
    fn key(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.json.get(self.at..)?;
        let key = rest.get(..memchr(b'"', rest.as_bytes())?)?;
        self.at += key.len() + 1;
        self.expect(b':')?;
        Some(key)
    }

    fn text(&mut self) -> Option<Text<'a>> {
        self.string().map(|text| Text(Cow::Borrowed(text)))
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let rest = self.json.get(self.at..)?;
        let end = memchr2(b'"', b'\\', rest.as_bytes())?;
        let (content, behind) = rest.split_at_checked(end)?;
        self.at += end + 1;
        let least = content.bytes().fold(u8::MAX, u8::min);
        (behind.starts_with('"') && least >= b' ').then_some(content)
    }

    /// A whole number that is not negative.
    fn millis(&mut self) -> Option<Millis<'a>> {
        self.skip_whitespace();
        let rest = self.json.get(self.at..)?.as_bytes();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let (mut count, mut millis) = (0, 0_i64);
        for digit in digits {
            count += 1;
            millis = millis.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
        }
        self.at += count;
        let is_number = count == 1 || (count > 1 && rest.first() != Some(&b'0'));
        is_number.then_some(Millis::Whole(millis))
    }

    /// An object that ends with the first brace: where that is none of its own, what comes before is no object.
    fn object<T: Deserialize<'a>>(&mut self) -> Option<Box<T>> {
        self.skip_whitespace();
        let rest = self.json.get(self.at..)?;
        let end = memchr(b'}', rest.as_bytes())? + 1;
        self.at += end;
        serde_json::from_str(rest.get(..end)?).ok()
    }

    /// Whether `end` follows; if not, a comma does.
    fn is_last(&mut self, end: u8) -> Option<bool> {
        let found = self.peek()?;
        self.at += 1;
        (found == end || found == b',').then_some(found == end)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()?;
        self.at += 1;
        (found == byte).then_some(())
    }

    /// The next byte that is no whitespace.
    fn peek(&mut self) -> Option<u8> {
        self.skip_whitespace();
        self.json.as_bytes().get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.json.as_bytes().get(self.at) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All that an event is.
    fn shown(event: &Event<'_>) -> String {
        let records = event.records.iter().map(|it| {
            let (id, data, kafka) = (it.record_id(), it.data.as_deref(), it.kafka_record_value.as_deref());
            format!("{id:?} {data:?} {kafka:?} {:?} {:?}", it.arrival_micros(), it.position())
        });
        let records: Vec<String> = records.collect();
        let arns = (event.delivery_stream(), event.kinesis_stream(), event.msk_cluster());
        format!("{arns:?} {records:?}")
    }

    fn check(json: &str) -> bool {
        let ours = read(json);
        if let Some(ours) = &ours {
            let theirs =
                serde_json::from_str::<Event<'_>>(json).unwrap_or_else(|error| panic!("{json}: {error}"));
            assert_eq!(shown(ours), shown(&theirs), "{json}");
        }
        ours.is_some()
    }

    const DIRECT_PUT: &str = r#"{"recordId":"1","approximateArrivalTimestamp":1507217624302,"data":"SGk="}"#;
    const KINESIS: &str = r#"{"data":"SGk=","recordId":"2","approximateArrivalTimestamp":0,"kinesisRecordMetadata":{"shardId":"s","partitionKey":"p","sequenceNumber":"495","subsequenceNumber":"7","approximateArrivalTimestamp":1507217624302}}"#;
    const MSK: &str = r#"{"recordId":"3","mskRecordMetadata":{"offset":"42","partitionId":"3","approximateArrivalTimestamp":"1507217624302"},"kafkaRecordValue":"SGk="}"#;

    fn event(records: &str) -> String {
        format!(
            r#"{{"invocationId":"i","deliveryStreamArn":"arn:d","sourceMSKArn":"arn:m","sourceKinesisStreamArn":"arn:k","region":"é","records":[{records}]}}"#
        )
    }

    #[test]
    fn what_firehose_writes_is_read_here() {
        for records in ["", DIRECT_PUT, KINESIS, MSK] {
            assert!(check(&event(records)), "{records}");
            let spread = event(records).replace(',', " ,\r\n\t").replace(':', " : ").replace('}', " } ");
            assert!(check(&spread), "{spread}");
        }
        assert!(check(&event(&[DIRECT_PUT, KINESIS, MSK, DIRECT_PUT].join(","))));
    }

    #[test]
    fn all_else_is_left_to_serde() {
        for (from, to) in [
            ("SGk=", "\\u0053Gk="),
            ("SGk=", "SG\n="),
            ("\"SGk=\"", "null"),
            ("\"SGk=\"", "5"),
            ("1507217624302", "1507217624302.5"),
            ("1507217624302", "01507217624302"),
            ("1507217624302", "-1"),
            ("1507217624302", "9223372036854775808"),
            ("1507217624302", "\"1507217624302\""),
            ("1507217624302", ""),
            ("\"data\":", "\"recordId\":"),
            ("\"data\":", "\"else\":"),
            ("\"recordId\"", "\"else\""),
            ("\"region\"", "\"else\""),
            ("\"region\"", "\"records\""),
            ("\"region\"", "\"deliveryStreamArn\""),
            ("\"region\"", "\"deliveryStreamARN\""),
            ("\"records\"", "\"Records\""),
            ("[", "[,"),
            ("]", ",]"),
            ("]}", "]}}"),
            ("]}", "]"),
            ("}]", "]"),
            ("}]", ",}]"),
        ] {
            let json = event(DIRECT_PUT).replacen(from, to, 1);
            assert_ne!(json, event(DIRECT_PUT));
            assert!(!check(&json), "{json}");
        }
        for (from, to) in [("\"s\"", "\"}\""), ("\"s\"", "{}"), ("\"495\"", "\"495"), ("\"s\"", "5")] {
            assert!(!check(&event(&KINESIS.replace(from, to))), "{to}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_here_is_what_serde_reads(
            records in prop::collection::vec(prop::sample::select(vec![DIRECT_PUT, KINESIS, MSK]), 0..3),
            edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(
                "{}[]\",:\\u0123456789.eE+-tfn \n\u{1}é".chars().collect::<Vec<char>>()), 0..3), 0..3),
        ) {
            let mut json: Vec<char> = event(&records.join(",")).chars().collect();
            for (index, char, kind) in edits {
                let at = index.index(json.len());
                match kind {
                    0 => json.insert(at, char),
                    1 => json[at] = char,
                    _ => drop(json.remove(at)),
                }
            }
            check(&json.into_iter().collect::<String>());
        }
    }
}

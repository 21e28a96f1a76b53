//! The answer to a transformation event: one element per record.
//!
//! In: the records, and what became of each. Out: the answer as JSON, written into one buffer from its beginning to its end,
//! and how long it is before it is written. [`Response`] is the same answer, read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Record;

const START: &str = "{\"records\":[";
const END: &str = "]}";
// What stands around the values of an element.
const ELEMENT: &str = "{\"recordId\":\"";
const RESULT: &str = "\",\"result\":\"";
const DATA: &str = "\",\"data\":\"";
const KAFKA_RECORD_VALUE: &str = "\",\"kafkaRecordValue\":\"";
const ELEMENT_END: &str = "\"}";
const METADATA: &str = "\",\"metadata\":";
const METADATA_END: &str = "}";

/// What Firehose shall do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ProcessingResult {
    /// Deliver the new content.
    Ok,
    /// Deliver nothing: the record holds no event on purpose.
    Dropped,
    /// Deliver the record as it came under the error prefix.
    ProcessingFailed,
}

impl ProcessingResult {
    /// How Firehose spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Dropped => "Dropped",
            Self::ProcessingFailed => "ProcessingFailed",
        }
    }
}

/// Writes an answer.
#[derive(Debug)]
pub struct ResponseWriter<'a> {
    json: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> ResponseWriter<'a> {
    /// An answer without elements, at the end of `json`.
    pub fn new(json: &'a mut Vec<u8>) -> Self {
        json.extend_from_slice(START.as_bytes());
        Self { json, is_first: true }
    }

    /// The length in bytes of an answer whose `elements` have together `element_bytes`.
    pub fn bytes(elements: usize, element_bytes: usize) -> usize {
        START.len() + element_bytes + elements.saturating_sub(1) + END.len()
    }

    /// The length in bytes of an element without content.
    pub fn bare_bytes(record: &Record<'_>, result: ProcessingResult) -> usize {
        [ELEMENT, &id(record), RESULT, result.name(), ELEMENT_END].map(str::len).iter().sum()
    }

    /// The length in bytes of an element with content of `data_bytes` in base64 and `metadata`, see [`Self::ok`].
    pub fn ok_bytes(record: &Record<'_>, data_bytes: usize, metadata: &str) -> usize {
        let around = [METADATA, METADATA_END].map(str::len).iter().sum::<usize>() - ELEMENT_END.len();
        let metadata_bytes = if metadata.is_empty() { 0 } else { around + metadata.len() };
        Self::bare_bytes(record, ProcessingResult::Ok) + content(record).len() + data_bytes + metadata_bytes
    }

    /// Adds an element without content.
    pub fn bare(&mut self, record: &Record<'_>, result: ProcessingResult) {
        self.element(record, result);
        self.push(ELEMENT_END);
    }

    /// Adds an element with new content, which `write_base64` appends: base64 has no escapes in JSON. `metadata` is the JSON
    /// object that says where Firehose is to deliver it, or empty.
    pub fn ok(&mut self, record: &Record<'_>, metadata: &str, write_base64: impl FnOnce(&mut Vec<u8>)) {
        self.element(record, ProcessingResult::Ok);
        self.push(content(record));
        write_base64(self.json);
        if metadata.is_empty() {
            return self.push(ELEMENT_END);
        }
        for part in [METADATA, metadata, METADATA_END] {
            self.push(part);
        }
    }

    /// Ends the answer.
    pub fn finish(mut self) {
        self.push(END);
    }

    fn element(&mut self, record: &Record<'_>, result: ProcessingResult) {
        if !std::mem::take(&mut self.is_first) {
            self.push(",");
        }
        for part in [ELEMENT, &id(record), RESULT, result.name()] {
            self.push(part);
        }
    }

    fn push(&mut self, part: &str) {
        self.json.extend_from_slice(part.as_bytes());
    }
}

/// New content has the name of the old one.
fn content(record: &Record<'_>) -> &'static str {
    let is_kafka = record.data.is_none() && record.kafka_record_value.is_some();
    if is_kafka { KAFKA_RECORD_VALUE } else { DATA }
}

/// The record's id as it stands between quotes in JSON.
fn id<'a>(record: &'a Record<'_>) -> Cow<'a, str> {
    match &record.record_id.0 {
        // What is borrowed from JSON has no escapes and needs none.
        Cow::Borrowed(id) => Cow::Borrowed(id),
        Cow::Owned(id) => {
            let quoted = serde_json::Value::from(id.as_str()).to_string();
            let content = quoted.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"'));
            Cow::Owned(content.unwrap_or_default().to_owned())
        }
    }
}

/// An answer, read.
#[derive(Debug, Deserialize, Serialize)]
pub struct Response {
    /// The answers, in the order of the records.
    pub records: Vec<RecordResponse>,
}

/// The answer for one record.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordResponse {
    /// The record's own id.
    pub record_id: String,
    /// What Firehose shall do with it.
    pub result: ProcessingResult,
    /// The new content in base64, if it is passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The same, where the source is MSK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_record_value: Option<String>,
    /// Where Firehose is to deliver it: keys for dynamic partitioning, an Iceberg table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Box<RawValue>>,
}

impl RecordResponse {
    /// The new content in base64, under whichever name.
    pub fn data_base64(&self) -> Option<&str> {
        self.data.as_deref().or(self.kafka_record_value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_written_as_serde_writes_it_and_as_long_as_was_said() {
        let records = [
            r#"{"recordId":"1","data":"SGk="}"#,
            r#"{"recordId":"a\u0022\\\u0001\u00e9/\/","data":null,"kafkaRecordValue":"SGk="}"#,
            r#"{"recordId":"2","data":"SGk=","kafkaRecordValue":"SGk="}"#,
            r#"{"recordId":"\ud83d\ude00"}"#,
        ]
        .map(|json| serde_json::from_str::<Record<'_>>(json).unwrap());
        for count in 0..=records.len() {
            let (mut json, mut bytes) = (b"before".to_vec(), 0);
            let mut writer = ResponseWriter::new(&mut json);
            for record in &records[..count] {
                let metadata = if count % 2 == 0 { "" } else { r#"{"partitionKeys":{"a":"\"b"}}"# };
                writer.ok(record, metadata, |json| json.extend_from_slice(b"eA=="));
                bytes += ResponseWriter::ok_bytes(record, 4, metadata);
                for result in [ProcessingResult::ProcessingFailed, ProcessingResult::Dropped] {
                    writer.bare(record, result);
                    bytes += ResponseWriter::bare_bytes(record, result);
                }
            }
            writer.finish();
            let json = str::from_utf8(&json).unwrap().strip_prefix("before").unwrap();
            assert_eq!(json.len(), ResponseWriter::bytes(3 * count, bytes));
            let response: Response = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&response).unwrap(), json);
            assert_eq!(response.records.len(), 3 * count);
            for (answers, record) in response.records.chunks(3).zip(&records) {
                assert!(answers.iter().all(|answer| answer.record_id == record.record_id()));
                assert_eq!(
                    answers[0].data.is_some(),
                    record.data.is_some() || record.kafka_record_value.is_none()
                );
                assert_eq!(
                    [0, 1, 2].map(|at| answers[at].result.name()),
                    ["Ok", "ProcessingFailed", "Dropped"]
                );
                assert_eq!([0, 1, 2].map(|at| answers[at].data_base64()), [Some("eA=="), None, None]);
            }
        }
    }
}

//! One line of a quarantine file: the only definition of it, for writing, reading and putting back.
//!
//! In: what an append rejected, or the text of a line. Out: a [`Line`], as JSON. `errorCode`, `errorMessage` and `rawData`
//! (base64) are as Firehose writes its own failed records (Amazon Data Firehose Developer Guide, "Handle failure in data
//! transformation"). Refused: lines that keep nothing.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;
use records::enrich::Stamp;
use records::unpack::Identity;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::name::is_compressed;
use super::topic::{self, Header};

/// What was rejected at one place of an object, and why.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    /// The code of the reason.
    #[serde(borrow)]
    pub error_code: Cow<'a, str>,
    /// What is wrong, for people.
    #[serde(borrow, default)]
    pub error_message: Cow<'a, str>,
    /// What to do about it, for people.
    #[serde(borrow, default)]
    pub remedy: Cow<'a, str>,
    /// URI of the object; `kafka://` and the partition where it is a record of a Kafka topic.
    #[serde(borrow)]
    pub object: Cow<'a, str>,
    /// Where it begins in the decompressed object, in bytes; its offset in the partition of a topic.
    #[serde(default)]
    pub offset: u64,
    /// Which record of the object it is, from 1: this tells the lines of one object apart. 0 if the line does not say. Of a
    /// record of a topic, which of its events.
    #[serde(default)]
    pub row: u64,
    /// The record's id, where its bytes do not have it: those of an error object of Firehose that are no event.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<Cow<'a, str>>,
    /// When it arrived, RFC 3339, where its bytes do not have it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub ingestion_timestamp: Option<Cow<'a, str>>,
    /// The Kafka cluster: ARN of the event source, or the operator's name for it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Cow<'a, str>>,
    /// The topic.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<Cow<'a, str>>,
    /// What the operator calls this life of the topic; nothing for the first.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Cow<'a, str>>,
    /// The partition of the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The time of the record, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// The record's key, as text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Cow<'a, str>>,
    /// The record's key in base64, where it is no UTF-8.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<Cow<'a, str>>,
    /// The record's headers, in their order.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Header<'a>>,
    /// The id of the value's schema, where the event source mapping has taken the header of a registry off.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<Cow<'a, str>>,
    /// How often the record was put back into its table before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redriven: u32,
    /// The record, in base64.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub raw_data: Option<Cow<'a, str>>,
    /// URI of a copy of the object, where the line cannot hold what was rejected.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub raw_object: Option<Cow<'a, str>>,
}

/// Where the bytes are that a line keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept<'a> {
    /// In the line: they were decoded.
    Here,
    /// In the copy of the object at this URI.
    Copy(&'a str),
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> Line<'a> {
    /// Reads a line, given without its newline.
    ///
    /// # Errors
    /// It is no JSON object with the members of a line.
    pub fn parse(text: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// The id and the time that the record has though its bytes do not say so.
    pub fn identity(&self) -> Option<Identity> {
        let id = Uuid::try_parse(self.record_id.as_deref()?).ok()?;
        Some(Identity { id, stamp: Stamp::parse(self.ingestion_timestamp.as_deref()?)? })
    }

    /// Which record of a Kafka topic the line is about, as [`crate::quarantine::Ledger::standing`] takes it for a key in the
    /// bucket [`crate::quarantine::TOPICS`]. None if it is about an object.
    pub fn topic_key(&self) -> Option<String> {
        let partition = self.object.strip_prefix(topic::SCHEME)?;
        Some(format!("{partition}/{}", self.offset))
    }

    /// Decodes the record of the line into `record`, which is cleared before.
    ///
    /// # Errors
    /// The line is damaged: the sentence says how.
    pub fn decode(&self, record: &mut Vec<u8>) -> Result<Kept<'_>, String> {
        record.clear();
        match (&self.raw_data, &self.raw_object) {
            (Some(data), _) => {
                let decoded = STANDARD.decode_vec(data.as_bytes(), record);
                decoded.map_err(|error| format!("its rawData is not base64: {error}"))?;
                Ok(Kept::Here)
            }
            (None, Some(copy)) => Ok(Kept::Copy(copy)),
            (None, None) => Err("it has neither rawData nor rawObject".to_owned()),
        }
    }
}

/// The lines in a file called `name`, of the content `bytes`: large files are compressed.
pub fn lines_in<'a>(name: &str, bytes: impl Read + 'a) -> Box<dyn BufRead + 'a> {
    match is_compressed(name) {
        true => Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(bytes)))),
        false => Box::new(BufReader::new(bytes)),
    }
}

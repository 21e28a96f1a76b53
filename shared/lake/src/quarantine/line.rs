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

/// What was rejected at one place of an object, and why.
#[derive(Debug, Serialize, Deserialize)]
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
    /// URI of the object.
    #[serde(borrow)]
    pub object: Cow<'a, str>,
    /// Where it begins in the decompressed object, in bytes.
    #[serde(default)]
    pub offset: u64,
    /// Which record of the object it is, from 1: this tells the lines of one object apart. 0 if the line does not say.
    #[serde(default)]
    pub row: u64,
    /// The record's id, where its bytes do not have it: those of an error object of Firehose that are no event.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub record_id: Option<Cow<'a, str>>,
    /// When it arrived, RFC 3339, where its bytes do not have it.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub ingestion_timestamp: Option<Cow<'a, str>>,
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

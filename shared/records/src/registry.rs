//! Takes off what serializers of a schema registry put before a value of JSON.
//!
//! In: the key or value of a Kafka record, from Lambda or from Firehose. Out: the JSON behind the header, or the bytes as they
//! are where there is no header. No JSON text begins with the first byte of either header. Refused: values behind a header, or
//! with a schema's id beside them, that are no JSON: Avro and Protobuf cannot be read without the registry; what is damaged,
//! or too large.
//!
//! | registry | header |
//! |---|---|
//! | Confluent ("Wire format" in the documentation of its Schema Registry) | 0x00, id of the schema in 4 bytes, big-endian |
//! | AWS Glue (its serializers' source, `AWSSchemaRegistryConstants`) | 0x03, 0x00 or 0x05 for zlib, the version's UUID in 16 bytes |

use std::borrow::Cow;
use std::io::Read as _;

use flate2::bufread::ZlibDecoder;
use uuid::Uuid;

use crate::rejection::{Reason, Refusal};
use crate::scan;

const CONFLUENT: u8 = 0;
const CONFLUENT_BYTES: usize = 5;
const CONFLUENT_GUID: u8 = 1;
/// The header of a record in which Confluent's serializers put the id of the value's schema (`SchemaId` in their source).
pub const SCHEMA_HEADER: &str = "__value_schema_id";
const GLUE: u8 = 3;
const GLUE_PLAIN: u8 = 0;
const GLUE_ZLIB: u8 = 5;
const GLUE_BYTES: usize = 18;

/// The content of the value `value`. `schema` is the id of its schema, where the event tells one: then the header is off
/// already. Of zlib at most `max_bytes` bytes come out.
///
/// # Errors
/// [`Reason::RegistryFormat`] with registry and schema, [`Reason::CorruptCompression`] or [`Reason::DecompressionLimit`].
pub fn content<'a>(
    value: &'a [u8],
    schema: Option<&str>,
    max_bytes: usize,
) -> Result<Cow<'a, [u8]>, Refusal> {
    if let Some((schema, content)) = confluent(value) {
        return is_json(content).then_some(Cow::Borrowed(content)).ok_or_else(|| {
            let what = format!("the value has the header of Confluent's schema registry, schema {schema}");
            not_json(&what)
        });
    }
    if let Some((schema, is_packed, content)) = glue(value) {
        let content = if is_packed { Cow::Owned(inflate(content, max_bytes)?) } else { content.into() };
        return match is_json(&content) {
            true => Ok(content),
            false => {
                let what =
                    format!("the value has the header of the AWS Glue schema registry, schema {schema}");
                Err(not_json(&what))
            }
        };
    }
    match schema {
        Some(schema) if !is_json(value) => {
            Err(not_json(&format!("the value has schema {schema} of a schema registry")))
        }
        _ => Ok(value.into()),
    }
}

/// The id of a value's schema, where its serializer has put it into the header of the record whose bytes are `header`, and
/// not before the value.
pub fn schema_in_header(header: &[u8]) -> Option<String> {
    match header.split_first()? {
        (&CONFLUENT, id) => id.first_chunk().map(|id| u32::from_be_bytes(*id).to_string()),
        (&CONFLUENT_GUID, id) => id.first_chunk().map(|id| Uuid::from_bytes(*id).to_string()),
        _ => None,
    }
}

/// The content of the key `key`: keys are often no JSON, and stay as they are unless an object, an array or a string
/// follows the header of Confluent's registry.
pub fn key(key: &[u8]) -> &[u8] {
    let is_structured =
        |content: &&[u8]| matches!(content.first(), Some(b'{' | b'[' | b'"')) && is_json(content);
    confluent(key).map(|(_, content)| content).filter(is_structured).unwrap_or(key)
}

/// Whether `value` begins with the header of a registry.
pub fn is_framed(value: &[u8]) -> bool {
    matches!(value.first(), Some(&(CONFLUENT | GLUE)))
        && (confluent(value).is_some() || glue(value).is_some())
}

fn confluent(value: &[u8]) -> Option<(u32, &[u8])> {
    let (header, content) = value.split_first_chunk::<CONFLUENT_BYTES>()?;
    let [CONFLUENT, schema @ ..] = header else { return None };
    let schema = u32::from_be_bytes(*schema);
    // Ids begin at 1: NUL bytes alone are no header.
    (schema > 0 || is_json(content)).then_some((schema, content))
}

fn glue(value: &[u8]) -> Option<(Uuid, bool, &[u8])> {
    let (header, content) = value.split_first_chunk::<GLUE_BYTES>()?;
    let [GLUE, compression @ (GLUE_PLAIN | GLUE_ZLIB), schema @ ..] = header else { return None };
    Some((Uuid::from_bytes(*schema), *compression == GLUE_ZLIB, content))
}

/// Whether `content` is JSON or something that means to be: an object or array, sound or not, or one whole other value.
fn is_json(content: &[u8]) -> bool {
    let start = scan::skip_whitespace(content, 0);
    match content.get(start) {
        Some(b'{' | b'[') => true,
        Some(_) => scan::value_end(content, start)
            .is_ok_and(|end| scan::skip_whitespace(content, end) == content.len()),
        None => false,
    }
}

fn inflate(content: &[u8], max_bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut inflated = Vec::new();
    let read = ZlibDecoder::new(content).take(max_bytes as u64 + 1).read_to_end(&mut inflated);
    if inflated.len() > max_bytes {
        let what = format!("the value decompresses to more than {max_bytes} bytes");
        return Err(Refusal::new(Reason::DecompressionLimit, what));
    }
    match read {
        Ok(_) => Ok(inflated),
        Err(error) => {
            let what =
                format!("the zlib behind the header of the AWS Glue schema registry is damaged: {error}");
            Err(Refusal::new(Reason::CorruptCompression, what))
        }
    }
}

fn not_json(what: &str) -> Refusal {
    Refusal::new(Reason::RegistryFormat, format!("{what}, and is no JSON: Avro or Protobuf"))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const UUID: Uuid = Uuid::from_u128(0x1b2c_3d4e_5f60_7182_93a4_b5c6_d7e8_f901);

    fn framed(header: &[u8], content: &[u8]) -> Vec<u8> {
        [header, content].concat()
    }

    fn glue_header(compression: u8) -> Vec<u8> {
        [&[GLUE, compression], UUID.as_bytes().as_slice()].concat()
    }

    fn zlib(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn refusal(value: &[u8], schema: Option<&str>) -> (Reason, String) {
        let refusal = content(value, schema, 100).unwrap_err();
        (refusal.reason, refusal.message)
    }

    #[test]
    fn headers_before_json_come_off() {
        let json = br#"{"id": 1}"#;
        for value in [
            json.to_vec(),
            framed(&[0, 0, 0, 1, 2], json),
            framed(&glue_header(0), json),
            framed(&glue_header(5), &zlib(json)),
        ] {
            assert_eq!(content(&value, None, 100).unwrap(), json.as_slice(), "{value:?}");
        }
        // What is no header, or less than one, stays.
        for value in [
            &b"text"[..],
            b"",
            &[0, 0, 0],
            &[3, 0, 1],
            &[3, 7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
        ] {
            assert_eq!(content(value, None, 100).unwrap(), value);
        }
        assert_eq!(content(json, Some("7"), 100).unwrap(), json.as_slice(), "Lambda has made it JSON");
    }

    #[test]
    fn what_is_no_json_is_refused_with_registry_and_schema() {
        let avro = [8, 6, b'a', b'b', b'c'];
        let (reason, message) = refusal(&framed(&[0, 0, 0, 1, 2], &avro), None);
        assert_eq!(reason, Reason::RegistryFormat);
        assert!(message.contains("Confluent") && message.contains("258"), "{message}");
        for packed in [framed(&glue_header(0), &avro), framed(&glue_header(5), &zlib(&avro))] {
            let (reason, message) = refusal(&packed, None);
            assert_eq!(reason, Reason::RegistryFormat);
            assert!(message.contains("Glue") && message.contains(&UUID.to_string()), "{message}");
        }
        let (reason, message) = refusal(&avro, Some("258"));
        assert!(reason == Reason::RegistryFormat && message.contains("schema 258"), "{message}");
    }

    #[test]
    fn a_schema_may_be_named_in_a_header() {
        assert_eq!(schema_in_header(&[0, 0, 0, 1, 2]).as_deref(), Some("258"));
        let guid = framed(&[1], UUID.as_bytes());
        assert_eq!(schema_in_header(&guid), Some(UUID.to_string()));
        // Of Protobuf the message's indexes follow.
        assert_eq!(schema_in_header(&framed(&guid, &[2, 0])), Some(UUID.to_string()));
        for other in [&b""[..], b"258", &[0, 0, 1], &[1, 2, 3], &[2, 0, 0, 0, 1]] {
            assert_eq!(schema_in_header(other), None, "{other:?}");
        }
    }

    #[test]
    fn zlib_is_bounded() {
        let long = framed(&glue_header(5), &zlib(&[b' '; 101]));
        assert_eq!(refusal(&long, None).0, Reason::DecompressionLimit);
        let damaged = framed(&glue_header(5), &zlib(b"{}")[..4]);
        assert_eq!(refusal(&damaged, None).0, Reason::CorruptCompression);
    }

    #[test]
    fn keys_keep_their_bytes_unless_json_follows_the_header() {
        let json = framed(&[0, 0, 0, 0, 1], br#"{"id":5}"#);
        assert_eq!(key(&json), br#"{"id":5}"#);
        // A whole number of 8 bytes, whose last ones are digits as text.
        for own in [&[0, 0, 0, 200][..], b"user", &[0, 0, 0, 0, 0, b'1', b'2', b'3'], &[0, 0, 0, 0, 1, 8, 6]]
        {
            assert_eq!(key(own), own);
        }
    }
}

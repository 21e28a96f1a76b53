//! An aggregate of the Kinesis Producer Library -> its user records.
//!
//! In: a record that starts with [`MAGIC`] (awslabs/amazon-kinesis-producer, "aggregation-format.md"): the mark, a protobuf
//! message `AggregatedRecord`, and the message's MD5. Out: the data of each user record. Refused: a message that is damaged.

use md5::{Digest as _, Md5};

use crate::rejection::{Reason, Refusal};

/// The mark.
pub(crate) const MAGIC: &[u8] = b"\xF3\x89\x9A\xC2";
const DIGEST_BYTES: usize = 16;
/// `AggregatedRecord.records`.
const RECORDS: u64 = 3;
/// `Record.data`.
const DATA: u64 = 3;

/// The protobuf message of an aggregate, in which every field can be read.
///
/// # Errors
/// [`Reason::CorruptAggregate`].
pub(crate) fn check(record: &[u8]) -> Result<&[u8], Refusal> {
    let damaged = |what: &str| {
        let what = format!("the record begins as a KPL aggregate, but {what}");
        Refusal::new(Reason::CorruptAggregate, what)
    };
    let message = record.strip_prefix(MAGIC).and_then(|rest| rest.split_last_chunk::<DIGEST_BYTES>());
    let (message, digest) = message.ok_or_else(|| damaged("ends before its checksum"))?;
    if Md5::digest(message)[..] != digest[..] {
        return Err(damaged("its checksum is another one"));
    }
    let is_sound = Fields(message).all(|field| match field {
        Some((RECORDS, Value::Bytes(record))) => Fields(record).all(|field| field.is_some()),
        field => field.is_some(),
    });
    if is_sound { Ok(message) } else { Err(damaged("its fields cannot be read")) }
}

/// Where an aggregate ends that `text` begins with: nothing tells its length, but behind its last field comes the checksum of
/// all of them. None if that is not in `text`.
pub(crate) fn end(text: &[u8]) -> Option<usize> {
    let message = text.strip_prefix(MAGIC)?;
    let (mut fields, mut digest, mut digested) = (Fields(message), Md5::new(), 0);
    while fields.next().flatten().is_some() {
        let length = message.len() - fields.0.len();
        digest.update(message.get(digested..length)?);
        digested = length;
        if fields.0.get(..DIGEST_BYTES)? == &digest.clone().finalize()[..] {
            return Some(MAGIC.len() + length + DIGEST_BYTES);
        }
    }
    None
}

/// The data of the user records in a message that was checked.
pub(crate) fn user_records(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes_of = |wanted| {
        move |field| match field {
            Some((number, Value::Bytes(bytes))) if number == wanted => Some(bytes),
            _ => None,
        }
    };
    Fields(message).filter_map(bytes_of(RECORDS)).flat_map(move |record| {
        // Of a field that comes twice the last one counts (protobuf: "Encoding", "Last One Wins").
        Fields(record).filter_map(bytes_of(DATA)).last()
    })
}

enum Value<'a> {
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a protobuf message: number and value, or None for what cannot be read, which is the last.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => self.varint().map(|_| Value::Other),
            1 => self.bytes(8).map(|_| Value::Other),
            2 => self.varint().and_then(|count| self.bytes(count)).map(Value::Bytes),
            5 => self.bytes(4).map(|_| Value::Other),
            _ => None,
        };
        Some((key >> 3, value?))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

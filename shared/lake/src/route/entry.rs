//! One record that waits, as bytes: source, offset, row, what it is, and its text.

use records::enrich::Stamp;
use records::rejection::{Reason, Refusal};
use records::unpack::Identity;
use uuid::Uuid;

use crate::objects::{Record, Refused};

const TEXT: u8 = 0;
const REFUSED: u8 = 1;
const REFUSED_WITH_BYTES: u8 = 2;

pub(super) struct Entry<'a> {
    pub(super) source: usize,
    pub(super) offset: u64,
    pub(super) row: u64,
    pub(super) record: Record<'a>,
}

pub(super) fn write(out: &mut Vec<u8>, source: usize, offset: u64, row: u64, record: &Record<'_>) {
    for number in [source as u64, offset, row] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    match record {
        Ok(text) => {
            out.push(TEXT);
            put(out, text);
        }
        Err(Refused { refusal, bytes, keep_object, identity }) => {
            out.push(if bytes.is_some() { REFUSED_WITH_BYTES } else { REFUSED });
            let reason = Reason::ALL.iter().position(|reason| *reason == refusal.reason).unwrap_or(0);
            out.extend_from_slice(&[reason as u8, u8::from(*keep_object)]);
            put(out, refusal.message.as_bytes());
            let id = |it: &Identity| [it.id.as_bytes(), it.stamp.as_str().as_bytes()].concat();
            put(out, &identity.as_ref().map(id).unwrap_or_default());
            bytes.iter().for_each(|bytes| put(out, bytes));
        }
    }
}

/// The entry at the beginning of `bytes`, and what follows. None if there is none.
pub(super) fn read(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (source, bytes) = number(bytes)?;
    let (offset, bytes) = number(bytes)?;
    let (row, bytes) = number(bytes)?;
    let (kind, bytes) = bytes.split_first()?;
    let (record, bytes) = if *kind == TEXT {
        let (text, bytes) = take(bytes)?;
        (Ok(text), bytes)
    } else {
        let ([reason, keep_object], bytes) = bytes.split_first_chunk()?;
        let (message, bytes) = take(bytes)?;
        let (identity, bytes) = take(bytes)?;
        let (record, bytes) = match *kind {
            REFUSED_WITH_BYTES => take(bytes).map(|(record, rest)| (Some(record), rest))?,
            _ => (None, bytes),
        };
        let reason = *Reason::ALL.get(usize::from(*reason))?;
        let refusal = Refusal::new(reason, String::from_utf8_lossy(message));
        let (keep_object, identity) = (*keep_object == 1, self::identity(identity));
        (Err(Refused { refusal, bytes: record, keep_object, identity }), bytes)
    };
    Some((Entry { source: source as usize, offset, row, record }, bytes))
}

/// What [`write()`] makes of an identity; none of an empty one.
fn identity(bytes: &[u8]) -> Option<Identity> {
    let (id, stamp) = bytes.split_first_chunk()?;
    let stamp = Stamp::parse(std::str::from_utf8(stamp).ok()?)?;
    Some(Identity { id: Uuid::from_bytes(*id), stamp })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, bytes) = number(bytes)?;
    bytes.split_at_checked(usize::try_from(length).ok()?)
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_comes_back() {
        let stamp = Stamp::from_epoch_micros(1_767_323_045_678_901).unwrap();
        let known = Some(Identity { id: Uuid::from_u128(7), stamp });
        for expected in [known, None] {
            let refusal = Refusal::new(Reason::InvalidJson, "at byte 3");
            let refused = Refused { identity: expected, ..Refused::new(refusal, Some(b"x")) };
            let mut bytes = Vec::new();
            write(&mut bytes, 1, 2, 3, &Err(refused));
            let (entry, rest) = read(&bytes).unwrap();
            let Err(Refused { identity, bytes, .. }) = entry.record else { panic!("a record") };
            assert_eq!((identity, bytes, rest.is_empty()), (expected, Some(&b"x"[..]), true));
        }
    }
}

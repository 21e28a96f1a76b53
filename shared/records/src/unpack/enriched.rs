//! The events of one record -> enriched lines.
//!
//! In: a record, its id and the instant of its arrival. Out: its events, each enriched ([`enrich`]): the first has the
//! record's own id, the others have [`event_id`]s. transform takes all of them or none, since Firehose takes one answer
//! for a record; append takes them one by one, with the same ids.

use uuid::Uuid;

use super::{Piece, Unpacker, is_packed};
use crate::enrich::{Stamp, enrich};
use crate::rejection::{Reason, Refusal};

/// What there is of a record at one place.
#[derive(Debug)]
pub enum Enriched<'a> {
    /// An event, enriched, without a newline.
    Event(&'a [u8]),
    /// Bytes that hold no event, why, and what an event in their place would have, if there is a record.
    Refused(&'a [u8], Refusal, Option<Identity>),
    /// A message that holds no event on purpose.
    Dropped,
}

/// What tells an event of a record from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its id, as transform would have given it.
    pub id: Uuid,
    /// When its record arrived.
    pub stamp: Stamp,
}

impl Unpacker {
    /// Appends the record's events to `out`, each enriched and with a newline. Says how many they are; 0 if the record
    /// holds none on purpose.
    ///
    /// # Errors
    /// A [`Refusal`] of the whole record for the first piece of it that is no event, or
    /// [`Reason::ResponseTooLarge`] where the events are more than `max_bytes`. `out` is then as it was.
    pub fn enrich(
        &self,
        record: &[u8],
        id: Uuid,
        stamp: &Stamp,
        out: &mut Vec<u8>,
    ) -> Result<usize, Refusal> {
        let mut plain = None;
        if self.may_be_plain(record) {
            match enrich(record, id, stamp, out) {
                Ok(()) => return Ok(1),
                Err(refusal) => plain = Some(refusal),
            }
        }
        let start = out.len();
        let (mut events, mut is_any) = (0, false);
        let unpacked = self.unpack(record, &mut |piece| {
            is_any = true;
            match piece {
                Piece::Event(text) => enrich(text, event_id(id, events), stamp, out).map(|()| events += 1)?,
                Piece::Refused(_, refusal) => return Err(refusal),
                Piece::Dropped => {}
            }
            match out.len() - start > self.max_bytes {
                true => Err(too_large(self.max_bytes)),
                false => Ok(()),
            }
        });
        let mut refusal = match unpacked {
            Ok(()) if is_any => return Ok(events),
            Ok(()) => return Err(plain.unwrap_or_else(|| empty(record))),
            Err(refusal) => refusal,
        };
        out.truncate(start);
        if plain.is_none() && !is_packed(record) {
            plain = enrich(record, id, stamp, out).err();
            out.truncate(start);
        }
        match plain {
            // What is wrong with the record as one event says more, if nothing before is one.
            Some(plain) if events == 0 || plain.reason == Reason::NotUtf8 => Err(plain),
            _ => {
                if events > 0 {
                    refusal.message = format!("event {} of the record: {}", events + 1, refusal.message);
                }
                Err(refusal)
            }
        }
    }

    /// Hands the record's events to `take`, each enriched, and what is refused of it. `out` is scratch space. A piece that
    /// is refused takes an id as an event does, so that those behind it have the same ids once it is one.
    ///
    /// # Errors
    /// What `take` says.
    pub fn enrich_each<E>(
        &self,
        record: &[u8],
        identity: Identity,
        out: &mut Vec<u8>,
        take: &mut dyn FnMut(Enriched<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Identity { id, stamp } = identity;
        let stamp = &stamp;
        out.clear();
        let mut plain = None;
        if self.may_be_plain(record) {
            match enrich(record, id, stamp, out) {
                Ok(()) => return take(Enriched::Event(out.trim_ascii_end())),
                Err(refusal) => plain = Some(refusal),
            }
        }
        let content = record.trim_ascii().len();
        let (mut index, mut is_any) = (0, false);
        // The error of this closure is None where the record was refused as a whole.
        let unpacked = self.unpack(record, &mut |piece| {
            let is_first = !std::mem::replace(&mut is_any, true);
            let id = event_id(id, index);
            let (text, enriched) = match piece {
                Piece::Event(text) => {
                    out.clear();
                    (text, enrich(text, id, stamp, out))
                }
                Piece::Refused(text, refusal) => (text, Err(refusal)),
                Piece::Dropped => return take(Enriched::Dropped).map_err(Some),
            };
            index += 1;
            match (enriched, plain.take()) {
                (Ok(()), _) => take(Enriched::Event(out.trim_ascii_end())).map_err(Some),
                // Of a record that is one piece, or no text, what is wrong with it as one event says more.
                (Err(_), Some(plain))
                    if is_first && (text.len() == content || plain.reason == Reason::NotUtf8) =>
                {
                    take(Enriched::Refused(record, plain, Some(identity))).map_err(Some)?;
                    Err(None)
                }
                (Err(refusal), _) => {
                    take(Enriched::Refused(text, refusal, Some(Identity { id, ..identity }))).map_err(Some)
                }
            }
        });
        match unpacked {
            Ok(()) if !is_any => take(Enriched::Refused(record, empty(record), Some(identity))),
            Ok(()) | Err(None) => Ok(()),
            Err(Some(error)) => Err(error),
        }
    }
}

/// The id of the event `index` (from 0) of a record whose own id is `record_id`: that itself, then UUIDv5 of it and the
/// index in decimal digits.
pub fn event_id(record_id: Uuid, index: usize) -> Uuid {
    match index {
        0 => record_id,
        _ => Uuid::new_v5(&record_id, index.to_string().as_bytes()),
    }
}

fn empty(record: &[u8]) -> Refusal {
    Refusal::new(Reason::Empty, format!("no content in {} bytes", record.len()))
}

fn too_large(max_bytes: usize) -> Refusal {
    Refusal::new(Reason::ResponseTooLarge, format!("its events have more than {max_bytes} bytes"))
}

//! Records of topics -> the events in them, for a [`Sink`].
//!
//! In: records in memory. Out: the text of each event with its origin, or what is refused and why; how many records hold no
//! event on purpose. One source for each partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use iceberg::spec::{Schema, TableMetadata};
use iceberg::{Error, ErrorKind, Result};
use records::connect::payload;
use records::registry;
use records::rejection::{Reason, Refusal};
use records::scan::skip_whitespace;
use records::unpack::{Options, Piece, Unpacker};

use super::TopicOptions;
use crate::decode::RowDecoder;
use crate::infer::Inference;
use crate::job::Limits;
use crate::objects::{Closed, End, Origin, Record, Refused, Sink};
use crate::task::{self, Stop};
use crate::topic::{TopicRecord, TopicValue, sample_columns};

/// Records to be read.
pub(super) struct Feed {
    /// By stream and partition, in the order of the offsets.
    partitions: Vec<Vec<Arc<TopicRecord>>>,
    record_bytes: usize,
    unpacker: Unpacker,
    options: TopicOptions,
}

impl Feed {
    pub(super) fn new(
        records: Vec<(usize, Arc<TopicRecord>)>,
        limits: Limits,
        unpack: &Options,
        options: TopicOptions,
    ) -> Self {
        let mut partitions: BTreeMap<_, Vec<Arc<TopicRecord>>> = BTreeMap::new();
        for (_, record) in records {
            let place = (record.partition.stream.clone(), record.partition.partition);
            partitions.entry(place).or_default().push(record);
        }
        Self {
            partitions: partitions.into_values().collect(),
            record_bytes: limits.record_bytes,
            unpacker: Unpacker::new(limits.record_bytes, unpack),
            options,
        }
    }

    /// Hands all events to `sink`, or those up to `stop`. Records that hold none are counted at the end of their partition.
    ///
    /// # Errors
    /// The sink's.
    pub(super) fn run(&self, sink: &mut impl Sink, stop: &Stop) -> std::result::Result<(), Closed> {
        for (source, records) in self.partitions.iter().enumerate() {
            let mut dropped = 0;
            for record in records {
                if stop.is_stopped() {
                    return Err(Closed);
                }
                dropped += u64::from(!self.record(source, record, sink)?);
            }
            sink.end(source, End::Read { dropped })?;
        }
        Ok(())
    }

    /// A schema for the events; None if there are none.
    ///
    /// # Errors
    /// No schema can be made: a defect.
    pub(super) async fn infer(self) -> Result<Option<Schema>> {
        let (_waiting, stop) = task::waiting();
        let looked = task::spawn_blocking(move || {
            let mut look = Look(Inference::of_topic());
            // It takes all.
            let _ = self.run(&mut look, &stop);
            look.0.schema()
        });
        looked
            .await
            .map_err(|error| Error::new(ErrorKind::Unexpected, "inference ended early").with_source(error))?
    }

    /// The events of one record. False if it holds none on purpose.
    fn record(
        &self,
        source: usize,
        record: &Arc<TopicRecord>,
        sink: &mut impl Sink,
    ) -> std::result::Result<bool, Closed> {
        let origin = |index| Origin::Kafka { source, record: record.clone(), index };
        let value = match &record.value {
            TopicValue::None => return Ok(false),
            TopicValue::Bytes(value) if value.is_empty() => return Ok(false),
            TopicValue::Bytes(value) => value,
            TopicValue::Refused(bytes, refusal) => {
                sink.record(&origin(record.first_event), refused(refusal.clone(), bytes))?;
                return Ok(true);
            }
        };
        let content = match value.len() > self.record_bytes {
            true => {
                let what = format!("the record is {} bytes long", value.len());
                Err(Refusal::new(Reason::RecordTooLarge, what))
            }
            false => registry::content(value, record.schema_id.as_deref(), self.record_bytes),
        };
        let content = match content {
            Ok(content) => content,
            Err(refusal) => {
                sink.record(&origin(record.first_event), refused(refusal, value))?;
                return Ok(true);
            }
        };
        if self.is_taken_as_it_stands(&origin(record.first_event), &content, sink)? {
            return Ok(true);
        }
        let (mut index, mut is_any) = (record.first_event, false);
        let mut give = |text: Record<'_>| {
            index += 1;
            sink.record(&origin(index - 1), text)
        };
        self.unpacker.unpack(&content, &mut |piece| {
            is_any = true;
            match piece {
                Piece::Event(text) => match self.unwrapped(text) {
                    Some(text) => give(Ok(text)),
                    None => Ok(()),
                },
                Piece::Refused(bytes, refusal) => give(refused(not_utf8(bytes).unwrap_or(refusal), bytes)),
                Piece::Dropped => Ok(()),
            }
        })?;
        if !is_any {
            let what = format!("no content in {} bytes", content.len());
            give(refused(Refusal::new(Reason::Empty, what), value))?;
        }
        Ok(index > record.first_event)
    }

    /// Offers `content` to `sink` where it may be one event and nothing else: whether it was taken. Nearly all records are
    /// of this kind, and are read once then.
    fn is_taken_as_it_stands(
        &self,
        origin: &Origin,
        content: &[u8],
        sink: &mut impl Sink,
    ) -> std::result::Result<bool, Closed> {
        let start = skip_whitespace(content, 0);
        let Some(text) = content.get(start..).filter(|text| text.starts_with(b"{")) else { return Ok(false) };
        let event = if self.options.unwrap { payload(text) } else { text };
        let is_unwrapped = event.len() < text.len();
        if is_unwrapped && !self.unpacker.is_one_event(text) {
            return Ok(false);
        }
        let is_event = |taken: &[u8]| {
            skip_whitespace(event, taken.len()) == event.len()
                && (is_unwrapped || self.unpacker.is_one_event(taken))
        };
        Ok(sink.plain(origin, event, &is_event)?.is_some())
    }

    /// The event in a value of JSON; None if it is an envelope that has none.
    fn unwrapped<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match self.options.unwrap {
            false => Some(text),
            true => Some(payload(text)).filter(|payload| *payload != b"null" || payload.len() == text.len()),
        }
    }
}

fn refused(refusal: Refusal, bytes: &[u8]) -> Record<'_> {
    Err(Refused::new(refusal, Some(bytes)))
}

/// That the bytes are not even text.
fn not_utf8(bytes: &[u8]) -> Option<Refusal> {
    let error = std::str::from_utf8(bytes).err()?;
    // Compressed content is none, and has a better reason.
    let is_text = !bytes.starts_with(b"\x1F\x8B") && !bytes.starts_with(b"\xF3\x89\x9A\xC2");
    let what = format!("byte {} of the record is not UTF-8", error.valid_up_to());
    is_text.then(|| Refusal::new(Reason::NotUtf8, what))
}

/// What a table of `metadata` refuses of `record`; None if it takes all of it.
///
/// # Errors
/// The table's columns are of a kind that cannot be written.
pub fn refusal(
    metadata: &TableMetadata,
    limits: Limits,
    unpack: &Options,
    options: TopicOptions,
    record: TopicRecord,
) -> Result<Option<Refusal>> {
    let time = "1970-01-01T00:00:00.000000Z";
    let mut decoder = sample_columns(time, |system| RowDecoder::for_table(metadata, system))?;
    decoder.set_row_bytes(limits.row_bytes);
    let mut check = Check { decoder, refusal: None };
    let (_waiting, stop) = task::waiting();
    let feed = Feed::new(vec![(0, Arc::new(record))], limits, unpack, options);
    // It takes all.
    let _ = feed.run(&mut check, &stop);
    Ok(check.refusal)
}

/// Decodes events, and keeps the first refusal.
struct Check {
    decoder: RowDecoder,
    refusal: Option<Refusal>,
}

impl Sink for Check {
    fn record(&mut self, _: &Origin, record: Record<'_>) -> std::result::Result<(), Closed> {
        let decoded = record.map_err(|refused| refused.refusal).and_then(|text| self.decoder.push(text));
        self.refusal = self.refusal.take().or(decoded.err());
        Ok(())
    }

    fn end(&mut self, _: usize, _: End) -> std::result::Result<(), Closed> {
        Ok(())
    }
}

/// Looks at events for the columns of a table.
struct Look(Inference);

impl Sink for Look {
    fn record(&mut self, _: &Origin, record: Record<'_>) -> std::result::Result<(), Closed> {
        if let Ok(text) = record {
            self.0.observe(text);
        }
        Ok(())
    }

    fn end(&mut self, _: usize, _: End) -> std::result::Result<(), Closed> {
        Ok(())
    }
}

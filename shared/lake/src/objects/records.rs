//! One object -> its records.
//!
//! In: an object that is there. Out: one [`Record`] after the other, with its origin: the text of a record, or what is
//! refused and why. What holds several events is taken apart ([`Unpacker`]), unless it was enriched: transform has done it
//! then. Damage ends the object: what stands before it is whole, the record that it cuts is refused, and so is
//! the rest. Lines of Firehose's error objects give the records that are in them. Errors are the storage's.

use std::io::{self, Read};
use std::sync::Arc;

use iceberg::{Error, ErrorKind, Result};
use records::failed_batch;
use records::frame::{Frame, Framer};
use records::rejection::{Reason, Refusal};
use records::scan::Fault;
use records::unpack::{Enriched, Identity, Options, Piece, Unpacker, is_text};

use super::ahead::Ahead;
use super::compression::{content, damage};
use super::fetch::{Failure, ObjectReader};
use super::find::FoundObject;
use super::firehose_errors::ErrorLines;
use super::origin::Origin;
use crate::job::Limits;
use crate::task::{self, Stop};

/// The text of a record, one JSON value by grammar, or why there is none.
pub(crate) type Record<'a> = std::result::Result<&'a [u8], Refused<'a>>;

/// What is refused of an object.
#[derive(Debug)]
pub(crate) struct Refused<'a> {
    pub(crate) refusal: Refusal,
    /// The record, or None where the rest of the object cannot be cut into records.
    pub(crate) bytes: Option<&'a [u8]>,
    /// Whether a copy of the object should be kept too: what separates pieces of something else than JSON is part of it.
    pub(crate) keep_object: bool,
    /// What the record has, where the object does not say so: once it is an event it must have the same.
    pub(crate) identity: Option<Identity>,
}

impl<'a> Refused<'a> {
    /// The record `bytes`, or the rest of the object.
    pub(crate) fn new(refusal: Refusal, bytes: Option<&'a [u8]>) -> Self {
        Self { refusal, bytes, keep_object: false, identity: None }
    }
}

/// The records of one object, for a thread that may block.
pub(crate) struct Records {
    /// Of the record that was given out last.
    origin: Origin,
    content: Content,
    failure: Failure,
    unpacker: Unpacker,
    error_lines: Option<ErrorLines>,
    /// Values of the object, each of which may hold several records. Of an error object that is a line.
    frames: u64,
    /// Records that were given out.
    count: u64,
    dropped: u64,
}

enum Content {
    Frames(Framer<Box<dyn Read + Send>>),
    /// The content cannot be read from this byte on.
    Damage(Refusal, u64),
    End,
}

impl Records {
    /// Starts to fetch `object`; ends with `stop`, whatever there is to decompress. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) fn open(
        object: Arc<FoundObject>,
        limits: Limits,
        unpack: &Options,
        stop: &Stop,
    ) -> Result<Self> {
        let raw = ObjectReader::open(object.input.clone(), object.size_bytes, stop);
        Self::from_raw(object, raw, limits, unpack, stop)
    }

    /// The same for an `object` that is being fetched as `raw`.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn from_raw(
        object: Arc<FoundObject>,
        raw: ObjectReader,
        limits: Limits,
        unpack: &Options,
        stop: &Stop,
    ) -> Result<Self> {
        let failure = raw.failure();
        let key = &object.object.key;
        let error_lines = ErrorLines::of(&object.object);
        let content = match content(raw, key, limits.decompressed_bytes, limits.window_bytes) {
            Ok(content) => {
                // Where another processor may decompress meanwhile, it does.
                let runs_ahead = content.is_unpacked && task::has_two_processors();
                let wanted = Wanted { content, stop: stop.clone(), failure: failure.clone() };
                let reader: Box<dyn Read + Send> =
                    if runs_ahead { Box::new(Ahead::new(wanted)) } else { Box::new(wanted) };
                let framer = Framer::new(reader, limits.record_bytes);
                // Of an error object a value is a line, whatever it is.
                Content::Frames(match error_lines {
                    Some(_) => framer,
                    None => framer.with_elements(unpack.unwrap.as_ref()),
                })
            }
            Err(error) => match failure.take() {
                Some(error) => return Err(error),
                None => Content::Damage(damage(&error), 0),
            },
        };
        let origin = Origin::Object { object, offset: 0, row: 0 };
        let unpacker = Unpacker::new(limits.record_bytes, unpack);
        Ok(Self { origin, content, failure, unpacker, error_lines, frames: 0, count: 0, dropped: 0 })
    }

    /// How many records were given out.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many messages were met that hold no record on purpose.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Bytes of content that were read.
    pub(crate) fn bytes_read(&self) -> u64 {
        match &self.content {
            Content::Frames(framer) => framer.bytes_read(),
            Content::Damage(_, offset) => *offset,
            Content::End => 0,
        }
    }

    /// Offers what comes next to `take`, unchecked, where that may be an object: with a way to tell whether it is an event as
    /// it stands. Whether it was taken.
    ///
    /// # Errors
    /// What `take` says.
    pub(crate) fn next_plain<E>(
        &mut self,
        take: impl FnOnce(&Origin, &[u8], &dyn Fn(&[u8]) -> bool) -> std::result::Result<Option<usize>, E>,
    ) -> std::result::Result<bool, E> {
        let Self { origin, content: Content::Frames(framer), error_lines: None, frames: 1.., .. } = self
        else {
            // The first is looked at more closely.
            return Ok(false);
        };
        let (unpacker, row) = (&self.unpacker, self.count + 1);
        let mut failed = None;
        let is_taken = framer.offer(|offset, text| {
            let taken = take(origin.moved_to(offset, row), text, &|text| unpacker.is_one_event(text));
            taken.unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if is_taken {
            (self.frames, self.count) = (self.frames + 1, row);
        }
        Ok(is_taken)
    }

    /// Hands the records of the next value in the object to `take`, up to its error. False at the end.
    ///
    /// # Errors
    /// The storage's; what `take` says.
    pub(crate) fn next<E: From<Error>>(
        &mut self,
        mut take: impl FnMut(&Origin, Record<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<bool, E> {
        let Self { origin, content, failure, unpacker, error_lines, frames, count, dropped } = self;
        let mut give = |offset, record: Record<'_>| {
            *count += 1;
            take(origin.moved_to(offset, *count), record)
        };
        let mut give_enriched = |offset, piece: Enriched<'_>| match piece {
            Enriched::Event(text) => give(offset, Ok(text)),
            Enriched::Refused(bytes, refusal, identity) => {
                give(offset, Err(Refused { identity, ..Refused::new(refusal, Some(bytes)) }))
            }
            Enriched::Dropped => {
                *dropped += 1;
                Ok(())
            }
        };
        *frames += 1;
        let framer = match content {
            Content::Frames(framer) => framer,
            Content::Damage(refusal, offset) => {
                let (refusal, offset) = (refusal.clone(), *offset);
                *content = Content::End;
                give(offset, Err(Refused::new(refusal, None)))?;
                return Ok(true);
            }
            Content::End => return Ok(false),
        };
        match framer.next_frame() {
            Ok(None) => return Ok(false),
            Ok(Some(Frame::Record { offset, text })) => {
                // Lambda writes such a batch alone into its object.
                let refusal = if *frames == 1 { failed_batch::refusal(text) } else { None };
                match (refusal, error_lines) {
                    (Some(refusal), _) => give(offset, Err(Refused::new(refusal, Some(text))))?,
                    (None, Some(lines)) => {
                        lines.records(text, *frames, unpacker, &mut |it| give_enriched(offset, it))?
                    }
                    (None, None) if unpacker.is_one_event(text) => give(offset, Ok(text))?,
                    (None, None) => {
                        unpacker.unpack_frame(text, &mut |piece| give_enriched(offset, as_it_is(piece)))?
                    }
                }
            }
            Ok(Some(Frame::Element { offset, text, fault, beside })) => {
                let mut give_piece = |piece: Piece<'_>| give_enriched(offset, as_it_is(piece));
                let Some(fault) = fault else {
                    unpacker.unpack_element(text, beside, &mut give_piece)?;
                    return Ok(true);
                };
                if !unpacker.unpack_broken_element(text, beside, &mut give_piece)? {
                    let refusal = Refusal::new(Reason::InvalidJson, fault.describe(text));
                    // The fields beside it are in the object alone.
                    let keep_object = beside.is_some_and(|beside| beside != b"{}");
                    give(offset, Err(Refused { keep_object, ..Refused::new(refusal, Some(text)) }))?;
                }
            }
            Ok(Some(Frame::Behind { offset, text })) => {
                let what = "fields behind the array of FRAZIL_UNWRAP are beside none of its events where the whole is longer \
                            than a record may be";
                let refusal = Refusal::new(Reason::RecordTooLarge, what);
                give(offset, Err(Refused::new(refusal, Some(text))))?;
            }
            Ok(Some(Frame::Broken { offset, text, fault })) => {
                let is_mended = error_lines.is_none()
                    && unpacker.unpack_broken(text, &mut |piece| give_enriched(offset, as_it_is(piece)))?;
                if is_mended {
                    return Ok(true);
                }
                let refusal = match fault {
                    Fault::Incomplete => {
                        Refusal::new(Reason::Truncated, "the object ends in the middle of this record")
                    }
                    fault => Refusal::new(Reason::InvalidJson, fault.describe(text)),
                };
                // Of something else than JSON text, white space between the pieces is part too.
                let keep_object = *frames == 1 || !is_text(text);
                give(offset, Err(Refused { keep_object, ..Refused::new(refusal, Some(text)) }))?;
            }
            Ok(Some(Frame::Rest { offset, length })) => {
                let what =
                    format!("the array is broken here, and its rest of {length} bytes was passed over");
                give(offset, Err(Refused::new(Refusal::new(Reason::InvalidJson, what), None)))?;
            }
            Ok(Some(Frame::TooLarge { offset, length })) => {
                let what = format!("the record is {length} bytes long");
                let refusal = Refusal::new(Reason::RecordTooLarge, what);
                give(offset, Err(Refused::new(refusal, None)))?;
            }
            Err(error) => {
                if let Some(error) = failure.take() {
                    return Err(error.into());
                }
                let refusal = damage(&error);
                let end = framer.bytes_read();
                let (offset, cut) = framer.remainder();
                if cut.trim_ascii().is_empty() {
                    *content = Content::End;
                    give(end, Err(Refused::new(refusal, None)))?;
                } else {
                    let what = "the object is damaged in the middle of this record";
                    let cut_off = Refusal::new(Reason::Truncated, what);
                    give(offset, Err(Refused::new(cut_off, Some(cut))))?;
                    *content = Content::Damage(refusal, end);
                }
            }
        }
        Ok(true)
    }
}

/// A piece of an object whose records nothing is added to.
fn as_it_is(piece: Piece<'_>) -> Enriched<'_> {
    match piece {
        Piece::Event(text) => Enriched::Event(text),
        Piece::Refused(bytes, refusal) => Enriched::Refused(bytes, refusal, None),
        Piece::Dropped => Enriched::Dropped,
    }
}

/// Content, as long as someone waits for it.
struct Wanted<R> {
    content: R,
    stop: Stop,
    failure: Failure,
}

impl<R: Read> Read for Wanted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_stopped() {
            let error = Error::new(ErrorKind::Unexpected, "nobody waits for the object any longer");
            return Err(self.failure.set(error));
        }
        self.content.read(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{found, limits};
    use super::*;
    use crate::task;

    /// Each record of an object of `content`: its offset, which one it is, and its text or the reason, with an asterisk if
    /// the object is kept.
    async fn records_of(content: &[u8]) -> Vec<String> {
        records_by(Options::default(), content).await
    }

    async fn records_by(unpack: Options, content: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let object = found(folder.path(), 0, content, 0);
        let (_waiting, stop) = task::waiting();
        let reading = task::spawn_blocking(move || {
            let mut records = Records::open(object, limits(), &unpack, &stop).unwrap();
            let mut all = Vec::new();
            let mut show = |origin: &Origin, record: Record<'_>| {
                let Origin::Object { offset, row, .. } = origin else { panic!("an object's") };
                let what = match record {
                    Ok(text) => String::from_utf8_lossy(text).into_owned(),
                    Err(Refused { refusal, keep_object, .. }) => {
                        format!("{}{}", refusal.reason.code(), if keep_object { "*" } else { "" })
                    }
                };
                all.push(format!("{offset} {row} {what}"));
                Ok::<_, Error>(())
            };
            while records.next(&mut show).unwrap() {}
            assert_eq!(records.count(), all.len() as u64);
            (0..records.dropped()).for_each(|_| all.push("dropped".to_owned()));
            all
        });
        reading.await.unwrap()
    }

    #[tokio::test]
    async fn a_batch_that_lambda_gave_up_is_no_event() {
        let batch = r#"{"requestContext":{"functionArn":"f","condition":"c"},"KafkaBatchInfo":{"batchSize":1},"payload":"{}"}"#;
        assert_eq!(records_of(batch.as_bytes()).await, ["0 1 failed_batch"]);
        // In a stream of events it is what a producer sends.
        let second = format!("{{}}\n{batch}");
        assert_eq!(records_of(second.as_bytes()).await, ["0 1 {}".to_owned(), format!("3 2 {batch}")]);
    }

    #[tokio::test]
    async fn every_record_has_its_origin() {
        assert_eq!(records_of(b"").await, Vec::<String>::new());
        assert_eq!(records_of(b"{\"a\":1}\n  {}").await, ["0 1 {\"a\":1}", "10 2 {}"]);
        assert_eq!(records_of(b"{}\n{\"a\":").await, ["0 1 {}", "3 2 truncated"]);
        assert_eq!(records_of(b"PAR1 and more").await, ["0 1 unknown_compression"]);
    }

    #[tokio::test]
    async fn damage_refuses_the_record_that_it_cuts_and_the_rest() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, b"{\"a\":1}\n{\"a\":").unwrap();
        let mut damaged = packed.finish().unwrap();
        let crc = damaged.len() - 8;
        damaged[crc] ^= 1;
        let records = records_of(&damaged).await;
        assert_eq!(records, ["0 1 {\"a\":1}", "8 2 truncated", "13 3 corrupt_compression"]);
    }

    #[tokio::test]
    async fn a_value_that_holds_several_events_is_several_records() {
        let envelope = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","logEvents":[
            {"id":"1","timestamp":1,"message":"a"},{"id":"2","timestamp":2,"message":"b"}]}"#;
        let beside = r#""owner":"1","log_group":"g","log_stream":"s"}"#;
        let control = envelope.replace("DATA_", "CONTROL_");
        let content = format!("{envelope}\n[{{\"n\":1}}, {{\"n\":2}},3]{control}[]{{}}");
        let at = |part: &str| content.find(part).unwrap();
        let expected = [
            format!("0 1 {{\"id\":\"1\",\"timestamp\":1,\"message\":\"a\",{beside}"),
            format!("0 2 {{\"id\":\"2\",\"timestamp\":2,\"message\":\"b\",{beside}"),
            format!("{} 3 {{\"n\":1}}", at("[{\"n")),
            format!("{} 4 {{\"n\":2}}", at("[{\"n")),
            format!("{} 5 3", at("[{\"n")),
            format!("{} 6 {{}}", at("{}")),
            "dropped".to_owned(),
            "dropped".to_owned(),
        ];
        assert_eq!(records_of(content.as_bytes()).await, expected);
    }

    /// transform has taken it apart as far as it was told to.
    #[tokio::test]
    async fn what_was_enriched_is_one_record() {
        let object =
            r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"g","logStream":"s","logEvents":[]"#;
        let four = r#""record_id":"8a7b3d02-e185-5fe2-894d-5a00e38aade1","ingestion_timestamp":"2026-01-02T03:04:05.678000Z","partition_date":"2026-01-02","partition_hour":"03""#;
        for text in [format!("{object},{four}}}"), object.replacen('{', &format!("{{{four},"), 1) + "}"] {
            assert_eq!(records_of(text.as_bytes()).await, [format!("0 1 {text}")]);
        }
    }

    /// Of one of 50 MB nothing but its elements is ever whole.
    #[tokio::test]
    async fn a_long_envelope_is_read_as_its_events() {
        let unpack = Options { unwrap: Some("Records".parse().unwrap()), ..Options::default() };
        let element = |n: usize| format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(1 << 16));
        let count = limits().record_bytes / (1 << 16) + 10;
        let elements: Vec<String> = (0..count).map(element).collect();
        let content = format!("{{\"v\":1,\"Records\":[{}],\"w\":2}}\n{{}}", elements.join(","));
        let records = records_by(unpack, content.as_bytes()).await;
        assert_eq!(records.len(), count + 2);
        for (n, record) in records[..count].iter().enumerate() {
            let element = element(n);
            let expected = format!(
                "{} {} {},\"v\":1}}",
                content.find(&element).unwrap(),
                n + 1,
                element.trim_end_matches('}')
            );
            assert!(*record == expected, "{n}");
        }
        let behind = format!("{} {} record_too_large", content.find(",\"w\"").unwrap(), count + 1);
        assert_eq!(records[count..], [behind, format!("{} {} {{}}", content.len() - 2, count + 2)]);
    }

    #[tokio::test]
    async fn a_broken_element_of_a_long_envelope_is_refused_alone_or_mended_with_all_its_fields() {
        let long = "x".repeat(limits().record_bytes);
        let content = format!("{{\"v\":1,\"i\":[{{\"a\":NaN}},{{\"a\":2,\"b\":\"{long}\"}},{{\"a\":3}}]}}");
        let unpack = Options { unwrap: Some("i".parse().unwrap()), ..Options::default() };
        let shown = |records: Vec<String>| {
            records.iter().map(|it| it[..it.len().min(40)].to_owned()).collect::<Vec<_>>()
        };
        let last = format!("{} 3 {{\"a\":3,\"v\":1}}", content.len() - 9);
        let expected = ["12 1 invalid_json*", "22 2 record_too_large", &last];
        assert_eq!(shown(records_by(unpack.clone(), content.as_bytes()).await), expected);
        let unpack = Options { nan_is_null: true, ..unpack };
        let expected = ["12 1 {\"a\":null,\"v\":1}", "22 2 record_too_large", &last];
        assert_eq!(shown(records_by(unpack, content.as_bytes()).await), expected);
    }

    #[tokio::test]
    async fn what_the_options_take_is_not_broken() {
        let content = b"{\"a\":NaN}\nINFO text\n{\"a\":\n";
        assert_eq!(records_of(content).await, ["0 1 invalid_json*", "10 2 invalid_json", "20 3 truncated"]);
        let unpack = Options { nan_is_null: true, text_is_message: true, ..Options::default() };
        let expected = ["0 1 {\"a\":null}", "10 2 {\"message\":\"INFO text\"}", "20 3 truncated"];
        assert_eq!(records_by(unpack, content).await, expected);
    }
}

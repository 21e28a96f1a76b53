//! What stands in for Amazon Data Firehose: records -> transform -> delivered objects.
//!
//! In: records, or whole transformation events. Out: gzip objects under `raw/`, named as Firehose names them, and
//! failed records under `errors/processing-failed/`, in the lines that Firehose writes. Names and contents are a
//! function of the input alone. Records are handed to transform in events of about 1 MiB (the buffer hint of
//! template.yaml), and delivered in objects of about 5 MiB (Firehose's default).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime};
use flate2::Compression;
use flate2::write::GzEncoder;
use lake::{Digest, WholeFile};
use lambda::firehose::{Event, ProcessingFailedLine, Response};
use records::rejection::Reason;
use records::unpack::Options;
use tokio::sync::mpsc;
use transform::config::Config;
use transform::handler;
use uuid::Uuid;

use super::counts::Counts;
use super::input::Input;
use super::refusals::Example;
use crate::warehouse::{RAW_BUCKET, files};

const STREAM: &str = "frazil";
const STREAM_ARN: &str = "arn:aws:firehose:us-east-1:000000000000:deliverystream/frazil";
const FUNCTION_ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:transform";

/// How the name of an object tells its time.
const OBJECT_TIME: &str = "%Y-%m-%d-%H-%M-%S";
/// Size of the records of one event, in bytes before base64.
const EVENT_BYTES: usize = 1 << 20;
/// Records of one event: what enrichment adds to so many still fits into a response.
const EVENT_RECORDS: usize = 10_000;
/// Size at which an object is delivered, in bytes before gzip.
const OBJECT_BYTES: usize = 5 << 20;
/// Objects that are announced together. A table is inferred from the first so many.
const BATCH_OBJECTS: usize = 50;
/// Between the arrivals of two events.
const EVENT_INTERVAL_MILLIS: i64 = 1_000;

/// An object that was delivered.
#[derive(Clone, Debug)]
pub(crate) struct DeliveredObject {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
    pub(crate) version_id: Option<String>,
    /// None where it does not matter: it was there for long.
    pub(crate) delivered_millis: Option<i64>,
}

/// The delivery stream of one input.
pub(super) struct Firehose<'a> {
    root: PathBuf,
    sender: &'a mpsc::Sender<Vec<DeliveredObject>>,
    name: String,
    digest: [u8; 32],
    transform: Config,
    arrival_millis: i64,
    /// The event that is being filled: its records as JSON, the size of their data, and where each begins in the input.
    event: String,
    event_bytes: usize,
    offsets: Vec<u64>,
    /// What transform answered last.
    response: Vec<u8>,
    object: Vec<u8>,
    failed_lines: Vec<u8>,
    delivered: Vec<DeliveredObject>,
    /// Objects so far, of both kinds: a part of their names.
    objects: u32,
    failed_objects: u32,
    counts: Counts,
}

impl<'a> Firehose<'a> {
    pub(super) fn new(
        root: &Path,
        input: &Input,
        unpack: &Options,
        sender: &'a mpsc::Sender<Vec<DeliveredObject>>,
    ) -> anyhow::Result<Self> {
        let digest = *input.digest();
        let before = arrival_before(&root.join(RAW_BUCKET), named_uuid(&digest, "object", 0))?;
        Ok(Self {
            root: root.to_owned(),
            sender,
            name: input.name().to_owned(),
            digest,
            transform: Config { unpack: unpack.clone(), ..Config::default() },
            arrival_millis: before.unwrap_or(input.arrival_millis()),
            event: String::new(),
            event_bytes: 0,
            offsets: Vec::new(),
            response: Vec::new(),
            object: Vec::new(),
            failed_lines: Vec::new(),
            delivered: Vec::new(),
            objects: 0,
            failed_objects: 0,
            counts: Counts::default(),
        })
    }

    /// Puts one record, which begins at byte `offset` of the input.
    pub(super) fn put(&mut self, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        if self.offsets.len() >= EVENT_RECORDS
            || (!self.offsets.is_empty() && self.event_bytes + data.len() > EVENT_BYTES)
        {
            self.invoke()?;
        }
        if !self.offsets.is_empty() {
            self.event.push(',');
        }
        let record = self.counts.records + self.offsets.len() as u64;
        let arrival = self.event_arrival();
        self.event.push_str(&format!(
            r#"{{"recordId":"{}","approximateArrivalTimestamp":{arrival},"data":""#,
            self.record_id(record)
        ));
        STANDARD.encode_string(data, &mut self.event);
        self.event.push_str("\"}");
        self.offsets.push(offset);
        self.event_bytes += data.len();
        Ok(())
    }

    /// Hands a whole transformation event, which begins at byte `offset` of the input, to transform as it is.
    pub(super) fn put_event(&mut self, offset: u64, event_json: &str) -> anyhow::Result<()> {
        self.transform(event_json, |_| offset)
    }

    /// Counts a record that is too large for Firehose; the input has its bytes.
    pub(super) fn refuse(&mut self, offset: u64, length: u64) -> anyhow::Result<()> {
        self.invoke()?;
        let code = Reason::RecordTooLarge.code();
        let message = format!(
            "{code}: the record at byte {offset} of {} is {length} bytes long; split it or leave it out",
            self.name
        );
        self.counts.records += 1;
        self.counts.failed += 1;
        let row = self.counts.records;
        self.counts.refusals.add(code, || Example {
            object: self.name.clone(),
            row,
            offset,
            message: format!("it is {length} bytes long, more than the response of a function can carry"),
            remedy: "Split it or leave it out: it is only in the input.".to_owned(),
        });
        self.fail(self.event_arrival(), "Firehose.RecordTooLarge", &message, "")
    }

    /// Notes that the input could not be read to its end.
    pub(super) fn damaged(&mut self, error: &str) {
        self.counts.damaged.push(format!("{} cannot be read to its end: {error}", self.name));
    }

    /// Delivers what is left.
    pub(super) fn finish(mut self) -> anyhow::Result<Counts> {
        self.invoke()?;
        if self.counts.records == 0 && self.counts.damaged.is_empty() {
            self.counts.empty.push(self.name.clone());
        }
        self.deliver()?;
        self.deliver_failed()?;
        self.announce()?;
        Ok(self.counts)
    }

    /// Invokes transform with the records so far.
    fn invoke(&mut self) -> anyhow::Result<()> {
        if self.offsets.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.event);
        let event_json = format!(
            r#"{{"invocationId":"{}","deliveryStreamArn":"{STREAM_ARN}","region":"us-east-1","records":[{records}]}}"#,
            self.named_uuid("event", self.counts.invocations)
        );
        self.event_bytes = 0;
        let offsets = std::mem::take(&mut self.offsets);
        self.transform(&event_json, |index| offsets.get(index).copied().unwrap_or_default())
    }

    /// Hands an event to transform and takes over what it answers. `offset` says where a record of it begins in the input.
    fn transform(&mut self, event_json: &str, offset: impl Fn(usize) -> u64) -> anyhow::Result<()> {
        let arrival = self.event_arrival();
        let outcome = handler::handle(event_json, arrival * 1000, &self.transform, &mut self.response)?;
        let response: Response =
            serde_json::from_slice(&self.response).context("transform answered what is no answer")?;
        for answer in &response.records {
            if let Some(data) = answer.data_base64() {
                STANDARD
                    .decode_vec(data, &mut self.object)
                    .context("transform answered what is no base64")?;
                if self.object.len() >= OBJECT_BYTES {
                    self.deliver()?;
                }
            }
        }
        if !outcome.failures.is_empty() {
            let event = Event::parse(event_json)?;
            for failure in &outcome.failures {
                let reason = failure.refusal.reason;
                let row = self.counts.records + failure.index as u64 + 1;
                self.counts.refusals.add(reason.code(), || Example {
                    object: self.name.clone(),
                    row,
                    offset: offset(failure.index),
                    message: failure.refusal.message.clone(),
                    remedy: reason.remedy().to_owned(),
                });
                let record = event.records.get(failure.index);
                let data = record.and_then(|record| record.data_base64());
                let arrival =
                    record.and_then(|record| record.arrival_micros()).map_or(arrival, |micros| micros / 1000);
                let message = format!("{}: {}", reason.code(), failure.refusal.message);
                self.fail(arrival, "Lambda.ProcessingFailedStatus", &message, data.unwrap_or_default())?;
            }
        }
        let records = outcome.records as u64;
        self.counts.invocations += 1;
        self.counts.records += records;
        self.counts.failed += outcome.failures.len() as u64;
        self.counts.dropped += outcome.dropped as u64;
        self.counts.ok += records - (outcome.failures.len() + outcome.dropped) as u64;
        Ok(())
    }

    fn fail(&mut self, arrival: i64, code: &str, message: &str, data: &str) -> anyhow::Result<()> {
        let line = ProcessingFailedLine {
            attempts_made: 1,
            arrival_timestamp: arrival,
            error_code: code,
            error_message: message,
            attempt_ending_timestamp: arrival,
            raw_data: data,
            lambda_arn: FUNCTION_ARN,
        };
        serde_json::to_writer(&mut self.failed_lines, &line)?;
        self.failed_lines.push(b'\n');
        if self.failed_lines.len() >= OBJECT_BYTES { self.deliver_failed() } else { Ok(()) }
    }

    fn deliver(&mut self) -> anyhow::Result<()> {
        if self.object.is_empty() {
            return Ok(());
        }
        let key = format!("{}.gz", self.object_name("object", self.objects));
        // Of the content before compression: another version of the encoder makes no other object of it.
        let etag = Digest::of(&self.object).hex();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.object)?;
        let compressed = encoder.finish()?;
        WholeFile::write_all_to(&self.root.join(RAW_BUCKET).join(&key), &compressed)?;
        let size_bytes = compressed.len() as u64;
        let delivered_millis = self.event_arrival();
        let (bucket, version_id) = (RAW_BUCKET.to_owned(), None);
        self.delivered.push(DeliveredObject {
            bucket,
            key,
            size_bytes,
            etag,
            version_id,
            delivered_millis: Some(delivered_millis),
        });
        self.objects += 1;
        self.object.clear();
        if self.delivered.len() >= BATCH_OBJECTS { self.announce() } else { Ok(()) }
    }

    fn deliver_failed(&mut self) -> anyhow::Result<()> {
        if self.failed_lines.is_empty() {
            return Ok(());
        }
        let name = self.object_name("failed", self.failed_objects);
        WholeFile::write_all_to(&self.root.join("errors/processing-failed").join(name), &self.failed_lines)?;
        self.failed_objects += 1;
        self.failed_lines.clear();
        Ok(())
    }

    fn announce(&mut self) -> anyhow::Result<()> {
        let delivered = std::mem::take(&mut self.delivered);
        if delivered.is_empty() {
            return Ok(());
        }
        // Whoever takes the objects goes away only with an error of its own, which is the one that is shown.
        self.sender.blocking_send(delivered).context("append has given up")
    }

    /// When the records of the current event arrive, in milliseconds since the Unix epoch.
    fn event_arrival(&self) -> i64 {
        self.arrival_millis + self.counts.invocations as i64 * EVENT_INTERVAL_MILLIS
    }

    /// 56 digits, as Firehose's ids are.
    fn record_id(&self, record: u64) -> String {
        let input = u128::from_be_bytes(self.named_uuid("input", 0).into_bytes()) >> 16;
        format!("{input:034}{record:022}")
    }

    /// A key without extension: `YYYY/MM/dd/HH/<stream>-<version>-YYYY-MM-DD-HH-MM-SS-<uuid>` (Amazon Data Firehose Developer
    /// Guide, "Configure Amazon S3 object name format").
    fn object_name(&self, kind: &str, number: u32) -> String {
        let time = DateTime::from_timestamp_millis(self.arrival_millis).unwrap_or_default();
        let uuid = self.named_uuid(kind, u64::from(number));
        format!("{}/{STREAM}-1-{}-{uuid}", time.format("%Y/%m/%d/%H"), time.format(OBJECT_TIME))
    }

    fn named_uuid(&self, kind: &str, number: u64) -> Uuid {
        named_uuid(&self.digest, kind, number)
    }
}

fn named_uuid(digest: &[u8; 32], kind: &str, number: u64) -> Uuid {
    let name = [&digest[..], kind.as_bytes(), &number.to_be_bytes()].concat();
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &name)
}

/// When an input arrived whose first object is `uuid`, if it was replayed before: so says the object's name. The age of
/// the file may have changed since, and must not make other objects of it.
fn arrival_before(folder: &Path, uuid: Uuid) -> anyhow::Result<Option<i64>> {
    let (start, end) = (format!("{STREAM}-1-"), format!("-{uuid}.gz"));
    for path in files(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(time) = name.strip_suffix(&end).map(|name| name.strip_prefix(&start).unwrap_or_default())
        {
            let time = NaiveDateTime::parse_from_str(time, OBJECT_TIME).ok();
            return Ok(time.map(|time| time.and_utc().timestamp_millis()));
        }
    }
    Ok(None)
}

//! Records -> batches of rows and rejections: the first half of an attempt, on the thread that gives the records.
//!
//! In: records with their origins, and the ends of their sources. Out: [`Step`]s, in their order, through a channel that makes
//! the thread wait for the writer. Refused: nothing; what is no row is a rejection, and what the table could take if it had
//! more columns is its growth.

use arrow_array::RecordBatch;
use iceberg::Result;
use iceberg::spec::TableMetadataRef;
use records::rejection::Refusal;
use tokio::sync::mpsc;

use crate::decode::{HEADERS, Lack, RowDecoder};
use crate::growth::Growth;
use crate::job::{AppendOptions, Limits, Rejected};
use crate::objects::{Closed, End, Origin, Record, Refused, Sink};
use crate::quarantine::Rejection;

/// Rows of a batch at most, however short they are.
const BATCH_ROWS: usize = 64 * 1024;
/// Records that are soon read again.
const SOON_AGAIN: u64 = 10_000;

/// What goes from the decoder to the writer, one after the other.
pub(super) enum Step {
    /// Rows of one or several sources; an error is a defect.
    Rows(Result<RecordBatch>),
    /// A record is refused.
    Rejected(Rejection),
    /// Source `at` has ended. Its last rows may still come.
    Ended { at: usize, end: End, found: Found },
    /// All sources have ended.
    Complete { growth: Option<Growth>, ignored: u64 },
    /// There are more fields than the table may have columns. Little was read so far, and soon again.
    Full(Growth),
}

/// What was found in a source so far.
#[derive(Default)]
pub(super) struct Found {
    /// Of one of its records.
    pub(super) origin: Option<Origin>,
    pub(super) rows: u64,
    pub(super) rejected: Rejected,
}

/// Decodes the records of an attempt, on the thread that gives them.
pub(crate) struct Rows {
    decoder: RowDecoder,
    processing_time: String,
    /// Whether the table has a column for the headers of records.
    with_headers: bool,
    limits: Limits,
    sender: mpsc::Sender<Step>,
    /// What was found in the source whose records come.
    found: Found,
    /// Of the table, if there is one.
    metadata: Option<TableMetadataRef>,
    /// What the table lacks. The pass goes on to find out what else it is, and to write what can be had without.
    growth: Option<Growth>,
    /// Records that came.
    read: u64,
}

impl Sink for Rows {
    fn plain(
        &mut self,
        origin: &Origin,
        text: &[u8],
        is_event: &dyn Fn(&[u8]) -> bool,
    ) -> std::result::Result<Option<usize>, Closed> {
        self.begin(origin);
        let taken = self.decoder.push_plain(text, is_event);
        if taken.is_some() {
            self.read += 1;
            self.found.rows += 1;
            self.flush_if_full()?;
        }
        Ok(taken)
    }

    fn record(&mut self, origin: &Origin, record: Record<'_>) -> std::result::Result<(), Closed> {
        self.begin(origin);
        self.read += 1;
        let decoded = match record {
            Ok(text) => self.decode(text)?.map_err(|refusal| Refused::new(refusal, Some(text))),
            Err(refused) => Err(refused),
        };
        match decoded {
            Ok(()) => self.found.rows += 1,
            Err(Refused { refusal, bytes, keep_object, identity }) => {
                *self.found.rejected.entry(refusal.reason).or_default() += 1;
                let (origin, bytes) = (origin.clone(), bytes.map(<[u8]>::to_vec));
                self.send(Step::Rejected(Rejection { origin, refusal, bytes, keep_object, identity }))?;
            }
        }
        self.flush_if_full()
    }

    fn end(&mut self, at: usize, end: End) -> std::result::Result<(), Closed> {
        let found = std::mem::take(&mut self.found);
        self.send(Step::Ended { at, end, found })
    }
}

impl Rows {
    /// Gives what `decoder` makes of records to whoever holds the other end of `sender`. `metadata` is the table's, if there
    /// is one.
    pub(super) fn new(
        decoder: RowDecoder,
        options: &AppendOptions,
        metadata: Option<TableMetadataRef>,
        sender: mpsc::Sender<Step>,
    ) -> Self {
        Self {
            processing_time: options.processing_time.clone(),
            with_headers: decoder.fills(HEADERS),
            limits: options.limits,
            found: Found::default(),
            growth: None,
            read: 0,
            decoder,
            sender,
            metadata,
        }
    }

    /// All sources have ended.
    pub(super) fn complete(&mut self) -> std::result::Result<(), Closed> {
        self.flush()?;
        let (growth, ignored) = (self.growth.take(), self.decoder.take_ignored());
        self.send(Step::Complete { growth, ignored })
    }

    /// The next record is from `origin`.
    fn begin(&mut self, origin: &Origin) {
        if self.found.origin.is_none() || origin.is_told_by_record() {
            let decoder = &mut self.decoder;
            origin.system(&self.processing_time, self.with_headers, |columns| decoder.set_system(columns));
        }
        if self.found.origin.is_none() {
            self.found.origin = Some(origin.clone());
        }
    }

    /// Adds a row, if need be without what the table lacks for it.
    fn decode(&mut self, text: &[u8]) -> std::result::Result<std::result::Result<(), Refusal>, Closed> {
        let lacks = match self.decoder.push(text) {
            Ok(lacks) => lacks,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if lacks.is_empty() {
            return Ok(Ok(()));
        }
        self.grow(lacks)?;
        Ok(self.decoder.push_without(text))
    }

    /// Notes what the table lacks for a row.
    fn grow(&mut self, lacks: Vec<Lack>) -> std::result::Result<(), Closed> {
        // Without a table, nothing is lacking: every record is refused.
        let Some(metadata) = &self.metadata else { return Ok(()) };
        let growth = self.growth.get_or_insert_with(|| Growth::of(metadata));
        if growth.is_full() {
            return Ok(());
        }
        growth.add(lacks);
        if growth.is_full()
            && self.read <= SOON_AGAIN
            && let Some(growth) = self.growth.take()
        {
            self.send(Step::Full(growth))?;
            return Err(Closed);
        }
        Ok(())
    }

    fn flush_if_full(&mut self) -> std::result::Result<(), Closed> {
        let is_full = self.decoder.is_full(self.limits.batch_bytes) || self.decoder.rows() >= BATCH_ROWS;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::result::Result<(), Closed> {
        if self.decoder.rows() == 0 {
            return Ok(());
        }
        let batch = self.decoder.finish();
        self.send(Step::Rows(batch))
    }

    fn send(&self, step: Step) -> std::result::Result<(), Closed> {
        self.sender.blocking_send(step).map_err(|_| Closed)
    }
}

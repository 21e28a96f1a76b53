//! Records -> what a commit can add: data files, and the quarantine of what was rejected.
//!
//! In: records with their origins, from a thread of their own, and what the table has of them already. Out: what came of
//! it, an [`Attempted`]. The records are decoded on the thread that gives them and written on the task, through a short
//! channel: fetching, decoding and writing go on at the same time, and none of them runs ahead of the others by more than
//! the channel holds. The thread ends soon after the attempt is dropped. A source whose storage fails before anything of
//! it was written does without the rest; if it fails later, nothing of the attempt can be used, and what else fails is
//! found out before the next one.

use std::collections::HashMap;

use iceberg::io::FileIO;
use iceberg::spec::{DataFile, Schema};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};
use records::rejection::Reason;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::TableWriter;
use super::rows::{Found, Rows, Step};
use crate::decode::unknown::Fixed;
use crate::decode::{RowDecoder, SystemColumn};
use crate::growth::Growth;
use crate::job::{AppendOptions, Rejected};
use crate::known::{Known, Lacking};
use crate::objects::{Closed, End, Origin};
use crate::quarantine::{Added, Quarantine};
use crate::task::{self, Stop};

/// Steps that the decoder may be ahead of the writer. A batch is a step.
const STEPS_AHEAD: usize = 2;

/// One try to write records that are to be committed together.
pub(crate) struct Attempt<'a> {
    id: Uuid,
    rows: Rows,
    steps: mpsc::Receiver<Step>,
    /// None where there is no table yet: then nothing becomes a row.
    writer: Option<TableWriter>,
    quarantine: Quarantine,
    known: &'a Known,
}

/// What came of an attempt.
pub(crate) enum Attempted {
    /// Files for a commit, and what removes them.
    Written(Written, Box<Undo>),
    /// No source was read to its end: there is nothing to commit.
    Nothing,
    /// Some sources failed when part of them was written. The files are removed; the others are still to be written.
    Spoiled,
    /// The rows need more files than one commit may add. The files are removed; fewer rows may not need so many.
    TooManyFiles(Error),
    /// The table lacks what some rows need. If all was read, it can be had without that.
    Grows(Growth, Option<Box<Without>>),
}

/// What an attempt has written for the table as it is: of rows for which that lacks something, the rest column has it, or the
/// rows are in the quarantine.
pub(crate) struct Without {
    id: Uuid,
    tallies: Vec<Tally>,
    ignored: u64,
    undo: Undo,
}

/// Why a source is no part of what was written.
pub(crate) enum LeftOut {
    /// Its storage failed.
    Failed(Error),
    /// There was no time for it.
    NotReached,
}

/// What an attempt has written.
pub(crate) struct Written {
    /// Tells the attempt from any other; the names of its files have it.
    pub(crate) id: Uuid,
    pub(crate) files: Vec<DataFile>,
    /// The sources that were read to their ends.
    pub(crate) tallies: Vec<Tally>,
    /// Fields that were left out of rows.
    pub(crate) ignored: u64,
}

/// Removes what an attempt has written.
pub(crate) struct Undo {
    writer: Option<TableWriter>,
    quarantine: Quarantine,
}

/// What was found in a source that was read to its end.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) source: usize,
    /// Rows that the table lacks.
    pub(crate) rows: u64,
    /// Rows that it has.
    pub(crate) known: u64,
    pub(crate) rejected: Rejected,
    /// Messages that hold no record on purpose.
    pub(crate) dropped: u64,
}

impl Written {
    /// How many records are in the quarantine.
    pub(crate) fn rejected(&self) -> u64 {
        self.tallies.iter().flat_map(|tally| tally.rejected.values()).sum()
    }

    /// How many messages hold no record on purpose.
    pub(crate) fn dropped(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.dropped).sum()
    }
}

impl Undo {
    /// Removes the files. Only if no commit was tried with them.
    pub(crate) async fn run(self) {
        // Without a table no commit accounts for the quarantine: what is in it stays.
        if let Some(writer) = self.writer {
            writer.abandon().await;
            self.quarantine.abandon().await;
        }
    }

    /// Removes the files after `error`.
    async fn after(self, error: Error) -> Result<Attempted> {
        let too_many = self.writer.as_ref().is_some_and(TableWriter::has_too_many_files);
        if !too_many {
            // To abandon may take longer than there is time.
            tracing::error!(%error, "the files cannot be written");
        }
        self.run().await;
        if too_many { Ok(Attempted::TooManyFiles(error)) } else { Err(error) }
    }
}

/// How far the records could be written.
enum Pass {
    Whole { tallies: Vec<Tally>, ignored: u64 },
    Spoiled(Vec<(usize, Error)>),
    Grows { growth: Growth, whole: Option<(Vec<Tally>, u64)> },
}

impl Without {
    /// Closes the files: an [`Attempted`] as of an attempt to a table that does not grow.
    ///
    /// # Errors
    /// The storage's, where the files are. They are removed.
    pub(crate) async fn close(self) -> Result<Attempted> {
        let Self { id, tallies, ignored, mut undo } = self;
        let closed = match &mut undo.writer {
            Some(writer) => writer.close().await.map(|files| Written { id, files, tallies, ignored }),
            None => Ok(Written { id, files: Vec::new(), tallies, ignored }),
        };
        match closed {
            Ok(written) => Ok(Attempted::Written(written, Box::new(undo))),
            Err(error) => undo.after(error).await,
        }
    }

    /// Removes the files.
    pub(crate) async fn undo(self) {
        self.undo.run().await;
    }
}

impl<'a> Attempt<'a> {
    /// An attempt to write to `table` what it does not have by `known`, from a source that gives columns such as `system`.
    /// Where there is no table, every record must be one that is refused. The table does not grow if there is a reason,
    /// `fixed`.
    ///
    /// # Errors
    /// The table's columns, properties or partitions are of a kind that cannot be written.
    pub(crate) fn new(
        file_io: &FileIO,
        id: Uuid,
        table: Option<&Table>,
        options: &AppendOptions,
        known: &'a Known,
        system: &[SystemColumn<'_>],
        fixed: Option<Fixed>,
    ) -> Result<Self> {
        let limits = options.limits;
        let (mut decoder, writer) = match table {
            Some(table) => {
                let decoder = RowDecoder::for_fixed(table.metadata(), system, fixed)?;
                (decoder, Some(TableWriter::new(table, limits.write, id)?))
            }
            None => (RowDecoder::with_system(&Schema::builder().build()?, system)?, None),
        };
        decoder.set_row_bytes(limits.row_bytes);
        let (name, commit) = (options.table.to_string(), table.map(|_| id));
        let quarantine =
            Quarantine::new(file_io.clone(), &options.errors_uri, name, commit, limits.known_rows);
        let (sender, steps) = mpsc::channel(STEPS_AHEAD);
        let rows = Rows::new(decoder, options, table.map(Table::metadata_ref), sender);
        Ok(Self { id, rows, steps, writer, quarantine, known })
    }

    /// Writes the records that `feed` gives, on a thread that may block, until it is told to stop. Sources that are no part
    /// of what was written go to `leave_out` as soon as that is known.
    ///
    /// # Errors
    /// The storage's, where the files are. They are removed.
    pub(crate) async fn run(
        self,
        feed: impl FnOnce(&mut Rows, &Stop) -> std::result::Result<(), Closed> + Send + 'static,
        mut leave_out: impl FnMut(usize, LeftOut),
    ) -> Result<Attempted> {
        let Self { id, mut rows, mut steps, mut writer, mut quarantine, known } = self;
        // Whoever drops this future ends the thread.
        let (_waiting, stop) = task::waiting();
        task::spawn_blocking(move || {
            // A closed channel means that nobody wants the rest.
            let _ = feed(&mut rows, &stop).and_then(|()| rows.complete());
        });
        let passed = write(&mut steps, writer.as_mut(), &mut quarantine, known, &mut leave_out).await;
        let undo = Undo { writer, quarantine };
        match passed {
            Ok(Pass::Whole { tallies, .. }) if tallies.is_empty() => Ok(Attempted::Nothing),
            Ok(Pass::Whole { tallies, ignored }) => Without { id, tallies, ignored, undo }.close().await,
            Ok(Pass::Grows { growth, whole: Some((tallies, ignored)) }) if !tallies.is_empty() => {
                Ok(Attempted::Grows(growth, Some(Box::new(Without { id, tallies, ignored, undo }))))
            }
            Ok(Pass::Grows { growth, .. }) => {
                undo.run().await;
                Ok(Attempted::Grows(growth, None))
            }
            Ok(Pass::Spoiled(failed)) => {
                tracing::info!(objects = failed.len(), "objects failed; writing again without them");
                failed.into_iter().for_each(|(at, error)| leave_out(at, LeftOut::Failed(error)));
                undo.run().await;
                Ok(Attempted::Spoiled)
            }
            Err(error) => undo.after(error).await,
        }
    }
}

/// Writes what `steps` give: rows that the table lacks go to the writer, rejections to the quarantine.
async fn write(
    steps: &mut mpsc::Receiver<Step>,
    mut writer: Option<&mut TableWriter>,
    quarantine: &mut Quarantine,
    known: &Known,
    leave_out: &mut impl FnMut(usize, LeftOut),
) -> Result<Pass> {
    let mut lacking = known.rows.filter();
    let mut rejected_before: HashMap<(usize, Reason), u64> = HashMap::new();
    let mut read = Vec::new();
    let mut failed = Vec::new();
    let (growth, ignored, is_whole) = loop {
        let Some(step) = steps.recv().await else {
            // The files may hold rows of a source that was not read to its end.
            return Err(Error::new(ErrorKind::Unexpected, "reading ended early: a defect"));
        };
        match step {
            Step::Complete { growth, ignored } => break (growth, ignored, true),
            Step::Full(growth) => break (Some(growth), 0, false),
            Step::Ended { at, end: End::Spoiled(error), .. } => failed.push((at, error)),
            Step::Ended { at, end: End::Failed(error), .. } if !failed.is_empty() => failed.push((at, error)),
            // The pass is in vain, and goes on only to find out what else fails.
            _ if !failed.is_empty() => {}
            Step::Ended { at, end: End::Failed(error), .. } => leave_out(at, LeftOut::Failed(error)),
            Step::Ended { at, end: End::NotReached, .. } => leave_out(at, LeftOut::NotReached),
            Step::Ended { at, end: End::Read { dropped }, mut found } => {
                quarantine.close().await?;
                for (reason, count) in &mut found.rejected {
                    *count -= rejected_before.get(&(at, *reason)).copied().unwrap_or(0);
                }
                found.rejected.retain(|_, count| *count > 0);
                read.push((at, found, dropped));
            }
            Step::Rows(batch) => match &mut writer {
                Some(writer) => writer.write(&lacking.of(batch?)?).await?,
                None => return Err(Error::new(ErrorKind::Unexpected, "rows without a table: a defect")),
            },
            Step::Rejected(rejection) => {
                let (at, reason) = (rejection.origin.source(), rejection.refusal.reason);
                match quarantine.add(known.versions(&rejection.origin), &rejection).await? {
                    Added::New => {}
                    Added::Known => *rejected_before.entry((at, reason)).or_default() += 1,
                    Added::Failed(error) => failed.push((at, error)),
                }
            }
        }
    };
    if !failed.is_empty() {
        return Ok(Pass::Spoiled(failed));
    }
    let tallies = || {
        let read = read.into_iter();
        read.map(|(at, found, dropped)| tally(at, found, dropped, &lacking)).collect()
    };
    Ok(match growth {
        Some(growth) => Pass::Grows { growth, whole: is_whole.then(|| (tallies(), ignored)) },
        None => Pass::Whole { tallies: tallies(), ignored },
    })
}

fn tally(source: usize, found: Found, dropped: u64, lacking: &Lacking<'_>) -> Tally {
    let known = match &found.origin {
        Some(Origin::Object { object, .. }) => lacking.known(&object.object.uri),
        // Nothing is read of what the table has.
        Some(Origin::Kafka { .. }) | None => 0,
    };
    Tally { source, rows: found.rows - known, known, rejected: found.rejected, dropped }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::time::Instant;

    use iceberg::TableIdent;
    use iceberg::io::FileIOBuilder;
    use records::unpack::Options;

    use super::*;
    use crate::infer::infer;
    use crate::objects::testing::{found, limits};
    use crate::objects::{Pass, PassTime, count_records};
    use crate::storage::{S3Config, storage_factory};

    /// A runtime waits for its threads when it ends.
    #[test]
    fn nothing_goes_on_when_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let file_io = FileIOBuilder::new(storage_factory(&S3Config::default())).build();
        // One record without an end: there is no frame and no step at which the reader could look up.
        let mut endless = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        endless.write_all(b"{\"text\": \"").unwrap();
        (0..500).for_each(|_| endless.write_all(&[b'x'; 1 << 20]).unwrap());
        let endless = endless.finish().unwrap();
        for task in ["infer", "count", "attempt"] {
            let unpack = Options::default();
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let object = found(folder.path(), 0, &endless, 0);
            runtime.block_on(async {
                let wait = Duration::from_millis(50);
                let end = Instant::now() + Duration::from_secs(600);
                match task {
                    "infer" => drop(
                        tokio::time::timeout(wait, infer(vec![object], limits(), &Options::default(), end))
                            .await,
                    ),
                    "count" => {
                        let counting = count_records(&file_io, &object.object, limits(), &unpack);
                        drop(tokio::time::timeout(wait, counting).await);
                    }
                    _ => {
                        let options = AppendOptions {
                            table: TableIdent::from_strs(["ns", "t"]).unwrap(),
                            branch: "main".to_owned(),
                            definition: None,
                            errors_uri: folder.path().to_str().unwrap().to_owned(),
                            processing_time: "1970-01-01T00:00:00Z".to_owned(),
                            deadline: end,
                            limits: limits(),
                            unpack: Options::default(),
                        };
                        let time = PassTime { begin_until: end, cut_off: end };
                        let pass = Pass { objects: vec![object], limits: limits(), unpack, time };
                        let known = Known::default();
                        let attempt =
                            Attempt::new(&file_io, Uuid::nil(), None, &options, &known, &[], None).unwrap();
                        let writing = attempt.run(move |rows, stop| pass.run(rows, stop), |_, _| ());
                        drop(tokio::time::timeout(wait, writing).await);
                    }
                }
            });
            let started = Instant::now();
            drop(runtime);
            assert!(started.elapsed() < Duration::from_secs(5), "{task}: {:?}", started.elapsed());
        }
    }
}

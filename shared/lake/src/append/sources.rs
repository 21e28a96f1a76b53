//! The objects of one invocation: which are there, and what became of each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use iceberg::io::FileIO;
use iceberg::{Error, ErrorKind, Result};

use crate::error::{Kind, reworded};
use crate::job::{ObjectOutcome, Rejected, SourceObject, Status};
use crate::ledger::is_ledger;
use crate::objects::{FoundObject, find, place};
use crate::quarantine;
use crate::token::Token;
use crate::write::{LeftOut, Tally};

/// Objects whose size is asked for at the same time.
const PARALLEL_REQUESTS: usize = 16;
/// Rejected records that are no mistake of a whole deployment yet, whatever their share.
const MISTAKES: u64 = 10;

/// The objects of an invocation, each once, and what is decided of them. An object is told by its index.
pub(super) struct Sources {
    objects: Vec<SourceObject>,
    statuses: HashMap<usize, Status>,
    /// Sizes of the objects that are committed.
    bytes_read: HashMap<usize, u64>,
    /// The objects that were found.
    found: HashMap<usize, Arc<FoundObject>>,
}

impl Sources {
    pub(super) fn new(mut objects: Vec<SourceObject>) -> Self {
        let mut seen = HashSet::new();
        objects.retain(|object| seen.insert(object.token));
        Self { objects, statuses: HashMap::new(), bytes_read: HashMap::new(), found: HashMap::new() }
    }

    /// Of objects that were found already. They are numbered anew.
    pub(super) fn found(objects: Vec<Arc<FoundObject>>) -> Self {
        let mut sources = Self::new(objects.iter().map(|found| found.object.clone()).collect());
        let by_token: HashMap<Token, Arc<FoundObject>> =
            objects.into_iter().map(|found| (found.object.token, found)).collect();
        for (at, object) in sources.objects.iter().enumerate() {
            if let Some(found) = by_token.get(&object.token) {
                let (object, input, size_bytes) = (object.clone(), found.input.clone(), found.size_bytes);
                sources.found.insert(at, Arc::new(FoundObject { at, object, input, size_bytes }));
            }
        }
        sources
    }

    /// Decides the objects that this pipeline writes itself.
    pub(super) fn ignore_own(&mut self, errors_uri: &str) {
        for (at, object) in self.objects.iter().enumerate() {
            if quarantine::is_quarantined(&object.uri, errors_uri) || is_ledger(&object.uri, errors_uri) {
                tracing::warn!(
                    object = object.uri,
                    "ignored: it lies among the files that this function writes itself"
                );
                self.statuses.insert(at, Status::Ignored);
            }
        }
    }

    /// Indexes of the objects that are not decided yet.
    pub(super) fn pending(&self) -> impl Iterator<Item = usize> {
        (0..self.objects.len()).filter(|at| !self.statuses.contains_key(at))
    }

    pub(super) fn is_done(&self) -> bool {
        self.pending().next().is_none()
    }

    pub(super) fn object(&self, at: usize) -> &SourceObject {
        &self.objects[at]
    }

    pub(super) fn decide(&mut self, at: usize, status: Status) {
        self.statuses.insert(at, status);
    }

    pub(super) fn fail(&mut self, at: usize, error: Error) {
        self.decide(at, Status::Failed(error));
    }

    pub(super) fn leave_out(&mut self, at: usize, why: LeftOut) {
        self.decide(
            at,
            match why {
                LeftOut::Failed(error) => Status::Failed(error),
                LeftOut::NotReached => Status::NotReached,
            },
        );
    }

    /// There is no time for what is pending.
    pub(super) fn leave_out_all(&mut self) {
        for at in self.pending().collect::<Vec<_>>() {
            self.decide(at, Status::NotReached);
        }
    }

    /// The rows of the objects `read` need too many files. The first half of the objects may not; the others are delivered
    /// again. An object that needs too many by itself has failed.
    pub(super) fn hand_back_half(&mut self, read: &[usize], error: &Error) {
        for at in &read[read.len() / 2..] {
            for version in self.versions(*at).collect::<Vec<_>>() {
                self.fail(version, reworded(error, error.message()));
            }
        }
    }

    /// Finds the pending objects; those that are not there are given up before anything is written.
    pub(super) async fn find(&mut self, file_io: &FileIO) {
        let objects = &self.objects;
        let asked: Vec<(usize, Result<FoundObject>)> =
            stream::iter(self.pending().filter(|at| !self.found.contains_key(at)).collect::<Vec<_>>())
                .map(|at| async move { (at, find(file_io, at, &objects[at]).await) })
                .buffer_unordered(PARALLEL_REQUESTS)
                .collect()
                .await;
        for (at, found) in asked {
            match found {
                Ok(found) => {
                    self.found.insert(at, Arc::new(found));
                }
                Err(error) => self.fail(at, error),
            }
        }
    }

    /// The pending objects as a reader takes them. Of several versions of an object the first: which rows of the next one
    /// are new is told by what the table then has.
    pub(super) fn to_read(&self) -> Vec<Arc<FoundObject>> {
        let mut seen = HashSet::new();
        self.pending()
            .filter(|at| seen.insert(&self.objects[*at].uri))
            .filter_map(|at| self.found.get(&at).cloned())
            .collect()
    }

    /// Pending objects whose bytes are those that were read as object `at`: itself, and, where the storage has no versions,
    /// other versions of it. What is there now was read once and stands for all of them.
    fn versions(&self, at: usize) -> impl Iterator<Item = usize> {
        let read = place(&self.objects[at]);
        self.pending().filter(move |other| place(&self.objects[*other]) == read)
    }

    /// The tokens of the objects that were read.
    pub(super) fn tokens(&self, tallies: &[Tally]) -> Vec<Token> {
        let objects = tallies.iter().flat_map(|tally| self.versions(tally.source));
        objects.map(|at| self.objects[at].token).collect()
    }

    /// The objects of `tallies` are in the table.
    pub(super) fn committed(&mut self, tallies: Vec<Tally>) {
        for Tally { source: at, rows, known, rejected, dropped } in tallies {
            for version in self.versions(at).collect::<Vec<_>>() {
                let nothing = Status::Committed { rows: 0, known: 0, rejected: Rejected::new(), dropped: 0 };
                self.statuses.insert(version, nothing);
            }
            self.statuses.insert(at, Status::Committed { rows, known, rejected, dropped });
            self.bytes_read.extend(self.found.get(&at).map(|found| (at, found.size_bytes)));
        }
    }

    /// Fails the objects of which more than `percent` of the records were rejected, and [`MISTAKES`] at least: a whole
    /// deployment's mistake is handed back, not quarantined. True if there is one.
    pub(super) fn stop_mistakes(&mut self, tallies: &[Tally], percent: Option<u8>) -> bool {
        let Some(percent) = percent else { return false };
        let mut is_stopped = false;
        for Tally { source, rows, known, rejected, .. } in tallies {
            let count: u64 = rejected.values().sum();
            if count < MISTAKES || count * 100 <= (rows + known + count) * u64::from(percent) {
                continue;
            }
            is_stopped = true;
            let reasons: Vec<String> =
                rejected.iter().map(|(reason, count)| format!("{reason}={count}")).collect();
            for version in self.versions(*source).collect::<Vec<_>>() {
                let what = format!(
                    "{count} of its {} records would be rejected ({}), more than FRAZIL_MAX_REJECTED_PERCENT={percent} \
                     allows: mend the table or the producer and deliver the object again, or raise the limit to \
                     quarantine them",
                    rows + known + count,
                    reasons.join(", ")
                );
                self.fail(version, Kind::Invalid.within(ErrorKind::DataInvalid, what));
            }
        }
        is_stopped
    }

    /// What became of each; there was no time for those that are not decided.
    pub(super) fn outcomes(&mut self) -> Vec<ObjectOutcome> {
        let objects = std::mem::take(&mut self.objects).into_iter().enumerate();
        objects
            .map(|(at, object)| {
                let status = self.statuses.remove(&at).unwrap_or(Status::NotReached);
                let bytes_read = self.bytes_read.get(&at).copied().unwrap_or(0);
                ObjectOutcome { object, status, bytes_read }
            })
            .collect()
    }
}

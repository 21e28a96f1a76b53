//! The world that all writers of a schedule share, and what each of them meets in it.
//!
//! Files and the table's pointer are in memory, so that a step takes no time of its own. Time is tokio's paused clock. What
//! touches the table waits for a slot: a millisecond that belongs to one writer alone, so that the order of two writers
//! never depends on how the machine runs their threads. What goes wrong follows the seed, the writer, its delivery and the
//! step, for the same reason.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use iceberg::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::engine::Rows;
use super::model::Model;
use crate::env::{Env, Source};

/// The wall clock when a schedule begins. Before any real one, by which the library judges metadata without a new snapshot.
const BEGIN_MS: i64 = 1_577_836_800_000;
/// Where the objects lie.
pub(crate) const RAW: &str = "memory://raw";
/// Slots are this many milliseconds apart for one writer: more than there are writers.
const SLOT_MS: u64 = 8;

/// How often what goes wrong, of a thousand steps.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A step fails before it has any effect, or after.
    pub(crate) fails: u64,
    /// It is never answered, or the writer dies in it.
    pub(crate) hangs: u64,
    pub(crate) kills: u64,
    /// Of swaps alone: refused as a conflict, applied later, applied though reported as a conflict, reported though lost.
    pub(crate) swaps: u64,
    /// Whether the writer may not change the table's schema.
    pub(crate) is_denied_schema: bool,
    /// How long the clock runs on with each step on a raw object.
    pub(crate) slow_ms: u64,
}

/// What all share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    begin: Instant,
    files: Mutex<HashMap<String, Bytes>>,
    /// What was read of data files, which never change.
    read: Mutex<HashMap<String, Arc<Rows>>>,
    model: Mutex<Model>,
}

impl World {
    /// Must be called in a runtime whose clock is paused.
    pub(crate) fn new(seed: u64, model: Model) -> Arc<Self> {
        let begin = Instant::now();
        Arc::new(Self {
            seed,
            begin,
            files: Mutex::default(),
            read: Mutex::default(),
            model: Mutex::new(model),
        })
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.files.lock().unwrap()
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap()
    }

    pub(crate) fn bytes(&self, path: &str) -> Option<Bytes> {
        self.files().get(path).cloned()
    }

    /// The rows of a data file, if it is there.
    pub(crate) fn rows(&self, path: &str) -> Option<Arc<Rows>> {
        let bytes = self.bytes(path)?;
        let mut read = self.read.lock().unwrap();
        Some(read.entry(path.to_owned()).or_insert_with(|| Rows::read(bytes).into()).clone())
    }

    fn elapsed_ms(&self) -> u64 {
        self.begin.elapsed().as_millis() as u64
    }

    pub(crate) fn now_ms(&self) -> i64 {
        BEGIN_MS + self.elapsed_ms() as i64
    }
}

/// One writer in one delivery.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    pub(crate) world: Arc<World>,
    /// Which writer: less than [`SLOT_MS`].
    who: u64,
    delivery: u64,
    faults: Faults,
    life: Arc<Life>,
    /// How often it has taken which step.
    steps: Arc<Mutex<HashMap<u64, u64>>>,
}

#[derive(Debug, Default)]
struct Life {
    died: Notify,
    is_dead: AtomicBool,
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Pass,
    FailBefore,
    FailAfter,
    Hang,
    DieBefore,
    DieAfter,
}

impl Hand {
    pub(crate) fn new(world: &Arc<World>, who: u64, delivery: u64, faults: Faults) -> Self {
        assert!(who < SLOT_MS);
        let (life, steps) = (Arc::default(), Arc::default());
        Self { world: world.clone(), who, delivery, faults, life, steps }
    }

    /// Time and chance for this writer, whose clock is `ahead_ms` ahead.
    pub(crate) fn env(&self, ahead_ms: i64) -> Env {
        let seed = self.hash("env", 0);
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Env::new(Simulated { world: self.world.clone(), ahead_ms, random })
    }

    /// Ends when the writer has died.
    pub(crate) async fn death(&self) {
        self.life.died.notified().await;
    }

    fn hash(&self, what: &str, count: u64) -> u64 {
        // Without a key of its own, so that it is the same in every process.
        let mut hasher = DefaultHasher::new();
        (self.world.seed, self.who, self.delivery, what, count).hash(&mut hasher);
        hasher.finish()
    }

    /// A number that depends on nothing but the seed, the writer, its delivery, the step and how often it was taken.
    pub(crate) fn dice(&self, step: &str) -> u64 {
        let mut steps = self.steps.lock().unwrap();
        let count = steps.entry(self.hash(step, 0)).or_default();
        *count += 1;
        self.hash(step, *count)
    }

    /// What becomes of the step `step` on `path`. Those on the table's metadata wait for their slot.
    pub(crate) async fn begin(&self, step: &str, path: &str) -> Act {
        if self.life.is_dead.load(Ordering::Relaxed) {
            return Act::Hang;
        }
        let dice = self.dice(&format!("{step} {}", kind(path)));
        // While a thread decodes records, the clock stands still: only what no thread waits for may take time.
        let takes_time = path.is_empty() || path.contains("/metadata/");
        if takes_time {
            self.wait(dice % 20).await;
        }
        if path.starts_with(RAW) && self.faults.slow_ms > 0 {
            tokio::time::advance(Duration::from_millis(self.faults.slow_ms)).await;
        }
        let (dice, faults) = (dice / 20, self.faults);
        match dice % 1000 {
            at if at < faults.fails => [Act::FailBefore, Act::FailAfter][(dice / 1000 % 2) as usize],
            at if at < faults.fails + faults.hangs && takes_time => Act::Hang,
            at if at >= 1000 - faults.kills => [Act::DieBefore, Act::DieAfter][(dice / 1000 % 2) as usize],
            _ => Act::Pass,
        }
    }

    /// Sleeps for about `ms`, until a slot of this writer.
    pub(crate) async fn wait(&self, ms: u64) {
        let from = self.world.elapsed_ms() + 1 + ms;
        let slot = from + (self.who + SLOT_MS - from % SLOT_MS) % SLOT_MS;
        tokio::time::sleep_until(self.world.begin + Duration::from_millis(slot)).await;
    }

    /// Takes a step: `work` is what it does.
    pub(crate) async fn step<T>(
        &self,
        step: &str,
        path: &str,
        work: impl FnOnce(&World) -> Result<T>,
    ) -> Result<T> {
        match self.begin(step, path).await {
            Act::Pass => work(&self.world),
            Act::FailBefore => Err(planned(step)),
            Act::FailAfter => {
                work(&self.world)?;
                Err(planned(step))
            }
            Act::Hang => std::future::pending().await,
            Act::DieBefore => self.die().await,
            Act::DieAfter => {
                work(&self.world)?;
                self.die().await
            }
        }
    }

    /// The writer is gone: nothing that it has begun comes back.
    pub(crate) async fn die<T>(&self) -> T {
        self.life.is_dead.store(true, Ordering::Relaxed);
        self.life.died.notify_one();
        std::future::pending().await
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }
}

/// What tells a file from others of its writer in every run: names of new files are partly the library's own chance.
fn kind(path: &str) -> &str {
    match path.rsplit_once('.') {
        Some((_, end)) if !path.starts_with(RAW) => end,
        _ => path,
    }
}

pub(crate) fn planned(step: &str) -> Error {
    Error::new(ErrorKind::Unexpected, format!("planned: {step}")).with_retryable(true)
}

#[derive(Debug)]
struct Simulated {
    world: Arc<World>,
    ahead_ms: i64,
    random: Mutex<fastrand::Rng>,
}

impl Source for Simulated {
    fn now_ms(&self) -> i64 {
        self.world.now_ms() + self.ahead_ms
    }

    fn random(&self) -> u64 {
        self.random.lock().unwrap().u64(..)
    }
}

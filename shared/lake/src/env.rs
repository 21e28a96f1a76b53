//! What would make two runs of the same input differ: the wall clock, chance, and names that must be new.
//!
//! In: nothing. Out: the time, random pauses, ids. Production asks the [`System`]; a simulation brings a source that
//! follows a seed. Deadlines and pauses are not here: they follow `tokio::time`, whose clock a test can pause.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Where time and chance come from.
pub(crate) trait Source: Debug + Send + Sync {
    /// Milliseconds since 1970 by the wall clock, which may be wrong and may go back.
    fn now_ms(&self) -> i64;

    /// 64 random bits.
    fn random(&self) -> u64;
}

/// The source that a [`crate::Lake`] uses. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Env(Arc<dyn Source>);

impl Default for Env {
    fn default() -> Self {
        Self(Arc::new(System))
    }
}

impl Env {
    /// What follows `source`.
    #[cfg(test)]
    pub(crate) fn new(source: impl Source + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Milliseconds since 1970 by the wall clock, which may be wrong and may go back.
    pub(crate) fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    /// At least 0 and less than 1, every value as likely as any other.
    pub(crate) fn jitter(&self) -> f64 {
        // The 53 bits that a double holds exactly.
        (self.0.random() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An id never given before, of version 7: ids sort by their time for whoever looks at names of files.
    pub(crate) fn uuid(&self) -> Uuid {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&self.0.random().to_le_bytes());
        random[8..].copy_from_slice(&self.0.random().to_le_bytes()[..2]);
        let millis = u64::try_from(self.now_ms()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// An id for a snapshot: positive, and as good as unique. A table that has it already needs another one.
    pub(crate) fn snapshot_id(&self) -> i64 {
        // Without the sign bit, as Iceberg's own ids are.
        (self.0.random() >> 1) as i64
    }
}

/// The machine's clock and a generator that every thread seeds by itself.
#[derive(Debug)]
struct System;

impl Source for System {
    fn now_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }

    fn random(&self) -> u64 {
        fastrand::u64(..)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Source for Fixed {
        fn now_ms(&self) -> i64 {
            1_767_323_045_678
        }

        fn random(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn chance_stays_in_its_bounds() {
        for (random, jitter, snapshot_id) in [(0, 0.0, 0), (1 << 63, 0.5, 1 << 62)] {
            let env = Env::new(Fixed(random));
            assert_eq!((env.jitter(), env.snapshot_id()), (jitter, snapshot_id));
        }
        let env = Env::new(Fixed(u64::MAX));
        assert!(env.jitter() < 1.0);
        assert_eq!(env.snapshot_id(), i64::MAX);
    }

    #[test]
    fn an_id_tells_its_time_and_is_new() {
        let id = Env::new(Fixed(7)).uuid();
        assert_eq!(id.get_version_num(), 7);
        assert!(id.to_string().starts_with("019b7ca9-8f2e-"), "{id}");
        let env = Env::default();
        let ids: HashSet<Uuid> = (0..1000).map(|_| env.uuid()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(env.now_ms() > 1_767_323_045_678);
    }
}

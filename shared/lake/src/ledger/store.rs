//! Where ledgers lie, and how they are read and written.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iceberg::io::FileIO;
use iceberg::spec::{MAIN_BRANCH, TableMetadata};
use iceberg::{Error, ErrorKind, Result};
use uuid::Uuid;

use super::line::Line;
use super::recent::{self, Recent};
use super::remembered::State;
use super::{Added, Ledger, PROPERTY, Remembered, due, fold};
use crate::env::Env;
use crate::offsets::Offsets;
use crate::token::Token;

/// How the names of ledger files end.
pub(crate) const ENDING: &str = ".ledger";
/// Most bytes of ledgers that are kept from one use to the next.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The ledgers that a process has read or written last. They never change.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By table: where its ledger is, and what it holds.
    ledgers: HashMap<Uuid, (String, Arc<Ledger>)>,
    /// What older metadata files told of a line: by the table, its ledger's place and the line's last snapshot.
    lines: HashMap<(Uuid, String, i64), Line>,
    /// URIs that something was said of.
    warned: HashSet<String>,
}

impl Ledgers {
    /// What the table `metadata` remembers. A ledger that cannot be read is a warning, and the table must be asked.
    pub(crate) async fn of(&self, metadata: &TableMetadata, file_io: &FileIO) -> Remembered {
        let recent = Recent::of(metadata);
        let state = match metadata.properties().get(PROPERTY) {
            None => State::None,
            Some(uri) => match self.ledger(metadata.uuid(), uri, file_io).await {
                Ok(Ok(ledger)) => State::Read(ledger),
                Ok(Err(what)) => {
                    self.warn(uri, &what);
                    State::Lost(what)
                }
                Err(error) => self.unreadable(uri, &error),
            },
        };
        match self.line(metadata, &recent, state.ledger(), file_io).await {
            Ok(line) => Remembered { line, ledger: state, branch: None },
            Err(error) => {
                let uri = metadata.properties().get(PROPERTY).map_or(recent::PROPERTY, String::as_str);
                let ledger = self.unreadable(uri, &error);
                Remembered { line: Line::of(metadata, &recent, None), ledger, branch: None }
            }
        }
    }

    /// The same with what the branch `name` has beyond main.
    pub(crate) async fn of_branch(
        &self,
        metadata: &TableMetadata,
        name: &str,
        file_io: &FileIO,
    ) -> Remembered {
        let mut remembered = self.of(metadata, file_io).await;
        if name != MAIN_BRANCH
            && let Some(head) = metadata.snapshot_for_ref(name)
        {
            remembered.branch = Some(remembered.lead(metadata, head.snapshot_id()));
        }
        remembered
    }

    fn unreadable(&self, uri: &str, error: &Error) -> State {
        let what = format!("it cannot be read now: {error}");
        self.warn(uri, &what);
        State::Unreadable(what)
    }

    async fn line(
        &self,
        metadata: &TableMetadata,
        recent: &Recent<'_>,
        ledger: Option<&Ledger>,
        file_io: &FileIO,
    ) -> Result<Line> {
        let mut line = Line::of(metadata, recent, ledger);
        if !line.may_meet(recent, ledger) {
            return Ok(line);
        }
        let uri = metadata.properties().get(PROPERTY).cloned().unwrap_or_default();
        let last = line.snapshots.last().map_or(0, |last| last.snapshot_id());
        let key = (metadata.uuid(), uri, last);
        let kept = self.kept().lines.get(&key).cloned();
        match kept {
            Some(rest) => line.join(rest),
            None => {
                line.follow(metadata, recent, ledger, file_io).await?;
                let mut kept = self.kept();
                if kept.lines.len() > 16 {
                    kept.lines.clear();
                }
                kept.lines.insert(key.clone(), line.clone());
            }
        }
        if line.guessed.is_some() {
            self.warn(
                &key.1,
                "it cannot be told whether its last commits are still in the table: snapshots have expired before one of \
                 ours has told of them, and the older metadata files are gone. It counts in full. If the table was rolled \
                 back to before them, remove the table properties frazil.ledger and frazil.ledger.recent, and deliver their \
                 objects again",
            );
        }
        Ok(line)
    }

    async fn ledger(
        &self,
        table: Uuid,
        uri: &str,
        file_io: &FileIO,
    ) -> Result<std::result::Result<Arc<Ledger>, String>> {
        if let Some((_, ledger)) = self.kept().ledgers.get(&table).filter(|(kept, _)| kept == uri) {
            return Ok(Ok(ledger.clone()));
        }
        let bytes = match file_io.new_input(uri)?.read().await {
            Ok(bytes) => bytes,
            Err(_) if !file_io.exists(uri).await? => return Ok(Err("it is not there".to_owned())),
            Err(error) => return Err(error),
        };
        let ledger = match Ledger::decode(&bytes) {
            Ok(ledger) if ledger.table == table => Arc::new(ledger),
            Ok(ledger) => return Ok(Err(format!("it is of another table, {}", ledger.table))),
            Err(what) => return Ok(Err(what.to_owned())),
        };
        self.keep(uri, &ledger);
        Ok(Ok(ledger))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, uri: &str, ledger: &Arc<Ledger>) {
        let mut kept = self.kept();
        let others = kept.ledgers.iter().filter(|(table, _)| **table != ledger.table);
        let bytes: usize = others.map(|(_, (_, ledger))| ledger.entries.len()).sum();
        if bytes + ledger.entries.len() > MAX_KEPT_BYTES {
            kept.ledgers.clear();
        }
        kept.ledgers.insert(ledger.table, (uri.to_owned(), ledger.clone()));
    }

    /// Says it once.
    fn warn(&self, uri: &str, what: &str) {
        if self.kept().warned.insert(uri.to_owned()) {
            tracing::warn!(file = uri, "the table's ledger of tokens, {uri}: {what}");
        }
    }
}

/// What a commit needs to keep the tokens of snapshots that expire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) ledgers: &'a Ledgers,
    /// Where new ledgers go: [`root`].
    pub(crate) root: &'a str,
    /// The objects that the commit adds.
    pub(crate) tokens: &'a [Token],
    /// The records of Kafka topics that it adds.
    pub(crate) offsets: Option<&'a Offsets>,
    /// The newest time that their names tell ([`super::name_time()`]): a clock that no writer has set. None if they tell none.
    pub(crate) newest_ms: Option<i64>,
}

impl Memory<'_> {
    /// What the successor of `metadata` is to remember tokens by. A ledger is written to its end. `added` is the commit, if it
    /// becomes the table's current snapshot, and `retiring` what it expires.
    ///
    /// # Errors
    /// The storage's. Then nothing may expire.
    pub(crate) async fn update(
        &self,
        metadata: &TableMetadata,
        file_io: &FileIO,
        added: Option<Added<'_>>,
        retiring: &[i64],
        env: &Env,
    ) -> Result<Written> {
        let ledgers = self.ledgers;
        let remembered = ledgers.of(metadata, file_io).await;
        if let State::Unreadable(what) = &remembered.ledger {
            return Err(Error::new(ErrorKind::Unexpected, format!("the table's ledger of tokens: {what}")));
        }
        let mut recent = recent::text(metadata, &remembered.line.snapshots, added);
        if recent.len() <= recent::MAX_BYTES && !due::is_due(metadata, &remembered, retiring, env.now_ms()) {
            return Ok(Written::Recent(recent));
        }
        if let Some(place) = place_of(metadata, self.root) {
            let what = format!(
                "none is written, since it would lie below {place}, where engines delete files that they do not know. Put \
                 FRAZIL_ERRORS elsewhere"
            );
            ledgers.warn(self.root, &what);
            recent::shorten(&mut recent);
            return Ok(Written::Recent(recent));
        }
        // The earliest of all clocks: one that is ahead must not cost memory.
        let clocks = [Some(env.now_ms()), Some(metadata.last_updated_ms()), self.newest_ms];
        let now_ms = clocks.into_iter().flatten().min().unwrap_or(0);
        let ledger = Arc::new(fold::folded(metadata, &remembered, added, now_ms));
        let uri = format!("{}/{}{ENDING}", self.root, env.uuid());
        file_io.new_output(&uri)?.write(ledger.encode()).await?;
        tracing::debug!(file = uri, tokens = ledger.len(), commits = ledger.commits.len(), "ledger written");
        ledgers.keep(&uri, &ledger);
        Ok(Written::Ledger(uri))
    }
}

/// By what a table remembers tokens from a commit on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// A ledger at this place, in which they all are.
    Ledger(String),
    /// The ledger that it has, if it has one, and this value of [`recent::PROPERTY`].
    Recent(String),
}

impl Written {
    /// The properties to set for it.
    pub(crate) fn properties(self, metadata: &TableMetadata) -> HashMap<String, String> {
        let recent = recent::PROPERTY.to_owned();
        match self {
            Self::Recent(text) => HashMap::from([(recent, text)]),
            Self::Ledger(uri) => {
                let mut properties = HashMap::from([(PROPERTY.to_owned(), uri)]);
                if metadata.properties().contains_key(&recent) {
                    properties.insert(recent, String::new());
                }
                properties
            }
        }
    }
}

/// Where the ledgers of the table `table` lie: beside the quarantine, in a prefix of their own.
pub(crate) fn root(errors_uri: &str, table: &str) -> String {
    let errors_uri = errors_uri.trim_end_matches('/');
    let parent = match errors_uri.rsplit_once('/') {
        Some((parent, _)) if !parent.ends_with('/') => parent,
        // A bucket, or a relative path.
        _ if errors_uri.contains('/') => errors_uri,
        _ => ".",
    };
    format!("{parent}/ledgers/{table}")
}

/// Whether `uri` is a ledger: to read it as raw input would never end.
pub(crate) fn is_ledger(uri: &str, errors_uri: &str) -> bool {
    uri.ends_with(ENDING) && uri.starts_with(&root(errors_uri, ""))
}

/// The place of the table that `root` lies below, if there is one.
fn place_of<'a>(metadata: &'a TableMetadata, root: &str) -> Option<&'a str> {
    let path = |uri: &str| uri.split_once("://").map_or(uri, |(_, path)| path).trim_matches('/').to_owned();
    let root = format!("{}/", path(root));
    let property = |name: &str| metadata.properties().get(name).map(String::as_str);
    let places = [Some(metadata.location()), property("write.data.path"), property("write.metadata.path")];
    places.into_iter().flatten().find(|place| root.starts_with(&format!("{}/", path(place))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledgers_lie_beside_the_quarantine() {
        for (errors, expected) in [
            ("s3://lake/errors", "s3://lake/ledgers/ns.t"),
            ("s3://lake/a/errors/", "s3://lake/a/ledgers/ns.t"),
            ("s3://errors", "s3://errors/ledgers/ns.t"),
            ("file:///data/errors", "file:///data/ledgers/ns.t"),
            ("/data/errors", "/data/ledgers/ns.t"),
            ("errors", "./ledgers/ns.t"),
        ] {
            assert_eq!(root(errors, "ns.t"), expected);
        }
    }

    #[test]
    fn our_own_output_is_known() {
        assert!(is_ledger("s3://lake/ledgers/ns.t/x.ledger", "s3://lake/errors/"));
        assert!(!is_ledger("s3://lake/ledgers/ns.t/x.json", "s3://lake/errors"));
        assert!(!is_ledger("s3://lake/raw/x.ledger", "s3://lake/errors"));
    }
}

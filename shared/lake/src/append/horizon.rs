//! Which of the objects the table has already: by their tokens, and beyond the horizon of its history by their rows.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};

use super::sources::Sources;
use crate::branch;
use crate::catalog::Lake;
use crate::decode::FILE_NAME;
use crate::job::{AppendOptions, Status};
use crate::known::{self, Known, KnownRows};
use crate::ledger::{Doubt, name_time};
use crate::token::{History, Seen, Token};

/// What the table remembers of the objects.
pub(super) struct Told {
    history: History,
    /// Where rows of objects may be of which it remembers nothing.
    doubt: Option<Doubt>,
}

/// Decides the objects whose tokens are in the table: in main, or in the branch that is appended to. Gives back what it tells of the others.
pub(super) async fn settle(sources: &mut Sources, lake: &Lake, table: &Table, branch: &str) -> Told {
    let tokens: Vec<Token> = sources.pending().map(|at| sources.object(at).token).collect();
    let remembered = lake.ledgers.of_branch(table.metadata(), branch, table.file_io()).await;
    let history = remembered.history(&tokens);
    for at in sources.pending().collect::<Vec<_>>() {
        if let Some(Seen::This(_)) = history.seen.get(&sources.object(at).token) {
            sources.decide(at, Status::AlreadyCommitted);
        }
    }
    Told { history, doubt: remembered.doubt() }
}

/// Asks the table for the rows of objects that may be there in part: of another version of an object; of an object that
/// may be older than what is remembered.
///
/// # Errors
/// The storage's.
pub(super) async fn look(
    sources: &mut Sources,
    lake: &Lake,
    options: &AppendOptions,
    table: &Table,
    told: Told,
) -> Result<Known> {
    let rows = ask(sources, lake, options, table, &told).await?;
    Ok(Known { rows, versions: told.history.versions })
}

async fn ask(
    sources: &mut Sources,
    lake: &Lake,
    options: &AppendOptions,
    table: &Table,
    told: &Told,
) -> Result<KnownRows> {
    let now_ms = lake.env.now_ms();
    let is_there_in_part = |sources: &Sources, at| told.history.seen.contains_key(&sources.object(at).token);
    let may_be_forgotten = |sources: &Sources, at| {
        let is_new = |doubt: Doubt| {
            name_time(&sources.object(at).key).is_some_and(|time_ms| doubt.is_excluded(time_ms, now_ms))
        };
        told.doubt.is_some_and(|doubt| !is_new(doubt))
    };
    let pending = sources.pending();
    let doubtful: Vec<usize> =
        pending.filter(|at| is_there_in_part(sources, *at) || may_be_forgotten(sources, *at)).collect();
    if doubtful.is_empty() {
        return Ok(KnownRows::default());
    }
    let snapshots = branch::heads(table.metadata(), &options.branch);
    if !known::can_tell(table, &snapshots)? {
        tracing::warn!(
            table = %options.table,
            objects = doubtful.len(),
            "the table has no column file_name: whether it has rows of these objects cannot be told"
        );
        for at in doubtful {
            if is_there_in_part(sources, at) {
                let what = "another version of the object is in the table, which has no column file_name to tell which of \
                            its rows; add one";
                sources.fail(at, Error::new(ErrorKind::DataInvalid, what));
            }
        }
        return Ok(KnownRows::default());
    }
    let asked = doubtful.iter().map(|at| {
        // Of another version, the rows are in any file.
        let until = match is_there_in_part(sources, *at) {
            true => None,
            false => told.doubt.map(|doubt| doubt.until),
        };
        (sources.object(*at).uri.as_str(), until.unwrap_or(i64::MAX))
    });
    let uris = lake.name_bounds.admit(table, &snapshots, asked.collect()).await?;
    let (known, too_many) = KnownRows::ask(table, &snapshots, uris, options.limits.known_rows).await?;
    for at in doubtful {
        if too_many.contains(&sources.object(at).uri) {
            let what =
                "the table has more rows of the object than can be compared; give the function more memory";
            sources.fail(at, Error::new(ErrorKind::DataInvalid, what));
        }
    }
    Ok(known)
}

/// Says once for each table that its rows do not name their objects.
pub(super) fn warn_if_unnamed(table: &Table) {
    static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let (name, schema) = (table.identifier().to_string(), table.metadata().current_schema());
    if schema.field_by_name(FILE_NAME).is_none()
        && WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone())
    {
        tracing::warn!(
            table = name,
            "the table has no column {FILE_NAME}: once its snapshots expire, an object that is delivered again comes in \
             twice, and no audit can tell. Run: ALTER TABLE {name} ADD COLUMN {FILE_NAME} string"
        );
    }
}

//! The tokens of the commits since the ledger, in a table property.
//!
//! In: a line of commits. Out: the value of [`PROPERTY`], set in the same swap as the commit, and from it these commits
//! again, as snapshots, whoever has expired them since. A ledger file is not written with every commit; this is.
//!
//! The value: the table's UUID, then each commit, oldest first, after a `;`: snapshot id, parent's id, sequence number,
//! time in ms, commit id, tokens, offsets of Kafka records. They are parted by commas, tokens by spaces. What is not there is
//! empty; a commit that lists neither has no fields for them, and one that lists no offsets has none for these.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use iceberg::spec::{Operation, Snapshot, SnapshotRef, Summary, TableMetadata};
use uuid::Uuid;

use super::Added;
use crate::offsets::{self, Offsets};
use crate::token::{self, COMMIT_KEY, REJECTED_KEY, SUMMARY_KEY, Token};

/// The table property.
pub(crate) const PROPERTY: &str = "frazil.ledger.recent";
/// The value is at most so long, in bytes: every metadata file has it.
pub(super) const MAX_BYTES: usize = 32 << 10;

/// The commits that the property of a table tells.
#[derive(Debug)]
pub(super) struct Recent<'a> {
    text: &'a str,
    table: Uuid,
    snapshots: OnceLock<Vec<SnapshotRef>>,
}

impl<'a> Recent<'a> {
    pub(super) fn of(metadata: &'a TableMetadata) -> Self {
        let text = metadata.properties().get(PROPERTY).map_or("", String::as_str);
        Self { text, table: metadata.uuid(), snapshots: OnceLock::new() }
    }

    /// Oldest first. None if the table has none.
    pub(super) fn snapshots(&self) -> &[SnapshotRef] {
        self.snapshots.get_or_init(|| {
            let mut parts = self.text.split(';');
            let table = parts.next().unwrap_or_default();
            if table.is_empty() {
                return Vec::new();
            }
            let parsed: Option<Vec<SnapshotRef>> = parts.map(parse).collect();
            match parsed {
                // Whoever copies a table's properties copies this one.
                _ if Uuid::try_parse(table).ok() != Some(self.table) => Vec::new(),
                Some(snapshots) => snapshots,
                None => {
                    tracing::warn!(
                        table,
                        "the table property {PROPERTY} is damaged; the next commit replaces it"
                    );
                    Vec::new()
                }
            }
        })
    }

    pub(super) fn get(&self, id: i64) -> Option<&SnapshotRef> {
        self.snapshots().iter().rfind(|snapshot| snapshot.snapshot_id() == id)
    }
}

/// The value for a table that is `metadata` and then `added`, if that is its next snapshot. `line` are the commits that are
/// in no ledger, newest first.
pub(super) fn text(metadata: &TableMetadata, line: &[SnapshotRef], added: Option<Added<'_>>) -> String {
    let mut text = metadata.uuid().to_string();
    for snapshot in line.iter().rev() {
        let tokens = token::is_ours(snapshot).then(|| token::tokens_of(snapshot).collect::<Vec<_>>());
        let ids = (snapshot.snapshot_id(), snapshot.parent_snapshot_id());
        let order = (snapshot.sequence_number(), snapshot.timestamp_ms());
        let lists = (tokens.as_deref(), offsets::listed(snapshot).filter(|text| !text.is_empty()));
        add(&mut text, ids, order, token::accounting(snapshot), lists);
    }
    if let Some(added) = added {
        let tokens = added.is_ours().then_some(added.tokens);
        let offsets = added.offsets.map(Offsets::to_string);
        let ids = (added.snapshot, metadata.current_snapshot_id());
        let order = (metadata.next_sequence_number(), added.time_ms);
        add(&mut text, ids, order, Some(added.id), (tokens, offsets.as_deref()));
    }
    text
}

/// Leaves the newest commits of the value `text`, as many as fit into [`MAX_BYTES`]. Of older objects the table is asked.
pub(super) fn shorten(text: &mut String) {
    let Some(table) = text.find(';') else { return };
    let excess = text.len().saturating_sub(MAX_BYTES);
    let end = text[table + 1..].match_indices(';').map(|(at, _)| at + 1).find(|end| *end >= excess);
    if excess > 0 {
        text.drain(table..end.map_or(text.len(), |end| table + end));
    }
}

fn add(
    text: &mut String,
    (id, parent): (i64, Option<i64>),
    (sequence_number, time_ms): (i64, i64),
    commit: Option<Uuid>,
    (tokens, offsets): (Option<&[Token]>, Option<&str>),
) {
    let parent = parent.map(|id| id.to_string()).unwrap_or_default();
    let commit = commit.map(|id| id.simple().to_string()).unwrap_or_default();
    // To write into a String never fails.
    let _ = write!(text, ";{id},{parent},{sequence_number},{time_ms},{commit}");
    if let Some(tokens) = tokens {
        let _ = write!(text, ",{}", token::listed(tokens));
        if let Some(offsets) = offsets {
            let _ = write!(text, ",{offsets}");
        }
    }
}

fn parse(text: &str) -> Option<SnapshotRef> {
    let mut fields = text.split(',');
    let id = fields.next()?.parse().ok()?;
    let parent = match fields.next()? {
        "" => None,
        parent => Some(parent.parse().ok()?),
    };
    let (sequence_number, time_ms) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let commit = match fields.next()? {
        "" => None,
        commit => Some(Uuid::try_parse(commit).ok()?),
    };
    let (tokens, offsets) = (fields.next(), fields.next());
    let is_sound = tokens.is_none_or(token::are_tokens)
        && offsets.is_none_or(|offsets| Offsets::parse(offsets).is_some_and(|it| !it.is_empty()))
        && fields.next().is_none();
    if !is_sound {
        return None;
    }
    let mut entries = HashMap::new();
    entries.extend(tokens.map(|tokens| (SUMMARY_KEY.to_owned(), tokens.to_owned())));
    entries.extend(offsets.map(|offsets| (offsets::SUMMARY_KEY.to_owned(), offsets.to_owned())));
    if let Some(commit) = commit {
        entries.insert(COMMIT_KEY.to_owned(), commit.to_string());
        entries.insert(REJECTED_KEY.to_owned(), String::new());
    }
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(parent)
        .with_sequence_number(sequence_number)
        .with_timestamp_ms(time_ms)
        .with_manifest_list("")
        .with_summary(Summary { operation: Operation::Append, additional_properties: entries })
        .with_schema_id(0)
        .build();
    Some(Arc::new(snapshot))
}

//! Commits of a branch -> the same commits upon main.
//!
//! In: append-only commits, oldest first, and the base. Out: the base with a snapshot for each upon its current one: new
//! entries for the files that the commit has added, its tokens, offsets and quarantine, and its id as `source-snapshot-id`
//! (as engines have it of a snapshot that was picked). Refused: a commit that does anything but append; one of which main
//! has a part by now. Of what main has in full, only the trace is left: an empty snapshot.

use iceberg::spec::{
    ManifestContentType, ManifestFile, Operation, Snapshot, SnapshotRef, Summary, TableMetadata,
    TableMetadataBuilder,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};

use super::manifests::{ManifestWriting, may_have_files};
use super::snapshot::{new_id, snapshot_upon};
use super::summary::Counts;
use crate::branch::SOURCE_KEY;
use crate::env::Env;
use crate::ledger::Remembered;
use crate::offsets::{self, Offsets, offsets_of};
use crate::token::{self, OWN_KEYS, Seen, Token};

/// A commit of the branch.
pub(super) struct Source {
    snapshot: SnapshotRef,
    /// The data manifests that it has written.
    manifests: Vec<ManifestFile>,
    /// Whether main has it all by now.
    is_there: bool,
}

/// Reads the commits `snapshots`, which came after the commit `fork` of main, and holds them against what main has.
///
/// # Errors
/// The storage's. In the other case: why a commit cannot be applied.
pub(super) async fn sources(
    base: &Table,
    main: &Remembered,
    fork: Option<i64>,
    snapshots: impl Iterator<Item = SnapshotRef>,
) -> Result<std::result::Result<Vec<Source>, String>> {
    let keys = main.keys_since(fork);
    let mut offsets = Offsets::default();
    main.offsets().iter().for_each(|set| offsets.merge(set));
    let mut sources = Vec::new();
    for snapshot in snapshots {
        let id = snapshot.snapshot_id();
        let list = base.manifest_list_reader(&snapshot).load().await?;
        let own = list.entries().iter().filter(|manifest| manifest.added_snapshot_id == id);
        let (data, deletes): (Vec<_>, Vec<_>) =
            own.cloned().partition(|manifest| manifest.content == ManifestContentType::Data);
        let operation = snapshot.summary().operation.clone();
        if operation != Operation::Append || !deletes.is_empty() {
            let operation = operation.as_str();
            return Ok(Err(format!("its commit {id} is no append ({operation})")));
        }
        let tokens: Vec<Token> = token::tokens_of(&snapshot).collect();
        let history = main.history(&tokens);
        let is_this = |token: &&Token| matches!(history.seen.get(token), Some(Seen::This(_)));
        let (there, others): (Vec<&Token>, Vec<&Token>) = tokens.iter().partition(is_this);
        let own_offsets = offsets_of(&snapshot).unwrap_or_default();
        let met = others.iter().any(|token| keys.contains(&token.key())) || offsets.meets(&own_offsets);
        let has_all_offsets = {
            let mut all = offsets.clone();
            all.merge(&own_offsets);
            all.count() == offsets.count()
        };
        let is_ours = token::is_ours(&snapshot);
        let is_there = is_ours && others.is_empty() && has_all_offsets;
        if !is_there && (met || !there.is_empty()) {
            return Ok(Err(format!(
                "its commit {id} has objects or records of topics that were appended to main too since the branch \
                 began, and others with them"
            )));
        }
        sources.push(Source { snapshot, manifests: data, is_there });
    }
    Ok(Ok(sources))
}

/// Upon what a commit is applied, and by what.
pub(super) struct Applying<'a> {
    pub(super) base: &'a Table,
    pub(super) env: &'a Env,
    pub(super) writing: ManifestWriting,
    /// The last snapshot so far.
    pub(super) parent: Option<SnapshotRef>,
}

impl Applying<'_> {
    /// Adds a snapshot for `source` to `builder`.
    ///
    /// # Errors
    /// The storage's.
    pub(super) async fn apply(
        &mut self,
        builder: TableMetadataBuilder,
        source: &Source,
        now_ms: i64,
    ) -> Result<TableMetadataBuilder> {
        // The numbers that come next are those of the metadata so far.
        let parent_id = self.parent.as_ref().map(|parent| parent.snapshot_id());
        // Of a builder without changes, the library makes metadata that are dated by the machine's clock.
        let metadata = match parent_id == self.base.metadata().current_snapshot_id() {
            true => self.base.metadata().clone(),
            false => builder.clone().build()?.metadata,
        };
        let id = new_id(&metadata, self.env);
        self.writing.snapshot_id = id;
        let schema = metadata.current_schema();
        let mut counts = Counts::of(&metadata, schema.clone());
        let mut manifests = match source.is_there {
            true => Vec::new(),
            false => {
                let from = source.snapshot.snapshot_id();
                self.writing.copy_added(&metadata, &source.manifests, from, &mut counts).await?
            }
        };
        if let Some(parent) = &self.parent {
            let list = self.base.manifest_list_reader(parent).load().await?;
            manifests.extend(list.consume_entries().into_iter().filter(|manifest| {
                manifest.content == ManifestContentType::Deletes || may_have_files(manifest)
            }));
        }
        let list = self.writing.write_list(&metadata, parent_id, manifests).await?;
        let summary = summary(source, counts, self.parent.as_deref());
        let snapshot = snapshot_upon(&metadata, id, schema.schema_id(), parent_id, list, summary, now_ms);
        let builder = builder.add_snapshot(snapshot)?;
        let added = last_added(&builder.clone().build()?.metadata, id)?;
        self.parent = Some(added);
        Ok(builder)
    }
}

fn last_added(metadata: &TableMetadata, id: i64) -> Result<SnapshotRef> {
    let added = metadata.snapshot_by_id(id).cloned();
    added.ok_or_else(|| Error::new(ErrorKind::Unexpected, "a snapshot that was added is not there: a defect"))
}

fn summary(source: &Source, counts: Counts, parent: Option<&Snapshot>) -> Summary {
    let mut entries = counts.into_summary(parent);
    let from = &source.snapshot.summary().additional_properties;
    match source.is_there {
        true => {
            entries.insert(token::SUMMARY_KEY.to_owned(), String::new());
        }
        false => entries.extend(
            OWN_KEYS
                .into_iter()
                .chain([offsets::SUMMARY_KEY, offsets::DROPPED_KEY])
                .filter_map(|key| Some((key.to_owned(), from.get(key)?.clone()))),
        ),
    }
    entries.insert(SOURCE_KEY.to_owned(), source.snapshot.snapshot_id().to_string());
    Summary { operation: Operation::Append, additional_properties: entries }
}

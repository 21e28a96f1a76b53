//! A change and the table it is to be made to -> what the table is to become.
//!
//! In: a [`Change`] and, for each attempt, a base. Out: the [`Next`] of a swap, with the manifests, their list and the new
//! snapshot that belong to this base. What does not depend on the base is written once.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{
    MAIN_BRANCH, ManifestContentType, ManifestFile, Operation, PartitionSpecRef, SchemaRef, Snapshot,
    SnapshotReference, Summary, TableMetadata,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};

use super::expiry::{Expired, expired, without};
use super::manifests::{ManifestWriting, New, Rewritten, may_have_files};
use super::merge::{self, Settings};
use super::requirements::requirements;
use super::snapshot::{new_id, snapshot_upon};
use super::summary::Counts;
use super::{Change, Replace};
use crate::ancestors::ancestors;
use crate::branch;
use crate::catalog::{Loaded, Next};
use crate::env::Env;
use crate::ledger::{Added, Written};
use crate::token::{COMMIT_KEY, IGNORED_KEY};

/// The successors of the bases of one commit's attempts.
pub(super) struct Successors<'a> {
    change: &'a Change<'a>,
    env: &'a Env,
    writing: ManifestWriting,
    /// The manifest of the new files alone.
    new: Option<ManifestFile>,
    /// Manifests that were made of others, by the paths of these.
    merged: HashMap<(Vec<String>, bool), ManifestFile>,
    /// The same without the files that are to be replaced.
    without: HashMap<Vec<String>, Rewritten>,
    /// How many of the files that are to be replaced a manifest holds, by its path.
    holding: HashMap<String, usize>,
}

/// What became of an attempt to compute a successor.
#[derive(Debug)]
pub(super) enum Successor {
    Next(Box<Next>),
    /// The files that are to be replaced are not all there as they were.
    Outdated,
}

impl<'a> Successors<'a> {
    pub(super) fn of(change: &'a Change<'a>, table: &Table, env: &'a Env) -> Self {
        let writing = ManifestWriting::new(table.file_io().clone(), change.id, new_id(table.metadata(), env));
        Self {
            change,
            env,
            writing,
            new: None,
            merged: HashMap::new(),
            without: HashMap::new(),
            holding: HashMap::new(),
        }
    }

    /// The successor of `base`, whose time is not before `now_ms` or the base's own.
    ///
    /// # Errors
    /// The storage's; those of a schema change that cannot be made.
    pub(super) async fn of_base(&mut self, base: &Loaded, now_ms: i64) -> Result<Successor> {
        let Loaded { table: base, refs: references, .. } = base;
        let metadata = base.metadata();
        let branch = self.change.branch;
        // What expires goes by the settings that the branch is to have.
        let mut kept = references.as_ref().clone();
        if branch != MAIN_BRANCH
            && let Some(head) = metadata.snapshot_for_ref(branch)
        {
            let reference = branch::moved(metadata, references, branch, head.snapshot_id())?;
            kept.insert(branch.to_owned(), reference);
        }
        if metadata.snapshot_by_id(self.writing.snapshot_id).is_some() {
            // An attempt of ours was committed and rolled back.
            self.writing.snapshot_id = new_id(metadata, self.env);
            self.new = None;
            self.merged.clear();
            self.without.clear();
        }
        let head = metadata.snapshot_for_ref(branch);
        let parent = head.or_else(|| metadata.current_snapshot()).cloned();
        let mut builder = metadata.clone().into_builder(Some(base.metadata_location_result()?.to_owned()));
        let mut schema = metadata.current_schema().clone();
        if let Some(change) = &self.change.schema {
            schema = change.apply(metadata)?;
            builder = builder.add_current_schema(schema.as_ref().clone())?;
        }
        let (expired, written) = self.forgotten(base, &kept, now_ms).await?;
        let mut properties = self.change.properties.clone();
        properties.extend(written.map(|written| written.properties(metadata)).unwrap_or_default());
        if !properties.is_empty() {
            builder = builder.set_properties(properties)?;
        }
        let mut counts = Counts::of(metadata, schema.clone());
        let spec = new_spec(metadata, self.change)?;
        self.change.files.iter().for_each(|file| counts.add(file, &spec));
        let carried = match &parent {
            Some(parent) => {
                base.manifest_list_reader(parent).load().await?.consume_entries().into_iter().collect()
            }
            None => Vec::new(),
        };
        let Some(carried) = self.replaced(metadata, &schema, parent.as_deref(), carried, &mut counts).await?
        else {
            return Ok(Successor::Outdated);
        };
        let manifests = self.manifests(metadata, &schema, &spec, carried).await?;
        let parent_id = parent.as_ref().map(|parent| parent.snapshot_id());
        let list = self.writing.write_list(metadata, parent_id, manifests).await?;
        let summary = self.summary(metadata, counts, parent.as_deref());
        let (id, schema_id) = (self.writing.snapshot_id, schema.schema_id());
        let snapshot = snapshot_upon(metadata, id, schema_id, parent_id, list, summary, now_ms);
        let reference = branch::moved(metadata, references, branch, snapshot.snapshot_id())?;
        let builder = builder.add_snapshot(snapshot)?.set_ref(branch, reference)?;
        let result = without(builder, metadata, &expired)?;
        let requirements =
            requirements(self.change, metadata, references, head.map(|head| head.snapshot_id()));
        Ok(Successor::Next(Box::new(Next {
            updates: result.changes,
            requirements,
            metadata: result.metadata,
        })))
    }

    /// What expires, and by what tokens are remembered then.
    async fn forgotten(
        &self,
        base: &Table,
        references: &HashMap<String, SnapshotReference>,
        now_ms: i64,
    ) -> Result<(Expired, Option<Written>)> {
        let expired = match self.change.expire {
            true => expired(base.metadata(), references, self.change.branch, now_ms),
            false => Expired::default(),
        };
        branch::warn_of_dropped(base.metadata(), &expired.refs);
        let Some(memory) = &self.change.memory else { return Ok((expired, None)) };
        let added = (self.change.branch == MAIN_BRANCH).then_some(Added {
            snapshot: self.writing.snapshot_id,
            time_ms: now_ms.max(base.metadata().last_updated_ms()),
            tokens: memory.tokens,
            offsets: memory.offsets,
            id: self.change.id,
        });
        match memory.update(base.metadata(), base.file_io(), added, &expired.snapshots, self.env).await {
            Ok(written) => Ok((expired, Some(written))),
            // The rows must not wait for a ledger; what it should have held must.
            Err(error) => {
                tracing::warn!(%error, "no ledger of tokens can be written, so that no snapshot expires; the commit goes on");
                Ok((Expired::default(), None))
            }
        }
    }

    /// The manifests of the snapshot: new files first, the others as they were or made one of.
    async fn manifests(
        &mut self,
        metadata: &TableMetadata,
        schema: &SchemaRef,
        spec: &PartitionSpecRef,
        carried: Vec<ManifestFile>,
    ) -> Result<Vec<ManifestFile>> {
        let has_new = !self.change.files.is_empty();
        let groups = Settings::of(metadata.properties())
            .map(|settings| {
                settings.groups(&carried, has_new.then_some(spec.spec_id()), self.writing.snapshot_id)
            })
            .unwrap_or_default();
        let (mut first, mut gone, mut new_is_in) = (Vec::new(), HashSet::new(), !has_new);
        for group in groups {
            let inputs: Vec<&ManifestFile> = group.inputs.iter().map(|at| &carried[*at]).collect();
            match self.merged(metadata, schema, &inputs, group.with_new).await {
                Ok(manifest) => {
                    first.push(manifest);
                    gone.extend(group.inputs);
                    new_is_in |= group.with_new;
                }
                // Many manifests are slow to read, and nothing worse.
                Err(error) => {
                    tracing::warn!(%error, spec = group.spec_id, "manifests cannot be merged; the commit goes on without");
                }
            }
        }
        if !new_is_in {
            first.insert(0, self.new_files(metadata, schema, spec).await?);
        }
        let rest = carried
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !gone.contains(at))
            .map(|(_, manifest)| manifest);
        first.extend(rest);
        Ok(first)
    }

    async fn merged(
        &mut self,
        metadata: &TableMetadata,
        schema: &SchemaRef,
        inputs: &[&ManifestFile],
        with_new: bool,
    ) -> Result<ManifestFile> {
        let key = (inputs.iter().map(|manifest| manifest.manifest_path.clone()).collect(), with_new);
        if let Some(manifest) = self.merged.get(&key) {
            return Ok(manifest.clone());
        }
        let new = if with_new { self.new_entries() } else { New::default() };
        let merged = self.writing.rewrite(metadata, schema, inputs, &HashSet::new(), new).await?.manifest;
        self.merged.insert(key, merged.clone());
        Ok(merged)
    }

    async fn new_files(
        &mut self,
        metadata: &TableMetadata,
        schema: &SchemaRef,
        spec: &PartitionSpecRef,
    ) -> Result<ManifestFile> {
        if let Some(manifest) = &self.new {
            return Ok(manifest.clone());
        }
        let (schema, new) = (schema.clone(), self.new_entries());
        let manifest = self.writing.write_new(metadata, schema, spec, new).await?;
        self.new = Some(manifest.clone());
        Ok(manifest)
    }

    fn new_entries(&self) -> New<'a> {
        let replace = self.change.replace.as_ref();
        New {
            files: self.change.files,
            data_sequence_number: replace.and_then(|replace| replace.data_sequence_number),
        }
    }

    /// The manifests of the parent without the files that the change replaces. None if these are not all there, or may have
    /// been touched by a delete since the replacement was planned.
    async fn replaced(
        &mut self,
        base: &TableMetadata,
        schema: &SchemaRef,
        parent: Option<&Snapshot>,
        mut carried: Vec<ManifestFile>,
        counts: &mut Counts,
    ) -> Result<Option<Vec<ManifestFile>>> {
        let own = |manifest: &ManifestFile| {
            manifest.content == ManifestContentType::Deletes || may_have_files(manifest)
        };
        let Some(Replace { files, planned_on, .. }) = &self.change.replace else {
            carried.retain(own);
            return Ok(Some(carried));
        };
        let Some(planned) = parent.and_then(|parent| {
            ancestors(base, Some(parent.snapshot_id())).find(|one| one.snapshot_id() == *planned_on)
        }) else {
            return Ok(None);
        };
        let is_newer = |manifest: &ManifestFile| manifest.sequence_number > planned.sequence_number();
        if carried
            .iter()
            .any(|manifest| manifest.content == ManifestContentType::Deletes && is_newer(manifest))
        {
            return Ok(None);
        }
        let paths: HashSet<&str> = files.iter().map(String::as_str).collect();
        let holding = self.writing.holding(&carried, &paths, &mut self.holding).await?;
        if holding.iter().sum::<usize>() != paths.len() {
            return Ok(None);
        }
        let (mut held, mut others) = (Vec::new(), Vec::new());
        for (manifest, count) in carried.into_iter().zip(holding) {
            if count > 0 { held.push(manifest) } else { others.push(manifest) }
        }
        let mut carried = Vec::new();
        for together in merge::by_size(&held) {
            let key: Vec<String> = together.iter().map(|manifest| manifest.manifest_path.clone()).collect();
            let rewritten = match self.without.remove(&key) {
                Some(rewritten) => rewritten,
                None => self.writing.rewrite(base, schema, &together, &paths, New::default()).await?,
            };
            rewritten.count(counts);
            carried.push(rewritten.manifest.clone());
            self.without.insert(key, rewritten);
        }
        others.retain(own);
        carried.extend(others);
        Ok(Some(carried))
    }

    fn summary(&self, base: &TableMetadata, counts: Counts, parent: Option<&Snapshot>) -> Summary {
        let mut entries = counts.into_summary(parent);
        entries.extend(self.change.marks.summary(base));
        entries.insert(COMMIT_KEY.to_owned(), self.change.id.to_string());
        if self.change.ignored > 0 {
            entries.insert(IGNORED_KEY.to_owned(), self.change.ignored.to_string());
        }
        let operation = match &self.change.replace {
            Some(replace) => {
                entries.extend(replace.summary.clone());
                replace.operation.clone()
            }
            None => Operation::Append,
        };
        Summary { operation, additional_properties: entries }
    }
}

/// The partition spec of the files of `change`.
fn new_spec(metadata: &TableMetadata, change: &Change<'_>) -> Result<PartitionSpecRef> {
    let spec = metadata.partition_spec_by_id(change.layout.spec);
    spec.cloned().ok_or_else(|| {
        Error::new(ErrorKind::DataInvalid, "the table has no longer the files' partition spec")
    })
}

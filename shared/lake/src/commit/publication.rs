//! An audited snapshot of a branch -> main has what it has, in one swap of both references.
//!
//! In: the id of the snapshot. Out: [`Published`]. Where main stands where the branch began, main is set to the snapshot;
//! where main has gone on, the branch's commits are applied again upon it ([`super::applied`]), those behind the audited one
//! too, but for the branch only. Nothing that comes to the branch in between is published, since the id decides. To do it
//! again changes nothing: main has the snapshot, or one that names it as its source.

use std::collections::HashMap;

use iceberg::spec::{
    MAIN_BRANCH, SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata, TableMetadataBuilder,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result, TableIdent, TableRequirement};
use tokio::time::Instant;

use super::applied::{Applying, sources};
use super::attempts::{self, CommitError, Edit, Look};
use super::manifests::ManifestWriting;
use super::snapshot::time_upon;
use crate::ancestors::ancestors;
use crate::branch::{self, Lead};
use crate::catalog::{Loaded, Next, TableCatalog};
use crate::env::Env;
use crate::job::CommitMetrics;
use crate::ledger::{Memory, Remembered};

/// How far the library lets a clock go back.
const MAX_BACK_MS: i64 = 60_000;

/// What is to be published.
#[derive(Clone, Copy)]
pub(crate) struct Publishing<'a> {
    pub(crate) branch: &'a str,
    /// The snapshot of the branch that was audited.
    pub(crate) audited: i64,
    /// Keeps the tokens of what is published.
    pub(crate) memory: Memory<'a>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Published {
    /// The table as it is with it.
    Done(Box<Table>, How),
    /// Main had it before.
    Before(Box<Table>),
    /// It cannot be: why, and what to do.
    Refused(String),
}

/// How main got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Main was set to the snapshot.
    FastForward,
    /// The commits were applied again upon main.
    Applied,
}

/// Publishes a snapshot of a branch of the table `ident`, until `deadline`.
///
/// # Errors
/// [`CommitError`]. Main is then as it was, as far as can be known.
pub(crate) async fn publish(
    catalog: &dyn TableCatalog,
    env: &Env,
    ident: &TableIdent,
    publishing: Publishing<'_>,
    deadline: Instant,
) -> std::result::Result<Published, CommitError> {
    let edit = Publication { publishing, env, ident, how: How::FastForward };
    attempts::run(catalog, env, ident, edit, deadline, &mut CommitMetrics::default()).await
}

struct Publication<'a> {
    publishing: Publishing<'a>,
    env: &'a Env,
    ident: &'a TableIdent,
    /// How it was tried last.
    how: How,
}

impl Edit for Publication<'_> {
    type Outcome = Published;

    async fn look(&mut self, base: &Loaded, is_tried: bool) -> Result<Option<Look<Published>>> {
        let Loaded { table, .. } = base;
        let main = self.publishing.memory.ledgers.of(table.metadata(), table.file_io()).await;
        let is_there = branch::is_published(table.metadata(), &main, self.publishing.audited);
        Ok(is_there.then(|| Look {
            outcome: match is_tried {
                true => Published::Done(Box::new(table.clone()), self.how),
                false => Published::Before(Box::new(table.clone())),
            },
            is_committed: is_tried,
        }))
    }

    async fn successor(
        &mut self,
        base: &Loaded,
        _: bool,
    ) -> Result<std::result::Result<Box<Next>, Published>> {
        let Loaded { table, refs, .. } = base;
        let (metadata, now_ms) = (table.metadata(), self.env.now_ms());
        let main = self.publishing.memory.ledgers.of(metadata, table.file_io()).await;
        if let Some(what) = main.unreadable() {
            return Err(Error::new(ErrorKind::Unexpected, format!("the table's ledger of tokens: {what}")));
        }
        let plan = match Plan::of(metadata, refs, &main, self.publishing) {
            Ok(plan) => plan,
            Err(why) => return Ok(Err(self.refused(&why))),
        };
        let builder = metadata.clone().into_builder(Some(table.metadata_location_result()?.to_owned()));
        let is_fast = plan.fork == metadata.current_snapshot_id();
        let builder = match is_fast {
            true => {
                self.how = How::FastForward;
                check_clock(metadata, now_ms)?;
                let builder = builder.set_ref(MAIN_BRANCH, plan.main_at(self.publishing.audited))?;
                let branch = plan.branch_at(metadata, plan.head);
                builder.set_ref(self.publishing.branch, branch)?
            }
            false => match self.applied(table, builder, &plan, &main, now_ms).await? {
                Ok(builder) => builder,
                Err(why) => return Ok(Err(self.refused(&why))),
            },
        };
        let mut next = self.remembering(table, builder, plan.requirements(metadata, self.publishing)).await?;
        if is_fast {
            next.metadata = dated(&next.metadata, time_upon(metadata, now_ms))?;
        }
        Ok(Ok(Box::new(next)))
    }
}

impl Publication<'_> {
    fn refused(&self, why: &str) -> Published {
        let (ident, branch) = (self.ident, self.publishing.branch);
        Published::Refused(format!(
            "the branch {branch} of {ident} cannot be published: {why}. To give it up, drop it (in Spark: ALTER TABLE \
             {ident} DROP BRANCH {branch}) and deliver its objects again: they go to a branch made anew where main is"
        ))
    }

    /// Main and the branch with the commits of the branch applied again.
    async fn applied(
        &mut self,
        table: &Table,
        mut builder: TableMetadataBuilder,
        plan: &Plan,
        main: &Remembered,
        now_ms: i64,
    ) -> Result<std::result::Result<TableMetadataBuilder, String>> {
        let metadata = table.metadata();
        let snapshots = plan.lead.iter().chain(&plan.rest).cloned();
        let sources = match sources(table, main, plan.fork, snapshots).await? {
            Ok(sources) => sources,
            Err(why) => {
                return Ok(Err(format!("main has gone on since the branch began, and {why}")));
            }
        };
        self.how = How::Applied;
        let mut applying = Applying {
            base: table,
            env: self.env,
            writing: ManifestWriting::new(table.file_io().clone(), self.env.uuid(), 0),
            parent: metadata.current_snapshot().cloned(),
        };
        let mut head = None;
        for (at, source) in (1..).zip(&sources) {
            builder = applying.apply(builder, source, now_ms).await?;
            head = applying.parent.as_ref().map(|parent| parent.snapshot_id());
            if let Some(head) = head.filter(|_| at == plan.lead.len()) {
                builder = builder.set_ref(MAIN_BRANCH, plan.main_at(head))?;
            }
        }
        if let Some(head) = head {
            builder = builder.set_ref(self.publishing.branch, plan.branch_at(metadata, head))?;
        }
        Ok(Ok(builder))
    }

    /// What `builder` makes, with what the table is to remember its tokens by.
    async fn remembering(
        &self,
        table: &Table,
        builder: TableMetadataBuilder,
        requirements: Vec<TableRequirement>,
    ) -> Result<Next> {
        let moved = builder.clone().build()?.metadata;
        let memory = &self.publishing.memory;
        let builder = match memory.update(&moved, table.file_io(), None, &[], self.env).await {
            Ok(written) => {
                let properties: HashMap<String, String> = written.properties(&moved);
                builder.set_properties(properties)?
            }
            // Nothing expires with it, so that the snapshots themselves tell.
            Err(error) => {
                tracing::warn!(%error, "no ledger of tokens can be written; the publication goes on");
                builder
            }
        };
        let built = builder.build()?;
        Ok(Next { updates: built.changes, requirements, metadata: built.metadata })
    }
}

/// What is published, and upon what.
struct Plan {
    /// The commits that main gets, oldest first.
    lead: Vec<SnapshotRef>,
    /// Those behind the audited one.
    rest: Vec<SnapshotRef>,
    /// The commit of main at which the branch begins.
    fork: Option<i64>,
    head: i64,
    main: SnapshotRetention,
    branch: SnapshotRetention,
}

impl Plan {
    fn of(
        metadata: &TableMetadata,
        refs: &HashMap<String, SnapshotReference>,
        main: &Remembered,
        Publishing { branch, audited, .. }: Publishing<'_>,
    ) -> std::result::Result<Self, String> {
        let Some(reference) = refs.get(branch).filter(|reference| reference.is_branch()) else {
            return Err("there is no such branch".to_owned());
        };
        let (head, retention) = (reference.snapshot_id, reference.retention.clone());
        if !ancestors(metadata, Some(head)).any(|snapshot| snapshot.snapshot_id() == audited) {
            return Err(format!("the snapshot {audited} is not on it, or not any more"));
        }
        let Lead { commits, is_whole } = main.lead(metadata, head);
        if !is_whole {
            return Err("some of its commits have expired before they were published".to_owned());
        }
        let mut rest = commits;
        rest.reverse();
        let behind =
            rest.iter().position(|snapshot| snapshot.snapshot_id() == audited).map_or(0, |at| at + 1);
        let lead: Vec<_> = rest.drain(..behind).collect();
        let main = match refs.get(MAIN_BRANCH) {
            Some(main) => main.retention.clone(),
            None => SnapshotRetention::branch(None, None, None),
        };
        let fork = lead.first().and_then(|first| first.parent_snapshot_id());
        Ok(Self { lead, rest, fork, head, main, branch: retention })
    }

    /// The reference of main, which keeps its settings.
    fn main_at(&self, id: i64) -> SnapshotReference {
        SnapshotReference::new(id, self.main.clone())
    }

    /// The reference of the branch, which has no longer to keep what main has.
    fn branch_at(&self, metadata: &TableMetadata, id: i64) -> SnapshotReference {
        let (before, after) = (self.lead.len() + self.rest.len(), self.rest.len());
        SnapshotReference::new(id, branch::lowered(metadata, self.branch.clone(), before, after))
    }

    fn requirements(&self, base: &TableMetadata, publishing: Publishing<'_>) -> Vec<TableRequirement> {
        let at = |name: &str, snapshot_id| TableRequirement::RefSnapshotIdMatch {
            r#ref: name.to_owned(),
            snapshot_id,
        };
        vec![
            TableRequirement::UuidMatch { uuid: base.uuid() },
            at(MAIN_BRANCH, base.current_snapshot_id()),
            at(publishing.branch, Some(self.head)),
            TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() },
            TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() },
        ]
    }
}

/// The library dates a reference that moves without a new snapshot by the machine's clock.
fn check_clock(metadata: &TableMetadata, now_ms: i64) -> Result<()> {
    let back_ms = time_upon(metadata, now_ms) - now_ms;
    if back_ms < MAX_BACK_MS {
        return Ok(());
    }
    let what = format!(
        "the clock of this machine is {} s behind the table's last commit; set it right and publish again",
        back_ms / 1000
    );
    Err(Error::new(ErrorKind::Unexpected, what))
}

/// `metadata`, of which the last change was made at `time_ms`.
fn dated(metadata: &TableMetadata, time_ms: i64) -> Result<TableMetadata> {
    let mut json = serde_json::to_value(metadata)?;
    if let Some(log) = json.get_mut("snapshot-log").and_then(|log| log.as_array_mut())
        && let Some(last) = log.last_mut()
    {
        last["timestamp-ms"] = time_ms.into();
    }
    json["last-updated-ms"] = time_ms.into();
    Ok(serde_json::from_value(json)?)
}

//! Bugs that are planted to see that the simulation finds them: a catalog or a storage that makes a right append look like
//! a wrong one, by what it shows to it or by what it makes of its work.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use apache_avro::types::Value;
use apache_avro::{Reader, Writer};
use bytes::Bytes;
use iceberg::Runtime;
use iceberg::spec::TableMetadata;
use iceberg::table::Table;
use serde_json::{Value as Json, json};

use super::branches::AUDIT;
use super::model::Pointer;
use super::world::World;
use crate::catalog::{Loaded, Next};
use crate::offsets;
use crate::token::{COMMIT_KEY, SUMMARY_KEY};

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// The tokens and offsets of the table are not looked at.
    HideMarks,
    /// The summary of a later attempt is that of the first one.
    OldSummary,
    /// A commit lets a snapshot expire that is needed.
    ExpireNeeded,
    /// What is deleted is a file that the table refers to.
    DeleteReferenced,
    /// The answer is given before the commit.
    AnswerEarly,
    /// Entries that are not new have no sequence number.
    LoseNumbers,
    /// A token or an offset still counts whose snapshot was rolled back.
    ForgetRollback,
    /// What is committed to a branch is set as main, too.
    ForgetBranch,
}

/// What the catalog of one writer keeps in mind for its lie.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// A table that there is not, and that the next load shows.
    pub(crate) pretended: Option<Pointer>,
    /// The summary of the first attempt, by commit.
    summaries: HashMap<String, Json>,
}

impl Lie {
    /// What is shown of `table`.
    pub(crate) fn loaded(self, table: Table, world: &World) -> Table {
        let edited = match self {
            Self::HideMarks => edited(table.metadata(), |json| {
                for snapshot in json["snapshots"].as_array_mut().into_iter().flatten() {
                    for key in [SUMMARY_KEY, offsets::SUMMARY_KEY] {
                        snapshot["summary"].as_object_mut().unwrap().remove(key);
                    }
                }
            }),
            Self::ForgetRollback => edited(table.metadata(), |json| {
                let current = json["current-snapshot-id"].clone();
                let (tokens, offsets) = {
                    let model = world.model();
                    let tokens: Vec<String> = model.marks.tokens.iter().cloned().collect();
                    (tokens.join(" "), model.marks.offsets.to_string())
                };
                for snapshot in json["snapshots"].as_array_mut().into_iter().flatten() {
                    if snapshot["snapshot-id"] == current {
                        snapshot["summary"][SUMMARY_KEY] = json!(tokens);
                        if !offsets.is_empty() {
                            snapshot["summary"][offsets::SUMMARY_KEY] = json!(offsets);
                        }
                    }
                }
            }),
            _ => return table,
        };
        Table::builder()
            .identifier(table.identifier().clone())
            .metadata_location(table.metadata_location().unwrap())
            .metadata(Arc::new(edited))
            .file_io(table.file_io().clone())
            .runtime(Runtime::try_current().unwrap())
            .build()
            .unwrap()
    }

    /// What is made of `next`.
    pub(crate) fn next(self, base: &Loaded, next: &Next, world: &World, memory: &mut Memory) -> Next {
        let mut next = next.clone();
        match self {
            // What the append was shown must not get into the table.
            Self::HideMarks | Self::ForgetRollback => {
                let pointer = world.model().pointer.clone();
                let is_base = |pointer: &Pointer| base.table.metadata_location() == Some(&pointer.location);
                if let Some(Pointer { location, metadata }) = pointer.filter(is_base) {
                    let builder = metadata.as_ref().clone().into_builder(Some(location));
                    let changed = next
                        .updates
                        .iter()
                        .try_fold(builder, |builder, update| update.clone().apply(builder));
                    next.metadata = changed.and_then(|builder| builder.build()).unwrap().metadata;
                }
            }
            Self::OldSummary => {
                next.metadata = edited(&next.metadata, |json| {
                    let current = json["current-snapshot-id"].clone();
                    for snapshot in json["snapshots"].as_array_mut().into_iter().flatten() {
                        if snapshot["snapshot-id"] == current {
                            let commit = snapshot["summary"][COMMIT_KEY].to_string();
                            let summary = memory.summaries.entry(commit);
                            let summary = summary.or_insert_with(|| snapshot["summary"].clone());
                            snapshot["summary"] = summary.clone();
                        }
                    }
                });
            }
            Self::ExpireNeeded => {
                let parent = base.table.metadata().current_snapshot_id();
                next.metadata = edited(&next.metadata, |json| {
                    for list in ["snapshots", "snapshot-log"] {
                        let list = json[list].as_array_mut().into_iter();
                        list.for_each(|list| list.retain(|item| item["snapshot-id"].as_i64() != parent));
                    }
                    let refs = json["refs"].as_object_mut().into_iter();
                    refs.for_each(|refs| refs.retain(|_, item| item["snapshot-id"].as_i64() != parent));
                });
            }
            Self::ForgetBranch => {
                next.metadata = edited(&next.metadata, |json| {
                    let branch = json["refs"][AUDIT]["snapshot-id"].clone();
                    if branch.is_i64() {
                        json["refs"]["main"] = json!({"snapshot-id": branch, "type": "branch"});
                        json["current-snapshot-id"] = branch;
                        json["snapshot-log"] = json!([]);
                    }
                });
            }
            Self::DeleteReferenced | Self::AnswerEarly | Self::LoseNumbers => {}
        }
        next
    }
}

/// `metadata` with its JSON edited.
pub(crate) fn edited(metadata: &TableMetadata, edit: impl FnOnce(&mut Json)) -> TableMetadata {
    let mut json = serde_json::to_value(metadata).unwrap();
    edit(&mut json);
    serde_json::from_value(json).unwrap()
}

/// A file that the table needs.
pub(crate) fn referenced(world: &World) -> Option<String> {
    let pointer = world.model().pointer.clone()?;
    let list = pointer.metadata.current_snapshot()?.manifest_list();
    let live: BTreeSet<String> =
        tree::Checker::default().live_files(list, &|path| world.bytes(path)).into_iter().collect();
    live.into_iter().next()
}

/// A manifest whose entries have no sequence number unless they are new. Any other file as it is.
pub(crate) fn without_numbers(path: &str, bytes: Bytes) -> Bytes {
    let Some(reader) = Reader::new(&bytes[..]).ok().filter(|_| path.ends_with(".avro")) else { return bytes };
    let schema = reader.writer_schema().clone();
    let metadata = reader.user_metadata().clone();
    let mut writer = Writer::new(&schema, Vec::new());
    for (key, value) in metadata {
        writer.add_user_metadata(key, value).unwrap();
    }
    let mut is_changed = false;
    for entry in reader {
        let Ok(Value::Record(mut fields)) = entry else { return bytes };
        if fields.iter().any(|(name, value)| name == "status" && *value == Value::Int(0)) {
            for (_, value) in fields.iter_mut().filter(|(name, _)| name == "sequence_number") {
                *value = Value::Union(0, Box::new(Value::Null));
                is_changed = true;
            }
        }
        writer.append(Value::Record(fields)).unwrap();
    }
    if is_changed { writer.into_inner().unwrap().into() } else { bytes }
}

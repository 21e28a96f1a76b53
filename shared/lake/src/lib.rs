//! Raw objects of JSON records -> a committed snapshot of an Iceberg table.
//!
//! In: URIs of objects with their tokens. Out: an [`Outcome`]: what became of each object, and the snapshot. The data
//! goes one way: object -> bytes -> record frames -> rows and rejections -> batches -> data files and quarantine ->
//! snapshot. No event types of AWS are known here, only the lines of Firehose's error objects.

mod ancestors;
mod append;
pub mod audit;
mod avro_names;
#[cfg(feature = "aws")]
mod aws;
mod branch;
mod catalog;
mod causes;
mod commit;
mod compact;
mod decode;
mod definition;
mod digest;
mod env;
mod error;
mod evolve;
mod failpoint;
mod files;
mod growth;
mod health;
mod infer;
mod inventory;
mod job;
mod kafka;
mod known;
mod layout;
mod ledger;
mod name_bounds;
mod objects;
mod offsets;
mod pending;
mod publish;
pub mod quarantine;
mod route;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod simulation;
mod spool;
mod storage;
mod stored;
pub mod sweep;
mod task;
mod token;
mod topic;
mod vectors;
mod write;

pub use ancestors::ancestors;
pub use append::{append, append_routed};
#[cfg(feature = "sqs")]
pub use aws::SqsQueue;
pub use catalog::{CATALOG_NAME, CatalogConfig, Lake, RestAuth, Secret};
pub use causes::causes;
pub use compact::{CompactOptions, Compacted, Left, compact};
pub use decode::{FILE_NAME, Lack, PROCESSING_TIME, RowDecoder, SystemColumn, SystemValue};
pub use definition::TableDefinition;
pub use digest::Digest;
pub use env::Source;
pub use error::{Directive, Error, Kind, Part};
pub use failpoint::failpoint;
pub use files::{Files, NewFile};
pub use health::{
    Due, Growth, Health, HistoryEntry, PartitionHealth, ReferenceHealth, SIZE_CLASSES, newest_row_ms,
};
pub use infer::{Inference, Numbers};
pub use job::{
    AppendOptions, CommitMetrics, Limits, ObjectOutcome, Outcome, Rejected, SourceObject, Status,
    TableOutcome, WriteLimits, by_code,
};
pub use kafka::{TopicOptions, TopicOutcome, TopicStatus, append_records, quarantine_records, refusal};
pub use layout::{Layout, canonical, local_path};
pub use ledger::{Committed, PROPERTY as LEDGER, committed};
pub use objects::{Content, REDRIVEN_PREFIX, RecordCounts, content, count_records, holds_failed_records};
pub use offsets::{Offsets, SUMMARY_KEY as OFFSETS_KEY, Stream, offsets_of};
pub use pending::{Pending, PendingOptions, pending};
pub use publish::{
    Audited, Bounds, Checks, MaxNulls, NewCommit, Publication, PublicationStatus, PublishOptions,
};
pub use route::{Pattern, Routes, Unrouted};
pub use storage::{
    ListedFile, Lister, ObjectVersion, S3Config, S3Encryption, UNFINISHED, WholeFile, storage_factory,
};
pub use stored::{StoredObject, stored_objects};
pub use token::{SUMMARY_KEY, Token};
pub use topic::{TopicPartition, TopicRecord, TopicValue};
pub use vectors::Vectors;

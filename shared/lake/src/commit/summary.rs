//! What a snapshot's summary counts (Iceberg specification, appendix F, "Optional Snapshot Summary Fields").

use std::collections::HashMap;

use iceberg::spec::{
    DataFile, PartitionSpecRef, SchemaRef, Snapshot, SnapshotSummaryCollector, TableMetadata, TableProperties,
};

/// A total, what is added to it and what is taken from it.
const TOTALS: [[&str; 3]; 6] = [
    ["total-data-files", "added-data-files", "deleted-data-files"],
    ["total-delete-files", "added-delete-files", "removed-delete-files"],
    ["total-records", "added-records", "deleted-records"],
    ["total-files-size", "added-files-size", "removed-files-size"],
    ["total-position-deletes", "added-position-deletes", "removed-position-deletes"],
    ["total-equality-deletes", "added-equality-deletes", "removed-equality-deletes"],
];

/// Counts what a snapshot adds and removes.
pub(super) struct Counts {
    collector: SnapshotSummaryCollector,
    schema: SchemaRef,
}

impl Counts {
    pub(super) fn of(base: &TableMetadata, schema: SchemaRef) -> Self {
        let mut collector = SnapshotSummaryCollector::default();
        let limit = base.properties().get(TableProperties::PROPERTY_WRITE_PARTITION_SUMMARY_LIMIT);
        collector.set_partition_summary_limit(limit.and_then(|limit| limit.parse().ok()).unwrap_or(0));
        Self { collector, schema }
    }

    pub(super) fn add(&mut self, file: &DataFile, spec: &PartitionSpecRef) {
        self.collector.add_file(file, self.schema.clone(), spec.clone());
    }

    pub(super) fn remove(&mut self, file: &DataFile, spec: &PartitionSpecRef, schema: &SchemaRef) {
        self.collector.remove_file(file, schema.clone(), spec.clone());
    }

    /// The counts, and the totals as they are upon `parent`. A total that the parent does not know stays unknown.
    pub(super) fn into_summary(self, parent: Option<&Snapshot>) -> HashMap<String, String> {
        let mut summary = self.collector.build();
        for [total, added, removed] in TOTALS {
            let before = match parent {
                None => Some(0),
                Some(parent) => parent
                    .summary()
                    .additional_properties
                    .get(total)
                    .and_then(|text| text.parse::<u64>().ok()),
            };
            let count = |key: &str| summary.get(key).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
            if let Some(after) = before.and_then(|before| (before + count(added)).checked_sub(count(removed)))
            {
                summary.insert(total.to_owned(), after.to_string());
            }
        }
        summary
    }
}

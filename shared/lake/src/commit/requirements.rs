//! What a commit takes for granted of the table it is made to.
//!
//! In: a change and the base that its successor was computed of. Out: the requirements that a catalog holds the table
//! against (Iceberg REST catalog specification, "Commit updates to a table").

use std::collections::HashMap;

use iceberg::TableRequirement;
use iceberg::spec::{SnapshotReference, TableMetadata};

use super::Change;

/// What must hold of a table for the successor of `base` to be that of the table.
pub(super) fn requirements(
    change: &Change<'_>,
    base: &TableMetadata,
    references: &HashMap<String, SnapshotReference>,
    head: Option<i64>,
) -> Vec<TableRequirement> {
    let mut requirements = vec![
        TableRequirement::UuidMatch { uuid: base.uuid() },
        TableRequirement::RefSnapshotIdMatch { r#ref: change.branch.to_owned(), snapshot_id: head },
        TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() },
        TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() },
    ];
    if change.schema.is_some() {
        let last_assigned_field_id = base.last_column_id();
        requirements.push(TableRequirement::LastAssignedFieldIdMatch { last_assigned_field_id });
    }
    // What is kept for the sake of a reference depends on where it points to.
    for (name, reference) in references.iter().filter(|(name, _)| change.expire && *name != change.branch) {
        let (r#ref, snapshot_id) = (name.clone(), Some(reference.snapshot_id));
        requirements.push(TableRequirement::RefSnapshotIdMatch { r#ref, snapshot_id });
    }
    requirements
}

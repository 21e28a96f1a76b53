//! Branches and tags of a table. The library has no way to list them but its JSON.

use std::collections::HashMap;

use iceberg::Result;
use iceberg::spec::{SnapshotReference, TableMetadata};
use serde::Deserialize;

/// The branches and tags of a table, by name.
pub(crate) fn refs(metadata: &TableMetadata) -> Result<HashMap<String, SnapshotReference>> {
    #[derive(Deserialize)]
    struct OnlyRefs {
        #[serde(default)]
        refs: HashMap<String, SnapshotReference>,
    }
    let json = serde_json::to_vec(metadata)?;
    Ok(serde_json::from_slice::<OnlyRefs>(&json)?.refs)
}

//! Branches and tags of a table. The library has no way to list them but its JSON.

use std::collections::HashMap;
use std::sync::Arc;

use iceberg::Result;
use iceberg::spec::SnapshotReference;
#[cfg(any(test, feature = "rest"))]
use iceberg::spec::TableMetadata;
use serde::Deserialize;

/// The branches and tags of a table, by name.
pub(crate) type Refs = Arc<HashMap<String, SnapshotReference>>;

/// Those of the table whose metadata are `json`.
pub(crate) fn of_json(json: &[u8]) -> Result<Refs> {
    #[derive(Deserialize)]
    struct OnlyRefs {
        #[serde(default)]
        refs: HashMap<String, SnapshotReference>,
    }
    Ok(Arc::new(serde_json::from_slice::<OnlyRefs>(json)?.refs))
}

/// Those of `metadata` whose JSON is not at hand. As slow as writing the metadata.
#[cfg(any(test, feature = "rest"))]
pub(crate) fn of_metadata(metadata: &TableMetadata) -> Result<Refs> {
    of_json(&serde_json::to_vec(metadata)?)
}

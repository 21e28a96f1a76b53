//! Which data files may hold rows of an object, by the bounds of their column `file_name`.
//!
//! In: a table and URIs of objects. Out: those that no data file's bounds exclude. Once snapshots have expired, every
//! invocation asks; so what was read of a manifest is kept from one to the next. Manifests never change, and those that
//! the table no longer has are forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iceberg::Result;
use iceberg::io::FileIO;
use iceberg::spec::{DataFile, ManifestContentType, ManifestFile, PrimitiveLiteral};
use iceberg::table::Table;

use crate::decode::FILE_NAME;

/// Manifests that are read at the same time.
const PARALLEL_REQUESTS: usize = 16;

/// What is known of a table's manifests.
#[derive(Debug, Default)]
pub(crate) struct NameBounds {
    /// The bounds of each data file, by the manifest's path.
    manifests: Mutex<HashMap<String, Arc<[Bounds]>>>,
}

/// The least and the greatest name, or what bounds them.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    lower: Option<String>,
    upper: Option<String>,
}

impl NameBounds {
    /// Those of `uris` of which the current snapshot of `table` may have rows.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn admit<'a>(&self, table: &Table, mut uris: Vec<&'a str>) -> Result<Vec<&'a str>> {
        let Some(snapshot) = table.metadata().current_snapshot() else { return Ok(Vec::new()) };
        let schema = snapshot.schema(table.metadata())?;
        let Some(name_id) = schema.field_id_by_name(FILE_NAME) else { return Ok(uris) };
        let list = table.manifest_list_reader(snapshot).load().await?;
        let manifests =
            list.entries().iter().filter(|manifest| manifest.content == ManifestContentType::Data);
        let known = std::mem::take(&mut *self.manifests.lock().unwrap_or_else(PoisonError::into_inner));
        let reads: Vec<_> = manifests
            .map(|manifest| {
                let known = known.get(&manifest.manifest_path).cloned();
                bounds_of(manifest.clone(), known, table.file_io().clone(), name_id)
            })
            .collect();
        let manifests: HashMap<String, Arc<[Bounds]>> =
            stream::iter(reads).buffer_unordered(PARALLEL_REQUESTS).try_collect().await?;
        uris.retain(|uri| manifests.values().flat_map(|files| files.iter()).any(|file| file.admits(uri)));
        *self.manifests.lock().unwrap_or_else(PoisonError::into_inner) = manifests;
        Ok(uris)
    }
}

/// The bounds of the data files of `manifest`, by its path: those that are `known`, or else what it says.
async fn bounds_of(
    manifest: ManifestFile,
    known: Option<Arc<[Bounds]>>,
    file_io: FileIO,
    name_id: i32,
) -> Result<(String, Arc<[Bounds]>)> {
    let bounds = match known {
        Some(bounds) => bounds,
        None => {
            let content = manifest.load_manifest(&file_io).await?;
            let live = content.entries().iter().filter(|entry| entry.is_alive());
            live.filter_map(|entry| Bounds::of(entry.data_file(), name_id)).collect()
        }
    };
    Ok((manifest.manifest_path, bounds))
}

impl Bounds {
    /// None if no row of `file` has a name.
    fn of(file: &DataFile, name_id: i32) -> Option<Self> {
        let (values, nulls) = (file.value_counts().get(&name_id), file.null_value_counts().get(&name_id));
        if values.is_some() && values == nulls {
            return None;
        }
        let text = |bounds: &HashMap<i32, iceberg::spec::Datum>| match bounds.get(&name_id)?.literal() {
            PrimitiveLiteral::String(text) => Some(text.clone()),
            _ => None,
        };
        Some(Self { lower: text(file.lower_bounds()), upper: text(file.upper_bounds()) })
    }

    fn admits(&self, uri: &str) -> bool {
        self.lower.as_deref().is_none_or(|lower| lower <= uri)
            && self.upper.as_deref().is_none_or(|upper| uri <= upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_admit_what_they_do_not_exclude() {
        let bounds = |lower: Option<&str>, upper: Option<&str>| Bounds {
            lower: lower.map(str::to_owned),
            upper: upper.map(str::to_owned),
        };
        for (bounds, admitted) in [
            (bounds(Some("b"), Some("d")), ["b", "c", "d"].as_slice()),
            // Shortened by another engine: the upper bound is rounded up.
            (bounds(Some("bb"), Some("c")), &["c"]),
            (bounds(None, Some("b")), &["a", "b"]),
            (bounds(Some("d"), None), &["d", "e"]),
            (bounds(None, None), &["a", "b", "c", "d", "e"]),
        ] {
            let found: Vec<_> =
                ["a", "b", "c", "d", "e"].into_iter().filter(|uri| bounds.admits(uri)).collect();
            assert_eq!(found, admitted, "{bounds:?}");
        }
    }
}

//! Which data files may hold rows of an object, by the bounds of their column `file_name`.
//!
//! In: a table, and URIs of objects with how new the files are that may have rows of them. Out: those URIs that no data
//! file's bounds exclude. What was read of a manifest is kept from one invocation to the next, up to a ceiling for each
//! table. Manifests never change, and those that the table no longer has are forgotten.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iceberg::Result;
use iceberg::io::FileIO;
use iceberg::spec::{ManifestContentType, ManifestEntry, ManifestFile, PrimitiveLiteral, SnapshotRef};
use iceberg::table::Table;
use uuid::Uuid;

use crate::decode::FILE_NAME;

/// Manifests that are read at the same time.
const PARALLEL_REQUESTS: usize = 16;
/// Most bytes that are kept of a table's manifests. The others are read again whenever they are asked.
const MAX_TABLE_BYTES: usize = 8 << 20;
/// Tables of which something is kept.
const MAX_TABLES: usize = 4;

/// What is known of tables' manifests.
#[derive(Debug, Default)]
pub(crate) struct NameBounds {
    tables: Mutex<HashMap<Uuid, Manifests>>,
}

/// The bounds of each data file, by the manifest's path.
type Manifests = HashMap<String, Arc<[Bounds]>>;

/// Of a data file: the least and the greatest name, or what bounds them.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    /// 0 if there is none.
    sequence_number: i64,
    lower: Option<String>,
    upper: Option<String>,
}

impl NameBounds {
    /// Those of the URIs `asked` of which `snapshots` of `table` may have rows, in files whose sequence number is not above
    /// the one that is given with the URI.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn admit<'a>(
        &self,
        table: &Table,
        snapshots: &[&SnapshotRef],
        asked: Vec<(&'a str, i64)>,
    ) -> Result<Vec<&'a str>> {
        let metadata = table.metadata();
        let Some(snapshot) = snapshots.first() else { return Ok(Vec::new()) };
        let schema = snapshot.schema(metadata)?;
        let Some(name_id) = schema.field_id_by_name(FILE_NAME) else {
            return Ok(asked.into_iter().map(|(uri, _)| uri).collect());
        };
        let Some(until) = asked.iter().map(|(_, until)| *until).max() else { return Ok(Vec::new()) };
        let mut manifests: Vec<ManifestFile> = Vec::new();
        for snapshot in snapshots {
            manifests.extend(table.manifest_list_reader(snapshot).load().await?.consume_entries());
        }
        let mut known = self.take(metadata.uuid());
        let (mut reads, mut met) = (Vec::new(), HashSet::new());
        let mut kept = Manifests::new();
        for manifest in &manifests {
            if manifest.content != ManifestContentType::Data || !met.insert(&manifest.manifest_path) {
                continue;
            }
            let known = known.remove_entry(&manifest.manifest_path);
            if manifest.min_sequence_number <= until {
                let known = known.map(|(_, bounds)| bounds);
                reads.push(bounds_of(manifest.clone(), known, table.file_io().clone(), name_id));
            } else {
                kept.extend(known);
            }
        }
        let mut is_admitted = vec![false; asked.len()];
        let mut kept_bytes: usize = kept.values().map(|files| bytes_of(files)).sum();
        let mut reads = stream::iter(reads).buffer_unordered(PARALLEL_REQUESTS);
        while let Some((path, files)) = reads.try_next().await? {
            for ((uri, until), is_admitted) in asked.iter().zip(&mut is_admitted) {
                *is_admitted |= files.iter().any(|file| file.sequence_number <= *until && file.admits(uri));
            }
            kept_bytes += bytes_of(&files);
            if kept_bytes <= MAX_TABLE_BYTES {
                kept.insert(path, files);
            }
        }
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if tables.len() >= MAX_TABLES {
            tables.clear();
        }
        tables.insert(metadata.uuid(), kept);
        let admitted = asked.into_iter().zip(is_admitted).filter(|(_, is_admitted)| *is_admitted);
        Ok(admitted.map(|((uri, _), _)| uri).collect())
    }

    fn take(&self, table: Uuid) -> Manifests {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).remove(&table).unwrap_or_default()
    }
}

/// What the bounds of a manifest's files take.
fn bytes_of(files: &[Bounds]) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    files.iter().map(|file| size_of::<Bounds>() + text(&file.lower) + text(&file.upper)).sum()
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
            live.filter_map(|entry| Bounds::of(entry, name_id)).collect()
        }
    };
    Ok((manifest.manifest_path, bounds))
}

impl Bounds {
    /// None if no row of the file of `entry` has a name.
    fn of(entry: &ManifestEntry, name_id: i32) -> Option<Self> {
        let file = entry.data_file();
        let (values, nulls) = (file.value_counts().get(&name_id), file.null_value_counts().get(&name_id));
        if values.is_some() && values == nulls {
            return None;
        }
        let text = |bounds: &HashMap<i32, iceberg::spec::Datum>| match bounds.get(&name_id)?.literal() {
            PrimitiveLiteral::String(text) => Some(text.clone()),
            _ => None,
        };
        Some(Self {
            sequence_number: entry.sequence_number().unwrap_or(0),
            lower: text(file.lower_bounds()),
            upper: text(file.upper_bounds()),
        })
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
            sequence_number: 0,
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

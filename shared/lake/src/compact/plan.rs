//! A snapshot -> the data files that are worth being made one.
//!
//! In: a table, and [`CompactOptions`]. Out: a [`Plan`]: bins of files of one partition each, those of partitions that have
//! most files first, and how many files are left alone for which reason. The manifests are read twice, first to count and
//! then to choose, so that memory follows the number of partitions and [`CompactOptions::max_files`], not that of files.
//!
//! A bin takes the smallest files first, up to the size that the table wants files to have, and none that is much larger than
//! the others together ([`MAX_RATIO`]): rows are then written again only when what they lie beside has grown. So a partition
//! that is still written to is compacted by tiers of size, and a late row does not make a large file be written again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use iceberg::spec::{
    DataFileFormat, Manifest, ManifestContentType, ManifestFile, SnapshotRef, Struct, TableMetadata,
};
use iceberg::table::Table;
use iceberg::{Error, ErrorKind, Result};

use super::closed::end_ms;
use super::deletes::{Deletes, same};
use super::{CompactOptions, Left};

/// A file may be so many times larger than those that are compacted with it are together.
const MAX_RATIO: u64 = 4;
/// Files from this share of the target on are large enough.
const LARGE_PERCENT: u64 = 75;
/// Files that are worth being one where no more will come.
const MIN_CLOSED_FILES: usize = 2;
/// Manifests that are read at the same time.
const PARALLEL_READS: usize = 8;

/// What is to be compacted, by a snapshot.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) snapshot: SnapshotRef,
    pub(super) bins: Vec<Bin>,
    /// Files that are small and stay as they are.
    pub(super) left: BTreeMap<Left, u64>,
}

/// Files of one partition that are to be one.
#[derive(Debug)]
pub(super) struct Bin {
    /// Oldest first.
    pub(super) files: Vec<Input>,
}

/// A data file of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) sequence_number: i64,
    pub(super) partition: Struct,
}

/// Bytes that the table's files should have, and how many files of a partition that is still written to are worth being one.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    target: u64,
    open_files: usize,
}

impl Sizes {
    fn is_large(&self, bytes: u64) -> bool {
        bytes >= self.target / 100 * LARGE_PERCENT
    }
}

impl Plan {
    /// What of the current snapshot of `table` is worth compacting at `now_ms`. None if the table has no snapshot.
    ///
    /// # Errors
    /// The storage's; a manifest that cannot be read.
    pub(super) async fn of(table: &Table, options: &CompactOptions, now_ms: i64) -> Result<Option<Self>> {
        let metadata = table.metadata();
        let Some(snapshot) = metadata.current_snapshot() else { return Ok(None) };
        let sizes = Sizes { target: options.target_bytes(metadata)?, open_files: options.open_files };
        let list = table.manifest_list_reader(snapshot).load().await?;
        let (data, deletes): (Vec<_>, Vec<_>) =
            list.consume_entries().into_iter().partition(|one| one.content == ManifestContentType::Data);
        let deletes = read_deletes(table, deletes).await?;

        // How many small files there are, by partition.
        let (mut counts, mut left) = (HashMap::<Struct, usize>::new(), BTreeMap::new());
        each_small(table, &data, &deletes, sizes, |file| match file {
            Ok(input) => *counts.entry(same(&input.partition)).or_default() += 1,
            Err(why) => *left.entry(why).or_default() += 1,
        })
        .await?;

        let margin = i64::try_from(options.margin.as_millis()).unwrap_or(i64::MAX);
        let is_closed = |partition: &Struct| {
            end_ms(metadata.default_partition_spec(), metadata.current_schema(), partition)
                .is_some_and(|end| end.saturating_add(margin) <= now_ms)
        };
        let min_files = |partition: &Struct| match is_closed(partition) {
            true => MIN_CLOSED_FILES,
            false => sizes.open_files,
        };
        let mut chosen: Vec<(&Struct, usize)> =
            counts.iter().map(|(partition, count)| (partition, *count)).collect();
        chosen.retain(|(partition, count)| *count >= min_files(partition));
        chosen.sort_unstable_by_key(|(_, count)| Reverse(*count));
        let mut room = options.max_files;
        chosen.retain(|(_, count)| {
            let has_room = room > 0;
            room = room.saturating_sub(*count);
            has_room
        });
        let mut files: HashMap<Struct, Vec<Input>> =
            chosen.iter().map(|(partition, _)| ((*partition).clone(), Vec::new())).collect();
        if files.is_empty() {
            return Ok(Some(Self { snapshot: snapshot.clone(), bins: Vec::new(), left }));
        }
        let mut room = options.max_files;
        each_small(table, &data, &deletes, sizes, |file| {
            if let Ok(input) = file
                && room > 0
                && let Some(files) = files.get_mut(&same(&input.partition))
            {
                room -= 1;
                files.push(input);
            }
        })
        .await?;

        let mut bins: Vec<Bin> = Vec::new();
        for (partition, _) in chosen {
            let files = files.remove(partition).unwrap_or_default();
            bins.extend(packed(files, sizes, min_files(partition)));
        }
        Ok(Some(Self { snapshot: snapshot.clone(), bins, left }))
    }
}

/// Packs `files` of one partition into bins; at least `min` files are worth one that is not full.
fn packed(mut files: Vec<Input>, sizes: Sizes, min: usize) -> Vec<Bin> {
    files.sort_unstable_by(|one, other| one.bytes.cmp(&other.bytes).then_with(|| one.path.cmp(&other.path)));
    let (mut queue, mut bins) = (VecDeque::from(files), Vec::new());
    while let Some(first) = queue.pop_front() {
        let (mut bytes, mut files) = (first.bytes, vec![first]);
        while let Some(next) = queue.pop_front_if(|next| bytes.saturating_add(next.bytes) <= sizes.target) {
            bytes += next.bytes;
            files.push(next);
        }
        while files.len() > 1
            && let Some(last) =
                files.pop_if(|last| last.bytes > (bytes - last.bytes).saturating_mul(MAX_RATIO))
        {
            bytes -= last.bytes;
            queue.push_front(last);
        }
        if files.len() >= min || (files.len() >= MIN_CLOSED_FILES && sizes.is_large(bytes)) {
            files.sort_unstable_by(|one, other| {
                (one.sequence_number, &one.path).cmp(&(other.sequence_number, &other.path))
            });
            bins.push(Bin { files });
        }
    }
    bins
}

async fn read_deletes(table: &Table, manifests: Vec<ManifestFile>) -> Result<Deletes> {
    let mut deletes = Deletes::default();
    each_manifest(table, &manifests, |file, manifest| {
        let spec = spec_is_unpartitioned(table.metadata(), file.partition_spec_id);
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            deletes.add(entry, file.partition_spec_id, spec);
        }
    })
    .await?;
    Ok(deletes)
}

fn spec_is_unpartitioned(metadata: &TableMetadata, spec_id: i32) -> bool {
    metadata.partition_spec_by_id(spec_id).is_none_or(|spec| spec.is_unpartitioned())
}

/// Hands over each file of the manifests that is smaller than files should be, or why it is left alone.
async fn each_small(
    table: &Table,
    manifests: &[ManifestFile],
    deletes: &Deletes,
    sizes: Sizes,
    mut each: impl FnMut(std::result::Result<Input, Left>),
) -> Result<()> {
    let spec = table.metadata().default_partition_spec_id();
    each_manifest(table, manifests, |file, manifest| {
        for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
            let data = entry.data_file();
            if sizes.is_large(data.file_size_in_bytes()) {
                continue;
            }
            each(if file.partition_spec_id != spec {
                Err(Left::OlderSpec)
            } else if data.file_format() != DataFileFormat::Parquet {
                Err(Left::Format)
            } else if deletes.may_touch(entry, file.partition_spec_id) {
                Err(Left::Deletes)
            } else {
                Ok(Input {
                    path: data.file_path().to_owned(),
                    bytes: data.file_size_in_bytes(),
                    rows: data.record_count(),
                    sequence_number: entry.sequence_number().unwrap_or(0),
                    partition: data.partition().clone(),
                })
            });
        }
    })
    .await
}

/// Reads `manifests`, a few at a time.
async fn each_manifest(
    table: &Table,
    manifests: &[ManifestFile],
    mut each: impl FnMut(&ManifestFile, &Manifest),
) -> Result<()> {
    let reads: Vec<_> = manifests
        .iter()
        .map(|manifest| {
            let (file_io, manifest) = (table.file_io().clone(), manifest.clone());
            async move {
                let content = manifest.load_manifest(&file_io).await.map_err(|error| {
                    let what = format!("the manifest {} cannot be read", manifest.manifest_path);
                    Error::new(ErrorKind::Unexpected, what).with_source(error)
                })?;
                Ok::<_, Error>((manifest, content))
            }
        })
        .collect();
    let mut reads = stream::iter(reads).buffered(PARALLEL_READS);
    while let Some((file, manifest)) = reads.try_next().await? {
        each(&file, &manifest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(sizes: &[u64]) -> Vec<Input> {
        let files = sizes.iter().enumerate().map(|(at, bytes)| Input {
            path: format!("{at:04}"),
            bytes: *bytes,
            rows: 1,
            sequence_number: 100 - at as i64,
            partition: Struct::empty(),
        });
        files.collect()
    }

    /// The sizes of the files of each bin.
    fn bins(sizes: &[u64], min: usize) -> Vec<Vec<u64>> {
        let packed = packed(files(sizes), Sizes { target: 1000, open_files: 10 }, min);
        packed.iter().map(|bin| bin.files.iter().map(|file| file.bytes).collect()).collect()
    }

    #[test]
    fn bins_are_as_large_as_files_should_be() {
        assert_eq!(bins(&[100; 25], 2), [vec![100; 10], vec![100; 10], vec![100; 5]]);
        assert_eq!(bins(&[400, 400, 400], 2), [[400, 400]]);
        assert_eq!(bins(&[100], 2), [[0; 0]; 0]);
        assert_eq!(bins(&[], 2), [[0; 0]; 0]);
    }

    #[test]
    fn a_large_file_waits_until_the_others_have_grown() {
        assert_eq!(bins(&[500, 10, 10], 2), [[10, 10]]);
        assert_eq!(bins(&[500, 10], 2), [[0; 0]; 0]);
        // Oldest first, which here are those of the higher index.
        assert_eq!(bins(&[500, 60, 60, 10], 2), [[10, 60, 60, 500]]);
        // Two that are alike go together, and with what is smaller.
        assert_eq!(bins(&[400, 400, 1, 1], 2), [[1, 1, 400, 400]]);
    }

    #[test]
    fn where_more_will_come_a_few_files_wait() {
        assert_eq!(bins(&[10; 9], 10), [[0; 0]; 0]);
        assert_eq!(bins(&[10; 10], 10), [[10; 10]]);
        // Full bins wait for nothing.
        assert_eq!(bins(&[300; 3], 10), [[300; 3]]);
    }
}

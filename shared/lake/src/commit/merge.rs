//! Which manifests a commit makes one of.
//!
//! In: the manifests of a snapshot and the properties `commit.manifest-merge.enabled`, `commit.manifest.min-count-to-merge`
//! and `commit.manifest.target-size-bytes`. Out: groups of manifests of data files of one partition spec. A group takes the
//! smallest manifests first and leaves out those that are much larger than the rest of it together: an entry is then
//! written again only when what it stands beside has grown several times, not with every merge.

use std::collections::{BTreeMap, HashMap};

use iceberg::spec::{ManifestContentType, ManifestFile};

/// A manifest may be so many times larger than those that are merged with it are together.
const MAX_RATIO: i64 = 4;
/// Manifests that one commit reads at most, whatever others have left.
const MAX_INPUTS: usize = 200;

/// Bytes that a manifest should have, where the table says nothing of it.
const DEFAULT_TARGET_BYTES: i64 = 8 << 20;

const ENABLED: &str = "commit.manifest-merge.enabled";
const MIN_COUNT: &str = "commit.manifest.min-count-to-merge";
const TARGET_BYTES: &str = "commit.manifest.target-size-bytes";

/// Manifests that become one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) spec_id: i32,
    /// Indexes of those that are there.
    pub(super) inputs: Vec<usize>,
    /// Whether the commit's own files are entered there too.
    pub(super) with_new: bool,
}

/// What the table's properties say; what they leave out is as the Java library has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    min_count: usize,
    target_bytes: i64,
}

impl Settings {
    /// None if nothing is to be merged.
    pub(super) fn of(properties: &HashMap<String, String>) -> Option<Self> {
        if properties.get(ENABLED).is_some_and(|text| text.eq_ignore_ascii_case("false")) {
            return None;
        }
        let number = |key: &str| properties.get(key).and_then(|text| text.trim().parse::<i64>().ok());
        Some(Self {
            min_count: number(MIN_COUNT).and_then(|count| usize::try_from(count).ok()).unwrap_or(100).max(2),
            target_bytes: number(TARGET_BYTES).unwrap_or(DEFAULT_TARGET_BYTES),
        })
    }

    /// The groups among `manifests`, to which new files of the spec `new_files` come. Manifests of the snapshot `own`, which
    /// is being made, stay as they are: what they say is deleted is told of by this snapshot alone.
    pub(super) fn groups(self, manifests: &[ManifestFile], new_files: Option<i32>, own: i64) -> Vec<Group> {
        let mut by_spec: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
        for (at, manifest) in manifests.iter().enumerate() {
            if manifest.content == ManifestContentType::Data
                && manifest.key_metadata.is_none()
                && manifest.added_snapshot_id != own
                && manifest.manifest_length < self.target_bytes
            {
                by_spec.entry(manifest.partition_spec_id).or_default().push(at);
            }
        }
        let groups = by_spec.into_iter().filter_map(|(spec_id, mut small)| {
            let with_new = new_files == Some(spec_id);
            if small.len() + usize::from(with_new) < self.min_count {
                return None;
            }
            small.sort_by_key(|at| manifests[*at].manifest_length);
            let mut inputs = Vec::new();
            // A manifest of new files is as small as they get.
            let mut bytes = small.first().filter(|_| with_new).map_or(0, |at| manifests[*at].manifest_length);
            for at in small.into_iter().take(MAX_INPUTS) {
                let more = manifests[at].manifest_length;
                if bytes + more > self.target_bytes || (bytes > 0 && more > MAX_RATIO * bytes) {
                    break;
                }
                bytes += more;
                inputs.push(at);
            }
            inputs.sort_unstable();
            (inputs.len() + usize::from(with_new) > 1).then_some(Group { spec_id, inputs, with_new })
        });
        groups.collect()
    }
}

/// `manifests`, all of which are to be written again, in groups that become one each: of one partition spec, and no longer
/// together than one should be.
pub(super) fn by_size(manifests: &[ManifestFile]) -> Vec<Vec<&ManifestFile>> {
    let mut groups: Vec<(i64, Vec<&ManifestFile>)> = Vec::new();
    let mut open: HashMap<i32, usize> = HashMap::new();
    for manifest in manifests {
        let spec = manifest.partition_spec_id;
        let at = open.get(&spec).copied().filter(|at| {
            groups.get(*at).is_some_and(|(bytes, group)| {
                bytes + manifest.manifest_length <= DEFAULT_TARGET_BYTES && group.len() < MAX_INPUTS
            })
        });
        match at.and_then(|at| groups.get_mut(at)) {
            Some((bytes, group)) => {
                *bytes += manifest.manifest_length;
                group.push(manifest);
            }
            None => {
                open.insert(spec, groups.len());
                groups.push((manifest.manifest_length, vec![manifest]));
            }
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The snapshot that is being made.
    const OWN: i64 = 2;

    fn manifest(spec_id: i32, length: i64) -> ManifestFile {
        ManifestFile {
            manifest_path: String::new(),
            manifest_length: length,
            partition_spec_id: spec_id,
            content: ManifestContentType::Data,
            sequence_number: 1,
            min_sequence_number: 1,
            added_snapshot_id: 1,
            added_files_count: Some(1),
            existing_files_count: Some(0),
            deleted_files_count: Some(0),
            added_rows_count: Some(1),
            existing_rows_count: Some(0),
            deleted_rows_count: Some(0),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    fn deletes(length: i64) -> ManifestFile {
        ManifestFile { content: ManifestContentType::Deletes, ..manifest(0, length) }
    }

    fn settings(min_count: usize) -> Settings {
        Settings { min_count, target_bytes: 1000 }
    }

    fn group(spec_id: i32, inputs: &[usize], with_new: bool) -> Group {
        Group { spec_id, inputs: inputs.to_vec(), with_new }
    }

    #[test]
    fn what_the_properties_leave_out_is_as_usual() {
        let properties = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect::<HashMap<_, _>>()
        };
        let settings = Settings::of(&HashMap::new()).unwrap();
        assert_eq!((settings.min_count, settings.target_bytes), (100, 8 << 20));
        let settings = Settings::of(&properties(&[(MIN_COUNT, "3"), (TARGET_BYTES, "77")])).unwrap();
        assert_eq!((settings.min_count, settings.target_bytes), (3, 77));
        assert!(Settings::of(&properties(&[(ENABLED, "False")])).is_none());
    }

    #[test]
    fn manifests_are_merged_when_there_are_enough_of_them() {
        let all = [manifest(0, 10), manifest(0, 10), manifest(0, 10)];
        assert_eq!(settings(4).groups(&all, None, OWN), []);
        assert_eq!(settings(4).groups(&all, Some(0), OWN), [group(0, &[0, 1, 2], true)]);
        assert_eq!(settings(3).groups(&all, None, OWN), [group(0, &[0, 1, 2], false)]);
        assert_eq!(settings(2).groups(&[], Some(0), OWN), []);
    }

    #[test]
    fn specs_and_contents_are_never_mixed() {
        let all =
            [manifest(0, 10), deletes(10), manifest(1, 10), manifest(0, 10), deletes(10), manifest(1, 10)];
        let expected = [group(0, &[0, 3], false), group(1, &[2, 5], true)];
        assert_eq!(settings(2).groups(&all, Some(1), OWN), expected);
    }

    #[test]
    fn what_is_large_enough_stays_as_it_is() {
        let all = [manifest(0, 1000), manifest(0, 600), manifest(0, 10), manifest(0, 10), manifest(0, 500)];
        assert_eq!(settings(2).groups(&all, None, OWN), [group(0, &[2, 3], false)]);
        // What has grown large is joined by what has grown nearly as large, and never beyond the target.
        let all = [manifest(0, 400), manifest(0, 300), manifest(0, 350)];
        assert_eq!(settings(2).groups(&all, None, OWN), [group(0, &[1, 2], false)]);
    }

    /// However long a table is written to, its manifests are few, and each entry was copied a few times.
    #[test]
    fn manifests_stay_few_and_copies_too() {
        let settings = Settings { min_count: 100, target_bytes: 8 << 20 };
        let (mut manifests, mut copied): (Vec<ManifestFile>, i64) = (Vec::new(), 0);
        const COMMITS: i64 = 20_000;
        for _ in 0..COMMITS {
            match settings.groups(&manifests, Some(0), OWN).pop() {
                Some(group) => {
                    let bytes: i64 = group.inputs.iter().map(|at| manifests[*at].manifest_length).sum();
                    copied += bytes;
                    let mut at = 0;
                    manifests.retain(|_| {
                        at += 1;
                        !group.inputs.contains(&(at - 1))
                    });
                    manifests.insert(0, manifest(0, bytes + 500));
                }
                None => manifests.insert(0, manifest(0, 500)),
            }
            assert!(manifests.len() <= 105, "{}", manifests.len());
        }
        assert!(copied < 8 * 500 * COMMITS, "{} times", copied / (500 * COMMITS));
    }

    #[test]
    fn a_commit_reads_only_so_many_manifests() {
        let all: Vec<_> = (0..5000).map(|_| manifest(0, 10)).collect();
        let settings = Settings { min_count: 100, target_bytes: 8 << 20 };
        assert_eq!(settings.groups(&all, Some(0), OWN)[0].inputs.len(), MAX_INPUTS);
    }
}

//! What the metadata of a table refers to.
//!
//! In: the location of a metadata file. Out: an [`Inventory`]: every file of every snapshot that the metadata has, and
//! what of the metadata cannot be read. Nothing here ends at the first damage: the rest is still worth knowing.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, FormatVersion, ManifestFile, ManifestList, SnapshotRef,
    Struct, TableMetadata,
};

/// A file that holds rows or deletes.
#[derive(Clone, Debug)]
pub(crate) struct ContentFile {
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) rows: u64,
    pub(crate) format: DataFileFormat,
    pub(crate) content: DataContentType,
    pub(crate) sequence_number: Option<i64>,
    pub(crate) partition_spec_id: i32,
    pub(crate) partition: Struct,
    pub(crate) equality_ids: Option<Vec<i32>>,
    /// Set if it is a deletion vector.
    pub(crate) vector: Option<Vector>,
    /// A snapshot that has the file.
    pub(crate) snapshot_id: i64,
}

/// Where a deletion vector is in its Puffin file (Iceberg table specification, "Deletion Vectors").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vector {
    /// The data file whose rows it deletes.
    pub(crate) data_file: String,
    /// In bytes.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) length: u64,
}

/// A metadata file that is gone or cannot be read, and what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) path: String,
    pub(crate) what: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.path, self.what)
    }
}

/// What a table refers to.
#[derive(Debug)]
pub(crate) struct Inventory {
    pub(crate) metadata: TableMetadata,
    /// The files that are live in each manifest, by the manifest's path.
    pub(crate) manifests: BTreeMap<String, Vec<ContentFile>>,
    /// The manifests of the current snapshot that could be read, as often as it lists them.
    pub(crate) current_manifests: Vec<String>,
    pub(crate) unreadable: Vec<Unreadable>,
}

impl Inventory {
    /// Reads the metadata at `location`, and the manifests of all its snapshots, each once.
    ///
    /// # Errors
    /// The metadata file itself cannot be read: nothing is known of the table.
    pub(crate) async fn read(file_io: &FileIO, location: &str) -> Result<Self, Unreadable> {
        let metadata = read_metadata(file_io, location).await?;
        let snapshots = snapshots(&metadata);
        let mut inventory = Self {
            manifests: BTreeMap::new(),
            current_manifests: Vec::new(),
            unreadable: Vec::new(),
            metadata,
        };
        let version = inventory.metadata.format_version();
        for snapshot in snapshots {
            let list = match read_list(file_io, snapshot.manifest_list(), version).await {
                Ok(list) => list,
                Err(unreadable) => {
                    inventory.unreadable.push(unreadable);
                    continue;
                }
            };
            let is_current = inventory.metadata.current_snapshot_id() == Some(snapshot.snapshot_id());
            for manifest in list.entries() {
                inventory.add(file_io, manifest, snapshot.snapshot_id()).await;
                if is_current && inventory.manifests.contains_key(&manifest.manifest_path) {
                    inventory.current_manifests.push(manifest.manifest_path.clone());
                }
            }
        }
        Ok(inventory)
    }

    async fn add(&mut self, file_io: &FileIO, manifest: &ManifestFile, snapshot_id: i64) {
        let path = &manifest.manifest_path;
        if self.manifests.contains_key(path) || self.unreadable.iter().any(|known| known.path == *path) {
            return;
        }
        match read_manifest(file_io, manifest, snapshot_id).await {
            Ok(files) => {
                self.manifests.insert(path.clone(), files);
            }
            Err(unreadable) => self.unreadable.push(unreadable),
        }
    }

    /// Every data and delete file of every snapshot; one that several manifests have comes several times.
    pub(crate) fn content_files(&self) -> impl Iterator<Item = &ContentFile> {
        self.manifests.values().flatten()
    }

    /// The data and delete files of the current snapshot, as often as it lists them.
    pub(crate) fn current_files(&self) -> impl Iterator<Item = &ContentFile> {
        self.current_manifests.iter().filter_map(|path| self.manifests.get(path)).flatten()
    }
}

/// What a table refers to, by name alone.
pub(crate) struct References {
    /// The current metadata file, those before it that the table still knows, and statistics. All but the first may be
    /// gone without harm.
    pub(crate) other_files: Vec<String>,
}

impl References {
    /// Those of the metadata that was read at `location`.
    pub(crate) fn new(metadata: &TableMetadata, location: &str) -> Self {
        let log = metadata.metadata_log().iter().map(|entry| entry.metadata_file.clone());
        let statistics = metadata.statistics_iter().map(|file| file.statistics_path.clone());
        let partitions = metadata.partition_statistics_iter().map(|file| file.statistics_path.clone());
        let all = [location.to_owned()].into_iter().chain(log).chain(statistics).chain(partitions);
        Self { other_files: all.collect() }
    }

    /// Hands the name of every other file that the table needs to `each`, one manifest in memory at a time. Gives back what
    /// cannot be read.
    pub(crate) async fn visit(
        &self,
        file_io: &FileIO,
        metadata: &TableMetadata,
        mut each: impl FnMut(&str),
    ) -> Vec<Unreadable> {
        let (mut unreadable, mut seen) = (Vec::new(), HashSet::new());
        for snapshot in snapshots(metadata) {
            each(snapshot.manifest_list());
            let list = match read_list(file_io, snapshot.manifest_list(), metadata.format_version()).await {
                Ok(list) => list,
                Err(what) => {
                    unreadable.push(what);
                    continue;
                }
            };
            for manifest in list.entries() {
                if !seen.insert(manifest.manifest_path.clone()) {
                    continue;
                }
                match read_manifest(file_io, manifest, snapshot.snapshot_id()).await {
                    Ok(files) => {
                        each(&manifest.manifest_path);
                        files.iter().for_each(|file| each(&file.path));
                    }
                    Err(what) => unreadable.push(what),
                }
            }
        }
        unreadable
    }
}

/// The snapshots of a table, in their order.
fn snapshots(metadata: &TableMetadata) -> Vec<SnapshotRef> {
    let mut snapshots: Vec<_> = metadata.snapshots().cloned().collect();
    snapshots.sort_by_key(|snapshot| (snapshot.sequence_number(), snapshot.timestamp_ms()));
    snapshots
}

/// Reads the metadata file at `location`.
pub(crate) async fn read_metadata(file_io: &FileIO, location: &str) -> Result<TableMetadata, Unreadable> {
    let (file_io, path) = (file_io.clone(), location.to_owned());
    guarded(&file_io.clone(), location, async move { TableMetadata::read_from(&file_io, &path).await }).await
}

async fn read_list(file_io: &FileIO, path: &str, version: FormatVersion) -> Result<ManifestList, Unreadable> {
    let (file_io, own_path) = (file_io.clone(), path.to_owned());
    guarded(&file_io.clone(), path, async move {
        let bytes = file_io.new_input(own_path)?.read().await?;
        ManifestList::parse_with_version(&bytes, version)
    })
    .await
}

async fn read_manifest(
    file_io: &FileIO,
    manifest: &ManifestFile,
    snapshot_id: i64,
) -> Result<Vec<ContentFile>, Unreadable> {
    let path = &manifest.manifest_path;
    // A manifest that was cut between two of its blocks is read without complaint, and files would be missing.
    if let Ok(input) = file_io.new_input(path)
        && let Ok(metadata) = input.metadata().await
        && metadata.size != manifest.manifest_length as u64
    {
        let what =
            format!("is {} bytes long, its manifest list says {}", metadata.size, manifest.manifest_length);
        return Err(Unreadable { path: path.clone(), what });
    }
    let spec_id = manifest.partition_spec_id;
    let (file_io, own_manifest) = (file_io.clone(), manifest.clone());
    let read =
        guarded(&file_io.clone(), path, async move { own_manifest.load_manifest(&file_io).await }).await?;
    let live = read.entries().iter().filter(|entry| entry.is_alive());
    Ok(live
        .map(|entry| ContentFile {
            path: entry.file_path().to_owned(),
            size_bytes: entry.file_size_in_bytes(),
            rows: entry.record_count(),
            format: entry.file_format(),
            content: entry.content_type(),
            sequence_number: entry.sequence_number(),
            partition_spec_id: spec_id,
            partition: entry.data_file().partition().clone(),
            equality_ids: entry.data_file().equality_ids(),
            vector: vector(entry.data_file()),
            snapshot_id,
        })
        .collect())
}

/// Where the deletion vector is that `file` stands for, if it is one.
pub(crate) fn vector(file: &DataFile) -> Option<Vector> {
    let is_vector = file.content_type() == DataContentType::PositionDeletes
        && file.file_format() == DataFileFormat::Puffin;
    is_vector.then(|| {
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        Some(Vector {
            data_file: file.referenced_data_file()?,
            offset: number(file.content_offset())?,
            length: number(file.content_size_in_bytes())?,
        })
    })?
}

/// Reads the file at `path` in a task of its own, so that a library that panics over damaged bytes ends only that.
async fn guarded<T: Send + 'static>(
    file_io: &FileIO,
    path: &str,
    read: impl Future<Output = iceberg::Result<T>> + Send + 'static,
) -> Result<T, Unreadable> {
    let what = match tokio::spawn(read).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    let what = match file_io.exists(path).await {
        Ok(false) => "is gone".to_owned(),
        _ => format!("cannot be read: {what}"),
    };
    Err(Unreadable { path: path.to_owned(), what })
}

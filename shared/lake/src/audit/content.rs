//! The files of a table against its manifests: whether each is there, and is what its manifest says.
//!
//! In: an [`Inventory`]. Out: which files cannot be used, the sizes of those that have another than they should, and findings. Of a
//! Parquet file the footer is read.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::io::{FileIO, FileRead};
use iceberg::spec::DataFileFormat;
use parquet::arrow::async_reader::MetadataFetch;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use super::report::{Kind, Report};
use super::{Options, Step};
use crate::inventory::{ContentFile, Inventory};
use crate::layout::local_path;

/// Files that are looked at at the same time.
const PARALLEL_FILES: usize = 8;
/// Bytes at the end of a Parquet file that hold the footer of most.
const FOOTER_BYTES: usize = 64 << 10;

/// What is known of the files of a table.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) count: u64,
    /// Those that cannot be used.
    pub(super) unusable: HashSet<String>,
    /// The sizes of those that can be, and have another than their manifest says.
    pub(super) sizes: HashMap<String, u64>,
}

/// Compares every data and delete file with its manifests.
pub(super) async fn check_files(
    file_io: &FileIO,
    inventory: &Inventory,
    table: &str,
    options: &Options,
    report: &mut Report,
) -> Checked {
    let by_path: BTreeMap<&str, &ContentFile> =
        inventory.content_files().map(|file| (file.path.as_str(), file)).collect();
    let current: HashSet<&str> = inventory.current_files().map(|file| file.path.as_str()).collect();
    let mut checked = Checked::default();
    let mut faults = stream::iter(by_path.into_values())
        .map(|file| async move {
            let (own, file_io) = (file.clone(), file_io.clone());
            // A task of its own, so that a library that panics over damaged bytes ends only that.
            let fault = tokio::spawn(async move { fault(&file_io, &own).await }).await;
            (file, fault.unwrap_or_else(|error| Some(Fault::Unusable(error.to_string()))))
        })
        .buffered(PARALLEL_FILES);
    while let Some((file, fault)) = faults.next().await {
        checked.count += 1;
        (options.progress)(Step::Files, checked.count);
        let (kind, what, size) = match fault {
            None => continue,
            Some(Fault::Missing(what)) => (Kind::MissingDataFile, what, None),
            Some(Fault::Unusable(what)) => (Kind::DamagedDataFile, what, None),
            Some(Fault::Differs(what, size)) => (Kind::DamagedDataFile, what, Some(size)),
        };
        match size {
            Some(size) => _ = checked.sizes.insert(file.path.clone(), size),
            None => _ = checked.unusable.insert(file.path.clone()),
        }
        let snapshot = match current.contains(file.path.as_str()) {
            true => "of the current snapshot".to_owned(),
            false => format!("of snapshot {}", file.snapshot_id),
        };
        let rows = file.rows;
        let detail =
            format!("{table}: the file {snapshot}, of {rows} rows, {what}; restore it from a backup");
        report.find(kind, file.path.clone(), detail);
    }
    checked
}

/// What is wrong with a file.
enum Fault {
    Missing(String),
    /// It cannot be read.
    Unusable(String),
    /// It can be read, but is not the file that the manifest describes. Its size in bytes.
    Differs(String, u64),
}

async fn fault(file_io: &FileIO, file: &ContentFile) -> Option<Fault> {
    if local_path(&file.path).is_some_and(|path| path.is_dir()) {
        return Some(Fault::Missing("is no file".to_owned()));
    }
    let unreadable = |error: iceberg::Error| Fault::Unusable(format!("cannot be read: {error}"));
    let input = match file_io.new_input(&file.path) {
        Ok(input) => input,
        Err(error) => return Some(unreadable(error)),
    };
    let size_bytes = match input.metadata().await {
        Ok(metadata) => metadata.size,
        Err(error) => {
            let is_gone = input.exists().await.is_ok_and(|exists| !exists);
            return Some(if is_gone { Fault::Missing("is gone".to_owned()) } else { unreadable(error) });
        }
    };
    let rows = match file.format {
        DataFileFormat::Parquet => match input.reader().await {
            Ok(reader) => rows_of(reader, size_bytes).await,
            Err(error) => Err(format!("cannot be read: {error}")),
        },
        // Only Parquet tells its row count.
        _ => Ok(file.rows),
    };
    let sizes = format!("has {size_bytes} bytes where its manifest says {}", file.size_bytes);
    let is_same_size = size_bytes == file.size_bytes;
    match rows {
        Err(what) if is_same_size => Some(Fault::Unusable(what)),
        Err(what) => Some(Fault::Unusable(format!("{what} and {sizes}"))),
        Ok(_) if !is_same_size => Some(Fault::Differs(sizes, size_bytes)),
        Ok(rows) if rows != file.rows => {
            Some(Fault::Differs(format!("has {rows} rows where its manifest says {}", file.rows), size_bytes))
        }
        Ok(_) => None,
    }
}

/// Ranges of a file, for the library that reads footers.
struct Ranges(Box<dyn FileRead>);

impl MetadataFetch for &mut Ranges {
    fn fetch(
        &mut self,
        range: std::ops::Range<u64>,
    ) -> BoxFuture<'_, std::result::Result<Bytes, ParquetError>> {
        async move { self.0.read(range).await.map_err(|error| ParquetError::External(error.into())) }.boxed()
    }
}

/// How many rows the footer of a Parquet file promises.
async fn rows_of(file: Box<dyn FileRead>, size_bytes: u64) -> std::result::Result<u64, String> {
    let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
    let footer = reader
        .load_and_finish(&mut Ranges(file), size_bytes)
        .await
        .map_err(|error| format!("has a footer that cannot be read: {error}"))?;
    Ok(footer.row_groups().iter().map(|group| group.num_rows().max(0) as u64).sum())
}

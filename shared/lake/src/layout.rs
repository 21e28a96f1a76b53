//! Where the objects of a stream lie, and what was rejected of them: for upkeep.
//!
//! In: a folder on this machine, or the bucket that Firehose delivers to. Out: a [`Layout`], and the place of an object,
//! `<bucket>/<key>`, whichever it is. In a folder the buckets are folders: `raw` for delivered objects, `errors`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::objects::REDRIVEN_PREFIX;
use crate::storage::UNFINISHED;

/// What of a bucket or a folder Firehose writes, and where redriven records go. All end in a slash.
const RAW: &str = "raw/";
const PROCESSING_FAILED: &str = "errors/processing-failed/";

/// Where things lie.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The URI of an object is this and its place. It ends in a slash.
    pub source_root: String,
    /// The folder of delivered objects. As all folders here it ends in a slash.
    pub raw: String,
    /// The folder of what Firehose keeps of failed records.
    pub processing_failed: String,
    /// The folder of objects of records that were put back.
    pub redrive: String,
    /// The URI of quarantine and copies, without a slash at its end; empty if it is not known.
    pub errors: String,
    /// The folder by its path and without links: another user of it may have come by another path.
    local: Option<(PathBuf, PathBuf)>,
}

impl Layout {
    /// All in the folder `root`, an absolute path, whose URI is `root_uri`.
    pub fn of_folder(root: &Path, root_uri: &str) -> Self {
        let root_uri = root_uri.trim_end_matches('/');
        Self {
            source_root: format!("{root_uri}/"),
            raw: format!("{root_uri}/{RAW}"),
            processing_failed: format!("{root_uri}/{PROCESSING_FAILED}"),
            redrive: format!("{root_uri}/{RAW}{REDRIVEN_PREFIX}"),
            errors: format!("{root_uri}/errors"),
            local: Some((root.to_owned(), canonical(root))),
        }
    }

    /// Objects at `source_root`, a bucket and a key; delivered below `delivered`, the URI of a bucket; rejected to `errors`.
    pub fn of_bucket(source_root: &str, delivered: &str, errors: &str) -> Self {
        let delivered = delivered.trim_end_matches('/');
        let source_root = match source_root.ends_with('/') {
            true => source_root.to_owned(),
            false => format!("{source_root}/"),
        };
        Self {
            source_root,
            raw: format!("{delivered}/{RAW}"),
            processing_failed: format!("{delivered}/{PROCESSING_FAILED}"),
            redrive: format!("{delivered}/{REDRIVEN_PREFIX}"),
            errors: errors.trim_end_matches('/').to_owned(),
            local: None,
        }
    }

    /// The folders of objects, each once.
    pub fn folders(&self) -> Vec<&str> {
        let mut folders = vec![self.raw.as_str(), self.processing_failed.as_str()];
        folders.extend((!self.redrive.starts_with(&self.raw)).then_some(self.redrive.as_str()));
        folders
    }

    /// Whether all is on this machine.
    pub fn is_local(&self) -> bool {
        self.local.is_some()
    }

    /// The URI of the object at `place`.
    pub fn uri(&self, place: &str) -> String {
        format!("{}{place}", self.source_root)
    }

    /// Where `uri` lies below the root, `<bucket>/<key>` for an object, be it there or not. None if it does not.
    pub fn place(&self, uri: &str) -> Option<String> {
        let place = match &self.local {
            None => uri.strip_prefix(&self.source_root)?.to_owned(),
            Some((root, canonical_root)) => {
                let path = local_path(uri)?;
                let below = match path.strip_prefix(root) {
                    Ok(below) => below.to_owned(),
                    Err(_) => canonical(&path).strip_prefix(canonical_root).ok()?.to_owned(),
                };
                below.into_os_string().into_string().ok()?
            }
        };
        Some(place).filter(|place| !place.is_empty())
    }

    /// Whether the file at `uri` is one that its writer never finished. Objects of S3 are whole.
    pub fn is_unfinished(&self, uri: &str) -> bool {
        self.is_local() && uri.ends_with(UNFINISHED)
    }

    /// Whether Firehose keeps failed records in the object at `place`.
    pub fn is_of_failed_records(&self, place: &str) -> bool {
        self.uri(place).starts_with(&self.processing_failed)
    }
}

/// The path of a file that metadata names: engines write `file:///a`, `file:/a` or `/a`.
pub fn local_path(uri: &str) -> Option<PathBuf> {
    let path = match uri.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None => uri,
    };
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// `path` without links, as far as it exists.
pub fn canonical(path: &Path) -> PathBuf {
    match (fs::canonicalize(path), path.parent(), path.file_name()) {
        (Ok(canonical), ..) => canonical,
        (Err(_), Some(parent), Some(name)) => canonical(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_by_any_name() {
        for uri in ["file:///a/b c.parquet", "file:/a/b c.parquet", "/a/b c.parquet"] {
            assert_eq!(local_path(uri), Some("/a/b c.parquet".into()), "{uri}");
        }
        for uri in ["s3://a/b", "a/b", "file://host/a", ""] {
            assert_eq!(local_path(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_place_is_found_through_links_and_after_the_file_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("real/raw")).unwrap();
        std::os::unix::fs::symlink(folder.join("real"), folder.join("link")).unwrap();
        let root = folder.join("link");
        let layout = Layout::of_folder(&root, &format!("file://{}", root.display()));
        for root in ["real", "link"] {
            let object = format!("file://{}/{root}/raw/2026/gone.gz", folder.display());
            assert_eq!(layout.place(&object).as_deref(), Some("raw/2026/gone.gz"), "{root}");
        }
        assert_eq!(layout.place(&format!("{}/raw/x", folder.display())), None);
        assert_eq!(layout.place("file:///nowhere/x"), None);
        assert_eq!(layout.folders().len(), 2, "redriven objects are among the raw ones");
    }

    #[test]
    fn a_bucket_has_its_objects_by_key() {
        let layout = Layout::of_bucket("s3://", "s3://in", "s3://lake/errors/");
        assert_eq!(layout.place("s3://in/raw/a b/%20.gz").as_deref(), Some("in/raw/a b/%20.gz"));
        assert_eq!(layout.place("file:///in/raw/x"), None);
        assert_eq!(
            layout.folders(),
            ["s3://in/raw/", "s3://in/errors/processing-failed/", "s3://in/redrive/"]
        );
        assert!(layout.is_of_failed_records("in/errors/processing-failed/x"));
        assert!(!layout.is_of_failed_records("in/raw/errors/processing-failed/x"));
        assert!(!layout.is_unfinished("s3://in/raw/x.part"));
    }
}

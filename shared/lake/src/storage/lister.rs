//! A folder -> the files below it, for upkeep: what nobody refers to any more can only be told from what is there.
//!
//! In: the URI of a folder, of a path or of S3. Out: a stream of what lies below it at any depth, in no order that counts,
//! one folder or one page of S3 in memory at a time. A folder that does not exist has no files. Iceberg's `Storage` cannot
//! list, so this stands beside it.

use futures::stream::BoxStream;
use iceberg::Result;

use super::by_scheme::ByScheme;
use super::config::S3Config;
use super::list::{ListedFile, ObjectVersion};

/// Lists files.
#[derive(Clone, Debug)]
pub struct Lister(ByScheme);

impl Lister {
    /// A lister of local folders, and of those of S3 as `s3` says.
    pub fn new(s3: &S3Config) -> Self {
        Self(ByScheme::new(s3))
    }

    /// The files below the folder `uri`. What lies behind links to folders is somebody else's and not listed.
    ///
    /// # Errors
    /// There is no storage for the URI. In the stream, which ends with it: the storage's, or a name that is not UTF-8.
    pub fn list(&self, uri: &str) -> Result<BoxStream<'static, Result<ListedFile>>> {
        let folder = format!("{}/", uri.trim_end_matches('/'));
        self.0.list(&folder)
    }

    /// Which version of the object at `uri` there is now; None if there is none.
    ///
    /// # Errors
    /// The storage's; it has no versions.
    pub(crate) async fn version(&self, uri: &str) -> Result<Option<ObjectVersion>> {
        self.0.version(uri).await
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, TryStreamExt as _};

    use super::*;

    #[tokio::test]
    async fn files_are_listed_at_any_depth_and_links_to_folders_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("t");
        for (name, bytes) in [("a", 1), ("b/c d%20", 2), ("b/e/f", 3), ("../t2/g", 4)] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, vec![0; bytes]).unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("t2"), root.join("link")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("b/to_a")).unwrap();
        std::os::unix::fs::symlink(root.join("nowhere"), root.join("b/broken")).unwrap();
        let lister = Lister::new(&S3Config::default());
        for uri in [format!("file://{}", root.display()), format!("{}/", root.display())] {
            let mut listed: Vec<ListedFile> = lister.list(&uri).unwrap().try_collect().await.unwrap();
            listed.sort_by(|one, other| one.uri.cmp(&other.uri));
            let uris: Vec<&str> =
                listed.iter().map(|file| file.uri.strip_prefix(uri.trim_end_matches('/')).unwrap()).collect();
            assert_eq!(uris, ["/a", "/b/c d%20", "/b/e/f", "/b/to_a"]);
            assert_eq!(listed.iter().take(3).map(|file| file.size_bytes).collect::<Vec<_>>(), [1, 2, 3]);
            assert!(listed.iter().all(|file| file.modified.elapsed().unwrap().as_secs() < 60));
        }
        let nowhere = format!("{}/nowhere", root.display());
        assert_eq!(lister.list(&nowhere).unwrap().count().await, 0);
        assert!(lister.list("gs://bucket/t").is_err());
    }
}

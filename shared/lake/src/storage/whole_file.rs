//! Files of the local file system that are there whole or not at all, also after a crash.
//!
//! In: bytes. Out: a file. Until it is finished it has another name, which ends in [`UNFINISHED`]; a file that was
//! there before stays until then.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// How the names of files end that are being written, or whose writer was killed.
pub const UNFINISHED: &str = ".part";

/// A file that is being written. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl WholeFile {
    /// Begins the file at `path`; missing folders are created.
    ///
    /// # Errors
    /// The file system's, with the path. So are those of all methods.
    pub fn create(path: &Path) -> io::Result<Self> {
        // Two writers may write the same file at the same time.
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{:016x}{UNFINISHED}", fastrand::u64(..)));
        let unfinished = PathBuf::from(unfinished);
        let begun = fs::create_dir_all(folder_of(path)).and_then(|()| File::create_new(&unfinished));
        let file = BufWriter::new(begun.map_err(|error| failed(path, &error))?);
        Ok(Self { path: path.to_owned(), unfinished, file })
    }

    /// Writes a file of `bytes`.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub fn write_all_to(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.finish()
    }

    /// Puts the file in its place, as one that was last changed at `modified`.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub fn finish_dated(mut self, modified: SystemTime) -> io::Result<()> {
        self.flush()?;
        self.file.get_ref().set_modified(modified).map_err(|error| failed(&self.path, &error))?;
        self.finish()
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub fn finish(self) -> io::Result<()> {
        let path = self.path.clone();
        self.finish_as(&path)
    }

    /// Puts the file at `path`, in the folder in which it was begun.
    ///
    /// # Errors
    /// As [`WholeFile::create`].
    pub fn finish_as(mut self, path: &Path) -> io::Result<()> {
        let finished = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .and_then(|()| fs::rename(&self.unfinished, path))
            // The name, too, must outlive a crash before anything is done that relies on it.
            .and_then(|()| File::open(folder_of(path))?.sync_all());
        finished.map_err(|error| failed(path, &error))
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| failed(&self.path, &error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| failed(&self.path, &error))
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // A finished file is no longer there. What cannot be removed has a name that nobody reads.
        let _ = fs::remove_file(&self.unfinished);
    }
}

/// The folder of the file at `path`.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => Path::new("/"),
    }
}

fn failed(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_is_finished_under_its_name_or_another_one_and_with_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let mut file = WholeFile::create(&a).unwrap();
        file.write_all(b"1").unwrap();
        assert!(names().len() == 1 && names()[0].ends_with(UNFINISHED));
        file.finish_as(&b).unwrap();
        assert_eq!(names(), ["b"]);

        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut file = WholeFile::create(&a).unwrap();
        file.write_all(b"2").unwrap();
        file.finish_dated(modified).unwrap();
        assert_eq!(fs::metadata(&a).unwrap().modified().unwrap(), modified);
        assert_eq!((fs::read(&a).unwrap(), fs::read(&b).unwrap()), (b"2".to_vec(), b"1".to_vec()));

        drop(WholeFile::create(&a).unwrap());
        assert_eq!((names(), fs::read(&a).unwrap()), (vec!["a".to_owned(), "b".to_owned()], b"2".to_vec()));
        let error = WholeFile::write_all_to(&a.join("c"), b"3").unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot write {}: ", a.join("c").display())));
    }
}

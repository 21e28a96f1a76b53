//! Files that are there whole or not at all, also after a crash.
//!
//! In: bytes. Out: a file. Until it is finished it has another name, which ends in `.part`; what was there before stays.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
}

impl WholeFile {
    /// Begins the file at `path`; folders that are missing are created.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        let failed = || cannot_write(path);
        fs::create_dir_all(path.parent().with_context(failed)?).with_context(failed)?;
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let file = BufWriter::new(File::create(&part).with_context(failed)?);
        Ok(Self { path: path.to_owned(), part, file })
    }

    /// Puts the file in its place, as one that was changed at `modified`.
    pub(crate) fn finish_dated(mut self, modified: SystemTime) -> anyhow::Result<()> {
        let dated = self.file.flush().and_then(|()| self.file.get_ref().set_modified(modified));
        dated.with_context(|| cannot_write(&self.path))?;
        self.finish()
    }

    /// Puts the file in its place.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let path = self.path.clone();
        self.finish_as(&path)
    }

    /// Puts the file at `path`, in the folder in which it was begun.
    pub(crate) fn finish_as(mut self, path: &Path) -> anyhow::Result<()> {
        let failed = || cannot_write(path);
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).with_context(failed)?;
        fs::rename(&self.part, path).with_context(failed)?;
        // The name, too, must outlive a crash before anything is done that relies on it.
        let folder = path.parent().with_context(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // Of a file that is finished there is no part any more.
        let _ = fs::remove_file(&self.part);
    }
}

/// Writes a file of `bytes`.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(bytes).with_context(|| cannot_write(path))?;
    file.finish()
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

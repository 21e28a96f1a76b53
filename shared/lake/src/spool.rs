//! Values on disk, in the order in which they come, for upkeep of lakes of any size.
//!
//! In: values. Out: the same, as often as they are asked for. The file has no name and ends with the process.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;

use iceberg::{Error, ErrorKind, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Values of one kind, a line of JSON each.
#[derive(Debug)]
pub(crate) struct Spool<T> {
    file: BufWriter<File>,
    values: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Spool<T> {
    pub(crate) fn new() -> Result<Self> {
        let file = BufWriter::new(tempfile::tempfile().map_err(failed)?);
        Ok(Self { file, values: PhantomData })
    }

    pub(crate) fn add(&mut self, value: &T) -> Result<()> {
        let written = serde_json::to_writer(&mut self.file, value).map_err(io::Error::from);
        written.and_then(|()| self.file.write_all(b"\n")).map_err(failed)
    }

    /// The values from the first to the last. More may be added once that is dropped.
    pub(crate) fn read(&mut self) -> Result<Values<'_, T>> {
        self.file.flush().and_then(|()| self.file.get_mut().seek(SeekFrom::Start(0))).map_err(failed)?;
        Ok(Values { lines: BufReader::new(self.file.get_mut()), line: Vec::new(), values: PhantomData })
    }
}

/// The values of a [`Spool`].
pub(crate) struct Values<'a, T> {
    lines: BufReader<&'a mut File>,
    line: Vec<u8>,
    values: PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for Values<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.line.clear();
        match self.lines.read_until(b'\n', &mut self.line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_slice(&self.line).map_err(|error| failed(error.into()))),
            Err(error) => Some(Err(failed(error))),
        }
    }
}

impl<T> Drop for Values<'_, T> {
    fn drop(&mut self) {
        // Where this fails so does whatever is written next.
        let _ = self.lines.get_mut().seek(SeekFrom::End(0));
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("a temporary file: {error}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_often_as_they_are_wanted_and_more_may_come() {
        let mut spool = Spool::new().unwrap();
        for round in 1..4_u32 {
            (0..1000).for_each(|number| spool.add(&(round, number)).unwrap());
            let read: Vec<(u32, u32)> = spool.read().unwrap().map(Result::unwrap).collect();
            assert_eq!(read.len(), 1000 * round as usize);
            // Not to the end.
            assert_eq!(spool.read().unwrap().next().unwrap().unwrap(), (1, 0));
            assert_eq!(read.last(), Some(&(round, 999)));
        }
    }
}

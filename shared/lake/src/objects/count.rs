//! An object -> how many records it has, for the audit.

use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::{Error, ErrorKind, Result};
use records::unpack::Options;

use super::find::FoundObject;
use super::records::Records;
use crate::job::{Limits, SourceObject};
use crate::task;

/// What an append finds in an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Records: those that become rows and those that it rejects.
    pub records: u64,
    /// Messages that hold no record on purpose.
    pub dropped: u64,
}

/// How many records `object` has, as an append finds them.
///
/// # Errors
/// The storage's. Damage is no error: it is one rejection, as it is to an append.
pub async fn count_records(
    file_io: &FileIO,
    object: &SourceObject,
    limits: Limits,
    unpack: &Options,
) -> Result<RecordCounts> {
    let input = Arc::new(file_io.new_input(&object.uri)?);
    let size_bytes = input.metadata().await?.size;
    let object = Arc::new(FoundObject { at: 0, object: object.clone(), input, size_bytes });
    let ((_waiting, stop), unpack) = (task::waiting(), unpack.clone());
    let work = task::spawn_blocking(move || {
        let mut records = Records::open(object, limits, &unpack, &stop)?;
        while records.next(|_, _| Ok::<_, Error>(()))? {}
        Ok(RecordCounts { records: records.count(), dropped: records.dropped() })
    });
    work.await
        .map_err(|error| Error::new(ErrorKind::Unexpected, "counting ended early").with_source(error))?
}

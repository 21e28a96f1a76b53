//! An object -> how many records it has, for the audit.

use std::sync::Arc;

use iceberg::io::FileIO;
use iceberg::{Error, ErrorKind, Result};

use super::find::FoundObject;
use super::records::Records;
use crate::job::{Limits, SourceObject};
use crate::task;

/// How many records `object` has, as an append finds them: those that become rows and those that it rejects.
///
/// # Errors
/// The storage's. Damage is no error: it is one rejection, as it is to an append.
pub async fn count_records(file_io: &FileIO, object: &SourceObject, limits: Limits) -> Result<u64> {
    let input = Arc::new(file_io.new_input(&object.uri)?);
    let size_bytes = input.metadata().await?.size;
    let object = Arc::new(FoundObject { at: 0, object: object.clone(), input, size_bytes });
    let (_waiting, stop) = task::waiting();
    let work = task::spawn_blocking(move || {
        let mut records = Records::open(object, limits, &stop)?;
        let mut count = 0;
        while records.next(|_, _| ())?.is_some() {
            count += 1;
        }
        Ok(count)
    });
    work.await
        .map_err(|error| Error::new(ErrorKind::Unexpected, "counting ended early").with_source(error))?
}

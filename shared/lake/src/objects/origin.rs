//! Where a record comes from.

use std::sync::Arc;

use super::find::FoundObject;
use crate::decode::SystemColumn;

/// A source and a position in it. A source of another kind, such as a partition of a queue, is another variant; whoever
/// needs to know the kind matches without a catch-all arm.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// A record of an object.
    Object {
        object: Arc<FoundObject>,
        /// Where the record begins in the decompressed object, in bytes.
        offset: u64,
        /// Which record of the object it is, from 1.
        row: u64,
    },
}

impl Origin {
    /// Which source of the invocation it is.
    pub(crate) fn source(&self) -> usize {
        match self {
            Self::Object { object, .. } => object.at,
        }
    }

    /// The columns that rows from here have, where they are processed at `processing_time`.
    pub(crate) fn system<'a>(&'a self, processing_time: &'a str) -> [SystemColumn<'a>; 2] {
        match self {
            Self::Object { object, .. } => SystemColumn::of_object(&object.object.uri, processing_time),
        }
    }

    /// The same source, at another of its positions.
    pub(crate) fn moved_to(&mut self, to_offset: u64, to_row: u64) -> &Self {
        let Self::Object { offset, row, .. } = self;
        (*offset, *row) = (to_offset, to_row);
        self
    }
}

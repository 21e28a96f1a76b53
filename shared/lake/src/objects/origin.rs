//! Where a record comes from.

use std::sync::Arc;

use super::find::FoundObject;
use crate::decode::SystemColumn;
use crate::topic::TopicRecord;

/// A source and a position in it. A source of another kind is another variant; whoever needs to know the kind matches
/// without a catch-all arm.
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
    /// An event of a record of a Kafka topic.
    Kafka {
        /// Which partition of the invocation it is from.
        source: usize,
        record: Arc<TopicRecord>,
        /// Which event of the record it is, from 0.
        index: usize,
    },
}

impl Origin {
    /// Which source of the invocation it is.
    pub(crate) fn source(&self) -> usize {
        match self {
            Self::Object { object, .. } => object.at,
            Self::Kafka { source, .. } => *source,
        }
    }

    /// Whether every record has columns of its own, not only every source.
    pub(crate) fn is_told_by_record(&self) -> bool {
        match self {
            Self::Object { .. } => false,
            Self::Kafka { .. } => true,
        }
    }

    /// Gives `set` the columns that rows from here have, where they are processed at `processing_time`; headers only
    /// `with_headers`.
    pub(crate) fn system(
        &self,
        processing_time: &str,
        with_headers: bool,
        set: impl FnOnce(&[SystemColumn<'_>]),
    ) {
        match self {
            Self::Object { object, .. } => {
                set(&SystemColumn::of_object(&object.object.uri, processing_time));
            }
            Self::Kafka { record, index, .. } => record.columns(*index, processing_time, with_headers, set),
        }
    }

    /// The same object, at another of its positions.
    pub(crate) fn moved_to(&mut self, to_offset: u64, to_row: u64) -> &Self {
        match self {
            Self::Object { offset, row, .. } => (*offset, *row) = (to_offset, to_row),
            Self::Kafka { .. } => {}
        }
        self
    }
}

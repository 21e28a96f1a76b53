//! Why a record is refused.
//!
//! In: what a decoder found wrong. Out: a [`Reason`] (a stable code to count, alarm and filter by) and a
//! sentence that says where and what. Nothing is refused here. A code, once published, keeps its meaning:
//! quarantined rows and alarms refer to it.

use std::fmt;

/// Why a record, a row or an object was rejected, and what the operator can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The record's data is not standard base64 with padding (RFC 4648 section 4).
    InvalidBase64,
    /// The record holds nothing but whitespace.
    Empty,
    /// The bytes are not UTF-8 (RFC 8259 section 8.1 demands it of exchanged JSON).
    NotUtf8,
    /// The text breaks the JSON grammar (RFC 8259), or goes on after its value.
    InvalidJson,
    /// The text is JSON, but its value is no object.
    NotAnObject,
    /// The answer to Firehose would exceed Lambda's payload limit with this record in it.
    ResponseTooLarge,
    /// One record is larger than the configured ceiling.
    RecordTooLarge,
    /// The object ended inside this record.
    Truncated,
    /// The row has a field, not null, that the table has no column for.
    UnknownField,
    /// The row has a field that the table has no column for, and cannot get one: it would have too many.
    TooManyColumns,
    /// The row gives one field twice, so that no single value is the right one.
    DuplicateField,
    /// A value does not fit the type of its column.
    TypeMismatch,
    /// A required column has no value.
    MissingRequired,
    /// A field has a name that no column can have.
    InvalidName,
    /// The row brings a field that the pipeline itself writes, and the table has no column to keep it beside.
    ReservedField,
    /// The compressed bytes cannot be decoded from this place on.
    CorruptCompression,
    /// The object is neither JSON text nor compressed in a known format.
    UnknownCompression,
    /// The object's content is itself compressed, or of another format that is not JSON text.
    NestedCompression,
    /// A zstd frame needs a larger window than the memory has room for (RFC 8878 section 3.1.1.1.2).
    WindowTooLarge,
    /// The object decompresses to more than the configured ceiling.
    DecompressionLimit,
    /// An aggregate of the Kinesis Producer Library is damaged.
    CorruptAggregate,
    /// A line of an error object of Firehose lacks the record or the time of its arrival.
    InvalidErrorLine,
    /// The record names no table, in a stream whose records do.
    NoRoute,
    /// The value was made by a serializer of a schema registry, and is Avro or Protobuf, not JSON.
    RegistryFormat,
    /// The headers of a Kafka record are not as Lambda writes them.
    InvalidHeaders,
    /// No rule names a table for the record's topic.
    NoTable,
    /// The record lacks a field that says where Firehose is to deliver it, or holds events for several places.
    NoDestination,
    /// The object is a batch of Kafka records that Lambda gave up, where events were expected.
    FailedBatch,
}

impl Reason {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 28] = [
        Self::InvalidBase64,
        Self::Empty,
        Self::NotUtf8,
        Self::InvalidJson,
        Self::NotAnObject,
        Self::ResponseTooLarge,
        Self::RecordTooLarge,
        Self::Truncated,
        Self::UnknownField,
        Self::TooManyColumns,
        Self::DuplicateField,
        Self::TypeMismatch,
        Self::MissingRequired,
        Self::InvalidName,
        Self::ReservedField,
        Self::CorruptCompression,
        Self::UnknownCompression,
        Self::NestedCompression,
        Self::WindowTooLarge,
        Self::DecompressionLimit,
        Self::CorruptAggregate,
        Self::InvalidErrorLine,
        Self::NoRoute,
        Self::RegistryFormat,
        Self::InvalidHeaders,
        Self::NoTable,
        Self::NoDestination,
        Self::FailedBatch,
    ];

    /// The stable code, in snake_case: what metrics, logs and the quarantine carry.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidBase64 => "invalid_base64",
            Self::Empty => "empty",
            Self::NotUtf8 => "not_utf8",
            Self::InvalidJson => "invalid_json",
            Self::NotAnObject => "not_an_object",
            Self::ResponseTooLarge => "response_too_large",
            Self::RecordTooLarge => "record_too_large",
            Self::Truncated => "truncated",
            Self::UnknownField => "unknown_field",
            Self::TooManyColumns => "too_many_columns",
            Self::DuplicateField => "duplicate_field",
            Self::TypeMismatch => "type_mismatch",
            Self::MissingRequired => "missing_required",
            Self::InvalidName => "invalid_name",
            Self::ReservedField => "reserved_field",
            Self::CorruptCompression => "corrupt_compression",
            Self::UnknownCompression => "unknown_compression",
            Self::NestedCompression => "nested_compression",
            Self::WindowTooLarge => "window_too_large",
            Self::DecompressionLimit => "decompression_limit",
            Self::CorruptAggregate => "corrupt_aggregate",
            Self::InvalidErrorLine => "invalid_error_line",
            Self::NoRoute => "no_route",
            Self::RegistryFormat => "registry_format",
            Self::InvalidHeaders => "invalid_headers",
            Self::NoTable => "no_table",
            Self::NoDestination => "no_destination",
            Self::FailedBatch => "failed_batch",
        }
    }

    /// What the operator can do about it, in one sentence.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::InvalidBase64 => "Check what calls the function: AWS itself always sends standard base64.",
            Self::Empty => "Stop the producer from sending records without content.",
            Self::NotUtf8 => "Have the producer encode its JSON as UTF-8.",
            Self::InvalidJson => {
                "Correct the producer's JSON and send the record again, or set FRAZIL_TEXT=message if it is lines of \
                 text."
            }
            Self::NotAnObject => "Have the producer send each event as one JSON object.",
            Self::ResponseTooLarge => {
                "Lower the buffer size hint of the stream's transformation; \
                 the records are kept under the error prefix."
            }
            Self::RecordTooLarge => {
                "Raise FRAZIL_MAX_RECORD_BYTES and the function's memory, or send smaller records."
            }
            Self::Truncated => {
                "Find out why the writer of the object stopped early, and deliver the object again."
            }
            Self::UnknownField => "Add the column to the table, or stop sending the field.",
            Self::TooManyColumns => {
                "Name a column for such fields in the table property frazil.rest-column, or make a map of an object \
                 whose names are data."
            }
            Self::DuplicateField => "Have the producer give each field once.",
            Self::TypeMismatch => {
                "Correct the producer's value, or widen the column (int to long, float to double, decimal by digits \
                 before the point); of any other type, rename the column, and the field gets a new one."
            }
            Self::MissingRequired => "Have the producer send the field, or make the column optional.",
            Self::InvalidName => "Rename the field at the producer.",
            Self::ReservedField => {
                "Add the column producer_<name> to the table to keep the producer's value, or rename the field."
            }
            Self::CorruptCompression => {
                "Deliver the object again from its source; the rows before the damage stand."
            }
            Self::UnknownCompression => "Deliver the object as plain text, gzip, zstd, snappy or zip.",
            Self::NestedCompression => {
                "Let either the producer or the delivery stream compress, and deliver the object's content \
                 decompressed once."
            }
            Self::WindowTooLarge => {
                "Compress with a smaller window (zstd without --long or --ultra), or give the function more memory."
            }
            Self::DecompressionLimit => {
                "Raise the configured ceiling if the object is genuine; \
                 otherwise find out who wrote it."
            }
            Self::CorruptAggregate => {
                "Send the events again, or turn the aggregation of the Kinesis Producer Library off."
            }
            Self::InvalidErrorLine => {
                "Keep keys with processing-failed for what Firehose writes there, and deliver other data elsewhere."
            }
            Self::NoRoute => "Add a pattern to FRAZIL_ROUTES, or let FRAZIL_UNROUTED be default.",
            Self::RegistryFormat => {
                "Have the producer write JSON, or read the topic with an event source mapping that has the schema \
                 registry and EventRecordFormat JSON: Lambda then turns the value into JSON."
            }
            Self::InvalidHeaders => {
                "Check what calls the function: Lambda writes each header as its name and a list of bytes."
            }
            Self::NoTable => "Add a rule for the topic to FRAZIL_TOPIC_TABLES, and put the records back.",
            Self::NoDestination => {
                "Have the producer send the fields that FRAZIL_PARTITION_KEYS and FRAZIL_FIREHOSE_TABLE name, and events \
                 of one place in one record; the records are kept under the error prefix."
            }
            Self::FailedBatch => {
                "Put its records back with frazil redrive --failed-batches, and have no on-failure destination under a \
                 prefix that append reads."
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

/// One refusal: the reason, and a sentence for people that says where (byte or field), what was found and
/// what was expected. It never holds the record itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason, to count and branch by.
    pub reason: Reason,
    /// Where and what, to read.
    pub message: String,
}

impl Refusal {
    /// A refusal for `reason`, explained by `message`.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_snake_case_and_every_remedy_is_one_sentence() {
        let mut codes: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(
                reason.code().bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
            );
            assert!(reason.remedy().ends_with('.'), "{reason}");
            assert!(!reason.remedy().contains("  "), "{reason}");
        }
    }
}

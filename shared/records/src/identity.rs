//! The identity of a record: the same record of the same event gets the same id, however often it is retried.
//!
//! In: the [`Origin`] of a record, as far as its event tells. Out: a UUIDv5 (RFC 9562 section 5.5) of
//! [`NAMESPACE`] and the origin's fields. Nothing is refused: fields that an event lacks are empty.

use sha1::{Digest as _, Sha1};
use uuid::Uuid;

/// The namespace of all record ids. Changing it changes every id.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x4e7e_e3e6_e609_4b4f_ac6f_294d_d62c_1cc6);

/// Where a record comes from, by the best identity that its event offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A record that a producer put into the delivery stream itself. `recordId` stays the same while Firehose
    /// retries an invocation; a producer that puts its event twice gets two ids.
    DirectPut {
        /// ARN of the delivery stream.
        delivery_stream: &'a str,
        /// Firehose's `recordId`.
        record_id: &'a str,
    },
    /// A record of a Kinesis data stream. The position in the stream holds for ever: across retries, a second
    /// delivery stream on the same source and a replay of it. A producer that puts its event twice gets two
    /// ids.
    Kinesis {
        /// ARN of the data stream.
        stream: &'a str,
        /// `shardId`.
        shard_id: &'a str,
        /// `sequenceNumber`.
        sequence_number: &'a str,
        /// `subsequenceNumber`: the place within an aggregated record, empty where there is none.
        subsequence_number: &'a str,
    },
    /// A record of a Kafka topic on Amazon MSK. The position holds for ever, but Firehose's event does not
    /// name the topic: the delivery stream, which reads exactly one, stands for it. A second delivery stream
    /// on the same topic gives other ids.
    Msk {
        /// ARN of the MSK cluster.
        cluster: &'a str,
        /// ARN of the delivery stream.
        delivery_stream: &'a str,
        /// `partitionId`.
        partition: &'a str,
        /// `offset`.
        offset: &'a str,
    },
    /// A record of a Kafka topic that came from the cluster itself. The position holds for one life of the topic: one
    /// that is deleted and made anew begins at offset 0 again.
    Kafka {
        /// ARN of the event source, or the name that the operator gives the cluster.
        cluster: &'a str,
        /// The topic.
        topic: &'a str,
        /// What the operator calls this life of the topic; empty for the first.
        life: &'a str,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A record that Firehose gave up and wrote under its error prefix, in a line that tells nothing of the above.
    /// Its place stands for it: whoever delivers that object again, or writes it again under the same key with
    /// the same lines at its start, gives the same ids; other contents of the line's fields make no difference.
    /// The id is not the one that transform would have given. Where Firehose writes a record into two
    /// error objects, it gets two ids.
    ProcessingFailed {
        /// Bucket of the error object.
        bucket: &'a str,
        /// Key of the error object, not encoded.
        key: &'a str,
        /// Which line of it, from 1. Blank lines do not count.
        line: u64,
    },
}

impl Origin<'_> {
    /// The record's id: UUIDv5 of the kind and the fields in the order of their declaration, separated by
    /// NUL, which no ARN, id, bucket or number contains.
    pub fn record_id(&self) -> Uuid {
        match *self {
            Self::DirectPut { delivery_stream, record_id } => {
                DirectPut::to(delivery_stream).record_id(record_id)
            }
            Self::Kinesis { stream, shard_id, sequence_number, subsequence_number } => {
                id(&["kinesis", stream, shard_id, sequence_number, subsequence_number])
            }
            Self::Msk { cluster, delivery_stream, partition, offset } => {
                id(&["msk", cluster, delivery_stream, partition, offset])
            }
            Self::Kafka { cluster, topic, life, partition, offset } => {
                id(&["kafka", cluster, topic, life, &partition.to_string(), &offset.to_string()])
            }
            Self::ProcessingFailed { bucket, key, line } => {
                id(&["processing-failed", bucket, key, &line.to_string()])
            }
        }
    }
}

/// The ids of [`Origin::DirectPut`] for one delivery stream, whose name is hashed once for all of them.
#[derive(Clone, Debug)]
pub struct DirectPut(Sha1);

impl DirectPut {
    /// For records that are put into this stream, an ARN.
    pub fn to(delivery_stream: &str) -> Self {
        Self(hash(&["direct-put", delivery_stream, ""]))
    }

    /// The id of the record with Firehose's `recordId`.
    pub fn record_id(&self, record_id: &str) -> Uuid {
        uuid(self.0.clone().chain_update(record_id))
    }
}

fn id(fields: &[&str]) -> Uuid {
    uuid(hash(fields))
}

/// Hashes the namespace and the fields, separated by NUL. Not by `uuid`, whose SHA-1 does without the processor's instructions
/// for it.
fn hash(fields: &[&str]) -> Sha1 {
    let mut hash = Sha1::new_with_prefix(NAMESPACE.as_bytes());
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            hash.update(b"\0");
        }
        hash.update(field.as_bytes());
    }
    hash
}

fn uuid(hash: Sha1) -> Uuid {
    let digest: [u8; 20] = hash.finalize().into();
    let mut first = [0; 16];
    first.copy_from_slice(&digest[..16]);
    uuid::Builder::from_sha1_bytes(first).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_never_change() {
        // Computed with Python's uuid.uuid5.
        let id = Origin::DirectPut { delivery_stream: "arn", record_id: "1" }.record_id();
        assert_eq!(id.to_string(), "8a7b3d02-e185-5fe2-894d-5a00e38aade1");
        let id = Origin::Kinesis {
            stream: "arn:s",
            shard_id: "shardId-000000000000",
            sequence_number: "49546986683135544286507457936321625675700192471156785154",
            subsequence_number: "",
        };
        assert_eq!(id.record_id().to_string(), "b541661f-294c-5ba2-af9f-cdb5635e7225");
        let id = Origin::Msk { cluster: "arn:c", delivery_stream: "arn:d", partition: "3", offset: "42" };
        assert_eq!(id.record_id().to_string(), "52beb049-7b9b-5639-9797-e0544b35ed33");
        let id = Origin::Kafka { cluster: "arn:c", topic: "orders", life: "", partition: 3, offset: 42 };
        assert_eq!(id.record_id().to_string(), "a44c29a1-8fe7-57f4-b286-a71d2cdf3678");
        let id = Origin::ProcessingFailed {
            bucket: "raw",
            key: "errors/processing-failed/2026/01/02/03/s-1-2026-01-02-03-04-05-u",
            line: 7,
        };
        assert_eq!(id.record_id().to_string(), "9f0c863d-cb7e-5742-a728-cb92a9ad2a76");
    }

    #[test]
    fn neighbouring_fields_do_not_run_together() {
        let one = Origin::DirectPut { delivery_stream: "a1", record_id: "2" };
        let other = Origin::DirectPut { delivery_stream: "a", record_id: "12" };
        assert_ne!(one.record_id(), other.record_id());
    }

    #[test]
    fn parts_of_an_aggregated_record_differ() {
        let part = |subsequence_number| {
            Origin::Kinesis { stream: "s", shard_id: "0", sequence_number: "1", subsequence_number }
                .record_id()
        };
        assert_ne!(part("0"), part("1"));
        assert_ne!(part(""), part("0"));
    }
}

//! Which data files deletes apply to.
//!
//! In: the live entries of a snapshot's delete manifests. Out: whether a delete may apply to a data file (Iceberg
//! specification, "Scan Planning"). Bounds are not looked at, so a file may be said to be touched that is not, never the
//! other way round.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{DataContentType, Literal, ManifestEntry, PrimitiveLiteral, Struct};

use crate::digest::Digest;

/// The deletes of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Deletes {
    /// Digests of the paths that deletion vectors and position deletes of one file name.
    files: HashSet<u128>,
    /// The newest deletes of a partition, by its spec and value.
    partitions: HashMap<(i32, Struct), Newest>,
    /// Equality deletes that apply to all partitions.
    everywhere: Option<i64>,
}

/// The highest data sequence number of each kind of deletes.
#[derive(Clone, Copy, Debug, Default)]
struct Newest {
    positions: Option<i64>,
    equality: Option<i64>,
}

impl Deletes {
    /// Adds a live entry of a delete manifest of the spec `spec_id`, which parts rows unless it `is_unpartitioned`.
    pub(super) fn add(&mut self, entry: &ManifestEntry, spec_id: i32, is_unpartitioned: bool) {
        let file = entry.data_file();
        let number = entry.sequence_number();
        if let Some(path) = file.referenced_data_file() {
            self.files.insert(Digest::of(path).number());
            return;
        }
        let newest = self.partitions.entry((spec_id, same(file.partition()))).or_default();
        match file.content_type() {
            DataContentType::EqualityDeletes if is_unpartitioned => {
                self.everywhere = self.everywhere.max(number);
            }
            DataContentType::EqualityDeletes => newest.equality = newest.equality.max(number),
            DataContentType::PositionDeletes | DataContentType::Data => {
                newest.positions = newest.positions.max(number);
            }
        }
    }

    /// Whether a delete may apply to the data file of `entry`, of the spec `spec_id`.
    pub(super) fn may_touch(&self, entry: &ManifestEntry, spec_id: i32) -> bool {
        if self.files.is_empty() && self.partitions.is_empty() {
            return false;
        }
        let file = entry.data_file();
        let own = entry.sequence_number().unwrap_or(0);
        let newest = self.partitions.get(&(spec_id, same(file.partition()))).copied().unwrap_or_default();
        self.files.contains(&Digest::of(file.file_path()).number())
            || newest.positions.is_some_and(|number| number >= own)
            || newest.equality.max(self.everywhere).is_some_and(|number| number > own)
    }
}

/// The value of a partition as it is whatever the types of its columns were when the file was written: those that a column
/// can be promoted to hold the same value in another way.
pub(super) fn same(partition: &Struct) -> Struct {
    let wide = |value: &Literal| match value {
        Literal::Primitive(PrimitiveLiteral::Int(value)) => {
            Literal::Primitive(PrimitiveLiteral::Long(i64::from(*value)))
        }
        Literal::Primitive(PrimitiveLiteral::Float(value)) => {
            Literal::Primitive(PrimitiveLiteral::Double(f64::from(value.0).into()))
        }
        value => value.clone(),
    };
    partition.iter().map(|value| value.map(wide)).collect()
}

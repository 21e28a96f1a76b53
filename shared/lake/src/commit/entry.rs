//! Entries of manifests that are copied: what the library does not carry over.

use iceberg::spec::{
    DataFile, DataFileBuilder, Literal, Manifest, ManifestFile, ManifestStatus, PartitionSpec,
    PrimitiveLiteral, PrimitiveType, Struct, StructType, Type,
};
use iceberg::{Error, ErrorKind, Result};

/// The first row id of each entry's file (Iceberg specification, "First Row ID Inheritance"): its own, else what it has from
/// its manifest. None where the manifest has none, in tables before format version 3.
pub(super) fn first_row_ids(file: &ManifestFile, manifest: &Manifest) -> Vec<Option<i64>> {
    let mut next = file.first_row_id.and_then(|id| i64::try_from(id).ok());
    let ids = manifest.entries().iter().map(|entry| {
        let own = entry.data_file().first_row_id();
        if own.is_some() || entry.status() == ManifestStatus::Deleted {
            return own;
        }
        let inherited = next;
        next = next.and_then(|next| next.checked_add(i64::try_from(entry.record_count()).ok()?));
        inherited
    });
    ids.collect()
}

/// `file`, with this first row id.
pub(super) fn with_row_id(
    file: DataFile,
    first_row_id: Option<i64>,
    spec: &PartitionSpec,
) -> Result<DataFile> {
    if file.first_row_id() == first_row_id {
        return Ok(file);
    }
    built(DataFileBuilder::clone(builder(&file, spec).first_row_id(first_row_id)))
}

/// `file` with partition values of the types in `types`: a column may have been promoted since it was written.
pub(super) fn with_partition(file: &DataFile, types: &StructType, spec: &PartitionSpec) -> Result<DataFile> {
    let values = file.partition().fields();
    let promoted: Vec<Option<Literal>> = values
        .iter()
        .zip(types.fields())
        .map(|(value, field)| promoted(value.as_ref(), &field.field_type))
        .collect();
    if promoted == values {
        return Ok(file.clone());
    }
    built(DataFileBuilder::clone(builder(file, spec).partition(Struct::from_iter(promoted))))
}

/// The promotions that change how a value is held (Iceberg specification, "Schema Evolution").
fn promoted(value: Option<&Literal>, to: &Type) -> Option<Literal> {
    let literal = match (value?, to) {
        (Literal::Primitive(PrimitiveLiteral::Int(value)), Type::Primitive(PrimitiveType::Long)) => {
            PrimitiveLiteral::Long(i64::from(*value))
        }
        (Literal::Primitive(PrimitiveLiteral::Float(value)), Type::Primitive(PrimitiveType::Double)) => {
            PrimitiveLiteral::Double(f64::from(value.0).into())
        }
        (value, _) => return Some(value.clone()),
    };
    Some(Literal::Primitive(literal))
}

fn builder(file: &DataFile, spec: &PartitionSpec) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .partition_spec_id(spec.spec_id())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(file.first_row_id())
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(id) = file.sort_order_id() {
        builder.sort_order_id(id);
    }
    builder
}

fn built(builder: DataFileBuilder) -> Result<DataFile> {
    builder
        .build()
        .map_err(|error| Error::new(ErrorKind::Unexpected, format!("no entry of a data file: {error}")))
}

//! Where data files lie.
//!
//! In: a partition's value and a file name. Out: `<data>/<field>=<value>/.../<file>` with names and values encoded as
//! Iceberg's Java library does (application/x-www-form-urlencoded), so that no value can leave the table's folder or
//! break a URI. Readers take partition values from the manifests, never from paths.

use iceberg::Result;
use iceberg::spec::{PartitionSpecRef, PrimitiveType, Struct, StructType, TableMetadata, Type};
use uuid::Uuid;

/// Longest folder name; file systems take 255 bytes.
const MAX_FOLDER_BYTES: usize = 200;

pub(super) struct Locations {
    data: String,
    spec: PartitionSpecRef,
    partition_type: StructType,
}

impl Locations {
    pub(super) fn new(metadata: &TableMetadata) -> Result<Self> {
        let data = match metadata.properties().get("write.data.path") {
            Some(path) => path.trim_end_matches('/').to_owned(),
            None => format!("{}/data", metadata.location().trim_end_matches('/')),
        };
        let spec = metadata.default_partition_spec().clone();
        let partition_type = spec.partition_type(metadata.current_schema())?;
        Ok(Self { data, spec, partition_type })
    }

    /// URI of the folder of data files.
    pub(super) fn data(&self) -> &str {
        &self.data
    }

    pub(super) fn data_file(&self, partition: &Struct, file_name: &str) -> String {
        let mut path = self.data.clone();
        let fields = self.spec.fields().iter().zip(self.partition_type.fields()).zip(partition.iter());
        for ((field, partition_field), value) in fields {
            let value = field.transform.to_human_string(&shown_as(&partition_field.field_type), value);
            path.push('/');
            path.push_str(&folder(&field.name, &value));
        }
        format!("{path}/{file_name}")
    }
}

/// The type as which a partition's value is shown: the library panics on fractions of seconds before 1970 with a
/// zone, which is UTC anyway.
fn shown_as(field_type: &Type) -> Type {
    match field_type {
        Type::Primitive(PrimitiveType::Timestamptz) => PrimitiveType::Timestamp.into(),
        Type::Primitive(PrimitiveType::TimestamptzNs) => PrimitiveType::TimestampNs.into(),
        other => other.clone(),
    }
}

/// `name=value`, encoded; a digest stands for what is too long.
fn folder(name: &str, value: &str) -> String {
    let folder = format!("{}={}", form_encoded(name), form_encoded(value));
    if folder.len() <= MAX_FOLDER_BYTES {
        return folder;
    }
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_URL, folder.as_bytes());
    match form_encoded(name) {
        name if name.len() < MAX_FOLDER_BYTES / 2 => format!("{name}={digest}"),
        _ => digest.to_string(),
    }
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_leaves_its_folder() {
        assert_eq!(folder("name", "a/../b"), "name=a%2F..%2Fb");
        assert_eq!(folder("name", "x#y?z & ü"), "name=x%23y%3Fz+%26+%C3%BC");
        assert_eq!(folder("", ""), "=");
    }

    #[test]
    fn long_values_become_digests_that_differ() {
        let (one, two) = (folder("name", &"x".repeat(300)), folder("name", &"x".repeat(301)));
        assert!(one.len() < 60 && one.starts_with("name="), "{one}");
        assert_ne!(one, two);
    }
}

//! What a metadata file is called, and how its bytes are packed.
//!
//! In: the metadata to write and the file it follows, which may have any name: `v3.metadata.json` of a Hadoop catalog, a
//! date, `.metadata.json.gz`. Out: `<number>-<uuid>.metadata.json`, or `<number>-<uuid>.gz.metadata.json` where the bytes
//! are gzip, which is what engines go by (Iceberg specification, appendix F, "Naming for GZIP compressed Metadata JSON
//! files"). The table's property decides about gzip, not the file before.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use iceberg::Result;
use iceberg::spec::{TableMetadata, TableProperties};
use uuid::Uuid;

/// The folder of the metadata, if it is not `<location>/metadata`.
const PATH: &str = "write.metadata.path";
const CODEC: &str = TableProperties::PROPERTY_METADATA_COMPRESSION_CODEC;

/// How the bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Gzip,
}

impl Codec {
    /// As the table wants it. No reader opens metadata of another codec than gzip, and the rows must not wait for someone
    /// to correct the property.
    pub(super) fn of(metadata: &TableMetadata) -> Self {
        match metadata.properties().get(CODEC).map(|codec| codec.to_ascii_lowercase()).as_deref() {
            None | Some("" | "none") => Self::Plain,
            Some("gzip") => Self::Gzip,
            Some(codec) => {
                tracing::warn!(
                    table = metadata.location(),
                    "{CODEC} is {codec}, which metadata files cannot be written with: set it to gzip or none. This one \
                     is plain JSON"
                );
                Self::Plain
            }
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => ".metadata.json",
            Self::Gzip => ".gz.metadata.json",
        }
    }
}

/// Where to write `metadata`. `after` is the location of the file that it follows; None for a table's first.
pub(super) fn location(metadata: &TableMetadata, codec: Codec, after: Option<&str>) -> String {
    let number = after.map_or(0, |location| number(location).map_or(1, |number| number.saturating_add(1)));
    let folder = match metadata.properties().get(PATH).map(|path| path.trim_end_matches('/')) {
        Some(path) if !path.is_empty() => path.to_owned(),
        _ => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    };
    format!("{folder}/{number:05}-{}{}", Uuid::new_v4(), codec.suffix())
}

/// The JSON of a metadata file of `bytes`. Gzip is told by its magic number: there are tables whose names say nothing of it.
pub(super) fn unpacked(bytes: Bytes) -> Result<Bytes> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut json = Vec::new();
    MultiGzDecoder::new(&*bytes).read_to_end(&mut json)?;
    Ok(json.into())
}

/// The number in the name of the metadata file at `location`: `3` of `v3.metadata.json` and of `00003-<uuid>...`.
fn number(location: &str) -> Option<u64> {
    let name = location.rsplit('/').next()?;
    let digits = name.strip_prefix('v').unwrap_or(name);
    let end = digits.find(|char: char| !char.is_ascii_digit())?;
    let (digits, rest) = digits.split_at(end);
    digits.parse().ok().filter(|_| rest.starts_with(['-', '.']))
}

#[cfg(test)]
mod tests {
    use iceberg::TableCreation;
    use iceberg::spec::{Schema, TableMetadataBuilder};

    use super::super::metadata_text::{self, Chunks};
    use super::*;

    fn file_of(metadata: &TableMetadata, after: Option<&str>) -> Result<(String, Vec<u8>)> {
        let codec = Codec::of(metadata);
        let text = metadata_text::of(metadata, codec, std::iter::empty(), &Chunks::default())?;
        Ok((location(metadata, codec, after), text.bytes))
    }

    fn metadata(properties: &[(&str, &str)]) -> TableMetadata {
        let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let creation = TableCreation::builder()
            .name("t".to_owned())
            .location("s3://lake/db/t/".to_owned())
            .schema(Schema::builder().build().unwrap())
            .properties(properties)
            .build();
        TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
    }

    /// The folder, the number, and what stands after the UUID.
    fn parts(location: &str) -> (&str, &str, &str) {
        let (folder, name) = location.rsplit_once('/').unwrap();
        let (number, rest) = name.split_once('-').unwrap();
        let (uuid, suffix) = rest.split_once('.').unwrap();
        Uuid::parse_str(uuid).unwrap();
        (folder, number, suffix)
    }

    #[test]
    fn a_name_follows_any_name() {
        const UUID: &str = "2cd22b57-5127-4198-92ba-e4e67c79821b";
        for (before, expected) in [
            (format!("00004-{UUID}.metadata.json"), "00005"),
            (format!("00004-{UUID}.gz.metadata.json"), "00005"),
            (format!("00004-{UUID}.metadata.json.gz"), "00005"),
            (format!("99999-{UUID}.metadata.json"), "100000"),
            (format!("3000000000-{UUID}.metadata.json"), "3000000001"),
            ("v3.metadata.json".to_owned(), "00004"),
            ("v3.gz.metadata.json".to_owned(), "00004"),
            ("20260301T101500Z.metadata.json".to_owned(), "00001"),
            ("99999999999999999999999-x.metadata.json".to_owned(), "00001"),
            (format!("{UUID}.metadata.json"), "00001"),
            ("metadata.json".to_owned(), "00001"),
            ("v.metadata.json".to_owned(), "00001"),
            ("7".to_owned(), "00001"),
            (String::new(), "00001"),
        ] {
            let (location, _) = file_of(&metadata(&[]), Some(&format!("s3://lake/9-x/{before}"))).unwrap();
            assert_eq!(parts(&location), ("s3://lake/db/t/metadata", expected, "metadata.json"), "{before}");
        }
        assert_eq!(parts(&file_of(&metadata(&[]), None).unwrap().0).1, "00000");
    }

    #[test]
    fn bytes_are_gzip_exactly_if_the_name_says_so() {
        for (codec, is_gzip) in [
            (None, false),
            (Some(""), false),
            (Some("none"), false),
            (Some("NONE"), false),
            (Some("gzip"), true),
            (Some("GZIP"), true),
            (Some("Gzip"), true),
            (Some("zstd"), false),
            (Some("lz4"), false),
        ] {
            let metadata = metadata(&codec.map(|codec| (CODEC, codec)).into_iter().collect::<Vec<_>>());
            for before in ["v1.metadata.json", "00001-x.gz.metadata.json", "00001-x.metadata.json.gz"] {
                let (location, bytes) = file_of(&metadata, Some(before)).unwrap();
                let suffix = if is_gzip { "gz.metadata.json" } else { "metadata.json" };
                assert_eq!(parts(&location).2, suffix, "{codec:?} after {before}");
                assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), is_gzip);
                let json = unpacked(bytes.into()).unwrap();
                assert_eq!(serde_json::from_slice::<TableMetadata>(&json).unwrap(), metadata);
            }
        }
    }

    #[test]
    fn the_folder_may_be_elsewhere() {
        for (path, folder) in [
            ("s3://other/place", "s3://other/place"),
            ("s3://other/place//", "s3://other/place"),
            ("", "s3://lake/db/t/metadata"),
        ] {
            let (location, _) = file_of(&metadata(&[(PATH, path)]), Some("v1.metadata.json")).unwrap();
            assert_eq!(parts(&location).0, folder);
        }
    }
}

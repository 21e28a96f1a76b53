//! `s3://BUCKET/KEY` -> bucket and key.
//!
//! Iceberg writes keys into URIs as they are: a `%` or a `+` means itself, and nothing is decoded.

use iceberg::{Error, ErrorKind, Result};

use super::super::uri::S3_VERSION;

/// An object, or where one may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) uri: String,
    pub(super) bucket: String,
    pub(super) key: String,
    /// The one version that is read.
    pub(super) version_id: Option<String>,
}

impl Location {
    /// An object as it is now.
    pub(super) fn parse(uri: &str) -> Result<Self> {
        match Self::to_read(uri)? {
            at if at.version_id.is_none() => Ok(at),
            _ => Err(no_object(uri)),
        }
    }

    /// A folder, whose URI ends in a slash: the bucket itself, or what begins with the key.
    pub(super) fn folder(uri: &str) -> Result<Self> {
        let place = uri.split_once("://").and_then(|(_, place)| place.split_once('/'));
        match place {
            Some((bucket, key)) if !bucket.is_empty() => {
                let (uri, bucket, key) = (uri.to_owned(), bucket.to_owned(), key.to_owned());
                Ok(Self { uri, bucket, key, version_id: None })
            }
            _ => Err(Error::new(
                ErrorKind::DataInvalid,
                format!("{uri} names no folder: expected s3://BUCKET/KEY/"),
            )),
        }
    }

    /// An object, or one version of it ([`version_uri`](super::super::uri::version_uri)).
    pub(super) fn to_read(uri: &str) -> Result<Self> {
        let (scheme, place) = uri.split_once("://").ok_or_else(|| no_object(uri))?;
        let (version_id, place) = match place.split_once('@') {
            Some((id, place)) if scheme == S3_VERSION => (Some(id.to_owned()), place),
            _ => (None, place),
        };
        match place.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(Self { uri: uri.to_owned(), bucket: bucket.to_owned(), key: key.to_owned(), version_id })
            }
            _ => Err(no_object(uri)),
        }
    }
}

fn no_object(uri: &str) -> Error {
    Error::new(ErrorKind::DataInvalid, format!("{uri} names no object: expected s3://BUCKET/KEY"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_as_they_are() {
        for (uri, bucket, key) in [
            ("s3://b/k", "b", "k"),
            ("s3a://b.c/a/b/", "b.c", "a/b/"),
            ("s3n://b//k", "b", "/k"),
            ("s3://b/a b+c%20d#e?f=g&h://ü/../.", "b", "a b+c%20d#e?f=g&h://ü/../."),
        ] {
            let location = Location::parse(uri).unwrap();
            assert_eq!((location.bucket.as_str(), location.key.as_str()), (bucket, key));
            assert_eq!(location.uri, uri);
        }
        let version = Location::to_read("s3-version://v.1@b/k@2").unwrap();
        let parts = (version.bucket.as_str(), version.key.as_str(), version.version_id.as_deref());
        assert_eq!(parts, ("b", "k@2", Some("v.1")));
        // It is read, and neither written nor deleted.
        assert!(Location::parse("s3-version://v.1@b/k").is_err());
        for uri in ["s3://b", "s3://b/", "s3:///k", "s3:b/k"] {
            let error = Location::parse(uri).unwrap_err();
            assert_eq!(error.message(), format!("{uri} names no object: expected s3://BUCKET/KEY"));
        }
    }
}

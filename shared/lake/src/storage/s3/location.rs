//! `s3://BUCKET/KEY` -> bucket and key.
//!
//! Iceberg writes keys into URIs as they are: a `%` or a `+` means itself, and nothing is decoded.

use iceberg::{Error, ErrorKind, Result};

/// An object, or where one may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) uri: String,
    pub(super) bucket: String,
    pub(super) key: String,
}

impl Location {
    pub(super) fn parse(uri: &str) -> Result<Self> {
        let named = uri.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        match named {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                Ok(Self { uri: uri.to_owned(), bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => {
                let what = format!("{uri} names no object: expected s3://BUCKET/KEY");
                Err(Error::new(ErrorKind::DataInvalid, what))
            }
        }
    }
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
        for uri in ["s3://b", "s3://b/", "s3:///k", "s3:b/k"] {
            let error = Location::parse(uri).unwrap_err();
            assert_eq!(error.message(), format!("{uri} names no object: expected s3://BUCKET/KEY"));
        }
    }
}

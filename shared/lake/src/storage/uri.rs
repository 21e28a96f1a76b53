//! URIs of files and objects: their schemes, and those of one version.

use std::borrow::Cow;

/// The scheme of URIs that name one version of an object, for readers.
pub(super) const S3_VERSION: &str = "s3-version";

/// The URI under which the version `version_id` of the object at `uri` is read: `s3-version://ID@BUCKET/KEY`. Where the
/// storage has no versions, or none is named, `uri` itself.
pub(crate) fn version_uri<'a>(uri: &'a str, version_id: Option<&str>) -> Cow<'a, str> {
    match (version_id, uri.split_once("://")) {
        // S3 gives out ids of letters, digits, `.`, `_` and `-`; a bucket's name holds no `@`.
        (Some(id), Some((scheme, place))) if is_s3(scheme) && !id.contains('/') => {
            format!("{S3_VERSION}://{id}@{place}").into()
        }
        _ => uri.into(),
    }
}

/// The scheme of `uri`, or None if it is a path.
pub(super) fn scheme(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let named = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|next| next.is_ascii_alphanumeric() || "+-.".contains(next));
    // `file:/a` is a URI; `a:b` may well be a path.
    (named && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("file"))).then_some(scheme)
}

/// Hadoop's older names for S3 stand in the metadata of many tables.
pub(super) fn is_s3(scheme: &str) -> bool {
    ["s3", "s3a", "s3n", S3_VERSION].iter().any(|name| scheme.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_told_from_paths() {
        for (uri, expected) in [
            ("s3://b/k", Some("s3")),
            ("S3A://b/k", Some("S3A")),
            ("file:///a", Some("file")),
            ("file:/a", Some("file")),
            ("abfss://c@a.dfs.core.windows.net/k", Some("abfss")),
            ("/a/b", None),
            ("/a/s3://b", None),
            ("a:b", None),
            ("2026://a", None),
            ("", None),
        ] {
            assert_eq!(scheme(uri), expected, "{uri}");
        }
        for uri in ["s3://b/k", "s3a://b/k", "s3n://b/k", "S3://b/k"] {
            assert!(scheme(uri).is_some_and(is_s3), "{uri}");
        }
    }

    #[test]
    fn a_version_has_a_uri_where_the_storage_has_versions() {
        for (uri, version_id, expected) in [
            ("s3://b/k@1", Some("v.1"), "s3-version://v.1@b/k@1"),
            ("s3://b/k", None, "s3://b/k"),
            ("file:///a", Some("v1"), "file:///a"),
            ("/a", Some("v1"), "/a"),
        ] {
            assert_eq!(version_uri(uri, version_id), expected);
        }
    }
}

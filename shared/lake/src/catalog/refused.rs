//! What is asked of a catalog that it does not have, or that Frazil does not do there.
//!
//! In: a namespace, or an operation. Out: the name of a namespace of one level. Refused: namespaces of several levels, and
//! what only the catalog's own tools should do.

#[cfg(any(feature = "glue", feature = "s3tables"))]
use iceberg::NamespaceIdent;
use iceberg::{Error, ErrorKind};

/// The name of a namespace of `catalog`, which has one level of them.
#[cfg(any(feature = "glue", feature = "s3tables"))]
pub(super) fn database_of<'a>(namespace: &'a NamespaceIdent, catalog: &str) -> iceberg::Result<&'a str> {
    match namespace.as_ref().as_slice() {
        [database] => Ok(database),
        _ => {
            let what = format!(
                "{namespace} has several levels, and {catalog} has one: FRAZIL_TABLE is DATABASE.TABLE there"
            );
            Err(Error::new(ErrorKind::DataInvalid, what))
        }
    }
}

/// `what` is left to other tools.
pub(super) fn unsupported(what: &str, catalog: &str) -> Error {
    let what = format!("Frazil does not {what} in {catalog}: do it with the catalog's own tools");
    Error::new(ErrorKind::FeatureUnsupported, what)
}

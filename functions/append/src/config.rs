//! Every variable that the function reads, besides `FRAZIL_LOG`.
//!
//! In: the environment. Out: [`Config`]. Refused: values that are missing, out of range or of another kind.

use std::path::PathBuf;

use anyhow::Context as _;
use iceberg::TableIdent;
use lake::{Limits, TableDefinition};
use lambda::env::{Environment, VariableError};

/// Where raw objects are, when nothing else is said.
const S3: &str = "s3://";
const MIB: usize = 1024 * 1024;

/// The function's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `FRAZIL_CATALOG` and `FRAZIL_CATALOG_URI`: the catalog.
    pub catalog: CatalogConfig,
    /// `FRAZIL_WAREHOUSE`: URI under which tables are created.
    pub warehouse: String,
    /// `FRAZIL_ERRORS`: URI under which rejected rows are kept.
    pub errors: String,
    /// `FRAZIL_SOURCE_ROOT`: the URI of an object is this, its bucket, `/` and its key.
    pub source_root: String,
    /// `FRAZIL_TABLE`: `NAMESPACE.NAME`.
    pub table: TableIdent,
    /// `FRAZIL_TABLE_DEFINITION`: a file that says how to create the table. Without it the first objects do.
    pub definition: Option<TableDefinition>,
    /// `FRAZIL_MAX_RECORD_BYTES`, `FRAZIL_MAX_DECOMPRESSED_BYTES`, `FRAZIL_MAX_OPEN_PARTITIONS`, and the memory of the
    /// function.
    pub limits: Limits,
}

/// Which catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogConfig {
    /// `sqlite`: the file at `FRAZIL_CATALOG_URI`.
    Sqlite(PathBuf),
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Which variable is missing or wrong, or that the table definition cannot be read.
    pub fn from_env(environment: &Environment) -> anyhow::Result<Self> {
        let catalog = match environment.text("FRAZIL_CATALOG") {
            None | Some("sqlite") => {
                let path =
                    environment.required("FRAZIL_CATALOG_URI", "the path of the catalog's SQLite file")?;
                CatalogConfig::Sqlite(path.into())
            }
            Some(other) => {
                let (name, value) = ("FRAZIL_CATALOG", other.to_owned());
                return Err(VariableError::Invalid { name, value, expected: "sqlite" }.into());
            }
        };
        let name = environment.required("FRAZIL_TABLE", "NAMESPACE.NAME")?;
        let definition = match environment.text("FRAZIL_TABLE_DEFINITION") {
            None => None,
            Some(path) => {
                let json = std::fs::read(path).with_context(|| format!("FRAZIL_TABLE_DEFINITION={path}"))?;
                let parsed = TableDefinition::parse(&json);
                Some(parsed.with_context(|| format!("FRAZIL_TABLE_DEFINITION={path}"))?)
            }
        };
        Ok(Self {
            catalog,
            warehouse: environment.required("FRAZIL_WAREHOUSE", "the URI of a folder for tables")?.to_owned(),
            errors: environment
                .required("FRAZIL_ERRORS", "the URI of a folder for rejected rows")?
                .to_owned(),
            source_root: environment.text("FRAZIL_SOURCE_ROOT").unwrap_or(S3).to_owned(),
            table: table_ident(name).ok_or_else(|| VariableError::Invalid {
                name: "FRAZIL_TABLE",
                value: name.to_owned(),
                expected: "NAMESPACE.NAME",
            })?,
            definition,
            limits: limits(environment)?,
        })
    }
}

/// The table that `NAMESPACE.NAME` names.
pub fn table_ident(name: &str) -> Option<TableIdent> {
    let parts: Vec<&str> = name.split('.').collect();
    (parts.len() >= 2 && parts.iter().all(|part| !part.trim().is_empty()))
        .then(|| TableIdent::from_strs(parts).ok())
        .flatten()
}

fn limits(environment: &Environment) -> Result<Limits, VariableError> {
    let memory_mib: usize =
        environment.parse("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "a whole number of MiB")?.unwrap_or(512);
    let mut limits = Limits::for_memory(memory_mib.saturating_mul(MIB));
    if let Some(bytes) = environment.parse("FRAZIL_MAX_RECORD_BYTES", "a whole number of bytes")? {
        limits.record_bytes = bytes;
    }
    if let Some(bytes) = environment.parse("FRAZIL_MAX_DECOMPRESSED_BYTES", "a whole number of bytes")? {
        limits.decompressed_bytes = bytes;
    }
    if let Some(count) = environment.parse("FRAZIL_MAX_OPEN_PARTITIONS", "a whole number")? {
        limits.write.open_partitions = count;
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 4] = [
        ("FRAZIL_CATALOG_URI", "/w/catalog.db"),
        ("FRAZIL_WAREHOUSE", "file:///w/warehouse"),
        ("FRAZIL_ERRORS", "file:///w/errors"),
        ("FRAZIL_TABLE", "streaming_analytics.user_events"),
    ];

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment = Environment::from_iter(COMPLETE.iter().chain(variables).copied());
        Config::from_env(&environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_minimum_has_sensible_defaults() {
        let config = read(&[]).unwrap();
        assert_eq!(config.catalog, CatalogConfig::Sqlite("/w/catalog.db".into()));
        assert_eq!(config.source_root, "s3://");
        assert_eq!(config.table.to_string(), "streaming_analytics.user_events");
        assert_eq!(config.limits.record_bytes, 16 * MIB);
        assert!(config.definition.is_none());
    }

    #[test]
    fn errors_name_the_variable() {
        for (name, value, expected) in [
            ("FRAZIL_CATALOG", "hive", "FRAZIL_CATALOG=hive: expected sqlite"),
            (
                "FRAZIL_CATALOG_URI",
                "",
                "FRAZIL_CATALOG_URI is not set: expected the path of the catalog's SQLite file",
            ),
            ("FRAZIL_TABLE", "user_events", "FRAZIL_TABLE=user_events: expected NAMESPACE.NAME"),
            ("FRAZIL_TABLE", "a..b", "FRAZIL_TABLE=a..b: expected NAMESPACE.NAME"),
            (
                "FRAZIL_MAX_RECORD_BYTES",
                "1MB",
                "FRAZIL_MAX_RECORD_BYTES=1MB: expected a whole number of bytes",
            ),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err(), expected);
        }
        assert!(read(&[("FRAZIL_TABLE_DEFINITION", "/no/such.json")]).unwrap_err().contains("/no/such.json"));
    }
}

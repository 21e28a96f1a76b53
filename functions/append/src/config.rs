//! Every variable that the function reads, besides `FRAZIL_LOG`.
//!
//! In: the environment. Out: [`Config`]. Refused: values that are missing, out of range or of another kind.

use std::sync::Arc;

use iceberg::TableIdent;
pub use lake::CatalogConfig;
use lake::{Limits, Routes, S3Config, TableDefinition};
use lambda::env::{Environment, VariableError};
use records::unpack::Options;
pub use settings::{branch, table_ident};

use crate::routes::routes;

/// Where raw objects are, when nothing else is said.
const S3: &str = "s3://";
const TABLE: &str = "FRAZIL_TABLE";

/// The function's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `FRAZIL_CATALOG`: the catalog. `FRAZIL_CATALOG_URI`, `FRAZIL_WAREHOUSE` and others say where it is.
    pub catalog: CatalogConfig,
    /// `FRAZIL_ERRORS`: URI under which rejected rows are kept.
    pub errors: String,
    /// `FRAZIL_BRANCH`: the branch that is appended to.
    pub branch: String,
    /// `FRAZIL_SOURCE_ROOT`: the URI of an object is this, its bucket, `/` and its key.
    pub source_root: String,
    /// `FRAZIL_TABLE`: `NAMESPACE.NAME`.
    pub table: TableIdent,
    /// `FRAZIL_TABLE_DEFINITION`: how to create the table, as JSON or as the path or URI of a file. Without it the first
    /// objects say.
    pub definition: Option<TableDefinition>,
    /// `FRAZIL_ROUTE_FIELD` and others: the other tables of a stream that feeds many.
    pub routes: Option<Arc<Routes>>,
    /// `FRAZIL_MAX_RECORD_BYTES`, `FRAZIL_MAX_DECOMPRESSED_BYTES`, `FRAZIL_MAX_OPEN_PARTITIONS`,
    /// `FRAZIL_MAX_FILES_PER_COMMIT`, `FRAZIL_MAX_REJECTED_PERCENT`, and the memory of the function.
    pub limits: Limits,
    /// What of an object is an event: the variables of [`lambda::unpack::options`].
    pub unpack: Options,
    /// `FRAZIL_S3_PATH_STYLE`, `FRAZIL_S3_SSE`, `FRAZIL_S3_KMS_KEY_ID`.
    pub s3: S3Config,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Which variable is missing or wrong, or that the table definition cannot be read.
    pub async fn from_env(environment: &Environment) -> anyhow::Result<Self> {
        let catalog = settings::catalog(environment)?;
        let s3 = settings::s3(environment)?;
        let table = settings::table(environment, TABLE)?;
        let table = table.ok_or(VariableError::Missing { name: TABLE, expected: "NAMESPACE.NAME" })?;
        let definition = settings::definition(environment, &s3).await?;
        let mut limits = settings::limits(environment)?;
        limits.rejected_percent = environment.number("FRAZIL_MAX_REJECTED_PERCENT", "percent", 0..=99)?;
        Ok(Self {
            catalog,
            errors: settings::errors(environment)?,
            branch: settings::branch(environment)?,
            source_root: environment.text("FRAZIL_SOURCE_ROOT").unwrap_or(S3).to_owned(),
            routes: routes(environment, &table)?.map(Arc::new),
            table,
            definition,
            limits,
            unpack: lambda::unpack::options(environment)?,
            s3,
        })
    }
}

#[cfg(test)]
mod tests {
    use lake::{RestAuth, S3Encryption, Secret};
    use settings::TABLE_DEFINITION;

    use super::*;

    const MIB: usize = 1024 * 1024;
    const COMPLETE: [(&str, &str); 4] = [
        ("FRAZIL_CATALOG_URI", "/w/catalog.db"),
        ("FRAZIL_WAREHOUSE", "file:///w/warehouse"),
        ("FRAZIL_ERRORS", "file:///w/errors"),
        ("FRAZIL_TABLE", "streaming_analytics.user_events"),
    ];

    async fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment = Environment::from_iter(COMPLETE.iter().chain(variables).copied());
        Config::from_env(&environment).await.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn the_minimum_has_sensible_defaults() {
        let config = read(&[]).await.unwrap();
        let (database, warehouse) = ("/w/catalog.db".into(), "file:///w/warehouse".into());
        assert_eq!(config.catalog, CatalogConfig::Sqlite { database, warehouse });
        assert_eq!(config.source_root, "s3://");
        assert_eq!(config.branch, "main");
        assert_eq!(config.table.to_string(), "streaming_analytics.user_events");
        assert_eq!(config.limits.record_bytes, 16 * MIB);
        assert!(config.definition.is_none());
        assert_eq!(config.s3, S3Config::default());
    }

    #[tokio::test]
    async fn errors_name_the_variable() {
        const ARN: &str = "the ARN of an S3 table bucket";
        for (variables, expected) in [
            (
                &[("FRAZIL_CATALOG", "hive")][..],
                "FRAZIL_CATALOG=hive: expected sqlite, glue, rest or s3tables",
            ),
            (
                &[("FRAZIL_CATALOG_URI", "")],
                "FRAZIL_CATALOG_URI is not set: expected the path of the catalog's SQLite file",
            ),
            (
                &[("FRAZIL_WAREHOUSE", "")],
                "FRAZIL_WAREHOUSE is not set: expected the URI of a folder for tables",
            ),
            (
                &[("FRAZIL_CATALOG", "rest"), ("FRAZIL_CATALOG_URI", "")],
                "FRAZIL_CATALOG_URI is not set: expected the URI of the REST catalog, without /v1",
            ),
            (
                &[
                    ("FRAZIL_CATALOG", "rest"),
                    ("FRAZIL_CATALOG_TOKEN", "t0ken"),
                    ("FRAZIL_CATALOG_CREDENTIAL", "id:s3cret"),
                ],
                "FRAZIL_CATALOG_TOKEN and FRAZIL_CATALOG_CREDENTIAL are both set: expected one of them",
            ),
            (
                &[("FRAZIL_CATALOG", "s3tables"), ("FRAZIL_CATALOG_URI", "arn:aws:s3:::my-bucket")],
                &format!("FRAZIL_CATALOG_URI=arn:aws:s3:::my-bucket: expected {ARN}"),
            ),
            (
                &[("FRAZIL_CATALOG", "glue"), ("FRAZIL_GLUE_OPTIMIZER_ROLE", "optimizer")],
                "FRAZIL_GLUE_OPTIMIZER_ROLE=optimizer: expected the ARN of an IAM role",
            ),
            (
                &[("FRAZIL_BRANCH", "to audit")],
                "FRAZIL_BRANCH=to audit: expected the name of a branch, without spaces",
            ),
            (&[("FRAZIL_TABLE", "user_events")], "FRAZIL_TABLE=user_events: expected NAMESPACE.NAME"),
            (&[("FRAZIL_TABLE", "a..b")], "FRAZIL_TABLE=a..b: expected NAMESPACE.NAME"),
            (
                &[("FRAZIL_MAX_RECORD_BYTES", "1MB")],
                "FRAZIL_MAX_RECORD_BYTES=1MB: expected a whole number of bytes from 1024 to 134217728",
            ),
            (
                &[("FRAZIL_MAX_RECORD_BYTES", "0")],
                "FRAZIL_MAX_RECORD_BYTES=0: expected a whole number of bytes from 1024 to 134217728",
            ),
            (
                &[("FRAZIL_MAX_RECORD_BYTES", "40000000"), ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")],
                "FRAZIL_MAX_RECORD_BYTES=40000000: expected a whole number of bytes from 1024 to 33554432",
            ),
            (
                &[("FRAZIL_MAX_DECOMPRESSED_BYTES", "0")],
                "FRAZIL_MAX_DECOMPRESSED_BYTES=0: expected a whole number of bytes from 1048576 to 1099511627776",
            ),
            (
                &[("FRAZIL_MAX_OPEN_PARTITIONS", "0")],
                "FRAZIL_MAX_OPEN_PARTITIONS=0: expected a whole number of files from 1 to 1024",
            ),
            (
                &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")],
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=0: expected a whole number of MiB from 1 to 1048576",
            ),
            (&[("FRAZIL_S3_PATH_STYLE", "yes")], "FRAZIL_S3_PATH_STYLE=yes: expected true or false"),
            (&[("FRAZIL_S3_SSE", "kms")], "FRAZIL_S3_SSE=kms: expected AES256, aws:kms or aws:kms:dsse"),
            (
                &[("FRAZIL_S3_KMS_KEY_ID", "k")],
                "FRAZIL_S3_KMS_KEY_ID=k: expected FRAZIL_S3_SSE=aws:kms or aws:kms:dsse with it",
            ),
            (
                &[("FRAZIL_S3_SSE", "AES256"), ("FRAZIL_S3_KMS_KEY_ID", "k")],
                "FRAZIL_S3_KMS_KEY_ID=k: expected FRAZIL_S3_SSE=aws:kms or aws:kms:dsse with it",
            ),
        ] {
            assert_eq!(read(variables).await.unwrap_err(), expected);
        }
    }

    #[tokio::test]
    async fn s3_is_configured_at_start() {
        let variables = [
            ("FRAZIL_S3_PATH_STYLE", "false"),
            ("FRAZIL_S3_SSE", "aws:kms"),
            ("FRAZIL_S3_KMS_KEY_ID", "alias/k"),
        ];
        let encryption = Some(S3Encryption::Kms { key_id: Some("alias/k".to_owned()) });
        let expected = S3Config { path_style: Some(false), encryption };
        assert_eq!(read(&variables).await.unwrap().s3, expected);
    }

    #[tokio::test]
    async fn every_catalog_has_its_variables() {
        let catalog = async |variables: &[(&str, &str)]| read(variables).await.unwrap().catalog;
        let account = Some("123456789012".to_owned());
        assert_eq!(
            catalog(&[("FRAZIL_CATALOG", "glue"), ("FRAZIL_WAREHOUSE", "")]).await,
            CatalogConfig::Glue { catalog_id: None, warehouse: None, optimizer_role: None }
        );
        let role = "arn:aws-cn:iam::123456789012:role/path/optimizer";
        let glue = [
            ("FRAZIL_CATALOG", "glue"),
            ("FRAZIL_GLUE_CATALOG_ID", "123456789012"),
            ("FRAZIL_GLUE_OPTIMIZER_ROLE", role),
        ];
        let (warehouse, optimizer_role) = (Some("file:///w/warehouse".into()), Some(role.into()));
        assert_eq!(
            catalog(&glue).await,
            CatalogConfig::Glue { catalog_id: account, warehouse, optimizer_role }
        );
        let arn = "arn:aws:s3tables:eu-west-1:123456789012:bucket/lake";
        assert_eq!(
            catalog(&[("FRAZIL_CATALOG", "s3tables"), ("FRAZIL_CATALOG_URI", arn)]).await,
            CatalogConfig::S3Tables { table_bucket_arn: arn.into() }
        );
        let rest = [
            ("FRAZIL_CATALOG", "rest"),
            ("FRAZIL_CATALOG_URI", "https://lake"),
            ("FRAZIL_CATALOG_CREDENTIAL", "id:s3cret"),
            ("FRAZIL_CATALOG_SCOPE", "PRINCIPAL_ROLE:ALL"),
        ];
        let CatalogConfig::Rest { uri, warehouse, auth } = catalog(&rest).await else { unreachable!() };
        assert_eq!((uri.as_str(), warehouse.as_deref()), ("https://lake", Some("file:///w/warehouse")));
        assert!(!format!("{auth:?}").contains("s3cret"), "{auth:?}");
        let RestAuth::OAuth { credential, server_uri: None, scope } = auth else { unreachable!() };
        assert_eq!((credential, scope.as_deref()), (Secret::new("id:s3cret"), Some("PRINCIPAL_ROLE:ALL")));
    }

    #[tokio::test]
    async fn a_definition_is_json_or_the_place_of_a_file() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tables/user_events.json");
        let json = std::fs::read_to_string(file).unwrap();
        for text in [file, &format!("file://{file}"), &json] {
            let config = read(&[(TABLE_DEFINITION, text)]).await.unwrap();
            assert_eq!(config.definition.unwrap().name, "user_events");
        }
        for text in ["/no/such.json", "file:///no/such.json"] {
            let error = read(&[(TABLE_DEFINITION, text)]).await.unwrap_err();
            assert!(error.starts_with(&format!("FRAZIL_TABLE_DEFINITION={text}: ")), "{error}");
        }
        let error = read(&[(TABLE_DEFINITION, "{\"name\": \"t\"}")]).await.unwrap_err();
        assert!(error.starts_with("FRAZIL_TABLE_DEFINITION: ") && error.contains("missing field"), "{error}");
    }
}

//! What the functions that write tables have in common: their variables, and why an invocation of theirs fails.
//!
//! In: the environment, errors of `lake`. Out: the settings of `lake`, a [`Failure`]. Refused: values that are missing, out of
//! range or of another kind.

mod failure;

use anyhow::{Context as _, bail};
use iceberg::TableIdent;
use iceberg::spec::MAIN_BRANCH;
use lake::{CatalogConfig, Limits, RestAuth, S3Config, S3Encryption, Secret, TableDefinition};
use lambda::env::{Environment, VariableError};

pub use self::failure::Failure;

/// How a table is created: a definition as JSON, or the path or URI of one.
pub const TABLE_DEFINITION: &str = "FRAZIL_TABLE_DEFINITION";
const KMS_KEY_ID: &str = "FRAZIL_S3_KMS_KEY_ID";
const MIB: usize = 1024 * 1024;
/// A record of a few fields. Under a lower limit, whole streams end in the quarantine.
const MIN_RECORD_BYTES: usize = 1024;

/// `FRAZIL_CATALOG`, `FRAZIL_CATALOG_URI`, `FRAZIL_WAREHOUSE` and others: the catalog.
///
/// # Errors
/// Which variable is missing or wrong.
pub fn catalog(environment: &Environment) -> anyhow::Result<CatalogConfig> {
    let uri = |expected| environment.required("FRAZIL_CATALOG_URI", expected).map(str::to_owned);
    let warehouse = environment.text("FRAZIL_WAREHOUSE").map(str::to_owned);
    Ok(match environment.text("FRAZIL_CATALOG") {
        None | Some("sqlite") => CatalogConfig::Sqlite {
            database: uri("the path of the catalog's SQLite file")?.into(),
            warehouse: environment.required("FRAZIL_WAREHOUSE", "the URI of a folder for tables")?.to_owned(),
        },
        Some("glue") => CatalogConfig::Glue {
            catalog_id: environment.text("FRAZIL_GLUE_CATALOG_ID").map(str::to_owned),
            warehouse,
            optimizer_role: optimizer_role(environment)?,
        },
        Some("rest") => CatalogConfig::Rest {
            uri: uri("the URI of the REST catalog, without /v1")?,
            warehouse,
            auth: rest_auth(environment)?,
        },
        Some("s3tables") => {
            let table_bucket_arn = uri("the ARN of an S3 table bucket")?;
            if !(table_bucket_arn.starts_with("arn:") && table_bucket_arn.contains(":s3tables:")) {
                let expected = "the ARN of an S3 table bucket";
                let (name, value, expected) = ("FRAZIL_CATALOG_URI", table_bucket_arn, expected.to_owned());
                return Err(VariableError::Invalid { name, value, expected }.into());
            }
            CatalogConfig::S3Tables { table_bucket_arn }
        }
        Some(other) => {
            let (name, value) = ("FRAZIL_CATALOG", other.to_owned());
            let expected = "sqlite, glue, rest or s3tables".to_owned();
            return Err(VariableError::Invalid { name, value, expected }.into());
        }
    })
}

fn optimizer_role(environment: &Environment) -> Result<Option<String>, VariableError> {
    let (name, expected) = ("FRAZIL_GLUE_OPTIMIZER_ROLE", "the ARN of an IAM role");
    match environment.text(name) {
        Some(arn) if !(arn.starts_with("arn:") && arn.contains(":iam::") && arn.contains(":role/")) => {
            Err(VariableError::Invalid { name, value: arn.to_owned(), expected: expected.to_owned() })
        }
        arn => Ok(arn.map(str::to_owned)),
    }
}

fn rest_auth(environment: &Environment) -> anyhow::Result<RestAuth> {
    let text = |name| environment.text(name).map(str::to_owned);
    Ok(match (text("FRAZIL_CATALOG_TOKEN"), text("FRAZIL_CATALOG_CREDENTIAL")) {
        (None, None) => RestAuth::None,
        (Some(token), None) => RestAuth::Token(Secret::new(token)),
        (None, Some(credential)) => RestAuth::OAuth {
            credential: Secret::new(credential),
            server_uri: text("FRAZIL_CATALOG_OAUTH2_SERVER_URI"),
            scope: text("FRAZIL_CATALOG_SCOPE"),
        },
        (Some(_), Some(_)) => {
            bail!("FRAZIL_CATALOG_TOKEN and FRAZIL_CATALOG_CREDENTIAL are both set: expected one of them")
        }
    })
}

/// `FRAZIL_TABLE_DEFINITION`: how to create a table; None where the first records say.
///
/// # Errors
/// It cannot be read, or is none.
pub async fn definition(environment: &Environment, s3: &S3Config) -> anyhow::Result<Option<TableDefinition>> {
    match environment.text(TABLE_DEFINITION) {
        None => Ok(None),
        Some(text) => read_definition(text, s3).await.map(Some),
    }
}

async fn read_definition(text: &str, s3: &S3Config) -> anyhow::Result<TableDefinition> {
    if text.trim_start().starts_with('{') {
        return TableDefinition::parse(text.as_bytes()).context(TABLE_DEFINITION);
    }
    let at_place = || format!("{TABLE_DEFINITION}={text}");
    if text.contains("://") {
        return TableDefinition::fetch(text, s3).await.with_context(at_place);
    }
    TableDefinition::parse(&std::fs::read(text).with_context(at_place)?).with_context(at_place)
}

/// The table that `NAMESPACE.NAME` names.
pub fn table_ident(name: &str) -> Option<TableIdent> {
    let parts: Vec<&str> = name.split('.').collect();
    (parts.len() >= 2 && parts.iter().all(|part| !part.trim().is_empty()))
        .then(|| TableIdent::from_strs(parts).ok())
        .flatten()
}

/// `FRAZIL_ERRORS`: the URI under which rejected rows are kept.
///
/// # Errors
/// It is not set.
pub fn errors(environment: &Environment) -> Result<String, VariableError> {
    environment.required("FRAZIL_ERRORS", "the URI of a folder for rejected rows").map(str::to_owned)
}

/// `FRAZIL_BRANCH`: the branch of the tables that is appended to, `main` if nothing else is said.
///
/// # Errors
/// It can be no name.
pub fn branch(environment: &Environment) -> Result<String, VariableError> {
    let (name, value) = ("FRAZIL_BRANCH", environment.text("FRAZIL_BRANCH").unwrap_or(MAIN_BRANCH));
    match value.contains(|character: char| character.is_whitespace() || character.is_control()) {
        true => {
            let expected = "the name of a branch, without spaces".to_owned();
            Err(VariableError::Invalid { name, value: value.to_owned(), expected })
        }
        false => Ok(value.to_owned()),
    }
}

/// A variable that names a table, None if it is not set.
///
/// # Errors
/// It names none.
pub fn table(environment: &Environment, name: &'static str) -> Result<Option<TableIdent>, VariableError> {
    let Some(text) = environment.text(name) else { return Ok(None) };
    let invalid =
        || VariableError::Invalid { name, value: text.to_owned(), expected: "NAMESPACE.NAME".to_owned() };
    table_ident(text).ok_or_else(invalid).map(Some)
}

/// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, and `FRAZIL_MAX_RECORD_BYTES`, `FRAZIL_MAX_DECOMPRESSED_BYTES`,
/// `FRAZIL_MAX_OPEN_PARTITIONS` and `FRAZIL_MAX_FILES_PER_COMMIT`: ceilings.
///
/// # Errors
/// Which one is wrong.
pub fn limits(environment: &Environment) -> Result<Limits, VariableError> {
    let memory_mib =
        environment.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "MiB", 1..=1 << 20)?.unwrap_or(512);
    let memory_bytes = memory_mib * MIB;
    let mut limits = Limits::for_memory(memory_bytes);
    // What a record takes beside its text, and the rows before it, must have room too.
    let record_bytes = MIN_RECORD_BYTES..=(memory_bytes / 4).max(MIN_RECORD_BYTES);
    if let Some(bytes) = environment.number("FRAZIL_MAX_RECORD_BYTES", "bytes", record_bytes)? {
        limits.record_bytes = bytes;
    }
    let decompressed_bytes = 1 << 20..=1 << 40;
    if let Some(bytes) = environment.number("FRAZIL_MAX_DECOMPRESSED_BYTES", "bytes", decompressed_bytes)? {
        limits.decompressed_bytes = bytes;
    }
    if let Some(count) = environment.number("FRAZIL_MAX_OPEN_PARTITIONS", "files", 1..=1024)? {
        limits.write.open_partitions = count;
    }
    if let Some(count) = environment.number("FRAZIL_MAX_FILES_PER_COMMIT", "files", 1..=100_000)? {
        limits.write.files = count;
    }
    Ok(limits)
}

/// `FRAZIL_S3_PATH_STYLE`, `FRAZIL_S3_SSE`, `FRAZIL_S3_KMS_KEY_ID`: how S3 is used.
///
/// # Errors
/// Which one is wrong.
pub fn s3(environment: &Environment) -> Result<S3Config, VariableError> {
    let path_style = environment.choice("FRAZIL_S3_PATH_STYLE", &[("true", true), ("false", false)])?;
    let key_id = environment.text(KMS_KEY_ID).map(str::to_owned);
    let encryptions = [
        ("AES256", S3Encryption::Aes256),
        ("aws:kms", S3Encryption::Kms { key_id: key_id.clone() }),
        ("aws:kms:dsse", S3Encryption::KmsDsse { key_id: key_id.clone() }),
    ];
    let encryption = environment.choice("FRAZIL_S3_SSE", &encryptions)?;
    if let (Some(value), None | Some(S3Encryption::Aes256)) = (key_id, &encryption) {
        let expected = "FRAZIL_S3_SSE=aws:kms or aws:kms:dsse with it".to_owned();
        return Err(VariableError::Invalid { name: KMS_KEY_ID, value, expected });
    }
    Ok(S3Config { path_style, encryption })
}

//! Every variable that the function reads, besides `FRAZIL_LOG`.
//!
//! In: the environment. Out: [`Config`]. Refused: values that are missing, out of range or of another kind.

use std::time::Duration;

use iceberg::{NamespaceIdent, TableIdent};
use lake::{CatalogConfig, S3Config, WriteLimits};
use lambda::env::{Environment, VariableError};

const TABLES: &str = "FRAZIL_TABLES";
const RAW: &str = "FRAZIL_RAW";
/// A ledger remembers objects for 15 days.
const MAX_DAYS: u32 = 14;
/// What is younger may be about to be committed.
const MIN_SWEEP_DAYS: u64 = 1;

/// The function's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `FRAZIL_CATALOG`: the catalog. `FRAZIL_CATALOG_URI`, `FRAZIL_WAREHOUSE` and others say where it is.
    pub catalog: CatalogConfig,
    /// `FRAZIL_ERRORS`: URI under which append keeps rejected rows, with the tables' ledgers beside it.
    pub errors: String,
    /// `FRAZIL_TABLES`: `NAMESPACE.NAME`, or `NAMESPACE.*` for all of a namespace, with commas between them.
    pub tables: Vec<Tables>,
    /// `FRAZIL_S3_PATH_STYLE`, `FRAZIL_S3_SSE`, `FRAZIL_S3_KMS_KEY_ID`.
    pub s3: S3Config,
    /// What to do about small files; None for nothing.
    pub compaction: Option<Compaction>,
    /// Where delivered objects lie; None where they are not held against the tables.
    pub raw: Option<Raw>,
    /// `FRAZIL_SWEEP_AFTER_DAYS`: how old a file is that nothing refers to when it is deleted; None for never.
    pub sweep_after: Option<Duration>,
}

/// Tables that are looked after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tables {
    /// This one.
    One(TableIdent),
    /// All of a namespace.
    All(NamespaceIdent),
}

/// How to compact.
#[derive(Clone, Copy, Debug)]
pub struct Compaction {
    /// `FRAZIL_COMPACT_CLOSED_AFTER_MINUTES`: how long after the end of its time a partition counts as closed.
    pub margin: Duration,
    /// `FRAZIL_COMPACT_OPEN_FILES`: files that are worth being made one in a partition that is still written to.
    pub open_files: usize,
    /// `FRAZIL_COMPACT_TARGET_BYTES`: bytes that a file should have; else what the table says.
    pub target_bytes: Option<u64>,
    /// `FRAZIL_COMPACT_MAX_FILES`: most files of a table that one run looks at.
    pub max_files: usize,
    /// What follows from the function's memory.
    pub limits: WriteLimits,
}

/// Delivered objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// `FRAZIL_RAW`: URIs of folders with commas between them, in which `%Y`, `%m`, `%d` and `%H` stand for the parts of a
    /// time in UTC.
    pub folders: Vec<String>,
    /// `FRAZIL_SOURCE_ROOT`: the URI of an object is this, its bucket, `/` and its key.
    pub source_root: String,
    /// `FRAZIL_PENDING_DAYS`: how many days back objects are looked for.
    pub days: u32,
    /// `FRAZIL_PENDING_AFTER_MINUTES`: how long an object may wait for its commit.
    pub after: Duration,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Which variable is missing or wrong.
    pub fn from_env(environment: &Environment) -> anyhow::Result<Self> {
        let catalog = settings::catalog(environment)?;
        let tables =
            environment.required(TABLES, "NAMESPACE.NAME or NAMESPACE.*, with commas between them")?;
        let choices = [("auto", None), ("always", Some(true)), ("never", Some(false))];
        let wanted = environment.choice("FRAZIL_COMPACT", &choices)?.flatten();
        let compacts = wanted.unwrap_or(!has_managed_compaction(&catalog));
        Ok(Self {
            errors: settings::errors(environment)?,
            tables: tables.split(',').map(|name| one(name.trim())).collect::<Result<_, _>>()?,
            s3: settings::s3(environment)?,
            compaction: if compacts { Some(Compaction::from_env(environment)?) } else { None },
            raw: raw(environment)?,
            sweep_after: environment
                .number("FRAZIL_SWEEP_AFTER_DAYS", "days", MIN_SWEEP_DAYS..=3650)?
                .map(|days| Duration::from_secs(days * 24 * 3600)),
            catalog,
        })
    }
}

/// Whether the catalog compacts tables by itself. Two that compact the same files only undo each other's work.
fn has_managed_compaction(catalog: &CatalogConfig) -> bool {
    match catalog {
        CatalogConfig::S3Tables { .. } => true,
        CatalogConfig::Glue { optimizer_role, .. } => optimizer_role.is_some(),
        CatalogConfig::Sqlite { .. } | CatalogConfig::Rest { .. } => false,
    }
}

fn one(name: &str) -> Result<Tables, VariableError> {
    let tables = match name.strip_suffix(".*") {
        Some(namespace) => NamespaceIdent::from_strs(namespace.split('.'))
            .ok()
            .filter(|_| namespace.split('.').all(|part| !part.trim().is_empty()))
            .map(Tables::All),
        None => settings::table_ident(name).map(Tables::One),
    };
    tables.ok_or_else(|| VariableError::Invalid {
        name: TABLES,
        value: name.to_owned(),
        expected: "NAMESPACE.NAME or NAMESPACE.*, with commas between them".to_owned(),
    })
}

impl Compaction {
    /// Reads the part about compaction.
    ///
    /// # Errors
    /// Which variable is wrong.
    pub fn from_env(environment: &Environment) -> anyhow::Result<Self> {
        let minutes = environment.number("FRAZIL_COMPACT_CLOSED_AFTER_MINUTES", "minutes", 0..=1_000_000)?;
        let max_files = environment.number("FRAZIL_COMPACT_MAX_FILES", "files", 2..=1_000_000)?;
        Ok(Self {
            margin: Duration::from_secs(60 * minutes.unwrap_or(60)),
            open_files: environment.number("FRAZIL_COMPACT_OPEN_FILES", "files", 2..=100_000)?.unwrap_or(20),
            target_bytes: environment.number("FRAZIL_COMPACT_TARGET_BYTES", "bytes", 1 << 20..=1 << 34)?,
            max_files: max_files.unwrap_or(20_000),
            limits: settings::limits(environment)?.write,
        })
    }
}

fn raw(environment: &Environment) -> Result<Option<Raw>, VariableError> {
    let days = environment.number("FRAZIL_PENDING_DAYS", "days", 1..=MAX_DAYS)?.unwrap_or(3);
    let minutes = environment.number("FRAZIL_PENDING_AFTER_MINUTES", "minutes", 1..=10_000)?.unwrap_or(60);
    let Some(folders) = environment.text(RAW) else { return Ok(None) };
    let folders: Vec<String> = folders.split(',').map(|folder| folder.trim().to_owned()).collect();
    let source_root = environment.text("FRAZIL_SOURCE_ROOT").unwrap_or("s3://").to_owned();
    if let Some(folder) = folders.iter().find(|folder| !is_folder(folder, &source_root)) {
        let expected = format!(
            "URIs that begin with {source_root} and a bucket; %Y, %m, %d and %H in them are a time's"
        );
        return Err(VariableError::Invalid { name: RAW, value: folder.clone(), expected });
    }
    Ok(Some(Raw { folders, source_root, days, after: Duration::from_secs(60 * minutes) }))
}

fn is_folder(folder: &str, source_root: &str) -> bool {
    let below = folder.strip_prefix(source_root);
    let mut parts = folder.split('%').skip(1);
    below.is_some_and(|below| !below.is_empty()) && parts.all(|part| part.starts_with(['Y', 'm', 'd', 'H']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 4] = [
        ("FRAZIL_CATALOG_URI", "/w/catalog.db"),
        ("FRAZIL_WAREHOUSE", "file:///w/warehouse"),
        ("FRAZIL_ERRORS", "file:///w/errors"),
        ("FRAZIL_TABLES", "streaming_analytics.user_events, other.*"),
    ];

    fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment = Environment::from_iter(COMPLETE.iter().chain(variables).copied());
        Config::from_env(&environment).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_minimum_has_sensible_defaults() {
        let config = read(&[]).unwrap();
        let one = TableIdent::from_strs(["streaming_analytics", "user_events"]).unwrap();
        assert_eq!(config.tables, [Tables::One(one), Tables::All(NamespaceIdent::new("other".to_owned()))]);
        let compaction = config.compaction.unwrap();
        assert_eq!((compaction.margin, compaction.open_files), (Duration::from_secs(3600), 20));
        assert!(compaction.target_bytes.is_none() && config.raw.is_none() && config.sweep_after.is_none());
    }

    #[test]
    fn a_catalog_that_compacts_is_left_to_it() {
        let role = "arn:aws:iam::123456789012:role/optimizer";
        let optimized = [("FRAZIL_CATALOG", "glue"), ("FRAZIL_GLUE_OPTIMIZER_ROLE", role)];
        let bucket = [
            ("FRAZIL_CATALOG", "s3tables"),
            ("FRAZIL_CATALOG_URI", "arn:aws:s3tables:eu-west-1:123456789012:bucket/lake"),
        ];
        for (variables, compacts) in
            [(&optimized[..], false), (&optimized[..1], true), (&bucket, false), (&[], true)]
        {
            assert_eq!(read(variables).unwrap().compaction.is_some(), compacts, "{variables:?}");
            for (word, compacts) in [("auto", compacts), ("always", true), ("never", false)] {
                let told = [variables, &[("FRAZIL_COMPACT", word)]].concat();
                assert_eq!(read(&told).unwrap().compaction.is_some(), compacts, "{told:?}");
            }
        }
    }

    #[test]
    fn raw_objects_are_looked_for_where_they_are_said_to_be() {
        let folders = "s3://b/raw/%Y/%m/%d,s3://b/errors/processing-failed";
        let raw = read(&[(RAW, folders), ("FRAZIL_PENDING_DAYS", "7")]).unwrap().raw.unwrap();
        assert_eq!(raw.folders, ["s3://b/raw/%Y/%m/%d", "s3://b/errors/processing-failed"]);
        assert_eq!((raw.days, raw.after), (7, Duration::from_secs(3600)));
    }

    #[test]
    fn errors_name_the_variable() {
        for (name, value, expected) in [
            (TABLES, "", "FRAZIL_TABLES is not set: expected NAMESPACE.NAME or NAMESPACE.*"),
            (TABLES, "a.b,c", "FRAZIL_TABLES=c: expected NAMESPACE.NAME or NAMESPACE.*"),
            (TABLES, ".*", "FRAZIL_TABLES=.*: expected NAMESPACE.NAME or NAMESPACE.*"),
            ("FRAZIL_COMPACT", "yes", "FRAZIL_COMPACT=yes: expected auto, always or never"),
            (RAW, "b/raw", "FRAZIL_RAW=b/raw: expected URIs that begin with s3:// and a bucket"),
            (RAW, "s3://b/%y", "FRAZIL_RAW=s3://b/%y: expected URIs that begin with s3:// and a bucket"),
            (
                "FRAZIL_PENDING_DAYS",
                "15",
                "FRAZIL_PENDING_DAYS=15: expected a whole number of days from 1 to 14",
            ),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}

//! Every variable that the function reads, besides `FRAZIL_LOG`.
//!
//! In: the environment. Out: [`Config`]. Refused: values that are missing, out of range or of another kind.

use std::collections::HashMap;

use lake::{CatalogConfig, Limits, S3Config, TableDefinition, TopicOptions};
use lambda::env::{Environment, VariableError};
use records::unpack::Options;

pub use crate::routes::Routes;
use crate::routes::VARIABLE as TOPIC_TABLES;

const TABLE: &str = "FRAZIL_TABLE";
const LIVES: &str = "FRAZIL_TOPIC_LIVES";

/// The function's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `FRAZIL_CATALOG`: the catalog. `FRAZIL_CATALOG_URI`, `FRAZIL_WAREHOUSE` and others say where it is.
    pub catalog: CatalogConfig,
    /// `FRAZIL_ERRORS`: URI under which rejected rows are kept.
    pub errors: String,
    /// `FRAZIL_BRANCH`: the branch that is appended to.
    pub branch: String,
    /// `FRAZIL_TOPIC_TABLES` and `FRAZIL_TABLE`: which table a topic goes to.
    pub routes: Routes,
    /// `FRAZIL_TABLE_DEFINITION`: how to create a table, as JSON or as the path or URI of a file. Without it the first
    /// records say.
    pub definition: Option<TableDefinition>,
    /// `FRAZIL_MAX_RECORD_BYTES`, `FRAZIL_MAX_OPEN_PARTITIONS`, `FRAZIL_MAX_FILES_PER_COMMIT`, and the memory of the
    /// function.
    pub limits: Limits,
    /// `FRAZIL_S3_PATH_STYLE`, `FRAZIL_S3_SSE`, `FRAZIL_S3_KMS_KEY_ID`.
    pub s3: S3Config,
    /// `FRAZIL_KAFKA_CLUSTER`: a name for the cluster, in place of the event source's ARN.
    pub cluster: Option<String>,
    /// `FRAZIL_TOPIC_LIVES`: by topic, what its life is called if it is not the first.
    pub lives: HashMap<String, String>,
    /// `FRAZIL_BATCH_ITEM_FAILURES`: whether the mapping reports batch item failures. If not, an invocation fails if any
    /// record of it does.
    pub batch_item_failures: bool,
    /// `FRAZIL_UNWRAP=payload`: that values are envelopes of Kafka Connect.
    pub options: TopicOptions,
    /// What of a value is an event: the variables of [`lambda::unpack::topic_options`].
    pub unpack: Options,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Which variable is missing or wrong, or that the table definition cannot be read.
    pub async fn from_env(environment: &Environment) -> anyhow::Result<Self> {
        let catalog = settings::catalog(environment)?;
        let s3 = settings::s3(environment)?;
        let (rules, default) = (environment.text(TOPIC_TABLES), settings::table(environment, TABLE)?);
        if rules.is_none() && default.is_none() {
            let expected = "NAMESPACE.NAME, or FRAZIL_TOPIC_TABLES";
            return Err(VariableError::Missing { name: TABLE, expected }.into());
        }
        let switch = [("true", true), ("false", false)];
        let (unpack, unwrap) = lambda::unpack::topic_options(environment)?;
        Ok(Self {
            catalog,
            errors: settings::errors(environment)?,
            branch: settings::branch(environment)?,
            routes: Routes::new(rules.unwrap_or_default(), default)?,
            definition: settings::definition(environment, &s3).await?,
            limits: settings::limits(environment)?,
            s3,
            cluster: environment.text("FRAZIL_KAFKA_CLUSTER").map(str::to_owned),
            lives: lives(environment.text(LIVES).unwrap_or_default())?,
            batch_item_failures: environment.choice("FRAZIL_BATCH_ITEM_FAILURES", &switch)?.unwrap_or(false),
            options: TopicOptions { unwrap },
            unpack,
        })
    }
}

/// `TOPIC=NAME`, parted by commas.
fn lives(text: &str) -> Result<HashMap<String, String>, VariableError> {
    let lives = text.split(',').map(str::trim).filter(|life| !life.is_empty());
    let parsed = lives.map(|life| {
        let parts = life.split_once('=').map(|(topic, name)| (topic.trim(), name.trim()));
        let invalid = || VariableError::Invalid {
            name: LIVES,
            value: life.to_owned(),
            expected: "TOPIC=NAME, parted by commas: what the life of a topic is called that was made anew"
                .to_owned(),
        };
        let parts =
            parts.filter(|(topic, name)| !topic.is_empty() && !name.is_empty()).ok_or_else(invalid)?;
        Ok((parts.0.to_owned(), parts.1.to_owned()))
    });
    parsed.collect()
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

    async fn read(variables: &[(&str, &str)]) -> Result<Config, String> {
        let environment = Environment::from_iter(COMPLETE.iter().chain(variables).copied());
        Config::from_env(&environment).await.map_err(|error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn the_minimum_has_sensible_defaults() {
        let config = read(&[]).await.unwrap();
        assert_eq!(config.routes.table("any").unwrap().to_string(), "streaming_analytics.user_events");
        assert!(!config.batch_item_failures && !config.options.unwrap);
        assert!(config.cluster.is_none() && config.lives.is_empty() && config.definition.is_none());
    }

    #[tokio::test]
    async fn every_variable_counts() {
        let config = read(&[
            ("FRAZIL_TABLE", ""),
            ("FRAZIL_TOPIC_TABLES", "(a.*)=db.$1"),
            ("FRAZIL_KAFKA_CLUSTER", "main"),
            ("FRAZIL_TOPIC_LIVES", "orders=2, clicks = b"),
            ("FRAZIL_BATCH_ITEM_FAILURES", "true"),
            ("FRAZIL_UNWRAP", "payload"),
        ])
        .await
        .unwrap();
        assert_eq!(config.routes.table("ab").unwrap().to_string(), "db.ab");
        assert!(config.batch_item_failures && config.options.unwrap && config.unpack.unwrap.is_none());
        assert_eq!(config.cluster.as_deref(), Some("main"));
        assert_eq!((&*config.lives["orders"], &*config.lives["clicks"]), ("2", "b"));
    }

    #[tokio::test]
    async fn errors_name_the_variable() {
        for (name, value, expected) in [
            ("FRAZIL_TABLE", "", "FRAZIL_TABLE is not set: expected NAMESPACE.NAME, or FRAZIL_TOPIC_TABLES"),
            ("FRAZIL_TOPIC_LIVES", "orders", "FRAZIL_TOPIC_LIVES=orders: expected TOPIC=NAME"),
            ("FRAZIL_TOPIC_TABLES", "orders", "FRAZIL_TOPIC_TABLES=orders: expected PATTERN="),
            ("FRAZIL_UNWRAP", "a..b", "FRAZIL_UNWRAP=a..b: expected the path of an array"),
            ("FRAZIL_BATCH_ITEM_FAILURES", "1", "FRAZIL_BATCH_ITEM_FAILURES=1: expected true or false"),
        ] {
            let error = read(&[(name, value)]).await.unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}

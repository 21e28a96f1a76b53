//! The msk handler on a warehouse in a folder, for the commands that call it.
//!
//! In: the folders; the variables of msk in the environment. Out: a [`Consumer`]. Refused: what msk refuses.

use lambda::env::Environment;
use msk::config::Config;
use msk::handler::Consumer;

use crate::warehouse::Folders;

/// Variables of the function that count here too.
const VARIABLES: [&str; 10] = [
    "FRAZIL_TOPIC_TABLES",
    "FRAZIL_TABLE_DEFINITION",
    "FRAZIL_KAFKA_CLUSTER",
    "FRAZIL_TOPIC_LIVES",
    "FRAZIL_UNWRAP",
    "FRAZIL_NAN",
    "FRAZIL_DYNAMODB_JSON",
    "FRAZIL_LOG_MESSAGE",
    "FRAZIL_TEXT",
    "FRAZIL_MAX_RECORD_BYTES",
];

/// Opens the handler. `own` are variables too; those of the environment come before them.
///
/// # Errors
/// A variable is wrong; the catalog cannot be opened.
pub(crate) async fn open(folders: &Folders, own: &[(&str, &str)]) -> anyhow::Result<Consumer> {
    let root = &folders.root_uri;
    let places = [
        ("FRAZIL_CATALOG_URI", folders.catalog().display().to_string()),
        ("FRAZIL_WAREHOUSE", format!("{root}/warehouse")),
        ("FRAZIL_ERRORS", format!("{root}/errors")),
    ];
    let places = places.into_iter().map(|(name, value)| (name.to_owned(), value));
    let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let given = VARIABLES.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
    let config = Config::from_env(&places.chain(own).chain(given).collect::<Environment>()).await?;
    Consumer::open(config).await
}

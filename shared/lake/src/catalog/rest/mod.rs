//! A catalog behind the Iceberg REST catalog specification.
//!
//! In: the server's URI, a warehouse's name, a way to sign in. Out: Iceberg's [`Catalog`], by the crate
//! `iceberg-catalog-rest`. Around it: time-outs, tokens that are renewed before they expire, another attempt at what only
//! reads, errors that say what to do, and one storage for all tables. Secrets never reach that crate, whose debug output
//! shows what it was configured with. Refused: URIs with credentials in them, tables without a metadata file.

mod session;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, Runtime, TableCommit, TableCreation,
    TableIdent,
};

use self::session::{Sessions, SignedIn};
use super::config::RestAuth;
use super::unsupported;
use crate::causes::causes;

/// For what only reads.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// What is said of an error: some servers answer with pages.
const LONGEST_TOLD_CHARS: usize = 1000;

#[derive(Debug)]
pub(super) struct RestCatalog {
    sessions: Sessions,
    file_io: FileIO,
}

/// Sends a request that only reads, again if it fails for a reason that may pass.
macro_rules! read {
    ($self:ident, $method:ident ( $($argument:expr),* )) => {{
        let mut attempt = 1;
        loop {
            let session = $self.session().await?;
            let answer = session.$method($($argument),*).await;
            match answer {
                Err(error) if attempt < ATTEMPTS && $self.may_pass(&error) => {
                    $self.forget_after(&error).await;
                    tokio::time::sleep(FIRST_PAUSE * attempt).await;
                    attempt += 1;
                }
                answer => break $self.explained(answer).await,
            }
        }
    }};
}

/// Sends a request that changes something, once.
macro_rules! change {
    ($self:ident, $method:ident ( $($argument:expr),* )) => {{
        let answer = $self.session().await?.$method($($argument),*).await;
        $self.explained(answer).await
    }};
}

impl RestCatalog {
    pub(super) fn new(
        uri: &str,
        warehouse: Option<&str>,
        auth: &RestAuth,
        storage: Arc<dyn StorageFactory>,
    ) -> Result<Self> {
        let file_io = FileIOBuilder::new(storage.clone()).build();
        Ok(Self { sessions: Sessions::new(uri, warehouse, auth, storage)?, file_io })
    }

    /// The catalog, signed in.
    async fn session(&self) -> Result<Arc<SignedIn>> {
        let mut attempt = 1;
        loop {
            match self.sessions.current().await {
                Err(error) if attempt < ATTEMPTS && error.retryable() => {
                    tokio::time::sleep(FIRST_PAUSE * attempt).await;
                    attempt += 1;
                }
                session => return session,
            }
        }
    }

    /// The next request starts with a new token if the server has refused this one.
    async fn forget_after(&self, error: &Error) {
        if was_refused(error) {
            self.sessions.forget().await;
        }
    }

    /// Whether another attempt may succeed. A refusal may be of a token that has just expired.
    fn may_pass(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::Unexpected
            && !["400", "404"].iter().any(|status| has_status(error, status))
            && !is_unreadable(error)
            && (!was_refused(error) || self.sessions.can_renew())
    }

    /// The table on our own storage. The server may send settings of a storage; ours come from the environment.
    fn at_home(&self, table: Table) -> Result<Table> {
        let location = table.metadata_location().ok_or_else(|| {
            let what = format!("the REST catalog names no metadata file of the table {}", table.identifier());
            Error::new(ErrorKind::FeatureUnsupported, what)
        })?;
        Table::builder()
            .identifier(table.identifier().clone())
            .metadata_location(location)
            .metadata(table.metadata_ref())
            .file_io(self.file_io.clone())
            .runtime(Runtime::try_current()?)
            .build()
    }

    /// What failed, with a remedy.
    async fn explained<T>(&self, answer: Result<T>) -> Result<T> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) if error.kind() != ErrorKind::Unexpected => return Err(error),
            Err(error) => error,
        };
        self.forget_after(&error).await;
        let remedy = if has_status(&error, "401") {
            "The credentials are wrong or have expired: see FRAZIL_CATALOG_TOKEN or FRAZIL_CATALOG_CREDENTIAL"
        } else if has_status(&error, "403") {
            "The credentials do not allow this: see the rights of their principal in the catalog"
        } else if has_status(&error, "404") {
            "See FRAZIL_CATALOG_URI (without /v1) and FRAZIL_WAREHOUSE"
        } else {
            "See FRAZIL_CATALOG_URI and the server's log; messages are delivered again"
        };
        let what = format!("the REST catalog {}: {}. {remedy}", self.sessions.uri(), told(&error));
        Err(Error::new(ErrorKind::Unexpected, what))
    }
}

/// Whether the server refuses whoever asks.
fn was_refused(error: &Error) -> bool {
    // 419 is the specification's for a session that has timed out.
    ["401", "403", "419"].iter().any(|status| has_status(error, status))
}

/// Whether an answer came that the library does not understand. It keeps the answer with the error.
fn is_unreadable(error: &Error) -> bool {
    error.message().starts_with("Failed to parse response")
}

/// What is said of `error`, in one line. An answer that is not understood may hold credentials of the storage: only what is
/// wrong with it is said.
fn told(error: &Error) -> String {
    let text = match (std::error::Error::source(error), answer_of(error)) {
        (Some(source), _) if is_unreadable(error) => {
            format!("its answer is not understood: {}", causes(source))
        }
        (_, Some(answer)) => answer,
        _ => causes(error),
    };
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).take(LONGEST_TOLD_CHARS).collect()
}

/// What the server answered, if it did. The library tells it in the error's text alone.
fn answer_of(error: &Error) -> Option<String> {
    let text = error.to_string();
    let (status, rest) = text.split_once("status: ")?.1.split_once(',')?;
    let body = rest.split_once("json: ").map_or("", |(_, body)| body);
    let body = serde_json::Deserializer::from_str(body).into_iter::<serde_json::Value>().next();
    let reason = body.and_then(std::result::Result::ok).map_or(String::new(), |body| session::reason(&body));
    Some(format!("it answers {status}{reason}"))
}

/// The library tells the status of an unexpected answer in the error's text alone.
fn has_status(error: &Error, status: &str) -> bool {
    error.to_string().contains(&format!("status: {status} "))
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        self.at_home(read!(self, load_table(ident))?)
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        read!(self, table_exists(ident))
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        self.at_home(change!(self, update_table(commit))?)
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        self.at_home(change!(self, create_table(namespace, creation))?)
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: String) -> Result<Table> {
        self.at_home(change!(self, register_table(ident, metadata_location))?)
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        change!(self, drop_table(ident))
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        Err(unsupported("delete the files of a table", "a REST catalog"))
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        change!(self, rename_table(from, to))
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        read!(self, list_tables(namespace))
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        read!(self, get_namespace(namespace))
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        read!(self, namespace_exists(namespace))
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        change!(self, create_namespace(namespace, properties))
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        read!(self, list_namespaces(parent))
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        Err(unsupported("change a namespace", "a REST catalog"))
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        Err(unsupported("drop a namespace", "a REST catalog"))
    }
}

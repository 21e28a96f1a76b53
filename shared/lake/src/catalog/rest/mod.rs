//! A catalog behind the Iceberg REST catalog specification.
//!
//! In: the server's URI, a warehouse's name, a way to sign in. Out: Iceberg's [`Catalog`]. A commit is sent as updates and
//! requirements, which the server checks against the table as it is then; it writes the metadata file itself. What only
//! reads is sent again if it fails for a reason that may pass. What changes something is sent once, and once more if the
//! server did not know the token. Refused: URIs with credentials in them, tables without a metadata file.

mod failure;
mod request;
mod session;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use iceberg::io::{FileIO, FileIOBuilder, StorageFactory};
use iceberg::spec::{Schema, SortOrder, TableMetadata, UnboundPartitionSpec};
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, Runtime, TableCommit, TableCreation,
    TableIdent, TableRequirement, TableUpdate,
};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use self::failure::Failure;
use self::request::{Base, Query, json, parse};
use self::session::{ATTEMPTS, FIRST_PAUSE, Sessions};
use super::config::RestAuth;
use super::refs;
use super::refused::unsupported;
use super::swap::{Loaded, Next, NotSwapped, TableCatalog, Version, update};

const CATALOG: &str = "a REST catalog";

#[derive(Debug)]
pub(super) struct RestCatalog {
    sessions: Sessions,
    file_io: FileIO,
}

/// The answer that holds a table. What it says of a storage is not read: ours is configured by the environment.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct TableAnswer {
    metadata_location: Option<String>,
    metadata: TableMetadata,
}

#[derive(Deserialize)]
struct NamespaceAnswer {
    #[serde(default)]
    properties: HashMap<String, String>,
}

/// A page of names.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Page {
    #[serde(default)]
    identifiers: Vec<TableIdent>,
    #[serde(default)]
    namespaces: Vec<NamespaceIdent>,
    next_page_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct NewTable<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    schema: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_spec: Option<UnboundPartitionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_order: Option<SortOrder>,
    properties: HashMap<String, String>,
}

#[derive(Serialize)]
struct Commit<'a> {
    identifier: &'a TableIdent,
    requirements: &'a [TableRequirement],
    updates: &'a [TableUpdate],
}

impl RestCatalog {
    pub(super) fn new(
        uri: &str,
        warehouse: Option<&str>,
        auth: &RestAuth,
        storage: Arc<dyn StorageFactory>,
    ) -> Result<Self> {
        let file_io = FileIOBuilder::new(storage).build();
        Ok(Self { sessions: Sessions::new(uri, warehouse, auth)?, file_io })
    }

    fn uri(&self) -> &str {
        self.sessions.uri()
    }

    /// Sends what only reads, again if it fails for a reason that may pass.
    async fn read(
        &self,
        method: Method,
        path: impl Fn(&Base) -> String,
        query: &Query,
    ) -> std::result::Result<Bytes, Failure> {
        let mut attempt = 1;
        loop {
            let session = self.sessions.current().await?;
            let base = &session.base;
            let failure = match base.send(method.clone(), &path(base), query, None).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let may_pass = self.forgotten_after(&failure).await || failure.may_pass();
            if !may_pass || attempt == ATTEMPTS {
                return Err(failure);
            }
            tokio::time::sleep(FIRST_PAUSE * attempt).await;
            attempt += 1;
        }
    }

    /// Sends what changes something: once. A server that did not know the token has done nothing, and is told a new one.
    async fn change(
        &self,
        method: Method,
        path: impl Fn(&Base) -> String,
        body: Option<Bytes>,
    ) -> std::result::Result<Bytes, Failure> {
        let mut is_first = true;
        loop {
            let session = self.sessions.current().await?;
            let base = &session.base;
            match base.send(method.clone(), &path(base), &Query::new(), body.clone()).await {
                Err(failure) if self.forgotten_after(&failure).await && is_first => is_first = false,
                answer => return answer,
            }
        }
    }

    /// Whether the next request begins with a new token, since the server has refused this one.
    async fn forgotten_after(&self, failure: &Failure) -> bool {
        let is_forgotten = failure.is_about_identity() && self.sessions.can_renew();
        if is_forgotten {
            self.sessions.forget().await;
        }
        is_forgotten
    }

    /// Whether the table is known to have changed since `base` was loaded.
    async fn has_moved(&self, base: &Loaded) -> bool {
        let now = self.load(base.table.identifier()).await;
        now.is_ok_and(|now| now.table.metadata_location() != base.table.metadata_location())
    }

    async fn exists(&self, path: impl Fn(&Base) -> String) -> Result<bool> {
        match self.read(Method::HEAD, path, &Query::new()).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.status() == Some(StatusCode::NOT_FOUND) => Ok(false),
            Err(failure) => Err(failure.error(self.uri())),
        }
    }

    /// All pages of a list of names in `namespace`.
    async fn pages(
        &self,
        path: impl Fn(&Base) -> String,
        query: &Query,
        namespace: Option<&NamespaceIdent>,
    ) -> Result<Vec<Page>> {
        let mut pages: Vec<Page> = Vec::new();
        let mut token = None;
        loop {
            let query: Query = query.iter().cloned().chain(token.map(|token| ("pageToken", token))).collect();
            let answer =
                self.read(Method::GET, &path, &query).await.and_then(|answer| parse::<Page>(&answer));
            let page = answer.map_err(|failure| match namespace {
                Some(namespace) => failure.of_namespace(self.uri(), namespace),
                None => failure.error(self.uri()),
            })?;
            token = page.next_page_token.clone().filter(|token| !token.is_empty());
            pages.push(page);
            if token.is_none() {
                return Ok(pages);
            }
        }
    }

    /// The table of an answer, on our own storage.
    fn table(&self, ident: &TableIdent, answer: &[u8]) -> Result<Table> {
        let answer: TableAnswer = parse(answer).map_err(|failure| failure.error(self.uri()))?;
        let location = answer.metadata_location.ok_or_else(|| {
            let what = format!("the REST catalog names no metadata file of the table {ident}");
            Error::new(ErrorKind::FeatureUnsupported, what)
        })?;
        Table::builder()
            .identifier(ident.clone())
            .metadata_location(location)
            .metadata(answer.metadata)
            .file_io(self.file_io.clone())
            .runtime(Runtime::try_current()?)
            .build()
    }
}

#[async_trait]
impl TableCatalog for RestCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
        let answer = self.read(Method::GET, |base| base.table(ident), &Query::new()).await;
        let table = self.table(ident, &answer.map_err(|failure| failure.of_table(self.uri(), ident))?)?;
        let refs = refs::of_metadata(table.metadata())?;
        Ok(Loaded { table, refs, version: Version::Location })
    }

    /// The server compares the table with the requirements, not with `base`: if they hold, it may have moved on.
    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let identifier = base.table.identifier();
        let commit = Commit { identifier, requirements: &next.requirements, updates: &next.updates };
        let body = json(&commit).map_err(NotSwapped::Refused)?;
        let sent = self.change(Method::POST, |base| base.table(identifier), Some(body)).await;
        let Err(failure) = sent else { return Ok(()) };
        // The requirements may hold and the updates not fit all the same: a commit to another branch uses up a sequence
        // number. What was made for an old base says nothing about the next one.
        if failure.is_about_content() && self.has_moved(base).await {
            return Err(failure.conflict(identifier));
        }
        Err(failure.not_swapped(self.uri(), identifier))
    }

    fn keeps_metadata_files(&self) -> bool {
        true
    }
}

#[async_trait]
impl Catalog for RestCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        Ok(self.load(ident).await?.table)
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        self.exists(|base| base.table(ident)).await
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        update(self, commit).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name);
        let table = NewTable {
            name: ident.name(),
            location: creation.location,
            schema: creation.schema,
            partition_spec: creation.partition_spec,
            write_order: creation.sort_order,
            properties: creation.properties,
        };
        let path = |base: &Base| format!("{}/tables", base.namespace(namespace));
        let created = self.change(Method::POST, path, Some(json(&table)?)).await;
        self.table(&ident, &created.map_err(|failure| failure.not_created(self.uri(), &ident))?)
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: String) -> Result<Table> {
        let table = serde_json::json!({"name": ident.name(), "metadata-location": metadata_location});
        let path = |base: &Base| format!("{}/register", base.namespace(ident.namespace()));
        let created = self.change(Method::POST, path, Some(json(&table)?)).await;
        self.table(ident, &created.map_err(|failure| failure.not_created(self.uri(), ident))?)
    }

    /// Drops the entry. The table's files stay where they are.
    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let dropped = self.change(Method::DELETE, |base| base.table(ident), None).await;
        dropped.map(drop).map_err(|failure| failure.of_table(self.uri(), ident))
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let path = |base: &Base| format!("{}/tables", base.namespace(namespace));
        let pages = self.pages(path, &Query::new(), Some(namespace)).await?;
        Ok(pages.into_iter().flat_map(|page| page.identifiers).collect())
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        let answer = self.read(Method::GET, |base| base.namespace(namespace), &Query::new()).await;
        let answer = answer.and_then(|answer| parse::<NamespaceAnswer>(&answer));
        let answer = answer.map_err(|failure| failure.of_namespace(self.uri(), namespace))?;
        Ok(Namespace::with_properties(namespace.clone(), answer.properties))
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.exists(|base| base.namespace(namespace)).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        let body = serde_json::json!({"namespace": namespace, "properties": properties});
        let path = |_: &Base| "namespaces".to_owned();
        match self.change(Method::POST, path, Some(json(&body)?)).await {
            Ok(_) => Ok(Namespace::with_properties(namespace.clone(), properties)),
            Err(failure) if failure.status() == Some(StatusCode::CONFLICT) => {
                let what = format!("the REST catalog has a namespace {namespace} already");
                Err(Error::new(ErrorKind::NamespaceAlreadyExists, what))
            }
            Err(failure) => Err(failure.error(self.uri())),
        }
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        let query: Query = parent.map(|parent| ("parent", parent.to_url_string())).into_iter().collect();
        let pages = self.pages(|_| "namespaces".to_owned(), &query, parent).await?;
        Ok(pages.into_iter().flat_map(|page| page.namespaces).collect())
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        Err(unsupported("change a namespace", CATALOG))
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        Err(unsupported("drop a namespace", CATALOG))
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        Err(unsupported("delete the files of a table", CATALOG))
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        Err(unsupported("rename a table", CATALOG))
    }
}

//! An S3 table bucket.
//!
//! In: namespaces of one level and tables of the bucket. Out: Iceberg's [`Catalog`]. The service keeps a pointer to the
//! current metadata file, and swaps it for whoever has the token of the version that was read. A table is made in two
//! steps: it exists without a metadata file until someone has written the first one, and counts as missing until then.
//! Refused: what the service does not do, and what is no business of a writer.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_s3tables::Client;
use aws_sdk_s3tables::config::Config;
use aws_sdk_s3tables::operation::get_table::GetTableOutput;
use aws_sdk_s3tables::types::OpenTableFormat;
use iceberg::io::FileIO;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent,
};

use super::aws;
use super::metadata::MetadataFiles;
use super::refused::{database_of, unsupported};
use super::swap::{Loaded, Next, NotSwapped, TableCatalog, Version, update};
use crate::aws::sdk_config;

const CATALOG: &str = "an S3 table bucket";
/// What a role needs. A denial names the action and the resource that are missing.
const ACCESS: &str = "s3tables:GetTable, s3tables:GetTableMetadataLocation, \
                      s3tables:UpdateTableMetadataLocation, s3tables:GetTableData and s3tables:PutTableData (to \
                      create tables also s3tables:GetNamespace, s3tables:CreateNamespace and s3tables:CreateTable) on the table bucket and its tables";

#[derive(Debug)]
pub(super) struct S3TablesCatalog {
    client: Client,
    table_bucket_arn: String,
    files: MetadataFiles,
}

impl S3TablesCatalog {
    pub(super) async fn open(table_bucket_arn: &str, file_io: FileIO) -> Self {
        Self::new(Client::new(sdk_config().await), table_bucket_arn, file_io)
    }

    fn new(client: Client, table_bucket_arn: &str, file_io: FileIO) -> Self {
        Self { client, table_bucket_arn: table_bucket_arn.to_owned(), files: MetadataFiles::new(file_io) }
    }

    /// What the service has of the table `ident`; None if there is no such table.
    async fn entry(&self, ident: &TableIdent) -> Result<Option<GetTableOutput>> {
        let asked = self
            .client
            .get_table()
            .table_bucket_arn(&self.table_bucket_arn)
            .namespace(database_of(ident.namespace(), CATALOG)?)
            .name(ident.name())
            .send()
            .await;
        match asked {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if is_missing(aws::code(&error)) => Ok(None),
            Err(error) => Err(aws::failed(&format!("get the table {ident} of S3 Tables"), ACCESS, error)),
        }
    }

    /// Swaps the pointer of the table to `location`, if it still is of the version `version`.
    async fn point(
        &self,
        ident: &TableIdent,
        version: &str,
        location: String,
    ) -> std::result::Result<(), NotSwapped> {
        let namespace = database_of(ident.namespace(), CATALOG).map_err(NotSwapped::Refused)?;
        let swapped = self
            .client
            .update_table_metadata_location()
            .table_bucket_arn(&self.table_bucket_arn)
            .namespace(namespace)
            .name(ident.name())
            .version_token(version)
            .metadata_location(location)
            .customize()
            .config_override(Config::builder().retry_config(aws::swap_retries()))
            .send()
            .await;
        match swapped {
            Ok(_) => Ok(()),
            Err(error) if is_conflict(aws::code(&error)) => {
                let what = format!("another writer was faster: the table {ident} of S3 Tables has changed");
                Err(NotSwapped::conflict(what))
            }
            Err(error) => {
                let what = format!("update the table {ident} of S3 Tables");
                Err(aws::not_swapped(&what, ACCESS, error))
            }
        }
    }

    async fn create_entry(&self, ident: &TableIdent) -> Result<()> {
        let created = self
            .client
            .create_table()
            .table_bucket_arn(&self.table_bucket_arn)
            .namespace(database_of(ident.namespace(), CATALOG)?)
            .name(ident.name())
            .format(OpenTableFormat::Iceberg)
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            // Someone may have made it and not come to its metadata file.
            Err(error) if is_conflict(aws::code(&error)) => Ok(()),
            Err(error) => Err(aws::failed(&format!("create the table {ident} in S3 Tables"), ACCESS, error)),
        }
    }
}

#[async_trait]
impl TableCatalog for S3TablesCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
        let entry = self.entry(ident).await?;
        let Some((location, version)) =
            entry.and_then(|entry| Some((entry.metadata_location?, entry.version_token)))
        else {
            let what = format!("the table bucket has no table {ident}: create it, or see FRAZIL_TABLE");
            return Err(Error::new(ErrorKind::TableNotFound, what));
        };
        let (table, refs) = self.files.table(ident, &location).await?;
        Ok(Loaded { table, refs, version: Version::S3Tables(version) })
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let ident = base.table.identifier();
        let Version::S3Tables(version) = &base.version else {
            return Err(NotSwapped::not_loaded_here(ident));
        };
        let location = self.files.stage(base, next).await.map_err(NotSwapped::Unknown)?;
        self.point(ident, version, location).await
    }

    /// The service's snapshot management, which is switched off by `history.expire.*` (Amazon S3 User Guide, "Maintenance
    /// for table buckets").
    fn keeps_history(&self) -> bool {
        true
    }
}

#[async_trait]
impl Catalog for S3TablesCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        Ok(self.load(ident).await?.table)
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        Ok(self.entry(ident).await?.is_some_and(|entry| entry.metadata_location.is_some()))
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        update(self, commit).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<Table> {
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        if creation.location.is_some() {
            let what = format!("S3 Tables chooses where the table {ident} lies: leave its location out");
            return Err(Error::new(ErrorKind::DataInvalid, what));
        }
        self.create_entry(&ident).await?;
        let entry = self.entry(&ident).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::TableNotFound,
                format!("the table {ident} of S3 Tables was dropped as it was created"),
            )
        })?;
        if entry.metadata_location.is_some() {
            let what = format!("the table bucket has a table {ident} already");
            return Err(Error::new(ErrorKind::TableAlreadyExists, what));
        }
        creation.location = Some(entry.warehouse_location);
        let table = self.files.create(&ident, creation).await?;
        let location = table.metadata_location_result()?.to_owned();
        self.point(&ident, &entry.version_token, location).await?;
        Ok(table)
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let mut pages = self
            .client
            .list_tables()
            .table_bucket_arn(&self.table_bucket_arn)
            .namespace(database_of(namespace, CATALOG)?)
            .into_paginator()
            .send();
        let mut tables = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| match aws::code(&error) {
                code if is_missing(code) => no_namespace(namespace),
                _ => aws::failed(
                    &format!("list the tables of {namespace} in S3 Tables"),
                    "s3tables:ListTables",
                    error,
                ),
            })?;
            tables
                .extend(page.tables.into_iter().map(|table| TableIdent::new(namespace.clone(), table.name)));
        }
        Ok(tables)
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        let asked = self
            .client
            .get_namespace()
            .table_bucket_arn(&self.table_bucket_arn)
            .namespace(database_of(namespace, CATALOG)?)
            .send()
            .await;
        match asked {
            Ok(_) => Ok(Namespace::new(namespace.clone())),
            Err(error) if is_missing(aws::code(&error)) => Err(no_namespace(namespace)),
            Err(error) => {
                Err(aws::failed(&format!("get the namespace {namespace} of S3 Tables"), ACCESS, error))
            }
        }
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        match self.get_namespace(namespace).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NamespaceNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Creates a namespace. The service keeps no properties of it.
    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        _: HashMap<String, String>,
    ) -> Result<Namespace> {
        let created = self
            .client
            .create_namespace()
            .table_bucket_arn(&self.table_bucket_arn)
            .namespace(database_of(namespace, CATALOG)?)
            .send()
            .await;
        match created {
            Ok(_) => Ok(Namespace::new(namespace.clone())),
            Err(error) if is_conflict(aws::code(&error)) => {
                let what = format!("the table bucket has a namespace {namespace} already");
                Err(Error::new(ErrorKind::NamespaceAlreadyExists, what))
            }
            Err(error) => {
                Err(aws::failed(&format!("create the namespace {namespace} in S3 Tables"), ACCESS, error))
            }
        }
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        if parent.is_some() {
            return Ok(Vec::new());
        }
        let mut pages =
            self.client.list_namespaces().table_bucket_arn(&self.table_bucket_arn).into_paginator().send();
        let mut namespaces = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                aws::failed("list the namespaces of S3 Tables", "s3tables:ListNamespaces", error)
            })?;
            for namespace in page.namespaces {
                namespaces.push(NamespaceIdent::from_vec(namespace.namespace)?);
            }
        }
        Ok(namespaces)
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        Err(unsupported("change a namespace", CATALOG))
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        Err(unsupported("drop a namespace", CATALOG))
    }

    async fn drop_table(&self, _: &TableIdent) -> Result<()> {
        Err(unsupported("drop a table and keep its files", CATALOG))
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        Err(unsupported("delete the files of a table", CATALOG))
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        Err(unsupported("rename a table", CATALOG))
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> Result<Table> {
        Err(unsupported("register a table", CATALOG))
    }
}

fn is_missing(code: Option<&str>) -> bool {
    code == Some("NotFoundException")
}

fn is_conflict(code: Option<&str>) -> bool {
    code == Some("ConflictException")
}

fn no_namespace(namespace: &NamespaceIdent) -> Error {
    let what = format!(
        "the table bucket has no namespace {namespace}: create it, or see FRAZIL_TABLE and FRAZIL_CATALOG_URI"
    );
    Error::new(ErrorKind::NamespaceNotFound, what)
}

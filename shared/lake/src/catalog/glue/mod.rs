//! The AWS Glue Data Catalog.
//!
//! In: databases as namespaces, one level deep, and Glue's tables whose parameter `table_type` is `ICEBERG`. Out: Iceberg's
//! [`Catalog`]. An entry in Glue points to the current metadata file, and is swapped on the condition that it is still
//! the version that was read. Whatever else stands in an entry belongs to others and is kept. Refused: what Glue cannot
//! do atomically (renaming), and what is no business of a writer (dropping databases, purging tables).

mod columns;
mod databases;
mod entry;
mod optimizers;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_glue::Client;
use aws_sdk_glue::config::Config;
use aws_sdk_glue::types::Table as Entry;
use iceberg::io::FileIO;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent,
};

use self::entry::{CATALOG, database, is_missing, lower_case, no_database};
use self::optimizers::Optimizers;
use super::aws;
use super::metadata::MetadataFiles;
use super::refused::unsupported;
use super::swap::{Loaded, Next, NotSwapped, TableCatalog, Version, update};
use crate::aws::sdk_config;

/// What a role needs in Glue. A denial names the action and the resource that are missing.
const ACCESS: &str = "glue:GetTable and glue:UpdateTable (to create tables also glue:GetDatabase, \
                      glue:CreateDatabase and glue:CreateTable) on catalog, database and table; where Lake Formation \
                      is in charge, grant it there too";

#[derive(Debug)]
pub(super) struct GlueCatalog {
    client: Client,
    /// The account whose catalog it is; the caller's own if None.
    catalog_id: Option<String>,
    warehouse: Option<String>,
    files: MetadataFiles,
    /// None: tables have the upkeep that others give them.
    optimizers: Option<Optimizers>,
}

impl GlueCatalog {
    pub(super) async fn open(catalog_id: Option<String>, warehouse: Option<String>, file_io: FileIO) -> Self {
        Self::new(Client::new(sdk_config().await), catalog_id, warehouse, file_io)
    }

    fn new(client: Client, catalog_id: Option<String>, warehouse: Option<String>, file_io: FileIO) -> Self {
        Self { client, catalog_id, warehouse, files: MetadataFiles::new(file_io), optimizers: None }
    }

    /// The same, attaching table optimizers that run with the role `role_arn`.
    pub(super) fn with_optimizers(self, role_arn: Option<String>) -> Self {
        Self { optimizers: role_arn.map(Optimizers::new), ..self }
    }

    async fn attach_optimizers(&self, ident: &TableIdent) {
        if let Some(optimizers) = &self.optimizers {
            optimizers.attach(&self.client, self.catalog_id.as_deref(), ident).await;
        }
    }

    /// Glue's entry of the table `ident`; None if there is no such entry, or no such database.
    async fn entry(&self, ident: &TableIdent) -> Result<Option<Entry>> {
        let asked = self
            .client
            .get_table()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database(ident.namespace())?)
            .name(lower_case(ident.name())?)
            .send()
            .await;
        match asked {
            Ok(answer) => Ok(answer.table),
            Err(error) if is_missing(aws::code(&error)) => Ok(None),
            Err(error) => Err(aws::failed(&format!("get the table {ident} from Glue"), ACCESS, error)),
        }
    }

    async fn existing(&self, ident: &TableIdent) -> Result<Entry> {
        self.entry(ident).await?.ok_or_else(|| {
            Error::new(
                ErrorKind::TableNotFound,
                format!("Glue has no table {ident}: create it, or see FRAZIL_TABLE"),
            )
        })
    }

    async fn create_entry(&self, table: &Table) -> Result<()> {
        let ident = table.identifier();
        let created = self
            .client
            .create_table()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database(ident.namespace())?)
            .table_input(entry::first(table)?)
            .send()
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(error) if aws::code(&error) == Some("AlreadyExistsException") => {
                Err(Error::new(ErrorKind::TableAlreadyExists, format!("Glue has a table {ident} already")))
            }
            Err(error) if is_missing(aws::code(&error)) => Err(no_database(ident.namespace())),
            Err(error) => Err(aws::failed(&format!("create the table {ident} in Glue"), ACCESS, error)),
        }
    }
}

#[async_trait]
impl TableCatalog for GlueCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
        let entry = self.existing(ident).await?;
        let (table, refs) = self.files.table(ident, entry::metadata_location(&entry, ident)?).await?;
        self.attach_optimizers(ident).await;
        Ok(Loaded { table, refs, version: Version::Glue(Box::new(entry)) })
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let ident = base.table.identifier();
        let Version::Glue(entry) = &base.version else { return Err(NotSwapped::not_loaded_here(ident)) };
        let version = entry.version_id.clone().ok_or_else(|| {
            let what = format!(
                "Glue tells no version of the table {ident}, so that commits could overwrite each other"
            );
            NotSwapped::Refused(Error::new(ErrorKind::FeatureUnsupported, what))
        })?;
        let database = database(ident.namespace()).map_err(NotSwapped::Refused)?;
        let location = self.files.stage(base, next).await.map_err(NotSwapped::Unknown)?;
        let after = entry::after(Entry::clone(entry), ident, &next.metadata, location);
        let swapped = self
            .client
            .update_table()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database)
            .table_input(after.map_err(NotSwapped::Refused)?)
            .version_id(version)
            .skip_archive(true)
            .customize()
            .config_override(Config::builder().retry_config(aws::swap_retries()))
            .send()
            .await;
        match swapped {
            Ok(_) => Ok(()),
            Err(error) if aws::code(&error) == Some("ConcurrentModificationException") => {
                Err(NotSwapped::conflict(format!(
                    "another writer was faster: the entry of the table {ident} in Glue has changed"
                )))
            }
            Err(error) => {
                let what = format!("update the table {ident} in Glue");
                Err(aws::not_swapped(&what, ACCESS, error))
            }
        }
    }
}

#[async_trait]
impl Catalog for GlueCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        Ok(self.load(ident).await?.table)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        update(self, commit).await
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        Ok(self.entry(ident).await?.is_some())
    }

    async fn create_table(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<Table> {
        lower_case(&creation.name)?;
        if creation.location.is_none() {
            creation.location = Some(self.default_location(namespace, &creation.name).await?);
        }
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let table = self.files.create(&ident, creation).await?;
        self.create_entry(&table).await?;
        // Before the first data file: orphan deletion never touches what is older than its optimizer.
        self.attach_optimizers(&ident).await;
        Ok(table)
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: String) -> Result<Table> {
        lower_case(ident.name())?;
        let (table, _) = self.files.table(ident, &metadata_location).await?;
        self.create_entry(&table).await?;
        Ok(table)
    }

    /// Drops the entry. The table's files stay where they are.
    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        let dropped = self
            .client
            .delete_table()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database(ident.namespace())?)
            .name(lower_case(ident.name())?)
            .send()
            .await;
        match dropped {
            Ok(_) => Ok(()),
            Err(error) if is_missing(aws::code(&error)) => {
                Err(Error::new(ErrorKind::TableNotFound, format!("Glue has no table {ident}")))
            }
            Err(error) => {
                Err(aws::failed(&format!("delete the table {ident} in Glue"), "glue:DeleteTable", error))
            }
        }
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        let mut pages = self
            .client
            .get_tables()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database(namespace)?)
            .into_paginator()
            .send();
        let mut tables = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| match aws::code(&error) {
                code if is_missing(code) => no_database(namespace),
                _ => aws::failed(&format!("list the tables of {namespace} in Glue"), "glue:GetTables", error),
            })?;
            let iceberg = page.table_list.unwrap_or_default().into_iter().filter(entry::is_iceberg);
            tables.extend(iceberg.map(|entry| TableIdent::new(namespace.clone(), entry.name)));
        }
        Ok(tables)
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.database(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        match self.database(namespace).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NamespaceNotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.create_database(namespace, properties).await
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        // They have one level.
        if parent.is_some() { Ok(Vec::new()) } else { self.databases().await }
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        Err(unsupported("change a database", CATALOG))
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        Err(unsupported("drop a database", CATALOG))
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        Err(unsupported("delete the files of a table", CATALOG))
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        Err(unsupported("rename a table", CATALOG))
    }
}

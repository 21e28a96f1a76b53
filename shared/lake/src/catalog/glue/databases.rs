//! Glue's databases, which are the namespaces of the catalog: they have one level and names in lower case.

use std::collections::HashMap;

use aws_sdk_glue::types::DatabaseInput;
use iceberg::{Error, ErrorKind, Namespace, NamespaceIdent, Result};

use super::super::aws;
use super::entry::{database, is_missing, no_database};
use super::{ACCESS, GlueCatalog};

/// Properties of a namespace that Glue has a place for.
const LOCATION: &str = "location";
const COMMENT: &str = "comment";

impl GlueCatalog {
    /// The database `namespace`.
    pub(super) async fn database(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        let asked = self
            .client
            .get_database()
            .set_catalog_id(self.catalog_id.clone())
            .name(database(namespace)?)
            .send()
            .await;
        let database = match asked {
            Ok(answer) => answer.database.ok_or_else(|| no_database(namespace))?,
            Err(error) if is_missing(aws::code(&error)) => return Err(no_database(namespace)),
            Err(error) => {
                return Err(aws::failed(&format!("get the database {namespace} from Glue"), ACCESS, error));
            }
        };
        let mut properties = database.parameters.unwrap_or_default();
        properties.extend(database.location_uri.map(|location| (LOCATION.to_owned(), location)));
        properties.extend(database.description.map(|comment| (COMMENT.to_owned(), comment)));
        Ok(Namespace::with_properties(namespace.clone(), properties))
    }

    pub(super) async fn create_database(
        &self,
        namespace: &NamespaceIdent,
        mut properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        let created = Namespace::with_properties(namespace.clone(), properties.clone());
        let what = format!("create the database {namespace} in Glue");
        let input = DatabaseInput::builder()
            .name(database(namespace)?)
            .set_location_uri(properties.remove(LOCATION))
            .set_description(properties.remove(COMMENT))
            .set_parameters(Some(properties))
            .build()
            .map_err(|error| Error::new(ErrorKind::DataInvalid, format!("cannot {what}: {error}")))?;
        let answer = self
            .client
            .create_database()
            .set_catalog_id(self.catalog_id.clone())
            .database_input(input)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(created),
            Err(error) if aws::code(&error) == Some("AlreadyExistsException") => {
                let what = format!("Glue has a database {namespace} already");
                Err(Error::new(ErrorKind::NamespaceAlreadyExists, what))
            }
            Err(error) => Err(aws::failed(&what, ACCESS, error)),
        }
    }

    pub(super) async fn databases(&self) -> Result<Vec<NamespaceIdent>> {
        let mut pages =
            self.client.get_databases().set_catalog_id(self.catalog_id.clone()).into_paginator().send();
        let mut namespaces = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| aws::failed("list the databases of Glue", "glue:GetDatabases", error))?;
            namespaces
                .extend(page.database_list.into_iter().map(|database| NamespaceIdent::new(database.name)));
        }
        Ok(namespaces)
    }

    /// Where a table lies if nothing else is said: under its database, or as Iceberg's Java library has it.
    pub(super) async fn default_location(&self, namespace: &NamespaceIdent, name: &str) -> Result<String> {
        let database = self.database(namespace).await?;
        if let Some(location) = database.properties().get(LOCATION).filter(|location| !location.is_empty()) {
            return Ok(format!("{}/{name}", location.trim_end_matches('/')));
        }
        let warehouse = self.warehouse.as_deref().ok_or_else(|| {
            let what = format!(
                "no place for new tables: set FRAZIL_WAREHOUSE, or the location of the database {namespace}"
            );
            Error::new(ErrorKind::DataInvalid, what)
        })?;
        Ok(format!("{}/{namespace}.db/{name}", warehouse.trim_end_matches('/')))
    }
}

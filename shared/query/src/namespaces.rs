//! The names of tables.
//!
//! In: the names in a query: `NAMESPACE.TABLE`, with `$files` and the like behind it for the table's own metadata, and with
//! `@SNAPSHOT` behind that, which [`crate::versions`] puts there. Out: providers. A table is loaded once for a query, so that all
//! of it sees one state.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use iceberg::table::Table;
use iceberg::{NamespaceIdent, TableIdent};
use lake::Lake;
use tokio::sync::Mutex;

use crate::external;
use crate::metadata::{self, Kind};
use crate::snapshot::{self, Version};
use crate::table::LakeTable;

/// Between the name of a table and a snapshot of it.
pub(crate) const AT: char = '@';

/// The tables of a lake, each as it was when it was first asked for.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    lake: Lake,
    loaded: Arc<Mutex<HashMap<TableIdent, Table>>>,
}

impl Tables {
    pub(crate) fn new(lake: Lake) -> Self {
        Self { lake, loaded: Arc::default() }
    }

    /// Gives `table` whenever it is asked for, as it is.
    pub(crate) async fn hold(&self, table: Table) {
        self.loaded.lock().await.insert(table.identifier().clone(), table);
    }

    /// The table `name` in `namespace`, None if there is none.
    pub(crate) async fn load(&self, namespace: &str, name: &str) -> Result<Option<Table>> {
        let namespace = NamespaceIdent::from_strs(namespace.split('.')).map_err(external)?;
        let ident = TableIdent::new(namespace, name.to_owned());
        let mut loaded = self.loaded.lock().await;
        if let Some(table) = loaded.get(&ident) {
            return Ok(Some(table.clone()));
        }
        let table = self.lake.table(&ident).await.map_err(external)?;
        if let Some(table) = &table {
            loaded.insert(ident, table.clone());
        }
        Ok(table)
    }
}

impl CatalogProvider for Tables {
    fn schema_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Namespace { tables: self.clone(), name: name.to_owned() }))
    }
}

#[derive(Debug)]
struct Namespace {
    tables: Tables,
    name: String,
}

#[async_trait]
impl SchemaProvider for Namespace {
    fn table_names(&self) -> Vec<String> {
        Vec::new()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let (name, at) = match name.rsplit_once(AT).map(|(name, id)| (name, id.parse())) {
            Some((name, Ok(id))) => (name, Some(id)),
            _ => (name, None),
        };
        let (name, kind) = match Kind::split(name) {
            Some((name, kind)) => (name, Some(kind)),
            None => (name, None),
        };
        let Some(table) = self.tables.load(&self.name, name).await? else { return Ok(None) };
        let find = |id| snapshot::find(table.metadata(), name, &Version::Snapshot(id)).cloned();
        let snapshot = at.map(find).transpose()?;
        Ok(Some(match kind {
            None => Arc::new(LakeTable::new(table, snapshot)?),
            Some(kind) => metadata::provider(table, kind, snapshot)?,
        }))
    }

    fn table_exist(&self, _name: &str) -> bool {
        // Only asked before a table is registered, which is not done here.
        false
    }
}

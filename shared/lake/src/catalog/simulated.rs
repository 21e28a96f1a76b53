//! A catalog in memory, as one writer of a simulation meets it: a pointer that is swapped, and metadata files beside it, as
//! the catalogs that keep no more than that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use iceberg::spec::TableMetadataBuilder;
use iceberg::table::Table;
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent,
    TableUpdate,
};

use super::metadata::MetadataFiles;
use super::refs;
use super::swap::{Loaded, Next, NotSwapped, TableCatalog, Version, update};
use crate::error::Kind;
use crate::simulation::lies::{Lie, Memory, edited};
use crate::simulation::model::{By, Pointer};
use crate::simulation::storage::file_io;
use crate::simulation::world::{Act, Hand, planned};

/// Where a table lies.
pub(crate) const WAREHOUSE: &str = "memory://warehouse";
/// A swap that takes effect later does so within this time.
pub(crate) const LATE_MS: u64 = 3_000;

#[derive(Debug)]
pub(crate) struct SimulatedCatalog {
    hand: Hand,
    files: MetadataFiles,
    /// How far ahead the writer's clock is.
    ahead_ms: i64,
    lie: Option<Lie>,
    memory: Mutex<Memory>,
}

impl SimulatedCatalog {
    pub(crate) fn new(hand: &Hand, ahead_ms: i64, lie: Option<Lie>) -> Self {
        let files = MetadataFiles::new(file_io(hand, lie));
        Self { hand: hand.clone(), files, ahead_ms, lie, memory: Mutex::default() }
    }

    /// Puts `next` in the place of `base`, by whomever.
    pub(crate) async fn swap_by(
        &self,
        base: &Loaded,
        next: &Next,
        by: By,
    ) -> std::result::Result<(), NotSwapped> {
        let before = base.table.metadata_location().map(str::to_owned);
        let location = self.files.stage(base, next).await.map_err(NotSwapped::Unknown)?;
        let pointer = Pointer { location, metadata: Arc::new(next.metadata.clone()) };
        let conflict = || NotSwapped::conflict("another writer was faster");
        let world = self.hand.world.clone();
        let swap = move || world.model().swap(before.as_deref(), pointer, by);
        let act = self.hand.begin("swap", "").await;
        let dice = self.hand.dice("how a swap goes wrong");
        if act == Act::Pass && dice % 1000 < self.hand.faults().swaps {
            match dice / 1000 % 4 {
                0 => return Err(conflict()),
                // A request that was repeated has met its own success.
                1 => {
                    swap();
                    return Err(conflict());
                }
                // It was on its way when its connection broke.
                2 => {
                    let hand = self.hand.clone();
                    tokio::spawn(async move {
                        hand.wait(dice % LATE_MS).await;
                        swap();
                    });
                    return Err(NotSwapped::Unknown(planned("swap later")));
                }
                // The database lost what it said it had.
                _ => return Ok(()),
            }
        }
        match act {
            Act::FailBefore => Err(NotSwapped::Unknown(planned("swap"))),
            Act::DieBefore => self.hand.die().await,
            Act::Hang => std::future::pending().await,
            act => match (swap(), act) {
                (_, Act::DieAfter) => self.hand.die().await,
                (_, Act::FailAfter) => Err(NotSwapped::Unknown(planned("the answer to a swap"))),
                (true, _) => Ok(()),
                (false, _) => Err(conflict()),
            },
        }
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

#[async_trait]
impl TableCatalog for SimulatedCatalog {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
        let pretended = self.memory().pretended.take();
        let pointer = match pretended {
            Some(pretended) => Some(pretended),
            None => self.hand.step("load", "", |world| Ok(world.model().pointer.clone())).await?,
        };
        let Some(pointer) = pointer else {
            return Err(Error::new(ErrorKind::TableNotFound, format!("no table {ident}")));
        };
        let (table, refs) = self.files.table(ident, &pointer.location).await?;
        let Some(lie) = self.lie else { return Ok(Loaded { table, refs, version: Version::Location }) };
        let table = lie.loaded(table, &self.hand.world);
        let refs = refs::of_metadata(table.metadata())?;
        Ok(Loaded { table, refs, version: Version::Location })
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let alters = next.updates.iter().any(|update| matches!(update, TableUpdate::AddSchema { .. }));
        if alters && self.hand.faults().is_denied_schema {
            return Err(NotSwapped::Refused(Kind::Denied.error("planned: this role may not alter")));
        }
        let by = By::Append { now_ms: self.hand.world.now_ms() + self.ahead_ms };
        let Some(lie) = self.lie else { return self.swap_by(base, next, by).await };
        let next = lie.next(base, next, &self.hand.world, &mut self.memory());
        if lie == Lie::AnswerEarly && self.hand.dice("answer early").is_multiple_of(4) {
            let location = self.files.stage(base, &next).await.map_err(NotSwapped::Unknown)?;
            self.memory().pretended = Some(Pointer { location, metadata: Arc::new(next.metadata) });
            return Ok(());
        }
        self.swap_by(base, &next, by).await
    }
}

#[async_trait]
impl Catalog for SimulatedCatalog {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        Ok(self.load(ident).await?.table)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        update(self, commit).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, mut creation: TableCreation) -> Result<Table> {
        creation.location.get_or_insert_with(|| format!("{WAREHOUSE}/{}", creation.name));
        let ident = TableIdent::new(namespace.clone(), creation.name.clone());
        let built = TableMetadataBuilder::from_table_creation(creation)?.build()?.metadata;
        // The library's own clock is not the simulation's.
        let now_ms = self.hand.world.now_ms();
        let metadata = Arc::new(edited(&built, |json| json["last-updated-ms"] = now_ms.into()));
        let location = self.files.write(&metadata, None, std::iter::empty()).await?;
        let table = self.files.built(&ident, &location, metadata)?;
        let (location, metadata) = (table.metadata_location_result()?.to_owned(), table.metadata_ref());
        let by = By::Other { added: Vec::new(), deleted: Vec::new() };
        let create = |world: &crate::simulation::world::World| {
            let pointer = Pointer { location, metadata };
            match world.model().swap(None, pointer, by) {
                true => Ok(()),
                false => Err(Error::new(ErrorKind::TableAlreadyExists, "the table is there")),
            }
        };
        self.hand.step("create", "", create).await?;
        Ok(table)
    }

    async fn namespace_exists(&self, _: &NamespaceIdent) -> Result<bool> {
        self.hand.step("namespace", "", |_| Ok(true)).await
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> Result<Table> {
        unreachable!("no append registers a table")
    }

    async fn table_exists(&self, _: &TableIdent) -> Result<bool> {
        unreachable!("an append loads its table")
    }

    async fn drop_table(&self, _: &TableIdent) -> Result<()> {
        unreachable!("no append drops a table")
    }

    async fn purge_table(&self, _: &TableIdent) -> Result<()> {
        unreachable!("no append purges a table")
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
        unreachable!("no append renames a table")
    }

    async fn list_tables(&self, _: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        unreachable!("no append lists tables")
    }

    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        unreachable!("no append lists namespaces")
    }

    async fn create_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<Namespace> {
        unreachable!("every namespace is there")
    }

    async fn get_namespace(&self, _: &NamespaceIdent) -> Result<Namespace> {
        unreachable!("no append asks for a namespace")
    }

    async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
        unreachable!("no append changes a namespace")
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
        unreachable!("no append drops a namespace")
    }
}

//! Glue's table optimizers: compaction, snapshot retention and orphan-file deletion of a table.
//!
//! In: a table that exists, and the role that Glue runs the optimizers with. Out: the optimizers that the table lacked;
//! those that it has keep their configuration. Refused: nothing. A table without optimizers takes rows as well as one with
//! them, so a failure is logged once with its remedy, and the next process that meets the table tries again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_glue::Client;
use aws_sdk_glue::types::builders::TableOptimizerConfigurationBuilder;
use aws_sdk_glue::types::{
    CompactionConfiguration, IcebergCompactionConfiguration, IcebergOrphanFileDeletionConfiguration,
    IcebergRetentionConfiguration, OrphanFileDeletionConfiguration, RetentionConfiguration,
    TableOptimizerConfiguration, TableOptimizerType,
};
use futures::future::join_all;
use iceberg::{Error, ErrorKind, Result, TableIdent};

use super::super::aws;
use super::entry::database;

/// A partition is compacted from this many small files on. Glue's own default of 100 is never reached by partitions of an
/// hour that get a file a minute.
const MIN_INPUT_FILES: i32 = 5;
/// Longer than a message stays in a queue or a dead-letter queue (14 days at most): its token is then still in a snapshot.
const SNAPSHOT_DAYS: i32 = 15;
const SNAPSHOTS_KEPT: i32 = 1;
/// Longer than from a file's first byte to the commit that refers to it: at most an invocation, 15 minutes.
const ORPHAN_DAYS: i32 = 3;
/// The data does not wait longer than this for Glue to take the optimizers.
const TIME: Duration = Duration::from_secs(5);

/// Attaches optimizers to the tables that this process meets.
#[derive(Debug)]
pub(super) struct Optimizers {
    role_arn: String,
    /// The tables that were asked for, whether it succeeded or not: once for each process.
    asked: Mutex<HashSet<TableIdent>>,
    time: Duration,
}

impl Optimizers {
    pub(super) fn new(role_arn: String) -> Self {
        Self { role_arn, asked: Mutex::default(), time: TIME }
    }

    #[cfg(test)]
    pub(super) fn within(self, time: Duration) -> Self {
        Self { time, ..self }
    }

    /// Attaches the optimizers that the table `ident` lacks, if this process has not tried before.
    pub(super) async fn attach(&self, client: &Client, catalog_id: Option<&str>, ident: &TableIdent) {
        if !self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(ident.clone()) {
            return;
        }
        if let Err(error) = self.attach_all(client, catalog_id, ident).await {
            tracing::warn!(
                table = %ident,
                error = error.message(),
                "the table lacks optimizers: its small files, old snapshots and orphaned files stay. Rows are appended \
                 all the same; the next start of the function tries again"
            );
        }
    }

    pub(super) async fn attach_all(
        &self,
        client: &Client,
        catalog_id: Option<&str>,
        ident: &TableIdent,
    ) -> Result<()> {
        // Glue wants the account named here, unlike in its other operations. The role belongs to the same account.
        let account = catalog_id.or_else(|| self.role_arn.split(':').nth(4)).map(str::to_owned);
        let attached = configurations(&self.role_arn).into_iter().map(|(kind, configuration)| {
            self.attach_one(client, account.clone(), ident, kind, configuration)
        });
        match tokio::time::timeout(self.time, join_all(attached)).await {
            Ok(attached) => attached.into_iter().collect(),
            Err(_) => {
                let what = format!("Glue did not answer within {} s", self.time.as_secs_f32());
                Err(Error::new(ErrorKind::Unexpected, what))
            }
        }
    }

    async fn attach_one(
        &self,
        client: &Client,
        account: Option<String>,
        ident: &TableIdent,
        kind: TableOptimizerType,
        configuration: TableOptimizerConfiguration,
    ) -> Result<()> {
        let name = kind.as_str().to_owned();
        let created = client
            .create_table_optimizer()
            .set_catalog_id(account)
            .database_name(database(ident.namespace())?)
            .table_name(ident.name())
            .r#type(kind)
            .table_optimizer_configuration(configuration)
            .send()
            .await;
        match created {
            Ok(_) => {
                tracing::info!(table = %ident, optimizer = name, "attached a table optimizer");
                Ok(())
            }
            Err(error) if aws::code(&error) == Some("AlreadyExistsException") => Ok(()),
            Err(error) => {
                let role = &self.role_arn;
                let access = format!(
                    "glue:CreateTableOptimizer on catalog, database and table, and iam:PassRole on {role}; or unset \
                     FRAZIL_GLUE_OPTIMIZER_ROLE"
                );
                Err(aws::failed(&format!("attach the optimizer {name} to the table {ident}"), &access, error))
            }
        }
    }
}

fn configurations(role_arn: &str) -> [(TableOptimizerType, TableOptimizerConfiguration); 3] {
    let compaction = IcebergCompactionConfiguration::builder().min_input_files(MIN_INPUT_FILES).build();
    let retention = IcebergRetentionConfiguration::builder()
        .snapshot_retention_period_in_days(SNAPSHOT_DAYS)
        .number_of_snapshots_to_retain(SNAPSHOTS_KEPT)
        .clean_expired_files(true)
        .build();
    let orphans = IcebergOrphanFileDeletionConfiguration::builder()
        .orphan_file_retention_period_in_days(ORPHAN_DAYS)
        .build();
    let enabled = || TableOptimizerConfiguration::builder().role_arn(role_arn).enabled(true);
    let of = TableOptimizerConfigurationBuilder::build;
    [
        (
            TableOptimizerType::Compaction,
            of(enabled().compaction_configuration(
                CompactionConfiguration::builder().iceberg_configuration(compaction).build(),
            )),
        ),
        (
            TableOptimizerType::Retention,
            of(enabled().retention_configuration(
                RetentionConfiguration::builder().iceberg_configuration(retention).build(),
            )),
        ),
        (
            TableOptimizerType::OrphanFileDeletion,
            of(enabled().orphan_file_deletion_configuration(
                OrphanFileDeletionConfiguration::builder().iceberg_configuration(orphans).build(),
            )),
        ),
    ]
}

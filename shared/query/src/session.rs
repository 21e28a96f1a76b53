//! A query, run.
//!
//! In: a lake, limits and the text of a query. Out: a stream of its rows. Refused: more than one statement, and what
//! [`crate::checked`] refuses.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::common::{Result, plan_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::DFParserBuilder;
use lake::Lake;

use crate::checked::check;
use crate::count_if;
use crate::names;
use crate::namespaces::Tables;
use crate::versions::{Resolved, resolve};

const CATALOG: &str = "lake";
/// Largest consumers of memory that an error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);

/// What a query may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes that sorts, joins, groups and open files hold together. What can be written to a temporary file is.
    pub memory_bytes: usize,
    /// Files that are read, and groups that are computed, at the same time.
    pub parallel: usize,
}

/// One query on a lake. Each table is at one state for all of it.
pub struct Session {
    pub(crate) context: SessionContext,
    pub(crate) tables: Tables,
    namespace: String,
}

impl Session {
    /// A session on `lake`, in which names without a namespace are in `namespace`.
    ///
    /// # Errors
    /// There is no folder for temporary files.
    pub fn new(lake: Lake, namespace: &str, limits: Limits) -> Result<Self> {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, namespace)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(false)
            .with_target_partitions(limits.parallel.max(1));
        // CURRENT_TIMESTAMP has a time zone, as in the tables.
        config.options_mut().execution.time_zone = Some("+00:00".to_owned());
        let pool = TrackConsumersPool::new(FairSpillPool::new(limits.memory_bytes), NAMED_CONSUMERS);
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).build_arc()?;
        let context = SessionContext::new_with_config_rt(config, runtime);
        context.register_udaf(count_if::function());
        let tables = Tables::new(lake);
        context.register_catalog(CATALOG, Arc::new(tables.clone()));
        Ok(Self { context, tables, namespace: namespace.to_owned() })
    }

    /// Runs a query.
    ///
    /// # Errors
    /// It is no query, or not understood; its tables are not there; later, in the stream, whatever reading them gives.
    pub async fn run(&self, sql: &str) -> Result<SendableRecordBatchStream> {
        self.run_resolved(self.resolve(sql).await?).await
    }

    /// The text of a query, or of a part of one, whose tables stand for themselves.
    pub(crate) async fn resolve(&self, sql: &str) -> Result<Resolved> {
        resolve(sql, &self.tables, &self.namespace, &self.context).await
    }

    pub(crate) async fn run_resolved(&self, resolved: Resolved) -> Result<SendableRecordBatchStream> {
        let mut statements = DFParserBuilder::new(resolved.tokens).build()?.parse_statements()?;
        let mut statement = match (statements.pop_front(), statements.len()) {
            (Some(statement), 0) => statement,
            (None, _) => return plan_err!("there is no query"),
            (Some(_), more) => return plan_err!("one query is run at a time: {} came", more + 1),
        };
        check(&statement, &resolved.bare_names)?;
        names::resolve(&mut statement, &self.context).await?;
        let plan = self.context.state().statement_to_plan(statement).await?;
        let reads =
            SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        reads.verify_plan(&plan)?;
        self.context.execute_logical_plan(plan).await?.execute_stream().await
    }
}

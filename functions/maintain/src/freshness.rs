//! A table -> how old its newest row is.
//!
//! In: the table's name and the clock. Out: [`Maintained`] with the age, a log line, and the metric that an alarm watches. A
//! table that is not there, or has no rows, has none.

use std::panic::AssertUnwindSafe;

use anyhow::{Context as _, anyhow};
use futures::FutureExt as _;
use iceberg::TableIdent;
use lambda::failure::{ErrorType, PANICKED};

use crate::handler::{Failure, Maintained, Maintainer};

impl Maintainer {
    /// Tells how old the newest row of `table` is. `now_micros` is the clock in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The catalog's or the storage's.
    pub async fn freshness(&self, table: &TableIdent, now_micros: i64) -> Result<Maintained, Failure> {
        let measured = AssertUnwindSafe(self.newest_row_ms(table)).catch_unwind().await;
        let measured = measured.unwrap_or_else(|_| Err(Failure::of(ErrorType::Defect)(anyhow!(PANICKED))));
        let newest_ms = measured.inspect_err(|failure| {
            tracing::error!(%table, error_type = %failure.error_type, error = %failure, "invocation failed");
        })?;
        let now_millis = now_micros / 1000;
        // Another machine's clock may be ahead of this one's.
        let age = newest_ms.map(|newest| now_millis.saturating_sub(newest).max(0) as f64 / 1000.0);
        tracing::info!(%table, data_freshness_seconds = age, "freshness measured");
        if let Some(age) = age {
            self.emitter.emit(now_millis, vec![("DataFreshness", age.into())]);
        }
        Ok(Maintained { data_freshness: age, ..Maintained::default() })
    }

    async fn newest_row_ms(&self, table: &TableIdent) -> Result<Option<i64>, Failure> {
        let found = self.lake.table(table).await.with_context(|| format!("cannot load {table}"));
        let Some(found) = found.map_err(Failure::of(ErrorType::CatalogFailed))? else { return Ok(None) };
        let newest = lake::newest_row_ms(&found).await;
        let newest = newest.with_context(|| format!("cannot tell how fresh {table} is"));
        newest.map_err(Failure::of(ErrorType::StorageFailed))
    }
}

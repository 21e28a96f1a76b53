//! One invocation -> the upkeep of all tables, as far as there is time.
//!
//! In: the clock and the deadline. Out: [`Maintained`]. What delivered objects no table has is looked for first, since it
//! takes little time. Then each table is compacted; what is committed stands if the time is up, and the next invocation goes
//! on. In the end, if so wanted, files go that nothing refers to. A table that fails keeps none of the others waiting, and the invocation fails in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use chrono::DateTime;
use futures::FutureExt as _;
use iceberg::TableIdent;
use lake::audit::ListedTable;
use lake::sweep::NotSwept;
use lake::{CompactOptions, Compacted, Files, Kind, Lake, Layout, Lister, PendingOptions};
use lambda::failure::{ErrorType, PANICKED};
use lambda::metrics::Emitter;
use serde::Serialize;
pub use settings::Failure;

use crate::config::{Compaction, Config, Raw, Tables};
use crate::report::Report;

/// Pending objects that are named in the log.
const NAMED: usize = 100;
const HOUR: Duration = Duration::from_secs(3600);

/// What is kept from one invocation to the next.
#[derive(Debug)]
pub struct Maintainer {
    config: Config,
    pub(crate) lake: Lake,
    lister: Lister,
    pub(crate) emitter: Emitter,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Maintained {
    /// By table, what compaction did. Those that are compacted by their catalog are not among them.
    pub tables: BTreeMap<String, TableReport>,
    /// Delivered objects that no table has; None where they are not looked for.
    pub pending: Option<PendingReport>,
    /// Files that nothing refers to; None where they are not swept.
    pub swept: Option<SweptReport>,
    /// Seconds since the newest row of a table arrived; None where it is not asked for, and of a table without rows.
    pub data_freshness: Option<f64>,
}

/// What was done to a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TableReport {
    /// Data files that were compacted.
    pub files_compacted: u64,
    /// Those that came in their place.
    pub files_made: u64,
    /// Bytes of the files that were compacted.
    pub bytes_compacted: u64,
    /// Bytes of those that came in their place.
    pub bytes_made: u64,
    /// Rows in them.
    pub rows: u64,
    /// Snapshots that were committed.
    pub commits: u64,
    /// Plans that came to nothing.
    pub outdated: u64,
    /// Small files that stay as they are, by reason.
    pub left: BTreeMap<&'static str, u64>,
    /// Whether there is more to do.
    pub is_unfinished: bool,
    /// Why it could not be looked after, if it could not.
    pub error: Option<String>,
}

/// Delivered objects that no table has.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PendingReport {
    /// Objects that were delivered in the last days and should be in a table.
    pub delivered: u64,
    /// Those that are in none.
    pub pending: u64,
    /// How long the oldest of them has waited.
    pub oldest_seconds: Option<u64>,
    /// Some of them, by URI.
    pub named: Vec<String>,
}

/// Files that nothing refers to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SweptReport {
    /// How many there were.
    pub orphans: u64,
    /// Their size in bytes.
    pub orphan_bytes: u64,
    /// How many of them were deleted.
    pub deleted: u64,
    /// Tables that were left alone, and why.
    pub not_swept: BTreeMap<String, String>,
    /// What could not be deleted, and why.
    pub failed: Vec<String>,
}

impl Maintainer {
    /// Opens the catalog.
    ///
    /// # Errors
    /// The catalog cannot be opened.
    pub async fn open(config: Config) -> anyhow::Result<Self> {
        let lake = Lake::open(&config.catalog, &config.s3).await.context("cannot open the catalog")?;
        let lister = Lister::new(&config.s3);
        Ok(Self { config, lake, lister, emitter: Emitter::default() })
    }

    /// The same, telling CloudWatch through `emitter` what it does.
    #[must_use]
    pub fn with_metrics(self, emitter: Emitter) -> Self {
        Self { emitter, ..self }
    }

    /// Looks after the tables. `now_micros` is the clock in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// The first of those that there were. What was done before stands.
    pub async fn handle(&self, now_micros: i64, deadline: Instant) -> Result<Maintained, Failure> {
        let started = Instant::now();
        let mut report = Report::default();
        let work = self.maintain(now_micros, deadline, &mut report);
        let outcome = AssertUnwindSafe(work).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_| Err(Failure::of(ErrorType::Defect)(anyhow!(PANICKED))));
        // Of a catalog in a file, that file alone is what is copied or backed up.
        if let Err(error) = self.config.catalog.checkpoint(Duration::ZERO).await {
            tracing::warn!(error = %error, "the catalog's log stays beside its file");
        }
        report.log(started.elapsed(), outcome.as_ref().err());
        let now_millis = now_micros / 1000 + i64::try_from(started.elapsed().as_millis()).unwrap_or(0);
        self.emitter.emit(now_millis, report.metrics());
        outcome.map(|()| report.done)
    }

    async fn maintain(&self, now_micros: i64, deadline: Instant, report: &mut Report) -> Result<(), Failure> {
        let tables = self.tables().await.map_err(Failure::of(ErrorType::CatalogFailed))?;
        let mut failed = None;
        if let Some(raw) = &self.config.raw {
            match self.pending(raw, &tables, now_micros).await {
                Ok(pending) => report.done.pending = Some(pending),
                Err(error) => failed = Some(failure(error, "cannot look for pending objects".to_owned())),
            }
        }
        if let Some(compaction) = &self.config.compaction {
            for table in &tables {
                match self.compact(table, compaction, deadline).await {
                    Ok(compacted) => report.add(table, &compacted),
                    Err(error) => {
                        report.add_failed(table, &error);
                        // A table that cannot be compacted is as good as one that need not be.
                        if error.kind != Kind::Misconfigured {
                            failed.get_or_insert(failure(error, format!("cannot compact the table {table}")));
                        }
                    }
                }
            }
        }
        if let Some(older_than) = self.config.sweep_after {
            let sweep = tokio::time::timeout_at(deadline.into(), Box::pin(self.sweep(&tables, older_than)));
            match sweep.await {
                Ok(Ok(swept)) => report.done.swept = Some(swept),
                Ok(Err(error)) => {
                    failed.get_or_insert(Failure::of(ErrorType::StorageFailed)(error));
                }
                Err(_) => {
                    tracing::warn!("there was no time to sweep all files; the next invocation begins anew")
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Deletes files of `tables` that nothing refers to and that are older than this.
    async fn sweep(
        &self,
        tables: &BTreeSet<TableIdent>,
        older_than: Duration,
    ) -> anyhow::Result<SweptReport> {
        let config = &self.config;
        // Where objects are delivered is no matter here.
        let layout = Layout::of_bucket("s3://", "s3://", &config.errors);
        let options =
            lake::sweep::Options { older_than, delete: true, foreign: &|_, _| None, progress: &|_| {} };
        let listed = async || {
            let mut listed = Vec::new();
            for ident in tables {
                let table = self.lake.table(ident).await.with_context(|| format!("cannot load {ident}"))?;
                let Some(table) = table else { continue };
                let metadata_location = table.metadata_location_result()?.to_owned();
                listed.push(ListedTable { name: ident.to_string(), metadata_location });
            }
            anyhow::Ok(listed)
        };
        let swept = lake::sweep::sweep(&Files::new(&config.s3), &layout, &options, listed).await?;
        for NotSwept { table, reason } in &swept.not_swept {
            tracing::warn!(table, reason, "not swept");
        }
        for failed in &swept.failed {
            tracing::warn!(failed, "not deleted");
        }
        tracing::info!(
            orphans = swept.orphans.len(),
            orphan_bytes = swept.orphan_bytes,
            deleted = swept.deleted,
            unknown_files = swept.unknown_files,
            "swept"
        );
        Ok(SweptReport {
            orphans: swept.orphans.len() as u64,
            orphan_bytes: swept.orphan_bytes,
            deleted: swept.deleted,
            not_swept: swept.not_swept.into_iter().map(|table| (table.table, table.reason)).collect(),
            failed: swept.failed,
        })
    }

    /// The tables that there are, each once.
    async fn tables(&self) -> anyhow::Result<BTreeSet<TableIdent>> {
        let mut tables = BTreeMap::new();
        for wanted in &self.config.tables {
            match wanted {
                Tables::One(table) => {
                    tables.insert(table.to_string(), table.clone());
                }
                Tables::All(namespace) => {
                    let all = self.lake.catalog().list_tables(namespace).await;
                    let all =
                        all.with_context(|| format!("cannot list the tables of {}", namespace.join(".")))?;
                    tables.extend(all.into_iter().map(|table| (table.to_string(), table)));
                }
            }
        }
        Ok(tables.into_values().collect())
    }

    async fn pending(
        &self,
        raw: &Raw,
        tables: &BTreeSet<TableIdent>,
        now_micros: i64,
    ) -> Result<PendingReport, lake::Error> {
        let now = UNIX_EPOCH + Duration::from_micros(u64::try_from(now_micros).unwrap_or_default());
        let since = now - 24 * HOUR * raw.days;
        let options = PendingOptions {
            tables: tables.iter().cloned().collect(),
            source_root: raw.source_root.clone(),
            prefixes: folders(raw, since, now),
            since,
            until: now - raw.after,
            names: NAMED,
        };
        let found = lake::pending(&self.lake, &self.lister, &options).await?;
        let age = |time: SystemTime| now.duration_since(time).unwrap_or_default().as_secs();
        for file in &found.named {
            tracing::warn!(
                object = file.uri,
                size_bytes = file.size_bytes,
                age_seconds = age(file.modified),
                "delivered, and in no table: announce it again"
            );
        }
        Ok(PendingReport {
            delivered: found.delivered,
            pending: found.pending,
            oldest_seconds: found.oldest.map(age),
            named: found.named.into_iter().map(|file| file.uri).collect(),
        })
    }

    async fn compact(
        &self,
        table: &TableIdent,
        compaction: &Compaction,
        deadline: Instant,
    ) -> Result<Compacted, lake::Error> {
        let options = CompactOptions {
            table: table.clone(),
            errors_uri: self.config.errors.clone(),
            margin: compaction.margin,
            open_files: compaction.open_files,
            target_bytes: compaction.target_bytes,
            max_files: compaction.max_files,
            deadline: deadline.into(),
            limits: compaction.limits,
        };
        Box::pin(lake::compact(&self.lake, &options)).await
    }
}

/// The folders of all hours of a time. Firehose names them by when it began an object, which may be an hour before.
fn folders(raw: &Raw, since: SystemTime, until: SystemTime) -> Vec<String> {
    let mut folders = Vec::new();
    for pattern in &raw.folders {
        let mut time = since - HOUR;
        while time <= until {
            let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let parts = DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX), 0);
            let folder = parts.map_or_else(|| pattern.clone(), |parts| parts.format(pattern).to_string());
            if folders.last() != Some(&folder) {
                folders.push(folder);
            }
            time += HOUR;
        }
    }
    folders
}

fn failure(error: lake::Error, what: String) -> Failure {
    let error_type = match error.part {
        lake::Part::Catalog => ErrorType::CatalogFailed,
        lake::Part::Storage => ErrorType::StorageFailed,
    };
    let error_kind = Some(error.kind);
    Failure { error_type, error_kind, error: anyhow::Error::new(error).context(what) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_of_a_time_are_listed_once() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let raw = |folder: &str| Raw {
            folders: vec![folder.to_owned()],
            source_root: "s3://".to_owned(),
            days: 1,
            after: HOUR,
        };
        let (since, until) = (at(86_400), at(2 * 86_400 + 60));
        let days = folders(&raw("s3://b/raw/%Y/%m/%d"), since, until);
        assert_eq!(days, ["s3://b/raw/1970/01/01", "s3://b/raw/1970/01/02", "s3://b/raw/1970/01/03"]);
        assert_eq!(folders(&raw("s3://b/raw/%Y/%m/%d/%H"), since, until).len(), 26);
        assert_eq!(folders(&raw("s3://b/raw"), since, until), ["s3://b/raw"]);
    }
}

//! Data files and tokens -> one snapshot.
//!
//! In: files that nothing refers to yet, the tokens of the objects they were made of, and the snapshot up to which the
//! table was looked at when they were made. Out: the snapshot that has both, or that the files no longer fit the table.
//! This is the only door to the table.
//!
//! - The tokens stand in the summary of the snapshot that holds the rows: one atomic change.
//! - Before EVERY attempt the tokens are looked for in what the base of that attempt has on top of the snapshot that
//!   was looked at. The library rebases a transaction by itself; [`Pinned`] refuses a base other than the one that was
//!   looked at, and lets no error be retried there.
//! - After ANY error the outcome is unknown: the table is loaded again and the tokens are looked for before another
//!   attempt. After a success too: the table must really hold the snapshot.
//! - Nothing is deleted here.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::DataFile;
use iceberg::table::Table;
use iceberg::transaction::{ApplyTransactionAction as _, Transaction};
use iceberg::{
    Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation, TableIdent,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::failpoint::failpoint;
use crate::job::CommitMetrics;
use crate::token::{self, History, Seen, Token};

/// The first pause between attempts; it doubles up to [`MAX_PAUSE`] and is cut at random.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Attempts that fail for another reason than a conflict.
const MAX_FAILURES: u32 = 5;

/// What became of an append.
#[derive(Debug)]
pub(crate) enum Committed {
    /// The table as it is with the new snapshot, and the snapshot's id.
    Snapshot(Box<Table>, i64),
    /// Nothing was committed. Since the table was looked at, its schema or partition spec has changed, another writer has
    /// committed one of the objects or another version of it, or the snapshot that was looked at has expired or was
    /// rolled back. If `tried`, the files may stand in metadata that was never current, and are left alone.
    Outdated { tried: bool },
}

/// What to append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Append<'a> {
    /// The data files.
    pub(crate) files: &'a [DataFile],
    /// The objects they were made of.
    pub(crate) tokens: &'a [Token],
    /// The table's current snapshot when it was asked which objects and rows it has; None if it had none.
    pub(crate) looked_at: Option<i64>,
    /// Records of the objects that were rejected, in the quarantine files that are named by `id`.
    pub(crate) rejected: u64,
    /// The schema and the partition spec that the files were written by.
    pub(crate) layout: Layout,
    /// Tells this commit from any other.
    pub(crate) id: Uuid,
}

/// The current schema and the default partition spec of a table, by id. Files that were written by others cannot join it:
/// the library refuses another spec, and a row that was rejected for want of a column may fit by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    schema: i32,
    spec: i32,
}

impl Layout {
    pub(crate) fn of(table: &Table) -> Self {
        let metadata = table.metadata();
        Self { schema: metadata.current_schema_id(), spec: metadata.default_partition_spec_id() }
    }
}

/// Commits `append` to the table `ident`, until `deadline`, and counts in `metrics` what it takes.
///
/// # Errors
/// The catalog's or the storage's. The tokens are then not in the table as it was last seen.
pub(crate) async fn commit(
    catalog: &dyn Catalog,
    ident: &TableIdent,
    append: Append<'_>,
    deadline: Instant,
    metrics: &mut CommitMetrics,
) -> Result<Committed> {
    let summary = HashMap::from([
        (token::SUMMARY_KEY.to_owned(), token::listed(append.tokens)),
        (token::COMMIT_KEY.to_owned(), append.id.to_string()),
        (token::REJECTED_KEY.to_owned(), append.rejected.to_string()),
    ]);
    let mut retries = Retries { pause: MIN_PAUSE, failures: 0, deadline };
    let mut tried = false;
    let mut lost = None;
    loop {
        let base = match catalog.load_table(ident).await {
            Ok(base) => base,
            Err(error) => {
                retries.wait(error).await?;
                continue;
            }
        };
        let history = token::history(base.metadata(), append.tokens, append.looked_at);
        if tried && let Some(snapshot) = ours(&base, &history, append.id) {
            return Ok(Committed::Snapshot(Box::new(base), snapshot));
        }
        if !history.complete || !history.seen.is_empty() || Layout::of(&base) != append.layout {
            return Ok(Committed::Outdated { tried });
        }
        if let Some(error) = lost.take() {
            // Others commit during the pause: the next attempt must not start from a base from before it.
            retries.wait(error).await?;
            continue;
        }
        tried = true;
        metrics.attempts += 1;
        if let Err(error) = attempt(catalog, &base, append.files, &summary).await {
            metrics.conflicts += u32::from(is_conflict(&error));
            tracing::info!(%error, "commit attempt failed");
            lost = Some(error);
        } else {
            // The next turn finds the snapshot. If it does not, the catalog has lost it.
            lost =
                Some(Error::new(ErrorKind::Unexpected, "the catalog reported a commit that it did not keep"));
        }
    }
}

/// The snapshot that the commit `id` has made.
fn ours(table: &Table, history: &History, id: Uuid) -> Option<i64> {
    let holding = history.seen.values().filter_map(|seen| match seen {
        Seen::This(snapshot) => Some(*snapshot),
        Seen::Other => None,
    });
    holding.into_iter().find(|snapshot| is_ours(table, *snapshot, id))
}

fn is_ours(table: &Table, snapshot: i64, id: Uuid) -> bool {
    table
        .metadata()
        .snapshot_by_id(snapshot)
        .and_then(|snapshot| snapshot.summary().additional_properties.get(token::COMMIT_KEY))
        .is_some_and(|committed| *committed == id.to_string())
}

async fn attempt(
    catalog: &dyn Catalog,
    base: &Table,
    files: &[DataFile],
    summary: &HashMap<String, String>,
) -> Result<Table> {
    let transaction = Transaction::new(base);
    let append = transaction
        .fast_append()
        // The names of our files are unique; the check would read every manifest of the table.
        .with_check_duplicate(false)
        .set_snapshot_properties(summary.clone())
        .add_data_files(files.iter().cloned());
    append.apply(transaction)?.commit(&Pinned { catalog, base }).await
}

/// When to try again.
struct Retries {
    pause: Duration,
    /// Failures that were no conflict.
    failures: u32,
    deadline: Instant,
}

impl Retries {
    /// Sleeps before the next attempt, or gives `error` back when there is no time for one.
    async fn wait(&mut self, error: Error) -> Result<()> {
        // A conflict is another writer's success: as long as there is time, it is no reason to give up.
        if !is_conflict(&error) {
            self.failures += 1;
        }
        // Half is fixed and half is random, so that writers that met do not meet again.
        let sleep = self.pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        if self.failures >= MAX_FAILURES || Instant::now() + sleep >= self.deadline {
            return Err(error);
        }
        tokio::time::sleep(sleep).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        Ok(())
    }
}

const MOVED: &str = "the table has moved on since its tokens were looked at";

/// Whether another writer was faster.
pub(crate) fn is_conflict(error: &Error) -> bool {
    error.kind() == ErrorKind::CatalogCommitConflicts
        || (error.kind() == ErrorKind::PreconditionFailed && error.message() == MOVED)
}

/// A catalog in which the table cannot change under a transaction: another base is refused, nothing is retried.
#[derive(Debug)]
struct Pinned<'a> {
    catalog: &'a dyn Catalog,
    base: &'a Table,
}

#[async_trait]
impl Catalog for Pinned<'_> {
    async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
        let table = self.catalog.load_table(ident).await.map_err(|error| error.with_retryable(false))?;
        if table.metadata_location() != self.base.metadata_location() {
            return Err(Error::new(ErrorKind::PreconditionFailed, MOVED));
        }
        Ok(table)
    }

    async fn update_table(&self, commit: TableCommit) -> Result<Table> {
        failpoint("before swap")?;
        let table = self.catalog.update_table(commit).await.map_err(|error| error.with_retryable(false))?;
        failpoint("after swap")?;
        Ok(table)
    }

    async fn list_namespaces(&self, parent: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        self.catalog.list_namespaces(parent).await
    }

    async fn create_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<Namespace> {
        self.catalog.create_namespace(namespace, properties).await
    }

    async fn get_namespace(&self, namespace: &NamespaceIdent) -> Result<Namespace> {
        self.catalog.get_namespace(namespace).await
    }

    async fn namespace_exists(&self, namespace: &NamespaceIdent) -> Result<bool> {
        self.catalog.namespace_exists(namespace).await
    }

    async fn update_namespace(
        &self,
        namespace: &NamespaceIdent,
        properties: HashMap<String, String>,
    ) -> Result<()> {
        self.catalog.update_namespace(namespace, properties).await
    }

    async fn drop_namespace(&self, namespace: &NamespaceIdent) -> Result<()> {
        self.catalog.drop_namespace(namespace).await
    }

    async fn list_tables(&self, namespace: &NamespaceIdent) -> Result<Vec<TableIdent>> {
        self.catalog.list_tables(namespace).await
    }

    async fn create_table(&self, namespace: &NamespaceIdent, creation: TableCreation) -> Result<Table> {
        self.catalog.create_table(namespace, creation).await
    }

    async fn drop_table(&self, ident: &TableIdent) -> Result<()> {
        self.catalog.drop_table(ident).await
    }

    async fn purge_table(&self, ident: &TableIdent) -> Result<()> {
        self.catalog.purge_table(ident).await
    }

    async fn table_exists(&self, ident: &TableIdent) -> Result<bool> {
        self.catalog.table_exists(ident).await
    }

    async fn rename_table(&self, from: &TableIdent, to: &TableIdent) -> Result<()> {
        self.catalog.rename_table(from, to).await
    }

    async fn register_table(&self, ident: &TableIdent, metadata_location: String) -> Result<Table> {
        self.catalog.register_table(ident, metadata_location).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use arrow_array::RecordBatch;
    use futures::TryStreamExt as _;
    use iceberg::spec::{NestedField, PrimitiveType, Schema};
    use tempfile::TempDir;

    use super::*;
    use crate::catalog::Lake;
    use crate::decode::RowDecoder;
    use crate::definition::TableDefinition;
    use crate::write::{TableWriter, WriteLimits};

    /// What befalls a call of the catalog.
    #[derive(Clone, Debug)]
    enum Act {
        Pass,
        /// Does nothing and reports this.
        Fail(ErrorKind),
        /// Does it and reports this.
        DoAndFail(ErrorKind),
        /// Does nothing and reports success.
        Lose,
        /// Another writer commits these tokens first.
        Overtake(Vec<Token>),
    }

    /// A catalog of which some calls go wrong: the first ones by plan, all others alike.
    #[derive(Debug)]
    struct Faulty<'a> {
        bench: &'a Bench,
        loads: Mutex<VecDeque<Act>>,
        swaps: Mutex<VecDeque<Act>>,
        other_swaps: Act,
        loaded: Mutex<u32>,
        swapped: Mutex<u32>,
        /// Another writer commits whenever this much time has passed between two calls.
        busy: Option<Duration>,
        last_call: Mutex<Instant>,
    }

    impl<'a> Faulty<'a> {
        fn new(bench: &'a Bench) -> Self {
            Self {
                bench,
                loads: Mutex::default(),
                swaps: Mutex::default(),
                other_swaps: Act::Pass,
                loaded: Mutex::default(),
                swapped: Mutex::default(),
                busy: None,
                last_call: Mutex::new(Instant::now()),
            }
        }

        fn swaps(bench: &'a Bench, acts: impl IntoIterator<Item = Act>) -> Self {
            Self { swaps: Mutex::new(acts.into_iter().collect()), ..Self::new(bench) }
        }

        fn loads(bench: &'a Bench, acts: impl IntoIterator<Item = Act>) -> Self {
            Self { loads: Mutex::new(acts.into_iter().collect()), ..Self::new(bench) }
        }

        fn loaded(&self) -> u32 {
            *self.loaded.lock().unwrap()
        }

        /// How often a swap was tried.
        fn swapped(&self) -> u32 {
            *self.swapped.lock().unwrap()
        }
    }

    fn broken(kind: ErrorKind) -> Error {
        Error::new(kind, "planned").with_retryable(true)
    }

    #[async_trait]
    impl Catalog for Faulty<'_> {
        async fn load_table(&self, ident: &TableIdent) -> Result<Table> {
            *self.loaded.lock().unwrap() += 1;
            let idle = std::mem::replace(&mut *self.last_call.lock().unwrap(), Instant::now()).elapsed();
            let act = self.loads.lock().unwrap().pop_front().unwrap_or(Act::Pass);
            match act {
                Act::Pass if self.busy.is_some_and(|pause| idle >= pause) => {
                    self.bench.overtake(&[token(&format!("{:?}", Instant::now()))]).await;
                }
                Act::Pass => {}
                Act::Overtake(tokens) => self.bench.overtake(&tokens).await,
                Act::Fail(kind) => return Err(broken(kind)),
                act => unreachable!("{act:?} is no plan for a load"),
            }
            let table = self.bench.lake.catalog.load_table(ident).await;
            *self.last_call.lock().unwrap() = Instant::now();
            table
        }

        async fn update_table(&self, commit: TableCommit) -> Result<Table> {
            *self.swapped.lock().unwrap() += 1;
            let catalog = &self.bench.lake.catalog;
            let act = self.swaps.lock().unwrap().pop_front().unwrap_or(self.other_swaps.clone());
            match act {
                Act::Pass => {}
                Act::Overtake(tokens) => self.bench.overtake(&tokens).await,
                Act::Fail(kind) => return Err(broken(kind)),
                Act::DoAndFail(kind) => {
                    catalog.update_table(commit).await?;
                    return Err(broken(kind));
                }
                Act::Lose => return commit.apply(self.bench.table().await),
            }
            catalog.update_table(commit).await
        }

        async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
            unreachable!()
        }

        async fn create_namespace(
            &self,
            _: &NamespaceIdent,
            _: HashMap<String, String>,
        ) -> Result<Namespace> {
            unreachable!()
        }

        async fn get_namespace(&self, _: &NamespaceIdent) -> Result<Namespace> {
            unreachable!()
        }

        async fn namespace_exists(&self, _: &NamespaceIdent) -> Result<bool> {
            unreachable!()
        }

        async fn update_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<()> {
            unreachable!()
        }

        async fn drop_namespace(&self, _: &NamespaceIdent) -> Result<()> {
            unreachable!()
        }

        async fn list_tables(&self, _: &NamespaceIdent) -> Result<Vec<TableIdent>> {
            unreachable!()
        }

        async fn create_table(&self, _: &NamespaceIdent, _: TableCreation) -> Result<Table> {
            unreachable!()
        }

        async fn drop_table(&self, _: &TableIdent) -> Result<()> {
            unreachable!("nothing is deleted by a commit")
        }

        async fn purge_table(&self, _: &TableIdent) -> Result<()> {
            unreachable!("nothing is deleted by a commit")
        }

        async fn table_exists(&self, _: &TableIdent) -> Result<bool> {
            unreachable!()
        }

        async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> Result<()> {
            unreachable!()
        }

        async fn register_table(&self, _: &TableIdent, _: String) -> Result<Table> {
            unreachable!()
        }
    }

    #[derive(Debug)]
    struct Bench {
        _folder: TempDir,
        lake: Lake,
    }

    fn ident() -> TableIdent {
        TableIdent::from_strs(["test", "t"]).unwrap()
    }

    /// Rows of a commit of these tests.
    const ROWS: u64 = 3;

    impl Bench {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let warehouse = format!("file://{}", folder.path().join("warehouse").display());
            let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &warehouse).await.unwrap();
            let column = NestedField::optional(1, "n", PrimitiveType::Long.into());
            let definition = TableDefinition {
                name: "t".to_owned(),
                schema: Schema::builder().with_fields([column.into()]).build().unwrap(),
                partition_spec: None,
                write_order: None,
                properties: HashMap::new(),
            };
            lake.create(&ident(), definition).await.unwrap();
            Self { _folder: folder, lake }
        }

        async fn table(&self) -> Table {
            self.lake.catalog.load_table(&ident()).await.unwrap()
        }

        /// New data files, as a writer leaves them to its commit.
        async fn files(&self) -> Vec<DataFile> {
            let table = self.table().await;
            let limits = WriteLimits {
                buffer_bytes: usize::MAX,
                open_partitions: 1,
                spill_bytes: u64::MAX,
                files: usize::MAX,
            };
            let mut writer = TableWriter::new(&table, limits, Uuid::from_u128(fastrand::u128(..))).unwrap();
            writer.write(&self.batch(table.metadata().current_schema())).await.unwrap();
            writer.close().await.unwrap()
        }

        fn batch(&self, schema: &Schema) -> RecordBatch {
            let mut decoder = RowDecoder::new(schema, "1970-01-01T00:00:00Z").unwrap();
            (0..ROWS).for_each(|n| decoder.push(format!("{{\"n\": {n}}}").as_bytes()).unwrap());
            decoder.finish().unwrap()
        }

        /// Another writer commits `tokens`, without anything in its way.
        async fn overtake(&self, tokens: &[Token]) {
            let id = Uuid::from_u128(fastrand::u128(..));
            let catalog = self.lake.catalog.as_ref();
            let committed =
                commit(catalog, &ident(), append(&self.files().await, tokens, id), in_seconds(10)).await;
            assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
        }

        /// Commits new files with `tokens` through `catalog`.
        async fn commit(&self, catalog: &Faulty<'_>, tokens: &[Token]) -> Result<Committed> {
            let (id, files) = (Uuid::from_u128(fastrand::u128(..)), self.files().await);
            commit(catalog, &ident(), append(&files, tokens, id), in_seconds(10)).await
        }

        /// What the table holds. Every file of every snapshot must be there.
        async fn state(&self) -> State {
            let table = self.table().await;
            let mut current_rows = 0;
            for snapshot in table.metadata().snapshots() {
                let scan = table.scan().snapshot_id(snapshot.snapshot_id()).build().unwrap();
                let files: Vec<_> = scan.plan_files().await.unwrap().try_collect().await.unwrap();
                for file in &files {
                    let exists = table.file_io().exists(&file.data_file_path).await.unwrap();
                    assert!(exists, "{} was deleted under a snapshot", file.data_file_path);
                }
                if Some(snapshot.snapshot_id()) == table.metadata().current_snapshot_id() {
                    current_rows = files.iter().map(|file| file.record_count.unwrap()).sum();
                }
            }
            let summaries = table.metadata().snapshots().map(|snapshot| snapshot.summary());
            let listed =
                summaries.filter_map(|summary| summary.additional_properties.get(token::SUMMARY_KEY));
            let mut tokens: Vec<String> =
                listed.flat_map(|listed| listed.split_whitespace().map(str::to_owned)).collect();
            tokens.sort_unstable();
            State { snapshots: table.metadata().snapshots().len(), rows: current_rows, tokens }
        }

        /// The table holds `commits` commits, and each of `tokens` once.
        async fn holds(&self, commits: usize, tokens: &[Token]) {
            self.holds_rows(commits, ROWS * commits as u64, tokens).await;
        }

        async fn holds_rows(&self, snapshots: usize, rows: u64, tokens: &[Token]) {
            let mut tokens: Vec<String> = tokens.iter().map(Token::to_string).collect();
            tokens.sort_unstable();
            assert_eq!(self.state().await, State { snapshots, rows, tokens });
        }
    }

    #[derive(Debug, PartialEq)]
    struct State {
        snapshots: usize,
        rows: u64,
        tokens: Vec<String>,
    }

    async fn commit(
        catalog: &dyn Catalog,
        ident: &TableIdent,
        append: Append<'_>,
        deadline: Instant,
    ) -> Result<Committed> {
        super::commit(catalog, ident, append, deadline, &mut CommitMetrics::default()).await
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    /// What is planned on the empty table.
    fn append<'a>(files: &'a [DataFile], tokens: &'a [Token], id: Uuid) -> Append<'a> {
        Append { files, tokens, looked_at: None, rejected: 0, layout: Layout::default(), id }
    }

    fn token(key: &str) -> Token {
        Token::new("raw", key, "1")
    }

    /// The outcome is our own snapshot, and it is the current one.
    #[track_caller]
    fn is_snapshot(committed: Result<Committed>) {
        match committed {
            Ok(Committed::Snapshot(table, id)) => {
                assert!(table.metadata().snapshot_by_id(id).is_some());
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn is_outdated(committed: Result<Committed>, tried: bool) {
        match committed {
            Ok(Committed::Outdated { tried: found }) => assert_eq!(found, tried),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn nothing_in_the_way() {
        let bench = Bench::new().await;
        let tokens = [token("a"), token("b")];
        is_snapshot(bench.commit(&Faulty::new(&bench), &tokens).await);
        bench.holds(1, &tokens).await;
        // The same objects once more, and one of them among others.
        is_outdated(bench.commit(&Faulty::new(&bench), &tokens).await, false);
        is_outdated(bench.commit(&Faulty::new(&bench), &[token("c"), token("b")]).await, false);
        bench.holds(1, &tokens).await;
        is_snapshot(bench.commit(&Faulty::new(&bench), &[token("c")]).await);
        bench.holds(2, &[token("a"), token("b"), token("c")]).await;
    }

    #[tokio::test]
    async fn tokens_without_rows_are_committed_too() {
        let bench = Bench::new().await;
        let tokens = [token("all rows rejected")];
        for _ in 0..2 {
            let id = Uuid::from_u128(fastrand::u128(..));
            commit(&Faulty::new(&bench), &ident(), append(&[], &tokens, id), in_seconds(10)).await.unwrap();
            bench.holds_rows(1, 0, &tokens).await;
        }
    }

    #[tokio::test]
    async fn two_versions_of_an_object_are_two_tokens() {
        let bench = Bench::new().await;
        let versions = [Token::new("raw", "a", "1"), Token::new("raw", "a", "2")];
        is_snapshot(bench.commit(&Faulty::new(&bench), &versions).await);
        is_outdated(bench.commit(&Faulty::new(&bench), &versions).await, false);
        for version in versions {
            is_outdated(bench.commit(&Faulty::new(&bench), &[version]).await, false);
        }
        bench.holds(1, &versions).await;
    }

    /// (a), (b): the swap succeeds and its answer is lost or says otherwise.
    #[tokio::test]
    async fn a_commit_that_succeeded_with_an_error_is_not_repeated() {
        for kind in [ErrorKind::Unexpected, ErrorKind::CatalogCommitConflicts, ErrorKind::PreconditionFailed]
        {
            let bench = Bench::new().await;
            let catalog = Faulty::swaps(&bench, [Act::DoAndFail(kind)]);
            is_snapshot(bench.commit(&catalog, &[token("a"), token("b")]).await);
            assert_eq!(catalog.swapped(), 1);
            bench.holds(1, &[token("a"), token("b")]).await;
        }
    }

    #[tokio::test]
    async fn our_own_commit_is_recognised_under_another_writers() {
        let bench = Bench::new().await;
        let catalog = Faulty::swaps(&bench, [Act::DoAndFail(ErrorKind::CatalogCommitConflicts)]);
        // The third load looks for the outcome.
        *catalog.loads.lock().unwrap() = [Act::Pass, Act::Pass, Act::Overtake(vec![token("b")])].into();
        is_snapshot(bench.commit(&catalog, &[token("a")]).await);
        bench.holds(2, &[token("a"), token("b")]).await;
    }

    #[tokio::test]
    async fn the_outcome_is_looked_for_until_the_catalog_answers() {
        let bench = Bench::new().await;
        let catalog = Faulty::swaps(&bench, [Act::DoAndFail(ErrorKind::Unexpected)]);
        let silent = Act::Fail(ErrorKind::Unexpected);
        *catalog.loads.lock().unwrap() = [Act::Pass, Act::Pass, silent.clone(), silent].into();
        is_snapshot(bench.commit(&catalog, &[token("a")]).await);
        assert_eq!(catalog.swapped(), 1);
        bench.holds(1, &[token("a")]).await;
    }

    #[tokio::test]
    async fn a_swap_that_failed_is_tried_again() {
        for kind in [ErrorKind::Unexpected, ErrorKind::CatalogCommitConflicts] {
            let bench = Bench::new().await;
            let catalog = Faulty::swaps(&bench, [Act::Fail(kind), Act::Fail(kind)]);
            is_snapshot(bench.commit(&catalog, &[token("a")]).await);
            assert_eq!(catalog.swapped(), 3);
            bench.holds(1, &[token("a")]).await;
        }
    }

    #[tokio::test]
    async fn attempts_and_conflicts_are_counted() {
        for (kind, conflicts) in [(ErrorKind::Unexpected, 0), (ErrorKind::CatalogCommitConflicts, 2)] {
            let bench = Bench::new().await;
            let catalog = Faulty::swaps(&bench, [Act::Fail(kind), Act::Fail(kind)]);
            let (files, tokens) = (bench.files().await, [token("a")]);
            let append = append(&files, &tokens, Uuid::nil());
            let mut metrics = CommitMetrics::default();
            is_snapshot(super::commit(&catalog, &ident(), append, in_seconds(10), &mut metrics).await);
            assert_eq!((metrics.attempts, metrics.conflicts), (3, conflicts));
        }
    }

    #[tokio::test]
    async fn conflicts_are_no_reason_to_give_up() {
        let bench = Bench::new().await;
        let conflict = Act::Fail(ErrorKind::CatalogCommitConflicts);
        let catalog = Faulty::swaps(&bench, std::iter::repeat_n(conflict, MAX_FAILURES as usize));
        is_snapshot(bench.commit(&catalog, &[token("a")]).await);
        assert_eq!(catalog.swapped(), MAX_FAILURES + 1);
        bench.holds(1, &[token("a")]).await;
    }

    /// The library would try again by itself, by the table's properties and whatever the deadline.
    #[tokio::test]
    async fn every_attempt_begins_with_a_look_at_the_tokens() {
        let bench = Bench::new().await;
        let catalog = Faulty::loads(&bench, [Act::Pass, Act::Fail(ErrorKind::CatalogCommitConflicts)]);
        is_snapshot(bench.commit(&catalog, &[token("a")]).await);
        // Look, fail; look at the outcome, pause; look, attempt; look at the outcome.
        assert_eq!((catalog.loaded(), catalog.swapped()), (6, 1));
        bench.holds(1, &[token("a")]).await;
    }

    /// (c): the catalog reports a success that it did not keep.
    #[tokio::test]
    async fn a_commit_that_was_lost_is_repeated() {
        let bench = Bench::new().await;
        let catalog = Faulty::swaps(&bench, [Act::Lose, Act::Lose]);
        is_snapshot(bench.commit(&catalog, &[token("a")]).await);
        assert_eq!(catalog.swapped(), 3);
        bench.holds(1, &[token("a")]).await;
    }

    #[tokio::test]
    async fn a_catalog_that_keeps_nothing_is_an_error() {
        let bench = Bench::new().await;
        let catalog = Faulty { other_swaps: Act::Lose, ..Faulty::new(&bench) };
        let error = bench.commit(&catalog, &[token("a")]).await.unwrap_err();
        assert_eq!(error.message(), "the catalog reported a commit that it did not keep");
        assert_eq!(catalog.swapped(), MAX_FAILURES);
        bench.holds(0, &[]).await;
    }

    /// (d): another writer commits between the look at the tokens and the library's own load (the second
    /// load), or between that and the swap.
    #[tokio::test]
    async fn another_writers_objects_do_not_stop_ours() {
        for at_swap in [false, true] {
            let bench = Bench::new().await;
            let other = Act::Overtake(vec![token("b")]);
            let catalog = match at_swap {
                false => Faulty::loads(&bench, [Act::Pass, other]),
                true => Faulty::swaps(&bench, [other]),
            };
            is_snapshot(bench.commit(&catalog, &[token("a")]).await);
            bench.holds(2, &[token("a"), token("b")]).await;
        }
    }

    #[tokio::test]
    async fn objects_that_another_writer_commits_meanwhile_are_not_committed_again() {
        let (a, b, c) = (token("a"), token("b"), token("c"));
        for theirs in [vec![a, b], vec![b], vec![c, b], vec![b, a, c]] {
            for at_swap in [false, true] {
                let bench = Bench::new().await;
                let other = Act::Overtake(theirs.clone());
                let catalog = match at_swap {
                    false => Faulty::loads(&bench, [Act::Pass, other]),
                    true => Faulty::swaps(&bench, [other]),
                };
                is_outdated(bench.commit(&catalog, &[a, b]).await, true);
                bench.holds(1, &theirs).await;
            }
            let bench = Bench::new().await;
            let catalog = Faulty::loads(&bench, [Act::Overtake(theirs.clone())]);
            is_outdated(bench.commit(&catalog, &[a, b]).await, false);
            assert_eq!(catalog.swapped(), 0);
            bench.holds(1, &theirs).await;
        }
    }

    /// The rows were filtered by what the table had before.
    #[tokio::test]
    async fn another_version_that_is_committed_meanwhile_outdates_the_files() {
        let [first, second] = ["1", "2"].map(|version| Token::new("raw", "a", version));
        let bench = Bench::new().await;
        let catalog = Faulty::swaps(&bench, [Act::Overtake(vec![second])]);
        is_outdated(bench.commit(&catalog, &[first, token("b")]).await, true);
        bench.holds(1, &[second]).await;
        // What the table was known to have is no news.
        let (files, looked_at) = (bench.files().await, bench.table().await.metadata().current_snapshot_id());
        let tokens = [first, token("b")];
        let append = Append { looked_at, ..append(&files, &tokens, Uuid::nil()) };
        is_snapshot(commit(&catalog, &ident(), append, in_seconds(10)).await);
        bench.holds(2, &[first, second, token("b")]).await;
    }

    /// Whatever was committed after it may have expired with it.
    #[tokio::test]
    async fn a_snapshot_that_is_gone_outdates_the_files() {
        let bench = Bench::new().await;
        bench.overtake(&[token("a")]).await;
        let files = bench.files().await;
        let tokens = [token("b")];
        let append = Append { looked_at: Some(1), ..append(&files, &tokens, Uuid::nil()) };
        is_outdated(commit(&Faulty::new(&bench), &ident(), append, in_seconds(10)).await, false);
        bench.holds(1, &[token("a")]).await;
    }

    #[tokio::test]
    async fn another_schema_or_spec_outdates_the_files() {
        let bench = Bench::new().await;
        let (files, tokens) = (bench.files().await, [token("a")]);
        for layout in [Layout { schema: 1, spec: 0 }, Layout { schema: 0, spec: 1 }] {
            let append = Append { layout, ..append(&files, &tokens, Uuid::nil()) };
            is_outdated(commit(&Faulty::new(&bench), &ident(), append, in_seconds(10)).await, false);
            bench.holds(0, &[]).await;
        }
    }

    #[tokio::test]
    async fn writers_of_the_same_and_of_other_objects_at_once() {
        let bench = Bench::new().await;
        let own: Vec<Token> = (0..4).map(|writer| token(&format!("own {writer}"))).collect();
        let shared = token("shared");
        let writers = (0..4).map(|writer| {
            let (bench, own) = (&bench, own[writer]);
            async move {
                let catalog = Faulty::new(bench);
                let shared_too = bench.commit(&catalog, &[own, shared]).await.unwrap();
                match shared_too {
                    Committed::Snapshot(..) => 1,
                    // As append does: without what is known.
                    Committed::Outdated { .. } => {
                        is_snapshot(bench.commit(&catalog, &[own]).await);
                        0
                    }
                }
            }
        });
        let with_shared: u32 = futures::future::join_all(writers).await.into_iter().sum();
        assert_eq!(with_shared, 1);
        let mut tokens = own;
        tokens.push(shared);
        bench.holds(4, &tokens).await;
    }

    /// A table that is always written to: what counts is the time between the load and the swap, so no pause may
    /// lie between them.
    #[tokio::test]
    async fn a_busy_table_is_committed_to_as_well() {
        let bench = Bench::new().await;
        let busy = Some(MIN_PAUSE.mul_f64(0.45));
        let conflict = Act::Fail(ErrorKind::CatalogCommitConflicts);
        let catalog = Faulty { busy, ..Faulty::swaps(&bench, [conflict.clone(), conflict]) };
        let id = Uuid::from_u128(fastrand::u128(..));
        let committed =
            commit(&catalog, &ident(), append(&bench.files().await, &[token("a")], id), in_seconds(5)).await;
        is_snapshot(committed);
    }

    /// (e): never anything but conflicts.
    #[tokio::test]
    async fn conflicts_until_the_deadline_are_an_error_in_time() {
        let bench = Bench::new().await;
        let catalog =
            Faulty { other_swaps: Act::Fail(ErrorKind::CatalogCommitConflicts), ..Faulty::new(&bench) };
        let files = bench.files().await;
        let started = Instant::now();
        let deadline = started + Duration::from_millis(1500);
        let error = commit(&catalog, &ident(), append(&files, &[token("a")], Uuid::nil()), deadline)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CatalogCommitConflicts);
        let took = started.elapsed();
        assert!(Instant::now() < deadline, "took {took:?}");
        assert!((3..20).contains(&catalog.swapped()), "{} attempts in {took:?}", catalog.swapped());
        bench.holds(0, &[]).await;
        // Nothing was lost: the next delivery commits the same files.
        is_snapshot(
            commit(
                &Faulty::new(&bench),
                &ident(),
                append(&files, &[token("a")], Uuid::nil()),
                in_seconds(10),
            )
            .await,
        );
        bench.holds(1, &[token("a")]).await;
    }

    #[tokio::test]
    async fn errors_are_not_repeated_for_ever() {
        let bench = Bench::new().await;
        let catalog = Faulty { other_swaps: Act::Fail(ErrorKind::DataInvalid), ..Faulty::new(&bench) };
        let error = bench.commit(&catalog, &[token("a")]).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::DataInvalid, "planned"));
        assert_eq!(catalog.swapped(), MAX_FAILURES);

        let silent = (0..20).map(|_| Act::Fail(ErrorKind::Unexpected));
        let error = bench.commit(&Faulty::loads(&bench, silent), &[token("a")]).await.unwrap_err();
        assert_eq!(error.message(), "planned");
        bench.holds(0, &[]).await;
    }
}

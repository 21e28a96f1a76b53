//! The commit protocol against a catalog of which some calls go wrong.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use arrow_array::RecordBatch;
use async_trait::async_trait;
use futures::TryStreamExt as _;
use iceberg::spec::{NestedField, PrimitiveType, Schema};
use iceberg::{Catalog, Error, ErrorKind, Namespace, NamespaceIdent, Result, TableCommit, TableCreation};
use tempfile::TempDir;

use super::retries::{MAX_FAILURES, MIN_PAUSE};
use super::*;
use crate::catalog::{Lake, Loaded, Next, NotSwapped};
use crate::decode::RowDecoder;
use crate::definition::TableDefinition;
use crate::token::Token;
use crate::write::{TableWriter, WriteLimits};

/// What befalls a call of the catalog.
#[derive(Clone, Debug)]
pub(super) enum Act {
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
pub(super) struct Faulty<'a> {
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

    pub(super) fn swaps(bench: &'a Bench, acts: impl IntoIterator<Item = Act>) -> Self {
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

fn not_swapped(kind: ErrorKind) -> NotSwapped {
    match kind {
        ErrorKind::CatalogCommitConflicts => NotSwapped::Conflict(broken(kind)),
        ErrorKind::DataInvalid => NotSwapped::Refused(broken(kind)),
        _ => NotSwapped::Unknown(broken(kind)),
    }
}

#[async_trait]
impl TableCatalog for Faulty<'_> {
    async fn load(&self, ident: &TableIdent) -> Result<Loaded> {
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
        let table = self.bench.lake.catalog.load(ident).await;
        *self.last_call.lock().unwrap() = Instant::now();
        table
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        *self.swapped.lock().unwrap() += 1;
        let catalog = &self.bench.lake.catalog;
        let act = self.swaps.lock().unwrap().pop_front().unwrap_or(self.other_swaps.clone());
        match act {
            Act::Pass => {}
            Act::Overtake(tokens) => self.bench.overtake(&tokens).await,
            Act::Fail(kind) => return Err(not_swapped(kind)),
            Act::DoAndFail(kind) => {
                catalog.swap(base, next).await?;
                return Err(not_swapped(kind));
            }
            Act::Lose => return Ok(()),
        }
        catalog.swap(base, next).await
    }
}

/// A commit uses nothing of this.
#[async_trait]
impl Catalog for Faulty<'_> {
    async fn load_table(&self, _: &TableIdent) -> Result<Table> {
        unreachable!()
    }

    async fn update_table(&self, _: TableCommit) -> Result<Table> {
        unreachable!()
    }

    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> Result<Vec<NamespaceIdent>> {
        unreachable!()
    }

    async fn create_namespace(&self, _: &NamespaceIdent, _: HashMap<String, String>) -> Result<Namespace> {
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
pub(super) struct Bench {
    _folder: TempDir,
    pub(super) lake: Lake,
}

pub(super) fn ident() -> TableIdent {
    TableIdent::from_strs(["test", "t"]).unwrap()
}

/// Rows of a commit of these tests.
pub(super) const ROWS: u64 = 3;

impl Bench {
    async fn new() -> Self {
        // Without what tables have by default: every snapshot stays.
        Self::with(&[("history.expire.min-snapshots-to-keep", "1000000")]).await
    }

    pub(super) async fn with(properties: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}", folder.path().join("warehouse").display());
        let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &warehouse).await.unwrap();
        let column = NestedField::optional(1, "n", PrimitiveType::Long.into());
        let definition = TableDefinition {
            name: "t".to_owned(),
            schema: Schema::builder().with_fields([column.into()]).build().unwrap(),
            partition_spec: None,
            write_order: None,
            properties: properties
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        lake.create(&ident(), definition).await.unwrap();
        Self { _folder: folder, lake }
    }

    pub(super) async fn table(&self) -> Table {
        self.lake.catalog.load_table(&ident()).await.unwrap()
    }

    /// New data files, as a writer leaves them to its commit.
    pub(super) async fn files(&self) -> Vec<DataFile> {
        let table = self.table().await;
        let limits = WriteLimits {
            buffer_bytes: usize::MAX,
            open_partitions: 1,
            spill_bytes: u64::MAX,
            files: usize::MAX,
            two_encoders: false,
        };
        let mut writer = TableWriter::new(&table, limits, Uuid::from_u128(fastrand::u128(..))).unwrap();
        writer.write(&self.batch(table.metadata().current_schema())).await.unwrap();
        writer.close().await.unwrap()
    }

    fn batch(&self, schema: &Schema) -> RecordBatch {
        let mut decoder = RowDecoder::new(schema, "1970-01-01T00:00:00Z").unwrap();
        for n in 0..ROWS {
            assert!(decoder.push(format!("{{\"n\": {n}}}").as_bytes()).unwrap().is_empty());
        }
        decoder.finish().unwrap()
    }

    /// Another writer commits `tokens`, without anything in its way.
    pub(super) async fn overtake(&self, tokens: &[Token]) {
        let committed =
            commit(self.lake.catalog.as_ref(), &self.files().await, tokens, None, in_seconds(10)).await;
        assert!(matches!(committed, Ok(Committed::Snapshot(..))), "{committed:?}");
    }

    /// Commits new files with `tokens` through `catalog`.
    pub(super) async fn commit(
        &self,
        catalog: &Faulty<'_>,
        tokens: &[Token],
    ) -> std::result::Result<Committed, CommitError> {
        commit(catalog, &self.files().await, tokens, None, in_seconds(10)).await
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
        let listed = summaries.filter_map(|summary| summary.additional_properties.get(token::SUMMARY_KEY));
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

/// Commits what was planned on the empty table, or on its snapshot `looked_at`.
async fn commit(
    catalog: &dyn TableCatalog,
    files: &[DataFile],
    tokens: &[Token],
    looked_at: Option<i64>,
    deadline: Instant,
) -> std::result::Result<Committed, CommitError> {
    let marks = Objects { tokens, rejected: 0 };
    let id = Uuid::from_u128(fastrand::u128(..));
    let change = Change { looked_at, ..Change::append(files, &marks, Layout::default(), id) };
    super::commit(catalog, &Env::default(), &ident(), &change, deadline, &mut CommitMetrics::default()).await
}

pub(super) fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub(super) fn token(key: &str) -> Token {
    Token::new("raw", key, "1")
}

/// The outcome is our own snapshot, and it is the current one.
#[track_caller]
fn is_snapshot(committed: std::result::Result<Committed, CommitError>) {
    match committed {
        Ok(Committed::Snapshot(table, id)) => {
            assert!(table.metadata().snapshot_by_id(id).is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn is_outdated(committed: std::result::Result<Committed, CommitError>, tried: bool) {
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
        commit(&Faulty::new(&bench), &[], &tokens, None, in_seconds(10)).await.unwrap();
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
    for kind in [ErrorKind::Unexpected, ErrorKind::CatalogCommitConflicts, ErrorKind::DataInvalid] {
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
    // The second load looks for the outcome.
    *catalog.loads.lock().unwrap() = [Act::Pass, Act::Overtake(vec![token("b")])].into();
    is_snapshot(bench.commit(&catalog, &[token("a")]).await);
    bench.holds(2, &[token("a"), token("b")]).await;
}

#[tokio::test]
async fn the_outcome_is_looked_for_until_the_catalog_answers() {
    let bench = Bench::new().await;
    let catalog = Faulty::swaps(&bench, [Act::DoAndFail(ErrorKind::Unexpected)]);
    let silent = Act::Fail(ErrorKind::Unexpected);
    *catalog.loads.lock().unwrap() = [Act::Pass, silent.clone(), silent].into();
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
        let marks = Objects { tokens: &tokens, rejected: 0 };
        let change = Change::append(&files, &marks, Layout::default(), Uuid::nil());
        let mut metrics = CommitMetrics::default();
        is_snapshot(
            super::commit(&catalog, &Env::default(), &ident(), &change, in_seconds(10), &mut metrics).await,
        );
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

#[tokio::test]
async fn every_attempt_begins_with_a_look_at_the_tokens() {
    let bench = Bench::new().await;
    let catalog = Faulty::swaps(&bench, [Act::Fail(ErrorKind::CatalogCommitConflicts)]);
    is_snapshot(bench.commit(&catalog, &[token("a")]).await);
    // Look, fail; look at the outcome, pause; look, swap; look at the outcome.
    assert_eq!((catalog.loaded(), catalog.swapped()), (4, 2));
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
    let error = failure(bench.commit(&catalog, &[token("a")]).await);
    assert_eq!(error.message(), "the catalog reported a commit that it did not keep");
    assert_eq!(catalog.swapped(), MAX_FAILURES);
    bench.holds(0, &[]).await;
}

/// (d): another writer commits before the table is loaded, or between that and the swap.
#[tokio::test]
async fn another_writers_objects_do_not_stop_ours() {
    for at_swap in [false, true] {
        let bench = Bench::new().await;
        let other = Act::Overtake(vec![token("b")]);
        let catalog = match at_swap {
            false => Faulty::loads(&bench, [other]),
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
        let bench = Bench::new().await;
        let catalog = Faulty::swaps(&bench, [Act::Overtake(theirs.clone())]);
        is_outdated(bench.commit(&catalog, &[a, b]).await, true);
        bench.holds(1, &theirs).await;
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
    is_snapshot(commit(&catalog, &files, &tokens, looked_at, in_seconds(10)).await);
    bench.holds(2, &[first, second, token("b")]).await;
}

/// Whatever was committed after it may have expired with it.
#[tokio::test]
async fn a_snapshot_that_is_gone_outdates_the_files() {
    let bench = Bench::new().await;
    bench.overtake(&[token("a")]).await;
    let files = bench.files().await;
    let tokens = [token("b")];
    is_outdated(commit(&Faulty::new(&bench), &files, &tokens, Some(1), in_seconds(10)).await, false);
    bench.holds(1, &[token("a")]).await;
}

#[tokio::test]
async fn another_schema_or_spec_outdates_the_files() {
    let bench = Bench::new().await;
    let (files, tokens) = (bench.files().await, [token("a")]);
    for layout in [Layout { schema: 1, spec: 0 }, Layout { schema: 0, spec: 1 }] {
        let marks = Objects { tokens: &tokens, rejected: 0 };
        let change = Change::append(&files, &marks, layout, Uuid::nil());
        let mut metrics = CommitMetrics::default();
        let committed = super::commit(
            &Faulty::new(&bench),
            &Env::default(),
            &ident(),
            &change,
            in_seconds(10),
            &mut metrics,
        )
        .await;
        is_outdated(committed, false);
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
    is_snapshot(commit(&catalog, &bench.files().await, &[token("a")], None, in_seconds(5)).await);
}

/// (e): never anything but conflicts.
#[tokio::test]
async fn conflicts_until_the_deadline_are_an_error_in_time() {
    let bench = Bench::new().await;
    let catalog = Faulty { other_swaps: Act::Fail(ErrorKind::CatalogCommitConflicts), ..Faulty::new(&bench) };
    let files = bench.files().await;
    let started = Instant::now();
    let deadline = started + Duration::from_millis(1500);
    let error = commit(&catalog, &files, &[token("a")], None, deadline).await.unwrap_err();
    assert!(matches!(error, CommitError::Outrun(_)), "{error:?}");
    let took = started.elapsed();
    assert!(Instant::now() < deadline, "took {took:?}");
    assert!((3..20).contains(&catalog.swapped()), "{} attempts in {took:?}", catalog.swapped());
    bench.holds(0, &[]).await;
    // Nothing was lost: the next delivery commits the same files.
    is_snapshot(commit(&Faulty::new(&bench), &files, &[token("a")], None, in_seconds(10)).await);
    bench.holds(1, &[token("a")]).await;
}

#[tokio::test]
async fn errors_are_not_repeated_for_ever() {
    let bench = Bench::new().await;
    for (kind, swaps) in [(ErrorKind::Unexpected, MAX_FAILURES), (ErrorKind::DataInvalid, 1)] {
        let catalog = Faulty { other_swaps: Act::Fail(kind), ..Faulty::new(&bench) };
        let error = failure(bench.commit(&catalog, &[token("a")]).await);
        assert_eq!((error.kind(), error.message()), (kind, "planned"));
        assert_eq!(catalog.swapped(), swaps);
    }
    let silent = (0..20).map(|_| Act::Fail(ErrorKind::Unexpected));
    let error = failure(bench.commit(&Faulty::loads(&bench, silent), &[token("a")]).await);
    assert_eq!(error.message(), "planned");
    bench.holds(0, &[]).await;
}

#[track_caller]
fn failure(committed: std::result::Result<Committed, CommitError>) -> Error {
    match committed {
        Err(CommitError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}

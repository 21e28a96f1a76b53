//! Schedules of appends, publications and what other engines do, on a real table.

use std::collections::HashSet;
use std::sync::Mutex;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::{Catalog, Namespace, NamespaceIdent, TableCommit, TableCreation};

use super::*;
use crate::ancestors::ancestors;
use crate::branch::testing::{AUDIT, Bench, MAIN, ident, numbers};
use crate::catalog::{Loaded, Next, NotSwapped, TableCatalog};
use crate::token::{SUMMARY_KEY, Token};

fn no_nulls() -> Bounds {
    Bounds { max_nulls: vec![MaxNulls { column: "n".to_owned(), percent: 0.0 }], ..Bounds::default() }
}

fn options(bench: &Bench) -> PublishOptions {
    PublishOptions {
        table: ident(),
        branch: AUDIT.to_owned(),
        snapshot: None,
        bounds: no_nulls(),
        checks: None,
        errors_uri: bench.errors_uri(),
        is_dry_run: false,
        deadline: Instant::now() + std::time::Duration::from_secs(60),
    }
}

async fn publish(bench: &Bench) -> Publication {
    let publication = bench.lake.publish(&options(bench)).await.unwrap();
    tree_is_sound(bench).await;
    publication
}

async fn status(bench: &Bench) -> PublicationStatus {
    publish(bench).await.status
}

/// Another reader than ours goes through all that the table's metadata lead to.
async fn tree_is_sound(bench: &Bench) {
    let location = bench.table().await.metadata_location().unwrap().to_owned();
    let read = |uri: &str| {
        let bytes = std::fs::read(uri.strip_prefix("file://").unwrap_or(uri));
        bytes.ok().map(bytes::Bytes::from)
    };
    let faults: Vec<String> = tree::check(&location, &read).iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

/// The tokens in the ancestry of a branch, as often as they are there.
fn tokens_on(metadata: &TableMetadata, branch: &str) -> Vec<Token> {
    let head = metadata.snapshot_for_ref(branch).map(|head| head.snapshot_id());
    let mut tokens: Vec<Token> = ancestors(metadata, head)
        .flat_map(|snapshot| token::tokens_of(snapshot).collect::<Vec<_>>())
        .collect();
    tokens.sort_unstable();
    tokens
}

async fn assert_main_has(bench: &Bench, rows: &[i64], objects: &[&str]) {
    assert_eq!(bench.numbers(MAIN).await, rows.iter().copied().map(Some).collect::<Vec<_>>());
    let mut tokens: Vec<Token> =
        objects.iter().map(|name| Token::new("raw", &format!("{name}.ndjson"), "1")).collect();
    tokens.sort_unstable();
    assert_eq!(tokens_on(bench.table().await.metadata(), MAIN), tokens);
}

#[tokio::test]
async fn what_was_audited_is_published_and_nothing_else() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1"]).await;
    bench.deliver(AUDIT, ["2"]).await;
    let audited = bench.head(AUDIT).await;
    // Before the swap comes what nobody has looked at.
    bench.deliver(AUDIT, ["bad"]).await;
    let bad = bench.head(AUDIT).await.unwrap();
    let before = bench.table().await.metadata().last_updated_ms();
    let publication =
        bench.lake.publish(&PublishOptions { snapshot: audited, ..options(&bench) }).await.unwrap();
    assert_eq!((publication.status, publication.main), (PublicationStatus::FastForward, audited));
    tree_is_sound(&bench).await;
    assert_main_has(&bench, &[1, 2, 100], &["1", "2", "m1"]).await;
    assert_eq!((bench.head(AUDIT).await, bench.kept(AUDIT).await), (Some(bad), None));
    let table = bench.table().await;
    let log = table.metadata().history();
    assert_eq!(log.len(), 2);
    assert!(log[1].timestamp_ms >= before, "the time of the publication counts, not that of the commit");

    let publication = publish(&bench).await;
    assert_eq!(publication.status, PublicationStatus::Rejected);
    assert!(publication.findings[0].contains(&format!("{bad} (1 of 1 rows)")), "{:?}", publication.findings);
    assert_main_has(&bench, &[1, 2, 100], &["1", "2", "m1"]).await;
}

#[tokio::test]
async fn upon_a_main_that_has_gone_on_commits_are_applied_again() {
    let bench = Bench::with([("history.expire.min-snapshots-to-keep", "7")]).await;
    bench.deliver(AUDIT, ["1"]).await;
    bench.deliver(AUDIT, ["2"]).await;
    let audited = bench.head(AUDIT).await.unwrap();
    bench.delete(MAIN, |_| true).await;
    assert_eq!(status(&bench).await, PublicationStatus::Applied);
    assert_main_has(&bench, &[1, 2], &["1", "2", "m1"]).await;
    let table = bench.table().await;
    let head = table.metadata().current_snapshot().unwrap();
    let summary = &head.summary().additional_properties;
    assert_eq!(summary["source-snapshot-id"], audited.to_string());
    assert_eq!((summary["added-records"].as_str(), summary["total-records"].as_str()), ("1", "2"));
    assert_eq!(bench.head(AUDIT).await, bench.head(MAIN).await);
    // One entry for the delete, one for all that was published.
    assert_eq!(table.metadata().history().len(), 3);

    assert_eq!(status(&bench).await, PublicationStatus::Nothing);
    assert_eq!(bench.head(MAIN).await, Some(head.snapshot_id()));
    let again = PublishOptions { snapshot: Some(audited), ..options(&bench) };
    assert_eq!(bench.lake.publish(&again).await.unwrap().status, PublicationStatus::Nothing);
    // The next ones start from there.
    assert_eq!(bench.deliver(AUDIT, ["4", "1"]).await, [Some(1), None]);
    assert_eq!(status(&bench).await, PublicationStatus::FastForward);
    assert_main_has(&bench, &[1, 2, 4], &["1", "2", "4", "m1"]).await;
}

#[tokio::test]
async fn upon_a_main_that_was_compacted_too() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1", "2"]).await;
    bench.rewrite(MAIN).await;
    assert_eq!(status(&bench).await, PublicationStatus::Applied);
    assert_main_has(&bench, &[1, 2, 100], &["1", "2", "m1"]).await;
}

/// What is behind the audited snapshot stays the branch's, upon the new main.
#[tokio::test]
async fn what_came_later_stays_on_the_branch() {
    let bench = Bench::with([("history.expire.min-snapshots-to-keep", "1")]).await;
    bench.deliver(AUDIT, ["1"]).await;
    let audited = bench.head(AUDIT).await;
    bench.deliver(AUDIT, ["bad"]).await;
    bench.deliver(AUDIT, ["2"]).await;
    bench.rewrite(MAIN).await;
    let options = PublishOptions { snapshot: audited, ..options(&bench) };
    assert_eq!(bench.lake.publish(&options).await.unwrap().status, PublicationStatus::Applied);
    tree_is_sound(&bench).await;
    assert_main_has(&bench, &[1, 100], &["1", "m1"]).await;
    assert_eq!(bench.numbers(AUDIT).await, [None, Some(1), Some(2), Some(100)]);
    assert_eq!(bench.kept(AUDIT).await, Some(2));
    assert_eq!(bench.deliver(AUDIT, ["1", "2", "bad"]).await, [None; 3]);
    assert_eq!(status(&bench).await, PublicationStatus::Rejected);
}

#[tokio::test]
async fn a_branch_that_is_not_append_only_is_refused_where_main_has_gone_on() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1"]).await;
    bench.deliver(AUDIT, ["2"]).await;
    bench.delete(AUDIT, |at| at == 0).await;
    bench.delete(MAIN, |_| true).await;
    let before = bench.table().await.metadata_location().map(str::to_owned);
    let PublicationStatus::Refused(why) = status(&bench).await else { panic!() };
    assert!(why.contains("is no append (overwrite)") && why.contains("DROP BRANCH audit"), "{why}");
    assert_eq!(bench.table().await.metadata_location().map(str::to_owned), before);
}

/// Where main stands where the branch began, the branch is what main becomes.
#[tokio::test]
async fn a_branch_that_is_not_append_only_is_published_where_main_stands() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1"]).await;
    bench.rewrite(AUDIT).await;
    assert_eq!(status(&bench).await, PublicationStatus::FastForward);
    assert_main_has(&bench, &[1, 100], &["1", "m1"]).await;
}

#[tokio::test]
async fn what_is_delivered_again_is_no_new_object() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1"]).await;
    assert_eq!(bench.deliver(AUDIT, ["1"]).await, [None]);
    status(&bench).await;
    let before = bench.table().await.metadata_location().map(str::to_owned);
    assert_eq!(
        (bench.deliver(AUDIT, ["1"]).await, bench.deliver(MAIN, ["1"]).await),
        (vec![None], vec![None])
    );
    assert_eq!(bench.table().await.metadata_location().map(str::to_owned), before);
}

#[tokio::test]
async fn what_was_rejected_may_come_again_once_its_branch_is_dropped() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["bad"]).await;
    assert_eq!(status(&bench).await, PublicationStatus::Rejected);
    bench.drop_branch(AUDIT).await;
    let missing = bench.lake.publish(&options(&bench)).await.unwrap_err();
    assert!(missing.to_string().contains("has no branch audit"), "{missing}");
    assert_eq!(bench.deliver(AUDIT, ["bad"]).await, [Some(1)]);
    assert_eq!(bench.numbers(MAIN).await, numbers([100]));
}

#[tokio::test]
async fn two_publishers_at_once_publish_once() {
    for has_gone_on in [false, true] {
        let bench = Bench::new().await;
        bench.deliver(AUDIT, ["1"]).await;
        bench.deliver(AUDIT, ["2"]).await;
        if has_gone_on {
            bench.rewrite(MAIN).await;
        }
        let before = bench.table().await.metadata().history().len();
        let (one, other) = tokio::join!(status(&bench), status(&bench));
        for status in [&one, &other] {
            let done =
                [PublicationStatus::Nothing, PublicationStatus::FastForward, PublicationStatus::Applied];
            assert!(done.contains(status), "{status:?}");
        }
        assert_eq!(bench.table().await.metadata().history().len(), before + 1);
        assert_main_has(&bench, &[1, 2, 100], &["1", "2", "m1"]).await;
    }
}

#[tokio::test]
async fn a_column_that_came_on_the_branch_is_null_on_main() {
    let bench = Bench::new().await;
    let row = r#"{"n":1,"name":"a","day":"2026-03-01","amount":2.5}"#;
    bench.deliver_objects(AUDIT, vec![bench.object_of("1", "1", row)]).await;
    let table = bench.table().await;
    assert!(table.metadata().current_schema().field_by_name("amount").is_some());
    assert_eq!(bench.numbers(MAIN).await, numbers([100]));
    assert_eq!(status(&bench).await, PublicationStatus::FastForward);
    assert_eq!(bench.numbers(MAIN).await, numbers([1, 100]));
    assert_eq!(bench.table().await.metadata().current_schema_id(), table.metadata().current_schema_id());
}

#[tokio::test]
async fn what_main_has_got_by_another_way_does_not_come_twice() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1"]).await;
    bench.deliver(AUDIT, ["2"]).await;
    assert_eq!(bench.deliver(MAIN, ["1"]).await, [Some(1)]);
    assert_eq!(status(&bench).await, PublicationStatus::Applied);
    assert_main_has(&bench, &[1, 2, 100], &["1", "2", "m1"]).await;
    assert_eq!(status(&bench).await, PublicationStatus::Nothing);

    // Of a commit, main has a part only.
    bench.deliver(AUDIT, ["4", "5"]).await;
    assert_eq!(bench.deliver(MAIN, ["4"]).await, [Some(1)]);
    let PublicationStatus::Refused(why) = status(&bench).await else { panic!() };
    assert!(why.contains("were appended to main too"), "{why}");
    assert_main_has(&bench, &[1, 2, 4, 100], &["1", "2", "4", "m1"]).await;

    // Another version of an object, of which rows may be the same.
    let bench = Bench::new().await;
    let row = "{\"n\":1,\"record_id\":\"one\",\"day\":\"2026-03-01\"}\n";
    bench.deliver_objects(AUDIT, vec![bench.object_of("1", "1", row)]).await;
    bench.deliver_objects(MAIN, vec![bench.object_of("1", "2", row)]).await;
    assert!(matches!(status(&bench).await, PublicationStatus::Refused(_)));
    assert_eq!(bench.numbers(MAIN).await, numbers([1, 100]));
}

/// Main expires all that it may, and so does the branch, while appends go to both.
#[tokio::test]
async fn a_publication_outlives_expiry() {
    let keep = [("history.expire.max-snapshot-age-ms", "1"), ("history.expire.min-snapshots-to-keep", "1")];
    let bench = Bench::with(keep).await;
    for name in ["1", "2", "3"] {
        bench.deliver(AUDIT, [name]).await;
    }
    for name in ["m2", "m3", "m4"] {
        bench.deliver(MAIN, [name]).await;
    }
    assert_eq!(status(&bench).await, PublicationStatus::Applied);
    assert_eq!((bench.kept(AUDIT).await, bench.kept(MAIN).await), (None, None));
    let all = [1, 2, 3, 100, 101, 102, 103].map(Some);
    assert_eq!(bench.numbers(MAIN).await, all);
    for name in ["m5", "m6"] {
        bench.deliver(MAIN, [name]).await;
    }
    let names = ["1", "2", "3", "m1", "m4", "m6"];
    assert_eq!(bench.deliver(MAIN, names).await, [None; 6]);
    assert_eq!(bench.deliver(AUDIT, names).await, [None; 6]);
}

#[tokio::test]
async fn main_keeps_its_settings() {
    let bench = Bench::new().await;
    bench.settings(MAIN, 42).await;
    for has_gone_on in [false, true] {
        bench.deliver(AUDIT, [if has_gone_on { "2" } else { "1" }]).await;
        if has_gone_on {
            bench.rewrite(MAIN).await;
        }
        status(&bench).await;
        assert_eq!(bench.kept(MAIN).await, Some(42));
    }
}

#[tokio::test]
async fn the_first_rows_of_a_table_are_published() {
    let bench = Bench::empty([]).await;
    bench.deliver(AUDIT, ["1"]).await;
    assert_eq!(status(&bench).await, PublicationStatus::FastForward);
    assert_main_has(&bench, &[1], &["1"]).await;
}

#[tokio::test]
async fn bounds_are_held_against_new_rows_alone() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1", "bad"]).await;
    let with = |min_rows: Option<u64>, max_rows: Option<u64>, percent: f64| {
        let max_nulls = vec![MaxNulls { column: "n".to_owned(), percent }];
        PublishOptions {
            bounds: Bounds { min_rows, max_rows, max_nulls },
            is_dry_run: true,
            ..options(&bench)
        }
    };
    for (options, findings) in [
        (with(Some(2), Some(2), 50.0), vec![]),
        (with(Some(3), None, 100.0), vec!["2 new rows, and at least 3 are expected".to_owned()]),
        (with(None, Some(1), 100.0), vec!["2 new rows, and at most 1 are expected".to_owned()]),
    ] {
        assert_eq!(bench.lake.publish(&options).await.unwrap().findings, findings);
    }
    let publication = bench.lake.publish(&with(None, None, 49.9)).await.unwrap();
    assert!(
        publication.findings[0].starts_with("n is null in 1 of 2 new rows"),
        "{:?}",
        publication.findings
    );
    let publication = bench.lake.publish(&with(None, None, 50.0)).await.unwrap();
    assert_eq!(publication.status, PublicationStatus::Audited { is_fast: true });
    let commit = &publication.commits[0];
    assert_eq!((publication.commits.len(), commit.rows, commit.files, commit.objects), (1, 2, 1, 2));
    assert_eq!(bench.numbers(MAIN).await, numbers([100]));
    let bounds =
        Bounds { max_nulls: vec![MaxNulls { column: "m".into(), percent: 0.0 }], ..Bounds::default() };
    let error = bench.lake.publish(&PublishOptions { bounds, ..options(&bench) }).await.unwrap_err();
    assert!(error.to_string().contains("the table has no column m; it has n, name"), "{error}");
}

/// Columns of which the table's metadata have no counts are read.
#[tokio::test]
async fn nulls_are_counted_where_no_statistics_are() {
    let bench = Bench::with([("write.metadata.metrics.default", "none")]).await;
    bench.deliver(AUDIT, ["1", "bad"]).await;
    let publication = publish(&bench).await;
    assert!(
        publication.findings[0].starts_with("n is null in 1 of 2 new rows"),
        "{:?}",
        publication.findings
    );
}

#[tokio::test]
async fn a_file_that_is_gone_is_found() {
    let bench = Bench::new().await;
    bench.deliver(AUDIT, ["1"]).await;
    let before = bench.files(MAIN).await;
    let file = bench.files(AUDIT).await.into_iter().find(|file| !before.contains(file)).unwrap();
    std::fs::remove_file(file.strip_prefix("file://").unwrap()).unwrap();
    let publication = publish_unsound(&bench).await;
    assert_eq!(publication.status, PublicationStatus::Rejected);
    assert!(publication.findings[0].ends_with("is not there"), "{:?}", publication.findings);
}

async fn publish_unsound(bench: &Bench) -> Publication {
    bench.lake.publish(&options(bench)).await.unwrap()
}

/// What befalls the first swap of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing is done, and an error reported.
    Lost,
    /// It is done, and an error reported.
    Done,
    /// Something is appended first.
    Overtaken(&'static str, &'static str),
    /// Another publisher is faster.
    Published,
}

#[derive(Debug)]
struct Fated {
    inner: std::sync::Arc<dyn TableCatalog>,
    bench: std::sync::Arc<Bench>,
    fate: Mutex<Option<Fate>>,
}

#[async_trait]
impl TableCatalog for Fated {
    async fn load(&self, ident: &TableIdent) -> iceberg::Result<Loaded> {
        self.inner.load(ident).await
    }

    async fn swap(&self, base: &Loaded, next: &Next) -> std::result::Result<(), NotSwapped> {
        let fate = self.fate.lock().unwrap().take();
        let unknown = || NotSwapped::Unknown(Error::new(ErrorKind::Unexpected, "planned"));
        match fate {
            None => {}
            Some(Fate::Lost) => return Err(unknown()),
            Some(Fate::Done) => {
                self.inner.swap(base, next).await?;
                return Err(unknown());
            }
            Some(fate) => {
                let bench = self.bench.clone();
                let others = move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.unwrap().block_on(async {
                        match fate {
                            Fate::Overtaken(branch, name) => drop(bench.deliver(branch, [name]).await),
                            _ => drop(publish(&bench).await),
                        }
                    });
                };
                crate::task::spawn_blocking(others).await.unwrap();
            }
        }
        self.inner.swap(base, next).await
    }
}

#[async_trait]
impl Catalog for Fated {
    async fn load_table(&self, ident: &TableIdent) -> iceberg::Result<Table> {
        self.inner.load_table(ident).await
    }

    async fn list_namespaces(&self, _: Option<&NamespaceIdent>) -> iceberg::Result<Vec<NamespaceIdent>> {
        unreachable!()
    }

    async fn create_namespace(
        &self,
        _: &NamespaceIdent,
        _: std::collections::HashMap<String, String>,
    ) -> iceberg::Result<Namespace> {
        unreachable!()
    }

    async fn get_namespace(&self, _: &NamespaceIdent) -> iceberg::Result<Namespace> {
        unreachable!()
    }

    async fn namespace_exists(&self, _: &NamespaceIdent) -> iceberg::Result<bool> {
        unreachable!()
    }

    async fn update_namespace(
        &self,
        _: &NamespaceIdent,
        _: std::collections::HashMap<String, String>,
    ) -> iceberg::Result<()> {
        unreachable!()
    }

    async fn drop_namespace(&self, _: &NamespaceIdent) -> iceberg::Result<()> {
        unreachable!()
    }

    async fn list_tables(&self, _: &NamespaceIdent) -> iceberg::Result<Vec<TableIdent>> {
        unreachable!()
    }

    async fn create_table(&self, _: &NamespaceIdent, _: TableCreation) -> iceberg::Result<Table> {
        unreachable!()
    }

    async fn drop_table(&self, _: &TableIdent) -> iceberg::Result<()> {
        unreachable!()
    }

    async fn purge_table(&self, _: &TableIdent) -> iceberg::Result<()> {
        unreachable!()
    }

    async fn table_exists(&self, _: &TableIdent) -> iceberg::Result<bool> {
        unreachable!()
    }

    async fn rename_table(&self, _: &TableIdent, _: &TableIdent) -> iceberg::Result<()> {
        unreachable!()
    }

    async fn register_table(&self, _: &TableIdent, _: String) -> iceberg::Result<Table> {
        unreachable!()
    }

    async fn update_table(&self, _: TableCommit) -> iceberg::Result<Table> {
        unreachable!()
    }
}

/// Whatever becomes of the swap, and whoever is faster: each row is on main once, and what was not audited is not.
#[tokio::test]
async fn whatever_befalls_the_swap() {
    for has_gone_on in [false, true] {
        for fate in [
            Fate::Lost,
            Fate::Done,
            Fate::Overtaken(AUDIT, "bad"),
            Fate::Overtaken(MAIN, "m2"),
            Fate::Overtaken(MAIN, "1"),
            Fate::Published,
        ] {
            let bench = std::sync::Arc::new(Bench::new().await);
            bench.deliver(AUDIT, ["1"]).await;
            bench.deliver(AUDIT, ["2"]).await;
            if has_gone_on {
                bench.rewrite(MAIN).await;
            }
            let fated = Fated {
                inner: bench.lake.catalog.clone(),
                bench: bench.clone(),
                fate: Mutex::new(Some(fate)),
            };
            let lake = Lake { catalog: std::sync::Arc::new(fated), ..bench.lake.clone() };
            let status = lake.publish(&options(&bench)).await.unwrap().status;
            let expected = match (has_gone_on, fate) {
                (false, Fate::Overtaken(MAIN, _)) | (true, _) => PublicationStatus::Applied,
                (false, _) => PublicationStatus::FastForward,
            };
            assert_eq!(status, expected, "{fate:?} {has_gone_on}");
            tree_is_sound(&bench).await;
            let mut rows = vec![1, 2, 100];
            rows.extend((fate == Fate::Overtaken(MAIN, "m2")).then_some(101));
            assert_eq!(bench.numbers(MAIN).await, rows.into_iter().map(Some).collect::<Vec<_>>(), "{fate:?}");
            let metadata = bench.table().await;
            let tokens = tokens_on(metadata.metadata(), MAIN);
            assert_eq!(tokens.len(), tokens.iter().collect::<HashSet<_>>().len(), "{fate:?}");
            if fate == Fate::Overtaken(AUDIT, "bad") {
                assert_eq!(bench.numbers(AUDIT).await, [None, Some(1), Some(2), Some(100)]);
            }
            let again = super::tests::status(&bench).await;
            let left = if fate == Fate::Overtaken(AUDIT, "bad") {
                PublicationStatus::Rejected
            } else {
                PublicationStatus::Nothing
            };
            assert_eq!(again, left, "{fate:?}");
        }
    }
}

/// Quarantined records count with the commit that main has in the end.
#[tokio::test]
async fn quarantine_files_are_accounted_for() {
    use crate::quarantine::Ledger;
    let bench = Bench::new().await;
    let rows = "{\"n\":1,\"day\":\"2026-03-01\"}\n{\"n\":\"no number\"}\n";
    bench.deliver_objects(AUDIT, vec![bench.object_of("1", "1", rows)]).await;
    bench.rewrite(MAIN).await;
    assert_eq!(status(&bench).await, PublicationStatus::Applied);
    let table = bench.table().await;
    let ledger = Ledger::of(table.metadata(), table.file_io()).await;
    assert!(ledger.has(&Token::new("raw", "1.ndjson", "1")));
    let summary = &table.metadata().current_snapshot().unwrap().summary().additional_properties;
    assert_eq!((summary["frazil.rejected"].as_str(), summary.contains_key(SUMMARY_KEY)), ("1", true));
    let source: i64 = summary["source-snapshot-id"].parse().unwrap();
    let source = table.metadata().snapshot_by_id(source).unwrap();
    assert_eq!(summary["frazil.commit"], source.summary().additional_properties["frazil.commit"]);
}

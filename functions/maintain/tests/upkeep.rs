//! Invocations of maintain on a lake in a folder.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

mod support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lambda::env::Environment;
use maintain::config::Config;
use maintain::handler::{Maintained, Maintainer};
use serde_json::json;

use self::support::runtime::Process;
use self::support::{Place, TABLE, files};

/// Invokes maintain, so many minutes from now.
async fn maintain(place: &Place, minutes: u64, variables: &[(&'static str, String)]) -> Maintained {
    let environment = place.variables().into_iter().chain(variables.iter().cloned());
    let environment: Environment = environment.collect();
    let maintainer = Maintainer::open(Config::from_env(&environment).unwrap()).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(60 * minutes);
    maintainer.handle(now.as_micros() as i64, Instant::now() + Duration::from_secs(60)).await.unwrap()
}

#[tokio::test]
async fn an_object_that_no_table_has_is_found() {
    let place = Place::new();
    let source_root = format!("file://{}/", place.path().display());
    let raw = [("FRAZIL_RAW", format!("{source_root}bucket/raw")), ("FRAZIL_SOURCE_ROOT", source_root)];
    let objects: Vec<_> = (0..5).map(|n| place.put(n, 0)).collect();
    let lost = objects[3].uri.clone();
    place.append(objects.into_iter().filter(|object| object.uri != lost).collect()).await;
    // It may still wait.
    let pending = maintain(&place, 10, &raw).await.pending.unwrap();
    assert_eq!((pending.delivered, pending.pending), (0, 0));
    let pending = maintain(&place, 61, &raw).await.pending.unwrap();
    assert_eq!((pending.delivered, pending.pending, pending.named), (5, 1, vec![lost]));
    assert!(pending.oldest_seconds.is_some_and(|age| age >= 3600));
    // It is delivered again.
    place.append(vec![place.put(3, 0)]).await;
    let pending = maintain(&place, 61, &raw).await.pending.unwrap();
    assert_eq!((pending.delivered, pending.pending, pending.oldest_seconds), (5, 0, None));
    // What came before the last days is left alone.
    let pending = maintain(&place, 4 * 24 * 60, &raw).await.pending.unwrap();
    assert_eq!(pending.delivered, 0);
    assert!(maintain(&place, 61, &[]).await.pending.is_none());
}

#[tokio::test]
async fn tables_are_compacted_unless_it_is_said_that_they_are_not() {
    let place = Place::new();
    for n in 0..6 {
        place.append(vec![place.put(n, n % 2)]).await;
    }
    let before = place.ids().await;
    let never = [("FRAZIL_COMPACT", "never".to_owned())];
    assert!(maintain(&place, 0, &never).await.tables.is_empty());
    assert_eq!(place.data_files().await, 6);
    // All tables of a namespace, and one of them once more.
    let all = [("FRAZIL_TABLES", format!("shop.*,{TABLE}"))];
    let done = maintain(&place, 0, &all).await;
    let table = &done.tables[TABLE];
    assert_eq!((table.files_compacted, table.files_made, table.rows, table.commits), (6, 2, 6, 1));
    assert_eq!((done.tables.len(), place.data_files().await), (1, 2));
    assert_eq!(place.ids().await, before);
    assert_eq!(maintain(&place, 0, &[]).await.tables[TABLE].files_compacted, 0);
}

#[tokio::test]
async fn files_that_nothing_refers_to_are_swept_if_it_is_wanted() {
    let place = Place::new();
    for n in 0..4 {
        place.append(vec![place.put(n, 0)]).await;
    }
    let data = files(&place.path().join("warehouse"));
    let live = data.iter().find(|path| path.extension().is_some_and(|it| it == "parquet")).unwrap();
    let (old, young) = (live.with_file_name("old.parquet"), live.with_file_name("young.parquet"));
    std::fs::copy(live, &young).unwrap();
    std::fs::copy(live, &old).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for path in data.iter().chain([&old]) {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(long_ago).unwrap();
    }
    assert!(maintain(&place, 0, &[]).await.swept.is_none());
    assert!(old.exists());
    let swept = maintain(&place, 0, &[("FRAZIL_SWEEP_AFTER_DAYS", "7".to_owned())]).await.swept.unwrap();
    assert_eq!((swept.orphans, swept.deleted, swept.not_swept.len()), (1, 1, 0), "{swept:?}");
    assert!(!old.exists() && young.exists());
    // What was compacted is still named by older snapshots.
    assert!(
        data.iter()
            .filter(|path| path.extension().is_some_and(|it| it == "parquet"))
            .all(|path| path.exists())
    );
    assert_eq!(place.ids().await.len(), 4);
}

/// How many seconds before the first second of 2027 the newest row of `table` arrived.
async fn freshness(place: &Place, table: &str) -> Option<f64> {
    let environment: Environment = place.variables().into_iter().collect();
    let maintainer = Maintainer::open(Config::from_env(&environment).unwrap()).await.unwrap();
    let table = settings::table_ident(table).unwrap();
    maintainer.freshness(&table, 1_798_761_600_000_000).await.unwrap().data_freshness
}

#[tokio::test]
async fn a_table_is_as_fresh_as_its_newest_row() {
    let place = Place::new();
    assert_eq!(freshness(&place, TABLE).await, None);
    let arrived = |n: usize, time: &str| place.put_event(n, &json!({"n": n, "ingestion_timestamp": time}));
    place.append(vec![arrived(0, "2020-12-31T23:59:00Z"), arrived(1, "2020-12-31T23:58:00Z")]).await;
    let six_years = Some(f64::from(6 * 365 + 1) * 86_400.0 + 60.0);
    assert_eq!(freshness(&place, TABLE).await, six_years);
    // What is put back later does not make the table older, and what compaction writes anew does not make it younger.
    place.append(vec![arrived(2, "2020-12-30T00:00:00Z")]).await;
    assert_eq!(freshness(&place, TABLE).await, six_years);
    let two = [("FRAZIL_COMPACT_OPEN_FILES", "2".to_owned())];
    assert_eq!(maintain(&place, 0, &two).await.tables[TABLE].files_compacted, 2);
    assert_eq!(freshness(&place, TABLE).await, six_years);
    // Of a row that does not tell, what is known is its commit.
    place.append(vec![place.put(3, 0)]).await;
    let committed = place.table().await.metadata().current_snapshot().unwrap().timestamp_ms();
    let age = freshness(&place, TABLE).await.unwrap();
    assert!((age - (1_798_761_600_000 - committed).max(0) as f64 / 1000.0).abs() < 0.01, "{age}");
    assert_eq!(freshness(&place, "shop.other").await, None);
}

#[tokio::test]
async fn the_binary_measures_when_it_is_asked_and_looks_after_nothing_then() {
    let place = Place::new();
    place.append(vec![place.put(0, 0)]).await;
    let process = Process::start(place.function());
    process.give(&json!({"freshness": TABLE}).to_string(), Duration::from_secs(60));
    let answer = process.answer();
    assert!(!answer.is_error, "{:?}", answer.body);
    assert!(answer.body["data_freshness"].as_f64().is_some_and(|age| age < 600.0), "{:?}", answer.body);
    assert_eq!(answer.body["tables"], json!({}));
    let log = std::fs::read_to_string(place.path().join("log")).unwrap();
    assert!(log.contains(r#""DataFreshness":"#) && !log.contains("FilesCompacted"), "{log}");
    process.give(r#"{"freshness": "events"}"#, Duration::from_secs(60));
    let answer = process.answer();
    assert!(answer.is_error && answer.body.to_string().contains("EventNotUnderstood"), "{:?}", answer.body);
}

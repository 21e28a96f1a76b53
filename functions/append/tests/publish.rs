//! A publication is killed before and after its swap, and done again: main has all of it, once, or nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Int64Type;
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use lake::{
    AppendOptions, Bounds, Lake, Limits, PublicationStatus, PublishOptions, SourceObject, Status, Token,
};
use tokio::time::Instant;

const FOLDER: &str = "FRAZIL_TEST_FOLDER";

fn ident() -> TableIdent {
    TableIdent::from_strs(["lake", "audited"]).unwrap()
}

async fn open(folder: &Path) -> Lake {
    let warehouse = format!("file://{}/warehouse", folder.display());
    Lake::open_sqlite(&folder.join("catalog.db"), &warehouse).await.unwrap()
}

/// Delivers an object with one row.
async fn deliver(folder: &Path, branch: &str, n: i64) {
    let key = format!("{n}.ndjson");
    let path = folder.join(&key);
    std::fs::write(&path, format!("{{\"n\":{n}}}\n")).unwrap();
    let options = AppendOptions {
        table: ident(),
        branch: branch.to_owned(),
        definition: None,
        errors_uri: format!("file://{}/errors", folder.display()),
        processing_time: "2026-01-02T03:04:05Z".to_owned(),
        deadline: Instant::now() + Duration::from_secs(60),
        limits: Limits::for_memory(512 << 20),
        unpack: Default::default(),
    };
    let (uri, token) = (format!("file://{}", path.display()), Token::new("raw", &key, "1"));
    let object = SourceObject { uri, bucket: "raw".into(), key, version_id: None, token };
    let outcome = lake::append(&open(folder).await, &options, vec![object]).await.unwrap();
    assert!(matches!(outcome.objects[0].status, Status::Committed { rows: 1, .. }), "{outcome:?}");
}

async fn publish(folder: &Path) -> PublicationStatus {
    let options = PublishOptions {
        table: ident(),
        branch: "audit".to_owned(),
        snapshot: None,
        bounds: Bounds::default(),
        checks: None,
        errors_uri: format!("file://{}/errors", folder.display()),
        is_dry_run: false,
        deadline: Instant::now() + Duration::from_secs(60),
    };
    open(folder).await.publish(&options).await.unwrap().status
}

/// What the column `n` of main holds, sorted.
async fn numbers(folder: &Path) -> Vec<i64> {
    let table = open(folder).await.table(&ident()).await.unwrap().unwrap();
    let batches = table.scan().select(["n"]).build().unwrap().to_arrow().await.unwrap();
    let batches: Vec<_> = batches.try_collect().await.unwrap();
    let columns = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
    let mut numbers: Vec<i64> = columns.copied().collect();
    numbers.sort_unstable();
    numbers
}

/// A process that publishes, until it is killed at `point`.
fn killed(folder: &Path, point: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "publishes_until_it_is_killed"])
        .env(FOLDER, folder)
        .env("FAILPOINTS", format!("{point}=return"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let reached = lines.any(|line| line.unwrap() == format!("reached {point}"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(reached, "it never came to {point}");
}

#[tokio::test]
#[ignore = "a process of the test below"]
async fn publishes_until_it_is_killed() {
    publish(&PathBuf::from(std::env::var(FOLDER).unwrap())).await;
}

#[tokio::test]
async fn killed_at_the_swap() {
    for has_gone_on in [false, true] {
        for (point, is_swapped) in [("before swap", false), ("after swap", true)] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            deliver(folder, "main", 100).await;
            deliver(folder, "audit", 1).await;
            deliver(folder, "audit", 2).await;
            let mut before = vec![100];
            if has_gone_on {
                deliver(folder, "main", 101).await;
                before.push(101);
            }
            let after: Vec<i64> = [1, 2].into_iter().chain(before.clone()).collect();

            killed(folder, point);
            let found = numbers(folder).await;
            assert_eq!(found, if is_swapped { after.clone() } else { before }, "{point}");
            let again = publish(folder).await;
            let expected = match (is_swapped, has_gone_on) {
                (true, _) => PublicationStatus::Nothing,
                (false, true) => PublicationStatus::Applied,
                (false, false) => PublicationStatus::FastForward,
            };
            assert_eq!(again, expected, "{point}");
            assert_eq!(publish(folder).await, PublicationStatus::Nothing);
            assert_eq!(numbers(folder).await, after);
        }
    }
}

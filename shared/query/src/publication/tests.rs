//! Publications with conditions, of a real table.

use std::path::Path;
use std::time::Duration;

use iceberg::TableIdent;
use lake::{
    AppendOptions, Bounds, Limits as OfAppend, Publication, PublicationStatus, PublishOptions, SourceObject,
    Token as OfObject,
};
use tokio::time::Instant;

use super::*;

const LIMITS: Limits = Limits { memory_bytes: 64 << 20, parallel: 2 };

async fn open(folder: &Path) -> Lake {
    let warehouse = format!("file://{}/warehouse", folder.display());
    Lake::open_sqlite(&folder.join("catalog.db"), &warehouse).await.unwrap()
}

fn ident() -> TableIdent {
    TableIdent::from_strs(["lake", "events"]).unwrap()
}

async fn deliver(folder: &Path, branch: &str, name: &str, rows: &str) {
    let path = folder.join(name);
    std::fs::write(&path, rows).unwrap();
    let options = AppendOptions {
        table: ident(),
        branch: branch.to_owned(),
        definition: None,
        errors_uri: format!("file://{}/errors", folder.display()),
        processing_time: "2026-01-02T03:04:05Z".to_owned(),
        deadline: Instant::now() + Duration::from_secs(60),
        limits: OfAppend::for_memory(512 << 20),
        unpack: Default::default(),
    };
    let (uri, token) = (format!("file://{}", path.display()), OfObject::new("raw", name, "1"));
    let object = SourceObject { uri, bucket: "raw".into(), key: name.to_owned(), version_id: None, token };
    let outcome = lake::append(&open(folder).await, &options, vec![object]).await.unwrap();
    assert!(outcome.objects[0].status.is_done(), "{outcome:?}");
}

async fn publish(folder: &Path, checks: &[&str]) -> Publication {
    let options = PublishOptions {
        table: ident(),
        branch: "audit".to_owned(),
        snapshot: None,
        bounds: Bounds::default(),
        checks: Some(Arc::new(SqlChecks::new(checks.iter().copied(), LIMITS).unwrap())),
        errors_uri: format!("file://{}/errors", folder.display()),
        is_dry_run: false,
        deadline: Instant::now() + Duration::from_secs(60),
    };
    open(folder).await.publish(&options).await.unwrap()
}

/// Two rows on the branch, of which one lacks its number, and one on main.
async fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    deliver(folder.path(), "main", "m", "{\"n\":100,\"name\":\"main\"}\n").await;
    let rows = "{\"n\":7,\"name\":\"a\"}\n{\"n\":null,\"name\":\"b\"}\n";
    deliver(folder.path(), "audit", "1", rows).await;
    folder
}

#[tokio::test]
async fn a_check_that_is_not_true_refuses_and_says_its_value() {
    let folder = folder().await;
    for (check, finding) in [
        ("count_if(n IS NULL) = 0", "the check count_if(n IS NULL) = 0 is false: count_if(n IS NULL) is 1"),
        // Rows of main are none of the new ones.
        ("max(n) >= 100", "the check max(n) >= 100 is false: max(n) is 7"),
        ("(min(n) BETWEEN 8 AND 9)", "the check (min(n) BETWEEN 8 AND 9) is false: min(n) is 7"),
        ("bool_and(n > 8)", "the check bool_and(n > 8) is false"),
        ("sum(n) FILTER (WHERE name = 'c') = 1", "is null: sum(n) FILTER (WHERE name = 'c') is null"),
        ("NULL", "the check NULL is null"),
        ("count(*)", "cannot be evaluated: Error during planning: a check is true or false, and this is 2"),
        ("n > 8", "cannot be evaluated"),
        ("max(nn) = 1", "No field named nn"),
        ("max(name) / 0 = 1", "cannot be evaluated"),
        ("count(*) = 2) FROM t --", "cannot be evaluated"),
        ("count(*) = 2 OR", "cannot be evaluated"),
        ("(SELECT max(n) FROM nowhere) = 1", "nowhere"),
        // What the whole table has, with the rows of the branch and without.
        ("(SELECT count(*) FROM events) = 3", "is 1"),
        ("(SELECT count(*) FROM lake.events FOR VERSION AS OF 'audit') = 1", "is 3"),
        ("max(n) < (SELECT min(n) FROM events WHERE n < 0)", "is null: max(n) is 7"),
    ] {
        let publication = publish(folder.path(), &["count(*) = 2", check]).await;
        assert_eq!(publication.status, PublicationStatus::Rejected, "{check}");
        let [found] = publication.findings.as_slice() else { panic!("{check}: {publication:?}") };
        assert!(found.contains(finding) && found.starts_with("the check "), "{check}: {found}");
    }
    let table = open(folder.path()).await.table(&ident()).await.unwrap().unwrap();
    let main = table.metadata().current_snapshot().unwrap();
    assert_eq!(main.summary().additional_properties["total-records"], "1");
}

#[tokio::test]
async fn what_passes_its_checks_is_published() {
    let folder = folder().await;
    let checks = [
        "count_if(n IS NULL) = 1; count(*) = 2 AND max(name) = 'b'",
        "count(DISTINCT name) = count(name)",
        "(SELECT count(*) FROM events e WHERE e.name IN ('a', 'b')) = 0",
        "(SELECT count(*) = count(DISTINCT name) FROM events FOR VERSION AS OF 'audit')",
        "min(n) <= (SELECT max(n) - 1 FROM events)",
    ];
    let publication = publish(folder.path(), &checks).await;
    assert_eq!(publication.status, PublicationStatus::FastForward, "{publication:?}");
    // Main has gone on, and of the branch one row is new.
    deliver(folder.path(), "audit", "2", "{\"n\":8,\"name\":\"c\",\"more\":1,\"userId\":5}\n").await;
    deliver(folder.path(), "main", "m2", "{\"n\":101}\n").await;
    let publication =
        publish(folder.path(), &["count(*) = 1 AND max(n) = 8 AND max(more) = 1 AND max(userId) = 5"]).await;
    assert_eq!(publication.status, PublicationStatus::Applied, "{publication:?}");
}

#[test]
fn a_text_has_the_checks_between_its_semicolons() {
    let text = "-- none; lacks a user\ncount_if(user_id\n  IS NULL) = 0;\n\nmax(name) <> 'a;  b' /* ; */ ;";
    assert_eq!(split(text).unwrap(), ["count_if(user_id IS NULL) = 0", "max(name) <> 'a;  b'"]);
    let error = SqlChecks::new(["1 = 1", " ; -- nothing"], LIMITS).unwrap_err();
    assert!(error.to_string().contains("there is no check in"), "{error}");
    assert!(SqlChecks::new(["name = 'a"], LIMITS).is_err());
}

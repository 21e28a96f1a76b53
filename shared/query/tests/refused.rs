//! What is no query, and what DataFusion would pass over in silence.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test helpers fail by panicking")]

use futures::TryStreamExt as _;
use lake::Lake;
use query::output::{Format, write};
use query::{Limits, Session};

/// A session on a lake without tables.
async fn session(folder: &tempfile::TempDir) -> Session {
    let warehouse = format!("file://{}/warehouse", folder.path().display());
    let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &warehouse).await.unwrap();
    Session::new(lake, "shop", Limits { memory_bytes: 64 << 20, parallel: 2 }).unwrap()
}

#[tokio::test]
async fn what_would_change_something_or_be_passed_over_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&folder).await;
    let refused = [
        ("CREATE TABLE t (n int)", "CREATE is refused"),
        ("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc'", "CREATE is refused"),
        ("INSERT INTO t VALUES (1)", "INSERT is refused"),
        ("DELETE FROM t", "DELETE is refused"),
        ("COPY (SELECT 1) TO 'x.csv'", "COPY is refused"),
        ("SET x = 1", "SET is refused"),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", "refused"),
        ("", "there is no query"),
        ("SELECT 1; SELECT 2", "one query is run at a time: 2 came"),
        ("SELECT * FROM (SELECT 1) TABLESAMPLE (10)", "TABLESAMPLE is not supported"),
        ("SELECT (SELECT max(n) FROM t TABLESAMPLE (10))", "TABLESAMPLE is not supported"),
        ("SELECT 1 FOR UPDATE", "found: UPDATE"),
        ("SELECT * FROM t FOR VERSION AS OF 1", "there is no table t"),
        ("WITH w AS (SELECT * FROM shop.t FOR VERSION AS OF 1) SELECT 1", "there is no table shop.t"),
        ("SELECT * FROM t a FOR VERSION AS OF 1", "is not behind the name of a table"),
        ("SELECT * FROM (SELECT 1) FOR VERSION AS OF 1", "is not behind the name of a table"),
        ("SELECT * FROM t FOR VERSION AS OF 1 + 1", "takes the id of a snapshot"),
        ("SELECT * FROM t FOR TIMESTAMP AS OF (SELECT now())", "takes a constant, not a query"),
        ("SELECT * FROM t FOR TIMESTAMP AS OF n", "takes a constant moment"),
        ("SELECT * FROM t FOR TIMESTAMP AS OF 17", "takes a moment"),
        ("SELECT * FROM t TIMESTAMP AS OF '2026-01-01'", ""),
    ];
    for (sql, why) in refused {
        let error = session.run(sql).await.err().unwrap_or_else(|| panic!("{sql} is run"));
        assert!(error.to_string().contains(why), "{sql}: {error}");
    }
}

#[tokio::test]
async fn rows_are_written_in_three_forms() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&folder).await;
    let sql = "SELECT * FROM (VALUES (1, 'a,b'), (2, NULL)) AS t (n, text) ORDER BY n";
    let written = async |sql, format| {
        let mut out = Vec::new();
        write(session.run(sql).await.unwrap(), format, &mut out)
            .await
            .map(|()| String::from_utf8(out).unwrap())
    };
    assert_eq!(written(sql, Format::Csv).await.unwrap(), "n,text\n1,\"a,b\"\n2,\n");
    let json = "{\"n\":1,\"text\":\"a,b\"}\n{\"n\":2,\"text\":null}\n";
    assert_eq!(written(sql, Format::Json).await.unwrap(), json);
    let many = "SELECT * FROM generate_series(1, 1500)";
    assert_eq!(written(many, Format::Table).await.unwrap().lines().count(), 1500 + 2 * 4);
    assert!(written("SELECT [1] AS list", Format::Csv).await.is_err());
    assert_eq!(written("SELECT 1 AS n WHERE false", Format::Csv).await.unwrap(), "n\n");
}

#[tokio::test]
async fn memory_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&folder).await;
    let sql = "SELECT array_agg(value) FROM generate_series(1, 30000000)";
    let rows = session.run(sql).await.unwrap();
    let error = rows.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("Resources exhausted"), "{error}");
}

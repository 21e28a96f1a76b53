//! One stream, many tables: each record once, in the table that it names.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use lake::{Limits, Pattern, Routes, Unrouted};
use serde_json::{Value, json};
use tests::command::{Place, finish, frazil};
use tests::{Bench, Object, TABLE, files, gzip, sqs_event};

fn routes(patterns: &[&str]) -> Routes {
    Routes {
        prefix: None,
        field: Some("kind".parse().unwrap()),
        patterns: patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
        unrouted: Unrouted::Default,
        definitions: None,
        max_tables: 200,
    }
}

/// Records of `numbers`, each of the kind of its number modulo `kinds`; the columns of each kind are of its own types.
fn records(numbers: std::ops::Range<i64>, kinds: i64) -> String {
    let line = |n: i64| {
        let kind = n % kinds;
        let value = if kind % 2 == 0 { n.to_string() } else { format!("\"text {n}\"") };
        format!("{{\"n\":{n},\"kind\":\"k{kind}\",\"value\":{value}}}\n")
    };
    numbers.map(line).collect()
}

fn of_kind(numbers: std::ops::Range<i64>, kinds: i64, kind: i64) -> Vec<i64> {
    numbers.filter(|n| n % kinds == kind).collect()
}

#[tokio::test]
async fn each_record_is_in_the_table_that_it_names() {
    let bench = Bench::routed(routes(&["k0=test.even", "k1=test.odd"]), |_| {}).await;
    let first = bench.put("a.json", records(0..10, 3));
    let second = bench.put("b.json.gz", gzip(format!("{}{{\"n\":", records(10..20, 3))));
    let third =
        bench.put("c.json", "{\"n\":20,\"kind\":\"k0\",\"value\":7}\n{\"n\":21,\"kind\":null}\n{\"n\":22}");
    let delivered = bench.deliver(&[first.clone(), second.clone(), third.clone()]).await;
    assert_eq!(delivered.objects, ["10 rows", "10 rows, 1 truncated", "3 rows"]);
    let mut even = of_kind(0..20, 3, 0);
    even.push(20);
    assert_eq!(bench.numbers_of("test.even").await.unwrap(), even);
    assert_eq!(bench.numbers_of("test.odd").await.unwrap(), of_kind(0..20, 3, 1));
    let mut others = of_kind(0..20, 3, 2);
    others.extend([21, 22]);
    assert_eq!(bench.numbers().await, others);
    assert_eq!(bench.rejections().len(), 1);
    let tables = delivered.outcome.unwrap().tables;
    let told: Vec<(String, u64)> = tables.iter().map(|table| (table.table.to_string(), table.rows)).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(told.iter().map(|(_, rows)| rows).sum::<u64>(), 23);
    // All of it again adds nothing.
    let again = bench.deliver(&[third, first, second]).await;
    assert_eq!(again.objects, ["known", "known", "known"]);
    assert_eq!(bench.numbers_of("test.even").await.unwrap(), even);
}

#[tokio::test]
async fn a_table_that_fails_fails_only_its_objects_and_nothing_comes_twice() {
    let bench = Bench::routed(routes(&["*=test.*"]), |_| {}).await;
    let (whole, mixed) = (bench.put("a.json", records(0..4, 1)), bench.put("b.json", records(4..8, 2)));
    // A file where the folder of a table would be.
    let place = bench.folder.path().join("warehouse/test/k1");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(&place, "in the way").unwrap();
    let objects = [whole, mixed];
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["4 rows", "failed"]);
    assert_eq!(delivered.failed, [1]);
    assert_eq!(bench.numbers_of("test.k0").await.unwrap(), [0, 1, 2, 3, 4, 6]);
    assert_eq!(bench.numbers_of("test.k1").await, None);
    std::fs::remove_file(place).unwrap();
    let again = bench.deliver(&objects).await;
    assert_eq!(again.failed, [] as [usize; 0]);
    assert_eq!(bench.numbers_of("test.k0").await.unwrap(), [0, 1, 2, 3, 4, 6]);
    assert_eq!(bench.numbers_of("test.k1").await.unwrap(), [5, 7]);
}

#[tokio::test]
async fn a_stream_without_a_table_of_its_own_remembers_its_objects_too() {
    let bench = Bench::routed(routes(&["*=test.*"]), |_| {}).await;
    let object = bench.put("a.json", records(0..6, 2));
    assert_eq!(bench.deliver(std::slice::from_ref(&object)).await.objects, ["6 rows"]);
    assert_eq!(bench.numbers_of(TABLE).await, None);
    bench.deliver(&[object]).await;
    assert_eq!(bench.numbers_of("test.k0").await.unwrap(), [0, 2, 4]);
    assert_eq!(bench.numbers_of("test.k1").await.unwrap(), [1, 3, 5]);
}

#[tokio::test]
async fn another_version_of_an_object_adds_what_is_new() {
    let bench = Bench::routed(routes(&["*=test.*"]), |_| {}).await;
    let first = bench.put("a.json", records(0..6, 2));
    bench.deliver(std::slice::from_ref(&first)).await;
    let second = bench.put("a.json", records(0..8, 2));
    let both: &[Object] = &[first, second];
    bench.handle(&sqs_event(&[both]), Duration::from_secs(60)).await;
    assert_eq!(bench.numbers_of("test.k0").await.unwrap(), [0, 2, 4, 6]);
    assert_eq!(bench.numbers_of("test.k1").await.unwrap(), [1, 3, 5, 7]);
}

#[tokio::test]
async fn what_names_no_table_is_quarantined_if_it_is_said() {
    let unrouted = Unrouted::Quarantine;
    let bench = Bench::routed(Routes { unrouted, ..routes(&["k0=test.even"]) }, |_| {}).await;
    let object = bench.put("a.json", records(0..6, 3));
    assert_eq!(bench.deliver(&[object]).await.objects, ["2 rows, 4 no_route"]);
    assert_eq!(bench.numbers_of("test.even").await.unwrap(), [0, 3]);
    let rejections = bench.rejections();
    assert!(rejections.iter().all(|rejection| rejection.code == "no_route" && rejection.raw.is_some()));
    assert_eq!(rejections.len(), 4);
}

#[tokio::test]
async fn folders_name_tables_too() {
    let by_folder = Routes { prefix: Some("in/".to_owned()), field: None, ..routes(&[]) };
    let bench = Bench::routed(by_folder, |_| {}).await;
    let objects = [
        bench.put("in/orders/2026/a.json", records(0..3, 1)),
        bench.put("in/clicks/2026/a.json", records(3..5, 1)),
        bench.put("in/orders/2026/b.json", records(5..7, 1)),
        bench.put("other.json", records(7..9, 1)),
    ];
    assert_eq!(bench.deliver(&objects).await.objects, ["3 rows", "2 rows", "2 rows", "2 rows"]);
    assert_eq!(bench.numbers_of("test.orders").await.unwrap(), [0, 1, 2, 5, 6]);
    assert_eq!(bench.numbers_of("test.clicks").await.unwrap(), [3, 4]);
    assert_eq!(bench.numbers().await, [7, 8]);
}

/// Values that make one name would be one table.
#[tokio::test]
async fn a_table_is_of_the_value_that_it_was_created_for() {
    let bench = Bench::routed(routes(&["*=test.*"]), |_| {}).await;
    let line = |n: i64, kind: &str| format!("{{\"n\":{n},\"kind\":\"{kind}\"}}\n");
    let first = line(1, "a-b") + &line(2, "a_b") + &line(3, "A.B") + &line(4, "a-b") + &line(5, "ab");
    let first = bench.put("a.json", first);
    assert_eq!(bench.deliver(std::slice::from_ref(&first)).await.objects, ["3 rows, 2 no_route"]);
    let second = bench.put("b.json", line(6, "a_b"));
    assert_eq!(bench.deliver(&[second]).await.objects, ["0 rows, 1 no_route"]);
    let third = bench.put("c.json", line(7, "a-b"));
    assert_eq!(bench.deliver(&[first, third]).await.objects, ["0 rows", "1 rows"]);
    assert_eq!(bench.numbers_of("test.a_b").await.unwrap(), [1, 4, 7]);
    let rejections = bench.rejections();
    assert_eq!(rejections.len(), 3);
    for rejection in rejections {
        assert!(
            rejection.raw.is_some() && rejection.message.contains("of the value \"a-b\""),
            "{rejection:?}"
        );
    }
    // Folders make names in the same way; a rule that names its table means all that it fits.
    let by_folder = Routes { prefix: Some("in/".to_owned()), ..routes(&["a*=test.both"]) };
    let bench = Bench::routed(by_folder, |_| {}).await;
    let objects = [
        bench.put("in/x-y/a.json", line(1, "")),
        bench.put("in/x_y/a.json", line(2, "")),
        bench.put("a.json", line(3, "a-b") + &line(4, "a_b")),
    ];
    assert_eq!(bench.deliver(&objects).await.objects, ["1 rows", "0 rows, 1 no_route", "2 rows"]);
    assert_eq!(bench.numbers_of("test.x_y").await.unwrap(), [1]);
    assert_eq!(bench.numbers_of("test.both").await.unwrap(), [3, 4]);
}

#[tokio::test]
async fn a_hundred_tables_in_one_invocation() {
    // What waits in memory is a few records; the rest is in the temporary file.
    let small = |limits: &mut Limits| limits.write.buffer_bytes = 64 << 10;
    let bench = Bench::routed(routes(&["*=test.*"]), small).await;
    let objects: Vec<Object> =
        (0..4).map(|at| bench.put(&format!("{at}.json"), records(at * 1000..(at + 1) * 1000, 100))).collect();
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["1000 rows"; 4]);
    for kind in [0, 1, 50, 99] {
        let numbers = bench.numbers_of(&format!("test.k{kind}")).await.unwrap();
        assert_eq!(numbers, of_kind(0..4000, 100, kind));
    }
    assert_eq!(delivered.outcome.unwrap().tables.len(), 101);
}

#[tokio::test]
async fn a_table_is_created_by_its_own_definition() {
    let folder = tempfile::tempdir().unwrap();
    let text = include_str!("../../tables/user_events.json").replace("\"user_events\"", "\"k1\"");
    std::fs::write(folder.path().join("k1.json"), text).unwrap();
    let definitions = Some(format!("file://{}", folder.path().display()));
    let bench = Bench::routed(Routes { definitions, ..routes(&["*=test.*"]) }, |_| {}).await;
    let object = bench.put("a.json", "{\"kind\":\"k1\",\"n\":1}\n{\"kind\":\"k0\",\"n\":2}\n");
    // That table has no column n.
    assert_eq!(bench.deliver(&[object]).await.objects, ["1 rows, 1 unknown_field"]);
    assert_eq!(bench.numbers_of("test.k0").await.unwrap(), [2]);
    let quarantined: Vec<PathBuf> = files(&bench.folder.path().join("errors/quarantine/test.k1"));
    assert_eq!(quarantined.len(), 1);
}

#[tokio::test]
async fn a_mistake_of_a_whole_deployment_is_handed_back() {
    let bench = Bench::limited(None, |limits| limits.rejected_percent = Some(20)).await;
    let good = bench.put("a.json", "{\"n\":1}\n".repeat(50));
    assert_eq!(bench.deliver(&[good]).await.objects, ["50 rows"]);
    let tolerable = format!("{}{}", "{\"n\":2}\n".repeat(40), "{\"n\":\n}\n".repeat(10));
    let too_much = format!("{}{}", "{\"n\":3}\n".repeat(40), "{\"n\":\n}\n".repeat(11));
    let few = "{\"n\":\n}\n".repeat(9);
    let objects = [bench.put("b.json", tolerable), bench.put("c.json", too_much), bench.put("d.json", few)];
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["40 rows, 10 invalid_json", "failed", "0 rows, 9 invalid_json"]);
    assert_eq!(delivered.failed, [1]);
    assert_eq!(bench.numbers().await.iter().filter(|n| **n == 3).count(), 0);
    assert_eq!(bench.rejections_that_count().await.len(), 19);
}

/// The command reads the same variables as the function, and the books close over all tables.
#[tokio::test]
async fn a_replay_into_many_tables_is_audited() {
    let place = Place::new();
    let events = records(0..9, 3) + "{\"kind\":\"k1\",\"n\":1,\"n\":2}\n{\"n\":9}\n";
    let input = place.write("events.ndjson", events);
    let variables = [("FRAZIL_ROUTE_FIELD", "kind"), ("FRAZIL_UNROUTED", "quarantine")];
    let mut replay = place.command(&[input]);
    let summary = finish(replay.envs(variables).spawn().unwrap());
    let name = |kind: &str| format!("streaming_analytics.{kind}");
    assert_eq!(
        summary["rows_by_table"],
        json!({name("events"): 0, name("k0"): 3, name("k1"): 3, name("k2"): 3})
    );
    assert_eq!(summary["rows_quarantined_by_reason"], json!({"duplicate_field": 1, "no_route": 1}));
    let audit = || {
        let mut audit = frazil();
        audit.args(["audit", "--json", "--warehouse"]).arg(place.warehouse()).envs(variables);
        serde_json::from_slice::<Value>(&audit.output().unwrap().stdout).unwrap()
    };
    let report = audit();
    assert_eq!(report["findings"], json!([]), "{report}");
    // Rows that one of them lacks are missed.
    let table = place.table(&name("k2")).await;
    let data = format!("{}/data", table.metadata().location());
    for file in files(data.strip_prefix("file://").unwrap().as_ref()) {
        std::fs::remove_file(file).unwrap();
    }
    assert_ne!(audit()["findings"], json!([]));
}

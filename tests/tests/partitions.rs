//! Tables by every partition transform, values as no path should have them, and more of both than memory is
//! there for: all rows are there, filters find them, and no file leaves the table's folder.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeSet;
use std::fs::File;

use futures::TryStreamExt as _;
use iceberg::expr::{Predicate, Reference};
use iceberg::spec::{Datum, Literal, PrimitiveLiteral, PrimitiveType, Type};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};
use tests::{Bench, definition, files, gzip, numbers, scan};

/// Rows of `values`, each with its place as `n`, in the column `column`.
fn rows_of(column: &str, values: &[Value]) -> String {
    values.iter().enumerate().map(|(n, value)| format!("{}\n", json!({"n": n, column: value}))).collect()
}

/// Where the data files lie: the part of their paths between the table's data folder and the file name.
fn folders(bench: &Bench) -> BTreeSet<String> {
    let data = bench.folder.path().join("warehouse/test/events/data");
    let parquet = files(bench.folder.path())
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "parquet"));
    parquet
        .map(|path| {
            let within = path.strip_prefix(&data).unwrap_or_else(|_| unreachable!("{path:?} is in {data:?}"));
            within.parent().unwrap().to_str().unwrap().to_owned()
        })
        .collect()
}

/// The numbers of the rows that `filter` keeps, and how many of the data files a reader must open for them.
async fn find(bench: &Bench, filter: Predicate) -> (Vec<i64>, usize) {
    let table = bench.table().await;
    let plan = table.scan().with_filter(filter.clone()).build().unwrap().plan_files().await.unwrap();
    let planned: Vec<_> = plan.try_collect().await.unwrap();
    (numbers(&scan(&table, &["n"], filter).await), planned.len())
}

/// The values of a partition field of whole numbers, in order.
async fn partitions(bench: &Bench) -> Vec<Option<i32>> {
    let plan = bench.table().await.scan().build().unwrap().plan_files().await.unwrap();
    let files: Vec<_> = plan.try_collect().await.unwrap();
    let values = files.iter().map(|file| match file.partition.as_ref().unwrap().fields() {
        [None] => None,
        [Some(Literal::Primitive(PrimitiveLiteral::Int(value)))] => Some(*value),
        other => unreachable!("{other:?}"),
    });
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values
}

#[tokio::test]
async fn identity_of_strings_that_no_path_should_have() {
    let mut values: Vec<Value> = [
        "plain",
        "a/../b",
        "../../../../escape",
        "/etc/hosts",
        "x#y",
        "q?x=1&y=2",
        "with space",
        "plus+plus",
        "100%",
        "a%2Fb",
        "ünïcødé 日本 🎉",
        "",
        "null",
        ".",
        "..",
        "tab\tline\nend\r",
        "nul\0",
        "quote\"'\\",
        "a=b",
        "\u{202e}reversed",
    ]
    .iter()
    .map(|text| json!(text))
    .collect();
    values.push(json!("ü".repeat(300)));
    values.push(json!(format!("{}!", "ü".repeat(300))));
    values.push(Value::Null);
    let table = definition(&[("n", "long"), ("p", "string"), ("file_name", "string")], &[("p", "identity")]);
    let bench = Bench::new(Some(table)).await;
    let object = bench.put("a", rows_of("p", &values));
    let delivered = bench.deliver(&[object]).await;
    assert_eq!(delivered.outcome.unwrap().data_files, values.len(), "one file for each value");
    let read: Vec<Value> = bench.rows().await.into_iter().map(|row| row["p"].clone()).collect();
    assert_eq!(read, values);
    for (value, n) in values.iter().zip(0..) {
        let column = Reference::new("p");
        let filter = match value.as_str() {
            Some(text) => column.equal_to(Datum::string(text)),
            None => column.is_null(),
        };
        assert_eq!(find(&bench, filter).await, (vec![n], 1), "{value}");
    }
    let folders = folders(&bench);
    assert_eq!(folders.len(), values.len() - 1, "null and \"null\" share a folder: {folders:?}");
    assert!(folders.iter().all(|folder| !folder.contains(['/', ' ', '#', '?']) && folder.is_ascii()));
    assert!(folders.contains("p_part0=a%2F..%2Fb"), "{folders:?}");
}

#[tokio::test]
async fn time_transforms() {
    let instants = [
        json!("1969-12-31T23:59:59.999999Z"),
        json!("1970-01-01T00:00:00Z"),
        json!("2026-01-01T00:30:00+01:00"),
        json!("2026-01-01T00:30:00Z"),
        json!("2026-01-01T01:00:00Z"),
        json!("2026-02-28T12:00:00Z"),
        Value::Null,
        json!("2026-02-28T12:59:59.999Z"),
    ];
    // Years, months, days and hours since 1970 (Iceberg specification, "Partition Transforms").
    let cases = [
        ("year", vec![None, Some(-1), Some(0), Some(55), Some(56)]),
        ("month", vec![None, Some(-1), Some(0), Some(671), Some(672), Some(673)]),
        ("day", vec![None, Some(-1), Some(0), Some(20_453), Some(20_454), Some(20_512)]),
        ("hour", vec![None, Some(-1), Some(0), Some(490_895), Some(490_896), Some(490_897), Some(492_300)]),
    ];
    for kind in ["timestamptz", "timestamp"] {
        for (transform, expected) in &cases {
            let table = definition(&[("n", "long"), ("at", kind)], &[("at", transform)]);
            let bench = Bench::new(Some(table)).await;
            bench.deliver(&[bench.put("a", rows_of("at", &instants))]).await;
            assert_eq!(partitions(&bench).await, *expected, "{kind} {transform}");
            assert_eq!(folders(&bench).len(), expected.len());
            assert_eq!(bench.numbers().await, (0..8).collect::<Vec<_>>());
            let datum = |text: &str| match kind {
                "timestamp" => Datum::timestamp_from_str(text.trim_end_matches('Z')).unwrap(),
                _ => Datum::timestamptz_from_str(text).unwrap(),
            };
            let at = || Reference::new("at");
            let (found, opened) = find(&bench, at().less_than(datum("1970-01-01T00:00:00Z"))).await;
            assert_eq!((found, opened), (vec![0], 1), "{kind} {transform}");
            let new_year = at().greater_than_or_equal_to(datum("2026-01-01T00:00:00Z"));
            let (found, opened) = find(&bench, new_year).await;
            assert_eq!(found, [3, 4, 5, 7], "{kind} {transform}");
            assert!(opened < expected.len() - 2, "{kind} {transform} opens {opened} files");
            assert_eq!(find(&bench, at().is_null()).await, (vec![6], 1));
        }
    }
}

/// The hash values are those of the Iceberg specification, Appendix B.
#[tokio::test]
async fn bucket_is_the_specifications() {
    let cases = [
        ("int", json!(34), 2_017_239_379),
        ("long", json!(34), 2_017_239_379),
        ("decimal(9, 2)", json!("14.20"), -500_754_589),
        ("date", json!("2017-11-16"), -653_330_422),
        ("time", json!("22:31:08"), -662_762_989),
        ("timestamp", json!("2017-11-16T22:31:08"), -2_047_944_441),
        ("timestamptz", json!("2017-11-16T14:31:08-08:00"), -2_047_944_441),
        ("string", json!("iceberg"), 1_210_000_089),
        ("uuid", json!("f79c3e09-677c-4bbd-a479-3f349cb785e7"), 1_488_055_340),
        ("fixed[4]", json!("AAECAw=="), -188_683_207),
        ("binary", json!("AAECAw=="), -188_683_207),
    ];
    for (kind, value, hash) in cases {
        let table = definition(&[("n", "long"), ("v", kind)], &[("v", "bucket[1000]")]);
        let bench = Bench::new(Some(table)).await;
        let delivered = bench.deliver(&[bench.put("a", rows_of("v", &[value, Value::Null]))]).await;
        assert_eq!(delivered.objects, ["2 rows"], "{kind}");
        let bucket = (hash & i32::MAX) % 1000;
        let expected = [format!("v_part0={bucket}"), "v_part0=null".to_owned()];
        assert_eq!(folders(&bench), BTreeSet::from(expected), "{kind}");
        assert_eq!(bench.numbers().await, [0, 1]);
        assert_eq!(find(&bench, Reference::new("v").is_null()).await, (vec![1], 1));
    }
}

#[tokio::test]
async fn truncate_is_the_specifications() {
    let cases = [
        ("int", "truncate[10]", json!(-1), "-10"),
        ("long", "truncate[10]", json!(19), "10"),
        ("decimal(9, 2)", "truncate[50]", json!("10.65"), "10.50"),
        ("string", "truncate[3]", json!("日本語のテキスト"), "%E6%97%A5%E6%9C%AC%E8%AA%9E"),
        ("binary", "truncate[3]", json!("AAECAwQ="), "000102"),
    ];
    for (kind, transform, value, expected) in cases {
        let table = definition(&[("n", "long"), ("v", kind)], &[("v", transform)]);
        let bench = Bench::new(Some(table)).await;
        let delivered = bench.deliver(&[bench.put("a", rows_of("v", &[value, Value::Null]))]).await;
        assert_eq!(delivered.objects, ["2 rows"], "{kind}");
        let expected = [format!("v_part0={expected}"), "v_part0=null".to_owned()];
        assert_eq!(folders(&bench), BTreeSet::from(expected), "{kind}");
        assert_eq!(bench.numbers().await, [0, 1]);
    }
}

#[tokio::test]
async fn truncated_strings_are_found() {
    let table = definition(&[("n", "long"), ("city", "string")], &[("city", "truncate[2]")]);
    let bench = Bench::new(Some(table)).await;
    let cities = [json!("Ålesund"), json!("Åndalsnes"), json!("Oslo"), json!("O"), json!("Os")];
    bench.deliver(&[bench.put("a", rows_of("city", &cities))]).await;
    for (city, n) in cities.iter().zip(0..) {
        let filter = Reference::new("city").equal_to(Datum::string(city.as_str().unwrap()));
        assert_eq!(find(&bench, filter).await, (vec![n], 1), "{city}");
    }
    let filter = Reference::new("city").starts_with(Datum::string("O"));
    assert_eq!(find(&bench, filter).await, (vec![2, 3, 4], 2));
}

/// Values of every primitive type: as partitions, and as bounds of files without partitions.
#[tokio::test]
async fn identity_of_every_type() {
    let cases: [(&str, Value, Value, Datum); 16] = [
        ("boolean", json!(true), json!(false), Datum::bool(true)),
        ("int", json!(-7), json!(7), Datum::int(-7)),
        ("long", json!(i64::MIN), json!(i64::MAX), Datum::long(i64::MIN)),
        ("float", json!(-1.5), json!(1.5), Datum::float(-1.5)),
        ("double", json!(-1.5e300), json!(1.5), Datum::double(-1.5e300)),
        ("decimal(9, 2)", json!("-1234567.89"), json!("0.01"), decimal("-1234567.89", 9)),
        (
            "decimal(18, 3)",
            json!("-123456789012345.678"),
            json!("0.001"),
            decimal("-123456789012345.678", 18),
        ),
        (
            "decimal(28, 10)",
            json!("-123456789012345678.0123456789"),
            json!("12.5"),
            decimal("-123456789012345678.0123456789", 28),
        ),
        ("date", json!("1969-12-31"), json!("2026-01-02"), Datum::date(-1)),
        ("time", json!("23:59:59.999999"), json!("00:00:00"), Datum::time_micros(86_399_999_999).unwrap()),
        (
            "timestamp",
            json!("1969-12-31T23:59:59"),
            json!(1_772_000_000),
            Datum::timestamp_micros(-1_000_000),
        ),
        (
            "timestamptz",
            json!("1969-12-31T23:59:59Z"),
            json!(1_772_000_000),
            Datum::timestamptz_micros(-1_000_000),
        ),
        (
            "uuid",
            json!("f79c3e09-677c-4bbd-a479-3f349cb785e7"),
            json!("00000000-0000-0000-0000-000000000001"),
            Datum::uuid_from_str("f79c3e09-677c-4bbd-a479-3f349cb785e7").unwrap(),
        ),
        ("string", json!("ü"), json!("z"), Datum::string("ü")),
        ("fixed[4]", json!("AAECAw=="), json!("/////w=="), Datum::fixed([0, 1, 2, 3])),
        ("binary", json!("AAECAw=="), json!("/////w=="), Datum::binary([0, 1, 2, 3])),
    ];
    for (kind, value, other, datum) in cases {
        for partitions in [&[("v", "identity")][..], &[]] {
            // The crate cannot write a uuid into a manifest.
            if kind == "uuid" && !partitions.is_empty() {
                continue;
            }
            let table = definition(&[("n", "long"), ("v", kind)], partitions);
            let bench = Bench::new(Some(table)).await;
            let values = [value.clone(), other.clone(), Value::Null, value.clone()];
            let delivered = bench.deliver(&[bench.put("a", rows_of("v", &values))]).await;
            assert_eq!(delivered.objects, ["4 rows"], "{kind}");
            // The crate's reader has no filter on times of day.
            if kind != "time" {
                let (found, opened) = find(&bench, Reference::new("v").equal_to(datum.clone())).await;
                assert_eq!((found, opened), (vec![0, 3], 1), "{kind}, partitioned by {partitions:?}");
            }
            assert_eq!(find(&bench, Reference::new("v").is_null()).await.0, [2], "{kind}");
        }
    }
}

fn decimal(text: &str, precision: u32) -> Datum {
    let scale = text.len() as u32 - text.find('.').unwrap() as u32 - 1;
    let kind = Type::Primitive(PrimitiveType::Decimal { precision, scale });
    Datum::decimal_from_str(text).unwrap().to(&kind).unwrap()
}

#[tokio::test]
async fn several_partition_fields() {
    let table = definition(
        &[("n", "long"), ("city", "string"), ("at", "timestamptz")],
        &[("city", "identity"), ("at", "day"), ("city", "bucket[4]")],
    );
    let bench = Bench::new(Some(table)).await;
    let rows: String = (0..60)
        .map(|n| {
            let (city, day) = (["Oslo", "Bergen", "Å/.."][n % 3], 1 + n % 4);
            format!("{}\n", json!({"n": n, "city": city, "at": format!("2026-01-0{day}T00:00:00Z")}))
        })
        .collect();
    let delivered = bench.deliver(&[bench.put("a", rows)]).await;
    assert_eq!(delivered.outcome.unwrap().data_files, 12);
    assert_eq!(bench.numbers().await, (0..60).collect::<Vec<_>>());
    assert!(folders(&bench).iter().all(|folder| folder.split('/').count() == 3));
    let filter = Reference::new("city")
        .equal_to(Datum::string("Å/.."))
        .and(Reference::new("at").less_than(Datum::timestamptz_from_str("2026-01-02T00:00:00Z").unwrap()));
    assert_eq!(find(&bench, filter).await, ((0..60).filter(|n| n % 3 == 2 && n % 4 == 0).collect(), 1));
}

#[tokio::test]
async fn without_partitions_all_lies_in_the_data_folder() {
    let bench = Bench::new(Some(tests::plain_table())).await;
    bench.deliver(&[bench.put("a", tests::lines(0..100))]).await;
    assert_eq!(folders(&bench), BTreeSet::from([String::new()]));
    assert_eq!(bench.numbers().await, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn more_partitions_than_may_be_open() {
    for buffer_bytes in [64 << 20, 100_000] {
        let table = definition(&[("n", "long"), ("p", "long")], &[("p", "identity")]);
        let limited = Bench::limited(Some(table), |limits| {
            limits.write.open_partitions = 8;
            limits.write.buffer_bytes = buffer_bytes;
            limits.batch_bytes = 20_000;
        });
        let bench = limited.await;
        let rows: String = (0..2000).map(|n| format!("{{\"n\":{n},\"p\":{}}}\n", n % 500)).collect();
        let delivered = bench.deliver(&[bench.put("a.gz", gzip(rows))]).await;
        assert_eq!(delivered.objects, ["2000 rows"]);
        assert_eq!(folders(&bench).len(), 500);
        assert_eq!(bench.numbers().await, (0..2000).collect::<Vec<_>>());
        let (found, _) = find(&bench, Reference::new("p").equal_to(Datum::long(123))).await;
        assert_eq!(found, [123, 623, 1123, 1623]);
    }
}

/// Long strings have shortened bounds. A file with row groups of long and row groups of short strings must not
/// have bounds that leave some of them out.
#[tokio::test]
async fn long_strings_are_found_in_files_of_several_row_groups() {
    let table = definition(&[("n", "long"), ("text", "string")], &[]);
    let limited = Bench::limited(Some(table), |limits| {
        limits.write.buffer_bytes = 64 * 1024;
        limits.batch_bytes = 16 * 1024;
    });
    let bench = limited.await;
    // After short strings, some alike for longer than a bound, of characters of one to four bytes, and of the
    // greatest character there is.
    let text = |n: usize| match n % 5 {
        _ if n < 4000 => format!("m{n}"),
        0 => format!("{}{n:05}", "x".repeat(300)),
        1 => format!("{}{n:05}", "é".repeat(100)),
        2 => format!("{n:05}{}", "\u{10FFFF}".repeat(80)),
        3 => format!("{}{n:05}", "\u{10FFFF}".repeat(80)),
        _ => format!("a{}{n:05}", "日".repeat(70)),
    };
    let rows: String = (0..7000).map(|n| format!("{}\n", json!({"n": n, "text": text(n)}))).collect();
    let outcome = bench.deliver(&[bench.put("a.gz", gzip(rows))]).await.outcome.unwrap();
    assert_eq!(outcome.data_files, 1);
    let file = files(&bench.folder.path().join("warehouse/test/events/data")).remove(0);
    let groups = SerializedFileReader::new(File::open(file).unwrap()).unwrap().num_row_groups();
    assert!(groups > 3, "{groups} row groups");
    assert_eq!(bench.numbers().await, (0..7000).collect::<Vec<_>>());
    for n in (0..7000).step_by(97) {
        let found = find(&bench, Reference::new("text").equal_to(Datum::string(text(n)))).await;
        assert_eq!(found, (vec![n as i64], 1), "{n}");
    }
    let greatest = Reference::new("text").greater_than(Datum::string("\u{10FFFF}".repeat(80)));
    assert_eq!(find(&bench, greatest).await.0.len(), 600);
    let alike = Reference::new("text").starts_with(Datum::string("x".repeat(300)));
    assert_eq!(find(&bench, alike).await.0.len(), 600);
}

#[tokio::test]
async fn files_end_at_their_target_size() {
    let mut table = definition(&[("n", "long"), ("text", "string")], &[]);
    table.properties.insert("write.target-file-size-bytes".to_owned(), "100000".to_owned());
    table.properties.insert("write.parquet.row-group-size-bytes".to_owned(), "20000".to_owned());
    table.properties.insert("write.parquet.compression-codec".to_owned(), "uncompressed".to_owned());
    let bench = Bench::limited(Some(table), |limits| limits.batch_bytes = 10_000).await;
    let rows: String = (0..5000).map(|n| format!("{{\"n\":{n},\"text\":\"{:0100}\"}}\n", n * 7919)).collect();
    bench.deliver(&[bench.put("a", rows)]).await;
    let sizes: Vec<u64> = files(&bench.folder.path().join("warehouse/test/events/data"))
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .collect();
    assert!(sizes.len() > 3 && sizes.iter().all(|size| *size < 150_000), "{sizes:?}");
    assert_eq!(bench.numbers().await, (0..5000).collect::<Vec<_>>());
}

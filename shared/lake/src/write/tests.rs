//! Files hold the rows they were given, by partition, and their manifest entries say nothing that is not so.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, Float64Array, Int32Array, Int64Array};
use arrow_buffer::NullBuffer;
use chrono::{DateTime, Datelike as _};
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::spec::{
    Datum, ListType, Literal, NestedField, PrimitiveLiteral, PrimitiveType as Kind, Schema, StructType,
    Transform, Type, UnboundPartitionField, UnboundPartitionSpec,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::ParquetMetaData;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::catalog::Lake;
use crate::commit::{Change, Layout, Objects, commit};
use crate::decode::RowDecoder;
use crate::definition::TableDefinition;
use crate::job::CommitMetrics;
use crate::token::Token;

const ROOMY: WriteLimits = WriteLimits {
    buffer_bytes: usize::MAX,
    open_partitions: usize::MAX,
    spill_bytes: u64::MAX,
    files: usize::MAX,
    two_encoders: true,
};

struct Bench {
    folder: TempDir,
    lake: Lake,
    table: Table,
}

impl Bench {
    async fn new(
        columns: Vec<NestedField>,
        partitions: &[(i32, Transform)],
        properties: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = format!("file://{}", folder.path().join("warehouse").display());
        let lake = Lake::open_sqlite(&folder.path().join("catalog.db"), &warehouse).await.unwrap();
        let fields = partitions.iter().enumerate().map(|(at, (source, transform))| {
            UnboundPartitionField::builder()
                .source_id(*source)
                .name(format!("p{at}"))
                .transform(*transform)
                .build()
        });
        let spec = UnboundPartitionSpec::builder().add_partition_fields(fields).unwrap().build();
        let fields: Vec<_> = columns.into_iter().map(Arc::new).collect();
        let definition = TableDefinition {
            name: "t".to_owned(),
            schema: Schema::builder().with_fields(fields).build().unwrap(),
            partition_spec: Some(spec),
            write_order: None,
            properties: properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let ident = TableIdent::from_strs(["test", "t"]).unwrap();
        let table = lake.create(&ident, definition).await.unwrap();
        Self { folder, lake, table }
    }

    fn batch(&self, rows: &[String]) -> RecordBatch {
        let mut decoder =
            RowDecoder::new(self.table.metadata().current_schema(), "1970-01-01T00:00:00Z").unwrap();
        for row in rows {
            decoder.push(row.as_bytes()).unwrap_or_else(|refusal| panic!("{row}: {refusal}"));
        }
        decoder.finish().unwrap()
    }

    fn writer(&self, limits: WriteLimits) -> TableWriter {
        TableWriter::new(&self.table, limits, Uuid::nil()).unwrap()
    }

    /// The files that one writer makes of `batches`.
    async fn write(&self, limits: WriteLimits, batches: &[RecordBatch]) -> Vec<Written> {
        let mut writer = self.writer(limits);
        for batch in batches {
            writer.write(batch).await.unwrap();
        }
        writer.close().await.unwrap().into_iter().map(Written::read).collect()
    }

    /// The Parquet files that lie under the table's warehouse.
    fn files(&self) -> BTreeSet<PathBuf> {
        fn walk(folder: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else if path.extension().is_none_or(|extension| extension != "json") {
                    found.insert(path);
                }
            }
        }
        let mut found = BTreeSet::new();
        walk(&self.folder.path().join("warehouse"), &mut found);
        found
    }
}

/// A data file: what its manifest entry will say, and what is really in it.
struct Written {
    entry: DataFile,
    path: PathBuf,
    metadata: Arc<ParquetMetaData>,
    batches: Vec<RecordBatch>,
}

impl Written {
    fn read(entry: DataFile) -> Self {
        let path = PathBuf::from(entry.file_path().strip_prefix("file://").unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
        let metadata = reader.metadata().clone();
        let batches = reader.build().unwrap().map(|batch| batch.unwrap()).collect();
        Self { entry, path, metadata, batches }
    }

    /// The column at `at`, one array a batch.
    fn column(&self, at: usize) -> impl Iterator<Item = &ArrayRef> {
        self.batches.iter().map(move |batch| batch.column(at))
    }

    /// The values of the column `n`, which is the first.
    fn numbers(&self) -> Vec<i64> {
        self.column(0).flat_map(|column| column.as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    /// What every entry must say of its file.
    fn check(&self) {
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(self.entry.record_count(), rows as u64);
        assert_eq!(self.entry.file_size_in_bytes(), self.path.metadata().unwrap().len());
        let groups = self.metadata.row_groups();
        let offsets = self.entry.split_offsets().unwrap();
        assert_eq!(offsets.len(), groups.len());
        assert!(offsets.is_sorted() && offsets[0] == 4, "{offsets:?}");
        let column_bytes: u64 = self.entry.column_sizes().values().sum();
        assert_eq!(column_bytes, groups.iter().map(|group| group.compressed_size() as u64).sum::<u64>());
    }
}

/// All values of the column `n` over `files`, in order.
fn numbers(files: &[Written]) -> Vec<i64> {
    let mut numbers: Vec<i64> = files.iter().flat_map(Written::numbers).collect();
    numbers.sort_unstable();
    numbers
}

fn optional(id: i32, name: &str, kind: impl Into<Type>) -> NestedField {
    NestedField::optional(id, name, kind.into())
}

/// Runs `law` for `cases` random inputs, against one table.
fn for_all<T: std::fmt::Debug>(cases: u32, inputs: impl Strategy<Value = T>, law: impl Fn(T)) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    };
    let mut runner = TestRunner::new(config);
    runner
        .run(&inputs, |input| {
            law(input);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Instants that RFC 3339 can spell, in microseconds: around 1970, at edges of seconds and days, anywhere.
fn micros() -> impl Strategy<Value = i64> {
    const DAY: i64 = 86_400_000_000;
    prop_oneof![
        -3_000_000_i64..3_000_000,
        (-700_000_i64..700_000, -2_i64..2).prop_map(|(day, offset)| day * DAY + offset),
        (-700_000_i64..2_900_000, -1_500_000_i64..1_500_000).prop_map(|(day, offset)| day * DAY + offset),
    ]
}

fn rfc3339(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).unwrap().to_rfc3339()
}

#[test]
fn splitting_keeps_every_row_and_puts_it_where_it_belongs() {
    let runtime = Runtime::new().unwrap();
    let columns = vec![
        optional(1, "n", Kind::Long),
        optional(2, "city", Kind::String),
        optional(3, "flag", Kind::Boolean),
        optional(4, "s", StructType::new(vec![NestedField::required(5, "x", Kind::Int.into()).into()])),
    ];
    let partitions = [
        (2, Transform::Identity),
        (3, Transform::Void),
        (5, Transform::Identity),
        (2, Transform::Truncate(1)),
    ];
    let bench = runtime.block_on(Bench::new(columns, &partitions, &[]));
    let city = || {
        prop::option::of(prop::sample::select(vec!["", "Oslo", "Os", "ü", "ö", "a/../b", "null", "\u{0}"]))
    };
    let row = (city(), any::<Option<bool>>(), prop::option::of(-1..2));
    // Hardly room for anything, too: then files are closed early, and rows wait.
    let limits = prop_oneof![
        Just(ROOMY),
        (1..4_usize, 0..40_000_usize, 0..20_000_u64).prop_map(
            |(open_partitions, buffer_bytes, spill_bytes)| WriteLimits {
                buffer_bytes,
                open_partitions,
                spill_bytes,
                ..ROOMY
            }
        ),
    ];
    let inputs = (prop::collection::vec(prop::collection::vec(row, 0..30), 1..4), limits);
    for_all(48, inputs, |(batches, limits)| {
        let mut rows = Vec::new();
        let batches: Vec<RecordBatch> = batches
            .into_iter()
            .map(|batch| {
                let json: Vec<String> = batch
                    .into_iter()
                    .map(|(city, flag, x)| {
                        rows.push((city, x));
                        let s = x.map(|x| serde_json::json!({"x": x}));
                        serde_json::json!({"n": rows.len() - 1, "city": city, "flag": flag, "s": s})
                            .to_string()
                    })
                    .collect();
                bench.batch(&json)
            })
            .collect();
        let files = runtime.block_on(bench.write(limits, &batches));
        assert_eq!(numbers(&files), (0..rows.len() as i64).collect::<Vec<_>>());
        let mut partitions = BTreeSet::new();
        for file in &files {
            file.check();
            let numbers = file.numbers();
            let (city, x) = rows[numbers[0] as usize];
            assert!(numbers.iter().all(|n| rows[*n as usize] == (city, x)), "{numbers:?}");
            let first = city.map(|city| Literal::string(city.chars().take(1).collect::<String>()));
            let expected = [city.map(Literal::string), None, x.map(Literal::int), first];
            assert_eq!(file.entry.partition(), &Struct::from_iter(expected));
            let is_first = partitions.insert((city, x));
            assert!(is_first || limits.open_partitions < usize::MAX, "one file a partition");
        }
    });
}

/// A table partitioned by every transform of an instant, each of a column of its own.
async fn by_time(kind: Kind) -> Bench {
    let transforms =
        [Transform::Year, Transform::Month, Transform::Day, Transform::Hour, Transform::Identity];
    let partitions: Vec<_> = transforms.into_iter().zip(2..).map(|(transform, id)| (id, transform)).collect();
    let mut columns = vec![optional(1, "n", Kind::Long)];
    columns.extend(partitions.iter().map(|(id, _)| optional(*id, &format!("at{id}"), kind.clone())));
    Bench::new(columns, &partitions, &[]).await
}

fn row_by_time(n: usize, at: Option<&str>) -> String {
    serde_json::json!({"n": n, "at2": at, "at3": at, "at4": at, "at5": at, "at6": at}).to_string()
}

#[test]
fn partitions_of_time_are_those_of_the_calendar() {
    let runtime = Runtime::new().unwrap();
    for kind in [Kind::Timestamp, Kind::Timestamptz] {
        let bench = runtime.block_on(by_time(kind));
        let null = Struct::from_iter([None, None, None, None, None]);
        for_all(24, prop::collection::vec(prop::option::weighted(0.95, micros()), 1..12), |instants| {
            let rows = instants.iter().enumerate();
            let rows: Vec<String> = rows.map(|(n, at)| row_by_time(n, at.map(rfc3339).as_deref())).collect();
            for file in runtime.block_on(bench.write(ROOMY, &[bench.batch(&rows)])) {
                let Some(micros) = instants[file.numbers()[0] as usize] else {
                    assert_eq!(file.entry.partition(), &null);
                    continue;
                };
                let at = DateTime::from_timestamp_micros(micros).unwrap();
                let year = at.year() - 1970;
                let expected = Struct::from_iter([
                    Some(Literal::int(year)),
                    Some(Literal::int(year * 12 + at.month0() as i32)),
                    Some(Literal::int(at.date_naive().num_days_from_ce() - 719_163)),
                    Some(Literal::int(at.timestamp().div_euclid(3600) as i32)),
                    Some(Literal::long(micros)),
                ]);
                assert_eq!(file.entry.partition(), &expected, "{at}");
            }
        });
    }
}

#[tokio::test]
async fn nanoseconds_have_partitions_of_time_too() {
    let bench = by_time(Kind::TimestamptzNs).await;
    let row = row_by_time(0, Some("1969-12-30T23:59:59.500000001Z"));
    let files = bench.write(ROOMY, &[bench.batch(&[row])]).await;
    let nanos = Literal::long(-86_400_499_999_999_i64);
    let expected = [Literal::int(-1), Literal::int(-1), Literal::int(-2), Literal::int(-25), nanos];
    assert_eq!(files[0].entry.partition(), &Struct::from_iter(expected.map(Some)));
    assert!(files[0].entry.file_path().contains("p4=1969-12-30+23%3A59%3A59.500000001"));
}

#[tokio::test]
async fn binary_can_be_truncated() {
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "b", Kind::Binary)];
    let bench = Bench::new(columns, &[(2, Transform::Truncate(2))], &[]).await;
    let rows = ["\"AAEC\"", "\"AAE=\"", "\"AA==\"", "\"\"", "null", "\"AAH/\""];
    let rows: Vec<String> =
        rows.iter().enumerate().map(|(n, b)| format!("{{\"n\": {n}, \"b\": {b}}}")).collect();
    let files = bench.write(ROOMY, &[bench.batch(&rows)]).await;
    let mut found: Vec<_> =
        files.iter().map(|file| (file.numbers(), file.entry.partition().clone())).collect();
    found.sort_by_key(|(numbers, _)| numbers[0]);
    let value = |bytes: &[u8]| Struct::from_iter([Some(Literal::binary(bytes.to_vec()))]);
    let expected = [
        (vec![0, 1, 5], value(&[0, 1])),
        (vec![2], value(&[0])),
        (vec![3], value(&[])),
        (vec![4], Struct::from_iter([None])),
    ];
    assert_eq!(found, expected);
}

/// Two rows in different partitions, of a table partitioned by `n`.
async fn by_number() -> (Bench, RecordBatch) {
    let bench = Bench::new(vec![optional(1, "n", Kind::Long)], &[(1, Transform::Identity)], &[]).await;
    let batch = bench.batch(&[2, 1, 2].map(|n| format!("{{\"n\": {n}}}")));
    (bench, batch)
}

#[tokio::test]
async fn a_batch_of_one_partition_is_passed_on_as_it_is() {
    let (bench, mixed) = by_number().await;
    let partitioner = Partitioner::new(bench.table.metadata()).unwrap();
    let parts = partitioner.split(&mixed).unwrap();
    let values = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().values().to_vec();
    let found: Vec<_> = parts.into_iter().map(|part| values(&part.of(&mixed).unwrap())).collect();
    assert_eq!(found, [vec![2, 2], vec![1]], "in the order in which the partitions are seen");

    let one = bench.batch(&["{\"n\": 7}".to_owned(), "{\"n\": 7}".to_owned()]);
    let mut parts = partitioner.split(&one).unwrap();
    assert_eq!(parts.len(), 1);
    assert!(Arc::ptr_eq(parts.remove(0).of(&one).unwrap().column(0), one.column(0)));
    assert!(partitioner.split(&one.slice(0, 0)).unwrap().is_empty());

    let bench = Bench::new(vec![optional(1, "n", Kind::Long)], &[], &[]).await;
    let partitioner = Partitioner::new(bench.table.metadata()).unwrap();
    let mut parts = partitioner.split(&mixed).unwrap();
    assert_eq!((parts.len(), partitioner.value(&mixed).unwrap()), (1, Struct::empty()));
    assert!(Arc::ptr_eq(parts.remove(0).of(&mixed).unwrap().column(0), mixed.column(0)));
    assert!(partitioner.split(&mixed.slice(0, 0)).unwrap().is_empty());
}

#[tokio::test]
async fn what_was_a_partition_once_stays_null() {
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "city", Kind::String)];
    let bench = Bench::new(columns, &[(2, Transform::Void)], &[]).await;
    let rows = ["Oslo", "Bergen"].map(|city| format!("{{\"n\": 0, \"city\": {city:?}}}"));
    let files = bench.write(ROOMY, &[bench.batch(&rows)]).await;
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].entry.partition(), &Struct::from_iter([None]));
    // The table takes such a file.
    let (lake, ident) = (&bench.lake, bench.table.identifier());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let token = Token::new("raw", "a", "1");
    let entries = [files[0].entry.clone()];
    let layout = Layout::of(&bench.table);
    let marks = Objects { tokens: &[token], rejected: 0 };
    let change = Change::append(&entries, &marks, layout, Uuid::nil());
    commit(lake.catalog.as_ref(), &lake.env, ident, &change, deadline, &mut CommitMetrics::default())
        .await
        .unwrap();
    let table = lake.table(ident).await.unwrap().unwrap();
    let batches = table.scan().build().unwrap().to_arrow().await.unwrap();
    let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

/// Strings whose bounds are cut: longer than a bound, alike at its start, and hard to round up.
fn text() -> impl Strategy<Value = String> {
    let repeated = prop_oneof![
        Just('x'),
        Just('\u{7F}'),
        Just('\u{7FF}'),
        Just('\u{D7FF}'),
        Just('\u{FFFF}'),
        Just('\u{10FFFF}'),
    ];
    prop_oneof![
        Just(String::new()),
        any::<String>(),
        (repeated, 100_usize..140, any::<String>()).prop_map(|(repeated, bytes, end)| {
            let mut text = repeated.to_string().repeat(bytes / repeated.len_utf8());
            text.push_str(&end);
            text
        }),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(any::<u8>(), 0..20),
        (120_usize..140, prop::collection::vec(any::<u8>(), 0..4)).prop_map(|(ones, end)| {
            let mut bytes = vec![0xFF; ones];
            bytes.extend(end);
            bytes
        }),
    ]
}

fn decimal(digits: u32) -> impl Strategy<Value = i128> {
    let limit = 10_i128.pow(digits);
    prop_oneof![Just(1 - limit), Just(limit - 1), -200_i128..200, 1 - limit..limit]
}

/// The JSON of a decimal of scale 2.
fn scaled(unscaled: i128) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs();
    format!("\"{sign}{}.{:02}\"", digits / 100, digits % 100)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    format!("{:?}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).unwrap()
}

/// Columns of every type that has bounds, by id, with random JSON for them.
fn bounded() -> Vec<(NestedField, BoxedStrategy<String>)> {
    let decimal_of = |precision| Kind::Decimal { precision, scale: 2 };
    let at = || micros().prop_map(|micros| json(rfc3339(micros))).boxed();
    let members = StructType::new(vec![optional(18, "x", Kind::Int).into()]);
    let element = optional(20, "element", Kind::Int);
    vec![
        (optional(1, "bool", Kind::Boolean), any::<bool>().prop_map(json).boxed()),
        (optional(2, "int", Kind::Int), any::<i32>().prop_map(json).boxed()),
        (optional(3, "long", Kind::Long), any::<i64>().prop_map(json).boxed()),
        (optional(4, "double", Kind::Double), finite().prop_map(json).boxed()),
        (
            optional(5, "zero", Kind::Double),
            prop_oneof![Just("0.0"), Just("-0.0")].prop_map(str::to_owned).boxed(),
        ),
        (optional(6, "dec9", decimal_of(9)), decimal(9).prop_map(scaled).boxed()),
        (optional(7, "dec18", decimal_of(18)), decimal(18).prop_map(scaled).boxed()),
        (optional(8, "dec38", decimal_of(38)), decimal(38).prop_map(scaled).boxed()),
        (optional(9, "date", Kind::Date), (-719_162..2_932_896).prop_map(|day| json(date(day))).boxed()),
        (
            optional(10, "time", Kind::Time),
            (0..24).prop_map(|hour| format!("\"{hour:02}:59:59.000001\"")).boxed(),
        ),
        (optional(11, "ts", Kind::Timestamp), at()),
        (optional(12, "tstz", Kind::Timestamptz), at()),
        (optional(13, "text", Kind::String), text().prop_map(json).boxed()),
        (optional(14, "uuid", Kind::Uuid), any::<u128>().prop_map(|id| json(Uuid::from_u128(id))).boxed()),
        (optional(15, "fixed", Kind::Fixed(3)), any::<[u8; 3]>().prop_map(|value| base64(&value)).boxed()),
        (optional(16, "binary", Kind::Binary), bytes().prop_map(|value| base64(&value)).boxed()),
        (
            optional(17, "s", members),
            any::<Option<i32>>().prop_map(|x| format!("{{\"x\":{}}}", json(x))).boxed(),
        ),
        (
            optional(19, "l", Type::List(ListType::new(element.into()))),
            any::<Vec<Option<i32>>>().prop_map(json).boxed(),
        ),
    ]
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>().prop_filter("finite", |value| value.is_finite()), -1.0..1.0]
}

fn date(day: i32) -> String {
    DateTime::from_timestamp(i64::from(day) * 86_400, 0).unwrap().date_naive().to_string()
}

/// The value in `array[row]` as the type `kind` has it in bounds.
fn literal(array: &dyn Array, row: usize, kind: &Kind) -> PrimitiveLiteral {
    match kind {
        Kind::Boolean => PrimitiveLiteral::Boolean(array.as_boolean().value(row)),
        Kind::Int => PrimitiveLiteral::Int(array.as_primitive::<Int32Type>().value(row)),
        Kind::Date => PrimitiveLiteral::Int(array.as_primitive::<Date32Type>().value(row)),
        Kind::Long => PrimitiveLiteral::Long(array.as_primitive::<Int64Type>().value(row)),
        Kind::Time => PrimitiveLiteral::Long(array.as_primitive::<Time64MicrosecondType>().value(row)),
        Kind::Timestamp | Kind::Timestamptz => {
            PrimitiveLiteral::Long(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        Kind::Double => PrimitiveLiteral::Double(array.as_primitive::<Float64Type>().value(row).into()),
        Kind::Decimal { .. } => PrimitiveLiteral::Int128(array.as_primitive::<Decimal128Type>().value(row)),
        Kind::String => PrimitiveLiteral::String(array.as_string::<i32>().value(row).to_owned()),
        Kind::Uuid => {
            let bytes = array.as_fixed_size_binary().value(row);
            PrimitiveLiteral::UInt128(u128::from_be_bytes(bytes.try_into().unwrap()))
        }
        Kind::Fixed(_) => PrimitiveLiteral::Binary(array.as_fixed_size_binary().value(row).to_vec()),
        Kind::Binary => PrimitiveLiteral::Binary(array.as_binary::<i64>().value(row).to_vec()),
        other => panic!("no test writes {other}"),
    }
}

/// Whether `low` is no greater than `high` in the order of their type (bytes as unsigned).
fn in_order(low: &PrimitiveLiteral, high: &PrimitiveLiteral) -> bool {
    match (low, high) {
        (PrimitiveLiteral::Boolean(low), PrimitiveLiteral::Boolean(high)) => low <= high,
        (PrimitiveLiteral::Int(low), PrimitiveLiteral::Int(high)) => low <= high,
        (PrimitiveLiteral::Long(low), PrimitiveLiteral::Long(high)) => low <= high,
        // -0.0 is less than 0.0 for readers that tell them apart.
        (PrimitiveLiteral::Double(low), PrimitiveLiteral::Double(high)) => low.total_cmp(&high.0).is_le(),
        (PrimitiveLiteral::Int128(low), PrimitiveLiteral::Int128(high)) => low <= high,
        (PrimitiveLiteral::UInt128(low), PrimitiveLiteral::UInt128(high)) => low <= high,
        (PrimitiveLiteral::String(low), PrimitiveLiteral::String(high)) => low.as_bytes() <= high.as_bytes(),
        (PrimitiveLiteral::Binary(low), PrimitiveLiteral::Binary(high)) => low <= high,
        other => panic!("of different types: {other:?}"),
    }
}

/// Whatever is written in however many row groups lies within the file's bounds, and is counted.
#[test]
fn bounds_hold_every_value_and_counts_are_exact() {
    let runtime = Runtime::new().unwrap();
    let columns = bounded();
    let fields: Vec<NestedField> = columns.iter().map(|(field, _)| field.clone()).collect();
    let bench = runtime.block_on(Bench::new(fields, &[], &[]));
    // The catalog gives the fields ids of its own.
    let fields = bench.table.metadata().current_schema().as_struct().fields();
    let names: Vec<String> = fields.iter().map(|field| field.name.clone()).collect();
    // Per column of a batch all null, mixed, or none null.
    let values: Vec<_> = columns.into_iter().map(|(_, value)| value).collect();
    let row = values
        .into_iter()
        .map(|value| prop_oneof![3 => value, 1 => Just("null".to_owned())].boxed())
        .collect::<Vec<_>>();
    let absent = prop::collection::vec(prop::bool::weighted(0.2), names.len());
    let batch = (prop::collection::vec(row, 1..6), absent);
    for_all(64, prop::collection::vec(batch, 1..5), |groups| {
        let batches: Vec<RecordBatch> = groups
            .iter()
            .map(|(rows, absent)| {
                let rows: Vec<String> = rows
                    .iter()
                    .map(|values| {
                        let members = names.iter().zip(values).zip(absent).filter(|(_, absent)| !**absent);
                        let members = members.map(|((name, value), _)| format!("\"{name}\":{value}"));
                        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                    })
                    .collect();
                bench.batch(&rows)
            })
            .collect();
        let files = runtime.block_on(bench.write(WriteLimits { buffer_bytes: 0, ..ROOMY }, &batches));
        assert_eq!(files.len(), 1);
        let file = &files[0];
        file.check();
        assert_eq!(file.metadata.num_row_groups(), batches.len(), "one row group a batch");
        for (at, field) in fields.iter().enumerate() {
            match field.field_type.as_ref() {
                Type::Primitive(kind) => check_column(file, field.id, kind, file.column(at).cloned()),
                Type::Struct(members) => {
                    // Null where the struct is.
                    let members = members.fields()[0].clone();
                    let column = file.column(at).map(|column| {
                        let column = column.as_struct();
                        let parents = column.nulls().cloned();
                        let child = column.column(0);
                        let nulls = NullBuffer::union(parents.as_ref(), child.nulls());
                        let child = child.as_primitive::<Int32Type>();
                        Arc::new(Int32Array::new(child.values().clone(), nulls)) as ArrayRef
                    });
                    check_column(file, members.id, &Kind::Int, column);
                }
                Type::List(list) => {
                    let id = list.element_field.id;
                    assert!(file.entry.value_counts().contains_key(&id));
                    assert!(!file.entry.lower_bounds().contains_key(&id), "no bounds within lists");
                    assert!(!file.entry.upper_bounds().contains_key(&id), "no bounds within lists");
                }
                Type::Map(_) => panic!("no test writes maps"),
            }
        }
    });
}

fn check_column(file: &Written, id: i32, kind: &Kind, column: impl Iterator<Item = ArrayRef>) {
    let bound = |bounds: &std::collections::HashMap<i32, Datum>| {
        let datum = bounds.get(&id)?;
        assert_eq!(datum.data_type(), kind);
        // As it will stand in the manifest.
        let bytes = datum.to_bytes().unwrap();
        Some(Datum::try_from_bytes(&bytes, kind.clone()).unwrap().literal().clone())
    };
    let lower = bound(file.entry.lower_bounds());
    let upper = bound(file.entry.upper_bounds());
    let (mut values, mut nulls) = (0, 0);
    for array in column {
        for row in 0..array.len() {
            values += 1;
            if array.is_null(row) {
                nulls += 1;
                continue;
            }
            let value = literal(&array, row, kind);
            let (lower, upper) =
                (lower.as_ref().expect("a lower bound"), upper.as_ref().expect("an upper bound"));
            assert!(in_order(lower, &value), "{kind}: {value:?} is below {lower:?}");
            assert!(in_order(&value, upper), "{kind}: {value:?} is above {upper:?}");
        }
    }
    assert_eq!(file.entry.value_counts()[&id], values);
    assert_eq!(file.entry.null_value_counts()[&id], nulls);
    if nulls == values {
        assert!(lower.is_none() && upper.is_none(), "bounds of nothing");
    }
}

/// A bound that holds everything holds nothing back: short values have themselves as bounds.
#[tokio::test]
async fn bounds_are_as_narrow_as_they_can_be() {
    let columns = vec![
        optional(1, "n", Kind::Long),
        optional(2, "text", Kind::String),
        optional(3, "d", Kind::Decimal { precision: 38, scale: 2 }),
    ];
    let bench = Bench::new(columns, &[], &[]).await;
    let row = |n: i64, text: &str, d: &str| format!(r#"{{"n": {n}, "text": "{text}", "d": "{d}"}}"#);
    let long = "x".repeat(200);
    let batches = [bench.batch(&[row(5, &long, "-1.5")]), bench.batch(&[row(-3, "b", "-2")])];
    let files = bench.write(WriteLimits { buffer_bytes: 0, ..ROOMY }, &batches).await;
    let (lower, upper) = (files[0].entry.lower_bounds(), files[0].entry.upper_bounds());
    assert_eq!((&lower[&1], &upper[&1]), (&Datum::long(-3), &Datum::long(5)));
    let cut = format!("{}y", "x".repeat(127));
    assert_eq!((&lower[&2], &upper[&2]), (&Datum::string("b"), &Datum::string(cut)));
    let unscaled = |datum: &Datum| datum.literal().clone();
    assert_eq!(unscaled(&lower[&3]), PrimitiveLiteral::Int128(-200));
    assert_eq!(unscaled(&upper[&3]), PrimitiveLiteral::Int128(-150));
}

/// The other row groups' bounds would hide the rows of the one that has none.
#[tokio::test]
async fn a_row_group_without_bounds_leaves_the_file_without_them() {
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "d", Kind::Double)];
    let bench = Bench::new(columns, &[], &[]).await;
    let batch = |n: i64, d: f64| {
        let schema = bench.batch(&[]).schema();
        let columns: [ArrayRef; 2] =
            [Arc::new(Int64Array::from(vec![n])), Arc::new(Float64Array::from(vec![d]))];
        RecordBatch::try_new(schema, columns.to_vec()).unwrap()
    };
    // Parquet keeps no bounds of what cannot be ordered. JSON has no such number.
    let batches = [batch(1, 1.5), batch(2, f64::NAN), batch(3, 2.5)];
    let files = bench.write(WriteLimits { buffer_bytes: 0, ..ROOMY }, &batches).await;
    let (lower, upper) = (files[0].entry.lower_bounds(), files[0].entry.upper_bounds());
    assert_eq!((lower.get(&1), upper.get(&1)), (Some(&Datum::long(1)), Some(&Datum::long(3))));
    assert_eq!((lower.get(&2), upper.get(&2)), (None, None));
}

/// A batch of one row for each of these partitions.
fn one_of_each(bench: &Bench, partitions: impl IntoIterator<Item = i64>) -> RecordBatch {
    bench.batch(&partitions.into_iter().map(|n| format!("{{\"n\": {n}}}")).collect::<Vec<_>>())
}

#[tokio::test]
async fn no_more_files_are_open_than_allowed_and_the_other_rows_wait() {
    let (bench, _) = by_number().await;
    for (cap, buffer_bytes, spill_bytes, expected_files) in [
        (6, usize::MAX, 0, 6),
        (2, usize::MAX, 0, 6),
        (0, usize::MAX, 0, 6),
        // They wait on disk.
        (2, 0, u64::MAX, 6),
        (0, 0, u64::MAX, 6),
        // Nothing may wait: each batch makes a file of each partition but the two.
        (2, 0, 0, 2 + 4 * 5),
    ] {
        let limits = WriteLimits { buffer_bytes, open_partitions: cap, spill_bytes, ..ROOMY };
        let mut writer = bench.writer(limits);
        for _ in 0..5 {
            writer.write(&one_of_each(&bench, 0..6)).await.unwrap();
            assert!(writer.open.len() <= cap, "{} open", writer.open.len());
            assert!(writer.overflow.bytes() <= buffer_bytes / 4);
        }
        let files: Vec<Written> = writer.close().await.unwrap().into_iter().map(Written::read).collect();
        assert_eq!(files.len(), expected_files, "{cap} open, {buffer_bytes} bytes");
        assert_eq!(numbers(&files), (0..6).flat_map(|n| [n; 5]).collect::<Vec<_>>());
        let paths: BTreeSet<&str> = files.iter().map(|file| file.entry.file_path()).collect();
        assert_eq!(paths.len(), files.len());
        for file in &files {
            file.check();
            let numbers = file.numbers();
            assert_eq!(file.entry.partition(), &Struct::from_iter([Some(Literal::long(numbers[0]))]));
            assert!(numbers.iter().all(|n| *n == numbers[0]));
        }
    }
}

#[tokio::test]
async fn an_idle_file_makes_room() {
    let (bench, _) = by_number().await;
    let mut writer = bench.writer(WriteLimits { open_partitions: 2, ..ROOMY });
    // Partition 0 is in every batch and stays; 1 is idle after the first. It comes back, and waits for the end.
    for batch in 0..15 {
        let other = if matches!(batch, 0 | 12) { 1 } else { 2 };
        writer.write(&one_of_each(&bench, [0, other])).await.unwrap();
        let closed = usize::from(batch > 8);
        assert_eq!((writer.open.len(), writer.closed.len()), (2, closed), "{batch}");
    }
    let files: Vec<Written> = writer.close().await.unwrap().into_iter().map(Written::read).collect();
    let mut found: Vec<_> = files.iter().map(Written::numbers).collect();
    found.sort_unstable();
    assert_eq!(found, [vec![0; 15], vec![1], vec![1], vec![2; 13]]);
}

#[tokio::test]
async fn more_files_than_a_commit_may_have_are_refused() {
    let (bench, _) = by_number().await;
    for open_partitions in [0, 100] {
        let mut writer = bench.writer(WriteLimits { files: 10, open_partitions, ..ROOMY });
        writer.write(&one_of_each(&bench, 0..10)).await.unwrap();
        writer.write(&one_of_each(&bench, 0..10)).await.unwrap();
        assert!(!writer.has_too_many_files());
        let error = writer.write(&one_of_each(&bench, [10])).await.unwrap_err();
        assert!(writer.has_too_many_files());
        assert!(error.message().contains("for 10 partitions so far"), "{error}");
        assert!(error.message().ends_with("raise FRAZIL_MAX_FILES_PER_COMMIT"), "{error}");
        writer.abandon().await;
        assert_eq!(bench.files(), BTreeSet::new());
        assert_eq!(
            bench.write(WriteLimits { files: 10, ..ROOMY }, &[one_of_each(&bench, 0..10)]).await.len(),
            10
        );
        std::fs::remove_dir_all(bench.folder.path().join("warehouse/test/t/data")).unwrap();
    }
}

/// 5 of 800 columns in each row, with as much memory as the smallest function has: row groups are as large as what the rows
/// hold, not as the table is wide.
#[tokio::test]
async fn wide_and_sparse_tables_make_few_row_groups() {
    let mut columns = vec![optional(1, "n", Kind::Long)];
    columns.extend((2..801).map(|id| optional(id, &format!("c{id}"), Kind::Long)));
    let bench = Bench::new(columns, &[], &[]).await;
    let mut writer = bench.writer(WriteLimits { buffer_bytes: 16 << 20, ..ROOMY });
    for batch in 0..20 {
        let rows = (batch * 150..batch * 150 + 150).map(|n: i64| {
            let columns: String =
                (0..4).map(|at| format!(",\"c{}\":{n}", 2 + (n * 131 + at * 197) % 799)).collect();
            format!("{{\"n\":{n}{columns}}}")
        });
        writer.write(&bench.batch(&rows.collect::<Vec<_>>())).await.unwrap();
        let held: usize = writer.open.values().map(|file| file.parquet.memory_size()).sum();
        assert!(held < 4 << 20, "{held} bytes held");
    }
    let files: Vec<Written> = writer.close().await.unwrap().into_iter().map(Written::read).collect();
    assert_eq!((files.len(), files[0].metadata.num_row_groups()), (1, 1));
    files[0].check();
    assert_eq!(numbers(&files), (0..3000).collect::<Vec<_>>());
    // Every value is where it was put.
    let mut found = 0;
    for at in 1..800 {
        let mut row = 0;
        for column in files[0].column(at) {
            for value in column.as_primitive::<Int64Type>() {
                found += usize::from(value.is_some());
                assert!(value.is_none_or(|value| value == row), "column {at}, row {row}: {value:?}");
                row += 1;
            }
        }
    }
    assert_eq!(found, 3000 * 4);
}

/// The same within a struct, with nulls at every depth.
#[tokio::test]
async fn wide_and_sparse_structs_are_held_without_their_nulls() {
    let fields = (100..900).map(|id| optional(id, &format!("f{id}"), Kind::Long).into()).collect();
    let inner = StructType::new(vec![
        NestedField::required(10, "x", Kind::Int.into()).into(),
        optional(11, "wide", StructType::new(fields)).into(),
    ]);
    let bench = Bench::new(vec![optional(1, "n", Kind::Long), optional(2, "s", inner)], &[], &[]).await;
    let mut writer = bench.writer(WriteLimits { buffer_bytes: 16 << 20, ..ROOMY });
    let batches: Vec<RecordBatch> = (0..10)
        .map(|batch| {
            let rows = (batch * 100..batch * 100 + 100).map(|n| match n % 5 {
                0 => format!("{{\"n\":{n}}}"),
                1 => format!("{{\"n\":{n},\"s\":{{\"x\":{n}}}}}"),
                2 => format!("{{\"n\":{n},\"s\":{{\"x\":{n},\"wide\":{{}}}}}}"),
                _ => format!("{{\"n\":{n},\"s\":{{\"x\":1,\"wide\":{{\"f{}\":{n}}}}}}}", 100 + n * 7 % 800),
            });
            bench.batch(&rows.collect::<Vec<_>>())
        })
        .collect();
    for batch in &batches {
        writer.write(batch).await.unwrap();
        let held: usize = writer.open.values().map(|file| file.parquet.memory_size()).sum();
        assert!(held < 1 << 20, "{held} bytes held");
    }
    let files: Vec<Written> = writer.close().await.unwrap().into_iter().map(Written::read).collect();
    assert_eq!((files.len(), files[0].metadata.num_row_groups()), (1, 1));
    files[0].check();
    for at in 0..2 {
        let joined = |batches: &[RecordBatch]| {
            let columns: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
            arrow_select::concat::concat(&columns).unwrap()
        };
        let (written, read) = (joined(&batches), joined(&files[0].batches));
        assert_eq!((written.len(), written.null_count()), (read.len(), read.null_count()));
        assert_eq!(show(&written), show(&read));
    }
}

/// Every value, as Arrow prints it.
fn show(array: &ArrayRef) -> Vec<String> {
    (0..array.len()).map(|row| arrow_cast::display::array_value_to_string(array, row).unwrap()).collect()
}

/// What has ended of a file stays in memory until the file is closed.
#[tokio::test]
async fn the_footers_of_open_files_are_bounded() {
    let mut columns = vec![optional(1, "n", Kind::Long)];
    columns.extend((2..1001).map(|id| optional(id, &format!("c{id}"), Kind::Long)));
    let bench = Bench::new(columns, &[], &[("write.parquet.row-group-size-bytes", "1")]).await;
    let batches: Vec<_> = (0..12).map(|n| bench.batch(&[format!("{{\"n\":{n},\"c7\":1}}")])).collect();
    let files = bench.write(WriteLimits { buffer_bytes: 16 << 20, ..ROOMY }, &batches).await;
    assert!(files.len() > 1);
    assert!(files.iter().all(|file| file.metadata.num_row_groups() <= 6));
    assert_eq!(numbers(&files), (0..12).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_manifest_says_of_a_column_what_the_table_asks_for() {
    let columns = || {
        vec![optional(1, "n", Kind::Long), optional(2, "text", Kind::String), optional(3, "b", Kind::Binary)]
    };
    let long = "é".repeat(200);
    for (properties, counted, lower, upper) in [
        (&[][..], true, Some(64), Some(64)),
        (
            &[("write.metadata.metrics.default", "none"), ("write.metadata.metrics.column.n", "counts")],
            false,
            None,
            None,
        ),
        (&[("write.metadata.metrics.column.text", "counts")], true, None, None),
        (&[("write.metadata.metrics.column.text", "truncate(16)")], true, Some(16), Some(16)),
        (&[("write.metadata.metrics.column.text", "Truncate(150)")], true, Some(150), Some(150)),
        (&[("write.metadata.metrics.column.text", "full")], true, Some(200), Some(200)),
        (&[("write.metadata.metrics.max-inferred-column-defaults", "1")], false, None, None),
    ] {
        let bench = Bench::new(columns(), &[], properties).await;
        let files = bench
            .write(ROOMY, &[bench.batch(&[format!("{{\"n\":1,\"text\":\"{long}\",\"b\":\"/////w==\"}}")])])
            .await;
        let entry = &files[0].entry;
        assert_eq!(entry.value_counts().contains_key(&2), counted, "{properties:?}");
        assert_eq!(entry.null_value_counts().contains_key(&2), counted);
        assert_eq!(entry.column_sizes().len(), 3);
        let length = |bound: Option<&Datum>| {
            bound.map(|bound| match bound.literal() {
                PrimitiveLiteral::String(text) => text.chars().count(),
                other => unreachable!("{other:?}"),
            })
        };
        assert_eq!(length(entry.lower_bounds().get(&2)), lower, "{properties:?}");
        assert_eq!(length(entry.upper_bounds().get(&2)), upper, "{properties:?}");
        if let (Some(low), Some(high)) = (entry.lower_bounds().get(&2), entry.upper_bounds().get(&2)) {
            let value = Datum::string(&long);
            assert!(*low <= value && value <= *high, "{properties:?}");
        }
        assert!(entry.value_counts().contains_key(&1));
    }
    // There is no greater value of two bytes than 0xFFFF.
    let bench = Bench::new(columns(), &[], &[("write.metadata.metrics.column.b", "truncate(2)")]).await;
    let files = bench.write(ROOMY, &[bench.batch(&["{\"b\":\"/////w==\"}".to_owned()])]).await;
    let entry = &files[0].entry;
    assert_eq!(entry.lower_bounds().get(&3), Some(&Datum::binary([255, 255])));
    assert_eq!(entry.upper_bounds().get(&3), None);
}

#[tokio::test]
async fn an_abandoned_writer_leaves_nothing() {
    let (bench, batch) = by_number().await;
    let kept = bench.write(ROOMY, &[one_of_each(&bench, [9])]).await;
    let before = bench.files();
    assert_eq!(before, BTreeSet::from([kept[0].path.clone()]));
    let attempt = Uuid::from_u128(7);
    let limits = WriteLimits { open_partitions: 1, buffer_bytes: 0, spill_bytes: 0, ..ROOMY };

    let mut writer = TableWriter::new(&bench.table, limits, attempt).unwrap();
    writer.write(&batch).await.unwrap();
    assert_eq!((writer.open.len(), writer.closed.len()), (1, 1));
    assert_eq!(bench.files().len(), 3);
    writer.abandon().await;
    assert_eq!(bench.files(), before);

    let mut writer = TableWriter::new(&bench.table, limits, attempt).unwrap();
    writer.write(&batch).await.unwrap();
    writer.close().await.unwrap();
    assert_eq!(bench.files().len(), 3);
    writer.abandon().await;
    assert_eq!(bench.files(), before);
}

#[tokio::test]
async fn the_tables_codec_is_in_the_file() {
    let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap());
    for (properties, expected) in [
        (&[][..], zstd(3)),
        (&[("write.parquet.compression-codec", "zstd"), ("write.parquet.compression-level", "9")], zstd(9)),
        (&[("write.parquet.compression-codec", "SNAPPY")], Compression::SNAPPY),
        (&[("write.parquet.compression-codec", "gzip")], Compression::GZIP(GzipLevel::default())),
        (&[("write.parquet.compression-codec", "lz4")], Compression::LZ4_RAW),
        (&[("write.parquet.compression-codec", "uncompressed")], Compression::UNCOMPRESSED),
        (
            &[("write.parquet.compression-codec", "snappy"), ("write.parquet.compression-level", "null")],
            Compression::SNAPPY,
        ),
    ] {
        let bench = Bench::new(vec![optional(1, "n", Kind::Long)], &[], properties).await;
        assert_eq!(bench.writer(ROOMY).properties.parquet.compression(&"n".into()), expected);
        let files = bench.write(ROOMY, &[bench.batch(&["{\"n\": 1}".to_owned()])]).await;
        let found = files[0].metadata.row_group(0).column(0).compression();
        // The footer names the codec and no level.
        assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&expected), "{properties:?}");
        assert_eq!(numbers(&files), [1]);
    }
}

#[tokio::test]
async fn files_end_at_their_target_size_and_row_groups_at_theirs() {
    let properties = [
        ("write.target-file-size-bytes", "20000"),
        ("write.parquet.row-group-size-bytes", "5000"),
        ("write.parquet.compression-codec", "uncompressed"),
    ];
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "text", Kind::String)];
    let bench = Bench::new(columns, &[], &properties).await;
    let batches: Vec<RecordBatch> = (0..100)
        .map(|batch| {
            let rows = (batch * 10..batch * 10 + 10).map(|n| format!(r#"{{"n": {n}, "text": "{n:0100}"}}"#));
            bench.batch(&rows.collect::<Vec<_>>())
        })
        .collect();
    let files = bench.write(ROOMY, &batches).await;
    assert_eq!(numbers(&files), (0..1000).collect::<Vec<_>>());
    assert!(files.len() > 3, "{} files", files.len());
    for (at, file) in files.iter().enumerate() {
        file.check();
        let size = file.entry.file_size_in_bytes();
        assert!(size < 25_000 && (size > 20_000 || at == files.len() - 1), "{size} bytes");
        assert!(file.metadata.num_row_groups() > 1);
    }
}

#[tokio::test]
async fn buffers_are_bounded_over_all_files() {
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "text", Kind::String)];
    let bench = Bench::new(columns, &[(1, Transform::Bucket(4))], &[]).await;
    let limit = 40_000;
    let mut writer = bench.writer(WriteLimits { buffer_bytes: limit, ..ROOMY });
    for batch in 0..40 {
        let rows =
            (batch * 20..batch * 20 + 20).map(|n| format!(r#"{{"n": {n}, "text": "{:0200}"}}"#, n * 7919));
        writer.write(&bench.batch(&rows.collect::<Vec<_>>())).await.unwrap();
        let held: usize = writer.open.values().map(|file| file.parquet.memory_size()).sum();
        assert!(
            held <= limit / 2 || writer.open.values().all(|file| file.parquet.in_progress_rows() == 0),
            "{held}"
        );
    }
    let files: Vec<Written> = writer.close().await.unwrap().into_iter().map(Written::read).collect();
    assert_eq!(files.len(), 4);
    assert!(files.iter().any(|file| file.metadata.num_row_groups() > 1));
    assert_eq!(numbers(&files), (0..800).collect::<Vec<_>>());
}

/// A storage that sends files in parts holds what is not a whole part yet.
#[tokio::test]
async fn what_the_storage_holds_is_bounded_over_all_files() {
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "text", Kind::String)];
    let plain = [("write.parquet.compression-codec", "uncompressed")];
    let bench = Bench::new(columns, &[(1, Transform::Bucket(4))], &plain).await;
    let (limit, part_bytes) = (40_000, 30_000);
    let mut writer = bench.writer(WriteLimits { buffer_bytes: limit, ..ROOMY });
    writer.part_bytes = part_bytes;
    for batch in 0..40 {
        let rows =
            (batch * 20..batch * 20 + 20).map(|n| format!(r#"{{"n": {n}, "text": "{:0200}"}}"#, n * 7919));
        writer.write(&bench.batch(&rows.collect::<Vec<_>>())).await.unwrap();
        let held: usize = writer.open.values().map(|file| file.parquet.bytes_written() % part_bytes).sum();
        assert!(held <= limit, "{held}");
    }
    let files: Vec<Written> = writer.close().await.unwrap().into_iter().map(Written::read).collect();
    assert!((5..20).contains(&files.len()), "{}", files.len());
    assert_eq!(numbers(&files), (0..800).collect::<Vec<_>>());
}

#[tokio::test]
async fn properties_that_are_not_understood_are_refused() {
    for (name, value, expected) in [
        ("write.parquet.compression-codec", "brotli", "zstd, snappy, gzip, lz4 or uncompressed"),
        ("write.parquet.compression-codec", "", "zstd, snappy, gzip, lz4 or uncompressed"),
        ("write.parquet.compression-level", "high", "a whole number"),
        ("write.parquet.row-group-size-bytes", "128MB", "a whole number"),
        ("write.parquet.page-size-bytes", "-1", "a whole number"),
        ("write.parquet.page-row-limit", "1e4", "a whole number"),
        ("write.parquet.dict-size-bytes", " 1", "a whole number"),
        ("write.target-file-size-bytes", "134217728.0", "a whole number"),
        ("write.metadata.metrics.default", "all", "none, counts, truncate(N) or full"),
        ("write.metadata.metrics.column.n", "truncate(0)", "none, counts, truncate(N) or full"),
        ("write.metadata.metrics.max-inferred-column-defaults", "many", "a whole number"),
    ] {
        let bench = Bench::new(vec![optional(1, "n", Kind::Long)], &[], &[(name, value)]).await;
        let error = TableWriter::new(&bench.table, ROOMY, Uuid::nil()).err().expect(name);
        assert_eq!(error.kind(), ErrorKind::FeatureUnsupported);
        assert_eq!(error.message(), format!("table property {name}={value}: expected {expected}"));
    }
    let bench =
        Bench::new(vec![optional(1, "n", Kind::Long)], &[], &[("write.parquet.compression-level", "99")])
            .await;
    let error = TableWriter::new(&bench.table, ROOMY, Uuid::nil()).err().unwrap();
    assert!(error.message().starts_with("table property write.parquet.compression-level="), "{error}");
    assert!(error.message().ends_with("expected a level that the codec has"), "{error}");
}

#[tokio::test]
async fn files_lie_in_the_tables_folder_under_their_partition() {
    let columns = vec![optional(1, "n", Kind::Long), optional(2, "city", Kind::String)];
    let partitions = [(2, Transform::Identity), (1, Transform::Bucket(1))];
    let bench = Bench::new(columns, &partitions, &[]).await;
    let files = bench.write(ROOMY, &[bench.batch(&[r#"{"n": 1, "city": "../x"}"#.to_owned()])]).await;
    let expected =
        format!("{}/data/p0=..%2Fx/p1=0/{}-00000.parquet", bench.table.metadata().location(), Uuid::nil());
    assert_eq!(files[0].entry.file_path(), expected);
    assert_eq!(bench.files(), BTreeSet::from([files[0].path.clone()]));

    let elsewhere = tempfile::tempdir().unwrap();
    let data = format!("file://{}/", elsewhere.path().display());
    let bench = Bench::new(vec![optional(1, "n", Kind::Long)], &[], &[("write.data.path", &data)]).await;
    let files = bench.write(ROOMY, &[bench.batch(&["{\"n\": 1}".to_owned()])]).await;
    assert_eq!(files[0].entry.file_path(), format!("{data}{}-00000.parquet", Uuid::nil()));
}

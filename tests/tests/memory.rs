//! Inputs that are small and become large: the process stays within the memory that the function has, and nothing is
//! lost. Peaks are those of a process (`VmHWM`), so each test runs in one of its own.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;

use lake::{Limits, TableDefinition};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use records::unpack::Options;
use serde_json::json;
use tests::{Bench, definition, files, gzip};

const MIB: usize = 1 << 20;

/// Whether the test `name` is to go on: in this process, which is its own, and not in a new one, which has succeeded.
fn is_alone(name: &str) -> bool {
    const ALONE: &str = "FRAZIL_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name]).env(ALONE, "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    false
}

/// Peak resident memory of this process since [`forget_peak`], in MiB.
fn peak_mib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

fn forget_peak() {
    // proc(5): 5 resets the peak.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

async fn bench(memory_mib: usize, table: TableDefinition) -> Bench {
    let bench = Bench::limited(Some(table), |limits| *limits = Limits::for_memory(memory_mib * MIB)).await;
    forget_peak();
    bench
}

fn longs(count: usize) -> TableDefinition {
    let names: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
    let mut columns = vec![("n", "long")];
    columns.extend(names.iter().map(|name| (name.as_str(), "long")));
    definition(&columns, &[])
}

/// How many row groups each data file has.
fn row_groups(bench: &Bench) -> Vec<usize> {
    let data = files(&bench.folder.path().join("warehouse/test/events/data"));
    data.iter()
        .map(|file| SerializedFileReader::new(File::open(file).unwrap()).unwrap().num_row_groups())
        .collect()
}

#[tokio::test]
async fn elements_of_lists_count_as_what_they_become() {
    if !is_alone("elements_of_lists_count_as_what_they_become") {
        return;
    }
    let fields: Vec<_> = (0..200)
        .map(|at| json!({"id": 100 + at, "name": format!("f{at}"), "type": "long", "required": false}))
        .collect();
    let items = json!({"type": "list", "element-id": 3, "element-required": false,
        "element": {"type": "struct", "fields": fields}});
    let table = json!({"name": "events", "schema": {"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "n", "type": "long", "required": false},
        {"id": 2, "name": "items", "type": items, "required": false},
    ]}});
    let bench = bench(512, TableDefinition::parse(table.to_string().as_bytes()).unwrap()).await;
    let mut lines: Vec<String> = (0..20).map(|n| format!("{{\"n\":{n},\"items\":[{{\"f7\":1}}]}}")).collect();
    lines.insert(10, format!("{{\"n\":99,\"items\":[{}{{}}]}}", "{},".repeat(MIB / 3)));
    let delivered = bench.deliver(&[bench.put("a", lines.join("\n"))]).await;
    assert_eq!(delivered.objects, ["20 rows, 1 record_too_large"]);
    let peak = peak_mib();
    assert!(peak < 256, "{peak} MiB");
    assert_eq!(bench.numbers().await, (0..20).collect::<Vec<_>>());
    let rejections = bench.rejections();
    assert_eq!(rejections.len(), 1);
    assert!(rejections[0].message.contains("bytes of memory"), "{}", rejections[0].message);
    assert_eq!(rejections[0].raw.as_deref(), Some(lines[10].as_bytes()));
}

/// A file of CloudTrail is one line of 50 MB.
#[tokio::test]
async fn an_array_in_an_envelope_passes_as_a_stream() {
    if !is_alone("an_array_in_an_envelope_passes_as_a_stream") {
        return;
    }
    let table = definition(&[("n", "long"), ("text", "string"), ("v", "long")], &[]);
    let unpack = Options { unwrap: Some("Records".parse().unwrap()), ..Options::default() };
    let bench = Bench::unpacking(Some(table), |limits| *limits = Limits::for_memory(128 * MIB), unpack).await;
    let object = {
        let records: Vec<String> =
            (0..100_000).map(|n| format!("{{\"n\":{n},\"text\":\"{:0480}\"}}", n)).collect();
        let content = format!("{{\"v\":7,\"Records\":[{}]}}", records.join(","));
        assert!(content.len() > 50_000_000);
        bench.put("a.gz", gzip(content))
    };
    forget_peak();
    let delivered = bench.deliver(&[object]).await;
    assert_eq!(delivered.objects, ["100000 rows"]);
    let peak = peak_mib();
    assert!(peak < 128, "{peak} MiB");
    assert_eq!(bench.numbers().await, (0..100_000).collect::<Vec<_>>());
    assert!(bench.rows().await.iter().all(|row| row["v"] == json!(7)));
}

#[tokio::test]
async fn empty_rows_of_a_wide_table_cost_nothing() {
    if !is_alone("empty_rows_of_a_wide_table_cost_nothing") {
        return;
    }
    let bench = bench(128, longs(1900)).await;
    let delivered = bench.deliver(&[bench.put("a.gz", gzip("{}\n".repeat(50_000)))]).await;
    assert_eq!(delivered.objects, ["50000 rows"]);
    let peak = peak_mib();
    assert!(peak < 128, "{peak} MiB");
    // A null takes a bit: of 1,900 columns, more than the buffer in the end.
    let groups = row_groups(&bench);
    assert!(groups.iter().all(|groups| *groups <= 6), "{groups:?}");
}

#[tokio::test]
async fn wide_and_sparse_rows_make_few_row_groups() {
    if !is_alone("wide_and_sparse_rows_make_few_row_groups") {
        return;
    }
    let bench = bench(128, longs(1000)).await;
    let mut rows = String::new();
    for n in 0..20_000_u64 {
        write!(rows, "{{\"n\":{n}").unwrap();
        let columns: BTreeSet<u64> = (0..5).map(|at| (n * 131 + at * 197 + n / 7) % 1000).collect();
        columns.iter().for_each(|column| write!(rows, ",\"c{column}\":{}", n * 31).unwrap());
        rows.push_str("}\n");
    }
    let delivered = bench.deliver(&[bench.put("a.gz", gzip(rows))]).await;
    assert_eq!(delivered.objects, ["20000 rows"]);
    let peak = peak_mib();
    assert!(peak < 128, "{peak} MiB");
    let groups = row_groups(&bench);
    assert!(groups.len() == 1 && groups[0] <= 6, "{groups:?}");
    let bytes = delivered.outcome.unwrap().data_file_bytes;
    assert!(bytes < 3_000_000, "{bytes} bytes");
}

#[tokio::test]
async fn rows_from_many_partitions_in_turn_make_few_files() {
    if !is_alone("rows_from_many_partitions_in_turn_make_few_files") {
        return;
    }
    let table = definition(&[("n", "long"), ("p", "long"), ("text", "string")], &[("p", "identity")]);
    let bench = bench(128, table).await;
    let rows: String = (0..60_000)
        .map(|n| format!("{{\"n\":{n},\"p\":{},\"text\":\"{:0200}\"}}\n", n % 800, n * 7919))
        .collect();
    let delivered = bench.deliver(&[bench.put("a.gz", gzip(rows))]).await;
    assert_eq!(delivered.objects, ["60000 rows"]);
    let peak = peak_mib();
    assert!(peak < 128, "{peak} MiB");
    let data_files = delivered.outcome.unwrap().data_files;
    assert!((800..820).contains(&data_files), "{data_files} files");
    assert_eq!(bench.numbers().await, (0..60_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn too_many_files_are_refused_and_what_fits_is_committed() {
    if !is_alone("too_many_files_are_refused_and_what_fits_is_committed") {
        return;
    }
    let table = definition(&[("n", "long")], &[("n", "identity")]);
    let bench = Bench::limited(Some(table), |limits| limits.write.files = 10).await;
    let rows =
        |numbers: std::ops::Range<i64>| numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect::<String>();
    let objects: Vec<_> = (0..4).map(|at| bench.put(&format!("o{at}"), rows(at * 4..at * 4 + 4))).collect();
    let delivered = bench.deliver(&objects).await;
    assert_eq!(delivered.objects, ["4 rows", "4 rows", "failed", "failed"]);
    assert_eq!(delivered.failed, [2, 3]);
    let delivered = bench.deliver(&objects[2..]).await;
    assert_eq!(delivered.objects, ["4 rows", "4 rows"]);
    assert_eq!(bench.numbers().await, (0..16).collect::<Vec<_>>());
    // One object that needs too many by itself fails with the remedy, and nothing of it stays behind.
    let before = files(&bench.folder.path().join("warehouse")).len();
    let large = bench.put("large", rows(100..120));
    let delivered = bench.deliver(&[large]).await;
    assert_eq!(delivered.failed, [0]);
    let lake::Status::Failed(error) = &delivered.outcome.unwrap().objects[0].status else { unreachable!() };
    assert!(error.message().contains("choose a coarser partition spec"), "{error}");
    assert_eq!(files(&bench.folder.path().join("warehouse")).len(), before);
}

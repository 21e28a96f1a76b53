//! The command `frazil redrive` as a user runs it: quarantined rows come in once what kept them out is mended, once and not
//! more, whatever happens in between; what cannot come in stays where it is.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iceberg::MetadataLocation;
use iceberg::spec::{
    MAIN_BRANCH, PrimitiveType, Snapshot, SnapshotReference, SnapshotRetention, TableMetadataBuilder, Type,
};
use iceberg::transaction::{AddColumn, ApplyTransactionAction as _, Transaction};
use lake::quarantine::{FileName, Ledger};
use serde_json::{Value, json};
use tests::command::{checked, frazil};
use tests::{Bench, Object, enriched_table, files, gzip, lines, plain_table, strict};

/// Starts `frazil redrive --json` on the lake of `bench`.
fn start(bench: &Bench, arguments: &[&str]) -> Child {
    let mut command = frazil();
    command.args(["redrive", "--json", "--warehouse"]).arg(bench.folder.path()).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The summary of a redrive that succeeds.
fn finish(redrive: Child) -> Value {
    let output = redrive.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{}: {complaint}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn redrive(bench: &Bench) -> Value {
    finish(start(bench, &[]))
}

/// What a redrive complains about that fails.
fn complaint(bench: &Bench, arguments: &[&str]) -> String {
    let output = start(bench, arguments).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Of a summary: files, records, rows, rows quarantined again, records left.
fn counts(summary: &Value) -> [u64; 5] {
    ["files", "records", "rows", "rows_quarantined", "records_left"].map(|key| summary[key].as_u64().unwrap())
}

/// What stays: the reasons, with how many records there are of each.
fn left(summary: &Value) -> BTreeMap<String, u64> {
    let mut left = BTreeMap::new();
    for entry in summary["left"].as_array().unwrap() {
        *left.entry(entry["why"].as_str().unwrap().to_owned()).or_default() +=
            entry["records"].as_u64().unwrap();
    }
    left
}

async fn add_column(bench: &Bench, name: &str, kind: PrimitiveType) {
    let table = bench.table().await;
    let transaction = Transaction::new(&table);
    let action = transaction.update_schema().add_column(AddColumn::optional(name, Type::Primitive(kind)));
    action.apply(transaction).unwrap().commit(bench.appender.lake().catalog()).await.unwrap();
}

async fn deliver(bench: &Bench, key: &str, content: impl AsRef<[u8]>) -> (Object, String) {
    let object = bench.put(key, content);
    let delivered = bench.deliver(std::slice::from_ref(&object)).await;
    assert!(delivered.failed.is_empty(), "{delivered:?}");
    (object, delivered.objects.concat())
}

/// Lines of the files under `errors/<folder>`, by the object that they are about, `<bucket>/<key>`.
fn lines_of(bench: &Bench, folder: &str) -> BTreeMap<String, Vec<String>> {
    lines_in_files(bench, folder, |_| true)
}

/// As above, of the files that are `wanted`.
fn lines_in_files(
    bench: &Bench,
    folder: &str,
    wanted: impl Fn(&Path) -> bool,
) -> BTreeMap<String, Vec<String>> {
    let root = format!("file://{}/", bench.folder.path().display());
    let mut by_object: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in
        files(&bench.folder.path().join("errors").join(folder)).into_iter().filter(|path| wanted(path))
    {
        let mut text = String::new();
        let file = fs::File::open(&path).unwrap();
        lake::quarantine::lines_in(path.to_str().unwrap(), file).read_to_string(&mut text).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        for line in text.lines() {
            let object = serde_json::from_str::<Value>(line).unwrap()["object"].as_str().unwrap().to_owned();
            by_object
                .entry(object.strip_prefix(&root).unwrap().to_owned())
                .or_default()
                .push(line.to_owned());
        }
    }
    by_object
}

/// Every record of every object is one row of the table, one line of the quarantine, or one line of those put back.
async fn assert_accounted_for(bench: &Bench, records: &[(&str, usize)]) {
    // What an attempt left that was overtaken counts for nothing.
    let table = bench.table().await;
    let ledger = Ledger::of(table.metadata(), table.file_io()).await;
    let counts = |path: &Path| {
        let folder = bench.folder.path().join("errors/quarantine");
        path.strip_prefix(folder).is_ok_and(|place| {
            FileName::parse(place.to_str().unwrap()).is_some_and(|name| ledger.may_need(&name))
        })
    };
    let quarantine = lines_in_files(bench, "quarantine", counts);
    let redriven = lines_of(bench, "redriven");
    let rows = bench.rows().await;
    let rows_of = |object: &str| {
        rows.iter().filter(|row| row["file_name"].as_str().unwrap().ends_with(&format!("/{object}"))).count()
    };
    let lines = |lines: &BTreeMap<String, Vec<String>>, object: &str| lines.get(object).map_or(0, Vec::len);
    let mut objects: Vec<(String, usize)> =
        records.iter().map(|(object, records)| ((*object).to_owned(), *records)).collect();
    // A redriven object holds a record for each line of its name that was put back.
    let raw = bench.folder.path().join("raw");
    for path in files(&raw.join("redrive")) {
        let object = format!("raw/{}", path.strip_prefix(&raw).unwrap().to_str().unwrap());
        let content = fs::read_to_string(&path).unwrap();
        let records = serde_json::Deserializer::from_str(&content).into_iter::<Value>().count();
        objects.push((object, records));
    }
    for (object, records) in &objects {
        let found = rows_of(object) + lines(&quarantine, object) + lines(&redriven, object);
        assert_eq!(found, *records, "{object}");
    }
    let redriven: usize = redriven.values().map(Vec::len).sum();
    let put_back: usize = objects[records.len()..].iter().map(|(_, records)| records).sum();
    assert_eq!(put_back, redriven, "every line that was put back is a record of a new object");
}

/// All files of the lake, with their content, but for those of SQLite.
fn content_of(bench: &Bench, folder: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    let found = files(&bench.folder.path().join(folder));
    found.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn rows_come_in_once_the_table_has_the_column() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let pretty = "{\n  \"n\": 2,\n  \"extra\": {\n    \"a\": [1,\n 2]}\n}";
    let content = format!(
        "{{\"n\":0}}\n{{\"n\":1,\"extra\":\"x\"}}{pretty}\n{{\"n\":1.5,\"extra\":1}}\nnot\u{e9} json\n{{\"n\":3,\"extra\":null}}\n"
    );
    deliver(&bench, "a b/ü%2F+&=.json.gz", gzip(&content)).await;
    deliver(&bench, "b", "{\"n\":4,\"extra\":true}\n").await;
    let records = [("raw/a b/ü%2F+&=.json.gz", 6), ("raw/b", 1)];
    assert_accounted_for(&bench, &records).await;

    // Nothing is mended yet: all stays as it is.
    let before = [content_of(&bench, "errors"), content_of(&bench, "raw")];
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [0, 0, 0, 0, 5]);
    assert_eq!(
        left(&summary),
        BTreeMap::from([
            ("the table still refuses it: unknown_field".to_owned(), 3),
            ("the table still refuses it: type_mismatch".to_owned(), 1),
            ("no JSON object, so no table takes it: invalid_json".to_owned(), 1),
        ])
    );
    assert_eq!([content_of(&bench, "errors"), content_of(&bench, "raw")], before);

    add_column(&bench, "extra", PrimitiveType::String).await;
    let lines_before = lines_of(&bench, "quarantine");
    let age_of = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let file = files(&bench.path("errors", "quarantine/test.events/raw/a b"))[0].clone();
    let written = age_of(&file);
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [2, 4, 3, 1, 1]);
    assert_eq!(age_of(&file), written, "its age tells whether its object was committed since");
    assert_eq!(summary["rows_quarantined_by_reason"], json!({"type_mismatch": 1}));
    assert_eq!((&summary["quarantine_files"], &summary["objects_already_committed"]), (&json!(2), &json!(0)));
    let rows = bench.rows().await;
    let extra: Vec<_> = rows.iter().map(|row| (row["n"].as_i64().unwrap(), row["extra"].as_str())).collect();
    let nested = Some("{\n    \"a\": [1,\n 2]}");
    assert_eq!(extra, [(0, None), (1, Some("x")), (2, nested), (3, None), (4, Some("true"))]);
    assert_accounted_for(&bench, &records).await;

    // The lines that were put back are the very lines; the one that stays is still there.
    let (redriven, quarantine) = (lines_of(&bench, "redriven"), lines_of(&bench, "quarantine"));
    let a = &lines_before["raw/a b/ü%2F+&=.json.gz"];
    assert_eq!(redriven["raw/a b/ü%2F+&=.json.gz"], a[..3]);
    assert_eq!(quarantine["raw/a b/ü%2F+&=.json.gz"], a[3..]);
    assert_eq!(redriven["raw/b"], lines_before["raw/b"]);

    let done = content_of(&bench, "errors");
    let again = redrive(&bench);
    assert_eq!(counts(&again), [0, 0, 0, 0, 2]);
    assert_eq!(content_of(&bench, "errors"), done);
    assert_eq!(bench.rows().await.len(), 5);

    let page = frazil().args(["redrive", "--warehouse"]).arg(bench.folder.path()).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("left") && page.contains("still refuses it: type_mismatch"), "{page}");
}

#[tokio::test]
async fn rows_that_fail_again_come_in_by_a_later_run() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(
        &bench,
        "a",
        "{\"n\":0,\"one\":1}\n{\"n\":1,\"one\":1,\"two\":2}\n{\"n\":2,\"two\":2,\"three\":3}\n",
    )
    .await;
    let expected =
        [([1, 3, 1, 2, 0], vec![0]), ([1, 2, 1, 1, 0], vec![0, 1]), ([1, 1, 1, 0, 0], vec![0, 1, 2])];
    for (column, (expected, numbers)) in ["one", "two", "three"].into_iter().zip(expected) {
        add_column(&bench, column, PrimitiveType::Int).await;
        assert_eq!(counts(&redrive(&bench)), expected, "{column}");
        assert_eq!(bench.numbers().await, numbers);
        assert_accounted_for(&bench, &[("raw/a", 3)]).await;
        if column != "three" {
            let stays = redrive(&bench);
            assert_eq!((counts(&stays)[0], counts(&stays)[4]), (0, expected[3]), "{column}");
        }
    }
    assert!(lines_of(&bench, "quarantine").is_empty());
    assert_eq!(counts(&redrive(&bench)), [0; 5]);
}

#[tokio::test]
async fn what_no_table_takes_stays() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let whole = gzip(lines(0..2000));
    deliver(&bench, "cut.gz", &whole[..whole.len() / 2]).await;
    deliver(
        &bench,
        "garbage",
        b"[1,\n{\"n\":5},\n2]\n\x00\x01{\"n\":\n\xFF\xFE\n{\"n\":1,\"extra\":2}\n{\"\xFF\":1}\n{\"n\":\n\x00\n\x01",
    )
    .await;
    add_column(&bench, "extra", PrimitiveType::Int).await;
    let before = lines_of(&bench, "quarantine");
    let summary = redrive(&bench);
    let left = left(&summary);
    assert_eq!(counts(&summary)[..4], [1, 1, 1, 0]);
    for (reason, count) in [("not_an_object", 1), ("not_utf8", 2), ("invalid_json", 3)] {
        let why = format!("no JSON object, so no table takes it: {reason}");
        assert_eq!(left.get(&why), Some(&count), "{reason}: {left:#?}");
    }
    let copy = left.keys().find(|why| why.starts_with("not a record, but the rest of an object")).unwrap();
    assert!(
        copy.contains("/errors/objects/test.events/raw/cut.gz") && copy.contains("Deliver the object again")
    );
    let after = lines_of(&bench, "quarantine");
    assert_eq!(after["raw/cut.gz"], before["raw/cut.gz"]);
    assert_eq!(after["raw/garbage"].len(), before["raw/garbage"].len() - 1);
    assert!(before["raw/garbage"].iter().filter(|line| !after["raw/garbage"].contains(line)).count() == 1);
}

/// A lake in which 60 objects have a row and two lines in the quarantine, of which one fits by now.
async fn mended() -> Bench {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let objects: Vec<Object> = (0..60)
        .map(|at| {
            let n = at * 3;
            let content = format!(
                "{{\"n\":{n}}}\n{{\"n\":{},\"extra\":1}}\n{{\"n\":{},\"other\":1}}\nno json\n",
                n + 1,
                n + 2
            );
            bench.put(&format!("{at:02}"), content)
        })
        .collect();
    assert!(bench.deliver(&objects).await.failed.is_empty());
    add_column(&bench, "extra", PrimitiveType::Int).await;
    bench
}

async fn assert_mended(bench: &Bench) {
    let expected: Vec<i64> = (0..180).filter(|n| n % 3 != 2).collect();
    assert_eq!(bench.numbers().await, expected);
    let keys: Vec<String> = (0..60).map(|at| format!("raw/{at:02}")).collect();
    let records: Vec<(&str, usize)> = keys.iter().map(|key| (&key[..], 4)).collect();
    assert_accounted_for(bench, &records).await;
    let redriven = lines_of(bench, "redriven");
    assert!(keys.iter().all(|key| redriven[key].len() == 2), "{redriven:?}");
    let litter =
        files(bench.folder.path()).into_iter().filter(|path| path.extension().is_some_and(|e| e == "part"));
    assert_eq!(litter.count(), 0);
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

#[tokio::test]
async fn a_redrive_that_ended_before_the_commit_can_be_run_again() {
    let (bench, other) = (mended().await, mended().await);
    // The objects alone: of another lake in the same state.
    redrive(&other);
    let objects = other.folder.path().join("raw/redrive");
    let [theirs, ours] = [("redriven", &other), ("quarantine", &bench)].map(|(folder, bench)| {
        let path = files(&bench.folder.path().join("errors").join(folder)).remove(0);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        name.split('.').nth(2).unwrap().to_owned()
    });
    for path in files(&objects) {
        let name = path.strip_prefix(other.folder.path()).unwrap().to_str().unwrap().replace(&theirs, &ours);
        let to = bench.folder.path().join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
    assert_eq!(counts(&redrive(&bench)), [60, 120, 60, 60, 60]);
    assert_eq!(files(&bench.folder.path().join("raw/redrive")).len(), files(&objects).len());
    assert_mended(&bench).await;
}

#[tokio::test]
async fn a_redrive_that_ended_after_the_commit_can_be_run_again() {
    for lines_are_copied in [false, true] {
        let bench = mended().await;
        let folder = bench.folder.path();
        let (quarantine, redriven) = (folder.join("errors/quarantine"), folder.join("errors/redriven"));
        let before = tempfile::tempdir().unwrap();
        copy(&quarantine, before.path());
        assert_eq!(counts(&redrive(&bench)), [60, 120, 60, 60, 60]);
        copy(before.path(), &quarantine);
        if !lines_are_copied {
            fs::remove_dir_all(&redriven).unwrap();
        }
        // Half a file of the one that was killed.
        let part = files(before.path())[0].strip_prefix(before.path()).unwrap().with_extension("0.part");
        fs::write(quarantine.join(&part), "{\"half").unwrap();

        let again = redrive(&bench);
        assert_eq!(counts(&again), [60, 120, 0, 0, 120], "60 lines are no JSON, 60 were refused again");
        assert_eq!(again["objects_already_committed"], 60);
        fs::remove_file(quarantine.join(part)).unwrap();
        assert_mended(&bench).await;
        assert_eq!(counts(&redrive(&bench))[..4], [0; 4]);
        assert_mended(&bench).await;
    }
}

/// Kills a redrive as soon as it has made files of a kind: between any two steps of it, that is.
#[tokio::test]
async fn a_redrive_that_is_killed_can_be_run_again() {
    let moments = [
        ("raw/redrive", ".jsonl", 5),
        ("warehouse", ".parquet", 1),
        ("warehouse", ".metadata.json", 1),
        ("errors/redriven", ".jsonl", 1),
        ("errors/redriven", ".jsonl", 10),
        ("raw/redrive", ".part", 1),
        ("warehouse", ".metadata.json", 1),
        ("errors/redriven", ".jsonl", 5),
    ];
    let bench = mended().await;
    let mut killed = 0;
    for (folder, ending, more) in moments {
        let count = || {
            let found = files(&bench.folder.path().join(folder));
            found.iter().filter(|path| path.to_string_lossy().ends_with(ending)).count()
        };
        let target = count() + more;
        let mut running = start(&bench, &[]);
        let until = Instant::now() + Duration::from_secs(20);
        while count() < target && running.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(200));
        }
        running.kill().unwrap();
        killed += usize::from(running.wait().unwrap().code().is_none());
    }
    println!("{killed} of {} redrives were killed", moments.len());
    assert!(killed >= 3, "{killed} of {} redrives were killed", moments.len());
    redrive(&bench);
    for path in files(bench.folder.path()).iter().filter(|path| path.extension().is_some_and(|e| e == "part"))
    {
        fs::remove_file(path).unwrap();
    }
    assert_mended(&bench).await;
}

#[tokio::test]
async fn two_redrives_at_once_put_every_row_back_once() {
    for _ in 0..3 {
        let bench = mended().await;
        let running = [(); 3].map(|()| start(&bench, &[]));
        let rows: u64 = running.map(finish).iter().map(|summary| summary["rows"].as_u64().unwrap()).sum();
        assert_eq!(rows, 60);
        redrive(&bench);
        assert_mended(&bench).await;
    }
}

#[tokio::test]
async fn a_redrive_that_cannot_append_leaves_the_quarantine_alone() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(&bench, "a", "{\"n\":0}\n{\"n\":1,\"extra\":1}\n").await;
    add_column(&bench, "extra", PrimitiveType::Int).await;
    let (data, away) = (bench.path("warehouse", "test/events/data"), bench.path("warehouse", "away"));
    fs::rename(&data, &away).unwrap();
    fs::write(&data, "where the folder of data files was").unwrap();
    let before = content_of(&bench, "errors");
    let said = complaint(&bench, &[]);
    assert!(said.contains("cannot append to the table test.events"), "{said}");
    assert_eq!(content_of(&bench, "errors"), before);
    fs::remove_file(&data).unwrap();
    fs::rename(away, data).unwrap();
    assert_eq!(counts(&redrive(&bench)), [1, 1, 1, 0, 0]);
    assert_eq!(bench.numbers().await, [0, 1]);
}

/// As long as an object may come again itself, its rows must not come by another way.
#[tokio::test]
async fn rows_of_an_object_that_is_not_in_the_table_stay() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(&bench, "first", "{\"n\":0}\n").await;
    let snapshot = bench.table().await.metadata().current_snapshot_id();
    let (object, _) = deliver(&bench, "second", "{\"n\":1}\n{\"n\":2,\"extra\":1}\n").await;
    add_column(&bench, "extra", PrimitiveType::Int).await;
    roll_back(&bench, snapshot.unwrap()).await;
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    let why = "its object is not in the table yet, or not in this version; deliver that again first";
    assert_eq!(left(&summary), BTreeMap::from([(why.to_owned(), 1)]));
    // It does come again, and brings the row that fits by now.
    assert_eq!(bench.deliver(&[object]).await.objects, ["2 rows"]);
    assert_eq!(bench.numbers().await, [0, 1, 2]);
}

/// What a delivery leaves in the quarantine that ends before its commit, taken from another lake in the same state.
async fn attempt(bench: &Bench, key: &str, content: &str) -> PathBuf {
    let other = Bench::new(Some(strict(plain_table()))).await;
    deliver(&other, key, content).await;
    bench.put(key, content);
    let folder = other.folder.path().join("errors/quarantine");
    let [left] = &files(&folder)[..] else { unreachable!("one file") };
    let text = fs::read_to_string(left).unwrap();
    let [theirs, ours] = [&other, bench].map(|bench| bench.folder.path().display().to_string());
    let to = bench.folder.path().join("errors/quarantine").join(left.strip_prefix(&folder).unwrap());
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(&to, text.replace(&theirs, &ours)).unwrap();
    to
}

/// A delivery rejects a row and dies; the table gets the column; the next delivery takes every row.
#[tokio::test]
async fn what_an_attempt_rejected_that_was_never_committed_stays_out() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(&bench, "first", "{\"n\":0}\n").await;
    let content = "{\"n\":1}\n{\"n\":2,\"extra\":1}\n{\"n\":3,\"other\":1}\n";
    let stale = attempt(&bench, "a", content).await;
    add_column(&bench, "extra", PrimitiveType::Int).await;
    let why_pending = "its object is not in the table yet, or not in this version; deliver that again first";
    assert_eq!(left(&redrive(&bench)), BTreeMap::from([(why_pending.to_owned(), 2)]));
    let (report, is_clean) = checked("audit", bench.folder.path(), &[]);
    assert!(!is_clean && report["findings"][0]["kind"] == "pending_object", "it is not in yet: {report}");

    let (_, outcome) = deliver(&bench, "a", content).await;
    assert_eq!(outcome, "2 rows, 1 unknown_field");
    add_column(&bench, "other", PrimitiveType::Int).await;
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [1, 1, 1, 0, 2]);
    assert!(left(&summary).keys().next().unwrap().starts_with("an attempt left it behind"), "{summary}");
    assert_eq!(bench.numbers().await, [0, 1, 2, 3]);
    let (report, is_clean) = checked("audit", bench.folder.path(), &[]);
    assert!(is_clean, "{report}");
    let stale_counts = ["stale_quarantine_files", "stale_quarantine_records"].map(|name| &report[name]);
    assert_eq!(stale_counts, [&json!(1), &json!(2)]);

    // Old enough it goes, and nothing else of the quarantine.
    deliver(&bench, "b", "{\"n\":4,\"more\":1}\n").await;
    let before = files(&bench.folder.path().join("errors"));
    let sweep = |age: &str| checked("sweep", bench.folder.path(), &["--delete", "--older-than", age]).0;
    assert_eq!(sweep("1h")["deleted"], 0);
    assert!(sweep("0s")["orphans"].to_string().contains(stale.file_name().unwrap().to_str().unwrap()));
    let mut expected = before;
    expected.retain(|path| *path != stale);
    assert_eq!(files(&bench.folder.path().join("errors")), expected);
}

/// A file that names no commit is of an older version of Frazil. It counts only where a commit of that version took its object.
#[tokio::test]
async fn files_of_older_versions_are_put_back() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let content = "{\"n\":1}\n{\"n\":2,\"extra\":1}\n";
    let (object, _) = deliver(&bench, "a", content).await;
    // As it was before snapshots said what they account for.
    let table = bench.table().await;
    let before = table.metadata().current_snapshot().unwrap();
    let mut summary = before.summary().clone();
    summary.additional_properties.remove("frazil.rejected").unwrap();
    let older = Snapshot::builder()
        .with_snapshot_id(7)
        .with_sequence_number(table.metadata().next_sequence_number())
        .with_timestamp_ms(table.metadata().last_updated_ms() + 1)
        .with_manifest_list(before.manifest_list())
        .with_summary(summary)
        .with_schema_id(table.metadata().current_schema_id())
        .build();
    let builder = table.metadata().clone().into_builder(table.metadata_location().map(str::to_owned));
    register(&bench, builder.set_branch_snapshot(older, MAIN_BRANCH).unwrap()).await;
    let [file] = &files(&bench.folder.path().join("errors/quarantine"))[..] else { unreachable!() };
    let name = file.file_name().unwrap().to_str().unwrap();
    let parts: Vec<&str> = name.split('.').collect();
    assert_eq!(parts.len(), 4, "{name}");
    fs::rename(file, file.with_file_name(format!("{}.{}.jsonl", parts[0], parts[1]))).unwrap();
    assert_eq!(bench.deliver(&[object]).await.objects, ["known"]);

    add_column(&bench, "extra", PrimitiveType::Int).await;
    assert_eq!(counts(&redrive(&bench)), [1, 1, 1, 0, 0]);
    assert_eq!(bench.numbers().await, [1, 2]);
}

/// Once the snapshot has expired, nothing tells a file that counts from one that an attempt left behind.
#[tokio::test]
async fn files_whose_snapshots_have_expired_are_put_back_on_demand() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(&bench, "a", "{\"n\":1}\n{\"n\":2,\"extra\":1}\n").await;
    add_column(&bench, "extra", PrimitiveType::Int).await;
    deliver(&bench, "b", "{\"n\":3}\n").await;
    tests::writer::expire(bench.appender.lake(), &bench.table().await).await;
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [0, 0, 0, 0, 1]);
    assert!(left(&summary).keys().next().unwrap().contains("put it back with --expired"), "{summary}");
    assert_eq!(counts(&finish(start(&bench, &["--expired"]))), [1, 1, 1, 0, 0]);
    assert_eq!(bench.numbers().await, [1, 2, 3]);
}

#[tokio::test]
async fn records_that_were_too_large_come_in_under_a_higher_ceiling() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let large = |n: u64, bytes: usize| format!("{{\"n\":{n},\"text\":\"{}\"}}\n", "x".repeat(bytes << 20));
    let content =
        format!("{{\"n\":0}}\n{}{{\"n\":2,\"extra\":1}}\n{}{}", large(1, 17), large(3, 18), large(4, 20));
    let (_, outcome) = deliver(&bench, "a.gz", gzip(&content)).await;
    assert_eq!(outcome, "1 rows, 3 record_too_large, 1 unknown_field");
    add_column(&bench, "extra", PrimitiveType::Int).await;
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [1, 1, 1, 0, 3]);
    assert!(
        left(&summary).keys().all(|why| why.contains("--max-record-bytes takes longer ones")),
        "{summary}"
    );
    let higher = (19_usize << 20).to_string();
    let summary = finish(start(&bench, &["--max-record-bytes", &higher]));
    assert_eq!(counts(&summary), [1, 2, 2, 0, 1]);
    assert_eq!(bench.numbers().await, [0, 1, 2, 3]);
    assert_accounted_for(&bench, &[("raw/a.gz", 5)]).await;
    assert_eq!(counts(&finish(start(&bench, &["--max-record-bytes", &higher]))), [0, 0, 0, 0, 1]);
    let said = complaint(&bench, &["--max-record-bytes", "1000"]);
    assert!(said.contains("expected at least 16777216"), "{said}");
}

/// Of millions of tiny broken records the quarantine must not be many times as large as they are.
#[tokio::test]
async fn many_tiny_rejections_take_little_room_and_come_in_again() {
    const RECORDS: usize = 100_000;
    let bench = Bench::new(Some(strict(plain_table()))).await;
    let content: String = (0..RECORDS).map(|n| format!("{{\"n\":{n},\"x\":1}}\n")).collect();
    deliver(&bench, "a", &content).await;
    let [file] = &files(&bench.folder.path().join("errors/quarantine"))[..] else { unreachable!() };
    assert!(file.to_str().unwrap().ends_with(".jsonl.gz"), "{file:?}");
    let size = fs::metadata(file).unwrap().len();
    println!("{} bytes of records, {size} of quarantine", content.len());
    assert!(size < 2 * content.len() as u64, "{size} bytes for {}", content.len());
    let rejections = bench.rejections();
    assert_eq!(rejections.len(), RECORDS);
    let kept: Vec<&[u8]> = rejections.iter().map(|rejection| rejection.raw.as_deref().unwrap()).collect();
    assert_eq!(kept.join(&b'\n'), content.trim_end().as_bytes(), "every byte is there");
    let (report, is_clean) = checked("audit", bench.folder.path(), &[]);
    assert!(is_clean && report["rows_quarantined"] == RECORDS, "{report}");

    add_column(&bench, "x", PrimitiveType::Int).await;
    assert_eq!(counts(&redrive(&bench)), [1, RECORDS as u64, RECORDS as u64, 0, 0]);
    let (report, is_clean) = checked("audit", bench.folder.path(), &[]);
    assert!(is_clean && report["rows_redriven"] == RECORDS, "{report}");
}

/// Makes the metadata in `builder` the table's.
async fn register(bench: &Bench, builder: TableMetadataBuilder) {
    let table = bench.table().await;
    let location: MetadataLocation = table.metadata_location().unwrap().parse().unwrap();
    let location = location.with_next_version();
    builder.build().unwrap().metadata.write_to(table.file_io(), &location).await.unwrap();
    let catalog = bench.appender.lake().catalog();
    catalog.drop_table(table.identifier()).await.unwrap();
    catalog.register_table(table.identifier(), location.to_string()).await.unwrap();
}

/// As another engine would roll the table back.
async fn roll_back(bench: &Bench, snapshot: i64) {
    let table = bench.table().await;
    let retention = SnapshotRetention::Branch {
        min_snapshots_to_keep: None,
        max_snapshot_age_ms: None,
        max_ref_age_ms: None,
    };
    let builder = table.metadata().clone().into_builder(table.metadata_location().map(str::to_owned));
    register(bench, builder.set_ref(MAIN_BRANCH, SnapshotReference::new(snapshot, retention)).unwrap()).await;
}

#[tokio::test]
async fn rows_of_all_versions_come_back() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(&bench, "a", "{\"n\":1}\n{\"n\":2,\"extra\":1}\n").await;
    // Another version, of other records: what it brought is in its own file.
    deliver(&bench, "a", "{\"n\":3}\n{\"n\":4,\"extra\":1}\n").await;
    assert_eq!(files(&bench.folder.path().join("errors/quarantine")).len(), 2);
    add_column(&bench, "extra", PrimitiveType::Int).await;
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [2, 2, 2, 0, 0]);
    assert_eq!(bench.numbers().await, [1, 2, 3, 4]);
}

fn failed_line(record: impl AsRef<[u8]>) -> String {
    format!(
        "{{\"attemptsMade\":1,\"arrivalTimestamp\":1767323045678,\"errorCode\":\"Lambda.FunctionTimedOut\",\
         \"errorMessage\":\"m\",\"attemptEndingTimestamp\":1767323045679,\"rawData\":\"{}\",\"lambdaArn\":\"arn\"}}\n",
        STANDARD.encode(record)
    )
}

#[tokio::test]
async fn what_firehose_could_not_process_comes_in_with_its_identity_also_by_way_of_the_quarantine() {
    let bench = Bench::new(Some(strict(enriched_table()))).await;
    deliver(&bench, "a", "{\"n\":0}\n").await;
    let key = "processing-failed/2026/01/02/03/frazil-1-2026-01-02-03-04-05-u";
    let path = bench.path("errors", key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let content =
        [failed_line("{\"n\":1}"), failed_line("{\"n\":2,\"extra\":7}"), failed_line("nope")].concat();
    fs::write(&path, &content).unwrap();
    let records = [("raw/a", 1), (&format!("errors/{key}")[..], 3)];

    let summary = redrive(&bench);
    assert_eq!((counts(&summary), &summary["error_objects"]), ([0, 0, 1, 2, 0], &json!(1)));
    assert_eq!(summary["rows_quarantined_by_reason"], json!({"invalid_json": 1, "unknown_field": 1}));
    assert_accounted_for(&bench, &records).await;

    add_column(&bench, "extra", PrimitiveType::Int).await;
    let summary = redrive(&bench);
    assert_eq!(counts(&summary), [1, 1, 1, 0, 1]);
    assert_eq!(
        (&summary["error_objects"], &summary["objects_already_committed"]),
        (&json!(0), &json!(1)),
        "its token says that it is done"
    );
    let rows = bench.rows().await;
    // Computed with Python's uuid.uuid5 for "processing-failed\0errors\0<key>\0<line>".
    let expected = [(1, "cc5145ca-ce7d-54b5-8802-867eafd3321e"), (2, "e1d8df88-7d8b-510e-a82d-91f1a707ab67")];
    for (n, id) in expected {
        let row = &rows[n];
        assert_eq!((&row["n"], &row["record_id"]), (&json!(n), &json!(id)));
        assert_eq!((&row["partition_date"], &row["partition_hour"]), (&json!("2026-01-02"), &json!("03")));
    }
    let redriven = format!("/raw/redrive/test.events/errors/{key}.");
    assert!(rows[1]["file_name"].as_str().unwrap().ends_with(key));
    assert!(rows[2]["file_name"].as_str().unwrap().contains(&redriven), "{}", rows[2]["file_name"]);
    assert_accounted_for(&bench, &records).await;
    assert_eq!(counts(&redrive(&bench)), [0, 0, 0, 0, 1]);
    assert_eq!(fs::read_to_string(path).unwrap(), content);
}

/// From the input on: what a replay's transform refuses, and what does not fit into its answers.
#[tokio::test]
async fn records_that_did_not_fit_the_answer_of_transform_come_in() {
    const RECORDS: usize = 24_000;
    let place = tempfile::tempdir().unwrap();
    let records = (0..RECORDS).map(|n| {
        let data = match n {
            7 => "nope".to_owned(),
            n => format!("{{\"n\":{n},\"padding\":\"{}\"}}", "x".repeat(100)),
        };
        let arrival = 1_767_323_045_678_i64 + n as i64;
        json!({"recordId": n.to_string(), "approximateArrivalTimestamp": arrival, "data": STANDARD.encode(data)})
    });
    let event =
        json!({"invocationId": "i", "deliveryStreamArn": "arn", "records": records.collect::<Vec<_>>()});
    fs::write(place.path().join("event.json"), event.to_string()).unwrap();
    let lake = place.path().join("lake");
    let run = |arguments: &[&str]| {
        let output = frazil().args(arguments).arg("--json").arg("--warehouse").arg(&lake).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let input = place.path().join("event.json");
    let replayed = run(&["replay", input.to_str().unwrap()]);
    let (ok, failed) = (replayed["ok"].as_u64().unwrap(), replayed["failed"].as_u64().unwrap());
    assert!(ok > 1000 && failed > 1000 && ok + failed == RECORDS as u64, "{replayed}");

    let redriven = run(&["redrive"]);
    assert_eq!(counts(&redriven), [0, 0, failed - 1, 1, 0]);
    assert_eq!(redriven["rows_quarantined_by_reason"], json!({"invalid_json": 1}));
    assert_eq!(counts(&run(&["redrive"])), [0, 0, 0, 0, 1]);

    let warehouse = format!("file://{}/warehouse", lake.display());
    let opened = lake::Lake::open_sqlite(&lake.join("catalog.db"), &warehouse).await.unwrap();
    let ident = iceberg::TableIdent::from_strs(["streaming_analytics", "events"]).unwrap();
    let table = opened.table(&ident).await.unwrap().unwrap();
    let columns = ["n", "record_id", "ingestion_timestamp"];
    let rows = tests::scan(&table, &columns, iceberg::expr::Predicate::AlwaysTrue).await;
    assert_eq!(tests::numbers(&rows), (0..RECORDS as i64).filter(|n| *n != 7).collect::<Vec<_>>());
    let ids: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["record_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), RECORDS - 1, "every row has an id of its own");
    // By whichever way it came, a row has the time of its own arrival.
    for (at, time) in [(0, "03:04:05.678"), (RECORDS - 2, "03:04:29.677")] {
        assert_eq!(rows[at]["ingestion_timestamp"], format!("2026-01-02T{time}Z"));
    }
}

#[tokio::test]
async fn the_table_for_what_firehose_could_not_process_must_be_plain() {
    let bench = Bench::new(Some(strict(enriched_table()))).await;
    let path = bench.path("errors", "processing-failed/x");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, failed_line("{\"n\":1}")).unwrap();
    assert!(complaint(&bench, &[]).contains("there is no table for their records; create one first"));
    deliver(&bench, "a", "{\"n\":0}\n").await;
    let other = bench.folder.path().join("other.json");
    fs::write(&other, "{\"n\":5}\n").unwrap();
    let mut replay = frazil();
    replay
        .arg("replay")
        .arg(&other)
        .args(["--table", "web.clicks.raw", "--warehouse"])
        .arg(bench.folder.path());
    assert!(replay.output().unwrap().status.success());

    let expected = "errors/processing-failed has 1 objects, and nothing tells which table their records are for; \
        choose one with --table: test.events, web.clicks.raw";
    assert_eq!(complaint(&bench, &[]), format!("frazil: {expected}\n"));
    let unknown = complaint(&bench, &["--table", "test.event"]);
    assert_eq!(
        unknown,
        "frazil: --table test.event: there is no such table; there are: test.events, web.clicks.raw\n"
    );
    assert_eq!(bench.numbers().await, [0]);
    let summary = finish(start(&bench, &["--table", "test.events"]));
    assert_eq!((&summary["error_objects"], &summary["rows"]), (&json!(1), &json!(1)));
    assert_eq!(bench.numbers().await, [0, 1]);
    assert_eq!(complaint(&bench, &["--table", "test.event"]), unknown);
    // Done is done, for whichever table.
    for arguments in [&[][..], &["--table", "web.clicks.raw"]] {
        let again = finish(start(&bench, arguments));
        assert_eq!((&again["error_objects"], &again["objects_already_committed"]), (&json!(0), &json!(1)));
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_folder_is_said() {
    let bench = Bench::new(Some(strict(plain_table()))).await;
    deliver(&bench, "a", "{\"n\":0}\n{\"n\":1,\"extra\":1}\n").await;
    deliver(&bench, "b", "{\"n\":2,\"extra\":1}\n{\"n\":3,\"extra\":1}\n").await;
    add_column(&bench, "extra", PrimitiveType::Int).await;
    let quarantine = files(&bench.folder.path().join("errors/quarantine"));
    let [a, b] = &quarantine[..] else { unreachable!("two files: {quarantine:?}") };

    // A file that is cut off is left alone, and its neighbour comes in.
    let whole = fs::read(b).unwrap();
    fs::write(b, &whole[..whole.len() - 10]).unwrap();
    let complaint_of = complaint(&bench, &[]);
    let expected = format!(
        "frazil: line 2 of {} is no line of a quarantine; nothing of the file was put back: it is cut off\n",
        b.display()
    );
    assert_eq!(complaint_of, expected);
    assert!(!a.exists() && b.exists());
    assert_eq!(bench.numbers().await, [0, 1]);
    fs::write(b, "{\"errorCode\":\"x\"}\n").unwrap();
    assert!(complaint(&bench, &[]).contains("line 1 of"), "no line of a quarantine");
    fs::write(b, &whole).unwrap();

    // A table that is gone, and a file that nobody knows.
    let other = bench.folder.path().join("errors/quarantine/ns.gone/raw/x.AAAAAAAAAAA.jsonl");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::copy(b, &other).unwrap();
    let summary = redrive(&bench);
    assert_eq!(
        (counts(&summary), left(&summary)),
        ([1, 2, 2, 0, 2], BTreeMap::from([("there is no table ns.gone".to_owned(), 2)]))
    );
    fs::write(other.with_file_name("README"), "x").unwrap();
    assert!(complaint(&bench, &[]).contains("README is no file of the quarantine"));

    let nowhere = bench.folder.path().join("nowhere");
    let output = frazil().args(["redrive", "--warehouse"]).arg(&nowhere).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("has no catalog.db"));
    assert!(!nowhere.exists());
}

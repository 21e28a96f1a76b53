//! The command `frazil sweep`: it deletes what nobody needs, and nothing else, and nothing on doubt.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::command::{Place, checked, frazil};
use tests::files;
use tests::writer::{current_files, expire, local, overwrite, path_of, renamed};

const TABLE: &str = "streaming_analytics.events";
const OTHER: &str = "web.clicks";

/// A warehouse of two tables with two snapshots each. All of its files are old.
fn place() -> Place {
    let place = Place::new();
    for (name, n) in [("one.json", 1), ("two.json", 2)] {
        let input = place.write(name, format!("{{\"n\":{n}}}\n{{\"n\":{n},\"n\":{n}}}\n"));
        place.replay(&[&input]);
        place.replay(&[&input, Path::new("--table"), Path::new(OTHER)]);
    }
    age(&place);
    place
}

/// Makes every file of the warehouse a month old: nothing but its use protects it.
fn age(place: &Place) {
    for path in files(&place.warehouse()) {
        old(&path, 30);
    }
}

fn old(path: &Path, days: u64) {
    let modified = SystemTime::now() - Duration::from_secs(days * 86_400);
    File::options().append(true).open(path).unwrap().set_modified(modified).unwrap();
}

/// Writes a file below the warehouse that is so many days old.
fn plant(place: &Place, below: &str, days: u64) -> PathBuf {
    let path = place.warehouse().join(below);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "x").unwrap();
    old(&path, days);
    path.canonicalize().unwrap()
}

fn sweep(place: &Place, arguments: &[&str]) -> (Value, bool) {
    checked("sweep", &place.warehouse(), arguments)
}

fn orphans(report: &Value) -> BTreeSet<PathBuf> {
    let orphans = report["orphans"].as_array().unwrap();
    orphans.iter().map(|orphan| orphan["path"].as_str().unwrap().into()).collect()
}

/// All files but what SQLite keeps for its own beside the catalog.
fn all(place: &Place) -> BTreeSet<PathBuf> {
    let found = files(&place.warehouse()).into_iter();
    found
        .filter(|path| !path.to_str().unwrap().contains("catalog.db"))
        .map(|path| path.canonicalize().unwrap())
        .collect()
}

/// The audit finds nothing, and says the same as before.
fn audited(place: &Place) -> Value {
    let (report, is_clean) = checked("audit", &place.warehouse(), &[]);
    assert!(is_clean, "{report}");
    report
}

#[tokio::test]
async fn orphans_of_some_age_are_deleted_and_nothing_else() {
    let place = place();
    let (audit, rows) = (audited(&place), place.numbers(TABLE).await);
    let table = "warehouse/streaming_analytics/events";
    let expected: BTreeSet<PathBuf> = [
        "data/old.parquet",
        "data/partition_date=2026-01-01/partition_hour=07/alone.parquet",
        "data/old.orc",
        "data/old-delete.puffin",
        "metadata/00009-old.metadata.json",
        "metadata/00009-old.gz.metadata.json",
        "metadata/old-m0.avro",
        "metadata/old.stats",
        "metadata/half.parquet.123.part",
    ]
    .iter()
    .map(|name| plant(&place, &format!("{table}/{name}"), 4))
    .chain([plant(&place, "raw/2026/half.gz.123.part", 4), plant(&place, "errors/quarantine/half.part", 4)])
    .collect();
    for name in ["data/new.parquet", "metadata/new.metadata.json", "metadata/new.part", "data/new.txt"] {
        plant(&place, &format!("{table}/{name}"), 2);
    }
    for name in ["data/notes.txt", "metadata/version-hint.text", "data/.old.parquet.crc"] {
        plant(&place, &format!("{table}/{name}"), 4);
    }
    plant(&place, "raw/2026/not ours.parquet", 40);
    let before = all(&place);

    let (report, is_done) = sweep(&place, &[]);
    assert!(is_done, "{report}");
    assert_eq!(orphans(&report), expected);
    assert_eq!((&report["orphan_bytes"], &report["deleted"]), (&json!(expected.len()), &json!(0)));
    assert_eq!((&report["unknown_files"], &report["not_swept"]), (&json!(3), &json!([])));
    assert_eq!(all(&place), before, "a dry run deletes nothing");
    let mut for_people = frazil();
    let output = for_people.args(["sweep", "--warehouse"]).arg(place.warehouse()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && page.contains("11 orphans, 11 B; nothing was deleted"), "{page}");
    assert!(page.contains("4d") && page.contains("old-m0.avro"), "{page}");
    // The age is the user's.
    assert_eq!(orphans(&sweep(&place, &["--older-than", "5d"]).0), BTreeSet::new());
    assert_eq!(orphans(&sweep(&place, &["--older-than", "24h"]).0).len(), expected.len() + 3);
    assert_eq!(orphans(&sweep(&place, &["--older-than", "3days 12h"]).0), expected);

    let (report, is_done) = sweep(&place, &["--delete"]);
    assert!(
        is_done && orphans(&report) == expected && report["deleted"] == json!(expected.len()),
        "{report}"
    );
    let left: BTreeSet<PathBuf> = before.difference(&expected).cloned().collect();
    assert_eq!(all(&place), left);
    let data = place.warehouse().join(table).join("data");
    assert!(!data.join("partition_date=2026-01-01").exists(), "folders that are empty go, too");
    assert!(place.warehouse().join("errors/quarantine").exists());
    assert_eq!(orphans(&sweep(&place, &["--delete"]).0), BTreeSet::new());

    fs::remove_file(place.warehouse().join("raw/2026/not ours.parquet")).unwrap();
    assert_eq!(audited(&place), audit);
    assert_eq!(place.numbers(TABLE).await, rows);
}

#[tokio::test]
async fn what_expired_snapshots_leave_behind_goes() {
    let place = place();
    expire(&place.lake().await, &place.table(TABLE).await).await;
    let audit = audited(&place);
    let lists =
        |place: &Place| all(place).iter().filter(|path| path.to_str().unwrap().contains("/snap-")).count();
    assert_eq!(lists(&place), 4);
    let (report, is_done) = sweep(&place, &["--older-than", "0s", "--delete"]);
    assert!(is_done, "{report}");
    let gone = orphans(&report);
    assert!(gone.len() == 1 && gone.iter().all(|path| path.to_str().unwrap().contains("/snap-")), "{report}");
    assert_eq!((audited(&place), lists(&place)), (audit, 3));
    assert_eq!(place.numbers(TABLE).await, [1, 2]);
}

/// What cannot be read may need any of the files.
#[tokio::test]
async fn a_table_in_doubt_is_left_alone() {
    let place = place();
    let in_doubt = plant(&place, "warehouse/streaming_analytics/events/data/old.parquet", 4);
    let table = place.table(TABLE).await;
    let snapshot = table.metadata().snapshots().min_by_key(|snapshot| snapshot.sequence_number()).unwrap();
    let list = table.manifest_list_reader(snapshot).load().await.unwrap();
    let (file, _) = current_files(&table).await.remove(0);
    let manifest = local(&list.entries()[0].manifest_path);
    let needed = [
        manifest.clone(),
        local(snapshot.manifest_list()),
        local(table.metadata_location().unwrap()),
        path_of(&file),
    ];
    for path in needed {
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let orphan = plant(&place, "warehouse/web/clicks/data/old.parquet", 4);
        let before = all(&place);
        let (report, is_done) = sweep(&place, &["--delete"]);
        assert!(!is_done, "{report}");
        let not_swept = report["not_swept"].as_array().unwrap();
        assert_eq!((not_swept.len(), &not_swept[0]["table"]), (1, &json!(TABLE)));
        assert!(not_swept[0]["reason"].as_str().unwrap().contains(path.to_str().unwrap()), "{report}");
        // The other table is swept all the same.
        assert_eq!(orphans(&report), BTreeSet::from([orphan.clone()]));
        let left: BTreeSet<PathBuf> = before.into_iter().filter(|path| *path != orphan).collect();
        assert_eq!(all(&place), left);
        fs::write(&path, whole).unwrap();
    }
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() - 10]).unwrap();
    let mut for_people = frazil();
    let output =
        for_people.args(["sweep", "--delete", "--warehouse"]).arg(place.warehouse()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(page.contains("not swept: streaming_analytics.events: ") && page.contains("-m0.avro"), "{page}");
    assert!(in_doubt.exists());
    fs::write(&manifest, whole).unwrap();
    assert_eq!(orphans(&sweep(&place, &["--delete"]).0), BTreeSet::from([in_doubt]));
}

/// A catalog that was restored from a backup, or that lost its last commit: that commit's files are all there is of it.
#[tokio::test]
async fn a_catalog_that_is_behind_deletes_nothing() {
    let place = place();
    let (lake, table) = (place.lake().await, place.table(TABLE).await);
    let (latest, ident) = (table.metadata_location().unwrap().to_owned(), table.identifier().clone());
    let earlier = table.metadata().metadata_log().last().unwrap().metadata_file.clone();
    lake.catalog().drop_table(&ident).await.unwrap();
    lake.catalog().register_table(&ident, earlier).await.unwrap();
    let before = all(&place);
    let (report, is_done) = sweep(&place, &["--delete"]);
    assert!(!is_done && orphans(&report).is_empty(), "{report}");
    assert_eq!(report["not_swept"][0]["table"], TABLE);
    let name = local(&latest).file_name().unwrap().to_str().unwrap().to_owned();
    assert!(report["not_swept"][0]["reason"].as_str().unwrap().contains(&name), "{report}");
    assert_eq!(all(&place), before);
    // Once the table has gone on, it is known that nobody wants it back.
    place.replay(&[place.folder.path().join("two.json")]);
    let (report, is_done) = sweep(&place, &["--delete"]);
    assert!(is_done && orphans(&report).contains(&local(&latest)), "{report}");
    assert_eq!(orphans(&report).len(), 5, "data, manifest, list, metadata and quarantine: {report}");
    audited(&place);
    assert_eq!(place.numbers(TABLE).await, [1, 2]);
}

/// Tables that were registered twice share their files; what one cannot tell, the other must not delete.
#[tokio::test]
async fn tables_that_share_a_folder_protect_each_other() {
    let place = place();
    let (lake, table) = (place.lake().await, place.table(TABLE).await);
    let earlier = table.metadata().metadata_log().last().unwrap().metadata_file.clone();
    let ident = iceberg::TableIdent::from_strs(["streaming_analytics", "earlier"]).unwrap();
    lake.catalog().register_table(&ident, table.metadata_location().unwrap().to_owned()).await.unwrap();
    // Only the second name still needs the first snapshot.
    expire(&lake, &table).await;
    let (report, is_done) = sweep(&place, &["--older-than", "0s"]);
    assert!(is_done && orphans(&report).is_empty(), "{report}");
    lake.catalog().drop_table(&ident).await.unwrap();
    lake.catalog().register_table(&ident, earlier.clone()).await.unwrap();
    let kept = fs::read(local(&earlier)).unwrap();
    fs::write(local(&earlier), "{}").unwrap();
    let (report, is_done) = sweep(&place, &["--older-than", "0s"]);
    assert!(!is_done && orphans(&report).is_empty(), "{report}");
    let tables: Vec<_> =
        report["not_swept"].as_array().unwrap().iter().map(|table| &table["table"]).collect();
    assert_eq!(tables, ["streaming_analytics.earlier", TABLE]);
    fs::write(local(&earlier), kept).unwrap();
}

#[tokio::test]
async fn files_are_known_by_every_spelling_of_their_paths() {
    let place = place();
    let table = place.table(TABLE).await;
    let spelled = current_files(&table).await.into_iter().enumerate().map(|(at, (file, _))| {
        let path = path_of(&file).display().to_string();
        (renamed(&file, if at == 0 { format!("file:{path}") } else { path }), None)
    });
    overwrite(&place.lake().await, &table, spelled.collect()).await;
    expire(&place.lake().await, &place.table(TABLE).await).await;
    age(&place);
    let audit = audited(&place);
    let (report, is_done) = sweep(&place, &["--delete"]);
    assert!(is_done && !orphans(&report).iter().any(|path| is_data(path)), "{report}");
    assert_eq!((audited(&place), place.numbers(TABLE).await), (audit, vec![1, 2]));
}

fn is_data(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "parquet")
}

#[tokio::test]
async fn a_warehouse_behind_a_link_is_the_same_warehouse() {
    let place = Place::new();
    let link = place.folder.path().join("link");
    fs::create_dir(place.warehouse()).unwrap();
    std::os::unix::fs::symlink(place.warehouse(), &link).unwrap();
    // The metadata names its files by the link.
    let mut replay = frazil();
    replay.args(["replay", "--json", "--warehouse"]).arg(&link).arg(place.write("one.json", "{\"n\":1}"));
    assert!(replay.output().unwrap().status.success());
    age(&place);
    let (audit, before) = (audited(&place), all(&place));
    for warehouse in [&place.warehouse(), &link] {
        let (report, is_done) = checked("sweep", warehouse, &["--delete"]);
        assert!(is_done && orphans(&report).is_empty(), "{report}");
        assert_eq!((audited(&place), all(&place)), (audit.clone(), before.clone()));
    }
    let orphan = plant(&place, "warehouse/streaming_analytics/events/data/old.parquet", 4);
    assert_eq!(orphans(&checked("sweep", &link, &["--delete"]).0), BTreeSet::from([orphan]));
}

#[tokio::test]
async fn folders_of_others_are_left_alone() {
    let place = place();
    let table = place.table(OTHER).await;
    place.lake().await.catalog().drop_table(table.identifier()).await.unwrap();
    plant(&place, "warehouse/web/clicks/data/old.parquet", 40);
    let before = all(&place);
    let (report, is_done) = sweep(&place, &["--delete"]);
    assert!(is_done && orphans(&report).is_empty(), "{report}");
    let folder = place.warehouse().canonicalize().unwrap().join("warehouse/web");
    assert_eq!(report["folders_of_no_table"], json!([folder]));
    assert_eq!(all(&place), before);

    // A copy of a warehouse: its tables are those of the original, of which it may not know the latest.
    let copy = place.folder.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for path in files(&place.warehouse()).iter().filter(|path| path.parent() == Some(&place.warehouse())) {
        fs::copy(path, copy.join(path.file_name().unwrap())).unwrap();
    }
    plant(&place, "warehouse/streaming_analytics/events/data/old.parquet", 40);
    let before = all(&place);
    let (report, is_done) = checked("sweep", &copy, &["--delete", "--older-than", "0s"]);
    assert!(!is_done && orphans(&report).is_empty(), "{report}");
    assert!(report["not_swept"][0]["reason"].as_str().unwrap().contains("is not in"), "{report}");
    let copied = format!("is a copy of the warehouse in {}", place.warehouse().display());
    assert!(report["not_swept"][0]["reason"].as_str().unwrap().contains(&copied), "{report}");
    assert_eq!(all(&place), before);
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_deleted() {
    let place = place();
    let orphan = plant(&place, "warehouse/streaming_analytics/events/data/old.parquet", 4);
    let complaint = |arguments: &[&str], warehouse: &Path| {
        let mut command = frazil();
        let output = command
            .args(["sweep", "--delete", "--warehouse"])
            .arg(warehouse)
            .args(arguments)
            .output()
            .unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let warehouse = place.warehouse();
    for age in ["3", "3q", "-1d", ""] {
        assert!(complaint(&[&format!("--older-than={age}")], &warehouse).contains("such as 3d or 12h"));
    }
    let nowhere = place.folder.path().join("nowhere");
    assert!(complaint(&[], &nowhere).contains("has no catalog.db"));
    assert!(!nowhere.exists());
    for name in ["catalog.db-wal", "catalog.db-shm"] {
        drop(fs::remove_file(warehouse.join(name)));
    }
    fs::write(warehouse.join("catalog.db"), [0x55; 8192]).unwrap();
    let complaint = complaint(&[], &warehouse);
    assert!(complaint.contains("catalog.db is damaged, so nothing is swept"), "{complaint}");
    assert!(orphan.exists());
}

/// The table names one, and the last old one may have been replaced just now.
#[test]
fn ledgers_that_were_replaced_go() {
    let place = Place::new();
    let input = place.write("one.json", "{\"n\":1}\n");
    let definition = place.write(
        "table.json",
        r#"{"name": "events", "schema": {"type": "struct", "schema-id": 0, "fields":
            [{"id": 1, "name": "n", "type": "long", "required": false}]},
            "properties": {"history.expire.max-snapshot-age-ms": "1"}}"#,
    );
    place.replay(&[&input, Path::new("--table"), &definition]);
    age(&place);
    let folder = format!("ledgers/{TABLE}");
    let written = files(&place.warehouse().join(&folder));
    let [named] = &written[..] else { panic!("{written:?}") };
    let planted = |below: &str, days| plant(&place, &format!("{folder}/{below}"), days);
    let replaced = planted("00000000-0000-7000-8000-000000000000.ledger", 30);
    let last = planted("ffffffff-0000-7000-8000-000000000000.ledger", 30);
    let young = planted("00000000-0000-7000-8000-000000000001.ledger", 2);
    let other = plant(&place, "ledgers/gone.table/00000000-0000-7000-8000-000000000000.ledger", 30);
    let (report, _) = sweep(&place, &["--delete"]);
    assert_eq!(orphans(&report), BTreeSet::from([replaced.clone()]));
    assert!(!replaced.exists());
    assert!([named, &last, &young, &other].iter().all(|path| path.exists()));
    // The audit misses the one that is named.
    fs::remove_file(named).unwrap();
    let (report, is_clean) = checked("audit", &place.warehouse(), &[]);
    assert!(!is_clean);
    let finding = &report["findings"][0];
    assert_eq!(finding["kind"], "lost_ledger");
    assert!(finding["name"].as_str().unwrap().ends_with(named.file_name().unwrap().to_str().unwrap()));
}

//! The command `frazil` among other programs: pipes, signals, `--json`, and folders that are copied, moved or watched.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use iceberg::{NamespaceIdent, TableCreation, TableIdent};
use lake::Lake;
use serde_json::{Value, json};
use tests::command::{Place, finish, frazil};
use tests::files;

const TABLE: &str = "streaming_analytics.events";

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// `frazil SUBCOMMAND --warehouse WAREHOUSE`.
fn in_warehouse(subcommand: &str, warehouse: &Path) -> Command {
    let mut command = frazil();
    command.args([subcommand, "--warehouse"]).arg(warehouse);
    command
}

/// Where the table's metadata is, by a copy of `catalog.db` alone.
async fn metadata_in_copy(place: &Place) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("catalog.db");
    // By another program: to close the file here would end the locks of this one's connections to it.
    copy_files(&place.warehouse().join("catalog.db"), &copy);
    let uri = format!("file://{}/warehouse", place.warehouse().display());
    let ident = TableIdent::from_strs(TABLE.split('.')).unwrap();
    let table = Lake::open_sqlite(&copy, &uri).await.unwrap().table(&ident).await.unwrap();
    table.map(|table| table.metadata_location().unwrap().to_owned())
}

/// Bytes that are beside the catalog's file.
fn log_bytes(place: &Place) -> u64 {
    fs::metadata(place.warehouse().join("catalog.db-wal")).map_or(0, |log| log.len())
}

#[tokio::test]
async fn the_catalogs_file_alone_is_the_catalog_when_a_command_has_ended() {
    let place = Place::new();
    let input = place.write("0.json", "{\"n\":0}");
    place.replay(&[&input]);
    // Another program has the catalog open: SQLite itself then leaves commits in its log.
    let reader = place.lake().await;
    let ident = TableIdent::from_strs(TABLE.split('.')).unwrap();
    for at in 1..4 {
        reader.table(&ident).await.unwrap();
        let input = place.write(&format!("{at}.json"), format!("{{\"n\":{at}}}\n{{\"other\":1}}\n"));
        let summary = place.replay(&[&input]);
        assert_eq!(json!(metadata_in_copy(&place).await), summary["metadata_location"]);
        assert_eq!(log_bytes(&place), 0);
    }
    // The same for a command that fails after a commit.
    let (good, foreign) = (place.write("4.json", "{\"n\":4}"), place.write("xz.json", b"\xFD7zXZ\0\0\x04"));
    assert!(place.complaint(&[&good, &foreign]).contains("this is xz"));
    let table = reader.table(&ident).await.unwrap().unwrap();
    assert_eq!(metadata_in_copy(&place).await.as_deref(), table.metadata_location());
    assert_eq!(log_bytes(&place), 0);
    // And for redrive, which commits what Firehose could not process.
    place.complaint(&[place.write("bad.json", "{\"n\":")]);
    let (status, _, complaint) = run(&mut in_warehouse("redrive", &place.warehouse()));
    assert_eq!(status, Some(0), "{complaint}");
    let before = table.metadata_location().map(str::to_owned);
    let table = reader.table(&ident).await.unwrap().unwrap();
    assert_eq!(metadata_in_copy(&place).await.as_deref(), table.metadata_location());
    assert_ne!(table.metadata_location().map(str::to_owned), before);
    assert_eq!(log_bytes(&place), 0);
}

#[tokio::test]
async fn a_signal_ends_a_replay_and_the_catalog_is_whole() {
    let place = Place::new();
    let padding = "x".repeat(150);
    let inputs: Vec<PathBuf> = (0..6)
        .map(|at| {
            let rows = at * 3000..(at + 1) * 3000;
            let rows: String = rows.map(|n| format!("{{\"n\":{n},\"padding\":\"{padding}\"}}\n")).collect();
            place.write(&format!("{at}.json"), rows)
        })
        .collect();
    place.replay(&inputs[..1]);
    let reader = place.lake().await;
    let ident = TableIdent::from_strs(TABLE.split('.')).unwrap();
    for (name, status) in [("TERM", 143), ("INT", 130)] {
        // Waits on a pipe that nobody ends, after what came before it.
        let mut replay = place.command(&inputs[1..2]);
        let mut replay = replay.arg("-").stdin(Stdio::piped()).spawn().unwrap();
        replay.stdin.as_mut().unwrap().write_all(b"{\"n\":-1}\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        assert!(replay.try_wait().unwrap().is_none());
        let begun = Instant::now();
        let kill = Command::new("kill").args([format!("-{name}"), replay.id().to_string()]).status();
        assert!(kill.unwrap().success());
        // Its end of the pipe stays open: the signal alone ends it.
        let stdin = replay.stdin.take();
        let output = replay.wait_with_output().unwrap();
        drop(stdin);
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{complaint}");
        assert!(complaint.starts_with(&format!("frazil: stopped by SIG{name}; ")), "{complaint}");
        assert!(begun.elapsed() < Duration::from_secs(20));
        let error: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(complaint.trim_end().ends_with(error["error"].as_str().unwrap()), "{error}");
        let table = reader.table(&ident).await.unwrap().unwrap();
        assert_eq!(metadata_in_copy(&place).await.as_deref(), table.metadata_location());
        assert_eq!(log_bytes(&place), 0);
    }
    // In the middle of its commits.
    let commits = || {
        let found = files(&place.warehouse());
        found.iter().filter(|path| path.to_str().unwrap().ends_with(".metadata.json")).count()
    };
    let mut stopped = 0;
    for _ in 0..3 {
        let target = commits() + 1;
        let mut replay = place.command(&inputs).spawn().unwrap();
        while commits() < target && replay.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = Command::new("kill").arg(replay.id().to_string()).status().unwrap();
        let output = replay.wait_with_output().unwrap();
        stopped += usize::from(output.status.code() == Some(143));
        let table = reader.table(&ident).await.unwrap().unwrap();
        assert_eq!(metadata_in_copy(&place).await.as_deref(), table.metadata_location());
    }
    assert!(stopped > 0, "none was stopped in time");
    place.replay(&inputs);
    assert_eq!(place.numbers(TABLE).await, (0..18_000).collect::<Vec<_>>());
}

/// A pipe of which nobody reads the other end.
fn closed() -> Stdio {
    let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = reader.stdin.take().unwrap();
    reader.wait().unwrap();
    pipe.into()
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let place = Place::new();
    let (good, bad) = (place.write("good.json", "{\"n\":1}"), place.write("bad.csv", "a,b\n1,2\n"));
    place.replay(&[&good]);
    place.write("warehouse folder/raw/pending.json", "{\"n\":2}");
    let cases: [(&str, Option<&Path>, i32); 6] = [
        ("replay", Some(&good), 0),
        ("replay", Some(&bad), 1),
        ("audit", None, 1),
        ("redrive", None, 0),
        ("sweep", None, 0),
        ("--help", None, 0),
    ];
    for (subcommand, input, status) in cases {
        for json in [&[][..], &["--json"]] {
            let mut command = match subcommand {
                "--help" => frazil(),
                _ => in_warehouse(subcommand, &place.warehouse()),
            };
            command.args(if subcommand == "--help" { &["--help"][..] } else { json }).args(input);
            let output =
                command.env("FRAZIL_LOG", "info").stdout(closed()).stderr(closed()).output().unwrap();
            assert_eq!(output.status.code(), Some(status), "{subcommand} {json:?}");
        }
    }
    // What cannot be written for another reason is an error.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = in_warehouse("replay", &place.warehouse());
    let output = command.arg(&good).stdout(full).stderr(Stdio::piped()).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint.starts_with("frazil: cannot write to standard output: "), "{complaint}");
}

#[test]
fn an_audit_of_nothing_proves_nothing() {
    let place = Place::new();
    place.complaint(&[place.write("bad.csv", "a,b\n1,2\n")]);
    let (status, page, _) = run(&mut in_warehouse("audit", &place.warehouse()));
    assert_eq!(status, Some(0));
    assert!(page.contains("no object yet") && page.contains("refused by transform"), "{page}");
    assert!(!page.contains("Every object is in"), "{page}");
}

#[test]
fn variables_in_another_encoding_are_passed_over() {
    let place = Place::new();
    let mut command = place.command(&[place.write("good.json", "{\"n\":1}")]);
    command.env("OTHER", OsStr::from_bytes(b"\xFF")).env(OsStr::from_bytes(b"NAME\xFF"), "x");
    assert_eq!(finish(command.spawn().unwrap())["rows"], 1);
    let mut command = place.command(&[place.write("good.json", "{\"n\":1}")]);
    let (status, _, complaint) = run(command.env("FRAZIL_LOG", OsStr::from_bytes(b"lake=\xFF")));
    assert_eq!(status, Some(1));
    assert!(complaint.starts_with("frazil: FRAZIL_LOG=lake="), "{complaint}");
}

#[tokio::test]
async fn standard_input_and_pipes_are_inputs() {
    let place = Place::new();
    let piped = |arguments: &[&str], content: &[u8]| {
        let mut replay = place.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        replay.stdin.take().unwrap().write_all(content).unwrap();
        finish(replay)
    };
    assert_eq!(piped(&["-"], b"{\"n\":1}\n{\"n\":2}\n")["rows"], 2);
    assert_eq!(piped(&["-"], &tests::gzip("{\"n\":3}"))["rows"], 1);
    // The same content is the same input, whatever the pipe is called.
    let again = piped(&["/dev/stdin"], b"{\"n\":1}\n{\"n\":2}\n");
    assert_eq!((&again["rows"], &again["objects_already_committed"]), (&json!(0), &json!(1)));
    let pipe = place.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let replay = place.command(&[&pipe]).spawn().unwrap();
    fs::write(&pipe, "{\"n\":4}").unwrap();
    assert_eq!(finish(replay)["rows"], 1);
    assert_eq!(place.numbers(TABLE).await, [1, 2, 3, 4]);
    assert!(place.complaint(&["-", "-"]).contains("standard input can be read once"));
    assert!(files(&place.warehouse()).iter().all(|path| !path.ends_with("part")));
}

#[test]
fn errors_are_json_too() {
    let place = Place::new();
    let input = place.write("good.json", "{\"n\":1}");
    place.replay(&[&input]);
    let (nowhere, warehouse) = (place.folder.path().join("nowhere"), place.warehouse());
    let (nowhere, warehouse) = (nowhere.to_str().unwrap(), warehouse.to_str().unwrap());
    let cases: [(&[&str], i32, &str); 9] = [
        (&["replay", "--warehouse", "s3://bucket/lake"], 1, "works on a local warehouse only"),
        (&["replay", "no-such.json", "--warehouse", warehouse], 1, "cannot open no-such.json"),
        (&["replay", "--table", "x", "--warehouse", warehouse], 1, "--table x: expected NAMESPACE.NAME"),
        (&["audit", "--warehouse", nowhere], 1, "has no catalog.db"),
        (&["redrive", "--warehouse", nowhere], 1, "has no catalog.db"),
        (&["redrive", "--table", "a.b", "--warehouse", warehouse], 1, "there is no such table"),
        (&["sweep", "--warehouse", nowhere], 1, "has no catalog.db"),
        (&["sweep", "--older-than", "3", "--warehouse", warehouse], 2, "such as 3d or 12h"),
        (&["audit", "--no-such-option"], 2, "unexpected argument '--no-such-option' found"),
    ];
    for (arguments, expected, message) in cases {
        let (status, stdout, complaint) = run(frazil().args(arguments).arg("--json"));
        assert_eq!(status, Some(expected), "{arguments:?}: {complaint}");
        let error: Value = serde_json::from_str(&stdout).unwrap();
        assert!(error["error"].as_str().unwrap().contains(message), "{error}");
        assert!(complaint.contains(message), "{complaint}");
        assert!(run(frazil().args(arguments)).1.is_empty(), "{arguments:?}");
    }
}

fn copy_files(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-r").args([from, to]).status().unwrap().success());
}

#[tokio::test]
async fn a_warehouse_that_was_copied_or_moved_is_recognised() {
    let place = Place::new();
    let (one, two) = (place.write("1.json", "{\"n\":1}"), place.write("2.json", "{\"n\":2}"));
    place.replay(&[&one]);
    let [copy, catalog, moved] = ["copy", "catalog", "moved"].map(|name| place.folder.path().join(name));
    copy_files(&place.warehouse(), &copy);
    fs::create_dir(&catalog).unwrap();
    fs::copy(place.warehouse().join("catalog.db"), catalog.join("catalog.db")).unwrap();
    let before = files(&place.warehouse());
    for copy in [&copy, &catalog] {
        for (subcommand, input) in [("replay", Some(&two)), ("redrive", None), ("audit", None)] {
            let (status, _, complaint) = run(in_warehouse(subcommand, copy).args(input));
            assert_eq!(status, Some(1), "{subcommand} {complaint}");
            let (copy, home) = (copy.display(), place.warehouse());
            let expected = format!("frazil: {copy} is a copy of the warehouse in {}: ", home.display());
            assert!(complaint.starts_with(&expected), "{complaint}");
            assert!(complaint.contains(&format!("Use --warehouse {}", home.display())), "{complaint}");
        }
    }
    assert_eq!(files(&place.warehouse()), before, "nothing was written there");

    fs::rename(place.warehouse(), &moved).unwrap();
    for (subcommand, input) in [("replay", Some(&two)), ("redrive", None), ("audit", None)] {
        let (status, _, complaint) = run(in_warehouse(subcommand, &moved).args(input));
        assert_eq!(status, Some(1), "{subcommand} {complaint}");
        let link = format!("ln -s {} {}", moved.display(), place.warehouse().display());
        assert!(complaint.contains("was moved: ") && complaint.contains(&link), "{complaint}");
    }
    assert!(!place.warehouse().exists(), "nothing was written there");
    // The remedy is one.
    std::os::unix::fs::symlink(&moved, place.warehouse()).unwrap();
    let (status, _, complaint) = run(in_warehouse("replay", &moved).arg(&two));
    assert_eq!(status, Some(0), "{complaint}");
    assert_eq!(place.numbers(TABLE).await, [1, 2]);
    assert_eq!(run(&mut in_warehouse("audit", &moved)).0, Some(0));
}

/// A table that was registered from a folder that is no warehouse is nobody's copy.
#[tokio::test]
async fn a_table_may_lie_elsewhere() {
    let place = Place::new();
    let (one, two) = (place.write("1.json", "{\"n\":1}"), place.write("2.json", "{\"n\":2}"));
    let elsewhere = place.folder.path().join("elsewhere");
    place.replay(&[&one]);
    let schema = place.table(TABLE).await.metadata().current_schema().as_ref().clone();
    let location = format!("file://{}", elsewhere.display());
    let creation = TableCreation::builder().name("far".to_owned()).location(location).schema(schema).build();
    let namespace = NamespaceIdent::new("streaming_analytics".to_owned());
    place.lake().await.catalog().create_table(&namespace, creation).await.unwrap();
    place.replay(&[two.as_os_str(), OsStr::new("--table"), OsStr::new("streaming_analytics.far")]);
    assert_eq!(place.numbers("streaming_analytics.far").await, [2]);
    assert!(files(&elsewhere).iter().any(|path| path.extension().is_some_and(|kind| kind == "parquet")));
}

#[tokio::test]
async fn a_data_file_that_is_gone_fails_no_replay_after_its_commit() {
    let place = Place::new();
    let (one, two) = (place.write("1.json", "{\"n\":1}"), place.write("2.json", "{\"n\":2}"));
    place.replay(&[&one]);
    for path in files(&place.warehouse()) {
        if path.extension().is_some_and(|extension| extension == "parquet") {
            fs::remove_file(path).unwrap();
        }
    }
    let (status, page, complaint) = run(in_warehouse("replay", &place.warehouse()).arg(&two));
    assert_eq!((status, complaint.as_str()), (Some(0), ""), "{page}");
    assert!(page.contains("rows cannot be shown: ") && page.contains("see frazil audit"), "{page}");
    assert_eq!(place.replay(&[&two])["objects_already_committed"], 1);
}

//! The command `frazil replay` as a user runs it: its output, its exit code, and the table it leaves behind.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::command::{Place, ROOT, finish, frazil};
use tests::{files, gzip};

fn event(name: &str) -> PathBuf {
    Path::new(ROOT).join("events").join(name)
}

fn expected() -> Value {
    serde_json::from_slice(&fs::read(event("expected.json")).unwrap()).unwrap()
}

fn records(numbers: Range<i64>) -> String {
    let padding = "x".repeat(150);
    numbers
        .map(|n| format!("{{\"n\":{n},\"user\":{{\"id\":\"u{n}\"}},\"padding\":\"{padding}\"}}\n"))
        .collect()
}

const INFERRED: &str = "streaming_analytics.events";

/// The definition of a table of that name that has the column `n` and gets no others.
fn strict_table(place: &Place) -> PathBuf {
    let fields = json!([{"id": 1, "name": "n", "type": "long", "required": false},
        {"id": 2, "name": "file_name", "type": "string", "required": false}]);
    let table = json!({"name": "events", "schema": {"type": "struct", "fields": fields},
        "properties": {"frazil.schema-evolution": "quarantine"}});
    place.write("strict.json", table.to_string())
}

#[tokio::test]
async fn the_bundled_sample_gives_what_is_expected_and_nothing_more_the_second_time() {
    let place = Place::new();
    let no_arguments: [&str; 0] = [];
    let (expected, first) = (expected(), place.replay(&no_arguments));
    for key in ["records", "ok", "failed", "rows", "rows_quarantined"] {
        assert_eq!(first[key], expected[key], "{key}");
    }
    assert_eq!(
        (&first["table"], &first["objects_already_committed"]),
        (&json!("streaming_analytics.user_events"), &json!(0))
    );
    assert_eq!(first["data_files"], 2, "one for each of two hours");
    for key in ["snapshot_id", "metadata_location", "seconds", "objects"] {
        assert!(!first[key].is_null(), "{key}");
    }
    let rows = place.rows("streaming_analytics.user_events", &["record_id", "user_id", "event_type"]).await;
    let mut by_type = BTreeMap::new();
    for row in &rows {
        *by_type.entry(row["event_type"].as_str()).or_insert(0) += 1;
    }
    assert_eq!(json!(by_type.remove(&None)), expected["event_type_nulls"]);
    let by_type: BTreeMap<&str, i32> =
        by_type.into_iter().map(|(kind, count)| (kind.unwrap(), count)).collect();
    assert_eq!(json!(by_type), expected["rows_by_event_type"]);
    assert_eq!(json!(rows.iter().filter(|row| row["user_id"].is_null()).count()), expected["user_id_nulls"]);
    let mut ids: Vec<&str> = rows.iter().map(|row| row["record_id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len(), "record ids are unique");

    let again = place.replay(&no_arguments);
    assert_eq!((&again["rows"], &again["objects_already_committed"]), (&json!(0), &first["objects"]));
    assert_eq!((&again["records"], &again["snapshot_id"]), (&first["records"], &first["snapshot_id"]));

    let mut for_people = frazil();
    let output = for_people.args(["replay", "--warehouse"]).arg(place.warehouse()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(
        page.contains("20,000") && page.contains("committed before") && page.contains("event_type"),
        "{page}"
    );
}

#[tokio::test]
async fn a_table_by_definition_and_a_table_by_name() {
    let place = Place::new();
    let input = place.write("input.json", "{\"n\":1,\"text\":\"x\"}\n{\"n\":2,\"other\":true}\n");
    let definition = place.write(
        "definition.json",
        r#"{"name": "defined", "properties": {"frazil.schema-evolution": "quarantine"}, "schema": {"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "n", "type": "int", "required": true},
            {"id": 2, "name": "text", "type": "string", "required": false},
            {"id": 3, "name": "record_id", "type": "string", "required": false},
            {"id": 4, "name": "ingestion_timestamp", "type": "timestamptz", "required": false},
            {"id": 5, "name": "partition_date", "type": "date", "required": false},
            {"id": 6, "name": "partition_hour", "type": "int", "required": false}]},
            "partition-spec": {"spec-id": 0, "fields": [
                {"source-id": 4, "field-id": 1000, "name": "day", "transform": "day"}]}}"#,
    );
    let summary = place.replay(&[&input, Path::new("--table"), &definition]);
    assert_eq!(summary["table"], "streaming_analytics.defined");
    assert_eq!((&summary["rows"], &summary["rows_quarantined"]), (&json!(1), &json!(1)), "{summary}");
    assert_eq!(place.numbers("streaming_analytics.defined").await, [1]);

    let summary = place.replay(&[&input, Path::new("--table"), Path::new("web.clicks")]);
    assert_eq!((&summary["table"], &summary["rows"]), (&json!("web.clicks"), &json!(2)));
    assert_eq!(place.numbers("web.clicks").await, [1, 2]);
    let more = place.write("more.json", "{\"n\":3}");
    assert_eq!(place.replay(&[&more, Path::new("--table"), Path::new("web.clicks")])["rows"], 1);
    assert_eq!(place.numbers("web.clicks").await, [1, 2, 3]);
}

#[tokio::test]
async fn firehose_events_are_inputs() {
    let place = Place::new();
    let transform = expected()["transform"].as_object().unwrap().clone();
    let mut ok_in_all = 0;
    for (name, answers) in &transform {
        let ok = answers.as_array().unwrap().iter().filter(|answer| *answer == "Ok").count();
        let count = answers.as_array().unwrap().len();
        // One of the records holds two events.
        let events = ok + usize::from(name == "firehose-bad-records.json");
        let table = format!("events.{}", name.trim_end_matches(".json"));
        let summary = place.replay(&[event(name), "--table".into(), table.clone().into()]);
        assert_eq!((&summary["records"], &summary["ok"]), (&json!(count), &json!(ok)), "{name}");
        assert_eq!(summary["failed"], count - ok, "{name}");
        assert_eq!(
            json!(summary["rows"].as_u64().unwrap() + summary["rows_quarantined"].as_u64().unwrap()),
            events
        );
        let rows = place.rows(&table, &["record_id", "ingestion_timestamp"]).await;
        assert_eq!(json!(rows.len()), summary["rows"]);
        assert!(
            rows.iter().all(|row| row["record_id"].is_string() && row["ingestion_timestamp"].is_string())
        );
        ok_in_all += ok;
    }
    assert!(transform.len() >= 4);
    let all: Vec<PathBuf> = transform.keys().map(|name| event(name)).collect();
    assert_eq!(place.replay(&all)["ok"], ok_in_all);
}

#[tokio::test]
async fn inputs_in_every_dress_give_the_same_rows() {
    let lines = records(0..500);
    let concatenated = lines.replace('\n', "");
    let bom_and_crlf = format!("\u{feff}{}", lines.replace('\n', "\r\n"));
    let pretty = lines.replace(",\"", ",\n  \"");
    let inputs: [(&str, Vec<u8>); 6] = [
        ("lines.json", lines.clone().into_bytes()),
        ("concatenated.json", concatenated.clone().into_bytes()),
        ("crlf.json", bom_and_crlf.into_bytes()),
        ("pretty.json", pretty.into_bytes()),
        ("lines.json.gz", gzip(&lines)),
        ("concatenated.zst", zstd::encode_all(concatenated.as_bytes(), 1).unwrap()),
    ];
    for (name, content) in inputs {
        let place = Place::new();
        let summary = place.replay(&[place.write(name, content)]);
        assert_eq!(
            (&summary["ok"], &summary["rows"], &summary["failed"]),
            (&json!(500), &json!(500), &json!(0)),
            "{name}"
        );
        assert_eq!(place.numbers(INFERRED).await, (0..500).collect::<Vec<_>>(), "{name}");
    }
}

#[tokio::test]
async fn bad_records_are_kept_and_counted() {
    let place = Place::new();
    let input =
        place.write("mixed.json", b"{\"n\":1}\nnope\n[1]\n\xFF\n{\"n\":\n{\"n\":2}\n{\"n\":3,\"\":1}\n");
    let summary = place.replay(&[Path::new("--table"), &strict_table(&place), &input]);
    assert_eq!((&summary["records"], &summary["ok"], &summary["failed"]), (&json!(7), &json!(3), &json!(4)));
    assert_eq!(
        (&summary["rows"], &summary["rows_quarantined_by_reason"]),
        (&json!(2), &json!({"invalid_name": 1}))
    );
    let failed = files(&place.warehouse().join("errors/processing-failed"));
    assert_eq!(fs::read_to_string(&failed[0]).unwrap().lines().count(), 4);
    assert_eq!(files(&place.warehouse().join("errors/quarantine")).len(), 1);
}

/// What a replay without `--json` prints, and its exit status.
fn page(place: &Place, input: &Path) -> (Option<i32>, String, String) {
    let mut command = frazil();
    let output = command.args(["replay", "--warehouse"]).arg(place.warehouse()).arg(input).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn what_was_refused_is_shown_by_reason_with_the_first_example() {
    let place = Place::new();
    let first = place.write("first.json", "{\"n\":1}\n");
    place.replay(&[Path::new("--table"), &strict_table(&place), &first]);
    let text = "{\"n\":2}\nnope\n{\"n\":3,\"a\":1}\n{\"n\":\"x\"}\nnor this\n[1]\n{\"n\":4,\"b\":1}\n";
    let mixed = place.write("mixed.json", text);
    let summary = place.replay(&[&mixed]);
    let object = summary["refusals"][2]["first"]["object"].clone();
    let shown: Vec<Value> = summary["refusals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| {
            let first = &refused["first"];
            assert!(!first["message"].as_str().unwrap().is_empty() && first["remedy"].is_string());
            json!([refused["stage"], refused["reason"], refused["records"], first["object"], first["row"]])
        })
        .collect();
    assert_eq!(
        json!(shown),
        json!([
            ["transform", "invalid_json", 2, "mixed.json", 2],
            ["transform", "not_an_object", 1, "mixed.json", 6],
            ["append", "type_mismatch", 1, object, 3],
            ["append", "unknown_field", 2, object, 2],
        ])
    );
    assert!(object.as_str().unwrap().contains("/raw/") && summary["error"].is_null(), "{summary}");
    assert_eq!(summary["refusals"][0]["first"]["offset"], text.find("nope").unwrap());

    let (status, page, complaint) = page(&place, &place.write("more.json", text.replace('4', "5")));
    assert_eq!((status, complaint.as_str()), (Some(0), ""), "{page}");
    for expected in [
        "  invalid_json: 2 records, such as record 2 of more.json, at byte 8:\n    not JSON",
        "  unknown_field: 2 records, such as record 2 of raw/",
        "    Add the column to the table, or stop sending the field.\n",
    ] {
        assert!(page.contains(expected), "{page}");
    }
}

#[test]
fn a_replay_of_which_nothing_got_in_fails_and_says_why() {
    let place = Place::new();
    let inputs = [
        ("users.csv", "id,name\n1,a\n2,b\n", "invalid_json 3. A replay reads JSON objects"),
        ("array.json", "[[1],[2]]", "not_an_object 1. A replay reads JSON objects"),
        ("nothing.json", "[]", "no record got into streaming_analytics.events: 1 record without an event"),
        (
            "refused.json",
            "{\"n\":1,\"n\":1}",
            "no record got into streaming_analytics.events: duplicate_field 1",
        ),
        ("empty.json", "", "empty.json holds no record, so nothing was appended"),
        ("blank.json", " \n\n", "blank.json holds no record, so nothing was appended"),
    ];
    for (name, content, expected) in inputs {
        let input = place.write(name, content);
        let output = place.command(&[&input]).output().unwrap();
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(summary["error"].as_str().unwrap().contains(expected), "{summary}");
        if name == "refused.json" {
            // Its object is in the table by now.
            continue;
        }
        let (status, page, complaint) = page(&place, &input);
        assert_eq!(status, Some(1), "{page}");
        assert!(complaint.contains(expected) && complaint.lines().count() == 1, "{complaint}");
        let reason = expected.split(' ').next().unwrap();
        assert!(name.starts_with(reason) || page.contains(&format!("  {reason}: ")), "{page}");
    }
    // One that is empty among others is told, and fails nothing.
    let place = Place::new();
    let (empty, full) = (place.write("empty.json", ""), place.write("full.json", "{\"n\":1}"));
    let summary = place.replay(&[&empty, &full]);
    assert_eq!((&summary["empty"], &summary["rows"]), (&json!(["empty.json"]), &json!(1)));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said() {
    let place = Place::new();
    let input = place.write("input.json", "{\"n\":1}");
    let folder = place.folder.path().to_owned();
    place.write("input.ndjson", "{\"n\":1}");
    let no_definition = place.write("no-definition.json", "{\"name\": \"x\"}");
    let no_json = place.write("no-json.json", "name: x");
    let table = |definition: &Path| vec![input.clone(), "--table".into(), definition.to_owned()];
    let cases = [
        (vec!["no-such-file.json".into()], "cannot open no-such-file.json: No such file"),
        (vec![input.clone(), "nor-this".into()], "cannot open nor-this: No such file"),
        (vec![folder.clone()], "is no file"),
        (table(&no_definition), "missing field `schema`"),
        (table(&no_json), "this is no table definition"),
        (table(Path::new("no-such.json")), "cannot read the table definition no-such.json"),
        (table(Path::new("events")), "--table events: expected NAMESPACE.NAME or a FILE.json"),
        (table(Path::new("some/path.ndjson")), "--table some/path.ndjson: this is a path, not a name"),
        (table(&input.with_extension("ndjson")), "give files of events without --table"),
        (table(Path::new("a..b")), "--table a..b: expected NAMESPACE.NAME or a FILE.json"),
    ];
    for (arguments, expected) in cases {
        let complaint = place.complaint(&arguments);
        assert!(complaint.starts_with("frazil: ") && complaint.contains(expected), "{complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
    }
    assert!(files(&place.warehouse()).is_empty(), "nothing was begun");
}

#[tokio::test]
async fn a_damaged_input_gives_its_rows_and_a_complaint() {
    let place = Place::new();
    let whole = gzip(records(0..2000));
    let input = place.write("cut.json.gz", &whole[..whole.len() / 2]);
    let output = place.command(&[&input]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.starts_with("frazil: cut.json.gz cannot be read to its end"), "{complaint}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let numbers = place.numbers(INFERRED).await;
    assert!(numbers.len() > 500 && json!(numbers.len()) == summary["rows"], "{summary}");
    assert_eq!(numbers, (0..numbers.len() as i64).collect::<Vec<_>>());
    assert_eq!(summary["failed"], 1, "the record that is cut off");

    let foreign = place.write("foreign.json", b"\xFD7zXZ\0\0\x04");
    assert!(place.complaint(&[&foreign]).contains("this is xz"));
}

#[tokio::test]
async fn two_replays_of_different_inputs_into_one_table_at_the_same_time() {
    for turn in 0..5 {
        let place = Place::new();
        let inputs =
            [place.write("one.json", records(0..2000)), place.write("two.json", records(2000..4000))];
        // In every other turn both find the table, else each of them wants to create it.
        if turn % 2 == 1 {
            place.replay(&[place.write("first.json", records(-10..0))]);
        }
        let replays = inputs.map(|input| place.command(&[input]).spawn().unwrap());
        for summary in replays.map(finish) {
            assert_eq!((&summary["rows"], &summary["objects_already_committed"]), (&json!(2000), &json!(0)));
        }
        let first = if turn % 2 == 1 { -10 } else { 0 };
        assert_eq!(place.numbers(INFERRED).await, (first..4000).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn replays_of_the_same_input_at_the_same_time() {
    for _ in 0..3 {
        let place = Place::new();
        let input = place.write("input.json", records(0..2000));
        let replays = [(); 3].map(|()| place.command(&[&input]).spawn().unwrap());
        let rows: u64 = replays.map(finish).iter().map(|summary| summary["rows"].as_u64().unwrap()).sum();
        assert_eq!(rows, 2000);
        assert_eq!(place.numbers(INFERRED).await, (0..2000).collect::<Vec<_>>());
    }
}

/// Kills a replay as soon as it has made files of a kind: between any two steps of it, that is. The one that
/// is not killed does the rest.
#[tokio::test]
async fn a_replay_that_is_killed_can_be_run_again() {
    const INPUTS: i64 = 8;
    const RECORDS: i64 = 2500;
    let place = Place::new();
    let inputs: Vec<PathBuf> = (0..INPUTS)
        .map(|at| place.write(&format!("{at:02}.json"), records(at * RECORDS..(at + 1) * RECORDS)))
        .collect();
    // How the names of the files end, and how many more of them there are before the kill.
    let moments = [
        ("catalog.db", 1),
        (".gz", 1),
        ("-m0.avro", 1),
        (".parquet", 1),
        (".metadata.json", 1),
        ("snap-", 2),
        (".part", 1),
        (".parquet", 2),
        ("-m0.avro", 2),
        (".metadata.json", 2),
        (".gz", 3),
        ("snap-", 1),
    ];
    let mut killed = 0;
    for (kind, more) in moments {
        let count = || {
            let found = files(&place.warehouse());
            found.iter().filter(|path| path.file_name().unwrap().to_string_lossy().contains(kind)).count()
        };
        let target = count() + more;
        let mut replay = place.command(&inputs).spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        while count() < target && replay.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        replay.kill().unwrap();
        killed += usize::from(replay.wait().unwrap().code().is_none());
    }
    assert!(killed >= 6, "{killed} of {} replays were killed", moments.len());
    let summary = place.replay(&inputs);
    println!("{killed} {summary}");
    assert_eq!(place.numbers(INFERRED).await, (0..INPUTS * RECORDS).collect::<Vec<_>>());
    let again = place.replay(&inputs);
    assert_eq!((&again["rows"], &again["objects_already_committed"]), (&json!(0), &summary["objects"]));
}

#[test]
fn the_page_shows_columns_that_are_called_like_metadata() {
    for record in [
        r#"{"pos":3,"query":"lamp"}"#,
        r#"{"_file":"a.log","_deleted":false,"file_path":"/var/a"}"#,
        r#"{"_pos":1,"_partition":2,"_row_id":3,"_spec_id":4,"row_id":5}"#,
        r#"{"_change_type":"a","_change_ordinal":1,"_commit_snapshot_id":2,"_last_updated_sequence_number":3}"#,
    ] {
        let place = Place::new();
        let input = place.write("input.json", record);
        let mut command = frazil();
        let output =
            command.args(["replay", "--warehouse"]).arg(place.warehouse()).arg(&input).output().unwrap();
        assert!(output.status.success(), "{record}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let fields: serde_json::Map<String, Value> = serde_json::from_str(record).unwrap();
        assert!(fields.keys().all(|name| text.contains(&**name)), "{record}: {text}");
    }
}

#[tokio::test]
async fn the_producers_own_names_survive_from_end_to_end() {
    let place = Place::new();
    let input = place.write(
        "input.json",
        "{\"n\":1,\"record_id\":\"crm-1\",\"file_name\":\"a.pdf\",\"Name\":\"x\"}\n\
         {\"n\":2,\"Record_Id\":\"crm-2\",\"FILE_NAME\":\"b.pdf\",\"name\":\"y\"}\n",
    );
    let summary = place.replay(&[&input]);
    assert_eq!((&summary["rows"], &summary["rows_quarantined"]), (&json!(2), &json!(0)), "{summary}");
    for row in place.rows(INFERRED, &[]).await {
        let n = &row["n"];
        assert_eq!(row["producer_record_id"], json!(format!("crm-{n}")));
        assert_eq!(row["producer_file_name"], json!(if *n == json!(1) { "a.pdf" } else { "b.pdf" }));
        assert_eq!(row["Name"], json!(if *n == json!(1) { "x" } else { "y" }));
        assert!(row["file_name"].as_str().unwrap().starts_with("file://"), "{row}");
        assert_eq!(row["record_id"].as_str().unwrap().len(), 36);
    }
}

/// The blog's table for Kafka has no column for two of transform's fields, and none for the object's name.
#[tokio::test]
async fn a_table_need_not_have_the_pipelines_own_columns() {
    let place = Place::new();
    let input = place.write("input.json", "{\"n\":1,\"timestamp\":1772000000}\n{\"n\":2}\n");
    let definition = place.write(
        "definition.json",
        r#"{"name": "kafka", "schema": {"type": "struct", "schema-id": 0, "fields": [
            {"id": 1, "name": "n", "type": "long", "required": false},
            {"id": 2, "name": "timestamp", "type": "timestamptz", "required": false},
            {"id": 3, "name": "processing_time", "type": "timestamptz", "required": false},
            {"id": 4, "name": "partition_date", "type": "string", "required": false},
            {"id": 5, "name": "partition_hour", "type": "int", "required": false}]},
            "partition-spec": {"spec-id": 0, "fields": [
                {"source-id": 4, "field-id": 1000, "name": "partition_date", "transform": "identity"},
                {"source-id": 5, "field-id": 1001, "name": "partition_hour", "transform": "identity"}]}}"#,
    );
    let summary = place.replay(&[&input, Path::new("--table"), &definition]);
    assert_eq!((&summary["rows"], &summary["rows_quarantined"]), (&json!(2), &json!(0)), "{summary}");
    assert_eq!(place.replay(&[&input, Path::new("--table"), &definition])["rows"], 0);
    assert_eq!(place.numbers("streaming_analytics.kafka").await, [1, 2]);
}

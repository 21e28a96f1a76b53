//! The command `frazil announce`, as far as it goes without a queue: which objects it would announce. The rest is checked
//! against a queue by tests/interop/check_16_operate.py.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::fs;

use serde_json::{Value, json};
use tests::command::{Place, frazil};

/// What `frazil announce` prints and complains about, and its exit status.
fn announce(place: &Place, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = frazil();
    command.arg("announce").args(arguments).arg("--warehouse").arg(place.warehouse());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

/// Objects, those that a table has, and those that would be announced.
fn counts(place: &Place, arguments: &[&str]) -> Value {
    let (printed, complaint, status) = announce(place, &[arguments, &["--dry-run", "--json"]].concat());
    assert_eq!((status, complaint.as_str()), (Some(0), ""));
    let summary: Value = serde_json::from_str(&printed).unwrap();
    json!([summary["objects"], summary["objects_known"], summary["announced"]])
}

#[test]
fn what_no_table_has_would_be_announced() {
    let place = Place::new();
    place.replay(&[place.write("one.json", "{\"n\":1}\n")]);
    let root = format!("file://{}", place.warehouse().display());
    let raw = format!("{root}/raw/");
    assert_eq!(counts(&place, &[&raw]), json!([1, 1, 0]));
    let lost = place.warehouse().join("raw/2020/lost 1.json");
    fs::create_dir_all(lost.parent().unwrap()).unwrap();
    fs::write(&lost, "{\"n\":2}\n").unwrap();
    assert_eq!(counts(&place, &[&raw]), json!([2, 1, 1]));
    let (printed, ..) = announce(&place, &[&raw, "--dry-run"]);
    assert_eq!(printed.lines().next(), Some(format!("file://{}", lost.display()).as_str()));
    assert!(printed.contains("nothing was sent"), "{printed}");
    // A prefix need be no folder, and a table no reason to pass over what it has.
    assert_eq!(counts(&place, &[&format!("{raw}2020/lo")]), json!([1, 0, 1]));
    assert_eq!(counts(&place, &[&format!("{raw}2020/nothing")]), json!([0, 0, 0]));
    assert_eq!(counts(&place, &[&raw, "--all"]), json!([2, 0, 2]));
    assert_eq!(counts(&place, &[&raw, "--since", "2100-01-01"]), json!([0, 0, 0]));
    // Another version is another object.
    fs::write(&lost, "{\"n\":3}\n").unwrap();
    assert_eq!(counts(&place, &[&raw]), json!([2, 1, 1]));
    // What the pipeline wrote is no input.
    fs::create_dir_all(place.warehouse().join("errors/quarantine/t/raw")).unwrap();
    fs::write(place.warehouse().join("errors/quarantine/t/raw/x.jsonl"), "{}\n").unwrap();
    assert_eq!(counts(&place, &[&format!("{root}/errors/")]), json!([0, 0, 0]));
}

#[test]
fn what_cannot_be_announced_is_said() {
    let place = Place::new();
    place.replay(&[place.write("one.json", "{\"n\":1}\n")]);
    let queue = ["--queue", "http://localhost/queue"];
    for (arguments, status, expected) in [
        (&["file:///raw/"][..], 2, "--queue <URL>"),
        (&[&["file:///raw/"], &queue[..]].concat(), 1, "append is told of no other objects"),
        (&[&["s3://raw/"], &queue[..]].concat(), 1, "build it with --features s3"),
        (&["s3://raw/", "--dry-run"], 1, "cargo feature s3"),
        (&["file:///elsewhere/", "--dry-run", "--rate", "0"], 2, "0 is not in 1..=100000"),
        (&["file:///raw/", "--dry-run", "--since", "yesterday"], 2, "expected an age such as 3d"),
    ] {
        let (printed, complaint, found) = announce(&place, arguments);
        assert_eq!((found, printed.as_str()), (Some(status), ""), "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
    }
}

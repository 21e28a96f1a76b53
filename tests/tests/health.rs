//! `frazil health` as a user runs it.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::fs;

use serde_json::Value;
use tests::command::{Place, finish, frazil};

fn health(place: &Place, arguments: &[&str]) -> (String, bool) {
    let mut command = frazil();
    let output =
        command.args(["health", "--warehouse"]).arg(place.warehouse()).args(arguments).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.success())
}

#[test]
fn tables_are_shown_as_text_as_json_and_as_a_page() {
    let place = Place::new();
    for (branch, name, rows) in [
        ("main", "1.ndjson", "{\"n\":1}\n{\"n\":2}\n"),
        ("main", "2.ndjson", "{\"n\":3}\n"),
        ("audit", "3.ndjson", "{\"n\":4}\n"),
    ] {
        let input = place.write(name, rows);
        finish(place.command(&[input.to_str().unwrap()]).env("FRAZIL_BRANCH", branch).spawn().unwrap());
    }

    let (text, is_content) = health(&place, &[]);
    let first = "streaming_analytics.events: 3 rows in 2 files, ";
    assert!(is_content && text.starts_with(first), "{text}");
    assert!(text.contains("frazil publish --table streaming_analytics.events --branch audit\n"), "{text}");

    let (json, _) = health(&place, &["--json", "--table", "streaming_analytics.events"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let table = &json["tables"][0];
    assert_eq!((table["rows"].as_u64(), table["files"].as_u64()), (Some(3), Some(2)));
    assert_eq!((table["references"][0]["ahead"].as_u64(), table["snapshots"].as_u64()), (Some(1), Some(3)));
    assert_eq!(table["history"].as_array().unwrap().len(), 2);

    let page = place.folder.path().join("page.html");
    let (printed, _) = health(&place, &["--html", page.to_str().unwrap()]);
    assert_eq!(printed.trim_end(), page.to_str().unwrap());
    let page = fs::read_to_string(page).unwrap();
    // A browser needs nothing else for it, and runs nothing of it.
    for absent in ["<script", "http:", "https:", "src=", "url(", "@import"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("<svg").count() >= 4, "{page}");
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("<title>Health of tables</title>"));

    let (_, is_content) = health(&place, &["--table", "streaming_analytics.others"]);
    assert!(!is_content);
}

//! `frazil publish` as a user runs it, after replays with `FRAZIL_BRANCH`.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::process::Output;

use serde_json::Value;
use tests::command::{Place, checked, finish, frazil};

const TABLE: &str = "streaming_analytics.events";

/// Replays rows to a branch.
fn replay(place: &Place, branch: &str, name: &str, rows: &str) {
    let input = place.write(name, rows);
    let arguments = [input.to_str().unwrap()];
    finish(place.command(&arguments).env("FRAZIL_BRANCH", branch).spawn().unwrap());
}

fn publish(place: &Place, arguments: &[&str]) -> Output {
    let mut command = frazil();
    command.args(["publish", "--table", TABLE, "--branch", "audit", "--warehouse"]).arg(place.warehouse());
    command.args(arguments).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_bad_batch_is_never_on_main_and_a_good_one_at_once() {
    let place = Place::new();
    replay(&place, "main", "first.ndjson", "{\"n\":100,\"name\":\"m1\"}\n");
    replay(&place, "audit", "bad.ndjson", "{\"n\":null,\"name\":\"bad\"}\n{\"n\":1,\"name\":\"a\"}\n");

    let output = publish(&place, &["--max-nulls", "n=0", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let rejected = json(&output);
    let bad = rejected["commits"][0]["snapshot_id"].to_string();
    assert_eq!((&rejected["status"], rejected["commits"][0]["rows"].as_u64()), (&"rejected".into(), Some(2)));
    assert!(
        rejected["findings"][0].as_str().unwrap().contains(&format!("{bad} (1 of 2 rows)")),
        "{rejected}"
    );
    assert_eq!(place.numbers(TABLE).await, [100]);
    // Until it is published or dropped, its object is pending.
    let (report, is_content) = checked("audit", &place.warehouse(), &[]);
    assert!(!is_content && report.to_string().contains("pending_object"), "{report}");

    let output = publish(&place, &["--max-nulls", "n=50%", "--min-rows", "2", "--dry-run"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.ends_with("main stands where the branch began\n"), "{text}");
    assert_eq!(place.numbers(TABLE).await, [100]);

    let output = publish(&place, &["--max-nulls", "n=50%", "--min-rows", "2", "--json"]);
    assert_eq!((output.status.code(), &json(&output)["status"]), (Some(0), &"fast_forward".into()));
    assert_eq!(place.rows(TABLE, &["name"]).await.len(), 3);
    let output = publish(&place, &["--json"]);
    assert_eq!((output.status.code(), &json(&output)["status"]), (Some(0), &"nothing_to_publish".into()));
    let (report, is_content) = checked("audit", &place.warehouse(), &[]);
    assert!(is_content, "{report}");
}

#[test]
fn what_cannot_be_published_is_said() {
    let place = Place::new();
    replay(&place, "main", "first.ndjson", "{\"n\":100}\n");
    for (arguments, complaint) in [
        (&["--max-nulls", "n"][..], "expected COLUMN=PERCENT, from 0 to 100"),
        (&["--max-nulls", "n=101"], "expected COLUMN=PERCENT, from 0 to 100"),
        (&[], "has no branch audit: nothing was appended to it yet, or it was dropped"),
        (&["--branch", "main"], "cannot be used multiple times"),
    ] {
        let output = publish(&place, arguments);
        let found = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && found.contains(complaint), "{found}");
    }
    replay(&place, "audit", "1.ndjson", "{\"n\":1}\n");
    let output = publish(&place, &["--snapshot", "7"]);
    let found = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && found.contains("has no snapshot 7, or not any more"), "{found}");
}

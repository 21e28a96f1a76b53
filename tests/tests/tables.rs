//! The commands `frazil infer` and `frazil table`: from files of events to a table, and on to the next version of it.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::path::Path;

use serde_json::{Value, json};
use tests::command::{Place, frazil};

/// What a command prints and complains about, and whether it succeeds.
fn run(place: &Place, arguments: &[&str]) -> (String, String, bool) {
    let mut command = frazil();
    command.args(arguments);
    if arguments[0] == "table" {
        command.arg("--warehouse").arg(place.warehouse());
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.success())
}

/// The columns of a definition as `name type`, with their docs.
fn fields(definition: &Value) -> Vec<(String, String)> {
    let fields = definition["schema"]["fields"].as_array().unwrap();
    let text = |value: &Value| {
        value.as_str().map_or_else(|| value["type"].as_str().unwrap().to_owned(), str::to_owned)
    };
    let each = fields.iter().map(|field| {
        let doc = field["doc"].as_str().unwrap_or_default();
        (format!("{} {}", field["name"].as_str().unwrap(), text(&field["type"])), doc.to_owned())
    });
    each.collect()
}

#[tokio::test]
async fn a_definition_is_inferred_edited_created_and_evolved() {
    let place = Place::new();
    let first =
        place.write("a.json", "{\"sensor\":\"s1\",\"celsius\":21,\"at\":1772000000123,\"none\":null}\n[1]\n");
    let second = place
        .write("b.json", "{\"sensor\":\"s2\",\"celsius\":20,\"tags\":[\"x\"],\"place\":{\"floor\":2}}\n");
    let (first, second) = (first.to_str().unwrap(), second.to_str().unwrap());
    let inferred = |numbers: &[&str]| -> Value {
        let (printed, complaint, succeeds) = run(&place, &[&["infer", first, second], numbers].concat());
        assert!(succeeds && complaint.contains("1 records are no JSON objects"), "{complaint}");
        serde_json::from_str(&printed).unwrap()
    };
    let expected = [
        ("sensor string", "text in 2 of 2 objects"),
        ("celsius long", "whole numbers in 2 of 2 objects"),
        ("at timestamptz", "whole numbers that can be milliseconds in 1 of 2 objects"),
        ("tags list", "arrays in 1 of 2 objects"),
        ("place struct", "objects in 1 of 2 objects"),
    ];
    let definition = inferred(&[]);
    assert_eq!(fields(&definition)[..5], expected.map(|(column, doc)| (column.to_owned(), doc.to_owned())));
    assert_eq!(fields(&inferred(&["--numbers", "decimal"]))[1].0, "celsius decimal(38, 9)");
    let mut definition = inferred(&["--numbers", "double"]);
    assert_eq!(fields(&definition)[1].0, "celsius double");

    definition["partition-spec"] = json!("day(ingestion_timestamp)");
    let file = place.write("table.json", definition.to_string());
    let file = file.to_str().unwrap();
    assert_eq!(run(&place, &["table", "create", "lab.ticks", file]).0, "lab.ticks is created\n");
    assert!(run(&place, &["table", "create", "lab.ticks", file]).1.contains("there is a table lab.ticks"));
    assert_eq!(run(&place, &["table", "show"]).0, "lab.ticks\n");
    let input =
        place.write("c.json", "{\"sensor\":\"s1\",\"celsius\":21.5}\n{\"sensor\":\"s2\",\"celsius\":19}\n");
    let summary = place.replay(&[&input, Path::new("--table"), Path::new("lab.ticks")]);
    assert_eq!((&summary["rows"], &summary["rows_quarantined"]), (&json!(2), &json!(0)), "{summary}");

    let shown = run(&place, &["table", "show", "lab.ticks"]).0;
    let mut shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(fields(&shown), fields(&definition));
    assert_eq!(shown["partition-spec"]["fields"][0]["transform"], "day");
    let new = json!({"id": 900, "name": "unit", "required": false, "type": {"type": "struct", "fields": [
        {"id": 901, "name": "name", "required": false, "type": "string"}]}});
    shown["schema"]["fields"].as_array_mut().unwrap().push(new);
    let wider = place.write("wider.json", shown.to_string());
    let evolve = ["table", "evolve", "lab.ticks", wider.to_str().unwrap()];
    assert_eq!(run(&place, &evolve).0, "lab.ticks: 1 column new or wider\n  unit\n");
    assert_eq!(run(&place, &evolve).0, "lab.ticks: 0 columns new or wider\n");
    let ids = |table: &iceberg::table::Table| table.metadata().last_column_id();
    let table = place.table("lab.ticks").await;
    assert_eq!(table.metadata().current_schema().field_by_name("unit.name").unwrap().id, ids(&table));

    // No long becomes a double, and the error says what to do.
    let long = place.write("long.json", inferred(&[]).to_string());
    let (_, complaint, succeeds) = run(&place, &["table", "evolve", "lab.ticks", long.to_str().unwrap()]);
    assert!(!succeeds && complaint.contains("celsius is double and cannot become long"), "{complaint}");
    assert!(complaint.contains("rename the column"), "{complaint}");
}

#[tokio::test]
async fn a_replay_names_the_columns_that_may_turn_out_fractional() {
    let place = Place::new();
    let input = place.write("a.json", "{\"a\":1,\"b\":1.5,\"s\":{\"c\":2},\"l\":[3]}\n");
    let summary = place.replay(&[&input]);
    assert_eq!(summary["whole_number_columns"], json!(["a", "l.element", "s.c"]));
    // It is too late to be asked the second time.
    assert_eq!(place.replay(&[&input])["whole_number_columns"], json!([]));
}

#[test]
fn what_no_table_can_be_made_of_is_said() {
    let place = Place::new();
    let file = place.write("a.json", "[1]\nnope\n");
    for (arguments, expected) in [
        (["infer", file.to_str().unwrap()], "no file holds a JSON object"),
        (["infer", "nowhere.json"], "cannot open nowhere.json"),
        (["table", "show"], "there is no lake here"),
    ] {
        let (printed, complaint, succeeds) = run(&place, &arguments);
        assert!(!succeeds && printed.is_empty() && complaint.contains(expected), "{complaint}");
    }
}

/// The variables of append name the lake, and arguments go before them.
#[test]
fn a_table_is_shown_and_made_where_append_has_its_lake() {
    let place = Place::new();
    let file = place.write("a.json", "{\"n\":1}\n");
    let definition = run(&place, &["infer", file.to_str().unwrap()]).0;
    let definition = place.write("table.json", definition);
    let definition = definition.to_str().unwrap();
    let database = place.folder.path().join("elsewhere.db");
    let tables = format!("file://{}/tables", place.folder.path().display());
    let table = |arguments: &[&str], catalog: &str| {
        let mut command = frazil();
        command.arg("table").args(arguments).current_dir(place.folder.path());
        command.env("FRAZIL_CATALOG", catalog).env("FRAZIL_CATALOG_URI", &database);
        let output = command.env("FRAZIL_WAREHOUSE", &tables).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    assert_eq!(table(&["create", "lab.ticks", definition], "sqlite").0, "lab.ticks is created\n");
    assert_eq!(table(&["show"], "sqlite").0, "lab.ticks\n");
    assert_eq!(table(&["show", "--catalog", "sqlite"], "glue").0, "lab.ticks\n");
    // A folder that is named is a lake of its own.
    assert!(table(&["show", "--warehouse", "."], "sqlite").1.contains("there is no lake here"));
    let (_, complaint) = table(&["show"], "hive");
    assert!(
        complaint.contains("FRAZIL_CATALOG=hive: expected sqlite, glue, rest or s3tables"),
        "{complaint}"
    );
    // The command that tests run has no catalog but SQLite.
    let (_, complaint) = table(&["show"], "glue");
    assert!(complaint.contains("build it with --features glue"), "{complaint}");
}

//! docs/sources.md against what happens: each of its blocks is a command, what it counts, and the columns of the table that
//! comes out.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::collections::BTreeSet;
use std::fs;

use iceberg::spec::Type;
use tests::command::{Place, ROOT, checked, finish};

/// Columns of the pipeline, which every table has.
const OWN: [&str; 6] =
    ["record_id", "ingestion_timestamp", "partition_date", "partition_hour", "processing_time", "file_name"];

#[tokio::test]
async fn every_source_gives_the_table_that_is_documented() {
    let page = fs::read_to_string(format!("{ROOT}/docs/sources.md")).unwrap();
    let blocks: Vec<&str> =
        page.split("```").skip(1).step_by(2).filter(|block| block.starts_with("\n$ ")).collect();
    let mut samples: BTreeSet<String> = fs::read_dir(format!("{ROOT}/events/sources"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut found = Vec::new();
    for block in &blocks {
        let command = block.lines().nth(1).unwrap();
        found.push(format!("\n{}", outcome(command).await));
        samples.remove(command.rsplit('/').next().unwrap());
    }
    assert_eq!(found, blocks);
    assert!(samples.is_empty(), "without a block: {samples:?}");
}

/// The block that begins with `command`: `$ VARIABLE=value frazil replay events/sources/FILE`.
async fn outcome(command: &str) -> String {
    let mut words: Vec<&str> = command.split(' ').skip(1).collect();
    let file = words.pop().unwrap();
    assert_eq!(words.split_off(words.len() - 2), ["frazil", "replay"]);
    let variables: Vec<(&str, &str)> = words.iter().map(|word| word.split_once('=').unwrap()).collect();
    let place = Place::new();
    let mut replay = place.command(&[format!("{ROOT}/{file}")]);
    let summary = finish(replay.envs(variables).spawn().unwrap());
    assert_eq!(
        (summary["failed"].as_u64(), summary["rows_quarantined"].as_u64()),
        (Some(0), Some(0)),
        "{summary}"
    );
    let (report, is_clean) = checked("audit", &place.warehouse(), &[]);
    assert!(is_clean, "{report}");
    let mut block = format!("{command}\n{} rows, {} dropped\n", summary["rows"], summary["dropped"]);
    let table = place.table("streaming_analytics.events").await;
    for field in table.metadata().current_schema().as_struct().fields() {
        if !OWN.contains(&field.name.as_str()) {
            block.push_str(&format!("{} {}\n", field.name, described(&field.field_type)));
        }
    }
    block
}

fn described(field_type: &Type) -> String {
    match field_type {
        Type::Primitive(primitive) => primitive.to_string(),
        Type::Struct(fields) => {
            let of = |field: &iceberg::spec::NestedFieldRef| {
                format!("{} {}", field.name, described(&field.field_type))
            };
            format!("struct<{}>", fields.fields().iter().map(of).collect::<Vec<_>>().join(", "))
        }
        Type::List(list) => format!("list<{}>", described(&list.element_field.field_type)),
        Type::Map(map) => {
            format!(
                "map<{}, {}>",
                described(&map.key_field.field_type),
                described(&map.value_field.field_type)
            )
        }
    }
}

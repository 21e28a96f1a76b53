//! What the documents point at is there: files and folders that they name, and the links between them.

#![allow(clippy::unwrap_used, reason = "test helpers fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the repository.
fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Markdown file of the project, as a path below the repository and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "docs/decisions", "events", "tests/interop"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(repository().join(folder)).unwrap());
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(repository()).unwrap().to_owned(), text)
        })
        .collect()
}

/// The parts of `text` between `start` and `end`.
fn between<'a>(text: &'a str, start: &str, end: char) -> Vec<&'a str> {
    text.split(start).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn links_lead_to_files() {
    let mut links = 0;
    for (document, text) in documents() {
        for link in between(&text, "](", ')').into_iter().filter(|link| !link.contains("://")) {
            let Some(path) = link.split('#').next().filter(|path| !path.is_empty()) else { continue };
            let target = repository().join(&document).parent().unwrap().join(path);
            assert!(target.exists(), "{}: ({link}) leads nowhere", document.display());
            links += 1;
        }
    }
    assert!(links > 20, "{links} links in all documents");
}

#[test]
fn the_files_that_contributors_are_sent_to_exist() {
    const FOLDERS: [&str; 9] =
        [".ci/", "cli/", "docs/", "events/", "functions/", "fuzz/", "shared/", "tables/", "tests/"];
    let mut named = 0;
    for (document, text) in documents() {
        if !["ARCHITECTURE.md", "CONTRIBUTING.md"].iter().any(|name| document == Path::new(name)) {
            continue;
        }
        // What stands in backticks and begins like a path; arguments of a command may follow.
        for path in text.split('`').skip(1).step_by(2).filter_map(|code| code.split([' ', ':']).next()) {
            if FOLDERS.iter().any(|folder| path.starts_with(folder)) && !path.contains(['*', '<']) {
                assert!(repository().join(path).exists(), "{}: {path} does not exist", document.display());
                named += 1;
            }
        }
    }
    assert!(named > 40, "{named} paths in both documents");
}

/// The questions that ARCHITECTURE.md must answer by itself.
#[test]
fn the_table_of_changes_says_where() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    for (what, place) in [
        ("a column type", "shared/lake/src/decode/column.rs"),
        ("a catalog", "shared/lake/src/catalog/"),
        ("a notification shape", "shared/lambda/src/notification/envelope.rs"),
    ] {
        let row = text.lines().find(|line| line.starts_with(&format!("| {what}")));
        let cell = row.and_then(|row| row.split('|').nth(2)).unwrap_or_default();
        assert!(cell.contains(&format!("`{place}`")), "{what}: {cell}");
    }
}

//! What the tests of the msk binary share: the binary, configured for a lake in a folder, and the Runtime API of append's
//! tests.

#![allow(dead_code, reason = "every test uses a part")]

#[path = "../../../append/tests/support/runtime.rs"]
pub(crate) mod runtime;

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// The table of all tests.
pub(crate) const TABLE: &str = "streaming_analytics.user_events";

/// The binary with its lake in `folder`; it adds to `folder/log`.
pub(crate) fn function(folder: &Path) -> Command {
    let uri = |name: &str| format!("file://{}", folder.join(name).display());
    let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut function = Command::new(env!("CARGO_BIN_EXE_msk"));
    function
        .env("AWS_LAMBDA_FUNCTION_NAME", "msk")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("FRAZIL_CATALOG_URI", folder.join("catalog.db"))
        .env("FRAZIL_WAREHOUSE", uri("warehouse"))
        .env("FRAZIL_ERRORS", uri("errors"))
        .env("FRAZIL_TABLE", TABLE)
        .env("FRAZIL_TABLE_DEFINITION", Path::new(ROOT).join("tables/kafka_user_events.json"))
        .env_remove("FRAZIL_LOG")
        .env_remove("FAILPOINTS")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(Stdio::piped());
    function
}

/// A sample event.
pub(crate) fn sample(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join("events").join(name)).unwrap()
}

/// All files under `folder`, at any depth.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

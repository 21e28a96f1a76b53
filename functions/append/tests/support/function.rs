//! The append binary, configured for a lake in a folder.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};

use super::runtime::Process;
use super::{Place, ROOT, TABLE};

/// The binary with its lake in `folder`; it adds to `folder/log`.
pub(crate) fn function(folder: &Path) -> Command {
    let uri = |path: &Path| format!("file://{}", path.display());
    let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    let mut function = Command::new(env!("CARGO_BIN_EXE_append"));
    function
        .env("AWS_LAMBDA_FUNCTION_NAME", "append")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("FRAZIL_CATALOG_URI", folder.join("catalog.db"))
        .env("FRAZIL_WAREHOUSE", uri(&folder.join("warehouse")))
        .env("FRAZIL_ERRORS", uri(&folder.join("errors")))
        .env("FRAZIL_SOURCE_ROOT", format!("{}/", uri(folder)))
        .env("FRAZIL_TABLE", TABLE)
        .env("FRAZIL_TABLE_DEFINITION", Path::new(ROOT).join("tables/user_events.json"))
        .env_remove("FRAZIL_LOG")
        .env_remove("FAILPOINTS")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(Stdio::piped());
    function
}

impl Process {
    /// Starts the binary in `place`, configured with `failpoints`.
    pub(crate) fn start_with(failpoints: &str, place: &Place) -> Self {
        let mut function = function(place.path());
        function.env("FAILPOINTS", failpoints);
        Self::start(function)
    }
}

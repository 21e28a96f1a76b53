//! The command `frazil` as a user runs it, in a folder of its own.
//!
//! In: arguments and input files. Out: what the real program prints and its exit status, and the tables it leaves behind.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use iceberg::TableIdent;
use iceberg::expr::Predicate;
use iceberg::table::Table;
use lake::Lake;
use serde_json::Value;
use tempfile::TempDir;

use crate::table::{numbers, scan};

/// The project's folder.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The command, built once.
pub fn frazil() -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let binary = BINARY.get_or_init(|| {
        // This test program is `<target>/<profile>/deps/<name>`.
        let program = std::env::current_exe().unwrap();
        let profile = program.ancestors().nth(2).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--bin", "frazil", "--target-dir"]).arg(profile.parent().unwrap());
        if !profile.ends_with("debug") {
            build.arg("--profile").arg(profile.file_name().unwrap());
        }
        // What `cargo test` tells of this package would make the build scripts of dependencies run again, and again
        // in the next test.
        for (name, _) in std::env::vars()
            .filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            build.env_remove(name);
        }
        assert!(build.current_dir(ROOT).status().unwrap().success(), "the command can be built");
        profile.join("frazil")
    });
    let mut command = Command::new(binary);
    command.env_remove("FRAZIL_LOG").stdin(Stdio::null());
    command
}

/// A folder for inputs and a warehouse.
#[derive(Debug)]
pub struct Place {
    /// The folder.
    pub folder: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Writes an input file.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The folder of the warehouse.
    pub fn warehouse(&self) -> PathBuf {
        self.folder.path().join("warehouse folder")
    }

    /// `frazil replay --json --warehouse ... arguments`.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = frazil();
        command.args(["replay", "--json", "--warehouse"]).arg(self.warehouse()).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The summary of a replay that succeeds.
    pub fn replay<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Value {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// What a replay complains about that fails.
    pub fn complaint<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The catalog.
    pub async fn lake(&self) -> Lake {
        let warehouse = self.warehouse();
        let uri = format!("file://{}/warehouse", warehouse.display());
        Lake::open_sqlite(&warehouse.join("catalog.db"), &uri).await.unwrap()
    }

    /// A table.
    pub async fn table(&self, table: &str) -> Table {
        let ident = TableIdent::from_strs(table.split('.')).unwrap();
        self.lake().await.table(&ident).await.unwrap().unwrap()
    }

    /// The column `n` of a table.
    pub async fn numbers(&self, table: &str) -> Vec<i64> {
        numbers(&self.rows(table, &["n"]).await)
    }

    /// The rows of a table.
    pub async fn rows(&self, table: &str, columns: &[&str]) -> Vec<Value> {
        scan(&self.table(table).await, columns, Predicate::AlwaysTrue).await
    }
}

/// Waits for a replay to succeed with one JSON object and no complaint.
pub fn finish(replay: Child) -> Value {
    let output = replay.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "{}: {complaint}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `frazil audit` or `frazil sweep` printed as JSON, and whether it was content.
pub fn checked(subcommand: &str, warehouse: &Path, arguments: &[&str]) -> (Value, bool) {
    let mut command = frazil();
    let output =
        command.args([subcommand, "--json", "--warehouse"]).arg(warehouse).args(arguments).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)) && !output.stdout.is_empty(), "{complaint}");
    (serde_json::from_slice(&output.stdout).unwrap(), output.status.success())
}

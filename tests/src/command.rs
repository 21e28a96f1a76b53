//! The command `frazil` as a user runs it.
//!
//! Out: a [`Command`] to which a test adds arguments. The binary is built once in each test program.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

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

//! Examples that tests run as programs of their own, and the Python that scripts need.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::skipped::skipped;

/// The program of an example, built as the programs beside it are.
pub fn built(name: &str) -> PathBuf {
    // One cargo at a time: others would only wait.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let farout = Path::new(env!("CARGO_BIN_EXE_farout"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked", "--offline", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // With other features it would be built from the ground up.
    if !cfg!(feature = "media") {
        cargo.arg("--no-default-features");
    } else if cfg!(feature = "foxglove") {
        cargo.args(["--features", "foxglove"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let told = cargo.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    farout.with_file_name("examples").join(name)
}

/// Whether there is a Python for a script; where not, that is said.
pub fn python_is_there(script: &str) -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|told| told.status.success());
    if !there {
        skipped(script, "python3 is not installed");
    }
    there
}

//! Examples that tests run as programs of their own, and the Python that scripts need.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::skipped::skipped;

/// The program of an example, built as the programs beside it are.
pub fn built(name: &str) -> PathBuf {
    build(&["--example", name]).join("examples").join(name)
}

/// The module of the Python wheel, on the library that the tests have.
pub fn python_module() -> PathBuf {
    // An example beside it: with what only tests depend on, crates are built with the features that they have here.
    let folder = build(&["--package", "farout-metrics", "--lib", "--example", "manuals"]);
    folder.join(format!("{DLL_PREFIX}_farout_metrics{DLL_SUFFIX}"))
}

/// Has cargo build something beside the programs of the tests, and tells their folder.
fn build(what: &[&str]) -> PathBuf {
    // One cargo at a time: others would only wait.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked", "--package", "farout"])
        .args(what)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells this test about its package is news to build scripts that look for it: ring's, and with it half of the
    // dependencies and the library, would be built again.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    // With other features it would be built from the ground up.
    if !cfg!(feature = "media") {
        cargo.arg("--no-default-features");
    } else if cfg!(feature = "foxglove") {
        cargo.args(["--features", "farout/foxglove"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let told = cargo.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    Path::new(env!("CARGO_BIN_EXE_farout")).parent().unwrap().to_path_buf()
}

/// Whether there is a Python for a script; where not, that is said.
pub fn python_is_there(script: &str) -> bool {
    let there = Command::new("python3").arg("--version").output().is_ok_and(|told| told.status.success());
    if !there {
        skipped(script, "python3 is not installed");
    }
    there
}

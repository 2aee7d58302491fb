//! `scripts/soak` breaks things and tells what became of it: two of its faults, with more patience than a vehicle has.
#![cfg(feature = "media")]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::examples::{built, python_is_there};
use crate::support::program::Running;

#[test]
fn what_is_gone_comes_back() {
    if !python_is_there("scripts/soak") {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/soak"));
    command.args(["--rounds", "1", "--only", "gone", "--out"]).arg(out.path()).stdin(Stdio::null());
    command.env("FAROUT", env!("CARGO_BIN_EXE_farout")).env("RTSP_CAMERA", built("rtsp_camera"));
    command.env("FAROUT_SOAK_BACK", "30").env("PYTHONDONTWRITEBYTECODE", "1");
    let outcome = Running::start(command).outcome().succeeded();
    assert!(outcome.stdout.contains("passed    camera   gone for a while"), "{}", outcome.stdout);
    let told = std::fs::read_to_string(out.path().join("soak.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["results"].as_array().unwrap().len() >= 2 && told["samples"].as_array().is_some(), "{told}");
    assert!(
        std::fs::read_to_string(out.path().join("soak.md"))
            .unwrap()
            .contains("| camera | gone for a while | 1 of 1 |")
    );
    assert!(std::fs::read_to_string(out.path().join("memory.svg")).unwrap().contains("<polyline"));
}

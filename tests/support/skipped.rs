//! Tests that cannot run here, said where somebody reads it.
#![allow(dead_code, reason = "not every test program skips")]

use std::fs::OpenOptions;
use std::io::Write;

/// Says that something was not tested, and why: on standard error, which a passing test hides, and as a line in the file
/// that `FAROUT_SKIPPED` names, which scripts/test shows at its end.
pub fn skipped(what: &str, why: &str) {
    eprintln!("SKIPPED: {what}: {why}");
    if let Some(path) = std::env::var_os("FAROUT_SKIPPED") {
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        // One write: tests run side by side.
        file.write_all(format!("{what}: {why}\n").as_bytes()).unwrap();
    }
}

//! Any bytes as a model: read or refused, never a panic.
#![no_main]

#[path = "../../tests/support/read_files.rs"]
#[allow(dead_code)]
mod read_files;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| read_files::model(bytes));

//! Any bytes as a truth mask: labels or words, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farout::eval::fuzzed::truth(bytes));

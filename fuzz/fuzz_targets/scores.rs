//! Any bytes as a score map: an image or words, never a panic, and both readers agree on the size.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farout::eval::fuzzed::scores(bytes));

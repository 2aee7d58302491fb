//! Any bytes as a change of the configuration that comes over the network: a change or words, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farout::steer::fuzzed::patch(bytes));

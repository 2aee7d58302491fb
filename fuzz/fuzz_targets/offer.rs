//! Any bytes as an SDP offer from the network: taken or refused, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| farout::sink::fuzzed::offer(bytes));

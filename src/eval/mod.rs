//! Judging score maps against truth: masks, score maps as files, and metrics that are exact.
//!
//! What is judged here may come from any program; nothing in this room knows how scores are made.

pub mod folders;
pub mod fuzzed;
pub mod maps;
pub mod metrics;
pub mod truth;

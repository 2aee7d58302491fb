//! Judging score maps against truth: masks, score maps as files, metrics that are exact; and whole runs
//! of the detector over data sets.
//!
//! Metrics know nothing of how scores are made: what they judge may come from any program.

pub mod breakdown;
pub mod compare;
pub mod dataset;
pub mod explain;
pub mod finished;
pub mod folder;
pub mod folders;
pub mod fuzzed;
pub mod judge;
pub mod maps;
pub mod measure;
pub mod metrics;
pub mod partial;
pub mod progress;
pub mod protocol;
pub mod region;
pub mod regional;
pub mod report;
pub mod result;
pub mod run;
pub mod settings;
pub mod shard_files;
pub mod shards;
pub mod streaming;
pub mod table;
pub mod truth;

//! Scores: what distances and logits say about each patch, each pixel, each region and each event.
//! Higher always means more out of distribution.

mod alarm;
mod config;
mod method;
mod regions;
mod track;
mod upsample;

pub use alarm::AlarmLevel;
pub use config::{Method, ScoreConfig, ThresholdSetting};
pub use method::{ScoreError, Scorer, lse};
pub use regions::Regions;
pub use track::Tracker;
pub use upsample::Upsampler;

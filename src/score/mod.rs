//! Scores: what distances and logits say about each patch, each pixel, each region and each event.
//! Higher always means more out of distribution.

mod alarm;
mod config;
mod fusion;
mod method;
mod parametric;
mod regions;
mod scorer;
mod track;
mod upsample;

pub use alarm::AlarmLevel;
pub use config::{ScoreConfig, ThresholdSetting};
pub use fusion::{Fuser, Fusion, Scale};
pub use method::Method;
pub use parametric::Parametric;
pub use regions::Regions;
pub use scorer::{Grounds, ScoreError, Scorer};
pub use track::Tracker;
pub use upsample::Upsampler;

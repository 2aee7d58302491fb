//! Scores: what distances and logits say about each patch, each pixel, each region and each event.
//! Higher always means more out of distribution.

mod alarm;
mod config;
mod enlarge;
mod error;
mod evidence;
mod finish;
mod fusion;
mod guided;
mod hysteresis;
mod method;
mod normalise;
mod parametric;
mod regions;
mod road;
mod roi;
mod scene;
mod scorer;
mod smooth;
mod temporal;
mod track;
mod upsample;

pub use alarm::AlarmLevel;
pub use config::{Class, MapRecipe, ScoreConfig, ThresholdSetting, Upsampling};
pub use enlarge::Enlarger;
pub use error::ScoreError;
pub use evidence::EventRules;
pub use finish::Finish;
pub use fusion::{Fuser, Fusion, Scale};
pub use guided::GuidedUpsampler;
pub use hysteresis::Hysteresis;
pub use method::{Method, ScoreInputs};
pub use normalise::Normalise;
pub use parametric::Parametric;
pub use regions::Regions;
pub use road::Road;
pub use roi::{Polygon, Polygons, Roi};
pub use scene::Scene;
pub use scorer::Scorer;
pub use smooth::Smoother;
pub use temporal::{Continuity, MotionTracker, TemporalSmoother};
pub use track::{Followed, Tracker};
pub use upsample::Upsampler;

//! Metrics, exact unless their name says otherwise.
//!
//! Everything pooled or per image stands on [`Counts`]: the scores of some pixels, sorted by falling
//! score, equal ones counted, compressed. Counts of many images are walked together, threshold by
//! threshold; memory is bounded because what does not fit is spilled ([`Pooled`]).

mod bootstrap;
mod calibration;
mod components;
mod conventions;
mod counts;
mod curve;
mod detection;
pub mod instances;
mod key;
mod per_image;
mod pimo;
mod pooled;
mod pro;
mod risk;
mod run;
mod scratch;
mod sketch;
pub mod smiyc;
mod sort;
pub mod video;
mod walk;

pub use bootstrap::{
    Bootstrap, BootstrapSettings, Drawn, Interval, Intervals, mean_interval, paired_difference, quantile,
};
pub use calibration::{Calibration, CalibrationReport};
pub use components::Components;
pub use conventions::Conventions;
pub use counts::{CountError, Counts};
pub use curve::{AtThreshold, Curve, CurvePoint, Histogram};
pub use detection::{Detection, FprAt, TPR_LEVELS};
pub use key::{Kind, Score};
pub use per_image::{ImageRow, Means, PerImage, PerImageReport};
pub use pimo::{Pimo, PimoReport, PimoRow};
pub use pooled::{Overview, Pooled, PooledError};
pub use pro::{Pro, ProImage, ProPoint, ProReport};
pub use risk::{COVERAGES, RiskPoint, RiskReport};
pub use scratch::{Limits, ScratchError};

#[cfg(test)]
mod tests;

//! Images taken as normal -> features -> sample -> calibration -> bank.
//!
//! What is kept of an image depends on nothing but the seed, the image and its name: not on threads, order
//! or how the work is split.

mod baseline;
mod build;
mod calibrate;
mod complete;
mod config;
mod digest;
mod discriminant;
mod error;
mod extract;
mod extractor;
mod fit;
mod gather;
mod held_frame;
mod inputs;
mod kcenter;
mod labels;
mod measured;
mod merge;
mod merge_error;
mod moments;
mod options;
mod outliers;
mod part;
mod plan;
mod progress;
mod prune;
mod raw;
mod recipe;
mod reference;
mod rounding;
mod sample;
mod seen;
mod split;
mod supplement;
mod thumbnail;
mod uncertainty;

pub use build::{build, gather_outliers};
pub use config::BuildConfig;
pub use digest::frame_digest;
pub use error::BuildError;
pub use extract::Extract;
pub use extractor::FeatureExtractor;
pub(crate) use inputs::natural;
pub use inputs::{Input, InputError, InputKind, Open, list};
pub use labels::{LabelError, LabelMask, attach_labels, label_stems};
pub use merge::{MergeConfig, join, merge, merge_some};
pub use merge_error::MergeError;
pub use options::BuildOptions;
pub use outliers::Outliers;
pub use part::Built;
pub use plan::{Listed, Plan, PlanError, listed, read_list};
pub use progress::Progress;
pub use prune::{PruneConfig, PruneError, PruneMethod, prune};
pub use recipe::{AffinityConfig, RecipeConfig};
pub use sample::{Offer, PatchKey, Sample, Sampler};
pub use split::{Place, Side, Split, SplitKeys};
pub use supplement::{SupplementError, join_supplements, supplemented, supplements_at};

#[cfg(test)]
mod tests;

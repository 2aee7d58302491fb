//! Images taken as normal -> features -> sample -> calibration -> bank.
//!
//! What is kept of an image depends on nothing but the seed, the image and its name: not on threads, order
//! or how the work is split.

mod build;
mod calibrate;
mod digest;
mod inputs;
mod labels;
mod sample;
mod split;

pub use build::{BuildConfig, BuildError, Extract, Progress, build};
pub use digest::{Digest, frame_digest, hex, sha256_of_file};
pub use inputs::{Input, InputError, InputKind, list};
pub use labels::{LabelError, LabelMask, attach_labels};
pub use sample::{PatchKey, Sampler};
pub use split::{Place, Side, Split};

#[cfg(test)]
mod tests;

//! What travels between the stages: each item carries its frame, so nothing is re-joined later.

use std::sync::Arc;

use crate::features::ModelInput;
use crate::frame::Frame;
use crate::grid::{Distances, Features, Logits, PixelScores, ScoreMap};
use crate::identity::ModelIdentity;
use crate::overlay::ScoreScale;
use crate::pool::Pooled;
use crate::region::Region;

/// A frame and the model's input made of it.
#[derive(Debug)]
pub struct Prepared {
    /// The frame.
    pub frame: Frame,
    /// Normalised pixels at the model's size.
    pub input: Pooled<ModelInput>,
    /// The same of each view and tile beside the whole picture.
    pub views: Vec<Pooled<ModelInput>>,
}

/// A frame and what the model says of it.
#[derive(Debug)]
pub struct Featured {
    /// The frame.
    pub frame: Frame,
    /// One vector per patch.
    pub features: Features,
    /// The same of each view and tile beside the whole picture.
    pub views: Vec<Features>,
    /// Class logits of the whole picture, if the model gives any.
    pub logits: Option<Logits>,
}

/// A frame and how far its patches lie from normal.
#[derive(Debug)]
pub struct Measured {
    /// The frame.
    pub frame: Frame,
    /// One distance per patch, or per cell of the map that all views were merged into; empty if the score method
    /// needs none.
    pub distances: Distances,
    /// Class logits, if the model gives any.
    pub logits: Option<Logits>,
    /// The road as a model of its own sees it, if there is one and it has seen it.
    pub road: Option<RoadSeen>,
    /// What the model says of the whole picture, where somebody wants to look at it later.
    pub features: Option<FrameFeatures>,
    /// By which supplements it was measured ([`crate::bank::Supplements::generation`]); 0 without.
    pub supplemented_by: u64,
}

/// What a model says of a frame.
#[derive(Debug)]
pub struct FrameFeatures {
    /// One vector per patch, on the host.
    pub features: Features,
    /// The mean of all patches with finite numbers.
    pub mean: Pooled<Vec<f32>>,
    /// The model.
    pub model: Arc<ModelIdentity>,
}

/// The road of a frame.
#[derive(Debug, Clone)]
pub struct RoadSeen {
    /// Class scores of the frame that was looked at last.
    pub logits: Arc<Logits>,
    /// What is at x, y in this frame was at x + dx, y + dy in that one.
    pub moved: [f32; 2],
}

/// A frame and its score maps by several methods.
#[derive(Debug)]
pub struct Mapped {
    /// The frame.
    pub frame: Frame,
    /// One map per method, in the methods' order, each on its own grid; after them one of the road (1, elsewhere 0), if
    /// that is wanted.
    pub maps: Vec<ScoreMap>,
}

/// A frame on its way out.
#[derive(Debug)]
pub struct Judged {
    /// The frame.
    pub frame: Frame,
    /// What was found; `None` if detection is bypassed, or nobody judges this stream any more.
    pub verdict: Option<Verdict>,
    /// What the model says of it, until that was looked at.
    pub features: Option<FrameFeatures>,
}

/// What was found in a frame.
#[derive(Debug)]
pub struct Verdict {
    /// Anomaly score of each pixel.
    pub scores: PixelScores,
    /// Of each pixel, whether it counts for regions; empty if all do.
    pub counted: Pooled<Vec<bool>>,
    /// Where the score exceeds the threshold.
    pub regions: Pooled<Vec<Region>>,
    /// Beside these, where it exceeds the threshold less `score.event_reach`.
    pub weak: Pooled<Vec<Region>>,
    /// Whether the scene as a whole is unlike the bank: one region then stands for all.
    pub scene_out: bool,
    /// What scores mean in this stream.
    pub scale: ScoreScale,
}

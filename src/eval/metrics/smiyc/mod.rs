//! The protocol of SegmentMeIfYouCan: pixels by quantile bins, components by sIoU and PPV.
//!
//! Scores are rounded to float16 first; a map narrower than its image is then interpolated bilinearly
//! (in f32). The threshold at which components are judged is the one with the best F1 over the pixels of
//! the whole set, so each frame is looked at twice: maps and labels wait in a file in between.

mod component;
mod kept;
mod pixel;

use serde::{Deserialize, Serialize};

pub use component::{ComponentReport, F1At};
pub use pixel::PixelReport;

use super::bootstrap::{BootstrapSettings, Interval};
use super::scratch::{Limits, ScratchError};
use crate::eval::truth::Truth;
use component::{ComponentJudge, Matches};
use kept::{Kept, KeptFrames};
use pixel::PixelJudge;

/// Which of the two tracks: they differ in the sizes of components that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Track {
    /// RoadAnomaly21: large anomalies.
    #[serde(rename = "smiyc-anomaly")]
    Anomaly,
    /// RoadObstacle21: small obstacles on the road.
    #[serde(rename = "smiyc-obstacle")]
    Obstacle,
}

impl Track {
    /// Predicted components with fewer pixels are dropped.
    pub fn least_predicted(self) -> u64 {
        match self {
            Track::Anomaly => 500,
            Track::Obstacle => 50,
        }
    }

    /// True components with fewer pixels become void.
    pub fn least_true(self) -> u64 {
        match self {
            Track::Anomaly => 100,
            Track::Obstacle => 10,
        }
    }
}

/// Why a frame cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum SmiycError {
    /// The map has another shape than the truth.
    #[error(
        "{name}: a score map of {width}x{height} does not fit a truth of {truth_width}x{truth_height}; this protocol enlarges narrower maps and takes no others"
    )]
    Size {
        /// The frame.
        name: String,
        /// Width of the map.
        width: usize,
        /// Height of the map.
        height: usize,
        /// Width of the truth.
        truth_width: usize,
        /// Height of the truth.
        truth_height: usize,
    },
    /// A score that is not finite once it is a float16.
    #[error(
        "{name}: the score {score} at x {x}, y {y} is not finite as a float16, in which this protocol judges; keep scores within 65504"
    )]
    NotFinite {
        /// The frame.
        name: String,
        /// The score.
        score: f32,
        /// Its column.
        x: usize,
        /// Its row.
        y: usize,
    },
    /// No room for the frames between the two looks.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}

/// What the protocol says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SmiycReport {
    /// The track.
    pub track: Track,
    /// Frames judged.
    pub frames: u64,
    /// By pixels.
    pub pixel: PixelReport,
    /// By components.
    pub component: ComponentReport,
    /// Intervals, frames drawn anew (the threshold of the components stays); `None` for fewer than two.
    pub intervals: Option<SmiycIntervals>,
}

/// Intervals of the headline numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SmiycIntervals {
    /// Of the average precision.
    pub ap: Interval,
    /// Of the false positive rate at the first TPR of at least 0.95.
    pub fpr95: Interval,
    /// Of the mean sIoU of true components; `None` where a draw had none.
    pub mean_siou: Option<Interval>,
    /// Of the mean PPV of predicted components; `None` where a draw had none.
    pub mean_ppv: Option<Interval>,
    /// Of the mean F1.
    pub mean_f1: Option<Interval>,
}

/// Judges frames by the protocol.
#[derive(Debug)]
pub struct Judge {
    track: Track,
    pixels: PixelJudge,
    kept: KeptFrames,
}

impl Judge {
    /// Without frames yet; maps beyond the memory of `limits` wait in its scratch folder.
    pub fn new(track: Track, limits: Limits) -> Judge {
        Judge { track, pixels: PixelJudge::default(), kept: KeptFrames::new(limits) }
    }

    /// Takes a frame: `scores` of `width x height`, row by row.
    ///
    /// # Errors
    /// [`SmiycError`]; the frame is then not counted.
    pub fn push(
        &mut self,
        name: &str,
        (width, height): (usize, usize),
        scores: &[f32],
        truth: &Truth,
    ) -> Result<(), SmiycError> {
        let frame = Kept::new(name, (width, height), scores, truth)?;
        let scores = frame.scores();
        self.kept.push(frame)?;
        self.pixels.push(&scores, &truth.labels);
        Ok(())
    }

    /// Judges; `None` if all frames together have no anomalous or no normal pixel.
    ///
    /// # Errors
    /// If the frames cannot be read back.
    pub fn finish(self, settings: &BootstrapSettings) -> Result<Option<SmiycReport>, SmiycError> {
        let Some(pixel) = self.pixels.finish() else { return Ok(None) };
        let mut components = ComponentJudge::default();
        let frames = self.kept.len();
        for frame in self.kept.read()? {
            let frame = frame?;
            let matches = Matches::of(self.track, pixel.threshold, &frame.scores(), &frame.truth);
            components.push(matches);
        }
        let component = components.report();
        let intervals = self.pixels.intervals(&pixel, settings).map(|[ap, fpr95]| SmiycIntervals {
            ap,
            fpr95,
            mean_siou: components.interval(settings, |c| c.mean_siou),
            mean_ppv: components.interval(settings, |c| c.mean_ppv),
            mean_f1: components.interval(settings, |c| c.mean_f1),
        });
        Ok(Some(SmiycReport { track: self.track, frames, pixel, component, intervals }))
    }
}

//! How far held-out normal frames lie from the bank, and the thresholds that follow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BankError, Baseline};
use crate::views::Scale;

/// Levels of the stored quantiles.
const LEVELS: [f64; 13] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];

/// Below so many held-out frames no tail is fitted.
const FEWEST_FOR_A_FIT: usize = 10;
/// How the basis of a threshold begins for which there are too few held-out frames even to extrapolate.
pub(super) const GUESSED: &str = "a guess";

/// Measured on in-distribution frames that the bank holds no patch of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// How the held-out frames were chosen, in words.
    pub split: String,
    /// Held-out frames that were measured.
    pub frames: usize,
    /// Sequences or blocks of video that these frames come from.
    pub blocks: usize,
    /// Size from which a region counts, in pixels of a 640x360 picture.
    pub min_region_px: u32,
    /// How score maps were treated before they were measured: keys of `[score]` and their values, empty for not
    /// at all.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub maps: BTreeMap<String, String>,
    /// Views that the distances were merged over, if there were any beside the whole picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub views: Option<ViewRecord>,
    /// One entry per method.
    pub methods: Vec<MethodCalibration>,
}

/// Views of the picture, and what distances of normal frames are in them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewRecord {
    /// All that the merged map depends on, in a line.
    pub views: String,
    /// One for each view beside the whole picture.
    pub baselines: Vec<ViewBaseline>,
}

/// Distances in one view, and those of the whole picture where the view covers it: a crop shows other things than
/// the rest, and these have other distances, whatever the scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ViewBaseline {
    /// Of the view's own patches.
    pub view: Baseline,
    /// Of the whole picture's patches whose centres the view covers.
    pub picture: Baseline,
}

impl ViewBaseline {
    /// What brings the view's distances to the scale of the whole picture's.
    pub fn scale(&self) -> Scale {
        let pair = |b: &Baseline| (b.mean, b.deviation);
        Scale::between(pair(&self.view), pair(&self.picture))
    }
}

/// Statistics of one score over the cells of the held-out frames, void cells left out: those of the score itself, and
/// the frames' levels of its map as regions are looked for in it, smoothed if that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodCalibration {
    /// `knn`, `lse` ...
    pub method: String,
    /// Neighbours, for methods that search.
    pub k: Option<usize>,
    /// The parametric score in it, for fused methods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// Cells measured.
    pub count: u64,
    /// Mean score.
    pub mean: f64,
    /// Standard deviation (of the population).
    pub deviation: f64,
    /// Lowest score.
    pub min: f32,
    /// Highest score.
    pub max: f32,
    /// Pairs of level and score.
    pub quantiles: Vec<(f64, f32)>,
    /// For each held-out frame, the lowest threshold at which it shows no region of
    /// [`Calibration::min_region_px`], ascending.
    pub frame_levels: Vec<f32>,
}

/// A threshold and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Threshold {
    /// Scores above it are anomalous.
    pub value: f32,
    /// How it was obtained, and how far it can be trusted.
    pub basis: String,
}

impl Calibration {
    /// The statistics of `method`.
    ///
    /// # Errors
    /// [`BankError::NotCalibrated`] names the methods that there are.
    pub fn method(&self, method: &str) -> Result<&MethodCalibration, BankError> {
        self.methods.iter().find(|m| m.method == method).ok_or_else(|| {
            let known: Vec<_> = self.methods.iter().map(|m| m.method.as_str()).collect();
            BankError::NotCalibrated {
                why: format!(
                    "the bank holds no statistics of the score {method} (it has: {})",
                    known.join(", ")
                ),
            }
        })
    }

    /// True if so many frames were held out that the threshold for a rate is one of their levels; else
    /// [`Calibration::threshold`] extrapolates.
    pub fn counts(&self, method: &str, false_frame_rate: f64) -> bool {
        self.method(method).is_ok_and(|found| {
            let n = found.frame_levels.len();
            rank(false_frame_rate, n) <= n
        })
    }

    /// The threshold of `method` that a share `false_frame_rate` of normal frames shows a
    /// region at.
    ///
    /// With n held-out frames this is the ceil((1 - rate)(n + 1))-th smallest of their levels
    /// (split conformal prediction: a further frame of the same kind exceeds it with at most that
    /// probability). Where n is too small for the rate, an exponential is fitted to the upper
    /// third of the levels and the threshold is read off its tail, never below the largest
    /// level; `basis` says so.
    ///
    /// # Errors
    /// [`BankError::NotCalibrated`] if nothing was measured or the rate is not within 0..1.
    pub fn threshold(&self, method: &str, false_frame_rate: f64) -> Result<Threshold, BankError> {
        let found = self.method(method)?;
        let levels = &found.frame_levels;
        let (Some(&largest), true) = (levels.last(), false_frame_rate > 0.0 && false_frame_rate < 1.0) else {
            let why = format!(
                "no threshold for a rate of {false_frame_rate} from {} held-out frames",
                levels.len()
            );
            return Err(BankError::NotCalibrated { why });
        };
        let n = levels.len();
        let of = format!("{n} held-out frames of {} blocks ({})", self.blocks, self.split);
        if let Some(&value) = levels.get(rank(false_frame_rate, n) - 1) {
            let basis =
                format!("{} of {of} show a region above it", levels.iter().filter(|m| **m > value).count());
            return Ok(Threshold { value, basis });
        }
        if n < FEWEST_FOR_A_FIT {
            let value = (f64::from(largest) + found.deviation) as f32;
            let basis = format!("{GUESSED}: the highest level plus one deviation, only {of}");
            return Ok(Threshold { value, basis });
        }
        // Peaks over threshold with shape 0: P(max > u + x) = tail / n * exp(-x / scale).
        let tail = (n / 3).max(4);
        let base = f64::from(levels[n - tail - 1]);
        let scale = levels[n - tail..].iter().map(|m| f64::from(*m) - base).sum::<f64>() / tail as f64;
        let value = base + scale * (tail as f64 / n as f64 / false_frame_rate).ln();
        let basis = format!(
            "extrapolated by an exponential through the {tail} highest of {of}, too few to count a rate of {false_frame_rate}"
        );
        Ok(Threshold { value: (value as f32).max(largest), basis })
    }
}

/// Which of `n` ascending levels is the threshold for a rate, counted from 1; beyond `n` if they are too few.
fn rank(false_frame_rate: f64, n: usize) -> usize {
    ((1.0 - false_frame_rate) * (n + 1) as f64 - 1e-9).ceil().max(1.0) as usize
}

/// The statistics of `scores` (any order, finite) and of the frames' alarm levels.
pub fn statistics_of(
    method: &str,
    k: Option<usize>,
    mut scores: Vec<f32>,
    mut frame_levels: Vec<f32>,
) -> MethodCalibration {
    frame_levels.sort_unstable_by(f32::total_cmp);
    // Sorted first, so that the sums do not depend on the order of the frames.
    scores.sort_unstable_by(f32::total_cmp);
    let count = scores.len();
    let mean = scores.iter().map(|s| f64::from(*s)).sum::<f64>() / count.max(1) as f64;
    let variance = scores.iter().map(|s| (f64::from(*s) - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
    let at =
        |level: f64| scores.get((level * count as f64) as usize).or(scores.last()).copied().unwrap_or(0.0);
    MethodCalibration {
        method: method.to_owned(),
        k,
        partner: None,
        count: count as u64,
        mean,
        deviation: variance.sqrt(),
        min: at(0.0),
        max: scores.last().copied().unwrap_or(0.0),
        quantiles: LEVELS.iter().map(|&level| (level, at(level))).collect(),
        frame_levels,
    }
}

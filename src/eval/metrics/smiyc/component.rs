//! Components by the protocol: sIoU of true ones, PPV of predicted ones, F1 over eleven thresholds of both.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Track;
use crate::eval::metrics::bootstrap::{BootstrapSettings, Interval, resample};
use crate::eval::metrics::components::Components;
use crate::eval::truth::{ANOMALY, Truth, VOID};

/// Thresholds of sIoU and PPV.
const LEVELS: usize = 11;

/// The i-th of the levels from 0.25 to 0.75.
fn level(i: usize) -> f64 {
    if i + 1 == LEVELS { 0.75 } else { 0.25 + i as f64 * 0.05 }
}

/// What the components say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentReport {
    /// True components that count.
    pub true_components: u64,
    /// Predicted components that count.
    pub predicted_components: u64,
    /// Mean sIoU of the true components; `None` without any.
    pub mean_siou: Option<f64>,
    /// Mean PPV of the predicted components; `None` without any.
    pub mean_ppv: Option<f64>,
    /// Mean of the F1 over the levels; `None` without any component.
    pub mean_f1: Option<f64>,
    /// Each level.
    pub f1_at: Vec<F1At>,
}

/// What one level of sIoU and PPV gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct F1At {
    /// The level.
    pub level: f64,
    /// True components with at least this sIoU.
    pub tp: u64,
    /// True components with less.
    pub fn_: u64,
    /// Predicted components with less PPV.
    pub fp: u64,
    /// 2 TP / (2 TP + FN + FP); `None` without any component.
    pub f1: Option<f64>,
}

/// What one frame gives.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matches {
    /// sIoU of each true component.
    pub siou: Vec<f64>,
    /// PPV of each predicted component.
    pub ppv: Vec<f64>,
}

impl Matches {
    /// Matches the components of `scores` above `threshold` with those of the truth.
    pub fn of(track: Track, threshold: f64, scores: &[f32], truth: &Truth) -> Matches {
        let labels = &truth.labels;
        let is_true: Vec<bool> = labels.iter().map(|label| *label == ANOMALY).collect();
        let above = |(score, label): (&f32, &u8)| *label != VOID && f64::from(*score) > threshold;
        let is_predicted: Vec<bool> = scores.iter().zip(labels).map(above).collect();
        let mut predicted = Components::of(&is_predicted, truth.width);
        predicted.retain(|_, area| area >= track.least_predicted(), |_| ());
        let mut real = Components::of(&is_true, truth.width);
        // Void does not count for predicted ones either, so it is taken off their areas.
        let mut void: Vec<bool> = vec![false; labels.len()];
        real.retain(|_, area| area >= track.least_true(), |pixel| void[pixel] = true);
        let mut areas = vec![0_u64; predicted.len() + 1];
        let mut shared: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for ((p, g), void) in predicted.of_pixel.iter().zip(&real.of_pixel).zip(&void) {
            if *p > 0 && !void {
                areas[*p as usize] += 1;
                if *g > 0 {
                    *shared.entry((*p, *g)).or_default() += 1;
                }
            }
        }
        // Per predicted component: its pixels in true ones.
        let mut inside = vec![0_u64; areas.len()];
        shared.iter().for_each(|((p, _), pixels)| inside[*p as usize] += pixels);
        let siou = (1..real.areas.len()).map(|g| {
            let (mut common, mut union, mut elsewhere) = (0, 0, 0);
            for ((p, _), pixels) in shared.iter().filter(|((_, other), _)| *other as usize == g) {
                common += pixels;
                union += areas[*p as usize];
                elsewhere += inside[*p as usize] - pixels;
            }
            common as f64 / (union + real.areas[g] - common - elsewhere) as f64
        });
        let ppv = areas.iter().zip(&inside).skip(1).filter(|(area, _)| **area > 0);
        Matches {
            siou: siou.collect(),
            ppv: ppv.map(|(area, in_true)| *in_true as f64 / *area as f64).collect(),
        }
    }
}

/// Collects what frames give.
#[derive(Debug, Default)]
pub struct ComponentJudge {
    frames: Vec<Matches>,
}

impl ComponentJudge {
    /// Takes a frame.
    pub fn push(&mut self, matches: Matches) {
        self.frames.push(matches);
    }

    /// The numbers of all frames.
    pub fn report(&self) -> ComponentReport {
        self.weighed(&vec![1; self.frames.len()])
    }

    /// The interval of one number, by drawing frames anew.
    pub fn interval(
        &self,
        settings: &BootstrapSettings,
        pick: impl Fn(&ComponentReport) -> Option<f64> + Sync,
    ) -> Option<Interval> {
        let number = |weights: &[u32]| pick(&self.weighed(weights)).map(|number| [number]);
        let exact = number(&vec![1; self.frames.len()])?;
        resample(self.frames.len(), &exact, number, settings).map(|[interval]| interval)
    }

    fn weighed(&self, weights: &[u32]) -> ComponentReport {
        let (mut siou, mut ppv) = (Tally::default(), Tally::default());
        for (frame, weight) in self.frames.iter().zip(weights).filter(|(_, weight)| **weight > 0) {
            frame.siou.iter().for_each(|value| siou.add(*value, u64::from(*weight)));
            frame.ppv.iter().for_each(|value| ppv.add(*value, u64::from(*weight)));
        }
        let at = |i: usize| {
            let (tp, fp) = (siou.reach[i], ppv.count - ppv.reach[i]);
            let fn_ = siou.count - tp;
            let all = 2 * tp + fn_ + fp;
            F1At { level: level(i), tp, fn_, fp, f1: (all > 0).then(|| 2.0 * tp as f64 / all as f64) }
        };
        let f1_at: Vec<F1At> = (0..LEVELS).map(at).collect();
        let f1: Option<Vec<f64>> = f1_at.iter().map(|at| at.f1).collect();
        ComponentReport {
            true_components: siou.count,
            predicted_components: ppv.count,
            mean_siou: siou.mean(),
            mean_ppv: ppv.mean(),
            mean_f1: f1.map(|f1| f1.iter().sum::<f64>() / LEVELS as f64),
            f1_at,
        }
    }
}

/// Values counted by the levels they reach.
#[derive(Default)]
struct Tally {
    count: u64,
    sum: f64,
    reach: [u64; LEVELS],
}

impl Tally {
    fn add(&mut self, value: f64, weight: u64) {
        self.count += weight;
        self.sum += value * weight as f64;
        for (i, reach) in self.reach.iter_mut().enumerate() {
            *reach += if value >= level(i) { weight } else { 0 };
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

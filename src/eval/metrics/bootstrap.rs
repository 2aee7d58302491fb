//! Confidence intervals: the images are drawn anew, with replacement, many times.
//!
//! Pixels of an image are not independent, so whole images are drawn. The number is computed for every draw,
//! and the interval holds the middle of what came out. Where computing it exactly for every draw would take
//! too long (pooled pixels), a [sketch](super::sketch) of each image stands for its scores; the deviations
//! of the draws from the sketch's own number are then laid around the exact one.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::detection::{Detection, Judge};
use super::key::Kind;
use super::sketch::Sketch;
use super::walk::Step;
use crate::random::Random;

/// A draw without an anomalous pixel has no metrics; so often another one is tried.
const TRIES: u64 = 64;

/// How the bootstrap is done.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapSettings {
    /// Draws.
    pub replicates: u32,
    /// The same seed gives the same intervals.
    pub seed: u64,
    /// Share of the draws that an interval holds.
    pub level: f64,
}

impl Default for BootstrapSettings {
    fn default() -> Self {
        BootstrapSettings { replicates: 1000, seed: 0, level: 0.95 }
    }
}

/// Between two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The lower one.
    pub low: f64,
    /// The higher one.
    pub high: f64,
}

/// Intervals of the headline numbers of a [`Detection`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Of the average precision.
    pub ap: Interval,
    /// Of the area under the ROC curve.
    pub auroc: Interval,
    /// Of the false positive rate at the first TPR of at least 0.95.
    pub fpr95_first: Interval,
    /// Of the false positive rate at the TPR closest to 0.95.
    pub fpr95_closest: Interval,
    /// Of the best F1.
    pub best_f1: Interval,
    /// How they were found.
    pub settings: BootstrapSettings,
    /// What was drawn and how, in words.
    pub method: String,
}

/// Collects a sketch of each image.
#[derive(Debug)]
pub struct Bootstrap {
    settings: BootstrapSettings,
    kind: Option<Kind>,
    sketches: Vec<Sketch>,
}

impl Bootstrap {
    /// Without images yet.
    pub fn new(settings: BootstrapSettings) -> Bootstrap {
        Bootstrap { settings, kind: None, sketches: Vec::new() }
    }

    /// Adds an image.
    pub fn push(&mut self, counts: &Counts) {
        self.kind = Some(counts.kind);
        self.sketches.push(Sketch::of(counts));
    }

    /// Intervals around `exact`, the metrics of all images pooled; `None` if they cannot be told: fewer than
    /// two images, or draws without anomaly.
    pub fn intervals(&self, exact: &Detection) -> Option<Intervals> {
        Drawn::of(self)?.intervals(exact)
    }
}

/// The headline numbers of every draw.
#[derive(Debug, Clone)]
pub struct Drawn {
    settings: BootstrapSettings,
    /// Each image once.
    centre: [f64; 5],
    /// AP, AUROC, FPR95 first and closest and best F1 of each draw. With the same settings the r-th draw
    /// holds the same images whatever scored them, as long as the truth is the same.
    pub numbers: Vec<[f64; 5]>,
}

impl Drawn {
    /// Draws; `None` for fewer than two images, or draws without anomaly.
    pub fn of(bootstrap: &Bootstrap) -> Option<Drawn> {
        let kind = bootstrap.kind?;
        // All steps of all images in one list, so that a draw is one pass with a weight per image.
        let mut steps: Vec<(u32, Step)> = Vec::new();
        for (image, sketch) in (0..).zip(&bootstrap.sketches) {
            steps.extend(sketch.steps.iter().map(|step| (image, *step)));
        }
        steps.par_sort_unstable_by_key(|(image, step)| (step.key, *image));
        let number = |weights: &[u32]| {
            let weigh = |pick: fn(&Step) -> u64| -> u64 {
                steps.iter().map(|(image, step)| u64::from(weights[*image as usize]) * pick(step)).sum()
            };
            let mut judge = Judge::new(kind, weigh(|s| s.normal), weigh(|s| s.anomaly))?;
            for tied in steps.chunk_by(|a, b| a.1.key == b.1.key) {
                let mut sum = Step { key: tied[0].1.key, normal: 0, anomaly: 0 };
                for (image, step) in tied {
                    let weight = u64::from(weights[*image as usize]);
                    sum.normal += weight * step.normal;
                    sum.anomaly += weight * step.anomaly;
                }
                judge.step(sum);
            }
            Some(judge.finish().headline())
        };
        let (centre, numbers) = draw_all(bootstrap.sketches.len(), number, &bootstrap.settings)?;
        Some(Drawn { settings: bootstrap.settings, centre, numbers })
    }

    /// Intervals around `exact`.
    pub fn intervals(&self, exact: &Detection) -> Option<Intervals> {
        let [ap, auroc, fpr95_first, fpr95_closest, best_f1] =
            laid_around(&self.numbers, &self.centre, &exact.headline(), &self.settings)
                // All are rates; deviations laid around another number may lead beyond them.
                .map(|Interval { low, high }| Interval { low: low.max(0.0), high: high.min(1.0) });
        let method = "images drawn with replacement; a sketch of each image (false positives within 1 %) \
                      stands for its scores, deviations are laid around the exact number"
            .to_owned();
        let settings = self.settings;
        Some(Intervals { ap, auroc, fpr95_first, fpr95_closest, best_f1, settings, method })
    }
}

/// The interval of the mean of `values`, one per image; `None` for fewer than two.
pub fn mean_interval(values: &[f64], settings: &BootstrapSettings) -> Option<Interval> {
    let mean = |weights: &[u32]| {
        let sum: f64 = values.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum();
        Some([sum / values.len() as f64])
    };
    let exact = mean(&vec![1; values.len()])?;
    resample(values.len(), &exact, mean, settings).map(|[interval]| interval)
}

/// The interval of the mean of `b - a` over images that both have judged, in the same order; `None` for
/// lists that differ in length or have fewer than two.
pub fn paired_difference(a: &[f64], b: &[f64], settings: &BootstrapSettings) -> Option<Interval> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| b - a).collect();
    (a.len() == b.len()).then(|| mean_interval(&differences, settings)).flatten()
}

/// Intervals of `N` numbers around `exact`: `number` computes them from how often each of `images` was
/// drawn, or says that such a draw has none.
pub(super) fn resample<const N: usize>(
    images: usize,
    exact: &[f64; N],
    number: impl Fn(&[u32]) -> Option<[f64; N]> + Sync,
    settings: &BootstrapSettings,
) -> Option<[Interval; N]> {
    let (centre, drawn) = draw_all(images, number, settings)?;
    Some(laid_around(&drawn, &centre, exact, settings))
}

/// What `number` gives for each image once, and for each draw.
fn draw_all<const N: usize>(
    images: usize,
    number: impl Fn(&[u32]) -> Option<[f64; N]> + Sync,
    settings: &BootstrapSettings,
) -> Option<([f64; N], Vec<[f64; N]>)> {
    if images < 2 || settings.replicates == 0 {
        return None;
    }
    let centre = number(&vec![1; images])?;
    let draw = |replicate: u32| {
        (0..TRIES).find_map(|attempt| {
            let mut random = Random::of_part(settings.seed, &[u64::from(replicate), attempt]);
            let mut weights = vec![0; images];
            (0..images).for_each(|_| weights[random.below(images)] += 1);
            number(&weights)
        })
    };
    let drawn: Vec<[f64; N]> = (0..settings.replicates).into_par_iter().map(draw).collect::<Option<_>>()?;
    Some((centre, drawn))
}

/// The intervals that hold the middle of `drawn`, moved from its own `centre` to `exact`.
fn laid_around<const N: usize>(
    drawn: &[[f64; N]],
    centre: &[f64; N],
    exact: &[f64; N],
    settings: &BootstrapSettings,
) -> [Interval; N] {
    let tail = (1.0 - settings.level.clamp(0.0, 1.0)) / 2.0;
    std::array::from_fn(|i| {
        let mut values: Vec<f64> = drawn.iter().map(|numbers| numbers[i] - centre[i] + exact[i]).collect();
        values.sort_unstable_by(f64::total_cmp);
        Interval { low: quantile(&values, tail), high: quantile(&values, 1.0 - tail) }
    })
}

/// The quantile at `level` of sorted values, interpolated linearly between two (NumPy's default).
pub fn quantile(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = level * last as f64;
    let (low, share) = (place.floor() as usize, place.fract());
    let (a, b) = (sorted[low.min(last)], sorted[(low + 1).min(last)]);
    a + (b - a) * share
}

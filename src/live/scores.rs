//! What the scores of a stream have been lately: a histogram, quantiles, and how far they have drifted from the normal
//! frames that the bank was measured on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::detector::{Level, Verdict};

/// Classes of the histogram.
pub const CLASSES: usize = 80;
/// Verdicts that the figures cover, at most: in blocks, of which the oldest goes when the newest is full.
const BLOCKS: usize = 8;
/// See [`BLOCKS`].
const BLOCK: u32 = 16;
/// Of the pixels every so many of a row, and of the rows, are counted.
const EVERY: usize = 4;
/// The histogram begins so many steps of the score below the threshold that held when it was begun, and ends as many
/// classes later; a class is [`CLASS_STEPS`] wide.
const STEPS_BELOW: f32 = 12.0;
/// See [`STEPS_BELOW`].
const CLASS_STEPS: f32 = 0.5;

/// Scores of a stream lately; shared by the lane that judges and those who ask.
#[derive(Debug, Default)]
pub struct RecentScores(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// What the stream is judged by.
    level: Option<Level>,
    axis: Option<Axis>,
    blocks: VecDeque<Block>,
    regions: u64,
}

/// Where the classes lie.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Axis {
    low: f32,
    step: f32,
}

#[derive(Debug)]
struct Block {
    verdicts: u32,
    highest: f32,
    classes: [u64; CLASSES],
}

/// The figures.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreFigures {
    /// What the stream is judged by; nothing before the detector is open.
    pub level: Option<Level>,
    /// Regions found since the start, added up over verdicts.
    pub regions: u64,
    /// What the scores have been; nothing before the first verdict.
    pub recent: Option<Recent>,
}

/// Scores of pixels in the last verdicts, up to 128.
#[derive(Debug, Clone, PartialEq)]
pub struct Recent {
    /// Lower end of the first class.
    pub low: f32,
    /// Width of a class.
    pub step: f32,
    /// Sampled pixels in each class; what lies outside counts in the first or the last.
    pub classes: Vec<u64>,
    /// Median, 95th and 99th percentile, within half a class.
    pub quantiles: [f32; 3],
    /// Highest score.
    pub highest: f32,
    /// The median less that of the bank's held-out frames, in standard deviations of theirs.
    pub drift: Option<f64>,
}

impl RecentScores {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the stream is judged by `level`.
    pub(super) fn judge_by(&self, level: Level) {
        let mut inner = self.inner();
        // Another bank has other scores; another threshold alone is none.
        if inner.level.as_ref().is_some_and(|before| before.baseline != level.baseline) {
            (inner.axis, inner.blocks) = Default::default();
        }
        inner.level = Some(level);
    }

    /// One more verdict.
    pub(super) fn see(&self, verdict: &Verdict) {
        let mut inner = self.inner();
        inner.regions += verdict.regions.len() as u64;
        let scale = verdict.scale;
        let axis = *inner.axis.get_or_insert(Axis {
            low: scale.threshold - STEPS_BELOW * scale.spread,
            step: (CLASS_STEPS * scale.spread).max(f32::MIN_POSITIVE),
        });
        if inner.blocks.back().is_none_or(|block| block.verdicts == BLOCK) {
            if inner.blocks.len() == BLOCKS {
                inner.blocks.pop_front();
            }
            inner.blocks.push_back(Block { verdicts: 0, highest: f32::NEG_INFINITY, classes: [0; CLASSES] });
        }
        let Some(block) = inner.blocks.back_mut() else { return };
        block.verdicts += 1;
        let scores = &verdict.scores;
        for (y, row) in scores.data.chunks_exact(scores.width.max(1)).enumerate().step_by(EVERY) {
            let counted = verdict.counted.get(y * scores.width..);
            for (x, score) in row.iter().enumerate().step_by(EVERY) {
                if counted.is_none_or(|counted| counted.is_empty() || counted.get(x) == Some(&true)) {
                    block.highest = block.highest.max(*score);
                    // Saturating: what cannot be judged scores infinity.
                    let class = ((score - axis.low) / axis.step) as usize;
                    block.classes[class.min(CLASSES - 1)] += 1;
                }
            }
        }
    }

    /// The figures now.
    pub fn figures(&self) -> ScoreFigures {
        let inner = self.inner();
        let recent = inner.axis.map(|axis| recent(axis, &inner.blocks, inner.level.as_ref()));
        ScoreFigures { level: inner.level.clone(), regions: inner.regions, recent }
    }
}

fn recent(Axis { low, step }: Axis, blocks: &VecDeque<Block>, level: Option<&Level>) -> Recent {
    let mut classes = vec![0; CLASSES];
    for block in blocks {
        classes.iter_mut().zip(block.classes).for_each(|(sum, count)| *sum += count);
    }
    let total: u64 = classes.iter().sum();
    let quantile = |q: f64| {
        let wanted = (total as f64 * q) as u64;
        let mut below = 0;
        let class = classes.iter().position(|count| {
            below += count;
            below > wanted
        });
        low + (class.unwrap_or(0) as f32 + 0.5) * step
    };
    let quantiles = [0.5, 0.95, 0.99].map(quantile);
    let highest = blocks.iter().map(|block| block.highest).fold(f32::NEG_INFINITY, f32::max);
    let baseline = level.and_then(|level| level.baseline);
    let drift = baseline.map(|known| f64::from(quantiles[0] - known.median) / known.deviation.max(1e-9));
    Recent { low, step, classes, quantiles, highest, drift }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detector::Baseline;
    use crate::grid::PixelScores;
    use crate::overlay::ScoreScale;
    use crate::pool::Pooled;

    fn verdict(score: impl Fn(usize) -> f32, threshold: f32) -> Verdict {
        let data = Pooled::unpooled((0..64 * 32).map(score).collect());
        Verdict {
            scores: PixelScores { width: 64, height: 32, data },
            counted: Pooled::unpooled(Vec::new()),
            regions: Pooled::unpooled(Vec::new()),
            weak: Pooled::unpooled(Vec::new()),
            scene_out: false,
            scale: ScoreScale { threshold, spread: 1.0 },
        }
    }

    fn level(threshold: f32, median: f32) -> Level {
        Level {
            scale: ScoreScale { threshold, spread: 1.0 },
            basis: String::new(),
            baseline: Some(Baseline { median, deviation: 2.0 }),
        }
    }

    #[test]
    fn figures_are_those_of_the_last_verdicts() {
        let scores = RecentScores::default();
        assert_eq!(scores.figures().recent, None);
        scores.judge_by(level(20.0, 10.0));
        // 8 to 12 evenly.
        (0..40).for_each(|_| scores.see(&verdict(|n| 8.0 + (n % 64) as f32 / 16.0, 20.0)));
        let recent = scores.figures().recent.unwrap();
        assert_eq!(recent.classes.iter().sum::<u64>(), 40 * 16 * 8);
        assert!((recent.quantiles[0] - 10.0).abs() <= 0.5, "{recent:?}");
        assert!((recent.quantiles[2] - 11.9).abs() <= 0.5, "{recent:?}");
        assert!(recent.drift.unwrap().abs() < 0.25 && recent.highest == 11.75, "{recent:?}");
        // A moved threshold changes no figure; the scene does, once the old verdicts are gone.
        scores.judge_by(level(11.0, 10.0));
        assert_eq!(scores.figures().recent, Some(recent));
        (0..200).for_each(|_| scores.see(&verdict(|_| f32::INFINITY, 11.0)));
        let recent = scores.figures().recent.unwrap();
        assert_eq!(recent.classes[CLASSES - 1], recent.classes.iter().sum::<u64>());
        assert!(recent.drift.unwrap() > 5.0);
        // Another bank begins anew.
        scores.judge_by(level(11.0, 3.0));
        assert_eq!(scores.figures().recent, None);
    }

    #[test]
    fn only_what_counts_is_counted() {
        let scores = RecentScores::default();
        let mut half = verdict(|n| if n % 64 < 32 { 5.0 } else { 500.0 }, 20.0);
        half.counted = Pooled::unpooled((0..64 * 32).map(|n| n % 64 < 32).collect());
        scores.see(&half);
        let recent = scores.figures().recent.unwrap();
        assert_eq!((recent.classes.iter().sum::<u64>(), recent.highest), (64, 5.0));
        assert_eq!((recent.classes[0], recent.drift), (64, None), "below the axis");
    }
}

//! The scores of an image or a part of one: sorted, equal ones counted, compressed.

use super::curve::AtThreshold;
use super::detection::{Detection, Judge};
use super::key::{Kind, Score};
use super::run::Run;
use super::sort::sort;
use super::walk::{Step, walk};
use crate::eval::truth::{ANOMALY, NORMAL};

/// Why scores cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CountError {
    /// As many labels as scores are needed.
    #[error("{scores} scores do not fit {labels} labels")]
    Lengths {
        /// Scores given.
        scores: usize,
        /// Labels given.
        labels: usize,
    },
    /// A score that is no number, on a pixel that counts.
    #[error("the score of pixel {first} is {what}, as are {more} more; a metric needs finite scores")]
    NotFinite {
        /// Index of the first such pixel, row by row.
        first: usize,
        /// `NaN`, `inf` or `-inf`.
        what: String,
        /// How many others are not finite.
        more: usize,
    },
}

/// Scores of pixels that are not void, by class.
#[derive(Debug, Clone)]
pub struct Counts {
    /// What the keys stand for.
    pub(super) kind: Kind,
    /// Normal pixels.
    pub(super) normal: Run,
    /// Anomalous pixels.
    pub(super) anomaly: Run,
}

impl Counts {
    /// Counts `scores` (f32 or f64) by their `labels` ([`crate::eval::truth`]); void is left out.
    /// Does not wait for anything: call it on many threads.
    ///
    /// # Errors
    /// [`CountError`]: lengths that differ, or a score that is not finite on a pixel that is not void.
    pub fn of<S: Score + Into<f64>>(scores: &[S], labels: &[u8]) -> Result<Counts, CountError> {
        if scores.len() != labels.len() {
            return Err(CountError::Lengths { scores: scores.len(), labels: labels.len() });
        }
        let anomalous = labels.iter().filter(|label| **label == ANOMALY).count();
        let (mut normal, mut anomaly) = (Vec::with_capacity(scores.len()), Vec::with_capacity(anomalous));
        let mut finite = true;
        for (score, label) in scores.iter().zip(labels) {
            match *label {
                NORMAL => normal.push(score.key()),
                ANOMALY => anomaly.push(score.key()),
                _ => continue,
            }
            finite &= score.is_finite();
        }
        if !finite {
            return Err(not_finite(scores, labels));
        }
        let mut scratch = Vec::new();
        sort(&mut normal, &mut scratch);
        sort(&mut anomaly, &mut scratch);
        Ok(Counts { kind: S::KIND, normal: Run::of_sorted(&normal), anomaly: Run::of_sorted(&anomaly) })
    }

    /// Normal pixels.
    pub fn normal(&self) -> u64 {
        self.normal.pixels
    }

    /// Anomalous pixels.
    pub fn anomaly(&self) -> u64 {
        self.anomaly.pixels
    }

    /// The metrics of these pixels alone; `None` without an anomalous or without a normal one.
    pub fn detection(&self) -> Option<Detection> {
        let mut judge = Judge::new(self.kind, self.normal(), self.anomaly())?;
        self.walk(|step| judge.step(step));
        Some(judge.finish())
    }

    /// How many pixels score above `threshold`.
    pub fn at(&self, threshold: f64) -> AtThreshold {
        let above = self.kind.keys_above(threshold);
        let (mut tp, mut fp) = (0, 0);
        self.walk(|step| {
            if step.key < above {
                (tp, fp) = (tp + step.anomaly, fp + step.normal);
            }
        });
        AtThreshold::new(threshold, (tp, self.anomaly()), (fp, self.normal()))
    }

    /// Each distinct score, falling.
    pub(super) fn walk(&self, step: impl FnMut(Step)) {
        // Fresh counts lie in memory, which can be read.
        let walked = walk([&self.normal], [&self.anomaly], step);
        debug_assert!(walked.is_ok(), "{walked:?}");
    }
}

fn not_finite<S: Score + Into<f64>>(scores: &[S], labels: &[u8]) -> CountError {
    let counted = |label: u8| label == NORMAL || label == ANOMALY;
    let wrong = |(score, label): (&S, &u8)| counted(*label) && !score.is_finite();
    let first = scores.iter().zip(labels).position(wrong).unwrap_or(0);
    let more = scores.iter().zip(labels).skip(first + 1).filter(|(s, l)| wrong((s, l))).count();
    let what = scores.get(first).map_or(f64::NAN, |score| (*score).into());
    CountError::NotFinite { first, what: what.to_string(), more }
}

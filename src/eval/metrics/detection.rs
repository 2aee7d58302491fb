//! The threshold metrics of a set of pixels, from one walk over its distinct scores.

use serde::{Deserialize, Serialize};

use super::key::Kind;
use super::walk::Step;

/// True positive rates at which the false positive rate is told.
pub const TPR_LEVELS: [f64; 6] = [0.5, 0.8, 0.9, 0.95, 0.99, 1.0];
/// The rate of FPR95.
const LEVEL: f64 = 0.95;

/// How well scores tell anomalous pixels from normal ones. A pixel is taken as anomalous if its score is
/// at least the threshold; equal scores share one threshold; rates are fractions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Normal pixels.
    pub normal: u64,
    /// Anomalous pixels.
    pub anomaly: u64,
    /// Average precision: the sum of precision times rise of recall over falling thresholds
    /// (scikit-learn's `average_precision_score`).
    pub ap: f64,
    /// Area under the ROC curve (scikit-learn's `roc_auc_score`).
    pub auroc: f64,
    /// False positive rate at the first (highest) threshold whose true positive rate is at least 0.95.
    pub fpr95_first: f64,
    /// False positive rate at the threshold whose true positive rate is closest to 0.95; of equally close
    /// ones, the first.
    pub fpr95_closest: f64,
    /// False positive rates at the first threshold that reaches each of [`TPR_LEVELS`].
    pub fpr_at: Vec<FprAt>,
    /// The best F1 of anomalous pixels over all thresholds.
    pub best_f1: f64,
    /// The highest threshold that gives it.
    pub best_f1_threshold: f64,
}

/// The false positive rate at a wanted true positive rate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FprAt {
    /// The true positive rate that is at least reached.
    pub tpr: f64,
    /// The false positive rate there.
    pub fpr: f64,
    /// The threshold.
    pub threshold: f64,
}

impl Detection {
    /// AP, AUROC, FPR95 first and closest, best F1.
    pub fn headline(&self) -> [f64; 5] {
        [self.ap, self.auroc, self.fpr95_first, self.fpr95_closest, self.best_f1]
    }
}

/// Takes the steps of a walk and judges.
#[derive(Debug, Clone)]
pub struct Judge {
    kind: Kind,
    normal: u64,
    anomaly: u64,
    tp: u64,
    fp: u64,
    ap: Sum,
    /// Twice the area under the ROC curve in pixels squared.
    area: u128,
    closest: (f64, u64),
    /// Levels that are reached.
    reached: usize,
    fpr_at: Vec<FprAt>,
    best_f1: (f64, u64),
}

impl Judge {
    /// For walks over so many pixels in all; `None` if one class has none.
    pub fn new(kind: Kind, normal: u64, anomaly: u64) -> Option<Judge> {
        (normal > 0 && anomaly > 0).then(|| Judge {
            kind,
            normal,
            anomaly,
            tp: 0,
            fp: 0,
            ap: Sum::default(),
            area: 0,
            closest: (f64::INFINITY, 0),
            reached: 0,
            fpr_at: Vec::with_capacity(TPR_LEVELS.len()),
            best_f1: (-1.0, 0),
        })
    }

    /// The same for a walk that begins after so many normal and anomalous pixels.
    pub fn after(mut self, fp: u64, tp: u64) -> Judge {
        (self.fp, self.tp) = (fp, tp);
        let tpr = tp as f64 / self.anomaly as f64;
        self.reached = TPR_LEVELS.iter().filter(|level| tpr >= **level).count();
        self
    }

    /// Joins what was found in the part of the walk that follows.
    pub fn join(&mut self, next: Judge) {
        (self.tp, self.fp, self.reached) = (next.tp, next.fp, next.reached);
        self.ap.add(next.ap.value());
        self.area += next.area;
        self.fpr_at.extend(next.fpr_at);
        // Of equals the first stays.
        if next.closest.0 < self.closest.0 {
            self.closest = next.closest;
        }
        if next.best_f1.0 > self.best_f1.0 {
            self.best_f1 = next.best_f1;
        }
    }

    /// Takes the next lower score.
    #[inline]
    pub fn step(&mut self, step: Step) {
        let before = self.tp;
        self.tp += step.anomaly;
        self.fp += step.normal;
        self.area += u128::from(step.normal) * u128::from(before + self.tp);
        // All else only changes for the better where recall does.
        if step.anomaly > 0 {
            self.recall_rose(step);
        }
    }

    #[inline]
    fn recall_rose(&mut self, step: Step) {
        let (tp, flagged) = (self.tp as f64, (self.tp + self.fp) as f64);
        self.ap.add(step.anomaly as f64 * (tp / flagged));
        let tpr = tp / self.anomaly as f64;
        let off = (tpr - LEVEL).abs();
        if off < self.closest.0 {
            self.closest = (off, self.fp);
        }
        while let Some(level) = TPR_LEVELS.get(self.reached)
            && tpr >= *level
        {
            let (fpr, threshold) = (self.fp as f64 / self.normal as f64, self.kind.score(step.key));
            self.fpr_at.push(FprAt { tpr: *level, fpr, threshold });
            self.reached += 1;
        }
        let f1 = 2.0 * tp / (flagged + self.anomaly as f64);
        if f1 > self.best_f1.0 {
            self.best_f1 = (f1, step.key);
        }
    }

    /// The metrics, after the last step.
    pub fn finish(self) -> Detection {
        let normal = self.normal as f64;
        let first = self.fpr_at.iter().find(|at| at.tpr == LEVEL).map_or(1.0, |at| at.fpr);
        Detection {
            normal: self.normal,
            anomaly: self.anomaly,
            ap: self.ap.value() / self.anomaly as f64,
            auroc: self.area as f64 / (2.0 * normal * self.anomaly as f64),
            fpr95_first: first,
            fpr95_closest: self.closest.1 as f64 / normal,
            fpr_at: self.fpr_at,
            best_f1: self.best_f1.0,
            best_f1_threshold: self.kind.score(self.best_f1.1),
        }
    }
}

/// A sum that keeps what each addition rounds off (Neumaier).
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum {
    sum: f64,
    rest: f64,
}

impl Sum {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, number: f64) {
        let sum = self.sum + number;
        let lost = if self.sum.abs() >= number.abs() {
            (self.sum - sum) + number
        } else {
            (number - sum) + self.sum
        };
        self.rest += lost;
        self.sum = sum;
    }

    /// The sum.
    pub fn value(self) -> f64 {
        self.sum + self.rest
    }
}

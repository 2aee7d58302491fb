//! Other readings of the same two curves: numbers that papers and libraries call AP and FPR95, too.

use serde::{Deserialize, Serialize};

use super::detection::Sum;
use super::walk::Step;

/// The true positive rate of FPR95.
const LEVEL: f64 = 0.95;

/// What other conventions make of the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Conventions {
    /// Area under straight lines between the points of precision over recall, from precision 1 at recall 0 on (`auc` of
    /// scikit-learn's `precision_recall_curve`). Too high where few thresholds tell much.
    pub ap_by_lines: f64,
    /// False positive rate where a straight line between two thresholds reaches a true positive rate of 0.95.
    pub fpr95_between: f64,
}

/// Takes the steps of a walk by falling score.
#[derive(Debug, Clone)]
pub struct Reader {
    normal: f64,
    anomaly: f64,
    tp: u64,
    fp: u64,
    precision: f64,
    area: Sum,
    fpr95: Option<f64>,
}

impl Reader {
    /// For a walk over so many pixels in all; `None` if one class has none.
    pub fn new(normal: u64, anomaly: u64) -> Option<Reader> {
        (normal > 0 && anomaly > 0).then(|| Reader {
            normal: normal as f64,
            anomaly: anomaly as f64,
            tp: 0,
            fp: 0,
            precision: 1.0,
            area: Sum::default(),
            fpr95: None,
        })
    }

    /// Takes the next lower score.
    pub fn step(&mut self, step: Step) {
        let before = (self.tp as f64 / self.anomaly, self.fp as f64 / self.normal, self.precision);
        self.tp += step.anomaly;
        self.fp += step.normal;
        self.precision = self.tp as f64 / (self.tp + self.fp) as f64;
        let (tpr, fpr) = (self.tp as f64 / self.anomaly, self.fp as f64 / self.normal);
        self.area.add((tpr - before.0) * (before.2 + self.precision) / 2.0);
        if self.fpr95.is_none() && tpr >= LEVEL {
            self.fpr95 = Some(before.1 + (fpr - before.1) * (LEVEL - before.0) / (tpr - before.0));
        }
    }

    /// The numbers, after the last step.
    pub fn finish(self) -> Conventions {
        Conventions { ap_by_lines: self.area.value(), fpr95_between: self.fpr95.unwrap_or(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_between_points_are_as_scikit_learn_draws_them() {
        // Thresholds 3, 2, 1: (tp, fp) = (1, 0), (2, 2), (4, 4) of 4 anomalous and 4 normal.
        let mut reader = Reader::new(4, 4).unwrap();
        for (key, anomaly, normal) in [(0, 1, 0), (1, 1, 2), (2, 2, 2)] {
            reader.step(Step { key, normal, anomaly });
        }
        let got = reader.finish();
        let want = 0.25 * 1.0 + 0.25 * (1.0 + 0.5) / 2.0 + 0.5 * 0.5;
        assert!((got.ap_by_lines - want).abs() < 1e-15, "{got:?}");
        assert!((got.fpr95_between - (0.5 + 0.5 * 0.9)).abs() < 1e-15, "{got:?}");
        assert!(Reader::new(0, 4).is_none());
    }
}

//! Risk against coverage: what is missed among the pixels that a threshold lets pass as normal (selective classification;
//! Geifman and El-Yaniv 2017).

use serde::{Deserialize, Serialize};

use super::detection::Sum;
use super::key::Kind;
use super::walk::Step;

/// Shares of the pixels that are let pass, at which the risk is told.
pub const COVERAGES: [f64; 9] = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0];

/// What all pixels give.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RiskReport {
    /// Area under the risk over all coverages; lower is better.
    pub aurc: f64,
    /// The same of scores that tell perfectly.
    pub best: f64,
    /// At each of [`COVERAGES`].
    pub points: Vec<RiskPoint>,
}

/// One threshold: pixels that score less are let pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RiskPoint {
    /// The share of the pixels that is at least let pass.
    pub coverage: f64,
    /// The share that is, with the ties of the last one.
    pub passed: f64,
    /// The lowest score that is not let pass; `None` if all are.
    pub threshold: Option<f64>,
    /// Share of the pixels let pass that is anomalous.
    pub risk: f64,
    /// Share of the anomalous pixels that is let pass.
    pub missed: f64,
    /// Share of the normal pixels that is not let pass.
    pub false_alarms: f64,
}

/// Takes the steps of a walk by falling score.
#[derive(Debug, Clone)]
pub struct Risk {
    kind: Kind,
    normal: u64,
    anomaly: u64,
    /// Above: not let pass.
    fp: u64,
    tp: u64,
    area: Sum,
    points: Vec<RiskPoint>,
    above: Option<u64>,
}

impl Risk {
    /// For a walk over so many pixels in all; `None` if one class has none.
    pub fn new(kind: Kind, normal: u64, anomaly: u64) -> Option<Risk> {
        (normal > 0 && anomaly > 0).then(|| Risk {
            kind,
            normal,
            anomaly,
            fp: 0,
            tp: 0,
            area: Sum::default(),
            points: Vec::new(),
            above: None,
        })
    }

    /// Takes the next lower score.
    pub fn step(&mut self, step: Step) {
        let all = (self.normal + self.anomaly) as f64;
        // With this score, all that is not above it is let pass.
        let (passed, missed) = (self.normal - self.fp + self.anomaly - self.tp, self.anomaly - self.tp);
        let risk = missed as f64 / passed as f64;
        self.area.add((step.normal + step.anomaly) as f64 / all * risk);
        let without = passed - step.normal - step.anomaly;
        // The smallest threshold that still lets so many pass.
        let coverages = COVERAGES.iter().rev().skip(self.points.len());
        for coverage in coverages {
            let wanted = (coverage * all).ceil() as u64;
            if without >= wanted {
                break;
            }
            self.points.push(RiskPoint {
                coverage: *coverage,
                passed: passed as f64 / all,
                threshold: self.above.map(|key| self.kind.score(key)),
                risk,
                missed: missed as f64 / self.anomaly as f64,
                false_alarms: self.fp as f64 / self.normal as f64,
            });
        }
        (self.fp, self.tp, self.above) = (self.fp + step.normal, self.tp + step.anomaly, Some(step.key));
    }

    /// The numbers, after the last step.
    pub fn finish(mut self) -> RiskReport {
        self.points.reverse();
        // Perfect scores let all normal pixels pass first; then each anomalous one raises the risk.
        let (normal, all) = (self.normal as f64, (self.normal + self.anomaly) as f64);
        let mut best = Sum::default();
        (1..=self.anomaly).for_each(|i| best.add(i as f64 / (normal + i as f64)));
        RiskReport { aurc: self.area.value(), best: best.value() / all, points: self.points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metrics::counts::Counts;
    use crate::eval::truth::{ANOMALY, NORMAL};
    use crate::random::Random;

    fn judged(scores: &[f32], labels: &[u8]) -> Option<RiskReport> {
        let counts = Counts::of(scores, labels).unwrap();
        let mut risk = Risk::new(counts.kind, counts.normal(), counts.anomaly())?;
        counts.walk(|step| risk.step(step));
        Some(risk.finish())
    }

    #[test]
    fn the_area_is_the_mean_risk_over_all_coverages() {
        Random::for_many(60, |random| {
            let count = 2 + random.below(200);
            // Distinct scores: the area is then the mean of the risk of the k lowest, over k.
            let mut scores: Vec<f32> = (0..count).map(|i| i as f32 / 7.0 - 3.0).collect();
            for i in (1..count).rev() {
                scores.swap(i, random.below(i + 1));
            }
            let labels: Vec<u8> = (0..count).map(|_| [NORMAL, NORMAL, ANOMALY][random.below(3)]).collect();
            let Some(report) = judged(&scores, &labels) else { return };
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
            let (mut missed, mut want) = (0, 0.0);
            for (k, i) in order.iter().enumerate() {
                missed += usize::from(labels[*i] == ANOMALY);
                want += missed as f64 / (k + 1) as f64 / count as f64;
            }
            assert!((report.aurc - want).abs() < 1e-12, "{} {want}", report.aurc);
            assert!(report.best <= report.aurc + 1e-12);
            for point in &report.points {
                let threshold = point.threshold.map_or(f32::INFINITY, |t| t as f32);
                let passed: Vec<usize> = (0..count).filter(|i| scores[*i] < threshold).collect();
                let missed = passed.iter().filter(|i| labels[**i] == ANOMALY).count();
                assert_eq!(point.passed, passed.len() as f64 / count as f64);
                assert_eq!(point.risk, missed as f64 / passed.len() as f64);
                assert!(
                    point.passed >= point.coverage
                        && (passed.len() - 1) as f64 / (count as f64) < point.coverage
                );
            }
            assert_eq!(report.points.len(), COVERAGES.len());
        });
    }

    #[test]
    fn perfect_scores_reach_the_best() {
        let report = judged(&[1.0, 2.0, 3.0, 4.0], &[NORMAL, NORMAL, ANOMALY, ANOMALY]).unwrap();
        assert_eq!(report.aurc, report.best);
        assert!((report.best - (1.0 / 3.0 + 0.5) / 4.0).abs() < 1e-15);
        assert!(judged(&[1.0], &[NORMAL]).is_none());
        // All tied: one threshold, which lets all pass.
        let tied = judged(&[1.0; 4], &[NORMAL, NORMAL, NORMAL, ANOMALY]).unwrap();
        assert!(tied.points.iter().all(|p| p.risk == 0.25 && p.passed == 1.0 && p.threshold.is_none()));
    }
}

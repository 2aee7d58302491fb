//! What plots need of a walk: operating points, thinned to what an eye can tell apart, and histograms.

use serde::{Deserialize, Serialize};

use super::key::Kind;
use super::walk::Step;

/// A step in recall, false positive rate or precision that a plot shows.
const VISIBLE: f64 = 1.0 / 1024.0;
/// A step in the count of false positives that a logarithmic axis shows.
const VISIBLE_RATIO: f64 = 1.02;

/// Operating points by falling threshold. Every point is exact; which ones are kept is for plots: recall
/// and false positive rate move by about 1/1000, or false positives by 2 %, from one to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Normal pixels.
    pub normal: u64,
    /// Anomalous pixels.
    pub anomaly: u64,
    /// From the highest threshold to the lowest, which takes every pixel as anomalous.
    pub points: Vec<CurvePoint>,
}

/// One operating point: pixels with a score of at least the threshold are taken as anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The threshold.
    pub threshold: f64,
    /// Anomalous pixels taken as such.
    pub tp: u64,
    /// Normal pixels taken as anomalous.
    pub fp: u64,
}

impl CurvePoint {
    /// Share of the anomalous pixels that is found; also the true positive rate.
    pub fn recall(&self, curve: &Curve) -> f64 {
        self.tp as f64 / curve.anomaly.max(1) as f64
    }

    /// Share of the normal pixels that is taken as anomalous.
    pub fn fpr(&self, curve: &Curve) -> f64 {
        self.fp as f64 / curve.normal.max(1) as f64
    }

    /// Share of the pixels taken as anomalous that are.
    pub fn precision(&self) -> f64 {
        self.tp as f64 / (self.tp + self.fp).max(1) as f64
    }
}

/// Takes the steps of a walk and keeps the points of a curve.
#[derive(Debug)]
pub struct CurveBuilder {
    kind: Kind,
    curve: Curve,
    at: (u64, u64, u64),
    /// The next point is kept when true or false positives reach these.
    next: (u64, u64),
}

impl CurveBuilder {
    /// For walks over so many pixels in all.
    pub fn new(kind: Kind, normal: u64, anomaly: u64) -> CurveBuilder {
        let curve = Curve { normal, anomaly, points: Vec::new() };
        CurveBuilder { kind, curve, at: (0, 0, 0), next: (0, 0) }
    }

    /// The same for a walk that begins after so many normal and anomalous pixels.
    pub fn after(mut self, fp: u64, tp: u64) -> CurveBuilder {
        self.at = (0, tp, fp);
        self
    }

    /// Takes the next lower score.
    #[inline]
    pub fn step(&mut self, step: Step) {
        self.at = (step.key, self.at.1 + step.anomaly, self.at.2 + step.normal);
        if self.at.1 >= self.next.0 || self.at.2 >= self.next.1 {
            self.keep();
        }
    }

    fn keep(&mut self) {
        let (key, tp, fp) = self.at;
        self.curve.points.push(CurvePoint { threshold: self.kind.score(key), tp, fp });
        let visible = |all: u64| ((all as f64 * VISIBLE) as u64).max(1);
        let ratio = ((fp as f64 * VISIBLE_RATIO) as u64).max(fp + 1);
        self.next = (tp + visible(self.curve.anomaly), ratio.min(fp + visible(self.curve.normal)));
    }

    /// The curve, after the last step.
    pub fn finish(mut self) -> Curve {
        let (_, tp, fp) = self.at;
        if self.curve.points.last().is_some_and(|last| (last.tp, last.fp) != (tp, fp)) {
            self.keep();
        }
        self.curve
    }
}

/// What comes out at one threshold: pixels with a score above it are taken as anomalous.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AtThreshold {
    /// The threshold.
    pub threshold: f64,
    /// Anomalous pixels above it.
    pub tp: u64,
    /// Normal pixels above it.
    pub fp: u64,
    /// Share of the anomalous pixels above it; `None` without any.
    pub recall: Option<f64>,
    /// Share of the normal pixels above it; `None` without any.
    pub fpr: Option<f64>,
    /// Share of anomalous pixels among those above it; `None` if none is.
    pub precision: Option<f64>,
}

impl AtThreshold {
    /// From true positives of all anomalous pixels and false positives of all normal ones.
    pub fn new(threshold: f64, (tp, anomaly): (u64, u64), (fp, normal): (u64, u64)) -> AtThreshold {
        let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
        AtThreshold {
            threshold,
            tp,
            fp,
            recall: share(tp, anomaly),
            fpr: share(fp, normal),
            precision: share(tp, tp + fp),
        }
    }
}

/// How often scores occur, in bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Edges between bins, rising; one more than bins. A bin holds its lower edge. Scores outside are
    /// in the first and the last bin.
    pub edges: Vec<f64>,
    /// Normal pixels per bin.
    pub normal: Vec<u64>,
    /// Anomalous pixels per bin.
    pub anomaly: Vec<u64>,
}

impl Histogram {
    /// Empty bins from `low` to `high`.
    pub fn new(low: f64, high: f64, bins: usize) -> Histogram {
        let bins = bins.max(1);
        let edge = |i: usize| low + (high - low) * (i as f64 / bins as f64);
        Histogram { edges: (0..=bins).map(edge).collect(), normal: vec![0; bins], anomaly: vec![0; bins] }
    }

    /// Adds the counts of a histogram with the same edges.
    pub fn join(&mut self, other: &Histogram) {
        let add = |sums: &mut [u64], more: &[u64]| sums.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
        add(&mut self.normal, &other.normal);
        add(&mut self.anomaly, &other.anomaly);
    }

    /// Counts pixels of one score.
    pub fn add(&mut self, score: f64, normal: u64, anomaly: u64) {
        let last = self.normal.len() - 1;
        let (low, high) = (self.edges[0], self.edges[last + 1]);
        let place = (score - low) / (high - low) * (last + 1) as f64;
        // The cast makes what lies below (and NaN, if both edges are one) 0.
        let bin = (place as usize).min(last);
        self.normal[bin] += normal;
        self.anomaly[bin] += anomaly;
    }
}

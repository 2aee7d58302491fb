//! Pixels by the protocol's bins: per frame, edges at quantiles of both classes; all bins pooled.

use serde::{Deserialize, Serialize};

use crate::eval::metrics::bootstrap::{BootstrapSettings, Interval, resample};
use crate::eval::metrics::curve::{Curve, CurvePoint};
use crate::eval::metrics::detection::Sum;
use crate::eval::truth::{ANOMALY, NORMAL};

/// Quantiles per class and frame.
const QUANTILES: usize = 384;

/// What the pixels say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PixelReport {
    /// Average precision over the pooled bins.
    pub ap: f64,
    /// False positive rate at the first (highest) bin whose true positive rate is at least 0.95.
    pub fpr95: f64,
    /// The best F1 over the bins.
    pub best_f1: f64,
    /// The highest threshold that gives it; components are judged there.
    pub threshold: f64,
    /// One point per distinct bin.
    pub curve: Curve,
}

/// A bin of one frame: scores from `edge` to the next higher edge.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bin {
    edge: f64,
    frame: u32,
    anomaly: u32,
    normal: u32,
}

/// Collects the bins of frames.
#[derive(Debug, Default)]
pub struct PixelJudge {
    bins: Vec<Bin>,
    frames: u32,
}

impl PixelJudge {
    /// Takes a frame; void is left out.
    pub fn push(&mut self, scores: &[f32], labels: &[u8]) {
        let of = |class: u8| {
            let pixels = scores.iter().zip(labels).filter(|(_, label)| **label == class);
            let mut scores: Vec<f32> = pixels.map(|(score, _)| *score).collect();
            scores.sort_unstable_by(f32::total_cmp);
            scores
        };
        let (anomaly, normal) = (of(ANOMALY), of(NORMAL));
        let frame = self.frames;
        self.frames += 1;
        let edges = edges(&anomaly, &normal);
        for (edge, next) in edges.iter().zip(edges.iter().skip(1)) {
            let count = |sorted: &[f32]| {
                let below = |edge: f64| sorted.partition_point(|score| f64::from(*score) < edge);
                (below(*next) - below(*edge)) as u32
            };
            let (anomaly, normal) = (count(&anomaly), count(&normal));
            self.bins.push(Bin { edge: *edge, frame, anomaly, normal });
        }
    }

    /// The numbers of all frames; `None` without an anomalous or without a normal pixel.
    pub fn finish(&self) -> Option<PixelReport> {
        judge(&self.falling(), &vec![1; self.frames as usize])
    }

    /// Intervals of AP and FPR95, by drawing frames anew.
    pub fn intervals(&self, exact: &PixelReport, settings: &BootstrapSettings) -> Option<[Interval; 2]> {
        let bins = self.falling();
        let number = |weights: &[u32]| judge(&bins, weights).map(|report| [report.ap, report.fpr95]);
        resample(self.frames as usize, &[exact.ap, exact.fpr95], number, settings)
    }

    fn falling(&self) -> Vec<Bin> {
        let mut bins = self.bins.clone();
        bins.sort_by(|a, b| b.edge.total_cmp(&a.edge));
        bins
    }
}

/// Edges of a frame's bins, rising: the quantiles of both classes, and one beyond either end.
fn edges(anomaly: &[f32], normal: &[f32]) -> Vec<f64> {
    let ends = [anomaly, normal].into_iter().filter_map(|sorted| Some((*sorted.first()?, *sorted.last()?)));
    let Some((low, high)) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else { return Vec::new() };
    let (low, high) = (f64::from(low), f64::from(high));
    let margin = ((high - low) * 0.01).max(0.01);
    let mut edges = vec![low - margin, high + margin];
    for sorted in [anomaly, normal] {
        let count = sorted.len().min(QUANTILES);
        let step = 1.0 / count.saturating_sub(1).max(1) as f64;
        edges.extend((0..count).map(|i| {
            let level = if i > 0 && i + 1 == count { 1.0 } else { i as f64 * step };
            quantile(sorted, level)
        }));
    }
    edges.sort_unstable_by(f64::total_cmp);
    edges.dedup();
    edges
}

/// NumPy's default quantile of sorted scores, rounding as it does.
fn quantile(sorted: &[f32], level: f64) -> f64 {
    let last = sorted.len() - 1;
    let place = level * last as f64;
    let (low, share) = (place.floor() as usize, place - place.floor());
    let (a, b) = (f64::from(sorted[low.min(last)]), f64::from(sorted[(low + 1).min(last)]));
    if share >= 0.5 { b - (b - a) * (1.0 - share) } else { a + (b - a) * share }
}

/// The numbers when the frame `i` counts `weights[i]` times; `bins` by falling edge.
fn judge(bins: &[Bin], weights: &[u32]) -> Option<PixelReport> {
    let weight = |bin: &Bin| u64::from(weights[bin.frame as usize]);
    let (mut all_anomaly, mut all_normal) = (0, 0);
    for bin in bins {
        all_anomaly += weight(bin) * u64::from(bin.anomaly);
        all_normal += weight(bin) * u64::from(bin.normal);
    }
    if all_anomaly == 0 || all_normal == 0 {
        return None;
    }
    let mut curve = Curve { normal: all_normal, anomaly: all_anomaly, points: Vec::new() };
    let (mut tp, mut fp) = (0, 0);
    // Of equal thresholds the last, cumulated over all of them, stays.
    for equal in bins.chunk_by(|a, b| a.edge == b.edge) {
        for bin in equal {
            tp += weight(bin) * u64::from(bin.anomaly);
            fp += weight(bin) * u64::from(bin.normal);
        }
        // Frames that were not drawn have no bins.
        if equal.iter().any(|bin| weight(bin) > 0) {
            curve.points.push(CurvePoint { threshold: equal[0].edge, tp, fp });
        }
    }
    // The lowest edge of each frame lies below all its scores: the last point takes every pixel.
    let (mut ap, mut before, mut fpr95, mut best) = (Sum::default(), 0, None, (-1.0, 0.0));
    for point in &curve.points {
        let recall = point.tp as f64 / all_anomaly as f64;
        ap.add((point.tp - before) as f64 * point.precision());
        before = point.tp;
        if fpr95.is_none() && recall >= 0.95 {
            fpr95 = Some(point.fp as f64 / all_normal as f64);
        }
        let f1 = 2.0 * point.tp as f64 / (point.tp + point.fp + all_anomaly) as f64;
        if f1 > best.0 {
            best = (f1, point.threshold);
        }
    }
    let (best_f1, threshold) = best;
    let ap = ap.value() / all_anomaly as f64;
    Some(PixelReport { ap, fpr95: fpr95.unwrap_or(1.0), best_f1, threshold, curve })
}

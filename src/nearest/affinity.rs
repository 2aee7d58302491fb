//! Scores smoothed among patches of one frame that look alike and lie near each other.

use rayon::prelude::*;

use super::product::product;
use crate::bank::Affinity;
use crate::grid::Grid;

/// Patches further away than this many rows or columns have no weight, whatever the radius.
const WINDOW: usize = 7;

/// The buffers of a smoothing; they keep their size.
#[derive(Default)]
pub(super) struct Smoothing {
    /// `patches x width` numbers of norm 1; zeros for patches with NaN or infinite numbers.
    units: Vec<f32>,
    before: Vec<f32>,
}

impl Smoothing {
    /// Replaces the score s of each patch by (1 - a) s + a times the mean over its neighbours, itself among them, weighted by
    /// the softmax of cos(y, y') / t - |p - p'|^2 / (2 r^2): y are the numbers of the patches (each patch's `width` from
    /// `at` on in rows of `stride` numbers), p their places in the grid. Patches whose score is not finite keep it
    /// and are nobody's neighbours. Runs on the current rayon pool.
    pub(super) fn apply(
        &mut self,
        how: &Affinity,
        grid: Grid,
        features: &[f32],
        (stride, at, width): (usize, usize, usize),
        scores: &mut [f32],
    ) {
        self.before.clear();
        self.before.extend_from_slice(scores);
        self.units.resize(grid.len() * width, 0.0);
        self.units.par_chunks_mut(width).zip(features.par_chunks(stride)).for_each(|(unit, row)| {
            let row = &row[at..at + width];
            let norm = row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            let scale = if norm.is_finite() && norm > 0.0 { 1.0 / norm } else { 0.0 };
            for (unit, x) in unit.iter_mut().zip(row) {
                *unit = if scale > 0.0 { (f64::from(*x) * scale) as f32 } else { 0.0 };
            }
        });
        let (units, before) = (&self.units, &self.before);
        let unit = |patch: usize| &units[patch * width..][..width];
        let fall = 1.0 / (2.0 * how.radius * how.radius);
        scores.par_iter_mut().enumerate().for_each(|(patch, score)| {
            if !score.is_finite() {
                return;
            }
            let (row, col) = (patch / grid.cols, patch % grid.cols);
            let own = unit(patch);
            let (mut weights, mut sum) = (0.0f64, 0.0f64);
            for r in row.saturating_sub(WINDOW)..(row + WINDOW + 1).min(grid.rows) {
                for c in col.saturating_sub(WINDOW)..(col + WINDOW + 1).min(grid.cols) {
                    let other = r * grid.cols + c;
                    if !before[other].is_finite() {
                        continue;
                    }
                    let away = (r.abs_diff(row).pow(2) + c.abs_diff(col).pow(2)) as f64;
                    // At most 0 but for rounding: less than the softmax of the patch itself.
                    let alike = f64::from(product(own, unit(other))) - 1.0;
                    let weight = (alike / how.temperature - away * fall).exp();
                    weights += weight;
                    sum += weight * f64::from(before[other]);
                }
            }
            if weights > 0.0 {
                *score = ((1.0 - how.share) * f64::from(*score) + how.share * sum / weights) as f32;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest::made_up::Noise;

    /// The formula in double precision, over the whole grid.
    fn naive(how: &Affinity, grid: Grid, y: &[Vec<f64>], scores: &[f32]) -> Vec<f64> {
        let cos = |a: &[f64], b: &[f64]| {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let place = |i: usize| ((i / grid.cols) as f64, (i % grid.cols) as f64);
        (0..grid.len())
            .map(|i| {
                let weight = |j: usize| {
                    let ((a, b), (c, d)) = (place(i), place(j));
                    let away = (a - c).powi(2) + (b - d).powi(2);
                    (cos(&y[i], &y[j]) / how.temperature - away / (2.0 * how.radius * how.radius)).exp()
                };
                let finite: Vec<usize> = (0..grid.len()).filter(|j| scores[*j].is_finite()).collect();
                let mean = finite.iter().map(|j| weight(*j) * f64::from(scores[*j])).sum::<f64>()
                    / finite.iter().map(|j| weight(*j)).sum::<f64>();
                (1.0 - how.share) * f64::from(scores[i]) + how.share * mean
            })
            .collect()
    }

    #[test]
    fn it_is_the_formula_and_passes_by_what_is_not_finite() {
        let grid = Grid { rows: 6, cols: 8 };
        let mut noise = Noise::new(3);
        let (stride, at, width) = (23, 2, 19);
        let mut features = noise.many(grid.len() * stride, 1.0, 0.2);
        let mut scores = noise.many(grid.len(), 1.0, 5.0);
        scores[11] = f32::INFINITY;
        features[11 * stride + 5] = f32::NAN;
        let y: Vec<Vec<f64>> = features
            .chunks(stride)
            .map(|row| row[at..at + width].iter().map(|x| f64::from(*x)).collect())
            .collect();
        let mut smoothing = Smoothing::default();
        for (temperature, radius, share) in [(0.2, 3.0, 0.7), (0.05, 1.0, 1.0), (1.0, 2.0, 0.0)] {
            let how = Affinity { part: 0, temperature, radius, share };
            let want = naive(&how, grid, &y, &scores);
            let mut got = scores.clone();
            smoothing.apply(&how, grid, &features, (stride, at, width), &mut got);
            for (patch, (got, want)) in got.iter().zip(want).enumerate() {
                if patch == 11 {
                    assert_eq!(*got, f32::INFINITY);
                } else {
                    assert!((f64::from(*got) - want).abs() < 1e-4, "{patch}: {got} {want}");
                }
            }
        }
    }
}

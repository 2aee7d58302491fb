//! The part of the search that makes it exact: distances in double precision, and the bound on what
//! the rounding of the matrix product can hide.

use super::top::offer;
use crate::bank::Rows;

/// Unit roundoff of f32.
const ROUNDOFF: f64 = 1.0 / (1u32 << 24) as f64;

/// Distances may be this much too large, relative to themselves, before a whole rescan is worth it.
const RELATIVE_SLACK: f64 = 5e-5;
/// The same, relative to the norm of the patch.
const NORM_SLACK: f64 = 5e-7;

/// One patch and what is known about the bank.
pub(super) struct Query<'a> {
    /// The patch as it came, C numbers.
    pub(super) features: &'a [f32],
    /// Squared norm of the centred patch.
    pub(super) square: f64,
    /// Largest norm of a centred row of the bank.
    pub(super) reach: f64,
}

impl Query<'_> {
    /// By how much a key (||r||^2 - 2 q.r in f32, both centred) can differ from
    /// ||q - r||^2 - ||q||^2 in exact arithmetic.
    ///
    /// A product of C terms summed in any order errs by at most C u |q||r| (1 + o(1)) (Higham,
    /// Accuracy and Stability, 3.5); it counts twice. Centring rounds each side by u of its norm, which
    /// moves the squared distance by at most 2 u (|q| + |r|)^2; rounding ||r||^2 and the sum adds
    /// less than as much again.
    fn error(&self) -> f64 {
        let (norm, width) = (self.square.sqrt(), self.features.len() as f64);
        let sum = norm + self.reach;
        ROUNDOFF * (2.02 * (width + 8.0) * norm * self.reach + 5.0 * sum * sum) + 1e-37 * width
    }
}

/// Squared norm in double precision.
pub(super) fn square(x: &[f32]) -> f64 {
    let (blocks, rest) = x.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>()
}

/// Squared distance in double precision.
fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0f64; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = f64::from(*a) - f64::from(*b);
            *sum += difference * difference;
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// Measures `candidates` (ascending keys, the smallest of the whole bank) exactly, puts the nearest
/// into `found`, and says whether these are proven to be the nearest of the whole bank, to
/// within the slack.
pub(super) fn refine(
    query: &Query,
    rows: Rows,
    candidates: &[(f32, u32)],
    row: &mut [f32],
    found: &mut [(f64, u32)],
) -> bool {
    let error = query.error();
    // Near the end of f32's range products overflow, and no bound holds.
    if query.square.sqrt() + query.reach >= 1e18 {
        return false;
    }
    let kth = |found: &[(f64, u32)]| found.last().map_or(f64::INFINITY, |f| f.0);
    let mut lowest = f64::NEG_INFINITY;
    for &(key, index) in candidates {
        if index == u32::MAX {
            return false;
        }
        // No later candidate, and no row that is not one, is nearer than this.
        lowest = f64::from(key) + query.square - error;
        if kth(found) < lowest {
            return true;
        }
        rows.copy_to(index as usize * row.len(), row);
        offer(found, squared_distance(query.features, row), index);
    }
    let (kth, norm) = (kth(found).sqrt(), query.square.sqrt().min(square(query.features).sqrt()));
    let everything = candidates.len() == rows.count(row.len());
    everything || lowest.max(0.0).sqrt() >= kth * (1.0 - RELATIVE_SLACK) - NORM_SLACK * norm
}

/// Measures the whole bank exactly.
pub(super) fn rescan(query: &Query, rows: Rows, row: &mut [f32], found: &mut [(f64, u32)]) {
    found.fill((f64::INFINITY, u32::MAX));
    for index in 0..rows.count(row.len()) {
        rows.copy_to(index * row.len(), row);
        offer(found, squared_distance(query.features, row), index as u32);
    }
}

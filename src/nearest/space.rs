//! The space in which rows and patches are compared: centred on the bank's mean and scaled to norms
//! about 1, perhaps rotated; and how far from it f32 arithmetic leads.

use rayon::prelude::*;

use super::encode::ROUNDOFF;
use super::rotation::Rotation;
use crate::bank::Rows;

/// Rows whose sums are joined in order, whatever the threads.
const PART: usize = 4096;

/// From stored numbers to the compared ones.
pub(super) struct Space {
    /// Mean of the bank, C numbers.
    pub(super) mean: Vec<f32>,
    /// A power of two: norms of centred rows times it are less than 1.
    pub(super) factor: f32,
    pub(super) rotation: Option<Rotation>,
    /// False where a centred row exceeds the range of f32: nothing can then be compared here.
    pub(super) sound: bool,
}

impl Space {
    /// The space around `rows`; the result does not depend on the number of threads.
    pub(super) fn around(rows: Rows<'_>, width: usize) -> Space {
        let count = rows.count(width);
        let mean = mean(rows, width);
        let reach = (0..count.div_ceil(PART))
            .into_par_iter()
            .map(|part| {
                let (mut row, mut most) = (vec![0.0f32; width], 0.0f64);
                for r in part * PART..count.min((part + 1) * PART) {
                    rows.copy_to(r * width, &mut row);
                    most = most.max(row.iter().zip(&mean).map(|(x, m)| square(x - m)).sum());
                }
                most
            })
            .reduce(|| 0.0, f64::max)
            .sqrt();
        let exponent = if reach > 0.0 { reach.log2().floor() as i32 + 1 } else { 0 };
        Space {
            mean,
            factor: 2f64.powi(-exponent.clamp(-126, 126)) as f32,
            rotation: None,
            sound: reach.is_finite() && reach < 1e37 && width <= 1 << 15,
        }
    }

    /// Numbers per row.
    pub(super) fn width(&self) -> usize {
        self.mean.len()
    }

    /// Centres and scales one row in place; its norm, in double precision.
    pub(super) fn centre(&self, row: &mut [f32]) -> f64 {
        let mut sum = 0.0;
        for (x, m) in row.iter_mut().zip(&self.mean) {
            *x = (*x - m) * self.factor;
            sum += square(*x);
        }
        sum.sqrt()
    }

    /// Brings rows that were centred into this space; `turned` takes as many numbers.
    pub(super) fn turn<'a>(&self, centred: &'a [f32], turned: &'a mut [f32]) -> &'a [f32] {
        match &self.rotation {
            Some(rotation) => {
                rotation.apply(centred, turned);
                turned
            }
            None => centred,
        }
    }

    /// The computed vector is within this, times its norm, of the exact one: the difference from the
    /// mean is rounded once, the scaling is exact but for underflow.
    pub(super) fn error(&self) -> f64 {
        2.0 * ROUNDOFF + self.rotation.as_ref().map_or(0.0, |r| r.error)
    }

    /// A distance here is at most this times the original one (scaled).
    pub(super) fn stretch(&self) -> f64 {
        self.rotation.as_ref().map_or(1.0, |r| r.stretch)
    }
}

fn square(x: f32) -> f64 {
    f64::from(x) * f64::from(x)
}

/// Mean of all rows.
fn mean(rows: Rows<'_>, width: usize) -> Vec<f32> {
    let count = rows.count(width);
    let sums: Vec<Vec<f64>> = (0..count.div_ceil(PART))
        .into_par_iter()
        .map(|part| {
            let (mut row, mut sum) = (vec![0.0f32; width], vec![0.0f64; width]);
            for r in part * PART..count.min((part + 1) * PART) {
                rows.copy_to(r * width, &mut row);
                sum.iter_mut().zip(&row).for_each(|(s, x)| *s += f64::from(*x));
            }
            sum
        })
        .collect();
    (0..width).map(|c| (sums.iter().map(|s| s[c]).sum::<f64>() / count as f64) as f32).collect()
}

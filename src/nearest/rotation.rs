//! An orthogonal rotation that gathers most of what tells rows apart in the first few numbers.
//!
//! The rotation is A = G Q^T: the first columns of Q span (nearly) the principal subspace of a sample of
//! rows, and G mixes within that head and within the rest, so that numbers there are of one size and
//! int8 codes lose little. How good the subspace is decides about speed only; that A is
//! orthogonal does not depend on it, because Q is a product of Householder reflections.

use std::f64::consts::TAU;

use rayon::prelude::*;

use super::encode::ROUNDOFF;
use super::product::{Matrix, multiply};

/// Rounds of subspace iteration.
const ROUNDS: usize = 3;

/// A rotation of C numbers.
pub(super) struct Rotation {
    /// The C x C numbers, column by column.
    columns: Vec<f32>,
    width: usize,
    /// The computed product is within this, times the vector's norm, of the exact one: a sum of C
    /// products in any order errs by at most C u times the sum of their sizes (Higham, Accuracy and
    /// Stability, 3.5), and that sum is at most the 2-norm of |A| times the vector's norm.
    pub(super) error: f64,
    /// A distance grows by no more than this factor. The reflections are orthogonal to far less than 1e-9
    /// in double precision (Higham, 19.3); rounding to f32 moves A by at most u sqrt(C).
    pub(super) stretch: f64,
}

/// Orthonormal directions, the most important first.
pub(super) struct Directions {
    /// `count x width` numbers.
    pub(super) data: Vec<f32>,
    width: usize,
}

impl Directions {
    /// The `count` principal directions of `sample` (rows of `width` centred numbers), nearly.
    pub(super) fn principal(sample: &[f32], width: usize, count: usize) -> Directions {
        let mut spread = vec![0.0; width * width];
        // spread = sample^T sample.
        multiply(Matrix::by_columns(sample, width), Matrix::by_rows(sample, width), &mut spread);
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        };
        let mut data: Vec<f32> = (0..count * width).map(|_| noise()).collect();
        let mut next = vec![0.0; count * width];
        for _ in 0..ROUNDS {
            multiply(Matrix::by_columns(&spread, width), Matrix::by_columns(&data, width), &mut next);
            orthonormalise(&mut next, width);
            std::mem::swap(&mut data, &mut next);
        }
        Directions { data, width }
    }

    /// Coordinates of rows along all directions, `rows x count`.
    pub(super) fn coordinates(&self, rows: &[f32]) -> Vec<f32> {
        let (count, width) = (self.data.len() / self.width, self.width);
        let mut out = vec![0.0; rows.len() / width * count];
        multiply(Matrix::by_rows(&self.data, width), Matrix::by_columns(rows, width), &mut out);
        out
    }
}

impl Rotation {
    /// The rotation that brings the first `head` of `directions` to the front.
    pub(super) fn new(directions: &Directions, head: usize) -> Rotation {
        let width = directions.width;
        let reflections = reflections(&directions.data[..head * width], width);
        let rows: Vec<Vec<f64>> = (0..width)
            .into_par_iter()
            .map(|r| {
                let mut row = vec![0.0; width];
                let (first, count) = if r < head { (0, head) } else { (head, width - head) };
                for (j, x) in row[first..first + count].iter_mut().enumerate() {
                    // The Hartley transform: orthogonal, and no number much larger than another.
                    let angle = TAU * (((r - first) * j) % count) as f64 / count as f64;
                    *x = (angle.cos() + angle.sin()) / (count as f64).sqrt();
                }
                for reflection in reflections.iter().rev() {
                    reflect(reflection, &mut row);
                }
                row
            })
            .collect();
        let mut columns = vec![0.0; width * width];
        let (mut row_sums, mut column_sums) = (vec![0.0f64; width], vec![0.0f64; width]);
        for (r, row) in rows.iter().enumerate() {
            for (c, x) in row.iter().enumerate() {
                columns[c * width + r] = *x as f32;
                row_sums[r] += x.abs();
                column_sums[c] += x.abs();
            }
        }
        let most = |sums: Vec<f64>| sums.into_iter().fold(0.0, f64::max);
        // The 2-norm is at most the geometric mean of the 1-norm and the maximum norm.
        let size = (most(row_sums) * most(column_sums)).sqrt();
        Rotation {
            columns,
            width,
            error: 1.01 * width as f64 * ROUNDOFF * size,
            stretch: 1.0 + 1.01 * ROUNDOFF * (width as f64).sqrt() + 1e-9,
        }
    }

    /// Rotates rows; `out` is as long as `rows`.
    pub(super) fn apply(&self, rows: &[f32], out: &mut [f32]) {
        let width = self.width;
        multiply(Matrix::by_columns(&self.columns, width), Matrix::by_columns(rows, width), out);
    }
}

/// Makes rows of `width` numbers orthonormal, from the first on (Gram-Schmidt).
fn orthonormalise(rows: &mut [f32], width: usize) {
    for r in 0..rows.len() / width {
        let (before, rest) = rows.split_at_mut(r * width);
        let row = &mut rest[..width];
        for other in before.chunks_exact(width) {
            let along = dot(row, other);
            row.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
        }
        let norm = dot(row, row).sqrt();
        // A row that vanished counts for nothing; its place is filled by the reflections.
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0f32; 16];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

/// The unit vectors of Householder reflections whose product has first columns that span `rows`.
fn reflections(rows: &[f32], width: usize) -> Vec<Vec<f64>> {
    let mut found: Vec<Vec<f64>> = Vec::new();
    for (r, row) in rows.chunks_exact(width).enumerate() {
        let mut v: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        for reflection in &found {
            reflect(reflection, &mut v);
        }
        v[..r].fill(0.0);
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v[r] += norm.copysign(v[r]);
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm > 0.0 {
            v.iter_mut().for_each(|x| *x /= norm);
        }
        found.push(v);
    }
    found
}

/// `row - 2 (v . row) v`
fn reflect(v: &[f64], row: &mut [f64]) {
    let ((a, rest_a), (b, rest_b)) = (v.as_chunks::<8>(), row.as_chunks::<8>());
    let mut sums = [0.0f64; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f64>();
    let twice = 2.0 * (sums.iter().sum::<f64>() + rest);
    row.iter_mut().zip(v).for_each(|(x, v)| *x -= twice * v);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nearest::made_up::Noise;

    #[test]
    fn it_is_orthogonal_and_gathers_the_spread_in_front() {
        let (width, latent, rows) = (96, 5, 300);
        let mut noise = Noise::new(3);
        let basis = noise.many(latent * width, 1.0, 0.0);
        let mut sample = Vec::new();
        for _ in 0..rows {
            let weights = noise.many(latent, 1.0, 0.0);
            sample.extend((0..width).map(|c| {
                (0..latent).map(|l| weights[l] * basis[l * width + c]).sum::<f32>() + 0.01 * noise.number()
            }));
        }
        let rotation = Rotation::new(&Directions::principal(&sample, width, 32), 32);
        let column = |c: usize| &rotation.columns[c * width..][..width];
        for a in 0..width {
            for b in 0..width {
                let product: f64 =
                    column(a).iter().zip(column(b)).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
                let expected = f64::from(u8::from(a == b));
                assert!((product - expected).abs() < 2.0 * (rotation.stretch - 1.0), "{a}, {b}: {product}");
            }
        }
        let mut turned = vec![0.0; sample.len()];
        rotation.apply(&sample, &mut turned);
        let energy = |x: &[f32]| x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        for (row, turned) in sample.chunks(width).zip(turned.chunks(width)) {
            let (before, after) = (energy(row).sqrt(), energy(turned).sqrt());
            assert!((before - after).abs() <= (rotation.error + rotation.stretch - 1.0) * before);
            assert!(energy(&turned[32..]) < 1e-2 * energy(turned), "the tail holds too much");
        }
    }
}

//! Means and covariances of many vectors in double precision. Sums are made in the order of the vectors,
//! whatever the threads.

use std::collections::BTreeMap;

use nalgebra::DMatrix;
use rayon::prelude::*;

/// Rows of the covariance that one task computes.
const TILE: usize = 32;

/// Sums over vectors of C numbers: first of them ([`Moments::add`]), then of their deviations' products
/// ([`Moments::scatter`]).
pub(super) struct Moments {
    width: usize,
    /// By class; one class if there are none.
    sums: BTreeMap<u16, (u64, Vec<f64>)>,
    /// The scatter matrix in tiles of [`TILE`] rows.
    tiles: Vec<DMatrix<f64>>,
}

impl Moments {
    /// Of no vectors yet.
    pub(super) fn new(width: usize) -> Moments {
        Moments { width, sums: BTreeMap::new(), tiles: Vec::new() }
    }

    /// Adds vectors to the means; `classes` are at least as many, or none.
    pub(super) fn add(&mut self, vectors: &[f32], classes: &[u16]) {
        for (i, vector) in vectors.chunks_exact(self.width).enumerate() {
            let class = classes.get(i).copied().unwrap_or(0);
            let (count, sums) = self.sums.entry(class).or_insert_with(|| (0, vec![0.0; self.width]));
            *count += 1;
            sums.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x));
        }
    }

    /// Vectors that the means are of.
    fn count(&self) -> u64 {
        self.sums.values().map(|class| class.0).sum()
    }

    /// The mean of all vectors.
    pub(super) fn mean(&self) -> Vec<f64> {
        let count = self.count().max(1) as f64;
        (0..self.width).map(|c| self.sums.values().map(|class| class.1[c]).sum::<f64>() / count).collect()
    }

    /// Adds the products of the deviations of vectors from the mean of their class. The means are complete.
    pub(super) fn scatter(&mut self, vectors: &[f32], classes: &[u16]) {
        let (width, count) = (self.width, vectors.len() / self.width);
        let mut deviations = DMatrix::<f64>::zeros(width, count);
        for (i, vector) in vectors.chunks_exact(width).enumerate() {
            let class = classes.get(i).copied().unwrap_or(0);
            let Some((members, sums)) = self.sums.get(&class) else { continue };
            for ((out, x), sum) in deviations.column_mut(i).iter_mut().zip(vector).zip(sums) {
                *out = f64::from(*x) - sum / *members as f64;
            }
        }
        let transposed = deviations.transpose();
        if self.tiles.is_empty() {
            let rows = |first: usize| TILE.min(width - first);
            self.tiles = (0..width).step_by(TILE).map(|first| DMatrix::zeros(rows(first), width)).collect();
        }
        self.tiles.par_iter_mut().enumerate().for_each(|(number, tile)| {
            let rows = deviations.rows(number * TILE, tile.nrows());
            tile.gemm(1.0, &rows, &transposed, 1.0);
        });
    }

    /// The covariance, `C x C`: the scattered products divided by the number of vectors.
    pub(super) fn covariance(&self) -> DMatrix<f64> {
        let count = self.count().max(1) as f64;
        let tile = |r: usize, c: usize| self.tiles.get(r / TILE).map_or(0.0, |tile| tile[(r % TILE, c)]);
        // Products of the same numbers in another order: the mean of both is symmetric.
        DMatrix::from_fn(self.width, self.width, |r, c| (tile(r, c) + tile(c, r)) / (2.0 * count))
    }
}

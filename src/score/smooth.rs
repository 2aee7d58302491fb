//! Gaussian smoothing of a score map, cell by cell.

use crate::grid::Grid;

/// Smooths maps; keeps its buffers from frame to frame.
#[derive(Debug, Clone)]
pub struct Smoother {
    /// Weights at 0, 1, ... cells away.
    weights: Vec<f32>,
    rows: Vec<f32>,
    shares: Vec<f32>,
}

impl Smoother {
    /// A Gaussian of `sigma` cells, cut off at 3 sigma; `None` for one that changes nothing.
    pub fn new(sigma: f32) -> Option<Smoother> {
        if !(sigma.is_finite() && sigma > 0.0) {
            return None;
        }
        let reach = (3.0 * sigma).ceil() as usize;
        let weights = (0..=reach).map(|x| (-0.5 * (x as f32 / sigma).powi(2)).exp()).collect();
        Some(Smoother { weights, rows: Vec::new(), shares: Vec::new() })
    }

    /// Smooths `cells` in place. Cells that are not finite stay as they are and do not count for the others; at the
    /// edges, only cells within the map count.
    pub fn apply(&mut self, grid: Grid, cells: &mut [f32]) {
        let Grid { rows, cols } = grid;
        if cells.len() != grid.len() || cells.is_empty() {
            return;
        }
        // Sums along the rows of what is finite, and of the weights.
        self.rows.clear();
        self.shares.clear();
        for row in cells.chunks_exact(cols) {
            for col in 0..cols {
                let (mut sum, mut share) = (0.0, 0.0);
                for (other, score) in within(row, col, self.weights.len() - 1) {
                    if score.is_finite() {
                        let weight = self.weights[other.abs_diff(col)];
                        sum += weight * score;
                        share += weight;
                    }
                }
                self.rows.push(sum);
                self.shares.push(share);
            }
        }
        let reach = self.weights.len() - 1;
        for row in 0..rows {
            let near = row.saturating_sub(reach)..rows.min(row + reach + 1);
            for (col, cell) in cells[row * cols..(row + 1) * cols].iter_mut().enumerate() {
                if !cell.is_finite() {
                    continue;
                }
                let (mut sum, mut share) = (0.0, 0.0);
                for other in near.clone() {
                    let weight = self.weights[other.abs_diff(row)];
                    sum += weight * self.rows[other * cols + col];
                    share += weight * self.shares[other * cols + col];
                }
                *cell = sum / share;
            }
        }
    }
}

/// The numbers of `row` at most `reach` from `at`, with their places.
fn within(row: &[f32], at: usize, reach: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
    let (first, end) = (at.saturating_sub(reach), row.len().min(at + reach + 1));
    (first..end).zip(row[first..end].iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_two_dimensional_definition() {
        let grid = Grid { rows: 7, cols: 9 };
        let mut cells: Vec<f32> = (0..grid.len()).map(|i| ((i * 7919) % 31) as f32).collect();
        (cells[12], cells[40]) = (f32::INFINITY, f32::NAN);
        for sigma in [0.4, 1.0, 2.5] {
            let mut got = cells.clone();
            Smoother::new(sigma).unwrap().apply(grid, &mut got);
            let reach = (3.0 * sigma).ceil() as i32;
            for (i, got) in got.iter().enumerate() {
                if !cells[i].is_finite() {
                    assert!(got.to_bits() == cells[i].to_bits());
                    continue;
                }
                let (mut sum, mut share) = (0.0f64, 0.0f64);
                for (j, cell) in cells.iter().enumerate().filter(|(_, cell)| cell.is_finite()) {
                    let dy = (j / 9) as i32 - (i / 9) as i32;
                    let dx = (j % 9) as i32 - (i % 9) as i32;
                    if dx.abs() <= reach && dy.abs() <= reach {
                        let weight = (-0.5 * f64::from(dx * dx + dy * dy) / f64::from(sigma).powi(2)).exp();
                        sum += weight * f64::from(*cell);
                        share += weight;
                    }
                }
                assert!((f64::from(*got) - sum / share).abs() < 1e-3, "{sigma}: cell {i}");
            }
        }
    }

    #[test]
    fn a_plain_map_stays_and_no_sigma_is_no_smoothing() {
        let grid = Grid { rows: 3, cols: 4 };
        let mut cells = vec![2.5; 12];
        Smoother::new(1.5).unwrap().apply(grid, &mut cells);
        assert!(cells.iter().all(|s| (s - 2.5).abs() < 1e-6));
        for sigma in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Smoother::new(sigma).is_none());
        }
        Smoother::new(1.0).unwrap().apply(Grid::default(), &mut []);
    }
}

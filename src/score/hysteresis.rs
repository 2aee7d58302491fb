//! Regions as far as they reach: what is nearly as strange as a peak and joined to it is taken for as strange.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::grid::Grid;

/// Lifts maps; keeps its buffers from frame to frame.
///
/// A cell becomes min(s + h, the highest score that can be reached from it without passing a cell below that score by
/// more than h): reconstruction by dilation of the map s under s + h (Vincent, "Morphological grayscale reconstruction
/// in image analysis", 1993). So that for any threshold t what is above t afterwards is what two thresholds give, t for
/// seeds and t - h for extent, joined over the 8 neighbours (Canny's hysteresis).
#[derive(Debug, Clone)]
pub struct Hysteresis {
    height: f32,
    highest: BinaryHeap<Lifted>,
    before: Vec<f32>,
}

/// A cell and what it was lifted to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Lifted {
    score: f32,
    cell: usize,
}

impl Eq for Lifted {}

impl Ord for Lifted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.cell.cmp(&other.cell))
    }
}

impl PartialOrd for Lifted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hysteresis {
    /// Of this height in units of the score; `None` for one that changes nothing.
    pub fn new(height: f32) -> Option<Hysteresis> {
        let any = height.is_finite() && height > 0.0;
        any.then(|| Hysteresis { height, highest: BinaryHeap::new(), before: Vec::new() })
    }

    /// Lifts `cells` in place. Cells that are not finite stay as they are and lift no others.
    pub fn apply(&mut self, grid: Grid, cells: &mut [f32]) {
        let Grid { rows, cols } = grid;
        if cells.len() != grid.len() || cells.is_empty() {
            return;
        }
        self.before.clear();
        self.before.extend_from_slice(cells);
        self.highest.clear();
        let finite = cells.iter().enumerate().filter(|(_, score)| score.is_finite());
        self.highest.extend(finite.map(|(cell, score)| Lifted { score: *score, cell }));
        // From the highest down: what a cell has when its turn comes is final.
        while let Some(Lifted { score, cell }) = self.highest.pop() {
            if score < cells[cell] {
                continue;
            }
            let (row, col) = (cell / cols, cell % cols);
            for r in row.saturating_sub(1)..rows.min(row + 2) {
                for c in col.saturating_sub(1)..cols.min(col + 2) {
                    let near = r * cols + c;
                    let lifted = score.min(self.before[near] + self.height);
                    if cells[near].is_finite() && lifted > cells[near] {
                        cells[near] = lifted;
                        self.highest.push(Lifted { score: lifted, cell: near });
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is above `low` and joined to something above `high`, by a flood from there.
    fn flood(grid: Grid, scores: &[f32], low: f32, high: f32) -> Vec<bool> {
        let mut inside: Vec<bool> = scores.iter().map(|s| s.is_finite() && *s > high).collect();
        let mut stack: Vec<usize> = (0..scores.len()).filter(|i| inside[*i]).collect();
        while let Some(at) = stack.pop() {
            let (row, col) = (at / grid.cols, at % grid.cols);
            for r in row.saturating_sub(1)..(row + 2).min(grid.rows) {
                for c in col.saturating_sub(1)..(col + 2).min(grid.cols) {
                    let near = r * grid.cols + c;
                    if !inside[near] && scores[near].is_finite() && scores[near] > low {
                        inside[near] = true;
                        stack.push(near);
                    }
                }
            }
        }
        inside
    }

    #[test]
    fn every_threshold_gives_what_two_thresholds_give() {
        let grid = Grid { rows: 13, cols: 17 };
        let mut state = 7u64;
        let mut scores: Vec<f32> = (0..grid.len())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 40) % 1000) as f32 / 100.0
            })
            .collect();
        (scores[20], scores[21]) = (f32::INFINITY, f32::NEG_INFINITY);
        for height in [0.5, 2.0, 7.0] {
            let mut lifted = scores.clone();
            Hysteresis::new(height).unwrap().apply(grid, &mut lifted);
            assert_eq!((lifted[20], lifted[21]), (f32::INFINITY, f32::NEG_INFINITY));
            for tenth in 1..20 {
                // Between the scores, which have two places: no rounding decides.
                let high = tenth as f32 / 2.0 + 0.005;
                let want = flood(grid, &scores, high - height, high);
                for (i, (got, want)) in lifted.iter().zip(want).enumerate() {
                    assert!(!got.is_finite() || (*got > high) == want, "{height}, {high}: cell {i} {got}");
                }
            }
        }
    }

    #[test]
    fn a_height_of_nothing_is_none() {
        for height in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(Hysteresis::new(height).is_none());
        }
        Hysteresis::new(1.0).unwrap().apply(Grid::default(), &mut []);
    }
}

//! What a held-out frame keeps of its logits: samples and alarm levels of every parametric score, and the map of
//! the one that fused scores are made of.

use crate::grid::{Grid, Logits};
use crate::score::Parametric;

/// Scores that are kept per frame for the statistics; a frame's alarm level is that of all.
const SCORES_PER_FRAME: usize = 4096;
/// Cells of the map that is kept, at most: a finer one is averaged over squares of cells.
const CELLS_OF_MAP: usize = 1 << 16;

/// The parametric scores of one frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Uncertainty {
    /// Of each method in turn: evenly picked scores and the alarm level of all.
    pub(super) methods: Vec<(Vec<f32>, Option<f32>)>,
    /// Cells of the partner's map.
    pub(super) grid: Grid,
    /// The partner's scores; NaN where they are void or cannot be judged. Empty if it is none of the methods.
    pub(super) map: Vec<f32>,
}

impl Uncertainty {
    /// The scores of `logits` by `methods`. `void` marks patches whose label is void; `level` tells the alarm level
    /// of a map.
    pub(super) fn of(
        logits: &Logits,
        (void, patches): (&[bool], Grid),
        methods: &[Parametric],
        partner: Parametric,
        level: &mut dyn FnMut(Grid, &[f32]) -> Option<f32>,
    ) -> Uncertainty {
        let (mut all, mut kept) = (Vec::new(), Uncertainty::none());
        for method in methods {
            method.scores(logits, &mut all);
            blank_void(&mut all, logits.grid, void, patches);
            let level = level(logits.grid, &all);
            if *method == partner {
                (kept.grid, kept.map) = coarser(logits.grid, &all);
            }
            kept.methods.push((picked(&all), level));
        }
        kept
    }

    /// Of no method.
    pub(super) fn none() -> Uncertainty {
        Uncertainty { methods: Vec::new(), grid: Grid::default(), map: Vec::new() }
    }
}

/// Makes the scores of cells whose patch is void NaN.
pub(super) fn blank_void(scores: &mut [f32], cells: Grid, void: &[bool], patches: Grid) {
    if void.is_empty() {
        return;
    }
    let Grid { rows, cols } = cells;
    for (i, score) in scores.iter_mut().enumerate() {
        let (row, col) = (i / cols, i % cols);
        let (r, c) = ((2 * row + 1) * patches.rows / (2 * rows), (2 * col + 1) * patches.cols / (2 * cols));
        if void.get(r * patches.cols + c).is_some_and(|v| *v) {
            *score = f32::NAN;
        }
    }
}

/// Evenly picked scores of those that are finite.
pub(super) fn picked(scores: &[f32]) -> Vec<f32> {
    let finite: Vec<f32> = scores.iter().copied().filter(|score| score.is_finite()).collect();
    let step = finite.len().div_ceil(SCORES_PER_FRAME).max(1);
    finite.into_iter().step_by(step).collect()
}

/// The map with at most [`CELLS_OF_MAP`] cells: means over squares, of what is finite; else NaN.
fn coarser(grid: Grid, scores: &[f32]) -> (Grid, Vec<f32>) {
    let side = (1..).find(|side| grid.rows.div_ceil(*side) * grid.cols.div_ceil(*side) <= CELLS_OF_MAP);
    let side = side.unwrap_or(1);
    let coarse = Grid { rows: grid.rows.div_ceil(side), cols: grid.cols.div_ceil(side) };
    let mean = |cell: usize| {
        let (row, col) = (cell / coarse.cols * side, cell % coarse.cols * side);
        let (mut sum, mut count) = (0.0, 0);
        for row in row..grid.rows.min(row + side) {
            for score in &scores[row * grid.cols..][col..grid.cols.min(col + side)] {
                if score.is_finite() {
                    sum += score;
                    count += 1;
                }
            }
        }
        if count > 0 { sum / count as f32 } else { f32::NAN }
    };
    (coarse, (0..coarse.len()).map(mean).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fine_map_is_averaged_until_it_is_small_enough() {
        let grid = Grid { rows: 301, cols: 403 };
        let mut scores: Vec<f32> = (0..grid.len()).map(|i| (i % 403) as f32).collect();
        scores[2] = f32::INFINITY;
        (scores[0], scores[1], scores[403], scores[404]) = (f32::NAN, f32::NAN, f32::NAN, f32::NAN);
        let (coarse, map) = coarser(grid, &scores);
        assert_eq!(coarse, Grid { rows: 151, cols: 202 });
        assert!(map[0].is_nan());
        assert_eq!(map[1], (3.0 + 2.0 + 3.0) / 3.0);
        assert_eq!((map[202 + 5], map[150 * 202 + 201]), (10.5, 402.0));
        let small = Grid { rows: 2, cols: 2 };
        assert_eq!(coarser(small, &[1.0, 2.0, 3.0, 4.0]), (small, vec![1.0, 2.0, 3.0, 4.0]));
        assert_eq!(picked(&scores).len(), (301 * 403 - 5_usize).div_ceil(30));
    }
}

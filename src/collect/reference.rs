//! How far reference features lie from each other: the scale of the distances in cDNP.

use std::sync::Arc;

use super::build::Progress;
use crate::bank::{Bank, DistanceScale, References};
use crate::grid::{Distances, Features, Grid};
use crate::nearest::{CpuSearch, Nearest};

/// Features that are compared with each other.
const FEATURES: usize = 30_000;
/// Features searched at once.
const QUERIES: usize = 2048;

/// The largest mean distance of a feature to its `k` nearest others among [`FEATURES`] of `bank` (of a smaller one,
/// all), as its recipe transforms them. The rows of a bank are ordered by their sampling hash: its first rows are drawn
/// at random from the features of all reference images. `None` if there are too few, and of a bank that searches
/// parts one by one: what it makes of their distances is no distance.
///
/// # Errors
/// If the search fails; `progress` is told.
pub(super) fn distance_scale(
    bank: &Arc<Bank>,
    k: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> anyhow::Result<Option<DistanceScale>> {
    let rows = bank.rows().min(FEATURES);
    if bank.recipe().combine.searches_apart() || rows < k + 1 || k == 0 {
        return Ok(None);
    }
    let among = References::from(bank).some(0..rows);
    let (mut features, mut distances) = (Features::default(), Distances::default());
    features.width = among.width();
    // One neighbour more: the nearest of all is the feature itself, 0 away.
    let mut engine = CpuSearch::new(k + 1, threads, among.clone())?;
    let mut largest = 0.0f32;
    for first in (0..rows).step_by(QUERIES) {
        progress.compared(first, rows);
        features.grid = Grid { rows: 1, cols: QUERIES.min(rows - first) };
        features.data.resize(features.grid.len() * features.width, 0.0);
        among.features().copy_to(first * features.width, &mut features.data);
        engine.distances(&features, &mut distances)?;
        largest = distances.data.iter().copied().fold(largest, f32::max);
    }
    progress.compared(rows, rows);
    Ok(Some(DistanceScale { largest: largest * ((k + 1) as f32 / k as f32), k, features: rows }))
}

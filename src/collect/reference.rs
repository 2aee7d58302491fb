//! How far reference features lie from each other: the scale of the distances in cDNP.

use std::sync::Arc;

use super::build::Progress;
use super::prune::subset;
use crate::bank::{Bank, DistanceScale};
use crate::grid::{Distances, Features, Grid};
use crate::nearest::{CpuSearch, Nearest};

/// Features that are compared with each other.
const FEATURES: usize = 30_000;
/// Features searched at once.
const QUERIES: usize = 2048;

/// The largest mean distance of a feature to its `k` nearest others among [`FEATURES`] of `bank` (of a smaller one,
/// all). The rows of a bank are ordered by their sampling hash: its first rows are drawn at random from the features
/// of all reference images. `None` if there are too few.
///
/// # Errors
/// If the search fails; `progress` is told.
pub(super) fn distance_scale(
    bank: &Bank,
    k: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> anyhow::Result<Option<DistanceScale>> {
    let rows = bank.rows().min(FEATURES);
    if rows < k + 1 || k == 0 {
        return Ok(None);
    }
    let kept: Vec<usize> = (0..rows).collect();
    // One neighbour more: the nearest of all is the feature itself, 0 away.
    let among = Arc::new(Bank::from_contents(subset(bank, &kept).0, k + 1)?);
    let mut engine = CpuSearch::new(k + 1, threads, &among)?;
    let (mut features, mut distances) = (Features::default(), Distances::default());
    features.width = bank.width();
    let mut largest = 0.0f32;
    for first in (0..rows).step_by(QUERIES) {
        progress.compared(first, rows);
        features.grid = Grid { rows: 1, cols: QUERIES.min(rows - first) };
        features.data.resize(features.grid.len() * features.width, 0.0);
        bank.features().copy_to(first * features.width, &mut features.data);
        engine.distances(&features, &mut distances)?;
        largest = distances.data.iter().copied().fold(largest, f32::max);
    }
    progress.compared(rows, rows);
    Ok(Some(DistanceScale { largest: largest * ((k + 1) as f32 / k as f32), k, features: rows }))
}

//! How far reference features lie from each other: the scale of the distances in cDNP.

use std::sync::Arc;

use super::progress::Progress;
use crate::bank::{Bank, Combine, DistanceScale, OutlierUse, Recipe};
use crate::grid::{Distances, Features, Grid};
use crate::nearest::{self, Device, SearchConfig};

/// Features that are compared with each other.
const FEATURES: usize = 30_000;
/// Features searched at once.
const QUERIES: usize = 2048;

/// The largest mean distance of a feature to its `k` nearest others among [`FEATURES`] of `bank` (of a smaller one,
/// all), in the units of its distances. The rows of a bank are ordered by their sampling hash: its first rows are
/// drawn at random from the features of all reference images. `None` if there are too few, or if distances are
/// z-scores or differences, which have no 0 to measure a scale from.
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
    if rows < k + 1 || k == 0 || has_no_zero(bank.recipe()) {
        return Ok(None);
    }
    let kept: Vec<usize> = (0..rows).collect();
    // One neighbour more: the nearest of all is the feature itself, 0 away.
    let among = Arc::new(Bank::from_contents(bank.subset(&kept).0, k + 1)?);
    let search = SearchConfig { k: k + 1, threads, device: Device::Cpu, ..SearchConfig::default() };
    let mut engine = nearest::open(&search, &among)?.engine;
    let mut tables: Vec<Features> =
        bank.tables().iter().map(|width| Features { width: *width, ..Features::default() }).collect();
    let mut distances = Distances::default();
    let mut largest = 0.0f32;
    for first in (0..rows).step_by(QUERIES) {
        progress.compared(first, rows);
        let classes = among.classes().get(first..).unwrap_or_default();
        for (number, table) in tables.iter_mut().enumerate() {
            table.grid = Grid { rows: 1, cols: QUERIES.min(rows - first) };
            table.data.resize(table.grid.len() * table.width, 0.0);
            bank.table(number).copy_to(first * table.width, &mut table.data);
        }
        engine.distances_of_rows(&tables, classes, &mut distances)?;
        largest = distances.data.iter().copied().fold(largest, f32::max);
    }
    progress.compared(rows, rows);
    Ok(Some(DistanceScale { largest: largest * ((k + 1) as f32 / k as f32), k, features: rows }))
}

fn has_no_zero(recipe: &Recipe) -> bool {
    recipe.combine == Combine::Max || matches!(recipe.outliers, OutlierUse::Difference(_))
}

//! The search: how far each patch of a frame lies from the reference features.

use crate::grid::{Distances, Features};

/// A nearest-neighbour engine that holds a bank and searches it exactly.
pub trait Nearest: Send {
    /// Name of the backend, e.g. `cpu-gemm`, and what it runs on.
    fn name(&self) -> String;

    /// Mean L2 distance (unsquared) of every patch to its k nearest reference features.
    /// `out` is overwritten and takes the grid of `features`.
    ///
    /// A patch with a NaN or infinite number has distance `f32::INFINITY`.
    ///
    /// # Errors
    /// If the features are not as wide as the bank's, or the device fails.
    fn distances(&mut self, features: &Features, out: &mut Distances) -> anyhow::Result<()>;

    /// The k nearest of each patch: reference rows and distances, nearest first,
    /// `features.grid.len() x k` each.
    ///
    /// # Errors
    /// As [`Nearest::distances`].
    fn neighbours(
        &mut self,
        features: &Features,
        rows: &mut Vec<u32>,
        distances: &mut Vec<f32>,
    ) -> anyhow::Result<()>;
}

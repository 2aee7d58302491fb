//! What is done to a score map of a single frame after its cells were scored.

use super::{Hysteresis, MapRecipe, Smoother};
use crate::grid::Grid;

/// Smooths a map and lifts what hangs together, as a [`MapRecipe`] says; keeps its buffers from frame to frame.
#[derive(Debug, Clone, Default)]
pub struct Finish {
    smoother: Option<Smoother>,
    hysteresis: Option<Hysteresis>,
}

impl Finish {
    /// What `recipe` asks for.
    pub fn of(recipe: &MapRecipe) -> Finish {
        Finish { smoother: Smoother::new(recipe.smooth), hysteresis: Hysteresis::new(recipe.hysteresis) }
    }

    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        self.smoother.is_none() && self.hysteresis.is_none()
    }

    /// Changes `cells` in place. Those that are not finite stay.
    pub fn apply(&mut self, grid: Grid, cells: &mut [f32]) {
        if let Some(smoother) = &mut self.smoother {
            smoother.apply(grid, cells);
        }
        if let Some(hysteresis) = &mut self.hysteresis {
            hysteresis.apply(grid, cells);
        }
    }
}

//! What is normal for each part of a bank: its distances on the held-out frames.

use std::sync::Arc;

use super::calibrate::HeldOut;
use super::measured::Normal;
use crate::bank::{Bank, Baseline};
use crate::grid::{Distances, Features};
use crate::nearest::{self, Device, SearchConfig};

/// What is normal for a bank.
pub(super) struct Baselines {
    /// Of the distances of each part.
    pub(super) parts: Vec<Baseline>,
    /// Of the discriminant, if the recipe has one.
    pub(super) discriminant: Option<Baseline>,
}

/// Mean and deviation of the distances of each part of `bank` and of its discriminant, over the patches of `held_out` that
/// are neither void nor faulty; `None` if there are none.
///
/// # Errors
/// If the search fails.
pub(super) fn baselines(
    held_out: &HeldOut,
    bank: &Arc<Bank>,
    k: usize,
    threads: usize,
) -> anyhow::Result<Option<Baselines>> {
    let search = SearchConfig { k, threads, device: Device::Cpu, ..SearchConfig::default() };
    let mut engine = nearest::open(&search, bank)?.engine;
    let (mut features, mut distances) = (Features::default(), Distances::default());
    let mut parts = vec![Normal::default(); bank.tables().len()];
    let mut discriminant = bank.recipe().discriminant.map(|_| Normal::default());
    for frame in held_out.frames() {
        frame.seen.load(bank.width(), &mut features);
        engine.distances_by_class(&features, &frame.seen.classes, &mut distances)?;
        for (part, normal) in engine.parts().iter().zip(&mut parts) {
            normal.add(part, &frame.seen.valid);
        }
        if let (Some(normal), Some(linear)) = (&mut discriminant, engine.linear()) {
            normal.add(linear, &frame.seen.valid);
        }
    }
    Ok((!parts.iter().any(Normal::is_empty)).then(|| Baselines {
        parts: parts.iter().map(Normal::baseline).collect(),
        discriminant: discriminant.as_ref().map(Normal::baseline),
    }))
}

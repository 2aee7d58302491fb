//! What is normal for each part of a bank: its distances on the held-out frames.

use std::sync::Arc;

use half::slice::HalfFloatSliceExt;

use super::calibrate::HeldOut;
use crate::bank::{Bank, Baseline};
use crate::grid::{Distances, Features};
use crate::nearest::{self, Device, SearchConfig};

/// Mean and deviation of the distances of each part of `bank`, over the patches of `held_out` that are neither void
/// nor faulty; `None` if there are none.
///
/// # Errors
/// If the search fails.
pub(super) fn baselines(
    held_out: &HeldOut,
    bank: &Arc<Bank>,
    k: usize,
    threads: usize,
) -> anyhow::Result<Option<Vec<Baseline>>> {
    let search = SearchConfig { k, threads, device: Device::Cpu, ..SearchConfig::default() };
    let mut engine = nearest::open(&search, bank)?.engine;
    let (mut features, mut distances) = (Features::default(), Distances::default());
    // Count, sum and sum of squares: distances are all of one size, so double precision is enough.
    let mut sums = vec![(0.0f64, 0.0f64, 0.0f64); bank.tables().len()];
    for frame in held_out.frames() {
        (features.grid, features.width) = (frame.grid, bank.width());
        features.data.resize(frame.features.len(), 0.0);
        frame.features.convert_to_f32_slice(&mut features.data);
        engine.distances_by_class(&features, &frame.classes, &mut distances)?;
        for (part, (count, sum, squares)) in engine.parts().iter().zip(&mut sums) {
            let sound = part.data.iter().zip(&frame.valid).filter(|(d, valid)| **valid && d.is_finite());
            for d in sound.map(|(d, _)| f64::from(*d)) {
                *count += 1.0;
                *sum += d;
                *squares += d * d;
            }
        }
    }
    if sums.iter().any(|(count, ..)| *count == 0.0) {
        return Ok(None);
    }
    let baseline = |(count, sum, squares): (f64, f64, f64)| {
        let mean = sum / count;
        // Where all distances are equal nothing can be told by them; any positive number will do.
        let deviation = (squares / count - mean * mean).max(0.0).sqrt().max(1e-6 * mean.abs().max(1e-30));
        Baseline { mean, deviation }
    };
    Ok(Some(sums.into_iter().map(baseline).collect()))
}

//! One distance of those of several parts.

use crate::bank::{Baseline, Combine};
use crate::grid::Distances;

/// One distance of those of the parts.
pub(super) fn combine(how: Combine, parts: &[Distances], baselines: &[Baseline], out: &mut Vec<f32>) {
    out.clear();
    out.resize(parts.first().map_or(0, |part| part.data.len()), 0.0);
    for (number, (part, normal)) in parts.iter().zip(baselines).enumerate() {
        for (sum, d) in out.iter_mut().zip(part.data.iter()) {
            *sum = match how == Combine::Max {
                true => {
                    let z = ((f64::from(*d) - normal.mean) / normal.deviation) as f32;
                    if number == 0 { z } else { sum.max(z) }
                }
                false => *sum + (f64::from(*d) / normal.deviation) as f32,
            };
        }
    }
}

//! One distance of those of several parts.

use crate::bank::{Baseline, Combine};
use crate::grid::Distances;

/// One distance of those of the parts, for each patch.
pub(super) fn combine(how: Combine, parts: &[Distances], baselines: &[Baseline], out: &mut Vec<f32>) {
    out.clear();
    out.resize(parts.first().map_or(0, |part| part.data.len()), 0.0);
    for (number, (part, normal)) in parts.iter().zip(baselines).enumerate() {
        let pairs = out.iter_mut().zip(part.data.iter());
        pairs.for_each(|(so_far, d)| *so_far = with(how, (number, *so_far), *d, normal));
    }
}

/// The same of one patch.
pub(super) fn combine_one(how: Combine, parts: &[f32], baselines: &[Baseline]) -> f32 {
    let all = parts.iter().zip(baselines).enumerate();
    all.fold(0.0, |so_far, (number, (d, normal))| with(how, (number, so_far), *d, normal))
}

/// What came of the parts before part `number`, with this part's distance.
fn with(how: Combine, (number, so_far): (usize, f32), d: f32, normal: &Baseline) -> f32 {
    match how == Combine::Max {
        true => {
            let z = ((f64::from(d) - normal.mean) / normal.deviation) as f32;
            if number == 0 { z } else { so_far.max(z) }
        }
        false => so_far + (f64::from(d) / normal.deviation) as f32,
    }
}

//! What rounding features to 16-bit floats does to distances, measured on a few of them.

use std::collections::BTreeMap;

use half::f16;

use super::sample::PatchKey;
use crate::bank::DataType;

/// Features that are compared with each other.
const SAMPLE: usize = 512;
/// A mean change of distances that is worth a warning.
const LARGE: f64 = 0.01;

/// A uniform sample of the features as the model gives them: those with the smallest keys.
#[derive(Debug, Default)]
pub(super) struct Rounding {
    kept: BTreeMap<PatchKey, Vec<f32>>,
}

impl Rounding {
    /// Takes a feature of finite numbers.
    pub(super) fn offer(&mut self, key: PatchKey, feature: &[f32]) {
        let full = self.kept.len() >= SAMPLE;
        if full && self.kept.last_key_value().is_some_and(|(last, _)| key >= *last) {
            return;
        }
        self.kept.insert(key, feature.to_vec());
        if self.kept.len() > SAMPLE {
            self.kept.pop_last();
        }
    }

    /// By what share the distance to the nearest other feature changes on average if those that are searched are rounded;
    /// `None` if there are no two different features.
    fn change(&self) -> Option<f64> {
        let rounded: Vec<Vec<f32>> = self
            .kept
            .values()
            .map(|feature| feature.iter().map(|&x| f16::from_f32(x).to_f32()).collect())
            .collect();
        let (mut sum, mut count) = (0.0, 0_u32);
        for (at, feature) in self.kept.values().enumerate() {
            let others = self.kept.values().zip(&rounded).enumerate().filter(|(other, _)| *other != at);
            let (exact, coarse) =
                others.fold((f64::MAX, f64::MAX), |(exact, coarse), (_, (other, rounded))| {
                    (exact.min(distance(feature, other)), coarse.min(distance(feature, rounded)))
                });
            // Copies of one picture lie at distance 0.
            if exact > 0.0 && exact < f64::MAX {
                sum += (coarse - exact).abs() / exact;
                count += 1;
            }
        }
        (count > 0).then(|| sum / f64::from(count))
    }

    /// What to say of a bank of this number format, if rounding matters.
    pub(super) fn warning(&self, data_type: DataType) -> Option<String> {
        let percent = 100.0 * self.change().filter(|change| *change > LARGE)?;
        Some(match data_type {
            DataType::F16 => format!(
                "the precision of 16-bit floats (f16) is too low for these features: distances change by {percent:.1} % on average; build with --dtype f32"
            ),
            DataType::F32 => format!(
                "held-out frames are kept as 16-bit floats (f16), which changes distances of these features by {percent:.1} % on average: do not trust the automatic threshold, give score.threshold as a number"
            ),
        })
    }
}

/// L2 distance, unsquared.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(number: impl Fn(usize, usize) -> f32) -> Option<String> {
        let mut rounding = Rounding::default();
        for n in 0..700 {
            let feature: Vec<f32> = (0..8).map(|channel| number(n, channel)).collect();
            rounding.offer(PatchKey::new(7, &[0; 32], n as u32, 0), &feature);
        }
        assert_eq!(rounding.kept.len(), SAMPLE);
        rounding.warning(DataType::F16)
    }

    #[test]
    fn features_that_16_bits_cannot_tell_apart_are_warned_of() {
        let wave =
            |n: usize, channel: usize| (n as f32 * 0.37 + channel as f32 * 1.7).sin() + n as f32 * 1e-3;
        assert_eq!(warning(wave), None);
        let offset = |n, channel| wave(n, channel) + if channel == 3 { 10_000.0 } else { 0.0 };
        assert!(warning(offset).unwrap().contains("--dtype f32"));
        assert!(warning(|n, channel| 1e-8 * wave(n, channel)).is_some(), "all become 0");
        assert_eq!(warning(|_, _| 1.0), None, "nothing to tell apart");
    }
}

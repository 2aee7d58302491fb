//! Distances relative to those of their own frame: what a change of light, camera or weather adds to all of them
//! is taken off.

use serde::{Deserialize, Serialize};

/// What is taken off the distances of a frame before they are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalise {
    /// Nothing.
    #[default]
    Off,
    /// Their median.
    Median,
    /// Their median, and the rest is divided by their spread: 1.4826 times the median absolute deviation, which is
    /// the standard deviation of normally distributed numbers.
    Spread,
}

/// Of the standard deviation of normally distributed numbers to their median absolute deviation.
const TO_DEVIATION: f32 = 1.4826;

impl Normalise {
    /// Its name in configuration and banks.
    pub fn name(self) -> &'static str {
        match self {
            Normalise::Off => "off",
            Normalise::Median => "median",
            Normalise::Spread => "spread",
        }
    }

    /// Normalises the finite ones of `distances` in place, by their own statistics. Distances that are all but
    /// equal are not divided.
    pub fn apply(self, distances: &mut [f32], spare: &mut Vec<f32>) {
        if self == Normalise::Off {
            return;
        }
        spare.clear();
        spare.extend(distances.iter().filter(|d| d.is_finite()));
        let Some(middle) = median(spare) else { return };
        let mut unit = 1.0;
        if self == Normalise::Spread {
            spare.iter_mut().for_each(|d| *d = (*d - middle).abs());
            let spread = TO_DEVIATION * median(spare).unwrap_or(0.0);
            if spread > f32::EPSILON * middle.abs() {
                unit = spread;
            }
        }
        distances.iter_mut().filter(|d| d.is_finite()).for_each(|d| *d = (*d - middle) / unit);
    }
}

/// The middle one, of an even number the lower; `None` without any. Reorders.
fn median(numbers: &mut [f32]) -> Option<f32> {
    let middle = numbers.len().checked_sub(1)? / 2;
    Some(*numbers.select_nth_unstable_by(middle, f32::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(how: Normalise, distances: &[f32]) -> Vec<f32> {
        let mut out = distances.to_vec();
        how.apply(&mut out, &mut Vec::new());
        out
    }

    #[test]
    fn what_all_have_in_common_is_taken_off() {
        let distances = [4.0, 1.0, 9.0, 2.0, 3.0];
        assert_eq!(normalised(Normalise::Off, &distances), distances);
        assert_eq!(normalised(Normalise::Median, &distances), [1.0, -2.0, 6.0, -1.0, 0.0]);
        // Deviations 1 2 6 1 0: their median is 1.
        let spread = normalised(Normalise::Spread, &distances);
        assert!(spread.iter().zip([1.0, -2.0, 6.0, -1.0, 0.0]).all(|(a, b)| (a - b / 1.4826).abs() < 1e-6));
        // A frame twice as far and shifted says the same.
        let shifted: Vec<f32> = distances.iter().map(|d| 2.0 * d + 5.0).collect();
        assert_eq!(normalised(Normalise::Spread, &shifted), spread);
    }

    #[test]
    fn what_cannot_be_judged_neither_counts_nor_changes() {
        let inf = f32::INFINITY;
        let out = normalised(Normalise::Spread, &[inf, 2.0, f32::NAN, 2.0, 2.0]);
        assert!(out[0] == inf && out[2].is_nan());
        assert_eq!([out[1], out[3], out[4]], [0.0; 3]);
        assert_eq!(normalised(Normalise::Median, &[inf, inf]), [inf, inf]);
        assert!(normalised(Normalise::Median, &[]).is_empty());
    }
}

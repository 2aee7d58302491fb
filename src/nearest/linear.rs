//! A bank's discriminant, added to the distances of a frame.

use rayon::prelude::*;

use super::image_mean;
use super::product::product;
use crate::bank::{Bank, Baseline, Discriminant};
use crate::grid::{Distances, Features};

/// The discriminant of a bank, ready for frames; keeps its buffers.
pub(super) struct Linear {
    /// A number for each of the model's.
    direction: Vec<f32>,
    how: Discriminant,
    centred: bool,
    mean: Vec<f32>,
    last: Distances,
}

impl Linear {
    /// That of `bank`, if its recipe has one.
    pub(super) fn of(bank: &Bank) -> Option<Linear> {
        let recipe = bank.recipe();
        recipe.discriminant.map(|how| Linear {
            direction: bank.direction().to_vec(),
            how,
            centred: recipe.centres_images(),
            mean: Vec::new(),
            last: Distances::default(),
        })
    }

    /// Adds what the discriminant gives for each patch to its score in `out`. `features` are those of the model, `mean` is
    /// that of their picture, where it is not their own. What is not finite gives infinity. Runs on the current rayon pool.
    pub(super) fn add(&mut self, features: &Features, mean: Option<&[f32]>, out: &mut [f32]) {
        let Linear { direction, how, centred, mean: own, last } = self;
        let offset = if *centred {
            let mean = match mean {
                Some(mean) => mean,
                None => {
                    image_mean(&features.data, direction.len(), own);
                    own
                }
            };
            product(direction, mean)
        } else {
            0.0
        };
        last.grid = features.grid;
        last.data.resize(out.len(), 0.0);
        last.data.par_iter_mut().zip(features.data.par_chunks_exact(direction.len())).for_each(
            |(score, feature)| {
                let raw = product(direction, feature) - offset;
                *score = if raw.is_finite() { raw } else { f32::INFINITY };
            },
        );
        let Baseline { mean, deviation } = how.baseline.unwrap_or(Baseline::UNKNOWN);
        for (score, raw) in out.iter_mut().zip(last.data.iter()) {
            *score += how.of((f64::from(*raw) - mean) / deviation) as f32;
        }
    }

    /// What it said of the patches of the last frame, before mean and deviation.
    pub(super) fn last(&self) -> &Distances {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::pool::Pooled;

    #[test]
    fn it_adds_what_lies_along_the_direction() {
        let how =
            Discriminant { weight: 2.0, ridge: 1.0, baseline: Some(Baseline { mean: 1.0, deviation: 4.0 }) };
        let linear = |centred| Linear {
            direction: vec![1.0, -2.0, 0.5],
            how,
            centred,
            mean: Vec::new(),
            last: Distances::default(),
        };
        let data = vec![3.0, 1.0, 2.0, 0.0, 0.0, 0.0, f32::NAN, 1.0, 1.0, -3.0, 5.0, 4.0];
        let features = Features {
            grid: Grid { rows: 2, cols: 2 },
            width: 3,
            data: Pooled::unpooled(data),
            ..Features::default()
        };
        let mut out = [10.0, f32::INFINITY, 0.0, 1.0];
        let mut plain = linear(false);
        plain.add(&features, None, &mut out);
        assert_eq!(plain.last().data[..], [2.0, 0.0, f32::INFINITY, -11.0]);
        // Z-scores of 0.25, -0.25, infinity and -3: not one that is above 1.
        assert_eq!(out, [10.0, f32::INFINITY, f32::INFINITY, 1.0]);
        let mut near = Linear {
            how: Discriminant { baseline: Some(Baseline { mean: 1.0, deviation: 0.25 }), ..how },
            ..linear(false)
        };
        let mut out = [10.0, 1.0, 0.0, 1.0];
        near.add(&features, None, &mut out);
        // A z-score of 4, less 1, twice.
        assert_eq!(out, [16.0, 1.0, f32::INFINITY, 1.0]);
        // The mean of the picture, of its sound patches: (0, 2, 2), which gives -3; or another one.
        let mut centred = linear(true);
        centred.add(&features, None, &mut [0.0; 4]);
        assert_eq!(centred.last().data[..2], [5.0, 3.0]);
        centred.add(&features, Some(&[2.0, 0.0, 0.0]), &mut [0.0; 4]);
        assert_eq!(centred.last().data[..2], [0.0, -2.0]);
    }
}

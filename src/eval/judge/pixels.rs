//! One image: its truth, and each method's scores brought to the truth's size.

use anyhow::{Context, Result};

use super::Case;
use crate::eval::metrics::Counts;
use crate::eval::truth::Truth;
use crate::grid::{PixelScores, ScoreMap};
use crate::score::Upsampler;

/// An image, ready to be judged.
pub struct Image {
    /// Its name in the data set.
    pub name: String,
    /// What its pixels show.
    pub truth: Truth,
    /// Per method, the scores of its pixels.
    pub maps: Vec<PixelScores>,
}

impl Image {
    /// Reads truth and maps of image number `index`.
    ///
    /// # Errors
    /// What cannot be read, with the image's name.
    pub fn read(case: &Case<'_>, index: usize) -> Result<Image> {
        let sample = &case.dataset.samples[index];
        let path = sample.truth.as_ref().with_context(|| format!("{} has no mask", sample.name))?;
        let truth = Truth::read(path, &case.dataset.values)?;
        let mut upsampler = Upsampler::new();
        let maps = (case.load)(index)?
            .iter()
            .map(|map| at_size(&mut upsampler, map, truth.width, truth.height))
            .collect();
        Ok(Image { name: sample.name.clone(), truth, maps })
    }

    /// Per method, the scores of its pixels by class.
    ///
    /// # Errors
    /// A score that is not finite, with the image's name.
    pub fn counts(&self) -> Result<Vec<Counts>> {
        let count = |map: &PixelScores| Counts::of(&map.data, &self.truth.labels);
        self.maps.iter().map(|map| count(map).with_context(|| self.name.clone())).collect()
    }
}

/// A score map interpolated as the daemon does it.
pub fn at_size(upsampler: &mut Upsampler, map: &ScoreMap, width: usize, height: usize) -> PixelScores {
    let mut scores = PixelScores::default();
    upsampler.step(map, width, height, &mut scores);
    scores
}

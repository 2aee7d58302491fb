//! One image: its truth, and each method's scores brought to the truth's size.

use anyhow::{Context, Result};

use super::Case;
use crate::eval::metrics::Counts;
use crate::eval::truth::Truth;
use crate::grid::{PixelScores, ScoreMap};
use crate::score::Upsampler;

/// An image, ready to be judged.
pub struct Judged {
    /// Its name in the data set.
    pub name: String,
    /// What its pixels show.
    pub truth: Truth,
    /// Per method, the scores of its pixels by class.
    pub counts: Vec<Counts>,
    /// Per method, the scores of its pixels; empty unless they are kept.
    pub maps: Vec<PixelScores>,
}

/// Reads truth and maps of image number `index` and counts; keeps the pixels' scores if `keep`.
///
/// # Errors
/// What cannot be read or counted, with the image's name.
pub fn judge_image(case: &Case<'_>, index: usize, keep: bool) -> Result<Judged> {
    let sample = &case.dataset.samples[index];
    let path = sample.truth.as_ref().with_context(|| format!("{} has no mask", sample.name))?;
    let truth = Truth::read(path, &case.dataset.values)?;
    let cells = (case.load)(index)?;
    let mut image = Judged { name: sample.name.clone(), truth, counts: Vec::new(), maps: Vec::new() };
    let mut upsampler = Upsampler::new();
    for map in &cells {
        let scores = at_size(&mut upsampler, map, image.truth.width, image.truth.height);
        let counts = Counts::of(&scores.data, &image.truth.labels).with_context(|| sample.name.clone())?;
        image.counts.push(counts);
        if keep {
            image.maps.push(scores);
        }
    }
    Ok(image)
}

/// A score map interpolated as the daemon does it.
pub fn at_size(upsampler: &mut Upsampler, map: &ScoreMap, width: usize, height: usize) -> PixelScores {
    let mut scores = PixelScores::default();
    upsampler.step(map, width, height, &mut scores);
    scores
}

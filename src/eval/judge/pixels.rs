//! One image: its truth, and each method's scores brought to the truth's size.

use std::path::Path;

use anyhow::{Context, Result};

use super::Case;
use crate::eval::metrics::Counts;
use crate::eval::truth::Truth;
use crate::frame::Frame;
use crate::grid::{PixelScores, ScoreMap};
use crate::luma::Luma;
use crate::pool::Pool;
use crate::score::Enlarger;
use crate::source::images;

/// An image, ready to be judged.
pub struct Image {
    /// Its name in the data set.
    pub name: String,
    /// What its pixels show.
    pub truth: Truth,
    /// Per method, the scores of its pixels.
    pub maps: Vec<PixelScores>,
}

/// Truth and maps of image number `index`, what is not judged being void; the map of the road by itself.
///
/// # Errors
/// What cannot be read, with the image's name.
pub fn read(case: &Case<'_>, index: usize) -> Result<(Truth, Vec<ScoreMap>, Option<ScoreMap>)> {
    let sample = &case.dataset.samples[index];
    let path = sample.truth.as_ref().with_context(|| format!("{} has no mask", sample.name))?;
    let mut truth = Truth::read(path, &case.dataset.values)?;
    let mut maps = (case.load)(index)?;
    let road = maps.drain(case.settings.methods.len().min(maps.len())..).next();
    let applied = case.restriction.apply(&mut truth, sample, road.as_ref());
    applied.with_context(|| sample.name.clone())?;
    Ok((truth, maps, road))
}

impl Image {
    /// Reads truth and maps of image number `index`.
    ///
    /// # Errors
    /// What cannot be read, with the image's name.
    pub fn read(case: &Case<'_>, index: usize) -> Result<Image> {
        let sample = &case.dataset.samples[index];
        let (truth, maps, _) = read(case, index)?;
        let mut enlarger = Enlarger::new(&case.settings.config.score);
        let luma = match enlarger.needs_luma() {
            true => luma(&sample.image, &Pool::new())?,
            false => Luma::default(),
        };
        let maps =
            maps.iter().map(|map| at_size(&mut enlarger, map, &luma, (truth.width, truth.height))).collect();
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

/// A score map enlarged as the daemon does it.
pub fn at_size(enlarger: &mut Enlarger, map: &ScoreMap, luma: &Luma, size: (usize, usize)) -> PixelScores {
    let mut scores = PixelScores::default();
    enlarger.step(map, luma, size, &mut scores);
    scores
}

/// The brightness of the picture at `path`.
///
/// # Errors
/// If it cannot be read.
pub fn luma(path: &Path, pool: &Pool<Vec<u8>>) -> Result<Luma> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let frame: Frame = images::decode(&bytes, pool)
        .map_err(|why| anyhow::anyhow!("cannot read {}: {why}", path.display()))?;
    let mut luma = Luma::default();
    luma.take(&frame);
    Ok(luma)
}

//! From all that was gathered to a bank or a shard, the same way after a build and after a merge.

use std::sync::Arc;

use super::baseline::baselines;
use super::calibrate::HeldOut;
use super::error::BuildError;
use super::fit::fitted;
use super::part::{Built, Part, Terms};
use super::progress::Progress;
use super::reference::distance_scale;
use super::sample::{Sample, Sampler};
use crate::bank::{Bank, BankContents, BuildRecord, Extras, FORMAT, Metadata, OutlierRows};
use crate::identity::ModelIdentity;

/// What was gathered.
pub(super) struct Gathered {
    pub(super) sampler: Sampler,
    pub(super) held_out: HeldOut,
    pub(super) record: BuildRecord,
    pub(super) model: ModelIdentity,
    pub(super) terms: Terms,
    /// Known outliers, as they come from the model.
    pub(super) outliers: Option<OutlierRows>,
}

impl Gathered {
    /// A shard: features and held-out frames as they are, nothing measured.
    pub(super) fn shard(mut self) -> Built {
        self.record.classes = self.terms.classes;
        let frames = self.held_out.frames().cloned().collect();
        let (mut contents, videos) = contents(self.sampler.finish(true), self.record, self.model);
        contents.extras.outliers = self.outliers;
        Built { contents, part: Some(Part { terms: self.terms, videos, frames }) }
    }

    /// A calibrated bank, with its held-out frames if `keep_held_out`.
    pub(super) fn bank(
        mut self,
        threads: usize,
        keep_held_out: bool,
        progress: &mut dyn Progress,
    ) -> Result<Built, BuildError> {
        self.record.classes = self.terms.classes;
        let (r, k) = (&self.record, self.terms.k);
        if self.sampler.len() < k.max(1) {
            let why = format!(
                "{} frames gave {} patches, {} of them void, {} not finite; {} frames were held out; {} features are too few for k = {k}",
                r.frames,
                r.patches,
                r.void_patches,
                r.faulty_patches,
                r.held_out_frames,
                self.sampler.len(),
            );
            return Err(BuildError::Empty { why });
        }
        if r.faulty_patches > 0 {
            progress.warn(&format!(
                "{} of {} patches had NaN or infinite features and were left out",
                r.faulty_patches, r.patches
            ));
        }
        let frames = keep_held_out.then(|| self.held_out.frames().cloned().collect());
        self.held_out.without_images(|image| self.sampler.holds(image));
        let (mut contents, videos) = contents(self.sampler.finish(keep_held_out), self.record, self.model);
        contents.extras.outliers = self.outliers;
        let pool =
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| failed(e.into()))?;
        let contents = pool.install(|| fitted(contents, &self.terms.recipe))?;
        let contents = based(contents, &mut self.held_out, k, threads, progress)?;
        let contents = scaled(contents, k, threads, progress)?;
        let contents = calibrated(contents, &mut self.held_out, k, threads, &self.terms.split, progress)?;
        if contents.metadata.calibration.is_none() {
            progress.warn("no frame could be held out: the bank has no calibration, and the threshold must be given as a number");
        }
        Ok(Built { contents, part: frames.map(|frames| Part { terms: self.terms, videos, frames }) })
    }
}

fn contents(sample: Sample, build: BuildRecord, model: ModelIdentity) -> (BankContents, Vec<u32>) {
    let Sample { features, origins, sources, videos, classes, means, thumbnails } = sample;
    let farout = env!("CARGO_PKG_VERSION").to_owned();
    let metadata =
        Metadata { format: FORMAT, farout, model, build, recipe: None, calibration: None, sources };
    let extras = Extras { classes, means, thumbnails, ..Extras::default() };
    (BankContents { features, origins, metadata, extras }, videos)
}

fn failed(source: anyhow::Error) -> BuildError {
    BuildError::Frame { name: "calibration".to_owned(), source }
}

/// `contents` with the scale of its distances, where fused scores can be made of them.
pub(super) fn scaled(
    contents: BankContents,
    k: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<BankContents, BuildError> {
    if contents.metadata.build.reference.is_none() {
        return Ok(contents);
    }
    let (mut contents, scale) = lent(contents, k, |bank| distance_scale(bank, k, threads, progress))?;
    if let Some(reference) = &mut contents.metadata.build.reference {
        reference.distance = scale;
    }
    Ok(contents)
}

/// `contents` with what is normal for each part, if parts are searched one by one.
pub(super) fn based(
    mut contents: BankContents,
    held_out: &mut HeldOut,
    k: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<BankContents, BuildError> {
    if !contents.metadata.recipe().combine.searches_apart() {
        return Ok(contents);
    }
    let (back, found) = lent(contents, k, |bank| baselines(held_out, bank, k, threads))?;
    contents = back;
    if found.is_none() {
        progress.warn("no frame could be held out: the distances of the parts are combined as they are");
    }
    if let Some(recipe) = &mut contents.metadata.recipe {
        for (number, part) in recipe.parts.iter_mut().enumerate() {
            part.baseline = found.as_ref().and_then(|found| found.parts.get(number)).copied();
        }
        if let Some(discriminant) = &mut recipe.discriminant {
            discriminant.baseline = found.as_ref().and_then(|found| found.discriminant);
        }
    }
    Ok(contents)
}

/// `contents` with the calibration that `held_out` gives.
pub(super) fn calibrated(
    contents: BankContents,
    held_out: &mut HeldOut,
    k: usize,
    threads: usize,
    split: &str,
    progress: &mut dyn Progress,
) -> Result<BankContents, BuildError> {
    let mut told = |done, of| progress.calibrated(done, of);
    let measured = |bank: &Arc<Bank>| held_out.calibrate(bank, k, threads, split.to_owned(), &mut told);
    let (mut contents, calibration) = lent(contents, k, measured)?;
    contents.metadata.calibration = calibration;
    Ok(contents)
}

/// Lets `work` have `contents` as a bank and takes them back: the search wants to own its bank, and a copy would
/// double the memory.
fn lent<T>(
    contents: BankContents,
    k: usize,
    work: impl FnOnce(&Arc<Bank>) -> anyhow::Result<T>,
) -> Result<(BankContents, T), BuildError> {
    let bank = Arc::new(Bank::from_contents(contents, k).map_err(|e| failed(e.into()))?);
    let done = work(&bank).map_err(failed)?;
    let back = Arc::into_inner(bank).and_then(Bank::into_contents);
    let contents = back.ok_or_else(|| failed(anyhow::anyhow!("the search still holds the bank")))?;
    Ok((contents, done))
}

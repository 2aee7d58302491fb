//! From all that was gathered to a bank or a shard, the same way after a build and after a merge.

use std::sync::Arc;

use super::build::Progress;
use super::calibrate::HeldOut;
use super::error::BuildError;
use super::part::{Built, Part, Terms};
use super::reference::distance_scale;
use super::sample::{Sample, Sampler};
use crate::bank::{Bank, BankContents, BuildRecord, FORMAT, Metadata};
use crate::identity::ModelIdentity;

/// What was gathered.
pub(super) struct Gathered {
    pub(super) sampler: Sampler,
    pub(super) held_out: HeldOut,
    pub(super) record: BuildRecord,
    pub(super) model: ModelIdentity,
    pub(super) terms: Terms,
}

impl Gathered {
    /// A shard: features and held-out frames as they are, nothing measured.
    pub(super) fn shard(self) -> Built {
        let frames = self.held_out.frames().cloned().collect();
        let (contents, videos) = contents(self.sampler.finish(true), self.record, self.model);
        Built { contents, part: Some(Part { terms: self.terms, videos, frames }) }
    }

    /// A calibrated bank, with its held-out frames if `keep_held_out`.
    pub(super) fn bank(
        mut self,
        threads: usize,
        keep_held_out: bool,
        progress: &mut dyn Progress,
    ) -> Result<Built, BuildError> {
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
        let (contents, videos) = contents(self.sampler.finish(keep_held_out), self.record, self.model);
        let contents = scaled(contents, k, threads, progress)?;
        let contents = calibrated(contents, &mut self.held_out, k, threads, &self.terms.split, progress)?;
        if contents.metadata.calibration.is_none() {
            progress.warn("no frame could be held out: the bank has no calibration, and the threshold must be given as a number");
        }
        Ok(Built { contents, part: frames.map(|frames| Part { terms: self.terms, videos, frames }) })
    }
}

fn contents(sample: Sample, build: BuildRecord, model: ModelIdentity) -> (BankContents, Vec<u32>) {
    let Sample { features, origins, sources, videos } = sample;
    let farout = env!("CARGO_PKG_VERSION").to_owned();
    let metadata = Metadata { format: FORMAT, farout, model, build, calibration: None, sources };
    (BankContents { features, origins, metadata }, videos)
}

/// `contents` with the scale of its distances, where fused scores can be made of them.
fn scaled(
    contents: BankContents,
    k: usize,
    threads: usize,
    progress: &mut dyn Progress,
) -> Result<BankContents, BuildError> {
    if contents.metadata.build.reference.is_none() {
        return Ok(contents);
    }
    let failed = |source: anyhow::Error| BuildError::Frame { name: "reference distances".to_owned(), source };
    let bank = Bank::from_contents(contents, k).map_err(|e| failed(e.into()))?;
    let scale = distance_scale(&bank, k, threads, progress).map_err(failed)?;
    let back = bank.into_contents();
    let mut contents = back.ok_or_else(|| failed(anyhow::anyhow!("the bank does not lie in memory")))?;
    if let Some(reference) = &mut contents.metadata.build.reference {
        reference.distance = scale;
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
    let failed = |source: anyhow::Error| BuildError::Frame { name: "calibration".to_owned(), source };
    // The search wants to own its bank; a copy would double the memory, so it is lent and taken back.
    let bank = Arc::new(Bank::from_contents(contents, k).map_err(|e| failed(e.into()))?);
    let mut told = |done, of| progress.calibrated(done, of);
    let calibration = held_out.calibrate(&bank, k, threads, split.to_owned(), &mut told).map_err(failed)?;
    let back = Arc::into_inner(bank).and_then(Bank::into_contents);
    let mut contents = back.ok_or_else(|| failed(anyhow::anyhow!("the search still holds the bank")))?;
    contents.metadata.calibration = calibration;
    Ok(contents)
}

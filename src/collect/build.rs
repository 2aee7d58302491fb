//! `farout bank build`: every frame once, through features into the sample or the held-out part.

use std::sync::Arc;

use super::calibrate::HeldOut;
use super::config::BuildConfig;
use super::digest::{Digest, frame_digest, sha256_of_file};
use super::error::BuildError;
use super::inputs::{Input, InputKind};
use super::labels::LabelMask;
use super::sample::{PatchKey, Sampler};
use super::split::{Place, Side, Split};
use crate::bank::{Bank, BankContents, BuildRecord, DataType, FORMAT, Metadata};
use crate::frame::Frame;
use crate::grid::{Features, Logits};
use crate::identity::ModelIdentity;
use crate::source::{Source, SourceError};
use crate::stop::Stop;

/// What makes features of frames.
pub trait Extract {
    /// Fills `out` and, if the model has them, `logits` from one frame.
    ///
    /// # Errors
    /// If the model fails.
    fn extract(
        &mut self,
        frame: &Frame,
        out: &mut Features,
        logits: Option<&mut Logits>,
    ) -> anyhow::Result<()>;

    /// The model.
    fn identity(&self) -> ModelIdentity;

    /// Whether it gives logits.
    fn has_logits(&self) -> bool;
}

/// Told how far a build is; all methods may be ignored.
pub trait Progress {
    /// So many frames will be looked at, if files keep what they promise.
    fn begin(&mut self, _frames: u64) {}
    /// So many frames were passed.
    fn frames(&mut self, _done: u64) {}
    /// So many of all held-out frames were measured.
    fn calibrated(&mut self, _done: usize, _of: usize) {}
    /// Something that does not end the build.
    fn warn(&mut self, _message: &str) {}
}

impl Progress for () {}

/// Opens an input as a stream of its frames.
pub type Open<'a> = dyn FnMut(&Input) -> anyhow::Result<Box<dyn Source>> + 'a;

/// Builds a bank of `inputs`. Memory is bounded by the sample and the held-out frames, whatever the
/// number of images; the result depends on the set of files, the model and `config` only.
///
/// # Errors
/// [`BuildError`] at the first file that cannot be used. A video that is cut off counts up to its
/// last good frame, with a warning.
pub fn build(
    inputs: &[Input],
    config: &BuildConfig,
    open: &mut Open,
    extractor: &mut dyn Extract,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<BankContents, BuildError> {
    let model = extractor.identity();
    let (places, frames) = places(inputs, config, open, stop)?;
    progress.begin(frames);
    let split =
        Split::new(config.seed, config.held_out_share, config.held_out_block, config.held_out_guard, &places);
    drop(places);
    let record = BuildRecord {
        seed: config.seed,
        size: config.size,
        labels: inputs.iter().any(|i| i.label.is_some()),
        void: config.void.clone(),
        video_step: config.video_step.max(1),
        ..BuildRecord::default()
    };
    let mut pass = Pass {
        config,
        split,
        sampler: Sampler::new(config.size, model.width, config.data_type),
        held_out: HeldOut::new(config.seed, config.held_out_frames, config.min_region_px),
        record,
        features: Features::default(),
        logits: extractor.has_logits().then(Logits::default),
        void: Vec::new(),
    };
    let mut done = 0;
    for input in inputs {
        let file = sha256_of_file(&input.path)
            .map_err(|source| BuildError::File { path: input.path.clone(), source })?;
        let mask = input.label.as_deref().map(LabelMask::read).transpose()?;
        let mut source =
            open(input).map_err(|source| BuildError::Frame { name: input.name.clone(), source })?;
        let mut number = 0;
        loop {
            if stop.asked() {
                return Err(BuildError::Stopped);
            }
            let frame = match source.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(cut @ SourceError::CutOff { .. }) => {
                    progress.warn(&cut.to_string());
                    break;
                }
                Err(other) => return Err(other.into()),
            };
            if input.kind == InputKind::Still || number % config.video_step.max(1) == 0 {
                pass.frame(&frame, input, &file, number, mask.as_ref(), extractor)?;
                done += 1;
                progress.frames(done);
            }
            number += 1;
        }
        if stop.asked() {
            return Err(BuildError::Stopped);
        }
    }
    pass.finish(model, progress)
}

/// The places of all frames, and how many will be looked at.
fn places(
    inputs: &[Input],
    config: &BuildConfig,
    open: &mut Open,
    stop: &Stop,
) -> Result<(Vec<Place>, u64), BuildError> {
    let (mut places, mut total) = (Vec::new(), 0);
    let step = u64::from(config.video_step.max(1));
    for input in inputs {
        if input.kind == InputKind::Still {
            places.push(Place::of_still(&input.name));
            total += 1;
            continue;
        }
        let failed = |source| BuildError::Frame { name: input.name.clone(), source };
        let mut source = open(input).map_err(failed)?;
        let frames = match source.frames() {
            Some(frames) => frames,
            None => count(source.as_mut(), stop)?,
        };
        total += frames.div_ceil(step);
        let known = (0..frames.max(1)).step_by(step as usize);
        places.extend(known.map(|number| Place { series: input.name.clone(), number }));
    }
    Ok((places, total))
}

/// Decodes a video to its end; decoding costs little beside what the features will.
fn count(source: &mut dyn Source, stop: &Stop) -> Result<u64, BuildError> {
    let mut frames = 0;
    loop {
        match source.next() {
            _ if stop.asked() => return Err(BuildError::Stopped),
            Ok(Some(_)) => frames += 1,
            Ok(None) | Err(SourceError::CutOff { .. }) => return Ok(frames),
            Err(other) => return Err(other.into()),
        }
    }
}

/// One pass over all frames.
struct Pass<'a> {
    config: &'a BuildConfig,
    split: Split,
    sampler: Sampler,
    held_out: HeldOut,
    record: BuildRecord,
    features: Features,
    logits: Option<Logits>,
    void: Vec<bool>,
}

impl Pass<'_> {
    fn frame(
        &mut self,
        frame: &Frame,
        input: &Input,
        file: &Digest,
        number: u32,
        mask: Option<&LabelMask>,
        extractor: &mut dyn Extract,
    ) -> Result<(), BuildError> {
        let (image, place) = match input.kind {
            InputKind::Still => (*file, Place::of_still(&input.name)),
            InputKind::Video => {
                let place = Place { series: input.name.clone(), number: u64::from(number) };
                (frame_digest(file, u64::from(number)), place)
            }
        };
        let side = self.split.side(&place);
        match side {
            Side::Guard => self.record.guard_frames += 1,
            Side::HeldOut => self.record.held_out_frames += 1,
            Side::Bank => self.record.frames += 1,
        }
        if side == Side::Guard || (side == Side::HeldOut && !self.held_out.wants(&image)) {
            return Ok(());
        }
        let extracted = extractor.extract(frame, &mut self.features, self.logits.as_mut());
        extracted.map_err(|source| BuildError::Frame { name: input.name.clone(), source })?;
        self.void.clear();
        if let Some(mask) = mask {
            mask.void_patches(self.features.grid, &self.config.void, &mut self.void);
        }
        if side == Side::HeldOut {
            let block = self.split.block(&place);
            self.held_out.keep(&image, block, &self.features, self.logits.as_ref(), &self.void);
            return Ok(());
        }
        self.offer(&image, file, &input.name, number)
    }

    /// Offers every patch that is neither void nor faulty to the sample.
    fn offer(&mut self, image: &Digest, file: &Digest, name: &str, number: u32) -> Result<(), BuildError> {
        let cols = self.features.grid.cols.max(1);
        for (i, feature) in self.features.data.chunks_exact(self.features.width.max(1)).enumerate() {
            self.record.patches += 1;
            if self.void.get(i).is_some_and(|void| *void) {
                self.record.void_patches += 1;
                continue;
            }
            if !feature.iter().all(|x| x.is_finite()) {
                self.record.faulty_patches += 1;
                continue;
            }
            // 65520 is the first number that rounds to infinity.
            let largest = feature.iter().fold(0.0, |m: f32, x| m.max(x.abs()));
            if self.config.data_type == DataType::F16 && largest >= 65520.0 {
                return Err(BuildError::Overflow { name: name.to_owned(), largest });
            }
            let key = PatchKey::new(self.config.seed, image, (i / cols) as u32, (i % cols) as u32);
            self.sampler.offer(key, file, name, number, feature);
        }
        Ok(())
    }

    fn finish(
        mut self,
        model: ModelIdentity,
        progress: &mut dyn Progress,
    ) -> Result<BankContents, BuildError> {
        let r = &self.record;
        if self.sampler.len() < self.config.k.max(1) {
            let why = format!(
                "{} frames gave {} patches, {} of them void, {} not finite; {} frames were held out; {} features are too few for k = {}",
                r.frames,
                r.patches,
                r.void_patches,
                r.faulty_patches,
                r.held_out_frames,
                self.sampler.len(),
                self.config.k
            );
            return Err(BuildError::Empty { why });
        }
        if r.faulty_patches > 0 {
            progress.warn(&format!(
                "{} of {} patches had NaN or infinite features and were left out",
                r.faulty_patches, r.patches
            ));
        }
        self.held_out.without_images_of(&self.sampler);
        let (features, origins, sources) = self.sampler.finish();
        let farout = env!("CARGO_PKG_VERSION").to_owned();
        let metadata =
            Metadata { format: FORMAT, farout, model, build: self.record, calibration: None, sources };
        let mut contents = BankContents { features, origins, metadata };
        let failed = |source: anyhow::Error| BuildError::Frame { name: "calibration".to_owned(), source };
        // The search wants to own its bank; a copy would double the memory, so it is lent and taken back.
        let bank = Arc::new(Bank::from_contents(contents, self.config.k).map_err(|e| failed(e.into()))?);
        let mut told = |done, of| progress.calibrated(done, of);
        let calibration = self
            .held_out
            .calibrate(&bank, self.config.k, self.config.threads, self.split.describe(), &mut told)
            .map_err(failed)?;
        let back = Arc::into_inner(bank).and_then(Bank::into_contents);
        contents = back.ok_or_else(|| failed(anyhow::anyhow!("the search still holds the bank")))?;
        if calibration.is_none() {
            progress.warn("no frame could be held out: the bank has no calibration, and the threshold must be given as a number");
        }
        contents.metadata.calibration = calibration;
        Ok(contents)
    }
}

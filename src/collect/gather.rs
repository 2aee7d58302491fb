//! One pass over all frames, each once: through features into the sample or the held-out part.

use std::collections::BTreeSet;

use super::calibrate::HeldOut;
use super::complete::Gathered;
use super::config::BuildConfig;
use super::digest::frame_digest;
use super::error::BuildError;
use super::extract::Extract;
use super::inputs::{Input, InputKind, Open};
use super::labels::LabelMask;
use super::outliers::Outliers;
use super::part::{Built, Terms};
use super::plan::{Inputs, Planned, digest_of_names, listed, places_of};
use super::progress::Progress;
use super::rounding::Rounding;
use super::sample::{Offer, PatchKey, Sampler};
use super::split::{Place, Side, Split};
use super::thumbnail::thumbnail_of;
use super::uncertainty::blank_void;
use crate::bank::{BuildRecord, ClassSource, DataType, ShardNumber, Thumbnail};
use crate::digest::{Digest, sha256_of_file};
use crate::frame::Frame;
use crate::grid::{Features, Logits};
use crate::nearest::image_mean;
use crate::score::Parametric;
use crate::source::SourceError;
use crate::stop::Stop;

/// As [`super::build()`], of a configuration that is not looked at: known outliers are gathered for a recipe that they
/// cannot fulfil alone.
pub(super) fn gather(
    inputs: &[Input],
    known: Option<Outliers>,
    config: &BuildConfig,
    (open, extractor): (&mut Open, &mut dyn Extract),
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<Built, BuildError> {
    let model = extractor.identity();
    let mine = match config.plan {
        Some(_) => None,
        None => config.shard.map(|shard| share_of(inputs, shard)),
    };
    let is_mine = |input: &Input| mine.as_ref().is_none_or(|names| names.contains(input.name.as_str()));
    let (places, own) = places(inputs, &is_mine, config, open, stop)?;
    progress.begin(own.frames);
    let (split, names) = match &config.plan {
        Some(plan) => (plan.split().clone(), plan.inputs().to_owned()),
        None => (
            Split::new(config.split_keys(), &places),
            digest_of_names(inputs.iter().map(|input| input.name.as_str())),
        ),
    };
    drop(places);
    let parametric = match extractor.has_logits() {
        true => Parametric::of_kind(extractor.logits_kind()),
        false => Vec::new(),
    };
    let terms = Terms {
        shard: config.shard.unwrap_or(ShardNumber { number: 1, of: 1 }),
        inputs: names,
        k: config.k,
        held_out_frames: config.held_out_frames,
        min_region_px: config.min_region_px,
        parametric: parametric.clone(),
        maps: config.maps,
        split: split.describe(),
        recipe: config.recipe.clone(),
        classes: config.classes,
        views: config.views.clone(),
        planned: config.plan.as_ref().map(|plan| Planned { own, all: plan.of_all() }),
    };
    let record = BuildRecord {
        seed: config.seed,
        size: config.size,
        labels: inputs.iter().any(|i| i.label.is_some()),
        void: config.void.clone(),
        video_step: config.video_step.max(1),
        shard: config.shard,
        outliers: known.as_ref().map(|known| known.record.clone()),
        ..BuildRecord::default()
    };
    let mut pass = Pass {
        config,
        split,
        sampler: Sampler::new(config.size, model.width, config.data_type),
        held_out: HeldOut::new(config.seed, &terms),
        record,
        features: Features::default(),
        views: Vec::new(),
        logits: extractor.has_logits().then(Logits::default),
        void: Vec::new(),
        classes: Vec::new(),
        mean: Vec::new(),
        scores: Vec::new(),
        rounding: Rounding::default(),
        rgb: Vec::new(),
    };
    let mut done = 0;
    for input in inputs.iter().filter(|input| is_mine(input)) {
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
            if let (Some(mask), Some(path)) = (&mask, &input.label) {
                mask.must_fit(path, (frame.width, frame.height))?;
            }
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
    let Pass { sampler, held_out, record, rounding, .. } = pass;
    if let Some(warning) = rounding.warning(config.data_type) {
        progress.warn(&warning);
    }
    let outliers = known.map(|known| known.rows);
    let gathered = Gathered { sampler, held_out, record, model, terms, outliers };
    if config.shard.is_some() {
        return Ok(gathered.shard());
    }
    gathered.bank(config.threads, config.keep_held_out, progress)
}

/// The names of the inputs that `shard` looks at: names are dealt out in turn, so that it does not matter where
/// a machine has its data.
fn share_of(inputs: &[Input], shard: ShardNumber) -> BTreeSet<&str> {
    let names: BTreeSet<&str> = inputs.iter().map(|i| i.name.as_str()).collect();
    names.into_iter().enumerate().filter(|(i, _)| shard.has(*i)).map(|(_, name)| name).collect()
}

/// The places of all frames, and what inputs are mine.
fn places(
    inputs: &[Input],
    is_mine: &dyn Fn(&Input) -> bool,
    config: &BuildConfig,
    open: &mut Open,
    stop: &Stop,
) -> Result<(Vec<Place>, Inputs), BuildError> {
    let (mut places, mut own) = (Vec::new(), Inputs::default());
    for input in inputs {
        let before = places.len();
        places.extend(places_of(&listed(input, open, stop)?, config.video_step));
        if is_mine(input) {
            own.add(&input.name, (places.len() - before) as u64);
        }
    }
    Ok((places, own))
}

/// One pass over all frames.
struct Pass<'a> {
    config: &'a BuildConfig,
    split: Split,
    sampler: Sampler,
    held_out: HeldOut,
    record: BuildRecord,
    features: Features,
    /// Of views beside the whole picture.
    views: Vec<Features>,
    logits: Option<Logits>,
    void: Vec<bool>,
    classes: Vec<u16>,
    mean: Vec<f32>,
    /// Of one method and one frame.
    scores: Vec<f32>,
    rounding: Rounding,
    /// Of a frame whose thumbnail is made.
    rgb: Vec<u8>,
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
        if side == Side::HeldOut && !self.held_out.wants(&image) {
            self.held_out.also_in(&image, self.split.block(&place));
            return Ok(());
        }
        if side == Side::Guard {
            return Ok(());
        }
        let extracted = extractor.extract(frame, &mut self.features, self.logits.as_mut());
        extracted.map_err(|source| BuildError::Frame { name: input.name.clone(), source })?;
        self.void.clear();
        if let Some(mask) = mask {
            mask.void_patches(self.features.grid, &self.config.void, &mut self.void);
            if !self.config.only.is_empty() {
                mask.covered_patches(self.features.grid, &self.config.only, &mut self.void);
                self.void.iter_mut().for_each(|void| *void = !*void);
            }
        }
        match (self.config.classes, mask, &self.logits) {
            (Some(ClassSource::Labels), Some(mask), _) => {
                mask.patch_classes(self.features.grid, &mut self.classes)
            }
            (Some(ClassSource::Model), _, Some(logits)) => {
                logits.patch_classes(self.features.grid, &mut self.classes)
            }
            _ => self.classes.clear(),
        }
        if side == Side::HeldOut {
            let block = self.split.block(&place);
            if !self.config.views.is_empty() {
                let extracted = extractor.extract_views(frame, &mut self.views);
                extracted.map_err(|source| BuildError::Frame { name: input.name.clone(), source })?;
            }
            let views =
                self.held_out.through_views(&self.views, mask, &self.config.void, self.logits.as_ref());
            let shown = (&self.features, views, (frame.width, frame.height));
            self.held_out.keep(&image, block, shown, self.logits.as_ref(), &self.void);
            return Ok(());
        }
        self.note_ranges();
        let thumbnail = match self.config.thumbnails {
            false => None,
            true => Some(
                thumbnail_of(frame, self.features.grid, &mut self.rgb)
                    .map_err(|source| BuildError::Frame { name: input.name.clone(), source })?,
            ),
        };
        self.offer((&image, thumbnail.as_ref()), file, &input.name, number)
    }

    /// Notes how far the scores of the logits reach in a reference image.
    fn note_ranges(&mut self) {
        let Some(logits) = &self.logits else { return };
        for method in self.held_out.parametric() {
            method.scores(logits, &mut self.scores);
            blank_void(&mut self.scores, logits.grid, &self.void, self.features.grid);
            let reference = self.record.reference.get_or_insert_default();
            reference.widen(method.name(), self.scores.iter().copied());
        }
    }

    /// Offers every patch that is neither void nor faulty to the sample.
    fn offer(
        &mut self,
        (image, thumbnail): (&Digest, Option<&Thumbnail>),
        file: &Digest,
        name: &str,
        number: u32,
    ) -> Result<(), BuildError> {
        let cols = self.features.grid.cols.max(1);
        let wants_mean = self.config.recipe.centres_images();
        if wants_mean {
            image_mean(&self.features.data, self.features.width.max(1), &mut self.mean);
        }
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
            let (class, mean) = (self.classes.get(i).copied(), wants_mean.then_some(&self.mean[..]));
            self.rounding.offer(key, feature);
            self.sampler.offer(&Offer { key, file, name, frame: number, feature, class, mean, thumbnail });
        }
        Ok(())
    }
}

//! Held-out frames: kept as 16-bit features until the bank stands, then measured against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::digest::{Digest, hash};
use super::part::Terms;
use super::uncertainty::{Uncertainty, picked};
use crate::bank::{Bank, Calibration, MethodCalibration, statistics_of};
use crate::grid::{Distances, Features, Grid, Logits, ScoreMap};
use crate::nearest::{self, Device, SearchConfig};
use crate::score::{AlarmLevel, Fuser, Fusion, MapRecipe, Method, Normalise, Parametric, Smoother};

/// One frame that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub(super) image: Digest,
    pub(super) block: (String, u64),
    pub(super) grid: Grid,
    pub(super) features: Vec<f16>,
    /// Patches that are neither void nor faulty.
    pub(super) valid: Vec<bool>,
    /// The class that the model sees in each patch; empty if it says nothing.
    pub(super) classes: Vec<u16>,
    /// What its logits say, of no method where the model has none.
    pub(super) uncertainty: Uncertainty,
}

/// The held-out frames with the smallest hash of (seed, image), at most so many. Of an image given under
/// several names the block that sorts first counts.
pub(super) struct HeldOut {
    seed: u64,
    most: usize,
    min_region_px: u32,
    parametric: Vec<Parametric>,
    recipe: MapRecipe,
    smoother: Option<Smoother>,
    alarm: AlarmLevel,
    frames: BTreeMap<(u128, Digest), Frame>,
}

impl HeldOut {
    /// None so far. `terms` say how many are kept, and by which scores they are judged.
    pub(super) fn new(seed: u64, terms: &Terms) -> Self {
        HeldOut {
            seed,
            most: terms.held_out_frames,
            min_region_px: terms.min_region_px,
            parametric: terms.parametric.clone(),
            recipe: terms.maps,
            smoother: Smoother::new(terms.maps.smooth),
            alarm: AlarmLevel::new(terms.min_region_px),
            frames: BTreeMap::new(),
        }
    }

    /// The scores of the logits that are calibrated.
    pub(super) fn parametric(&self) -> &[Parametric] {
        &self.parametric
    }

    fn key(&self, image: &Digest) -> (u128, Digest) {
        (hash(&[b"held out frame", &self.seed.to_le_bytes(), image]), *image)
    }

    /// Whether a frame would be kept, so that others need not be looked at.
    pub(super) fn wants(&self, image: &Digest) -> bool {
        let key = self.key(image);
        let full = self.frames.len() >= self.most;
        !self.frames.contains_key(&key)
            && (!full || self.frames.last_key_value().is_some_and(|(last, _)| key < *last))
    }

    /// Notes that the image lies in `block` too.
    pub(super) fn also_in(&mut self, image: &Digest, block: (String, u64)) {
        let key = self.key(image);
        if let Some(frame) = self.frames.get_mut(&key)
            && block < frame.block
        {
            frame.block = block;
        }
    }

    /// Keeps a frame. `void` marks patches whose label is void.
    pub(super) fn keep(
        &mut self,
        image: &Digest,
        block: (String, u64),
        features: &Features,
        logits: Option<&Logits>,
        void: &[bool],
    ) {
        let mut halves = vec![f16::ZERO; features.data.len()];
        halves.convert_from_f32_slice(&features.data);
        let rows = halves.chunks_exact(features.width.max(1));
        let valid = rows
            .enumerate()
            .map(|(i, row)| !void.get(i).is_some_and(|v| *v) && row.iter().all(|x| x.is_finite()));
        let valid = valid.collect();
        let (void, parametric) = ((void, features.grid), &self.parametric);
        let mut level = |grid: Grid, scores: &[f32]| level(&mut self.smoother, &mut self.alarm, grid, scores);
        let of = |logits| Uncertainty::of(logits, void, parametric, self.recipe.partner, &mut level);
        let uncertainty = logits.map_or_else(Uncertainty::none, of);
        let mut classes = Vec::new();
        if let Some(logits) = logits {
            logits.patch_classes(features.grid, &mut classes);
        }
        let (image, grid) = (*image, features.grid);
        self.add(Frame { image, block, grid, features: halves, valid, classes, uncertainty });
    }

    /// Keeps a frame that was measured before.
    pub(super) fn add(&mut self, frame: Frame) {
        if !self.wants(&frame.image) {
            return self.also_in(&frame.image, frame.block);
        }
        self.frames.insert(self.key(&frame.image), frame);
        if self.frames.len() > self.most {
            self.frames.pop_last();
        }
    }

    /// The frames by rising key.
    pub(super) fn frames(&self) -> impl ExactSizeIterator<Item = &Frame> {
        self.frames.values()
    }

    /// Frees frames whose very image also gave patches to the bank (given under two names).
    pub(super) fn without_images(&mut self, in_bank: impl Fn(&Digest) -> bool) {
        self.frames.retain(|_, frame| !in_bank(&frame.image));
    }

    /// Measures all frames against `bank`; `None` if there are none.
    ///
    /// # Errors
    /// If the search fails; `done` is told after each frame.
    pub(super) fn calibrate(
        &mut self,
        bank: &Arc<Bank>,
        k: usize,
        threads: usize,
        split: String,
        done: &mut dyn FnMut(usize, usize),
    ) -> anyhow::Result<Option<Calibration>> {
        let total = self.frames.len();
        let blocks: BTreeSet<_> = self.frames.values().map(|f| f.block.clone()).collect();
        let search = SearchConfig { k, threads, device: Device::Cpu, ..SearchConfig::default() };
        let mut engine = nearest::open(&search, bank)?.engine;
        let (mut features, mut distances) = (Features::default(), Distances::default());
        let (mut knn, mut knn_levels, mut spare) = (vec![], vec![], vec![]);
        // Few numbers beside the features: one per patch.
        let mut maps = Vec::with_capacity(total);
        for (count, frame) in self.frames.values().enumerate() {
            features.grid = frame.grid;
            features.width = bank.width();
            features.data.resize(frame.features.len(), 0.0);
            frame.features.convert_to_f32_slice(&mut features.data);
            engine.distances_by_class(&features, &frame.classes, &mut distances)?;
            for (distance, valid) in distances.data.iter_mut().zip(&frame.valid) {
                if !*valid {
                    *distance = f32::NAN;
                }
            }
            self.recipe.normalise.apply(&mut distances.data, &mut spare);
            knn.extend(distances.data.iter().filter(|d| d.is_finite()));
            knn_levels.extend(level(&mut self.smoother, &mut self.alarm, frame.grid, &distances.data));
            maps.push(distances.data.to_vec());
            done(count + 1, total);
        }
        if knn_levels.is_empty() {
            return Ok(None);
        }
        let mut methods = vec![statistics_of(Method::Knn.name(), Some(k), knn, knn_levels)];
        methods.extend(self.parametric_statistics());
        let (partner, reference) = (self.recipe.partner, bank.metadata().build.reference.as_ref());
        for (method, fusion) in [
            (Method::Cdnp, Fusion::cdnp(partner, reference, k)),
            (Method::Zsum, Fusion::zsum(partner, &methods, k)),
        ] {
            if (method, self.recipe.normalise) == (Method::Cdnp, Normalise::Spread) {
                continue;
            }
            match fusion {
                Ok(fusion) => methods.extend(self.fused_statistics(method, k, fusion, &maps)),
                Err(why) => tracing::debug!(%why, "{} is not calibrated", method.name()),
            }
        }
        Ok(Some(Calibration {
            split,
            frames: total,
            blocks: blocks.len(),
            min_region_px: self.min_region_px,
            maps: self.recipe.changes(Method::Knn),
            methods,
        }))
    }

    /// The statistics of each parametric score that any frame has.
    fn parametric_statistics(&self) -> Vec<MethodCalibration> {
        let of = |(number, method): (usize, &Parametric)| {
            let (mut scores, mut levels) = (vec![], vec![]);
            let known = self.frames.values().filter_map(|frame| frame.uncertainty.methods.get(number));
            for (picked, level) in known {
                if let Some(level) = level {
                    scores.extend_from_slice(picked);
                    levels.push(*level);
                }
            }
            (!levels.is_empty()).then(|| statistics_of(method.name(), None, scores, levels))
        };
        self.parametric.iter().enumerate().filter_map(of).collect()
    }

    /// The statistics of a fused score, from the distances of each frame in turn.
    fn fused_statistics(
        &mut self,
        method: Method,
        k: usize,
        fusion: Fusion,
        distances: &[Vec<f32>],
    ) -> Option<MethodCalibration> {
        let (mut scores, mut levels) = (vec![], vec![]);
        let (mut fuser, mut fused) = (Fuser::new(fusion), ScoreMap::default());
        for (frame, distances) in self.frames.values().zip(distances) {
            let Uncertainty { grid, map, .. } = &frame.uncertainty;
            if map.is_empty() {
                continue;
            }
            fuser.step((frame.grid, distances), (*grid, map), &mut fused);
            if let Some(level) = level(&mut self.smoother, &mut self.alarm, fused.grid, &fused.data) {
                scores.extend(picked(&fused.data));
                levels.push(level);
            }
        }
        let statistics = || MethodCalibration {
            partner: Some(self.recipe.partner.name().to_owned()),
            ..statistics_of(method.name(), Some(k), scores, levels.clone())
        };
        (!levels.is_empty()).then(statistics)
    }
}

/// The alarm level of a map, smoothed as it will be.
fn level(smoother: &mut Option<Smoother>, alarm: &mut AlarmLevel, grid: Grid, scores: &[f32]) -> Option<f32> {
    let Some(smoother) = smoother else { return alarm.of(grid, scores) };
    let mut smooth = scores.to_vec();
    smoother.apply(grid, &mut smooth);
    alarm.of(grid, &smooth)
}

/// Makes the scores of cells whose patch is void NaN.
pub(super) fn blank_void(scores: &mut [f32], cells: Grid, void: &[bool], patches: Grid) {
    if void.is_empty() {
        return;
    }
    let Grid { rows, cols } = cells;
    for (i, score) in scores.iter_mut().enumerate() {
        let (row, col) = (i / cols, i % cols);
        let (r, c) = ((2 * row + 1) * patches.rows / (2 * rows), (2 * col + 1) * patches.cols / (2 * cols));
        if void.get(r * patches.cols + c).is_some_and(|v| *v) {
            *score = f32::NAN;
        }
    }
}

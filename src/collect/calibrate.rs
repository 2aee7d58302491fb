//! Held-out frames: kept as 16-bit features until the bank stands, then measured against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::digest::hash;
use super::held_frame::HeldFrame;
use super::labels::LabelMask;
use super::measured::{Measured, measured};
use super::part::Terms;
use super::seen::Seen;
use super::uncertainty::{Uncertainty, picked};
use crate::bank::{Bank, Calibration, MethodCalibration, statistics_of};
use crate::digest::Digest;
use crate::grid::{Distances, Features, Grid, Logits, ScoreMap};
use crate::score::{AlarmLevel, Finish, Fuser, Fusion, MapRecipe, Method, Normalise, Parametric};
use crate::views::{Layout, ViewsConfig};

/// The held-out frames with the smallest hash of (seed, image), at most so many. Of an image given under
/// several names the block that sorts first counts.
pub(super) struct HeldOut {
    seed: u64,
    most: usize,
    min_region_px: u32,
    parametric: Vec<Parametric>,
    recipe: MapRecipe,
    finish: Finish,
    alarm: AlarmLevel,
    views: ViewsConfig,
    frames: BTreeMap<(u128, Digest), HeldFrame>,
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
            finish: Finish::of(&terms.maps),
            alarm: AlarmLevel::new(terms.min_region_px),
            views: terms.views.clone(),
            frames: BTreeMap::new(),
        }
    }

    /// What the views of a frame show.
    pub(super) fn through_views(
        &self,
        features: &[Features],
        label: Option<&LabelMask>,
        void: &[u16],
        logits: Option<&Logits>,
    ) -> Vec<Seen> {
        let layout = Layout::of(&self.views);
        let windows = layout.iter().flat_map(Layout::windows).zip(features);
        let of =
            |((_, window), features)| Seen::through(window, features, label.map(|mask| (mask, void)), logits);
        windows.map(of).collect()
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
        (features, views, size): (&Features, Vec<Seen>, (usize, usize)),
        logits: Option<&Logits>,
        void: &[bool],
    ) {
        let patches = void;
        let (void, parametric) = ((void, features.grid), &self.parametric);
        let mut level = |grid: Grid, scores: &[f32]| level(&mut self.finish, &mut self.alarm, grid, scores);
        let of = |logits| Uncertainty::of(logits, void, parametric, self.recipe.partner, &mut level);
        let uncertainty = logits.map_or_else(Uncertainty::none, of);
        let mut classes = Vec::new();
        if let Some(logits) = logits {
            logits.patch_classes(features.grid, &mut classes);
        }
        let seen = Seen::new(features, patches, classes);
        self.add(HeldFrame { image: *image, block, size, seen, views, uncertainty });
    }

    /// Keeps a frame that was measured before.
    pub(super) fn add(&mut self, frame: HeldFrame) {
        if !self.wants(&frame.image) {
            return self.also_in(&frame.image, frame.block);
        }
        self.frames.insert(self.key(&frame.image), frame);
        if self.frames.len() > self.most {
            self.frames.pop_last();
        }
    }

    /// The frames by rising key.
    pub(super) fn frames(&self) -> impl ExactSizeIterator<Item = &HeldFrame> {
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
        let (mut knn, mut knn_levels, mut spare) = (vec![], vec![], vec![]);
        // Few numbers beside the features: one per patch.
        let Measured { mut maps, views } =
            measured(self.frames.values(), &self.views, bank, (k, threads), &mut |count| done(count, total))?;
        for map in &mut maps {
            self.recipe.normalise.apply(&mut map.data, &mut spare);
            knn.extend(map.data.iter().filter(|d| d.is_finite()));
            knn_levels.extend(level(&mut self.finish, &mut self.alarm, map.grid, &map.data));
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
            views,
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
        distances: &[Distances],
    ) -> Option<MethodCalibration> {
        let (mut scores, mut levels) = (vec![], vec![]);
        let (mut fuser, mut fused) = (Fuser::new(fusion), ScoreMap::default());
        for (frame, distances) in self.frames.values().zip(distances) {
            let Uncertainty { grid, map, .. } = &frame.uncertainty;
            if map.is_empty() {
                continue;
            }
            fuser.step((distances.grid, &distances.data), (*grid, map), &mut fused);
            if let Some(level) = level(&mut self.finish, &mut self.alarm, fused.grid, &fused.data) {
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

/// The alarm level of a map, finished as it will be.
fn level(finish: &mut Finish, alarm: &mut AlarmLevel, grid: Grid, scores: &[f32]) -> Option<f32> {
    if finish.is_nothing() {
        return alarm.of(grid, scores);
    }
    let mut finished = scores.to_vec();
    finish.apply(grid, &mut finished);
    alarm.of(grid, &finished)
}

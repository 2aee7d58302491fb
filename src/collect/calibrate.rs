//! Held-out frames: kept as 16-bit features until the bank stands, then measured against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::digest::{Digest, hash};
use crate::bank::{Bank, Calibration, statistics_of};
use crate::grid::{Distances, Features, Grid, Logits};
use crate::nearest::{self, Device, SearchConfig};
use crate::score::{AlarmLevel, lse};

/// Scores of a finer map that are kept per frame for the statistics; its alarm level is that of all.
const SCORES_PER_FRAME: usize = 4096;

/// One frame that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Frame {
    pub(super) image: Digest,
    pub(super) block: (String, u64),
    pub(super) grid: Grid,
    pub(super) features: Vec<f16>,
    /// Patches that are neither void nor faulty.
    pub(super) valid: Vec<bool>,
    /// LSE scores and their alarm level, where the model has logits.
    pub(super) lse: Option<(Vec<f32>, Option<f32>)>,
}

/// The held-out frames with the smallest hash of (seed, image), at most so many. Of an image given under
/// several names the block that sorts first counts.
pub(super) struct HeldOut {
    seed: u64,
    most: usize,
    min_region_px: u32,
    alarm: AlarmLevel,
    frames: BTreeMap<(u128, Digest), Frame>,
}

impl HeldOut {
    pub(super) fn new(seed: u64, most: usize, min_region_px: u32) -> Self {
        HeldOut { seed, most, min_region_px, alarm: AlarmLevel::new(min_region_px), frames: BTreeMap::new() }
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
        let lse = logits.map(|logits| lse_scores(logits, features.grid, void, &mut self.alarm));
        self.add(Frame { image: *image, block, grid: features.grid, features: halves, valid, lse });
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
        let (mut knn, mut knn_levels, mut parametric, mut parametric_levels) =
            (vec![], vec![], vec![], vec![]);
        for (count, frame) in self.frames.values().enumerate() {
            features.grid = frame.grid;
            features.width = bank.width();
            features.data.resize(frame.features.len(), 0.0);
            frame.features.convert_to_f32_slice(&mut features.data);
            engine.distances(&features, &mut distances)?;
            for (distance, valid) in distances.data.iter_mut().zip(&frame.valid) {
                if !*valid {
                    *distance = f32::NAN;
                }
            }
            knn.extend(distances.data.iter().filter(|d| d.is_finite()));
            knn_levels.extend(self.alarm.of(frame.grid, &distances.data));
            if let Some((scores, Some(level))) = &frame.lse {
                parametric.extend(scores);
                parametric_levels.push(*level);
            }
            done(count + 1, total);
        }
        if knn_levels.is_empty() {
            return Ok(None);
        }
        let mut methods = vec![statistics_of("knn", Some(k), knn, knn_levels)];
        if !parametric_levels.is_empty() {
            methods.push(statistics_of("lse", None, parametric, parametric_levels));
        }
        Ok(Some(Calibration {
            split,
            frames: total,
            blocks: blocks.len(),
            min_region_px: self.min_region_px,
            methods,
        }))
    }
}

/// LSE of the cells that are not void: evenly picked ones, and the alarm level of all.
fn lse_scores(
    logits: &Logits,
    patches: Grid,
    void: &[bool],
    alarm: &mut AlarmLevel,
) -> (Vec<f32>, Option<f32>) {
    let mut all = Vec::new();
    lse(logits, &mut all);
    let Grid { rows, cols } = logits.grid;
    for (i, score) in all.iter_mut().enumerate() {
        let (row, col) = (i / cols, i % cols);
        let (r, c) = ((2 * row + 1) * patches.rows / (2 * rows), (2 * col + 1) * patches.cols / (2 * cols));
        if void.get(r * patches.cols + c).is_some_and(|v| *v) {
            *score = f32::NAN;
        }
    }
    let level = alarm.of(logits.grid, &all);
    all.retain(|score| score.is_finite());
    let step = all.len().div_ceil(SCORES_PER_FRAME).max(1);
    (all.into_iter().step_by(step).collect(), level)
}

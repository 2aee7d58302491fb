//! Held-out frames: kept as 16-bit features until the bank stands, then measured against it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::digest::{Digest, hash};
use super::sample::Sampler;
use crate::bank::{Bank, Calibration, statistics_of};
use crate::grid::{Distances, Features, Grid, Logits};
use crate::nearest::{CpuGemm, Nearest};
use crate::score::lse;

/// Scores of a finer map that are kept per frame for the statistics; its maximum is always exact.
const SCORES_PER_FRAME: usize = 4096;

/// One frame that waits.
struct Frame {
    image: Digest,
    block: (String, u64),
    grid: Grid,
    features: Vec<f16>,
    /// Patches that are neither void nor faulty.
    valid: Vec<bool>,
    /// LSE scores and their maximum, where the model has logits.
    lse: Option<(Vec<f32>, f32)>,
}

/// The held-out frames with the smallest hash of (seed, image), at most so many.
pub(super) struct HeldOut {
    seed: u64,
    most: usize,
    frames: BTreeMap<(u128, Digest), Frame>,
}

impl HeldOut {
    pub(super) fn new(seed: u64, most: usize) -> Self {
        HeldOut {
            seed,
            most,
            frames: BTreeMap::new(),
        }
    }

    fn key(&self, image: &Digest) -> (u128, Digest) {
        (
            hash(&[b"held out frame", &self.seed.to_le_bytes(), image]),
            *image,
        )
    }

    /// Whether a frame would be kept, so that others need not be looked at.
    pub(super) fn wants(&self, image: &Digest) -> bool {
        let key = self.key(image);
        let full = self.frames.len() >= self.most;
        !self.frames.contains_key(&key)
            && (!full
                || self
                    .frames
                    .last_key_value()
                    .is_some_and(|(last, _)| key < *last))
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
        let lse = logits.map(|logits| lse_scores(logits, features.grid, void));
        let frame = Frame {
            image: *image,
            block,
            grid: features.grid,
            features: halves,
            valid,
            lse,
        };
        self.frames.insert(self.key(image), frame);
        if self.frames.len() > self.most {
            self.frames.pop_last();
        }
    }

    /// Frees frames whose very image also gave patches to the sample (given under two names).
    pub(super) fn without_images_of(&mut self, sample: &Sampler) {
        self.frames.retain(|_, frame| !sample.holds(&frame.image));
    }

    /// Measures all frames against `bank`; `None` if there are none.
    ///
    /// # Errors
    /// If the search fails; `done` is told after each frame.
    pub(super) fn calibrate(
        self,
        bank: &Arc<Bank>,
        k: usize,
        threads: usize,
        split: String,
        done: &mut dyn FnMut(usize, usize),
    ) -> anyhow::Result<Option<Calibration>> {
        let total = self.frames.len();
        let blocks: BTreeSet<_> = self.frames.values().map(|f| f.block.clone()).collect();
        let mut engine = CpuGemm::new(k, threads, bank)?;
        let (mut features, mut distances) = (Features::default(), Distances::default());
        let (mut knn, mut knn_max, mut parametric, mut parametric_max) =
            (vec![], vec![], vec![], vec![]);
        for (count, frame) in self.frames.into_values().enumerate() {
            features.grid = frame.grid;
            features.width = bank.width();
            features.data.resize(frame.features.len(), 0.0);
            frame.features.convert_to_f32_slice(&mut features.data);
            engine.distances(&features, &mut distances)?;
            let before = knn.len();
            knn.extend(
                distances
                    .data
                    .iter()
                    .zip(&frame.valid)
                    .filter(|(d, valid)| **valid && d.is_finite())
                    .map(|(d, _)| *d),
            );
            if knn.len() > before {
                knn_max.push(
                    knn[before..]
                        .iter()
                        .fold(f32::NEG_INFINITY, |m, d| m.max(*d)),
                );
            }
            if let Some((scores, max)) = frame.lse
                && !scores.is_empty()
            {
                parametric.extend(scores);
                parametric_max.push(max);
            }
            done(count + 1, total);
        }
        if knn_max.is_empty() {
            return Ok(None);
        }
        let mut methods = vec![statistics_of("knn", Some(k), knn, knn_max)];
        if !parametric_max.is_empty() {
            methods.push(statistics_of("lse", None, parametric, parametric_max));
        }
        Ok(Some(Calibration {
            split,
            frames: total,
            blocks: blocks.len(),
            methods,
        }))
    }
}

/// LSE of the cells that are not void: evenly picked ones, and the maximum of all.
fn lse_scores(logits: &Logits, patches: Grid, void: &[bool]) -> (Vec<f32>, f32) {
    let mut all = Vec::new();
    lse(logits, &mut all);
    let Grid { rows, cols } = logits.grid;
    let is_void = |i: usize| {
        let (row, col) = (i / cols, i % cols);
        let (r, c) = (
            (2 * row + 1) * patches.rows / (2 * rows),
            (2 * col + 1) * patches.cols / (2 * cols),
        );
        void.get(r * patches.cols + c).is_some_and(|v| *v)
    };
    let mut index = 0;
    all.retain(|score| {
        index += 1;
        score.is_finite() && !is_void(index - 1)
    });
    let max = all.iter().fold(f32::NEG_INFINITY, |m, s| m.max(*s));
    let step = all.len().div_ceil(SCORES_PER_FRAME).max(1);
    (all.into_iter().step_by(step).collect(), max)
}

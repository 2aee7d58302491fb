//! The patches of one frame as codes, and what is known of each.

use rayon::prelude::*;

use super::bound::{Known, Whole};
use super::index::{Index, code};
use super::lines::Lines;

/// Patches further than this from the bank's mean, in units of its largest distance from it, have no code.
const FAR: f64 = 1e12;

/// The patches of one frame, strip by strip.
#[derive(Default)]
pub(super) struct Patches {
    pub(super) strips: Vec<PatchStrip>,
    /// Patches there are; the last strip is filled up with ones that hit nothing.
    pub(super) count: usize,
}

/// As many patches as the kernel takes at once.
#[derive(Default)]
pub(super) struct PatchStrip {
    /// `strip x head width` numbers.
    pub(super) heads: Lines,
    /// `strip x rest width` numbers.
    pub(super) rests: Lines,
    pub(super) known: Vec<Known>,
    centred: Vec<f32>,
    turned: Vec<f32>,
}

impl Patches {
    /// Encodes a frame, T x C numbers, for the search of `index`.
    pub(super) fn encode(&mut self, features: &[f32], index: &Index) {
        let (width, strip) = (index.space.width(), index.kernel.strip);
        self.count = features.len() / width;
        self.strips.resize_with(self.count.div_ceil(strip), PatchStrip::default);
        self.strips
            .par_iter_mut()
            .zip(features.par_chunks(strip * width))
            .for_each(|(strip, features)| strip.encode(features, index));
    }

    /// What is known of one patch.
    pub(super) fn known(&self, patch: usize, strip: usize) -> &Known {
        &self.strips[patch / strip].known[patch % strip]
    }
}

impl PatchStrip {
    fn encode(&mut self, features: &[f32], index: &Index) {
        let (space, kernel, strip) = (&index.space, index.kernel, index.kernel.strip);
        let (all, width, rest_width) = (space.width(), index.head_width(), index.rest_width());
        self.heads.resize(strip * width);
        self.rests.resize(strip * rest_width);
        self.centred.resize(strip * all, 0.0);
        self.turned.resize(if space.rotation.is_some() { strip * all } else { 0 }, 0.0);
        self.known.clear();
        self.known.resize(strip, Known::default());
        let (used, unused) = self.centred.split_at_mut(features.len());
        used.copy_from_slice(features);
        unused.fill(0.0);
        let mut norms = [f64::NAN; super::kernel::LONGEST_STRIP];
        for (norm, centred) in norms.iter_mut().zip(used.chunks_exact_mut(all)) {
            *norm = space.centre(centred);
            // A NaN compares false.
            if !(space.sound && *norm < FAR) {
                *norm = f64::NAN;
                centred.fill(0.0);
            }
        }
        let turned = space.turn(&self.centred, &mut self.turned);
        for (p, (known, norm)) in self.known.iter_mut().zip(norms).enumerate() {
            let numbers = &mut self.heads.numbers_mut()[p * width..][..width];
            if norm.is_nan() {
                numbers.fill(0);
                continue;
            }
            let rest = &mut self.rests.numbers_mut()[p * rest_width..][..rest_width];
            let rest = (rest_width > 0).then_some(rest);
            let coded = code(space, kernel, index.head(), norm, &turned[p * all..][..all], numbers, rest);
            *known = Known {
                scale: coded.head.scale,
                tail: coded.tail,
                square: coded.square,
                slack: coded.slack,
                start: -i32::from(kernel.bias) * coded.head.sum,
                whole: Whole { start: -i32::from(kernel.rest_bias) * coded.rest_sum, ..coded.whole },
                farthest: (norm + 1.0) * space.stretch() * (1.0 + 1e-6),
                sound: true,
            };
        }
    }
}

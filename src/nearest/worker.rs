//! One thread's share of a frame: blocks of rows against strips of patches, and the rows that survive.

use std::ops::Range;

use super::exact::{Found, squared_distance};
use super::index::Index;
use super::kernel::{BLOCK, Hits, Strip, Terms};
use super::patches::Patches;
use crate::bank::Rows;
use crate::grid::Features;

/// Rows that wait to be measured while their numbers are fetched from memory.
const WAITING: usize = 32;
/// Rounding of the few operations in double precision that compare a pair, relative.
const ROUNDING: f64 = 1e-9;

/// What all threads see of the present frame.
pub(super) struct Frame<'a> {
    pub(super) index: &'a Index,
    pub(super) rows: Rows<'a>,
    pub(super) features: &'a Features,
    pub(super) patches: &'a Patches,
    pub(super) found: &'a [Found],
}

/// What one thread needs. Its bars may lag behind those of the others, which costs time only.
pub(super) struct Worker {
    /// Of every patch: the squared bar that its terms were made of.
    bars: Vec<f64>,
    /// Of every patch: the bar in the space of the codes.
    distances: Vec<f64>,
    terms: Vec<Terms>,
    hits: Box<Hits>,
    waiting: Vec<Waiting>,
    counts: Counts,
}

/// Pairs of a patch and a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// That the test of the heads did not rule out.
    pub passed: u64,
    /// That were measured in double precision. It may vary a little with the timing of the threads.
    pub measured: u64,
}

/// A pair to be measured.
struct Waiting {
    patch: u32,
    row: u32,
    /// The squared length between the codes, and the sum of the slacks.
    square: f64,
    slack: f64,
}

impl Default for Worker {
    fn default() -> Worker {
        Worker {
            bars: Vec::new(),
            distances: Vec::new(),
            terms: Vec::new(),
            hits: Hits::new(),
            waiting: Vec::with_capacity(WAITING),
            counts: Counts::default(),
        }
    }
}

impl Worker {
    /// What was counted since the last call.
    pub(super) fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// Starts a frame.
    pub(super) fn begin(&mut self, frame: &Frame) {
        let count = frame.patches.strips.len() * frame.index.kernel.strip;
        self.bars.clear();
        self.bars.resize(count, f64::NAN);
        self.distances.clear();
        self.distances.resize(count, f64::INFINITY);
        self.terms.clear();
        self.terms.resize(count, Terms { bar: f32::NEG_INFINITY, ..Terms::default() });
        // SAFETY: the kernel was chosen for this processor.
        unsafe { (frame.index.kernel.begin)() };
    }

    /// Ends a frame.
    pub(super) fn end(&mut self, frame: &Frame) {
        // SAFETY: the kernel was chosen for this processor.
        unsafe { (frame.index.kernel.end)() };
        self.measure(frame);
    }

    /// Compares strips of patches with blocks of rows.
    pub(super) fn work(&mut self, frame: &Frame, strips: Range<usize>, blocks: Range<usize>) {
        let kernel = frame.index.kernel;
        let patches = strips.start * kernel.strip..frame.patches.count.min(strips.end * kernel.strip);
        for patch in patches {
            self.lower(frame, patch);
        }
        for block in blocks {
            let rows = frame.index.block(block);
            for s in strips.clone() {
                let first = s * kernel.strip;
                let strip = Strip {
                    numbers: frame.patches.strips[s].heads.numbers(),
                    terms: &self.terms[first..first + kernel.strip],
                };
                // SAFETY: the kernel was chosen for this processor, and this thread called `begin`.
                if unsafe { (kernel.screen)(&rows, &strip, &mut self.hits) } {
                    self.look(frame, s, block);
                }
            }
        }
    }

    /// Takes over the bar of one patch.
    fn lower(&mut self, frame: &Frame, patch: usize) {
        let bar = frame.found[patch].bar();
        if bar != self.bars[patch] {
            let space = &frame.index.space;
            let known = frame.patches.known(patch, frame.index.kernel.strip);
            self.bars[patch] = bar;
            self.distances[patch] =
                (bar.sqrt() * f64::from(space.factor) * space.stretch() * (1.0 + ROUNDING))
                    .min(known.farthest);
            self.terms[patch] = known.terms(self.distances[patch]);
        }
    }

    /// Looks at the hits of a strip in a block.
    fn look(&mut self, frame: &Frame, strip: usize, block: usize) {
        let (kernel, rest_width) = (frame.index.kernel, frame.index.rest_width());
        for q in 0..kernel.strip {
            let mut rows = self.hits.rows[q];
            let patch = strip * kernel.strip + q;
            while rows != 0 {
                let r = rows.trailing_zeros() as usize;
                rows &= rows - 1;
                self.counts.passed += 1;
                let part = &frame.patches.strips[strip];
                let rest = &part.rests.numbers()[q * rest_width..][..rest_width];
                let product = self.hits.products[q * BLOCK + r];
                let row = block * BLOCK + r;
                let (square, slack) = frame.index.between(&part.known[q], product, rest, row);
                if self.beyond(patch, square, slack) {
                    continue;
                }
                fetch(frame.rows, row, frame.features.width);
                self.waiting.push(Waiting { patch: patch as u32, row: row as u32, square, slack });
                if self.waiting.len() == WAITING {
                    self.measure(frame);
                }
            }
        }
    }

    /// Whether a pair with codes so far apart is ruled out.
    fn beyond(&self, patch: usize, square: f64, slack: f64) -> bool {
        let reach = self.distances[patch] + slack;
        square > reach * reach * (1.0 + ROUNDING)
    }

    /// Measures all that waits.
    fn measure(&mut self, frame: &Frame) {
        let waiting = std::mem::take(&mut self.waiting);
        for pair in &waiting {
            let (patch, width) = (pair.patch as usize, frame.features.width);
            self.lower(frame, patch);
            if self.beyond(patch, pair.square, pair.slack) {
                continue;
            }
            self.counts.measured += 1;
            let features = &frame.features.data[patch * width..][..width];
            let square = squared_distance(frame.index.kernel, features, frame.rows, pair.row as usize);
            frame.found[patch].offer(square, pair.row);
            self.lower(frame, patch);
        }
        self.waiting = waiting;
        self.waiting.clear();
    }
}

/// Asks for the first lines of a row; the processor sees the pattern of the others.
fn fetch(rows: Rows<'_>, row: usize, width: usize) {
    let _ = (rows, row, width);
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start: *const i8 = match rows {
            Rows::F16(data) => data[row * width..].as_ptr().cast(),
            Rows::F32(data) => data[row * width..].as_ptr().cast(),
        };
        for line in 0..4 {
            // SAFETY: a prefetch reads nothing that the program could see; SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64 * line)) };
        }
    }
}

//! The nearest rows found so far, by distances in double precision: the only distances that are ever told.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use super::kernel::Kernel;
use super::top::offer;
use crate::bank::Rows;

/// What the rounding of a sum of squares in double precision may hide, relative to itself.
const ROUNDING: f64 = 1e-10;

/// The distance of a patch from row `row`, squared.
pub(super) fn squared_distance(kernel: &Kernel, patch: &[f32], rows: Rows<'_>, row: usize) -> f64 {
    let range = row * patch.len()..(row + 1) * patch.len();
    // SAFETY: the kernel was chosen for this processor.
    unsafe {
        match rows {
            Rows::F16(data) => (kernel.distance_f16)(patch, &data[range]),
            Rows::F32(data) => (kernel.distance_f32)(patch, &data[range]),
        }
    }
}

/// The k nearest rows of one patch so far; threads share it.
pub(super) struct Found {
    /// Squared distances, ascending, and rows.
    list: Mutex<Vec<(f64, u32)>>,
    /// Bits of the k-th squared distance and a little more: no row beyond it matters.
    bar: AtomicU64,
}

impl Found {
    /// Of `k` rows none is known.
    pub(super) fn new(k: usize) -> Found {
        Found {
            list: Mutex::new(vec![(f64::INFINITY, u32::MAX); k]),
            bar: AtomicU64::new(f64::INFINITY.to_bits()),
        }
    }

    /// Forgets all rows.
    pub(super) fn clear(&mut self) {
        self.list.get_mut().unwrap_or_else(PoisonError::into_inner).fill((f64::INFINITY, u32::MAX));
        *self.bar.get_mut() = f64::INFINITY.to_bits();
    }

    /// The rows.
    pub(super) fn list(&mut self) -> &[(f64, u32)] {
        self.list.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rows whose squared distance is larger do not matter.
    pub(super) fn bar(&self) -> f64 {
        f64::from_bits(self.bar.load(Ordering::Relaxed))
    }

    /// Takes a row of this squared distance if it is among the nearest. The result depends on the rows
    /// offered, not on their order.
    pub(super) fn offer(&self, square: f64, row: u32) {
        if square > self.bar() {
            return;
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        if offer(&mut list, square, row) {
            let bar = list.last().map_or(f64::INFINITY, |last| last.0 * (1.0 + ROUNDING));
            // The bits of positive numbers are ordered as they are. Only holders of the lock write.
            self.bar.store(bar.to_bits(), Ordering::Relaxed);
        }
    }
}

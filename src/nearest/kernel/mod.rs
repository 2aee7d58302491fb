//! The inner loops of the search, once per kind of processor: int8 products of a strip of patches with
//! a block of reference rows and the test of each against the patch's bar, in registers.
//!
//! A kernel proves nothing and knows no bank: [`super::bound`] says what the numbers mean.

mod portable;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use half::f16;

use super::encode::{Code, Encode};

/// Rows per block.
pub(super) const BLOCK: usize = 64;
/// The most patches per strip of any kernel.
pub(super) const LONGEST_STRIP: usize = 32;

/// A block of [`BLOCK`] encoded rows.
pub(super) struct Block<'a> {
    /// `width / 4` groups of four numbers of each of the rows: `[width / 4][BLOCK][4]`, each an int8
    /// plus the kernel's [`Kernel::bias`].
    pub(super) numbers: &'a [u8],
    /// What one step of the int8 numbers is worth.
    pub(super) scales: &'a [f32; BLOCK],
    /// Squared length of the code, less a margin for rounding and the squared slack.
    pub(super) squares: &'a [f32; BLOCK],
    /// Length of the part that the block leaves out.
    pub(super) tails: &'a [f32; BLOCK],
    /// By how much the code may lie beside what it stands for.
    pub(super) slacks: &'a [f32; BLOCK],
}

/// What a patch brings to the test. A row is a hit unless
/// `square + scale * row.scale * product + tail * row.tail + slack * row.slack > bar`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Terms {
    /// -2 times what one step of its int8 numbers is worth.
    pub(super) scale: f32,
    /// -2 times the length of its tail.
    pub(super) tail: f32,
    /// -2 times the sum of its distance bar and its slack.
    pub(super) slack: f32,
    /// Minus infinity to have no hits.
    pub(super) bar: f32,
    /// Where its products start: takes the rows' bias off again.
    pub(super) start: i32,
}

/// Encoded patches, one strip long.
pub(super) struct Strip<'a> {
    /// `strip x width` numbers.
    pub(super) numbers: &'a [i8],
    /// `strip` terms.
    pub(super) terms: &'a [Terms],
}

/// What a strip of patches found in a block.
#[repr(C, align(64))]
pub(super) struct Hits {
    /// Products of the patches with the rows, `strip x BLOCK`; those of patches without hits may be
    /// missing.
    pub(super) products: [i32; LONGEST_STRIP * BLOCK],
    /// Per patch: bit r for row r of the block.
    pub(super) rows: [u64; LONGEST_STRIP],
}

impl Hits {
    /// No hits.
    pub(super) fn new() -> Box<Hits> {
        Box::new(Hits { products: [0; LONGEST_STRIP * BLOCK], rows: [0; LONGEST_STRIP] })
    }
}

/// One backend's inner loops. Those that need a kind of processor are `unsafe`: whoever takes a kernel
/// from [`super::backend`] knows that the processor is of that kind.
pub(super) struct Kernel {
    /// Patches per strip, at most [`LONGEST_STRIP`].
    pub(super) strip: usize,
    /// The numbers of a block are a multiple of this wide.
    pub(super) step: usize,
    /// Numbers of rows and patches lie within plus and minus this.
    pub(super) limit: f32,
    /// About how many cycles it takes per product of two numbers.
    pub(super) cost: f64,
    /// Added to the int8 numbers of blocks.
    pub(super) bias: u8,
    /// Added to the int8 numbers of rows outside of blocks.
    pub(super) rest_bias: u8,
    /// To be called by a thread before and after it calls `screen`.
    pub(super) begin: unsafe fn(),
    /// See `begin`.
    pub(super) end: unsafe fn(),
    /// Tests a strip against a block; false without any hit (the hits are then undefined).
    pub(super) screen: unsafe fn(&Block, &Strip, &mut Hits) -> bool,
    /// Product of a row's numbers (biased by `rest_bias`) with a patch's, as many as there are patch's
    /// numbers: a multiple of 64. The bias is still in.
    pub(super) dot: unsafe fn(&[u8], &[i8]) -> i32,
    /// Squared distance in double precision, in an order of summation of its own.
    pub(super) distance_f16: unsafe fn(&[f32], &[f16]) -> f64,
    /// The same for single precision.
    pub(super) distance_f32: unsafe fn(&[f32], &[f32]) -> f64,
    /// [`super::encode::encode`], compiled for the processor.
    pub(super) encode: unsafe fn(Encode) -> Code,
}

/// Nothing to prepare.
fn nothing() {}

#[cfg(target_arch = "x86_64")]
pub(super) use amx::may_use as may_use_amx;
#[cfg(target_arch = "aarch64")]
pub(super) use neon::NEON_DOTPROD;
pub(super) use portable::PORTABLE;
#[cfg(target_arch = "x86_64")]
pub(super) use {amx::AMX, avx2::AVX_VNNI, avx2::AVX2, avx512::AVX512_VNNI};

#[cfg(test)]
mod tests;

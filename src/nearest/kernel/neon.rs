//! The kernel for AArch64 processors with the dot product instructions (Cortex-A76, A78AE and newer).
//!
//! SDOT is no stable part of Rust's intrinsics, nor is the type that FCVTL takes: both are written as
//! assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use half::f16;

use super::{BLOCK, Block, Hits, Kernel, Strip, Terms, nothing};
use crate::nearest::encode::{self, Code, Encode};

/// Patches per strip: 4 x 4 accumulators, 4 registers of rows and 4 of patches fill 24 of 32.
const STRIP: usize = 4;
/// Vectors of four rows that are multiplied at once.
const VECTORS: usize = 4;
/// Rows per vector.
const LANES: usize = 4;

/// 16 products of 8 bits per instruction, both sides signed.
pub(in crate::nearest) static NEON_DOTPROD: Kernel = Kernel {
    strip: STRIP,
    step: 16,
    limit: 127.0,
    cost: 1.0 / 24.0,
    bias: 0,
    rest_bias: 0,
    begin: nothing,
    end: nothing,
    screen,
    dot,
    distance_f16,
    distance_f32,
    encode: encode_neon,
};

/// `sum` plus the products of each lane's four bytes with the four bytes of one lane of `patch`.
macro_rules! multiply {
    ($sum:expr, $rows:expr, $patch:expr, $lane:literal) => {
        // SAFETY: works on registers only; the function around has the feature.
        unsafe {
            asm!(
                concat!("sdot {sum:v}.4s, {rows:v}.16b, {patch:v}.4b[", $lane, "]"),
                sum = inout(vreg) $sum,
                rows = in(vreg) $rows,
                patch = in(vreg) $patch,
                options(pure, nomem, nostack, preserves_flags),
            )
        }
    };
}

#[target_feature(enable = "neon,dotprod")]
fn screen(block: &Block, strip: &Strip, hits: &mut Hits) -> bool {
    let width = strip.numbers.len() / STRIP;
    assert!(strip.terms.len() == STRIP && width.is_multiple_of(16));
    assert!(strip.numbers.len() == STRIP * width && block.numbers.len() == width * BLOCK);
    let mut any = 0;
    hits.rows[..STRIP].fill(0);
    for first in (0..BLOCK).step_by(VECTORS * LANES) {
        let mut sums = [[vdupq_n_s32(0); VECTORS]; STRIP];
        for (sums, terms) in sums.iter_mut().zip(strip.terms) {
            *sums = [vdupq_n_s32(terms.start); VECTORS];
        }
        for four in 0..width / 16 {
            // SAFETY: 16 of the `width` numbers of each patch.
            let patches: [int8x16_t; STRIP] = std::array::from_fn(|q| unsafe {
                vld1q_s8(strip.numbers.as_ptr().add(q * width + four * 16))
            });
            macro_rules! group {
                ($lane:literal) => {
                    let start = ((four * 4 + $lane) * BLOCK + first) * 4;
                    // SAFETY: a group is 4 x BLOCK bytes of `width x BLOCK`; the vectors end with the
                    // row `first + VECTORS x LANES`.
                    let rows: [int8x16_t; VECTORS] = std::array::from_fn(|v| unsafe {
                        vld1q_s8(block.numbers.as_ptr().cast::<i8>().add(start + v * 16))
                    });
                    for (sums, patch) in sums.iter_mut().zip(patches) {
                        for (sum, rows) in sums.iter_mut().zip(rows) {
                            multiply!(*sum, rows, patch, $lane);
                        }
                    }
                };
            }
            group!(0);
            group!(1);
            group!(2);
            group!(3);
        }
        for (q, sums) in sums.iter().enumerate() {
            let rows = test(block, first, &strip.terms[q], sums);
            hits.rows[q] |= rows;
            any |= rows;
            if rows != 0 {
                let products = &mut hits.products[q * BLOCK + first..][..VECTORS * LANES];
                for (sum, products) in sums.iter().zip(products.as_chunks_mut::<LANES>().0) {
                    // SAFETY: four numbers are a vector.
                    unsafe { vst1q_s32(products.as_mut_ptr(), *sum) };
                }
            }
        }
    }
    any != 0
}

/// The rows of the 16 from `first` on that are not beyond the bar; NaN is not.
#[inline]
#[target_feature(enable = "neon")]
fn test(block: &Block, first: usize, terms: &Terms, products: &[int32x4_t; VECTORS]) -> u64 {
    let mut rows = 0;
    for (v, product) in products.iter().enumerate() {
        let at = first + v * LANES;
        let part = |all: &[f32; BLOCK]| {
            // SAFETY: `at` and the LANES numbers from there are rows of the block.
            unsafe { vld1q_f32(all.as_ptr().add(at)) }
        };
        let product = vmulq_f32(vcvtq_f32_s32(*product), part(block.scales));
        let sum = vfmaq_n_f32(part(block.squares), product, terms.scale);
        let sum = vfmaq_n_f32(sum, part(block.tails), terms.tail);
        let sum = vfmaq_n_f32(sum, part(block.slacks), terms.slack);
        let near = vmvnq_u32(vcgtq_f32(sum, vdupq_n_f32(terms.bar)));
        // SAFETY: four numbers are a vector.
        let bits = vandq_u32(near, unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) });
        rows |= u64::from(vaddvq_u32(bits)) << at;
    }
    rows
}

#[target_feature(enable = "neon,dotprod")]
fn dot(row: &[u8], patch: &[i8]) -> i32 {
    let mut sums = [vdupq_n_s32(0); 4];
    for (row, patch) in row.as_chunks::<64>().0.iter().zip(patch.as_chunks::<64>().0) {
        for (quarter, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a quarter of 64 bytes is a vector; SDOT works on registers only.
            unsafe {
                asm!(
                    "sdot {sum:v}.4s, {row:v}.16b, {patch:v}.16b",
                    sum = inout(vreg) *sum,
                    row = in(vreg) vld1q_s8(row.as_ptr().cast::<i8>().add(quarter * 16)),
                    patch = in(vreg) vld1q_s8(patch.as_ptr().add(quarter * 16)),
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
    vaddvq_s32(vaddq_s32(vaddq_s32(sums[0], sums[1]), vaddq_s32(sums[2], sums[3])))
}

/// Adds the squared differences of four numbers, two each.
#[inline]
#[target_feature(enable = "neon")]
fn add_squares(sums: &mut [float64x2_t; 2], patch: float32x4_t, row: float32x4_t) {
    let low = vsubq_f64(vcvt_f64_f32(vget_low_f32(patch)), vcvt_f64_f32(vget_low_f32(row)));
    let high = vsubq_f64(vcvt_high_f64_f32(patch), vcvt_high_f64_f32(row));
    sums[0] = vfmaq_f64(sums[0], low, low);
    sums[1] = vfmaq_f64(sums[1], high, high);
}

#[target_feature(enable = "neon")]
fn distance_f16(patch: &[f32], row: &[f16]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<4>(), row.as_chunks::<4>());
    let mut sums = [vdupq_n_f64(0.0); 2];
    for (a, b) in a.iter().zip(b) {
        let wide: float32x4_t;
        // SAFETY: four numbers of 32 or 16 bits are a vector or half of one; FCVTL works on registers.
        let a = unsafe {
            asm!(
                "fcvtl {wide:v}.4s, {half:v}.4h",
                wide = lateout(vreg) wide,
                half = in(vreg) vld1_u16(b.as_ptr().cast()),
                options(pure, nomem, nostack, preserves_flags),
            );
            vld1q_f32(a.as_ptr())
        };
        add_squares(&mut sums, a, wide);
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    vaddvq_f64(vaddq_f64(sums[0], sums[1])) + rest.sum::<f64>()
}

#[target_feature(enable = "neon")]
fn distance_f32(patch: &[f32], row: &[f32]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<4>(), row.as_chunks::<4>());
    let mut sums = [vdupq_n_f64(0.0); 2];
    for (a, b) in a.iter().zip(b) {
        // SAFETY: four numbers are a vector.
        let (a, b) = unsafe { (vld1q_f32(a.as_ptr()), vld1q_f32(b.as_ptr())) };
        add_squares(&mut sums, a, b);
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    vaddvq_f64(vaddq_f64(sums[0], sums[1])) + rest.sum::<f64>()
}

#[target_feature(enable = "neon")]
fn encode_neon(input: Encode) -> Code {
    encode::encode(input)
}

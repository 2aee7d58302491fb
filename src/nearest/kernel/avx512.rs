//! The kernel for x86-64 processors with AVX-512 VNNI (Ice Lake, Zen 4 and newer).

use std::arch::x86_64::*;

use half::f16;

use super::{BLOCK, Block, Hits, Kernel, Strip, Terms, nothing};
use crate::nearest::encode::{self, Code, Encode};

/// Patches per strip: 6 x 4 accumulators, 4 registers of rows and one of the patch fill 29 of 32.
const STRIP: usize = 6;
/// Vectors of 16 rows per block.
const VECTORS: usize = BLOCK / 16;

/// 64 products of 8 bits per instruction; rows are unsigned, patches signed.
pub(in crate::nearest) static AVX512_VNNI: Kernel = Kernel {
    strip: STRIP,
    step: 4,
    limit: 127.0,
    cost: 1.0 / 100.0,
    bias: 128,
    rest_bias: 128,
    begin: nothing,
    end: nothing,
    screen,
    dot,
    distance_f16,
    distance_f32,
    encode: encode_avx512,
};

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn screen(block: &Block, strip: &Strip, hits: &mut Hits) -> bool {
    let width = strip.numbers.len() / STRIP;
    assert!(strip.terms.len() == STRIP && width.is_multiple_of(4));
    assert!(strip.numbers.len() == STRIP * width && block.numbers.len() == width * BLOCK);
    let (rows, patches) = (block.numbers.as_ptr(), strip.numbers.as_ptr());
    let mut sums = [[_mm512_setzero_si512(); VECTORS]; STRIP];
    for (sums, terms) in sums.iter_mut().zip(strip.terms) {
        *sums = [_mm512_set1_epi32(terms.start); VECTORS];
    }
    for group in 0..width / 4 {
        // SAFETY: a group is 4 x BLOCK bytes of `width x BLOCK`, a patch's part of it 4 of `width`.
        unsafe {
            let rows = rows.add(group * 4 * BLOCK).cast::<__m512i>();
            let rows: [__m512i; VECTORS] = std::array::from_fn(|v| _mm512_loadu_si512(rows.add(v)));
            for (q, sums) in sums.iter_mut().enumerate() {
                let patch = patches.add(q * width + group * 4).cast::<i32>().read_unaligned();
                let patch = _mm512_set1_epi32(patch);
                for (sum, rows) in sums.iter_mut().zip(rows) {
                    *sum = _mm512_dpbusd_epi32(*sum, rows, patch);
                }
            }
        }
    }
    let mut any = 0;
    for (q, sums) in sums.iter().enumerate() {
        hits.rows[q] = test(block, &strip.terms[q], sums);
        any |= hits.rows[q];
    }
    if any != 0 {
        for (sums, products) in sums.iter().zip(hits.products.as_chunks_mut::<BLOCK>().0) {
            for (sum, products) in sums.iter().zip(products.as_chunks_mut::<16>().0) {
                // SAFETY: 16 numbers are a vector.
                unsafe { _mm512_storeu_si512(products.as_mut_ptr().cast(), *sum) };
            }
        }
    }
    any != 0
}

/// The rows that are not beyond the bar; NaN is not.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn test(block: &Block, terms: &Terms, products: &[__m512i; VECTORS]) -> u64 {
    let mut rows = 0;
    for (v, product) in products.iter().enumerate() {
        // SAFETY: 16 of BLOCK numbers each.
        let (scale, square, tail, slack) = unsafe {
            (
                _mm512_loadu_ps(block.scales.as_ptr().add(16 * v)),
                _mm512_loadu_ps(block.squares.as_ptr().add(16 * v)),
                _mm512_loadu_ps(block.tails.as_ptr().add(16 * v)),
                _mm512_loadu_ps(block.slacks.as_ptr().add(16 * v)),
            )
        };
        let product = _mm512_mul_ps(_mm512_cvtepi32_ps(*product), scale);
        let sum = _mm512_fmadd_ps(product, _mm512_set1_ps(terms.scale), square);
        let sum = _mm512_fmadd_ps(tail, _mm512_set1_ps(terms.tail), sum);
        let sum = _mm512_fmadd_ps(slack, _mm512_set1_ps(terms.slack), sum);
        let near = _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(sum, _mm512_set1_ps(terms.bar));
        rows |= u64::from(near) << (16 * v);
    }
    rows
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn dot(row: &[u8], patch: &[i8]) -> i32 {
    let mut sum = _mm512_setzero_si512();
    for (row, patch) in row.as_chunks::<64>().0.iter().zip(patch.as_chunks::<64>().0) {
        // SAFETY: 64 bytes are a vector.
        unsafe {
            let row = _mm512_loadu_si512(row.as_ptr().cast());
            sum = _mm512_dpbusd_epi32(sum, row, _mm512_loadu_si512(patch.as_ptr().cast()));
        }
    }
    _mm512_reduce_add_epi32(sum)
}

/// Adds the squared differences of 16 numbers, 8 each.
#[inline]
#[target_feature(enable = "avx512f")]
fn add_squares(sums: &mut [__m512d; 2], patch: __m512, row: __m512) {
    let halves = |x: __m512| {
        let x = _mm512_castps_pd(x);
        [_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd::<1>(x)]
            .map(|x| _mm512_cvtps_pd(_mm256_castpd_ps(x)))
    };
    for (sum, (a, b)) in sums.iter_mut().zip(halves(patch).into_iter().zip(halves(row))) {
        let difference = _mm512_sub_pd(a, b);
        *sum = _mm512_fmadd_pd(difference, difference, *sum);
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn distance_f16(patch: &[f32], row: &[f16]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<16>(), row.as_chunks::<16>());
    let mut sums = [_mm512_setzero_pd(); 2];
    for (a, b) in a.iter().zip(b) {
        // SAFETY: 16 numbers of 32 or 16 bits are a vector of 512 or 256.
        let (a, b) =
            unsafe { (_mm512_loadu_ps(a.as_ptr()), _mm512_cvtph_ps(_mm256_loadu_si256(b.as_ptr().cast()))) };
        add_squares(&mut sums, a, b);
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    _mm512_reduce_add_pd(_mm512_add_pd(sums[0], sums[1])) + rest.sum::<f64>()
}

#[target_feature(enable = "avx512f")]
pub(super) fn distance_f32(patch: &[f32], row: &[f32]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<16>(), row.as_chunks::<16>());
    let mut sums = [_mm512_setzero_pd(); 2];
    for (a, b) in a.iter().zip(b) {
        // SAFETY: 16 numbers are a vector.
        let (a, b) = unsafe { (_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr())) };
        add_squares(&mut sums, a, b);
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    _mm512_reduce_add_pd(_mm512_add_pd(sums[0], sums[1])) + rest.sum::<f64>()
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn encode_avx512(input: Encode) -> Code {
    encode::encode(input)
}

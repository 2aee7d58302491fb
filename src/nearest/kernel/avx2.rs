//! The kernels for x86-64 processors with AVX2, with and without its VNNI.

use std::arch::x86_64::*;

use half::f16;

use super::{BLOCK, Block, Hits, Kernel, Strip, Terms, nothing};
use crate::nearest::encode::{self, Code, Encode};

/// Patches per strip: 4 x 2 accumulators leave room for the rows and the intermediate products.
const STRIP: usize = 4;
/// Rows per vector.
const LANES: usize = 8;

/// Pairs of products are summed in 16 bits: 2 x 255 x 63 fits, twice that would not. Hence the
/// patches' numbers have seven bits.
pub(in crate::nearest) static AVX2: Kernel = Kernel {
    strip: STRIP,
    step: 4,
    limit: 63.0,
    cost: 1.0 / 20.0,
    bias: 128,
    rest_bias: 128,
    begin: nothing,
    end: nothing,
    screen,
    dot,
    distance_f16,
    distance_f32,
    encode: encode_avx2,
};

/// With the VNNI of AVX (Alder Lake, Zen 5 and newer), which does not pass through 16 bits.
pub(in crate::nearest) static AVX_VNNI: Kernel =
    Kernel { limit: 127.0, cost: 1.0 / 50.0, screen: screen_vnni, dot: dot_vnni, ..AVX2 };

/// Defines `screen` and `dot` with one way to multiply bytes: `sum` plus the products of four unsigned
/// bytes in each of eight lanes with four signed ones.
macro_rules! kernels {
    ($features:literal, $screen:ident, $dot:ident, |$sum:ident, $rows:ident, $patch:ident| $product:expr) => {
        #[target_feature(enable = $features)]
        fn $screen(block: &Block, strip: &Strip, hits: &mut Hits) -> bool {
            let width = strip.numbers.len() / STRIP;
            assert!(strip.terms.len() == STRIP && width.is_multiple_of(4));
            assert!(strip.numbers.len() == STRIP * width && block.numbers.len() == width * BLOCK);
            let mut any = 0;
            hits.rows[..STRIP].fill(0);
            for first in (0..BLOCK).step_by(2 * LANES) {
                let mut sums = [[_mm256_setzero_si256(); 2]; STRIP];
                for (sums, terms) in sums.iter_mut().zip(strip.terms) {
                    *sums = [_mm256_set1_epi32(terms.start); 2];
                }
                let (rows, patches) = (block.numbers.as_ptr(), strip.numbers.as_ptr());
                for group in 0..width / 4 {
                    // SAFETY: a group is 4 x BLOCK bytes of `width x BLOCK`, a patch's part of it 4 of
                    // `width`; the two vectors end with the row `first + 2 x LANES`.
                    unsafe {
                        let rows = rows.add((group * BLOCK + first) * 4).cast::<__m256i>();
                        let rows = [_mm256_loadu_si256(rows), _mm256_loadu_si256(rows.add(1))];
                        for (q, sums) in sums.iter_mut().enumerate() {
                            let patch = patches.add(q * width + group * 4).cast::<i32>().read_unaligned();
                            let $patch = _mm256_set1_epi32(patch);
                            for (sum, $rows) in sums.iter_mut().zip(rows) {
                                let $sum = *sum;
                                *sum = $product;
                            }
                        }
                    }
                }
                for (q, sums) in sums.iter().enumerate() {
                    let rows = test(block, first, &strip.terms[q], sums);
                    hits.rows[q] |= rows;
                    any |= rows;
                    if rows != 0 {
                        let products = &mut hits.products[q * BLOCK + first..][..2 * LANES];
                        for (sum, products) in sums.iter().zip(products.as_chunks_mut::<LANES>().0) {
                            // SAFETY: eight numbers are a vector.
                            unsafe { _mm256_storeu_si256(products.as_mut_ptr().cast(), *sum) };
                        }
                    }
                }
            }
            any != 0
        }

        #[target_feature(enable = $features)]
        fn $dot(row: &[u8], patch: &[i8]) -> i32 {
            let mut sums = [_mm256_setzero_si256(); 2];
            for (row, patch) in row.as_chunks::<64>().0.iter().zip(patch.as_chunks::<64>().0) {
                for (half, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: half of 64 bytes is a vector.
                    let ($rows, $patch) = unsafe {
                        (
                            _mm256_loadu_si256(row.as_ptr().cast::<__m256i>().add(half)),
                            _mm256_loadu_si256(patch.as_ptr().cast::<__m256i>().add(half)),
                        )
                    };
                    let $sum = *sum;
                    *sum = $product;
                }
            }
            let sum = _mm256_add_epi32(sums[0], sums[1]);
            let sum = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
            let sum = _mm_add_epi32(sum, _mm_shuffle_epi32::<0b01_00_11_10>(sum));
            _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32::<0b10_11_00_01>(sum)))
        }
    };
}

kernels!("avx2,fma", screen, dot, |sum, rows, patch| {
    let pairs = _mm256_maddubs_epi16(rows, patch);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
});
kernels!("avx2,fma,avxvnni", screen_vnni, dot_vnni, |sum, rows, patch| {
    _mm256_dpbusd_avx_epi32(sum, rows, patch)
});

/// The rows of the 16 from `first` on that are not beyond the bar; NaN is not.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn test(block: &Block, first: usize, terms: &Terms, products: &[__m256i; 2]) -> u64 {
    let mut rows = 0;
    for (v, product) in products.iter().enumerate() {
        let at = first + v * LANES;
        let part = |all: &[f32; BLOCK]| {
            // SAFETY: `at` and the LANES numbers from there are rows of the block.
            unsafe { _mm256_loadu_ps(all.as_ptr().add(at)) }
        };
        let product = _mm256_mul_ps(_mm256_cvtepi32_ps(*product), part(block.scales));
        let sum = _mm256_fmadd_ps(product, _mm256_set1_ps(terms.scale), part(block.squares));
        let sum = _mm256_fmadd_ps(part(block.tails), _mm256_set1_ps(terms.tail), sum);
        let sum = _mm256_fmadd_ps(part(block.slacks), _mm256_set1_ps(terms.slack), sum);
        let near = _mm256_cmp_ps::<_CMP_NGT_UQ>(sum, _mm256_set1_ps(terms.bar));
        rows |= u64::from(_mm256_movemask_ps(near) as u32) << at;
    }
    rows
}

/// Adds the squared differences of eight numbers, four each.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_squares(sums: &mut [__m256d; 2], patch: __m256, row: __m256) {
    let halves =
        |x: __m256| [_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x)].map(|x| _mm256_cvtps_pd(x));
    for (sum, (a, b)) in sums.iter_mut().zip(halves(patch).into_iter().zip(halves(row))) {
        let difference = _mm256_sub_pd(a, b);
        *sum = _mm256_fmadd_pd(difference, difference, *sum);
    }
}

/// The sum of all eight.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn total(sums: [__m256d; 2]) -> f64 {
    let mut each = [0.0; 4];
    // SAFETY: four numbers are a vector.
    unsafe { _mm256_storeu_pd(each.as_mut_ptr(), _mm256_add_pd(sums[0], sums[1])) };
    (each[0] + each[1]) + (each[2] + each[3])
}

#[target_feature(enable = "avx2,fma,f16c")]
fn distance_f16(patch: &[f32], row: &[f16]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<8>(), row.as_chunks::<8>());
    let mut sums = [_mm256_setzero_pd(); 2];
    for (a, b) in a.iter().zip(b) {
        // SAFETY: eight numbers of 32 or 16 bits are a vector of 256 or 128.
        let (a, b) =
            unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm256_cvtph_ps(_mm_loadu_si128(b.as_ptr().cast()))) };
        add_squares(&mut sums, a, b);
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    total(sums) + rest.sum::<f64>()
}

#[target_feature(enable = "avx2,fma")]
fn distance_f32(patch: &[f32], row: &[f32]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<8>(), row.as_chunks::<8>());
    let mut sums = [_mm256_setzero_pd(); 2];
    for (a, b) in a.iter().zip(b) {
        // SAFETY: eight numbers are a vector.
        let (a, b) = unsafe { (_mm256_loadu_ps(a.as_ptr()), _mm256_loadu_ps(b.as_ptr())) };
        add_squares(&mut sums, a, b);
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
    total(sums) + rest.sum::<f64>()
}

#[target_feature(enable = "avx2,fma")]
fn encode_avx2(input: Encode) -> Code {
    encode::encode(input)
}

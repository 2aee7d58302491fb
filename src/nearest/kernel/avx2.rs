//! The kernels for x86-64 processors with AVX2, with and without its VNNI.

use std::arch::x86_64::*;

use half::f16;

use super::{BLOCK, Block, Hits, Kernel, Strip, Terms, nothing};
use crate::nearest::encode::{self, Code, Encode};

/// Patches per strip: 4 x 2 accumulators leave room for the rows and the intermediate products.
const STRIP: usize = 4;
/// Rows per vector.
const LANES: usize = 8;

/// Groups of four numbers whose products are summed in 16 bits before they are widened: widening takes two of three instructions.
const TOGETHER: usize = 2;
/// Four groups would fit with numbers up to 45. Products are then a tenth faster, but more rows pass, and a search of real
/// features is no faster.
const LIMIT: u8 = 63;
// Of each group a sum of two products, of a row's number that is biased by the limit and a patch's.
const _: () = assert!(TOGETHER * 2 * (2 * LIMIT as usize) * LIMIT as usize <= i16::MAX as usize);

pub(in crate::nearest) static AVX2: Kernel = Kernel {
    strip: STRIP,
    step: 4 * TOGETHER,
    limit: LIMIT as f32,
    cost: 1.0 / 32.0,
    bias: LIMIT,
    rest_bias: LIMIT,
    begin: nothing,
    end: nothing,
    screen,
    dot,
    distance_f16,
    distance_f32,
    encode: encode_avx2,
};

/// With the VNNI of AVX (Alder Lake, Zen 5 and newer), which does not pass through 16 bits.
pub(in crate::nearest) static AVX_VNNI: Kernel = Kernel {
    step: 4,
    limit: 127.0,
    cost: 1.0 / 50.0,
    bias: 128,
    rest_bias: 128,
    screen: screen_vnni,
    dot: dot_vnni,
    ..AVX2
};

/// Numbers of two vectors of rows times a strip's patches.
type Sums = [[__m256i; 2]; STRIP];

/// Defines `screen`, with `$step` numbers at a time, and `dot`. `$multiply` adds to `$sums` the products of these numbers of a
/// strip and of the two vectors of rows that begin at `$rows`; a patch's numbers begin `$width` after those of the one before.
/// `$product` is `$sum` plus the products of four unsigned bytes in each of eight lanes with four signed ones.
macro_rules! kernels {
    (
        $features:literal, $screen:ident, $dot:ident, $step:expr,
        |$sums:ident, $rows:ident, $patches:ident, $width:ident| $multiply:expr,
        |$sum:ident, $row:ident, $patch:ident| $product:expr
    ) => {
        #[target_feature(enable = $features)]
        // Plain loops of few rounds are unrolled whatever else is optimised; iterators of them are not.
        #[allow(clippy::needless_range_loop)]
        fn $screen(block: &Block, strip: &Strip, hits: &mut Hits) -> bool {
            let $width = strip.numbers.len() / STRIP;
            assert!(strip.terms.len() == STRIP && $width.is_multiple_of($step));
            assert!(strip.numbers.len() == STRIP * $width && block.numbers.len() == $width * BLOCK);
            let mut any = 0;
            hits.rows[..STRIP].fill(0);
            for first in (0..BLOCK).step_by(2 * LANES) {
                let mut $sums = [[_mm256_setzero_si256(); 2]; STRIP];
                for (sums, terms) in $sums.iter_mut().zip(strip.terms) {
                    *sums = [_mm256_set1_epi32(terms.start); 2];
                }
                for at in (0..$width).step_by($step) {
                    // SAFETY: four numbers of all rows are 4 x BLOCK bytes of `width x BLOCK`; the two vectors end with the
                    // row `first + 2 x LANES`. `at` and the `$step` numbers from there are below `width`.
                    unsafe {
                        let $rows = block.numbers.as_ptr().add(at * BLOCK + first * 4).cast::<__m256i>();
                        let $patches = strip.numbers.as_ptr().add(at);
                        $multiply
                    }
                }
                any |= note(block, first, strip, &$sums, hits);
            }
            any != 0
        }

        #[target_feature(enable = $features)]
        fn $dot(row: &[u8], patch: &[i8]) -> i32 {
            let mut sums = [_mm256_setzero_si256(); 2];
            for (row, patch) in row.as_chunks::<64>().0.iter().zip(patch.as_chunks::<64>().0) {
                for (half, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: half of 64 bytes is a vector.
                    let ($row, $patch) = unsafe {
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

kernels!(
    "avx2,fma",
    screen,
    dot,
    4 * TOGETHER,
    |sums, rows, patches, width| {
        let mut pairs: Sums = [[_mm256_setzero_si256(); 2]; STRIP];
        for group in 0..TOGETHER {
            let [row, next] = two_vectors(rows, group);
            for q in 0..STRIP {
                let patch = four_numbers(patches, q * width, group);
                pairs[q][0] = _mm256_add_epi16(pairs[q][0], _mm256_maddubs_epi16(row, patch));
                pairs[q][1] = _mm256_add_epi16(pairs[q][1], _mm256_maddubs_epi16(next, patch));
            }
        }
        for q in 0..STRIP {
            sums[q][0] = _mm256_add_epi32(sums[q][0], _mm256_madd_epi16(pairs[q][0], _mm256_set1_epi16(1)));
            sums[q][1] = _mm256_add_epi32(sums[q][1], _mm256_madd_epi16(pairs[q][1], _mm256_set1_epi16(1)));
        }
    },
    |sum, row, patch| {
        let pairs = _mm256_maddubs_epi16(row, patch);
        _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
);
kernels!(
    "avx2,fma,avxvnni",
    screen_vnni,
    dot_vnni,
    4,
    |sums, rows, patches, width| {
        let [row, next] = two_vectors(rows, 0);
        for q in 0..STRIP {
            let patch = four_numbers(patches, q * width, 0);
            sums[q][0] = _mm256_dpbusd_avx_epi32(sums[q][0], row, patch);
            sums[q][1] = _mm256_dpbusd_avx_epi32(sums[q][1], next, patch);
        }
    },
    |sum, row, patch| _mm256_dpbusd_avx_epi32(sum, row, patch)
);

/// Four numbers of 16 rows, `group` groups of four after `rows`.
///
/// # Safety
/// They lie in the block.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn two_vectors(rows: *const __m256i, group: usize) -> [__m256i; 2] {
    // SAFETY: as the caller promises; a group of four numbers is 4 x BLOCK bytes.
    unsafe {
        let rows = rows.byte_add(group * 4 * BLOCK);
        [_mm256_loadu_si256(rows), _mm256_loadu_si256(rows.add(1))]
    }
}

/// Four numbers of a patch in each lane: the numbers `patch` and `group` groups of four after `patches`.
///
/// # Safety
/// They lie in the strip.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn four_numbers(patches: *const i8, patch: usize, group: usize) -> __m256i {
    // SAFETY: as the caller promises.
    _mm256_set1_epi32(unsafe { patches.add(patch + 4 * group).cast::<i32>().read_unaligned() })
}

/// Notes which of the 16 rows from `first` on are hits of any patch, and their products; gives the rows. Mostly there are none:
/// that is found out for all patches at once.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[allow(clippy::needless_range_loop)]
fn note(block: &Block, first: usize, strip: &Strip, sums: &Sums, hits: &mut Hits) -> u64 {
    let mut near = [[_mm256_setzero_ps(); 2]; STRIP];
    let mut some = _mm256_setzero_ps();
    for v in 0..2 {
        for q in 0..STRIP {
            near[q][v] = test(block, first + v * LANES, &strip.terms[q], sums[q][v]);
            some = _mm256_or_ps(some, near[q][v]);
        }
    }
    if _mm256_movemask_ps(some) == 0 {
        return 0;
    }
    let mut any = 0;
    for q in 0..STRIP {
        let masks = [near[q][0], near[q][1]].map(|near| _mm256_movemask_ps(near) as u32);
        let rows = u64::from(masks[0] | masks[1] << LANES) << first;
        hits.rows[q] |= rows;
        any |= rows;
        if rows != 0 {
            let products = &mut hits.products[q * BLOCK + first..][..2 * LANES];
            for (sum, products) in sums[q].iter().zip(products.as_chunks_mut::<LANES>().0) {
                // SAFETY: eight numbers are a vector.
                unsafe { _mm256_storeu_si256(products.as_mut_ptr().cast(), *sum) };
            }
        }
    }
    any
}

/// Which of the eight rows from `at` on are not beyond the bar; NaN is not.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn test(block: &Block, at: usize, terms: &Terms, product: __m256i) -> __m256 {
    let part = |all: &[f32; BLOCK]| {
        debug_assert!(at + LANES <= BLOCK);
        // SAFETY: `at` and the LANES numbers from there are rows of the block.
        unsafe { _mm256_loadu_ps(all.as_ptr().add(at)) }
    };
    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(product), part(block.scales));
    let sum = _mm256_fmadd_ps(product, _mm256_set1_ps(terms.scale), part(block.squares));
    let sum = _mm256_fmadd_ps(part(block.tails), _mm256_set1_ps(terms.tail), sum);
    let sum = _mm256_fmadd_ps(part(block.slacks), _mm256_set1_ps(terms.slack), sum);
    _mm256_cmp_ps::<_CMP_NGT_UQ>(sum, _mm256_set1_ps(terms.bar))
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

//! The kernel for every processor, in plain Rust.

use half::f16;

use super::{BLOCK, Block, Hits, Kernel, Strip, Terms, nothing};
use crate::nearest::encode;

/// Plain Rust.
pub(in crate::nearest) static PORTABLE: Kernel = Kernel {
    strip: 4,
    step: 4,
    limit: 127.0,
    cost: 0.5,
    bias: 0,
    rest_bias: 0,
    begin: nothing,
    end: nothing,
    screen,
    dot,
    distance_f16: distance::<f16>,
    distance_f32: distance::<f32>,
    encode: encode::encode,
};

fn screen(block: &Block, strip: &Strip, hits: &mut Hits) -> bool {
    let width = strip.numbers.len() / strip.terms.len();
    let mut any = 0;
    for (q, terms) in strip.terms.iter().enumerate() {
        let products: &mut [i32; BLOCK] = &mut hits.products.as_chunks_mut().0[q];
        products.fill(terms.start);
        let groups = strip.numbers[q * width..][..width].as_chunks::<4>().0;
        for (rows, patch) in block.numbers.as_chunks::<{ 4 * BLOCK }>().0.iter().zip(groups) {
            let patch = patch.map(i32::from);
            for (product, row) in products.iter_mut().zip(rows.as_chunks::<4>().0) {
                for (r, p) in row.iter().zip(patch) {
                    *product += i32::from(*r as i8) * p;
                }
            }
        }
        hits.rows[q] = test(block, terms, products);
        any |= hits.rows[q];
    }
    any != 0
}

/// The rows that are not beyond the bar.
fn test(block: &Block, terms: &Terms, products: &[i32; BLOCK]) -> u64 {
    let mut rows = 0;
    for (r, product) in products.iter().enumerate() {
        let sum = block.squares[r]
            + terms.scale * (block.scales[r] * *product as f32)
            + terms.tail * block.tails[r]
            + terms.slack * block.slacks[r];
        // Written so that NaN is a hit.
        let beyond = sum > terms.bar;
        rows |= u64::from(!beyond) << r;
    }
    rows
}

fn dot(row: &[u8], patch: &[i8]) -> i32 {
    row.iter().zip(patch).map(|(r, p)| i32::from(*r as i8) * i32::from(*p)).sum()
}

/// Squared distance of a patch to a stored row, in double precision.
fn distance<T: Copy + Into<f64>>(patch: &[f32], row: &[T]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (patch.as_chunks::<8>(), row.as_chunks::<8>());
    let mut sums = [0.0f64; 8];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            let difference = f64::from(*a) - (*b).into();
            *sum += difference * difference;
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| (f64::from(*a) - (*b).into()).powi(2));
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

//! Greedy k-centre (Gonzalez 1985): again and again the row that is farthest from all rows taken so far. The
//! covering radius is at most twice the smallest that so many centres can have.
//!
//! Lazy: a row's distance to the centres only ever shrinks, so an old one is an upper bound, and rows whose bound
//! is below the farthest row's true distance need not be looked at. The result is that of the plain
//! algorithm, centre by centre.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rayon::prelude::*;

use crate::bank::Rows;
use crate::stop::Stop;

/// Rows brought up to date together.
const BATCH: usize = 512;
/// Rows of a batch that one task converts and holds.
const ROWS: usize = 32;
/// Centres that a task's rows are compared with before the next ones: they stay in the L2 cache.
const CENTRES: usize = 128;
/// Sums per distance: the result does not depend on the vectors of the machine.
const LANES: usize = 32;

/// The centres in the order they were taken, and the squared distance of the farthest row to them.
#[derive(Debug)]
pub(super) struct Centres {
    pub(super) rows: Vec<usize>,
    pub(super) squared_radius: f32,
}

/// One row and what is known about it.
#[derive(Clone, Copy)]
struct Waiting {
    row: usize,
    /// Squared distance to the nearest of the first `seen` centres.
    bound: f32,
    seen: usize,
}

/// Takes `to` of `rows`, `first` among them, in memory of `to` rows as f32 beside the bank. Of equally far rows the
/// first is taken. Runs on the current rayon pool; `None` if stopped.
pub(super) fn centres(
    rows: Rows,
    width: usize,
    to: usize,
    first: usize,
    told: &mut (dyn FnMut(usize) + Send),
    stop: &Stop,
) -> Option<Centres> {
    let count = rows.count(width);
    let mut taken = vec![first];
    let mut numbers = vec![0.0; width];
    rows.copy_to(first * width, &mut numbers);
    let mut state: Vec<(f32, usize)> = vec![(f32::INFINITY, 0); count];
    // Squared distances are not negative: their bits are ordered as they are.
    let mut heap: BinaryHeap<(u32, Reverse<usize>)> =
        (0..count).filter(|row| *row != first).map(|row| (f32::INFINITY.to_bits(), Reverse(row))).collect();
    let mut batch: Vec<Waiting> = Vec::new();
    loop {
        if stop.asked() {
            return None;
        }
        let Some((bits, Reverse(row))) = heap.pop() else {
            return Some(Centres { rows: taken, squared_radius: 0.0 });
        };
        if state[row].1 == taken.len() {
            if taken.len() == to {
                return Some(Centres { rows: taken, squared_radius: f32::from_bits(bits) });
            }
            let end = numbers.len();
            numbers.resize(end + width, 0.0);
            rows.copy_to(row * width, &mut numbers[end..]);
            taken.push(row);
            told(taken.len());
            continue;
        }
        batch.clear();
        batch.push(Waiting { row, bound: state[row].0, seen: state[row].1 });
        while batch.len() < BATCH
            && let Some(&(_, Reverse(next))) = heap.peek()
            && state[next].1 < taken.len()
        {
            heap.pop();
            batch.push(Waiting { row: next, bound: state[next].0, seen: state[next].1 });
        }
        // A row whose bound falls below this is not the farthest, and may wait.
        let enough = heap.peek().map_or(0.0, |(bits, _)| f32::from_bits(*bits));
        batch.par_chunks_mut(ROWS).for_each_init(
            || vec![0.0; ROWS * width],
            |features, waiting| refresh(waiting, features, rows, &numbers, width, enough),
        );
        for waiting in &batch {
            state[waiting.row] = (waiting.bound, waiting.seen);
            heap.push((waiting.bound.to_bits(), Reverse(waiting.row)));
        }
    }
}

/// Compares each row with the centres it has not seen, until its bound is below `enough`.
fn refresh(
    waiting: &mut [Waiting],
    features: &mut [f32],
    rows: Rows,
    centres: &[f32],
    width: usize,
    enough: f32,
) {
    for (waiting, feature) in waiting.iter().zip(features.chunks_exact_mut(width)) {
        rows.copy_to(waiting.row * width, feature);
    }
    let count = centres.len() / width;
    let from = waiting.iter().map(|w| w.seen).min().unwrap_or(count);
    for start in (from..count).step_by(CENTRES) {
        let end = count.min(start + CENTRES);
        for (waiting, feature) in waiting.iter_mut().zip(features.chunks_exact(width)) {
            if waiting.bound < enough || waiting.seen >= end || waiting.seen < start {
                continue;
            }
            let block = &centres[waiting.seen * width..end * width];
            waiting.bound = waiting.bound.min(nearest(feature, block));
            waiting.seen = end;
        }
    }
}

/// Squared distance of `feature` to the nearest of `centres`.
fn nearest(feature: &[f32], centres: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512.
            return unsafe { nearest_avx512(feature, centres) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2.
            return unsafe { nearest_avx2(feature, centres) };
        }
    }
    nearest_any(feature, centres)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn nearest_avx512(feature: &[f32], centres: &[f32]) -> f32 {
    nearest_any(feature, centres)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn nearest_avx2(feature: &[f32], centres: &[f32]) -> f32 {
    nearest_any(feature, centres)
}

#[inline(always)]
fn nearest_any(feature: &[f32], centres: &[f32]) -> f32 {
    let squared = |centre: &[f32]| {
        let ((a, rest_a), (b, rest_b)) = (feature.as_chunks::<LANES>(), centre.as_chunks::<LANES>());
        let mut sums = [0.0f32; LANES];
        for (a, b) in a.iter().zip(b) {
            for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
                *sum += (a - b) * (a - b);
            }
        }
        let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| (a - b) * (a - b)).sum();
        sums.iter().sum::<f32>() + rest
    };
    centres.chunks_exact(feature.len()).map(squared).fold(f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bank::RowsBuf;

    /// The plain algorithm in double precision.
    fn plain(data: &[f32], width: usize, to: usize, first: usize) -> (Vec<usize>, f64) {
        let rows: Vec<&[f32]> = data.chunks(width).collect();
        let squared = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum()
        };
        let mut near: Vec<f64> = rows.iter().map(|r| squared(r, rows[first])).collect();
        let mut taken = vec![first];
        let farthest = |near: &[f64], taken: &[usize]| {
            let left = (0..near.len()).filter(|r| !taken.contains(r));
            left.fold(None, |best: Option<usize>, r| match best {
                Some(b) if near[b] >= near[r] => Some(b),
                _ => Some(r),
            })
        };
        while taken.len() < to {
            let next = farthest(&near, &taken).unwrap();
            taken.push(next);
            for (n, r) in near.iter_mut().zip(&rows) {
                *n = n.min(squared(r, rows[next]));
            }
        }
        (taken, near.into_iter().fold(0.0, f64::max))
    }

    #[test]
    fn the_lazy_choice_is_that_of_the_plain_algorithm() {
        for (count, width, to, scale) in
            [(1, 3, 1, 1.0), (40, 1, 40, 1.0), (700, 37, 90, 1.0), (1500, 64, 300, 50.0), (300, 5, 299, 0.1)]
        {
            let mut state = count as u32 * 31 + width as u32;
            let data: Vec<f32> = (0..count * width)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Multiples of 1/256: exact in f32, and with ties.
                    ((state >> 24) as f32 - 128.0) / 256.0 * scale
                })
                .collect();
            let mut rows = RowsBuf::new(crate::bank::DataType::F32);
            data.chunks(width).enumerate().for_each(|(i, row)| rows.set(i, row));
            let first = count / 3;
            let (want, radius) = plain(&data, width, to, first);
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut seen = Vec::new();
                let found = pool
                    .install(|| {
                        let mut told = |n| seen.push(n);
                        centres(rows.view(), width, to, first, &mut told, &Stop::new())
                    })
                    .unwrap();
                assert_eq!(found.rows, want, "{count} x {width}, {to}, {threads} threads");
                assert!((f64::from(found.squared_radius) - radius).abs() <= 1e-5 * radius);
                assert_eq!(seen, (2..=to).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_stop_ends_it() {
        let mut rows = RowsBuf::new(crate::bank::DataType::F16);
        (0..10).for_each(|i| rows.set(i, &[i as f32]));
        let stop = Stop::new();
        stop.ask();
        assert!(centres(rows.view(), 1, 5, 0, &mut |_| {}, &stop).is_none());
    }
}

//! What a change of a model does to distances: patches of real pictures, searched among patches of other pictures, before
//! and after it.

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::bank::{DataType, References, RowsBuf};
use crate::grid::{Distances, Features, Grid};
use crate::nearest::{Backend, CpuSearch, Nearest};
use crate::pool::Pooled;

/// Neighbours, as in detection by default.
const K: usize = 3;
/// References at most; of more, every n-th is taken.
const MOST: usize = 8192;

/// Features of one picture before and after, `grid x C` each.
#[derive(Debug, Clone, Default)]
pub(super) struct Pair {
    pub(super) grid: (usize, usize),
    pub(super) before: Vec<f32>,
    pub(super) after: Vec<f32>,
}

/// The features before, or those after.
type Side = fn(&Pair) -> &[f32];

/// Mean distances to the 3 nearest references, compared patch by patch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DistanceEffect {
    /// Pictures that the patches are of.
    pub pictures: usize,
    /// Patches that were measured.
    pub patches: usize,
    /// References that each was searched among.
    pub references: usize,
    /// Whether the references are patches of the other pictures; else every other patch of the same one.
    pub other_pictures: bool,
    /// Patches and references both by the changed model, as with a bank that it has built.
    pub own_bank: Change,
    /// Patches by the changed model among references by the former one, as with a bank that was built before.
    pub former_bank: Change,
}

/// How far distances are off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// Mean of |after - before| as part of the mean distance before.
    pub relative_error: f64,
    /// Mean distance after, divided by that before.
    pub ratio: f64,
    /// Spearman's rank correlation of the distances before and after: 1 where the order of patches has not changed.
    pub rank_correlation: f64,
}

/// Measures the effect on distances of features that are `width` wide; nothing if there are too few patches.
///
/// # Errors
/// If the search fails, or features are no whole patches.
pub(super) fn effect(pairs: &[Pair], width: usize) -> Result<Option<DistanceEffect>> {
    let whole = |pair: &Pair| {
        let numbers = pair.grid.0 * pair.grid.1 * width;
        width > 0 && pair.before.len() == numbers && pair.after.len() == numbers
    };
    ensure!(pairs.iter().all(whole), "the features are no whole patches of {width} numbers");
    let other_pictures = pairs.len() > 1;
    let (mut before, mut own, mut former) = (Vec::new(), Vec::new(), Vec::new());
    let mut references = usize::MAX;
    for (number, pair) in pairs.iter().enumerate() {
        let among = |of: Side| -> Vec<f32> {
            if !other_pictures {
                return half(pair, of, width, 1);
            }
            let others = pairs.iter().enumerate().filter(|(other, _)| *other != number);
            others.flat_map(|(_, other)| of(other)).copied().collect()
        };
        let patches = |of: Side| {
            if other_pictures { of(pair).to_vec() } else { half(pair, of, width, 0) }
        };
        let (was, is): (Side, Side) = (|pair| &pair.before, |pair| &pair.after);
        let (mut former_rows, mut own_rows) = (search(among(was), width)?, search(among(is), width)?);
        let (Some(former_rows), Some(own_rows)) = (&mut former_rows, &mut own_rows) else { return Ok(None) };
        references = references.min(former_rows.1);
        before.extend(distances(&mut former_rows.0, patches(was), width)?);
        own.extend(distances(&mut own_rows.0, patches(is), width)?);
        former.extend(distances(&mut former_rows.0, patches(is), width)?);
    }
    Ok((!before.is_empty()).then(|| DistanceEffect {
        pictures: pairs.len(),
        patches: before.len(),
        references,
        other_pictures,
        own_bank: change(&before, &own),
        former_bank: change(&before, &former),
    }))
}

/// The patches of one colour of a chessboard.
fn half(pair: &Pair, of: Side, width: usize, colour: usize) -> Vec<f32> {
    let cols = pair.grid.1.max(1);
    let patches = of(pair).chunks_exact(width).enumerate();
    let own = patches.filter(|(n, _)| (n / cols + n % cols) % 2 == colour);
    own.flat_map(|(_, patch)| patch).copied().collect()
}

/// A search among these, of which every n-th is taken, and how many they are; nothing if they are fewer than neighbours.
fn search(numbers: Vec<f32>, width: usize) -> Result<Option<(CpuSearch, usize)>> {
    let count = numbers.len() / width;
    let every = count.div_ceil(MOST).max(1);
    let mut rows = RowsBuf::new(DataType::F32);
    for (at, row) in numbers.chunks_exact(width).step_by(every).enumerate() {
        rows.set(at, row);
    }
    let references = References::of(rows, width);
    let taken = references.rows();
    if taken < K {
        return Ok(None);
    }
    Ok(Some((CpuSearch::with(Backend::Auto, K, 0, references)?, taken)))
}

fn distances(search: &mut CpuSearch, patches: Vec<f32>, width: usize) -> Result<Vec<f32>> {
    let grid = Grid { rows: 1, cols: patches.len() / width };
    let features = Features { grid, width, data: Pooled::unpooled(patches), on_gpu: None };
    let mut out = Distances::default();
    search.distances(&features, &mut out)?;
    Ok(out.data.to_vec())
}

fn change(before: &[f32], after: &[f32]) -> Change {
    let sum = |numbers: &mut dyn Iterator<Item = f64>| numbers.sum::<f64>();
    let all = sum(&mut before.iter().map(|d| f64::from(*d))).max(f64::MIN_POSITIVE);
    let pairs = before.iter().zip(after);
    Change {
        relative_error: sum(&mut pairs.map(|(a, b)| (f64::from(*b) - f64::from(*a)).abs())) / all,
        ratio: sum(&mut after.iter().map(|d| f64::from(*d))) / all,
        rank_correlation: rank_correlation(before, after),
    }
}

/// Spearman's: Pearson's correlation of the ranks, equal numbers sharing the mean of theirs. 1 where one side has but one
/// rank: no order is changed then.
fn rank_correlation(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    if spread > 0.0 { product(&a, &b) / spread } else { 1.0 }
}

/// The rank of each number from 1 on.
fn ranks(numbers: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..numbers.len()).collect();
    order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b]));
    let mut ranks = vec![0.0; numbers.len()];
    let mut first = 0;
    for group in order.chunk_by(|a, b| numbers[*a] == numbers[*b]) {
        let rank = first as f64 + (group.len() as f64 + 1.0) / 2.0;
        group.iter().for_each(|at| ranks[*at] = rank);
        first += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_spearmans() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert!((rank_correlation(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]) - 1.0).abs() < 1e-12);
        assert!((rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // 1 - 6 * (1 + 1 + 4 + 4) / (5 * 24).
        let got = rank_correlation(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 5.0, 4.0, 3.0]);
        assert!((got - 0.5).abs() < 1e-12, "{got}");
        assert_eq!(rank_correlation(&[1.0, 1.0], &[1.0, 2.0]), 1.0);
    }

    /// A picture of 4 x 5 patches of 2 numbers, far apart from patch to patch.
    fn pair(shift: f32, after: impl Fn(f32) -> f32) -> Pair {
        let before: Vec<f32> = (0..40).map(|n| shift + ((n * n) as f32 * 0.7).sin() * 5.0).collect();
        Pair { grid: (4, 5), after: before.iter().map(|x| after(*x)).collect(), before }
    }

    #[test]
    fn distances_before_and_after_are_compared() {
        let same = effect(&[pair(0.0, |x| x), pair(0.3, |x| x)], 2).unwrap().unwrap();
        let none = Change { relative_error: 0.0, ratio: 1.0, rank_correlation: 1.0 };
        assert_eq!((same.own_bank, same.former_bank), (none, none));
        assert_eq!((same.pictures, same.patches, same.references, same.other_pictures), (2, 40, 20, true));
        // Everything twice as large: a bank of its own keeps the order, a former one does not.
        let twice = effect(&[pair(0.0, |x| 2.0 * x), pair(0.3, |x| 2.0 * x)], 2).unwrap().unwrap();
        assert!((twice.own_bank.ratio - 2.0).abs() < 1e-5, "{twice:?}");
        assert!((twice.own_bank.relative_error - 1.0).abs() < 1e-5);
        assert!(twice.own_bank.rank_correlation > 0.9999 && twice.former_bank.rank_correlation < 0.9);
        // One picture: every other patch is a reference.
        let one = effect(&[pair(0.0, |x| x)], 2).unwrap().unwrap();
        assert_eq!((one.patches, one.references, one.other_pictures), (10, 10, false));
        assert!(effect(&[], 2).unwrap().is_none());
        let tiny = Pair { grid: (1, 2), before: vec![0.0; 4], after: vec![0.0; 4] };
        assert!(
            effect(std::slice::from_ref(&tiny), 2).unwrap().is_none(),
            "fewer references than neighbours"
        );
        assert!(effect(&[tiny], 3).is_err());
    }

    /// The distance of a patch is that of the formula.
    #[test]
    fn the_change_is_that_of_a_naive_search() {
        let pairs = [pair(0.0, |x| x + 0.1 * x.cos()), pair(1.0, |x| x + 0.1 * x.cos())];
        let told = effect(&pairs, 2).unwrap().unwrap();
        let naive = |patches: &[f32], rows: &[f32]| -> Vec<f64> {
            let one = |patch: &[f32]| {
                let mut all: Vec<f64> = rows
                    .chunks(2)
                    .map(|row| f64::from(row[0] - patch[0]).hypot(f64::from(row[1] - patch[1])))
                    .collect();
                all.sort_by(f64::total_cmp);
                all[..3].iter().sum::<f64>() / 3.0
            };
            patches.chunks(2).map(one).collect()
        };
        let [a, b] = &pairs;
        let before = [naive(&a.before, &b.before), naive(&b.before, &a.before)].concat();
        let own = [naive(&a.after, &b.after), naive(&b.after, &a.after)].concat();
        let off: f64 = before.iter().zip(&own).map(|(x, y)| (x - y).abs()).sum();
        let want = off / before.iter().sum::<f64>();
        assert!((told.own_bank.relative_error - want).abs() < 1e-5 && want > 1e-3, "{told:?} {want}");
    }
}

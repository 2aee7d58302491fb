//! How many numbers to compare first, and along which directions: tried on a sample of the bank.

use super::kernel::Kernel;
use super::rotation::{Directions, Rotation};
use super::space::Space;
use crate::bank::Rows;

/// Rows that the directions are found from.
const SAMPLE: usize = 4096;
/// Rows of the sample that play the patches.
const PATCHES: usize = 48;
/// Neighbours that make the bar of the trial.
const NEIGHBOURS: usize = 3;
/// Heads that are tried: multiples of this, at most half of the width and four of them.
const STEP: usize = 64;
/// Narrower rows are not worth a rotation.
const NARROWEST: usize = 192;
/// Fewer rows neither.
const FEWEST: usize = 2048;
/// What the codes of a head lose, relative to its norm: with Gaussian numbers of one size 0.8 % on each side.
const LOSS: f32 = 0.016;
/// Cycles to test a pair once its product is there.
const TEST: f64 = 0.3;
/// Cycles to look at a pair that a head does not rule out, without its numbers.
const LOOK: f64 = 30.0;

/// Chooses the head for `kernel` and turns `space` accordingly; the number of its numbers. All of
/// them, without a rotation, where a head rules out too little. Depends on the bank and kernel alone.
pub(super) fn choose(rows: Rows<'_>, space: &mut Space, kernel: &Kernel) -> usize {
    let (width, count) = (space.width(), rows.count(space.width()));
    if width < NARROWEST || !width.is_multiple_of(16) || count < FEWEST || !space.sound {
        return width;
    }
    let taken = count.min(SAMPLE);
    let mut sample = vec![0.0; taken * width];
    for (i, row) in sample.chunks_exact_mut(width).enumerate() {
        rows.copy_to(i * count / taken * width, row);
        space.centre(row);
    }
    let most = (width / 2 / STEP * STEP).min(4 * STEP);
    let directions = Directions::principal(&sample, width, most);
    let passing = passing(&sample, width, &directions);
    let whole = TEST + width as f64 * kernel.cost;
    let cost = |&(head, share): &(usize, f64)| {
        TEST + head as f64 * kernel.cost + share * (LOOK + (width - head) as f64 / 16.0)
    };
    match passing.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))) {
        Some(best) if cost(best) < 0.8 * whole => {
            space.rotation = Some(Rotation::new(&directions, best.0));
            best.0
        }
        _ => width,
    }
}

/// Per head: the share of pairs that it does not rule out.
fn passing(sample: &[f32], width: usize, directions: &Directions) -> Vec<(usize, f64)> {
    let (count, most) = (sample.len() / width, directions.data.len() / width);
    let coordinates = directions.coordinates(sample);
    let norms: Vec<f32> = sample.chunks_exact(width).map(|row| row.iter().map(|x| x * x).sum()).collect();
    // Per row and head: squared norm of the tail, from the squared norm of the head.
    let heads: Vec<usize> = (STEP..=most).step_by(STEP).collect();
    let squares = |row: usize| {
        let row = &coordinates[row * most..][..most];
        heads.iter().map(move |head| row[..*head].iter().map(|x| x * x).sum::<f32>()).collect::<Vec<_>>()
    };
    let parts: Vec<Vec<f32>> = (0..count).map(squares).collect();
    let mut passed = vec![0usize; heads.len()];
    for p in 0..PATCHES {
        let patch = p * count / PATCHES;
        // Per row: the bound of each head, and the distance.
        let mut distances = Vec::with_capacity(count);
        let mut bounds = Vec::with_capacity(count);
        for row in (0..count).filter(|row| *row != patch) {
            let (a, b) = (&coordinates[patch * most..][..most], &coordinates[row * most..][..most]);
            let (mut sum, mut bound) = (0.0f32, Vec::with_capacity(heads.len()));
            for (h, (a, b)) in a.chunks_exact(STEP).zip(b.chunks_exact(STEP)).enumerate() {
                sum += a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
                let tail = |row: usize| (norms[row] - parts[row][h]).max(0.0).sqrt();
                bound.push((sum + (tail(patch) - tail(row)).powi(2)).sqrt() - LOSS * parts[patch][h].sqrt());
            }
            let (a, b) = (&sample[patch * width..][..width], &sample[row * width..][..width]);
            distances.push(a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt());
            bounds.push(bound);
        }
        distances.select_nth_unstable_by(NEIGHBOURS - 1, f32::total_cmp);
        let bar = distances[NEIGHBOURS - 1];
        for (h, passed) in passed.iter_mut().enumerate() {
            *passed += bounds.iter().filter(|bound| bound[h] <= bar).count();
        }
    }
    let pairs = (PATCHES * (count - 1)) as f64;
    heads.iter().zip(passed).map(|(head, passed)| (*head, passed as f64 / pairs)).collect()
}

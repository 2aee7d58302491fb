//! The focus of expansion: the point of the picture towards which the camera moves.
//!
//! While a camera moves without turning, all that stands still leads away from one point of its picture (Longuet-Higgins and
//! Prazdny, "The interpretation of a moving retinal image", 1980). If it drives along a flat road, that is the point in which
//! the road vanishes, and its row is the horizon's. Turning and pitching move the point, so that one pair of frames says
//! little: many have to agree.

use super::{BLOCK, REACH, Reduced};
use crate::random::Random;

/// Pixels of the small pictures from one block to the next.
const STRIDE: usize = BLOCK / 2;
/// Blocks are followed whose structure tensor (of differences of grey levels) has no smaller eigenvalue: a plain one and
/// one along an edge could be anywhere.
const CORNER: f32 = 20.0;
/// Grey levels of 255 by which a block may differ from where it is found, on average.
const ALIKE: f32 = 12.0;
/// A place farther than this from the best one is another place.
const APART: i32 = 2;
/// Motion in small pixels below which a block says nothing: parts of a pixel are measured with a bias, which moves the point.
const MOVED: f64 = 2.5;
/// So many blocks have to move.
const LEAST: usize = 10;
/// Pairs of blocks whose lines are crossed.
const TRIED: usize = 300;
/// How far a motion may lead past the point: small pixels, and share of its length.
const OFF: (f64, f64) = (0.6, 0.09);
/// Share of the moving blocks that have to lead away from the point.
const AGREE: f64 = 0.5;

/// What two pictures show of the way in which the camera moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expansion {
    /// Too little is seen to move: a later picture may tell.
    Still,
    /// What moves does not lead away from one point.
    Unclear,
    /// It does: column and row in shares of the picture.
    From {
        /// Share of the width.
        column: f64,
        /// Share of the height.
        row: f64,
    },
}

/// A block that was found again: its centre in the later picture, and the way it has come, in small pixels.
#[derive(Debug, Clone, Copy)]
struct Trace {
    at: [f64; 2],
    moved: [f64; 2],
}

impl Trace {
    fn length(&self) -> f64 {
        self.moved[0].hypot(self.moved[1])
    }

    /// The line through `at` along `moved`, in Hesse's normal form: a point on it has the product `offset` with `normal`.
    fn line(&self) -> ([f64; 2], f64) {
        let ([x, y], [u, v], length) = (self.at, self.moved, self.length());
        let normal = [v / length, -u / length];
        (normal, normal[0] * x + normal[1] * y)
    }

    /// Whether it leads away from `point`.
    fn leads_from(&self, point: [f64; 2]) -> bool {
        let (x, y) = (self.at[0] - point[0], self.at[1] - point[1]);
        let [u, v] = self.moved;
        // Where the block would have to be at the end of its way, were it to lead exactly from the point.
        let off = (u * y - v * x).abs() / x.hypot(y).max(1e-6);
        u * x + v * y > 0.0 && off < OFF.0.max(OFF.1 * self.length())
    }
}

impl Reduced {
    /// What `self` and the later picture `after` show of the way in which the camera moves. The same pictures and `seed`
    /// give the same.
    pub fn expansion_to(&self, after: &Reduced, seed: u64) -> Expansion {
        if !self.fits(after) || self.width < 2 * BLOCK || self.height < 2 * BLOCK {
            return Expansion::Still;
        }
        let moving = self.traces_to(after);
        if moving.len() < LEAST {
            return Expansion::Still;
        }
        match focus(&moving, &mut Random::new(seed)) {
            Some([x, y]) => Expansion::From { column: x / self.width as f64, row: y / self.height as f64 },
            None => Expansion::Unclear,
        }
    }

    /// The blocks of `after` that have moved and whose place in `self` is certain.
    fn traces_to(&self, after: &Reduced) -> Vec<Trace> {
        let places = |whole: usize| (0..=whole - BLOCK).step_by(STRIDE);
        let blocks = places(after.height).flat_map(|top| places(after.width).map(move |left| (left, top)));
        blocks
            .filter(|block| after.corner(*block) >= CORNER)
            .filter_map(|block| self.trace_to(after, block))
            .filter(|trace| trace.length() > MOVED)
            .collect()
    }

    /// The smaller eigenvalue of the structure tensor of a block that lies inside.
    fn corner(&self, (left, top): (usize, usize)) -> f32 {
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        let at = |x: usize, y: usize| f32::from(self.pixels[y * self.width + x]);
        for y in top + 1..top + BLOCK - 1 {
            for x in left + 1..left + BLOCK - 1 {
                let (dx, dy) = ((at(x + 1, y) - at(x - 1, y)) / 2.0, (at(x, y + 1) - at(x, y - 1)) / 2.0);
                (xx, xy, yy) = (xx + dx * dx, xy + dx * dy, yy + dy * dy);
            }
        }
        let count = ((BLOCK - 2) * (BLOCK - 2)) as f32;
        ((xx + yy) / 2.0 - ((xx - yy) / 2.0).hypot(xy)) / count
    }

    /// Where the block of `after` was in `self`, to a part of a pixel; `None` if nothing there is like it, or two places are.
    fn trace_to(&self, after: &Reduced, (left, top): (usize, usize)) -> Option<Trace> {
        const SIDE: i32 = 2 * REACH + 1;
        let pixels = (BLOCK * BLOCK) as f32;
        let off: Vec<f32> = (0..SIDE * SIDE)
            .map(|place| (place % SIDE - REACH, place / SIDE - REACH))
            .map(|place| match after.difference(self, (left, top), place, u32::MAX) {
                Some(sum) => sum as f32 / pixels,
                None => f32::INFINITY,
            })
            .collect();
        let (best, least) = off.iter().copied().enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        let (column, row) = (best as i32 % SIDE, best as i32 / SIDE);
        let is_other = |place: usize| {
            let (x, y) = (place as i32 % SIDE, place as i32 / SIDE);
            (x - column).abs() > APART || (y - row).abs() > APART
        };
        let others = off.iter().enumerate().filter(|(place, _)| is_other(*place)).map(|(_, off)| *off);
        let is_sure = least <= ALIKE && others.fold(f32::INFINITY, f32::min) >= 1.3 * least + 0.5;
        // The lowest point of the parabola through the best place and its two neighbours.
        let part = |at: i32, step: i32| {
            let beside = |way: i32| off.get((best as i32 + way * step) as usize).copied();
            match (beside(-1), beside(1)) {
                (Some(before), Some(behind)) if 0 < at && at < SIDE - 1 => {
                    let bend = before + behind - 2.0 * least;
                    if bend.is_finite() && bend > 0.0 { 0.5 * (before - behind) / bend } else { 0.0 }
                }
                _ => 0.0,
            }
        };
        let was = [(column - REACH) as f32 + part(column, 1), (row - REACH) as f32 + part(row, SIDE)];
        let centre = |edge: usize| (edge + BLOCK / 2) as f64;
        is_sure.then(|| Trace { at: [centre(left), centre(top)], moved: was.map(|way| -f64::from(way)) })
    }
}

/// The point from which most of the traces lead away: the crossing of two of them (RANSAC; Fischler and Bolles, 1981), then the
/// least squares of the distances to the lines of all that agree.
fn focus(traces: &[Trace], random: &mut Random) -> Option<[f64; 2]> {
    let mut most: (usize, [f64; 2]) = (0, [0.0; 2]);
    for _ in 0..TRIED {
        let two = [random.below(traces.len()), random.below(traces.len())].map(|index| traces[index]);
        let Some(point) = crossing(two.into_iter()) else { continue };
        let agree = traces.iter().filter(|trace| trace.leads_from(point)).count();
        if agree > most.0 {
            most = (agree, point);
        }
    }
    let (agree, point) = most;
    match agree as f64 >= AGREE * traces.len() as f64 {
        true => crossing(traces.iter().copied().filter(|trace| trace.leads_from(point))),
        false => None,
    }
}

/// The point whose distances to the lines of the traces have the least sum of squares; `None` if they are parallel.
fn crossing(traces: impl Iterator<Item = Trace>) -> Option<[f64; 2]> {
    let (mut xx, mut xy, mut yy, mut x, mut y) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let mut count = 0.0;
    for trace in traces {
        let ([a, b], offset) = trace.line();
        (xx, xy, yy) = (xx + a * a, xy + a * b, yy + b * b);
        (x, y) = (x + a * offset, y + b * offset);
        count += 1.0;
    }
    let size = xx * yy - xy * xy;
    (size > 1e-6 * f64::max(count * count, 1.0)).then(|| [(yy * x - xy * y) / size, (xx * y - xy * x) / size])
}

/// A picture of bumps of many sizes, seen `scale` times as large by a camera that comes nearer to `centre`, and moved to the
/// right: width, height, grey levels.
#[cfg(test)]
pub(crate) fn driven(centre: [f64; 2], scale: f64, shift: f64) -> (usize, usize, Vec<u8>) {
    let (width, height) = (320, 180);
    let mut random = Random::new(5);
    let waves: Vec<[f64; 3]> =
        (0..24).map(|_| [random.range(-0.5, 0.5), random.range(-0.5, 0.5), random.range(0.0, 6.3)]).collect();
    let pixel = |place: usize| {
        let (col, row) = ((place % width) as f64, (place / width) as f64);
        let x = centre[0] + (col - centre[0]) / scale - shift;
        let y = centre[1] + (row - centre[1]) / scale;
        let value: f64 = waves.iter().map(|[a, b, phase]| (a * x + b * y + phase).sin()).sum();
        (128.0 + 20.0 * value).clamp(0.0, 255.0) as u8
    };
    (width, height, (0..width * height).map(pixel).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zoomed(centre: [f64; 2], scale: f64, shift: f64) -> Reduced {
        let (width, height, pixels) = driven(centre, scale, shift);
        let mut reduced = Reduced::default();
        reduced.take(&pixels, width, height);
        reduced
    }

    #[test]
    fn what_is_driven_towards_is_found() {
        for centre in [[160.0, 75.0], [120.0, 110.0], [210.0, 60.0]] {
            let (before, after) = (zoomed(centre, 1.0, 0.0), zoomed(centre, 1.04, 0.0));
            let Expansion::From { column, row } = before.expansion_to(&after, 1) else {
                panic!("nothing found at {centre:?}")
            };
            let off = [column * 320.0 - centre[0], row * 180.0 - centre[1]];
            assert!(off[0].abs() < 3.0 && off[1].abs() < 3.0, "{centre:?}: off by {off:?}");
            assert_eq!(before.expansion_to(&after, 1), Expansion::From { column, row });
        }
    }

    #[test]
    fn standing_turning_and_driving_back_give_no_point() {
        let centre = [160.0, 80.0];
        let still = zoomed(centre, 1.0, 0.0);
        assert_eq!(still.expansion_to(&still, 1), Expansion::Still);
        // What leads towards a point does not lead away from one.
        assert_eq!(zoomed(centre, 1.04, 0.0).expansion_to(&still, 1), Expansion::Unclear);
        // Turning: all motions are parallel, so that there is no crossing, or one far outside.
        match still.expansion_to(&zoomed(centre, 1.0, 4.0), 1) {
            Expansion::From { column, row } => {
                assert!(!(0.0..1.0).contains(&column) || !(0.0..1.0).contains(&row), "{column} {row}");
            }
            other => assert_eq!(other, Expansion::Unclear),
        }
        // Neither plain pictures nor such of other sizes nor tiny ones.
        let mut plain = Reduced::default();
        plain.take(&[90; 320 * 180], 320, 180);
        assert_eq!(plain.expansion_to(&plain, 1), Expansion::Still);
        assert_eq!(Reduced::default().expansion_to(&still, 1), Expansion::Still);
        let mut tiny = Reduced::default();
        tiny.take(&[7; 12], 4, 3);
        assert_eq!(tiny.expansion_to(&tiny, 1), Expansion::Still);
    }
}

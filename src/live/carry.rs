//! Findings carried along the motion of the picture, from the frame in which they were found to the one that is shown.

use std::collections::VecDeque;

use crate::frame::FrameId;
use crate::grid::PixelScores;
use crate::motion::Reduced;
use crate::region::{Rect, Region};

/// So many pictures are remembered at most: more than come while a frame is judged, at 60 a second for two seconds.
const REMEMBERED: usize = 128;

/// Remembers what pictures looked like, small, and finds where the parts of an older one are now.
#[derive(Default)]
pub(super) struct Carrier {
    seen: VecDeque<(FrameId, Reduced)>,
    spare: Vec<Reduced>,
    /// What a picture is made small in: that takes more room than the small one.
    work: Reduced,
    /// The frame whose findings were carried last, and where its regions were.
    last: Option<(FrameId, Vec<(i32, i32)>)>,
}

/// A region's motion in pixels of the picture.
pub(super) type Moved = (i32, i32);

impl Carrier {
    /// Remembers the picture of a frame.
    pub(super) fn see(&mut self, frame: FrameId, luma: &[u8], width: usize, height: usize) {
        self.work.take(luma, width, height);
        if self.seen.back().is_some_and(|(_, last)| !last.fits(&self.work)) {
            // Nothing can be followed from a picture of another size, and its memory is of that size.
            self.seen.clear();
            self.spare.clear();
        }
        let mut reduced = self.spare.pop().unwrap_or_default();
        reduced.copy(&self.work);
        self.seen.push_back((frame, reduced));
        if self.seen.len() > REMEMBERED {
            self.spare.extend(self.seen.pop_front().map(|(_, reduced)| reduced));
        }
    }

    /// Forgets the pictures before `frame`: verdicts come in order, so nothing will be asked of them.
    fn forget_before(&mut self, frame: FrameId) {
        if let Some(at) = self.seen.iter().position(|(id, _)| *id == frame) {
            self.spare.extend(self.seen.drain(..at).map(|(_, reduced)| reduced));
            // Those that come until the next verdict are about as many as came since this one's frame.
            self.spare.truncate(self.seen.len() + 1);
        }
    }

    /// How far each of `regions`, found in `frame`, has moved up to the picture that was seen last. Nothing has, where
    /// that is not known.
    pub(super) fn moved(&mut self, frame: FrameId, regions: &[Region]) -> Vec<Moved> {
        let none = vec![(0, 0); regions.len()];
        let known = match self.last.take() {
            Some((of, known)) if of == frame && known.len() == regions.len() => Some(known),
            _ => None,
        };
        self.forget_before(frame);
        let Some((_, now)) = self.seen.back() else { return none };
        let Some((_, then)) = self.seen.front().filter(|(id, _)| *id == frame) else { return none };
        if !then.fits(now) {
            return none;
        }
        let scale = then.scale();
        let small: Vec<(i32, i32)> = regions
            .iter()
            .enumerate()
            .map(|(number, region)| {
                let guess = known.as_ref().map(|known| known[number]);
                then.moved_to(now, &region.rect, guess).unwrap_or(guess.unwrap_or_default())
            })
            .collect();
        let moved =
            small.iter().map(|(x, y)| ((*x as f32 * scale) as i32, (*y as f32 * scale) as i32)).collect();
        self.last = Some((frame, small));
        moved
    }
}

/// `scores` with the surroundings of each region moved with it, and the regions moved, into `out`; `quiet` stands where
/// nothing is.
pub(super) fn shift(
    (scores, regions, moved): (&PixelScores, &[Region], &[Moved]),
    quiet: f32,
    (out, out_regions): (&mut PixelScores, &mut Vec<Region>),
) {
    out.width = scores.width;
    out.height = scores.height;
    out.data.clear();
    out_regions.clear();
    if moved.iter().all(|by| *by == (0, 0)) {
        out.data.extend_from_slice(&scores.data);
        out_regions.extend_from_slice(regions);
        return;
    }
    out.data.resize(scores.data.len(), quiet);
    let (width, height) = (scores.width as i32, scores.height as i32);
    for (region, (dx, dy)) in regions.iter().zip(moved) {
        // Around a region lies the heat that did not reach the threshold.
        let margin = (region.rect.width.max(region.rect.height) / 4).max(8) as i32;
        let (x, y) = (region.rect.x as i32, region.rect.y as i32);
        let (left, top) = ((x - margin).max(0), (y - margin).max(0));
        let right = (x + region.rect.width as i32 + margin).min(width);
        let bottom = (y + region.rect.height as i32 + margin).min(height);
        // What of it is still in the picture.
        let (left, right) = (left.max(-dx), right.min(width - dx));
        let (top, bottom) = (top.max(-dy), bottom.min(height - dy));
        for row in top..bottom {
            if left >= right {
                break;
            }
            let from = &scores.data[(row * width + left) as usize..(row * width + right) as usize];
            let start = ((row + dy) * width + left + dx) as usize;
            for (to, from) in out.data[start..start + from.len()].iter_mut().zip(from) {
                // Where two meet, the stranger one is shown.
                *to = if *from > *to { *from } else { *to };
            }
        }
        out_regions.extend(moved_region(region, (*dx, *dy), (width, height)));
    }
}

/// What is left of a region in the picture.
fn moved_region(region: &Region, (dx, dy): Moved, (width, height): (i32, i32)) -> Option<Region> {
    let rect = region.rect;
    let (left, top) = ((rect.x as i32 + dx).max(0), (rect.y as i32 + dy).max(0));
    let right = (rect.x as i32 + rect.width as i32 + dx).min(width);
    let bottom = (rect.y as i32 + rect.height as i32 + dy).min(height);
    (left < right && top < bottom).then(|| Region {
        rect: Rect {
            x: left as u32,
            y: top as u32,
            width: (right - left) as u32,
            height: (bottom - top) as u32,
        },
        ..*region
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    const SIZE: (usize, usize) = (640, 360);

    /// Noise that does not repeat, with a thing of other noise at `x`, `y` that moves on its own.
    fn picture(shift: usize, (x, y): (usize, usize)) -> Vec<u8> {
        let noise = |row: usize, col: usize, seed: u32| {
            let mut h = (row as u32 / 4 * 7919) ^ (col as u32 / 4 * 104_729) ^ seed;
            h = (h ^ (h >> 15)).wrapping_mul(2_246_822_519);
            (h >> 13) as u8
        };
        (0..SIZE.0 * SIZE.1)
            .map(|i| {
                let (row, col) = (i / SIZE.0, i % SIZE.0);
                let in_thing = (y..y + 60).contains(&row) && (x..x + 80).contains(&col);
                if in_thing { noise(row - y, col - x, 77) } else { noise(row, col + shift, 1) }
            })
            .collect()
    }

    fn region(x: u32, y: u32) -> Region {
        Region { rect: Rect { x, y, width: 80, height: 60 }, area: 4800, peak: 9.0 }
    }

    #[test]
    fn a_thing_is_followed_over_many_pictures_however_late_its_verdict_comes() {
        let mut carrier = Carrier::default();
        // The thing goes 6 pixels right and 2 down per picture, the world 2 pixels left.
        let place = |n: usize| (100 + 6 * n, 120 + 2 * n);
        for n in 0..12 {
            carrier.see(n as u64, &picture(2 * n, place(n)), SIZE.0, SIZE.1);
            // From the third picture on, there is a verdict on the first.
            if n >= 3 {
                let (dx, dy) = carrier.moved(0, &[region(100, 120)])[0];
                let (want_x, want_y) = (6 * n as i32, 2 * n as i32);
                assert!((dx - want_x).abs() <= 2 && (dy - want_y).abs() <= 2, "{n}: {dx} {dy}");
            }
        }
        // A verdict on a later picture: those before it are forgotten.
        let (dx, dy) = carrier.moved(8, &[region(148, 136)])[0];
        assert!((dx - 18).abs() <= 2 && (dy - 6).abs() <= 2, "{dx} {dy}");
        assert_eq!(carrier.moved(99, &[region(148, 136)]), [(0, 0)], "a frame that nobody saw");
        assert_eq!((carrier.seen.len(), carrier.seen[0].0), (4, 8));
        assert!(carrier.spare.len() <= 5, "{}", carrier.spare.len());
        let small = picture(0, (0, 0))[..320 * 180].to_vec();
        carrier.see(12, &small, 320, 180);
        assert_eq!(carrier.moved(8, &[region(148, 136)]), [(0, 0)], "a picture of another size");
    }

    #[test]
    fn what_is_carried_keeps_its_scores_and_loses_what_leaves_the_picture() {
        let (width, height) = (60, 40);
        let mut data = vec![1.0; width * height];
        let inside = |x: usize, y: usize| (20..30).contains(&x) && (10..16).contains(&y);
        for y in 0..height {
            for x in 0..width {
                if inside(x, y) {
                    data[y * width + x] = 7.0 + x as f32;
                }
            }
        }
        let scores = PixelScores { width, height, data: Pooled::unpooled(data) };
        let found = Region { rect: Rect { x: 20, y: 10, width: 10, height: 6 }, area: 60, peak: 36.0 };
        let (mut out, mut regions) = (PixelScores::default(), Vec::new());
        let mut carried = |by: Moved| {
            shift((&scores, &[found], &[by]), f32::NEG_INFINITY, (&mut out, &mut regions));
            (out.data.to_vec(), regions.clone())
        };
        let (data, regions) = carried((0, 0));
        assert_eq!((data, regions), (scores.data.to_vec(), vec![found]));
        let (data, regions) = carried((12, -4));
        for (i, score) in data.iter().enumerate() {
            let (x, y) = (i % width, i / width);
            let from = x.checked_sub(12).map(|x| (x, y + 4)).filter(|&(x, y)| inside(x, y));
            assert_eq!(*score > 1.0, from.is_some(), "{x} {y}");
            assert!(from.is_none_or(|(x, _)| *score == 7.0 + x as f32));
        }
        assert_eq!((regions[0].rect.x, regions[0].rect.y, regions[0].area), (32, 6, 60));
        let (_, regions) = carried((36, 0));
        assert_eq!((regions[0].rect.x, regions[0].rect.width), (56, 4), "half outside");
        assert!(carried((-200, 5)).1.is_empty(), "gone");
    }
}

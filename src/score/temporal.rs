//! Smoothing over time along the motion of the picture: past scores are carried to where things are now, and
//! averaged in. Causal: it waits for no later frame.

use std::time::Duration;

use crate::frame::Frame;
use crate::grid::{Grid, ScoreMap};
use crate::luma::Luma;
use crate::motion::{Matched, Reduced};

/// A longer gap between two frames is a jump of the stream: what was seen before says nothing any more.
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// Blocks that differ by more grey levels (of 255, on average) from every place nearby show something else.
const STRANGE: f32 = 20.0;
/// With a larger share of such blocks, the picture was cut.
const CUT: f32 = 0.5;

/// Finds out how the picture moved since the frame before.
#[derive(Debug, Clone, Default)]
pub struct MotionTracker {
    before: Reduced,
    now: Reduced,
    last: Option<(Duration, String)>,
}

/// How a frame follows the one before.
#[derive(Debug, Clone, PartialEq)]
pub enum Continuity {
    /// Nothing of the past holds: the first frame, another size, a jump in time, a cut.
    Fresh,
    /// What is seen moved like this.
    Moved(Matched),
}

impl MotionTracker {
    /// Before the first frame.
    pub fn new() -> MotionTracker {
        Self::default()
    }

    /// Takes the next frame, whose brightness is `luma`. Frames of different folders are no sequence.
    pub fn step(&mut self, frame: &Frame, luma: &Luma) -> Continuity {
        std::mem::swap(&mut self.before, &mut self.now);
        self.now.take(&luma.pixels, luma.width, luma.height);
        let folder = frame.name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let follows = self
            .last
            .as_ref()
            .is_some_and(|(pts, of)| frame.pts > *pts && frame.pts - *pts <= LONGEST_GAP && of == folder);
        match &mut self.last {
            Some((pts, of)) => {
                *pts = frame.pts;
                if of != folder {
                    folder.clone_into(of);
                }
            }
            none => *none = Some((frame.pts, folder.to_owned())),
        }
        if !follows {
            return Continuity::Fresh;
        }
        match self.before.followed_by(&self.now) {
            Some(matched) if !is_cut(&matched) => Continuity::Moved(matched),
            _ => Continuity::Fresh,
        }
    }
}

fn is_cut(matched: &Matched) -> bool {
    let strange = matched.off.iter().filter(|off| **off > STRANGE).count();
    strange as f32 > CUT * matched.off.len() as f32
}

/// Averages the score maps of one method over time; keeps the last one.
#[derive(Debug, Clone)]
pub struct TemporalSmoother {
    weight: f32,
    grid: Grid,
    past: Vec<f32>,
    carried: Vec<f32>,
}

impl TemporalSmoother {
    /// The past weighs `weight` (0 to below 1) against 1 - `weight` of the present: of a constant scene, `1 / (1 -
    /// weight)` frames are averaged, exponentially. `None` for 0.
    pub fn new(weight: f32) -> Option<TemporalSmoother> {
        let smoother = || TemporalSmoother {
            weight: weight.min(0.99),
            grid: Grid::default(),
            past: Vec::new(),
            carried: Vec::new(),
        };
        (weight > 0.0).then(smoother)
    }

    /// Smooths the map of a frame of `width` x `height` pixels in place. Where the past cannot be seen (from outside
    /// the picture, behind something else, not judged) the present stands alone.
    pub fn step(&mut self, map: &mut ScoreMap, (width, height): (usize, usize), how: &Continuity) {
        let Grid { rows, cols } = map.grid;
        if let (Continuity::Moved(matched), true) = (how, self.grid == map.grid) {
            let block_rows = matched.flow.len() / matched.cols.max(1);
            self.carried.clear();
            for (i, now) in map.data.iter().enumerate() {
                let (row, col) = (i / cols, i % cols);
                // The middle of the cell, as a share of the picture.
                let (x, y) = ((col as f32 + 0.5) / cols as f32, (row as f32 + 0.5) / rows as f32);
                let block =
                    (y * block_rows as f32) as usize * matched.cols + (x * matched.cols as f32) as usize;
                let known = matched.flow.get(block).zip(matched.off.get(block));
                let before = known.filter(|(_, off)| **off <= STRANGE).and_then(|([dx, dy], _)| {
                    let (x, y) = (x + dx / width as f32, y + dy / height as f32);
                    sample(&self.past, map.grid, x * cols as f32 - 0.5, y * rows as f32 - 0.5)
                });
                self.carried.push(match before {
                    Some(before) if now.is_finite() => now + (before - now) * self.weight,
                    _ => *now,
                });
            }
            map.data.copy_from_slice(&self.carried);
        }
        self.grid = map.grid;
        self.past.clear();
        self.past.extend_from_slice(&map.data);
    }
}

/// The score at a place between cells, interpolated bilinearly; `None` outside the map (half a cell around its
/// outermost middles still counts) and beside what was not judged.
fn sample(cells: &[f32], Grid { rows, cols }: Grid, x: f32, y: f32) -> Option<f32> {
    if !(x >= -0.5 && y >= -0.5 && x <= cols as f32 - 0.5 && y <= rows as f32 - 0.5) {
        return None;
    }
    let (x, y) = (x.clamp(0.0, (cols - 1) as f32), y.clamp(0.0, (rows - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (right, below) = ((left + 1).min(cols - 1), (top + 1).min(rows - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let at = |row: usize, col: usize| cells[row * cols + col];
    let upper = at(top, left) + (at(top, right) - at(top, left)) * fx;
    let lower = at(below, left) + (at(below, right) - at(below, left)) * fx;
    let score = upper + (lower - upper) * fy;
    score.is_finite().then_some(score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;
    use crate::pool::{Pool, Pooled};

    const SIZE: (usize, usize) = (320, 160);
    const GRID: Grid = Grid { rows: 10, cols: 20 };

    /// Noise that does not repeat, seen from `x`.
    fn view(x: usize, seed: u32) -> Luma {
        let value = |i: usize| {
            let (row, col) = (i / SIZE.0, i % SIZE.0 + x);
            // Squares of 4 pixels, so that halving leaves something.
            let (row, col) = ((row / 4) as u32 * 7919, (col / 4) as u32 * 104_729);
            let mut h = row ^ col ^ seed.wrapping_mul(2_654_435_761);
            h = (h ^ (h >> 15)).wrapping_mul(2_246_822_519);
            (h >> 13) as u8
        };
        Luma { width: SIZE.0, height: SIZE.1, pixels: (0..SIZE.0 * SIZE.1).map(value).collect() }
    }

    fn frame(number: u64, name: &str) -> Frame {
        let mut frame = Frame::take(&Pool::new(), PixelFormat::Rgb, SIZE.0, SIZE.1);
        (frame.id, frame.pts) = (number, Duration::from_millis(40 * number));
        frame.name = name.into();
        frame
    }

    fn map(data: Vec<f32>) -> ScoreMap {
        ScoreMap { grid: GRID, data: Pooled::unpooled(data) }
    }

    #[test]
    fn scores_go_with_what_they_belong_to() {
        // The picture moves 8 pixels, half a cell, to the left per frame, and a score with it.
        let (mut tracker, mut smoother) = (MotionTracker::new(), TemporalSmoother::new(0.5).unwrap());
        let bump = |n: usize| {
            let middle = 15.0 - 0.5 * n as f32;
            let score = |i: usize| (10.0 - 4.0 * ((i % 20) as f32 - middle).abs()).max(0.0);
            map((0..GRID.len()).map(score).collect())
        };
        let mut moving = bump(0);
        let mut still = TemporalSmoother::new(0.5).unwrap();
        for n in 0..12 {
            let how = tracker.step(&frame(n as u64, ""), &view(8 * n, 1));
            assert_eq!(how == Continuity::Fresh, n == 0, "frame {n}");
            if let Continuity::Moved(matched) = &how {
                // Blocks at the right edge come from outside.
                let right = matched.flow.iter().filter(|flow| **flow == [8.0, 0.0]).count();
                assert!(right * 10 >= matched.flow.len() * 9, "frame {n}: {:?}", matched.flow);
            }
            moving = bump(n);
            smoother.step(&mut moving, SIZE, &how);
            let unmoved = Matched { cols: 1, flow: vec![[0.0; 2]], off: vec![0.0] };
            still.step(&mut bump(n), SIZE, &Continuity::Moved(unmoved));
        }
        // The left half, where all that is seen was seen before.
        let off = |smoothed: &[f32]| {
            let present = bump(11);
            let left = smoothed.iter().zip(present.data.iter()).enumerate().filter(|(i, _)| i % 20 < 15);
            left.map(|(_, (a, b))| (a - b).abs()).sum::<f32>()
        };
        let (with, without) = (off(&moving.data), off(&still.past));
        assert!(with < 0.35 * without, "{with}, not moved {without}");
    }

    #[test]
    fn noise_is_averaged_as_the_weight_says() {
        let (mut tracker, mut smoother) = (MotionTracker::new(), TemporalSmoother::new(0.8).unwrap());
        let mut seed = 3u32;
        let mut squares = 0.0;
        for n in 0..60 {
            let how = tracker.step(&frame(n, ""), &view(0, 1));
            let mut noise = map((0..GRID.len())
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
                })
                .collect());
            smoother.step(&mut noise, SIZE, &how);
            if n >= 20 {
                squares += noise.data.iter().map(|s| f64::from(s * s)).sum::<f64>() / 200.0 / 40.0;
            }
        }
        // (1 - w) / (1 + w) of the variance 1/12 of one frame.
        let want = 0.2 / 1.8 / 12.0;
        assert!((squares - want).abs() < 0.15 * want, "{squares}, not {want}");
    }

    #[test]
    fn nothing_is_carried_over_a_break() {
        let ordinary = (frame(1, "a/1"), view(0, 1));
        let small = {
            let mut small = view(0, 1);
            small.pixels.truncate(SIZE.0 * 80);
            (small.height, small.width) = (80, SIZE.0);
            small
        };
        for (name, next, luma, fresh) in [
            ("the next frame", frame(2, "a/2"), view(0, 1), false),
            ("after a drop", frame(20, "a/20"), view(4, 1), false),
            ("another scene", frame(2, "a/2"), view(0, 2), true),
            ("another size", frame(2, "a/2"), small, true),
            ("a jump ahead", frame(40, "a/40"), view(0, 1), true),
            ("a jump back", frame(0, "a/0"), view(0, 1), true),
            ("another folder", frame(2, "b/2"), view(0, 1), true),
        ] {
            let mut tracker = MotionTracker::new();
            assert_eq!(tracker.step(&ordinary.0, &ordinary.1), Continuity::Fresh);
            assert_eq!(tracker.step(&next, &luma) == Continuity::Fresh, fresh, "{name}");
        }
        let mut smoother = TemporalSmoother::new(0.9).unwrap();
        let mut first = map(vec![5.0; GRID.len()]);
        smoother.step(&mut first, SIZE, &Continuity::Fresh);
        let mut second = map(vec![1.0; GRID.len()]);
        smoother.step(&mut second, SIZE, &Continuity::Fresh);
        assert!(second.data.iter().all(|s| *s == 1.0));
        assert!(TemporalSmoother::new(0.0).is_none());
    }

    #[test]
    fn what_is_not_judged_stays_so_and_spoils_nothing() {
        let still = Continuity::Moved(Matched { cols: 1, flow: vec![[0.0; 2]], off: vec![0.0] });
        let mut smoother = TemporalSmoother::new(0.5).unwrap();
        let mut first = map(vec![4.0; GRID.len()]);
        first.data[7] = f32::INFINITY;
        smoother.step(&mut first, SIZE, &still);
        let mut second = map(vec![2.0; GRID.len()]);
        second.data[9] = f32::INFINITY;
        smoother.step(&mut second, SIZE, &still);
        assert_eq!((second.data[7], second.data[9], second.data[5]), (2.0, f32::INFINITY, 3.0));
        // A map of another grid has no past.
        let other = Grid { rows: 1, cols: 2 };
        let mut third = ScoreMap { grid: other, data: Pooled::unpooled(vec![1.0, 2.0]) };
        smoother.step(&mut third, SIZE, &still);
        assert_eq!(third.data[..], [1.0, 2.0]);
    }
}

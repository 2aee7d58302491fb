//! Flicker: how much the score of a thing on the road changes from frame to frame, although it is the same.

use serde::{Deserialize, Serialize};

use super::VideoFrame;
use crate::eval::truth::VOID;

/// Temporal variance of the score along the motion.
///
/// Of two independent readings of a constant, half the mean squared difference is the variance; so half the
/// squared difference between a pixel's score and the score (interpolated bilinearly) at the place where it
/// was in the frame before is averaged over all pixels whose place is in the picture, void left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flicker {
    /// The variance, in squared units of the score.
    pub variance: f64,
    /// Its root over the standard deviation of all scores: comparable between methods. `None` if all scores
    /// are equal.
    pub relative: Option<f64>,
    /// Pixels compared.
    pub pixels: u64,
    /// How motion was given, of the frames after the first: `still`, `shift`, `field`.
    pub motion: Vec<String>,
}

/// Compares each frame with the one before.
#[derive(Debug, Default)]
pub struct FlickerMeter {
    before: Vec<f32>,
    squares: f64,
    pixels: u64,
    /// Sum, sum of squares and number of all scores, from the first score so that squares stay small.
    origin: f64,
    all: (f64, f64, u64),
    motion: Vec<String>,
}

impl FlickerMeter {
    /// Takes a frame whose sizes were checked.
    pub fn step(&mut self, frame: &VideoFrame<'_>, labels: Option<&[u8]>) {
        if self.all.2 == 0 {
            self.origin = f64::from(frame.scores[0]);
        }
        for score in frame.scores {
            let score = f64::from(*score) - self.origin;
            self.all = (self.all.0 + score, self.all.1 + score * score, self.all.2 + 1);
        }
        if !self.before.is_empty() {
            self.compare(frame, labels);
            let name = frame.motion.name();
            if !self.motion.iter().any(|known| known == name) {
                self.motion.push(name.to_owned());
            }
        }
        self.before.clear();
        self.before.extend_from_slice(frame.scores);
    }

    fn compare(&mut self, frame: &VideoFrame<'_>, labels: Option<&[u8]>) {
        let (width, height) = (frame.width, frame.height);
        for y in 0..height {
            // One sum per row: sums of a whole clip would lose small differences.
            let (mut squares, mut pixels) = (0.0, 0);
            for x in 0..width {
                let at = y * width + x;
                if labels.is_some_and(|labels| labels[at] == VOID) {
                    continue;
                }
                let [dx, dy] = frame.motion.at((x, y), (width, height));
                let place = (f64::from(dx) + x as f64, f64::from(dy) + y as f64);
                if let Some(before) = sample(&self.before, (width, height), place) {
                    let step = f64::from(frame.scores[at]) - before;
                    squares += step * step;
                    pixels += 1;
                }
            }
            self.squares += squares;
            self.pixels += pixels;
        }
    }

    /// The flicker; `None` if no pixel could be compared.
    pub fn finish(self) -> Option<Flicker> {
        if self.pixels == 0 {
            return None;
        }
        let variance = self.squares / (2.0 * self.pixels as f64);
        let (sum, squares, count) = self.all;
        let mean = sum / count as f64;
        let spread = (squares / count as f64 - mean * mean).max(0.0);
        let relative = (spread > 0.0).then(|| (variance / spread).sqrt());
        Some(Flicker { variance, relative, pixels: self.pixels, motion: self.motion })
    }
}

/// The score at a place between pixels; `None` outside the picture.
fn sample(scores: &[f32], (width, height): (usize, usize), (x, y): (f64, f64)) -> Option<f64> {
    if !(x >= 0.0 && y >= 0.0 && x <= (width - 1) as f64 && y <= (height - 1) as f64) {
        return None;
    }
    let (left, top) = (x as usize, y as usize);
    let (right, below) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (fx, fy) = (x - left as f64, y - top as f64);
    let at = |x: usize, y: usize| f64::from(scores[y * width + x]);
    let upper = at(left, top) + (at(right, top) - at(left, top)) * fx;
    let lower = at(left, below) + (at(right, below) - at(left, below)) * fx;
    Some(upper + (lower - upper) * fy)
}

//! From scores to levels of heat, a fixed linear scale around the threshold, and the table that turns a level into what is
//! kept of the picture and what is added to it.

use super::ScoreScale;
use super::blend::{Blend, HeatTable};
use super::canvas::Canvas;
use super::config::ColourMap;
use super::palette::{self, LEVELS};

/// Heat begins this many spreads below the threshold.
const BELOW: f32 = 2.0;

/// Heat is full this many spreads above the threshold.
const ABOVE: f32 = 1.0;

/// The highest level as a number.
const TOP: f32 = (LEVELS - 1) as f32;

/// Added to a number in 0..=255, leaves it rounded in the low byte of the bits (2^23).
const ROUND: f32 = 8_388_608.0;

/// The linear map from score to level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Levels {
    start: f32,
    gain: f32,
}

impl Levels {
    /// The map for `scale`; `None` if its threshold is not finite. A spread that is no
    /// positive number is taken as a tenth of the threshold.
    pub fn new(scale: ScoreScale) -> Option<Levels> {
        let size = scale.threshold.abs();
        let spread = if scale.spread.is_finite() && scale.spread > 0.0 { scale.spread } else { size / 10.0 };
        // Below this the two ends of the map would be the same number.
        let spread = spread.max(size * 1e-5).max(1e-9);
        let start = scale.threshold - BELOW * spread;
        let gain = TOP / ((BELOW + ABOVE) * spread);
        (start.is_finite() && gain.is_finite()).then_some(Levels { start, gain })
    }

    /// The level of one score; NaN has none.
    #[inline]
    pub fn level(&self, score: f32) -> u8 {
        // Comparisons written so that NaN falls to the start and each compiles to one
        // instruction, as does the rounding.
        let score = if score > self.start { score } else { self.start };
        let level = (score - self.start) * self.gain;
        let level = if level < TOP { level } else { TOP };
        (level + ROUND).to_bits() as u8
    }

    /// The levels of 2 x 2 pixel cells, that of the highest score in each, into `levels`;
    /// true if any is above 0. An odd last column is a cell of its own.
    #[inline]
    pub fn pair(&self, top: &[f32], bottom: &[f32], levels: &mut [u8]) -> bool {
        let above = |a: f32, b: f32| if a > b { a } else { b };
        let (top, last_top) = top.as_chunks::<2>();
        let (bottom, last_bottom) = bottom.as_chunks::<2>();
        for ((level, a), b) in levels.iter_mut().zip(top).zip(bottom) {
            // The start first: a NaN on the left yields the right, and the start is none.
            let left = above(a[0], above(b[0], self.start));
            let right = above(a[1], above(b[1], self.start));
            *level = self.level(above(left, right));
        }
        if let (Some(level), [a], [b]) = (levels.last_mut(), last_top, last_bottom) {
            *level = self.level(*a).max(self.level(*b));
        }
        levels.iter().fold(0, |any, &level| any | level) != 0
    }
}

/// The table for the channels of `canvas`.
pub fn heat_table(map: ColourMap, opacity: f32, canvas: &Canvas<'_>) -> HeatTable {
    std::array::from_fn(|level| {
        let (rgb, opacity) = palette::heat(map, opacity, level as u8);
        let add = canvas.ink(rgb).map(|c| u16::from(c) * opacity + 128);
        Blend { keep: 256 - opacity, add }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: ScoreScale = ScoreScale { threshold: 10.0, spread: 2.0 };

    #[test]
    fn levels_are_fixed_around_the_threshold() {
        let levels = Levels::new(SCALE).unwrap();
        for (score, level) in [
            (f32::NEG_INFINITY, 0),
            (6.0, 0),
            (8.0, 85),
            (10.0, 170),
            (12.0, 255),
            (1e30, 255),
            (f32::INFINITY, 255),
            (f32::NAN, 0),
        ] {
            assert_eq!(levels.level(score), level, "{score}");
        }
    }

    #[test]
    fn the_highest_of_a_cell_counts_and_nan_does_not() {
        let levels = Levels::new(SCALE).unwrap();
        let nan = f32::NAN;
        let top = [0.0, 12.0, nan, nan, 8.0, nan, 10.0];
        let bottom = [nan, 0.0, nan, nan, nan, 10.0, nan];
        let mut out = [9; 4];
        assert!(levels.pair(&top, &bottom, &mut out));
        assert_eq!(out, [255, 0, 170, 170]);
        assert!(!levels.pair(&[nan; 3], &[1.0; 3], &mut out[..2]));
    }

    #[test]
    fn senseless_scales_are_survived() {
        for (threshold, spread) in
            [(10.0, 0.0), (10.0, f32::NAN), (0.0, -1.0), (1e30, 1.0), (-5.0, f32::INFINITY)]
        {
            let levels = Levels::new(ScoreScale { threshold, spread }).unwrap();
            assert_eq!(levels.level(f32::MIN), 0);
            assert_eq!(levels.level(f32::MAX), 255);
        }
        for threshold in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(Levels::new(ScoreScale { threshold, spread: 1.0 }), None);
        }
    }
}

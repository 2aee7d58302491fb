//! How high a threshold a frame stays silent at: what calibration asks of each held-out frame.

use super::{Regions, Upsampler};
use crate::grid::{Grid, PixelScores, ScoreMap};

/// Width in pixels of the picture on which regions are counted, that of [`super::ScoreConfig::min_region_px`].
const REFERENCE_WIDTH: usize = 640;
/// Halvings of the interval between lowest and highest score: 1/65536 of it remains.
const HALVINGS: u32 = 16;

/// Finds the alarm levels of frames, by the daemon's own rule for regions.
#[derive(Debug, Default)]
pub struct AlarmLevel {
    min_region_px: u32,
    upsampler: Upsampler,
    pixels: PixelScores,
    found: Vec<crate::region::Region>,
}

impl AlarmLevel {
    /// For regions of at least `min_region_px` pixels of a 640x360 picture.
    pub fn new(min_region_px: u32) -> Self {
        AlarmLevel { min_region_px, ..Self::default() }
    }

    /// The lowest threshold at which a frame with these scores shows no region, within 1/65536 of
    /// the range of its scores and rather above. `None` without any finite score. Cells with NaN or
    /// infinite scores count as the lowest one.
    pub fn of(&mut self, grid: Grid, scores: &[f32]) -> Option<f32> {
        let finite = scores.iter().copied().filter(|s| s.is_finite());
        let (mut silent, mut alarming) =
            finite.fold((f32::NEG_INFINITY, f32::INFINITY), |(max, min), s| (max.max(s), min.min(s)));
        if alarming > silent || grid.is_empty() {
            return None;
        }
        let lowest = alarming;
        let mut map = ScoreMap { grid, ..ScoreMap::default() };
        map.data.extend(scores.iter().map(|s| if s.is_finite() { *s } else { lowest }));
        let height = (REFERENCE_WIDTH * grid.rows / grid.cols).max(1);
        self.upsampler.step(&map, REFERENCE_WIDTH, height, &mut self.pixels);
        for _ in 0..HALVINGS {
            let middle = alarming + (silent - alarming) / 2.0;
            Regions::new(middle, self.min_region_px).step(&self.pixels, &[], &mut self.found);
            if self.found.is_empty() {
                silent = middle;
            } else {
                alarming = middle;
            }
        }
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_silent_at_its_level_and_alarms_below() {
        let grid = Grid { rows: 18, cols: 32 };
        let mut seed = 1u32;
        let mut scores: Vec<f32> = (0..grid.len())
            .map(|_| {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (seed >> 8) as f32 / (1 << 24) as f32
            })
            .collect();
        scores[5] = f32::INFINITY;
        scores[6] = f32::NAN;
        for min_region_px in [1, 100, 1000] {
            let level = AlarmLevel::new(min_region_px).of(grid, &scores).unwrap();
            let shown = |threshold: f32| {
                let mut map = ScoreMap { grid, ..ScoreMap::default() };
                map.data.extend(scores.iter().map(|s| if s.is_finite() { *s } else { 0.0 }));
                let (mut pixels, mut found) = (PixelScores::default(), Vec::new());
                Upsampler::new().step(&map, 640, 360, &mut pixels);
                Regions::new(threshold, min_region_px).step(&pixels, &[], &mut found);
                found.len()
            };
            assert_eq!(shown(level), 0, "{min_region_px}");
            assert!(shown(level - 0.001) > 0, "{min_region_px}");
        }
    }

    #[test]
    fn one_high_patch_is_no_region_if_regions_are_larger() {
        let grid = Grid { rows: 18, cols: 32 };
        let mut scores = vec![1.0; grid.len()];
        scores[100] = 9.0;
        let small = AlarmLevel::new(1).of(grid, &scores).unwrap();
        let large = AlarmLevel::new(2000).of(grid, &scores).unwrap();
        assert!(small > 8.5 && large < 1.1, "{small} {large}");
        assert_eq!(AlarmLevel::new(1).of(grid, &vec![f32::NAN; grid.len()]), None);
        assert_eq!(AlarmLevel::new(1).of(grid, &vec![2.0; grid.len()]), Some(2.0));
    }
}

//! Scenes that are unlike the bank as a whole (a covered lens, night, glare, a tunnel): one state, and one region in place
//! of a hundred.

use crate::region::{Rect, Region};

/// It is over once less than this part of the share is anomalous.
const BACK: f64 = 0.7;

/// Whether a stream's scene is out of distribution.
#[derive(Debug, Clone)]
pub struct Scene {
    /// From this share of the pixels that count on.
    share: f64,
    /// For so many verdicts in a row.
    frames: u32,
    /// So many in a row say otherwise.
    against: u32,
    out: bool,
}

impl Scene {
    /// Out once `share` of the pixels that count (0 to 1) were anomalous in `frames` verdicts in a row, and back once in as
    /// many less than 0.7 of that were. A share of 1 or more: never.
    pub fn new(share: f64, frames: u32) -> Scene {
        Scene { share, frames: frames.max(1), against: 0, out: false }
    }

    /// Takes the regions of a verdict over `counted` pixels. Whether the scene is out; `regions` are then one, around all.
    pub fn step(&mut self, regions: &mut Vec<Region>, counted: u64) -> bool {
        let area: u64 = regions.iter().map(|region| u64::from(region.area)).sum();
        let share = area as f64 / counted.max(1) as f64;
        let says = if self.out { share >= BACK * self.share } else { share >= self.share };
        self.against = if self.share < 1.0 && says != self.out { self.against + 1 } else { 0 };
        if self.against >= self.frames {
            (self.out, self.against) = (says, 0);
        }
        if self.out
            && let Some(whole) = around(regions)
        {
            regions.clear();
            regions.push(whole);
        }
        self.out
    }
}

/// One region around all, as large as they are together.
fn around(regions: &[Region]) -> Option<Region> {
    let (first, others) = regions.split_first()?;
    Some(others.iter().fold(*first, |sum, one| {
        let (a, b) = (sum.rect, one.rect);
        let (x, y) = (a.x.min(b.x), a.y.min(b.y));
        let (right, bottom) = ((a.x + a.width).max(b.x + b.width), (a.y + a.height).max(b.y + b.height));
        let rect = Rect { x, y, width: right - x, height: bottom - y };
        Region { rect, area: sum.area + one.area, peak: sum.peak.max(one.peak) }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(x: u32, width: u32) -> Region {
        Region { rect: Rect { x, y: 10, width, height: 10 }, area: width * 10, peak: x as f32 }
    }

    /// Whether the scene is out after each of these shares of 1000 pixels.
    fn states(scene: &mut Scene, shares: &[f64]) -> Vec<bool> {
        shares.iter().map(|share| scene.step(&mut vec![region(0, (share * 100.0) as u32)], 1000)).collect()
    }

    #[test]
    fn it_takes_several_verdicts_either_way() {
        let mut scene = Scene::new(0.4, 3);
        assert_eq!(
            states(&mut scene, &[0.5, 0.5, 0.3, 0.5, 0.5, 0.5]),
            [false, false, false, false, false, true]
        );
        // Just below the share is not back.
        assert_eq!(
            states(&mut scene, &[0.35, 0.3, 0.2, 0.2, 0.5, 0.2, 0.2, 0.2]),
            [true, true, true, true, true, true, true, false]
        );
        assert_eq!(states(&mut Scene::new(1.0, 1), &[1.0, 1.0]), [false, false]);
    }

    #[test]
    fn one_region_stands_for_all_and_none_for_none() {
        let mut scene = Scene::new(0.2, 1);
        let mut regions = vec![region(5, 10), region(40, 20), region(20, 5)];
        assert!(scene.step(&mut regions, 1000));
        let rect = Rect { x: 5, y: 10, width: 55, height: 10 };
        assert_eq!(regions, [Region { rect, area: 350, peak: 40.0 }]);
        regions.clear();
        assert!(!scene.step(&mut regions, 1000) && regions.is_empty());
    }
}

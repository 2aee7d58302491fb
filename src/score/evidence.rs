//! What counts as evidence for an event, and how much.

use super::ScoreConfig;
use crate::region::Region;

/// When a region is an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EventRules {
    /// Evidence that it takes, in frames; at least 1.
    pub frames: u32,
    /// Over how many frames it adds up; as many as `frames`, if that is more: then they must be consecutive.
    pub window: u32,
    /// An event ends when its region was missing for so many frames, at least 1.
    pub gap: u32,
    /// A region whose peak is this far below the threshold is no evidence, one at the threshold is that of a frame; between
    /// them it rises linearly. 0: all regions are evidence of a frame.
    pub reach: f32,
}

impl EventRules {
    /// Those of `config`.
    pub fn of(config: &ScoreConfig) -> EventRules {
        EventRules {
            frames: config.event_frames,
            window: config.event_window,
            gap: config.event_gap_frames,
            reach: config.event_reach,
        }
    }

    /// Which of the regions `weak`, found at a lower threshold, are evidence beside the regions `strong`: those that do not lie
    /// around one of them.
    pub fn beside<'a>(strong: &'a [Region], weak: &'a [Region]) -> impl Iterator<Item = usize> + 'a {
        let surrounds = |weak: &Region| strong.iter().any(|one| weak.rect.holds(&one.rect));
        weak.iter().enumerate().filter(move |(_, weak)| !surrounds(weak)).map(|(number, _)| number)
    }

    /// What a region with this peak counts for, 0 to 1.
    pub(super) fn evidence(&self, peak: f32, threshold: f32) -> f32 {
        if self.reach > 0.0 { ((peak - threshold) / self.reach + 1.0).clamp(0.0, 1.0) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::Rect;

    #[test]
    fn what_surrounds_a_strong_region_is_not_evidence_twice() {
        let at = |x: u32, width: u32, peak: f32| Region {
            rect: Rect { x, y: 10, width, height: 20 },
            area: 20 * width,
            peak,
        };
        let strong = [at(100, 20, 9.0)];
        // Around it; elsewhere; around it, with a peak of its own that was too small to be a region; beside it.
        let weak = [at(90, 60, 9.0), at(300, 20, 4.0), at(80, 90, 9.5), at(125, 40, 4.0)];
        assert_eq!(EventRules::beside(&strong, &weak).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(EventRules::beside(&[], &weak).count(), 4);
    }
}

//! Connected regions of pixels above the threshold: runs per row, joined by union-find.

use crate::grid::PixelScores;
use crate::region::{Rect, Region, least_area};

/// A horizontal run of pixels above the threshold; `label` is its number until it is joined.
#[derive(Debug, Clone, Copy)]
struct Run {
    start: u32,
    end: u32,
    label: u32,
}

/// What is known of one label's pixels; only roots (`parent` = own number) are complete.
#[derive(Debug, Clone, Copy)]
struct Part {
    parent: u32,
    left: u32,
    right: u32,
    top: u32,
    bottom: u32,
    area: u32,
    peak: f32,
}

/// Finds regions; keeps its buffers from frame to frame.
#[derive(Debug, Clone, Default)]
pub struct Regions {
    threshold: f32,
    min_region_px: u32,
    above: Vec<Run>,
    row: Vec<Run>,
    parts: Vec<Part>,
    counted: Vec<f32>,
}

impl Regions {
    /// Regions of pixels with a score above `threshold` and of at least `min_region_px` pixels of a
    /// 640x360 picture (scaled with the area of the frame, at least 1 pixel).
    pub fn new(threshold: f32, min_region_px: u32) -> Self {
        Regions { threshold, min_region_px, ..Self::default() }
    }

    /// Fills `out` with the 8-connected regions of `scores`, by their first pixel from top left
    /// to bottom right. Of `counted`, one value per pixel, those that are false belong to no region; empty, all
    /// pixels count.
    ///
    /// `peak` is infinite where a region contains a patch that could not be judged.
    pub fn step(&mut self, scores: &PixelScores, counted: &[bool], out: &mut Vec<Region>) {
        out.clear();
        self.parts.clear();
        self.above.clear();
        if scores.width == 0 {
            return;
        }
        for (y, row) in scores.data.chunks_exact(scores.width).enumerate() {
            self.row.clear();
            match counted.get(y * scores.width..(y + 1) * scores.width) {
                Some(counted) => {
                    let mut known = std::mem::take(&mut self.counted);
                    known.clear();
                    let score = |(s, counts): (&f32, &bool)| if *counts { *s } else { f32::NEG_INFINITY };
                    known.extend(row.iter().zip(counted).map(score));
                    self.runs(&known, y as u32);
                    self.counted = known;
                }
                None => self.runs(row, y as u32),
            }
            self.join();
            std::mem::swap(&mut self.above, &mut self.row);
        }
        let pixels = (scores.width * scores.height) as u64;
        let least = least_area(self.min_region_px, pixels);
        for (label, part) in self.parts.iter().enumerate() {
            if part.parent == label as u32 && u64::from(part.area) >= least {
                let (width, height) = (part.right - part.left, part.bottom - part.top + 1);
                let rect = Rect { x: part.left, y: part.top, width, height };
                out.push(Region { rect, area: part.area, peak: part.peak });
            }
        }
    }

    /// Lists the runs of one row, each with a label of its own.
    fn runs(&mut self, row: &[f32], y: u32) {
        const STEP: usize = 32;
        let mut x = 0;
        while x < row.len() {
            // Most of a frame is normal: pass it in steps without branches.
            if let Some(step) = row.get(x..x + STEP)
                && !step.iter().fold(false, |any, s| any | (*s > self.threshold))
            {
                x += STEP;
                continue;
            }
            let end = row.len().min(x + STEP);
            let Some(first) = row[x..end].iter().position(|s| *s > self.threshold) else {
                x = end;
                continue;
            };
            let start = x + first;
            let mut peak = f32::NEG_INFINITY;
            x = start;
            while x < row.len() && row[x] > self.threshold {
                peak = peak.max(row[x]);
                x += 1;
            }
            let label = self.parts.len() as u32;
            let (start, end) = (start as u32, x as u32);
            self.row.push(Run { start, end, label });
            self.parts.push(Part {
                parent: label,
                left: start,
                right: end,
                top: y,
                bottom: y,
                area: end - start,
                peak,
            });
        }
    }

    /// Joins the runs of `row` with those of `above` that they touch, also by a corner.
    fn join(&mut self) {
        let mut above = self.above.iter().peekable();
        for run in &self.row {
            while let Some(upper) = above.peek() {
                if upper.start > run.end {
                    break;
                }
                if upper.end >= run.start {
                    unite(&mut self.parts, upper.label, run.label);
                }
                // A run above that reaches beyond this one may touch the next one too.
                if upper.end > run.end {
                    break;
                }
                above.next();
            }
        }
    }
}

fn root(parts: &mut [Part], mut label: u32) -> u32 {
    while parts[label as usize].parent != label {
        let next = parts[label as usize].parent;
        parts[label as usize].parent = parts[next as usize].parent;
        label = next;
    }
    label
}

/// Joins two labels under the lower number, which belongs to the first pixel.
fn unite(parts: &mut [Part], a: u32, b: u32) {
    let (a, b) = (root(parts, a), root(parts, b));
    if a == b {
        return;
    }
    let (keep, lose) = (a.min(b), a.max(b));
    let lost = parts[lose as usize];
    parts[lose as usize].parent = keep;
    let kept = &mut parts[keep as usize];
    kept.left = kept.left.min(lost.left);
    kept.right = kept.right.max(lost.right);
    kept.top = kept.top.min(lost.top);
    kept.bottom = kept.bottom.max(lost.bottom);
    kept.area += lost.area;
    kept.peak = kept.peak.max(lost.peak);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pooled;

    /// Flood fill, the definition.
    fn naive(scores: &PixelScores, threshold: f32) -> Vec<Region> {
        let (w, h) = (scores.width as i64, scores.height as i64);
        let mut seen = vec![false; scores.data.len()];
        let mut found = Vec::new();
        for first in 0..scores.data.len() {
            if seen[first] || scores.data[first] <= threshold {
                continue;
            }
            let mut stack = vec![first];
            seen[first] = true;
            let (mut area, mut peak) = (0, f32::NEG_INFINITY);
            let (mut left, mut top, mut right, mut bottom) = (w, h, 0, 0);
            while let Some(i) = stack.pop() {
                let (x, y) = (i as i64 % w, i as i64 / w);
                area += 1;
                peak = peak.max(scores.data[i]);
                (left, top, right, bottom) = (left.min(x), top.min(y), right.max(x), bottom.max(y));
                for (nx, ny) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (x + dx, y + dy))) {
                    let near = (ny * w + nx) as usize;
                    if (0..w).contains(&nx)
                        && (0..h).contains(&ny)
                        && !seen[near]
                        && scores.data[near] > threshold
                    {
                        seen[near] = true;
                        stack.push(near);
                    }
                }
            }
            let rect = Rect {
                x: left as u32,
                y: top as u32,
                width: (right - left + 1) as u32,
                height: (bottom - top + 1) as u32,
            };
            found.push(Region { rect, area, peak });
        }
        found
    }

    fn pixels(width: usize, data: Vec<f32>) -> PixelScores {
        PixelScores { width, height: data.len() / width, data: Pooled::unpooled(data) }
    }

    #[test]
    fn it_agrees_with_a_flood_fill() {
        let mut regions = Regions::new(0.0, 0);
        let mut found = Vec::new();
        let mut state = 1u64;
        for (width, height, share) in
            [(1, 1, 50), (70, 40, 10), (70, 40, 40), (97, 61, 50), (33, 33, 60), (64, 20, 90), (5, 90, 45)]
        {
            let data = (0..width * height)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let draw = (state >> 33) % 1000;
                    if draw % 100 < share { 1.0 + draw as f32 } else { 0.0 }
                })
                .collect();
            let scores = pixels(width, data);
            regions.step(&scores, &[], &mut found);
            assert_eq!(found, naive(&scores, 0.0), "{width}x{height}, {share} %");
        }
    }

    #[test]
    fn the_threshold_is_strict_and_small_regions_go() {
        let mut data = vec![1.0; 1280 * 720];
        data[5 * 1280 + 5] = 2.0;
        data[720 * 1280 - 401..].fill(3.0);
        let scores = pixels(1280, data);
        let mut found = Vec::new();
        Regions::new(1.0, 100).step(&scores, &[], &mut found);
        assert_eq!(found.len(), 1, "one pixel of 2.0 is too small, 401 of 3.0 are not");
        assert_eq!((found[0].area, found[0].peak), (401, 3.0));
        assert_eq!(found[0].rect, Rect { x: 879, y: 719, width: 401, height: 1 });
        Regions::new(1.0, 101).step(&scores, &[], &mut found);
        assert!(found.is_empty(), "404 pixels at 1280x720");
        Regions::new(f32::NAN, 0).step(&scores, &[], &mut found);
        assert!(found.is_empty());
    }

    #[test]
    fn what_does_not_count_belongs_to_no_region() {
        let (width, height) = (12, 4);
        let data = vec![3.0; width * height];
        let scores = PixelScores { width, height, data: crate::pool::Pooled::unpooled(data) };
        let counted: Vec<bool> =
            (0..width * height).map(|i| i % width < 4 || (i % width > 6 && i / width == 1)).collect();
        let mut found = Vec::new();
        let mut regions = Regions::new(1.0, 1);
        regions.step(&scores, &counted, &mut found);
        let rects: Vec<_> =
            found.iter().map(|r| (r.rect.x, r.rect.y, r.rect.width, r.rect.height, r.area)).collect();
        assert_eq!(rects, [(0, 0, 4, 4, 16), (7, 1, 5, 1, 5)]);
        regions.step(&scores, &vec![false; width * height], &mut found);
        assert!(found.is_empty());
        regions.step(&scores, &[], &mut found);
        assert_eq!(found[0].area, 48);
    }
}
